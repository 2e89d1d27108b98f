"""What every part of the IR is made of: facts, references, sets of pods.

A lift turns what it reads into facts: a value, the leaves it came from, and the feature that the leaves' binding names. Equality of facts is equality of
meaning: where a value was written does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

Src = frozenset[int]
"""Ids of the leaves that something came from."""

NOWHERE: Src = frozenset()
ANYWHERE = "the object says the same in every namespace"
"""Why the namespace of an object decides nothing."""
LAST = "~"  # the age of an object that no cluster has made yet: after every timestamp


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """A value and why it is known: `src` are leaf ids, `feature` is the name of a row of the mapping table."""

    value: T
    src: Src = field(default=NOWHERE, compare=False)
    feature: str = field(default="", compare=False)

    def map(self, function: Callable[[T], U]) -> Fact[U]:
        """The same leaves, another value."""
        return Fact(function(self.value), self.src, self.feature)

    def holding(self, value: U) -> Fact[U]:
        """The same leaves, this value: for what was concluded from them and not computed from the old one."""
        return Fact(value, self.src, self.feature)

    def also(self, *others: Fact[Any] | Src | None) -> Fact[T]:
        """The same value, known from more leaves."""
        return Fact(self.value, sources(self, *others), self.feature)


def sources(*parts: Fact[Any] | Src | None) -> Src:
    """The leaves of all parts together; where one part has them all, its own set, for there are as many of these as values are written."""
    sets = [part.src if isinstance(part, Fact) else part for part in parts if part]
    if len(sets) < 2:
        return sets[0] if sets else NOWHERE
    if len(sets) == 2:
        one, other = sets
        return other if one <= other else one if other <= one else one | other
    widest = max(sets, key=len)
    found = widest.union(*sets)
    return widest if len(found) == len(widest) else found


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Name of an object: `namespace` is "" for cluster-scoped ones."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One entry of `matchExpressions`; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        if self.operator == "In":
            return labels.get(self.key) in self.values
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        if self.operator == "Exists":
            return self.key in labels
        return self.operator == "DoesNotExist" and self.key not in labels


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """A Kubernetes label selector in normal form: sorted, and an In with one value is a label. An empty one selects everything."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Requirement, ...] = ()

    @staticmethod
    def of(labels: Mapping[str, str] | None = None, expressions: Iterable[Requirement] = ()) -> Selector:
        pairs = dict(labels or {})
        rest: list[Requirement] = []
        for requirement in expressions:
            one = requirement.values[0] if requirement.operator == "In" and len(set(requirement.values)) == 1 else None
            if one is not None and pairs.get(requirement.key, one) == one:
                pairs[requirement.key] = one
            else:
                rest.append(Requirement(requirement.key, requirement.operator, tuple(sorted(set(requirement.values)))))
        return Selector(tuple(sorted(pairs.items())), tuple(sorted(set(rest))))

    def accepts(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.labels) and all(item.accepts(labels) for item in self.expressions)

    @property
    def everything(self) -> bool:
        return not self.labels and not self.expressions

    def meets(self, other: Selector) -> bool:
        """Whether one pod may be taken by both."""
        labels = {**dict(other.labels), **dict(self.labels)}
        demands = (*self.expressions, *other.expressions)
        return all(labels[key] == value for key, value in other.labels) and all(
            item.key not in labels or item.accepts(labels) for item in demands
        )

    def demands(self) -> list[Requirement]:
        """All that it asks for as requirements, a label as an In with one value."""
        return [*(Requirement(key, "In", (value,)) for key, value in self.labels), *self.expressions]

    def manifest(self) -> dict[str, Any]:
        """The selector as a manifest writes it; `{}` for everything."""
        out: dict[str, Any] = {}
        if self.labels:
            out["matchLabels"] = dict(self.labels)
        if self.expressions:
            out["matchExpressions"] = [
                {"key": item.key, "operator": item.operator, **({"values": list(item.values)} if item.values else {})}
                for item in self.expressions
            ]
        return out

    def __str__(self) -> str:
        parts = [f"{key}={value}" for key, value in self.labels]
        for item in self.expressions:
            listed = "(" + ",".join(item.values) + ")"
            parts.append(
                {"In": f"{item.key} in {listed}", "NotIn": f"{item.key} notin {listed}", "Exists": item.key}.get(
                    item.operator, f"!{item.key}"
                )
            )
        return ",".join(parts) or "*"


@dataclass(frozen=True, slots=True, order=True)
class PodSet:
    """Pods by namespace and labels; `namespace` "" means every namespace."""

    namespace: str
    selector: Selector = Selector()

    def meets(self, other: PodSet) -> bool:
        """Whether one pod may be of both."""
        return (self.namespace == other.namespace or not (self.namespace and other.namespace)) and self.selector.meets(other.selector)

    def contains(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return self.namespace in ("", namespace) and self.selector.accepts(labels)

    def __str__(self) -> str:
        return f"{self.namespace or '*'}/{self.selector}"
