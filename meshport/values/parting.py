"""Paths too many for one expression, said by several: what they begin with is read off, then their last segments, until each part is short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from meshport.values import charset, spelling
from meshport.values.charset import Charset
from meshport.values.dfa import Dfa, canonical
from meshport.values.problems import LanguageTooLarge
from meshport.values.spelling import One, Seq, Writer


@dataclass(frozen=True, slots=True)
class _Moves:
    """The moves of an automaton: for each state the next ones by the sets of characters that it does not tell apart, -1 for none."""

    rows: list[list[int]]
    pieces: list[Charset]

    def within(self, start: int, accepting: frozenset[int]) -> Dfa:
        """The minimal automaton from one state to some."""
        order = [start, *sorted(self.after(start) - {start})]
        numbers = {state: number for number, state in enumerate(order)} | {-1: -1}
        rows = [[numbers[target] for target in self.rows[state]] for state in order]
        return canonical(rows, [state in accepting for state in order], self.pieces)

    def after(self, state: int) -> set[int]:
        """The states that are reached by at least one character."""
        seen: set[int] = set()
        left = [state]
        while left:
            new = {target for target in self.rows[left.pop()] if target >= 0} - seen
            seen |= new
            left += new
        return seen

    def before(self, place: int, accepting: frozenset[int]) -> frozenset[int]:
        return frozenset(state for state, row in enumerate(self.rows) if row[place] in accepting)

    def chars(self, places: Iterable[int]) -> Seq:
        return (One(charset.normal(interval for place in places for interval in self.pieces[place])),)


@dataclass(frozen=True, slots=True)
class _Part:
    """Texts of a head, of what leads from one state to some (of nothing without a state), and of a tail."""

    head: Seq
    start: int | None
    accepting: frozenset[int]
    tail: Seq = ()


@lru_cache(maxsize=256)
def parted(automaton: Dfa, world: Charset, most: int, longest: int) -> tuple[str, ...] | None:
    """Expressions whose union is the automaton's language, none longer than `longest` characters; None where `most` are not enough. Texts consist of the
    characters of `world`. Rules tried without one value after another come to few automata in many ways."""
    if not automaton.accepting:  # nothing to say
        return ()
    writer = Writer(world)
    moves = _moves(automaton)
    left = [_Part((), 0, frozenset(state for state, final in enumerate(automaton.accepting) if final))]
    tries = iter(range(2 * most))  # what takes more of them comes to more expressions than anybody wants
    found: list[str] = []
    for _ in range(2 * most):
        if not left or len(found) > most:
            break
        part = left.pop(0)
        inner: Seq | None = ()
        if part.start is not None:
            within = moves.within(part.start, part.accepting)
            if not within.accepting:
                continue
            inner = spelling.solve(within, longest)
        text = None if inner is None else writer.top(spelling.cat(part.head, inner, part.tail))
        if text is not None and len(text) <= longest:
            found.append(text)
        elif part.start is None:
            return None
        elif part.start in moves.after(part.start):
            try:
                left = [*_by_segment(moves, part, part.start, writer, longest, tries), *left]
            except LanguageTooLarge:
                return None
        else:
            left = [*_by_first(moves, part, part.start), *left]
    return None if left or len(found) > most else tuple(found)


def _moves(automaton: Dfa) -> _Moves:
    sets = sorted({chars for edges in automaton.edges for chars, _ in edges} | {charset.of("/")})
    pieces, masks = charset.minterms(sets)
    places = {chars: [place for place in range(len(pieces)) if mask >> place & 1] for chars, mask in zip(sets, masks, strict=True)}
    rows = [[-1] * len(pieces) for _ in automaton.edges]
    for row, edges in zip(rows, automaton.edges, strict=True):
        for chars, target in edges:
            for place in places[chars]:
                row[place] = target
    return _Moves(rows, pieces)


def _nothing(part: _Part, start: int) -> list[_Part]:
    return [replace(part, start=None)] if start in part.accepting else []


def _by_first(moves: _Moves, part: _Part, start: int) -> list[_Part]:
    """The part by the first of its characters."""
    places: dict[int, list[int]] = {}
    for place, target in enumerate(moves.rows[start]):
        if target >= 0:
            places.setdefault(target, []).append(place)
    steps = [replace(part, head=spelling.cat(part.head, moves.chars(found)), start=target) for target, found in places.items()]
    return [*_nothing(part, start), *steps]


def _by_segment(moves: _Moves, part: _Part, start: int, writer: Writer, longest: int, tries: Iterator[int]) -> list[_Part]:
    """The part by what follows the last slash in it: what is in front of that seldom depends on it."""
    slash = moves.pieces.index(charset.of("/"))
    plain = _Moves([[*row[:slash], -1, *row[slash + 1 :]] for row in moves.rows], moves.pieces)
    out = [
        replace(part, start=None, tail=spelling.cat(said, part.tail))
        for said in _together(_segments(plain, start, part.accepting, writer, longest // 3, tries), writer, longest // 2)
    ]
    for begun in sorted({row[slash] for row in moves.rows if row[slash] >= 0} & moves.after(start)):
        before = moves.before(slash, frozenset((begun,)))
        ends = _together(_segments(plain, begun, part.accepting, writer, longest // 3, tries), writer, longest // 2)
        out += [replace(part, accepting=before, tail=spelling.cat(moves.chars([slash]), said, part.tail)) for said in ends]
    return out


def _together(found: list[Seq], writer: Writer, longest: int) -> list[Seq]:
    """As many of the expressions in one as make a short one."""
    out: list[Seq] = []
    for said in found:
        both = spelling.options([out[-1], said]) if out else said
        if out and len(writer.seq(both)) <= longest:
            out[-1] = both
        else:
            out.append(said)
    return out


def _segments(moves: _Moves, start: int, accepting: frozenset[int], writer: Writer, longest: int, tries: Iterator[int]) -> list[Seq]:
    """Segments as expressions that are not long, told apart by their last characters. Raises LanguageTooLarge after so many tries."""
    if next(tries, None) is None:
        raise LanguageTooLarge("too many kinds of segments")
    within = moves.within(start, accepting)
    if not within.accepting:
        return []
    solved = spelling.solve(within, longest)
    if solved is not None and len(writer.seq(solved)) <= longest:
        return [solved]
    places: dict[frozenset[int], list[int]] = {}
    for place in range(len(moves.pieces)):
        places.setdefault(moves.before(place, accepting), []).append(place)
    found: list[Seq] = [()] if start in accepting else []
    for before, chars in places.items():
        if before:
            found += [spelling.cat(said, moves.chars(chars)) for said in _segments(moves, start, before, writer, longest, tries)]
    return found
