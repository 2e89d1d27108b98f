"""Large graphs: a table of namespaces with the number of edges in each cell, those that differ counted apart, and listed below."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import get_args

from markupsafe import Markup

from meshport.report.audited import Audit, Edge, State
from meshport.report.pictures.marks import (
    MEANS,
    SIGNS,
    UNSEEN,
    counted,
    difference_keys,
    differences,
    kind,
    namespace_of,
    slanted,
    worst,
)
from meshport.report.pictures.svg import figure, legend, tag, width, words
from meshport.report.words import plural

WIDE, HIGH = 42, 30
MARGIN, BETWEEN, STATES = 12, 12, 120
MOST_GROUPS = 30
"""Namespaces with a row and a column of their own; the rest, those with the fewest differences and edges, are counted together."""
_ORDER: tuple[State, ...] = get_args(State)


@dataclass(slots=True)
class _Cell:
    """The edges from one group to another."""

    kinds: Counter[str] = field(default_factory=Counter)
    open: int = 0

    @property
    def edges(self) -> int:
        return self.kinds.total()


def draw(audit: Audit) -> Markup:
    """The table as one figure, and every edge that differs as a list."""
    group = _groups(audit)
    cells: dict[tuple[str, str], _Cell] = {}
    for edge in audit.access.edges:
        cell = cells.setdefault((group[namespace_of(edge.source)], group[namespace_of(edge.destination)]), _Cell())
        cell.kinds[kind(edge)] += 1
        cell.open += edge.encrypted_after is False
    states = _states(audit, group)
    rest = [name for name in set(group.values()) if name not in group]
    order = [*sorted(name for name in set(group.values()) if name not in rest), *rest]
    rows = [name for name in order if name not in UNSEEN]
    columns = [
        *(name for name in UNSEEN if name in order),
        *(name for name in rows if any(pair[0] == name for pair in cells)),
    ]
    workloads = {name: states[name][0].total() for name in rows}
    label = min(240, max([width(_row(name, workloads), 12) for name in rows], default=80) + 16)
    left, above = MARGIN + label, 132
    xs: dict[str, float] = {}
    x = left
    for name in columns:
        x += BETWEEN if xs and name not in UNSEEN and list(xs)[-1] in UNSEEN else 0
        xs[name] = x
        x += WIDE
    ys = {name: above + place * HIGH for place, name in enumerate(rows)}
    beside = x + 16
    wide, bottom = beside + STATES + MARGIN, above + len(rows) * HIGH
    stripes = [tag("rect", x=MARGIN, y=ys[name], width=wide - 2 * MARGIN, height=HIGH, class_="stripe") for name in rows[::2]]
    labels = [
        tag(
            "g",
            words(left - 8, ys[name] + 19, _row(name, workloads), "end", most=32),
            class_="node",
            data_node=name,
            data_workloads=workloads[name],
        )
        for name in rows
    ]
    heads = [slanted(xs[name] + WIDE / 2 + 4, above - 8, name) for name in columns]
    heads += [words(beside, above - 22, "mTLS of its workloads,", "tiny"), words(beside, above - 9, "before over after", "tiny")]
    drawn = [_cell(pair, cell, xs[pair[0]], ys[pair[1]]) for pair, cell in sorted(cells.items())]
    bars = [_bars(name, states[name], beside, ys[name]) for name in rows]
    wide = max(wide, 640)
    keys, taken = legend(_keys(audit.access.edges, states), MARGIN, bottom + 22, wide - MARGIN)
    corner = words(MARGIN, above - 8, "called ╲ caller", "tiny")
    return figure(
        "service-graph grouped",
        "Who may call whom by namespace, before and after",
        counted(audit),
        (wide, bottom + taken + 12),
        [*stripes, corner, *heads, *labels, *drawn, *bars, keys],
        differences(audit.access.edges, unfolded=True),
    )


def _groups(audit: Audit) -> dict[str, str]:
    """Each namespace's row: its own, or that of the rest."""
    weight: dict[str, list[int]] = {}
    for item in audit.encryption.workloads:
        weight.setdefault(item.namespace, [0, 0])
    for edge in audit.access.edges:
        for name in {namespace_of(edge.source), namespace_of(edge.destination)}:
            known = weight.setdefault(name, [0, 0])
            known[0] -= kind(edge) != "same"
            known[1] -= 1
    unseen = [name for name in UNSEEN if weight.pop(name, None)]
    ranked = sorted(weight, key=lambda name: (weight[name], name))
    kept = ranked if len(ranked) <= MOST_GROUPS else ranked[: MOST_GROUPS - 1]
    rest = f"{len(ranked) - len(kept)} other namespaces"
    return {**{name: name for name in unseen}, **{name: name if place < len(kept) else rest for place, name in enumerate(ranked)}}


