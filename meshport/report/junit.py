"""The report as JUnit XML, which CI systems show as tests: one case a finding, failed from `--fail-on` on, skipped where somebody has accepted it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from meshport.report.words import justification, place, subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshport.report.forms import Material
    from meshport.report.model import ReportFinding

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(material: Material) -> str:
    """The text of a `.junit.xml` file."""
    findings = material.report.findings
    failures = sum(1 for finding in findings if material.fails(finding.severity, finding.suppressed is not None))
    skipped = sum(1 for finding in findings if finding.suppressed is not None)
    counts = f'tests="{len(findings)}" failures="{failures}" errors="0" skipped="{skipped}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name="meshport" {counts}>', f'  <testsuite name="meshport" {counts}>']
    for finding in findings:
        lines += _case(finding, material)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(finding: ReportFinding, material: Material) -> Iterator[str]:
    name = _attribute(f"{finding.code} {subject(finding)}".strip())
    where = finding.location
    file = f" file={_attribute(where['file'])}" if where is not None and where["file"] else ""
    line = f' line="{where["line"]}"' if where is not None and where["line"] else ""
    room = _attribute("meshport." + (finding.pattern or "input"))
    head = f"    <testcase classname={room} name={name}{file}{line}"
    body = _text("\n".join(part for part in (place(finding), finding.message, finding.remedy, finding.docs) if part))
    if finding.suppressed is not None:
        why = justification(finding.suppressed)
        yield f"{head}><skipped message={_attribute(why)}/></testcase>"
    elif material.fails(finding.severity, False):
        yield f'{head}><failure type="{finding.severity}" message={_attribute(finding.message)}>{body}</failure></testcase>'
    else:
        yield f"{head}><system-out>{body}</system-out></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_NO_XML.sub("�", text), {"\n": "&#10;", "\t": "&#9;"})


def _text(text: str) -> str:
    return escape(_NO_XML.sub("�", text))
