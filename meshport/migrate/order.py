"""What moves together and in which order: the call graph decides.

Between two meshes a moved caller shows no identity to a server that has not moved, and the source's rules refuse it. So servers move before their callers: what
has moved lets callers without identity in until the last of them has come after (Linkerd: `accessPolicy: audit`). Between two data planes of one mesh
identities hold on both, and sidecars pass waypoints by: callers move first (istio.io, ambient, enable ambient mode).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from meshport.ir.world import Workload, World
from meshport.report.audited import Edge


@dataclass(frozen=True, slots=True)
class Call:
    """A workload that is let in by name: `source` and `destination` are namespace/workload."""

    source: str
    destination: str
    port: int


@dataclass(slots=True)
class Unit:
    """Workloads that move in one step, in their order. `name` is the namespace, or namespace/service."""

    name: str
    namespace: str
    workloads: list[Workload] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {str(workload.ref) for workload in self.workloads}


def calls(edges: Iterable[Edge], world: World) -> list[Call]:
    """The edges between known workloads that either side lets in."""
    known = {str(workload.ref) for workload in world.workloads}
    return sorted(
        {
            Call(edge.source, edge.destination, edge.port)
            for edge in edges
            if edge.source in known
            and edge.destination in known
            and edge.source != edge.destination
            and (edge.before, edge.after) != ("none", "none")
        },
        key=lambda call: (call.source, call.destination, call.port),
    )


def by_namespace(workloads: Sequence[Workload], namespaces: Iterable[str]) -> list[Unit]:
    """A unit for each namespace that has workloads to move, or that something is written for."""
    units = {name: Unit(name, name) for name in namespaces}
    for workload in workloads:
        home = workload.ref.namespace
        units.setdefault(home, Unit(home, home)).workloads.append(workload)
    return [units[name] for name in sorted(units)]


def by_service(workloads: Sequence[Workload], world: World) -> list[Unit]:
    """A unit for each Service: all pods behind it, with those that another Service shares with it."""
    groups: list[tuple[set[str], list[Workload]]] = []
    for workload in sorted(workloads, key=lambda item: (item.ref, item.kind)):
        names = {str(service.ref) for service in world.services_of(workload)} or {str(workload.ref)}
        members = [workload]
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names |= group[0]
            members = [*group[1], *members]
        groups.append((names, members))
    units = [
        Unit(min(names), members[0].ref.namespace, sorted(members, key=lambda item: (item.ref, item.kind))) for names, members in groups
    ]
    return sorted(units, key=lambda unit: unit.name)


def ordered(units: Sequence[Unit], found: Sequence[Call], *, callers_first: bool) -> list[Unit]:
    """The units so that as few calls as possible go the wrong way; of equal ones that with the fewest calls across its border, then the fewest workloads."""
    homes = {name: number for number, unit in enumerate(units) for name in unit.names}
    across = [(homes[call.source], homes[call.destination]) for call in found if call.source in homes and call.destination in homes]
    across = [(one, other) for one, other in across if one != other]
    left, done = set(range(len(units))), []
    while left:
        wrong, touching = dict.fromkeys(left, 0), dict.fromkeys(left, 0)
        for caller, server in across:
            mover, waits = (server, caller) if callers_first else (caller, server)
            if mover in left and waits in left:
                wrong[mover] += 1
            for end in (caller, server):
                if end in left:
                    touching[end] += 1
        best = min(left, key=lambda number: (wrong[number], touching[number], len(units[number].workloads), units[number].name))
        left.remove(best)
        done.append(units[best])
    for unit in done:
        unit.workloads = within(unit, found, callers_first=callers_first)
    return done


def within(unit: Unit, found: Sequence[Call], *, callers_first: bool) -> list[Workload]:
    """The workloads of a unit in the same order."""
    if len(unit.workloads) < 2:
        return unit.workloads
    own = unit.names
    inner = [call for call in found if call.source in own and call.destination in own]
    if not inner:
        return unit.workloads
    single = [Unit(f"{workload.ref} {workload.kind}", unit.namespace, [workload]) for workload in unit.workloads]
    return [one.workloads[0] for one in ordered(single, inner, callers_first=callers_first)]


def wrong_way(moved: Sequence[str], found: Sequence[Call], *, callers_first: bool) -> list[Call]:
    """The calls of which the end that should move last moves first; `moved` are workloads in the order they move in."""
    at = {name: number for number, name in reversed(list(enumerate(moved)))}
    return [
        call
        for call in found
        if call.source in at
        and call.destination in at
        and (at[call.source] > at[call.destination]) == callers_first
        and at[call.source] != at[call.destination]
    ]
