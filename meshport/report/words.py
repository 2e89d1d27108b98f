"""Words that several forms share: where a finding points to and what it is about, who accepted it, and the rows of an audit's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.report.audited import AccessRow, AssetFate, Audit, Door, NamespaceReadiness, PatternUse, Protection, WorkloadProtection
    from meshport.report.model import LedgerCounts, Location, ReportFinding, Suppressed

TITLES = {"error": "Errors", "warning": "Warnings", "info": "Good to know"}
"""What findings of a severity stand under."""


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 leaf`, `2 leaves`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def called(kind: str, namespace: str | None, name: str) -> str:
    """`Kind namespace/name`, `Kind name` where there is no namespace."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def release(mesh: str, version: str, data_plane: str | None = None) -> str:
    """`mesh version (data plane)`."""
    return f"{mesh} {version} ({data_plane})" if data_plane else f"{mesh} {version}"


# -- a finding


def position(found: Location | None) -> str:
    """`file:line:column`, as far as it is known; "" where there is no place."""
    if found is None or (found["file"] is None and found["line"] is None):
        return ""
    parts = [found["file"] or "<input>", found["line"], found["column"] if found["line"] is not None else None]
    return ":".join(str(part) for part in parts if part is not None)


def place(finding: ReportFinding) -> str:
    """Where a finding points to."""
    return position(finding.location)


def subject(finding: ReportFinding) -> str:
    """`Kind namespace/name` of what a finding is about; "" where it is about no single object."""
    found = finding.resource
    return called(found.kind, found.namespace, found.name) if found is not None else ""


def justification(said: Suppressed) -> str:
    """Why a finding does not count, in one line."""
    return f"{said.by}: {said.reason or ''}" + (f" ({said.owner}, until {said.expires})" if said.owner else "")


# -- an audit


def door(found: Door) -> str:
    """`namespace/workload:port`."""
    return f"{found.namespace}/{found.workload}:{'other ports' if found.port is None else found.port}"


def doors(found: Sequence[Door], most: int = 3) -> str:
    """The first of many ports; "" where there are none."""
    return some([door(each) for each in found], most)


def ports(row: AccessRow, most: int = 3) -> str:
    """What a row of the access matrix is about."""
    return doors(row.doors, most) if row.doors else "not told of any one port"


def coverage(audit: Audit) -> Iterator[tuple[WorkloadProtection, str, Protection, Protection]]:
    """(workload, port, before, after): each workload with no port, then its ports that differ from it."""
    for item in audit.encryption.workloads:
        yield item, "", item.before, item.after
        for port, (before, after) in item.ports.items():
            yield item, port, before, after


def unprotected(audit: Audit, *, every: bool = False) -> dict[tuple[str, str, str], list[str]]:
    """Workloads and ports by (before, after, why): those where mutual TLS is not enforced or changes, or `every` one."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item, port, before, after in coverage(audit):
        if every or before.state != after.state or after.state != "enforced":
            name = f"{item.namespace}/{item.workload}" + (f":{port}" if port else "")
            groups.setdefault((before.state, after.state, after.reason), []).append(name)
    return groups


def shares(item: PatternUse | NamespaceReadiness) -> tuple[str, ...]:
    """Resources, readiness, and the resources by who has to look at them."""
    return str(item.resources), f"{item.readiness:.0%}", str(item.effort.automatic), str(item.effort.review), str(item.effort.manual)


def queries(item: AssetFate) -> tuple[str, ...]:
    """Which asset, its queries, what becomes of them, and the findings about them."""
    counts = (item.expressions, item.translated, item.refused, item.unchanged, len(item.findings))
    return called(item.kind, item.namespace, item.name), *map(str, counts)


def losses(ledger: LedgerCounts) -> list[str]:
    """The leaves that are not wholly carried, by what became of them; only what occurs."""
    counts = ledger.model_dump()
    return [f"{counts[name]} {name}" for name in ("dropped", "manual", "invalid", "approximated", "unaccounted") if counts[name]]
