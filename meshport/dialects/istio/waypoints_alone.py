"""Policies that a waypoint alone enforces, since the pods behind it have no proxy of their own.

A waypoint judges requests to a Service whatever its pods are: some on the host's network or out of the mesh, or endpoints that no selector names. Meshes without
waypoints enforce at the pods, where nothing does it then (https://istio.io/latest/docs/ambient/usage/waypoint/).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshport.dialects.istio.waypoints import Waypoints
from meshport.effective.access import opens
from meshport.ir.authorization import Policy
from meshport.ir.base import Fact, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import Service, Workload

CODE = "MP148"


@dataclass(slots=True)
class Alone:
    """A Service whose policies no proxy enforces without its waypoint: at none of its pods (`whole`), or not at `pods`."""

    service: Ref
    pods: tuple[Ref, ...]
    whole: bool


def report(attached: Iterable[tuple[Policy, tuple[Fact[object], ...], list[tuple[Ref, Src]]]], found: Waypoints, ir: IR) -> None:
    """Say of policies, with their facts and the Services that they hang on, what nothing enforces without the waypoints, and note the Services of which
    nothing of a policy is left. What refuses nobody is no loss."""
    policies = list(attached)
    opened = {ref for policy, _, services in policies if policy.action.value == "allow" and opens(policy) for ref, _ in services}
    for policy, facts, services in policies:
        refuses = policy.action.value in ("deny", "custom") and bool(policy.rules)
        asked = [ref for ref, _ in services if refuses or (policy.action.value == "allow" and ref not in opened)]
        alone = [one for ref in dict.fromkeys(asked) if (one := _alone(ref, found, ir)) is not None]
        if not alone:
            continue
        gone = {one.service for one in alone if one.whole}
        if gone:
            ir.at_waypoints[policy.document] = frozenset(gone)
        kept = sources(*(src for ref, src in services if ref not in gone))
        named_by = tuple(Fact(ref.name, src - kept, "authorization.target") for ref, src in services if ref in gone and src - kept)
        named = tuple(dict.fromkeys(pod for one in alone for pod in one.pods))
        pods = f"{', '.join(map(str, named))} have" if named else "what it sends to has"
        said = {"services": ", ".join(str(one.service) for one in alone), "pods": pods}
        ir.losses.append(Loss(CODE, facts if gone.issuperset(ref for ref, _ in services) else named_by, policy.document, said, named))


def _alone(ref: Ref, found: Waypoints, ir: IR) -> Alone | None:
    """What of a Service has no proxy but its waypoint; None where all of its pods may have one."""
    service = ir.world.services.get(ref)
    if service is None or ref not in found.behind:
        return None
    members = ir.world.selected(service.pods) if service.pods is not None else []
    bare = [one for one in members if ir.world.meshed(one) is False]
    if not bare and not _bare(service, members, ir):
        return None
    return Alone(ref, tuple(one.ref for one in bare), len(bare) == len(members))


def _bare(service: Service, members: list[Workload], ir: IR) -> bool:
    """Whether a Service of which no pods are known has none in the mesh: it selects none, or its namespace is out of the mesh."""
    home = ir.world.namespaces.get(service.ref.namespace)
    outside = home is not None and (home.meshed is None or not home.meshed.value)
    return not members and (service.pods is None or outside)
