"""Regular expressions as terms: what the regex grammar parses to, what automata are built from, and what automata are written back as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from meshport.values import charset
from meshport.values.charset import Charset


class Hashed:
    """Has a place for its hash."""

    __slots__ = ("_hash",)
    _hash: int


H = TypeVar("H", bound=Hashed)


def hashed_once(cls: type[H]) -> type[H]:
    """A frozen class whose instances work out their hash once: terms are deep, and what is known of a language is kept by its term."""
    worked_out: Callable[[H], int] = cls.__hash__

    def known(self: H) -> int:
        try:
            return self._hash
        except AttributeError:
            found = worked_out(self)
            object.__setattr__(self, "_hash", found)
            return found

    type.__setattr__(cls, "__hash__", known)
    return cls


@hashed_once
@dataclass(frozen=True, slots=True)
class Chars(Hashed):
    """One character of a set."""

    of: Charset


@hashed_once
@dataclass(frozen=True, slots=True)
class Text(Hashed):
    """A literal."""

    text: str


@hashed_once
@dataclass(frozen=True, slots=True)
class Cat(Hashed):
    """One after the other; no parts is the empty string."""

    parts: tuple[Term, ...]


@hashed_once
@dataclass(frozen=True, slots=True)
class Alt(Hashed):
    """One of; no parts is nothing at all."""

    parts: tuple[Term, ...]


@hashed_once
@dataclass(frozen=True, slots=True)
class Rep(Hashed):
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
