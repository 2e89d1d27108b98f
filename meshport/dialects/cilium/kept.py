"""Network policy that stays beside another mesh: Cilium goes on as the network, and every request has to pass both (mapping decisions 3).

A proxy hides HTTP and its caller's port from the network. So where a peer may be in the mesh, the kept half loses its HTTP rules and handshakes, which the
mesh's half then says, and lets the mesh's own port through, which carries every other port; what the network alone can see (egress, other protocols,
addresses, the world) stays as it was. Kafka rules would let a meshed peer send anything, so that their ports are closed in both halves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.apart import Sides, parted, sides
from meshport.dialects.cilium.headers import changing
from meshport.dialects.cilium.outward import Outward, alone, labelled
from meshport.dialects.cilium.peers import NAMESPACE, may_join
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cilium.writing import ECHO
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output, Path
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY, PORT, Condition, Rule
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Workload, World
from meshport.mapping.bound import Bound
from meshport.mapping.table import version_key
from meshport.values.identities import EVERYONE

KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
IN_MESH = ("all", "cluster")  # entities that hold pods
AMBIENT = 15008  # the port of ztunnel
UNSEEN = ("MP121", "MP297")
"""Losses of policies for pods that the bundle does not show, or not tell from others."""
BEYOND = ("MP120", "MP296")
"""Losses of policies for nodes, and for endpoints that are no pods."""
STAYS = "stays in the network policy that is kept beside the mesh"
_PROTOCOLS = ("kafka", "l7proto", "l7")
_PODS = {"matchExpressions": [{"key": f"k8s:{NAMESPACE}", "operator": "Exists"}]}
_PEERS = ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "FQDNs", "Services")


def mesh_port(options: Options) -> int | None:
    """The port on which a proxy of the target takes what its peers' proxies send, whatever port the application has; None where it keeps the application's."""
    return AMBIENT if options.target == "istio" and options.data_plane == "ambient" else proxy_port(options.target, options.target_version)


def proxy_port(mesh: str, version: str) -> int | None:
    """That port of a mesh with sidecars."""
    return 4143 if mesh == "linkerd" and version_key(version) >= (2, 18) else None


def carried_on(world: World, pods: Iterable[Workload], options: Options) -> int | None:
    """The port on which pods in the source mesh take what comes from each other; None where they keep the application's, or do not all do the same."""
    found = set()
    for one in pods:
        home = world.namespaces.get(one.ref.namespace)
        mark = one.meshed or (home.meshed if home is not None else None)
        ambient = mark is not None and mark.feature == "membership.ambient"
        found.add(AMBIENT if ambient else proxy_port(options.source, options.source_version))
    return found.pop() if len(found) == 1 else None


def keep(bound: Bound, ir: IR, out: Output, options: Options) -> IR:
    """Keep the network policies beside the target, changed where the mesh takes a part over; the policies that the mesh has a part of."""
    read = {item.document for item in ir.policies} | {item.document for item in ir.egress}
    refused = {loss.document for loss in ir.losses if loss.code == "MP015"} | bound.broken
    kept = [
        number
        for number, document in enumerate(bound.bundle.documents)
        if bound.mesh[number] and number not in refused and bound.kinds.get(number, document.kind) in KINDS
    ]
    unseen = _unseen(bound, ir)
    selected = sides(bound, ir, kept)
    for number, parts in selected.items():
        for base, spec in specs(Cursor.root(bound, number)):
            if parts[base].outside:
                unseen.setdefault(number, {})[base] = spec.at("endpointSelector").src
    whole = {number for number, places in unseen.items() if len(places) == len(specs(Cursor.root(bound, number)))}
    whole |= {loss.document for loss in ir.losses if loss.code in BEYOND and loss.document not in read}
    outward = Outward(bound, ir.world, kept, options.default_namespace)
    for number in kept:
        document = bound.bundle.documents[number]
        if number in whole:  # whose pods the mesh cannot tell, of those it takes nothing over
            out.staying.add(number)
            out.imply(STAYS, frozenset(range(document.first, document.first + document.count)))
        else:
            Kept(bound, ir, out, options, number, outward, unseen.get(number, {}), selected.get(number, {})).write()
        out.kept.add(number)
    for number in _groups(bound, kept):
        document = bound.bundle.documents[number]
        out.staying.add(number)
        out.imply("stays with the network policies that refer to it", frozenset(bound.bundle.leaves_of(document)))
    hidden = {number: frozenset().union(*places.values()) for number, places in unseen.items()}
    ir = replace(
        ir, policies=[one for one in ir.policies if one.document not in whole and not one.subject.src & hidden.get(one.document, NOWHERE)]
    )
    return replace(ir, egress=[])


