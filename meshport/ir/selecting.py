"""Who selects whom, without trying each selector on each pod: both are kept by one label that they must have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from meshport.ir.base import PodSet

T = TypeVar("T")
Pair = tuple[str, str]


class Selecting(Generic[T]):
    """Things that select pods; `namespace` empty in their subject is every namespace."""

    def __init__(self, items: Iterable[T], subject: Callable[[T], PodSet]) -> None:
        self._subject = subject
        self._by_label: dict[tuple[str, Pair | None], list[tuple[int, T]]] = {}
        for order, item in enumerate(items):
            pods = subject(item)
            first = pods.selector.labels[0] if pods.selector.labels else None
            self._by_label.setdefault((pods.namespace, first), []).append((order, item))

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
