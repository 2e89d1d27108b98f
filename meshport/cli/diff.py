"""`meshport diff OLD NEW`: what two bundles do differently."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import typer

from meshport.cli import options as opt

NAME = "diff"

_ALIKE_SHOWN = 5
"""How many differences that are told apart by a key in the path alone get a line each."""
_KEYS = re.compile(r'\["(?:[^"\\]|\\.)*"\]|\[[0-9]+\]')
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def run(
    old: opt.Old,
    new: opt.New,
    source: opt.FromOld = "auto",
    target: opt.ToNew = "auto",
    source_version: opt.OldVersion = None,
    target_version: opt.NewVersion = None,
    context: opt.Context = None,
    default_namespace: opt.DefaultNamespace = "default",
    trust_domain: opt.TrustDomain = None,
    form: opt.PlainFormat = "text",
    mappings: opt.Mappings = None,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
) -> None:
    """Say what two bundles do differently, of one mesh or of two, and which differences are of form alone. Exit 1 if there is a difference.

    A difference is one of behaviour unless both sides were compared exactly and no request tells them apart.
    """
    import sys

    from meshport.cli import common

    common.choice("--format", form, ("text", "json"))

    from meshport import pipeline
    from meshport.report import text, words

    table = common.table(mappings)
    one, other = common.two(old, new, context)
    changes = pipeline.diff(
        one,
        other,
        table,
        source,
        target,
        source_version=source_version,
        target_version=target_version,
        default_namespace=default_namespace,
        trust_domain=trust_domain,
    )
    if form == "json":
        from meshport.report.build import difference_of

        rows = [{**difference_of(change).model_dump(mode="json", exclude={"findings"}), "kind": change.kind} for change in changes]
        common.emit(common.as_json(rows))
        raise typer.Exit(1 if changes else 0)
    paint = text.Paint(text.wants_colour(sys.stdout, no_color))
    colours = {"added": "32", "removed": "31", "changed": "33"}
    if not quiet:
        lines = [
            f"{_SIGNS[change.change]} {change.subject}: {change.path} {_said(change.change, change.before, change.after)} ({change.kind})"
            for change in changes
        ]
        alike = [_KEYS.sub("[]", line) for line in lines]
        often = {shape: number for shape, number in Counter(alike).items() if number > _ALIKE_SHOWN and not verbose}
        for change, line, shape in zip(changes, lines, alike, strict=True):
            more = often.get(shape)
            if more == 0:
                continue
            if more is not None:
                line += f" and {more - 1} more like it (-v names each)"
                often[shape] = 0
            common.emit(paint(line, colours[change.change]) + "\n")
    formal = sum(change.kind == "form" for change in changes)
    said = words.plural(len(changes), "difference") + (f", {formal} of form alone" if formal else "")
    common.say([said if changes else "no difference in what they do"])
    raise typer.Exit(1 if changes else 0)


def _said(change: str, before: Any, after: Any) -> str:
    if change == "added":
        return f"-> {_short(after)}"
    if change == "removed":
        return f"{_short(before)} ->"
    return f"{_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    import json

    from meshport.report.build import plain

    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."
