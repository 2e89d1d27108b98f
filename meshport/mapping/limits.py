"""What the API server demands of the values of a kind beside their type: `mappings/limits/`, and the expressions of `demands.py`.

An object that breaks one of these is refused as a whole, in every release that the CRDs were taken from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from meshport._resources import data
from meshport.mapping.demands import demands
from meshport.mapping.table import Kind, load_yaml, split_path
from meshport.values.durations import NS, parse_go
from meshport.values.ports import is_number
from meshport.values.problems import ValueProblem

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Limit:
    """A step of the paths of a kind, and what is demanded of the value there."""

    children: dict[str, Limit] = field(default_factory=dict)
    star: Limit | None = None
    item: Limit | None = None
    demanded: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Breach:
    """A value that the API server refuses, and why."""

    path: Path
    why: str


def breaches(value: dict[str, Any], kind: Kind, meshes: Collection[str] = ()) -> list[Breach]:
    """Each demand of its kind, and of the webhooks of these meshes, that an object does not meet, in the order of the paths."""
    root = _limits(kind.dialect, kind.group, kind.name)
    found = list(_below(value, root, ())) if root is not None else []
    return found + [Breach(path, why) for path, why in demands(value, kind.group, kind.name, meshes)]


@lru_cache(maxsize=64)
def _limits(dialect: str, group: str, name: str) -> Limit | None:
    entry = data("mappings") / "limits" / dialect / f"{name}.yaml"
    if not name.isalnum() or not entry.is_file():
        return None
    rows = load_yaml(entry.read_text(encoding="utf-8"), entry.name)
    if rows["group"] != group:
        return None
    root = Limit()
    for path, demanded in rows["limits"].items():
        node = root
        for step in split_path(path):
            if step == "[]":
                node.item = node.item or Limit()
                node = node.item
            elif step == "*":
                node.star = node.star or Limit()
                node = node.star
            else:
                node = node.children.setdefault(step, Limit())
        node.demanded = demanded
    return root


def _below(value: Any, limit: Limit, path: Path) -> Iterator[Breach]:
    """A null counts as absent; a value of another type is said elsewhere."""
    if value is None:
        return
    if limit.demanded:
        yield from (Breach(at, why) for at, why in _broken(value, limit.demanded, path))
    if isinstance(value, dict):
        for key, below in value.items():
            inner = limit.children.get(key) or limit.star
            if inner is not None:
                yield from _below(below, inner, (*path, key))
    elif isinstance(value, list) and limit.item is not None:
        for index, below in enumerate(value):
            if below is None and limit.item.children:
                yield Breach((*path, index), "the entry is empty")
            yield from _below(below, limit.item, (*path, index))


def _broken(value: Any, demanded: dict[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict | list):
        yield from ((path, why) for why in _sized(value, demanded, "entries"))
        if isinstance(value, dict):
            yield from _mapping(value, demanded, path)
        else:
            for rule in ("unique", "unique_too"):
                yield from _repeated(value, demanded[rule], path) if rule in demanded else ()
    elif isinstance(value, str):
        yield from ((path, why) for why in _text(value, demanded))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = demanded.get("minimum"), demanded.get("maximum")
        if low is not None and value < low:
            yield path, f"{value} is below {low}"
        if high is not None and value > high:
            yield path, f"{value} is above {high}"


def _sized(value: dict[str, Any] | list[Any], demanded: dict[str, Any], what: str) -> Iterator[str]:
    low, high = demanded.get("min_items"), demanded.get("max_items")
    if low is not None and len(value) < low:
        yield "it is empty" if low == 1 else f"it has fewer than {low} {what}"
    if high is not None and len(value) > high:
        yield f"it has more than {high} {what}"


def _mapping(value: dict[str, Any], demanded: dict[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    for name in demanded.get("required", ()):
        if value.get(name) is None:
            yield path, f"{name} is missing"
    for key in value:
        if demanded.get("plain_keys") and (not key or "*" in str(key)):
            yield (*path, key), f"{key!r} is no key of a label" if key else "a key is empty"
        if demanded.get("port_keys") and not (is_number(str(key)) and 0 < int(key) <= 65535):
            yield (*path, key), f"{key!r} is no port from 1 to 65535"


def _repeated(value: list[Any], keys: list[str], path: Path) -> Iterator[tuple[Path, str]]:
    seen: set[tuple[str, ...]] = set()
    for index, item in enumerate(value):
        if not isinstance(item, dict) or any(item.get(key) is None for key in keys):
            continue
        mark = tuple(str(item[key]) for key in keys)
        if mark in seen:
            yield (*path, index, keys[0]), f"{', '.join(mark)} stands there twice"
        seen.add(mark)


def _text(value: str, demanded: dict[str, Any]) -> Iterator[str]:
    low, high, pattern = demanded.get("min_length"), demanded.get("max_length"), demanded.get("pattern")
    if high == 0 and value:
        yield "nothing may stand here"
    elif low is not None and len(value) < low:
        yield "it is empty" if low == 1 else f"it has fewer than {low} characters"
    elif high is not None and len(value) > high:
        yield f"it has more than {high} characters"
    elif pattern is not None and re.search(pattern, value) is None:
        yield f"{value!r} does not match {pattern}"
    elif demanded.get("plain") and "*" in value:
        yield f"{value!r} has a wildcard, and none is read here"
    elif value == demanded.get("not"):
        yield f"{value!r} may not stand here"
    elif demanded.get("duration") and (why := _no_duration(value)):
        yield why
    elif "one_of" in demanded and value not in demanded["one_of"]:
        yield f"{value!r} is none of {', '.join(item for item in demanded['one_of'] if item)}"


def _no_duration(text: str) -> str:
    try:
        return "" if parse_go(text).ns >= NS["ms"] else f"{text!r} is shorter than a millisecond"
    except ValueProblem:
        return f"{text!r} is no duration"
