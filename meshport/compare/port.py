"""One port of a workload, compared: what each side admits there, as sets of requests, less what the other admits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

from meshport.compare.presence import real
from meshport.compare.request import UNNAMED
from meshport.dialects.base import Options
from meshport.effective.access import Effective
from meshport.effective.admitted import allowed, meant, meet, probes
from meshport.effective.identities import Identities
from meshport.effective.pieces import Piece, Unsayable, methods_of, of_rule
from meshport.effective.remainder import MOST_PAIRS, remainder
from meshport.effective.seen import by_labels, local
from meshport.effective.sets import Methods, Values
from meshport.ir.authorization import PORT, Condition, Rule
from meshport.ir.model import IR, ByLabel
from meshport.values.language import Language, LanguageTooLarge


@dataclass(slots=True)
class Sides:
    """Both configurations."""

    old: IR
    new: IR
    one: Options
    other: Options
    customs: bool  # whether requests that an external authorizer is asked about are looked at; a conversion has a finding for each

    def domestic(self, pieces: list[Piece]) -> list[Piece]:
        """The pieces with peers of any trust domain as those of this one, where the two meshes write peers differently: of another domain no peer is known."""
        if self.old.mesh == self.new.mesh and self.one.trust_domain == self.other.trust_domain:
            return pieces
        way = ByLabel(self.one.trust_domain, frozenset((None, self.one.trust_domain)))
        return [_domestic(piece, way) for piece in pieces]


@dataclass(slots=True)
class Compared:
    widened: list[Piece] = field(default_factory=list)
    narrowed: list[Piece] = field(default_factory=list)
    count: int = 0
    unshown: bool = False  # callers that the bundle speaks of and does not show would be newly refused
    opened: list[Piece] = field(default_factory=list)  # probes' requests that are newly admitted, which `widened` leaves out
    refused: list[Piece] = field(default_factory=list)  # `narrowed` with what nobody that the bundle shows can send
    undecided: tuple[str, ...] = ()


def _rules(item: Effective, port: int, http: bool) -> tuple[Any, ...]:
    """What decides on a port, without names and order: equal for rules that say the same in the same words, however they are spread over policies."""
    beside = tuple(_rules(one, port, http) for one in item.beside)
    if item.meshed is False or item.workload.bypasses(port):
        return "open", beside
    own = item.at(port)
    default = item.default(port) if not own else ""
    fallbacks = frozenset(policy.fallback.value for policy in own if policy.fallback is not None)
    sides = [frozenset(_rule(rule) for policy in policies for rule in policy.rules) for policies in (own, item.denies, item.customs)]
    return (item.mode(port).value, default, fallbacks, *sides, bool(own), http, tuple(item.probe_paths(port)), beside)


def _rule(rule: Rule) -> tuple[Any, ...]:
    return _conjunction(rule.conditions), frozenset(map(_conjunction, rule.unless)), rule.http


def _conjunction(conditions: Iterable[Condition]) -> frozenset[Any]:
    return frozenset(
        (
            one.attribute,
            None if one.any_of is None else frozenset(fact.value for fact in one.any_of),
            frozenset(fact.value for fact in one.none_of),
        )
        for one in conditions
    )


def compare(item: Effective, other: Effective, port: int, https: tuple[bool, bool], sides: Sides) -> Compared:
    if _rules(item, port, https[0]) == _rules(other, port, https[1]) and item.by_label == other.by_label:
        return Compared(count=1)
    asked: tuple[str, ...] = ()
    try:
        if sides.customs and not _asked_alike(item, other, port, https):
            asking = (*item.customs, *other.customs)[0]
            asked = (f"{asking.kind} {asking.ref.value} asks an external authorizer, which has the last word",)
        networks = sides.one.cluster_networks
        rules = _plain(sides.domestic(meant(item, port, https[0], networks)))
        exempt = probes(item.probe_paths(port))
        for known in item.beside:
            exempt = meet(exempt, allowed(known, port, https[0], networks))
        one = [*rules, *exempt]
        two = _plain(sides.domestic(allowed(other, port, https[1], sides.other.cluster_networks)))
        count = len(one) + len(two)
        if (
            item.meshed is False and not item.beside and other.meshed is not False
        ):  # nothing governed it, so that nothing can be newly allowed
            return Compared(count=count)
        way = _by_label(other, sides)
        spared = _probes(item, port)
        shown = not (
            sides.customs and sides.old.mesh == sides.new.mesh
        )  # of two bundles of one mesh nothing is supposed of who is not there
        widened = [piece for piece in remainder(two, [*one, *spared], MOST_PAIRS) if real(piece, sides.old.world, way, shown=shown)]
        asked_for = [made for probe in spared for piece in two if not (made := probe.meet(piece)).empty]
        opened = [piece for piece in remainder(asked_for, one, MOST_PAIRS) if real(piece, sides.old.world, way, shown=False)]
        # what a mesh itself keeps open for the kubelet is no rule of anybody's; the other has its own way (MP229)
        refused = remainder(rules, two, MOST_PAIRS)
        narrowed = [piece for piece in refused if real(piece, sides.old.world, way, shown=shown)]
        unshown = not narrowed and any(real(piece, sides.old.world, way, shown=False) for piece in refused)
    except (Unsayable, LanguageTooLarge, ValueError) as error:
        return Compared(count=1, undecided=(str(error),))
    return Compared(widened, narrowed, count, unshown, opened, refused, asked)


def of_these(lost: Iterable[Piece], refused: list[Piece], item: Effective, other: Effective, sides: Sides) -> tuple[list[Piece], bool]:
    """What is in some requests that a rule lets in and is newly refused, and whether more of it is if callers are there that the bundle speaks of and does not
    show. `refused` are those of `compare`."""
    mine = [seen for piece in lost for seen in by_labels(piece, sides.one.cluster_networks, item.by_label)] if item.by_label else [*lost]
    gone = meet(_plain(sides.domestic(mine)), refused)
    way = _by_label(other, sides)
    found = [piece for piece in gone if real(piece, sides.old.world, way)]
    return found, not found and any(real(piece, sides.old.world, way, shown=False) for piece in gone)


def _by_label(other: Effective, sides: Sides) -> ByLabel | None:
    return ByLabel(sides.one.trust_domain, frozenset((None, sides.one.trust_domain))) if other.by_label is not None else None


def _plain(pieces: list[Piece]) -> list[Piece]:
    """The pieces with what they ask of the pseudo-headers for method and host as what they ask of method and host."""
    return [made for piece in pieces if not (made := _of_pseudo_headers(piece)).empty]


def _of_pseudo_headers(piece: Piece) -> Piece:
    asked = {name: value for name, value in piece.headers.by_name if name in (":method", ":authority", "host")}
    if not asked:
        return piece
    methods, host = piece.methods, piece.host
    for name, value in asked.items():
        texts = (value.inside or Language.any()) - (value.outside or Language.none())
        if name == ":method":
            methods = methods.meet(methods_of(texts, at_least=False))
        else:
            host = texts if host is None else host & texts
    return replace(piece, methods=methods, host=host, headers=Values(tuple(one for one in piece.headers.by_name if one[0] not in asked)))


def _asked_alike(item: Effective, other: Effective, port: int, https: tuple[bool, bool]) -> bool:
    """Whether external authorizers are asked about the same requests on both sides."""
    one, two = (
        [piece for policy in side.customs for rule in policy.rules for piece in of_rule(rule, http=http, deny=True, port=port)]
        for side, http in zip((item, other), https, strict=True)
    )
    return not remainder(one, two, MOST_PAIRS) and not remainder(two, one, MOST_PAIRS)


def _domestic(piece: Piece, way: ByLabel) -> Piece:
    who = piece.who
    if who.include is None and not who.exclude:
        return piece
    include = None if who.include is None else frozenset(local(item, way) for item in who.include)
    return replace(piece, who=Identities(include, frozenset(local(item, way) for item in who.exclude)).tidy())


def _probes(item: Effective, port: int | None) -> list[Piece]:
    """GET on the exact paths of declared probes: the one thing that may be newly allowed (the kubelet has no identity)."""
    found = probes(probe.path for probe in item.workload.probes if probe.kind == "http" and probe.port == port)
    if any(probe.kind == "grpc" and probe.port == port for probe in item.workload.probes):
        found.append(Piece(methods=Methods(frozenset(("POST",)), False), path=Language.exact("/grpc.health.v1.Health/Check")))
    return found


def others(ports: set[int], *sides: Effective) -> list[int]:
    """A number for each class of ports that nothing names alone: those of each range, and all the rest."""
    edges = {1, 65536}
    for item in sides:
        for ranges in (item.workload.bypassed, item.workload.demanding):
            edges |= {edge for low, high in (ranges.value if ranges is not None else ()) for edge in (max(low, 1), high + 1)}
        for policy in (*item.allows, *item.denies, *item.customs):
            for condition in (one for rule in policy.rules for one in rule.conditions if one.attribute == PORT):
                for low, high in (fact.value for fact in (*(condition.any_of or ()), *condition.none_of) if isinstance(fact.value, tuple)):
                    if 0 < low < high:
                        edges |= {low, high + 1}
    found = []
    bounds = sorted(edge for edge in edges if edge <= 65536)
    for low, after in pairwise(bounds):
        start = UNNAMED if low <= UNNAMED < after else low
        number = next((one for one in chain(range(start, after), range(low, start)) if one not in ports), None)
        if number is not None:
            found.append(number)
    return found
