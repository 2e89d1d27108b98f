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
