"""Callers of other trust domains. Istio's `serviceAccounts` and `namespaces` name callers whatever trust domain they are of; Linkerd and Cilium know those of
their own by such a name (istio.io, reference of AuthorizationPolicy, Source)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY
from meshport.values.identities import EVERYONE, Identity, parse_principal

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR


def tell(ir: IR, out: Output, options: Options) -> None:
    """Say of allows that name callers of any trust domain that those of others are refused, where the bundle shows that there are such callers."""
    own = ("cluster.local", options.trust_domain, *options.trust_domain_aliases)
    if not any(domain not in own for domain in _named(out)):
        return
    named = [
        (policy, fact)
        for policy in ir.policies
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == IDENTITY
        for fact in (*(condition.any_of or ()), *condition.none_of)
        if isinstance(fact.value, Identity)
    ]
    for policy in dict.fromkeys(policy for policy, fact in named if policy.action.value == "allow"):
        open_to = {
            fact.value: fact
            for other, fact in named
            if other is policy and fact.value.trust_domain is None and fact.value != EVERYONE
        }  # fmt: skip
        if open_to:
            subject = policy.subject.value
            places = tuple(dict.fromkeys(Affected(one.ref.namespace, one.ref.name) for one in ir.world.selected(subject)))
            peers = ", ".join(f"{one.namespace or '*'}/{one.service_account or '*'}" for one in sorted(open_to, key=str))
            out.finding(
                "MP394", *open_to.values(), document=policy.document, affects=places or (Affected(subject.namespace or None),),
                feature="authorization.source.principals", policy=f"{policy.kind} {policy.ref.value}", peers=peers, domain=options.trust_domain,
            )  # fmt: skip


def _named(out: Output) -> set[str]:
    """The trust domains of the principals that policies name, those included that another value of the same rule makes idle."""
    found: set[str] = set()
    for document in out.bundle.documents:
        stack: list[Any] = [document.value.get("spec")] if document.kind == "AuthorizationPolicy" else []
        while stack:
            value = stack.pop()
            if isinstance(value, dict | list):
                stack.extend(value.values() if isinstance(value, dict) else value)
            elif isinstance(value, str) and "/ns/" in value and isinstance(one := parse_principal(value), Identity) and one.trust_domain:
                found.add(one.trust_domain)
    return found
