"""What a person has to know of rules that could not be said, once for all ports and workloads that it concerns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Src


@dataclass(slots=True)
class Note:
    """A finding in the making. `ports` are those that it speaks of; None is every port that nothing names."""

    said: dict[str, Any]
    values: dict[str, Any]
    document: int
    src: Src = NOWHERE
    ports: set[int | None] = field(default_factory=set)
    affects: dict[Affected, None] = field(default_factory=dict)
    explains: set[tuple[str, str]] = field(default_factory=set)


Told = dict[tuple[Any, ...], Note]


def tell(out: Output, told: Told) -> None:
    """The notes as findings."""
    for (code, *_), note in told.items():
        numbers = sorted(port for port in note.ports if port is not None)
        shown = [str(port) for port in numbers] + (["any other"] if None in note.ports else [])
        out.finding(
            code, *([note.src] if note.src else []), document=note.document, affects=tuple(note.affects), explains=frozenset(note.explains),
            port=" and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown), **note.said, **note.values,
        )  # fmt: skip
