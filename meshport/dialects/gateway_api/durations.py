"""Durations as routes use them: whole milliseconds inside, one integer with one unit outside, which every reader of the three meshes takes."""

from __future__ import annotations

from meshport.values.durations import NS, Duration, parse_go, parse_linkerd
from meshport.values.problems import ValueProblem


def milliseconds(text: object) -> int:
    """A Go duration (or one of Linkerd's annotations) in milliseconds, rounded up. Raises ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"not a duration: {text!r}")
    try:
        found = parse_go(text.strip())
    except ValueProblem:
        found = parse_linkerd(text)
    if found.ns < 0:
        raise ValueError(f"a duration below zero: {text!r}")
    return -(-found.ns // NS["ms"])


def one_unit(value: int) -> str:
    """A duration with one unit; seconds stay seconds up to five minutes, as people write them."""
    return str(Duration(value * NS["ms"]))


_UNITS = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_LONGEST = 99_999
"""The largest number that a duration of the Gateway API may have before a unit (GEP-2257)."""


def of_a_field(value: int) -> str:
    """A duration as a field of the Gateway API takes it: with one unit where its number has five digits at most, and with several where it has more."""
    text = one_unit(value)
    if len(text.rstrip("hms")) <= len(str(_LONGEST)):
        return text
    parts = []
    for unit, length in _UNITS:
        number, value = (min(value // length, _LONGEST), value % length)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)


def in_one_unit(value: int) -> int:
    """The shortest duration that is no shorter and has five digits and one unit, which is all that Linkerd reads in a route."""
    found = (-(-value // length) * length for _, length in reversed(_UNITS) if -(-value // length) <= _LONGEST)
    return next(found, _LONGEST * _UNITS[0][1])


def annotation(text: object) -> int:
    """A duration as Linkerd reads it in annotations and in routes of the Gateway API: one integer with one unit. ValueError for others."""
    if not isinstance(text, str):
        raise ValueError(f"not a duration: {text!r}")
    return -(-parse_linkerd(text).ns // NS["ms"])


def rounded(text: object) -> bool:
    """Whether a duration is no whole number of milliseconds."""
    try:
        return isinstance(text, str) and parse_go(text.strip()).ns % NS["ms"] != 0
    except ValueProblem:
        return False
