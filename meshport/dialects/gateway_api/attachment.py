"""Which routes a Gateway lets hang on its listeners, by their namespace, kind and hosts.

A route that no listener admits takes no request (gateway-api.sigs.k8s.io/reference/spec, AllowedRoutes; the kinds that a protocol admits by default are
those of ListenerStatus.supportedKinds). The servers of Istio's own Gateway admit by `namespace/host` (istio.io/latest/docs/reference/config/networking/gateway).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.enrolment import mark
from meshport.findings import Affected
from meshport.ir.base import Ref, Selector, Src
from meshport.ir.model import Admits, Gateway, Listener
from meshport.ir.routing import ServiceRoutes, gateway_of, gather, ingress_subject
from meshport.values.hosts import narrower

if TYPE_CHECKING:
    from meshport.dialects.cursor import Cursor
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import World

GROUP = "gateway.networking.k8s.io"
NAME = "kubernetes.io/metadata.name"
_KINDS = {
    "HTTP": ("HTTPRoute", "GRPCRoute"), "HTTPS": ("HTTPRoute", "GRPCRoute"), "TLS": ("TLSRoute", "TCPRoute"), "TCP": ("TCPRoute",), "UDP": ("UDPRoute",),
}  # fmt: skip

UNATTACHED = "MP348"
"""What is said of routes that none of their Gateways takes up."""


def admits(listener: Cursor) -> Admits:
    """What `allowedRoutes` of a listener says; where it says nothing, routes of the Gateway's own namespace of every kind that the protocol has."""
    return admitted(listener.at("allowedRoutes"), "Same")


def admitted(place: Cursor, default: str) -> Admits:
    """What is said of the namespaces and kinds that are let in, with what holds without a word of the first."""
    origin = place.at("namespaces").text("from")
    selector = place.at("namespaces").selector("selector") if place.at("namespaces", "selector") else None
    listed = place.each("kinds")
    kinds = (
        tuple(str(item.at("kind").value) for item in listed if not item.at("group") or item.at("group").value == GROUP) if listed else None
    )
    return Admits(origin.value if origin is not None else default, selector.value if selector is not None else Selector(), kinds)


def settle(ir: IR) -> None:
    """Take the Gateways away from routes that none of their listeners admits; a Gateway that the input does not show admits what names it."""
    own = {item.ref.value: item for item in ir.gateways if item.kind != GROUP}
    api = {item.ref.value: item for item in ir.gateways if item.kind == GROUP}
    of_istio, of_api = {**api, **own}, {**own, **api}
    for number, routes in enumerate(ir.routes):
        if not routes.problem and routes.gateways:  # of two of a name, that of the route's own words
            known = of_istio if routes.kind == "VirtualService" else of_api
            ir.routes[number] = _settled(routes, known, ir.world)
    acting: dict[int, list[ServiceRoutes]] = {}
    for routes in ir.routes:
        if not routes.problem:
            acting.setdefault(routes.document, []).append(routes)
    for number, routes in enumerate(ir.routes):
        if routes.problem == UNATTACHED and (beside := acting.get(routes.document)):  # another parent, or another host of it, is taken up
            shared = gather(*((other.host, other.gateways, other.rules) for other in beside))
            ir.routes[number] = replace(routes, src=gather(routes.host, routes.gateways) - shared or gather(routes.gateways))


def by_marks(ir: IR, out: Output) -> None:
    """Say which Gateways admit namespaces by a label that the source mesh's move takes from them."""
    for gateway in ir.gateways:
        listeners = [item.admits.selector for item in gateway.listeners if item.admits is not None and item.admits.origin == "Selector"]
        keys = {key for said in listeners for key in (*dict(said.labels), *(item.key for item in said.expressions))}
        lost = sorted(key for key in keys if mark(out, "labels", key) is not None)
        if lost:
            out.finding(
                "MP349", document=gateway.document, affects=(Affected(gateway.ref.value.namespace, gateway.ref.value.name),),
                explains=frozenset({(ingress_subject(gateway.ref.value), "*")}), gateway=str(gateway.ref.value), labels=", ".join(lost),
            )  # fmt: skip


