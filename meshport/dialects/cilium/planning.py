"""What one region of workloads admits, by policy of the source and by port, in rules that a CiliumNetworkPolicy can hold; what cannot be said is left out
and told.

A CiliumNetworkPolicy closes every port and every protocol of the pods that it selects. So each port that stays open has to be named: those that a policy
or a Server speaks of, and the rest by ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.cilium.callers import Known, callers, endpoints
from meshport.dialects.cilium.port_names import called, settle
from meshport.dialects.cilium.saying import Unsaid, requests
from meshport.dialects.cilium.saying import paths as spelled
from meshport.dialects.cilium.telling import Note, Told, left_out, name_of, tell_of_callers, widened
from meshport.dialects.output import Output
from meshport.effective import raw
from meshport.effective.access import Effective, Region, admission_conditions, ports_of
from meshport.effective.apart import apart, lost
from meshport.effective.felt import Denied, felt
from meshport.effective.pieces import Piece, Unsayable, nameless, of_rule, subtract
from meshport.effective.relaxed import relaxed
from meshport.effective.seen import by_labels
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import PATH, PORT, Pattern, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import ByLabel
from meshport.ir.world import Workload, World
from meshport.values.language import Language, LanguageTooLarge

DEFAULT = "default"
SCRAPE = "scrape"
BYPASS = "bypass"
Where = int | None  # a container port; None is every port that nothing names


@dataclass(slots=True)
class Entry:
    """One rule in the making: one kind of peers, the requests that they may send (None: any), and the ports where that holds."""

    kind: str  # fromEndpoints, fromEntities, fromCIDRSet, or "" for anybody
    peers: tuple[str, ...]  # as canonical text
    shown: list[Any]
    requests: list[dict[str, Any]]
    ports: set[Where]
    src: Src
    names: dict[int, str] = field(default_factory=dict)  # of ports that are known by these alone


@dataclass(slots=True)
class Part:
    """What one policy of the source (or a default) comes to for a region."""

    label: str
    policy: Policy | None
    document: int
    src: Src
    entries: list[Entry] = field(default_factory=list)

    def key(self, known: list[int]) -> tuple[Any, ...]:
        """Equal for parts that are written alike: what holds on every port does so whatever ports are known."""
        every: set[Where] = {*known, None}
        ranged = any(None in item.ports and item.ports != every for item in self.entries)
        places = [
            tuple(sorted(item.ports, key=lambda port: (port is None, port or 0))) if item.ports != every else "every"
            for item in self.entries
        ]
        said = [
            (item.kind, item.peers, repr(item.requests), place, tuple(sorted(item.names.items())))
            for item, place in zip(self.entries, places, strict=True)
        ]
        return (tuple(said), tuple(known) if ranged else ())


@dataclass(slots=True)
class Plan:
    """A region with all that has to be written for it. `closed`: whether anything is closed there at all."""

    region: Region
    ports: list[int]
    parts: list[Part]
    closed: bool
    broad: bool  # whether policies close every port, and not only those that they name
    strict: bool


@dataclass(slots=True)
class Context:
    out: Output
    world: World
    options: Options
    known: Known
    way: ByLabel
    region: Region
    raw: bool  # whether the source compares paths as sent
    direct: dict[int, set[int]]  # rules of denies that are written as denies: by id of the policy, their numbers
    told: Told
    shared: dict[int, set[int]]  # the ports of all the workloads that an allow holds for, by its id: so that it reads the same for all
    like: tuple[Workload, ...] | None = None  # for pods that the bundle does not show: the known ones whose ports speak as theirs do

    def finding(self, code: str, *because: Fact[Any], document: int | None, **said: Any) -> None:
        """Something to be told at once; of pods that the bundle does not show it is kept with what is left out."""
        if self.like is None:
            self.out.finding(code, *because, document=document, **said)
        else:
            self.told.setdefault((code,), Note({}, {}, document or 0))

    def protocol(self, port: Where) -> tuple[str, Src]:
        """What a port speaks. Of pods that the bundle does not show it is known from others, or from the Services before them where there are none; where these
        do not agree it is bytes, of which no rule for requests lets any in. Linkerd's Servers say it themselves."""
        if port is None:
            return "", NOWHERE
        if self.like is None:
            return protocols.together([item.workload for item in self.region.members], port, self.world)
        if self.out.source == "linkerd":
            return "", NOWHERE
        pods = self.like or [item.workload for item in self.region.members]
        words = {protocols.of_port(workload, port, self.world)[0] for workload in pods}
        if not self.like and "" in words:  # no Service says it
            return "tcp", NOWHERE
        return (words.pop() if len(words) == 1 else "" if words and all(map(protocols.is_http, words)) else "tcp"), NOWHERE

    def affects(self, port: Where) -> tuple[Affected, ...]:
        return tuple(Affected(item.workload.ref.namespace, item.workload.ref.name, port) for item in self.region.members)

    def note(
        self, code: str, document: int, port: Where, src: Src, said: dict[str, Any], left: Sequence[Piece] | None = None, **values: Any
    ) -> None:
        """Something to be told, together with the same of other ports and workloads; of what names no policy, of all in the namespace. `left` are the requests
        that are left out, where these are known."""
        key = (code, document if "policy" in values else self.region.namespace, repr(sorted(said.items())), repr(sorted(values.items())))
        found = self.told.setdefault(key, Note(said, values, document))
        found.src |= src
        found.ports.add(port)
        found.affects.update(dict.fromkeys(self.affects(port)))
        explains = self.explains(port)
        found.explains |= explains
        found.leave_out(explains, left)

    def explains(self, port: Where) -> frozenset[tuple[str, str]]:
        return frozenset(
            (access_subject(item.workload.ref, port), aspect) for item in self.region.members for aspect in ("allow", "deny", "default")
        )


