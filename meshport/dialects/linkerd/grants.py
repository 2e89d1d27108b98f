"""What one port of a region admits, rule by rule, in pieces that Linkerd can be told, and what of it cannot be said."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.linkerd import routesets
from meshport.dialects.linkerd.authentication import CLUSTER, NoPeers, Peers, peers
from meshport.dialects.linkerd.refusals import Punched, positive, punched, sayable, says, unlisted
from meshport.dialects.nameable import joining, named, pods_of, weight, why
from meshport.dialects.output import Output
from meshport.effective import raw
from meshport.effective.access import Effective, Region, admission_conditions
from meshport.effective.apart import apart, lost
from meshport.effective.felt import Denied, felt
from meshport.effective.identities import Identities, label, of_gateways, of_no_domain
from meshport.effective.pieces import Piece, Unsayable, completed, nameless, of_rule, pathless, subtract
from meshport.effective.relaxed import TARGET, relaxed
from meshport.effective.remainder import bare
from meshport.effective.sets import Methods, Value
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import Entity, Labelled, Policy, Rule
from meshport.ir.base import NOWHERE, Ref, Src, sources
from meshport.ir.world import World
from meshport.values.identities import Identity
from meshport.values.language import BARE_PATHS, Language
from meshport.values.ports import CalledPort

SCRAPE = "scrape"


@dataclass(frozen=True, slots=True)
class Routed:
    """Peers and some of their requests, less those that better routes refuse."""

    who: Peers
    piece: Piece
    refused: tuple[Piece, ...] = ()


@dataclass(slots=True)
class Grant:
    """One rule's admission on one port: peers by piece. `server` pieces admit every request, `routed` ones some."""

    name: str
    policy: Policy | None  # None: the port's own default
    document: int
    src: Src
    server: list[tuple[Peers, Piece]] = field(default_factory=list)
    routed: list[Routed] = field(default_factory=list)

    @property
    def scrapes(self) -> bool:
        """Whether it is for Prometheus, whom no policy of the source let in."""
        return self.policy is None and self.name == SCRAPE

    def pieces(self) -> list[tuple[Peers, Piece]]:
        """Everything that the rule admits, and some of what is refused of it."""
        return [*self.server, *((item.who, item.piece) for item in self.routed)]

    def peer_groups(self) -> list[tuple[Peers, tuple[Piece, ...], list[Piece]]]:
        """Routed pieces with equal peers and equal refusals together."""
        groups: dict[tuple[Peers, tuple[Piece, ...]], list[Piece]] = {}
        for item in self.routed:
            groups.setdefault((item.who, item.refused), []).append(item.piece)
        return sorted(((who, refused, pieces) for (who, refused), pieces in groups.items()), key=lambda item: (len(item[1]), str(item[0])))


@dataclass(slots=True)
class PortPlan:
    """Everything to be written for one port of a region."""

    port: int
    closed: bool
    strict: bool
    protocol: str
    grants: list[Grant]
    src: Src
    cut: bool = False  # whether a deny took something out


@dataclass(frozen=True, slots=True)
class Context:
    """What the grants of one region are computed with."""

    out: Output
    world: World
    options: Options
    gateways: frozenset[Ref]
    region: Region
    shown: bool = True  # whether its pods are known: what holds for others nobody compares

    def affects(self, port: int | None) -> tuple[Affected, ...]:
        port = None if isinstance(port, CalledPort) else port
        return tuple(Affected(member.workload.ref.namespace, member.workload.ref.name, port) for member in self.region.members)

    def explains(self, port: int | None, *aspects: str) -> frozenset[tuple[str, str]]:
        members = self.region.members if self.shown else ()
        return frozenset((access_subject(member.workload.ref, port), aspect) for member in members for aspect in aspects)


