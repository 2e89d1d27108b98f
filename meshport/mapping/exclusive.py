"""Members of a mapping that exclude each other, as the binding files state them: a cluster takes no object that breaks such a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.mapping.table import Exclusive, Kind, in_range

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Clash:
    """One mapping that breaks a rule. `members` are those of the rule that stand there."""

    path: Path
    members: tuple[str, ...]
    rule: Exclusive


def clashes(value: dict[str, Any], kind: Kind, release: str | None = None) -> Iterator[Clash]:
    """Each mapping of an object that breaks a rule of its kind, in a release of its mesh; without one in the newest."""
    for rule in kind.exclusive:
        for path, place in _places(value, rule.at, ()):
            members = tuple(
                name for name in rule.members if place.get(name) is not None and (not rule.filled or place[name] not in ([], {}))
            )
            needed = in_range(release, rule.needed, None) if release and isinstance(rule.needed, str) else bool(rule.needed)
            if len(members) > 1 or (needed and not members):
                yield Clash(path, members, rule)


def _places(value: Any, steps: tuple[str, ...], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if not steps:
        if isinstance(value, dict):
            yield path, value
    elif steps[0] == "[]":
        for index, below in enumerate(value if isinstance(value, list) else ()):
            yield from _places(below, steps[1:], (*path, index))
    elif isinstance(value, dict) and steps[0] in value:
        yield from _places(value[steps[0]], steps[1:], (*path, steps[0]))
