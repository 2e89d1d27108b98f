"""`meshport explain CODE`: the page of a finding code."""

from __future__ import annotations

from typing import Annotated

import typer

from meshport.cli import options as opt

NAME = "explain"


def run(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="Such as MP012; without it, all codes with their titles.", show_default=False)
    ] = None,
    form: opt.PlainFormat = "text",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Explain a finding: what it means, where it comes from, what to do about it."""
    from meshport import explain
    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))
    table = common.table(None)
    if code is None:
        codes = list(table.codes().values())
        if form == "json":
            common.emit(common.as_json([explain.as_data(row) for row in codes]))
        else:
            common.emit("".join(f"{row.name}  {row.severity:<7}  {row.title}\n" for row in codes))
        return
    row = explain.page(code, table)
    common.emit(common.as_json(explain.as_data(row)) if form == "json" else explain.text(row))
