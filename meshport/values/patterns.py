"""Finds the simple patterns (exact, prefix, suffix, template, any) that a language consists of, looking at the automaton, not at how
it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from meshport.values import charset
from meshport.values.automata import Is, Node, both
from meshport.values.charset import Charset
from meshport.values.dfa import Dfa, build, shortest
from meshport.values.terms import ANY_TEXT, NOT_SLASH, Alt, Cat, Chars, Rep, Term, Text

Form = tuple[str, str]

MOST = 64  # patterns in one language
_FEW = 4  # characters of a set that is still spelt out, such as [aA]
_STAR, _REST = "{*}", "{**}"
_GAP, _ONE = "\U0010fffe", "\U0010ffff"  # stand for "anything" and "a segment"; non-characters, so in no pattern
_LITERAL = re.compile(r"[A-Za-z0-9\-._~%!$&'()+,;:@=]*")


def template_term(template: str) -> Term:
    """Istio's path template: `{*}` is one segment that is not empty, `{**}` any text. Source: Istio AuthorizationPolicy `paths`."""
    parts: list[Term] = []
    for piece in re.split(r"(\{\*\*?\})", template):
        if piece == _STAR:
            parts.append(Rep(Chars(NOT_SLASH), 1, None))
        elif piece == _REST:
            parts.append(ANY_TEXT)
        elif piece:
            parts.append(Text(piece))
    return Cat(tuple(parts))


def from_automaton(have: Dfa, within: Node) -> list[Form] | None:
    """The patterns whose union is the language of an automaton inside `within`, sorted, each disjoint from the others; None where the
    automaton shows no such union.

    Depends on the language alone, so equal languages give equal answers. The empty language gives an empty list.
    """
    if not have.accepting:
        return []
    try:
        found = {_form(tail) for tail in _Walker(have, _world(within)).tails(0, 0, False, frozenset())}
    except _NotSimple:
        return _suffix(have, within)
    return sorted(found)


@lru_cache(maxsize=64)
def _world(within: Node) -> Dfa:
    return build(within)


class _NotSimple(Exception):
    pass


class _Walker:
    def __init__(self, have: Dfa, world: Dfa) -> None:
        self.have = have
        self.world = world
        self.found = 0

    def tails(self, state: int, place: int, after_slash: bool, above: frozenset[int]) -> Iterator[tuple[str, bool]]:
        """What may follow from here: (text, whether anything may follow that text)."""
        if state in above or len(above) > 400:
            raise _NotSimple
        if _alike(self.have, state, self.world, place):
            yield "", True
            return
        above |= {state}
        if self.have.accepting[state]:
            self.found += 1
            if self.found > MOST:
                raise _NotSimple
            yield "", False
        for chars, target in self.have.edges[state]:
            if charset.size(chars) <= _FEW:
                for low, high in chars:
                    for point in range(low, high + 1):
                        onward = self._world_step(place, point)
                        for text, more in self.tails(target, onward, point == 0x2F, above):
                            yield chr(point) + text, more
            else:
                yield from self._segment(chars, target, place, after_slash, above)

    def _segment(self, chars: Charset, target: int, place: int, after_slash: bool, above: frozenset[int]) -> Iterator[tuple[str, bool]]:
        allowed = charset.normal(pair for edge, to in self.world.edges[place] if to == place for pair in edge)
        plain = charset.intersection(allowed, NOT_SLASH)
        slash = charset.of("/")
        edges = dict(self.have.edges[target])
        if not after_slash or chars != plain or edges.pop(plain, None) != target or target in above or set(edges) - {slash}:
            raise _NotSimple
        if self.have.accepting[target]:
            self.found += 1
            yield _ONE, False
        if slash in edges:
            for text, more in self.tails(edges[slash], place, True, above | {target}):
                yield f"{_ONE}/{text}", more

    def _world_step(self, place: int, point: int) -> int:
        return next(target for chars, target in self.world.edges[place] if charset.contains(chars, point))


