"""What pods may still reach where a mesh hides ports and HTTP from the network (mapping decisions 3, kept network policy).

The network holds egress rules at the client. Between pods of the mesh it sees the mesh's own port where there is one, and no HTTP; the mesh decides at
the server, which knows nothing of the client's egress. So the mesh's port is let through, and an HTTP rule left out, only towards pods whose own rules
let the client in for nothing that its egress rules refuse. What the pods let in that the bundle does not show, nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.cilium.membership import SYSTEM
from meshport.dialects.cilium.peers import NAMESPACE, Chosen, Peers, matches, may_join, selected, take_apart
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.ir.base import Ref
from meshport.ir.world import Workload, World
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
EVERY = (0, 65535)
_PEERS = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "FQDNs", "Services")
_PODS = ("all", "cluster", "cluster-mesh")  # entities that hold pods
_READ_APART = ("serverNames", "terminatingTLS", "originatingTLS", "listener")

Ports = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grant:
    """TCP ports, for every byte (`http` None) or for requests that one of these HTTP rules takes."""

    ports: Ports
    http: frozenset[str] | None = None
    odd: bool = False  # asks for more than ports and HTTP


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule of a section of a set of rules, with the namespace of its object."""

    place: Cursor
    home: str | None


@dataclass(frozen=True, slots=True)
class Unshown:
    """Peers of an egress rule that the bundle shows no pod of: as a rule names them, and in words."""

    peers: dict[str, Any]
    words: str
    chosen: Chosen | None = None  # what is asked of them, in these namespaces (None: in any), where labels tell them
    spaces: frozenset[str] | None = None


@dataclass(slots=True)
class Held:
    """What the policies that select a workload say of one direction."""

    allows: list[Standing] = field(default_factory=list)
    denies: list[Standing] = field(default_factory=list)
    closed: bool = False


