"""Words that several forms share: where a finding points to, and what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.report.model import ReportFinding


def place(finding: ReportFinding) -> str:
    """`file:line:column`, as far as it is known."""
    found = finding.location
    if found is None or (found["file"] is None and found["line"] is None):
        return ""
    parts = [found["file"] or "<input>", found["line"], found["column"] if found["line"] is not None else None]
    return ":".join(str(part) for part in parts if part is not None)


def subject(finding: ReportFinding) -> str:
    """`Kind namespace/name` of what a finding is about; "" where it is about no single object."""
    found = finding.resource
    if found is None:
        return ""
    return f"{found.kind} {found.namespace + '/' if found.namespace else ''}{found.name}"