def _unseen(bound: Bound, ir: IR) -> dict[int, dict[Path, Src]]:
    """By document, the sets of rules whose pods the bundle does not show, or not tell from others, with the leaves that say which."""
    found: dict[int, dict[Path, Src]] = {}
    for loss in ir.losses:
        if loss.code in UNSEEN:
            lost = sources(*loss.facts)
            for base, spec in specs(Cursor.root(bound, loss.document)):
                if spec.src & lost:
                    found.setdefault(loss.document, {})[base] = spec.at("endpointSelector").src
    return found


def _groups(bound: Bound, kept: list[int]) -> list[int]:
    """The CiliumCIDRGroups, where network policies stay that may speak of them: by name, or by labels."""
    return [
        number
        for number, document in enumerate(bound.bundle.documents)
        if kept and bound.mesh[number] and document.kind == "CiliumCIDRGroup" and number not in bound.broken
    ]


def in_force(ir: IR, options: Options) -> IR:
    """The kept half as requests meet it: for callers in the mesh a rule with the mesh's port holds for every port that the port carries."""
    number = mesh_port(options)
    if number is None:
        return ir
    policies = []
    for policy in ir.policies:
        held = _denying if policy.action.value == "deny" else _carrying
        policies.append(replace(policy, rules=tuple(part for rule in policy.rules for part in held(rule, number))))
    return replace(ir, policies=policies)


def _denying(rule: Rule, number: int) -> tuple[Rule, ...]:
    """A deny of ports does not see what the mesh's port carries: it holds for callers without a proxy."""
    ports = rule.condition(PORT)
    if ports is None or any(_holds(fact.value, number) for fact in ports.any_of or ()):
        return (rule,)
    return (replace(rule, conditions=(*rule.conditions, Condition(IDENTITY, None, (Fact(EVERYONE, ports.sources),)))),)


def _holds(port: Any, number: int) -> bool:
    return isinstance(port, tuple) and port[0] <= number <= port[1]


def _carrying(rule: Rule, number: int) -> tuple[Rule, ...]:
    condition = rule.condition(PORT)
    if condition is None or not any(_holds(fact.value, number) for fact in condition.any_of or ()):
        return (rule,)
    rest, who = tuple(item for item in rule.conditions if item is not condition), rule.condition(IDENTITY)
    if who is None:  # whoever has no proxy comes to the ports themselves
        return rule, replace(rule, conditions=(Condition(IDENTITY, (Fact(EVERYONE, condition.sources),)), *rest))
    return (replace(rule, conditions=rest),)


# -- the kept half


