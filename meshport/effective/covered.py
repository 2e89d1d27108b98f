"""Values of a rule, and rules of a policy, that others of the same policy hold already: they are taken out before anything is written, so that what is
written stands for the ones that decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

from meshport.effective.felt import less
from meshport.effective.identities import fits
from meshport.effective.networks import Networks
from meshport.effective.pieces import Piece, of_rule
from meshport.effective.remainder import bare
from meshport.effective.sets import METHODS
from meshport.ir.authorization import HOST, IDENTITY, METHOD, PATH, PORT, SOURCE_IP, Condition, Network, Pattern, Policy, Rule
from meshport.ir.base import Fact, PodSet, Requirement, Src
from meshport.ir.selecting import Selecting
from meshport.ir.world import World

T = TypeVar("T")
MOST = 64
"""Values of one condition, and rules of one policy, beyond which nothing is looked for: every one is held against every other."""
FEW = 6


def tidied(policy: Policy) -> tuple[Policy, Src, Src]:
    """The policy without what its other values and rules hold, and the leaves that only that came from; last those of rules that no request can meet,
    nor bytes: of those a deny refuses more, for it loses what it asks of requests."""
    deny = policy.action.value == "deny" and any(rule.http and _narrowed(rule) for rule in policy.rules)
    met = tuple(rule for rule in policy.rules if not _void(rule, deny))
    possible = replace(policy, rules=met)
    rules = tuple(_bare(replace(rule, conditions=tuple(_tidied(item) for item in rule.conditions)), deny) for rule in met)
    after = replace(policy, rules=tuple(_widest(rules, _rule_covers)))
    void, held = policy.sources - possible.sources, possible.sources - after.sources
    return (after, held, void) if held or void else (policy, held, void)


def _void(rule: Rule, deny: bool) -> bool:
    """Whether conditions contradict each other, as far as can be told."""
    ports = [item for item in rule.conditions if item.attribute == PORT]
    if _no_port(ports):
        return True
    return bool(_narrowed(rule)) and (found := _pieces(rule, deny)) is not None and not any(found)


def _no_port(conditions: Sequence[Condition]) -> bool:
    """Whether no port is left. Ports by name are whatever a workload makes of them."""
    asked = [[fact.value for fact in item.any_of] for item in conditions if item.any_of is not None]
    refused = [fact.value for item in conditions for fact in item.none_of]
    if not asked or any(isinstance(value, str) for value in (*(value for values in asked for value in values), *refused)):
        return False
    edges = {low for values in asked for low, _ in values} | {high + 1 for _, high in refused}
    return not any(
        all(any(low <= port <= high for low, high in values) for values in asked) and not any(low <= port <= high for low, high in refused)
        for port in edges
    )


def _pieces(rule: Rule, deny: bool) -> list[list[Piece]] | None:
    """What a rule takes on the ports that it is for, without where it came from: of requests, and for such a deny of bytes, of which it refuses more."""
    try:
        anywhere = replace(rule, conditions=tuple(item for item in rule.conditions if item.attribute != PORT))
        return [[bare(piece) for piece in of_rule(anywhere, http=http, deny=deny)] for http in ((True, False) if deny else (True,))]
    except ValueError:
        return None


def _bare(rule: Rule, deny: bool) -> Rule:
    """The rule without values that another condition on the same thing leaves nothing of."""
    for place in _narrowed(rule):
        taken, old = _pieces(rule, deny), rule.conditions[place]
        values = (*(old.any_of or ()), *old.none_of)
        for fact in values if taken is not None and len(values) <= MOST else ():
            fewer = less(rule, place=place, fact=fact)
            if fewer != rule and _alike(_pieces(fewer, deny), taken):
                rule = fewer
    return rule


def _alike(found: list[list[Piece]] | None, wanted: list[list[Piece]] | None) -> bool:
    """Whether a rule takes the same requests as another one, piece by piece, however these are written."""
    if found is None or wanted is None or list(map(len, found)) != list(map(len, wanted)):
        return False
    pairs = [pair for one, other in zip(found, wanted, strict=True) for pair in zip(one, other, strict=True)]
    try:
        return all(one == other or (one.covers(other) and other.covers(one)) for one, other in pairs)
    except ValueError:
        return False


def _narrowed(rule: Rule) -> list[int]:
    """The places of conditions that are not all that a rule asks of a thing. Those on ports are looked at otherwise."""
    asked = [item.attribute for item in rule.conditions]
    return [
        place
        for place, item in enumerate(rule.conditions)
        if item.attribute != PORT and (asked.count(item.attribute) > 1 or (item.any_of is not None and item.none_of))
    ]


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


def needless(policies: Sequence[Policy]) -> list[Policy]:
    """Those of a mesh's allows without rules of which another closes all pods, those that the bundle does not show as well."""
    left = [policy for policy in policies if policy.action.value == "allow" and policy.port is None]
    empty = sorted((policy for policy in left if not policy.rules), key=lambda item: item.subject.value.selector.everything)
    by_subject: dict[tuple[str, frozenset[Requirement]], list[Policy]] = {}
    for policy in left:
        pods = policy.subject.value
        by_subject.setdefault((pods.namespace, frozenset(pods.selector.demands())), []).append(policy)
    gone: set[int] = set()
    for policy in empty:  # narrow ones first, for of two that hold for the same pods one has to stay
        wider = (other for key in _wider(policy.subject.value) for other in by_subject.get(key, ()))
        if any(other is not policy and id(other) not in gone for other in wider):
            gone.add(id(policy))
    return [policy for policy in empty if id(policy) in gone]


