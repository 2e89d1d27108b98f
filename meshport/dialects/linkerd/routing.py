"""How Linkerd says routing: ServiceProfiles, TrafficSplits, routes of both groups, annotations; both directions.

With one route on a Service a request that none matches is answered 404; a ServiceProfile lets it through, and switches routes,
annotations and failure
accrual of its Service off. https://linkerd.io/2-edge/reference/httproute/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.gateway_api import attachment, connections, gateways
from meshport.dialects.gateway_api import routes as gateway_api
from meshport.dialects.gateway_api import routing as shared
from meshport.dialects.gateway_api.attachable import attachable, dormant, of_the_mesh, second, speaker
from meshport.dialects.gateway_api.writing import warn
from meshport.dialects.linkerd import profiles, resilience
from meshport.dialects.linkerd.routes import Lowering
from meshport.findings import Affected
from meshport.ir import listening
from meshport.ir.base import Ref
from meshport.ir.routing import ServiceRoutes, gather, ingress_subject, outer_gateways
from meshport.mapping.table import version_key

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound


CONNECTIONS = {"tls": "gateway.networking.k8s.io/v1alpha2", "tcp": "gateway.networking.k8s.io/v1alpha2"}
"""The versions that Linkerd is pinned to, since 2.17 (policy-controller, k8s/api)."""


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR) -> None:
    """Routes and breakers of the documents at `numbers` and of the Services of the world, into `ir`."""
    before = len(ir.routes)
    gateway_api.lift(bound, numbers, world, options, ir, family="linkerd")
    profiled = profiles.lift(bound, numbers, world, options, ir, before)
    resilience.lift_services(bound, world, ir, profiled)


def lower(ir: IR, out: Output, options: Options) -> None:
    """Routes as HTTPRoutes on Services; what belongs to an ingress stays as it is, or is handed to the implementation that `gateway_class` names."""
    _gateways(ir, out, options)
    attachment.by_marks(ir, out)
    seen: dict[tuple[Ref, str], ServiceRoutes] = {}
    for routes in sorted(ir.routes, key=lambda item: (item.host.value, item.protocol, item.ref.value, item.port.value if item.port else 0)):
        for reason, src in routes.silenced:
            out.ignore(reason, src)
        warn(routes, out)
        _one(routes, seen, ir, out, options)
    if options.gateway_class:
        _handed_over(ir, out, options)


def _one(routes: ServiceRoutes, seen: dict[tuple[Ref, str], ServiceRoutes], ir: IR, out: Output, options: Options) -> None:
    say = speaker(routes, ir, out)
    if routes.problem:
        say(routes.problem, "invalid")
        dormant(routes, ir, out)
    elif routes.kind in ("HTTPRoute", "GRPCRoute", *connections.KINDS) and routes.gateways:
        out.imply("stays as it is: a route of the ingress, which is no part of Linkerd", routes.src)
    elif routes.kind in connections.KINDS or (routes.family == "linkerd" and routes.kind in ("HTTPRoute", "GRPCRoute", "Service")):
        out.imply("stays as it is", routes.src)
    elif not routes.mesh and options.gateway_class:
        pass  # see `_handed_over`
    elif not routes.mesh:
        say("MP701", "manual", gateways=", ".join(gateway.value for gateway in routes.gateways))
    elif routes.beyond is not None and out.supports("egress.mode"):
        seen_by = tuple(fact for fact in routes.exports if fact.value != "*")
        out.imply("the rules are written beside the egress networks of the namespaces that see them", *seen_by)
        of_the_mesh(replace(routes, exports=tuple(fact for fact in routes.exports if fact not in seen_by)), out)
        through = [gateway for gateway in routes.gateways if gateway.value != "mesh"]
        if through:
            say("MP390", host=routes.host.value, gateways=", ".join(gateway.value for gateway in through))
    elif routes.family == "istio" and second(routes, seen, ir, out, say):
        pass
    elif (service := attachable(routes, seen, ir, say)) is not None:
        of_the_mesh(routes, out)
        for gateway in routes.gateways:
            if gateway.value != "mesh" and not options.gateway_class:
                out.finding(
                    "MP702", gateway, document=routes.document, disposition="manual", rule=gateway.value,
                    explains=frozenset((ingress_subject(ref), "*") for ref in outer_gateways(routes)),
                    affects=(Affected(service.ref.namespace, service.ref.name, routes.port.value if routes.port else None),),
                    subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
                )  # fmt: skip
        low = Lowering(ir, out, options, routes, service)
        if routes.protocol in ("tls", "tcp"):
            connections.write(low, CONNECTIONS if version_key(options.target_version) >= (2, 17) else {})
        else:
            if routes.family == "gateway-api":
                shared.open_order(routes, ir, out, "the translation")
            low.write()


def _handed_over(ir: IR, out: Output, options: Options) -> None:
    """Istio's own gateways and the rules at them, for an implementation of the Gateway API beside Linkerd: what it can say is what that API can, in the
    release that the mesh reads too."""
    release = out.table.gateway_release("linkerd", options.target_version) or "1.0"
    beside, wanted = (
        replace(out, target="gateway-api", target_version=release),
        replace(options, target="gateway-api", target_version=release),
    )
    own = replace(ir, gateways=[gateway for gateway in ir.gateways if gateway.kind == "networking.istio.io"])
    shared.at_gateways(own, beside, wanted, gateways.lower(own, beside, wanted))
    shared.left_over(own, out)


def _gateways(ir: IR, out: Output, options: Options) -> None:
    """Gateways stay; Linkerd brings no implementation for them, so the class that Istio served has to become another."""
    for gateway in sorted(ir.gateways, key=lambda item: (item.kind, item.ref.value)):
        name = str(gateway.ref.value)
        if gateway.ref.value in ir.ways_out and (options.gateway_class or gateways.way_out(gateway, ir, out)):
            continue  # with a class it is said where the others are handed over
        if gateway.kind == "networking.istio.io" and options.gateway_class:
            out.finding(
                "MP346", document=gateway.document, affects=(Affected(gateway.ref.value.namespace, gateway.ref.value.name),), gateway=name,
                name=options.gateway_class,
            )  # fmt: skip
            continue
        if gateway.kind == "networking.istio.io":
            src = gather(gateway.ref, gateway.implementation) | _spec(out, gateway.document)
            out.finding(
                "MP703", src, document=gateway.document, disposition="manual", gateway=name, explains=listening.explains(gateway.ref.value)
            )
            gateways.guarded(gateway, ir, out, options, "the ingress that takes over has to judge them")
            continue
        out.imply(
            "stays as it is: the Gateway API is served by another implementation than the mesh",
            _spec(out, gateway.document) - gateway.implementation.src,
        )
        mesh_class = gateway.implementation.value.startswith("istio")
        if options.gateway_class and gateways.hand_over(gateway, ir, out, options):
            continue
        if not mesh_class:
            out.imply("stays as it is: served by an implementation that is no part of the source mesh", gateway.implementation)
        elif options.gateway_class and not gateway.waypoint:
            gateways.handed_over(gateway, ir, out, options)
        else:
            out.finding(
                "MP704", gateway.implementation, document=gateway.document, disposition="manual", gateway=name,
                value=gateway.implementation.value,
                affects=(Affected(gateway.ref.value.namespace, None, None),),
            )  # fmt: skip
            gateways.guarded(gateway, ir, out, options, "the ingress that takes over has to judge them")


def _spec(out: Output, number: int) -> frozenset[int]:
    from meshport.mapping.paths import leaves_below

    return frozenset(leaf for leaf, _ in leaves_below(out.bundle.documents[number].leaves.get("spec", {}), ()))
