"""The access matrix as a table: a row for each port that anybody may call, a column for each caller with access of its own."""

from __future__ import annotations

from markupsafe import Markup

from meshport.report.audited import Audit, Edge
from meshport.report.pictures.marks import (
    SIGNS,
    UNSEEN,
    counted,
    data,
    difference_keys,
    differences,
    kind,
    namespace_of,
    sentence,
    share,
    slanted,
    workloads,
)
from meshport.report.pictures.svg import figure, legend, tag, width, words

WIDE, HIGH = 40, 22
MARGIN, BETWEEN = 12, 10
"""Pixels around it all, and between groups."""


def draw(audit: Audit) -> Markup:
    """The table as one figure."""
    edges = audit.access.edges
    callers = sorted(
        {edge.source for edge in edges},
        key=lambda name: (UNSEEN.index(name) if name in UNSEEN else len(UNSEEN), name),
    )
    doors = sorted({(edge.destination, edge.port) for edge in edges})
    several = len({namespace_of(door[0]) for door in doors}) > 1
    label = min(220, max([width(_door(door), 12) for door in doors], default=80) + 16)
    left = MARGIN + label
    xs, right = _columns(callers, left)
    above = 128
    body, rows, bottom = _rows(doors, above, left, right, several)
    heads = [
        tag("g", slanted(xs[name] + WIDE / 2 + 4, above - 8, _workload(name)), tag("title", name), class_="node", data_node=name)
        for name in callers
    ]
    cells = [_cell(edge, xs[edge.source], rows[edge.destination, edge.port]) for edge in edges]
    wide = max(right + 110, 640)
    keys, taken = legend(_keys(edges), MARGIN, bottom + 22, wide - MARGIN)
    corner = words(MARGIN, above - 8, "port ╲ caller", "tiny")
    drawn = [corner, *heads, *body, *cells, keys]
    silent = _silent(audit)
    return figure(
        "service-graph",
        "Who may call which port, before and after",
        counted(audit),
        (wide, bottom + taken + 12),
        drawn,
        silent,
        differences(edges, unfolded=False),
    )


def _columns(callers: list[str], left: float) -> tuple[dict[str, float], float]:
    xs, x, last = {}, left, ""
    for name in callers:
        group = "unseen" if name in UNSEEN else namespace_of(name)
        x += BETWEEN if last not in ("", group) else 0
        xs[name], last = x, group
        x += WIDE
    return xs, x


def _rows(
    doors: list[tuple[str, int]], top: float, left: float, right: float, several: bool
) -> tuple[list[Markup], dict[tuple[str, int], float], float]:
    """Labels and lines of the rows, where each stands, and where they end."""
    out: list[Markup] = []
    rows: dict[tuple[str, int], float] = {}
    y, last, number = top, "", 0
    for door in doors:
        namespace = namespace_of(door[0])
        if several and namespace != last:
            y += BETWEEN if last else 0
            out.append(words(MARGIN, y + 16, namespace, "small name", most=40))
            y, number = y + HIGH, 0
        last = namespace
        if number % 2 == 0:
            out.append(tag("rect", x=MARGIN, y=y, width=right - MARGIN, height=HIGH, class_="stripe"))
        title = tag("title", f"{door[0]}:{door[1]}")
        out.append(
            tag("g", title, words(left - 8, y + 15, _door(door), "end", most=28), class_="node", data_node=door[0], data_port=door[1])
        )
        rows[door] = y
        y, number = y + HIGH, number + 1
    out.append(tag("path", d=f"M{MARGIN} {y:g}H{right:g}", class_="rule"))
    return out, rows, y


def _door(door: tuple[str, int]) -> str:
    return f"{_workload(door[0])}:{door[1]}"


def _workload(name: str) -> str:
    return name.partition("/")[2] or name


def _cell(edge: Edge, x: float, y: float) -> Markup:
    """One edge: what is let in, once if it stays as it is, before and after with the sign between if not."""
    known = kind(edge)
    middle = y + HIGH / 2
    parts = [tag("title", sentence(edge)), tag("rect", x=x + 1, y=y + 1, width=WIDE - 2, height=HIGH - 2, rx=3, class_="cell")]
    if known == "same":
        parts.append(share(x + WIDE / 2, middle, edge.after, edge.encrypted_after))
    else:
        parts.append(share(x + 9, middle, edge.before, edge.encrypted_before))
        parts.append(tag("text", SIGNS[known], x=x + WIDE / 2, y=middle + 4, class_="sign"))
        parts.append(share(x + WIDE - 9, middle, edge.after, edge.encrypted_after))
    return tag("g", *parts, class_=f"edge {known}", **data(edge))


def _silent(audit: Audit) -> Markup:
    """The workloads without a row: nobody may call a port that they declare, before or after."""
    named = workloads(audit).keys() - {edge.destination for edge in audit.access.edges}
    if not named:
        return Markup("")
    return tag("p", f"Nobody may call a declared port of {', '.join(sorted(named))}, before or after.", class_="silent")


def _keys(edges: list[Edge]) -> list[tuple[Markup, float, str]]:
    samples = [
        ("all", True, "all requests, encrypted"),
        ("some", True, "some requests, encrypted"),
        ("all", False, "all requests, not encrypted"),
        ("none", None, "nothing"),
    ]
    change = tag(
        "g",
        tag("rect", x=0, y=-10, width=WIDE - 2, height=HIGH - 2, rx=3, class_="cell"),
        share(8, 0, "some", True),
        tag("text", "+", x=19, y=4, class_="sign"),
        share(30, 0, "all", True),
        class_="widened",
    )
    return [
        *((tag("g", share(8, 0, much, secret), class_="same"), 16.0, text) for much, secret, text in samples),
        (change, 40, "before and after, where they differ"),
        *difference_keys(edges),
    ]
