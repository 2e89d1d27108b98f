"""Pods of Servers that the bundle does not show, written for Istio.

A Server has one port of the pods that it selects, and of several that select a pod and have the port the oldest one has it. An AuthorizationPolicy closes every
port, and several that select a pod let in what any of them does. Where other Servers may select such pods as well, their ports are left to theirs, and
what a Server admits is written only where it has its port whoever else selects the pods.
"""

from __future__ import annotations

from collections.abc import Collection

from meshport.dialects.base import Options
from meshport.dialects.istio.drafts import Draft, Written, servers_of, spelled, write_rules
from meshport.dialects.istio.saying import say_source
from meshport.dialects.istio.server_rules import left_out, say, wanted_name
from meshport.dialects.naming import claim, name
from meshport.dialects.output import Output
from meshport.effective.access import Access, Region, admission_conditions
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.subjects import unseen
from meshport.ir.authorization import Policy, Rule
from meshport.ir.base import NOWHERE, PodSet, Ref, Selector, sources
from meshport.ir.model import IR

SECURITY = "security.istio.io/v1"
OPEN = ("all-unauthenticated", "audit")


def alike(selector: Selector, region: Region, access: Access) -> bool:
    """Whether what holds for the pods of a region holds for all pods that a selector without expressions takes: they are all shown, or the same Servers have
    the same ports of them and the same default the rest."""
    if access.world.shows(PodSet(region.namespace, selector)):
        return True
    own = region.first.allows
    return (
        all(access.number(policy) is not None for policy in own)
        and all(_always(selector, policy.subject.value.selector) for policy in own)
        and all(
            _always(selector, other) or not selector.meets(other)
            for other, _ in access.subjects(region.namespace).beside(dict(selector.labels))
        )
        and region.first.admission.value == access.namespace_admission(region.namespace).value
    )


def _always(selector: Selector, other: Selector) -> bool:
    """Whether every pod that one selector takes by its labels is taken by another."""
    labels = dict(selector.labels)
    return all(labels.get(key) == value for key, value in other.labels) and all(
        item.key in labels and item.accepts(labels) for item in other.expressions
    )


