"""An AuthorizationPolicy on its way into the IR: as its document says it, and what became of it where it is enforced."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.ztunnel import Unseen
from meshport.ir.authorization import Policy
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.world import Workload


@dataclass(slots=True)
class Target:
    """One entry of targetRefs."""

    group: str
    kind: str
    name: str
    src: Src


@dataclass(slots=True)
class Read:
    """A policy as its document says it; `targets` None where it goes by selector."""

    policy: Policy
    facts: tuple[Fact[object], ...]
    targets: list[Target] | None = None
    unseen: Unseen = field(default_factory=Unseen)


@dataclass(slots=True)
class Settled:
    """What became of a policy in the IR. `service` is the one that it hangs on, None for a policy that goes by selector."""

    read: Read
    made: list[Policy]
    service: Ref | None = None
    guarded: bool = False  # the pods refuse whoever does not come through the waypoint
    refused: frozenset[int] = frozenset()  # container ports on which the pods refuse the waypoint too
    everywhere: bool = False  # the waypoint judges requests to the pods' addresses by it too
    left: tuple[Ref, ...] = ()  # workloads behind the Service that ztunnel leaves open although others are guarded
    coming: list[tuple[Ref, Policy]] = field(default_factory=list)  # what the waypoint of a Service lets in that it admits, whoever it is
    through: list[Policy] = field(default_factory=list)  # what comes in through waypoints by it, where it goes by selector
    addressed: Workload | None = None  # whose address a waypoint stands before that it hangs on


def targets_of(spec: Cursor) -> list[Target] | None:
    """The entries of targetRefs, or of the older targetRef; None where there are none."""
    places = spec.each("targetRefs") or ([spec.at("targetRef")] if spec.at("targetRef") else [])
    found = []
    for place in places:
        group, kind, name = (place.text(key) for key in ("group", "kind", "name"))
        found.append(Target(group.value if group else "", kind.value if kind else "", name.value if name else "", place.src))
    return found or None
