"""Inbound routes of a Server, made so that the one route that Linkerd picks carries every policy that admits the request.

Linkerd picks the best route and reads only its policies, where Istio lets any rule admit (mapping decisions 3). So requests are cut into sets by the
grants that take them: where two grants overlap, the overlap becomes a route of its own with both. A set may keep an overlap inside where the overlap's
own route ranks above it for certain: by host, by path (a full path before PathPrefix /), by headers, queries, method (Linkerd reference 2.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects.gateway_api.writing import plain_path
from meshport.effective.pieces import Piece, widest
from meshport.effective.remainder import bare
from meshport.effective.sets import METHODS, Value, Values
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, sources
from meshport.values.language import Language, union
from meshport.values.paths import DOT_FREE, ODD, ODD_PATHS, RAW, normalise_istio, raw_allow, raw_allows
from meshport.values.spelling import escaped

MOST_SETS = 64
"""Sets beyond three of each piece, which is what a few broad grants that overlap with all others make."""
MOST_PIECES = 400
"""Pieces beyond which those of one grant are put together by their paths."""
MOST_CUTS = 400  # each makes the paths that are left harder to tell
HARD = 8  # cuts that one counts for where the paths are too many for one expression
LONGEST_REGEX = 1024  # HTTPRoute's own limit for a path value
MOST_REGEXES = 32  # for the paths of one set of requests
RULES, MATCHES = 16, 8
MOST_HOSTS = 16  # HTTPRoute's own limit for hostnames
_HOSTNAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WITHOUT_PORT = Language.regex("[^:]*")


class TooMany(ValueError):
    """The grants of a port overlap in more ways than routes can be written for."""


@dataclass(frozen=True, slots=True)
class RouteSet:
    """Requests, and the grants (by number) that admit them."""

    request: Piece
    grants: frozenset[int]


def partition(items: Iterable[tuple[int, Piece]]) -> list[RouteSet]:
    """The requests of all items, each with every grant that takes it. Raises TooMany."""
    return parted(items).sets


def parted(items: Iterable[tuple[int, Piece]], before: Parted | None = None) -> Parted:
    """The same for items that come after those of `before`, which stays as it is."""
    sets = before.sets if before is not None else []
    taken = before.taken if before is not None else 0
    cuts = before.cuts if before is not None else 0
    seen = before.seen if before is not None else _Compared()
    for grant, piece in items:
        taken += 1
        request = _plain(piece)
        weight = HARD if _hard(request) else 1
        rest = [request]
        after: list[RouteSet] = []
        for known in sets:
            both = None if known.grants == {grant} else meet(known.request, request)
            if both is None:
                after.append(known)
                continue
            if grant not in known.grants and rest == [request] and _alike(known.request, request):
                after.append(RouteSet(both, known.grants | {grant}))
                rest = []
                continue
            cuts += (len(rest) + 1) * weight
            if cuts > MOST_CUTS:
                raise TooMany
            if grant in known.grants:  # of what both take the others of `known` are admitted too
                after += [known, RouteSet(both, known.grants)]
                rest = _left(rest, known.request, both)
                continue
            after.append(RouteSet(both, known.grants | {grant}))
            after.extend(RouteSet(left, known.grants) for left in _without(known.request, request, both))
            rest = _left(rest, known.request, both)
        after.extend(RouteSet(one, frozenset((grant,))) for one in rest)
        sets = _distinct(after, seen)
        if len(sets) > 3 * taken + MOST_SETS:
            raise TooMany
    return Parted(sets, taken, cuts, seen)


def _hard(request: Piece) -> bool:
    """Whether the paths are too many for one expression, so that each cut of them takes long."""
    return (
        request.path is not None and request.patterns is None and request.path is not ODD and raw_allow(request.path, LONGEST_REGEX) is None
    )


def _left(rest: list[Piece], other: Piece, both: Piece) -> list[Piece]:
    """What is left of requests beside an overlap; without what another one of them holds, for each cut may leave two that share most."""
    return widest([left for one in rest for left in ([one] if meet(one, other) is None else _without(one, other, both))])


def _alike(one: Piece, other: Piece) -> bool:
    """Whether two requests are put together alike: where they are, nothing is left of either beside the overlap."""
    return bare(one) == bare(other)


def by_paths(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces of one grant, those that differ in nothing but the paths that they name as one: a hundred paths are compared with others as one set."""
    groups: dict[Piece, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(replace(bare(piece), path=None), []).append(piece)
    out: list[Piece] = []
    for group in groups.values():
        named = [piece for piece in group if piece.path is not None and piece.patterns is not None]
        out += [piece for piece in group if piece.path is None or piece.patterns is None]
        if len(named) < 2:
            out += named
            continue
        paths = union(*(piece.path for piece in named if piece.path is not None))
        patterns = tuple(fact for piece in named for fact in piece.patterns or ())
        out.append(replace(named[0], path=paths, base=paths, patterns=patterns, src=sources(*(piece.src for piece in named))))
    return out


class _Compared:
    """What two requests have to do with each other, each pair asked once: most sets stay what they are while others are cut."""

    def __init__(self) -> None:
        self._met: dict[tuple[int, int], bool] = {}
        self._covered: dict[tuple[int, int], bool] = {}
        self._kept: list[Piece] = []  # so that no other piece gets the same id

    def meet(self, one: Piece, other: Piece) -> bool:
        """Whether there is a request that both take."""
        key = (id(one), id(other)) if id(one) < id(other) else (id(other), id(one))
        if key not in self._met:
            self._kept += [one, other]
            self._met[key] = meet(one, other) is not None
        return self._met[key]

    def covers(self, one: Piece, other: Piece) -> bool:
        """Whether `one` takes every request of the other."""
        key = (id(one), id(other))
        if key not in self._covered:
            self._kept += [one, other]
            self._covered[key] = one.covers_request(other)
        return self._covered[key]


@dataclass(frozen=True, slots=True)
class Parted:
    """The sets of the items so far, and what is known of them."""

    sets: list[RouteSet]
    taken: int
    cuts: int
    seen: _Compared


def _distinct(sets: list[RouteSet], seen: _Compared) -> list[RouteSet]:
    """Each set once. One that a broader set of the same grants covers stays where a third set, of other grants, would take requests of it."""

    def needed(item: RouteSet) -> bool:
        return any(other.grants != item.grants and seen.meet(other.request, item.request) for other in sets)

    kept: dict[frozenset[int], list[RouteSet]] = {}
    for item in sets:
        same = kept.get(item.grants, [])
        if any(seen.covers(one.request, item.request) for one in same) and (
            any(seen.covers(item.request, one.request) for one in same) or not needed(item)
        ):
            continue
        kept[item.grants] = [one for one in same if not seen.covers(item.request, one.request) or needed(one)] + [item]
    left = {id(item) for same in kept.values() for item in same}
    return [item for item in sets if id(item) in left]


def _plain(piece: Piece) -> Piece:
    """The request alone, with "is X and is not Y" of a header as one set of values."""
    return replace(piece.request(), headers=_positive(piece.headers), query=_positive(piece.query))


def _positive(values: Values) -> Values:
    out = Values()
    for name, value in values.by_name:
        if value.inside is not None and value.outside is not None:
            value = Value(value.inside - value.outside)
        out = out.put(name, value)
    return out


def meet(one: Piece, other: Piece) -> Piece | None:
    """The requests that both take; None where a route can take none of them."""
    both = one.meet(other)
    if both.empty or (both.path is not None and both.path is not ODD and (both.path & DOT_FREE & RAW).is_empty()):
        return None
    return replace(both, headers=_positive(both.headers), query=_positive(both.query))


def rank(piece: Piece) -> tuple[int, int, int, int, int]:
    """What Linkerd ranks by, as far as it is certain: host, whole path, headers, queries, method."""
    return (
        0 if piece.host is None else 1,
        0 if piece.path is None else 1,
        len(piece.headers.by_name),
        len(piece.query.by_name),
        0 if piece.methods.every else 1,
    )


def _without(one: Piece, other: Piece, both: Piece) -> list[Piece]:
    """What is left of `one` beside the overlap; whole where the overlap's route ranks above."""
    if rank(both) > rank(one) and all(high >= low for high, low in zip(rank(both), rank(one), strict=True)):
        return [one]
    out = []
    if other.path is not None and one.path is not None:
        out.append(replace(one, path=one.path - other.path, patterns=None))
    if other.host is not None and one.host is not None:
        out.append(replace(one, host=one.host - other.host))
    if not other.methods.every:
        out.append(replace(one, methods=one.methods.meet(other.methods.complement())))
    out += [replace(one, headers=values) for values in _outside(one.headers, other.headers)]
    out += [replace(one, query=values) for values in _outside(one.query, other.query)]
    return [piece for piece in out if not piece.empty]


def _outside(mine: Values, its: Values) -> list[Values]:
    """My demands with one value less each, for the names that both demand something of."""
    out = []
    for name, value in its.by_name:
        inside = mine.get(name).inside
        if inside is not None and value.inside is not None:
            out.append(mine.put(name, Value(inside - value.inside)))
    return out


# -- matches


@dataclass(frozen=True, slots=True)
class Match:
    """One entry of `matches`, with the facts that it says; on a route for these hosts, or for every host."""

    value: dict[str, Any]
    src: frozenset[int]
    hosts: tuple[str, ...] = ()


class NoMatch(ValueError):
    """Requests that no HTTPRoute match can say; its text says why."""


def matches(request: Piece, *, refused: bool = False, escapes: bool = True) -> list[Match]:
    """The requests as HTTPRoute matches. Raises NoMatch. [] where no request can be of that kind. Of refused ones paths may be said in short.

    Without `escapes` paths with a percent sign may be passed over: where a worse route that takes them admits no more.
    """
    if request.literals:
        raise NoMatch(request.conditions())
    hosts = () if request.host is None else hostnames(request.host)
    if request.host is not None and not hosts:
        raise NoMatch("a demand on the host with its port, where a route's hostnames take every port")
    headers = [_value("header", name, value) for name, value in request.headers.by_name]
    queries = [_value("query parameter", name, value) for name, value in request.query.by_name]
    unknown = [name for name in request.methods.names if name not in METHODS]
    if unknown and not request.methods.inverted:
        raise NoMatch(f"the method {unknown[0]!r}, which HTTPRoute does not know")
    names: list[str | None] = [None] if request.methods.every else list(request.methods.listed())
    found = []
    for path, src in paths(request, refused=refused, escapes=escapes):
        for method in names:
            value: dict[str, Any] = {}
            if method is not None:
                value["method"] = method
            if path is not None:
                value["path"] = path
            if headers:
                value["headers"] = headers
            if queries:
                value["queryParams"] = queries
            if not value:
                value["path"] = {"type": "PathPrefix", "value": "/"}
            found.append(Match(value, request.src if src <= request.src else src | request.src, hosts))
    return found


def hostnames(language: Language) -> tuple[str, ...]:
    """The names of a language of hosts that takes each with whatever port and without one, as a route's `hostnames` do; () where it is no such language."""
    found: list[str] = []
    rest = language & _WITHOUT_PORT
    while not rest.is_empty():
        name = rest.witness()
        if name is None or len(found) == MOST_HOSTS or not _HOSTNAME.fullmatch(name):
            return ()
        found.append(name)
        rest = rest - Language.exact(name)
    with_ports = union(*(Language.exact(name) | Language.prefix(f"{name}:") for name in found))
    return tuple(sorted(found)) if found and with_ports.same(language) else ()


def _value(what: str, name: str, value: Value) -> dict[str, Any]:
    if value.inside is None:
        raise NoMatch(f"that {what} {name!r} is absent or has another value")
    language = value.inside if value.outside is None else value.inside - value.outside
    if not name or name.startswith(":"):
        raise NoMatch("a demand on the path with its query, which a route does not see" if name == ":path" else f"a demand on {name!r}")
    exact = language.is_finite_exact()
    if exact:
        return {"type": "Exact", "name": name, "value": exact}
    regex = language.to_regex(LONGEST_REGEX)
    if regex is None:
        raise NoMatch(f"the values of {what} {name!r}: their pattern would be too long")
    return {"type": "RegularExpression", "name": name, "value": anchored(regex)}


def paths(request: Piece, *, refused: bool = False, escapes: bool = True) -> list[tuple[dict[str, str] | None, frozenset[int]]]:
    """The path alternatives of a request; None for every path."""
    if request.path is None:
        return [(None, frozenset())]
    if request.path is ODD:
        return [({"type": "RegularExpression", "value": ODD_PATHS}, frozenset())]
    found: list[tuple[dict[str, str] | None, frozenset[int]]] = []
    if request.patterns is not None:
        for fact in request.patterns:
            said = (_loosely(fact.value) if refused else None) or _of_pattern(fact)
            if said is not None:
                found.append((said, fact.src))
        return found
    simple = request.path.is_finite_exact()
    if simple is not None:
        said = _exact(simple)
        return [(said, frozenset())] if said else []
    regexes = raw_allows(request.path, LONGEST_REGEX, MOST_REGEXES, escapes=escapes)
    if regexes is None:
        raise NoMatch("the paths left over: their pattern would be too long for an HTTPRoute")
    return [({"type": "RegularExpression", "value": regex}, frozenset()) for regex in regexes]


def _loosely(pattern: Pattern) -> dict[str, str] | None:
    """A path pattern with the dot segments that it takes as text, for who refuses those too."""
    if pattern.kind == "prefix":
        return {"type": "RegularExpression", "value": f"^{escaped(pattern.text)}.*$"}
    return {"type": "RegularExpression", "value": f"^.*{escaped(pattern.text)}$"} if pattern.kind == "suffix" else None


def _of_pattern(fact: Fact[Pattern]) -> dict[str, str] | None:
    from meshport.effective.pieces import language_of

    pattern = fact.value
    if pattern.kind == "exact":
        return _exact(pattern.text)
    language = language_of(pattern)
    if (language & DOT_FREE & RAW).is_empty():
        return None
    regex = raw_allow(language)
    if regex is None or len(regex) > LONGEST_REGEX:
        raise NoMatch(f"the path {pattern}: its pattern would be too long for an HTTPRoute")
    return {"type": "RegularExpression", "value": regex}


def _exact(path: str) -> dict[str, str] | None:
    """An exact path; None where no normalised request path is that."""
    return exactly(path) if normalise_istio(path) == path else None


def exactly(path: str) -> dict[str, str] | None:
    """A path as it is sent: as an expression where the Gateway API admits it as no exact one (`//`, `/users/{id}`), for one such path makes the cluster
    refuse the whole route. None where that would be too long."""
    if plain_path(path):
        return {"type": "Exact", "value": path}
    regex = Language.exact(path).to_regex(LONGEST_REGEX)
    return {"type": "RegularExpression", "value": anchored(regex)} if regex else None


def anchored(regex: str) -> str:
    """A pattern that takes the whole text for every reader."""
    return regex if regex.startswith("^") and regex.endswith("$") and "|" not in regex else f"^(?:{regex})$"
