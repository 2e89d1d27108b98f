"""How Istio says routing: the lift of VirtualServices, and of the Gateway API routes that istiod reads.

The first rule that matches decides; a request that none takes is answered 404; regular expressions match from end to end; a `prefix` is
one of characters.
https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import routes as gateway_api
from meshport.dialects.gateway_api.durations import milliseconds, rounded
from meshport.dialects.gateway_api.patterns import folded
from meshport.dialects.istio import delegates, gateways, reach, resilience
from meshport.dialects.istio.folded import past_folded
from meshport.dialects.istio.resilience import Subsets, full_host, own_ref, resolve
from meshport.dialects.istio.waypoints import in_ambient
from meshport.ir.authorization import Pattern
from meshport.ir.base import ANYWHERE, NOWHERE, Fact, Ref, Src
from meshport.ir.routing import Backend, Filter, RouteMatch, RouteRule, ServiceRoutes, Subset, gather

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound

_LISTED = ("sniHosts", "destinationSubnets", "gateways")  # demands of a match that are lists of texts
DROPPED_SHADOWS = ("mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent")


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR) -> None:
    """Routes and service policies of the documents at `numbers`, into `ir`."""
    documents = bound.bundle.documents

    def of(kind: str, group: str) -> list[int]:
        chosen = [
            i for i in numbers if (bound.kinds.get(i, documents[i].kind), documents[i].group) == (kind, group) and i not in bound.broken
        ]
        return sorted(chosen, key=lambda i: (documents[i].namespace or options.default_namespace, documents[i].name))

    ambient = frozenset(name for name, namespace in world.namespaces.items() if in_ambient(namespace))
    subsets = resilience.lift_rules(bound, of("DestinationRule", "networking.istio.io"), options, ir, ambient)
    reach.settle(ir, world, options)
    found: list[ServiceRoutes] = []
    for number in of("VirtualService", "networking.istio.io"):
        root = Cursor.root(bound, number)
        found.extend(_virtual_service(root, subsets, options))
        empty = [place for key in ("http", "tls", "tcp") if (place := root.at("spec", key)).value == []]
        ir.idle.extend(Fact("an empty list has no rules", place.src, "routing.match.path") for place in empty)
    ir.routes.extend(
        _ported(routes, world) for routes in _over_services(delegates.inlined(_anywhere(found, bound, ir, ambient)), world, options)
    )
    gateway_api.lift(bound, numbers, world, options, ir, family="istio")
    gateways.lift(bound, ir)


# -- VirtualService


def _anywhere(found: list[ServiceRoutes], bound: Bound, ir: IR, ambient: frozenset[str]) -> list[ServiceRoutes]:
    """The rules without the namespaces of objects that would say the same in every namespace: which name every host in full, for all to see."""
    owners: dict[str, set[int]] = {}
    for routes in found:
        owners.setdefault(routes.host.value, set()).add(routes.document)
    out = []
    for routes in found:
        home = Cursor.root(bound, routes.document).at("metadata", "namespace").src
        elsewhere = replace(routes, ref=Fact(routes.ref.value, routes.ref.src - home, routes.ref.feature))
        placed = (
            bool(gather(elsewhere) & home or any(fact.value != "*" for fact in routes.exports))
            or len(owners[routes.host.value]) > 1  # of several the first by namespace and name goes before
            or routes.at_gateways  # whose routes stand in the namespace of their object
            or routes.service is None  # a delegate, or a host outside: its routes stand beside the clients
            or routes.service.value.namespace in ambient  # whose waypoints read the rules of their own namespace alone
            or any(rule.filter("mirror") is not None or delegates.delegate_of(rule) is not None for rule in routes.rules)
        )
        if home and not placed:
            ir.idle.append(Fact(ANYWHERE, home, "identity.namespace"))
        out.append(routes if placed else elsewhere)
    return out


def _ported(routes: ServiceRoutes, world: World) -> ServiceRoutes:
    """The rules with the port of other Services that have just one, where a destination names none: it gets the requests for every port
    (pilot/pkg/networking/core/route/route.go in istio/istio, GetDestinationCluster)."""

    def ported(backend: Backend) -> Backend:
        known = world.services.get(backend.service.value) if backend.service is not None and backend.port is None else None
        if known is None or len(known.ports) != 1 or (routes.service is not None and known.ref == routes.service.value):
            return backend
        return replace(backend, port=Fact(known.ports[0].number, known.ports[0].number_src, "routing.destination-port"))

    if routes.protocol != "http":
        return routes
    return replace(routes, rules=tuple(replace(rule, backends=tuple(map(ported, rule.backends))) for rule in routes.rules))


def _over_services(found: list[ServiceRoutes], world: World, options: Options) -> list[ServiceRoutes]:
    """The rules with those for a host with a wildcard as rules for each known Service that it covers and no VirtualService names."""
    own = {routes.service.value for routes in found if routes.service is not None and routes.mesh}
    out: list[ServiceRoutes] = []
    for routes in found:
        pattern = routes.host.value
        covered = [
            ref for ref in sorted(world.services) if ref not in own and resilience.covers(pattern, resilience.fqdn(ref, options))
        ] if routes.mesh and routes.service is None and pattern.startswith("*.") else []  # fmt: skip
        src = routes.host.src
        out.extend(
            replace(
                routes, service=Fact(ref, src, routes.host.feature), host=Fact(resilience.fqdn(ref, options), src, routes.host.feature),
                hosts=routes.hosts + len(covered), warnings=routes.warnings if number == 0 else (),
            )
            for number, ref in enumerate(covered)
        )  # fmt: skip
        if not covered:
            out.append(routes)
    return out


def _virtual_service(root: Cursor, subsets: Subsets, options: Options) -> list[ServiceRoutes]:
    spec = root.at("spec")
    ref = own_ref(root, options)
    namespace = ref.value.namespace
    gateways = spec.strings("gateways")
    exports = spec.strings("exportTo")
    home = root.at("metadata", "namespace").src
    named = tuple(_at_home(host.map(str.lower), home) for host in spec.strings("hosts"))
    hosts = _once(named, namespace, options) or (Fact("", NOWHERE, "routing.host"),)
    silenced: list[tuple[str, Src]] = []
    warnings = tuple(
        ("MP410", Fact(text.value, text.src, "timeout.request"))
        for item in spec.each("http")
        for text in (item.text("timeout"), item.text("retries", "perTryTimeout"))
        if text is not None and rounded(text.value)
    )
    rules = tuple(_rule(item, namespace, home, subsets, options, silenced) for item in spec.each("http"))
    found: list[ServiceRoutes] = []
    for host in hosts:
        service = resolve(host.value, namespace, options) if host.value else None
        for consumer in _consumers(exports, namespace, service):
            base = ServiceRoutes(
                ref,
                "VirtualService",
                Fact(service, host.src, host.feature) if service else None,
                Fact(full_host(host.value, namespace, options) if host.value else "", host.src, host.feature),
                None,
                rules,
                "first",
                "refuse",
                root.number,
                (root.number,),
                gateways=gateways,
                family="istio",
                consumer=consumer,
                exports=exports,
                hosts=len(hosts),
                silenced=tuple(silenced),
                warnings=warnings if not found else (),
                src=spec.src | host.src,
            )
            if rules or not (spec.each("tls") or spec.each("tcp")):
                found.append(base)
            found.extend(
                replace(
                    base,
                    rules=tuple(_connection(item, namespace, home, subsets, options) for item in spec.each(protocol)),
                    protocol=protocol,
                    src=spec.at(protocol).src | host.src | gather(gateways, exports),
                    unmatched="forward",
                )
                for protocol in ("tls", "tcp")
                if spec.each(protocol)
            )
    return found


def _once(hosts: tuple[Fact[str], ...], namespace: str, options: Options) -> tuple[Fact[str], ...]:
    """The hosts, each once: `reviews` and `reviews.shop.svc.cluster.local` in one list are one host, known from both places."""
    found: dict[str, Fact[str]] = {}
    for host in hosts:
        full = full_host(host.value, namespace, options).lower()
        found[full] = found[full].also(host) if full in found else host
    return tuple(found.values())


def _at_home(host: Fact[str], home: Src) -> Fact[str]:
    """A host with what it is known from: a short name is one of the object's own namespace."""
    return host.also(home) if host.value and "." not in host.value else host


