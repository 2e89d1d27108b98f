"""Rules that name a port by its name, for a Server that pods take too which the bundle does not show: they may give the name to another number, or to none.

Where such rules alone are about the port, the Server names it as they do. Where others are about its number as well, it takes the known pods alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshport.dialects.linkerd.selectors import narrowed
from meshport.effective.access import Access, Effective, Region, port_names
from meshport.ir.authorization import PORT, Condition, Policy
from meshport.ir.base import Selector


def name_of(region: Region, port: int, access: Access) -> str:
    """The name by which rules speak of a port of these pods; "" where none does."""
    asked = port_names(rule for policy in _policies(region, access) for rule in policy.rules)
    names = {one.name for one in region.first.workload.ports if one.number == port and one.protocol == "TCP"} & asked
    return min(names, default="")


def alone(region: Region, port: int, name: str, access: Access) -> bool:
    """Whether a Server may have the port by its name: every pod has it by that name and no other number, and nothing is said of a number that pods which
    the bundle does not show may give to the name. What holds on every port does there as well."""
    for member in region.members:
        own = [one for one in member.workload.ports if one.protocol == "TCP"]
        if {one.number for one in own if one.name == name} != {port} or {one.name for one in own if one.number == port} != {name}:
            return False
        if member.transport.keys() - {None} or member.workload.demanding is not None:
            return False
    return not any(_of_number(item, port, policy) for policy in _policies(region, access) for item in _of_ports(policy))


def _of_number(item: Condition, port: int, policy: Policy) -> bool:
    """Whether a condition is about a number that the name may have, or admits by the number that it has here."""
    admitted = [fact.value for fact in item.any_of or () if isinstance(fact.value, tuple)]
    if policy.action.value != "allow":
        return bool(admitted) or any(isinstance(fact.value, tuple) for fact in item.none_of)
    return any(low <= port <= high for low, high in admitted) or any(isinstance(fact.value, tuple) for fact in item.none_of)


def shown_alone(selector: Selector, members: Iterable[Effective]) -> Iterator[tuple[Selector, list[Effective]]]:
    """The selector for each group of members by what their controllers count as their own: no other pods may have such labels."""
    groups: dict[Selector, list[Effective]] = {}
    for member in members:
        groups.setdefault(member.workload.counted, []).append(member)
    for claimed, group in groups.items():
        both = {**dict(selector.labels), **dict(claimed.labels)}
        yield narrowed(Selector.of(both, selector.expressions), claimed.expressions), group


def _policies(region: Region, access: Access) -> list[Policy]:
    """The policies of the pods, with the ports that they name by name."""
    labels = region.first.workload.labels
    return [policy for policy in access.reaching(region.namespace) if policy.subject.value.contains(region.namespace, labels)]


def _of_ports(policy: Policy) -> list[Condition]:
    return [item for rule in policy.rules for item in rule.conditions if item.attribute == PORT]
