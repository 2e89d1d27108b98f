"""Rules that name a port by its name, which Istio does not know: pods that the bundle does not show may give the name to another number, or to none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meshport.effective.access import Effective
from meshport.ir.authorization import PORT, Condition, Policy, Rule


def by_name(policy: Policy) -> bool:
    """Whether a rule of the policy names a port by its name."""
    return any(map(_by_name, policy.rules))


def by_number(policy: Policy) -> Policy:
    """What an allow admits whatever the numbers of its names are: an exception for a port of unknown number leaves nothing."""
    found = []
    for rule in policy.rules:
        conditions = tuple(map(_numbers, rule.conditions))
        if not any(isinstance(fact.value, str) for item in conditions for fact in item.none_of) and all(
            item.any_of is None or item.any_of for item in conditions
        ):
            found.append(rule if not _by_name(rule) else replace(rule, conditions=conditions))
    return replace(policy, rules=tuple(found))


def anywhere(policy: Policy, members: Iterable[Effective], numbers: Iterable[int]) -> Policy:
    """A deny with each name that none of these pods has as all ports but their own, which it is not about."""
    known = {port.name for item in members for port in item.workload.ports if port.protocol == "TCP"}

    def spoken(item: Condition) -> Condition:
        facts = [fact for fact in item.any_of or () if isinstance(fact.value, str) and fact.value not in known] if _named(item) else []
        if not facts:
            return item
        return Condition(PORT, None, tuple(facts[0].holding((number, number)) for number in sorted(numbers)), item.sources)

    rules = tuple(replace(rule, conditions=tuple(map(spoken, rule.conditions))) for rule in policy.rules)
    return replace(policy, rules=tuple(dict.fromkeys((*policy.rules, *rules)))) if rules != policy.rules else policy


def _by_name(rule: Rule) -> bool:
    return any(map(_named, rule.conditions))


def _named(item: Condition) -> bool:
    return item.attribute == PORT and any(isinstance(fact.value, str) for fact in (*(item.any_of or ()), *item.none_of))


def _numbers(item: Condition) -> Condition:
    if not _named(item) or item.any_of is None:
        return item
    return replace(item, any_of=tuple(fact for fact in item.any_of if not isinstance(fact.value, str)))
