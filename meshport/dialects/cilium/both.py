"""What two rules of Cilium both let through, as rules: peers, ports and what is asked of requests, each of both (docs.cilium.io, security/policy)."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.cilium.beside import PEERS, Rule, taken
from meshport.dialects.cilium.peers import NAMESPACE
from meshport.ir.world import Workload, World
from meshport.values.ports import other_ports

LAST = 65535
PODS = ("all", "cluster")  # entities that hold every pod
IN_CLUSTER = ("host", "remote-node", "ingress", "health", "init", "unmanaged")
READ = ("rules", "serverNames", "listener", "terminatingTLS", "originatingTLS")
Peer = tuple[str, Any]
ANYBODY: Peer = ("Entities", "all")


@dataclass(slots=True)
class Meeting:
    """For whom two rules are met, and what of that could not be written (`lost`)."""

    world: World
    members: list[Workload]  # the pods that the rules are for
    way: str  # `from` or `to`
    through: int | None  # the port on which the proxies of the source take what comes from their peers, whatever port it is for
    gateways: bool  # whether the source has gateways, in whose place an entity stands now
    lost: dict[str, None] = field(default_factory=dict)

    def both(self, rule: Rule, other: Rule) -> list[Rule]:
        """What a written rule and one that stands let through both."""
        if not rule or not lets_in(other, self.way):
            return []
        peers = [both for one in self.peers(rule) for its in self.peers(other) if (both := self._peer(one, its)) is not None]
        found: list[Rule] = []
        entries = [] if "icmps" in other else other.get("toPorts") or [None]
        read = [entry for entry in entries if entry is not None and any(entry.get(word) for word in READ)]
        plain = [entry for entry in entries if entry not in read]
        if plain:
            ports = [port for entry in plain if entry is not None for port in entry.get("ports") or ({"port": "0"},)]
            found += self._plain(rule, peers, ports if None not in plain else None, other)
        elif "icmps" in other:
            found += self._together(peers, self._echoes(rule, other), other)
        if read:
            outside = [made for one in peers for made in self.outside(one)]
            for entry in read:
                found += self._together(outside, self._requests(rule, entry), other)
        return found

    def hidden(self, rules: list[Rule]) -> list[str]:
        """The findings for what rules ask of pods that the network could not see between them: requests, and ports that the proxies' port carried."""
        found = ["MP183"] if any(map(reads_pods, rules)) else []
        for rule in rules if self.through is not None else ():
            ports = [port for entry in rule.get("toPorts") or () for port in entry.get("ports") or ()]
            meshed = [
                one
                for one in self.peers(rule)
                if one not in self.outside(one) and not (one[0] == "Endpoints" and self.every(one[1], meshed=False))
            ]
            if meshed and any(spoken(port) in ("TCP", "ANY") for port in ports):
                return [*found, "MP186"]
        return found

    def mixed(self, rules: list[Rule]) -> bool:
        """Whether a peer takes pods in the mesh and out of it, of whom no more is let through than of those in it."""
        for kind, item in (peer for rule in rules for peer in self.peers(rule)):
            pods = taken(item, self.world) if kind == "Endpoints" else self.world.workloads if kind == "Entities" and item in PODS else ()
            known = {self.world.meshed(one) is not False for one in pods if not one.host_network}
            if len(known) == 2 or (kind == "Entities" and False in known):
                return True
        return False

    def _plain(self, rule: Rule, peers: list[Peer], ports: list[Rule] | None, other: Rule) -> list[Rule]:
        """What is let through by ports alone. Between pods of the mesh the network saw the proxies' port, where they have one, and it carried every other."""
        if self.through is None or ports is None:
            return self._together(peers, self._ports(rule, ports), other)
        if any(holds(port, self.through) for port in ports):
            meshed = [one for one in peers if one[0] == "Endpoints" and self.every(one[1], meshed=True)]
            every = self._ports(rule, carried(self.members if self.way == "from" else []))
            return [*self._together(peers, self._ports(rule, ports), other), *self._together(meshed, every, other)]
        outside = [made for one in peers for made in self.outside(one)]
        outside += [one for one in peers if one[0] == "Endpoints" and self.every(one[1], meshed=False)]
        if any(one not in outside for one in peers) and any(spoken(port) in ("TCP", "ANY") for port in ports):
            self.lost[
                f"connections between pods of the mesh, which come in on port {self.through}, and the policy does not let that port through"
            ] = None
        rest = [{**port, "protocol": protocol} for port in ports for protocol in ("UDP", "SCTP") if spoken(port) in ("ANY", protocol)]
        return [*self._together(outside, self._ports(rule, ports), other), *self._together(peers, self._ports(rule, rest), other)]

    # -- peers

    def peers(self, rule: Rule) -> list[Peer]:
        return next(([(word, item) for item in rule[self.way + word]] for word in PEERS if self.way + word in rule), [ANYBODY])

    def _peer(self, one: Peer, other: Peer) -> Peer | None:
        for mine, its in ((one, other), (other, one)):
            if mine in (ANYBODY, its):
                return its
        for (kind, item), its in ((one, other), (other, one)):
            if kind == "Entities" and (found := self._of_entity(item, its)) is not None:
                return found
        kinds = {one[0], other[0]}
        if kinds == {"Endpoints"}:
            joined = _joined(one[1], other[1])
            return None if joined is None else ("Endpoints", joined)
        if kinds == {"CIDRSet"} and "cidr" in one[1] and "cidr" in other[1]:
            inner = _inner(one[1], other[1])
            return None if inner is None else ("CIDRSet", inner)
        if "ingress" in (one[1], other[1]) and self.gateways:
            self.lost["Cilium's ingress, which takes the place of gateways that are pods"] = None
        elif not kinds <= {"Endpoints", "Entities", "CIDRSet"} or kinds == {"CIDRSet"}:
            self.lost[f"peers by {' and '.join(sorted(kinds))}"] = None
        return None

    def _of_entity(self, name: str, other: Peer) -> Peer | None:
        kind, item = other
        if name == "cluster" and (kind in ("Endpoints", "Services") or (kind == "Entities" and item in IN_CLUSTER)):
            return other
        if name == "world" and (kind in ("CIDRSet", "FQDNs") or (kind == "Entities" and str(item).startswith("world"))):
            return other
        return None

    def outside(self, peer: Peer) -> list[Peer]:
        """What of a peer is no pod that may be in the mesh: between those the network saw no HTTP, and let nothing through for which it asks any."""
        kind, item = peer
        if item in PODS and kind == "Entities":
            return [("Entities", name) for name in (*(("world",) if item == "all" else ()), "host", "remote-node")]
        return [] if kind in ("Endpoints", "Services") or item in ("ingress", "cluster-mesh") else [peer]

    def every(self, selector: Rule, *, meshed: bool) -> bool:
        """Whether the bundle shows pods that a selector takes, and all of them in the mesh, or none."""
        pods = taken(selector, self.world)
        return bool(pods) and all(self.world.meshed(one) is meshed for one in pods)

    def _together(self, peers: list[Peer], rest: Rule | None, other: Rule) -> list[Rule]:
        """Peers and what they may do as rules: one for each kind of peer."""
        if rest is None:
            return []
        shown = {**rest, **({"authentication": other["authentication"]} if "authentication" in other else {})}
        if ANYBODY in peers:
            return [copy.deepcopy(shown) if {"toPorts", "icmps"} & set(shown) else {f"{self.way}Entities": ["all"], **copy.deepcopy(shown)}]
        by_kind: dict[str, list[Any]] = {}
        for kind, item in peers:
            if item not in by_kind.setdefault(kind, []):
                by_kind[kind].append(item)
        return [{self.way + kind: items, **copy.deepcopy(shown)} for kind, items in by_kind.items()]

    # -- ports

    def _ports(self, rule: Rule, wanted: list[Rule] | None) -> Rule | None:
        """The ports of a rule that are among those wanted (None: every one, and every protocol); None where there are none, {} for all."""
        if wanted is None:
            return {key: copy.deepcopy(rule[key]) for key in ("toPorts", "icmps") if key in rule}
        if "icmps" in rule:
            return None
        made = []
        for entry in rule.get("toPorts") or [{"ports": [{"port": "0", "protocol": "ANY"}]}]:
            ports = [both for port in entry["ports"] for its in wanted if (both := self._port(port, its)) is not None]
            if ports:
                made.append({**copy.deepcopy(entry), "ports": [item for place, item in enumerate(ports) if item not in ports[:place]]})
        return {"toPorts": made} if made else None

    def _port(self, one: Rule, other: Rule) -> Rule | None:
        mine, its = numbers(one, self.members), numbers(other, self.members)
        if mine is None or its is None:  # a name that is no number in all of the pods is told by the name alone
            name, by = (one, other) if mine is None else (other, one)
            if name["port"] != by.get("port") and numbers(by, self.members) not in ((1, LAST, spoken(by)),):
                return None
            protocol = _protocol(spoken(one), spoken(other))
            return None if protocol is None else {"port": name["port"], "protocol": protocol}
        protocol = _protocol(mine[2], its[2])
        low, high = max(mine[0], its[0]), min(mine[1], its[1])
        if protocol is None or low > high:
            return None
        if (low, high) == (1, LAST):
            return {"port": "0", "protocol": protocol}
        return {"port": str(low), **({"endPort": high} if high > low else {}), "protocol": protocol}

    def _echoes(self, rule: Rule, other: Rule) -> Rule | None:
        if "toPorts" in rule:
            return None
        fields = [item for echo in other["icmps"] for item in echo.get("fields") or ()]
        mine = [_echo(item) for echo in rule["icmps"] for item in echo["fields"]] if "icmps" in rule else None
        kept = [item for item in fields if mine is None or _echo(item) in mine]
        return {"icmps": [{"fields": kept}]} if kept else None

    def _requests(self, rule: Rule, entry: Rule) -> Rule | None:
        """The ports of an entry that asks for more than ports, with what it asks for."""
        found = self._ports(rule, entry.get("ports") or [{"port": "0"}])
        if found is None:
            return None
        asked = {word: copy.deepcopy(entry[word]) for word in READ if word in entry}
        kept = []
        for one in found["toPorts"]:
            if "rules" not in one:
                kept.append({**one, **copy.deepcopy(asked)})
            elif (requests := _requests(one, asked)) is not None:
                kept.append({"ports": one["ports"], "rules": {"http": requests}})
            else:
                self.lost["what both ask of requests"] = None
        return {"toPorts": kept} if kept else None


