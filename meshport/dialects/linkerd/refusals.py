"""What denies take out of requests said by routes that refuse: Linkerd has no deny, but it reads the policies of the one best route alone.

"Every path but `/admin*`" is a long expression; a grant on `/` beside a better route on `/admin*` that does not carry it says the same. The better route
has to rank above for certain, else the grant is taken back there: a refusal that fails must fail closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from meshport.dialects.linkerd import routesets
from meshport.dialects.linkerd.routesets import MOST_SETS, RouteSet, TooMany, rank
from meshport.effective.pieces import LIMIT, Piece, Unsayable, unheld
from meshport.effective.sets import METHODS, Methods, Value, Values
from meshport.ir.authorization import HEADER, Rule
from meshport.values.language import TEXT, Language
from meshport.values.paths import ODD


@dataclass(frozen=True, slots=True)
class Punched:
    """Requests of a piece, less those that better routes refuse."""

    piece: Piece
    refused: tuple[Piece, ...] = ()


def positive(rule: Rule) -> tuple[Rule, list[Rule]]:
    """An allow without the header values that it excepts, and those as denies of its own: no match says "not this value", a better route that refuses does."""
    excepted = [
        item
        for item in rule.conditions
        if item.attribute.startswith(HEADER) and item.any_of is None and all(fact.value.kind == "exact" for fact in item.none_of)
    ]
    left = tuple(item for item in rule.conditions if item not in excepted)
    return replace(rule, conditions=left), [Rule((replace(item, any_of=item.none_of, none_of=()),), http=True) for item in excepted]


def punched(base: Piece, denies: Iterable[Piece]) -> list[Punched]:
    """A piece without what is denied, requests by refusals where routes can say them. Raises Unsayable where there is too much of it."""
    numbers: dict[Piece, int] = {}  # of the holes
    found = [_Left(base, ())]
    for turn, deny in enumerate(denies):
        after: list[_Left] = []
        cut: set[int] = set()  # those that nobody has held against the others
        for item in found:
            if _apart(item.piece, deny):
                after.append(item)
                if not turn:
                    cut.add(id(item))
                continue
            src = item.piece.src | deny.src
            parts = [_Left(replace(item.piece, who=who, src=src), item.holes) for who in item.piece.who.minus(deny.who)]
            parts += [_Left(replace(item.piece, where=where, src=src), item.holes) for where in item.piece.where.minus(deny.where)]
            holes, rest = _holes(item.piece, deny)
            if holes:
                named = (*item.holes, *(numbers.setdefault(hole, len(numbers)) for hole in holes))
                parts.append(_Left(replace(item.piece, src=src), tuple(dict.fromkeys(named))))
            parts += [_Left(replace(part, src=src), item.holes) for part in rest]
            after += parts
            cut.update(map(id, parts))
        found = unheld(after, cut, _Left.holds)
        if len(found) > LIMIT:
            raise Unsayable("the denies cut the allows into too many parts")
    holes = list(numbers)
    return [Punched(item.piece, tuple(holes[number] for number in item.holes)) for item in found]


@dataclass(frozen=True, slots=True)
class _Left:
    """Requests of a piece, less those of holes, by their numbers."""

    piece: Piece
    holes: tuple[int, ...]

    def holds(self, other: _Left) -> bool:
        return set(self.holes) <= set(other.holes) and self.piece.covers(other.piece)


def unlisted(item: Punched) -> Punched:
    """Every method but some as every method, with routes that refuse those: HTTP has more methods than a route has names for."""
    methods = item.piece.methods
    if methods.every or not methods.inverted or not methods.names <= {*METHODS}:
        return item
    hole = Piece(methods=methods.complement(), src=item.piece.src)
    return Punched(replace(item.piece, methods=Methods()), (*item.refused, hole))


def says(found: Iterable[Punched], piece: Piece) -> bool:
    """Whether every request of a piece is among those that are left."""
    return any(item.piece.covers(piece) and all(_apart(piece.request(), hole) for hole in item.refused) for item in found)


def _apart(one: Piece, other: Piece) -> bool:
    try:
        return one.meet(other).empty
    except ValueError as error:
        raise Unsayable(str(error)) from None


def _holes(piece: Piece, deny: Piece) -> tuple[list[Piece], list[Piece]]:
    """What of a piece's requests is refused by better routes, and what is left beside them that a route can name.

    A dimension that no better route can hold widens the refusal; what is lost by that and can be named comes back as a piece of its own.
    Header values are compared as they are: an expression passes over values that are no text, and Envoy joins repeated headers with a comma. HTTP/2 has
    no `host` among its headers.
    """
    hole = Piece(src=deny.src)
    rest: list[Piece] = []
    choices: list[Values] = [Values()]
    for name, value in deny.headers.by_name:
        texts = None if name.startswith(":") or name == "host" or piece.headers.get(name).inside is not None else _texts(value)
        if texts is None:
            rest += [replace(piece, headers=piece.headers.put(name, left)) for left in piece.headers.get(name).minus(value)]
        else:
            choices = [chosen.put(name, Value(one)) for chosen in choices for one in texts]
    if deny.path is not None:
        named = Piece(path=deny.path, patterns=deny.patterns)
        if piece.path is None and not deny.path.accepts("/") and sayable(named):  # for / itself PathPrefix / would rank alike
            hole = replace(hole, path=deny.path, patterns=deny.patterns)
        else:
            rest.append(replace(piece, path=~deny.path if piece.path is None else piece.path - deny.path, patterns=None))
    if not deny.methods.every:
        unnamed = piece.methods.unnamed and deny.methods.unnamed  # no route refuses by name what HTTPRoute has no name for
        if piece.methods.every or unnamed or (hole.path is None and choices == [Values()]):
            rest.append(replace(piece, methods=piece.methods.meet(deny.methods.complement())))
        else:  # where any method is meant, a pattern may have taken some that HTTPRoute does not know
            hole = replace(hole, methods=deny.methods)
    ranked = hole.path is not None or choices != [Values()]
    return [replace(hole, headers=chosen) for chosen in choices] if ranked else [], [part for part in rest if sayable(part)]


def _texts(value: Value) -> list[Language] | None:
    """The few values that a demand on a header takes, where a proxy compares them as Envoy does; None where they are patterns."""
    if value.inside is None or value.outside is not None:
        return None
    forms = value.inside.as_patterns(TEXT) or []
    if not forms or any(kind != "exact" or not text or "," in text for kind, text in forms):
        return None
    return [Language.exact(text) for _, text in forms]


def sayable(piece: Piece) -> bool:
    """Whether routes can name the requests of a piece."""
    try:
        return not piece.empty and (piece.any_request or bool(routesets.matches(piece)))
    except ValueError:
        return False


# -- routes


@dataclass(frozen=True, slots=True)
class Refusing:
    """Requests with who may send them, nobody among them; and the grants (by number) that no route could be told of everywhere."""

    sets: list[RouteSet]
    short: frozenset[int]


def refusing(sets: list[RouteSet], refused: dict[int, tuple[Piece, ...]]) -> Refusing:
    """The sets with what is refused of their grants, each such set better than the one that it lies in. Raises TooMany."""
    out: list[RouteSet] = []
    short: set[int] = set()
    left = list(sets)
    while left:
        item = left.pop(0)
        for hole in dict.fromkeys(hole for grant in sorted(item.grants) for hole in refused.get(grant, ())):
            concerned = frozenset(grant for grant in item.grants if hole in refused.get(grant, ()))
            cell = routesets.meet(item.request, hole)
            if not concerned or cell is None:
                continue
            if above(cell, item.request) and sayable(cell):
                cells, whole = _beside(cell, item, sets)
                short |= whole - concerned
                left += [RouteSet(one, item.grants - concerned) for one in cells]
                continue
            parts = item.request.minus(hole)
            if all(map(sayable, parts)):
                left += [RouteSet(part, item.grants) for part in parts]
                item = RouteSet(cell, item.grants - concerned)
            else:
                short |= concerned
                item = RouteSet(item.request, item.grants - concerned)
        if item.request.path is None and any(hole.path is not None for grant in item.grants for hole in refused.get(grant, ())):
            kept = frozenset(grant for grant in item.grants if all(hole.path is None for hole in refused.get(grant, ())))
            left.append(RouteSet(replace(item.request, path=ODD), kept))
        out.append(item)
        if len(out) + len(left) > 4 * MOST_SETS:
            raise TooMany
    return Refusing(out, frozenset(short))


def above(one: Piece, other: Piece) -> bool:
    """Whether the route of `one`, whose requests are among the other's, is taken before it for each of them."""
    mine, its = rank(one), rank(other)
    if one.path is not None and other.path is None and one.path.accepts("/"):
        mine = (mine[0], its[1], *mine[2:])
    return mine != its and all(high >= low for high, low in zip(mine, its, strict=True))


def _beside(cell: Piece, item: RouteSet, sets: list[RouteSet]) -> tuple[list[Piece], frozenset[int]]:
    """A refusal without what better sets than its own say, where both would rank alike; else whole, and the grants that it takes that from."""
    cells, taken = [cell], frozenset[int]()
    for other in sets:
        both = routesets.meet(item.request, other.request)
        if both is None or rank(both) == rank(item.request):
            continue
        if not any(_level(one, other.request) for one in cells):
            continue
        parts = [part for one in cells for part in (one.minus(other.request) if _level(one, other.request) else [one])]
        if all(map(sayable, parts)):
            cells = parts
        else:
            taken |= other.grants
    return cells, taken


def _level(cell: Piece, other: Piece) -> bool:
    """Whether a better set, or what is refused of it, ranks as a refusal does for requests of both."""
    both = routesets.meet(cell, other)
    return both is not None and rank(both) == rank(cell)
