"""Pods that the bundle does not show, onto Linkerd: what of their policies is not written is said.

A Server is for one port, and a pod has its default policy from its own annotation or from its namespace's: what closes pods by their labels on every port
closes all of a namespace that have no default of their own. Pods that the bundle shows have one.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshport.dialects import redundant
from meshport.dialects.linkerd.transport import OPEN, STRICT, any_port, left_to_network, open_beside
from meshport.dialects.linkerd.unlike import Fate
from meshport.dialects.output import Output
from meshport.effective.access import Access, opens
from meshport.effective.pieces import port_fits
from meshport.effective.subjects import ANY_POD, beside_known, unseen
from meshport.findings import Affected
from meshport.ir.authorization import PORT, Policy
from meshport.ir.base import PodSet
from meshport.ir.model import IR


def report(ir: IR, out: Output, access: Access, written: list[Policy], fate: Fate, defaults: Mapping[str, str]) -> None:
    """Policies whose pods the bundle does not show at all, by selector, or because a whole namespace has no workload in it; and those that may have others."""
    named, half = set[str](), set[str]()
    for policy in (*access.unselected(), *(one for one in ir.policies if _empty(one, access))):
        subject = policy.subject.value
        if opens(policy) and (defaults.get(subject.namespace, OPEN) == OPEN or subject.selector.everything):
            out.adds_nothing("pods that the bundle does not show are as open as they were", policy.sources)
            continue
        if open_beside(policy, out):
            out.adds_nothing("a rule of it lets everybody in on every port", policy.sources)
            continue
        if any(policy is one for one in written):
            out.adds_nothing(redundant.GRANTED, policy.sources)
            continue
        if left_to_network(policy, access, out):
            continue
        # the default of a namespace is all that closes such pods, and it is for those as well that no policy selects
        alone = (
            subject.namespace and not subject.selector.everything and not opens(policy) and not access.namespace_allows(subject.namespace)
        )
        if fate.whole(policy):
            half |= {subject.namespace} if alone else set()
            out.adds_nothing(redundant.GRANTED, policy.sources)
            continue
        others = (Affected(subject.namespace, ANY_POD),) if alone else ()
        named |= {subject.namespace} if alone else set()
        known = beside_known(subject, access.world)
        out.finding(
            "MP207", policy.sources, severity="warning" if known else None, document=policy.document, disposition="dropped", affects=(unseen(subject), *others),
            feature="authorization.subject", policy=str(policy.ref.value), namespace=subject.namespace or "NAMESPACE", selector=f"others with {subject.selector}" if known else str(subject.selector),
            closed="these and every other pod of the namespace that it does not show" if others else "the pods",
        )  # fmt: skip
    for namespace, value in sorted(defaults.items()):
        _beside(namespace, value, out, access, told=namespace in named, closed=namespace in half)


def _empty(policy: Policy, access: Access) -> bool:
    """Whether a policy lets somebody in at all pods of a namespace of which the bundle shows none."""
    return policy.subject.value.selector.everything and bool(policy.rules) and not access.world.selected(policy.subject.value)


def _beside(namespace: str, value: str, out: Output, access: Access, *, told: bool, closed: bool) -> None:
    """Say which pods of a namespace its default refuses more than they refused, beside those that it is said of already."""
    admission = [one for one in access.ir.admissions if one.level == "namespace" and one.subject.namespace == namespace]
    if value not in ("deny", STRICT) or any(one.value.value == value for one in admission):
        _by_servers(namespace, out, access)
        return
    closing = access.namespace_allows(namespace)
    admitting = [policy for policy in closing if policy.rules]
    if value == "deny":
        anybody = not closing or bool(admitting)
    else:  # denies that come to the default refuse such pods' plaintext themselves
        anybody = access.namespace_mode(namespace).value != "strict" and not any(map(any_port, access.namespace_denies(namespace)))
    others = [
        policy
        for policy in access.unshown(namespace)
        if policy.action.value == "allow" and policy.rules and access.world.selected(PodSet(namespace, policy.subject.value.selector))
    ]
    said = [(policy.ref.value, policy.subject.value.selector) for policy in others]
    for rule in access.unshown_modes(namespace) if value == STRICT else ():  # of pods that took plaintext
        pods = PodSet(namespace, rule.subject.value.selector)
        if access.world.selected(pods) and any(mode.value != "strict" for mode in rule.modes):
            said.append((rule.ref.value, pods.selector))
    said.sort(key=lambda one: one[0])
    affects = [Affected(namespace, ANY_POD)] if anybody and not told else []
    affects += dict.fromkeys(unseen(PodSet(namespace, selector)) for _, selector in said)
    if affects:
        _say(
            out, affects, "Every pod" if anybody else "Pods of " + ", ".join(str(ref) for ref, _ in said), namespace,
            f"the default of the namespace ({value}) refuses what was admitted there, but for ports that have a Server",
            "warning" if closed else None,
        )  # fmt: skip


def _by_servers(namespace: str, out: Output, access: Access) -> None:
    """Say it of an open namespace's pods that Servers take with the known ones, where those refuse more than the source did."""
    refused = {
        place.port
        for finding in out.findings
        if finding.effect == "narrows" and any(subject.startswith("access to ") for subject, _ in finding.explains)
        for place in finding.affects
        if place.namespace == namespace and place.port is not None
    }
    for policy in (*access.namespace_denies(namespace), *access.unshown(namespace)):
        rules = policy.rules if policy.action.value == "deny" and not any_port(policy) else ()
        ports = sorted(
            port for port in refused if any(port_fits(item, port) for rule in rules for item in rule.conditions if item.attribute == PORT)
        )
        selector = policy.subject.value.selector
        if ports:
            pods = ANY_POD if selector.everything else str(selector)
            listed = ", ".join(map(str, ports))
            reason = f"Servers refuse on port {listed} what they refuse of the pods that it shows"
            _say(out, [Affected(namespace, pods, port) for port in ports], f"Pods of {policy.ref.value}", namespace, reason)


def _say(out: Output, affects: list[Affected], pods: str, namespace: str, reason: str, severity: str | None = None) -> None:
    out.finding(
        "MP198",
        document=None,
        affects=tuple(affects),
        feature="authorization.subject",
        namespace=namespace,
        pods=pods,
        reason=reason,
        severity=severity,
    )
