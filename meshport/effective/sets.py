"""Sets of methods and of values of headers and parameters, closed under what their users need of intersection and difference; a set that would have to be
a union comes back as several. Peers and addresses: `identities`, `networks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshport.values.language import TEXT

if TYPE_CHECKING:
    from meshport.values.language import Language

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


@dataclass(frozen=True, slots=True)
class Methods:
    """HTTP methods: exactly `names`, or with `inverted` every other one. `nearly` is said of those that stand for a pattern, in names that HTTP itself defines."""

    names: frozenset[str] = frozenset()
    inverted: bool = True
    nearly: bool = field(default=False, compare=False)

    @property
    def every(self) -> bool:
        return self.inverted and not self.names

    @property
    def empty(self) -> bool:
        return not self.inverted and not self.names

    def complement(self) -> Methods:
        return Methods(self.names, not self.inverted, self.nearly)

    def meet(self, other: Methods) -> Methods:
        if self.every or other.every:
            return other if self.every else self
        if self.inverted and other.inverted:
            return Methods(self.names | other.names, True, self.nearly or other.nearly)
        if self.inverted:
            return Methods(other.names - self.names, False, other.nearly)
        if other.inverted:
            return Methods(self.names - other.names, False, self.nearly)
        return Methods(self.names & other.names, False, self.nearly and other.nearly)

    def join(self, other: Methods) -> Methods:
        return self.complement().meet(other.complement()).complement()

    def covers(self, other: Methods) -> bool:
        return self == other or other.meet(self.complement()).empty

    def accepts(self, method: str) -> bool:
        return (method in self.names) != self.inverted

    def listed(self) -> list[str]:
        """The methods by name; of an inverted set those that HTTP defines."""
        return sorted(name for name in METHODS if name not in self.names) if self.inverted else sorted(self.names)

    @property
    def unnamed(self) -> bool:
        """Whether methods are meant that HTTP itself does not define, beside those of `listed`."""
        return self.nearly or (self.inverted and not self.every)

    def __str__(self) -> str:
        if self.every:
            return "any method"
        return ("any method but " if self.inverted else "") + ",".join(sorted(self.names))


# -- values of a header or a query parameter


@dataclass(frozen=True, slots=True)
class Value:
    """A demand on a header: present with a value in `inside` (None: no demand), and not present with one in `outside`."""

    inside: Language | None = None
    outside: Language | None = None

    @property
    def empty(self) -> bool:
        if self.inside is None:
            return False
        return (self.inside - self.outside).is_empty() if self.outside is not None else self.inside.is_empty()

    def meet(self, other: Value) -> Value:
        inside = self.inside if other.inside is None else other.inside if self.inside is None else self.inside & other.inside
        outside = self.outside if other.outside is None else other.outside if self.outside is None else self.outside | other.outside
        return Value.of(inside, outside)

    @staticmethod
    def of(inside: Language | None, outside: Language | None) -> Value:
        """The demand in its shortest form: of a header that has to be there, one value is left out like any other."""
        return Value(inside - outside, None) if inside is not None and outside is not None else Value(inside, outside)

    def minus(self, other: Value) -> list[Value]:
        out = []
        if other.inside is not None:
            out.append(self.meet(Value(None, other.inside)))
        if other.outside is not None:
            out.append(self.meet(Value(other.outside, None)))
        return [piece for piece in out if not piece.empty]

    def covers(self, other: Value) -> bool:
        return not other.minus(self)

    def key(self) -> str:
        parts = []
        if self.inside is not None:
            parts.append("is " + self.inside.key(TEXT))
        if self.outside is not None:
            parts.append("is not " + self.outside.key(TEXT))
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Values:
    """Demands by name."""

    by_name: tuple[tuple[str, Value], ...] = field(default=())

    def get(self, name: str) -> Value:
        return dict(self.by_name).get(name, Value())

    def put(self, name: str, value: Value) -> Values:
        return Values(tuple(sorted({**dict(self.by_name), name: value}.items(), key=lambda item: item[0])))

    @property
    def empty(self) -> bool:
        return any(value.empty for _, value in self.by_name)

    def meet(self, other: Values) -> Values:
        if not self.by_name or not other.by_name:
            return self if self.by_name else other
        found = self
        for name, value in other.by_name:
            found = found.put(name, found.get(name).meet(value))
        return found

    def minus(self, other: Values) -> list[Values]:
        return [self.put(name, left) for name, value in other.by_name for left in self.get(name).minus(value)]

    def covers(self, other: Values) -> bool:
        return all(value.covers(other.get(name)) for name, value in self.by_name)

    def key(self) -> str:
        return "; ".join(f"{name} {value.key()}" for name, value in self.by_name)
