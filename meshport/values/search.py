"""Whether a search finds the whole of each text of a regular expression's language.

Linkerd's proxy searches a path or header value and takes it where the match found covers all of it. The search is leftmost-first (docs.rs/regex,
"Regex::find"): `/a|/ab` finds `/a` in `/ab`, so `/ab` is refused although the expression describes it. An end anchor makes the search try on. Without
one, the answer here is yes where all of it is greedy, each alternative at the top is one-unambiguous (Brüggemann-Klein: no two positions that can
come next share a character; then a text has one way through, and the search goes on for as long as it can) or no text of it begins another, and no
alternative takes the beginning of what a later one would take whole. That is enough for what people write; for the others the answer is no, which is
on the safe side.
"""

from __future__ import annotations

from functools import lru_cache

from lark import Token, Tree

from meshport.values import _grammar, charset
from meshport.values.automata import Is
from meshport.values.charset import Charset
from meshport.values.language import Language, LanguageTooLarge
from meshport.values.regex import parse
from meshport.values.terms import Alt, Cat, Chars, Rep, Term, Text

MOST_POSITIONS = 400
MOST_STEPS = 20_000
MOST_PAIRS = 4_000  # alternatives that have to be compared by automata


@lru_cache(maxsize=4096)
def finds_whole(pattern: str) -> bool:
    """Whether a leftmost-first search finds every text of the language from end to end. Raises what `regex.parse` raises."""
    term = parse(pattern, "rust")
    tree = _grammar.parse("regex", pattern, "a regular expression")
    top = tree.children[0]
    assert isinstance(top, Tree)
    if all(_ends_in_anchor(sequence) for sequence in top.children):
        return True
    if any(_lazy(token) for token in tree.scan_values(lambda item: isinstance(item, Token))):
        return False
    alternatives = term.parts if isinstance(term, Alt) else (term,)
    return all(_alone(part) for part in alternatives) and not _earlier_takes_less(alternatives)


def _alone(term: Term) -> bool:
    parts = term.parts if isinstance(term, Cat) else (term,)
    loops = [number for number, part in enumerate(parts) if isinstance(part, Rep) and isinstance(part.body, Chars) and part.most is None]
    if loops:
        last = parts[loops[-1]]
        assert isinstance(last, Rep) and isinstance(last.body, Chars)
        if loops[-1] == len(parts) - 1 and not set(charset.complement(last.body.of)) - set(charset.of("\n")):
            return True  # ends in `.*`, which takes all that is left of a path or a header
        before, after = Cat(parts[: loops[-1]]), parts[loops[-1] + 1 :]
        if all(isinstance(part, Chars | Text) for part in after) and _no_text_begins_another(before):
            return True  # one loop and then texts of one length: the longest is tried first
    try:
        return _Positions().unambiguous(term) or _no_text_begins_another(term)
    except OverflowError:
        return _no_text_begins_another(term)


def _no_text_begins_another(term: Term) -> bool:
    try:
        return _longer(term, term).is_empty()
    except LanguageTooLarge:
        return False


def _earlier_takes_less(alternatives: tuple[Term, ...]) -> bool:
    """Whether a text of one alternative begins with a shorter text of one before it, which does not take the whole of it."""
    try:
        beginnings = [_beginning(term) for term in alternatives]
        compared = 0
        for position, first in enumerate(alternatives):
            for number, later in enumerate(alternatives[position + 1 :], position + 1):
                if _part_ways(beginnings[position], beginnings[number]):
                    continue
                compared += 1
                if compared > MOST_PAIRS:
                    return True
                if not (_longer(first, later) & ~Language(Is(first))).is_empty():
                    return True
    except LanguageTooLarge:
        return True
    return False


def _beginning(term: Term) -> list[Charset]:
    """The characters that every text of the term begins with, one after the other, as far as it is plain to see."""
    found: list[Charset] = []
    for part in term.parts if isinstance(term, Cat) else (term,):
        if isinstance(part, Text):
            found += [charset.of(char) for char in part.text]
        elif isinstance(part, Chars):
            found.append(part.of)
        else:
            break
    return found


def _part_ways(one: list[Charset], other: list[Charset]) -> bool:
    """Whether no text of the one begins like any of the other."""
    return any(not charset.intersection(mine, its) for mine, its in zip(one, other, strict=False))