def _consumers(exports: tuple[Fact[str], ...], namespace: str, service: Ref | None) -> list[Fact[str] | None]:
    """The namespaces whose clients alone follow the rules, where the Service's own is none of them; [None] where its clients, or all, do."""
    named = {namespace if fact.value == "." else fact.value: fact for fact in exports}
    if service is None or not named or any(name in ("*", "~", service.namespace) for name in named):
        return [None]
    return [fact.holding(name) for name, fact in sorted(named.items())]


def _rule(place: Cursor, namespace: str, home: Src, subsets: Subsets, options: Options, silenced: list[tuple[str, Src]]) -> RouteRule:
    name = place.text("name")
    headers, host = _headers(place), tuple[tuple[str, Fact[Any]], ...]()
    if not place.at("rewrite", "authority"):
        headers, host = _new_host(headers)
    filters = [*headers, *_redirect(place, silenced)]
    for key, kind in (("rewrite", "rewrite"), ("fault", "fault"), ("directResponse", "direct-response")):
        said = past_folded(place, place.leaves(key)) if kind == "rewrite" else place.leaves(key)
        if parts := (*said, *(host if kind == "rewrite" else ())):
            filters.append(Filter(kind, parts))
    if cors := _cors(place, silenced):
        filters.append(Filter("cors", cors))
    filters.extend(_mirrors(place, namespace, subsets, options))
    backends = tuple(_backend(item, namespace, home, subsets, options) for item in place.each("route"))
    return RouteRule(
        name.value if name else "",
        tuple(_match(item, silenced) for item in place.each("match")),
        backends,
        tuple(filters),
        timeout=place.get("timeout", milliseconds),
        retry=resilience.retry_of(place.at("retries")),
        extras=tuple((delegates.DELEGATE, fact) for fact in _delegate(place, namespace)),
        src=place.src,
    )


