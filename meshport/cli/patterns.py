"""`meshport patterns [PATTERN]`: the mapping table, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshport.cli import options as opt
from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.mapping.table import Cell, Pattern, Table

NAME = "patterns"

_WIDTH = 100


def run(
    pattern: Annotated[str | None, typer.Argument(metavar="PATTERN", help="One pattern, feature by feature.", show_default=False)] = None,
    form: opt.PlainFormat = "text",
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Print what each mesh can say: all patterns, or one pattern's features at the newest releases."""
    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))
    table = common.table(mappings)
    found = table.patterns()
    if pattern is not None:
        known = {item.name: item for item in found}
        if pattern not in known:
            from difflib import get_close_matches

            close = get_close_matches(pattern, known, 3)
            hint = f"did you mean {', '.join(close)}?" if close else "`meshport patterns` lists them"
            raise UsageError(f"no pattern {pattern!r}; {hint}")
        found = (known[pattern],)
    if form == "json":
        common.emit(common.as_json({"patterns": [as_data(item) for item in found]}))
        return
    lines = _overview(found) if pattern is None else _features(found[0], table, verbose)
    common.emit("".join(f"{line.rstrip()}\n" for line in lines))


def as_data(pattern: Pattern) -> dict[str, Any]:
    """A pattern with every cell of every feature."""
    return {
        "name": pattern.name,
        "title": pattern.title,
        "summary": pattern.summary,
        "features": [
            {
                "name": feature.name,
                "title": feature.title,
                "support": {mesh: [_cell(cell) for cell in cells] for mesh, cells in feature.cells.items()},
            }
            for feature in pattern.features
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    from dataclasses import asdict

    return {key: value for key, value in asdict(cell).items() if value not in ("", None)}


def _overview(patterns: tuple[Pattern, ...]) -> Iterator[str]:
    import textwrap

    from meshport.mapping.table import TARGETS

    for number, pattern in enumerate(patterns):
        if number:
            yield ""
        yield f"{pattern.name}: {pattern.title} ({len(pattern.features)} features)"
        for mesh in TARGETS:
            if pattern.summary.get(mesh):
                yield from textwrap.wrap(pattern.summary[mesh], _WIDTH, initial_indent=f"  {mesh:<12}", subsequent_indent=" " * 14)


def _short(cell: Cell) -> str:
    return f"{cell.support}{f' {cell.code}' if cell.code else ''}{f' (since {cell.since})' if cell.since else ''}"


def _features(pattern: Pattern, table: Table, verbose: bool) -> Iterator[str]:
    from meshport.mapping.table import TARGETS

    releases = {mesh: table.versions(mesh)[-1] for mesh in TARGETS}
    yield pattern.title
    yield ""
    rows = [("feature", *(f"{mesh} {releases[mesh]}" for mesh in TARGETS))]
    for feature in pattern.features:
        cells = [table.support(feature.name, mesh, releases[mesh]) for mesh in TARGETS]
        rows.append((feature.name, *(_short(cell) for cell in cells)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        if number and verbose:
            feature = pattern.features[number - 1]
            yield f"    {feature.title}"
            for mesh in TARGETS:
                cell = table.support(feature.name, mesh, releases[mesh])
                if cell.message or cell.reason:
                    yield f"    {mesh}: {(cell.message or cell.reason).rstrip('.')}.{' ' + cell.remedy if cell.remedy else ''}"
