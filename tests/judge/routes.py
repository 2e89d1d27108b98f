"""Where a meshed client's proxy sends a request, and how it guards the call: `route(manifests, mesh, request)`.

`destination` names `namespace`, `service` and the Service `port` here; `source.namespace` is the client's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from . import routes_linkerd
from .changes import headers_of, of_backend, of_entry, of_gateway
from .gateway import Match, attached, best_gateway, gateway_rank, routes_of
from .http import go_duration, header, normalized, protocol_of, query_values, re2_full, split_path
from .outcome import Backend, Breaker, Changes, Outcome, Retries, conditions, failing, pods_of, shares
from .world import CLUSTER_DOMAIN, Obj, Request, Service, Undecided, World, by_age, labels_match, namespace_of, spec_of, world_of

GROUP = "networking.istio.io"
_DEFAULT_ON = ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"]


def route(
    manifests: Iterable[Obj],
    mesh: str,
    request: Request,
    *,
    root_namespace: str = "istio-system",
    expressions: str = "",
) -> Outcome:
    """What the client's proxy does with a request to a Service; the mesh is istio, linkerd, cilium or gateway-api."""
    if protocol_of(request) == "tcp":
        raise Undecided("routing of bytes is not judged")
    world = world_of(manifests)
    wanted = request["destination"]
    service = world.service(wanted["namespace"], wanted["service"])
    if service is None:
        raise Undecided(f"no Service {wanted['namespace']}/{wanted['service']}")
    if mesh in {"cilium", "gateway-api"}:
        return Gamma(world, service, request, expressions or ("early" if mesh == "cilium" else "last"), cilium=mesh == "cilium").outcome()
    if mesh == "linkerd":
        return routes_linkerd.route(world, service, request)
    return _Istio(world, service, request, root_namespace).outcome()


def default_retries() -> Retries:
    """What Istio does where nobody said anything."""
    statuses, grpc, other = conditions(_DEFAULT_ON)
    return Retries(2, statuses, grpc, other)


def fqdn(host: str, namespace: str) -> str:
    """A host as Istio resolves it: names without a dot belong to the namespace of the object."""
    host = host.lower()
    return host if "." in host or host == "*" else f"{host}.{namespace}.svc.{CLUSTER_DOMAIN}"


def host_fits(pattern: str, host: str) -> bool:
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


