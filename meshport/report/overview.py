"""The audit as a person reads it in a terminal: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meshport.findings import SEVERITIES
from meshport.report.text import COLOURS, Paint
from meshport.report.words import doors, losses, plural, ports, queries, release, shares, some, unprotected

if TYPE_CHECKING:
    from meshport.report.audited import Audit, Effort
    from meshport.report.model import AuditReport, ReportFinding

_MOST = 12


def headline(report: AuditReport) -> list[str]:
    """The four answers, a line each: access, encryption, work, loss."""
    audit = report.audit
    access, encryption = audit.access, audit.encryption
    before, after = encryption.before["enforced"], encryption.after["enforced"]
    whole = sum(encryption.before.values())
    said = [
        f"Access      widened: {access.widened}, undecided: {access.undecided}; narrowed: {access.narrowed}, both: {access.changed}, same: {access.same}"
        " (ports of workloads)",
        f"Encryption  enforced at {before} of {plural(whole, 'workload')} before, at {after} after; weaker at {encryption.weaker}",
        f"Work        {work(audit.effort)}",
    ]
    if report.ledger is not None:
        said.append(f"Leaves      {report.ledger.leaves}: {', '.join(losses(report.ledger)) or 'nothing is lost'}")
    return said


def work(effort: Effort) -> str:
    """The resources by who has to look at them."""
    whole = effort.automatic + effort.review + effort.manual
    return f"{plural(whole, 'resource')}: {effort.automatic} automatic, {effort.review} to review, {effort.manual} by hand"


def lines(report: AuditReport, *, paint: Paint, quiet: bool = False, verbose: bool = False) -> Iterator[str]:
    """The whole audit; `quiet`: the answers alone, `verbose`: all rows of every table."""
    target, audit = report.target, report.audit
    if target is None:
        return
    after = release(target.mesh, target.version, target.data_plane)
    yield paint(f"{release(report.source.mesh, report.source.version)} to {after}", "1")
    yield from headline(report)
    if quiet:
        return
    yield from _access(audit, paint, verbose)
    yield from _encryption(audit, paint, verbose)
    yield from _outside(audit, paint, verbose)
    yield from _patterns(audit, paint)
    yield from _namespaces(audit, paint, verbose)
    yield from _assets(audit, paint, verbose)
    yield from _findings(report.findings, paint, verbose)
    yield from _exceptions(audit, paint)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _cut(rows: list[tuple[str, ...]], verbose: bool) -> Iterator[str]:
    shown = rows if verbose else rows[: _MOST + 1]
    yield from _table(shown)
    if len(shown) < len(rows):
        yield f"  and {len(rows) - len(shown)} more (-v shows all)"


def _access(audit: Audit, paint: Paint, verbose: bool) -> Iterator[str]:
    rows = [row for row in audit.access.rows if row.outcome != "same"]
    yield ""
    yield paint("Access that changes", "1")
    if not audit.access.rows:
        yield "  nothing could be compared: the bundle shows no workload (kubectl get deploy,sts,ds,job -A -o yaml)"
    elif not rows:
        yield "  none: every port admits what it admitted"
    for row in rows if verbose else rows[:_MOST]:
        outcome = paint(row.outcome, "31" if row.outcome in ("widened", "undecided", "changed") else "33")
        yield f"  {outcome} {ports(row)}{': ' + row.reason if row.reason else ''}"
        yield from (f"      newly allowed: {text}" for text in row.gained[: None if verbose else 2])
        yield from (f"      newly denied: {text}" for text in row.lost[: None if verbose else 2])
    if len(rows) > _MOST and not verbose:
        yield f"  and {len(rows) - _MOST} more (-v shows all)"


def _encryption(audit: Audit, paint: Paint, verbose: bool) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("before", "after", "workloads", "why")]
    rows += [(*states, some(names), why) for (*states, why), names in unprotected(audit, every=verbose).items()]
    yield ""
    yield paint("Where mutual TLS is not enforced, or changes", "1")
    if len(rows) == 1:
        yield "  nowhere" if audit.encryption.workloads else "  not known: the bundle shows no workload"
        return
    yield from _cut(rows, verbose)


def _outside(audit: Audit, paint: Paint, verbose: bool) -> Iterator[str]:
    if not audit.access.strangers:
        return
    yield ""
    yield paint("Callers outside the source mesh, and the ports of the mesh that take their requests", "1")
    rows: list[tuple[str, ...]] = [("workload", "before", "after", "lost")]
    for item in audit.access.strangers:
        lost = doors(item.lost)
        rows.append((item.workload, str(item.before), str(item.after), lost or "-"))
    yield from _cut(rows, verbose)


def _patterns(audit: Audit, paint: Paint) -> Iterator[str]:
    yield ""
    yield paint("Patterns in use", "1")
    rows: list[tuple[str, ...]] = [("pattern", "resources", "ready", "automatic", "review", "manual")]
    rows += [(item.title, *shares(item)) for item in audit.patterns]
    yield from _table(rows)


def _namespaces(audit: Audit, paint: Paint, verbose: bool) -> Iterator[str]:
    yield ""
    yield paint("Namespaces", "1")
    rows: list[tuple[str, ...]] = [("namespace", "resources", "ready", "automatic", "review", "manual", "blockers")]
    rows += [(item.namespace, *shares(item), str(len(item.blockers))) for item in audit.namespaces]
    yield from _cut(rows, verbose)
    yield f"  ready: {audit.formulas['readiness']}"


def _assets(audit: Audit, paint: Paint, verbose: bool) -> Iterator[str]:
    if not audit.assets:
        return
    yield ""
    yield paint("Queries of metrics", "1")
    rows: list[tuple[str, ...]] = [("asset", "queries", "translated", "refused", "unchanged", "findings")]
    rows += [queries(item) for item in audit.assets]
    yield from _cut(rows, verbose)


def _findings(findings: Sequence[ReportFinding], paint: Paint, verbose: bool) -> Iterator[str]:
    live = [finding for finding in findings if finding.suppressed is None]
    yield ""
    yield paint(f"Findings: {len(findings)}", "1")
    for severity in SEVERITIES:
        group = [finding for finding in live if finding.severity == severity]
        shown = group if verbose or severity == "error" else group[:_MOST]
        for finding in shown:
            place = finding.location
            where = f"{place['file']}:{place['line']} " if place is not None and place["file"] and place["line"] else ""
            yield f"  {where}{paint(finding.code, COLOURS[severity])} {finding.message}"
        if len(shown) < len(group):
            yield f"  and {len(group) - len(shown)} more of severity {severity} (-v shows all)"


def _exceptions(audit: Audit, paint: Paint) -> Iterator[str]:
    if not audit.exceptions:
        return
    yield ""
    yield paint("Exceptions", "1")
    for item in audit.exceptions:
        about = f" for {item.resource}" if item.resource else ""
        yield f"  {item.state} {item.code}{about}: {item.reason} ({item.owner}, until {item.expires}; {plural(len(item.findings), 'finding')})"
