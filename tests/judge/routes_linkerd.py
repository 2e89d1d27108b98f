"""Linkerd's outbound half of `routes`: ServiceProfile and TrafficSplit, else HTTPRoutes with annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .changes import of_backend, of_gateway
from .gateway import GATEWAY, LINKERD, Match, attached, best, routes_of
from .http import annotation_duration, found, go_duration, split_path
from .outcome import GRPC_CODES, Backend, Breaker, Changes, Outcome, Retries, conditions, failing, pods_of, shares
from .world import CLUSTER_DOMAIN, Obj, Request, Service, World, annotations_of, group_of, namespace_of, spec_of

_ACCRUAL = "balancer.linkerd.io/failure-accrual"
_OPAQUE_PROTOCOLS = {"http", "kubernetes.io/h2c"}


def route(world: World, service: Service, request: Request) -> Outcome:
    """What a meshed client's proxy does."""
    client = str(request["source"].get("namespace") or service.namespace)
    port = request["destination"].get("port")
    whole = {pods_of(world, service.namespace, service.name): Fraction(1)}
    if not service.routable:
        return Outcome("forward", whole)
    profile, split = _profile(world, service, client), _split(world, service)
    shares_said = spec_of(split or {}).get("backends") or spec_of(profile or {}).get("dstOverrides")
    if shares_said or spec_of(profile or {}).get("routes"):  # a profile that has neither does not override the policies of the Service
        return _profiled(world, service, spec_of(profile or {}), split, request)
    if _opaque(service, port):
        return Outcome("forward", whole)
    matches = _matches(world, service, port, client)
    chosen = best(matches, request)
    if matches and chosen is None:
        return Outcome("unrouted")
    rule = chosen.rule if chosen else {}
    redirect = redirect_of(rule)
    changes = _changes(world, chosen, request) if chosen else Changes()
    if redirect is not None:
        return Outcome("redirect", detail=redirect, changes=changes)
    backends = _backends(world, service, chosen) if chosen else whole
    own = annotations_of(chosen.route) if chosen else {}
    breaker = _accrual(service.annotations)
    return Outcome(
        "forward",
        backends,
        _timeout(own, service.annotations, chosen),
        _retries(own, service.annotations),
        {b: breaker for b in backends if b[0]} if breaker else {},
        changes=changes,
    )


def _changes(world: World, chosen: Match, request: Request) -> Changes:
    """Header changes and redirects; Linkerd has nothing else that a route does to a request."""
    found = of_gateway(chosen.rule, chosen.match, request, frozenset())
    single = set[tuple[str, ...]]()
    for ref in chosen.rule.get("backendRefs") or []:
        single |= of_backend(pods_of(world, ref.get("namespace") or namespace_of(chosen.route), ref["name"]), ref.get("filters") or [])
    return replace(found, headers=found.headers | single)


def _opaque(service: Service, port: int | None) -> bool:
    """Whether `appProtocol` makes a Service port opaque, which no route reaches."""
    declared = next((str(p["appProtocol"]).lower() for p in service.ports if p["port"] == port and p.get("appProtocol")), None)
    return declared is not None and declared not in _OPAQUE_PROTOCOLS


def names_service(obj: Obj, service: Service, port: int | None, client: str) -> bool:
    """Whether a route has the Service as its parent and concerns this client: producers' routes do, and the client's own."""
    namespace = namespace_of(obj)
    if namespace not in {service.namespace, client} or not service.routable:
        return False
    for ref in spec_of(obj).get("parentRefs") or []:
        named = (ref.get("namespace") or namespace, ref["name"]) == (service.namespace, service.name)
        if ref.get("kind") == "Service" and ref.get("group") in {"", "core"} and named and ref.get("port") in {None, port}:
            return True
    return False


def redirect_of(rule: Obj) -> tuple[tuple[str, str], ...] | None:
    """The redirect that a rule answers with, as sorted items."""
    for entry in rule.get("filters") or []:
        if entry.get("type") == "RequestRedirect":
            return tuple(sorted((str(k), str(v)) for k, v in (entry.get("requestRedirect") or {}).items()))
    return None


def _matches(world: World, service: Service, port: int | None, client: str) -> list[Match]:
    """Matches of the attached routes; GRPCRoutes push HTTPRoutes aside. The two oldest versions of Linkerd's own kind are inbound only."""
    for kind in ("GRPCRoute", "HTTPRoute"):
        routes = [r for r in routes_of(world, [kind]) if names_service(r, service, port, client)]
        routes = [r for r in routes if r["apiVersion"] not in {f"{LINKERD}/v1alpha1", f"{LINKERD}/v1beta1"}]
        if routes:
            return [m for r in routes for m in attached(r)]
    return []