@dataclass(slots=True)
class Kept:
    """One network policy on its way to standing beside a mesh."""

    bound: Bound
    ir: IR
    out: Output
    options: Options
    number: int
    outward: Outward
    unseen: dict[Path, Src]  # its rules whose pods the mesh cannot tell, or does not take in: they stay as they are
    selected: dict[Path, Sides]
    untouched: set[int] = field(
        default_factory=set
    )  # rules (ids of their values) that stay as they are although their peers may be in the mesh
    cut_off: dict[Ref, None] = field(default_factory=dict)  # whom meshed clients do not reach any more
    let_in: dict[Ref, None] = field(default_factory=dict)  # or reach for more than before
    unasked: set[int] = field(default_factory=set)  # what egress rules asked of requests to the one of them, that nothing asks any more
    elsewhere: set[int] = field(default_factory=set)  # and what goes without saying
    hidden: dict[str, None] = field(default_factory=dict)  # and those of either that the bundle does not show, in words

    def write(self) -> None:
        root = Cursor.root(self.bound, self.number)
        document = self.bound.bundle.documents[self.number]
        gone: set[int] = set()
        changed = False
        for base, spec in self._specs(root):
            before = changed
            changed = False
            for direction in ("ingress", "egress"):
                rules = spec.each(direction)
                parts = [(rule, self._rule(rule, direction, base, gone)) for rule in rules]
                made = [part for _, found in parts for part in found]
                if rules and made != [rule.value for rule in rules]:
                    obj = self.out.change(self.number, group=f"policy {document.name}", rank=45)
                    path: Path = (*base, direction)
                    unread = sources(*(_requests(rule) for rule, found in parts if not any(map(_reads, found))))
                    obj.set(path, made or [{}], spec.at(direction).src - gone - unread)
                    changed = True
            more = [part for rule in spec.each("egressDeny") for part in self._denied(rule, base)]
            if more:
                self.out.change(self.number).set((*base, "egressDeny"), [*spec.at("egressDeny").value, *more], spec.at("egressDeny").src)
                changed = True
            if changed and (beyond := self.selected[base].beyond(self.ir.world.apart if self._http_of(spec) else ())):
                parted(self.out, self.number, base, spec, beyond, root.at("metadata", "name").src)
            changed |= before
        whole = frozenset(range(document.first, document.first + document.count))
        stripped = self._http(root) if changed else NOWHERE  # what the kept copy does not have any more, and the mesh says
        if changed:
            self.out.change(self.number).note("kept beside the mesh, which says its HTTP rules and its peers' identities")
        else:
            self.out.staying.add(self.number)
        self.out.imply(STAYS, whole - gone - stripped)
        for match in (each for _, spec in self._specs(root) for each in changing(spec, "egress") if each.src & stripped):
            self.out.finding(
                "MP127", match.src, document=self.number, disposition="dropped", feature="authorization.operation.headers", value=match.at("mismatch").value,
                object=f"{document.kind} {Ref(document.namespace or '', document.name)}",
            )  # fmt: skip
        self.out.decide(
            "is asked for at the servers, whose own rules let in no more, or let out by another rule", stripped & self.elsewhere
        )
        self._tell("MP175", self.cut_off)
        self._tell("MP176", self.let_in)

    def _tell(self, code: str, servers: dict[Ref, None]) -> None:
        document = self.bound.bundle.documents[self.number]
        hidden = self.hidden if (code == "MP176") == (self.options.on_loss == "looser") else {}
        if servers or hidden:
            lost = frozenset(self.unasked) if code == "MP176" else NOWHERE
            self.out.finding(
                code, lost, document=self.number, disposition="dropped" if lost else None, feature="l4.egress", policy=f"{document.kind} {Ref(document.namespace or '', document.name)}",
                workloads=", ".join([*map(str, servers), *hidden]), affects=tuple(Affected(ref.namespace, ref.name) for ref in servers),
            )  # fmt: skip

    def _specs(self, root: Cursor) -> list[tuple[Path, Cursor]]:
        return [(base, spec) for base, spec in specs(root) if base not in self.unseen]

    def _http(self, root: Cursor) -> Src:
        return sources(*(self._http_of(spec) for _, spec in self._specs(root)))

    def _http_of(self, spec: Cursor) -> Src:
        """What rules that are changed ask of requests and of handshakes."""
        src: set[int] = set()
        for direction in ("ingress", "egress"):
            for rule in spec.each(direction):
                if self._meshed(rule, direction) and id(rule.value) not in self.untouched:
                    src |= rule.at("authentication").src
                    src |= _requests(rule)
        return frozenset(src)

    def _rule(self, place: Cursor, direction: str, base: Path, gone: set[int]) -> list[Any]:
        """What a rule becomes: itself where no peer can be in the mesh, else without what the network cannot see any more."""
        if not isinstance(place.value, dict) or not self._meshed(place, direction) or not place.value:
            return [copy.deepcopy(place.value)]
        within = self._within(place, base) if direction == "egress" else None
        mode = place.at("authentication", "mode").value
        if within is not None or mode == "test-always-fail":
            self.untouched.add(id(place.value))
            return [copy.deepcopy(place.value), *(within or ())]
        parts = self._taken_over(place, direction, gone)
        return parts if mode != "required" else _authenticated(place.value, parts, direction)

    def _taken_over(self, place: Cursor, direction: str, gone: set[int]) -> list[Any]:
        """A rule without what the mesh says of its peers."""
        value = copy.deepcopy(place.value)
        value.pop("authentication", None)
        entries = place.each("toPorts")
        if not entries:
            return [value]
        made, plain, read = [], [], []
        for entry, item in zip(entries, value["toPorts"], strict=True):
            if by_proxy(item):  # the mesh holds none of it, and on its port Cilium's proxy would meet TLS of other keys
                plain.append(item)
                made.append(item)
                continue
            rules = item.get("rules") if isinstance(item, dict) else None
            if isinstance(rules, dict) and any(word in rules for word in _PROTOCOLS):
                gone |= entry.src
                continue
            if isinstance(rules, dict) and "http" in rules:
                item.pop("rules")
                read.append(item)
            else:
                plain.append(item)
            self._through(item)
            made.append(item)
        if not made:
            gone |= place.src
            return []
        value["toPorts"] = made
        if not read:
            return [value]
        if not plain or place.at("authentication"):
            return self._parted(place, value, direction, entries)
        parted = self._parted(place, {**value, "toPorts": read}, direction, [entry for entry in entries if entry.at("rules")])
        return [{**value, "toPorts": plain}, *parted] if len(parted) > 1 else [value]

    def _within(self, place: Cursor, base: Path) -> list[Any] | None:
        """What an egress rule that stays as it is has beside it, for destinations that decide the rest by themselves; None where all of them do."""
        number, entries = mesh_port(self.options), place.each("toPorts")
        if place.at("authentication", "mode").value == "test-always-fail":
            return []
        if not entries or (number is None and not any(entry.at("rules").each("http") for entry in entries)):
            return None
        wide, narrow = self.outward.refused(self.number, base, place, ports=number is not None)
        unshown = self.outward.beyond(self.number, base, place, ports=number is not None)
        self.hidden |= {one.words: None for one in unshown}
        if self.options.on_loss == "looser" or not (wide or unshown):
            self.let_in |= {one.ref: None for one in wide}
            (self.unasked if wide or unshown else self.elsewhere).update(_requests(place))
            return None
        told = {id(one): alone(one, self.ir.world.workloads) for one in narrow}
        lost = (*wide, *(one for one in narrow if told[id(one)] is None))
        self.cut_off |= {one.ref: None for one in lost if self.outward.reached(self.number, base, place, one)}
        selectors = [selector for selector in told.values() if selector is not None]
        if not selectors:
            return []
        if number is not None:
            self.out.carrying.add(self.number)
            return [{"toEndpoints": selectors, "toPorts": [{"ports": [{"port": str(number), "protocol": "TCP"}]}]}]
        read = [copy.deepcopy(entry.value) for entry in entries if entry.at("rules").each("http")]
        return [{"toEndpoints": selectors, "toPorts": [{key: item for key, item in entry.items() if key != "rules"} for entry in read]}]

    def _denied(self, place: Cursor, base: Path) -> list[Any]:
        """What has to be denied beside an egress rule that denies ports: the mesh's port carries those too."""
        number = mesh_port(self.options)
        if number is None or not place.each("toPorts"):
            return []
        found, unshown = self.outward.denied(self.number, base, place), self.outward.unshown(self.number, base, place)
        self.hidden |= {one.words: None for one in unshown}
        if not found and not unshown:
            return []
        if self.options.on_loss == "looser":
            self.let_in |= {one.ref: None for one in found}
            return []
        self.cut_off |= {one.ref: None for one in found}
        peers = [*([{"toEndpoints": [labelled(one) for one in found]}] if found else []), *(one.peers for one in unshown)]
        return [{**copy.deepcopy(one), "toPorts": [{"ports": [{"port": str(number), "protocol": "TCP"}]}]} for one in peers]

    def _parted(self, place: Cursor, value: dict[str, Any], direction: str, entries: list[Cursor]) -> list[Any]:
        """The rule for peers in the cluster, and once more, with its HTTP rules, for those outside: the network goes on seeing those."""
        word = ("from" if direction == "ingress" else "to") + "Entities"
        named = place.at(word).value
        listed = [str(item) for item in named] if isinstance(named, list) else []
        anybody = not any(place.at(("from" if direction == "ingress" else "to") + peers) for peers in _PEERS)
        if not anybody and not {"all", "world"} & set(listed):
            return [value]
        inside = ["cluster"] if anybody or "all" in listed else [item for item in listed if item != "world"]
        rest = {key: copy.deepcopy(item) for key, item in place.value.items() if key not in (word, "toPorts")}
        outside = {word: ["world"], **rest, "toPorts": [copy.deepcopy(entry.value) for entry in entries]}
        return [{word: inside, **{key: item for key, item in value.items() if key != word}}, outside]

    def _through(self, entry: Any) -> None:
        """Let the mesh's port through beside TCP ports."""
        number = mesh_port(self.options)
        ports = entry.get("ports") if isinstance(entry, dict) else None
        if number is None or not isinstance(ports, list) or not ports:
            return
        if any(isinstance(item, dict) and str(item.get("port", "0")) == "0" for item in ports):
            return
        if any(isinstance(item, dict) and item.get("protocol", "ANY") in ("TCP", "ANY") for item in ports):
            ports.append({"port": str(number), "protocol": "TCP"})
            self.out.carrying.add(self.number)

    def _meshed(self, place: Cursor, direction: str) -> bool:
        """Whether a peer of the rule can be a pod of the mesh."""
        way = "from" if direction == "ingress" else "to"
        if not any(place.at(way + peers) for peers in _PEERS):
            return True
        entities = place.at(f"{way}Entities").value
        if isinstance(entities, list) and any(item in IN_MESH for item in entities):
            return True
        return any(self._joins(selector.value) for selector in place.each(f"{way}Endpoints")) or bool(place.at(f"{way}Services"))

    def _joins(self, selector: Any) -> bool:
        """Whether a selector may take pods of a namespace that joins the mesh."""
        labels = selector.get("matchLabels") if isinstance(selector, dict) else None
        pairs = labels.items() if isinstance(labels, dict) else ()
        named = next((value for key, value in pairs if str(key).rpartition(":")[2] == NAMESPACE), None)
        if named is None:
            return True
        return may_join(self.ir.world, str(named))


