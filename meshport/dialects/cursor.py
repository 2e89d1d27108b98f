"""Reading one document: a place in it, and the facts that lie there.

A cursor gives facts, not values: each carries the ids of its leaves and the feature that the mapping table binds them to. A leaf that the table calls
invalid is not there: the cluster would not act on it either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from meshport.ir.base import LAST, NOWHERE, Fact, Ref, Requirement, Selector, Src, sources
from meshport.mapping.bound import Bound
from meshport.mapping.paths import dotted, leaves_below, leaves_of

if TYPE_CHECKING:
    from meshport.documents import Document

T = TypeVar("T")
_MISSING = object()


class Cursor:
    """A place in a document. A place that does not exist is a cursor too: it has no facts, no items and is false. So is one that holds a null, which the API
    server drops (kubernetes.io/docs, custom-resource-definitions, nullable)."""

    __slots__ = ("bound", "number", "shadow", "value")

    def __init__(self, bound: Bound, number: int, value: Any, shadow: Any) -> None:
        self.bound = bound
        self.number = number
        self.value = value
        self.shadow = shadow

    @staticmethod
    def root(bound: Bound, number: int) -> Cursor:
        document = bound.bundle.documents[number]
        return Cursor(bound, number, document.value, document.leaves)

    @property
    def document(self) -> Document:
        return self.bound.bundle.documents[self.number]

    def __bool__(self) -> bool:
        return self.value is not _MISSING and self.value is not None

    def at(self, *keys: str) -> Cursor:
        """The place below, or one that does not exist."""
        value, shadow = self.value, self.shadow
        for key in keys:
            if not isinstance(value, dict) or key not in value or not isinstance(shadow, dict):
                return Cursor(self.bound, self.number, _MISSING, None)
            value, shadow = value[key], shadow[key]
        if isinstance(shadow, int) and shadow in self.bound.invalid:
            return Cursor(self.bound, self.number, _MISSING, None)
        return Cursor(self.bound, self.number, value, shadow)

    def nearest(self, path: Sequence[str | int]) -> Src:
        """The leaves at a path, or above it where nothing stands there; also those that the table calls invalid."""
        shadow = self.shadow
        for step in path:
            inside = (
                step in shadow if isinstance(shadow, dict) else isinstance(step, int) and not isinstance(shadow, int) and step < len(shadow)
            )
            if not inside:
                break
            shadow = shadow[step]
        return frozenset(leaves_of(shadow))

    def each(self, *keys: str) -> list[Cursor]:
        """The items of the list below; [] where there is none."""
        place = self.at(*keys) if keys else self
        if not isinstance(place.value, list) or not isinstance(place.shadow, list):
            return []
        found = []
        for value, shadow in zip(place.value, place.shadow, strict=True):
            if not (isinstance(shadow, int) and shadow in self.bound.invalid):
                found.append(Cursor(self.bound, self.number, value, shadow))
        return found

    def items(self, *keys: str) -> list[tuple[str, Cursor]]:
        """The entries of the mapping below; [] where there is none."""
        place = self.at(*keys) if keys else self
        if not isinstance(place.value, dict) or not isinstance(place.shadow, dict):
            return []
        return [
            (key, Cursor(self.bound, self.number, value, place.shadow[key]))
            for key, value in place.value.items()
            if not (isinstance(place.shadow[key], int) and place.shadow[key] in self.bound.invalid)
        ]

    def keys(self) -> list[str]:
        return [key for key, _ in self.items()]

    @property
    def src(self) -> Src:
        """All leaves here and below."""
        if self.shadow is None:
            return NOWHERE
        if isinstance(self.shadow, int):
            return frozenset((self.shadow,))
        return frozenset(leaf for leaf in leaves_of(self.shadow) if leaf not in self.bound.invalid)

    def fact(self, parse: Callable[[Any], T] | type[T]) -> Fact[T] | None:
        """The scalar here as a fact; None where there is none, or where `parse` (a type, or a function that raises ValueError) does not take it."""
        if not self or self.value is None or not isinstance(self.shadow, int) or isinstance(self.value, dict | list):
            return None
        feature = self.bound.feature(self.shadow)
        src = frozenset((self.shadow,))
        if isinstance(parse, type):
            if not isinstance(self.value, parse) or (isinstance(self.value, bool) and parse is not bool):
                return None
            return Fact(cast("T", self.value), src, feature)
        try:
            return Fact(parse(self.value), src, feature)
        except ValueError:
            self.bound.unread.add(self.shadow)
            return None

    def get(self, key: str, parse: Callable[[Any], T] | type[T]) -> Fact[T] | None:
        return self.at(key).fact(parse)

    def text(self, *keys: str) -> Fact[str] | None:
        return self.at(*keys).fact(str)

    def number_at(self, *keys: str) -> Fact[int] | None:
        return self.at(*keys).fact(int)

    def strings(self, *keys: str) -> tuple[Fact[str], ...]:
        """The strings of the list below, as facts."""
        return tuple(fact for item in self.each(*keys) if (fact := item.fact(str)) is not None)

    def whole(self, *keys: str) -> Fact[Any] | None:
        """Everything below as one fact of the plain value, with the feature of its first leaf."""
        place = self.at(*keys) if keys else self
        if not place:
            return None
        src = place.src
        feature = next((name for leaf in sorted(src) if (name := self.bound.feature(leaf))), "")
        return Fact(place.value, src, feature)

    def leaves(self, *keys: str) -> Iterator[tuple[str, Fact[Any]]]:
        """Each scalar below with its path from here, as facts."""
        place = self.at(*keys) if keys else self
        if not place:
            return
        for leaf, path in leaves_below(place.shadow, ()):
            if leaf in self.bound.invalid:
                continue
            value = place.value
            for step in path:
                value = value[step]
            yield dotted(path), Fact(value, frozenset((leaf,)), self.bound.feature(leaf))

    # -- what every object has

    def ref(self) -> Fact[Ref]:
        """The object's name: known from its kind, name and namespace."""
        known = self.bound.refs.get(self.number)
        if known is None:
            document, root = self.document, Cursor.root(self.bound, self.number)
            src = sources(root.at("kind").src, root.at("metadata", "name").src, root.at("metadata", "namespace").src)
            known = Fact(Ref(document.namespace or "", document.name), src, "identity.name")
            self.bound.refs[self.number] = known
        return known

    def created(self) -> str:
        """When the object was made, in the API server's own spelling, which sorts by age; of one that no cluster has made yet, what sorts last."""
        stamp = Cursor.root(self.bound, self.number).at("metadata", "creationTimestamp")
        return str(stamp.value) if stamp and stamp.value else LAST

    def selector(self, *keys: str) -> Fact[Selector]:
        """The LabelSelector below (matchLabels and matchExpressions); everything where it is empty or absent."""
        place = self.at(*keys)
        labels = {key: str(item.value) for key, item in place.items("matchLabels") if not isinstance(item.value, dict | list)}
        expressions = []
        for item in place.each("matchExpressions"):
            key, operator = item.text("key"), item.text("operator")
            if key and operator:
                expressions.append(Requirement(key.value, operator.value, tuple(str(value.value) for value in item.strings("values"))))
        whole = place.whole()
        return Fact(Selector.of(labels, expressions), place.src, whole.feature if whole else "")
