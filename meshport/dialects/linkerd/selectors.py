"""Pods of a region in one selector or several disjoint ones: Linkerd lets one Server have a port of a pod, so Servers must not overlap."""

from __future__ import annotations

from collections.abc import Iterable

from meshport.dialects.naming import unique
from meshport.effective.access import Access, Effective, Region
from meshport.ir.base import NOWHERE, Requirement, Selector, Src
from meshport.ir.world import telling_labels

_NAMING = ("app", "app.kubernetes.io/name", "k8s-app")


def selectors(region: Region, access: Access) -> list[tuple[Selector, Src, Src]]:
    """Selectors that together take the region's pods and none of another region's, with their leaves and those of what they leave to the others."""
    out: list[tuple[Selector, Src, Src]] = []
    for (
        member
    ) in region.members:  # a policy that another one makes void, and so is none of a region's, may still select some of its pods alone
        if not any(selector.accepts(member.workload.labels) for selector, _, _ in out):
            out += _around(member.workload.labels, region, access)
    return out


def _around(own: dict[str, str], region: Region, access: Access) -> list[tuple[Selector, Src, Src]]:
    """The selectors of the policies that take a pod with these labels, together, without pods that others of them take."""
    subjects = access.subjects(region.namespace)
    labels: dict[str, str] = {}
    expressions: list[Requirement] = []
    src: set[int] = set()
    beside: set[int] = set()
    for selector, leaves in subjects.taking(own):
        labels.update(selector.labels)
        expressions.extend(selector.expressions)
        src |= leaves
    found = [Selector.of(labels, expressions)]
    plain = any(mode.value != "strict" for mode in region.first.transport.values())
    modes = access.unshown_modes(region.namespace) if plain else []
    strict = [(rule.subject.value.selector, rule.subject.src) for rule in modes if rule.refuses]
    for selector, leaves in (*subjects.beside(labels), *strict):
        if selector.accepts(own):
            continue
        after = []
        for one in found:
            parts = _outside(one, selector)
            if parts != [one]:
                beside |= leaves
            after.extend(parts)
        found = after
    taken = [selector for selector in found if any(selector.accepts(member.workload.labels) for member in region.members)]
    return [(selector, frozenset(src), frozenset(beside)) for selector in taken]


def by_probes(selector: Selector, members: list[Effective]) -> list[tuple[Selector, Src, list[Effective]]]:
    """The members in groups that declare the same HTTP probes, each with a selector of its own: a Server must open no other workload's probe.

    Where no label tells the groups apart they stay together.
    """
    groups: dict[tuple[tuple[int, str], ...], list[Effective]] = {}
    for member in members:
        probes = tuple(sorted({(probe.port, probe.path) for probe in member.workload.probes if probe.kind in ("http", "grpc")}))
        groups.setdefault(probes, []).append(member)
    if len(groups) == 1:
        return [(selector, NOWHERE, members)]
    out = []
    for group in groups.values():
        others = [member for member in members if all(member is not one for one in group)]
        wanted = apart(group, others)
        if wanted is None:
            return [(selector, NOWHERE, members)]
        src = telling_labels((member.workload for member in group), [item.key for item in wanted])
        out.append((narrowed(selector, wanted), src, group))
    return out


def narrowed(selector: Selector, wanted: Iterable[Requirement]) -> Selector:
    """A selector with more requirements, without those that its labels meet anyway."""
    found = Selector.of(dict(selector.labels), [*selector.expressions, *wanted])
    labels = dict(found.labels)
    return Selector.of(labels, [item for item in found.expressions if item.key not in labels or not item.accepts(labels)])


def told_apart(members: list[Effective], intruders: list[Effective]) -> list[tuple[list[Effective], list[Requirement] | None]]:
    """The members, with requirements that they meet and none of the intruders: together, else those of equal labels for themselves. None where no labels tell."""
    wanted = apart(members, intruders)
    groups: dict[tuple[tuple[str, str], ...], list[Effective]] = {}
    for member in members:
        groups.setdefault(tuple(sorted(member.workload.own_labels.items())), []).append(member)
    if wanted is not None or len(groups) == 1:
        return [(members, wanted)]
    return [
        (group, apart(group, [*intruders, *(member for other in groups.values() if other is not group for member in other)]))
        for group in groups.values()
    ]


def apart(group: list[Effective], others: list[Effective]) -> list[Requirement] | None:
    """Requirements that all of the group meet and none of the others, by labels that it has before those that it lacks; None where no labels tell."""
    had = {key for member in group for key in member.workload.own_labels}
    every = {key for member in (*group, *others) for key in member.workload.own_labels}
    keys = sorted(every, key=lambda key: (key not in had, key not in _NAMING, key))
    wanted: list[Requirement] = []
    left = others
    for key in keys:
        values = {member.workload.labels.get(key) for member in group}
        if None in values and len(values) > 1:
            continue
        item = (
            Requirement(key, "DoesNotExist")
            if None in values
            else Requirement(key, "In", tuple(sorted(value for value in values if value)))
        )
        after = [member for member in left if item.accepts(member.workload.labels)]
        if len(after) < len(left):
            wanted.append(item)
            left = after
    return wanted if not left else None


def shared_labels(members: list[Effective]) -> list[Requirement]:
    """A naming label that all members have, as a requirement: pods that no policy selects are not taken by namespace."""
    for key in _NAMING:
        values = {member.workload.labels.get(key) for member in members}
        if None not in values:
            return [Requirement(key, "In", tuple(sorted(value for value in values if value)))]
    return []


def _outside(base: Selector, other: Selector) -> list[Selector]:
    """The pods of `base` that `other` does not take, as disjoint selectors."""
    have = dict(base.labels)
    if other.expressions:
        return [base]  # its pods are known to lie elsewhere; what is unknown stays with this region's own rules
    if any(have.get(key, value) != value for key, value in other.labels):
        return [base]
    missing = [(key, value) for key, value in other.labels if key not in have]
    if any(item.operator == "NotIn" and value in item.values for key, value in missing for item in base.expressions if item.key == key):
        return [base]
    out = []
    for position, (key, value) in enumerate(missing):
        taken = dict(missing[:position])
        out.append(Selector.of({**have, **taken}, _not_in(base.expressions, key, value)))
    return out


def _not_in(expressions: Iterable[Requirement], key: str, value: str) -> list[Requirement]:
    kept = [item for item in expressions if not (item.key == key and item.operator == "NotIn")]
    values = {value, *(known for item in expressions if item.key == key and item.operator == "NotIn" for known in item.values)}
    return [*kept, Requirement(key, "NotIn", tuple(sorted(values)))]


def set_name(selector: Selector, fallback: str, taken: set[str]) -> str:
    """A short name for the pods: the value of their app label, else the first policy's name; unique among `taken`."""
    labels = dict(selector.labels)
    name = next((labels[key] for key in _NAMING if labels.get(key)), fallback)
    if name in taken and fallback not in taken:
        name = fallback
    found = unique(name, taken.__contains__, label=False)
    taken.add(found)
    return found
