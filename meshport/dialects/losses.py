"""Losses that the table may or may not have a row for."""

from __future__ import annotations

from typing import Any

from meshport.dialects.output import Output
from meshport.findings import Affected, Finding
from meshport.ir.base import Fact


def report(
    out: Output,
    fact: Fact[Any],
    code: str,
    document: int,
    affects: tuple[Affected, ...],
    explained: frozenset[tuple[str, str]],
    **values: Any,
) -> Finding | None:
    """Name what the target cannot say: by the support row, or by a code of our own where the table has none."""
    row = out.table.feature(fact.feature)
    found = out.lost(fact, document=document, affects=affects, explains=explained, **values) if row is not None else None
    if found is not None or (row is not None and fact.src and all(leaf in out.irrelevant for leaf in fact.src)):
        return found
    return out.finding(
        code, fact, document=document, disposition="dropped", affects=affects, explains=explained, **{"value": fact.value, **values}
    )
