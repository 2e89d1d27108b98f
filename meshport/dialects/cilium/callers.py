"""Peers in the words of a CiliumNetworkPolicy: labels of pods for service accounts and namespaces, entities, CIDRs (docs.cilium.io, security/policy/layer3).

A label is no certificate. A caller that the source refuses because it is outside the mesh would get in by its account's name: peers are said only so far as
no known pod outside the mesh is among them, by labels of their pods where those tell them from such pods. A CIDR never matches a pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.subjects import NAMING
from meshport.effective.identities import CLUSTER, INGRESS, WORLD, glob_accepts, label
from meshport.effective.networks import disjoint
from meshport.effective.pieces import Piece
from meshport.ir.authorization import Entity
from meshport.ir.base import Ref
from meshport.ir.world import Workload, World
from meshport.values.identities import EVERYONE, Identity, IdentityGlob

NAMESPACE = "k8s:io.kubernetes.pod.namespace"
ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"
NO_PODS = ("world", "host", "remote-node", "kube-apiserver")  # entities that never carry a service account
BARE = (*NO_PODS, "ingress")  # those without labels of a pod, so that no exception for an account takes anything out of them


@dataclass(slots=True)
class Callers:
    """Who a rule admits. `anyone`: no peer is named. Each of the lists is a rule of its own: one kind of peer fits in one."""

    anyone: bool = False
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    entities: list[str] = field(default_factory=list)
    networks: list[dict[str, Any]] = field(default_factory=list)
    listed: str = ""  # what was said by naming the accounts that the bundle knows
    but: str = ""  # what was said as every pod but some, and as what is no pod
    inside: bool = False  # whether that is of the callers in the cluster alone: who of those outside is admitted, their addresses say
    beside: bool = False  # whether pods outside the mesh may have the labels of those
    meshed: bool = False  # whether "any mesh identity" was said by the namespaces that the bundle shows
    foreign: tuple[Any, ...] = ()  # identities of another trust domain
    gateways: tuple[Any, ...] = ()  # gateways of the source without one successor
    outside: tuple[
        tuple[Any, str, bool], ...
    ] = ()  # identities of a pod outside the mesh by name, that workload, and whether one inside has them too
    absent: tuple[Identity, ...] = ()  # accounts of namespaces outside the mesh, of which no pod is known to be in it
    on_host: tuple[tuple[Any, str], ...] = ()  # identities whose only pods run on the host's network, and that workload
    addresses: tuple[str, ...] = ()  # networks that pods may have addresses of, which never match a pod here, or that come with an identity

    @property
    def nobody(self) -> bool:
        return not (self.anyone or self.endpoints or self.entities or self.networks)

    @property
    def inexact(self) -> bool:
        """Whether some callers are said otherwise than they were named, or are left out."""
        return bool(self.listed or self.but or self.foreign or self.gateways or self.outside or self.absent or self.addresses)

    def kinds(self) -> list[tuple[str, list[Any]]]:
        """The members of a rule, one kind of peer each; ("", []) names none."""
        if self.anyone:
            return [("", [])]
        said = (("fromEndpoints", self.endpoints), ("fromEntities", self.entities), ("fromCIDRSet", self.networks))
        return [(key, list(value)) for key, value in said if value]


class Known:
    """What the bundle shows of callers: who is in the mesh by which account, and who is not."""

    def __init__(self, world: World, options: Options, gateways: frozenset[Ref], entries: bool) -> None:
        self.world = world
        self.options = options
        self.gateways = gateways  # the accounts that gateways run under, or usually do
        self.entries = entries  # whether the bundle has gateways at all
        self.outside: dict[Ref, str] = {}  # accounts that pods outside the mesh run under
        self.inside: set[Ref] = set()
        self.on_host: dict[Ref, str] = {}  # accounts that pods of the host's network run under
        self._labels: dict[
            Ref, list[dict[str, str]]
        ] = {}  # of pods inside, where an account is shared and they tell them from the pods outside
        for workload in world.workloads:
            account = Ref(workload.ref.namespace, workload.account.value)
            if world.meshed(workload) is not False:
                self.inside.add(account)
            elif workload.host_network:  # it has no labels that a rule could match
                self.on_host.setdefault(account, str(workload.ref))
            else:
                self.outside.setdefault(account, str(workload.ref))

    def namespaces(self) -> list[str]:
        """The namespaces with something in the mesh."""
        found = {ref.namespace for ref in self.inside}
        return sorted(found | {name for name, item in self.world.namespaces.items() if item.meshed is not None and item.meshed.value})

    def enrolled(self, namespace: str) -> bool:
        """Whether every pod of a namespace is in the mesh, so that its name alone is the mesh identity."""
        home = self.world.namespaces.get(namespace)
        if any(ref.namespace == namespace for ref in self.outside):
            return False
        return home is None or (home.meshed is not None and home.meshed.value)

    def enrols(self, namespace: str) -> bool:
        """Whether pods of a namespace are in the mesh where they say nothing else."""
        home = self.world.namespaces.get(namespace)
        return home is not None and home.meshed is not None and home.meshed.value

    def absent(self, ref: Ref) -> bool:
        """Whether an account is of a namespace outside the mesh, and no known pod of it is in the mesh: who has its labels shows no identity."""
        home = self.world.namespaces.get(ref.namespace)
        return home is not None and not self.enrols(ref.namespace) and not {ref} & (self.inside | self.outside.keys() | self.on_host.keys())

    def accounts(self, namespace: str | None = None) -> list[Ref]:
        """The accounts of a namespace, or of all, that pods of the mesh run under, and no pod outside it does that has the same labels."""
        return sorted(ref for ref in self.inside if namespace in (None, ref.namespace) and self.tells(ref))

    def tells(self, ref: Ref) -> bool:
        """Whether an account, or it with labels of the pods in the mesh, takes no known pod outside the mesh."""
        return ref not in self.outside or bool(self.labels(ref))

    def labels(self, ref: Ref) -> list[dict[str, str]]:
        """The labels of the pods in the mesh under an account that pods outside it share: none of those has them. [] where no labels tell them apart."""
        if ref not in self._labels:
            pods = self.world.under(ref)
            strangers = [pod for pod in pods if self.world.meshed(pod) is False and not pod.host_network]
            found = [_telling(pod, strangers) for pod in pods if self.world.meshed(pod) is not False]
            self._labels[ref] = [labels for labels in found if labels] if all(found) else []
        return self._labels[ref]

    def endpoints(self, whole: Iterable[str], accounts: Iterable[Ref]) -> list[dict[str, Any]]:
        """Selectors of whole namespaces and of single accounts, of those that pods outside the mesh share by labels as well."""
        shared = sorted({ref for ref in accounts if ref in self.outside})
        own = [{NAMESPACE: ref.namespace, ACCOUNT: ref.name, **labels} for ref in shared for labels in self.labels(ref)]
        return endpoints(whole, (ref for ref in accounts if ref not in self.outside)) + [{"matchLabels": labels} for labels in own]

    def strangers(self, excluded: Iterable[Any]) -> bool:
        """Whether pods outside the mesh may have the labels by which callers are kept out, as the bundle shows its pods."""
        homes = {ref.namespace for ref in (*self.inside, *self.outside)}
        return any(
            not isinstance(item, Identity)
            or item.namespace not in (None, *homes)
            or any(item.namespace in (None, ref.namespace) and item.service_account in (None, ref.name) for ref in self.outside)
            for item in excluded
        )

    def identity(self, ref: Ref) -> Identity:
        return Identity(self.options.trust_domain, ref.namespace, ref.name)


def _telling(pod: Workload, strangers: list[Workload]) -> dict[str, str] | None:
    """Few labels of a pod that none of the others has all of; None where they have all that it has."""
    own = pod.own_labels
    found: dict[str, str] = {}
    left = strangers
    for key in sorted(own, key=lambda key: (key not in NAMING, key)):
        after = [one for one in left if one.labels.get(key) == own[key]]
        if len(after) < len(left):
            found[key], left = own[key], after
    return found if not left else None


def callers(piece: Piece, known: Known) -> Callers:
    """The peers of a piece."""
    found = Callers()
    networks = piece.where.networks()
    who = piece.who
    if networks is not None:
        outside = who.include == frozenset((WORLD,))  # whom a CIDR takes: never a pod
        # An identity of this cluster that is kept out is a pod's: nobody outside shows it.
        mine = outside and all(isinstance(item, Identity) and _local(item, known) for item in who.exclude)
        if mine or (who.include is None and not who.exclude):
            found.networks = [{"cidr": item.cidr, **({"except": list(item.excluded)} if item.excluded else {})} for item in networks]
        own = known.options.cluster_networks
        beside = () if outside and found.networks else networks
        found.addresses = tuple(str(item) for item in beside if not found.networks or not all(disjoint(item.cidr, cidr) for cidr in own))
        return found
    if who.everyone:
        found.anyone = True
        return found
    whole: set[str] = set()
    accounts: set[Ref] = set()
    found.inside = who.include == frozenset((CLUSTER,))
    if (who.include is None or (found.inside and who.exclude)) and (said := but(who.exclude, known)) is not None:
        found.but = f"every caller {'in the cluster ' if found.inside else ''}but " + " and ".join(sorted(map(label, who.exclude)))
        found.beside = known.strangers(who.exclude)
        found.endpoints, entities = said
        found.entities = [name for name in entities if name != "world" or not found.inside]
        return found
    if who.exclude or who.include is None:
        found.listed = ("every caller" if who.include is None else " or ".join(sorted(map(label, who.include)))) + " but "
        found.listed += " and ".join(sorted(map(label, who.exclude)))
        _all_but(piece, known, whole, accounts)
        found.entities = sorted(
            item.name for item in who.include or () if isinstance(item, Entity) and item not in who.exclude and item.name in BARE
        )
    else:
        for item in sorted(who.include, key=label):
            _one(item, known, found, whole, accounts, INGRESS in who.include)
    found.endpoints += known.endpoints(whole, {ref for ref in accounts if ref.namespace not in whole})
    return found


def endpoints(whole: Iterable[str], accounts: Iterable[Ref]) -> list[dict[str, Any]]:
    """Selectors of whole namespaces and of single accounts."""
    names = sorted(set(whole))
    found: list[dict[str, Any]] = []
    if len(names) == 1:
        found.append({"matchLabels": {NAMESPACE: names[0]}})
    elif names:
        found.append({"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": names}]})
    return found + [{"matchLabels": {NAMESPACE: ref.namespace, ACCOUNT: ref.name}} for ref in sorted(set(accounts))]


def others_of(namespace: str, known: Known) -> dict[str, Any]:
    """A selector of a namespace's pods but those under accounts of pods outside the mesh."""
    outside = sorted(ref.name for ref in known.outside if ref.namespace == namespace)
    demands = [{"key": ACCOUNT, "operator": "NotIn", "values": outside}] if outside else []
    return {"matchLabels": {NAMESPACE: namespace}, **({"matchExpressions": demands} if demands else {})}


