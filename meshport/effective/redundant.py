"""Rules that add nothing where they stand: which of their leaves would add something with another value, and which decide nothing whatever they say.

An allow that others hold already grants something of its own once it names another caller, unless the others let everybody in. A deny that nothing
meets refuses something once it names a caller, a path, that the allows let through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from meshport.effective.access import Effective, admission_conditions
from meshport.effective.pieces import Piece, Unsayable, of_rule, subtract
from meshport.ir.authorization import METHOD, PORT, Entity, Labelled, Network, Pattern, Policy, Rule
from meshport.ir.base import Selector, Src
from meshport.values.identities import Identity, IdentityGlob
from meshport.values.language import LanguageTooLarge

Ports = Iterable[int | None]
_ELSEWHERE = ("203.0.113.0/24", "2001:db8:ffff::/48")


def deciding(
    item: Effective, policy: Policy, rest: Src, ports: Ports, http: Callable[[int | None], bool], networks: tuple[str, ...]
) -> Src:
    """The leaves among `rest` of a policy of a workload with which another value would change what the workload admits.

    `http` tells whether a port speaks HTTP, `networks` are those of the cluster. Where it cannot be computed, a leaf counts as deciding.
    """
    found: set[int] = set()
    places = [port for port in ports if item.holds(policy, port)]
    for rule in policy.rules:
        if not rule.sources & rest:
            continue
        try:
            around = [(port, _around(item, policy, rule, port, http(port), networks)) for port in places]
        except (Unsayable, ValueError, LanguageTooLarge):
            found |= rule.sources & rest
            continue
        before = [_effect(item, policy, rule, port, http(port), known) for port, known in around]
        for src, other in _others(rule):
            if not src & rest - found:
                continue
            after = (_effect(item, policy, other, port, http(port), known) for port, known in around)
            if any(not _same(one, two) for one, two in zip(before, after, strict=True)):
                found |= src & rest
    return frozenset(found)


def _around(
    item: Effective, policy: Policy, rule: Rule, port: int | None, http: bool, networks: tuple[str, ...]
) -> tuple[list[Piece], list[Piece]]:
    """What the other rules let through on a port, and what is refused there."""
    rules = [other for known in item.at(port) for other in known.rules if other is not rule]
    if not item.closes(port) and item.default(port) not in ("deny", "audit"):
        rules = [Rule(admission_conditions(item.default(port), networks, frozenset()))]
    allowed = [piece for other in rules for piece in _pieces(item, other, port, http)]
    refused = [
        piece
        for known in (*item.denies, *item.customs)
        for other in known.rules
        if other is not rule
        for piece in of_rule(other, http=http, deny=True, port=port)
    ]
    return allowed, refused


def _pieces(item: Effective, rule: Rule, port: int | None, http: bool) -> list[Piece]:
    return of_rule(rule, http=http, port=port, strict=item.mode(port).value == "strict")


def _effect(
    item: Effective, policy: Policy, rule: Rule, port: int | None, http: bool, around: tuple[list[Piece], list[Piece]]
) -> list[Piece] | None:
    """What a rule lets through, or refuses, on a port that without it would not be so; None where it cannot be computed."""
    allowed, refused = around
    try:
        if policy.action.value == "allow":
            left = subtract(_pieces(item, rule, port, http), refused)
            return [piece for piece in left if not any(known.covers(piece) for known in allowed)]
        met = [piece.meet(deny) for deny in of_rule(rule, http=http, deny=True, port=port) for piece in subtract(allowed, refused)]
        return [piece for piece in met if not piece.empty]
    except (Unsayable, ValueError, LanguageTooLarge):
        return None


def _same(one: list[Piece] | None, other: list[Piece] | None) -> bool:
    return (
        one is not None
        and other is not None
        and all(any(known.covers(piece) for known in other) for piece in one)
        and all(any(known.covers(piece) for known in one) for piece in other)
    )


def _others(rule: Rule) -> Iterator[tuple[Src, Rule]]:
    """The rule with another value in one place, and the leaves of that place."""
    for number, condition in enumerate(rule.conditions):
        before, after = rule.conditions[:number], rule.conditions[number + 1 :]
        for position, fact in enumerate(condition.any_of or ()):
            for value in _other(condition.attribute, fact.value):
                listed = (*(condition.any_of or ())[:position], fact.holding(value), *(condition.any_of or ())[position + 1 :])
                yield fact.src, replace(rule, conditions=(*before, replace(condition, any_of=listed), *after))
        for position, fact in enumerate(condition.none_of):
            for value in _other(condition.attribute, fact.value):
                listed = (*condition.none_of[:position], fact.holding(value), *condition.none_of[position + 1 :])
                yield fact.src, replace(rule, conditions=(*before, replace(condition, none_of=listed), *after))
        if condition.src:
            yield condition.src, replace(rule, conditions=(*before, *after))


def _other(attribute: str, value: Any) -> Iterator[Any]:
    """Values that a condition might have instead: near the one that it has, and like nothing else that is said."""
    if attribute == PORT:
        if isinstance(value, tuple):
            low, high = value
            yield low, min(high + 1, 65535)
            yield min(low + 1, 65535), min(high + 1, 65535)
    elif attribute == METHOD and isinstance(value, Pattern):
        yield from (Pattern("exact", name) for name in ("PATCH", "HEAD") if value.text != name)
    elif isinstance(value, Pattern):
        yield Pattern("exact", "other") if value.kind == "any" else Pattern(value.kind, value.text + "z")
    elif isinstance(value, Identity):
        if value.service_account is not None:
            yield replace(value, service_account=value.service_account + "z")
        elif value.namespace is not None:
            yield replace(value, namespace=value.namespace + "z")
        else:
            yield Identity(value.trust_domain, "other", "other")
    elif isinstance(value, IdentityGlob):
        yield IdentityGlob(value.text + "z" if not value.text.endswith("*") else value.text[:-1] + "z*")
    elif isinstance(value, Labelled):
        labels = value.selector.labels
        yield Labelled(value.namespace, Selector(tuple((key, text + "z") for key, text in labels), value.selector.expressions))
    elif isinstance(value, Entity):
        yield Entity("cluster" if value.name == "world" else "world")
    elif isinstance(value, Network):
        yield from (Network(cidr) for cidr in _ELSEWHERE)


__all__ = ["deciding"]
