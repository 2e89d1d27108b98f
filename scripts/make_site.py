#!/usr/bin/env python3
"""Lay out the documentation for mkdocs: `python scripts/make_site.py FOLDER`. Into FOLDER go the pages written by hand, a page for each pattern and each finding
from the tables, the options of each command from the command line, and `mkdocs.yml` with the navigation. `make docs` builds the site from it."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import make_docs

from meshport.mapping.table import TARGETS, Table, builtin

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ("findings.md", "patterns.md")
"""The long pages that `make_docs.py` writes; the site has a page for each of their parts."""


def main() -> int:
    parser = argparse.ArgumentParser(description="the sources of the documentation site")
    parser.add_argument("folder", type=Path, help="where to write them")
    folder: Path = parser.parse_args().folder
    pages = site(builtin())
    for name, text in pages.items():
        file = folder / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for stale in sorted((folder / "docs").rglob("*.md")):
        if str(stale.relative_to(folder / "docs")) not in pages:
            stale.unlink()
    # JSON is YAML: mkdocs reads the navigation as it is
    settings = {"INHERIT": str(ROOT / "mkdocs.yml"), "docs_dir": str((folder / "docs").resolve()), "nav": navigation(pages)}
    (folder / "mkdocs.yml").write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(pages)} pages in {folder / 'docs'}", file=sys.stderr)
    return 0


def site(table: Table) -> dict[str, str]:
    """The pages by their path in the site."""
    written = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED]
    found = {page.name: _linked(page.read_text(encoding="utf-8"), "") for page in written}
    found["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found.update(_commands())
    found.update(_patterns(table))
    found.update(_findings(table))
    return found


def navigation(pages: dict[str, str]) -> list[Any]:
    """The pages in the order in which a stranger needs them."""

    def under(folder: str) -> list[Any]:
        names = sorted(name for name in pages if name.startswith(f"{folder}/") and not name.endswith("index.md"))
        return [f"{folder}/index.md", *names]

    commands = [f"commands/{name}.md" for name in _order() if f"commands/{name}.md" in pages]
    return [
        {"Home": "index.md"},
        {"Quick start": "quick-start.md"},
        {"Commands": commands},
        {"Patterns": under("patterns")},
        {"Findings": under("findings")},
        *(
            {_title(pages[name]): name}
            for name in sorted(pages)
            if "/" not in name and name not in ("index.md", "quick-start.md", "changelog.md")
        ),
        {"Changelog": "changelog.md"},
    ]


def _title(text: str) -> str:
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))


def _linked(text: str, up: str) -> str:
    """Links to the one long page of findings or patterns as links to a page of its own."""
    text = re.sub(r"\]\((?:\.\./)?findings\.md#(mp\d{3})\)", lambda found: f"]({up}findings/{found[1].upper()}.md)", text)
    text = re.sub(r"\]\((?:\.\./)?(findings|patterns)\.md\)", lambda found: f"]({up}{found[1]}/index.md)", text)
    text = re.sub(r"\]\(\.\./CHANGELOG\.md\)", f"]({up}changelog.md)", text)
    return re.sub(
        r"\]\(\.\./(README|CONTRIBUTING|examples|corpus|benchmarks)([^)]*)\)",
        r"](https://github.com/meshport/meshport/blob/main/\1\2)",
        text,
    )


# -- commands


def _order() -> list[str]:
    from meshport.cli.app import app

    return [str(command.name) for command in app.registered_commands]


def _commands() -> Iterator[tuple[str, str]]:
    import typer

    from meshport.cli.app import app

    group: Any = typer.main.get_command(app)
    for name in _order():
        page = ROOT / "docs" / "commands" / f"{name}.md"
        prose = page.read_text(encoding="utf-8") if page.is_file() else f"# meshport {name}\n"
        yield f"commands/{name}.md", _linked(prose, "../") + "\n".join(["", *_options(group.commands[name]), ""])


def _options(command: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    yield "## Arguments and options"
    yield ""
    yield "| | Meaning | Default |"
    yield "| --- | --- | --- |"
    for parameter in (*arguments, *(item for item in command.params if item not in arguments)):
        names = [f"`{parameter.metavar or parameter.name.upper()}`"] if parameter in arguments else _names(parameter)
        said = make_docs._plain(getattr(parameter, "help", None) or "")
        default = parameter.default if isinstance(parameter.default, str | int) and not isinstance(parameter.default, bool) else ""
        yield f"| {', '.join(names)} | {said} | {f'`{default}`' if default != '' else ''} |"


def _names(parameter: Any) -> list[str]:
    value = f" {parameter.metavar}" if parameter.metavar and not parameter.is_flag else ""
    return [f"`{name}{value}`" for name in sorted((*parameter.opts, *parameter.secondary_opts), key=lambda one: one.startswith("--no-"))]


# -- tables


def _patterns(table: Table) -> Iterator[tuple[str, str]]:
    rows = ["# What each mesh can say", "", "A page for each pattern, with its features release by release.", ""]
    rows += [*make_docs.legend(table), "", "| Pattern | Features |", "| --- | --- |"]
    for pattern in table.patterns():
        rows.append(f"| [{pattern.title}]({pattern.name}.md) | {len(pattern.features)} |")
        text = "\n".join(make_docs._pattern(pattern)).strip().replace("## ", "# ", 1)
        lines = [_linked(text, "../"), "", "## In full", ""]
        for feature in pattern.features:
            said = [
                f"- **{make_docs.NAMES[mesh]}**{make_docs.span(cell)}: {make_docs._plain(cell.message or cell.reason)}"
                + (f" *{make_docs._plain(cell.remedy)}*" if cell.remedy else "")
                + (f" [source]({cell.source})" if cell.source.startswith("https://") else "")
                for mesh in TARGETS
                for cell in feature.cells.get(mesh, ())
                if cell.message or cell.reason
            ]
            if said:
                lines += [f"### `{feature.name}`", "", make_docs._plain(feature.title) + ".", "", *said, ""]
        yield f"patterns/{pattern.name}.md", "\n".join(lines) + "\n"
    yield "patterns/index.md", "\n".join(rows) + "\n"


def _findings(table: Table) -> Iterator[tuple[str, str]]:
    rows = ["# Findings", "", "Every finding has a code that never changes its meaning; `meshport explain CODE` prints the same page.", ""]
    chapter = ""
    for code in sorted(table.codes().values(), key=lambda item: item.name):
        if code.name[2] != chapter:
            chapter = code.name[2]
            rows += ["", f"## MP{chapter}xx: {make_docs.CHAPTERS[chapter]}", "", "| Code | Title | Usually |", "| --- | --- | --- |"]
        rows.append(f"| [{code.name}]({code.name}.md) | {make_docs._plain(code.title)} | {code.severity} |")
        text = "\n".join(make_docs._code(code)).strip().replace("### ", "# ", 1)
        users = sorted(
            {
                pattern.name
                for pattern in table.patterns()
                for feature in pattern.features
                for cells in feature.cells.values()
                for cell in cells
                if cell.code == code.name
            }
        )
        if users:
            text += "\n\nPatterns: " + ", ".join(f"[{name}](../patterns/{name}.md)" for name in users)
        yield f"findings/{code.name}.md", text + "\n"
    yield "findings/index.md", "\n".join(rows) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