def plan(context: Context, port: int, port_src: Src) -> PortPlan:
    """The grants of a port. Findings are made for what is left out."""
    first = context.region.first
    protocol, protocol_src = protocols.together([member.workload for member in context.region.members], port, context.world)
    http = protocols.is_http(protocol)
    mode = first.mode(port)
    strict = mode.value == "strict"
    closed = first.closes(port)
    disabled = mode.value == "disable"
    denied = partial(_refused, http=http, port=port, disabled=disabled)
    denies = _denies(context, first, port, denied)
    silenced = [] if protocol else raw.refused((*first.denies, *first.customs), port, disabled)

    found = list(_sources(context, first, port, closed))
    together = [rule for _, rules in found for rule in rules]
    others: dict[bool, list[Piece]] = {}

    def told(rule: Rule, found: list[Piece]) -> list[Piece]:
        pieces = [pathless(piece) for piece in found]
        if disabled:
            return nameless(pieces)
        alike = rule.http or bool(protocol)  # on a port that is detected, rules of HTTP say nothing of bytes
        if alike not in others and any(piece.who.exclude for piece in pieces):
            others[alike] = _others([one for one in together if alike or not one.http], http, port, strict)
        return [completed(piece, others.get(alike, [])) for piece in pieces]

    def allowed(rule: Rule) -> list[Piece]:
        return told(rule, of_rule(rule, http=http, port=port, strict=strict))

    result = PortPlan(port, closed, strict, protocol, [], port_src | protocol_src, bool(denies or silenced))
    if not closed:
        result.src |= mode.src

    def problem(rule: Rule) -> str:
        try:
            for piece in allowed(positive(rule)[0]):
                if not piece.any_request:
                    routesets.matches(piece)
        except (Unsayable, ValueError) as error:
            return str(error)
        return ""

    for grant, rules in found:
        for listed, rule in ((whole, one) for whole in rules for one in apart(whole, problem)):
            without = lost(rule, listed, problem) if context.options.on_loss != "looser" else None
            if without is not None:
                _left_out(context, "MP393", grant, port, without[1], without[0])
                continue
            rule, excepted = positive(rule)
            own = [Denied(one, tuple(denied(one))) for one in excepted]
            try:
                read = of_rule(rule, http=http, port=port, strict=strict)
                pieces = told(rule, read)
                by_mode = disabled or _who(read) != _who(of_rule(rule, http=http, port=port, strict=not strict))
            except (Unsayable, ValueError) as error:
                _left_out(context, "MP201", grant, port, rule.sources, str(error))
                continue
            cutting = [deny for deny in (*denies, *own) if any(_touches(one, piece) for one in deny.pieces for piece in pieces)]
            idle = NOWHERE
            if cutting or not all(_whole(context, piece) for piece in pieces):
                every = cutting
                cutting, idle = felt(rule, every, allowed, denied, partial(_written, context))
                for deny in (one for one in every if one not in cutting):
                    _of_strangers(context, grant, port, pieces, deny)
            left: list[Punched] = []
            for piece in pieces:
                taken = [one for deny in cutting for one in deny.pieces if _touches(one, piece)]
                left += _left(context, grant, port, piece, taken) if taken else [Punched(piece)]
                if not closed:
                    result.src |= sources(*(one.src for one in taken)) - idle
            for item, requests_alone in (
                (unlisted(replace(one, piece=part)), alone) for one in left for part, alone in raw.parted(one.piece, silenced)
            ):
                # On a port that is detected, the rule is void for what turns out not to be HTTP: admit HTTP requests only, by a route.
                if _admit(context, grant, port, item, idle, routed=requests_alone or (rule.http and not protocol)) and by_mode:
                    result.src |= mode.src
                if requests_alone and not closed:
                    result.src |= item.piece.src - idle
        if grant.server or grant.routed:
            result.grants.append(grant)
    _scrape(context, result)
    _prune(result.grants)
    result.grants = [grant for grant in result.grants if grant.server or grant.routed]
    return result


def _others(rules: list[Rule], http: bool, port: int, strict: bool) -> list[Piece]:
    """What the rules of a port admit: with it "every caller but these" may be every caller."""
    out: list[Piece] = []
    for rule in rules:
        with suppress(ValueError):
            pieces = of_rule(rule, http=http, port=port, strict=strict)
            out += map(pathless, pieces)
    return out