class _Istio:
    def __init__(self, world: World, service: Service, request: Request, root_namespace: str) -> None:
        self.world, self.service, self.request, self.root = world, service, request, root_namespace
        self.client = str(request["source"].get("namespace") or service.namespace)
        self.host = fqdn(service.name, service.namespace)
        self.port = request["destination"].get("port")

    def outcome(self) -> Outcome:
        virtual = self._virtual_service()
        if virtual is not None and self._acts(virtual):
            return self._routed(virtual)
        matches = self._gateway_matches()
        if matches:
            return self._from_gateway(best_gateway(matches, self._normalised_request()))
        return self._forward([({"host": self.host}, 1)], None, default_retries())

    def _acts(self, virtual: Obj) -> bool:
        """Whether a rule is for this client and port at all: istiod discards a VirtualService none of whose routes is (BuildHTTPRoutesForVirtualService)."""
        return any(
            self._for_client(match) and match.get("port") in (None, self.port)
            for entry in spec_of(virtual).get("http") or []
            for match in entry.get("match") or [{}]
        )

    def _for_client(self, match: Obj) -> bool:
        if match.get("gateways") is not None:
            return "mesh" in match["gateways"]
        labels = self.request["source"].get("labels") or {}
        return labels_match(match.get("sourceLabels"), labels) and match.get("sourceNamespace", self.client) == self.client

    def _visible(self, obj: Obj) -> bool:
        to = spec_of(obj).get("exportTo") or ["*"]
        own = namespace_of(obj)
        return any(t == "*" or t == self.client or (t == "." and own == self.client) for t in to)

    def _virtual_service(self) -> Obj | None:
        """The VirtualService that claims the host for sidecars: the exact host before wildcards, the client's own before others."""
        found: list[tuple[int, bool, Obj]] = []
        for obj in by_age(o for o in self.world.of("VirtualService", GROUP) if self._visible(o)):
            if "mesh" not in (spec_of(obj).get("gateways") or ["mesh"]):
                continue
            fits = [h for h in (fqdn(h, namespace_of(obj)) for h in spec_of(obj).get("hosts") or []) if host_fits(h, self.host)]
            if fits:
                found.append((max(1000 if h == self.host else len(h) for h in fits), namespace_of(obj) == self.client, obj))
        return max(found, key=lambda f: f[:2])[2] if found else None

    def _routed(self, virtual: Obj) -> Outcome:
        namespace = namespace_of(virtual)
        for entry in spec_of(virtual).get("http") or []:
            chosen = next((m for m in entry.get("match") or [{}] if self._matches(m)), None)
            if chosen is None:
                continue
            if entry.get("delegate"):
                raise Undecided("delegate VirtualService")
            timeout = go_duration(entry["timeout"]) if entry.get("timeout") else None
            path = normalized(split_path(self.request)[0])
            changes = of_entry(entry, chosen, self.request, self._mirrors(entry, namespace), path)
            for kind in ("redirect", "directResponse"):
                if entry.get(kind):
                    detail = tuple(sorted((str(k), str(v)) for k, v in entry[kind].items()))
                    return Outcome("redirect" if kind == "redirect" else "direct", detail=detail, changes=changes)
            destinations = [
                ({**r["destination"], "host": fqdn(r["destination"]["host"], namespace)}, int(r.get("weight") or 0))
                for r in entry.get("route") or []
            ]
            if len(destinations) == 1:
                destinations = [(destinations[0][0], 1)]
            of_backends = {
                (repr(sorted(self._backend(target)[0][1])), *change)
                for (target, _), r in zip(destinations, entry.get("route") or [], strict=True)
                for change in headers_of(r)
            }
            found = self._forward(destinations, timeout or None, self._retries(entry), _faults(entry))
            return replace(found, changes=replace(changes, headers=changes.headers | of_backends))
        return Outcome("unrouted")

    def _mirrors(self, entry: Obj, namespace: str) -> frozenset[tuple[Backend, float]]:
        """Who gets copies of a request, and of how many of a hundred."""
        listed = [
            (m["destination"], (m.get("percentage") or {}).get("value", 0 if m.get("percentage") else 100))
            for m in entry.get("mirrors") or []
        ]
        if entry.get("mirror"):
            share = (entry.get("mirrorPercentage") or {}).get("value", 100 if entry.get("mirrorPercentage") is None else 0)
            listed = [(entry["mirror"], share)]
        return frozenset((self._backend({**to, "host": fqdn(to["host"], namespace)})[0], float(share)) for to, share in listed if share)

    def _retries(self, entry: Obj) -> Retries | None:
        block = entry.get("retries")
        if block is None:
            return default_retries()
        attempts = int(block.get("attempts") or 0)
        if attempts == 0:
            return None
        statuses, grpc, other = conditions(block["retryOn"].split(",") if block.get("retryOn") else _DEFAULT_ON)
        return Retries(attempts, statuses, grpc, other, go_duration(block["perTryTimeout"]) if block.get("perTryTimeout") else None)

    def _matches(self, match: Obj) -> bool:
        request = self.request
        raw, _ = split_path(request)
        path = normalized(raw)
        if not self._for_client(match):
            return False
        values: dict[str, str | None] = {
            "uri": path,
            "scheme": "http",
            "method": str(request.get("method") or "GET"),
            "authority": request.get("host") or self.service.name,
        }
        if match.get("port") is not None and match["port"] != self.port:
            return False
        return (
            all(_string(match[k], v, match.get("ignoreUriCase") if k == "uri" else False) for k, v in values.items() if k in match)
            and all(_string(m, header(request, k, path=path)) for k, m in (match.get("headers") or {}).items())
            and not any(_string(m, header(request, k, path=path)) for k, m in (match.get("withoutHeaders") or {}).items())
            and all(any(_string(m, v) for v in query_values(request, k)) for k, m in (match.get("queryParams") or {}).items())
        )

    def _forward(
        self,
        destinations: list[tuple[Obj, int]],
        timeout: int | None,
        retries: Retries | None,
        fault: tuple[tuple[str, str], ...] = (),
    ) -> Outcome:
        weighted: list[tuple[Backend, int]] = []
        breakers: dict[Backend, Breaker] = {}
        for destination, weight in destinations:
            backend, breaker = self._backend(destination)
            weighted.append((backend, weight))
            if breaker and weight:
                breakers[backend] = breaker
        return Outcome("forward", shares(weighted), timeout, retries, breakers, fault)

    def _backend(self, destination: Obj) -> tuple[Backend, Breaker | None]:
        name, _, rest = destination["host"].partition(".")
        namespace = rest.partition(".")[0]
        if rest != f"{namespace}.svc.{CLUSTER_DOMAIN}" or self.world.service(namespace, name) is None:
            return failing(503), None
        rules = self._destination_rules(destination["host"], namespace)
        policy: Obj = next((spec_of(r)["trafficPolicy"] for r in rules if spec_of(r).get("trafficPolicy")), {})
        labels: dict[str, str] = {}
        number = (destination.get("port") or {}).get("number") or self.port
        if destination.get("subset"):
            subsets = [s for r in rules for s in spec_of(r).get("subsets") or [] if s["name"] == destination["subset"]]
            if not subsets:
                return failing(503), None
            labels = subsets[0].get("labels") or {}
            policy = {**_at_port(policy, number), **_at_port(subsets[0].get("trafficPolicy") or {}, number)}
        return pods_of(self.world, namespace, name, labels), _outlier(_at_port(policy, number))

    def _destination_rules(self, host: str, namespace: str) -> list[Obj]:
        """The rules that the client sees for a host: the first namespace that has one, there the most specific host."""
        everything = by_age(o for o in self.world.of("DestinationRule", GROUP) if self._visible(o))
        for owner in (self.client, namespace, self.root):
            fits = [
                (1000 if h == host else len(h), o)
                for o in everything
                if namespace_of(o) == owner and host_fits(h := fqdn(spec_of(o)["host"], owner), host)
            ]
            if fits:
                top = max(rank for rank, _ in fits)
                return [o for rank, o in fits if rank == top]
        return []

    def _gateway_matches(self) -> list[Match]:
        grpc = [r for r in routes_of(self.world, ["GRPCRoute"], linkerd=False) if self._parent(r)]
        return [m for r in grpc or routes_of(self.world, ["HTTPRoute"], linkerd=False) if self._parent(r) for m in attached(r)]

    def _parent(self, obj: Obj) -> bool:
        return routes_linkerd.names_service(obj, self.service, self.port, self.client)

    def _normalised_request(self) -> Request:
        raw, query = split_path(self.request)
        return {**self.request, "path": normalized(raw) + ("?" + query if query else "")}

    def _from_gateway(self, chosen: Match | None) -> Outcome:
        if chosen is None:
            return Outcome("unrouted")
        rule, namespace = chosen.rule, namespace_of(chosen.route)
        redirect = routes_linkerd.redirect_of(rule)
        changes = gateway_changes(self.world, chosen, self.request, namespace)
        if redirect is not None:
            return Outcome("redirect", detail=redirect, changes=changes)
        destinations = [
            ({"host": fqdn(r["name"], r.get("namespace") or namespace), "port": {"number": r.get("port")}}, int(r.get("weight", 1)))
            for r in rule.get("backendRefs") or []
        ]
        if not any(w for _, w in destinations):
            return Outcome("forward", shares([(failing(500), 1)]))
        timeouts, retry = rule.get("timeouts") or {}, rule.get("retry")
        request_ns, backend_ns = (go_duration(timeouts[k]) or None if k in timeouts else None for k in ("request", "backendRequest"))
        retries = default_retries()
        if retry is not None:
            tokens = ["connect-failure", "refused-stream", "unavailable", "cancelled", *map(str, retry.get("codes") or [])]
            attempts = int(retry.get("attempts", 2))
            statuses, grpc, other = conditions(tokens)
            retries = Retries(attempts, statuses, grpc, other, backend_ns) if attempts else None
            return replace(self._forward(destinations, request_ns, retries), changes=changes)
        return replace(self._forward(destinations, backend_ns or request_ns, retries), changes=changes)


