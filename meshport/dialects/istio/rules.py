"""Rules of AuthorizationPolicies as they are written: which ztunnel can hold, which ports they speak of, and which admits no more than another."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from meshport.dialects.istio.ztunnel import KEYS, inner_star, negative

NAMES = ("principals", "namespaces", "serviceAccounts", "trustDomains")
"""What a source asks of the name that a caller shows."""
NAME_KEYS = ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")
"""The same in `when`."""
OPERATION = ("hosts", "methods", "paths")
_SOURCE = ("requestPrincipals", "remoteIpBlocks", "trustDomains")


def deep(rule: dict[str, Any]) -> bool:
    """Whether a rule asks for what ztunnel does not see, or sees otherwise than a proxy for HTTP."""
    for part, inner, fields in (("from", "source", _SOURCE), ("to", "operation", OPERATION)):
        for item in rule.get(part) or ():
            entry = item.get(inner) or {}
            if any(entry.get(key) or entry.get(negative(key)) for key in fields):
                return True
            if any(inner_star(str(text)) for key in ("namespaces", "notNamespaces") for text in entry.get(key) or ()):
                return True
    when = rule.get("when") or ()
    return any(item.get("key") not in KEYS or _patterned(item) for item in when)


def _patterned(item: dict[str, Any]) -> bool:
    texts = [str(text) for key in ("values", "notValues") for text in item.get(key) or ()]
    return item.get("key") == "source.namespace" and any(map(inner_star, texts))


def anybody(rule: dict[str, Any]) -> bool:
    """Whether a rule admits callers without an identity."""
    entries = [item.get("source") or {} for item in rule.get("from") or ()]
    named = any(item.get("key") in NAME_KEYS and item.get("values") for item in rule.get("when") or ())
    return not named and (not entries or any(not any(entry.get(key) for key in NAMES) for entry in entries))


def ports_of_rule(rule: dict[str, Any]) -> list[str]:
    """The ports that a rule names, as operations or in `when`."""
    operations = [item.get("operation") or {} for item in rule.get("to") or ()]
    conditions = [item for item in rule.get("when") or () if item.get("key") == "destination.port"]
    named = [(item, key) for item in operations for key in ("ports", "notPorts")]
    named += [(item, key) for item in conditions for key in ("values", "notValues")]
    return [str(port) for item, key in named for port in item.get(key) or ()]


def speaks_of(rule: dict[str, Any], port: int | None) -> bool:
    """Whether a rule may match on a port; None is any that nothing names."""
    said = by_operation(rule) if any(item.get("key") == "destination.port" for item in rule.get("when") or ()) else rule
    if said is None:
        return False
    entries = [item.get("operation") or {} for item in said.get("to") or ()]
    return not entries or any(takes(entry.get("ports"), entry.get("notPorts"), port) for entry in entries)


def takes(inside: Sequence[Any] | None, outside: Sequence[Any] | None, port: int | None) -> bool:
    """Whether `ports` and `notPorts` let a port through; None is any that nothing names. An empty list asks for nothing, as one that is not there: no
    generator of Envoy's permissions is made for it (appendLast in istio/istio, pilot/pkg/security/authz/model/model.go)."""
    return (not inside or (port is not None and str(port) in map(str, inside))) and str(port) not in map(str, outside or ())


def by_operation(rule: dict[str, Any]) -> dict[str, Any] | None:
    """A rule that asks for ports in its operations alone, as its `when` did; None where no port is left."""
    said = copy.deepcopy(rule)
    asked = [
        item for item in said.get("when") or () if item.get("key") == "destination.port" and (item.get("values") or item.get("notValues"))
    ]
    if not asked:
        return said
    entries = []
    for item in said.get("to") or [{}]:
        operation = dict(item.get("operation") or {})
        for condition in asked:
            if values := [str(port) for port in condition.get("values") or ()]:
                operation["ports"] = [port for port in map(str, operation.get("ports") or values) if port in values]
                if not operation["ports"]:
                    break
            if refused := [str(port) for port in condition.get("notValues") or ()]:
                operation["notPorts"] = [*(operation.get("notPorts") or ()), *refused]
        else:
            entries.append({"operation": operation})
    when = [item for item in said.pop("when") if item not in asked]
    said |= {"to": entries, **({"when": when} if when else {})}
    return said if entries else None


