"""What policies say of UDP, SCTP and ICMP: no mesh governs them, so it is said once an object."""

from __future__ import annotations

from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.authorization import Policy
from meshport.ir.base import sources
from meshport.ir.model import IR


def report(ir: IR, out: Output) -> None:
    """A finding for each object that speaks of other protocols than TCP, and one for all that close them."""
    closing = [policy for policy in ir.policies if policy.closing and policy.kind.startswith("Cilium") and policy.document not in out.kept]
    closing.sort(key=lambda policy: (policy.ref.value, policy.kind))
    if closing:
        named = dict.fromkeys(f"{policy.kind} {policy.ref.value}" for policy in closing)
        out.finding(
            "MP276", document=closing[0].document, feature="l4.protocol", policies=", ".join(named), are="are" if len(named) > 1 else "is",
            affects=tuple(dict.fromkeys(Affected(policy.subject.value.namespace or None) for policy in closing)),
        )  # fmt: skip
    by_document: dict[int, list[Policy]] = {}
    for policy in ir.policies:
        if policy.beyond:
            by_document.setdefault(policy.document, []).append(policy)
    for number, policies in sorted(by_document.items()):
        facts = tuple(item.words for policy in policies for item in policy.beyond)
        affects = dict.fromkeys(Affected(policy.subject.value.namespace or None) for policy in policies)
        out.finding(
            "MP274", sources(*facts), document=number, disposition="dropped", affects=tuple(affects), feature="l4.protocol",
            policy=f"{policies[0].kind} {policies[0].ref.value}", what="; ".join(dict.fromkeys(fact.value for fact in facts)),
        )  # fmt: skip