def _delegate(place: Cursor, namespace: str) -> list[Fact[Any]]:
    """The VirtualService that a rule hands its requests to."""
    name, there = place.text("delegate", "name"), place.text("delegate", "namespace")
    if name is None:
        return [fact for _, fact in place.leaves("delegate")]
    return [name.holding(Ref(there.value if there else namespace, name.value)).also(there)]


def _connection(place: Cursor, namespace: str, home: Src, subsets: Subsets, options: Options) -> RouteRule:
    """A rule for connections, with all that its matches ask for."""
    demands = ("sniHosts", "destinationSubnets", "sourceSubnet", "sourceLabels", "sourceNamespace", "gateways")
    matches = tuple(
        RouteMatch(
            others=_demands(item, demands),
            port=item.number_at("port"),
            src=item.src,
        )
        for item in place.each("match")
    )
    return RouteRule("", matches, tuple(_backend(item, namespace, home, subsets, options) for item in place.each("route")), src=place.src)


def _demands(place: Cursor, names: tuple[str, ...]) -> tuple[tuple[str, Fact[Any]], ...]:
    """What a match asks for beside the request itself. A list in which no text stands asks for something, but for nothing that is known."""
    found: list[tuple[str, Fact[Any]]] = []
    for name in names:
        fact = place.whole(name)
        if fact is None or not fact.value:
            continue
        if name in _LISTED and not (isinstance(fact.value, list) and all(isinstance(item, str) for item in fact.value)):
            texts = [item.value for item in place.strings(name)]
            found.append((name, fact.holding(texts)) if texts else (f"{name} of another type", fact))
        elif name == "sniHosts":
            found.append((name, fact.holding([text.lower() for text in fact.value])))
        else:
            found.append((name, fact))
    return tuple(found)


def _cors(place: Cursor, silenced: list[tuple[str, Src]]) -> tuple[tuple[str, Fact[Any]], ...]:
    """The answer to CORS requests; `allowOrigin` is a list of exact `allowOrigins`, and asked where there are none of those."""
    parts: list[tuple[str, Fact[Any]]] = []
    newer = bool(place.at("corsPolicy").each("allowOrigins"))
    for path, fact in place.leaves("corsPolicy"):
        if newer and path.startswith("allowOrigin["):
            silenced.append(("allowOrigins stands beside it, and is the one that is asked", fact.src))
        elif path.startswith("allowOrigin["):
            parts.append((path.replace("allowOrigin", "allowOrigins") + ".exact", fact))
        else:
            parts.append((path, _seconds(fact) if path == "maxAge" else fact))
    return tuple(parts)


