"""Policies for pods that the bundle does not show: what closes them is written, and what asks for callers and ports alone; the rest needs their ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.cilium.callers import Callers, Known, callers
from meshport.dialects.cilium.denying import Directs
from meshport.dialects.cilium.planning import Part
from meshport.dialects.cilium.saying import Unsaid, requests
from meshport.dialects.cilium.subjects import choose, homes
from meshport.dialects.cilium.writing import Ruled, write
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, opens
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.seen import by_labels
from meshport.effective.subjects import unseen as of_pods
from meshport.findings import Affected
from meshport.ir.authorization import PORT, Policy, Rule, sole_grant
from meshport.ir.base import NOWHERE, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR, ByLabel
from meshport.values.identities import is_label_value
from meshport.values.language import LanguageTooLarge


def unseen(
    ir: IR,
    out: Output,
    options: Options,
    access: Access,
    known: Known,
    way: ByLabel,
    taken: dict[str, set[str]],
    denies: Directs,
) -> list[Affected]:
    """Policies and defaults for pods that the bundle does not show; the pods for which such were written."""
    written: list[Affected] = []
    ordered = sorted(ir.policies, key=lambda item: (item.ref.value, item.kind))
    for policy in ordered:
        selector = policy.subject.value.selector
        if policy.action.value == "allow" and opens(policy):
            if not access.world.selected(policy.subject.value):
                out.adds_nothing("pods that the bundle does not show are as open as they were", policy.sources)
            continue
        if not all(is_label_value(value) for _, value in selector.labels):
            out.adds_nothing("no pod has a label of that value", policy.sources)
            continue
        places = _places(policy, ir)
        if not places:
            if not access.world.selected(policy.subject.value):
                _nowhere(ir, out, policy)
            continue
        if policy.action.value != "allow":
            written += _closed(ir, out, options, policy, places, denies, taken)
            continue
        if policy.port is not None and isinstance(policy.port.value, int):
            continue  # all of its ports are known
        rules = on_port(policy, options, known, way) if policy.port is not None else _on_all(policy, ir, out, options, known, way, denies)
        if rules and policy.port is not None:
            if _default_of(ir, policy.subject.value.namespace) != "deny":  # which closed the others as well
                out.finding(
                    "MP291", document=policy.document, affects=(of_pods(policy.subject.value),), feature="server.port", policy=str(policy.ref.value),
                    selector=str(selector), port=policy.port.value, namespace=policy.subject.value.namespace,
                )  # fmt: skip
        elif policy.rules and not rules:
            _unknown(out, policy, ir, places)
        for namespace in places:
            if rules and policy.port is None and _nameless(access, policy.subject.value, namespace):
                nameless = "mTLS is disabled at the pods that it is for, where no caller has a name"
                out.adds_nothing(nameless, *(src for _, src in rules), policy.subject, policy.action)  # it closes them, if no other does
                rules = []
            elsewhere = [item for item in access.namespace_allows(namespace) if item is not policy]
            if not rules and (policy.rules or policy.port is not None) and (elsewhere or _default_of(ir, namespace) == "deny"):
                continue
            names = taken.setdefault(namespace, set())
            granting = sole_grant(policy.rules) if rules else None
            label = claim(granting.value if granting is not None else policy.ref.value.name, names)
            src = sources(policy.ref, policy.subject, policy.action, granting)
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


def _said(policy: Policy, denies: Directs) -> bool:
    """Whether all that a policy refuses is written as a deny."""
    return policy.action.value == "deny" and len(denies.get(id(policy), ())) == len(policy.rules)


def _places(policy: Policy, ir: IR) -> list[str]:
    """The namespaces where a policy is for pods that the bundle does not show: all of its own that show none of them."""
    subject = policy.subject.value
    found = homes(ir, subject.namespace)
    if subject.selector.everything:
        return [name for name in found if not ir.world.of_namespace(name)] if ir.world.selected(subject) else found
    return [name for name in found if not ir.world.selected(PodSet(name, subject.selector))]


def shut(policy: Policy, namespace: str, ir: IR, options: Options, denies: Directs) -> bool:
    """Whether pods of a namespace that the bundle does not show are closed because a policy refuses more of them than is written as a deny."""
    refuses = policy.action.value != "allow" and options.on_loss != "looser" and not _said(policy, denies)
    return refuses and namespace in _places(policy, ir)


def _closed(
    ir: IR,
    out: Output,
    options: Options,
    policy: Policy,
    places: list[str],
    denies: Directs,
    taken: dict[str, set[str]],
) -> list[Affected]:
    """Close the pods of a policy that refuses more than is written as a deny: none of it may be let in. The pods for which that was written."""
    subject = policy.subject.value
    if _said(policy, denies):
        if not policy.rules:
            out.adds_nothing("none of its rules holds, and it refuses nothing", policy.sources)
        return []
    if options.on_loss == "looser":
        out.finding(
            "MP219", policy.sources, document=policy.document, disposition="dropped", affects=(of_pods(subject),), feature="authorization.deny",
            policy=str(policy.ref.value), port="any", reason="the bundle does not show its pods",
        )  # fmt: skip
        return []
    _unknown(out, policy, ir, places)
    src = policy.ref.src | policy.subject.src | policy.action.src
    for namespace in places:
        label = claim(policy.ref.value.name, taken.setdefault(namespace, set()))
        part = Part(label, policy, policy.document, src)
        write(out, Ref(namespace, label), subject.selector, policy.subject.src, [], src, [policy.document], [part], whole=True)
    return [of_pods(PodSet(namespace, subject.selector)) for namespace in places]


def on_port(policy: Policy, options: Options, known: Known, way: ByLabel) -> list[Ruled]:
    """What a Server admits whole, on its port by number or by name; [] where something of it needs more than that."""
    found: list[Ruled] = []
    for rule in policy.rules:
        try:
            pieces = [seen for piece in of_rule(rule) for seen in by_labels(piece, options.cluster_networks, way)]
        except (Unsayable, ValueError):
            return []
        for piece in pieces:
            who = callers(piece, known)
            if not piece.any_request or who.nobody or who.inexact or policy.port is None:
                return []
            ports = [{"ports": [{"port": str(policy.port.value), "protocol": "TCP"}]}]
            found += [({**({kind: peers} if kind else {}), "toPorts": ports}, piece.src | policy.port.src) for kind, peers in who.kinds()]
    return found


def _on_all(policy: Policy, ir: IR, out: Output, options: Options, known: Known, way: ByLabel, denies: Directs) -> list[Ruled]:
    """What a policy of Istio's admits on every port or on those of some numbers; [] where something of it needs more than the labels of its callers, or
    where a deny may hold for the same pods."""
    denied = any(
        other.action.value != "allow"
        and other.subject.value.meets(policy.subject.value)
        and (ir.world.selected(other.subject.value) or not _said(other, denies))
        for other in ir.policies
    )
    if ir.mesh != "istio" or attached(policy, out) or denied:
        return []
    found: list[Ruled] = []
    sent = _sent_to(policy.subject.value, ir)
    broad = False
    for rule in policy.rules:
        ports = _numbers(rule)
        if ports is None:
            return []
        asks = rule.needs_http and not ports
        broad = broad or asks
        made = _on_ports(rule, sorted(sent, key=str) if asks else [*ports] or [None], sent, options, known, way)
        if not made:  # what is said of no port would be lost without a word
            return []
        found += made
    if broad and found:
        out.finding(
            "MP280", document=policy.document, affects=(of_pods(policy.subject.value),), feature="authorization.posture", severity="warning",
            policy=str(policy.ref.value), ports=", ".join(sorted(map(str, sent))),
        )  # fmt: skip
    return found


def _on_ports(
    rule: Rule, ports: Sequence[int | str | None], sent: Mapping[int | str, str], options: Options, known: Known, way: ByLabel
) -> list[Ruled] | None:
    """What a rule admits on ports that are known (None: on every one); None where something of it needs more than the labels of its callers."""
    found: dict[str, tuple[dict[str, Any], list[dict[str, str]], list[dict[str, Any]], Src]] = {}
    for port in ports:
        protocol = sent.get(port, "") if port is not None else ""
        if not protocol and rule.needs_http:
            return None
        number = port if isinstance(port, int) else None
        try:
            pieces = of_rule(rule, http=protocols.is_http(protocol), port=number)
            asked = [(seen, requests(seen)) for piece in pieces for seen in by_labels(piece, options.cluster_networks, way)]
        except (Unsaid, Unsayable, LanguageTooLarge, ValueError):
            return None
        for piece, said in asked:
            who = callers(piece, known)
            if not _by_labels(who) or piece.methods.nearly or (said and port is None) or (rule.http and not said):
                return None
            key = repr((who.endpoints, said))
            peers, listed, _, src = found.setdefault(key, ({"fromEndpoints": who.endpoints}, [], said, NOWHERE))
            listed += [{"port": str(port), "protocol": "TCP"}] if port is not None else []
            found[key] = peers, listed, said, src | piece.src
    made: list[Ruled] = []
    for peers, listed, said, src in found.values():
        entry: dict[str, Any] = {"ports": listed, **({"rules": {"http": said}} if said else {})}
        made.append(({**peers, **({"toPorts": [entry]} if listed else {})}, src))
    return made


def _sent_to(pods: PodSet, ir: IR) -> dict[int | str, str]:
    """The container ports that Services which may stand before pods send to, by number or by name, with what they speak there; "" where several disagree."""
    found: dict[int | str, set[str]] = {}
    for service in ir.world.services.values():
        if service.pods is not None and service.pods.meets(pods):
            for port in service.ports:
                if port.protocol == "TCP" and (isinstance(port.target, int) or port.target == port.target.lower()):
                    found.setdefault(port.target, set()).add(protocols.of_service_port(port))
    return {port: next(iter(said)) if len(said) == 1 else "" for port, said in found.items()}


def _nameless(access: Access, pods: PodSet, namespace: str) -> bool:
    """Whether pods that the bundle does not show may take plaintext alone, where no caller has a name to be let in by."""
    rules = [rule for rule in access.unseen(namespace) if rule.subject.value.meets(pods)]
    modes = [access.namespace_mode(namespace), *(mode for rule in rules for mode in (rule.mode, *rule.ports.values()) if mode is not None)]
    return any(mode.value == "disable" for mode in modes)


def attached(policy: Policy, out: Output) -> bool:
    """Whether a policy of Istio is for what it refers to, and not for pods that it selects."""
    spec = out.bundle.documents[policy.document].value.get("spec")
    return out.source == "istio" and isinstance(spec, dict) and bool({"targetRef", "targetRefs"} & spec.keys())


def _numbers(rule: Rule) -> list[int] | None:
    """The ports that a rule asks for, [] where it is for every one; None where it names them otherwise than by number."""
    asked = [condition for condition in rule.conditions if condition.attribute == PORT]
    if any(condition.any_of is None or condition.none_of for condition in asked) or len(asked) > 1:
        return None
    values = [fact.value for condition in asked for fact in condition.any_of or ()]
    if not all(isinstance(value, tuple) and 0 < value[0] == value[1] for value in values):
        return None
    return sorted({value[0] for value in values})


def _by_labels(who: Callers) -> bool:
    """Whether the callers are accounts and namespaces, as they were: with a proxy of the mesh, and no others by the same labels."""
    more = who.anyone or who.entities or who.networks or who.inexact
    return bool(who.endpoints) and not (more or who.meshed or who.on_host)


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


def _unknown(out: Output, policy: Policy, ir: IR, places: list[str]) -> None:
    """Say that pods are closed for not being known; where the policy is said for others, in which namespaces."""
    subject = policy.subject.value
    elsewhere = bool(ir.world.selected(subject))
    where = tuple(of_pods(PodSet(name, subject.selector)) for name in places) if elsewhere else (of_pods(subject),)
    out.finding(
        "MP286", policy.sources, document=policy.document, disposition=None if elsewhere else "dropped", affects=where,
        feature="authorization.subject", severity="warning" if elsewhere else None, policy=str(policy.ref.value),
        namespace=subject.namespace or (places[0] if elsewhere else "NAMESPACE"), selector=f"{subject.selector} in {', '.join(places)}" if elsewhere else str(subject.selector),
    )  # fmt: skip