def lower(ir: IR, out: Output, options: Options, access: Access, taken: dict[str, set[str]], beside: Collection[PodSet]) -> None:
    """Servers none of whose pods in the mesh are shown, and those of `beside`, which may have others: what can be said by the numbers of their ports is written,
    the rest is closed, and that is told."""
    groups: dict[tuple[str, Selector], list[Policy]] = {}
    others: dict[str, list[Policy]] = {}
    for policy in ir.policies:
        subject = policy.subject.value
        others.setdefault(subject.namespace, []).append(policy)
        for pods in spelled(subject):
            known = access.selected(pods)
            if pods in beside or (all(item.meshed is False for item in known) and not (known and access.world.shows(pods))):
                groups.setdefault((pods.namespace, pods.selector), []).append(policy)
    for (namespace, selector), policies in sorted(groups.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        rivals = [one for one in others[namespace] if one.subject.value.selector != selector and selector.meets(one.subject.value.selector)]
        group = _Group(PodSet(namespace, selector), sorted(policies, key=lambda item: item.ref.value), rivals, access)
        draft = Draft(Region(namespace), selector, policies[0].subject.src)
        for policy in group.policies:
            _server(ir, out, options, draft, policy, group)
        if not selector.expressions:
            if (
                group.numbered
                and group.default.value != "deny"
                and all(item.admission.value == group.default.value for item in group.known)
            ):
                _residual(out, options, draft, group)
            draft.label = claim(wanted_name(policies).value or namespace, taken.setdefault(namespace, set()))
            _write(out, draft, policies)
            if draft.plaintext and group.default.value == "all-authenticated":
                _plaintext(out, draft, group)


class _Group:
    """Servers of one selector. `rivals` may select the same pods; `known` are the workloads that they select."""

    def __init__(self, pods: PodSet, policies: list[Policy], rivals: list[Policy], access: Access) -> None:
        self.pods, self.policies, self.rivals = pods, policies, rivals
        self.known = [item for item in access.selected(pods) if item.meshed is not False]
        self.default = access.namespace_admission(pods.namespace)
        self.numbers = {id(policy): access.number(policy) for policy in (*policies, *rivals)}
        self.numbered = None not in self.numbers.values()

    def number(self, policy: Policy) -> int | None:
        return self.numbers[id(policy)]

    @property
    def exact(self) -> bool:
        return self.numbered and not self.pods.selector.expressions and not self.rivals and self.alike

    @property
    def alike(self) -> bool:
        """Whether the known pods leave the ports that no Server has to the namespace's default."""
        return all(item.admission.value == self.default.value for item in self.known)

    def loses(self, policy: Policy) -> str:
        """Why a Server's rules must not stand in a policy for all of these pods; "" where they may."""
        ranked = sorted((*self.policies, *self.rivals), key=lambda item: (item.created, item.ref.value))
        before = next(
            one
            for one in ranked
            if one is policy or None in (self.number(one), self.number(policy)) or self.number(one) == self.number(policy)
        )
        port = self.number(policy)
        if before is not policy:
            return f"{before.kind} {before.ref.value} may have the port at the same pods"
        if any(servers_of(item).get(port) is not policy for item in self.known if port is not None):
            return "other policies have the port at pods that it selects"
        if port is None and (self.default.value not in OPEN or len(self.policies) > 1 or self.rivals or self.known):
            return "the number of its port is not known, and it would hold on every port"
        return ""


def _server(ir: IR, out: Output, options: Options, draft: Draft, policy: Policy, group: _Group) -> None:
    """The rules of one Server."""
    port, selector = group.number(policy), group.pods.selector
    base = policy.ref.src | policy.action.src | (policy.port.src if policy.port is not None and port is not None else NOWHERE)
    why = group.loses(policy)
    if policy.protocol is not None and not policy.protocol.value:
        draft.detected.add(port)
    for rule in policy.rules:
        document = rule.document if rule.document is not None else policy.document
        if document not in draft.origins:
            draft.origins.append(document)
        try:
            for piece in of_rule(rule, port=port) if not why else ():
                say(out, options, draft, port, policy, rule, document, piece, base)
        except (Unsayable, ValueError) as error:
            why = str(error)
        if why and not group.known:
            left_out(out, draft, port, policy, rule, document, why)
    if policy.document not in draft.origins:
        draft.origins.append(policy.document)
    if selector.expressions:
        out.finding(
            "MP227", policy.subject, document=policy.document, disposition="dropped", affects=(unseen(group.pods),),
            feature="authorization.subject", policy=str(policy.ref.value),
        )  # fmt: skip
    out.finding(
        "MP295" if group.exact else "MP220", *([policy.port] if policy.port is not None and port is None and not group.known else []), document=policy.document,
        affects=(unseen(group.pods),), disposition=None if group.exact or group.known else "approximated", feature="server.port", policy=str(policy.ref.value),
        severity="warning" if group.known else None, namespace=group.pods.namespace, selector=f"others with {selector}" if group.known else str(selector),
        port=policy.port.value if policy.port is not None else "?", default=group.default.value,
    )  # fmt: skip


def _residual(out: Output, options: Options, draft: Draft, group: _Group) -> None:
    """The ports that no Server has, as the namespace leaves them."""
    value = group.default.value
    src = sources(*(policy.port for policy in group.policies), group.default) | draft.selector_src
    listed = sorted({str(number) for number in group.numbers.values()}, key=int)
    for piece in of_rule(Rule(admission_conditions(value, options.cluster_networks, group.default.src), src=src), port=None):
        peers = say_source(piece.who, piece.where.networks())
        draft.rules.append(Written([entry for entry in peers if entry], {"notPorts": listed}, [], src))


def _write(out: Output, draft: Draft, policies: list[Policy]) -> None:
    because = sources(draft.selector_src, wanted_name(policies), *(policy.ref for policy in policies))
    because |= frozenset(leaf for policy in policies for rule in policy.rules for leaf in rule.src)
    ref = Ref(draft.region.namespace, draft.label)
    obj = out.object(
        SECURITY, "AuthorizationPolicy", ref, owner=min(draft.origins), group=f"policy {draft.label}", rank=41, because=because
    )
    for document in sorted(draft.origins):
        obj.add_origin(document)
    if draft.selector.labels:
        obj.set(("spec", "selector", "matchLabels"), dict(draft.selector.labels), draft.selector_src)
    obj.set(("spec", "action"), "ALLOW", because)
    write_rules(obj, draft.rules)


def _plaintext(out: Output, draft: Draft, group: _Group) -> None:
    """Let plaintext through on the ports of Servers that admit it, where the namespace is strict; where other modes may be for such pods, say that it is refused."""
    policies = [policy for policy in group.policies if group.number(policy) in draft.plaintext]
    src = sources(*(fact for policy in policies for fact in (policy.ref, policy.action, policy.port)))
    if not group.exact or group.known:
        out.finding(
            "MP294", src, document=policies[0].document, disposition=None, feature="transport.mode", affects=(unseen(group.pods),),
            workload=", ".join(f"{policy.kind} {policy.ref.value}" for policy in policies), others="the namespace's other pods",
        )  # fmt: skip
        return
    ref = Ref(draft.region.namespace, name(draft.label, "mtls"))
    obj = out.object(SECURITY, "PeerAuthentication", ref, owner=min(draft.origins), rank=39, because=src)
    obj.set(("spec", "selector", "matchLabels"), dict(draft.selector.labels), draft.selector_src)
    obj.set(("spec", "mtls", "mode"), "STRICT", group.default)
    for port in sorted(draft.plaintext):
        obj.set(("spec", "portLevelMtls", str(port), "mode"), "PERMISSIVE", src)
