"""Sets of code points as sorted, disjoint, non-adjacent intervals, ends included. All functions are pure."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

Charset = tuple[tuple[int, int], ...]

LAST = sys.maxunicode
ALL: Charset = ((0, LAST),)
NO_CHARS: Charset = ()


def of(chars: str) -> Charset:
    """The set of the characters of `chars`."""
    return normal((ord(c), ord(c)) for c in chars)


def normal(ranges: Iterable[tuple[int, int]]) -> Charset:
    """Any ranges, in any order, as a Charset."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return tuple(out)


def union(a: Charset, b: Charset) -> Charset:
    return a if a == b else normal((*a, *b))


@lru_cache(maxsize=65_536)
def intersection(a: Charset, b: Charset) -> Charset:
    if a is ALL or a == b:
        return b
    if b is ALL:
        return a
    if len(a) == 1 and len(b) == 1:
        low, high = max(a[0][0], b[0][0]), min(a[0][1], b[0][1])
        return ((low, high),) if low <= high else NO_CHARS
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if low <= high:
            out.append((low, high))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


@lru_cache(maxsize=4096)
def complement(a: Charset) -> Charset:
    out: list[tuple[int, int]] = []
    start = 0
    for low, high in a:
        if low > start:
            out.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        out.append((start, LAST))
    return tuple(out)


def difference(a: Charset, b: Charset) -> Charset:
    return intersection(a, complement(b))


def contains(a: Charset, point: int) -> bool:
    if len(a) == 1:
        return a[0][0] <= point <= a[0][1]
    at = bisect_right(a, (point, LAST + 1)) - 1
    return at >= 0 and point <= a[at][1]


def size(a: Charset) -> int:
    return sum(high - low + 1 for low, high in a)


def single(a: Charset) -> str | None:
    """The character, where the set has exactly one."""
    return chr(a[0][0]) if len(a) == 1 and a[0][0] == a[0][1] else None


_LIKED = "abcdefghijklmnopqrstuvwxyz0123456789/-_.ABCDEFGHIJKLMNOPQRSTUVWXYZ~:@+,;=&$!*'()%?#"


@lru_cache(maxsize=4096)
def pick(a: Charset) -> str:
    """The member that reads best to a person: letters and digits first, control characters last."""
    only = single(a)
    if only is not None:
        return only
    for char in _LIKED:
        if contains(a, ord(char)):
            return char
    for low, high in a:
        if high >= 0x21:
            return chr(max(low, 0x21))
    return chr(a[0][0])


def minterms(sets: list[Charset]) -> tuple[list[Charset], list[int]]:
    """The classes of characters that no given set tells apart, and for each given set the bit mask of the classes it consists of."""
    events: list[tuple[int, int]] = []
    for index, chars in enumerate(sets):
        bit = 1 << index
        for low, high in chars:
            events.append((low, bit))
            events.append((high + 1, bit))
    events.sort()
    classes: dict[int, list[tuple[int, int]]] = {}
    inside = 0
    start = 0
    for point, bit in events:
        if point > start:
            classes.setdefault(inside, []).append((start, point - 1))
            start = point
        inside ^= bit
    if start <= LAST:
        classes.setdefault(inside, []).append((start, LAST))
    masks = [0] * len(sets)
    pieces: list[Charset] = []
    for number, (signature, ranges) in enumerate(classes.items()):
        pieces.append(normal(ranges))
        rest = signature
        while rest:
            low_bit = rest & -rest
            masks[low_bit.bit_length() - 1] |= 1 << number
            rest ^= low_bit
    return pieces, masks
