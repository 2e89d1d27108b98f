"""Findings as a person reads them in a terminal, and as a workflow annotates a pull request."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from meshport.findings import SEVERITIES, Finding
from meshport.report.places import location, short
from meshport.report.words import TITLES, plural

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.pipeline import Result

COLOURS = {"error": "31", "warning": "33", "info": "36"}
_LEAVES_SHOWN = 20
_ALIKE_SHOWN = 5
"""Of what is only good to know, how many places are named for each code where the reader is spared the rest."""


class Paint:
    """Colours a text, or leaves it alone."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text


def wants_colour(stream: IO[str], no_color: bool = False) -> bool:
    """Whether a stream is a terminal that takes colours, and nobody has asked for none."""
    return not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def findings(
    listed: Iterable[Finding], bundle: Bundle, *, paint: Paint, quiet: bool = False, verbose: bool = False, fold: bool = False
) -> Iterator[str]:
    """The lines of all findings that are not suppressed, by severity; what to do about a code is said once. `fold`: of the last severity a few for each code,
    and how many more there are."""
    shown = [finding for finding in listed if finding.suppressed is None and (not quiet or finding.severity == "error")]
    said: set[tuple[str, str]] = set()
    for severity in SEVERITIES:
        group = [finding for finding in shown if finding.severity == severity]
        if not group:
            continue
        yield paint(f"{TITLES[severity]} ({len(group)})", "1")
        seen: Counter[str] = Counter()
        folding = fold and not verbose and severity == SEVERITIES[-1]
        for finding in group:
            seen[finding.code] += 1
            if folding and seen[finding.code] > _ALIKE_SHOWN:
                continue
            place = short(finding, bundle)
            yield f"{place + ' ' if place else ''}{paint(finding.code, COLOURS[severity])} {finding.message}"
            if finding.remedy and (finding.code, finding.remedy) not in said:
                said.add((finding.code, finding.remedy))
                yield f"    {paint(finding.remedy, '2')}"
            if verbose:
                yield from (f"    - {line}" for line in _leaves(finding, bundle))
        more = [f"{number - _ALIKE_SHOWN} {code}" for code, number in seen.items() if folding and number > _ALIKE_SHOWN]
        if more:
            yield paint(f"and {', '.join(more)} more: -v names each, and so does --report FILE", "2")
        yield ""


def bare(listed: Iterable[Finding], *, paint: Paint, quiet: bool = False) -> Iterator[str]:
    """Findings about text that is no document: a line each, and what to do."""
    for finding in listed:
        if quiet and finding.severity != "error":
            continue
        yield f"{finding.severity}: {paint(finding.code, COLOURS[finding.severity])} {finding.message}"
        if finding.remedy:
            yield f"    {paint(finding.remedy, '2')}"


def _leaves(finding: Finding, bundle: Bundle) -> Iterator[str]:
    for leaf in finding.leaves[:_LEAVES_SHOWN]:
        owner, line = bundle.owner(leaf), bundle.line(leaf)
        place = f"{owner.file or '<input>'}:{line}" if line is not None else f"document {owner.index}"
        yield f"{place} {bundle.path(leaf)}"
    if len(finding.leaves) > _LEAVES_SHOWN:
        yield f"and {len(finding.leaves) - _LEAVES_SHOWN} more leaves"


def summary(result: Result) -> str:
    """One line over a conversion."""
    counts = result.ledger.counts
    parts = [f"{counts[name]} {name.replace('_', ' ')}" for name in counts if name != "leaves" and counts[name]]
    head = f"{plural(len(result.manifests), 'manifest')}, {plural(counts['leaves'], 'leaf', 'leaves')}"
    text = f"{head}: {', '.join(parts)}" if parts else head
    text += f"; {tally(result.findings)}"
    if result.verification is not None:
        text += f"; access {result.verification.verdict}"
    return text


def tally(listed: Sequence[Finding]) -> str:
    """`2 errors, 5 warnings, 6 info`, with the suppressed ones counted apart."""
    live = [finding for finding in listed if finding.suppressed is None]
    numbers = {severity: sum(1 for finding in live if finding.severity == severity) for severity in SEVERITIES}
    text = f"{plural(numbers['error'], 'error')}, {plural(numbers['warning'], 'warning')}, {numbers['info']} info"
    return text + (f", {len(listed) - len(live)} suppressed" if len(live) < len(listed) else "")


def apart(result: Result) -> Iterator[str]:
    """What a stream of objects does not hold."""
    from meshport.writing import apart as files

    if found := files(result.manifests):
        yield f"not in the stream, for no cluster takes it: {', '.join(sorted(each.file for each in found))} (-o FOLDER writes it)"


def by_the_way(result: Result) -> Iterator[str]:
    """What no manifest says: settings of the installation, commands, objects to delete in the end."""
    for chart, values in sorted(result.install["helm_values"].items()):
        settings = ", ".join(f"{path}={_said(value)}" for path, value in _flat(values, ""))
        yield f"install: {chart} needs {settings}"
    for command in result.install["commands"]:
        yield f"run: {command}"
    if result.removals:
        yield f"afterwards: {plural(len(result.removals), 'source object')} to delete once the new policies hold (removals in the report)"


def _flat(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, below in value.items():
        if isinstance(below, dict) and below:
            yield from _flat(below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", below


def _said(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- annotations


def workflow(listed: Iterable[Finding], bundle: Bundle) -> Iterator[str]:
    """Workflow commands of GitHub Actions, one a finding."""
    for finding in listed:
        if finding.suppressed is not None:
            continue
        found = location(finding, bundle)
        places: list[tuple[str, Any]] = []
        if found is not None:
            places = [("file", found["file"]), ("line", found["line"]), ("col", found["column"])]
        command = {"error": "error", "warning": "warning"}.get(finding.severity, "notice")
        fields = ",".join(f"{name}={_escaped(str(value), True)}" for name, value in [*places, ("title", finding.code)] if value is not None)
        text = f"{finding.message}\n{finding.remedy}" if finding.remedy else finding.message
        yield f"::{command} {fields}::{_escaped(text, False)}"


def _escaped(text: str, inside: bool) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if inside else text