class Outward:
    """The egress of each workload of the bundle, against the ingress of the others."""

    def __init__(self, bound: Bound, world: World, kept: Iterable[int], default_namespace: str) -> None:
        self.world, self.peers = world, Peers(world)
        self._held: dict[tuple[int, str], Held] = {}
        self._subjects: dict[tuple[int, str], list[Workload]] = {}
        self._within: dict[tuple[int, int, bool], bool] = {}
        self._home = {}
        for number in kept:
            root = Cursor.root(bound, number)
            home = None if root.document.kind == POLICIES[1] else root.document.namespace or default_namespace
            self._home[number] = home
            for base, spec in specs(root):
                if not spec or spec.at("nodeSelector"):
                    continue
                pods = [one for one in self._all(spec.at("endpointSelector"), home, subject=True) if self._joins(one)]
                self._subjects[number, str(base)] = pods
                for direction in ("ingress", "egress"):
                    allows, denies = spec.each(direction), spec.each(direction + "Deny")
                    closing = spec.at("enableDefaultDeny", direction).value is not False
                    for one in pods if allows or denies else ():
                        held = self._held.setdefault((id(one), direction), Held())
                        held.closed = held.closed or closing
                        held.allows += [Standing(rule, home) for rule in allows]
                        held.denies += [Standing(rule, home) for rule in denies]

    # -- what is asked

    def refused(self, number: int, base: object, rule: Cursor, *, ports: bool) -> tuple[list[Workload], list[Workload]]:
        """The destinations of an egress rule in the mesh: those whose own rules let some client in for more than its egress rules do, and the others.

        With `ports` every port counts, else only those for which an egress rule reads HTTP.
        """
        clients = self._subjects.get((number, str(base)), [])
        wide: list[Workload] = []
        narrow: list[Workload] = []
        for one in self._destinations(rule, self._home[number]) if clients else ():
            (narrow if all(self.within(client, one, ports=ports) for client in clients) else wide).append(one)
        return wide, narrow

    def reached(self, number: int, base: object, rule: Cursor, server: Workload) -> bool:
        """Whether a client reaches a server by this rule."""
        return any(
            _meet(out.ports, there.ports)
            for out in _grants(rule, server, sure=True)
            for client in self._subjects.get((number, str(base)), [])
            for there in self._inward(client, server)
        )

    def beyond(self, number: int, base: object, rule: Cursor, *, ports: bool) -> list[Unshown]:
        """The unshown peers of an egress rule that a client reaches, by all its egress rules, on some ports or for some requests only: with `ports` every port
        counts, else only those for which this rule reads HTTP."""
        wanted = [Grant(EVERY)] if ports else [Grant(one.ports) for one in _grants(rule, None, sure=False) if one.http]
        clients = self._subjects.get((number, str(base)), [])
        return [
            one
            for one in self.unshown(number, base, rule)
            if not all(_covered(grant, self._out_to(client, one)) for client in clients for grant in wanted)
        ]

    def unshown(self, number: int, base: object, rule: Cursor) -> list[Unshown]:
        """The peers of an egress rule on TCP ports that may be in the mesh, and of whose pods the bundle shows none."""
        clients, home = self._subjects.get((number, str(base)), []), self._home[number]
        if not clients or not isinstance(rule.value, dict) or not any(map(_by_tcp, rule.each("toPorts"))):
            return []
        found = [one for place in rule.each("toEndpoints") if (one := self._hidden(place, home)) is not None]
        for place in rule.each("toServices"):
            if not any(self._serves(place, home, one, sure=False) for one in self.world.workloads):
                named = place.at("k8sService", "serviceName").value
                found.append(Unshown({"toServices": [place.value]}, f"pods of Service {named}, which the input does not show"))
        entities = rule.at("toEntities").value
        among = [item for item in entities if item in _PODS] if isinstance(entities, list) else []
        if (among or not _named(rule)) and all(one in clients for one in self.world.workloads):
            found.append(Unshown({"toEntities": among} if among else {}, "pods of the cluster that the input does not show"))
        return found

    def _hidden(self, place: Cursor, home: str | None) -> Unshown | None:
        """The pods of a selector, where the bundle shows none that it takes and they may be in the mesh."""
        chosen = _chosen(place)
        if chosen is None or self._all(place, home):
            return None
        spaces = self.peers.namespaces(chosen, home)
        if spaces is not None and not any(may_join(self.world, space) and space not in SYSTEM for space in spaces):
            return None
        words = f"pods that the input does not show (toEndpoints {json.dumps(place.value, sort_keys=True)})"
        return Unshown({"toEndpoints": [place.value]}, words, chosen, None if spaces is None else frozenset(spaces))

    def _out_to(self, client: Workload, peers: Unshown) -> list[Grant]:
        """What the egress rules of a client let out to every pod of such peers."""
        held = self._held.get((id(client), "egress"), Held())
        if not held.closed:
            return [Grant(EVERY)]
        return [grant for rule in held.allows if self._takes_all(rule, peers) for grant in _grants(rule.place, None, sure=True)]

    def _takes_all(self, rule: Standing, peers: Unshown) -> bool:
        """Whether a rule's peers hold all of those, whatever pods they are."""
        place = rule.place
        if place.each("toRequires"):
            return False
        if not _named(place):
            return bool(place.each("toPorts"))
        entities = place.at("toEntities").value
        if isinstance(entities, list) and any(item in ("all", "cluster") for item in entities):
            return True
        if peers.chosen is None:
            return any(listed and place.at(kind).value == listed for kind, listed in peers.peers.items())
        return any(self._asks_less(other, rule.home, peers.chosen, peers.spaces) for other in place.each("toEndpoints"))

    def _asks_less(self, place: Cursor, home: str | None, chosen: Chosen, spaces: frozenset[str] | None) -> bool:
        """Whether a selector asks for nothing that pods of another do not have."""
        other = _chosen(place)
        if other is None:
            return False
        its = self.peers.namespaces(other, home)
        asked = {*chosen.pod, *chosen.account, *chosen.cluster}
        return (its is None or (spaces is not None and spaces <= {*its})) and {*other.pod, *other.account, *other.cluster} <= asked

    def denied(self, number: int, base: object, rule: Cursor) -> list[Workload]:
        """The destinations in the mesh which let some client in on a TCP port that an egress deny refuses it."""
        clients = self._subjects.get((number, str(base)), [])
        return [
            one
            for one in self._destinations(rule, self._home[number])
            if any(
                not grant.odd and _meet(grant.ports, there.ports)
                for grant in _grants(rule, one, sure=False)
                for client in clients
                for there in self._inward(client, one)
            )
        ]

    def within(self, client: Workload, server: Workload, *, ports: bool) -> bool:
        """Whether what a server's own rules let a client in for is no more than what the client's egress rules let out to it."""
        key = (id(client), id(server), ports)
        if key not in self._within:
            held = self._held.get((id(client), "egress"), Held())
            out = [
                grant
                for rule in held.allows
                if self._takes(rule, server, "to", sure=True)
                for grant in _grants(rule.place, server, sure=True)
            ]
            if not held.closed:
                out.append(Grant(EVERY))
            self._within[key] = all(
                _covered(grant, out)
                for grant in self._inward(client, server)
                if ports or any(one.http and _meet(one.ports, grant.ports) for one in out)
            )
        return self._within[key]

    def _inward(self, client: Workload, server: Workload) -> list[Grant]:
        held = self._held.get((id(server), "ingress"), Held())
        if not held.closed:
            return [Grant(EVERY)]
        return [
            grant
            for rule in held.allows
            if self._takes(rule, client, "from", sure=False)
            for grant in _grants(rule.place, server, sure=False)
        ]

    # -- who is meant

    def _joins(self, workload: Workload) -> bool:
        return workload.ref.namespace not in SYSTEM and self.world.meshed(workload) is not False

    def _destinations(self, rule: Cursor, home: str | None) -> list[Workload]:
        if any(word in rule.value for word in ("toEntities", "toServices")) or "toEndpoints" not in rule.value:
            among = self.world.workloads
        else:
            found = {id(one): one for place in rule.each("toEndpoints") for one in self._all(place, home)}
            among = sorted(found.values(), key=lambda one: (one.ref, one.kind))
        return [one for one in among if self._joins(one) and self._takes(Standing(rule, home), one, "to", sure=False)]

    def _takes(self, rule: Standing, workload: Workload, way: str, *, sure: bool) -> bool:
        """Whether a rule's peers hold a workload's pods; `sure` says what is answered where a rule leaves it open."""
        place = rule.place
        if sure and place.each(way + "Requires"):
            return False
        if not _named(place, way):  # every peer, but for a rule of nothing
            return bool(place.each("toPorts") or place.each("icmps"))
        entities = place.at(way + "Entities").value
        if isinstance(entities, list) and any(item in _PODS for item in entities):
            return True
        if any(self._selected(place_, rule.home, workload) for place_ in place.each(way + "Endpoints")):
            return True
        return any(self._serves(service, rule.home, workload, sure=sure) for service in place.each(way + "Services"))

    def _selected(self, place: Cursor, home: str | None, workload: Workload) -> bool:
        """Whether a selector takes a workload's pods."""
        chosen = _chosen(place)
        if chosen is None:
            return False
        spaces = self.peers.namespaces(chosen, home)
        return (spaces is None or workload.ref.namespace in spaces) and matches(chosen, workload)

    def _all(self, place: Cursor, home: str | None, *, subject: bool = False) -> list[Workload]:
        """The workloads whose pods a selector takes. The subject of a namespaced object is in its namespace, whatever it says."""
        chosen = _chosen(place)
        if chosen is None:
            return []
        return selected(chosen, [home] if subject and home is not None else self.peers.namespaces(chosen, home), self.world)

    def _serves(self, place: Cursor, home: str | None, workload: Workload, *, sure: bool) -> bool:
        named = place.at("k8sService")
        if not named:
            return not sure
        name, space = named.text("serviceName"), named.text("namespace")
        wanted = Ref(space.value if space is not None else home or "", name.value if name is not None else "")
        return any(service.ref == wanted for service in self.world.services_of(workload))


