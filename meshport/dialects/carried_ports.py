"""The port on which proxies take what their peers send, and the network policies that stand before it.

Between pods of Linkerd since 2.18, and between pods in Istio's ambient mode, every connection comes in on one port of the proxy, whichever it is for
(linkerd/linkerd2-proxy, linkerd/app/outbound/src; istio.io, ambient/architecture/data-plane); with other proxies on the port that it is for. So where the
proxies change, a network policy that names ports begins to let other connections through, and others no more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.beside import KINDS, PEERS, WAYS, Beside, Rule, numbered, peer_of, selector_of, standing, taken
from meshport.dialects.cilium.both import LAST, READ, Meeting, Peer, holds, numbers, spans, spoken
from meshport.dialects.cilium.both import carried as carried_by
from meshport.dialects.cilium.kept import carried_on, mesh_port
from meshport.dialects.cilium.membership import SYSTEM
from meshport.dialects.cilium.network_policies import LETTING, READ_ONLY, REFUSING, at, said, said_together
from meshport.dialects.cilium.peers import Peers, take_apart
from meshport.dialects.cilium.planning import mentioned
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.admitted import ruled
from meshport.effective.pieces import Unsayable
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR
from meshport.ir.world import Workload, World
from meshport.values.language import LanguageTooLarge

ISTIO = "security.istio.io/v1"
OUTSIDE, INSIDE, EITHER = "outside", "inside", "either"
"""Whether the pods of a peer are in the mesh."""
DENIED = "a deny for callers of the mesh goes on refusing them"
EVERY = "for callers of the mesh every port is written, as they came to every one"
HELD = "callers that may be in the mesh come to the ports alone that it names, and came to every one"
OPENED = "what it denied callers of the mesh on ports that the network did not see is denied no more"
CLOSED = "what it denied callers of the mesh is denied on every port"


def lower(ir: IR, out: Output, options: Options, written: Callable[[], IR]) -> None:
    """Let network policies beside the mesh go on letting through what they did, and say where they do not. After the rest of a lowering: `written` reads back
    what it wrote."""
    if options.target not in ("istio", "linkerd"):
        return
    own = options.source == "cilium"
    if own and mesh_port(options) is None:
        return
    found = standing(ir.world, out, told=options.source not in ("cilium", options.target))
    network = Network(ir, out, options, found, Stated(written, options))
    for item in found:
        if not own or item.kind not in KINDS:  # its policies are kept beside the mesh, or leave
            Standing(network, item).settle()


class Network:
    """All network policies of a bundle, and what is asked of the pods that they are about, each once."""

    def __init__(self, ir: IR, out: Output, options: Options, found: list[Beside], stated: Stated) -> None:
        self.ir, self.out, self.options, self.stated = ir, out, options, stated
        self.beside: dict[tuple[str, int], list[Beside]] = {}  # by direction and pods
        for item in found:
            for one in item.pods:
                self.beside.setdefault((item.direction, id(one)), []).append(item)
        self._taken: dict[str, list[Workload]] = {}

    def taken(self, peer: Rule) -> list[Workload]:
        """The workloads whose pods a peer by labels takes."""
        key = repr(peer)
        if key not in self._taken:
            self._taken[key] = taken(peer, self.ir.world)
        return self._taken[key]

    def ports(self, one: Workload) -> Iterator[int]:
        """The TCP ports that pods declare, or that Services send to."""
        yield from (port.number for port in one.ports if port.protocol == "TCP")
        for service in self.ir.world.services_of(one):
            yield from (number for port in service.ports if (number := self.ir.world.target_number(one, port)) is not None)

    @cached_property
    def declared(self) -> set[int]:
        """Those of all pods of the mesh."""
        return {number for one in self.ir.world.workloads if self.ir.world.meshed(one) is not False for number in self.ports(one)}


class Stated:
    """Which ports of a workload the target's own policies open to anybody. A probe's path is open in any case."""

    def __init__(self, written: Callable[[], IR], options: Options) -> None:
        self._written, self._options = written, options
        self._found: dict[Ref, list[tuple[Effective, World]]] | None = None

    def within(self, one: Workload, ports: list[Rule]) -> bool:
        """Whether all of these are among `ports`, so that the network need not tell ports apart."""
        if self._options.source == self._options.target:
            return False
        if self._found is None:
            back, self._found = self._written(), {}
            for item in Access(back, Fact("all-unauthenticated")).workloads:
                self._found.setdefault(item.workload.ref, []).append((item, back.world))
        ranges = [known for port in ports if (known := numbers(port, [one])) is not None]
        return all(
            any(low <= (number or 0) <= high for low, high, _ in ranges) or not self._opened(item, number)
            for item, world in self._found.get(one.ref, ())
            for number in (*ports_of([item], world), *mentioned(item), None)
        )

    def _opened(self, item: Effective, port: int | None) -> bool:
        try:
            return any(ruled(item, port, http, self._options.cluster_networks) for http in (True, False))
        except (Unsayable, LanguageTooLarge, ValueError):
            return True


class Standing:
    """One direction of a network policy, for the pods of the mesh that it selects."""

    def __init__(self, network: Network, item: Beside) -> None:
        self.network, self.item = network, item
        self.ir, self.out, self.options = network.ir, network.out, network.options
        self.members = [one for one in item.pods if self.ir.world.meshed(one) is not False and (item.denies or self._closed(one))]
        self.meeting = Meeting(self.ir.world, self.members, WAYS[item.direction], None, False)
        self.before = carried_on(self.ir.world, self.members, self.options)
        self.after = mesh_port(self.options)
        self.told: dict[str, set[str]] = {}  # what becomes of connections, and of whose

    def _closed(self, one: Workload) -> bool:
        return any(other.closing for other in self.network.beside[self.item.direction, id(one)])

    @property
    def _said(self) -> bool:
        """Whether the mesh says whom it lets in to which ports, and closes the pods."""
        said = [policy.closing for policy in self.ir.policies if policy.document == self.item.number]
        return self.item.direction == "ingress" and self.item.kind not in KINDS and bool(said) and all(said)

    @property
    def _document(self) -> Any:
        return self.out.bundle.documents[self.item.number].value

    def settle(self) -> None:
        """Write the policy as it held, or a deny in the mesh that does, and say so."""
        if not self.members or self.before == self.after:
            return
        stays = self.item.number in self.out.outside
        made, denies = list(self._entries()), [made for rule in self.item.denies for made in self._denied(rule)]
        if self.told.keys() == {"refused"} and self._shut():
            self._deny()
            self.told = {"denied": set()}
        elif stays and self.told.keys() & {"refused", "taken", "closed"}:
            self.told["stays"] = set()
        elif not stays:
            self._write(self.item.direction, made, self._stood)
            self._write(self.item.direction + "Deny", denies, self.item.denies)
        self._say()

    def _write(self, key: str, made: list[Rule], was: list[Rule]) -> None:
        """Rules that the policy has from now on, where they are others than those that it had."""
        if made != was:
            obj = self.out.change(self.item.number)
            nothing: list[Rule] = [{}] if self.item.kind in KINDS and key == self.item.direction else []
            obj.set((*self.item.base, key), [*(self.item.standing if key == self.item.direction else ()), *made] or nothing, self.item.src)
            obj.note("lets through between pods of the mesh what it did with the source's proxies, which take connections on another port")

    # -- what it lets through

    @property
    def _stood(self) -> list[Rule]:
        return self.item.rules if self.item.kind in KINDS else at(self._document, self.item.base).get(self.item.direction) or []

    def _entries(self) -> Iterator[Rule]:
        for rule in self._stood:
            yield from self._of_cilium(rule) if self.item.kind in KINDS else self._of_kubernetes(rule, self.meeting.way)

    def _of_kubernetes(self, entry: Rule, way: str) -> Iterator[Rule]:
        """An entry of a NetworkPolicy, for those of its peers that come to the same ports each."""
        ports = numbered(entry)
        if not ports:
            yield entry
            return
        listed: list[Any] = entry.get(way) or [None]
        parts: list[tuple[list[Rule], list[Any]]] = []
        for peer in listed:
            known: Peer = ("Entities", "all") if peer is None else peer_of(peer, self.item.ref.namespace)
            now = self._through(known, ports)
            same = next((peers for those, peers in parts if those == now), None)
            if same is None:
                parts.append((now, [peer]))
            else:
                same.append(peer)
        for now, peers in parts:
            if now == ports:
                yield entry if peers == listed else {**entry, way: peers}
            elif now:
                named = {"ports": [_plain(port) for port in now]}
                yield named if peers == [None] else {way: peers, **named}

    def _denied(self, rule: Rule) -> Iterator[Rule]:
        """A rule of Cilium that denies: what it denied of connections between pods of the mesh, or more."""
        return self._of_cilium(rule, self._refusing)

    def _of_cilium(self, rule: Rule, through: Callable[[Peer, list[Rule]], list[Rule]] | None = None) -> Iterator[Rule]:
        """A rule of Cilium likewise. What asks for requests stays: proxies hide them from the network before and after."""
        through = through or self._through
        if "icmps" in rule or not rule.get("toPorts"):
            yield rule
            return
        way = self.meeting.way
        rest = {key: value for key, value in rule.items() if key not in {way + word for word in PEERS}}
        parts: list[tuple[list[Rule], list[Peer]]] = []
        for peer in self.meeting.peers(rule):
            now = []
            for entry in rule["toPorts"]:
                ports = entry.get("ports") or [{"port": "0"}]
                kept = ports if any(entry.get(word) for word in READ) else through(peer, ports)
                now += [entry if kept == ports else {**entry, "ports": kept}] if kept else []
            parts.append((now, [peer]))
            if now != rule["toPorts"] and (outside := self.meeting.outside(peer)):
                parts.append((rule["toPorts"], outside))
        if all(now == rule["toPorts"] for now, _ in parts):
            yield rule
            return
        for now, peers in parts:
            for kind, peer in peers if now else ():
                named = {} if (kind, peer) == ("Entities", "all") else {way + kind: [peer]}
                yield {**named, **copy.deepcopy(rest), "toPorts": copy.deepcopy(now)}

    def _where(self, peer: Peer) -> str:
        kind, item = peer
        if peer in self.meeting.outside(peer):
            return OUTSIDE
        if kind != "Endpoints":
            return EITHER
        if pods := self.network.taken(item):
            known = {self.ir.world.meshed(one) for one in pods}
            return OUTSIDE if known == {False} else INSIDE if known == {True} else EITHER
        spaces = Peers(self.ir.world).namespaces(take_apart(selector_of(item)), None)
        return EITHER if spaces is None or any(self._enrolled(name) for name in spaces) else OUTSIDE

    def _enrolled(self, name: str) -> bool:
        """Whether pods of a namespace that the bundle does not show may be in the mesh."""
        known = self.ir.world.namespaces.get(name)
        return name not in SYSTEM and (known is None or (known.meshed is not None and known.meshed.value))

    def _through(self, peer: Peer, ports: list[Rule]) -> list[Rule]:
        """The ports that peers are let through on, so that they come to what they came to."""
        where = self._where(peer)
        hidden = self._hidden(ports, where)
        if not hidden:
            return ports
        rest = _rest(ports, hidden)
        carried = self.before is not None and any(holds(port, self.before) for port in hidden)
        carrying = self.after is not None and any(holds(port, self.after) for port in hidden)
        if self.before is not None and not carried:  # nothing came through
            if self.after is not None and not carrying:
                return ports
            return self._stricter("refused", where, ports, rest)
        if self.before is None:
            servers = self._servers(peer, where)
            if self._said or (servers and all(self.network.stated.within(one, ports) for one in servers)):
                return ports if carrying else self._added(where, ports)
            if not carrying:
                if not self._elsewhere(peer):
                    self.told.setdefault("shut", set()).add(where)
                return ports
            return self._stricter("taken", where, ports, [*_without(hidden, self.after), *rest])
        if self.after is None:
            self.told.setdefault("every" if where == INSIDE else "held", set()).add(where)
            return [*carried_by(self._servers(peer, where)), *rest] if where == INSIDE else ports
        return ports if carrying else self._added(where, ports)

    def _hidden(self, ports: list[Rule], where: str) -> list[Rule]:
        """The ports of which the network sees no connection to them, for the proxies' port hides it; [] where that makes no difference."""
        found = [port for port in ports if spoken(port) in ("TCP", "ANY") and not self._seen(port, where)] if where != OUTSIDE else []
        return [] if any(port.get("port", "0") == "0" for port in found) else found

    def _servers(self, peer: Peer, where: str) -> list[Workload]:
        """The pods that take the connections; [] where only the cluster knows them."""
        if self.item.direction == "ingress":
            return self.members
        return self.network.taken(peer[1]) if where == INSIDE else []

    def _elsewhere(self, peer: Peer) -> bool:
        """Whether another entry lets the port of the target's proxies through for all of these peers."""
        pods = {id(one) for one in self.network.taken(peer[1])} if peer[0] == "Endpoints" else set()
        for rule in self.item.rules:
            ports = [port for entry in rule.get("toPorts") or () for port in entry.get("ports") or [{"port": "0"}]]
            if "icmps" in rule or (ports and not any(holds(port, self.after or 0) for port in ports)):
                continue
            for kind, item in self.meeting.peers(rule):
                within = pods and kind == "Endpoints" and pods <= {id(one) for one in self.network.taken(item)}
                if within or (kind, item) in (peer, ("Entities", "all")):
                    return True
        return False

    def _added(self, where: str, ports: list[Rule]) -> list[Rule]:
        self.told.setdefault("added", set()).add(where)
        return [*ports, {"port": str(self.after), "protocol": "TCP"}]

    def _refusing(self, peer: Peer, ports: list[Rule]) -> list[Rule]:
        """The ports that peers are denied, so that they do not come to more."""
        where = self._where(peer)
        hidden = self._hidden(ports, where)
        if not hidden:
            return ports
        carried = self.before is None or any(holds(port, self.before) for port in hidden)
        carrying = self.after is not None and any(holds(port, self.after) for port in hidden)
        if not carried and where == INSIDE and not carrying:  # it denied them nothing
            self.told.setdefault("opened", set()).add(where)
            return _rest(ports, hidden)
        if not carried or carrying:
            return ports
        number = "0" if self.after is None else str(self.after)
        return self._stricter("closed", where, ports, [*ports, {"port": number, "protocol": "TCP"}])

    def _stricter(self, what: str, where: str, ports: list[Rule], narrow: list[Rule]) -> list[Rule]:
        if self.options.on_loss == "looser":
            self.told.setdefault("stays", set()).add(where)
            return ports
        self.told.setdefault(what, set()).add(where)
        return narrow

    def _seen(self, port: Rule, where: str) -> bool:
        """Whether connections to a port are what they are for the network with all proxies: no pod of the mesh is asked there, or its proxy lets them by."""
        known = numbers(port, self.members)
        if known is None:
            return False
        low, high, _ = known
        if self.item.direction == "ingress":
            return low == high and all(one.bypasses(low) for one in self.members)
        carries = any(number is not None and holds(port, number) for number in (self.before, self.after))
        return where == EITHER and not carries and not any(low <= number <= high for number in self.network.declared)

    # -- a deny in the mesh

    def _shut(self) -> bool:
        """Whether nobody in the mesh came to these pods, which a deny of the mesh can say of them alone: whatever the network sees of unmeshed peers stays."""
        spec = self._spec()
        plain = not (spec.get("matchExpressions") or any(":" in key for key in spec.get("matchLabels") or ()))
        if self.item.direction != "ingress" or self.options.target != "istio" or self.after is not None or not plain:
            return False
        beside = {id(other): other for one in self.members for other in self.network.beside[self.item.direction, id(one)]}
        return self.item.kind != KINDS[1] and not any(self._lets(rule) for other in beside.values() for rule in other.rules)

    def _lets(self, rule: Rule) -> bool:
        """Whether a rule let somebody of the mesh through."""
        if "icmps" in rule or all(self._where(peer) == OUTSIDE for peer in self.meeting.peers(rule)):
            return False
        plain = [entry for entry in rule.get("toPorts") or () if not any(entry.get(word) for word in READ)]
        ports = [port for entry in plain for port in entry.get("ports") or [{"port": "0"}]]
        return not rule.get("toPorts") or any(holds(port, self.before or 0) or self._seen(port, EITHER) for port in ports)

    def _spec(self) -> Rule:
        chosen: Rule = at(self._document, self.item.base).get("podSelector" if self.item.kind not in KINDS else "endpointSelector") or {}
        return chosen

    def _deny(self) -> None:
        space, labels = self.item.ref.namespace, dict(self._spec().get("matchLabels") or {})
        stays = self.item.number in self.out.outside
        name = self.out.free(ISTIO, "AuthorizationPolicy", space, f"{self.item.ref.name}-mesh")
        made = self.out.object(
            ISTIO,
            "AuthorizationPolicy",
            Ref(space, name),
            owner=self.members[0].document if stays else self.item.number,
            because=self.item.src,
        )
        if labels:
            made.set(("spec", "selector", "matchLabels"), labels, self.item.src)
        made.set(("spec", "action"), "DENY", self.item.src)
        made.set(("spec", "rules"), [{"from": [{"source": {"principals": ["*"]}}]}], self.item.src)
        made.note(f"{self.item} let nobody of the mesh through, whose connections came in on port {self.before}")

    # -- what is said

    def _say(self) -> None:
        told, item = self.told, self.item
        ports = {number for one in self.members for number in self.network.ports(one)}
        strangers = any(one not in self.members for one in item.pods)

        def say(code: str, outcome: str, severity: str, effect: str) -> None:
            said(
                self.out,
                code,
                item,
                self.members,
                ports,
                outcome=outcome,
                severity=severity,
                effect=effect,
                object=str(item),
                port=str(self.after),
            )

        if "stays" in told:
            outcome = READ_ONLY if item.number in self.out.outside else LETTING
            say("MP186" if self.before is not None else "MP187", outcome, "error", "widens")
        elif "denied" in told:
            say("MP186", DENIED, "warning", "none")
        elif "refused" in told:
            say("MP186", REFUSING, "warning", "narrows" if strangers or EITHER in told["refused"] else "none")
        elif "taken" in told:
            say("MP187", "the port is taken out, and callers of the mesh are refused", "error", "narrows")
        if "held" in told:
            say("MP186", HELD, "warning", "narrows")
        elif "every" in told:
            say("MP186", EVERY, "info", "narrows" if strangers else "none")
        if "opened" in told:
            say("MP186", OPENED, "info", "none")
        if "closed" in told and "stays" not in told:
            exact = self.before is not None
            say("MP186" if exact else "MP187", CLOSED, "warning", "none" if exact else "narrows")
        if "added" in told:
            say("MP188", "", "info", "none")
        if "shut" in told and "taken" not in told:
            said_together(self.out, "MP185", item, self.members, ports, port=str(self.after))


def _rest(ports: list[Rule], hidden: list[Rule]) -> list[Rule]:
    """The ports, of those that are hidden what they say of other protocols than TCP."""
    return [made for port in ports for made in ([port] if port not in hidden else _other(port))]


def _other(port: Rule) -> list[Rule]:
    """What a port says of other protocols than TCP."""
    return [{**port, "protocol": protocol} for protocol in ("UDP", "SCTP")] if spoken(port) == "ANY" else []


def _without(ports: list[Rule], number: int | None) -> list[Rule]:
    """Ports less one."""
    found: list[Rule] = []
    for port in ports:
        if number is None or not holds(port, number):
            found.append({**port, "protocol": "TCP"})
            continue
        low = int(port["port"])
        around = ((low, number - 1), (number + 1, port.get("endPort") or low))
        found += spans((first, last) for first, last in around if first <= last <= LAST)
    return found


def _plain(port: Rule) -> Rule:
    """A port as a NetworkPolicy writes it."""
    text = str(port["port"])
    named = {} if text == "0" else {"port": int(text) if text.isdigit() else text}
    return {"protocol": port["protocol"], **named, **({"endPort": port["endPort"]} if "endPort" in port else {})}