def _alike(one: Dfa, state: int, other: Dfa, place: int) -> bool:
    """Whether two states of minimal automata accept the same texts: then what can be reached from them has the same shape."""
    pairs = [(state, place)]
    seen = {(state, place)}
    for a, b in pairs:
        left, right = dict(one.edges[a]), dict(other.edges[b])
        if one.accepting[a] != other.accepting[b] or left.keys() != right.keys():
            return False
        for chars, target in left.items():
            pair = (target, right[chars])
            if pair not in seen:
                seen.add(pair)
                pairs.append(pair)
    return True


def _form(tail: tuple[str, bool]) -> Form:
    text, more = tail
    if _ONE in text:
        form = ("template", text.replace(_ONE, _STAR) + (_REST if more else ""))
        if "{*" in text or not is_template(form[1]):  # braces that are meant as braces
            raise _NotSimple
        return form
    if more:
        return ("prefix", text) if text else ("any", "")
    return ("exact", text)


def is_template(text: str) -> bool:
    """Whether Istio accepts the text as a path template (whole-segment operators, `{**}` last, plain literals)."""
    segments = text.split("/")
    if not text.startswith("/") or segments.count(_REST) > 1:
        return False
    for number, segment in enumerate(segments):
        if segment == _REST:
            if _STAR in segments[number:]:
                return False
        elif segment != _STAR and not _LITERAL.fullmatch(segment):
            return False
    return _STAR in segments or _REST in segments


def _suffix(have: Dfa, within: Node) -> list[Form] | None:
    if len(have.edges) > 300 or all(state != target for state, edges in enumerate(have.edges) for _, target in edges):
        return None
    shown = shortest(have) or ""
    # An automaton that looks for an ending has a state for each character of it, and few more for how a text of the world begins.
    fewest = max(1, len(have.edges) - len(_world(within).edges) - 1)
    for length in range(fewest, min(len(shown), 200, len(have.edges)) + 1):
        ending = shown[-length:]
        if build(both(Is(Cat((ANY_TEXT, Text(ending)))), within)) == have:
            return [("suffix", ending)]
    return None


def from_term(term: Term) -> list[Form] | None:
    """The patterns that a term reads like, part by part. A guess for the caller to check: `.` is taken as anything, `[^/]+` as a
    segment."""
    spelt = _spelt(term)
    if spelt is None or len(spelt) > MOST:
        return None
    out: dict[Form, None] = {}
    for text in spelt:
        form = _guess(text)
        if form is None:
            return None
        out[form] = None
    return sorted(out)


def _spelt(term: Term) -> list[str] | None:
    if isinstance(term, Text):
        return [term.text]
    if isinstance(term, Chars):
        if charset.size(term.of) > _FEW:
            return None
        return [chr(point) for low, high in term.of for point in range(low, high + 1)]
    if isinstance(term, Alt):
        parts = [_spelt(part) for part in term.parts]
        return None if None in parts else [text for part in parts for text in part or ()]
    if isinstance(term, Rep):
        if term.most is None and isinstance(term.body, Chars):
            wide = charset.size(term.body.of) > 0x80
            if term.least == 0 and wide and charset.contains(term.body.of, 0x2F):
                return [_GAP]
            if term.least == 1 and wide and not charset.contains(term.body.of, 0x2F):
                return [_ONE]
        if (term.least, term.most) == (0, 1):
            inner = _spelt(term.body)
            return None if inner is None else ["", *inner]
        return None
    out = [""]
    for part in term.parts:
        more = _spelt(part)
        if more is None or len(out) * len(more) > MOST:
            return None
        out = [left + right for left in out for right in more]
    return out


def _guess(text: str) -> Form | None:
    gaps = text.count(_GAP)
    if _ONE not in text:
        if gaps == 0:
            return ("exact", text)
        if text == _GAP or text == "/" + _GAP:
            return ("any", "") if text == _GAP else ("prefix", "/")
        if gaps == 1 and text.endswith(_GAP):
            return ("prefix", text[:-1])
        if gaps == 1 and text.startswith(_GAP):
            return ("suffix", text[1:])
    template = text.replace(_ONE, _STAR).replace(_GAP, _REST)
    return ("template", template) if "{*" not in text and is_template(template) else None
