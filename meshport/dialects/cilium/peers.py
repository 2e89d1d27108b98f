"""Whom a Cilium rule lets in: label selectors, entities and addresses as peers of the IR (docs.cilium.io, security/policy/layer3).

Cilium knows a pod by its labels, among them its namespace and service account; the other meshes know service accounts alone. So labels are resolved to
the accounts of the bundle's workloads, where exactly the pods with these labels run under them; elsewhere the labels stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.effective.networks import disjoint, normal_cidr
from meshport.ir.authorization import ACCOUNT_LABEL, IDENTITY, OTHER, SOURCE_IP, Condition, Entity, Labelled, Network, Pattern
from meshport.ir.base import NOWHERE, Fact, PodSet, Requirement, Selector, Src
from meshport.ir.world import Workload, World
from meshport.values.identities import EVERYONE, Identity

NAMESPACE = "io.kubernetes.pod.namespace"
ACCOUNT = ACCOUNT_LABEL
CLUSTER = "io.cilium.k8s.policy.cluster"
NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels."
NAME_OF_NAMESPACE = "kubernetes.io/metadata.name"
ENTITIES = (
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
    "cluster-mesh",
)
PEERS = ("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "fromNodes", "fromGroups")
WORLD = Entity("world")

Alternative = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A label selector taken apart: demands on the namespace, on its labels, on the service account, on the cluster, and on the pod's own labels."""

    namespace: tuple[Requirement, ...] = ()
    namespace_labels: tuple[Requirement, ...] = ()
    account: tuple[Requirement, ...] = ()
    cluster: tuple[Requirement, ...] = ()
    pod: tuple[Requirement, ...] = ()
    reserved: tuple[str, ...] = ()
    foreign: bool = False  # names labels of a source that pods have none of

    @property
    def names_namespace(self) -> bool:
        return bool(self.namespace or self.namespace_labels)


def take_apart(selector: Selector) -> Chosen:
    """The demands of a selector by what they are about; keys lose the prefixes `k8s:` and `any:`."""
    found: dict[str, list[Requirement]] = {"namespace": [], "namespace_labels": [], "account": [], "cluster": [], "pod": []}
    reserved: list[str] = []
    foreign = False
    for item in selector.demands():
        source, colon, bare = item.key.partition(":")
        key = bare if colon and source in ("k8s", "any") else item.key
        if source == "reserved" and colon:
            reserved.append(bare)
            continue
        if colon and source not in ("k8s", "any"):
            foreign = True
            continue
        if key == NAMESPACE:
            found["namespace"].append(Requirement(key, item.operator, item.values))
        elif key == NAMESPACE_LABEL + NAME_OF_NAMESPACE:
            found["namespace"].append(Requirement(NAMESPACE, item.operator, item.values))
        elif key.startswith(NAMESPACE_LABEL):
            found["namespace_labels"].append(Requirement(key.removeprefix(NAMESPACE_LABEL), item.operator, item.values))
        elif key == ACCOUNT:
            found["account"].append(Requirement(key, item.operator, item.values))
        elif key == CLUSTER:
            found["cluster"].append(Requirement(key, item.operator, item.values))
        else:
            found["pod"].append(Requirement(key, item.operator, item.values))
    return Chosen(**{name: tuple(items) for name, items in found.items()}, reserved=tuple(reserved), foreign=foreign)


@dataclass(frozen=True, slots=True)
class Demand:
    """What another rule requires of peers by labels; `home` is the namespace of its object, None for a clusterwide one."""

    selector: Fact[Selector]
    home: str | None

    def bound_for(self, peers: Selector, home: str | None) -> str | None:
        """The namespace that peers of an object in `home` have to be in besides: a namespaced object's demand is for its own, where it names none."""
        if self.home is None or take_apart(self.selector.value).names_namespace:
            return None
        return self.home if self.home != home or take_apart(peers).names_namespace else None


