"""Rules that name a port by its name, which Istio does not know: pods that the bundle does not show may give the name to another number, or to none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meshport.effective.access import Effective, port_names
from meshport.ir.authorization import PORT, Condition, Policy


def by_name(policy: Policy) -> bool:
    """Whether a rule of the policy names a port by its name."""
    return bool(port_names(policy.rules))


def by_number(policy: Policy) -> Policy:
    """What an allow admits whatever the numbers of its names are: an exception for a port of unknown number leaves nothing."""
    found = []
    for rule in policy.rules:
        conditions = tuple(map(_numbers, rule.conditions))
        if not any(isinstance(fact.value, str) for item in conditions for fact in item.none_of) and all(
            item.any_of is None or item.any_of for item in conditions
        ):
            found.append(replace(rule, conditions=conditions) if port_names((rule,)) else rule)
    return replace(policy, rules=tuple(found))


def anywhere(policy: Policy, members: Iterable[Effective], numbers: Iterable[int]) -> Policy:
    """A deny with each name that none of these pods has as all ports but their own, which it is not about."""
    known = {port.name for item in members for port in item.workload.ports if port.protocol == "TCP"}

    def spoken(item: Condition) -> Condition:
        asked = (item.any_of or ()) if item.attribute == PORT else ()
        facts = [fact for fact in asked if isinstance(fact.value, str) and fact.value not in known]
        if not facts:
            return item
        return Condition(PORT, None, tuple(facts[0].holding((number, number)) for number in sorted(numbers)), item.sources)

    rules = tuple(replace(rule, conditions=tuple(map(spoken, rule.conditions))) for rule in policy.rules)
    return replace(policy, rules=tuple(dict.fromkeys((*policy.rules, *rules)))) if rules != policy.rules else policy


def _numbers(item: Condition) -> Condition:
    if item.attribute != PORT or item.any_of is None:
        return item
    return replace(item, any_of=tuple(fact for fact in item.any_of if not isinstance(fact.value, str)))
