"""Which values of an allow, and of the denies that are taken out of it, something of what is written stands for.

The rest of a condition may say as much already, and what a value asks for may be beyond the target's words: then the same is written without that value,
and it is no reason for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meshport.effective.pieces import Piece
from meshport.ir.authorization import Condition, Rule
from meshport.ir.base import NOWHERE, Fact, Src

MANY = 20
"""Denies beyond which nothing is tried: each of them is left out once, and all the others are taken out of the allow for that."""
MOST = 40
"""Conditions and values of a rule and its denies, beyond which none of these is left out."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A rule of a deny, as pieces."""

    rule: Rule
    pieces: tuple[Piece, ...]


Written = Callable[[list[Piece], list[Piece]], Hashable | None]
"""What an allow less some denies comes to in the target's words, comparable; None where it cannot be computed."""


def felt(
    allow: Rule,
    denies: Sequence[Denied],
    allowed_of: Callable[[Rule], list[Piece]],
    denied_of: Callable[[Rule], list[Piece]],
    written: Written,
) -> tuple[list[Denied], Src]:
    """The denies without which something else would be written, and the leaves of those values without which the same would be."""

    def outcome(rule: Rule, left: Sequence[Denied]) -> Hashable | None:
        try:
            return written(allowed_of(rule), [piece for item in left for piece in item.pieces])
        except ValueError:  # a rule that cannot be understood
            return None

    left = list(denies)
    whole = outcome(allow, denies) if len(denies) <= MANY else None
    if whole is None:
        return left, NOWHERE
    for item in denies:
        others = [other for other in left if other is not item]
        if outcome(allow, others) == whole:
            left = others
    if sum(1 for rule in (allow, *(item.rule for item in left)) for _ in _steps(rule)) > MOST:
        return left, NOWHERE
    fewer = list(left)
    for number, item in enumerate(left):
        for step in _steps(item.rule):
            rule = step(fewer[number].rule)
            tried = [*fewer[:number], Denied(rule, tuple(denied_of(rule))), *fewer[number + 1 :]]
            if outcome(allow, tried) == whole:
                fewer = tried
    kept = allow
    for step in _steps(allow):
        rule = step(kept)
        if outcome(rule, fewer) == whole:
            kept = rule
    gone = allow.sources.union(*(item.rule.sources for item in left)) - kept.sources.union(*(item.rule.sources for item in fewer))
    return left, gone


def _steps(rule: Rule) -> Iterator[Callable[[Rule], Rule]]:
    """What leaves out a condition of a rule, or a value of one."""
    for place, condition in enumerate(rule.conditions):
        yield partial(_without, place=place)
        for fact in (*(condition.any_of or ()), *condition.none_of):
            yield partial(less, place=place, fact=fact)


def _without(rule: Rule, *, place: int) -> Rule:
    """The rule without a condition."""
    return _with(rule, place, Condition(rule.conditions[place].attribute))


def less(rule: Rule, *, place: int, fact: Fact[Any]) -> Rule:
    """The rule without a value; the last one that a condition demands stays."""
    old = rule.conditions[place]
    any_of = old.any_of if old.any_of is None or len(old.any_of) == 1 else tuple(item for item in old.any_of if item is not fact)
    return _with(rule, place, replace(old, any_of=any_of, none_of=tuple(item for item in old.none_of if item is not fact)))


def _with(rule: Rule, place: int, condition: Condition) -> Rule:
    return replace(rule, conditions=(*rule.conditions[:place], condition, *rule.conditions[place + 1 :]))


__all__ = ["Denied", "felt", "less"]
