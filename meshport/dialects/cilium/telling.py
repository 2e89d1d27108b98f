"""What a person has to know of rules that could not be said, once for all ports and workloads that it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.output import Output
from meshport.effective.pieces import Piece
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
    lost: dict[str, list[Piece]] | None = field(
        default_factory=dict
    )  # the requests that it says are left out, by subject; None where that is not known

    def leave_out(self, explains: frozenset[tuple[str, str]], lost: Sequence[Piece] | None) -> None:
        """Take up requests that are left out at subjects; None: it is not known which."""
        if lost is None:
            self.lost = None
        elif self.lost is not None:
            for subject in {subject for subject, _ in explains}:
                self.lost.setdefault(subject, []).extend(lost)


Told = dict[tuple[Any, ...], Note]


def tell(out: Output, told: Told) -> None:
    """The notes as findings."""
    for (code, *_), note in told.items():
        numbers = sorted(port for port in note.ports if port is not None)
        shown = [str(port) for port in numbers] + (["any other"] if None in note.ports else [])
        finding = out.finding(
            code, *([note.src] if note.src else []), document=note.document, affects=tuple(note.affects), explains=frozenset(note.explains),
            port=" and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown), **note.said, **note.values,
        )  # fmt: skip
        finding.lost = note.lost