def _named(rule: Cursor, way: str = "to") -> bool:
    """Whether a rule says who its peers are."""
    return isinstance(rule.value, dict) and any(way + word in rule.value for word in _PEERS)


def _by_tcp(entry: Cursor) -> bool:
    """Whether ports of TCP are among those of an entry."""
    listed = entry.each("ports")
    return not listed or any(not (spoken := port.at("protocol")) or str(spoken.value).upper() in ("TCP", "ANY") for port in listed)


def _chosen(place: Cursor) -> Chosen | None:
    """What a selector asks of pods; None where pods have no such labels."""
    chosen = take_apart(place.selector().value)
    return None if chosen.reserved or chosen.foreign else chosen


def _grants(rule: Cursor, server: Workload | None, *, sure: bool) -> Iterator[Grant]:
    """The TCP ports of a rule on a server; on one that the bundle does not show (None), a port of a name may be any, and is surely none."""
    entries = rule.each("toPorts")
    if not entries and not rule.each("icmps"):
        yield Grant(EVERY)
    for entry in entries:
        rules = entry.at("rules")
        odd = any(entry.at(word) for word in _READ_APART) or any(
            rules.at(word) and rules.at(word).value for word in ("kafka", "l7proto", "l7", "dns")
        )
        if odd and sure:
            continue
        asked = None if odd else frozenset(json.dumps(item.value, sort_keys=True) for item in rules.each("http")) or None
        for ports in _tcp(entry, server, sure=sure):
            yield Grant(ports, asked, odd)


def _tcp(entry: Cursor, server: Workload | None, *, sure: bool) -> Iterator[Ports]:
    listed = entry.each("ports")
    if not listed:
        yield EVERY
    for place in listed:
        protocol, port, end = place.text("protocol"), place.text("port"), place.number_at("endPort")
        if protocol is not None and protocol.value.upper() not in ("TCP", "ANY"):
            continue
        text = port.value if port is not None else "0"
        if not is_number(text):
            known = server.port_named(text.lower()) if server is not None else None
            if server is None and not sure:
                yield EVERY
            elif known is not None:
                yield known.number, known.number
        elif int(text) == 0:
            yield EVERY
        else:
            yield int(text), end.value if end is not None and end.value else int(text)


def _meet(one: Ports, other: Ports) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _covered(grant: Grant, by: Iterable[Grant]) -> bool:
    """Whether all that a grant lets through is let through by others."""
    low = max(grant.ports[0], 1)
    for one in sorted(
        (item for item in by if item.http is None or (grant.http is not None and grant.http <= item.http)), key=lambda item: item.ports
    ):
        if one.ports[0] > low:
            break
        low = max(low, one.ports[1] + 1)
    return low > grant.ports[1]


def labelled(one: Workload) -> dict[str, Any]:
    """A selector of a workload's pods by all their labels."""
    own = {f"k8s:{key}": one.labels[key] for key in sorted(one.labels)}
    return {"matchLabels": {f"k8s:{NAMESPACE}": one.ref.namespace, **own}}


def alone(one: Workload, others: Iterable[Workload]) -> dict[str, Any] | None:
    """That selector, where it takes no pods of another workload."""
    shared = any(
        other is not one and other.ref.namespace == one.ref.namespace and one.labels.items() <= other.labels.items() for other in others
    )
    return None if shared else labelled(one)
