"""Errors of a dashboard: those with one reason are one finding that names the panels and points at every query, so that forty panels of a control plane are one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshport.documents.spans import Path
from meshport.findings import Finding
from meshport.observe.assets.surface import Surface

_PANELS, _SUBJECTS = 3, 5
"""How many are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Said:
    """A finding on a query of a dashboard: `kind` panel or variable, with its title or name."""

    path: Path
    kind: str
    name: str
    finding: Finding


def report(surface: Surface, said: Iterable[Said]) -> None:
    """Report the findings, errors with one reason together. What a message begins with (a metric, a label, a variable) may differ within one."""
    groups: dict[tuple[str, str, str], list[Said]] = {}
    for one in said:
        if one.finding.severity != "error":
            surface.report(one.path, [one.finding])
            continue
        _, reason = _parts(one.finding.message)
        groups.setdefault((one.finding.code, reason, one.finding.remedy), []).append(one)
    for (_, reason, _), members in groups.items():
        first = members[0]
        subjects = list(dict.fromkeys(_parts(one.finding.message)[0] for one in members))
        told = reason if subjects == [""] else f"{_some(subjects, _SUBJECTS)}: {reason}"
        surface.report(first.path, [first.finding], _where(members))
        first.finding.message = f"{_where(members)}: {told}"
        first.finding.leaves = tuple(sorted({surface.leaf(one.path) for one in members}))


def _parts(message: str) -> tuple[str, str]:
    """What a message is about, and what it says of it."""
    subject, colon, rest = message.partition(": ")
    return (subject, rest) if colon and " " not in subject else ("", message)


def _where(members: list[Said]) -> str:
    found = []
    for kind in dict.fromkeys(one.kind for one in members):
        names = list(dict.fromkeys(one.name for one in members if one.kind == kind))
        shown = [repr(name) if kind == "panel" and name else name for name in names]
        plural = kind + ("s" if len(names) > 1 else "")
        found.append(f"{plural} {_some(shown, _PANELS)}".strip())
    return " and ".join(found)


def _some(names: list[str], most: int) -> str:
    """Names in a row; of many the first ones, and how many there are more."""
    if len(names) <= most + 1:
        return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
    return f"{', '.join(names[:most])} and {len(names) - most} more"