def _touches(deny: Piece, piece: Piece) -> bool:
    """Whether a deny takes something out of a piece, as far as that can be told."""
    try:
        return piece.minus(deny) != [piece]
    except (Unsayable, ValueError):
        return True


def _who(pieces: list[Piece]) -> list[Identities]:
    return [piece.who for piece in pieces]


def _scrape(context: Context, result: PortPlan) -> None:
    """Prometheus on a port that the policies close: a grant where --allow-scrape-from asks for it, else a finding."""
    scraped = [member for member in context.region.members if member.workload.scraped(result.port) is not None]
    if not scraped or (not result.closed and not result.strict):
        return
    asked = scraped[0].workload.scraped(result.port)
    assert asked is not None
    path, src = asked.path, asked.src
    if any(piece.opens(path) for grant in result.grants for _, piece in grant.server) or any(
        item.piece.opens(path) and not item.refused for grant in result.grants for item in grant.routed
    ):
        return
    said: dict[str, Any] = {
        "document": scraped[0].workload.document,
        "affects": context.affects(result.port),
        "explains": context.explains(result.port, "allow"),
    }
    shown: dict[str, Any] = {"workload": str(scraped[0].workload.ref), "port": result.port, "path": path}
    if not context.options.allow_scrape_from:
        said["affects"] = tuple(Affected(member.workload.ref.namespace, member.workload.ref.name, result.port) for member in scraped)
        quiet: dict[str, Any] = {"severity": "info", "effect": "none"} if asked.by_monitor else {}  # it is refused by the source as well
        context.out.finding("MP232", feature="authorization.scrape", **quiet, **said, **shown)
        return
    accounts = [name.partition("/")[::2] for name in context.options.allow_scrape_from]
    members = tuple(Identity(context.options.trust_domain, namespace, account) for namespace, account in sorted(accounts))
    piece = Piece(who=Identities(frozenset(members)), methods=Methods(frozenset(("GET",)), False), path=Language.exact(path), src=src)
    grant = Grant(SCRAPE, None, scraped[0].workload.document, src)
    grant.routed.append(Routed(Peers(members, None), piece))
    result.grants.append(grant)
    context.out.finding("MP233", feature="authorization.scrape", peers=", ".join(context.options.allow_scrape_from), **said, **shown)


def _prune(grants: list[Grant]) -> None:
    """Take out what a broader grant of the same port lets in already: fewer routes say the same. One to a route lets no bytes in, as one to the Server may."""
    pieces = [
        *((who, piece, frozenset[Piece](), True) for grant in grants for who, piece in grant.server),
        *((item.who, item.piece, frozenset(item.refused), False) for grant in grants for item in grant.routed),
    ]
    kept: list[tuple[Peers, Piece, frozenset[Piece], bool]] = []
    for new in pieces:
        if not any(_holds(other, new) for other in kept):
            kept = [item for item in kept if not _holds(new, item)] + [new]
    left = {id(piece) for _, piece, _, _ in kept}
    for grant in grants:
        grant.server = [item for item in grant.server if id(item[1]) in left]
        grant.routed = [item for item in grant.routed if id(item.piece) in left]


def _holds(one: tuple[Peers, Piece, frozenset[Piece], bool], other: tuple[Peers, Piece, frozenset[Piece], bool]) -> bool:
    return one[1].covers(other[1]) and not one[0].listed and one[2] <= other[2] and one[3] >= other[3]


def _sources(context: Context, first: Effective, port: int, closed: bool) -> Iterable[tuple[Grant, list[Rule]]]:
    if not closed:
        admission = first.admission
        grant = Grant("default", None, context.region.first.workload.document, admission.src)
        yield grant, _of_admission(admission.value, context.options, admission.src)
        return
    for policy in first.at(port):
        numbers = sorted({rule.number for rule in policy.rules})
        for number in numbers:
            rules = [rule for rule in policy.rules if rule.number == number]
            suffix = str(number + 1) if len(numbers) > 1 else ""
            name = policy.ref.value.name + (f"-{suffix}" if suffix else "")
            src = frozenset(policy.ref.src | policy.subject.src | policy.action.src)
            yield Grant(name, policy, policy.document, src), rules


