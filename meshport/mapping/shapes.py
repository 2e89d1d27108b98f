"""Reading values at places of an object without minding its shape: what is of another shape is passed over. What a check of such values says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]
Refusal = tuple[Path, str]
Demand = Callable[[dict[str, Any]], Iterator[Refusal]]


def at(value: Any, *steps: str) -> Iterator[tuple[Path, Any]]:
    """What stands at a path of keys, `[]` being each item of a list and `*` each entry of a mapping."""
    found: list[tuple[Path, Any]] = [((), value)]
    for step in steps:
        below: list[tuple[Path, Any]] = []
        for path, one in found:
            if step == "[]":
                below += [((*path, index), item) for index, item in enumerate(one)] if isinstance(one, list) else []
            elif step == "*":
                below += [((*path, key), item) for key, item in one.items()] if isinstance(one, dict) else []
            elif isinstance(one, dict) and one.get(step) is not None:
                below.append(((*path, step), one[step]))
        found = below
    return iter(found)


def maps(value: Any, *steps: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    return ((path, one) for path, one in at(value, *steps) if isinstance(one, dict))


def texts(value: Any, *steps: str) -> Iterator[tuple[Path, str]]:
    return ((path, one) for path, one in at(value, *steps) if isinstance(one, str))


def one_of(*names: str, at_path: tuple[str, ...] = ("spec",)) -> Demand:
    """At most one of these members."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in maps(value, *at_path):
            there = [name for name in names if one.get(name) is not None]
            if len(there) > 1:
                yield (*path, there[1]), f"{' and '.join(there)} stand together; one of them may"

    return check


def unread(parse: Callable[[str], Any], text: str) -> str | None:
    """Why a text is none of a small language."""
    from meshport.values.problems import ValueProblem

    try:
        parse(text)
    except ValueProblem as error:
        return str(error)
    return None
