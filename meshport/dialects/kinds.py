"""The kinds of pods that the selectors of a namespace tell apart, and selectors that take some kinds and no others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from math import prod

from meshport.ir.base import PodSet, Requirement, Selector
from meshport.ir.selecting import Agreeing, Selecting

OTHER = "~"  # the value of a label that nothing names
MOST = 8192  # kinds of pods that are looked at
DEEPER = 1024  # of sets of labels that more than two selectors ask for together, where there are more kinds
Labels = Mapping[str, str]
Kind = tuple[str | None, ...]  # the value of each key that selectors speak of; None: without that label


@dataclass(slots=True)
class Kinds:
    """All kinds of pods as some selectors see them, by the selectors that take them."""

    selectors: list[Selector]
    known: list[dict[str, str]]  # the labels of known pods
    keys: list[str] = field(init=False)
    values: list[list[str | None]] = field(init=False)
    whole: bool = True
    _index: Selecting[int] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, set[str]] = {}
        for selector in self.selectors:
            for demand in selector.demands():
                found.setdefault(demand.key, set()).update(demand.values)
        self.keys = sorted(found)
        self.values = [[None, OTHER, *sorted(found[key])] for key in self.keys]
        self._index = Selecting(range(len(self.selectors)), lambda number: PodSet("", self.selectors[number]))

    @property
    def listed(self) -> bool:
        """Whether all kinds are looked at."""
        return prod(map(len, self.values)) <= MOST

    def taking(self, labels: Labels) -> tuple[int, ...]:
        """Which selectors take a pod, by their places."""
        return tuple(sorted(self._index.of("", labels)))

    def kind(self, labels: Labels) -> Kind:
        """The kind of a pod with these labels."""
        found = []
        for key, values in zip(self.keys, self.values, strict=True):
            value = labels.get(key)
            found.append(value if value in values else OTHER)
        return tuple(found)

    def labels(self, kind: Kind) -> dict[str, str]:
        return {key: value for key, value in zip(self.keys, kind, strict=True) if value is not None}

    def groups(self) -> dict[tuple[int, ...], list[Kind]]:
        """The kinds by the selectors that take them. Where there are too many, those of known pods and those that single selectors, pairs of them and as many
        larger sets ask for as are looked at: `whole` says whether that is all."""
        found: dict[tuple[int, ...], list[Kind]] = {}
        kinds: Iterable[Kind] = product(*self.values) if self.listed else dict.fromkeys(islice(self._asked(), 8 * MOST))
        for kind in kinds:
            found.setdefault(self.taking(self.labels(kind)), []).append(kind)
        return found

    def _asked(self) -> Iterator[Kind]:
        yield from map(self.kind, self.known)
        agreeing = Agreeing(list(enumerate(self.selectors)), lambda item: item[1])
        left: deque[tuple[dict[str, str], int, int]] = deque([({}, -1, 0)])  # labels that selectors ask for, the last of these, how many
        seen = 0
        while left:
            labels, last, many = left.popleft()
            seen += 1
            yield self.kind(labels)
            for number, selector in agreeing.with_labels(labels):
                more = {**_least(selector.demands()), **labels}
                if number <= last or more == labels:
                    continue
                if many >= 2 and len(left) + seen >= DEEPER:
                    self.whole = False
                    break
                left.append((more, number, many + 1))

    def select(self, wanted: list[Kind], others: list[Kind]) -> list[Selector]:
        """Selectors that together take the kinds that are wanted, and none of the others; of kinds that are neither, they may take some."""
        return [Selector.of({}, demands) for demands in self._boxes(wanted, others, tuple(range(len(self.keys))))]

    def _boxes(self, wanted: list[Kind], others: list[Kind], left: tuple[int, ...]) -> list[list[Requirement]]:
        if not wanted:
            return []
        if not others or not left:
            return [[]]
        best, score = left[0], -1
        for place in left:
            mine, its = {kind[place] for kind in wanted}, {kind[place] for kind in others}
            told = sum(kind[place] not in mine for kind in others) + sum(kind[place] not in its for kind in wanted)
            if told > score:
                best, score = place, told
        alike: dict[tuple[frozenset[Kind], frozenset[Kind]], list[str | None]] = {}
        rest = tuple(place for place in left if place != best)
        for value in self.values[best]:
            cut = tuple(
                frozenset(tuple(kind[place] for place in rest) for kind in kinds if kind[best] == value) for kinds in (wanted, others)
            )
            alike.setdefault((cut[0], cut[1]), []).append(value)
        free = alike.pop((frozenset(), frozenset()), [])  # of these it does not matter: they go with what nothing names
        for (mine_left, _), values in alike.items():
            if mine_left and OTHER in values:
                values += free
        found = []
        for (mine_left, others_left), values in alike.items():
            if mine_left:
                first = values[0]
                below = self._boxes(
                    [kind for kind in wanted if kind[best] == first],
                    [kind for kind in others if kind[best] == first] if others_left else [],
                    rest,
                )
                found += [[*demand, *more] for demand in _demands(self.keys[best], values, self.values[best]) for more in below]
        return found


def _demands(key: str, values: list[str | None], every: list[str | None]) -> list[list[Requirement]]:
    """Requirements that a label has one of some values (OTHER: one that nothing names; None: it is not there)."""
    if len(values) == len(every):
        return [[]]
    named = tuple(sorted(value for value in values if value is not None and value != OTHER))
    if OTHER in values:
        barred = tuple(sorted(value for value in every if value is not None and value not in values))
        found = [Requirement(key, "NotIn", barred)] if barred else []
        return [[*found, *([] if None in values else [Requirement(key, "Exists")])]]
    either = [[Requirement(key, "In", named)]] if named else []
    return [*either, *([[Requirement(key, "DoesNotExist")]] if None in values else [])]


def _least(demands: Iterable[Requirement]) -> dict[str, str]:
    """The fewest labels that meet demands, as far as each can be met by itself."""
    found: dict[str, str] = {}
    for demand in demands:
        if demand.operator == "In":
            found[demand.key] = demand.values[0]
        elif demand.operator == "Exists":
            found.setdefault(demand.key, OTHER)
    return found
