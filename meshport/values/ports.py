"""Linkerd's port lists. Two parsers read them: the policy controller (Rust) drops a list with any bad item, the injector (Go) only the
item.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from meshport.values import _grammar
from meshport.values.problems import ValueProblem

Ports = tuple[tuple[int, int], ...]


@lru_cache(maxsize=2048)
def parse_ports(text: str, *, lenient: bool = False) -> Ports:
    """The ranges, ends included, ascending and merged; a single port is (p, p).

    Strict, as the policy controller: 1 to 65535, spaces allowed, any bad item raises ValueProblem. `lenient`, as the injector: bad items
    (a container port's name) are skipped, 0 is a port, a range has no space in it.
    """
    if not lenient:
        return merge_ports(_items(text, 1))
    found: list[tuple[int, int]] = []
    for item in text.split(","):
        if " " in item.strip():
            continue
        try:
            found.extend(_items(item.strip(), 0))
        except ValueProblem:
            continue
    return merge_ports(found)


def _items(text: str, least: int) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for item in _grammar.trees(_grammar.parse("ports", text, "a list of ports such as 25,8000-8010")):
        ends = [int(token) for token in _grammar.tokens(item)]
        low, high = ends[0], ends[-1]
        if not least <= low <= 65535 or not least <= high <= 65535:
            raise ValueProblem(f"{text!r} is not a list of ports: {low if not least <= low <= 65535 else high} is out of range")
        if low > high:
            raise ValueProblem(f"{text!r} is not a list of ports: the range {low}-{high} runs backwards")
        out.append((low, high))
    return out


def merge_ports(ranges: Iterable[tuple[int, int]]) -> Ports:
    """Ranges ascending, overlapping and adjacent ones joined."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def other_ports(ranges: Iterable[tuple[int, int]]) -> Ports:
    """The ports, from 1 to 65535, that are not among these."""
    found, low = [], 1
    for first, last in (*sorted(ranges), (65536, 65536)):
        if first > low:
            found.append((low, first - 1))
        low = max(low, last + 1)
    return tuple(found)


def format_ports(ranges: Iterable[tuple[int, int]]) -> str:
    """The list as both parsers read it: numbers, ascending, no spaces."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in merge_ports(ranges))


def is_number(text: str) -> bool:
    """Whether a text is a number that fits a machine word: ASCII digits alone, for `int` takes others and refuses thousands of them."""
    return text.isascii() and text.isdigit() and len(text) < 19


class CalledPort(int):
    """A container port of which the name is known and the number is not: as a number it is above all that ports have."""

    name: str

    def __new__(cls, name: str, position: int) -> CalledPort:
        made = super().__new__(cls, 65536 + position)
        made.name = name
        return made

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


def called_ports(names: Iterable[str]) -> list[CalledPort]:
    return [CalledPort(name, position) for position, name in enumerate(sorted(set(names)))]