def _one(item: Any, known: Known, found: Callers, whole: set[str], accounts: set[Ref], admits_ingress: bool) -> None:
    if isinstance(item, Entity):
        found.entities.append(item.name)
        return
    if isinstance(item, Identity) and item.trust_domain not in (None, known.options.trust_domain, "cluster.local"):
        found.foreign += (item,)
        return
    if isinstance(item, Identity) and item.namespace is not None and item.service_account is not None:
        ref = Ref(item.namespace, item.service_account)
        if ref in known.gateways:
            found.gateways += (item,)
        elif known.absent(ref):
            found.absent += (item,)
        elif not known.tells(ref):
            found.outside += ((item, known.outside[ref], ref in known.inside),)
        else:
            if ref in known.outside:
                _list(found, item)
            if ref in known.on_host and ref not in known.inside:
                found.on_host += ((item, known.on_host[ref]),)
            accounts.add(ref)
        return
    if isinstance(item, Identity) and item.namespace is None and item.service_account is None:
        found.meshed = True
        if known.entries and not admits_ingress:
            found.gateways += tuple(map(known.identity, sorted(known.gateways)[:1]))
        for name in known.namespaces():
            _namespace(name, known, found, whole, accounts, EVERYONE)
        return
    if isinstance(item, Identity) and item.service_account is None and item.namespace is not None:
        _namespace(item.namespace, known, found, whole, accounts, item)
        return
    _list(found, item)
    accounts |= {ref for ref in known.accounts() if _takes(item, known.identity(ref), known)}


