"""Demands on a header that are each other's rest: `a` under one rule, anything else or nothing under another, is no demand."""

from __future__ import annotations

from collections.abc import Iterable

from meshport.effective.sets import Value
from meshport.values.language import Language, union

Paths = dict[str, Language | None]
"""Paths by method; None is every path."""
MOST_CELLS = 64
"""Parts of a header's values beyond which nothing is put together."""
ANY = Value()


def regardless(rows: Iterable[tuple[Value, Paths]], every: Value = ANY) -> Paths:
    """What rows under demands on one header say of every request, whatever the header: by method the paths that are had with each value and without one.

    `every` is what else than any value or none it may be: a host is always there."""
    cells: list[tuple[Value, Paths]] = [(every, {})]
    for value, paths in rows:
        after: list[tuple[Value, Paths]] = []
        for cell, had in cells:
            inside = cell.meet(value)
            if inside.empty:
                after.append((cell, had))
                continue
            after.append((inside, {method: _either(method, had, paths) for method in had.keys() | paths.keys()}))
            after += [(left, had) for left in cell.minus(value)]
        if len(after) > MOST_CELLS:
            return {}
        cells = after
    found = dict(cells[0][1])
    for _, had in cells[1:]:
        found = {method: _both(language, had[method]) for method, language in found.items() if method in had}
    return {method: language for method, language in found.items() if language is None or not language.is_empty()}


def _either(method: str, one: Paths, other: Paths) -> Language | None:
    known = [paths[method] for paths in (one, other) if method in paths]
    languages = [language for language in known if language is not None]
    if len(languages) < len(known):
        return None
    return union(*languages) if len(languages) > 1 and languages[0] is not languages[1] else languages[0]


def _both(one: Language | None, other: Language | None) -> Language | None:
    return other if one is None else one if other is None or one is other else one & other