def gateway_changes(world: World, chosen: Match, request: Request, namespace: str) -> Changes:
    """What a rule of the Gateway API does to a request, with what is for single backends."""
    rule = chosen.rule
    copies: set[tuple[Backend, float]] = set()
    for item in rule.get("filters") or []:
        if item["type"] == "RequestMirror":
            body = item["requestMirror"]
            share = body.get("percent")
            if "fraction" in body:
                share = 100 * body["fraction"]["numerator"] / body["fraction"].get("denominator", 100)
            to = body["backendRef"]
            copies.add((pods_of(world, to.get("namespace") or namespace, to["name"]), float(100 if share is None else share)))
    found = of_gateway(rule, chosen.match, request, frozenset(copies))
    single = set[tuple[str, ...]]()
    for ref in rule.get("backendRefs") or []:
        single |= of_backend(pods_of(world, ref.get("namespace") or namespace, ref["name"]), ref.get("filters") or [])
    return replace(found, headers=found.headers | single)


def _granted(world: World, route: Obj, ref: Obj) -> bool:
    """Whether a route may send to a backend: in its own namespace, or where a ReferenceGrant lets it."""
    own, there = namespace_of(route), ref.get("namespace") or namespace_of(route)
    return own == there or any(
        any((item["kind"], item["namespace"]) == (route["kind"], own) for item in spec_of(grant)["from"])
        and any(item["kind"] == "Service" and item.get("name") in {None, ref["name"]} for item in spec_of(grant)["to"])
        for grant in world.of("ReferenceGrant", "gateway.networking.k8s.io")
        if namespace_of(grant) == there
    )


