"""Expressions whose one difficulty is a dot that nobody escaped: `/robots.txt`, `cart.shop`, `/v1.0/.*`. Istio has no expressions in an AuthorizationPolicy, and
what such a dot takes beside a dot is no path or host that anybody has in mind: the rule is written with the dot itself, which is less, and that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.ir.authorization import HEADER, HOST, PATH, Condition, Pattern, Rule
from meshport.ir.base import NOWHERE, Fact, Src, sources
from meshport.values.language import BARE_PATHS, VALUES, LanguageTooLarge, with_plain_dots
from meshport.values.problems import ValueProblem


def with_dots(rule: Rule, *, http: bool = True, port: int | None = None) -> tuple[Sequence[Piece], Src]:
    """The pieces of the rule with its dots taken for themselves, and the leaves in which they stand; none where it has no such dot."""
    conditions = []
    changed = NOWHERE
    for condition in rule.conditions:
        made = _plain(condition)
        conditions.append(made)
        if made is not condition:
            changed |= sources(*(condition.any_of or ()))
    if not changed:
        return (), NOWHERE
    try:
        return of_rule(replace(rule, conditions=tuple(conditions)), http=http, port=port), changed
    except (Unsayable, ValueError):
        return (), NOWHERE


def _plain(condition: Condition) -> Condition:
    if condition.any_of is None or not (condition.attribute in (HOST, PATH) or condition.attribute.startswith(HEADER)):
        return condition
    found: list[Fact[Pattern]] = []
    for fact in condition.any_of:
        found += _forms(fact, condition.attribute == PATH) or [fact]
    return condition if found == list(condition.any_of) else replace(condition, any_of=tuple(found))


def _forms(fact: Fact[Pattern], path: bool) -> list[Fact[Pattern]]:
    """The simple patterns that an expression comes to; [] where it has no such dot, or does not come to any."""
    if fact.value.kind != "regex":
        return []
    try:
        plain = with_plain_dots(fact.value.text)
        forms = plain.as_patterns(BARE_PATHS if path else VALUES) if plain is not None else None
    except (LanguageTooLarge, ValueProblem):
        return []
    return [fact.holding(Pattern(kind, text)) for kind, text in forms or ()]
