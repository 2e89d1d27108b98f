"""AuthorizationPolicies of pods whose mTLS is disabled, for a data plane where callers always show who they are.

A sidecar under DISABLE takes plaintext alone: whoever is asked for by name is nobody, and whoever is excluded by name is not there to be excluded. ztunnel
knows no DISABLE and has every caller's identity (https://istio.io/latest/docs/ambient/architecture/data-plane/), so that the same words would let in callers
that were refused. The rules are rewritten so that they say what they came to.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshport.dialects.istio.rules import NAME_KEYS, NAMES
from meshport.dialects.istio.ztunnel import negative
from meshport.ir.base import Fact
from meshport.values.ports import is_number

Rules = list[dict[str, Any]]
Modes = Mapping[int | None, Fact[str]]


@dataclass(frozen=True, slots=True)
class Plain:
    """Where nobody shows an identity: container ports, or every port but `named` where `rest`. `exact` if that holds for each of the pods alike."""

    off: frozenset[int]
    named: frozenset[int]
    rest: bool
    exact: bool

    @property
    def everywhere(self) -> bool:
        return self.rest and not self.named

    def takes(self, operation: dict[str, Any], *, plain: bool) -> dict[str, Any] | None:
        """An operation on the ports where nobody shows an identity, or on those where everybody may; None where that is no port of it."""
        inside = self.named if self.rest else self.off  # the ports that are told apart from all others
        within = plain != self.rest
        ports = operation.get("ports")
        if ports:
            left = [text for text in map(str, ports) if (is_number(text) and int(text) in inside) == within]
            return {**operation, "ports": left} if left else None
        listed = sorted(map(str, inside), key=int)
        if within:
            return {**operation, "ports": listed} if listed else None
        return {**operation, "notPorts": [*(operation.get("notPorts") or ()), *listed]} if listed else operation


UNSURE = Plain(frozenset(), frozenset(), rest=True, exact=False)
"""Everywhere some callers may show none."""


def plain(transports: Iterable[Modes]) -> Plain | None:
    """Where any of the pods with these modes of their ports gets no identity from its callers; None where each always may."""
    modes = [{port: mode.value == "disable" for port, mode in transport.items()} for transport in transports]
    if not any(any(one.values()) for one in modes):
        return None
    ports = {port for one in modes for port in one if port is not None}
    off = frozenset(port for port in ports if any(one.get(port, one[None]) for one in modes))
    rest = any(one[None] for one in modes)
    exact = all(one[None] == rest and all(one.get(port, one[None]) == (port in off) for port in ports) for one in modes)
    return Plain(off, frozenset(ports) - off, rest, exact)


def rewritten(rules: Rules, where: Plain, *, deny: bool) -> Rules:
    """The rules as they hold with callers that show who they are: never more is let in than was.

    Where the pods differ, an allow by name is left out for all of them, and a deny by name stays for all.
    """
    out: Rules = []
    for rule in rules:
        named, open_ = _by_name(rule)
        if open_ is not None:
            out += _open(open_, where, deny=deny)
        if named is None:
            continue
        if deny and not where.exact:
            out.append(named)
        elif not where.everywhere:
            kept = _limited(named, where, plain=False)
            out += [kept] if kept is not None else []
    return out


def knows_names(rules: Rules, *, deny: bool) -> bool:
    """Whether rules would let in more, or refuse fewer, for a caller's name than where nobody shows one."""
    parts = list(map(_by_name, rules))
    if deny:
        return any(open_ is not None and _without_names(open_) != open_ for _, open_ in parts)
    return any(named is not None for named, _ in parts)


def _open(rule: dict[str, Any], where: Plain, *, deny: bool) -> Rules:
    """A rule that asks for no name, but may exclude some: where nobody shows one it excludes nobody."""
    bare = _without_names(rule)
    if bare == rule:
        return [rule]
    if where.everywhere and (deny or where.exact):
        return [bare]
    if not deny and not where.exact:
        return [rule]
    parts = [_limited(bare, where, plain=True), rule if deny and not where.exact else _limited(rule, where, plain=False)]
    return [part for part in parts if part is not None]


def _by_name(rule: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The alternatives of a rule that ask who the caller is, and those that do not."""
    if any(item.get("key") in NAME_KEYS and item.get("values") for item in rule.get("when") or ()):
        return rule, None
    entries = rule.get("from") or []
    asking = [entry for entry in entries if any((entry.get("source") or {}).get(key) for key in NAMES)]
    if not asking:
        return None, rule
    others = [entry for entry in entries if entry not in asking]
    return {**rule, "from": asking}, {**rule, "from": others} if others else None


def _without_names(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule without what it excludes by name."""
    said = copy.deepcopy(rule)
    for entry in said.get("from") or ():
        for key in NAMES:
            (entry.get("source") or {}).pop(negative(key), None)
    if any(not entry.get("source") for entry in said.get("from") or ()):  # one alternative is anybody
        said.pop("from")
    when = [item for item in said.pop("when", None) or () if item.get("key") not in NAME_KEYS]
    return {**said, "when": when} if when else said


def _limited(rule: dict[str, Any], where: Plain, *, plain: bool) -> dict[str, Any] | None:
    """A rule on the ports where nobody shows an identity, or on the others."""
    said = copy.deepcopy(rule)
    entries: list[dict[str, Any]] = said.get("to") or [{}]
    made = [where.takes(entry.get("operation") or {}, plain=plain) for entry in entries]
    kept = [operation for operation in made if operation is not None]
    if not kept:
        return None
    if any(not operation for operation in kept):
        said.pop("to", None)
    else:
        said["to"] = [{"operation": operation} for operation in kept]
    return said