def plan(context: Context) -> Plan:
    """The parts of a region. Findings are made for what is left out."""
    region = context.region
    first = closing(region.first)
    shared = {port for policy in first.allows if policy.port is None for port in context.shared.get(id(policy), ())}
    known_ports = sorted({*ports_of(region.members, context.world), *mentioned(first), *shared})
    folded = [policy for policy in (*first.denies, *first.customs) if _folds(context, policy)]
    broad = any(policy.port is None for policy in first.allows)
    narrow = any(port is not None and first.closes(port) for port in known_ports)
    demanded = any(
        first.mode(port).value == "strict" or first.default(port) not in ("all-unauthenticated", "audit") for port in (*known_ports, None)
    )
    result = Plan(
        region,
        known_ports,
        [],
        bool(broad or narrow or folded or demanded),
        broad,
        any(first.mode(port).value == "strict" for port in (*known_ports, None)),
    )
    if not result.closed:
        return result
    parts: dict[str, Part] = {}
    for port in (*known_ports, None):
        if first.workload.bypasses(port):
            part = parts.setdefault(BYPASS, Part(BYPASS, None, first.workload.document, sources(first.workload.bypassed)))
            _add(part, "", [], [], port, sources(first.workload.bypassed))
            continue
        _port(context, first, port, parts, folded)
        if port is not None:
            _scrape(context, port, parts)
    if BYPASS in parts:
        gone = [port for port in known_ports if first.workload.bypasses(port)]
        context.finding(
            "MP289", document=first.workload.document, affects=tuple(one for port in gone for one in context.affects(port)), feature="authorization.posture",
            workloads=", ".join(str(item.workload.ref) for item in region.members), ports=", ".join(map(str, gone)),
        )  # fmt: skip
    for policy in first.allows:  # a policy that lets nobody in still closes
        if policy.port is None:
            parts.setdefault(str(policy.ref.value), _part(policy))
    result.parts = list(parts.values())
    settle([entry for part in result.parts for entry in part.entries])
    if first.admission.value == "audit" and not broad:
        context.finding(
            "MP213",
            first.admission,
            document=None,
            disposition="approximated",
            affects=context.affects(None),
            feature="inbound.default-policy",
            what="The default policy audit",
        )
    return result


def closing(item: Effective) -> Effective:
    """The workload with the allows that an allow of everything made void: side by side they say the same, for each pod that they select."""
    return replace(item, allows=item.opened) if item.opened and not item.allows else item


