"""Values of a rule, and rules of a policy, that others of the same policy hold already: they are taken out before anything is written, so that what is
written stands for the ones that decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from meshport.effective.sets import Identities, Networks
from meshport.ir.authorization import HOST, IDENTITY, METHOD, PATH, PORT, SOURCE_IP, Condition, Network, Pattern, Policy, Rule
from meshport.ir.base import Fact, Src
from meshport.ir.selecting import Selecting
from meshport.ir.world import World

T = TypeVar("T")
MOST = 64
"""Values of one condition, and rules of one policy, beyond which nothing is looked for: every one is held against every other."""


def tidied(policy: Policy) -> tuple[Policy, Src]:
    """The policy without what its other values and rules hold, and the leaves that only that came from."""
    rules = tuple(replace(rule, conditions=tuple(_tidied(item) for item in rule.conditions)) for rule in policy.rules)
    rules = tuple(_widest(rules, _rule_covers))
    after = replace(policy, rules=rules)
    gone = policy.sources - after.sources
    return (after, gone) if gone else (policy, gone)


def closed_anyway(policies: Sequence[Policy], world: World) -> list[bool]:
    """For each policy, whether other policies close all of its pods, so that what it says of that itself decides nothing."""
    allows = [policy for policy in policies if policy.action.value == "allow"]
    selecting = Selecting(allows, lambda policy: policy.subject.value)
    everywhere = [policy for policy in allows if policy.subject.value.selector.everything]

    def settled(policy: Policy, among: Iterable[Policy]) -> bool:
        return any(other.closing for other in among if other is not policy)

    def whole(policy: Policy) -> bool:
        if not policy.closed_by:
            return False
        pods = policy.subject.value
        if pods.selector.everything:  # pods that the bundle does not show as well
            return settled(policy, (other for other in everywhere if other.subject.value.namespace in ("", pods.namespace)))
        members = world.selected(pods)
        return bool(members) and all(settled(policy, selecting.of(one.ref.namespace, one.labels)) for one in members)

    return [whole(policy) for policy in policies]


def _tidied(condition: Condition) -> Condition:
    def covers(one: Fact[Any], other: Fact[Any]) -> bool:
        return _covers(condition.attribute, one.value, other.value)

    any_of = None if condition.any_of is None else tuple(_widest(condition.any_of, covers))
    return replace(condition, any_of=any_of, none_of=tuple(_widest(condition.none_of, covers)))


def _widest(items: Sequence[T], covers: Callable[[T, T], bool]) -> Iterable[T]:
    """The items that no other one holds; of equal ones the first."""
    if not 1 < len(items) <= MOST:
        return items
    return [
        item
        for place, item in enumerate(items)
        if not any(
            covers(other, item) and (position < place or not covers(item, other))
            for position, other in enumerate(items)
            if position != place
        )
    ]


def _rule_covers(one: Rule, other: Rule) -> bool:
    """Whether every request of the other rule is one of this, seen value by value."""
    if one.unless or other.unless or one.http != other.http or one.granted_by != other.granted_by or one.number != other.number:
        return False
    known = {item.attribute: item for item in other.conditions}
    if len(known) < len(other.conditions):
        return False
    for item in one.conditions:
        its = known.get(item.attribute)
        if its is None or not _condition_covers(item, its):
            return False
    return True


def _condition_covers(one: Condition, other: Condition) -> bool:
    def held(fact: Fact[Any], by: Iterable[Fact[Any]]) -> bool:
        return any(_covers(one.attribute, known.value, fact.value) for known in by)

    inside = one.any_of is None or (other.any_of is not None and all(held(fact, one.any_of) for fact in other.any_of))
    return inside and all(held(fact, other.none_of) for fact in one.none_of)


def _covers(attribute: str, one: Any, other: Any) -> bool:
    """Whether a value holds another, as far as can be told."""
    if one == other:
        return True
    if attribute == PORT:
        return isinstance(one, tuple) and isinstance(other, tuple) and bool(one[0] <= other[0] and other[1] <= one[1])
    if attribute == IDENTITY:
        return Identities(frozenset((one,))).covers(Identities(frozenset((other,))))
    if attribute == SOURCE_IP:
        simple = isinstance(one, Network) and isinstance(other, Network) and not one.excluded
        return simple and Networks((one,)).covers(Networks((other,)))
    if attribute in (METHOD, PATH, HOST) and isinstance(one, Pattern) and isinstance(other, Pattern):
        starts = one.kind == "prefix" and other.kind in ("exact", "prefix") and other.text.startswith(one.text)
        ends = one.kind == "suffix" and other.kind in ("exact", "suffix") and other.text.endswith(one.text)
        return starts or ends
    return False


__all__ = ["closed_anyway", "tidied"]
