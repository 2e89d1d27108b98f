#!/usr/bin/env python3
"""Write docs/patterns.md and docs/findings.md from the mapping table: `python scripts/make_docs.py`; with `--check`, only say whether
they are as the table has it (exit 1 if not)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from meshport.explain import remedy
from meshport.mapping.table import TARGETS, Cell, Code, Pattern, Table, builtin

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAMES = {"istio": "Istio", "linkerd": "Linkerd", "cilium": "Cilium", "gateway-api": "Gateway API"}
CHAPTERS = {
    "0": "Reading and validity",
    "1": "mTLS and encryption",
    "2": "Authorization",
    "3": "Routing and canary",
    "4": "Retry and timeout",
    "5": "Circuit breaking and load balancing",
    "6": "Rate limiting",
    "7": "Gateways, egress and multi-cluster",
    "8": "Observability",
    "9": "Extensions and the rest",
}
SUPPORT = {
    "native": "the mesh says the same thing",
    "approximate": "it says something close; the finding names the difference",
    "install": "it is a setting of the mesh's installation",
    "external": "another tool does it",
    "none": "it has no form; what is lost is a finding",
    "irrelevant": "it has no behaviour there",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="docs/patterns.md and docs/findings.md from the mapping table")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs")
    check = parser.parse_args().check
    stale = []
    for name, text in pages(builtin()).items():
        file = DOCS / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                file.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"docs/{name} {'differs from the table: run scripts/make_docs.py' if check else 'written'}", file=sys.stderr)
    return 1 if check and stale else 0


def pages(table: Table) -> dict[str, str]:
    """The generated pages by file name."""
    return {"patterns.md": "\n".join(_patterns(table)) + "\n", "findings.md": "\n".join(_findings(table)) + "\n"}


def _patterns(table: Table) -> Iterator[str]:
    yield "<!-- Written by scripts/make_docs.py from mappings/. Do not edit. -->"
    yield "# What each mesh can say"
    yield ""
    yield "The mapping table as it decides conversions. `meshport patterns PATTERN -v` prints a part of it with messages and remedies,"
    yield "`meshport patterns --format json` all of it."
    yield ""
    yield from legend(table)
    for pattern in table.patterns():
        yield from _pattern(pattern)


def legend(table: Table) -> Iterator[str]:
    """What the words of the cells mean, and which releases they are about."""
    yield "| Support | Meaning |"
    yield "| --- | --- |"
    yield from (f"| {word} | {meaning} |" for word, meaning in SUPPORT.items())
    yield ""
    yield "Releases known: " + "; ".join(f"{NAMES[mesh]} {table.versions(mesh)[0]} to {table.versions(mesh)[-1]}" for mesh in TARGETS) + "."


def _pattern(pattern: Pattern) -> Iterator[str]:
    yield ""
    yield f"## {pattern.title}"
    yield ""
    for mesh in TARGETS:
        if pattern.summary.get(mesh):
            yield f"- **{NAMES[mesh]}**: {_plain(pattern.summary[mesh])}"
    yield ""
    yield f"| Feature | {' | '.join(NAMES[mesh] for mesh in TARGETS)} |"
    yield f"| --- |{' --- |' * len(TARGETS)}"
    for feature in pattern.features:
        cells = [_cell(feature.cells.get(mesh, ())) for mesh in TARGETS]
        yield f"| `{feature.name}`: {_plain(feature.title)} | {' | '.join(cells)} |"


def _cell(cells: tuple[Cell, ...]) -> str:
    if not cells:
        return "none"
    newest_first = sorted(cells, key=lambda cell: tuple(int(part) for part in (cell.since or "0").split(".")), reverse=True)
    return "; ".join(_one(cell) for cell in newest_first)


def _one(cell: Cell) -> str:
    code = f" [{cell.code}](findings.md#{cell.code.lower()})" if cell.code else ""
    return f"{cell.support}{code}{span(cell)}"


def span(cell: Cell) -> str:
    """The releases that a cell is for."""
    return (f" since {cell.since}" if cell.since else "") + (f" before {cell.until}" if cell.until else "")


def _findings(table: Table) -> Iterator[str]:
    yield "<!-- Written by scripts/make_docs.py from mappings/codes*.yaml. Do not edit. -->"
    yield "# Findings"
    yield ""
    yield "Every finding has a code that never changes its meaning. `meshport explain CODE` prints the same page. The severity and effect"
    yield "given here are the usual ones; a row of the mapping table can set others for one mesh and release."
    chapter = ""
    for code in table.codes().values():
        if code.name[2] != chapter:
            chapter = code.name[2]
            yield ""
            yield f"## MP{chapter}xx: {CHAPTERS[chapter]}"
        yield from _code(code)


def _code(code: Code) -> Iterator[str]:
    yield ""
    yield f"### {code.name}"
    yield ""
    yield f"**{_plain(code.title)}** ({code.severity}, effect: {code.effect})"
    yield ""
    yield _plain(code.meaning)
    yield ""
    for title, text in (("Cause", code.cause), ("Remedy", remedy(code))):
        if text:
            yield f"- {title}: {_plain(text)}"
    if code.example:
        example = " ".join(code.example.split())
        yield f"- Example: {_plain(example) if '`' in example else f'`{example}`'}"


def _plain(text: str) -> str:
    """One line that Markdown takes as it is written; code spans stay."""
    parts = " ".join(text.split()).split("`")
    for number in range(0, len(parts), 2):
        for sign in "|<>*":
            parts[number] = parts[number].replace(sign, "\\" + sign)
    return "`".join(part.replace("|", "\\|") if number % 2 else part for number, part in enumerate(parts))


if __name__ == "__main__":
    raise SystemExit(main())
