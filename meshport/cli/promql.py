"""`meshport promql EXPR`: one expression translated, on stdout; what has to be known of it on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshport.cli import options as opt
from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.observe.translate import Translation

NAME = "promql"


def run(
    expr: Annotated[str, typer.Argument(metavar="EXPR", help="The expression, or - for standard input.", show_default=False)],
    source: Annotated[str | None, typer.Option("--from", metavar="MESH", help="The mesh that it asks of.", show_default=False)] = None,
    target: opt.ToMetrics = None,
    source_version: opt.FromVersion = None,
    target_version: opt.ToVersion = None,
    group_by: opt.GroupBy = "service",
    latency: opt.Latency = "keep-unit",
    mappings: opt.Mappings = None,
    form: opt.PlainFormat = "text",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Translate one PromQL expression, or say why it cannot be asked of the other mesh."""
    from meshport.cli import common

    common.table(mappings)  # as every command takes it; rows are about configuration, and say nothing of queries
    common.choice("--format", form, ("text", "json"))
    if source is None or target is None:
        raise UsageError("name both meshes: --from istio --to linkerd")
    if expr == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed; pipe the expression in, or give it as EXPR")
        expr = sys.stdin.read().strip("\n")

    from meshport.observe.translate import translate_promql
    from meshport.report import text

    found = translate_promql(
        expr, source=source, target=target, source_version=source_version, target_version=target_version, group_by=group_by, latency=latency
    )
    if form == "json":
        common.emit(common.as_json(as_data(found)))
    elif found.expr is not None:
        common.emit(found.expr + "\n")
    paint = text.Paint(text.wants_colour(sys.stderr, no_color))
    if form == "text":
        common.say(text.bare(found.findings, paint=paint, quiet=quiet))
        for chart, path, value in found.requires if not quiet else ():
            common.say([f"install: {chart} needs {path}={value if isinstance(value, str) else common.as_json(value).strip()}"])
    raise typer.Exit(1 if common.failed(found.findings, "error") else 0)


def as_data(found: Translation) -> dict[str, Any]:
    """The translation as JSON."""
    return {
        "expr": found.expr,
        "findings": [
            {
                "code": item.code,
                "severity": item.severity,
                "effect": item.effect,
                "message": item.message,
                "remedy": item.remedy,
                "docs": item.docs,
            }
            for item in found.findings
        ],
        "labels": {name: list(labels) for name, labels in found.labels.items()},
        "values": found.values,
        "unit": list(found.unit) if found.unit is not None else None,
        "factor": found.factor,
        "requires": [{"chart": chart, "path": path, "value": value} for chart, path, value in found.requires],
    }
