"""What one set of pods needs of Istio, while it is being put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshport.effective.access import Access, Effective, Region, resolve
from meshport.ir.authorization import Policy
from meshport.ir.base import Selector, Src


@dataclass(slots=True)
class Written:
    """One rule of the policy to be: its parts as Istio writes them, with leaves."""

    sources: list[dict[str, Any]]
    operation: dict[str, Any]
    when: list[dict[str, Any]]
    src: Src


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
