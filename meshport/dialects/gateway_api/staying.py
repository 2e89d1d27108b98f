"""Objects that the Gateway API has no words for: they stay with the mesh that acts on them, and one finding each says so.

The Gateway API is no mesh. It says where requests go and is served by one; who may call, what is encrypted and what is ejected is decided beside it. So a
conversion to it takes nothing of that away: the objects are no removals, they hold as long as their mesh serves the namespace, and access is the same
before and after. What is an error is to take the routes elsewhere and believe that the rest comes along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.findings import Affected, Finding
from meshport.ir.base import Fact, Ref, Src
from meshport.mapping.bound import MESH_NAMES

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.mapping.table import Cell

# Who may call and what is encrypted still holds, and has codes of its own; the rest is lost to other implementations.
_ACCESS = {
    "MP150": "mutual TLS between workloads",
    "MP151": "mutual TLS between workloads",
    "MP250": "authorization",
    "MP260": "external authorization",
    "MP261": "check of tokens",
    "MP265": "network policy",
    "MP266": "network policy",
}
_RANK = {"error": 0, "warning": 1, "info": 2}


def _newest(out: Output) -> str:
    return out.table.versions(out.target)[-1]


def stays(
    out: Output,
    number: int,
    facts: Iterable[Fact[Any]],
    src: Src,
    *,
    affects: tuple[Affected, ...] = (),
    explains: frozenset[tuple[str, str]] = frozenset(),
) -> Finding | None:
    """One finding for the document at `number`, whose leaves `src` stay: its code and severity are those of the gravest row among the facts' features.

    None where the rows say that all of it decides nothing here.
    """
    document = out.bundle.documents[number]
    facts = list(facts)
    cells: list[tuple[Cell, str]] = []
    for feature in dict.fromkeys(fact.feature for fact in facts if fact.feature):
        cell = out.table.support(feature, out.target, out.target_version)
        known = out.table.feature(feature)
        if cell.support != "irrelevant":
            cells.append((replace(cell, severity=cell.severity or "warning"), known.title if known is not None else feature))
    if not cells:
        out.ignore("decides nothing about routes", src)
        out.indifferent |= explains
        return None
    worst = min((cell for cell, _ in cells), key=lambda cell: _RANK.get(cell.severity, 1))
    own = [what for cell, what in cells if cell.severity == worst.severity]
    listed = _ACCESS.get(worst.code) or ", ".join(dict.fromkeys(own[:3])) + (f" and {len(set(own)) - 3} more" if len(set(own)) > 3 else "")
    budget = all(fact.feature.startswith("retry.budget.") for fact in facts)
    if budget and worst.support in ("native", "approximate"):
        listed += " but for a Service as a whole"  # it has one that this object has no use for: a subset, or hosts by a wildcard
    elif budget and any(out.table.support(fact.feature, out.target, _newest(out)).support in ("native", "approximate") for fact in facts):
        listed += f" in release {out.target_version}"
    code = "MP247" if worst.code in ("MP150", "MP151") else "MP246" if worst.code in _ACCESS else "MP366"
    row = out.table.codes()[code]
    feature = next(name for name in (fact.feature for fact in facts) if _same(out, name, worst))
    values = {
        "object": f"{document.kind} {Ref(document.namespace or '', document.name)}",
        "source": MESH_NAMES.get(out.source, out.source),
        "what": listed,
    }
    finding = out.finding(
        code,
        src,
        document=number,
        disposition="dropped",
        affects=affects or ((Affected(document.namespace),) if document.namespace else ()),
        explains=explains,
        severity=worst.severity,
        effect="none" if code in ("MP246", "MP247") else worst.effect,
        feature=feature,
        **values,
    )
    finding.remedy = finding.remedy or row.remedy
    return finding


def _same(out: Output, feature: str, cell: Cell) -> bool:
    found = out.table.support(feature, out.target, out.target_version) if feature else None
    return found is not None and found.code == cell.code and (found.severity or "warning") == cell.severity
