"""Losses that the table may or may not have a row for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.output import Output
from meshport.findings import Affected, Finding
from meshport.ir.authorization import Egress
from meshport.ir.base import Fact
from meshport.ir.resilience import breaker_subjects, policy_subjects, single_ports
from meshport.ir.routing import gather, ports_of

if TYPE_CHECKING:
    from meshport.ir.model import IR
    from meshport.ir.resilience import ServicePolicy


def report(
    out: Output,
    fact: Fact[Any],
    code: str,
    document: int,
    affects: tuple[Affected, ...],
    explained: frozenset[tuple[str, str]],
    **values: Any,
) -> Finding | None:
    """Name what the target cannot say: by the support row, or by a code of our own where the table has none."""
    row = out.table.feature(fact.feature)
    found = out.lost(fact, document=document, affects=affects, explains=explained, **values) if row is not None else None
    if found is not None or (row is not None and fact.src and all(leaf in out.irrelevant for leaf in fact.src)):
        return found
    return out.finding(
        code, fact, document=document, disposition="dropped", affects=affects, explains=explained, **{"value": fact.value, **values}
    )


def in_force(policy: ServicePolicy, ir: IR, out: Output) -> ServicePolicy:
    """The policy, without its settings where each port of the Service has settings of its own: those replace them as a whole."""
    apart = single_ports(ir.service_policies, policy)
    ports = ports_of(ir.world, policy.service.value) if policy.service is not None and apart else ()
    if not ports or not apart.keys() >= set(ports):
        return policy
    out.ignore("each port of the Service has settings of its own", gather(policy.breaker, policy.extras))
    out.decide("says for which Service these are, each port of which has settings of its own", policy.host)
    return replace(policy, breaker=None, extras=())


def names_nothing(policy: ServicePolicy, ir: IR, out: Output, carried: Callable[[ServicePolicy], bool]) -> None:
    """Account for what names whom a policy is for of which nothing is written. A port of which it says so has not what is `carried` of the whole Service."""
    if policy.port is not None and policy.service is not None and policy.port.value in ports_of(ir.world, policy.service.value):
        for whole in ir.service_policies:
            same = whole.service is not None and whole.service.value == policy.service.value
            if same and carried(whole) and single_ports(ir.service_policies, whole).get(policy.port.value) is policy:
                out.decide("what is said of the whole Service does not hold on this port", policy.port)
    out.names("names what the other settings of the rule are for", policy.host, policy.port)


def clients_alone(policy: ServicePolicy, affects: tuple[Affected, ...], out: Output) -> bool:
    """Say of a policy that clients of one namespace go by that the target has it for all clients or, where the others have another, for none."""
    facts = (policy.breaker, policy.extras)
    if not policy.clients or not (
        policy.breaker or any(path != "tls.mode" or fact.value != "ISTIO_MUTUAL" for path, fact in policy.extras)
    ):
        return False
    out.finding(
        "MP596", *((gather(*facts, policy.host, policy.port, policy.exports),) if policy.beside else ()), document=policy.document,
        disposition="dropped" if policy.beside else None, affects=affects,
        explains=frozenset((subject, "*") for subject in (*breaker_subjects(policy), *policy_subjects(policy))) if policy.beside else frozenset(),
        object=f"{policy.kind} {policy.ref.value}", namespace=policy.clients,
        outcome="clients of other namespaces do not go by it, so it is left out" if policy.beside else "in the target every client goes by it",
    )  # fmt: skip
    return policy.beside


def _unrestricted(item: Egress, among: list[Egress]) -> bool:
    """Whether a policy opens everything to all of the pods that these rules open something to."""
    pods = item.subject.value

    def opens(other: Egress) -> bool:
        its = other.subject.value
        same = its.namespace in ("", pods.namespace) and (its.selector.everything or its.selector == pods.selector)
        rules = other.rules.value if isinstance(other.rules.value, list) else []
        return same and other.section == "egress" and any(rule == {"toEntities": ["all"]} for rule in rules)

    return item.section == "egress" and any(map(opens, among))


def leaving(ir: IR, out: Output) -> None:
    """Say that what leaves pods is restricted no more: one finding a policy, for all its rules."""
    by_document: dict[int, list[Egress]] = {}
    for item in ir.egress:
        by_document.setdefault(item.document, []).append(item)
    for document, items in sorted(by_document.items()):
        if all(_unrestricted(item, ir.egress) for item in items):
            out.adds_nothing("what leaves its pods is open to everything", *(fact for item in items for fact in (item.rules, item.subject)))
            continue
        affects = tuple(dict.fromkeys(Affected(item.subject.value.namespace or None) for item in items))
        said = items[0].outside
        short = any(finding.code == "MP720" and finding.document == document for finding in out.findings)
        aspects = ("spoken", *(("open",) if short else ())) if said else ("*",)
        closed = {f"egress of {workload.ref}" for item in items for workload in ir.world.selected(item.subject.value)}
        closed |= {f"egress of namespace {item.subject.value.namespace}" for item in items}
        out.finding(
            "MP124",
            *(fact for item in items for fact in (item.rules, item.subject)),
            document=document,
            disposition="dropped",
            affects=affects,
            explains=frozenset((subject, aspect) for subject in closed for aspect in aspects),
            feature="l4.egress",
            what="inside the cluster, and in other protocols than TCP, what leaves its pods" if said else "what leaves its pods",
            policy=f"{out.bundle.documents[document].kind} {items[0].ref.value}",
        )
