"""The forms of a report: which file gets which, by its suffix. Every form renders the same model and computes nothing, so that all of them say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.report.exhibits import Exhibit
    from meshport.report.model import Report

SUFFIXES = {
    ".json": "meshport.report.json",
    ".html": "meshport.report.html",
    ".md": "meshport.report.markdown",
    ".sarif": "meshport.report.sarif",
    ".junit.xml": "meshport.report.junit",
}
"""The modules by suffix; each has `write(material) -> str`."""
FOR_PEOPLE = (".html", ".md")
"""Forms that carry the audit also where a conversion or a lint is reported."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a form is made of. `fail_on` is the severity from which a finding fails the run; `exhibits` gives the excerpts of source and output by the
    number of their finding, to the forms that show them."""

    report: Report
    fail_on: str = "error"
    exhibits: Callable[[], Mapping[int, Exhibit]] = dict

    def fails(self, severity: str, suppressed: bool) -> bool:
        """Whether a finding of this severity fails the run."""
        from meshport.findings import SEVERITIES

        return not suppressed and self.fail_on != "never" and SEVERITIES.index(severity) <= SEVERITIES.index(self.fail_on)


def suffix(file: str) -> str | None:
    """The suffix of a report file that picks its form; None where it is of none."""
    return next((known for known in SUFFIXES if file.lower().endswith(known)), None)


def render(
    files: Sequence[str],
    report: Callable[[], Report],
    audit: Callable[[], Report] | None = None,
    *,
    fail_on: str = "error",
    exhibits: Callable[[], Mapping[int, Exhibit]] = dict,
) -> Mapping[str, str]:
    """The texts of report files by their names. `audit` gives the report with its audit, where there is one."""
    found: dict[str, str] = {}
    plain: Report | None = None
    whole: Report | None = None
    for file in files:
        known = suffix(file)
        assert known is not None  # checked with the command line
        if known in FOR_PEOPLE and audit is not None:
            whole = shown = whole or audit()
        else:
            plain = shown = plain or report()
        found[file] = import_module(SUFFIXES[known]).write(Material(shown, fail_on, exhibits))
    return found