def demanding(selector: Fact[Selector], home: str | None, demands: tuple[Demand, ...]) -> Fact[Selector]:
    """The selector of the peers that meet all demands too: so it is written where the demands are folded into the peers."""
    labels, more, src = dict(selector.value.labels), list(selector.value.expressions), selector.src
    for demand in demands:
        wanted = demand.selector.value
        if (namespace := demand.bound_for(selector.value, home)) is not None:
            more.append(Requirement(NAMESPACE, "In", (namespace,)))
        for key, value in wanted.labels:
            if labels.setdefault(key, value) != value:
                more.append(Requirement(key, "In", (value,)))
        more += wanted.expressions
        src |= demand.selector.src
    return Fact(Selector.of(labels, more), src, selector.feature) if demands else selector


@dataclass(slots=True)
class Peers:
    """Resolves the peers of one bundle's policies. `cluster` is the name of the local cluster."""

    world: World
    cluster_networks: tuple[str, ...] = ()
    cluster: str = "default"
    groups: dict[str, tuple[tuple[str, ...], Src]] = field(default_factory=dict)  # CiliumCIDRGroups by name
    empty_is_nobody: bool = True  # since 1.16; before, an empty list of peers was as good as none
    nodes: Fact[Any] | None = None  # what lets networks take nodes as well
    apart: bool = False  # whether another mesh is to come, in which some namespaces take no part
    _running: dict[str, Counter[str]] = field(default_factory=dict)  # how many workloads of a namespace run under an account

    # -- one rule

    def of_rule(self, rule: Cursor, home: str | None, demands: tuple[Demand, ...] = (), *, deny: bool = False) -> list[Alternative] | None:
        """The alternatives whom a rule admits, or denies; [()] for everyone, [] for nobody. None where the rule speaks of no peer at all.

        `home` is the namespace of a CiliumNetworkPolicy, None for a clusterwide one; `demands` is what its peers by labels have to meet besides.
        """
        said = [key for key in PEERS if isinstance(rule.at(key).value, list) and (rule.each(key) or self.empty_is_nobody)]
        if not said:
            return None
        found: list[Alternative] = []
        src = frozenset(leaf for key in said if not rule.each(key) for leaf in rule.at(key).src)
        for key in said:
            found += self._endpoints(rule, home, demands, deny) if key == "fromEndpoints" else getattr(self, _READERS[key])(rule, home)
        if src:
            found = [(Condition(IDENTITY, None, (), src), *item) for item in found]
        return found

    def _endpoints(self, rule: Cursor, home: str | None, demands: tuple[Demand, ...], deny: bool) -> list[Alternative]:
        facts: list[Fact[Any]] = []
        but: list[Alternative] = []
        for place in rule.each("fromEndpoints"):
            selector = demanding(place.selector(), home, demands)
            chosen = take_apart(selector.value)
            rest = self._unlike(chosen, home) if deny else None
            rest = self._rest(chosen, home) if rest is None else rest
            if rest is None:
                facts += [Fact(peer, selector.src | place.src, selector.feature) for peer in self.of_selector(selector.value, home)]
                continue
            some, none = (tuple(Fact(peer, selector.src | place.src, selector.feature) for peer in peers) for peers in rest)
            but.append((Condition(IDENTITY, some, none),))
        return [*([(Condition(IDENTITY, tuple(facts)),)] if facts else []), *but]

    def of_labels(self, selector: Selector, home: str | None) -> list[Alternative]:
        """The alternatives whom a selector takes that no policy of Cilium wrote; [] for nobody."""
        rest = self._rest(take_apart(selector), home)
        some, none = rest if rest is not None else (self.of_selector(selector, home), [])
        return [(Condition(IDENTITY, tuple(map(Fact, some)), tuple(map(Fact, none))),)] if some else []

    def _rest(self, chosen: Chosen, home: str | None) -> tuple[list[Identity], list[Identity]] | None:
        """The peers of a selector that takes all but some namespaces or accounts, and those that it does not take: pods that the bundle does not show are
        among them too. None for a selector that says otherwise whom it takes."""
        asked = (*chosen.namespace, *chosen.account)
        if chosen.reserved or chosen.foreign or chosen.pod or chosen.namespace_labels or not self._local(chosen):
            return None
        if any(item.operator == "DoesNotExist" for item in asked) or all(item.operator != "NotIn" for item in asked):
            return None
        spaces, accounts = _listed(chosen.namespace), _listed(chosen.account)
        if spaces is None and not chosen.names_namespace and home is not None:
            spaces = [home]
        if spaces is not None and accounts is not None:
            return None
        homes: list[str | None] = [None] if spaces is None else [*spaces]
        names: list[str | None] = [None] if accounts is None else [*accounts]
        some = [Identity(None, space, name) for space in homes for name in names]
        none = [] if spaces is not None else [Identity(None, name) for name in _barred(chosen.namespace)]
        if accounts is None:
            none += [Identity(None, space, name) for space in homes for name in _barred(chosen.account)]
        return ([item if item.namespace or item.service_account else EVERYONE for item in some], none) if none else None

    def _unlike(self, chosen: Chosen, home: str | None) -> tuple[list[Identity], list[Identity]] | None:
        """The same for a deny of pods that lack labels (`app NotIn [web]`): whoever the bundle does not show may lack them, and is denied too."""
        spaces = self.namespaces(chosen, home)
        if not chosen.pod or chosen.account or chosen.reserved or chosen.foreign or spaces is None or not self._local(chosen):
            return None
        if not all(item.accepts({}) for item in chosen.pod):
            return None
        none: list[Identity] = []
        for space in spaces:
            spared = {workload.account.value for workload in self._pods(space) if not matches(chosen, workload)}
            if spared & {workload.account.value for workload in self._pods(space) if matches(chosen, workload)}:
                return None
            none += [Identity(None, space, name) for name in sorted(spared)]
        return ([Identity(None, space) for space in spaces], none) if none else None

    def _entities(self, rule: Cursor, home: str | None) -> list[Alternative]:
        facts = rule.strings("fromEntities")
        for fact in facts:
            if fact.value == "all":
                return [(Condition(IDENTITY, None, (), fact.src),)]
        peers = tuple(
            fact.map(lambda name: Entity("cluster" if name == "cluster-mesh" else name)) for fact in facts if fact.value != "none"
        )
        nobody = frozenset(leaf for fact in facts if fact.value == "none" for leaf in fact.src)
        return [(Condition(IDENTITY, peers, (), nobody),)] if peers else []

    def _cidrs(self, rule: Cursor, home: str | None) -> list[Alternative]:
        return self.addresses([(fact.map(lambda text: Network(normal_cidr(text)))) for fact in rule.strings("fromCIDR")])

    def _cidr_sets(self, rule: Cursor, home: str | None) -> list[Alternative]:
        networks: list[Fact[Network]] = []
        unknown: list[Alternative] = []
        for place in rule.each("fromCIDRSet"):
            cidr, group = place.text("cidr"), place.text("cidrGroupRef")
            if cidr is not None:
                excluded = tuple(sorted(normal_cidr(fact.value) for fact in place.strings("except")))
                networks.append(Fact(Network(normal_cidr(cidr.value), excluded), place.src, cidr.feature))
            elif group is not None and group.value in self.groups:
                members, src = self.groups[group.value]
                networks += [Fact(Network(normal_cidr(member)), place.src | src, group.feature) for member in members]
            else:
                unknown.append(_unsayable("a CIDR group that the bundle does not hold", place))
        return [*self.addresses(networks), *unknown]

    def addresses(self, networks: list[Fact[Network]]) -> list[Alternative]:
        """Addresses outside the cluster: a CIDR never takes a pod, whatever address it has, and a node only where the installation says so. Where no pod has
        one it takes all it says."""
        outside = [
            fact for fact in networks if self.cluster_networks and all(disjoint(fact.value.cidr, own) for own in self.cluster_networks)
        ]
        inside = [fact for fact in networks if fact not in outside]
        found: list[Alternative] = []
        if outside:
            found.append((Condition(SOURCE_IP, tuple(outside)),))
        if inside:
            src = frozenset(leaf for fact in inside for leaf in fact.src)
            peers = [Fact(WORLD, src, inside[0].feature)]
            peers += [
                Fact(Entity(name), src | self.nodes.src, inside[0].feature) for name in ("host", "remote-node") if self.nodes is not None
            ]
            found.append((Condition(IDENTITY, tuple(peers)), Condition(SOURCE_IP, tuple(inside))))
        return found

    def _nodes(self, rule: Cursor, home: str | None) -> list[Alternative]:
        return [_unsayable("nodes by their labels", rule.at("fromNodes"))] if rule.each("fromNodes") else []

    def _groups(self, rule: Cursor, home: str | None) -> list[Alternative]:
        return [_unsayable("addresses of a cloud provider's groups", rule.at("fromGroups"))] if rule.each("fromGroups") else []

    # -- one selector

    def of_selector(self, selector: Selector, home: str | None) -> list[Any]:
        """The peers that a selector takes: identities, an entity, or labels; [] for nobody."""
        chosen = take_apart(selector)
        spaces = (
            self.namespaces(chosen, home) if self.apart and not chosen.reserved and not chosen.foreign and self._local(chosen) else None
        )
        outside = [space for space in spaces or () if not may_join(self.world, space)]
        if not outside:
            return self._of_selector(chosen, selector, home)
        own = Selector.of({}, (*chosen.pod, *chosen.account))
        inside = [space for space in spaces or () if space not in outside]
        named = replace(chosen, namespace=(Requirement(NAMESPACE, "In", tuple(inside)),), namespace_labels=())
        return [*(self._of_selector(named, selector, home) if inside else ()), *(Labelled(space, own, plain=True) for space in outside)]

    def _of_selector(self, chosen: Chosen, selector: Selector, home: str | None) -> list[Any]:
        if chosen.reserved:
            alone = len(chosen.reserved) == 1 and not (chosen.pod or chosen.account or chosen.names_namespace or chosen.foreign)
            return [Entity(chosen.reserved[0])] if alone and chosen.reserved[0] in ENTITIES else []
        if chosen.foreign or not self._local(chosen):
            return [] if chosen.foreign else [Labelled(home or "", selector)]
        accounts = _listed(chosen.account)
        spaces = self.namespaces(chosen, home)
        if spaces is None and not chosen.pod and accounts is not None:
            return [Identity(None, None, name) for name in accounts]
        if spaces is None and not chosen.pod and not chosen.account:
            return [EVERYONE]
        if not chosen.pod and accounts is not None:
            return [Identity(None, space, name) for space in spaces or () for name in accounts]
        if not chosen.pod and not chosen.account:
            return [Identity(None, space) for space in spaces or ()]
        return self._labelled(chosen, spaces)

    def namespaces(self, chosen: Chosen, home: str | None) -> list[str] | None:
        """The namespaces that a selector means; None for every namespace there is."""
        if not chosen.names_namespace:
            return [home] if home is not None else None
        listed = _listed(chosen.namespace)
        if listed is None and not chosen.namespace_labels and all(item.operator == "Exists" for item in chosen.namespace):
            return None
        found = []
        for name in sorted({*self.world.namespaces, *self.world.homes()}) if listed is None else listed:
            if not all(item.accepts({NAMESPACE: name}) for item in chosen.namespace):
                continue
            space = self.world.namespaces.get(name)
            labels = {NAME_OF_NAMESPACE: name, **(space.labels if space is not None else {})}
            if all(item.accepts(labels) for item in chosen.namespace_labels):
                found.append(name)
        return found

    def _local(self, chosen: Chosen) -> bool:
        return all(item.operator == "Exists" or item.accepts({CLUSTER: self.cluster}) for item in chosen.cluster)

    def _labelled(self, chosen: Chosen, spaces: list[str] | None) -> list[Any]:
        """Pods by their own labels, as the accounts that just these pods run under; else as labels."""
        found: list[Any] = []
        rest = Selector.of({}, (*chosen.pod, *chosen.account))
        # in namespaces that the bundle does not hold, nearly every pod lacks a label
        exact = spaces is not None or any(item.operator in ("In", "Exists") for item in (*chosen.pod, *chosen.account))
        for space in sorted(self.world.homes()) if spaces is None else spaces:
            if spaces is None and not self.taken(space, chosen):
                continue  # none of the pods that it shows is meant
            accounts = self._accounts(space, chosen)
            if accounts is None:
                named = {workload.account.value for workload in self.taken(space, chosen)}
                own = [Selector.of({ACCOUNT: name, **dict(rest.labels)}, rest.expressions) for name in sorted(named)]
                found += [Labelled(space, one) for one in own or [rest]]
            else:
                found += [Identity(None, space, name) for name in accounts]
        if spaces is None and (not exact or not found):
            return [Labelled("", rest)]
        return found

    def _accounts(self, namespace: str, chosen: Chosen) -> list[str] | None:
        """The accounts of the workloads that match, where no other workload of the namespace shares one; None where that is not so."""
        inside = Counter(workload.account.value for workload in self.taken(namespace, chosen))
        if namespace not in self._running:
            self._running[namespace] = Counter(workload.account.value for workload in self._pods(namespace))
        if not inside or any(self._running[namespace][name] != count for name, count in inside.items()):
            return None
        return sorted(inside)

    def taken(self, namespace: str, chosen: Chosen) -> list[Workload]:
        """The workloads of a namespace whose pods Cilium knows by their labels, and that meet what is asked of them."""
        return [workload for workload in selected(chosen, [namespace], self.world) if not workload.host_network]

    def _pods(self, namespace: str) -> list[Workload]:
        """The workloads whose pods Cilium knows by their labels: those of the host network it does not."""
        return [workload for workload in self.world.of_namespace(namespace) if not workload.host_network]


