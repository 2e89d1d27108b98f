"""What a port admits, all policies together, and the probe paths that a mesh keeps open beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meshport.effective.access import Effective, admission_conditions
from meshport.effective.identities import CLUSTER, WORLD, Identities
from meshport.effective.pieces import Piece, Unsayable, covered, nameless, of_rule, pathless
from meshport.effective.remainder import bare, remainder
from meshport.effective.seen import by_labels
from meshport.effective.sets import Methods
from meshport.ir.authorization import Rule
from meshport.values.language import Language, LanguageTooLarge


def allowed(item: Effective, port: int | None, http: bool, networks: tuple[str, ...]) -> list[Piece]:
    """Everything that a port admits, as pieces; what stays in force beside the mesh has to admit it as well."""
    found = [*ruled(item, port, http, networks), *(probes(item.probe_paths(port)) if http else ())]
    return _admitted_beside(found, item, port, http, networks)


def meant(item: Effective, port: int | None, http: bool, networks: tuple[str, ...]) -> list[Piece]:
    """The same without what a mesh keeps open for the kubelet by itself."""
    found = ruled(item, port, http, networks)
    return _admitted_beside(found, item, port, http, networks) if item.beside else found


def _admitted_beside(pieces: list[Piece], item: Effective, port: int | None, http: bool, networks: tuple[str, ...]) -> list[Piece]:
    found = together(pieces)
    for other in item.beside:
        found = together(meet(found, allowed(other, port, http, networks)))
    return found


def together(pieces: list[Piece]) -> list[Piece]:
    """The pieces, with what both the cluster, but for some of it, and the world may send as what anybody may but those, and with who is not in the cluster as
    the world."""
    inside, outside = frozenset((CLUSTER,)), Identities(frozenset((WORLD,)))
    found = [pathless(replace(piece, who=_named_plainly(piece.who))) for piece in pieces]
    for piece in [one for one in found if one.who.include == inside]:
        wanted = bare(replace(piece, who=outside))
        other = next((one for one in found if one.who == outside and bare(one) == wanted), None)
        if other is not None:
            found = [one for one in found if one is not piece and one is not other]
            found.append(replace(piece, who=Identities(None, piece.who.exclude), src=piece.src | other.src))
    return found


def _named_plainly(who: Identities) -> Identities:
    """Callers that come to everybody but some, to the world, or to the cluster, as that."""
    if who.include is None:
        if CLUSTER in who.exclude:
            return who if WORLD in who.exclude else Identities(frozenset((WORLD,)))
        return Identities(frozenset((CLUSTER,)), who.exclude - {WORLD}) if WORLD in who.exclude else who
    return Identities(None, who.exclude) if who.include >= {CLUSTER, WORLD} else who


def meet(one: Iterable[Piece], other: Iterable[Piece]) -> list[Piece]:
    """The requests that are in both. Raises Unsayable where it cannot be computed."""
    others = list(other)
    found = []
    for piece in one:
        for its in others:
            try:
                both = piece.meet(its)
            except ValueError as error:
                raise Unsayable(str(error)) from None
            if not both.empty:
                found.append(both)
    return found


def ruled(item: Effective, port: int | None, http: bool, networks: tuple[str, ...]) -> list[Piece]:
    """What the policies and the default of a port admit, without what a mesh keeps open for the kubelet by itself."""
    if item.meshed is False or item.workload.bypasses(port):
        return [Piece()]
    found: list[Piece] = []
    mode = item.mode(port).value
    strict = mode == "strict"
    way = item.by_label
    policies = item.at(port)
    if policies:
        for policy in policies:
            for rule in policy.rules:
                found.extend(of_rule(rule, http=http, port=port, strict=strict))
    elif item.default(port) != "deny":
        found.extend(of_rule(Rule(admission_conditions(item.default(port), networks, frozenset())), port=port, strict=strict))
    denies = [
        piece
        for policy in (*item.denies, *item.customs)
        for rule in policy.rules
        for piece in of_rule(rule, http=http, deny=True, port=port)
    ]
    if mode == "disable":
        found, denies = nameless(found), nameless(denies)
    if way is None:
        return remainder(found, denies) if denies else found
    if denies:  # by address what is denied is taken out as it was written; who is left is what labels show
        named = [seen for piece in found for seen in by_labels(piece, (), way)]
        found = remainder(named, (seen for piece in denies for seen in by_labels(piece, networks, way, deny=True)))
    return [seen for piece in found for seen in by_labels(piece, networks, way)]


def probes(paths: Iterable[str]) -> list[Piece]:
    """GET on exact paths, by anybody."""
    return [Piece(methods=Methods(frozenset(("GET",)), False), path=Language.exact(path)) for path in paths]


def only_by_exemption(item: Effective, port: int, networks: tuple[str, ...]) -> list[str]:
    """The paths of declared HTTP probes that nobody could GET without an exemption for probes, or not everybody."""
    paths = item.declared_probes(port)
    try:
        rules = ruled(item, port, True, networks)
        return [path for path in paths if not covered(probes([path]), rules)]
    except (Unsayable, LanguageTooLarge, ValueError):
        return paths
