"""Policies for pods that the bundle does not show: what closes them is written, what needs their ports is left out."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cilium.callers import Known, callers
from meshport.dialects.cilium.planning import Part
from meshport.dialects.cilium.subjects import choose, homes
from meshport.dialects.cilium.writing import Ruled, write
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, opens
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.seen import by_label
from meshport.effective.subjects import unseen as of_pods
from meshport.findings import Affected
from meshport.ir.authorization import Policy
from meshport.ir.base import NOWHERE, PodSet, Ref, Selector
from meshport.ir.model import IR, ByLabel


def unseen(ir: IR, out: Output, options: Options, access: Access, known: Known, way: ByLabel, taken: dict[str, set[str]]) -> list[Affected]:
    """Policies and defaults for pods that the bundle does not show; the pods for which such were written."""
    written: list[Affected] = []
    for policy in sorted(ir.policies, key=lambda item: (item.ref.value, item.kind)):
        selector = policy.subject.value.selector
        if opens(policy) and not access.world.selected(policy.subject.value):
            out.adds_nothing("pods that the bundle does not show are as open as they were", policy.sources)
        if access.world.selected(policy.subject.value) or policy.action.value != "allow" or opens(policy):
            if policy.action.value != "allow" and not access.world.selected(policy.subject.value):
                _unknown(out, policy)
            continue
        places = homes(ir, policy.subject.value.namespace)
        if not places:
            _nowhere(ir, out, policy)
            continue
        rules = _on_port(policy, options, known, way) if policy.port is not None else []
        if rules and policy.port is not None:
            out.finding(
                "MP291", document=policy.document, affects=(of_pods(policy.subject.value),), feature="server.port", policy=str(policy.ref.value),
                selector=str(selector), port=policy.port.value, namespace=policy.subject.value.namespace,
            )  # fmt: skip
        elif policy.rules:
            _unknown(out, policy)
        for namespace in places:
            elsewhere = [item for item in access.namespace_allows(namespace) if item is not policy]
            if not rules and (policy.rules or policy.port is not None) and (elsewhere or _default_of(ir, namespace) == "deny"):
                continue
            names = taken.setdefault(namespace, set())
            granting = sorted({rule.granted_by.name for rule in policy.rules if rule.granted_by is not None})
            label = claim(granting[0] if len(granting) == 1 and rules else policy.ref.value.name, names)
            src = policy.ref.src | policy.subject.src | policy.action.src
            part = Part(label, policy, policy.document, src)
            written.append(of_pods(PodSet(namespace, selector)))
            write(out, Ref(namespace, label), selector, policy.subject.src, rules, src, [policy.document], [part], whole=not rules)
    for admission in ir.admissions:
        namespace = admission.subject.namespace
        if admission.level != "namespace" or admission.value.value != "deny" or not homes(ir, namespace):
            continue
        outside = [item for item in access.of_namespace(namespace) if not item.workload.host_network]
        closed = [item for item in outside if item.meshed is not False and item.admission.value == "deny"]
        others = [
            item for item in outside if (all(item is not one for one in closed) and item.meshed is False) or item.admission.value != "deny"
        ]
        found = choose(closed, others, [(Selector(), NOWHERE)]) if closed or others else (Selector(), NOWHERE)
        if found is None:
            continue
        names = taken.setdefault(namespace, set())
        if "default-deny" in names:
            continue
        names.add("default-deny")
        document = admission.document if admission.document is not None else 0
        part = Part("default-deny", None, document, admission.value.src)
        written.append(Affected(namespace))
        write(out, Ref(namespace, "default-deny"), found[0], found[1], [], admission.value.src, [document], [part], whole=True)
    return written


def _on_port(policy: Policy, options: Options, known: Known, way: ByLabel) -> list[Ruled]:
    """What a Server admits whole, on its port by number or by name; [] where something of it needs more than that."""
    found: list[Ruled] = []
    for rule in policy.rules:
        try:
            pieces = [by_label(piece, options.cluster_networks, way) for piece in of_rule(rule)]
        except (Unsayable, ValueError):
            return []
        for piece in pieces:
            who = callers(piece, known)
            if (
                not piece.any_request
                or who.nobody
                or who.listed
                or who.but
                or who.foreign
                or who.gateways
                or who.outside
                or who.addresses
                or policy.port is None
            ):
                return []
            ports = [{"ports": [{"port": str(policy.port.value), "protocol": "TCP"}]}]
            found += [({**({kind: peers} if kind else {}), "toPorts": ports}, piece.src | policy.port.src) for kind, peers in who.kinds()]
    return found


def _default_of(ir: IR, namespace: str) -> str:
    return next((item.value.value for item in ir.admissions if item.level == "namespace" and item.subject.namespace == namespace), "")


def _nowhere(ir: IR, out: Output, policy: Policy) -> None:
    """A policy of which no namespace is in the mesh: one that is known not to be has no proxy to read it, of the others nothing is known."""
    namespace = policy.subject.value.namespace
    if namespace in ir.world.namespaces:
        out.ignore("its namespace is not in the mesh, where no proxy reads it", policy.sources)
        return
    out.finding(
        "MP960", policy.sources, document=policy.document, disposition="dropped", affects=(Affected(namespace or None),),
        feature="authorization.subject", policy=f"{policy.kind} {policy.ref.value}",
    )  # fmt: skip


def _unknown(out: Output, policy: Policy) -> None:
    subject = policy.subject.value
    out.finding(
        "MP286", policy.sources, document=policy.document, disposition="dropped", affects=(of_pods(subject),), feature="authorization.subject",
        policy=str(policy.ref.value), namespace=subject.namespace or "NAMESPACE", selector=str(subject.selector),
    )  # fmt: skip
