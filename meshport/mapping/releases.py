"""What a release knows of a kind's fields and values: `since`, `until`, `versions` and `values_since` of the binding rows.

A field that came later does nothing on an older release: the API server drops it or refuses the object. A field that is gone was read by the releases
before; it is still read as they did, because what it restricts must not open by being forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from meshport._resources import data
from meshport.mapping.table import Binding, Kind, Node, Table, in_range, load_yaml, version_key

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a release does not know a leaf. `side` is `later` or `earlier` (than the field's time), or `version`: another apiVersion has it."""

    side: str
    release: str  # the release that brings it, or the one that takes it away; the newest apiVersion that has the field
    value: bool = False  # the value is the reason, not the field


def gap(binding: Binding, value: Any, release: str | None, version: str = "") -> Gap | None:
    """Why `release` does not know a leaf with this value at this apiVersion; None where it does, or where no release is given."""
    if binding.versions and version and version not in binding.versions:
        return Gap("version", binding.versions[0])
    if release is None:
        return None
    if binding.since is not None and not in_range(release, binding.since, None):
        return Gap("later", binding.since)
    if binding.until is not None and not in_range(release, None, binding.until):
        return Gap("earlier", binding.until)
    for listed, since in binding.values_since:
        if listed == str(value) and not in_range(release, since, None):
            return Gap("later", since, value=True)
    return None


def served(kind: Kind, release: str | None) -> tuple[str, ...]:
    """The apiVersions of a kind that a release serves, newest first; all of them where no release is given."""
    if release is None:
        return kind.versions
    return tuple(name for name, (since, until) in zip(kind.versions, kind.spans, strict=True) if in_range(release, since, until))


def first_release(kind: Kind) -> str | None:
    """The release that brought a kind; None where it is as old as the table."""
    sinces = [since for since, _ in kind.spans]
    return None if not sinces or None in sinces else min((since for since in sinces if since), key=version_key)


def unknown_leaves(table: Table, value: dict[str, Any], kind: Kind, release: str | None) -> Iterator[tuple[Path, Binding, Gap]]:
    """Each leaf of an object that a release does not know, with its row; `channel` is not asked."""
    version = str(value.get("apiVersion", "")).rpartition("/")[2]
    for path, leaf, binding in bound_leaves(table, value, kind):
        found = gap(binding, leaf, release, version)
        if found is not None:
            yield path, binding, found


def bound_leaves(table: Table, value: dict[str, Any], kind: Kind) -> Iterator[tuple[Path, Any, Binding]]:
    """Each leaf of an object of this kind that a row stands for."""
    for key, below in value.items():
        if key not in ("apiVersion", "kind", "metadata", "status"):
            yield from _below(below, kind.root.child(key), (key,))


def _below(value: Any, node: Node | None, path: Path) -> Iterator[tuple[Path, Any, Binding]]:
    if node is None:
        return
    if isinstance(value, dict) and value and not (node.binding is not None and node.binding.type == "object"):
        for key, below in value.items():
            yield from _below(below, node.child(str(key)), (*path, key))
    elif isinstance(value, list) and value and not (node.binding is not None and node.binding.type == "object"):
        for index, below in enumerate(value):
            yield from _below(below, node.item, (*path, index))
    elif (binding := node.binding or node.first_binding()) is not None:
        yield path, value, binding


@lru_cache(maxsize=1)
def removed_groups() -> dict[str, dict[str, str]]:
    """API groups that no release in use serves, with what stands for their kinds now."""
    return cast("dict[str, dict[str, str]]", load_yaml((data("mappings") / "removed.yaml").read_text(encoding="utf-8"), "removed.yaml"))