def mentioned(item: Effective) -> set[int]:
    """The single ports that policies, modes and demands of a workload name."""
    found = {port for port in item.transport if port is not None}
    ranges = [
        fact.value
        for policy in (*item.allows, *item.denies, *item.customs)
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == PORT
        for fact in (*(condition.any_of or ()), *condition.none_of)
    ]
    for fact in (item.workload.bypassed, item.workload.demanding):
        ranges += list(fact.value) if fact is not None else []
    for low, high in ranges:
        if 0 < low <= high and high - low < 64:
            found |= set(range(low, high + 1))
    for policy in item.allows:
        if policy.port is not None:
            value = policy.port.value
            number = value if isinstance(value, int) else next((port.number for port in item.workload.ports if port.name == value), None)
            if number is not None:
                found.add(number)
    return {port for port in found if 0 < port < 65536}


def _folds(context: Context, policy: Policy) -> bool:
    written = context.direct.get(id(policy), set())
    return any(number not in written for number in range(len(policy.rules)))


def _part(policy: Policy) -> Part:
    return Part(str(policy.ref.value), policy, policy.document, policy.ref.src | policy.subject.src | policy.action.src)


def _port(context: Context, first: Effective, port: Where, parts: dict[str, Part], folded: list[Policy]) -> None:
    protocol, protocol_src = context.protocol(port)
    for policy in first.at(port):
        if context.raw and any(rule.condition(PATH) is not None for rule in policy.rules):
            said = {"feature": "authorization.operation.paths"}
            context.note("MP288", policy.document, port, NOWHERE, said, policy=f"{policy.kind} {policy.ref.value}")
        spoken = policy.protocol.value if policy.protocol is not None else ""
        if context.raw and not spoken and not protocol and any(rule.needs_http and not rule.http for rule in policy.rules):
            context.note(
                "MP300", policy.document, port, NOWHERE, {"feature": "server.protocol"}, policy=f"{policy.kind} {policy.ref.value}"
            )
        if policy.protocol is not None:
            protocol, protocol_src = spoken, policy.protocol.src
    http = protocols.is_http(protocol)
    members = context.like or tuple(item.workload for item in context.region.members)
    strict = first.mode(port).value == "strict"
    disabled = first.mode(port).value == "disable"
    denied = partial(_refused, http=http, port=port, disabled=disabled)
    denies = _denies(context, first, port, folded, denied)
    silenced = raw.refused(folded, port, disabled) if http else []

    def allowed(rule: Rule) -> list[Piece]:
        pieces = of_rule(rule, http=http, port=port, strict=strict)
        return nameless(pieces) if disabled else pieces

    def problem(rule: Rule) -> str:
        try:
            for piece in allowed(rule):
                requests(piece)
        except (Unsaid, Unsayable, ValueError) as error:
            return str(error)
        return ""

    def computed(rule: Rule) -> list[Piece] | None:
        try:
            return allowed(rule)
        except (Unsayable, ValueError):
            return None

    found = ((part, listed, one) for part, listed in _rules(context, first, port, parts) for one in apart(listed, problem))
    for part, listed, rule in found:
        without = lost(rule, listed, problem) if context.options.on_loss != "looser" else None
        if without is not None:
            left_out(context, "MP393", part, port, without[1], without[0], computed(rule))
            continue
        try:
            pieces = allowed(rule)
            other = of_rule(rule, http=http, port=port, strict=not strict)
        except (Unsayable, ValueError) as error:
            left_out(context, "MP201", part, port, rule.sources, str(error))
            continue
        by_mode = first.mode(port).src if [piece.who for piece in pieces] != [piece.who for piece in other] else NOWHERE
        if not http and rule.needs_http:
            by_mode |= protocol_src
        cutting = [deny for deny in denies if any(_touches(one, piece) for one in deny.pieces for piece in pieces)]
        idle = NOWHERE
        name = called(rule, port, members, context.world)
        if cutting or not all(_whole(context, piece) for piece in pieces):
            cutting, idle = felt(rule, cutting, allowed, denied, partial(_written, context))
        for left in _cut(context, part, port, pieces, [piece for deny in cutting for piece in deny.pieces]):
            for piece, requests_alone in raw.parted(left, silenced):
                only_http = requests_alone or (piece.any_request and rule.http and not protocol)  # void for what turns out not to be HTTP
                for seen in by_labels(piece, context.options.cluster_networks, context.way):
                    _say(context, part, port, seen, by_mode, idle, only_http, name)