def _of_admission(value: str, options: Options, src: Src) -> list[Rule]:
    return [] if value == "deny" else [Rule(admission_conditions(value, options.cluster_networks, src), src=src)]


def _of_strangers(context: Context, grant: Grant, port: int, pieces: list[Piece], deny: Denied) -> None:
    """A deny without which the same is written: of pods that the bundle does not show, under accounts that it lets in."""
    named = {one for piece in deny.pieces for one in piece.who.include or () if isinstance(one, Labelled)}
    for peer in sorted((one for one in named if not pods_of(context.world, one)), key=label):
        for let_in in sorted({label(one) for piece in pieces for one in piece.who.include or ()}):
            context.out.gather(
                (grant.document, _label(grant), let_in, str(peer)), "MP203", NOWHERE, document=grant.document, disposition="approximated", severity="info",
                affects=context.affects(port), explains=context.explains(port, "allow", "deny", "default"), policy=_label(grant),
                peers=f"{let_in} but {label(peer)}", others="all others", listed={"port": (port,)},
            )  # fmt: skip


def _denies(context: Context, first: Effective, port: int, refused: Callable[[Rule], list[Piece]]) -> list[Denied]:
    found: list[Denied] = []
    for policy in (*first.denies, *first.customs):
        for rule in policy.rules:
            whole = replace(rule, src=rule.src | sources(policy.action, policy.subject))
            pieces = refused(whole)
            if pieces and policy.action.value == "custom":
                context.out.gather(
                    policy.document, "MP211", policy.sources, document=policy.document, disposition="dropped", affects=context.affects(port),
                    explains=context.explains(port, "allow", "deny", "default"), policy=str(policy.ref.value), listed={"port": (port,)},
                )  # fmt: skip
            if pieces:
                found.append(Denied(whole, tuple(pieces)))
    return found


def _refused(rule: Rule, *, http: bool, port: int, disabled: bool) -> list[Piece]:
    """A rule of a deny as pieces; all requests where it cannot be understood."""
    try:
        pieces = of_rule(rule, http=http, deny=True, port=port)
    except (Unsayable, ValueError):
        pieces = [Piece(src=rule.sources)]
    pieces = [pathless(piece) for piece in pieces]
    return nameless(pieces) if disabled else pieces


def _whole(context: Context, piece: Piece) -> bool:
    """Whether all of a piece can be said."""
    try:
        who = peers(piece, context.world, context.options, context.gateways)
        _asked(piece)
    except (NoPeers, routesets.NoMatch):
        return False
    return not (who.listed or who.foreign or who.gateways or who.cluster)


def _written(context: Context, pieces: list[Piece], denies: list[Piece]) -> Hashable | None:
    """What of the pieces less the denies can be said, comparable; None where it cannot be computed."""
    found = set()
    for piece in pieces:
        taken = [deny for deny in denies if _touches(deny, piece)]
        left, problem = _remaining(piece, taken) if taken else ([Punched(piece)], None)
        if problem is not None:
            return None
        for item in left:
            try:
                _asked(item.piece)
                who = peers(item.piece, context.world, context.options, context.gateways)
            except (NoPeers, routesets.NoMatch):
                continue
            found.add((who.members, who.networks, bare(item.piece.request()), frozenset(map(bare, item.refused))))
    return frozenset(found)


def _asked(piece: Piece) -> None:
    """Raises NoMatch where the requests of a piece cannot be said in matches of a route."""
    if not piece.any_request:
        for item in routesets.partition([(0, piece)]):
            routesets.matches(item.request)


