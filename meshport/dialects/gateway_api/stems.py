"""Matches of routes, found by what the paths that they take begin with: of hundreds of rules few have a path in common."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from meshport.dialects.gateway_api.patterns import beginning
from meshport.ir.routing import RouteMatch

Item = TypeVar("Item")


class Stems(Generic[Item]):
    """Things by matches. What is found for a match are all things of those that may stand in the relation to it, and some others."""

    __slots__ = ("_found", "_order")

    def __init__(self) -> None:
        self._found: dict[str, list[Item]] = {}
        self._order: list[str] = []

    def add(self, match: RouteMatch, item: Item) -> None:
        """Add a thing by the match that it is for."""
        begin = _begin(match)
        if begin not in self._found:
            insort(self._order, begin)
        self._found.setdefault(begin, []).append(item)

    def around(self, match: RouteMatch) -> Iterator[Item]:
        """The things of matches that may take every request of this one."""
        if match.path is not None and match.path.value.kind not in ("exact", "prefix", "segments"):
            yield from self.across(match)  # its texts may all begin with more than is seen
            return
        yield from self._before(_begin(match))

    def across(self, match: RouteMatch) -> Iterator[Item]:
        """The things of matches that may have a request in common with this one."""
        begin = _begin(match)
        yield from self._before(begin)
        for place in range(bisect_left(self._order, begin), len(self._order)):
            known = self._order[place]
            if not known.startswith(begin):
                return
            if known not in (begin, "/"):
                yield from self._found[known]

    def _before(self, begin: str) -> Iterator[Item]:
        """The things of matches whose paths begin with no more; `/` is what every path begins with, whatever it is."""
        begins = {begin[:end] for end in range(len(begin) + 1)}
        for known in (*begins, *({"/"} - begins)):
            yield from self._found.get(known, ())


def _begin(match: RouteMatch) -> str:
    return beginning(match.path.value) if match.path is not None else ""