def _settled(routes: ServiceRoutes, known: dict[Ref, Gateway], world: World) -> ServiceRoutes:
    kept, gone = [], []
    sections = routes.sections
    for fact in routes.gateways:
        gateway = known.get(gateway_of(fact.value, routes.ref.value.namespace)) if fact.value != "mesh" else None
        if gateway is None or not gateway.listeners:
            kept.append(fact)
            continue
        shown = _shown(routes, gateway, world)
        admitting = [item for item in gateway.listeners if shown and _takes(item, gateway, routes, world)]
        if not admitting:
            gone.append(fact)
            continue
        kept.append(fact)
        if gateway.kind == GROUP and not sections and len(admitting) < len(gateway.listeners):
            sections = tuple(item.name.value for item in admitting if item.name is not None)
    if gone and not kept:
        return replace(routes, problem=UNATTACHED)
    refused: Src = frozenset(leaf for fact in gone for leaf in fact.src)
    reason = "no listener of the Gateway admits the route, which takes no request there"
    return replace(
        routes, gateways=tuple(kept), sections=sections, silenced=(*routes.silenced, (reason, refused)) if gone else routes.silenced
    )


def served_in(gateway: Gateway, world: World) -> frozenset[str]:
    """The namespaces of the pods that serve a Gateway in a mesh's own words: which rules they act on goes by these, and not by the Gateway's own
    (pilot/pkg/model/push_context.go in istio/istio, VirtualServicesForGateway). Empty where the bundle shows no such pod."""
    return frozenset(workload.ref.namespace for workload in world.workloads if gateway.selects(workload.labels))


def _shown(routes: ServiceRoutes, gateway: Gateway, world: World) -> bool:
    """Whether pods that serve the Gateway get to see the rules (`exportTo`); True also where the bundle shows none of them."""
    told = {routes.ref.value.namespace if fact.value == "." else fact.value for fact in routes.exports}
    if not told or "*" in told:
        return True
    homes = served_in(gateway, world)
    return not homes or bool(homes & told)


def _takes(listener: Listener, gateway: Gateway, routes: ServiceRoutes, world: World) -> bool:
    """Whether a listener lets routes hang on it; True also where a label of their namespace that decides is not known."""
    if gateway.kind != GROUP:
        return not listener.hosts or any(_of_istio(fact.value, gateway, routes) for fact in listener.hosts)
    if routes.sections and (listener.name is None or listener.name.value not in routes.sections):
        return False
    if routes.listener_port is not None and routes.listener_port != listener.port.value:
        return False
    said = listener.admits
    of_protocol = _KINDS.get(listener.protocol.value)
    if of_protocol is not None and routes.kind not in of_protocol:
        return False
    home, own = routes.ref.value.namespace, gateway.ref.value.namespace
    if said is not None and (not from_there(said, own, home, world) or (said.kinds is not None and routes.kind not in said.kinds)):
        return False
    mine = [fact.value for fact in routes.hostnames]
    return not mine or not listener.hosts or any(narrower(listener.hosts[0].value, host) is not None for host in mine)


def from_there(said: Admits, own: str, home: str, world: World) -> bool:
    """Whether objects of a namespace are let in by a Gateway of the namespace `own`; True also where a label that decides is not known."""
    if said.origin == "Selector":
        there = world.namespaces.get(home)
        if there is None and (said.selector.expressions or any(key != NAME for key, _ in said.selector.labels)):
            return True  # the labels of the namespace are not known
        return said.selector.accepts({**(there.labels if there is not None else {}), NAME: home})
    return said.origin == "All" or (said.origin == "Same" and home == own)


def _of_istio(text: str, gateway: Gateway, routes: ServiceRoutes) -> bool:
    """Whether a server's `namespace/host` is for a VirtualService, whose host may be written short."""
    namespace, _, host = text.rpartition("/")
    home = routes.ref.value.namespace
    if namespace not in ("", "*") and home != (gateway.ref.value.namespace if namespace == "." else namespace):
        return False
    ref = routes.service.value if routes.service is not None else None
    names = [routes.host.value] if ref is None else [routes.host.value, ref.name, f"{ref.name}.{ref.namespace}"]
    return routes.kind != "VirtualService" or any(narrower(host, name) is not None for name in names)
