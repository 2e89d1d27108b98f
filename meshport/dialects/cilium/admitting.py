"""What written policies let in at one port, and whether that is more than may be let in. What is not known to be the same counts as more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshport.dialects.cilium.callers import ACCOUNT, NAMESPACE
from meshport.dialects.cilium.planning import Entry
from meshport.dialects.cilium.writing import KIND
from meshport.dialects.output import Output
from meshport.ir.base import Ref, Requirement, Selector
from meshport.values.identities import Identity


class Atom(NamedTuple):
    """What a rule lets in: a kind of peer and whom ("" for everybody), and a request (as JSON; "" for every one)."""

    kind: str
    peer: str
    request: str


ANYBODY = Atom("", "", "")


@dataclass(slots=True)
class Written:
    """A CiliumNetworkPolicy of the output."""

    selector: Selector
    spec: dict[str, Any]

    @property
    def closes(self) -> bool:
        return bool((self.spec.get("enableDefaultDeny") or {}).get("ingress", True))

    def single(self) -> set[int]:
        """The ports that its rules name one by one."""
        entries = [
            entry for section in ("ingress", "ingressDeny") for rule in self.spec.get(section, ()) for entry in rule.get("toPorts", ())
        ]
        ports = [port for entry in entries for port in entry["ports"] if "endPort" not in port]
        return {int(port["port"]) for port in ports if port["port"].isdigit() and port["port"] != "0" and port["protocol"] == "TCP"}

    def names(self, port: dict[str, Any]) -> bool:
        """Whether it opens a port by its name and no others but it."""
        entries = [entry for rule in self.spec.get("ingress", ()) for entry in rule.get("toPorts", ({"ports": ()},))]
        return bool(entries) and all(entry["ports"] == [port] for entry in entries)

    def numbered(self, numbers: dict[str, str]) -> Written:
        """The same with ports by number that it has by these names."""
        spec = {key: value if key != "ingress" else [_numbered(rule, numbers) for rule in value] for key, value in self.spec.items()}
        return Written(self.selector, spec)

    def denies(self, peers: dict[str, Any], ports: list[int] | None) -> bool:
        """Whether it denies such peers on such ports (None: on all)."""
        for rule in self.spec.get("ingressDeny", ()):
            said = {key: value for key, value in rule.items() if key != "toPorts"}
            named = {port["port"] for entry in rule.get("toPorts", ()) for port in entry["ports"]}
            if said == peers and ("toPorts" not in rule or (ports is not None and named >= {str(port) for port in ports})):
                return True
        return False


def _numbered(rule: dict[str, Any], numbers: dict[str, str]) -> dict[str, Any]:
    if "toPorts" not in rule:
        return rule
    entries = [
        {**entry, "ports": [{**port, "port": numbers.get(port["port"], port["port"])} for port in entry["ports"]]}
        for entry in rule["toPorts"]
    ]
    return {**rule, "toPorts": entries}


def written(out: Output, namespace: str) -> list[Written]:
    """The policies written so far for pods of a namespace."""
    found = []
    for (_, kind, ref), obj in out.objects.items():
        spec = obj.value.get("spec") if kind == KIND and ref.namespace == namespace else None
        if isinstance(spec, dict):
            found.append(Written(selector_of(spec), spec))
    return found


def selector_of(spec: dict[str, Any]) -> Selector:
    """The pods that a policy selects."""
    chosen = spec.get("endpointSelector") or {}
    expressions = [Requirement(one["key"], one["operator"], tuple(one.get("values") or ())) for one in chosen.get("matchExpressions") or ()]
    return Selector.of(chosen.get("matchLabels") or {}, expressions)


def same(out: Output, namespace: str, selector: Selector) -> Ref | None:
    """A policy that lets nobody in for just these pods."""
    for (_, kind, ref), obj in out.objects.items():
        spec = obj.value.get("spec") if kind == KIND and ref.namespace == namespace else None
        if (
            isinstance(spec, dict)
            and spec.get("ingress") == [{}]
            and "ingressDeny" not in spec
            and spec.get("endpointSelector") == selector.manifest()
        ):
            return ref
    return None


def account(peer: dict[str, Any]) -> Identity | None:
    """The namespace or the account that a selector of peers takes; None for what takes others."""
    labels = peer.get("matchLabels") or {}
    if peer.keys() != {"matchLabels"} or not {NAMESPACE} <= labels.keys() <= {NAMESPACE, ACCOUNT}:
        return None
    return Identity(None, labels[NAMESPACE], labels.get(ACCOUNT))


def beyond(policies: Iterable[Written], port: int, allowed: list[Atom]) -> bool:
    """Whether policies together let in at a port what is not allowed."""
    listed = list(policies)
    for item in listed:
        for rule in item.spec.get("ingressDeny", ()):
            if rule.get("fromEntities") == ["all"] and ("toPorts" not in rule or any(_takes(entry, port) for entry in rule["toPorts"])):
                return False
    if not any(item.closes for item in listed):
        return not _covered(ANYBODY, allowed)
    return any(not _covered(atom, allowed) for item in listed for rule in item.spec.get("ingress", ()) for atom in _of_rule(rule, port))


def short(policies: Iterable[Written], port: int, allowed: list[Atom]) -> bool:
    """Whether policies that close a port let in less than is allowed."""
    admitted = [atom for item in policies for rule in item.spec.get("ingress", ()) for atom in _of_rule(rule, port)]
    return not all(_covered(atom, admitted) for atom in allowed)


def of_entry(entry: Entry) -> Iterator[Atom]:
    for peer in _peers({entry.kind: entry.shown} if entry.kind else {}):
        for request in entry.requests or [{}]:
            yield Atom(*peer, _text(request))


def _of_rule(rule: dict[str, Any], port: int) -> Iterator[Atom]:
    if not rule or "icmps" in rule:
        return
    for entry in rule.get("toPorts", [{}]):
        if entry and not _takes(entry, port):
            continue
        requests: list[dict[str, Any]] = (entry.get("rules") or {}).get("http") or [{}]
        for peer in _peers(rule):
            for request in requests:
                yield Atom(*peer, _text(request))


def _text(request: dict[str, Any]) -> str:
    return json.dumps(request, sort_keys=True) if request else ""


def _takes(entry: dict[str, Any], port: int) -> bool:
    for item in entry["ports"]:
        low = int(item["port"]) if item["port"].isdigit() else -1
        if item["protocol"] in ("TCP", "ANY") and (low == 0 or low <= port <= item.get("endPort", low)):
            return True
    return False


def _peers(rule: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kinds = [key for key in rule if key.startswith("from")]
    if not kinds:
        yield "", ""
    for kind in kinds:
        for item in rule[kind]:
            if kind == "fromEntities":
                yield ("", "") if item == "all" else (kind, item)
            elif kind == "fromEndpoints" and (spaces := _whole(item)) is not None:
                for space in spaces:
                    yield kind, f"{space}/"
            elif kind == "fromEndpoints" and item.keys() == {"matchLabels"} and item["matchLabels"].keys() >= {NAMESPACE, ACCOUNT}:
                labels = dict(item["matchLabels"])
                name = f"{labels.pop(NAMESPACE)}/{labels.pop(ACCOUNT)}"
                yield kind, f"{name} {json.dumps(labels, sort_keys=True)}" if labels else name
            else:
                yield kind, json.dumps(item, sort_keys=True)


def _whole(item: dict[str, Any]) -> list[str] | None:
    """The namespaces that a selector of peers takes whole."""
    if item.keys() == {"matchLabels"} and item["matchLabels"].keys() == {NAMESPACE}:
        return [item["matchLabels"][NAMESPACE]]
    expressions: list[dict[str, Any]] = item.get("matchExpressions") or []
    if item.keys() == {"matchExpressions"} and len(expressions) == 1:
        one = expressions[0]
        return list(one["values"]) if one["key"] == NAMESPACE and one["operator"] == "In" else None
    return None


def _covered(atom: Atom, allowed: list[Atom]) -> bool:
    space = atom.peer.partition("/")[0] + "/"
    return any(
        one.kind in ("", atom.kind)
        and one.peer in ("", atom.peer, atom.peer.partition(" ")[0], space)
        and one.request in ("", atom.request)
        for one in allowed
    )
