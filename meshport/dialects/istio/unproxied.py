"""Routes that no proxy of ambient follows: ztunnel reads none, so those of a Service act at its waypoint, or not at all.

A sidecar follows them by itself, so nothing is said where one may be. A waypoint looks into the namespace of the Service and into its own
(istio.io/latest/docs/ambient/usage/l7-features).
"""

from __future__ import annotations

from dataclasses import replace

from meshport.dialects.gateway_api.attachable import DORMANT, dormant, speaker
from meshport.dialects.istio.waypoints import Waypoints, is_gateway, unread, without_sidecars
from meshport.dialects.output import Output
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.routing import ServiceRoutes, gather


def settle(ir: IR, stood: Waypoints) -> None:
    """Say of routes and of policies of Services that nobody follows them, and note the Services that clients reach without a proxy for HTTP."""
    if not without_sidecars(ir.world, stood):
        return
    bare = {
        ref
        for ref, service in ir.world.services.items()
        if ref not in stood.behind and (ref.namespace in ir.world.namespaces or service.headless)
    }
    ir.unproxied = frozenset(bare)
    for number, routes in enumerate(ir.routes):
        ref = routes.service.value if routes.service is not None else None
        if ref is None or routes.problem or not routes.mesh:
            continue
        if ref in bare or (ref in stood.behind and unread(routes.ref.value, routes.service, stood.behind[ref][0].ref.namespace)):
            ir.routes[number] = _outside(routes)
    if (
        any(gateway.selects(pod.labels) for gateway in ir.gateways for pod in ir.world.workloads)
        or ir.gateways
        or any(map(is_gateway, ir.world.workloads))
    ):
        return  # a gateway goes by the settings of a Service whatever stands before its pods
    for number, policy in enumerate(ir.service_policies):
        ref = policy.service.value if policy.service is not None else None
        if ref in bare and (policy.breaker is not None or policy.extras):
            reason = ("ztunnel goes by no settings of a Service, which has no waypoint", gather(policy.breaker, policy.extras))
            ir.service_policies[number] = replace(policy, breaker=None, extras=(), silenced=(*policy.silenced, reason))


def _outside(routes: ServiceRoutes) -> ServiceRoutes:
    """The routes as gateways follow them, without the mesh; all of them for nobody where there is none."""
    others: tuple[Fact[str], ...] = tuple(fact for fact in routes.gateways if fact.value != "mesh")
    if not others:
        return replace(routes, problem=DORMANT)
    mesh = gather(*(fact for fact in routes.gateways if fact.value == "mesh"))
    return replace(
        routes, gateways=others, silenced=(*routes.silenced, ("ztunnel follows no rules, and no waypoint does it for the Service", mesh))
    )


def awake(ir: IR, out: Output) -> None:
    """Where sidecars come, routes that nobody followed go: they would act from then on."""
    for routes in ir.routes:
        if routes.problem == DORMANT:
            speaker(routes, ir, out)(DORMANT, "invalid")
            dormant(routes, ir, out)