def qualified(rule: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A rule whose accounts name their namespace, which is the policy's where they name none: so that it can stand in another one."""
    said = copy.deepcopy(rule)
    lists = [(item.get("source") or {}, ("serviceAccounts", "notServiceAccounts")) for item in said.get("from") or ()]
    lists += [(item, ("values", "notValues")) for item in said.get("when") or () if item.get("key") == "source.serviceAccount"]
    for holder, keys in lists:
        for key in keys:
            if key in holder:
                holder[key] = [str(text) if "/" in str(text) else f"{namespace}/{text}" for text in holder[key]]
    return said


def by_principal(rule: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A rule that asks for accounts as principals of any trust domain where its `when` asks for source.serviceAccount, which ztunnel does not know; `namespace`
    is the policy's, that of accounts without one."""
    asks = [item for item in rule.get("when") or () if item.get("key") == "source.serviceAccount"]
    if not asks:
        return rule
    said = copy.deepcopy(rule)
    for item in said["when"]:
        if item.get("key") == "source.serviceAccount":
            item["key"] = "source.principal"
            for key in ("values", "notValues"):
                if key in item:
                    item[key] = [of_account(str(text), namespace) for text in item[key]]
    return said


def of_account(text: str, namespace: str) -> str:
    """The principals of an account as `serviceAccounts` names it, in a policy of a namespace."""
    home, _, account = text.rpartition("/")
    return f"*/ns/{home or namespace}/sa/{account}"


def trusting(rule: dict[str, Any]) -> bool:
    """Whether a rule names trust domains, which ztunnel passes over, so that more callers match."""
    return any((item.get("source") or {}).get(key) for item in rule.get("from") or () for key in ("trustDomains", "notTrustDomains"))


def inert(rule: dict[str, Any]) -> bool:
    """Whether ztunnel never applies a rule of a deny: of one part of it nothing is left but what asks for HTTP."""
    for part, inner, fields in (("from", "source", _SOURCE), ("to", "operation", OPERATION)):
        entries = [item.get(inner) or {} for item in rule.get(part) or ()]
        if entries and all(
            {key.removeprefix("not").lower() for key, value in entry.items() if value} <= {f.lower() for f in fields} for entry in entries
        ):
            return True
    return any(item.get("key") not in KEYS for item in rule.get("when") or ())


def held(rule: dict[str, Any], action: str) -> dict[str, Any] | None:
    """What ztunnel enforces of a rule, said so that a proxy for HTTP does the same; None where that is nothing."""
    said = copy.deepcopy(rule)
    passed_over = ("trustDomains", "notTrustDomains")
    asked = passed_over if action == "ALLOW" else tuple(key for field in (*_SOURCE, *OPERATION) for key in (field, negative(field)))
    for part, inner in (("from", "source"), ("to", "operation")):
        items = said.get(part) or []
        for item in list(items):
            entry = item.get(inner) or {}
            gone = [entry.pop(key) for key in asked if key in entry]
            if any(gone) and not any(entry.values()):
                items.remove(item)
                if not items:  # a part of which nothing is left never matches
                    return None
    void = any(item.get("key") not in KEYS for item in said.get("when") or ()) if action != "ALLOW" else deep(said)
    return None if void else said


def widened(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of a deny without its questions about HTTP."""
    said = copy.deepcopy(rule)
    for part, inner, fields in (("from", "source", _SOURCE), ("to", "operation", OPERATION)):
        for item in said.get(part) or ():
            for key in fields:
                item[inner].pop(key, None)
                item[inner].pop(negative(key), None)
            for key in ("namespaces", "notNamespaces"):
                if any(inner_star(str(text)) for text in item[inner].get(key) or ()):
                    item[inner].pop(key)
        if any(not item[inner] for item in said.get(part) or ()):
            said.pop(part)
    when = [item for item in said.pop("when", ()) if item.get("key") in KEYS and not _patterned(item)]
    return {**said, "when": when} if when else said


def sparing(rule: dict[str, Any], waypoints: list[str], *, anybody: bool = False) -> dict[str, Any]:
    """A rule of a deny that does not refuse waypoints, given as principals, for what their callers are: those are refused at the waypoint.

    A rule that asks nothing of the caller stays: it refuses everybody. Not with `anybody`, for a rule of an allow that is to let in no waypoint."""
    if not rule.get("from"):
        asks = anybody or any(str(item.get("key")).startswith("source.") for item in rule.get("when") or ())
        return {**rule, "from": [{"source": {"notPrincipals": waypoints}}]} if asks else rule
    said = copy.deepcopy(rule)
    for entry in said["from"]:
        source = entry.get("source") or {}
        named = [name for name in waypoints if _may_be(source, name) and name not in (source.get("notPrincipals") or ())]
        if named and (source.get("serviceAccounts") or source.get("notServiceAccounts")):  # beside which no principals may stand
            accounts = ["/".join(name.split("/")[-3::2]) for name in named]
            entry["source"] = {**source, "notServiceAccounts": [*(source.get("notServiceAccounts") or ()), *accounts]}
        elif named:
            entry["source"] = {**source, "notPrincipals": [*(source.get("notPrincipals") or ()), *named]}
    return said


def _may_be(source: dict[str, Any], principal: str) -> bool:
    """Whether a source may stand for a principal."""
    namespace, account = principal.split("/")[2], principal.rpartition("/")[2]
    names = {"principals": [principal], "namespaces": [namespace], "serviceAccounts": [f"{namespace}/{account}", account]}
    for key, texts in names.items():
        covered = [any(_covers(str(pattern), text) for pattern in source.get(key) or ()) for text in texts]
        if source.get(key) and not any(covered):
            return False
    return not any(_covers(str(pattern), principal) for pattern in source.get("notPrincipals") or ()) and not any(
        _covers(str(pattern), namespace) for pattern in source.get("notNamespaces") or ()
    )


def on_ports(ports: Iterable[int]) -> dict[str, Any]:
    """The condition that a request is for one of the ports."""
    return {"key": "destination.port", "values": [str(port) for port in ports]}


def on_port(rule: dict[str, Any], port: int) -> dict[str, Any] | None:
    """A rule on one port, which it then speaks of no more; None where it does not hold there."""
    said = copy.deepcopy(rule)
    if not said.get("to"):
        return said
    entries = []
    for item in said.pop("to"):
        operation = dict(item.get("operation") or {})
        if takes(operation.pop("ports", None), operation.pop("notPorts", None), port):
            entries.append(operation)
    if not entries:
        return None
    return said if not all(entries) else {**said, "to": [{"operation": entry} for entry in entries]}


def within(rule: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a rule surely admits nothing that another does not."""
    if any(item not in (rule.get("when") or ()) for item in other.get("when") or ()):
        return False
    for part, inner in (("from", "source"), ("to", "operation")):
        ours, theirs = ([entry.get(inner) or {} for entry in one.get(part) or ()] or [{}] for one in (rule, other))
        if not all(any(_narrower(one, another) for another in theirs) for one in ours):
            return False
    return True


def _narrower(one: dict[str, Any], other: dict[str, Any]) -> bool:
    for key, wanted in other.items():
        own = one.get(key) or []
        if not wanted:
            continue
        if key.startswith("not"):
            fits = set(wanted) <= set(own)
        elif key == "principals" and "*" in wanted:  # anybody with a name
            fits = any(one.get(name) for name in ("principals", "namespaces", "serviceAccounts"))
        else:
            fits = bool(own) and all(any(_covers(str(pattern), str(text)) for pattern in wanted) for text in own)
        if not fits:
            return False
    return True


def _covers(pattern: str, text: str) -> bool:
    if pattern.endswith("*") and "*" not in pattern[:-1]:
        return text.startswith(pattern[:-1])
    return pattern == text or (pattern.startswith("*") and "*" not in pattern[1:] and text.endswith(pattern[1:]))
