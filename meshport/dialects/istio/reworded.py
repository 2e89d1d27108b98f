"""Rules of the IR that came from AuthorizationPolicies, in the words of one again: for what is written anew because other pods, ports or callers are meant.

A rule that stands as it stood keeps its text. https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from meshport.dialects.istio.saying import principal
from meshport.ir.authorization import (
    DESTINATION_IP,
    HEADER,
    HOST,
    IDENTITY,
    METHOD,
    OTHER,
    PATH,
    PORT,
    REMOTE_IP,
    SNI,
    SOURCE_IP,
    TOKEN,
    Condition,
    Pattern,
    Rule,
)
from meshport.ir.base import Fact
from meshport.values.identities import Identity, IdentityGlob

Raw = dict[str, Any]
_OPERATION = {METHOD: ("methods", "notMethods"), PATH: ("paths", "notPaths"), HOST: ("hosts", "notHosts")}
_WHEN = {SOURCE_IP: "source.ip", REMOTE_IP: "remote.ip", DESTINATION_IP: "destination.ip", SNI: "connection.sni"}


def rules(held: Sequence[Rule], read: Sequence[Rule], said: Sequence[Raw]) -> list[Raw]:
    """What holds of a policy, as its document says it where that is still the same: `read` are the rules of the document, `said` their text."""
    out: list[Raw] = []
    for number in dict.fromkeys(rule.number for rule in held):
        mine = [rule for rule in held if rule.number == number]
        if number < len(said) and mine == [rule for rule in read if rule.number == number]:
            out.append(copy.deepcopy(said[number]))
        else:
            out += _merged(made for rule in mine if (made := _raw(rule)) is not None)
    return out


def _merged(found: Iterable[Raw]) -> list[Raw]:
    """Rules that differ in one part alone as one with alternatives there."""
    out: list[Raw] = []
    for rule in found:
        for part, rest in (("from", ("to", "when")), ("to", ("from", "when"))):
            same = next((one for one in out if part in one and part in rule and all(one.get(key) == rule.get(key) for key in rest)), None)
            if same is not None:
                same[part] += [entry for entry in rule[part] if entry not in same[part]]
                break
        else:
            if rule not in out:
                out.append(rule)
    return out


def _raw(rule: Rule) -> Raw | None:
    """A rule; None where it matches nobody."""
    if any(condition.any_of == () for condition in rule.conditions):
        return None
    sources: list[Raw] = [{}]
    operation: Raw = {}
    when: list[Raw] = []
    asked = [item for item in rule.conditions if item.attribute == IDENTITY]
    first = max(asked, key=_kinds, default=None)
    if first is not None:
        sources = _sources(first)
    for condition in rule.conditions:
        if condition is first or condition.attribute == PORT:
            continue
        inside, outside = condition.any_of, condition.none_of
        if condition.attribute == IDENTITY:
            when += _callers(condition)
        elif condition.attribute in _OPERATION and not set(_OPERATION[condition.attribute]) & operation.keys():
            asks, refuses = _OPERATION[condition.attribute]
            operation |= {key: _texts(facts) for key, facts in ((asks, inside), (refuses, outside)) if facts}
        elif condition.attribute == SOURCE_IP and not any({"ipBlocks", "notIpBlocks"} & source.keys() for source in sources):
            named = {key: _texts(facts) for key, facts in (("ipBlocks", inside), ("notIpBlocks", outside)) if facts}
            sources = [source | named for source in sources]
        else:
            said = {key: _texts(facts) for key, facts in (("values", inside), ("notValues", outside)) if facts}
            when.append({"key": _key(condition.attribute), **said})
    operation |= _ports([item for item in rule.conditions if item.attribute == PORT])
    if operation.get("ports") == []:
        return None
    made: Raw = {}
    if any(sources):
        made["from"] = [{"source": source} for source in sources]
    if operation:
        made["to"] = [{"operation": operation}]
    if when:
        made["when"] = when
    return made


def _kinds(condition: Condition) -> int:
    """How many lists of a source a demand on callers takes; `when` has one for each key."""
    return len({_namespace(fact.value) is not None for fact in (*(condition.any_of or ()), *condition.none_of)})


def _namespace(value: object) -> str | None:
    """What `namespaces` says, as it is written there; None for an account."""
    if isinstance(value, Identity) and value.trust_domain is None and value.service_account is None:
        return value.namespace
    if isinstance(value, IdentityGlob) and value.text.startswith("*/ns/") and value.text.endswith("/*") and value.text.count("/") == 3:
        return value.text[len("*/ns/") : -len("/*")]
    return None


def _parted(facts: Iterable[Fact[Any]] | None) -> tuple[list[str], list[str]]:
    """Callers as (principals, namespaces)."""
    values = [fact.value for fact in facts or ()]
    return (
        list(dict.fromkeys(_principal(value) for value in values if _namespace(value) is None)),
        list(dict.fromkeys(name for value in values if (name := _namespace(value)) is not None)),
    )


def _principal(value: object) -> str:
    return value.text if isinstance(value, IdentityGlob) else principal(value)


def _sources(condition: Condition) -> list[Raw]:
    """Alternatives of `source` for a demand on callers."""
    principals, namespaces = _parted(condition.any_of)
    barred = {key: texts for key, texts in zip(("notPrincipals", "notNamespaces"), _parted(condition.none_of), strict=True) if texts}
    if condition.any_of is None:
        return [barred]
    return [{key: texts, **barred} for key, texts in (("principals", principals), ("namespaces", namespaces)) if texts]


def _callers(condition: Condition) -> list[Raw]:
    """A demand on callers as conditions, which stand beside each other."""
    inside, outside = _parted(condition.any_of), _parted(condition.none_of)
    out: list[Raw] = []
    for key, asks, refuses in zip(("source.principal", "source.namespace"), inside, outside, strict=True):
        entry = {name: texts for name, texts in (("values", asks), ("notValues", refuses)) if texts}
        if entry:
            out.append({"key": key, **entry})
    return out


def _ports(conditions: list[Condition]) -> Raw:
    """`ports` and `notPorts`: what all conditions take."""
    inside: list[str] | None = None
    outside: list[str] = []
    for condition in conditions:
        outside += [text for text in _numbers(condition.none_of) if text not in outside]
        if condition.any_of is not None:
            listed = _numbers(condition.any_of)
            inside = listed if inside is None else [text for text in inside if text in listed]
    if inside is not None:
        return {"ports": [text for text in inside if text not in outside]}
    return {"notPorts": outside} if outside else {}


def _numbers(facts: Iterable[Fact[Any]]) -> list[str]:
    return list(dict.fromkeys(str(fact.value[0]) for fact in facts))


def _key(attribute: str) -> str:
    """The key of `when`; a header's name came in lower case."""
    if attribute.startswith(HEADER):
        return f"request.headers[{attribute.removeprefix(HEADER)}]"
    if attribute.startswith(TOKEN):
        return "request.auth." + attribute.removeprefix(f"{TOKEN}:")
    return _WHEN.get(attribute) or attribute.removeprefix(OTHER)


def _texts(facts: Iterable[Fact[Any]]) -> list[str]:
    return list(dict.fromkeys(_text(fact.value) for fact in facts))


def _text(value: object) -> str:
    if not isinstance(value, Pattern):
        return str(value)
    return {"any": "*", "prefix": f"{value.text}*", "suffix": f"*{value.text}"}.get(value.kind, value.text)
