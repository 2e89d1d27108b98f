"""Durations as routes use them: whole milliseconds inside, one integer with one unit outside, which every reader of the three meshes
takes."""

from __future__ import annotations

import re
from math import ceil

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)")
_UNITS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}


def milliseconds(text: object) -> int:
    """A Go duration (or one of Linkerd's annotations) in milliseconds, rounded up. Raises ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"not a duration: {text!r}")
    stripped = text.strip()
    if stripped == "0":
        return 0
    total, at = 0.0, 0
    for found in _PART.finditer(stripped):
        if found.start() != at:
            break
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if at != len(stripped) or not at:
        raise ValueError(f"not a duration: {text!r}")
    return ceil(round(total, 6))


def one_unit(value: int) -> str:
    """A duration with one unit; whole seconds stay seconds up to an hour's worth, as people write them."""
    if value == 0:
        return "0s"
    if value % 1000:
        return f"{value}ms"
    seconds = value // 1000
    if seconds % 3600 == 0:
        return f"{seconds // 3600}h"
    if seconds % 60 == 0 and seconds > 300:
        return f"{seconds // 60}m"
    return f"{seconds}s" if seconds < 100_000 else f"{ceil(seconds / 60)}m"
