"""Pods that policies of Cilium close and that the bundle does not show, where no labels of theirs can be written: their namespace is closed for them.

An AuthorizationPolicy selects by labels that have values. One for a whole namespace that lets nobody in closes the pods that lack a label, have another value
of it, or run under an account; and every pod that nothing closes is opened again by the labels that its controller counts it by, which no other pod has.
"""

from __future__ import annotations

from meshport.dialects.istio.drafts import spelled, telling
from meshport.dialects.naming import claim
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective
from meshport.effective.subjects import ANY_POD
from meshport.findings import Affected
from meshport.ir.authorization import Policy
from meshport.ir.base import NOWHERE, Ref, Selector, Src, sources
from meshport.ir.model import IR

API = "security.istio.io/v1"
KIND = "AuthorizationPolicy"


def close(ir: IR, out: Output, access: Access, taken: dict[str, set[str]]) -> None:
    """An AuthorizationPolicy without rules for each such namespace, and one that lets everybody in for each known workload that is open."""
    homes = {name for name, item in ir.world.namespaces.items() if item.meshed is not None and item.meshed.value}
    homes |= {item.workload.ref.namespace for item in access.workloads if item.meshed is not False}
    for namespace in sorted(homes):
        policies = [one for one in access.unshown(namespace) if _closes(one) and unwritten(one)]
        if not policies or any(policy.closing for policy in access.namespace_allows(namespace)):
            continue
        policies.sort(key=lambda one: (one.ref.value, one.kind))
        names = taken.setdefault(namespace, set())
        src = sources(*(fact for policy in policies for fact in (policy.ref, policy.subject, policy.action)))
        shut = [item for item in access.of_namespace(namespace) if item.meshed is not False and item.allows]
        free = [item for item in access.of_namespace(namespace) if item.meshed is not False and not item.allows]
        _write(out, policies, Ref(namespace, claim(policies[0].ref.value.name, names)), Selector(), [], src, NOWHERE)
        left: list[Effective] = []
        opened: set[Selector] = set()
        for item in free:
            selector = Selector.of(telling(item, access))
            if any(selector.accepts(other.workload.labels) for other in shut):
                left.append(item)
            elif selector not in opened:
                opened.add(selector)
                ref = Ref(namespace, claim(f"{item.workload.ref.name}-open", names))
                own = item.workload.labels_src(dict(selector.labels))
                _write(out, policies, ref, selector, [{}], src, own)
        for selector in _apart(access, namespace, policies):
            if selector not in opened and not any(selector.accepts(item.workload.labels) for item in shut):
                opened.add(selector)
                ref = Ref(namespace, claim(f"{policies[0].ref.value.name}-open", names))
                _write(out, policies, ref, selector, [{}], src, NOWHERE)
        places = [Affected(namespace, ANY_POD), *(Affected(namespace, item.workload.ref.name) for item in left)]
        out.finding(
            "MP286", document=policies[0].document, severity="warning", affects=tuple(places), feature="authorization.subject",
            policy=", ".join(dict.fromkeys(f"{one.kind} {one.ref.value}" for one in policies)), namespace=namespace,
            selector="others with " + " or ".join(sorted({str(one.subject.value.selector) for one in policies})),
        )  # fmt: skip


def _apart(access: Access, namespace: str, policies: list[Policy]) -> list[Selector]:
    """The pods that such policies leave out by a label, where no other policy closes any of them."""
    barred = {
        (one.key, value)
        for policy in policies
        for one in policy.subject.value.selector.expressions
        if one.operator == "NotIn"
        for value in one.values
    }
    found = [Selector.of({key: value}) for key, value in sorted(barred)]
    closing = [one.subject.value.selector for one in access.reaching(namespace) if _closes(one)]
    return [one for one in found if not any(one.meets(other) for other in closing)]


def crossed(policy: Policy, ir: IR) -> bool:
    """Whether pods that a policy lets somebody in to, and that the bundle does not show, may be under a deny of pods that Istio cannot select."""
    return bool(policy.rules) and any(
        other.action.value == "deny" and other.rules and unwritten(other) and policy.subject.value.meets(other.subject.value)
        for other in ir.policies
    )


def closed_too(policy: Policy, ir: IR) -> bool:
    """Whether other policies close all pods of a policy that the bundle does not show: what it lets in can be said for them, and closes nobody by it."""
    pods = policy.subject.value
    if not pods.selector.labels or pods.selector.expressions:
        return False
    closing = [one.subject.value for one in ir.policies if one is not policy and one.action.value == "allow" and one.closing]
    return any(not one.selector.expressions and one.contains(pods.namespace, dict(pods.selector.labels)) for one in closing)


def covered(policy: Policy, ir: IR) -> bool:
    """Whether the pods of a policy are all shown, or closed by other policies where they are not."""
    pods = policy.subject.value
    return (bool(pods.namespace) and ir.world.shows(pods)) or closed_too(policy, ir)


def unwritten(policy: Policy) -> bool:
    """Whether the labels of a policy's pods are no list of values, so that Istio cannot select them."""
    return any(one.selector.expressions for one in spelled(policy.subject.value))


def _closes(policy: Policy) -> bool:
    return policy.closing if policy.action.value == "allow" else bool(policy.rules)


def _write(out: Output, policies: list[Policy], ref: Ref, selector: Selector, rules: list[dict[str, str]], src: Src, own: Src) -> None:
    obj = out.object(API, KIND, ref, owner=policies[0].document, group=f"policy {ref.name}", rank=41, because=src)
    for policy in policies:
        obj.add_origin(policy.document)
        obj.note(f"from {policy.kind} {policy.ref.value}")
    if not selector.labels:
        obj.set(("spec",), {}, src)
        return
    obj.set(("spec", "selector", "matchLabels"), dict(selector.labels), src | own)
    obj.set(("spec", "rules"), rules, src)