def _wider(pods: PodSet) -> Iterable[tuple[str, frozenset[Requirement]]]:
    """The sets of pods by namespace and demands that hold all of these; of many demands those with one of them, or none, or all."""
    demands = pods.selector.demands()
    sizes = range(len(demands) + 1) if len(demands) <= FEW else (0, 1, len(demands))
    for namespace in dict.fromkeys(("", pods.namespace)):
        for size in sizes:
            yield from ((namespace, frozenset(chosen)) for chosen in combinations(demands, size))


def _tidied(condition: Condition) -> Condition:
    def covers(one: Fact[Any], other: Fact[Any]) -> bool:
        return _covers(condition.attribute, one.value, other.value)

    any_of = None if condition.any_of is None else tuple(_widest(condition.any_of, covers))
    none_of = tuple(_widest(condition.none_of, covers))
    if condition.attribute == PORT and any_of is not None:
        none_of = tuple(fact for fact in none_of if any(_meets(fact.value, other.value) for other in any_of))
    return replace(condition, any_of=any_of, none_of=none_of)


def _meets(one: Any, other: Any) -> bool:
    """Whether ports may be among others; those by name are whatever a workload makes of them."""
    return isinstance(one, str) or isinstance(other, str) or bool(one[0] <= other[1] and other[0] <= one[1])


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
    """Whether every request of the other rule is one of this, seen value by value, and may be written as this one is."""
    return one.http == other.http and one.granted_by == other.granted_by and one.number == other.number and rule_covers(one, other)


def rule_covers(one: Rule, other: Rule) -> bool:
    """Whether every request of the other rule is one of this, seen value by value."""
    if one.unless or other.unless or (one.http and not other.http):
        return False
    known = {item.attribute: item for item in other.conditions}
    if len(known) < len(other.conditions):
        return False
    pairs = [(item, its) for item in one.conditions if (its := known.get(item.attribute)) is not None]
    short = sorted(pairs, key=lambda pair: len(pair[0].any_of or ()))  # the quick ones first
    return len(pairs) == len(one.conditions) and all(_condition_covers(item, its) for item, its in short)


def _condition_covers(one: Condition, other: Condition) -> bool:
    def held(facts: Iterable[Fact[Any]], by: Sequence[Fact[Any]]) -> bool:
        values = {known.value for known in by}
        return all(fact.value in values or any(_covers(one.attribute, value, fact.value) for value in values) for fact in facts)

    inside = one.any_of is None or (other.any_of is not None and held(other.any_of, one.any_of))
    return inside and held(one.none_of, other.none_of)


def _covers(attribute: str, one: Any, other: Any) -> bool:
    """Whether a value holds another, as far as can be told."""
    if one == other:
        return True
    if attribute == PORT:
        return isinstance(one, tuple) and isinstance(other, tuple) and bool(one[0] <= other[0] and other[1] <= one[1])
    if attribute == IDENTITY:
        return fits(one, other)
    if attribute == SOURCE_IP:
        simple = isinstance(one, Network) and isinstance(other, Network) and not one.excluded
        return simple and Networks((one,)).covers(Networks((other,)))
    if attribute in (METHOD, PATH, HOST) and isinstance(one, Pattern) and isinstance(other, Pattern):
        if one.kind == "any":
            return True
        if attribute == METHOD and other.text not in METHODS:  # where a pattern has no words, it becomes the methods that HTTP defines
            return False
        begins = {"exact": other.text, "prefix": other.text, "template": other.text.partition("{")[0]}.get(other.kind)
        starts = one.kind == "prefix" and begins is not None and begins.startswith(one.text)
        ends = one.kind == "suffix" and other.kind in ("exact", "suffix") and other.text.endswith(one.text)
        return starts or ends
    return False


__all__ = ["closed_anyway", "needless", "rule_covers", "tidied"]