def _remaining(piece: Piece, denies: list[Piece]) -> tuple[list[Punched], str | None]:
    """What the denies leave of a piece: by naming it where that is short, else by better routes that refuse the rest; or why that cannot be computed."""
    problem: str | None = None
    rest: list[Piece] = []
    try:
        rest = subtract([piece], denies)
    except (Unsayable, ValueError) as error:
        problem = str(error)
    if problem is None and all(map(_short, rest)):
        return [Punched(one) for one in rest], None
    try:
        found = punched(piece, denies)
        if any(item.refused for item in found):
            return [*found, *(Punched(one) for one in rest if not sayable(one) and not says(found, one))], None
    except (Unsayable, ValueError) as error:
        problem = problem and str(error)
    return [Punched(one) for one in rest] if problem is None else [], problem


def _left(context: Context, grant: Grant, port: int, piece: Piece, denies: list[Piece]) -> list[Punched]:
    """What the denies leave of a piece, with a finding where that cannot be computed."""
    left, problem = _remaining(piece, denies)
    if problem is None:
        return left
    src = frozenset(leaf for deny in denies for leaf in deny.src)
    if context.options.on_loss == "looser":
        _widened(context, "MP219", grant, port, src, problem)
        return [Punched(piece)]
    _left_out(context, "MP202", grant, port, piece.src | src, problem, lost=piece)
    return []


def _short(piece: Piece) -> bool:
    """Whether routes can name the requests of a piece, and its paths by simple patterns."""
    return sayable(piece) and (piece.path is None or piece.patterns is not None or piece.path.as_patterns(BARE_PATHS) is not None)


def _admit(context: Context, grant: Grant, port: int, item: Punched, idle: Src, *, routed: bool = False) -> bool:
    """Put a piece where it can be said, or say why it is left out; whether it was put anywhere. `routed`: on a route, even where it takes every request.
    Nothing is written for the leaves `idle`."""
    piece = item.piece
    try:
        _asked(piece)
    except routesets.NoMatch as error:
        if context.options.on_loss == "looser":
            _widened(context, "MP218", grant, port, piece.src, str(error))
            return _admit(context, grant, port, replace(item, piece=relaxed(piece, _problem)), idle)
        if piece.literals and context.options.source == "cilium":
            what = ", ".join(sorted(attribute.partition(":")[2] or attribute for attribute, _, _ in piece.literals))
            _left_out(context, "MP269", grant, port, piece.src, what, lost=piece, what=what)
        elif piece.headers.get(TARGET) != Value() and context.options.source == "cilium":
            bundle = context.out.bundle
            asked = [str(bundle.value(leaf)) for leaf in sorted(piece.src) if bundle.path(leaf).endswith(".path")]
            _left_out(context, "MP197", grant, port, piece.src, str(error), lost=piece, path=", ".join(dict.fromkeys(asked)))
        else:
            _left_out(context, "MP201", grant, port, piece.src, str(error), lost=piece)
        return False
    who = _peers(context, piece, grant, port)
    if who is None:
        return False
    if piece.methods.unnamed:
        listed = ", ".join(piece.methods.listed())
        context.out.gather(
            (grant.document, _label(grant), listed), "MP196", piece.src, document=grant.document, disposition="approximated",
            affects=context.affects(port), explains=context.explains(port, "allow", "deny", "default"), feature="authorization.operation.methods",
            policy=_label(grant), listed={"port": (port,)}, methods=listed,
        )  # fmt: skip
    written = replace(piece, src=piece.src - idle)
    if piece.any_request and not item.refused and not routed:
        grant.server.append((who, written))
    else:
        grant.routed.append(Routed(who, written, tuple(replace(one, src=one.src - idle) for one in item.refused)))
    return True


def _problem(piece: Piece) -> str:
    """Why a piece's requests cannot be said; "" where they can."""
    try:
        _asked(piece)
    except (Unsayable, ValueError) as error:
        return str(error)
    return ""


