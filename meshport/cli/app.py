"""The commands, put together."""

from __future__ import annotations

import typer

from meshport.cli import audit, convert, diff, explain, ir, lint, patterns, plan, promql, schema, trace, verify
from meshport.cli.options import Version

app = typer.Typer(
    name="meshport",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def main(context: typer.Context, version: Version = False) -> None:
    """Migration compiler for service meshes: configuration of one mesh becomes that of another, with every loss named.

    Manifests go to stdout, findings to stderr. Exit codes: 0 done; 1 findings at or above --fail-on, or a difference; 2 unusable call or
    input; 3 a defect of meshport.
    """
    if version:
        from meshport import __version__

        typer.echo(f"meshport {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (convert, audit, plan, lint, diff, verify, trace, ir, promql, patterns, explain, schema):
    app.command(name=command.NAME)(command.run)