def reads_pods(rule: Rule) -> bool:
    """Whether a rule asks peers for HTTP that may be pods."""
    way = "to" if any(key.startswith("to") and key != "toPorts" for key in rule) else "from"
    pods = any(rule.get(way + word) for word in ("Endpoints", "Services")) or not any(way + word in rule for word in PEERS)
    pods = pods or any(item in PODS for item in rule.get(way + "Entities") or ())
    return pods and any((entry.get("rules") or {}).get("http") for entry in rule.get("toPorts") or ())


def _requests(one: Rule, asked: Rule) -> list[Rule] | None:
    """The HTTP rules that take what each of two lists takes; None where they cannot be said, as two expressions for one thing."""
    rules = asked.get("rules") or {}
    if set(asked) != {"rules"} or set(rules) != {"http"} or set(one["rules"]) != {"http"}:
        return None
    found: list[Rule] = []
    for mine in one["rules"]["http"]:
        for its in rules["http"]:
            if any(mine[key] != its[key] for key in ("method", "path", "host") if mine.get(key) and its.get(key)):
                return None
            both = {**mine, **its}
            for key in ("headers", "headerMatches"):
                if key in mine and key in its:
                    both[key] = [*mine[key], *(item for item in its[key] if item not in mine[key])]
            found.append(both)
    return found


