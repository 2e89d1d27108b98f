"""The report as Markdown that fits a comment on a pull request: the answers first, then what changes, and the findings as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meshport.findings import SEVERITIES
from meshport.report.model import AuditReport
from meshport.report.words import TITLES, doors, place, ports, queries, release, shares, some, subject, unprotected

if TYPE_CHECKING:
    from meshport.report.audited import Audit
    from meshport.report.forms import Material
    from meshport.report.model import Report, ReportFinding

MOST = 60_000
"""Characters of a report: code hosts take comments of less than 65,536."""
_SIGNS = {"error": "🛑", "warning": "⚠️", "info": "ℹ️"}
_ROWS = 40
_NAMES = 4


def write(material: Material) -> str:
    """The text of a `.md` file."""
    report = material.report
    parts = ["\n".join(_head(report))]
    if isinstance(report, AuditReport):
        parts += [
            "\n".join(part)
            for part in (
                _access(report.audit),
                _encryption(report.audit),
                _outside(report.audit),
                _work(report.audit),
                _assets(report.audit),
                _exceptions(report.audit),
            )
            if part
        ]
    text, rest = "\n\n".join(parts), list(_findings(report.findings))
    kept = 0
    for block in rest:
        if len(text) + len(block) + 200 > MOST:
            break
        text += f"\n\n{block}"
        kept += 1
    if kept < len(rest):
        text += f"\n\n_Some findings are left out here for want of room ({len(rest) - kept} of {len(rest)} blocks); the HTML and JSON reports have all of them._"
    return text + "\n"


def _head(report: Report) -> Iterator[str]:
    source, target = release(report.source.mesh, report.source.version), report.target
    if target is None:
        yield f"# meshport lint: {source}"
    else:
        yield f"# meshport: {source} to {release(target.mesh, target.version, target.data_plane)}"
    yield ""
    live = [finding for finding in report.findings if finding.suppressed is None]
    counts = {severity: sum(1 for finding in live if finding.severity == severity) for severity in SEVERITIES}
    said = f"**Findings: {len(report.findings)}** ({counts['error']} errors, {counts['warning']} warnings, {counts['info']} info"
    yield said + (f", {len(report.findings) - len(live)} suppressed)" if len(live) < len(report.findings) else ")")
    if isinstance(report, AuditReport):
        access, encryption, effort = report.audit.access, report.audit.encryption, report.audit.effort
        yield ""
        yield "| Question | Answer |"
        yield "|--|--|"
        yield (
            f"| Is any access widened? | **widened: {access.widened}**, **undecided: {access.undecided}**; narrowed: {access.narrowed}, both: {access.changed},"
            f" same: {access.same} (ports of workloads) |"
        )
        yield (
            f"| Where is mTLS enforced? | at {encryption.before['enforced']} workloads before, at {encryption.after['enforced']} after;"
            f" weaker at {encryption.weaker} |"
        )
        yield f"| How much work is it? | {effort.automatic} resources automatic, {effort.review} to review, {effort.manual} by hand |"
    if report.ledger is not None:
        counted = report.ledger
        lost = f"{counted.dropped} dropped, {counted.manual} manual, {counted.invalid} invalid, {counted.approximated} approximated"
        yield ("" if isinstance(report, AuditReport) else "\n") + (
            f"| What is lost? | {lost}, of {counted.leaves} values |"
            if isinstance(report, AuditReport)
            else f"{counted.leaves} values: {lost}."
        )
    if report.verification is not None:
        yield ""
        yield f"Behaviour: **{report.verification.verdict}**, {report.verification.classes} classes of requests compared."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "--|" * len(head)
    for row in rows[:_ROWS]:
        yield "| " + " | ".join(row) + " |"
    if len(rows) > _ROWS:
        yield ""
        yield f"_and {len(rows) - _ROWS} more_"


def cell(text: str) -> str:
    """Text that may stand in a cell: nothing in it is markup."""
    made = text.replace("\\", "\\\\").replace("\r", " ").replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "|*_`[]#@!~":
        made = made.replace(char, f"&#{ord(char)};" if char in "@|" else f"\\{char}")
    return made


def _access(audit: Audit) -> list[str]:
    rows = [row for row in audit.access.rows if row.outcome != "same"]
    if not rows:
        return []
    made = []
    for row in rows:
        said = [f"newly allowed: {text}" for text in row.gained[:2]] + [f"newly denied: {text}" for text in row.lost[:2]]
        made.append((row.outcome, cell(ports(row, _NAMES)), "<br>".join(map(cell, said or [row.reason]))))
    return ["## Access that changes", "", *_table(("Outcome", "Ports", "For example"), made)]


def _encryption(audit: Audit) -> list[str]:
    rows = [(before, after, cell(some(names, _NAMES)), cell(why)) for (before, after, why), names in unprotected(audit).items()]
    head = ("Before", "After", "Workloads", "Why")
    return ["## Where mutual TLS is not enforced, or changes", "", *_table(head, rows)] if rows else []


def _assets(audit: Audit) -> list[str]:
    rows = [tuple(map(cell, queries(item))) for item in audit.assets]
    head = ("Asset", "Queries", "Translated", "Refused", "Unchanged", "Findings")
    return ["## Queries of metrics", "", *_table(head, rows)] if rows else []


def _outside(audit: Audit) -> list[str]:
    rows = [(cell(item.workload), str(item.before), str(item.after), cell(doors(item.lost, _NAMES))) for item in audit.access.strangers]
    head = ("Workload", "Ports before", "Ports after", "Lost")
    return ["## Callers outside the source mesh", "", *_table(head, rows)] if rows else []


def _work(audit: Audit) -> list[str]:
    head = ("Resources", "Ready", "Automatic", "Review", "By hand")
    patterns = [(cell(item.title), *shares(item)) for item in audit.patterns]
    homes = [(cell(item.namespace), *shares(item)) for item in audit.namespaces]
    return [
        "## Work",
        "",
        *_table(("Pattern", *head), patterns),
        "",
        *_table(("Namespace", *head), homes),
        "",
        f"Ready: {cell(audit.formulas['readiness'])}.",
    ]


def _exceptions(audit: Audit) -> list[str]:
    rows = [
        (item.state, item.code, cell(item.resource or "all"), cell(item.reason), cell(item.owner), item.expires)
        for item in audit.exceptions
    ]
    return ["## Exceptions", "", *_table(("State", "Code", "Resource", "Reason", "Owner", "Until"), rows)] if rows else []


def _findings(findings: Sequence[ReportFinding]) -> Iterator[str]:
    for severity in SEVERITIES:
        group = [finding for finding in findings if finding.severity == severity and finding.suppressed is None]
        for number, finding in enumerate(group):
            title = f"## {TITLES[severity]} ({len(group)})\n\n" if number == 0 else ""
            yield title + _finding(finding)
    accepted = [finding for finding in findings if finding.suppressed is not None]
    for number, finding in enumerate(accepted):
        yield (f"## Accepted ({len(accepted)})\n\n" if number == 0 else "") + _finding(finding)


def _finding(finding: ReportFinding) -> str:
    where = " ".join(part for part in (cell(place(finding)), cell(subject(finding))) if part)
    text = f"- {_SIGNS[finding.severity]} [{finding.code}]({finding.docs}) {cell(finding.message)}" + (f"  \n  {where}" if where else "")
    if finding.suppressed is not None:
        said = finding.suppressed
        text += f"  \n  accepted: {cell(said.reason or said.by)}" + (f" ({cell(said.owner)}, until {said.expires})" if said.owner else "")
    elif finding.remedy:
        text += f"  \n  _{cell(finding.remedy)}_"
    return text