def _rules(context: Context, first: Effective, port: Where, parts: dict[str, Part]) -> Iterator[tuple[Part, Rule]]:
    policies = first.at(port)
    for policy in policies:
        part = parts.setdefault(str(policy.ref.value), _part(policy))
        if policy.port is not None:
            part.src |= policy.port.src
        for rule in policy.rules:
            yield part, rule
    if not policies and first.default(port) != "deny":
        src = first.admission.src
        if first.default(port) != first.admission.value:
            src |= sources(first.workload.demanding)
        part = parts.setdefault(DEFAULT, Part(DEFAULT, None, context.region.first.workload.document, src))
        yield part, Rule(admission_conditions(first.default(port), context.options.cluster_networks, src), src=src)


def _denies(context: Context, first: Effective, port: Where, folded: list[Policy], refused: Callable[[Rule], list[Piece]]) -> list[Denied]:
    found: list[Denied] = []
    for policy in folded:
        written = context.direct.get(id(policy), set())
        for number, rule in enumerate(policy.rules):
            if number in written:
                continue
            whole = replace(rule, src=rule.src | sources(policy.action, policy.subject))
            pieces = refused(whole)
            if pieces and policy.action.value == "custom":
                context.note("MP211", policy.document, port, policy.sources, {"disposition": "dropped"}, policy=str(policy.ref.value))
            if pieces:
                found.append(Denied(whole, tuple(pieces)))
    return found


def _refused(rule: Rule, *, http: bool, port: Where, disabled: bool) -> list[Piece]:
    """A rule of a deny as pieces; all requests where it cannot be understood."""
    try:
        pieces = of_rule(rule, http=http, deny=True, port=port)
    except (Unsayable, ValueError):
        pieces = [Piece(src=rule.sources)]
    return nameless(pieces) if disabled else pieces


def _touches(deny: Piece, piece: Piece) -> bool:
    try:
        return piece.minus(deny) != [piece]
    except (Unsayable, ValueError):
        return True


def _gets(requests: list[dict[str, Any]], path: str) -> bool:
    """Whether rules for requests let a plain GET of a path through."""
    return any(
        rule.keys() <= {"method", "path"}
        and re.fullmatch(rule.get("method", "GET"), "GET") is not None
        and Language.regex(rule.get("path", ".*")).accepts(path)
        for rule in requests
    )


def _spoken(context: Context) -> list[int]:
    """The declared ports at which requests can be asked about."""
    members = [item.workload for item in context.region.members]
    declared = sorted(ports_of(context.region.members, context.world))
    return [port for port in declared if protocols.is_http(protocols.together(members, port, context.world)[0])]


def _scrape(context: Context, port: int, parts: dict[str, Part]) -> None:
    """Prometheus on a port that the policies close: a rule where --allow-scrape-from asks for it, else a finding. Istio serves an application's metrics past
    its policies; Linkerd does not."""
    asked = [(item.workload, scrape) for item in context.region.members if (scrape := item.workload.scraped(port)) is not None]
    opened = any(
        port in item.ports and not item.kind and (not item.requests or _gets(item.requests, asked[0][1].path))
        for part in (parts.values() if asked else ())
        for item in part.entries
    )
    accounts = sorted(Ref(*name.partition("/")[::2]) for name in context.options.allow_scrape_from)
    if not asked or opened or (not accounts and context.options.source != "istio"):
        return
    workload, scrape = asked[0]
    path, src = scrape.path, scrape.src
    values: dict[str, Any] = {"workload": str(workload.ref), "port": port, "path": path}
    said: dict[str, Any] = {"document": workload.document, "affects": context.affects(port), "explains": context.explains(port)}
    if not accounts:
        quiet: dict[str, Any] = {"severity": "info", "effect": "none"} if scrape.by_monitor else {}  # it is refused by the source as well
        context.out.finding("MP232", feature="authorization.scrape", **quiet, **said, **values)
        return
    part = parts.setdefault(SCRAPE, Part(SCRAPE, None, workload.document, src))
    _add(
        part,
        "fromEndpoints",
        endpoints((), accounts),
        [{"method": "GET", "path": text} for text in spelled(Pattern("exact", path))],
        port,
        src,
    )
    context.out.finding("MP233", feature="authorization.scrape", peers=", ".join(context.options.allow_scrape_from), **said, **values)