def _backends(world: World, service: Service, chosen: Match) -> dict[Backend, Fraction]:
    refs = chosen.rule.get("backendRefs") or []
    if not refs:
        return {pods_of(world, service.namespace, service.name): Fraction(1)}
    weighted: list[tuple[Backend, int]] = []
    for ref in refs:
        namespace = ref.get("namespace") or namespace_of(chosen.route)
        known = ref.get("kind", "Service") == "Service" and ref.get("port") and world.service(namespace, ref["name"])
        readable = all(
            f.get("type") in {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"} for f in ref.get("filters") or []
        )
        weighted.append((pods_of(world, namespace, ref["name"]) if known and readable else failing(500), int(ref.get("weight", 1))))
    return shares(weighted) or {failing(500): Fraction(1)}


def _timeout(own: Mapping[str, str], parents: Mapping[str, str], chosen: Match | None) -> int | None:
    """The request timeout: the route's timeouts, if it has any, replace all of the Service's."""
    keys = [f"timeout.linkerd.io/{k}" for k in ("request", "response", "idle")]
    times = [annotation_duration(own[k]) if k in own else None for k in keys]
    field = ((chosen.rule.get("timeouts") or {}) if chosen else {}).get("request")
    if field and chosen and not times[0]:
        times[0] = annotation_duration(field) if group_of(chosen.route) == GATEWAY else go_duration(field)
    if not any(times):
        times = [annotation_duration(parents[k]) if k in parents else None for k in keys]
    return times[0] or None


def _retries(own: Mapping[str, str], parents: Mapping[str, str]) -> Retries | None:
    """Retries by annotation; a route with any such key hides those of its Service, a mistake in one switches all off."""
    prefix = "retry.linkerd.io/"
    chosen = own if any(k.startswith(prefix) for k in own) else parents
    values = {k.removeprefix(prefix): str(v) for k, v in chosen.items() if k.startswith(prefix)}
    http, grpc = values.get("http"), values.get("grpc")
    number = r"[1-5]\d\d"
    bad_http = http is not None and any(not re.fullmatch(rf"(?i)5xx|gateway-error|{number}(-{number})?", t) for t in http.split(","))
    bad_grpc = grpc is not None and any(t.lower() not in GRPC_CODES for t in grpc.split(","))
    limit = values.get("limit", "0")
    per_try = annotation_duration(values["timeout"]) if "timeout" in values else 0
    if bad_http or bad_grpc or not limit.isdigit() or per_try is None:
        return None
    if not (http or grpc or int(limit) or per_try):
        return None
    statuses, codes, _ = conditions([*(http or "").split(","), *(grpc or "").split(",")])
    return Retries(int(limit) or 1, statuses, codes, frozenset(), per_try or None)


def _accrual(notes: Mapping[str, str]) -> Breaker | None:
    if notes.get(_ACCRUAL) not in {"consecutive", "unified"}:
        return None
    failures = str(notes.get(f"{_ACCRUAL}-consecutive-max-failures", "7"))
    low = annotation_duration(notes.get(f"{_ACCRUAL}-consecutive-min-penalty", "1s"))
    high = annotation_duration(notes.get(f"{_ACCRUAL}-consecutive-max-penalty", "1m"))
    if not failures.isdigit() or low is None or not high or low > high:
        return None  # the proxy is told of no breaker at all
    return Breaker(int(failures), low) if int(failures) else None


def _profile(world: World, service: Service, client: str) -> Obj | None:
    """The client's own ServiceProfile, else the one beside the Service."""
    name = f"{service.name}.{service.namespace}.svc.{CLUSTER_DOMAIN}"
    own = world.get("ServiceProfile", "linkerd.io", client, name)
    return own or world.get("ServiceProfile", "linkerd.io", service.namespace, name)


def _split(world: World, service: Service) -> Obj | None:
    for obj in world.of("TrafficSplit", "split.smi-spec.io"):
        served = obj["apiVersion"].rpartition("/")[2] in {"v1alpha1", "v1alpha2"}
        if served and namespace_of(obj) == service.namespace and spec_of(obj).get("service") == service.name:
            return obj
    return None


def _profiled(world: World, service: Service, profile: Obj, split: Obj | None, request: Request) -> Outcome:
    """A ServiceProfile: first route whose condition holds, else the request passes through. No breaker, no annotation counts beside it."""
    weighted = [
        (pods_of(world, service.namespace, b["service"]), _milli(b.get("weight", 0))) for b in spec_of(split or {}).get("backends") or []
    ]
    if split is None:
        for override in profile.get("dstOverrides") or []:
            name, _, rest = override["authority"].partition(":")[0].partition(".")
            weighted.append((pods_of(world, rest.partition(".")[0], name), _milli(override["weight"])))
    backends = shares(weighted) or {pods_of(world, service.namespace, service.name): Fraction(1)}
    path = split_path(request)[0]
    chosen: Obj = next((r for r in profile.get("routes") or [] if _holds(r["condition"], path, str(request.get("method") or "GET"))), {})
    retries = None
    if chosen.get("isRetryable") and _budget(profile.get("retryBudget")):
        retries = Retries(None, frozenset(range(500, 600)))
    return Outcome("forward", backends, (go_duration(chosen["timeout"]) if chosen.get("timeout") else None) or None, retries)


def _budget(budget: Obj | None) -> bool:
    """Whether the proxy accepts a retry budget; a refused one means no retries."""
    ttl = go_duration((budget or {}).get("ttl", "10s"))
    return ttl is not None and 10**9 <= ttl <= 60 * 10**9 and 0 <= float((budget or {}).get("retryRatio", 0.2)) <= 1000


def _milli(weight: object) -> int:
    text = str(weight)
    return int(text[:-1]) if text.endswith("m") else int(Fraction(text) * 1000)


def _holds(condition: Obj, path: str, method: str) -> bool:
    """A request condition: every key that is set has to hold."""
    pattern = (condition.get("pathRegex") or "").strip()
    if pattern:
        pattern = ("" if pattern.startswith("^") else "^") + pattern + ("" if pattern.endswith("$") else "$")
        if not found(pattern, path):
            return False
    negated = condition.get("not")
    return (
        condition.get("method") in {None, "", method}
        and all(_holds(c, path, method) for c in condition.get("all") or [])
        and (not condition.get("any") or any(_holds(c, path, method) for c in condition["any"]))
        and not (isinstance(negated, dict) and _holds(negated, path, method))
    )
