"""NetworkPolicies of Kubernetes in a cluster of Cilium (pkg/k8s/network_policy.go): Cilium enforces them beside its own policies, and the allows of both add up.

They are of no mesh and stay in force. Where only they select pods the mesh says nothing, and they hold beside it as before. Where policies of Cilium let
something in to the same pods, the mesh is told what they let in as well: else it would refuse what they alone let in, and what stays of Cilium's policies, whose
HTTP rules the mesh takes over, would let in more. So it is told where its proxies take every connection on one port: the network lets that one through beside
those that they name (`carried_ports.py`), and sees no more which one is meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium import network_policy_spec
from meshport.dialects.cilium.beside import numbered, peer_of, selector_of, taken
from meshport.dialects.cilium.kept import BEYOND, UNSEEN, mesh_port
from meshport.dialects.cilium.peers import Alternative, Peers
from meshport.effective.networks import normal_cidr
from meshport.ir.authorization import PORT, Condition, Network, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

_EVERY_PORT = (0, 65535)


@dataclass(slots=True)
class _Standing:
    """A NetworkPolicy, and the pods that it selects and closes."""

    number: int
    ref: Ref
    spec: dict[str, Any]
    subject: PodSet
    pods: set[Ref]

    @property
    def inward(self) -> bool:
        return "Ingress" in (self.spec.get("policyTypes") or ["Ingress"])


def lift(bound: Bound, peers: Peers, options: Options, ir: IR, *, enforced: bool = True) -> None:
    """What NetworkPolicies add to the policies of Cilium that were lifted before, and a finding about each of them. `enforced`: whether Cilium holds any policy."""
    found = []
    for number, document in enumerate(bound.bundle.documents):
        if (document.group, document.kind) == ("networking.k8s.io", "NetworkPolicy"):
            ref, spec = Ref(document.namespace or options.default_namespace, document.name), document.value.get("spec") or {}
            if (what := network_policy_spec.refused(spec)) is not None:
                ir.losses.append(Loss("MP015", (), number, {"what": what}))
                continue
            subject = PodSet(ref.namespace, selector_of(spec.get("podSelector") or {}))
            pods = {one.ref for one in ir.world.selected(subject) if not one.host_network}
            found.append(_Standing(number, ref, spec, subject, pods))
    if not found:
        return
    own: dict[Ref, list[Policy]] = {}  # the allows of Cilium by the workloads that they select
    for policy in ir.policies:
        if policy.action.value == "allow":
            for one in ir.world.selected(policy.subject.value):
                own.setdefault(one.ref, []).append(policy)
    carried = _carried(found, own, options, ir) if enforced else set()
    for item in found:
        _policy(item, carried, own, peers, options, ir)


def _carried(found: list[_Standing], own: dict[Ref, list[Policy]], options: Options, ir: IR) -> set[int]:
    """The NetworkPolicies that the mesh says whole, closing their pods itself, for the port of its proxies hides from the network which port is meant: those
    that name ports for peers that may be in the mesh, and all others for the same pods. None of them where Cilium has policies for these that the mesh is
    not told."""
    if mesh_port(options) is None or options.keep_network_policy is False:
        return set()
    untold = {loss.document for loss in ir.losses if loss.code in (*UNSEEN, *BEYOND)}
    hidden = {ref for ref, policies in own.items() if any(policy.document in untold for policy in policies)}
    hidden |= {one.ref for one in ir.world.workloads if ir.world.meshed(one) is False}
    left = {item.number: item for item in found if item.inward and item.pods}
    selecting: dict[Ref, list[_Standing]] = {}
    for item in left.values():
        for ref in item.pods:
            selecting.setdefault(ref, []).append(item)
    carried: set[int] = set()
    while left:  # one set of policies after the other whose pods overlap
        together, pods = [left.pop(next(iter(left)))], set[Ref]()
        for item in together:
            fresh = item.pods - pods
            pods |= fresh
            together += [left.pop(other.number) for ref in sorted(fresh) for other in selecting[ref] if other.number in left]
        if pods.isdisjoint(hidden) and any(_names_ports(item, ir) for item in together):
            carried |= {item.number for item in together}
    return carried


def _names_ports(item: _Standing, ir: IR) -> bool:
    """Whether a NetworkPolicy lets peers that join the mesh in to TCP ports that it names. Of pods that the bundle does not show nobody knows whether they have
    a proxy, and without one they come in as before while the mesh says nothing."""
    return any(
        _ports(entry) and any(_joins(peer, item.ref.namespace, ir) for peer in entry.get("from") or (None,))
        for entry in item.spec.get("ingress") or ()
    )


def _joins(peer: dict[str, Any] | None, home: str, ir: IR) -> bool:
    if peer is None:
        return True
    kind, selector = peer_of(peer, home)
    return kind == "Endpoints" and any(ir.world.meshed(one) is not False and not one.host_network for one in taken(selector, ir.world))


def _policy(item: _Standing, carried: set[int], own: dict[Ref, list[Policy]], peers: Peers, options: Options, ir: IR) -> None:
    """What a NetworkPolicy lets in, where the mesh says it, and a finding about it."""
    shared = {one for one in item.pods if one in own} if item.inward else set()
    told = bool(shared) and options.keep_network_policy is not False
    if told or item.number in carried:
        home = item.ref.namespace
        rules = tuple(rule for place, entry in enumerate(item.spec.get("ingress") or ()) for rule in _rules(place, entry, home, peers))
        closing = item.number in carried
        made = Policy(Fact(item.ref), Fact("allow"), Fact(item.subject), rules, item.number, "NetworkPolicy", closing=closing)
        ir.policies.append(made)
        if not closing:
            left_open = [own[one] for one in sorted(shared) if not any(policy.closing for policy in own[one])]
            subjects = dict.fromkeys(policy.subject.value for policies in left_open for policy in policies)
            ir.policies += [replace(made, subject=Fact(_both(item.subject, pods)), closing=True) for pods in subjects]  # which it closes
    ir.losses.append(_about("MP199" if told else "MP122" if shared else "MP184", item.number, shared or item.pods))


def _both(one: PodSet, other: PodSet) -> PodSet:
    """The pods of two sets, the first of which is of one namespace."""
    wanted = (*one.selector.demands(), *other.selector.demands())
    return PodSet(one.namespace, Selector.of({}, wanted))


def _rules(place: int, entry: dict[str, Any], home: str, peers: Peers) -> list[Rule]:
    """What an entry lets in on TCP: without peers everybody, without ports on every one."""
    ports = _ports(entry)
    if ports == []:
        return []
    on = () if ports is None else (Condition(PORT, tuple(map(Fact, ports))),)
    listed = entry.get("from") or ()
    who: list[Alternative] = [one for peer in listed for one in _peer(peer, home, peers)] if listed else [()]
    return [Rule((*conditions, *on), (), place) for conditions in who]


def _ports(entry: dict[str, Any]) -> list[Any] | None:
    """The TCP ports of an entry, as ranges or as names of container ports; None for every port."""
    listed = numbered(entry)
    found: list[Any] = []
    for item in listed:
        if item["protocol"] != "TCP":
            continue
        if not is_number(item["port"]):
            found.append(item["port"].lower())
            continue
        low = int(item["port"])
        found.append(_EVERY_PORT if low == 0 else (low, item.get("endPort") or low))
    return None if not listed or _EVERY_PORT in found else found


def _peer(peer: dict[str, Any], home: str, peers: Peers) -> list[Alternative]:
    kind, item = peer_of(peer, home)
    if kind == "Endpoints":
        return peers.of_labels(selector_of(item), home)
    excluded = tuple(sorted(map(normal_cidr, item.get("except") or ())))
    return peers.addresses([Fact(Network(normal_cidr(item["cidr"]), excluded))])


def _about(code: str, number: int, refs: set[Ref], **values: str) -> Loss:
    return Loss(
        code,
        (),
        number,
        {"workloads": ", ".join(map(str, sorted(refs))) or "pods that the bundle does not show", **values},
        tuple(sorted(refs)),
    )
