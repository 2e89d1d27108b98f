"""How much of the random bundles and of the large products of cases an ordinary run takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
ALL = os.environ.get("MESHPORT_TESTS") == "all"


def some(values: Iterable[T], every: int = 2) -> list[T]:
    """The first of each `every` values, which an ordinary run takes; with MESHPORT_TESTS=all in the environment, all of them."""
    return list(values)[:: 1 if ALL else every]
