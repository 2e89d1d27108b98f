"""Denies that Cilium has as such: of named accounts and namespaces, or of addresses outside the cluster, on ports or on all of them
(docs.cilium.io, security/policy/deny).

A deny of Cilium stops at ports, and goes before every allow. Every other deny is taken out of the allows that it cuts (cilium/planning.py).
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium import admitting
from meshport.dialects.cilium.callers import Known, callers, endpoints
from meshport.dialects.cilium.planning import mentioned
from meshport.dialects.cilium.subjects import choose, divided, homes
from meshport.dialects.cilium.writing import CILIUM, KIND, Others
from meshport.dialects.naming import claim
from meshport.dialects.output import Obj, Output
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.identities import Identities
from meshport.effective.networks import disjoint
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import PORT, Policy
from meshport.ir.base import Ref, Selector, Src
from meshport.ir.model import IR
from meshport.mapping.table import in_range
from meshport.values.identities import EVERYONE, Identity

OPENING = {"fromEntities": ["all"]}
Direct = tuple[dict[str, list[Any]], list[int] | None, Src]
"""Whom a rule denies, on which ports (None: all), and the leaves."""
Directs = dict[int, dict[int, Direct]]
"""By policy (its id) and rule."""


def directs(ir: IR, access: Access, known: Known) -> Directs:
    """The rules of denies that are written as denies, by policy (its id)."""
    ports: dict[int, set[int]] = {}
    bypassed: set[int] = set()
    for item in access.workloads:
        for policy in item.denies:
            ports.setdefault(id(policy), set()).update(ports_of([item], access.world), mentioned(item))
            past = (
                item.workload.bypassed is not None and item.workload.bypassed.value
            )  # a deny would hold where no proxy of the source looks
            if past or any(item.mode(port).value == "disable" for port in (*ports[id(policy)], None)):  # or where nobody shows who he is
                bypassed.add(id(policy))
    found = {}
    for policy in ir.policies:
        if policy.action.value == "deny":
            if not access.world.selected(policy.subject.value):
                ports[id(policy)] = named_ports(policy)
            written = _direct(policy, known, sorted(ports.get(id(policy), set())), id(policy) in bypassed)
            if written:
                found[id(policy)] = written
    return found


def lower(
    ir: IR,
    out: Output,
    options: Options,
    access: Access,
    denies: Directs,
    taken: dict[str, set[str]],
    others: Others,
) -> None:
    for policy in sorted(ir.policies, key=lambda item: item.ref.value):
        written = denies.get(id(policy))
        if not written:
            continue
        for namespace in homes(ir, policy.subject.value.namespace):
            members = [item for item in access.of_namespace(namespace) if policy in item.denies and item.meshed is not False]
            outside = [item for item in access.of_namespace(namespace) if item.meshed is False and not item.workload.host_network]
            if not members and any(policy.subject.value.contains(namespace, item.workload.labels) for item in outside):
                out.adds_nothing("selects only pods outside the mesh, where no proxy reads it", policy.sources)
                continue
            wanted = policy.subject.value.selector, policy.subject.src
            for group, found in _told_apart(members, outside, wanted) if members else [(members, wanted)]:
                if found is None:
                    _beyond(out, policy, group, [item for item in outside if wanted[0].accepts(item.workload.labels)], access)
                names = taken.setdefault(namespace, set())
                label = claim(policy.ref.value.name, names)
                selector, src = found or wanted
                because = policy.ref.src | policy.action.src | policy.subject.src | src
                obj = out.object(
                    CILIUM, KIND, Ref(namespace, label), owner=policy.document, group=f"policy {label}", rank=41, because=because
                )
                obj.note(f"from {policy.kind} {policy.ref.value}")
                obj.set(("spec", "endpointSelector"), selector.manifest(), because)
                if in_range(options.target_version, "1.16", None):
                    obj.set(("spec", "enableDefaultDeny"), {"ingress": False}, because)
                else:
                    _leave_open(out, obj, namespace, group, outside, because, names)
                if any(written[number][1] is None for number in written):
                    others.add(group, [])
                for position, (peers, ports, rule_src) in enumerate(written[number] for number in sorted(written)):
                    rule: dict[str, Any] = dict(peers)
                    if ports is not None:
                        rule["toPorts"] = [{"ports": [{"port": str(port), "protocol": "TCP"} for port in ports]}]
                    obj.set(("spec", "ingressDeny", position), rule, rule_src | because)


def _told_apart(
    members: list[Effective], others: list[Effective], wanted: tuple[Selector, Src]
) -> list[tuple[list[Effective], tuple[Selector, Src] | None]]:
    """The members with a selector that takes them and none of the others: in groups where no single one does, None where none does at all."""
    found = choose(members, others, [wanted])
    groups = [members] if found is not None else divided(members, others)
    if len(groups) == 1:
        return [(members, found)]
    return [one for group in groups for one in _told_apart(group, others, wanted)]


def _leave_open(
    out: Output, obj: Obj, namespace: str, members: list[Effective], outside: list[Effective], because: Src, names: set[str]
) -> None:
    """Before 1.16 a deny closes what it selects: the members that no other policy closes are opened again, by the deny itself where it selects no others."""
    closing = [
        one
        for one in admitting.written(out, namespace)
        if one.closes and one.spec is not obj.value["spec"] and OPENING not in one.spec.get("ingress", ())
    ]
    closed = [item for item in members if any(one.selector.accepts(item.workload.labels) for one in closing)]
    if not closed:
        obj.set(("spec", "ingress"), [OPENING], because)
        return
    left = [item for item in members if all(item is not other for other in closed)]
    found = choose(left, [*closed, *outside], []) if left else None
    if found is None:
        return
    ref = Ref(namespace, claim(f"{obj.ref.name}-open", names))
    more = out.object(CILIUM, KIND, ref, owner=obj.origins[0], group=obj.group, rank=41, because=because | found[1])
    more.set(("spec", "endpointSelector"), found[0].manifest(), because | found[1])
    more.set(("spec", "ingress"), [OPENING], because)


def named_ports(policy: Policy) -> set[int]:
    """The single ports that the rules of a policy name."""
    values = [fact.value for rule in policy.rules for one in rule.conditions if one.attribute == PORT for fact in one.any_of or ()]
    return {value[0] for value in values if isinstance(value, tuple) and value[0] == value[1]}


def _beyond(out: Output, policy: Policy, members: list[Effective], others: list[Effective], access: Access) -> None:
    """Pods outside the mesh that no label tells from those that the deny is for."""
    out.finding(
        "MP285", document=policy.document, affects=tuple(Affected(item.workload.ref.namespace, item.workload.ref.name) for item in others),
        explains=frozenset((access_subject(item.workload.ref, port), "allow") for item in others for port in (*ports_of([item], access.world), *mentioned(item), None)),
        feature="authorization.subject", policy=str(policy.ref.value), workloads=", ".join(str(item.workload.ref) for item in members),
        others=", ".join(str(item.workload.ref) for item in others),
    )  # fmt: skip


def _direct(policy: Policy, known: Known, ports: list[int], bypassed: bool) -> dict[int, Direct]:
    """The rules of a deny that Cilium can say as they are: named accounts and namespaces, or addresses that no pod has, on ports or on all; by
    position in the policy."""
    found: dict[int, Direct] = {}
    if policy.action.value != "deny":
        return found
    for number, rule in enumerate(policy.rules):
        if bypassed or rule.http or rule.unless or rule.needs_http:
            continue
        try:
            inside = of_rule(rule, deny=True, port=None)
            on = [port for port in ports if of_rule(rule, deny=True, port=port)]
        except (Unsayable, ValueError):
            continue
        condition = rule.condition(PORT)
        if condition is not None and (
            condition.any_of is None
            or condition.none_of
            or any(low != high or low <= 0 for low, high in (fact.value for fact in condition.any_of))
        ):
            continue
        shown = inside or [piece for port in on[:1] for piece in of_rule(rule, deny=True, port=port)]
        if len(shown) != 1 or not shown[0].any_request:
            continue
        peers = _outside(shown[0], known) or _inside(shown[0], known)
        if peers:
            found[number] = (peers, None if condition is None else on, shown[0].src)
    return found


def _inside(piece: Piece, known: Known) -> dict[str, list[Any]]:
    if not piece.where.everywhere or not _named(piece.who):
        return {}
    if known.entries and any(piece.who.overlaps(Identities(frozenset((known.identity(ref),)))) for ref in known.gateways):
        return {}  # what takes the gateway's place has no labels that a deny could match
    who = callers(piece, known)
    absent = endpoints((), (Ref(item.namespace or "", item.service_account or "") for item in who.absent))
    peers = [*who.endpoints, *absent]
    if who.listed or who.but or who.meshed or who.outside or who.gateways or who.entities or not peers or who.foreign:
        return {}
    return {"fromEndpoints": peers}


def _outside(piece: Piece, known: Known) -> dict[str, list[Any]]:
    """Addresses alone, none of which a pod has: a CIDR would not take the pod (Cilium reference 2.3)."""
    networks = piece.where.networks()
    own = known.options.cluster_networks
    if not networks or not piece.who.everyone or not all(disjoint(item.cidr, cidr) for item in networks for cidr in own):
        return {}
    return {"fromCIDRSet": [{"cidr": item.cidr, **({"except": list(item.excluded)} if item.excluded else {})} for item in networks]}


def _named(who: Identities) -> bool:
    return (
        who.include is not None
        and not who.exclude
        and all(isinstance(item, Identity) and item != EVERYONE and item.namespace is not None for item in who.include)
    )
