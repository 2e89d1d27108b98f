"""What ztunnel enforces of a policy with a selector (Istio reference 6.3; pilot/pkg/serviceregistry/ambient/authorization.go, ztunnel src/rbac.rs).

It knows connections alone: principals, namespaces, accounts and addresses of the caller, ports, and five keys of `when`. An ALLOW rule that asks for
anything else is left out as a whole; of a DENY what it does not know is taken out, and a part of which nothing is left never matches. `trustDomains` is
passed over in both. It compares literally: no aliases of the trust domain, no `*` inside a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import DESTINATION_IP, IDENTITY, PORT, SOURCE_IP, Condition, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, Src

KEYS = ("source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port")
_L4 = (IDENTITY, SOURCE_IP, DESTINATION_IP, PORT)
_OPERATION = ("destination.port", "request.method", "request.path", "request.host")


@dataclass(frozen=True, slots=True)
class Unseen:
    """The values of a policy that ztunnel does not take as a sidecar does, by leaf."""

    asking: Src = NOWHERE  # of `when` keys that it does not know although they are no HTTP
    passed_over: Src = NOWHERE  # of trustDomains
    literal: Src = NOWHERE  # that no caller has, taken literally


@dataclass(slots=True)
class Enforced:
    """The rules that hold at ztunnel; the facts of those that do not, and of values that it reads otherwise."""

    rules: tuple[Rule, ...]
    lost: list[Fact[object]]
    otherwise: list[Fact[object]]
    http: bool  # whether what is lost asks for HTTP


def inner_star(text: str) -> bool:
    """Whether a namespace has a `*` that ztunnel compares as a letter: any but a leading one, or a closing one where none leads."""
    return text != "*" and "*" in (text[1:] if text.startswith("*") else text.removesuffix("*"))


def negative(key: str) -> str:
    """The member that excludes what another demands: `notPaths` beside `paths`."""
    return "not" + key[0].upper() + key[1:]


def unseen(spec: Cursor, trust_domain: str) -> Unseen:
    """What a policy's words come to at ztunnel."""
    asking: set[int] = set()
    passed_over: set[int] = set()
    literal: set[int] = set()

    def compared(place: Cursor, key: str, field: str) -> None:
        for fact in place.strings(key):
            alias = field == "principals" and trust_domain != "cluster.local" and fact.value.startswith("cluster.local/")
            if alias or (field == "namespaces" and inner_star(fact.value)):
                literal.update(fact.src)

    for rule in spec.each("rules"):
        for entry in rule.each("from"):
            source = entry.at("source")
            for key, field in (("principals", "principals"), ("namespaces", "namespaces")):
                compared(source, key, field)
                compared(source, negative(key), field)
            for key in ("trustDomains", "notTrustDomains"):
                passed_over |= {leaf for fact in source.strings(key) for leaf in fact.src}
        for entry in rule.each("when"):
            name = entry.text("key")
            said = name.value if name is not None else ""
            for key in ("values", "notValues"):
                if said in ("source.principal", "source.namespace"):
                    compared(entry, key, said.removeprefix("source.") + "s")
                elif said not in KEYS:
                    asking |= {leaf for fact in entry.strings(key) for leaf in fact.src}
    return Unseen(frozenset(asking), frozenset(passed_over), frozenset(literal))


def at_ztunnel(policy: Policy, words: Unseen) -> Enforced:
    """What is left of a policy's rules."""
    kept: list[Rule] = []
    lost: list[Fact[object]] = []
    otherwise: list[Fact[object]] = []
    deny = policy.action.value == "deny"
    left_out = {rule.number for rule in policy.rules if not deny and any(_asks(item, words) for item in rule.conditions)}
    for rule in policy.rules:
        if rule.number in left_out:  # with all its alternatives
            lost += _facts(rule.conditions)
            continue
        gone = [item for item in rule.conditions if _asks(item, words)]
        passed = [item for item in rule.conditions if words.passed_over & item.sources]
        if any(not _remains(item, rule, words) for item in (*gone, *passed)):
            lost += _facts(rule.conditions)
            continue
        lost += _facts(gone)
        otherwise += _facts(passed)
        said = [_literally(item, words, otherwise) for item in rule.conditions if item not in gone and item not in passed]
        if any(item.any_of == () for item in said):
            otherwise += _facts(said)
            continue
        kept.append(replace(rule, conditions=tuple(said), http=rule.http and not gone))
    http = any(item.attribute not in _L4 for rule in policy.rules for item in rule.conditions)
    return Enforced(tuple(kept), lost, otherwise, http)


def _asks(condition: Condition, words: Unseen) -> bool:
    return condition.attribute not in _L4 or bool(words.asking & condition.sources)


def _literally(condition: Condition, words: Unseen, otherwise: list[Fact[object]]) -> Condition:
    """A condition without the values that ztunnel finds at no caller."""
    if not words.literal & condition.sources:
        return condition
    otherwise += [fact for fact in (*(condition.any_of or ()), *condition.none_of) if fact.src & words.literal]
    inside = condition.any_of
    return replace(
        condition,
        any_of=None if inside is None else tuple(fact for fact in inside if not fact.src & words.literal),
        none_of=tuple(fact for fact in condition.none_of if not fact.src & words.literal),
    )


def _remains(condition: Condition, rule: Rule, words: Unseen) -> bool:
    """Whether something that ztunnel knows stands beside a condition in the same part of its rule (a `when` is a part of its own)."""
    if condition.src:
        return False
    operation = condition.attribute in _OPERATION
    return any(
        not _asks(other, words) and not words.passed_over & other.sources and not other.src and (other.attribute in _OPERATION) == operation
        for other in rule.conditions
        if other is not condition
    )


def _facts(conditions: Iterable[Condition]) -> list[Fact[object]]:
    found: list[Fact[object]] = []
    for condition in conditions:
        found += [*(condition.any_of or ()), *condition.none_of]
        if condition.src:
            found.append(Fact(condition.attribute, condition.src))
    return found
