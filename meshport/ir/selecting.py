"""Who selects whom, without trying each selector on each pod or on each other selector: they are kept by labels that they must have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from meshport.ir.base import PodSet, Selector

T = TypeVar("T")
Pair = tuple[str, str]


class Selecting(Generic[T]):
    """Things that select pods; `namespace` empty in their subject is every namespace."""

    def __init__(self, items: Iterable[T], subject: Callable[[T], PodSet]) -> None:
        self._subject = subject
        self._by_label: dict[tuple[str, Pair | None], list[tuple[int, T]]] = {}
        listed = list(items)
        common = Counter(pair for item in listed for pair in subject(item).selector.labels)
        for order, item in enumerate(listed):
            pods = subject(item)
            rarest = min(pods.selector.labels, key=lambda pair: common[pair], default=None)  # all may be part of one application
            self._by_label.setdefault((pods.namespace, rarest), []).append((order, item))

    def of(self, namespace: str, labels: Mapping[str, str]) -> list[T]:
        """Those that select a pod: first those of every namespace, then its namespace's own, each in the order in which they were given."""
        found: list[T] = []
        for home in ("", namespace):
            tried: list[tuple[int, T]] = []
            for pair in (None, *labels.items()):
                tried += self._by_label.get((home, pair), ())
            tried.sort(key=lambda one: one[0])
            found += [item for _, item in tried if self._subject(item).selector.accepts(labels)]
            if not namespace:
                break
        return found


class Agreeing(Generic[T]):
    """Selectors by the keys of their labels: to find those that ask for no other value of a label than given ones."""

    def __init__(self, items: Iterable[T], selector: Callable[[T], Selector]) -> None:
        self._by_keys: dict[tuple[str, ...], list[tuple[int, T]]] = {}
        self._selector = selector
        self._by_shared: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[tuple[str, ...], list[tuple[int, T]]]] = {}
        for order, item in enumerate(items):
            self._by_keys.setdefault(tuple(key for key, _ in selector(item).labels), []).append((order, item))

    def with_labels(self, labels: Mapping[str, str]) -> list[T]:
        """Those whose labels could stand on a pod beside these, in the order in which they were given; expressions are not asked."""
        found: list[tuple[int, T]] = []
        for keys in self._by_keys:
            shared = tuple(key for key in keys if key in labels)
            found += self._sharing(keys, shared).get(tuple(labels[key] for key in shared), ())
        return [item for _, item in sorted(found, key=lambda one: one[0])]

    def _sharing(self, keys: tuple[str, ...], shared: tuple[str, ...]) -> dict[tuple[str, ...], list[tuple[int, T]]]:
        """Those with `keys` by their values of the keys `shared`."""
        if (keys, shared) not in self._by_shared:
            by_values = self._by_shared[keys, shared] = {}
            for order, item in self._by_keys[keys]:
                asked = dict(self._selector(item).labels)
                by_values.setdefault(tuple(asked[key] for key in shared), []).append((order, item))
        return self._by_shared[keys, shared]