class Gamma:
    """Routes on a Service as an implementation of the Gateway API reads them that is no Istio: Cilium, or whoever serves the API.

    `expressions` says where a regular expression stands among paths: `last`, or before prefixes (`early`, Cilium).
    """

    def __init__(self, world: World, service: Service, request: Request, expressions: str, *, cilium: bool) -> None:
        self.world, self.service, self.request, self.expressions, self.cilium = world, service, request, expressions, cilium
        self.client = str(request["source"].get("namespace") or service.namespace)
        self.port = request["destination"].get("port")

    def outcome(self) -> Outcome:
        if self.cilium and self._tabled():
            raise Undecided("tables of Envoy's routes are not read here")
        matches = [m for r in routes_of(self.world, ["GRPCRoute", "HTTPRoute"], linkerd=False) if self._parent(r) for m in attached(r)]
        whole = {pods_of(self.world, self.service.namespace, self.service.name): Fraction(1)}
        if not matches:
            return Outcome("forward", whole)
        ranked = [(m, gateway_rank(m, self.request)) for m in matches]
        fitting = [(m, self._place(rank), at) for at, (m, rank) in enumerate(ranked) if rank is not None]
        if not fitting:
            return Outcome("unrouted")
        chosen = max(fitting, key=lambda item: (item[1], -item[2]))[0]
        rule, namespace = chosen.rule, namespace_of(chosen.route)
        changes = gateway_changes(self.world, chosen, self.request, namespace)
        if routes_linkerd.redirect_of(rule) is not None:
            return Outcome("redirect", changes=changes)
        weighted = [
            (pods_of(self.world, r.get("namespace") or namespace, r["name"]), int(r.get("weight", 1)))
            for r in rule.get("backendRefs") or []
        ]
        timeouts, retry = rule.get("timeouts") or {}, rule.get("retry")
        request_ns, backend_ns = (go_duration(timeouts[k]) or None if k in timeouts else None for k in ("request", "backendRequest"))
        retries = None
        if retry is not None and retry.get("attempts", 1):
            codes = [*map(str, retry.get("codes") or [])]
            statuses, grpc, other = conditions(codes or ["connect-failure", "refused-stream"])  # GEP-1731: errors of the connection
            retries = Retries(int(retry.get("attempts", 1)), statuses, grpc, other, backend_ns)
            backend_ns = None
        backends = shares(weighted) or {failing(500): Fraction(1)}
        return Outcome("forward", backends, request_ns or backend_ns, retries, changes=changes)

    def _place(self, rank: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.expressions == "early" and isinstance(rank[1], int):
            return (rank[0], {2: 3, 0: 2, 1: 1}[rank[1]], *rank[2:])
        return rank

    def _tabled(self) -> bool:
        """Whether a CiliumEnvoyConfig takes the requests to the Service at its port and does more with them than to send all of them on."""
        own = (self.service.namespace, self.service.name)
        for config in self.world.of("CiliumEnvoyConfig", "cilium.io"):
            if any(
                (ref.get("namespace") or namespace_of(config), ref["name"]) == own and self.port in (ref.get("ports") or [self.port])
                for ref in spec_of(config).get("services") or []
            ):
                hosts = [host for item in spec_of(config).get("resources") or [] for host in item.get("virtual_hosts") or []]
                if any([route.get("match") for route in host["routes"]] != [{"prefix": "/"}] for host in hosts):
                    return True
        return False

    def _parent(self, obj: Obj) -> bool:
        if self.cilium and namespace_of(obj) != self.service.namespace:
            return False
        for ref in spec_of(obj).get("parentRefs") or []:
            own = ref.get("kind") == "Service" and ref.get("group") == ""
            named = (ref.get("namespace") or namespace_of(obj), ref["name"]) == (self.service.namespace, self.service.name)
            port = ref.get("port")
            if own and named and (port is None or (port == self.port and not self.cilium)):
                return self.service.routable and namespace_of(obj) in {self.service.namespace, self.client}
        return False


def _string(match: Obj, value: str | None, ignore_case: bool | None = False) -> bool:
    """A StringMatch; empty, or the regular expression `*`, it asks for presence."""
    if value is None:
        return False
    if "regex" in match:
        return match["regex"] == "*" or re2_full(match["regex"], value)
    for kind in ("exact", "prefix"):
        if kind in match:
            wanted = match[kind].lower() if ignore_case else match[kind]
            shown = value.lower() if ignore_case else value
            return shown == wanted if kind == "exact" else shown.startswith(wanted)
    return True


def _at_port(policy: Obj, port: int | None) -> Obj:
    """A port's own entry replaces the blocks of the whole policy."""
    for entry in policy.get("portLevelSettings") or []:
        if (entry.get("port") or {}).get("number") == port:
            return {k: v for k, v in entry.items() if k != "port"}
    return {k: v for k, v in policy.items() if k != "portLevelSettings"}


def _outlier(policy: Obj) -> Breaker | None:
    block = policy.get("outlierDetection")
    if block is None:
        return None
    failures = block.get("consecutive5xxErrors")
    failures = 5 if failures is None else int(failures)
    return Breaker(failures, go_duration(block.get("baseEjectionTime") or "30s") or 0) if failures else None


def _faults(entry: Obj) -> tuple[tuple[str, str], ...]:
    """Injected faults with a percentage above zero; one without percentage never happens."""
    out = []
    for kind, fields in (("abort", ("httpStatus", "grpcStatus")), ("delay", ("fixedDelay",))):
        block = (entry.get("fault") or {}).get(kind) or {}
        percent = (block.get("percentage") or {}).get("value", block.get("percent", 0))
        if percent:
            out.append((kind, f"{percent:g}% " + " ".join(str(block[f]) for f in fields if f in block)))
    return tuple(out)


__all__ = ["Outcome", "default_retries", "fqdn", "route"]
