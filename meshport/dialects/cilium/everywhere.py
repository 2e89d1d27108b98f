"""Peers by labels in every namespace, which a mesh knows by the accounts of the pods that the input shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.dialects.cilium.beside import KINDS, selector_of, taken
from meshport.dialects.cilium.peers import take_apart
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, Rule
from meshport.ir.model import IR
from meshport.values.identities import Identity


def report(ir: IR, out: Output) -> None:
    """MP154, once for each policy of which peers are written as accounts: pods with the same labels in namespaces that nobody shows are refused."""
    said: dict[int, list[Affected]] = {}
    for policy in ir.policies:
        if policy.kind in KINDS and policy.action.value == "allow" and any(map(_by_account, policy.rules)):
            members = ir.world.selected(policy.subject.value)
            places = [Affected(one.ref.namespace, one.ref.name) for one in members] or [Affected(policy.subject.value.namespace or None)]
            said.setdefault(policy.document, []).extend(places)
    for number, places in sorted(said.items()):
        document = out.bundle.documents[number]
        peers = [peer for peer in _peers(document.value, document.kind == KINDS[1]) if taken(peer, ir.world)]
        if peers:
            out.finding(
                "MP154", document=number, affects=tuple(dict.fromkeys(places)), feature="authorization.source.labels",
                policy=f"{document.kind} {document.namespace + '/' if document.namespace else ''}{document.name}",
                peers=", ".join(sorted({str(selector_of(peer)) for peer in peers})),
            )  # fmt: skip


def _by_account(rule: Rule) -> bool:
    """Whether a rule names callers that a mesh knows by their accounts; beside kept network policy it may leave them to that."""
    return any(
        isinstance(fact.value, Identity) and fact.value.service_account is not None
        for item in rule.conditions
        if item.attribute == IDENTITY
        for fact in item.any_of or ()
    )


def _peers(value: dict[str, Any], clusterwide: bool) -> Iterator[dict[str, Any]]:
    """The selectors of an object's ingress rules that ask for labels of pods in any namespace."""
    for spec in (value.get("spec"), *(value.get("specs") or ())):
        for rule in (spec or {}).get("ingress") or ():
            for peer in rule.get("fromEndpoints") or ():
                chosen = take_apart(selector_of(peer))
                anywhere = clusterwide if not chosen.names_namespace else not chosen.namespace_labels
                if (
                    anywhere
                    and all(item.operator == "Exists" for item in chosen.namespace)
                    and any(item.operator in ("In", "Exists") for item in chosen.pod)
                ):
                    yield peer