def _list(found: Callers, item: Any) -> None:
    found.listed = " or ".join(filter(None, (found.listed, label(item))))


def _namespace(name: str, known: Known, found: Callers, whole: set[str], accounts: set[Ref], item: Any) -> None:
    if known.enrolled(name):
        whole.add(name)
        return
    accounts |= set(known.accounts(name))
    if not known.accounts(name) and known.enrols(name):  # pods that the bundle does not show, and not those that it shows outside the mesh
        found.endpoints.append(others_of(name, known))
    if item != EVERYONE:
        _list(found, item)
    for ref, workload in sorted(known.outside.items()):
        if ref.namespace == name and (not known.tells(ref) if ref in known.inside else not known.accounts(name)) and item != EVERYONE:
            found.outside += ((item, workload, ref in known.inside),)


def _takes(item: Any, one: Identity, known: Known) -> bool:
    if isinstance(item, IdentityGlob):
        return glob_accepts(item, one)
    if not isinstance(item, Identity):
        return False
    if item.trust_domain not in (None, known.options.trust_domain, "cluster.local"):
        return False
    return item.namespace in (None, one.namespace) and item.service_account in (None, one.service_account)


def _all_but(piece: Piece, known: Known, whole: set[str], accounts: set[Ref]) -> None:
    """Every known peer but some; a namespace that nothing is taken out of stands whole."""
    include, exclude = piece.who.include, piece.who.exclude
    for name in known.namespaces():
        everybody = include is None or any(
            isinstance(item, Identity) and item.service_account is None and item.namespace in (None, name) and _local(item, known)
            for item in include
        )
        touched = any(not isinstance(item, Identity) or (_local(item, known) and item.namespace in (None, name)) for item in exclude)
        if everybody and not touched and known.enrolled(name):
            whole.add(name)
            continue
        for ref in known.accounts(name):
            one = known.identity(ref)
            if (include is None or any(_takes(item, one, known) for item in include)) and not any(
                _takes(item, one, known) for item in exclude
            ):
                accounts.add(ref)


