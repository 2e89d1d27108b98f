"""A rule with lists of values as rules for single ones, where a target can say some of the values and not all: one must not cost its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from meshport.ir.authorization import HEADER, HOST, METHOD, PATH, QUERY, Condition, Rule
from meshport.ir.base import Src, sources

MOST = 64
"""Combinations of values beyond which a rule is left as it is."""


def apart(rule: Rule, problem: Callable[[Rule], str]) -> list[Rule]:
    """The rule itself where all of it can be said, or nothing of it; else one for each of the values that have to be told apart for that.

    `problem` says why a rule cannot be said, "" where it can. The parts together take what the rule takes. Identities and addresses are not parted: those
    that cannot be said are left out one by one anyway.
    """

    def sayable(one: Rule) -> bool:
        return not problem(one)

    if sayable(rule):
        return [rule]
    listed = [number for number, condition in enumerate(rule.conditions) if _listed(condition)]
    for number in listed:
        parts = _split(rule, number)
        if any(map(sayable, parts)):
            return _together([one for part in parts for one in apart(part, problem)], number, sayable)
    if len(listed) > 1 and prod(len(rule.conditions[number].any_of or ()) for number in listed) <= MOST:
        parts = [one for part in _split(rule, listed[0]) for one in apart(part, problem)]
        if any(map(sayable, parts)):
            return parts
    return [rule]


def lost(part: Rule, rule: Rule, problem: Callable[[Rule], str]) -> tuple[str, Src] | None:
    """Why a part of a rule is left out, with the leaves of its values alone; None where it can be said, or is the whole rule."""
    values = [
        fact
        for one, whole in zip(part.conditions, rule.conditions, strict=True)
        if len(one.any_of or ()) < len(whole.any_of or ())
        for fact in one.any_of or ()
    ]
    why = problem(part) if values else ""
    return (why, sources(*values)) if why else None


def _together(parts: list[Rule], number: int, sayable: Callable[[Rule], bool]) -> list[Rule]:
    """The parts, with those values of one condition that need not be told apart as one rule again."""
    groups: dict[tuple[Condition, ...], list[Rule]] = {}
    for part in parts:
        groups.setdefault((*part.conditions[:number], *part.conditions[number + 1 :]), []).append(part)
    found: list[Rule] = []
    for listed in groups.values():
        good = [part for part in listed if sayable(part)]
        whole = _joined(good, number) if len(good) > 1 else None
        joined = whole is not None and sayable(whole)
        found += [whole, *(part for part in listed if part not in good)] if joined and whole is not None else listed
    return found


def _joined(parts: list[Rule], number: int) -> Rule:
    """One rule with the values that several have."""
    values = tuple(fact for part in parts for fact in part.conditions[number].any_of or ())
    one = replace(parts[0].conditions[number], any_of=values)
    return replace(parts[0], conditions=(*parts[0].conditions[:number], one, *parts[0].conditions[number + 1 :]))


def _listed(condition: Condition) -> bool:
    many = condition.any_of is not None and len(condition.any_of) > 1
    return many and (condition.attribute in (METHOD, PATH, HOST) or condition.attribute.startswith((HEADER, QUERY)))


def _split(rule: Rule, number: int) -> list[Rule]:
    """The rule once for each value of a condition, with the leaves of that."""
    condition, conditions = rule.conditions[number], rule.conditions
    return [
        replace(rule, conditions=(*conditions[:number], replace(condition, any_of=(value,)), *conditions[number + 1 :]))
        for value in condition.any_of or ()
    ]
