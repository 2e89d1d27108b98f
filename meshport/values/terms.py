"""Regular expressions as terms: what the regex grammar parses to, what automata are built from, and what automata are written back as."""

from __future__ import annotations

from dataclasses import dataclass

from meshport.values import charset
from meshport.values.charset import Charset


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    of: Charset


@dataclass(frozen=True, slots=True)
class Text:
    """A literal."""

    text: str


@dataclass(frozen=True, slots=True)
class Cat:
    """One after the other; no parts is the empty string."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of; no parts is nothing at all."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """`least` to `most` times; `most` None is without end."""

    body: Term
    least: int
    most: int | None


Term = Chars | Text | Cat | Alt | Rep

EMPTY = Cat(())
NOTHING = Alt(())
ANY_TEXT = Rep(Chars(charset.ALL), 0, None)
NOT_SLASH = charset.complement(charset.of("/"))


def any_of(terms: list[Term]) -> Term:
    """The union, flat and without repeats."""
    parts: dict[Term, None] = {}
    for term in terms:
        for part in term.parts if isinstance(term, Alt) else (term,):
            parts[part] = None
    if ANY_TEXT in parts:
        return ANY_TEXT
    kept = tuple(parts)
    return kept[0] if len(kept) == 1 else Alt(kept)
