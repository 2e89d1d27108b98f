"""`meshport schema report|ir|mapping|waivers|plan`: JSON Schema of what meshport writes and reads."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshport.cli import options as opt

NAME = "schema"

_NAMES = ("report", "ir", "mapping", "waivers", "plan")


def run(
    name: Annotated[str, typer.Argument(metavar="report|ir|mapping|waivers|plan", show_default=False)],
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Print the JSON Schema of the report, the IR, a file for --mappings, a file for --waivers, or the plan."""
    from meshport.cli import common

    common.choice("schema", name, _NAMES)
    common.emit(common.as_json(schema(name)))


def schema(name: str) -> dict[str, Any]:
    """One of the five schemas."""
    from meshport.report import schemas

    if name == "waivers":
        from meshport.suppression import WAIVERS_SCHEMA

        return WAIVERS_SCHEMA
    return {"report": schemas.report, "plan": schemas.plan, "ir": schemas.ir, "mapping": schemas.mapping}[name]()