def may_join(world: World, namespace: str) -> bool:
    """Whether pods of a namespace can be in the mesh that comes: not in the cluster's own, nor in one of which the input shows that it takes none in."""
    known = world.namespaces.get(namespace)
    return namespace not in world.apart and (known is None or known.meshed is not None)


def matches(chosen: Chosen, workload: Workload) -> bool:
    """Whether the pods of a workload meet what is asked of their own labels and of their account."""
    return all(item.accepts(workload.labels) for item in chosen.pod) and all(
        item.accepts({ACCOUNT: workload.account.value}) for item in chosen.account
    )


def selected(chosen: Chosen, spaces: Iterable[str] | None, world: World) -> list[Workload]:
    """The workloads that meet what is asked of labels and account, in these namespaces or, for None, in all."""
    wanted = Selector.of({}, chosen.pod)
    pods = {id(one): one for space in ([""] if spaces is None else spaces) for one in world.selected(PodSet(space, wanted))}
    return sorted((one for one in pods.values() if matches(chosen, one)), key=lambda one: (one.ref, one.kind))


def _listed(demands: Iterable[Requirement]) -> list[str] | None:
    """The values that are left where something is demanded by name; None where it is not."""
    found: set[str] | None = None
    rest = []
    for item in demands:
        if item.operator == "In":
            found = set(item.values) if found is None else found & set(item.values)
        else:
            rest.append(item)
    if found is None:
        return None
    return sorted(value for value in found if all(item.accepts({item.key: value}) for item in rest))


def _barred(demands: Iterable[Requirement]) -> list[str]:
    """The values that `NotIn` takes out."""
    return sorted({value for item in demands if item.operator == "NotIn" for value in item.values})


def _unsayable(what: str, place: Cursor) -> Alternative:
    """A peer that only Cilium knows."""
    return (Condition(OTHER + "peer", (Fact(Pattern("exact", f"{what}: {place.value}"), place.src),), (), NOWHERE),)


_READERS = {
    "fromEndpoints": "_endpoints",
    "fromEntities": "_entities",
    "fromCIDR": "_cidrs",
    "fromCIDRSet": "_cidr_sets",
    "fromNodes": "_nodes",
    "fromGroups": "_groups",
}