def _longer(one: Term, other: Term) -> Language:
    """The texts of the other that begin with a shorter text of the one."""
    return Language(Is(Cat((one, Rep(Chars(charset.ALL), 1, None))))) & Language(Is(other))


def _ends_in_anchor(sequence: Token | Tree[Token]) -> bool:
    if not isinstance(sequence, Tree) or not sequence.children:
        return False
    last = sequence.children[-1]
    return isinstance(last, Tree) and last.data == "anchor" and str(last.children[0]) in ("$", "\\z")


def _lazy(token: Token) -> bool:
    if token.type == "COUNT":
        return len(token) > 1 and token.endswith("?")
    return token.type in ("FLAGS", "OPEN") and "U" in token and "<" not in token


class _Positions:
    """The positions of an expression and which may follow which (Glushkov's construction)."""

    def __init__(self) -> None:
        self.sets: list[Charset] = []
        self.follow: list[set[int]] = []
        self.steps = 0

    def unambiguous(self, term: Term) -> bool:
        _, first, _ = self._walk(term)
        return self._apart(first) and all(self._apart(after) for after in self.follow)

    def _apart(self, positions: set[int]) -> bool:
        seen: Charset = charset.of("")
        for position in sorted(positions):
            if charset.intersection(seen, self.sets[position]):
                return False
            seen = charset.union(seen, self.sets[position])
        return True

    def _walk(self, term: Term) -> tuple[bool, set[int], set[int]]:
        """Whether the empty text is of the term, the positions that it starts and those that it ends with. Raises OverflowError past MOST_STEPS."""
        self.steps += 1
        if self.steps > MOST_STEPS:  # repetitions of nothing have no positions
            raise OverflowError
        if isinstance(term, Chars):
            return self._position(term.of)
        if isinstance(term, Text):
            return self._walk(Cat(tuple(Chars(charset.of(char)) for char in term.text)))
        if isinstance(term, Cat):
            return self._sequence(list(term.parts))
        if isinstance(term, Alt):
            found = [self._walk(part) for part in term.parts]
            if any(empty for empty, _, _ in found[:-1]):
                raise OverflowError  # an empty alternative is taken before the ones after it
            return (
                any(empty for empty, _, _ in found),
                set().union(*(one for _, one, _ in found)),
                set().union(*(last for _, _, last in found)),
            )
        return self._repeated(term)

    def _position(self, chars: Charset) -> tuple[bool, set[int], set[int]]:
        number = len(self.sets)
        if number >= MOST_POSITIONS:
            raise OverflowError
        self.sets.append(chars)
        self.follow.append(set())
        return False, {number}, {number}

    def _sequence(self, parts: list[Term]) -> tuple[bool, set[int], set[int]]:
        empty, first, last = True, set[int](), set[int]()
        for part in parts:
            its_empty, its_first, its_last = self._walk(part)
            for position in last:
                self.follow[position] |= its_first
            first = first | its_first if empty else first
            last = last | its_last if its_empty else its_last
            empty = empty and its_empty
        return empty, first, last

    def _repeated(self, term: Rep) -> tuple[bool, set[int], set[int]]:
        if term.most is None:
            if term.least > 1:
                return self._sequence([*[term.body] * (term.least - 1), Rep(term.body, 1, None)])
            empty, first, last = self._walk(term.body)
            for position in last:
                self.follow[position] |= first
            return empty or term.least == 0, first, last
        if (term.least, term.most) == (0, 1):
            _, first, last = self._walk(term.body)
            return True, first, last
        if term.most == 0:
            return True, set(), set()
        empty, first, last = self._sequence([term.body] * min(term.least, MOST_POSITIONS))
        more = [self._walk(term.body) for _ in range(min(term.most - term.least, MOST_POSITIONS))]
        after_first, after_last = set[int](), set[int]()  # of (x(x(x)?)?)?, from the inside
        for its_empty, its_first, its_last in reversed(more):
            for position in its_last:
                self.follow[position] |= after_first
            after_first = its_first | after_first if its_empty else its_first
            after_last = its_last | after_last
        for position in last:
            self.follow[position] |= after_first
        return empty, first | after_first if empty else first, last | after_last