def _seconds(fact: Fact[Any]) -> Fact[Any]:
    """A duration in whole seconds; as it stands where it is none."""
    try:
        return fact.map(lambda text: milliseconds(text) // 1000)
    except ValueError:
        return fact


def _mirrors(place: Cursor, namespace: str, subsets: Subsets, options: Options) -> list[Filter]:
    """Where copies of requests go: `host`, `port`, `subset` (with its `labels`) and `percent` of each; what is said otherwise under its own path."""

    def mirror(target: Cursor, share: Fact[Any] | None) -> Filter:
        parts: list[tuple[str, Fact[Any]]] = []
        if (host := target.text("host")) is not None:
            parts.append(("host", host.holding(full_host(host.value, namespace, options))))
        parts += [(name, fact) for name, fact in (("port", target.number_at("port", "number")), ("subset", target.text("subset"))) if fact]
        subset = target.text("subset")
        if (
            host is not None
            and subset is not None
            and (known := _subset(subsets, host.value, subset.value, namespace, options)) is not None
        ):
            parts.append(("labels", Fact(known, known.src, subset.feature)))
        return Filter("mirror", (*parts, *((("percent", share.map(float)),) if share is not None else ())))

    found = [mirror(item.at("destination"), _share(item.at("percentage"))) for item in place.each("mirrors") if item.at("destination")]
    if place.at("mirror"):
        share = _share(place.at("mirrorPercentage")) or place.get("mirrorPercent", _number) or place.get("mirror_percent", _number)
        found.append(mirror(place.at("mirror"), share))
    said = gather(tuple(item.parts for item in found))
    rest = tuple(
        (f"{key}.{path}" if path else key, fact)
        for key in DROPPED_SHADOWS for path, fact in place.leaves(key) if fact.value != [] and not fact.src <= said
    )  # fmt: skip
    return [*found, *([Filter("mirror", rest)] if rest else [])]


def _share(place: Cursor) -> Fact[float] | None:
    """A share in percent. One that is there and says nothing is none of the requests, where no share at all is each of them."""
    found = place.get("value", _number)
    return whole.holding(0.0) if found is None and (whole := place.whole()) is not None and whole.value == {} else found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    return value


def _backend(place: Cursor, namespace: str, home: Src, subsets: Subsets, options: Options) -> Backend:
    target = place.at("destination")
    host = _at_home(target.text("host") or Fact("", target.src, "routing.destination"), home)
    service = resolve(host.value, namespace, options) if host.value else None
    full = full_host(host.value, namespace, options)
    subset = target.text("subset")
    labels = _subset(subsets, host.value, subset.value, namespace, options, home) if subset is not None else None
    return Backend(
        Fact(service, host.src, host.feature) if service else None,
        Fact(full, host.src, host.feature),
        target.number_at("port", "number"),
        subset,
        labels,
        place.number_at("weight"),
        tuple(_headers(place)),
    )


def _subset(subsets: Subsets, host: str, name: str, namespace: str, options: Options, home: Src = NOWHERE) -> Subset | None:
    """A subset of a host as clients of a namespace see it. `home` are the leaves of the namespace, which decide where others see another one."""
    service, full = resolve(host, namespace, options), full_host(host, namespace, options)
    elsewhere = dict.fromkeys((*((service.namespace,) if service else ()), options.root_namespace))
    found = subsets.find(full, name, tuple(dict.fromkeys((namespace, *elsewhere))))
    alike = all(found == subsets.find(full, name, (other, *elsewhere)) for other in subsets.homes(full))
    return found if found is None or alike else replace(found, src=found.src | home)


def _headers(place: Cursor) -> list[Filter]:
    found = []
    for side, kind in (("request", "request-headers"), ("response", "response-headers")):
        parts: list[tuple[str, Fact[Any]]] = []
        for action in ("set", "add"):
            parts.extend(
                (f"{action}:{name.lower()}", fact) for name, item in place.items("headers", side, action) if (fact := item.fact(str))
            )
        parts.extend((f"remove:{fact.value.lower()}", fact) for fact in place.strings("headers", side, "remove"))
        if parts:
            found.append(Filter(kind, tuple(parts)))
    return found


def _new_host(headers: list[Filter]) -> tuple[list[Filter], tuple[tuple[str, Fact[Any]], ...]]:
    """A host set as a header of requests is a rewrite of the host, which Istio gives to Envoy as one (translateHeadersOperations and host_rewrite_literal in
    istio/istio, pilot/pkg/networking/core/route/route.go); one that Envoy computes stays a header."""
    kept: list[Filter] = []
    host: tuple[tuple[str, Fact[Any]], ...] = ()
    for item in headers:
        found = tuple(
            ("authority", replace(fact, feature="routing.rewrite-authority"))
            for name, fact in item.parts
            if item.kind == "request-headers" and name in ("set:host", "set::authority") and "%" not in fact.value
        )
        if len(found) == 1:
            host = found
            item = Filter(item.kind, tuple((name, fact) for name, fact in item.parts if fact.src != found[0][1].src))
        if item.parts:
            kept.append(item)
    return kept, host


def _redirect(place: Cursor, silenced: list[tuple[str, Src]]) -> list[Filter]:
    redirect = place.at("redirect")
    if not redirect:
        return []
    names = {"uri": "path", "prefixRewrite": "prefix", "authority": "hostname", "scheme": "scheme", "port": "port", "redirectCode": "code"}
    matches = place.each("match")
    parts: list[tuple[str, Fact[Any]]] = []
    if matches and all(match.at("uri", "exact") or match.at("uri", "regex") for match in matches):
        names["prefixRewrite"] = "path"  # Envoy puts it in the place of what was matched, which is the whole path
    same = not redirect.at("scheme") and not redirect.at("port")
    for path, fact in redirect.leaves():
        if path == "derivePort" and fact.value == "FROM_REQUEST_PORT" and same:
            silenced.append(("a redirect to the same scheme without a port is to the port of the request", fact.src))
        elif path == "derivePort" and fact.value == "FROM_PROTOCOL_DEFAULT":
            silenced.append(("what a redirect without a port does anyway", fact.src))
        else:
            parts.append((names.get(path, path or "empty"), fact))
    if all(name != "code" for name, _ in parts):
        parts.append(("code", Fact(301, NOWHERE, "routing.redirect-code")))
    return [Filter("redirect", tuple(parts))]


def _match(place: Cursor, silenced: list[tuple[str, Src]]) -> RouteMatch:
    path = _string(place.at("uri"))
    fold = place.get("ignoreUriCase", bool)
    if fold is not None and fold.value and path is not None and path.value.kind in ("exact", "prefix"):
        path = path.map(folded).also(fold)
    elif fold is not None:
        silenced.append(("case is ignored in exact and prefix matches of the path alone, and only where this is true", fold.src))
    idle = frozenset() if fold is None or (path is not None and fold.src <= path.src) else fold.src
    if told := place.at("name").src | place.at("statPrefix").src:
        silenced.append(("names the match in logs and metrics; no request is treated differently", told))
    headers = tuple((name.lower(), fact) for name, item in place.items("headers") if (fact := _string(item, presence=True)))
    query = tuple((name, fact) for name, item in place.items("queryParams") if (fact := _string(item, presence=True)))
    unasked: Src = NOWHERE
    demands = ["scheme", "authority", "sourceLabels", "sourceNamespace", "gateways", "withoutHeaders"]
    if any(fact.value for fact in place.strings("gateways")):  # sourceMatchHTTP in pilot/pkg/networking/core/route/route.go
        unasked = place.at("sourceLabels").src | place.at("sourceNamespace").src
        if unasked:
            silenced.append(("beside gateways Istio looks at neither the labels nor the namespace of the client", unasked))
        demands = [name for name in demands if not name.startswith("source")]
    others = _demands(place, tuple(demands))
    name = place.text("name")
    return RouteMatch(
        path,
        _string(place.at("method")),
        tuple(sorted(headers, key=lambda item: item[0])),
        tuple(sorted(query, key=lambda item: item[0])),
        others,
        name.value if name else "",
        place.number_at("port"),
        place.src - idle - told - unasked,
    )


def _string(place: Cursor, presence: bool = False) -> Fact[Pattern] | None:
    """A StringMatch; `{}` (and the regex `*`) asks for presence where there can be absence."""
    if not place:
        return None
    for kind in ("exact", "prefix", "regex"):
        if (fact := place.text(kind)) is not None:
            if presence and kind == "regex" and fact.value == "*":
                return fact.holding(Pattern("any"))
            return fact.holding(Pattern(kind, fact.value))
    return Fact(Pattern("any"), place.src, "routing.match.headers") if presence else None


# -- lowering


def lower(ir: IR, out: Output, options: Options) -> None:
    """Routes as VirtualServices, or as HTTPRoutes of the Gateway API where `options.routes` asks for them."""
    from meshport.dialects.istio.virtual_service import lower_routes

    lower_routes(ir, out, options)


__all__ = ["Ref", "lift", "lower"]
