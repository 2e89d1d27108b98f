"""NetworkPolicies of Kubernetes in a cluster of Cilium (pkg/k8s/network_policy.go): Cilium enforces them beside its own policies, and the allows of both add up.

They are of no mesh and stay as they are. Where only they select pods the mesh says nothing, and they hold beside it as before. Where policies of Cilium let
something in to the same pods, the mesh is told what they let in as well: else it would refuse what they alone let in, and what stays of Cilium's policies, whose
HTTP rules the mesh takes over, would let in more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium import network_policy_spec
from meshport.dialects.cilium.beside import numbered, peer_of, selector_of
from meshport.dialects.cilium.kept import mesh_port
from meshport.dialects.cilium.peers import Alternative, Peers
from meshport.effective.networks import normal_cidr
from meshport.ir.authorization import PORT, Condition, Network, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

_EVERY_PORT = (0, 65535)


def lift(bound: Bound, peers: Peers, options: Options, ir: IR) -> None:
    """What NetworkPolicies add to the policies of Cilium that were lifted before, and a finding about each of them."""
    found = [
        number
        for number, document in enumerate(bound.bundle.documents)
        if (document.group, document.kind) == ("networking.k8s.io", "NetworkPolicy")
    ]
    if not found:
        return
    own: dict[Ref, list[Policy]] = {}  # the allows of Cilium by the workloads that they select
    for policy in ir.policies:
        if policy.action.value == "allow":
            for one in ir.world.selected(policy.subject.value):
                own.setdefault(one.ref, []).append(policy)
    for number in found:
        document = bound.bundle.documents[number]
        home = document.namespace or options.default_namespace
        _object(number, Ref(home, document.name), document.value.get("spec") or {}, own, peers, options, ir)


def _object(number: int, ref: Ref, spec: Any, own: dict[Ref, list[Policy]], peers: Peers, options: Options, ir: IR) -> None:
    if (what := network_policy_spec.refused(spec)) is not None:
        ir.losses.append(Loss("MP015", (), number, {"what": what}))
        return
    subject = PodSet(ref.namespace, selector_of(spec.get("podSelector") or {}))
    refs = {one.ref for one in ir.world.selected(subject) if not one.host_network}
    inward = "Ingress" in (spec.get("policyTypes") or ["Ingress"])
    shared = {one for one in refs if one in own} if inward else set()
    told = bool(shared) and options.keep_network_policy is not False
    if told:
        rules = tuple(rule for place, entry in enumerate(spec.get("ingress") or ()) for rule in _rules(place, entry, ref.namespace, peers))
        made = Policy(Fact(ref), Fact("allow"), Fact(subject), rules, number, "NetworkPolicy", closing=False)
        ir.policies.append(made)
        left_open = [own[one] for one in sorted(shared) if not any(policy.closing for policy in own[one])]
        subjects = dict.fromkeys(policy.subject.value for policies in left_open for policy in policies)
        ir.policies += [replace(made, subject=Fact(_both(subject, pods)), closing=True) for pods in subjects]  # which this one closes
    ir.losses.append(_about("MP199" if told else "MP122" if shared else "MP184", number, shared or refs))
    port = mesh_port(options)
    if port is not None and refs and any(_shuts(spec.get(key) or (), port) for key in ("ingress", "egress")):
        ir.losses.append(_about("MP185", number, refs, port=str(port)))


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


def _shuts(entries: Iterable[dict[str, Any]], number: int) -> bool:
    """Whether entries of a NetworkPolicy let pods through on TCP ports other than DNS's, and none of them on this one."""
    anything: dict[str, Any] = {}
    inside = [entry for entry in entries if any("ipBlock" not in peer for peer in entry.get("from") or entry.get("to") or (anything,))]
    tcp = [[item for item in entry.get("ports") or (anything,) if (item.get("protocol") or "TCP") == "TCP"] for entry in inside]
    return any(item.get("port") != 53 for ports in tcp for item in ports) and not any(
        _carries(item, number) for ports in tcp for item in ports
    )


def _about(code: str, number: int, refs: set[Ref], **values: str) -> Loss:
    return Loss(
        code,
        (),
        number,
        {"workloads": ", ".join(map(str, sorted(refs))) or "pods that the bundle does not show", **values},
        tuple(sorted(refs)),
    )


def _carries(port: dict[str, Any], number: int) -> bool:
    """Whether a port of a NetworkPolicy, a range or all of them hold another."""
    value = port.get("port")
    return value is None or (isinstance(value, int) and value <= number <= (port.get("endPort") or value))