def _requests(rule: Cursor) -> Src:
    """What a rule asks of HTTP requests, and the mesh may say in its place."""
    return sources(*(entry.at("rules", "http").src for entry in rule.each("toPorts") if not by_proxy(entry.value)))


def by_proxy(entry: Any) -> bool:
    """Whether Cilium's own proxy ends or begins TLS for ports, or hands them to a listener."""
    return isinstance(entry, dict) and any(entry.get(key) for key in ("terminatingTLS", "originatingTLS", "listener"))


def _reads(rule: Any) -> bool:
    """Whether a rule that is written asks anything of HTTP requests."""
    entries = (rule.get("toPorts") if isinstance(rule, dict) else None) or ()
    return any(isinstance(entry, dict) and "http" in (entry.get("rules") or {}) for entry in entries)


def _authenticated(rule: dict[str, Any], parts: list[Any], direction: str) -> list[Any]:
    """The parts of a rule that asks for a handshake: without it for TCP of pods, which may be in the mesh; whatever else there is goes on being asked."""
    way = "from" if direction == "ingress" else "to"
    anybody = all(rule.get(f"{way}{peers}") is None for peers in _PEERS)
    if rule.get("icmps"):
        return [copy.deepcopy(rule)]
    if anybody and not rule.get("toPorts"):
        return parts  # for nobody
    found = []
    for part in parts:
        if "authentication" in part:
            found.append(part)
            continue
        listed = part.get(f"{way}Entities")
        if anybody or (
            isinstance(listed, list) and any(item in IN_MESH for item in listed)
        ):  # nodes and the world have no identity to shake hands with
            part = {key: item for key, item in part.items() if key != f"{way}Entities"} | {f"{way}Endpoints": [_PODS]}
        found += [{**part, "toPorts": entries} for entries in [_speaking(part, "TCP")] if entries]
    found += [{**copy.deepcopy(rule), "toPorts": entries} for entries in [_speaking(rule, "UDP", "SCTP")] if entries]
    return found if rule.get("toPorts") else [*found, {**copy.deepcopy(rule), "icmps": [{"fields": ECHO}]}]


def _speaking(rule: dict[str, Any], *protocols: str) -> list[Any]:
    """The ports of a rule for some protocols; a rule without `toPorts` has all, an entry that lists none has none."""
    if not rule.get("toPorts"):
        return [{"ports": [{"port": "0", "protocol": one} for one in protocols]}]
    found = []
    for entry in rule["toPorts"] if isinstance(rule["toPorts"], list) else ():
        listed = [port for port in entry.get("ports") or () if isinstance(port, dict)] if isinstance(entry, dict) else []
        said = [(port, port.get("protocol", "ANY")) for port in listed]
        ports = [{**port, "protocol": one} for port, name in said for one in (protocols if name == "ANY" else (name,)) if one in protocols]
        if ports:
            found.append({**copy.deepcopy(entry), "ports": ports})
    return found