def _whole(context: Context, piece: Piece) -> bool:
    """Whether all of a piece can be said."""
    try:
        requests(piece)
    except (Unsaid, Unsayable, LanguageTooLarge):
        return False
    found = [callers(seen, context.known) for seen in by_labels(piece, context.options.cluster_networks, context.way)]
    return not any(who.foreign or who.gateways or who.outside or who.absent or who.listed or who.addresses for who in found)


def _written(context: Context, pieces: list[Piece], denies: list[Piece]) -> Hashable | None:
    """What of the pieces less the denies can be said, as text; None where it cannot be computed."""
    try:
        left = subtract(pieces, denies) if denies else pieces
    except (Unsayable, ValueError, LanguageTooLarge):
        return None
    found = []
    for seen in (one for piece in left for one in by_labels(piece, context.options.cluster_networks, context.way)):
        try:
            said = repr(requests(seen))
        except (Unsaid, Unsayable, LanguageTooLarge):
            continue
        found += [repr(kind) + said for kind in callers(seen, context.known).kinds()]
    return tuple(sorted(found))


def _cut(context: Context, part: Part, port: Where, pieces: list[Piece], denies: list[Piece]) -> list[Piece]:
    if not denies:
        return pieces
    left: list[Piece] = []
    for piece in pieces:
        try:
            left.extend(subtract([piece], denies))
        except (Unsayable, ValueError) as error:
            src = piece.src | frozenset(leaf for deny in denies for leaf in deny.src)
            if context.options.on_loss == "looser":
                left.append(piece)
                widened(context, "MP219", part, port, src, str(error))
                continue
            left_out(context, "MP202", part, port, src, str(error), [piece])
    return left


def _say(
    context: Context, part: Part, port: Where, piece: Piece, more: Src, idle: Src, only_http: bool = False, name: str | None = None
) -> None:
    """Write a piece, or say why it is left out. `more` are reasons beside its own, `idle` those of its own that nothing is written for."""
    try:
        said = requests(piece) or ([{}] if only_http else [])
    except (Unsaid, Unsayable, LanguageTooLarge) as error:
        if context.options.on_loss == "looser":
            widened(context, "MP218", part, port, piece.src, str(error))
            _say(context, part, port, relaxed(piece, _problem), more, idle, name=name)
            return
        left_out(context, "MP201", part, port, piece.src, str(error), [piece])
        return
    who = callers(piece, context.known)
    tell_of_callers(context, part, port, piece, who)
    if who.nobody:
        return
    if said and port is None:
        context.finding(
            "MP280", document=part.document, affects=context.affects(None), explains=context.explains(None), feature="authorization.posture",
            policy=part.label if part.label != DEFAULT else str(context.region.first.workload.ref), ports=", ".join(map(str, _spoken(context))) or "none",
        )  # fmt: skip
        return
    if piece.methods.nearly:
        said_here = {"disposition": "approximated", "feature": "authorization.operation.methods"}
        context.note("MP196", part.document, port, piece.src, said_here, policy=name_of(part), methods=", ".join(piece.methods.listed()))
    for kind, peers in who.kinds():
        _add(part, kind, peers, said, port, (piece.src - idle) | part.src | more, name)


def _problem(piece: Piece) -> str:
    """Why the requests of a piece cannot be said; "" where they can."""
    try:
        requests(piece)
    except (Unsaid, Unsayable, LanguageTooLarge) as error:
        return str(error)
    return ""


def _add(part: Part, kind: str, peers: list[Any], said: list[dict[str, Any]], port: Where, src: Src, name: str | None = None) -> None:
    text = tuple(map(repr, peers))
    for item in part.entries:
        if (item.kind, item.peers, item.requests) == (kind, text, said):
            break
    else:
        item = Entry(kind, text, peers, said, set(), NOWHERE)
        part.entries.append(item)
    if name is None and port is not None:
        item.names.pop(port, None)
    elif name is not None and port is not None and port not in item.ports:
        item.names[port] = name
    item.ports.add(port)
    item.src |= src