def _states(audit: Audit, group: dict[str, str]) -> dict[str, tuple[Counter[str], Counter[str]]]:
    found: dict[str, tuple[Counter[str], Counter[str]]] = {name: (Counter(), Counter()) for name in group.values()}
    for item in audit.encryption.workloads:
        before, after = found[group[item.namespace]]
        before[item.before.state] += 1
        after[item.after.state] += 1
    return found


def _row(name: str, workloads: dict[str, int]) -> str:
    return f"{name} ({workloads[name]})"


def _cell(pair: tuple[str, str], cell: _Cell, x: float, y: float) -> Markup:
    known = worst(cell.kinds)
    differing = [(name, cell.kinds[name]) for name in SIGNS if name != "same" and cell.kinds[name]]
    says = ", ".join(
        [*(f"{count} {MEANS[name]}" for name, count in differing), f"{cell.kinds['same']} the same", f"{cell.open} not encrypted after"]
    )
    parts = [
        tag("title", f"{pair[0]} → {pair[1]}: {plural(cell.edges, 'edge')}; {says}"),
        tag("rect", x=x + 1, y=y + 1, width=WIDE - 2, height=HIGH - 2, rx=3, class_="cell plain" if cell.open else "cell"),
        words(x + WIDE / 2, y + (13 if differing else 19), str(cell.edges), "count"),
    ]
    if differing:
        shown = " ".join(f"{SIGNS[name]}{count}" for name, count in differing)
        more = "" if len(shown) <= 7 else "…"
        shown = shown if not more else f"{SIGNS[differing[0][0]]}{differing[0][1]}{more}"
        parts.append(tag("text", shown, x=x + WIDE / 2, y=y + 25, class_="sign tiny"))
    return tag(
        "g",
        *parts,
        class_=f"cell-of {known}",
        data_source=pair[0],
        data_destination=pair[1],
        data_edges=cell.edges,
        data_widened=cell.kinds["widened"],
        data_undecided=cell.kinds["undecided"],
        data_narrowed=cell.kinds["narrowed"],
        data_plain=cell.open,
    )


def _bars(name: str, states: tuple[Counter[str], Counter[str]], x: float, y: float) -> Markup:
    """Two bars of the workloads' states, before above after."""
    out = [tag("title", f"{name}: " + "; ".join(f"{word} {_said(side)}" for word, side in zip(("before", "after"), states, strict=True)))]
    for row, side in enumerate(states):
        total, at = side.total() or 1, x
        for state in _ORDER:
            if side[state]:
                long = STATES * side[state] / total
                drawn = tag("rect", x=at, y=y + 3 + row * 12.5, width=long, height=11.5, class_="bar")
                text = words(at + long / 2, y + 12 + row * 12.5, str(side[state]), "on tiny") if long >= 16 else Markup("")
                out.append(tag("g", drawn, text, class_=f"is-{state.replace(' ', '-')}"))
                at += long
    return tag("g", *out, class_="states")


def _said(side: Counter[str]) -> str:
    return ", ".join(f"{side[state]} {state}" for state in _ORDER if side[state]) or "none"


def _keys(edges: list[Edge], states: dict[str, tuple[Counter[str], Counter[str]]]) -> list[tuple[Markup, float, str]]:
    def square(classes: str) -> Markup:
        return tag("g", tag("rect", x=0, y=-8, width=20, height=16, rx=3, class_=classes), class_="same")

    seen = {state for sides in states.values() for side in sides for state in side}
    return [
        (square("cell"), 20, "edges from the column's namespace to the row's"),
        (square("cell plain"), 20, "some of them not encrypted after"),
        *difference_keys(edges),
        *(
            (
                tag("g", tag("rect", x=0, y=-6, width=14, height=12, class_="bar"), class_=f"is-{state.replace(' ', '-')}"),
                14,
                f"mTLS {state}",
            )
            for state in _ORDER
            if state in seen
        ),
    ]
