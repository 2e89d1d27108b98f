"""Policies of meshes half-way to or from ambient, that select pods with a sidecar and pods with ztunnel: each holds what it knows of them.

Once all of the pods have a sidecar, the document says what ztunnel held, and the pods that had one before get the policy as it stood.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio.ambient_written import SECURITY
from meshport.dialects.istio.enforcement import Settled
from meshport.dialects.istio.rules import qualified
from meshport.dialects.output import Output
from meshport.documents import Document
from meshport.effective import subjects
from meshport.effective.access import Access, ports_of
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.model import IR


def as_before(
    item: Settled, rules: list[dict[str, Any]], src: Src, document: Document, held: bool, ir: IR, out: Output, options: Options
) -> None:
    """The `rules` of a document once more for pods that have a sidecar already; `held` says whether ztunnel held any of a policy, so that the document stays."""
    policy = item.read.policy
    home, number = document.namespace or options.default_namespace, policy.document
    deny = policy.action.value == "deny"
    for one in item.proxied:
        pods = one.subject.value
        if pods == policy.subject.value:
            continue
        told = not pods.selector.expressions  # a policy asks for labels alone
        if told:
            name = (
                naming.name(document.name, dict(pods.selector.labels).get("app", "sidecars")) if pods.namespace == home else document.name
            )
            free = out.free(SECURITY, "AuthorizationPolicy", pods.namespace, name)
            made = out.object(SECURITY, "AuthorizationPolicy", Ref(pods.namespace, free), owner=number, rank=42, because=src)
            if pods.selector.labels:
                made.set(("spec", "selector", "matchLabels"), dict(pods.selector.labels), src)
            made.set(("spec", "action"), "DENY" if deny else "ALLOW", src)
            if rules:
                made.set(("spec", "rules"), [qualified(rule, home) for rule in rules], src)
            made.note("for pods that had a sidecar before")
        members = ir.world.selected(pods) if not told or (deny and held) else []
        if members:
            access = Access(ir, Fact("all-unauthenticated"))
            ports = (None, *ports_of([access.of(workload) for workload in members], ir.world))
            out.finding(
                "MP244", document=number, feature="authorization.rule", object=f"AuthorizationPolicy {policy.ref.value}",
                affects=tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members),
                explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in members for port in ports),
                reason="it holds for pods with a sidecar and for others with ztunnel" + ("" if told else ", and no label tells them apart"),
                outcome="all of them get what ztunnel made of it",
            )  # fmt: skip
