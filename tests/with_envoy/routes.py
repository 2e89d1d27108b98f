"""The rules for requests to Services as routes of Envoy, one list for each client namespace, Service and port.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto. Which rules hold for a subject, and the order that ranked ones are
asked in, are meshport's own answer (`compare.routing`, `dialects.gateway_api.ranking`; the tests of Gateway API cases hold those). What a match takes, where weights
lead, what rewrites, redirects and changes of headers come to is Envoy's. Faults, copies, timeouts and retries are not rendered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from meshport.compare import routing
from meshport.dialects.gateway_api.ranking import in_order
from meshport.ir.authorization import Pattern
from meshport.ir.base import PodSet, Ref, Selector
from meshport.ir.model import IR
from meshport.ir.routing import Backend, Filter, RouteMatch, RouteRule, ServiceRoutes, routes_subject
from meshport.ir.world import World

from .access import SCOPE, SEEN
from .completed import MANAGER, ROUTER
from .patterns import Unrendered, header, text
from .proxy import Obj, address

_CODES = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}


def listener(name: str, routes: list[Obj], *, normalise: bool) -> Obj:
    """A listener with the routes of all scopes."""
    hosts = [{"name": "all", "domains": ["*"], "routes": routes, "response_headers_to_add": [SEEN]}]
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "normalize_path": normalise,
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [ROUTER],
    }
    return {
        "name": name,
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }


def cluster(name: str, port: int) -> Obj:
    """The pods of a name, which one server stands for."""
    endpoint = {"endpoint": {"address": address(port)}}
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": load}


def of_service(ir: IR, service: Ref, port: int, client: str, labels: Mapping[str, str], scope: str) -> list[Obj]:
    """What the proxy of a client does with requests to a port of a Service. Raises Unrendered."""
    found: list[Obj] = []
    name = f"Service {service}"
    rules: list[tuple[ServiceRoutes, int | None]] = []
    for subject in (routes_subject(f"{name} for clients of {client}", port), routes_subject(name, port)):
        rules = rules or routing.of_subject(ir, subject)
    for routes, number in rules:
        listed = in_order(routes)
        for rule in listed:
            for match in rule.matches or (RouteMatch(),):
                if match.port is None or match.port.value == number:
                    found += _route(ir, routes, rule, match, port, client, labels, scope)
        if routes.unmatched == "forward":
            break
    if not rules or any(routes.unmatched == "forward" for routes, _ in rules):
        found.append({"match": _scoped({"prefix": ""}, scope), "route": {"cluster": pods(ir.world, service, None, {}, None, port)}})
    return found


def _route(
    ir: IR, routes: ServiceRoutes, rule: RouteRule, match: RouteMatch, port: int, client: str, labels: Mapping[str, str], scope: str
) -> Iterator[Obj]:
    asked = [header(name.lower(), fact.value) for name, fact in match.headers]
    for name, fact in match.others:
        if name == "authority":
            kinds = {"exact", "prefix", "regex"}
            asked += [header(":authority", Pattern(kind, str(value))) for kind, value in fact.value.items() if kind in kinds]
        elif name == "withoutHeaders":
            for key, forms in fact.value.items():
                wrong = next((Pattern(kind, str(value)) for kind, value in (forms or {}).items()), Pattern("any"))
                empty = {} if wrong.kind == "any" else {"treat_missing_header_as_empty": True}  # istiod's TranslateRouteMatch
                asked.append({**header(key.lower(), wrong), "invert_match": True, **empty})
        elif not _holds(name, fact.value, client, labels):
            return
    if match.method is not None:
        asked.append(header(":method", match.method.value))
    found: Obj = {"match": _scoped(_path(match), scope, asked)}
    if match.query:
        found["match"]["query_parameters"] = [
            {"name": name, "string_match": text(fact.value)}
            if fact.value.kind not in ("any", "absent")
            else _present(name, fact.value.kind)
            for name, fact in match.query
        ]
    for item in rule.filters:
        _changed(found, item, ir.mesh)
    redirect, direct, rewrite = (rule.filter(kind) for kind in ("redirect", "direct-response", "rewrite"))
    if redirect is not None:
        found["redirect"] = _redirect(redirect)
    elif direct is not None:
        status = direct.part("status")
        found["direct_response"] = {"status": status.value if status is not None else 200}
    else:
        own = Backend(routes.service, routes.host)
        found["route"] = {**_sent_to(ir, rule.backends or (own,), port), **(_rewrite(rewrite) if rewrite is not None else {})}
    yield found


def _holds(name: str, value: Any, client: str, labels: Mapping[str, str]) -> bool:
    if name == "gateways":
        return "mesh" in (value or ())
    if name == "sourceNamespace":
        return bool(value == client)
    if name == "sourceLabels":
        return all(labels.get(key) == wanted for key, wanted in value.items())
    raise Unrendered(f"a match on {name}")


def _present(name: str, kind: str) -> Obj:
    if kind == "absent":
        raise Unrendered("a parameter that is absent")
    return {"name": name, "present_match": True}


def _scoped(path: Obj, scope: str, headers: list[Obj] | None = None) -> Obj:
    return {**path, "headers": [{"name": SCOPE, "string_match": {"exact": scope}}, *(headers or [])]}


def _path(match: RouteMatch) -> Obj:
    """The path of a match; Envoy's own words where it has some, for they say what a rewrite replaces."""
    if match.path is None:
        return {"prefix": "/"}
    kind, value = match.path.value.kind, match.path.value.text
    if kind == "exact":
        return {"path": value}
    if kind == "prefix":
        return {"prefix": value}
    if kind == "segments":
        return {"path_separated_prefix": value.rstrip("/")} if value.rstrip("/") else {"prefix": "/"}
    if kind in ("regex", "rust-regex"):
        return {"safe_regex": {"regex": value}}
    raise Unrendered(f"a path of kind {kind}")