def _echo(item: Rule) -> tuple[str, str]:
    kind = {"EchoRequest": "8" if item.get("family", "IPv4") == "IPv4" else "128"}.get(str(item.get("type")), str(item.get("type")))
    return str(item.get("family", "IPv4")), kind


def spoken(port: Rule) -> str:
    return str(port.get("protocol") or "ANY").upper()


def _protocol(one: str, other: str) -> str | None:
    if one == "ANY" or one == other:
        return other
    return one if other == "ANY" else None


def numbers(port: Rule, members: list[Workload]) -> tuple[int, int, str] | None:
    """A port as a range with its protocol; None for a name that is not the same number in all the pods."""
    protocol, text = spoken(port), str(port.get("port", "0"))
    if not text.isdigit():
        known = {(item.number, item.protocol) if (item := one.port_named(text.lower())) is not None else None for one in members}
        found = known.pop() if len(known) == 1 else None
        shared = None if found is None else _protocol(protocol, found[1])
        return None if found is None or shared is None else (found[0], found[0], shared)
    return (1, LAST, protocol) if int(text) == 0 else (int(text), port.get("endPort") or int(text), protocol)


def holds(port: Rule, number: int) -> bool:
    text = str(port.get("port", "0"))
    if spoken(port) not in ("TCP", "ANY") or not text.isdigit():
        return False
    return int(text) == 0 or int(text) <= number <= (port.get("endPort") or int(text))


def carried(servers: list[Workload]) -> list[Rule]:
    """The TCP ports of pods for which a port of their proxies stood: every one, less those that connections to go past the proxies."""
    past = {span for one in servers if one.bypassed is not None for span in one.bypassed.value}
    return spans(other_ports(past)) if past else [{"port": "0", "protocol": "TCP"}]


def spans(ranges: Iterable[tuple[int, int]]) -> list[Rule]:
    """Ranges of TCP ports as a rule lists them."""
    return [{"port": str(low), **({"endPort": high} if high > low else {}), "protocol": "TCP"} for low, high in ranges]


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
    if contradictory(labels, more):
        return None
    return {**({"matchLabels": labels} if labels else {}), **({"matchExpressions": more} if more else {})}


def contradictory(labels: dict[str, str], expressions: Iterable[Rule]) -> bool:
    """Whether nothing can have all of the labels: a key would need two values, one that is ruled out, or to be there and not to be."""
    possible: dict[str, set[str]] = {key: {value} for key, value in labels.items()}
    barred: dict[str, set[str]] = {}
    there, absent = {*labels}, set[str]()
    for item in expressions:
        key, values = item["key"], {*(item.get("values") or ())}
        if item["operator"] == "In":
            possible[key] = possible.get(key, values) & values
        elif item["operator"] == "NotIn":
            barred.setdefault(key, set()).update(values)
        (absent if item["operator"] == "DoesNotExist" else there).update({key} if item["operator"] != "NotIn" else ())
    return bool(there & absent) or any(not values - barred.get(key, set()) for key, values in possible.items())


def lets_in(rule: Rule, way: str) -> bool:
    """Whether there can be a peer of a rule."""
    peers = rule.get(f"{way}Endpoints")
    return not isinstance(peers, list) or any(
        not contradictory(one.get("matchLabels") or {}, one.get("matchExpressions") or ()) for one in peers
    )


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
