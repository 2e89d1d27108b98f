"""Policies that select and admit as Istio's own do: each becomes one AuthorizationPolicy.

SMI's access control is additive and closes every port of the pods that it speaks of, which is what an ALLOW does. Nothing has to be worked out by port.
https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Callable

from meshport.dialects.istio.drafts import Written, write_rules
from meshport.dialects.istio.saying import Unsaid, operations, say_source
from meshport.dialects.naming import name, unique
from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.effective.pieces import Unsayable, of_rule
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import PORT, Policy, Rule
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR

API = "security.istio.io/v1"


def lower(ir: IR, out: Output) -> None:
    """An AuthorizationPolicy for each allow; those of one source object are told apart by the workload that they are for."""
    access = Access(ir, Fact("all-unauthenticated"))
    of_one: dict[Ref, int] = {}
    for policy in ir.policies:
        of_one[policy.ref.value] = of_one.get(policy.ref.value, 0) + 1
    for policy in sorted(ir.policies, key=lambda item: (item.ref.value, str(item.subject.value))):
        called = policy.ref.value.name
        pods = policy.subject.value
        members = access.world.selected(pods)
        if of_one[policy.ref.value] > 1 and members:
            called = name(called, members[0].ref.name)
        called = unique(called, _taken(out, pods.namespace))
        _write(policy, Ref(pods.namespace, called), access, out)


def _taken(out: Output, namespace: str) -> Callable[[str], bool]:
    return lambda text: out.taken(API, "AuthorizationPolicy", Ref(namespace, text))


def _write(policy: Policy, ref: Ref, access: Access, out: Output) -> None:
    because = policy.ref.src | policy.action.src
    obj = out.object(API, "AuthorizationPolicy", ref, owner=policy.document, group=f"policy {ref.name}", rank=41, because=because)
    labels = dict(policy.subject.value.selector.labels)
    if not labels and not policy.rules:
        obj.set(("spec",), {}, because, policy.subject)
        obj.note("what no policy allows is refused")
        return
    if labels:
        obj.set(("spec", "selector", "matchLabels"), labels, policy.subject)
    obj.set(("spec", "action"), "ALLOW", because)
    obj.note(f"from {policy.kind} {policy.ref.value}")
    write_rules(obj, [item for rule in policy.rules for item in _said(rule, policy, access, out)])


def _named_ports(access: Access) -> set[int]:
    """The ports that any policy names."""
    return {
        fact.value[0]
        for policy in access.ir.policies
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == PORT
        for fact in condition.any_of or ()
    }


def _said(rule: Rule, policy: Policy, access: Access, out: Output) -> list[Written]:
    """The rule in Istio's words, one entry for each port that it names; what cannot be said is left out and reported."""
    limits = [
        {fact.value for fact in condition.any_of} for condition in rule.conditions if condition.attribute == PORT and condition.any_of
    ]
    common = set.intersection(*limits) if limits else set()
    ports: list[int | None] = sorted(low for low, _ in common) if limits else [None]
    found: list[Written] = []
    for port in ports:
        try:
            for piece in of_rule(rule, port=port):
                operation, when = operations(piece, port)
                peers = say_source(piece.who, piece.where.networks())
                if peers:
                    found.append(Written([entry for entry in peers if entry], operation, when, rule.sources | piece.src))
        except (Unsaid, Unsayable, ValueError) as error:
            members = access.world.selected(policy.subject.value)
            out.finding(
                "MP201", rule.sources, document=policy.document, disposition="dropped",
                affects=tuple(Affected(item.ref.namespace, item.ref.name, port) for item in members) or (Affected(policy.subject.value.namespace),),
                explains=frozenset(
                    (access_subject(item.ref, number), aspect)
                    for item in members
                    for number in (*{*(one.number for one in item.ports), *_named_ports(access)}, None)
                    for aspect in ("allow", "deny", "default")
                ),
                feature="authorization.rule", policy=f"{policy.kind} {policy.ref.value}", port=port if port is not None else "any", reason=str(error),
            )  # fmt: skip
    return found