def _changed(route: Obj, item: Filter, mesh: str) -> None:
    """Changes of headers. A value of Istio is a format of Envoy's already; any other is text."""
    if item.kind not in ("request-headers", "response-headers"):
        return
    side = item.kind.removesuffix("-headers")
    for name, fact in item.parts:
        action, _, key = name.partition(":")
        value = str(fact.value) if mesh == "istio" else str(fact.value).replace("%", "%%")
        if action == "remove":
            route.setdefault(f"{side}_headers_to_remove", []).append(key)
        else:
            what = "OVERWRITE_IF_EXISTS_OR_ADD" if action == "set" else "APPEND_IF_EXISTS_OR_ADD"
            route.setdefault(f"{side}_headers_to_add", []).append({"header": {"key": key, "value": value}, "append_action": what})


def _redirect(item: Filter) -> Obj:
    names = {
        "path": "path_redirect",
        "prefix": "prefix_rewrite",
        "hostname": "host_redirect",
        "scheme": "scheme_redirect",
        "port": "port_redirect",
    }
    found: Obj = {names[name]: fact.value for name, fact in item.parts if name in names}
    code = item.part("code")
    found["response_code"] = _CODES[code.value if code is not None else 301]
    return found


def _rewrite(item: Filter) -> Obj:
    found: Obj = {}
    for name, fact in item.parts:
        if name in ("authority", "hostname"):
            found["host_rewrite_literal"] = fact.value
        elif name in ("uri", "prefix"):
            found["prefix_rewrite"] = fact.value
        elif name == "uriRegexRewrite.match":
            found.setdefault("regex_rewrite", {})["pattern"] = {"regex": fact.value}
        elif name == "uriRegexRewrite.rewrite":
            found.setdefault("regex_rewrite", {})["substitution"] = fact.value
        else:
            raise Unrendered(f"a rewrite of {name}")
    return found


def _sent_to(ir: IR, backends: tuple[Backend, ...], port: int) -> Obj:
    if any(backend.filters for backend in backends):
        raise Unrendered("changes for one backend alone")
    names = []
    for backend in backends:
        labels = dict(backend.labels.labels) if backend.labels is not None else {}
        ref = backend.service.value if backend.service is not None else None
        subset = backend.subset.value if backend.subset is not None and backend.labels is None else None
        names.append(
            pods(ir.world, ref, subset, labels, backend.port.value if backend.port is not None else None, port, backend.host.value)
        )
    if len(names) == 1:
        return {"cluster": names[0], "timeout": "10s"}
    weights = [Fraction(backend.weight.value if backend.weight is not None else 0) for backend in backends]
    scale = max(weight.denominator for weight in weights)
    listed = [{"name": name, "weight": int(weight * scale)} for name, weight in zip(names, weights, strict=True)]
    if not any(item["weight"] for item in listed):
        raise Unrendered("backends without any weight")
    return {"weighted_clusters": {"clusters": listed}, "timeout": "10s"}


def pods(world: World, ref: Ref | None, subset: str | None, labels: Mapping[str, str], port: int | None, asked: int, host: str = "") -> str:
    """A name for the pods behind a destination, as traces have it: what two destinations share they have one server for."""
    suffix = f":{port}" if port is not None and port != asked else ""
    known = world.services.get(ref) if ref is not None else None
    if ref is None:
        return f"host {host}{suffix}"
    if known is None or known.selector is None or subset is not None:
        return f"Service {ref}{f'-{subset}' if subset else ''}{suffix}"
    return f"{PodSet(ref.namespace, Selector.of({**known.selector, **labels}))}{suffix}"


def clusters_of(route: Obj) -> list[str]:
    """The clusters that a route names."""
    action = route.get("route", {})
    return (
        [action["cluster"]] if "cluster" in action else [item["name"] for item in action.get("weighted_clusters", {}).get("clusters", ())]
    )
