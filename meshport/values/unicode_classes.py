"""Unicode facts that Rust's `\\d \\w \\s` and case folding need, computed from `unicodedata` on first use."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from itertools import chain

from meshport.values import charset
from meshport.values.charset import Charset

_ASSIGNED = (range(0x323B0), range(0xE0100, 0xE01F0))  # no letter, mark or digit is assigned elsewhere
_WORD = ("L", "M")
_OTHER_ALPHABETIC = ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189))
_JOINERS = ((0x200C, 0x200D),)
_SPACE = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0x85, 0x85),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
)


@cache
def named(letter: str) -> Charset:
    """Rust's Unicode-aware class `d` (Nd), `w` (UTS 18 word characters) or `s` (White_Space)."""
    if letter == "s":
        return charset.normal(_SPACE)
    if letter == "d":
        return charset.normal((point, point) for point in chain(*_ASSIGNED) if unicodedata.category(chr(point)) == "Nd")
    points = [
        (point, point)
        for point in chain(*_ASSIGNED)
        if (kind := unicodedata.category(chr(point)))[0] in _WORD or kind in ("Nd", "Nl", "Pc")
    ]
    return charset.normal([*points, *_OTHER_ALPHABETIC, *_JOINERS])


@cache
def _orbits() -> dict[int, tuple[int, ...]]:
    """For each code point with case, all that fold together with it (simple folding: one code point to one)."""
    groups: dict[str, set[int]] = {}
    for point in range(0x1E944):
        char = chr(point)
        low = char.lower()
        top = char.upper()
        if low == top and low == char:
            continue
        fold = char.casefold()
        if len(fold) != 1:
            fold = low if len(low) == 1 else char
        groups.setdefault(fold, set()).update((point, ord(fold)))
    return {point: tuple(sorted(group)) for group in groups.values() if len(group) > 1 for point in group}


@lru_cache(maxsize=1024)
def folded(chars: Charset) -> Charset:
    """The set with every case variant of its members, as `(?i)` takes it (K brings the Kelvin sign too)."""
    extra: list[tuple[int, int]] = []
    for point, group in _orbits().items():
        if charset.contains(chars, point):
            extra.extend((member, member) for member in group)
    return charset.normal([*chars, *extra])
