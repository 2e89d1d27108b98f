"""Routes for connections: TLSRoutes and TCPRoutes on Services, read; and the `tls` and `tcp` rules of a VirtualService as such routes, on Services and Gateways.

A connection is known by its port and, where it is TLS, by the name that the client asks for (SNI). One route has one rule, as Linkerd's admission wants it.
https://gateway-api.sigs.k8s.io/reference/spec/#tcproute, https://istio.io/latest/docs/reference/config/networking/virtual-service/#TLSMatchAttributes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.forwarding import backend_of
from meshport.dialects.gateway_api.ingress import IngressLowering
from meshport.dialects.gateway_api.routes import GROUP, named
from meshport.dialects.gateway_api.service_ports import speaks_http
from meshport.dialects.gateway_api.writing import Target, shares, weighed
from meshport.ir.base import Fact, Ref, sources
from meshport.ir.routing import NAMES, RouteMatch, RouteRule, ServiceRoutes, comes_by, gather, of_mesh

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.gateway_api.gateways import Section
    from meshport.dialects.gateway_api.lowering import RouteLowering
    from meshport.dialects.output import Obj
    from meshport.ir.world import Service

KINDS = {"TLSRoute": "tls", "TCPRoute": "tcp"}
DIRECT = "connections go to the Service itself"
_AT_GATEWAY = "those that the Gateway accepts go by its other routes, or are closed"
_TLS = ("tls", "https")
_ON_SERVICES = ("linkerd", "gateway-api", "istio")  # who follows such a route on a Service


def lift(root: Cursor, options: Options, family: str) -> list[ServiceRoutes]:
    """The rules of a TLSRoute or TCPRoute for each Service that it is on."""
    kind = root.document.kind
    spec, ref = root.at("spec"), named(root, options)
    namespace = ref.value.namespace
    hosts = spec.strings("hostnames") if kind == "TLSRoute" else ()
    matches = (RouteMatch(others=((NAMES, Fact([fact.value for fact in hosts], sources(*hosts), hosts[0].feature)),)),) if hosts else ()
    rules = []
    for item in spec.each("rules"):
        listed = item.each("backendRefs")
        backends = tuple(backend_of(one, namespace, options, len(listed) > 1, family) for one in listed)
        rules.append(RouteRule(ref.value.name, matches, backends, src=item.src))
    found = []
    for parent in spec.each("parentRefs"):
        name, place = parent.text("name"), parent.text("namespace")
        target = parent.text("kind")
        if name is None:
            continue
        where = Ref(place.value if place else namespace, name.value)
        src = parent.src - parent.at("port").src | (root.at("metadata", "namespace").src if place is None else frozenset())
        host = Fact(f"{where.name}.{where.namespace}.svc.{options.cluster_domain}", src, name.feature)
        service: Fact[Ref] | None = None
        port: Fact[int] | None = None
        gateways: tuple[Fact[str], ...] = ()
        if target is not None and target.value == "Service" and parent.at("group").value in ("", "core"):
            service, port = Fact(where, src, name.feature), parent.number_at("port")
        elif target is None or target.value == "Gateway":
            gateways = (Fact(str(where), parent.src, name.feature),)
        if (service is None or family not in _ON_SERVICES) and not gateways:
            continue
        found.append(
            ServiceRoutes(
                ref, kind, service, host, port, tuple(rules), "first", "forward", root.number, (root.number,), protocol=KINDS[kind],
                family=family, src=spec.src, gateways=gateways,
                sections=(section.value,) if gateways and (section := parent.text("sectionName")) is not None else (),
                consumer=Fact(namespace, ref.src, "routing.consumer") if service is not None and where.namespace != namespace else None,
            )
        )  # fmt: skip
    return found


# -- lowering


def versions(release: tuple[int, ...]) -> dict[str, str]:
    """The versions that a release of the Gateway API has of the two kinds."""
    return {
        "tls": f"{GROUP}/v1" if release >= (1, 5) else f"{GROUP}/v1alpha2",
        "tcp": f"{GROUP}/v1" if release >= (1, 6) else f"{GROUP}/v1alpha2",
    }


def write(low: RouteLowering, apis: Mapping[str, str], gateways: list[tuple[Ref, Fact[str]]] | None = None) -> None:
    """The rules as routes on the Service of `low`, or on Gateways where some are given; where one cannot be said, none is, with the finding MP306."""
    routes = low.routes
    api, kind = apis.get(routes.protocol), "TLSRoute" if routes.protocol == "tls" else "TCPRoute"
    _nowhere(low)
    rules = [rule for rule in routes.rules if rule.backends]
    entries = [
        (rule, match, ports)
        for rule in rules
        if not _idle(low, rule, gateways)
        for match in rule.matches or (RouteMatch(),)
        if _here(low, rule, match, gateways)
        for ports in [_ports(low, match, gateways)]
    ]
    if not entries:
        low.out.ignore("none of the rules acts on a connection", gather(routes.host, routes.service))
        return
    if (
        api is None
        or any(_unsaid(match, routes.protocol) or not ports for _, match, ports in entries)
        or any(backend.service is None for rule in rules for backend in rule.backends)
    ):
        heard = all(ports for _, _, ports in entries)
        outcome = DIRECT if gateways is None else _AT_GATEWAY if heard else _unheard(low, gateways)
        low.say("MP306", routes.src, gather(rules), aspects=("rules", "backends"), protocol=routes.protocol.upper(), outcome=outcome)
        return
    closed: set[int] = set()
    for rule, match, ports in entries:
        live = [port for port in ports if not closed & {port, 0}]
        if not live:
            low.out.ignore("no connection reaches this rule: an earlier one takes every one of the port", gather(rule), rule.src)
        for port in live:
            targets = _targets(low, rule, port)
            if targets is None:
                return
            _object(low, api, kind, (rule, match, port), targets, gateways)
        if not any(name == NAMES for name, _ in match.others):
            closed.update(live)


def _unheard(low: RouteLowering, gateways: list[tuple[Ref, Fact[str]]]) -> str:
    """Why no listener is known to take connections on the port that a rule asks for."""
    assert isinstance(low, IngressLowering)
    unknown = ", ".join(str(ref) for ref, _ in gateways if ref not in low.entries)
    return (
        f"Gateway {unknown} is not in the input, so that which of its listeners has the port is not known"
        if unknown
        else "no listener takes them"
    )


def _nowhere(low: RouteLowering) -> None:
    """Say of rules that name no destination that nothing comes of them: istiod refuses them."""
    told = [rule for rule in low.routes.rules if not rule.backends]
    if told and low.routes.src not in low.told:
        whole = () if len(told) < len(low.routes.rules) else (low.routes.src,)
        low.say("MP330", *whole, gather(told), aspects=("rules",), disposition="invalid", protocol=low.routes.protocol, count=len(told))


def _here(low: RouteLowering, rule: RouteRule, match: RouteMatch, gateways: list[tuple[Ref, Fact[str]]] | None) -> bool:
    """Whether a match holds where the routes are written: in the mesh, or at one of the gateways."""
    if gateways is not None:
        return comes_by(match, {str(ref) for ref, _ in gateways}, low.routes.ref.value.namespace)
    fact = next((fact for name, fact in match.others if name == "gateways"), None)
    if fact is None:
        return True
    if "mesh" not in fact.value and low.linkerd:  # no Gateway is Linkerd's
        found = low.lost(fact, "rules", what="match on gateways", rule=low.routes.protocol, path="every connection")
        if found is not None:
            whole = gather(rule) if not any(of_mesh(one) for one in rule.matches) else gather(match)
            found.leaves = tuple(sorted({*found.leaves, *match.src, *whole}))
    return "mesh" in fact.value


def _idle(low: RouteLowering, rule: RouteRule, gateways: list[tuple[Ref, Fact[str]]] | None) -> bool:
    """Whether Istio has no connection for a rule in the mesh: `tls` rules act on the ports for TLS alone, `tcp` rules on those that are for neither TLS nor HTTP.

    https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
    """
    if gateways is not None or low.routes.family != "istio":
        return False
    for match in rule.matches or (RouteMatch(),):
        named = match.port.value if match.port is not None else None
        if acting(low.service, low.routes.protocol, named) or (named is not None and low.service.port(named) is None):
            return False  # a port that is not there is said otherwise
    words = "TLS" if low.routes.protocol == "tls" else "neither TLS nor HTTP"
    low.out.ignore(f"the rule acts on ports for {words}, and is for none of them", gather(rule), rule.src)
    return True


def acting(service: Service, protocol: str, named: int | None) -> list[int]:
    """The ports of a Service on which Istio asks its `tls` or `tcp` rules, of those that a match may name; on a port without a name the bytes decide."""
    spoken = [port for port in service.ports if port.protocol == "TCP"]
    tls = [port for port in spoken if (port.app_protocol or port.name).lower().split("-")[0] in _TLS]
    bytes_alone = [port for port in spoken if port not in tls and not speaks_http(port)]
    if named is None:
        return [port.number for port in (tls if protocol == "tls" else bytes_alone)]
    unsaid = [port for port in spoken if not (port.app_protocol or port.name)]
    return [port.number for port in (*(tls if protocol == "tls" else bytes_alone), *unsaid) if port.number == named][:1]


def _unsaid(match: RouteMatch, protocol: str) -> list[str]:
    """What a match asks for that no route can ask."""
    return [name for name, _ in match.others if not (name == NAMES and protocol == "tls") and name != "gateways"]


def _ports(low: RouteLowering, match: RouteMatch, gateways: list[tuple[Ref, Fact[str]]] | None) -> list[int]:
    """The ports that a match is for: the one that it names, or those of the Service that carry no HTTP; 0 for all of a Gateway."""
    if gateways is not None and match.port is None:
        return [0]
    if gateways is not None and match.port is not None:
        return [match.port.value] if any(item.port == match.port.value for item in _listening(low)) else []
    named = match.port.value if match.port is not None else None
    if low.routes.family == "istio":
        return acting(low.service, low.routes.protocol, named)
    asked = low.routes.port.value if low.routes.port is not None else None
    return [port.number for port in low.service.ports if port.protocol == "TCP" and asked in (None, port.number)]


def _listening(low: RouteLowering) -> list[Section]:
    """The listeners of the Gateways that routes of the protocol may hang on."""
    assert isinstance(low, IngressLowering)
    return low.listeners(*(("TLS",) if low.routes.protocol == "tls" else ("TCP", "TLS")))


def _targets(low: RouteLowering, rule: RouteRule, port: int) -> list[Target] | None:
    refs = [low.target(backend, port, rule) for backend in rule.backends]
    weights: list[int | None] = [None]
    backends = rule.backends
    if len(backends) > 1:
        weights = list(shares([backend.weight.value if backend.weight is not None else 0 for backend in backends]))
        backends = weighed(low.routes, backends, low.out)
    elif rule.backends and rule.backends[0].weight is not None:
        low.out.ignore("a single destination takes everything, whatever its weight", rule.backends[0].weight)
    found = []
    for backend, ref, weight in zip(backends, refs, weights, strict=False):
        number = backend.port.value if backend.port is not None else low.port_at(ref, port) if ref is not None else None
        if ref is None or number is None:
            return None
        found.append(Target(ref, number, weight, backend, gather(backend.host, backend.subset, backend.labels, low.routes.host)))
    return found


def _object(
    low: RouteLowering,
    api: str,
    kind: str,
    entry: tuple[RouteRule, RouteMatch, int],
    targets: list[Target],
    gateways: list[tuple[Ref, Fact[str]]] | None,
) -> None:
    rule, match, port = entry
    routes, because = low.routes, gather(low.routes.service, low.routes.host)
    consumer = routes.consumer.value if routes.consumer is not None else None
    namespace = routes.ref.value.namespace if gateways is not None else consumer or low.service.ref.namespace

    def taken(name: str) -> bool:
        place = (GROUP, kind, Ref(namespace, name))
        return place in low.out.objects or low.out.bundle_object(*place) is not None

    name = naming.unique(routes.ref.value.name, taken)
    if kind == "TLSRoute" and not any(name == NAMES and fact.value != ["*"] for name, fact in match.others):
        api = f"{GROUP}/v1alpha2"  # later versions want a name
    obj = low.out.object(
        api,
        kind,
        Ref(namespace, name),
        owner=routes.document,
        group=f"service {low.service.ref.name}",
        rank=31,
        because=because | gather(routes.ref),
    )
    if gateways is not None:
        _parents(obj, low, gateways, match.port)
    else:
        parent = {"group": low.group, "kind": "Service", "name": low.service.ref.name, "port": port}
        for key, value in parent.items():
            obj.set(("spec", "parentRefs", 0, key), value, because, *((match.port, routes.port) if key == "port" else ()))
        if namespace != low.service.ref.namespace:
            obj.set(("spec", "parentRefs", 0, "namespace"), low.service.ref.namespace, because, routes.consumer)
    _hosts(obj, match, low)
    for number, target in enumerate(targets):
        place: tuple[str | int, ...] = ("spec", "rules", 0, "backendRefs", number)
        obj.set((*place, "name"), target.ref.name, target.backend.host, target.because)
        if target.ref.namespace != namespace:
            obj.set((*place, "namespace"), target.ref.namespace, target.backend.host)
        obj.set((*place, "port"), target.port, target.backend.port or target.because)
        if target.weight is not None:
            obj.set((*place, "weight"), target.weight, *(other.backend.weight for other in targets))
    if low.grants:
        low.granted(obj, rule, targets)
    obj.note(f"from {routes.kind} {routes.ref.value}")


def _parents(obj: Obj, low: RouteLowering, gateways: list[tuple[Ref, Fact[str]]], port: Fact[int] | None) -> None:
    """The Gateways; of one that listens on other ports too the listeners on the port that the rule asks for."""
    assert isinstance(low, IngressLowering)
    there = _listening(low) if port is not None else []
    apart = any(port is not None and item.port != port.value for item in there)
    if port is not None and not apart:
        low.out.imply("every listener for such connections has this port", port)
    place = 0
    for ref, fact in gateways:
        entry = low.entries.get(ref)
        meant = (
            [item for item in entry.sections if item in there and port is not None and item.port == port.value] if entry and apart else []
        )
        for section in [item.name for item in meant] if apart else [""]:
            parent: tuple[str | int, ...] = ("spec", "parentRefs", place)
            obj.set((*parent, "name"), ref.name, fact)
            if ref.namespace != obj.ref.namespace:
                obj.set((*parent, "namespace"), ref.namespace, fact)
            if section:
                obj.set((*parent, "sectionName"), section, fact, port)
            place += 1


def _hosts(obj: Obj, match: RouteMatch, low: RouteLowering) -> None:
    """The names that clients ask for; a lone `*` is every name, which a route says by naming none."""
    for name, fact in match.others:
        if name == NAMES and fact.value != ["*"]:
            for number, host in enumerate(fact.value):
                obj.set(("spec", "hostnames", number), host, fact)
        elif name == NAMES:
            low.out.imply("a route without hostnames is for every name", fact)
        else:
            low.out.imply("the route hangs where the match holds", fact)
