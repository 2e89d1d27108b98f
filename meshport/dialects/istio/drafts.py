"""What one set of pods needs of Istio, while it is being put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from meshport.dialects.output import Obj
from meshport.effective.access import Access, Effective, Region, resolve
from meshport.ir.authorization import ACCOUNT_LABEL, Policy
from meshport.ir.base import NOWHERE, PodSet, Selector, Src

MOST = 16
"""Combinations of labels that a selector by expressions is spelled out in."""


@dataclass(slots=True)
class Written:
    """One rule of the policy to be: its parts as Istio writes them, with leaves."""

    sources: list[dict[str, Any]]
    operation: dict[str, Any]
    when: list[dict[str, Any]]
    src: Src


def write_rules(obj: Obj, written: Iterable[Written], because: Src = NOWHERE) -> None:
    """Set them as the rules of an AuthorizationPolicy, as a person would write them: those that ask the same of the caller are one, with their operations, those
    of the same operations are one with their callers, and what differs in one list is one with both lists. `because` is said of rules that no leaf says."""
    for position, rule in enumerate(_of_same_operations(_of_same_callers(written))):
        place = ("spec", "rules", position)
        for number, (source, src) in enumerate(rule.sources):
            obj.set((*place, "from", number, "source"), source, src or because)
        for number, (operation, src) in enumerate(rule.operations):
            obj.set((*place, "to", number, "operation"), operation, src or because)
        if rule.when:
            obj.set((*place, "when"), rule.when, rule.src or because)
        if not (rule.sources or rule.operations or rule.when):
            obj.set(place, {}, rule.src or because)


@dataclass(slots=True)
class _Rule:
    """A rule as it is written: each of its parts with the leaves that say it."""

    sources: list[tuple[dict[str, Any], Src]]
    operations: list[tuple[dict[str, Any], Src]]
    when: list[dict[str, Any]]
    src: Src


def _of_same_callers(written: Iterable[Written]) -> Iterator[_Rule]:
    """Rules by what they ask of the caller, in their order; one that asks nothing of the request is for itself, as it says all that the others do."""
    found: dict[str, list[Written]] = {}
    for rule in written:
        found.setdefault(repr((rule.sources, rule.when, bool(rule.operation), _of_http(rule.operation))), []).append(rule)
    for rules in found.values():
        src = frozenset[int]().union(*(rule.src for rule in rules))
        operations = _in_few((rule.operation, rule.src) for rule in rules if rule.operation)
        yield _Rule([(source, src) for source in rules[0].sources], operations, rules[0].when, src)


def _of_same_operations(rules: Iterable[_Rule]) -> Iterator[_Rule]:
    """Rules by what they ask of the request, in their order; one that asks nothing of the caller is for itself."""
    found: dict[str, list[_Rule]] = {}
    for rule in rules:
        callers = bool(rule.sources), any(_of_http(source) for source, _ in rule.sources)
        found.setdefault(repr(([operation for operation, _ in rule.operations], rule.when, callers)), []).append(rule)
    for alike in found.values():
        said = [frozenset[int]().union(*src) for src in zip(*([src for _, src in rule.operations] for rule in alike), strict=True)]
        operations = [(operation, src) for (operation, _), src in zip(alike[0].operations, said, strict=True)]
        src = frozenset[int]().union(*(rule.src for rule in alike))
        yield _Rule(_in_few(source for rule in alike for source in rule.sources), operations, alike[0].when, src)


HTTP = {"hosts", "methods", "paths", "requestPrincipals"}


def _of_http(part: dict[str, Any]) -> bool:
    """Whether a source or an operation asks of HTTP: on ports that are TCP such a rule is dropped whole, with what it says of others (Istio reference 2.3)."""
    return any(key in HTTP or (key.startswith("not") and key[3:4].lower() + key[4:] in HTTP) for key in part)


def _in_few(parts: Iterable[tuple[dict[str, Any], Src]]) -> list[tuple[dict[str, Any], Src]]:
    found: list[tuple[dict[str, Any], Src]] = []
    for part, src in parts:
        for number, (known, said) in enumerate(found):
            if (both := _in_one(known, part)) is not None:
                found[number] = both, said | src
                break
        else:
            found.append((part, src))
    return found


def _in_one(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """The source or operation that takes what either of two does; None where that would be more than both. What a request must not be stays apart."""
    apart = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    if not apart:
        return one
    (key, *more) = apart
    if more or key.startswith("not") or not one.get(key) or not other.get(key):
        return None
    return {**one, key: sorted({*one[key], *other[key]}, key=int if key == "ports" else str)}  # in no order of the objects that say it


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
    detected: set[int | None] = field(default_factory=set)  # ports that carry requests or bytes, as nothing says what they speak
    others: bool = False  # whether its selector may take pods that the bundle does not show


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
    if (
        any(item.operator != "In" or item.key == ACCOUNT_LABEL for item in selector.expressions)
        or prod(len(item.values) for item in selector.expressions) > MOST
    ):
        return [pods]
    pairs = [[(item.key, value) for value in item.values] for item in selector.expressions]
    chosen = [Selector.of({**dict(selector.labels), **dict(one)}) for one in product(*pairs)]
    return [PodSet(pods.namespace, one) for one in chosen if pods.selector.accepts(dict(one.labels))]
