"""NetworkPolicies of Kubernetes beside the policies that are written (docs.cilium.io, network/kubernetes/policy).

Beside a mesh a request has to pass the network's policies and the mesh's. Under Cilium both are the network's, and what either lets in is let in. So where
both hold for the same pods, what both let in is written as one, and the NetworkPolicy goes on closing them and lets nothing in by itself.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.cilium.outward import alone
from meshport.dialects.cilium.peers import NAMESPACE, NAMESPACE_LABEL
from meshport.dialects.cilium.writing import KIND
from meshport.dialects.output import Obj, Output
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import PodSet, Ref, Requirement, Selector, Src
from meshport.ir.model import IR
from meshport.ir.world import Workload, World

Rule = dict[str, Any]
LAST = 65535


@dataclass(slots=True)
class Beside:
    """A NetworkPolicy that closes ingress, and the workloads that it selects."""

    number: int
    ref: Ref
    spec: dict[str, Any]
    src: Src
    pods: list[Workload] = field(default_factory=list)


def lower(ir: IR, out: Output) -> None:
    """Narrow the written policies to what the NetworkPolicies for the same pods let in as well."""
    found = list(_policies(ir.world, out))
    ports = frozenset(port for obj in out.objects.values() if found and obj.kind == KIND for port in _written(obj)) | _asked(found)
    met: dict[int, dict[int, Workload]] = {}  # by NetworkPolicy, the workloads that written policies close too
    names: dict[int, dict[str, None]] = {}
    cut: dict[int, Workload] = {}
    for obj in out.in_order() if found else ():
        if obj.kind != KIND or obj.changed is not None or not obj.value["spec"].get("ingress"):
            continue
        pods = ir.world.selected(PodSet(obj.ref.namespace, _selector(obj.value["spec"]["endpointSelector"])))
        classes: dict[tuple[int, ...], list[Workload]] = {}
        for one in pods:
            if not one.host_network:
                classes.setdefault(tuple(item.number for item in found if one in item.pods), []).append(one)
        for numbers, members in classes.items():
            beside = [item for item in found if item.number in numbers]
            if not beside:
                continue
            _narrow(obj, beside, members)
            cut |= {id(one): one for key, others in classes.items() if key != numbers for one in others}
            for item in beside:
                met.setdefault(item.number, {}).update((id(one), one) for one in members)
                names.setdefault(item.number, {})[str(obj.ref)] = None
    for item in found:
        if item.number in met:
            _closed(out, item, list(met[item.number].values()), ir.world, cut)
            _tell(out, item, met[item.number].values(), names[item.number], ports)
    if cut:
        _cut(out, found[0].number, cut.values(), ports)


def _policies(world: World, out: Output) -> Iterable[Beside]:
    for number, document in enumerate(out.bundle.documents):
        if (document.group, document.kind) != ("networking.k8s.io", "NetworkPolicy") or number in out.outside:
            continue
        from meshport.dialects.cilium.network_policy_spec import refused

        spec = document.value.get("spec") or {}
        if (what := refused(spec)) is not None:
            out.finding(
                "MP015", frozenset(out.bundle.leaves_of(document)), document=number, object=f"NetworkPolicy {document.namespace or 'default'}/{document.name}", what=what,
            )  # fmt: skip
            continue
        types = spec.get("policyTypes")
        if types and "Ingress" not in types:
            continue
        selector = _selector(spec.get("podSelector") or {})
        pods = [one for one in world.selected(PodSet(document.namespace or "default", selector)) if not one.host_network]
        yield Beside(number, Ref(document.namespace or "default", document.name), spec, frozenset(out.bundle.leaves_of(document)), pods)


def _selector(value: dict[str, Any]) -> Selector:
    more = [Requirement(item["key"], item["operator"], tuple(item.get("values") or ())) for item in value.get("matchExpressions") or ()]
    return Selector.of(value.get("matchLabels") or {}, more)


# -- what both let in


def _narrow(obj: Obj, beside: list[Beside], members: list[Workload]) -> None:
    src = frozenset().union(
        *(item.src for item in beside), *(leaves for path, leaves in obj.sources.items() if path[:2] == ("spec", "ingress"))
    )
    rules = [
        made
        for rule in obj.value["spec"]["ingress"]
        for item in beside
        for entry in item.spec.get("ingress") or ()
        for made in _both(rule, entry, item.ref.namespace, members)
    ]
    for path in [path for path in obj.sources if path[:2] == ("spec", "ingress")]:
        del obj.sources[path]
    obj.value["spec"]["ingress"] = []
    unlike = [rule for position, rule in enumerate(rules) if rule not in rules[:position]]
    for position, rule in enumerate(unlike or [{}]):
        obj.set(("spec", "ingress", position), rule, src)
    for item in beside:
        obj.add_origin(item.number)
        obj.note(f"within NetworkPolicy {item.ref}")


def _both(rule: Rule, entry: Rule, home: str, members: list[Workload]) -> list[Rule]:
    """What a written rule and an entry of a NetworkPolicy let in both."""
    if not rule:
        return []
    rest = _ports(rule, entry.get("ports") or [], members)
    if rest is None:
        return []
    peers = entry.get("from") or []
    if not peers:
        return [{**{key: item for key, item in rule.items() if key not in ("toPorts", "icmps")}, **rest} or {"fromEntities": ["all"]}]
    return [{**who, **copy.deepcopy(rest)} for peer in peers for who in _peers(rule, peer, home)]


def _peers(rule: Rule, peer: Rule, home: str) -> list[Rule]:
    block = peer.get("ipBlock")
    own = None if block else _endpoints(peer, home)
    outside = {"fromCIDRSet": [{"cidr": block["cidr"], **({"except": block["except"]} if block.get("except") else {})}]} if block else {}
    if "fromEndpoints" in rule:
        joined = [both for one in rule["fromEndpoints"] if own is not None and (both := _joined(one, own)) is not None]
        return [{"fromEndpoints": joined}] if joined else []
    if "fromCIDRSet" in rule:
        inner = [both for one in rule["fromCIDRSet"] if block and (both := _inner(one, outside["fromCIDRSet"][0])) is not None]
        return [{"fromCIDRSet": inner}] if inner else []
    entities = rule.get("fromEntities", ["all"])
    if block:
        return [outside] if {"all", "world"} & set(entities) else []
    return [{"fromEndpoints": [own]}] if {"all", "cluster"} & set(entities) else []


def _endpoints(peer: Rule, home: str) -> Rule:
    """A peer of a NetworkPolicy by labels, as Cilium translates it (pkg/k8s/network_policy.go)."""
    labels: dict[str, str] = {}
    more: list[Rule] = []
    spaces = peer.get("namespaceSelector")
    for prefix, selector in ((f"k8s:{NAMESPACE_LABEL}", spaces or {}), ("k8s:", peer.get("podSelector") or {})):
        labels |= {prefix + key: value for key, value in (selector.get("matchLabels") or {}).items()}
        more += [{**item, "key": prefix + item["key"]} for item in selector.get("matchExpressions") or ()]
    if spaces is None:
        labels[f"k8s:{NAMESPACE}"] = home
    else:
        more.append({"key": f"k8s:{NAMESPACE}", "operator": "Exists"})
    return {**({"matchLabels": labels} if labels else {}), **({"matchExpressions": more} if more else {})}


def _joined(one: Rule, other: Rule) -> Rule | None:
    """The endpoints that two selectors take both; None where a label would need two values."""
    labels = dict(one.get("matchLabels") or {})
    for key, value in (other.get("matchLabels") or {}).items():
        if labels.setdefault(key, value) != value:
            return None
    more = [*(one.get("matchExpressions") or ())]
    more += [item for item in other.get("matchExpressions") or () if item not in more]
    if f"k8s:{NAMESPACE}" in labels:
        more = [item for item in more if (item["key"], item["operator"]) != (f"k8s:{NAMESPACE}", "Exists")]
    return {**({"matchLabels": labels} if labels else {}), **({"matchExpressions": more} if more else {})}


def _inner(one: Rule, other: Rule) -> Rule | None:
    """The addresses of two networks both; None where there are none."""
    mine, its = (ipaddress.ip_network(item["cidr"], strict=False) for item in (one, other))
    if mine.version != its.version or not mine.overlaps(its):
        return None
    inner = mine if mine.prefixlen >= its.prefixlen else its
    excluded = dict.fromkeys([*(one.get("except") or ()), *(other.get("except") or ())])
    nets = [(text, ipaddress.ip_network(text, strict=False)) for text in excluded]
    if any(net.prefixlen <= inner.prefixlen and net.overlaps(inner) for _, net in nets):
        return None
    kept = [text for text, net in nets if net.overlaps(inner)]
    return {"cidr": str(inner), **({"except": kept} if kept else {})}


def _ports(rule: Rule, wanted: list[Rule], members: list[Workload]) -> Rule | None:
    """The ports of a rule that a NetworkPolicy lets in too; None where there are none, {} for every port."""
    if not wanted:
        return {key: copy.deepcopy(rule[key]) for key in ("toPorts", "icmps") if key in rule}
    if "icmps" in rule:
        return None
    theirs = [item for port in wanted for item in _numbers(port, members)]
    entries = rule.get("toPorts") or [{"ports": [{"port": "0", "protocol": "ANY"}]}]
    made = []
    for entry in entries:
        ports = [both for port in entry["ports"] for item in theirs if (both := _common(port, item, members)) is not None]
        ports += [port for port in entry["ports"] if any(_same_name(port, item) for item in wanted) and not _numbers(port, members)]
        if ports:
            made.append({**copy.deepcopy(entry), "ports": [item for position, item in enumerate(ports) if item not in ports[:position]]})
    return {"toPorts": made} if made else None


def _numbers(port: Rule, members: list[Workload]) -> list[tuple[int, int, str]]:
    """A port of a NetworkPolicy as a range with its protocol; a name that is not the same number in all the pods is none."""
    protocol, value = port.get("protocol") or "TCP", port.get("port")
    if value is None:
        return [(1, LAST, protocol)]
    if isinstance(value, str) and not value.isdigit():
        known = {item.number if (item := one.port_named(value)) is not None and item.protocol == protocol else None for one in members}
        number = known.pop() if len(known) == 1 else None
        return [(number, number, protocol)] if number is not None else []
    return [(int(value), port.get("endPort") or int(value), protocol)]


def _same_name(port: Rule, wanted: Rule) -> bool:
    return (
        not port["port"].isdigit()
        and port["port"] == wanted.get("port")
        and port.get("protocol", "ANY") in ("ANY", wanted.get("protocol") or "TCP")
    )


def _common(port: Rule, other: tuple[int, int, str], members: list[Workload]) -> Rule | None:
    low, high, protocol = other
    if port.get("protocol", "ANY") not in ("ANY", protocol):
        return None
    known = (
        [(int(port["port"]), port.get("endPort"))]
        if port["port"].isdigit()
        else [item[:2] for item in _numbers({**port, "protocol": protocol}, members)]
    )
    if not known:
        return {**port, "protocol": protocol} if (low, high) == (1, LAST) else None
    first, end = known[0]
    last = LAST if first == 0 else end or first
    low, high = max(low, first, 1), min(high, last)
    if low > high:
        return None
    if (low, high) == (1, LAST):
        return {"port": "0", "protocol": protocol}
    return {"port": str(low), **({"endPort": high} if high > low else {}), "protocol": protocol}


# -- what becomes of the NetworkPolicy


def _closed(out: Output, item: Beside, met: list[Workload], world: World, cut: dict[int, Workload]) -> None:
    """It lets nothing in by itself any more, but for pods that no written policy closes: for those it is written once more."""
    rest = [one for one in item.pods if one not in met]
    obj = out.change(item.number)
    obj.set(("spec", "ingress"), [], item.src)
    obj.note("closes; what it let in is in the policies for these pods")
    for one in rest:
        chosen = alone(one, met)
        if chosen is None:
            cut[id(one)] = one
            continue
        name = out.free("networking.k8s.io/v1", "NetworkPolicy", item.ref.namespace, f"{item.ref.name}-{one.ref.name}")
        apart = out.object("networking.k8s.io/v1", "NetworkPolicy", Ref(item.ref.namespace, name), owner=item.number, because=item.src)
        apart.set(("spec", "podSelector"), {"matchLabels": dict(sorted(one.labels.items()))}, item.src)
        apart.set(("spec", "policyTypes"), ["Ingress"], item.src)
        apart.set(("spec", "ingress"), copy.deepcopy(item.spec.get("ingress") or []), item.src)


def _places(pods: Iterable[Workload]) -> tuple[Affected, ...]:
    return tuple(Affected(ref.namespace, ref.name) for ref in sorted({one.ref for one in pods}))


def _subjects(pods: Iterable[Workload], ports: Iterable[int]) -> frozenset[tuple[str, str]]:
    return frozenset((access_subject(one.ref, port), "*") for one in pods for port in (*ports, *(item.number for item in one.ports), None))


def _written(obj: Obj) -> Iterable[int]:
    for rule in obj.value["spec"].get("ingress") or ():
        for entry in rule.get("toPorts") or ():
            for port in entry["ports"]:
                if port["port"].isdigit():
                    yield from (int(port["port"]), port.get("endPort", 0))


def _asked(found: Iterable[Beside]) -> frozenset[int]:
    """The ports that the NetworkPolicies name by number, or by a name of a pod's."""
    entries = [(port, item.pods) for item in found for entry in item.spec.get("ingress") or () for port in entry.get("ports") or ()]
    return frozenset(end for port, pods in entries for one in pods for low, high, _ in _numbers(port, [one]) for end in (low, high))


def _tell(out: Output, item: Beside, pods: Iterable[Workload], names: Iterable[str], ports: Iterable[int]) -> None:
    members = list(pods)
    out.finding(
        "MP177", document=item.number, affects=_places(members), explains=_subjects(members, ports), feature="l4.ingress-default-deny", policy=str(item.ref),
        written=", ".join(names), workloads=", ".join(str(ref) for ref in sorted({one.ref for one in members})),
    )  # fmt: skip


def _cut(out: Output, number: int, pods: Iterable[Workload], ports: Iterable[int]) -> None:
    members = list(pods)
    out.finding(
        "MP178", document=number, affects=_places(members), explains=_subjects(members, ports), feature="l4.ingress-default-deny",
        workloads=", ".join(str(ref) for ref in sorted({one.ref for one in members})),
    )  # fmt: skip
