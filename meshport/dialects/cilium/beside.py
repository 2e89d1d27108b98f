"""Network policies that stand in the cluster beside a mesh, as Cilium reads them: its own, and those of Kubernetes (pkg/k8s/network_policy.go).

Every rule comes out with one kind of peer and with the namespaces that it means, so that it says the same wherever it stands.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.cilium import network_policy_spec
from meshport.dialects.cilium.peers import NAMESPACE, NAMESPACE_LABEL, Peers, matches, selected, take_apart
from meshport.dialects.cilium.refusals import refused
from meshport.dialects.output import Output, Path
from meshport.ir.base import NOWHERE, PodSet, Ref, Requirement, Selector, Src
from meshport.ir.world import Workload, World

KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
WAYS = {"ingress": "from", "egress": "to"}
PEERS = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "FQDNs", "Services")
Rule = dict[str, Any]


@dataclass(slots=True)
class Beside:
    """What a network policy says of one direction, and the workloads that it selects. A clusterwide one is of no namespace."""

    number: int
    ref: Ref
    kind: str
    base: Path  # where its rules stand: `spec`, or one of `specs`
    direction: str
    closing: bool  # whether what no rule lets through is refused
    rules: list[Rule]
    standing: list[Rule]  # rules that let nobody through, and hold for those of other policies
    ports: list[Rule]  # that it names, in what it denies too
    src: Src
    pods: list[Workload] = field(default_factory=list)
    denies: list[Rule] = field(default_factory=list)

    @property
    def clusterwide(self) -> bool:
        return self.kind == KINDS[1]

    def __str__(self) -> str:
        return f"{self.kind} {self.ref.name if self.clusterwide else self.ref}"


def standing(world: World, out: Output, *, told: bool = True) -> list[Beside]:
    """Every direction of every network policy of the bundle that says something of it. `told`: of one that no cluster takes a finding says so."""
    groups = {one.name: one.value for one in out.bundle.documents if (one.group, one.kind) == ("cilium.io", "CiliumCIDRGroup")}
    found: list[Beside] = []
    for number, document in enumerate(out.bundle.documents):
        if number in out.void:
            continue
        try:
            if (document.group, document.kind) == ("networking.k8s.io", "NetworkPolicy"):
                found += list(_kubernetes(number, world, out, told))
            elif document.group == "cilium.io" and document.kind in KINDS:
                found += list(_cilium(number, world, out, groups, told))
        except (AttributeError, KeyError, TypeError, ValueError):  # plain values are read here, of whatever type they are
            if told:
                src = frozenset(out.bundle.leaves_of(document))
                name = str(Ref(document.namespace or "", document.name)).removeprefix("/")
                what = "a value is of another type than its field"
                out.finding("MP015", src, document=number, object=f"{document.kind} {name}", what=what)
    return found


def _kubernetes(number: int, world: World, out: Output, told: bool) -> Iterator[Beside]:
    document = out.bundle.documents[number]
    ref, src = Ref(document.namespace or "default", document.name), frozenset(out.bundle.leaves_of(document))
    spec = document.value.get("spec") or {}
    if (what := network_policy_spec.refused(spec)) is not None:
        if told:
            out.finding("MP015", src, document=number, object=f"NetworkPolicy {ref}", what=what)
        return
    pods = [one for one in world.selected(PodSet(ref.namespace, selector_of(spec.get("podSelector") or {}))) if not one.host_network]
    types = spec.get("policyTypes") or ("Ingress", *(("Egress",) if spec.get("egress") else ()))
    for direction, way in WAYS.items():
        if direction.capitalize() in types:
            rules = [made for entry in spec.get(direction) or () for made in _translated(entry, way, ref.namespace)]
            yield Beside(number, ref, document.kind, ("spec",), direction, True, rules, [], _ports(rules), src, pods)


def _translated(entry: Rule, way: str, home: str) -> Iterator[Rule]:
    """An entry of a NetworkPolicy as rules of Cilium: each peer is one; without peers it is for everybody, without ports for every one."""
    ports = numbered(entry)
    on: Rule = {"toPorts": [{"ports": ports}]} if ports else {}
    for peer in entry.get(way) or ():
        kind, item = peer_of(peer, home)
        yield {way + kind: [item], **copy.deepcopy(on)}
    if not entry.get(way):
        yield on or {f"{way}Entities": ["all"]}


def numbered(entry: Rule) -> list[Rule]:
    """The ports of an entry of a NetworkPolicy, as Cilium writes them: "0" for every one of a protocol."""
    return [
        {"port": str(item.get("port") or 0), **({"endPort": item["endPort"]} if item.get("endPort") else {}), "protocol": item.get("protocol") or "TCP"}
        for item in entry.get("ports") or ()
    ]  # fmt: skip


def peer_of(peer: Rule, home: str) -> tuple[str, Rule]:
    """A peer of a NetworkPolicy in `home`, as Cilium writes it: the kind, one of `PEERS`, and what stands there."""
    if block := peer.get("ipBlock"):
        return "CIDRSet", {"cidr": block["cidr"], **({"except": block["except"]} if block.get("except") else {})}
    return "Endpoints", _endpoints(peer, home)


def _endpoints(peer: Rule, home: str) -> Rule:
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


def _cilium(number: int, world: World, out: Output, groups: dict[str, Any], told: bool) -> Iterator[Beside]:
    document = out.bundle.documents[number]
    clusterwide = document.kind == KINDS[1]
    home = None if clusterwide else document.namespace or "default"
    src = frozenset(out.bundle.leaves_of(document))
    places: list[tuple[Path, Any]] = [(("spec",), document.value.get("spec"))] if document.value.get("spec") else []
    places += [(("specs", place), spec) for place, spec in enumerate(_list(document.value.get("specs")))]
    reasons = [reason.what for _, spec in places if (reason := refused(spec, clusterwide=clusterwide)) is not None]
    if reasons or not places:  # it never stood in a cluster
        what = reasons[0] if reasons else "it has neither spec nor specs"
        if told:
            out.finding("MP015", src, document=number, object=f"{document.kind} {Ref(home or '', document.name)}", what=what)
        return
    for base, spec in places:
        if "nodeSelector" in spec:
            continue
        pods = _subjects(spec.get("endpointSelector") or {}, home, world)
        for direction, way in WAYS.items():
            entries, denies = _list(spec.get(direction)), _list(spec.get(direction + "Deny"))
            if entries or denies:
                closing = (spec.get("enableDefaultDeny") or {}).get(direction) is not False
                rules = [made for entry in entries for made in explicit(entry, way, home, groups)]
                asking = [{f"{way}Requires": entry[f"{way}Requires"]} for entry in entries if entry.get(f"{way}Requires")]
                ports = _ports([*entries, *denies])
                yield Beside(
                    number,
                    Ref(home or "", document.name),
                    document.kind,
                    base,
                    direction,
                    closing,
                    rules,
                    asking,
                    ports,
                    src,
                    pods,
                    [made for entry in denies for made in explicit(entry, way, home, groups)],
                )


def _ports(rules: Iterable[Rule]) -> list[Rule]:
    return [port for rule in rules for entry in rule.get("toPorts") or () for port in entry.get("ports") or ()]


def _list(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _subjects(selector: Rule, home: str | None, world: World) -> list[Workload]:
    chosen = take_apart(selector_of(selector))
    if chosen.reserved or chosen.foreign:
        return []
    spaces = [home] if home is not None else Peers(world).namespaces(chosen, None)
    among = world.workloads if spaces is None else [one for space in spaces for one in world.of_namespace(space)]
    return [one for one in among if not one.host_network and matches(chosen, one)]


def explicit(entry: Rule, way: str, home: str | None, groups: dict[str, Any]) -> Iterator[Rule]:
    """A rule of Cilium as rules with one kind of peer each, and with the namespace that is meant where none is named. One that requires something of peers
    lets nobody through by itself."""
    if entry.get(f"{way}Requires"):
        return
    rest = {key: value for key, value in entry.items() if key not in {way + word for word in PEERS}}
    said = [word for word in PEERS if isinstance(entry.get(way + word), list)]
    if not said and (rest.get("toPorts") or rest.get("icmps")):
        yield copy.deepcopy(rest)
    for word in said:
        items = [made for item in entry[way + word] for made in _alike(item, word, home, groups)]
        if items:
            yield {way + ("CIDRSet" if word == "CIDR" else word): items, **copy.deepcopy(rest)}


def _alike(item: Any, word: str, home: str | None, groups: dict[str, Any]) -> list[Any]:
    if word == "CIDR":
        return [{"cidr": item}]
    if word == "CIDRSet" and item.get("cidrGroupRef") in groups:
        listed = (groups[item["cidrGroupRef"]].get("spec") or {}).get("externalCIDRs")
        return [{"cidr": one} for one in listed or () if isinstance(one, str)]
    if word == "Services" and home is not None and "k8sService" in item:
        return [{**item, "k8sService": {"namespace": home, **item["k8sService"]}}]
    if word != "Endpoints":
        return [copy.deepcopy(item)]
    chosen = take_apart(selector_of(item))
    if chosen.names_namespace or chosen.reserved:
        return [copy.deepcopy(item)]
    if home is not None:
        return [{**copy.deepcopy(item), "matchLabels": {**(item.get("matchLabels") or {}), f"k8s:{NAMESPACE}": home}}]
    anywhere = {"key": f"k8s:{NAMESPACE}", "operator": "Exists"}
    return [{**copy.deepcopy(item), "matchExpressions": [*(item.get("matchExpressions") or ()), anywhere]}]


def selector_of(value: Rule) -> Selector:
    more = [Requirement(item["key"], item["operator"], tuple(item.get("values") or ())) for item in value.get("matchExpressions") or ()]
    return Selector.of(value.get("matchLabels") or {}, more)


def taken(selector: Rule, world: World) -> list[Workload]:
    """The workloads whose pods a peer by labels takes, where its namespaces are named."""
    chosen = take_apart(selector_of(selector))
    if chosen.reserved or chosen.foreign:
        return []
    return selected(chosen, Peers(world).namespaces(chosen, None), world)


def sources_of(found: Iterable[Beside]) -> Src:
    return frozenset().union(NOWHERE, *(item.src for item in found))
