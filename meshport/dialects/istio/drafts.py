"""What one set of pods needs of Istio, while it is being put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from meshport.dialects.output import Obj
from meshport.effective.access import Access, Effective, Region, resolve
from meshport.ir.authorization import Policy
from meshport.ir.base import PodSet, Selector, Src

MOST = 16
"""Combinations of labels that a selector by expressions is spelled out in."""


@dataclass(slots=True)
class Written:
    """One rule of the policy to be: its parts as Istio writes them, with leaves."""

    sources: list[dict[str, Any]]
    operation: dict[str, Any]
    when: list[dict[str, Any]]
    src: Src

    def write(self, obj: Obj, position: int) -> None:
        """Set it as a rule of an AuthorizationPolicy; `{}` where it asks for nothing."""
        place = ("spec", "rules", position)
        for number, source in enumerate(self.sources):
            obj.set((*place, "from", number, "source"), source, self.src)
        if self.operation:
            obj.set((*place, "to", 0, "operation"), self.operation, self.src)
        if self.when:
            obj.set((*place, "when"), self.when, self.src)
        if not (self.sources or self.operation or self.when):
            obj.set(place, {}, self.src)


@dataclass(slots=True)
class Draft:
    """What one set of pods needs."""

    region: Region
    selector: Selector
    selector_src: Src
    rules: list[Written] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    label: str = ""
    plaintext: set[int] = field(default_factory=set)  # ports whose rules admit peers without identity


def servers_of(item: Effective) -> dict[int, Policy]:
    """The policy that has each port of a workload."""
    found: dict[int, Policy] = {}
    for policy in sorted(item.allows, key=lambda one: (one.created, one.ref.value)):
        port = resolve(item.workload, policy.port.value) if policy.port is not None else None
        if port is not None:
            found.setdefault(port, policy)
    return found


def distinguishing(member: Effective, access: Access, mine: set[int] | None = None) -> dict[str, str]:
    """The fewest labels that no workload outside `mine` (its own region) has, as far as labels tell."""
    labels = member.workload.own_labels
    same = mine if mine is not None else {id(member.workload)}
    others = [item for item in access.of_namespace(member.workload.ref.namespace) if id(item.workload) not in same]
    chosen: dict[str, str] = {}
    preferred = sorted(labels, key=lambda key: (key not in ("app", "app.kubernetes.io/name", "k8s-app"), key))
    for key in preferred:
        if chosen and not any(all(item.workload.labels.get(name_) == value for name_, value in chosen.items()) for item in others):
            break
        chosen[key] = labels[key]
    return chosen


def telling(member: Effective, access: Access, mine: set[int] | None = None) -> dict[str, str]:
    """Labels that no workload outside `mine` has, nor a pod that the bundle does not show where that can be known: those by which its controller counts
    its pods. What is let in by them is let in at these pods alone."""
    workload = member.workload
    fewest = distinguishing(member, access, mine)
    if access.world.shows(PodSet(workload.ref.namespace, Selector.of(fewest))):
        return fewest
    counted = workload.claimed
    if counted is None or counted.expressions:
        return dict(workload.own_labels)
    return {key: value for key, value in workload.own_labels.items() if key in fewest or key in dict(counted.labels)}


def spelled(pods: PodSet) -> list[PodSet]:
    """Sets of pods that together are these, by labels alone where the values that they may have are listed; the set itself where that is no way to say it."""
    selector = pods.selector
    if any(item.operator != "In" for item in selector.expressions) or prod(len(item.values) for item in selector.expressions) > MOST:
        return [pods]
    pairs = [[(item.key, value) for value in item.values] for item in selector.expressions]
    chosen = [Selector.of({**dict(selector.labels), **dict(one)}) for one in product(*pairs)]
    return [PodSet(pods.namespace, one) for one in chosen if pods.selector.accepts(dict(one.labels))]
