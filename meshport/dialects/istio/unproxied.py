"""Routes that no proxy of ambient follows: ztunnel reads none, so those of a Service act at its waypoint, or not at all.

A sidecar follows them by itself, so nothing is said where one may be. A waypoint looks into the namespace of the Service and into its own
(istio.io/latest/docs/ambient/usage/l7-features).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

from meshport.dialects.gateway_api.attachable import DORMANT, dormant, speaker
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.istio.waypoints import USE, Waypoints, is_gateway, unread, without_sidecars
from meshport.dialects.marks import labels_of
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.resilience import explains_breaker, explains_policy
from meshport.ir.routing import ServiceRoutes, explains, gather

OUTSIDE = "the pods of Service {service} are outside the mesh, and no waypoint stands before it"
_NO_RULES = "ztunnel follows no rules, and no waypoint does it for the Service"
_NO_SETTINGS = "ztunnel goes by no settings of a Service, which has no waypoint"


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
        elif ref in stood.behind and routes.service is not None:  # without the waypoint nobody would follow them
            ir.routes[number] = replace(routes, service=routes.service.also(stood.behind[ref][1]))
    if (
        any(gateway.selects(pod.labels) for gateway in ir.gateways for pod in ir.world.workloads)
        or ir.gateways
        or any(map(is_gateway, ir.world.workloads))
    ):
        return  # a gateway goes by the settings of a Service whatever stands before its pods
    for number, policy in enumerate(ir.service_policies):
        ref = policy.service.value if policy.service is not None else None
        if ref in bare and (policy.breaker is not None or policy.extras):
            reason = (_NO_SETTINGS, gather(policy.breaker, policy.extras))
            ir.service_policies[number] = replace(policy, breaker=None, extras=(), silenced=(*policy.silenced, reason))
        elif ref in stood.behind and policy.service is not None and policy.breaker is not None:
            ir.service_policies[number] = replace(policy, service=policy.service.also(stood.behind[ref][1]))


def _outside(routes: ServiceRoutes) -> ServiceRoutes:
    """The routes as gateways follow them, without the mesh; all of them for nobody where there is none."""
    others: tuple[Fact[str], ...] = tuple(fact for fact in routes.gateways if fact.value != "mesh")
    if not others:
        return replace(routes, problem=DORMANT)
    mesh = gather(*(fact for fact in routes.gateways if fact.value == "mesh"))
    return replace(routes, gateways=others, silenced=(*routes.silenced, (_NO_RULES, mesh)))


def served(ir: IR, out: Output, behind: Container[Ref]) -> None:
    """Routes that nobody followed go where their Service gets a waypoint for something else: it would follow them."""
    for routes in ir.routes:
        if (
            routes.problem == DORMANT
            and routes.service is not None
            and routes.service.value in ir.unproxied
            and routes.service.value in behind
        ):
            speaker(routes, ir, out)(DORMANT, "invalid")
            dormant(routes, ir, out)


def fronted(out: Output, number: int) -> bool:
    """Whether a Service has a waypoint once the output stands."""
    value = next((obj.value for obj in out.objects.values() if obj.changed == number), out.bundle.documents[number].value)
    return bool(labels_of(value).get(USE, "none") != "none")


def unserved(ir: IR, out: Output) -> None:
    """Say of rules and breakers of another mesh for Services whose pods stay outside that nobody follows them: no waypoint stands before those."""
    said: dict[int, set[tuple[str, str]]] = {}
    names: dict[int, tuple[str, Ref, bool]] = {}
    for routes in ir.routes:
        if (
            routes.mesh
            and not routes.problem
            and routes.rules
            and routes.service is not None
            and _outside_of(routes.service.value, ir, out)
        ):
            said.setdefault(routes.document, set()).update(explains(ir.world, routes, "*"))
            names[routes.document] = (f"{routes.kind} {routes.ref.value}", routes.service.value, True)
    for policy in ir.service_policies:
        if policy.breaker is not None and policy.service is not None and _outside_of(policy.service.value, ir, out):
            said.setdefault(policy.document, set()).update(explains_breaker(policy, "*"))
            names.setdefault(policy.document, (f"{policy.kind} {policy.ref.value}", policy.service.value, False))
    for number, (name, service, routed) in sorted(names.items()):
        out.finding(
            "MP112", document=number, disposition=None, severity="error" if routed else None, affects=(Affected(service.namespace, service.name),),
            explains=frozenset(said[number]), object=name, reason=OUTSIDE.format(service=service), remedy="Take the pods of the Service into the mesh.",
            feature="routing.host" if routed else "destination.host",
        )  # fmt: skip


def _outside_of(ref: Ref, ir: IR, out: Output) -> bool:
    """Whether a Service that the bundle shows has an address, and no waypoint once the output stands."""
    known = ir.world.services.get(ref)
    return known is not None and not known.headless and not known.external_name and not fronted(out, known.document)


def _for_gateways_alone(routes: ServiceRoutes, out: Output) -> Src:
    """Take the mesh off the gateways of a VirtualService; the leaf that named it, nothing where none does."""
    document = out.bundle.documents[routes.document]
    spec: Any = document.value.get("spec")
    names = spec.get("gateways") if routes.kind == "VirtualService" else None
    if not isinstance(names, list) or "mesh" not in names:
        return NOWHERE
    kept = [number for number, name in enumerate(names) if name != "mesh"]
    leaves: list[int] = document.leaves["spec"]["gateways"]
    obj = out.change(routes.document, rank=50)
    obj.set(("spec", "gateways"), [names[number] for number in kept], frozenset(leaves[number] for number in kept))
    return frozenset((leaves[names.index("mesh")],))


def awake(ir: IR, out: Output) -> None:
    """Where sidecars come, routes that nobody followed go: they would act from then on. Settings of Services, which stand beside others of the same object
    that the mesh goes by all along, do act from then on."""
    for routes in ir.routes:
        if routes.problem != DORMANT and not any(reason == _NO_RULES for reason, _ in routes.silenced):
            continue
        beside = [other for other in ir.routes if other.document == routes.document and other.problem != DORMANT]
        if not beside:
            speaker(routes, ir, out)(DORMANT, "invalid")
            dormant(routes, ir, out)
            continue
        gone: Src = NOWHERE
        if not any(other.mesh and not other.problem and (other.service or other.beyond) for other in beside):
            gone = _for_gateways_alone(routes, out)
        with_it = [
            replace(routes, gateways=()),
            *(other for other in beside if gone and other.mesh),
        ]  # for names that no client in the mesh resolves
        out.finding(
            DORMANT if gone else "MP738", gone or routes.ref, document=routes.document, disposition="invalid" if gone else None,
            affects=(Affected(routes.ref.value.namespace),), feature="membership.ambient", explains=frozenset(pair for one in with_it for pair in explains(ir.world, one, *ASPECTS)),
            object=f"{routes.kind} {routes.ref.value}", subject=routes.subject_name, reason=f"sidecars follow its rules for {routes.subject_name}",
        )  # fmt: skip
    for policy in ir.service_policies:
        if policy.service is not None and any(reason == _NO_SETTINGS for reason, _ in policy.silenced):
            ref = policy.service.value
            out.finding(
                "MP738", document=policy.document, affects=(Affected(ref.namespace, ref.name),), feature="membership.ambient",
                explains=explains_breaker(policy, "*") | explains_policy(policy, "*") | {(f"sharing of Service {ref}", "*")},
                object=f"{policy.kind} {policy.ref.value}", reason=f"sidecars go by its settings of {policy.subject_name}",
            )  # fmt: skip