def but(exclude: Iterable[Any], known: Known) -> tuple[list[dict[str, Any]], list[str]] | None:
    """Selectors of every pod but those of accounts and namespaces, and the entities that have none; None where a peer is known otherwise.

    A selector with `NotIn` alone would take what has no namespace, as nodes and the world."""
    whole: set[str] = set()
    names: set[str] = set()
    accounts: dict[str, set[str]] = {}
    entities = [*NO_PODS] if INGRESS in exclude else [*BARE]
    for item in exclude:
        if item == EVERYONE:  # which pods show no identity no label tells
            return [], entities
        if item == INGRESS:
            continue
        if not isinstance(item, Identity):
            return None
        if not _local(item, known):  # whoever is of another domain comes from outside this cluster
            entities = [one for one in entities if one != "world"]
            continue
        if item.namespace is not None and item.service_account is not None:
            if Ref(item.namespace, item.service_account) in known.gateways and "ingress" in entities:
                entities.remove("ingress")
            accounts.setdefault(item.namespace, set()).add(item.service_account)
        elif item.namespace is not None:
            whole.add(item.namespace)
            entities = [one for one in entities if one != "ingress" or all(ref.namespace != item.namespace for ref in known.gateways)]
        elif item.service_account is not None:
            names.add(item.service_account)
    spaces = sorted(whole | accounts.keys())
    first: list[dict[str, Any]] = [{"key": NAMESPACE, "operator": "Exists"}]
    if spaces:
        first.append({"key": NAMESPACE, "operator": "NotIn", "values": spaces})
    if names:
        first.append({"key": ACCOUNT, "operator": "NotIn", "values": sorted(names)})
    found: list[dict[str, Any]] = [{"matchExpressions": first}]
    for space in sorted(accounts.keys() - whole):
        demand = {"key": ACCOUNT, "operator": "NotIn", "values": sorted(accounts[space] | names)}
        found.append({"matchLabels": {NAMESPACE: space}, "matchExpressions": [demand]})
    return found, entities


def _local(item: Identity, known: Known) -> bool:
    return item.trust_domain in (None, known.options.trust_domain, "cluster.local")
