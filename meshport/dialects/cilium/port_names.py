"""Ports that Services give by the names of container ports: pods that the bundle does not show may have another number by the name, or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from meshport.ir.authorization import PORT, Rule
from meshport.ir.world import Workload, World

if TYPE_CHECKING:
    from meshport.dialects.cilium.planning import Entry


def called(rule: Rule, port: int | None, members: Iterable[Workload], world: World) -> str | None:
    """The name by which alone a rule has a port at all of these pods: that to which the Service of its waypoint sends."""
    asked = [fact for item in rule.conditions if item.attribute == PORT for fact in item.any_of or ()] if port is not None else []
    facts = [fact for fact in asked if isinstance(fact.value, tuple) and port is not None and fact.value[0] <= port <= fact.value[1]]
    if not facts:
        return None
    found: set[str] = set()
    for workload in members:
        names = {
            item.target
            for service in world.services_of(workload)
            for item in service.ports
            if isinstance(item.target, str)
            and world.target_number(workload, item) == port
            and all(item.target_src <= fact.src for fact in facts)
        }
        if len(names) != 1 or sum(one.name in names for one in workload.ports) != 1:
            return None
        found |= names
    return found.pop() if len(found) == 1 else None


def settle(entries: Sequence[Entry]) -> None:
    """Leave the names of ports that others of these rules have by number: Cilium's Envoy refuses policies that have a port twice."""
    numbered = {port for entry in entries if None not in entry.ports for port in entry.ports - entry.names.keys()}
    for entry in entries:
        entry.names = {port: name for port, name in entry.names.items() if port not in numbered}
