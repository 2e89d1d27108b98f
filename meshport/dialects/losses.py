"""Losses that the table may or may not have a row for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.output import Output
from meshport.findings import Affected, Finding
from meshport.ir.authorization import Egress
from meshport.ir.base import Fact

if TYPE_CHECKING:
    from meshport.ir.model import IR


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


def leaving(ir: IR, out: Output) -> None:
    """Say that what leaves pods is restricted no more: one finding a policy, for all its rules."""
    by_document: dict[int, list[Egress]] = {}
    for item in ir.egress:
        by_document.setdefault(item.document, []).append(item)
    for document, items in sorted(by_document.items()):
        affects = tuple(dict.fromkeys(Affected(item.subject.value.namespace or None) for item in items))
        closed = {f"egress of {workload.ref}" for item in items for workload in ir.world.selected(item.subject.value)}
        closed |= {f"egress of namespace {item.subject.value.namespace}" for item in items}
        out.finding(
            "MP124",
            *(fact for item in items for fact in (item.rules, item.subject)),
            document=document,
            disposition="dropped",
            affects=affects,
            explains=frozenset((subject, "*") for subject in closed),
            feature="l4.egress",
            policy=f"{out.bundle.documents[document].kind} {items[0].ref.value}",
        )