def _peers(context: Context, piece: Piece, grant: Grant, port: int) -> Peers | None:
    """The peers that Linkerd can be told of, with findings for the others; None where nobody is left."""
    unnamed = [peer for peer in sorted(piece.who.include or (), key=label) if isinstance(peer, Labelled | Entity) and peer != CLUSTER]
    for peer in unnamed:
        _without_account(context, grant, port, piece, peer)
    if unnamed:
        left = (piece.who.include or frozenset()) - frozenset(unnamed)
        if not left:
            return None
        piece = replace(piece, who=Identities(left, piece.who.exclude))
    try:
        who = peers(piece, context.world, context.options, context.gateways)
    except NoPeers as error:
        _left_out(context, error.code, grant, port, piece.src, str(error), lost=piece)
        return None
    if who.foreign:
        _left_out(context, "MP208", grant, port, piece.src, of_no_domain(who.foreign), "approximated", lost=piece.of(who.foreign))
    if who.gateways:
        why_not = f"{of_gateways(who.gateways)} not part of Linkerd"
        _left_out(context, "MP216", grant, port, piece.src, why_not, "approximated", lost=piece.of(who.gateways))
    if who.cluster:
        context.out.gather(
            (grant.document, _label(grant)), "MP270", piece.src, document=grant.document, disposition="approximated", affects=context.affects(port),
            explains=context.explains(port, "allow", "deny", "default"), feature="l4.entities", policy=_label(grant), listed={"port": (port,)},
            lost=piece.of((CLUSTER,)),
        )  # fmt: skip
    if who.listed:
        # Of those with an identity only such are refused as the bundle does not show; without a demand for one, plaintext callers are refused as well.
        plain = piece.who.include is None or CLUSTER in piece.who.include
        others = "all others, and every caller without an identity," if plain else "all others"
        context.out.gather(
            (grant.document, _label(grant), who.listed), "MP203", piece.src, document=grant.document, disposition="approximated",
            affects=context.affects(port), explains=context.explains(port, "allow", "deny", "default"), policy=_label(grant), listed={"port": (port,)},
            peers=who.listed, others=others, severity="warning" if plain else "info", lost=piece,
        )  # fmt: skip
    return who


def _without_account(context: Context, grant: Grant, port: int, piece: Piece, peer: Labelled | Entity) -> None:
    """Why a peer that no service account of its own stands for is left out."""
    who, feature, lost = str(peer), "authorization.source.labels", piece.of((peer,))
    if isinstance(peer, Entity) or peer.plain:
        besides, severity = joining((peer,)), weight((peer,))
        context.out.gather(
            (grant.document, _label(grant), besides, severity), "MP268", piece.src, document=grant.document, disposition="dropped",
            affects=context.affects(port), explains=context.explains(port, "allow", "deny", "default"), feature="l4.entities", policy=_label(grant),
            listed={"port": (port,), "peers": (named(peer, piece),)}, instead=besides, severity=severity, lost=lost,
        )  # fmt: skip
    elif pods := pods_of(context.world, peer):
        _left_out(context, "MP267", grant, port, piece.src, who, feature=feature, lost=lost, peers=who, why=why(context.world, pods))
    else:
        _left_out(context, "MP275", grant, port, piece.src, who, feature=feature, lost=lost, peers=who)


def _label(grant: Grant) -> str:
    return f"{grant.policy.kind} {grant.policy.ref.value}" if grant.policy is not None else "the default of open ports"


def _left_out(
    context: Context, code: str, grant: Grant, port: int, src: Src, reason: str, disposition: str = "dropped", feature: str = "authorization.rule",
    lost: Piece | None = None, **values: str,
) -> None:  # fmt: skip
    context.out.gather(
        (grant.document, _label(grant), reason), code, src, document=grant.document, disposition=disposition, affects=context.affects(port),
        explains=context.explains(port, "allow", "deny", "default"), feature=feature, policy=_label(grant), listed={"port": (port,)},
        lost=lost, reason=reason, **values,
    )  # fmt: skip


def _widened(context: Context, code: str, grant: Grant, port: int, src: Src, reason: str) -> None:
    context.out.gather(
        (grant.document, _label(grant), reason), code, src, document=grant.document, disposition="approximated", affects=context.affects(port),
        effect="widens", severity="error", explains=context.explains(port, "allow", "deny", "default"), feature="authorization.rule",
        policy=_label(grant), listed={"port": (port,)}, reason=reason,
    )  # fmt: skip


__all__ = ["Context", "Grant", "PortPlan", "plan"]
