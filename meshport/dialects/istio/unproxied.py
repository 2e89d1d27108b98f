"""Routes that no proxy of ambient follows: ztunnel reads none, so those of a Service act at its waypoint, or not at all.

A sidecar follows them by itself, so nothing is said where one may be. A waypoint looks into the namespace of the Service and into its own
(istio.io/latest/docs/ambient/usage/l7-features).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.gateway_api.attachable import DORMANT, dormant, speaker
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.istio import inner_hosts
from meshport.dialects.istio.waypoints import USE, Waypoints, is_gateway, unread, without_sidecars
from meshport.dialects.marks import labels_of
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.resilience import ServicePolicy, explains_breaker, explains_policy
from meshport.ir.routing import ServiceRoutes, explains, gather
from meshport.values.hosts import host_matches

if TYPE_CHECKING:
    from meshport.dialects.base import Options

OUTSIDE = "the pods of Service {service} are outside the mesh, and no waypoint stands before it"
_NO_GATE = "no waypoint that looks at it stands before the ServiceEntry of {host}"
REMEDY = "Put the ServiceEntry behind a waypoint (istio.io/use-waypoint), or leave its clients their sidecars."
"""Of rules and settings for hosts of ServiceEntries."""
_NO_RULES = "ztunnel follows no rules, and no waypoint does it for the Service"
_NO_SETTINGS = "ztunnel goes by no settings, and no waypoint does it for the Service or the host"


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
    if _entered(ir):
        return
    for number, policy in enumerate(ir.service_policies):
        ref = policy.service.value if policy.service is not None else None
        far = ref in stood.behind and policy.clients not in ("", stood.behind[ref][0].ref.namespace)
        if (ref in bare or far) and (policy.breaker is not None or policy.extras):  # for clients of another namespace than the waypoint's
            ir.service_policies[number] = _idle(policy)
        elif ref in stood.behind and policy.service is not None and policy.breaker is not None:
            ir.service_policies[number] = replace(policy, service=policy.service.also(stood.behind[ref][1]))


def settle_beyond(ir: IR, stood: Waypoints) -> None:
    """Say it of routes for hosts of ServiceEntries too, which stand behind waypoints as Services do (istio.io/latest/docs/ambient/usage/waypoint)."""
    if not without_sidecars(ir.world, stood):
        return
    for number, routes in enumerate(ir.routes):
        if routes.mesh and not routes.problem and (gates := _gates(ir, routes, stood)) is not None:
            ir.routes[number] = replace(routes, host=routes.host.also(*gates)) if gates else _outside(routes)
    for number, policy in enumerate([] if _entered(ir) else ir.service_policies):
        if (policy.breaker is not None or policy.extras) and _gates(ir, policy, stood) == []:
            ir.service_policies[number] = _idle(policy)


def _entered(ir: IR) -> bool:
    """Whether there may be a gateway, which goes by the settings of a Service or a host whatever stands before it."""
    return bool(ir.gateways) or any(map(is_gateway, ir.world.workloads))


def _idle(policy: ServicePolicy) -> ServicePolicy:
    reason = (_NO_SETTINGS, gather(policy.breaker, policy.extras))
    return replace(policy, breaker=None, extras=(), silenced=(*policy.silenced, reason))


def _gates(ir: IR, item: ServiceRoutes | ServicePolicy, stood: Waypoints) -> list[Src] | None:
    """What puts the ServiceEntries that rules or settings are for behind waypoints that look at these; None where they are for none."""
    if item.service is not None:
        return None
    entries = {outside.ref.value for outside in ir.outside for host in outside.hosts if host_matches(item.host.value, host.value)}
    gates = [(ref.namespace, *stood.entries[ref]) for ref in sorted(entries) if ref in stood.entries]
    anywhere = isinstance(item, ServicePolicy)  # of the root namespace too
    return [src for home, gate, src in gates if anywhere or item.ref.value.namespace in (home, gate.ref.namespace)] if entries else None


def without_gate(ir: IR, item: ServiceRoutes | ServicePolicy, stood: Waypoints) -> str:
    """Why nobody in ambient goes by what is for a host of a ServiceEntry; nothing where a waypoint does, or where it is for something else."""
    return _NO_GATE.format(host=item.host.value) if _gates(ir, item, stood) == [] else ""


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


def unserved(ir: IR, out: Output, options: Options) -> None:
    """Say of rules and breakers of another mesh that nobody follows them: those for Services whose pods stay outside, before which no waypoint stands, and
    those for hosts outside, whose ServiceEntries get none."""
    said: dict[int, set[tuple[str, str]]] = {}
    hosts: dict[int, set[str]] = {}
    names: dict[int, tuple[str, ServiceRoutes | ServicePolicy]] = {}
    for routes in ir.routes:
        if not routes.mesh or routes.problem or not routes.rules:
            continue
        if routes.beyond is not None and inner_hosts.ruled(routes.host.value, routes.beyond.clients, ir, options):
            continue  # left out, and said there
        if routes.beyond is not None or _outside_of(routes.service, ir, out):
            hosts.setdefault(routes.document, set()).add(routes.host.value)
            said.setdefault(routes.document, set()).update(explains(ir.world, routes, "*"))
            names[routes.document] = (f"{routes.kind} {routes.ref.value}", routes)
    for policy in ir.service_policies:
        if policy.breaker is not None and _outside_of(policy.service, ir, out):
            said.setdefault(policy.document, set()).update(explains_breaker(policy, "*"))
            names.setdefault(policy.document, (f"{policy.kind} {policy.ref.value}", policy))
    for number, (name, item) in sorted(names.items()):
        routed = isinstance(item, ServiceRoutes)
        if item.service is not None:
            place, reason = item.service.value, OUTSIDE.format(service=item.service.value)
        else:
            place, reason = (
                Ref(item.ref.value.namespace, ""),
                _NO_GATE.format(host=", ".join(sorted(hosts.get(number) or {item.host.value}))),
            )
        out.finding(
            "MP112", document=number, disposition=None, severity="error" if routed else None,
            affects=(Affected(place.namespace, place.name or None),), explains=frozenset(said[number]), object=name, reason=reason,
            remedy="Take the pods of the Service into the mesh." if item.service is not None else REMEDY,
            feature="routing.host" if routed else "destination.host",
        )  # fmt: skip


def _outside_of(service: Fact[Ref] | None, ir: IR, out: Output) -> bool:
    """Whether a Service that the bundle shows has an address, and no waypoint once the output stands."""
    known = ir.world.services.get(service.value) if service is not None else None
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
        if any(reason == _NO_SETTINGS for reason, _ in policy.silenced):
            place = Ref(policy.ref.value.namespace, "") if policy.service is None else policy.service.value
            out.finding(
                "MP738", document=policy.document, affects=(Affected(place.namespace, place.name or None),), feature="membership.ambient",
                explains=explains_breaker(policy, "*") | explains_policy(policy, "*") | {(f"sharing of Service {place}", "*")},
                object=f"{policy.kind} {policy.ref.value}", reason=f"sidecars go by its settings of {policy.subject_name}",
            )  # fmt: skip
