"""Work as bars: namespaces by who has to look at their resources, patterns by what the target makes of their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from meshport.report.audited import Audit, NamespaceReadiness
from meshport.report.pictures.svg import figure, legend, tag, width, words
from meshport.report.words import plural

EFFORT = {"automatic": "✓", "review": "≈", "manual": "✎"}
SUPPORT = {"native": "✓", "approximate": "≈", "install": "⚙", "external": "↗", "none": "✕", "irrelevant": "·"}
_SUPPORT_SAYS = {
    "native": "native",
    "approximate": "approximate",
    "install": "a setting of the installation",
    "external": "another tool does it",
    "none": "the target has nothing for it",
    "irrelevant": "does nothing here",
}
_EFFORT_SAYS = {"automatic": "automatic", "review": "to review", "manual": "manual"}
MARGIN, BAR, HIGH = 12, 380, 26
MOST_ROWS = 60
"""Namespaces with a bar of their own; the rest, those that are readiest, are one bar."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A bar: its parts by name, what stands right of it, and what it says in full."""

    name: str
    parts: Mapping[str, int]
    beside: str
    alarm: str
    title: str
    score: float


def readiness_by_namespace(audit: Audit) -> Markup:
    """A bar for each namespace, the least ready first: how many of its resources are automatic, to review and manual."""
    ordered = sorted(audit.namespaces, key=lambda item: (item.readiness, -len(item.blockers), item.namespace))
    rows = [_of_namespace(item) for item in ordered[:MOST_ROWS]] + _others(ordered[MOST_ROWS:])
    effort = audit.effort
    blockers = len({number for item in audit.namespaces for number in item.blockers})
    says = (
        f"{plural(len(audit.namespaces), 'namespace')}, the least ready first. Resources: {effort.automatic} automatic, {effort.review} to review, "
        f"{effort.manual} manual; {plural(blockers, 'blocker')}. Percent is readiness: the share of values that are carried."
    )
    return _chart("readiness", "Readiness by namespace", says, rows, EFFORT, _EFFORT_SAYS)


def patterns_by_support(audit: Audit) -> Markup:
    """A bar for each pattern in use, the least ready first: its values by what the target has for them."""
    rows = []
    for item in sorted(audit.patterns, key=lambda item: (item.readiness, item.title)):
        parts: dict[str, int] = dict.fromkeys(SUPPORT, 0)
        for feature in item.features:
            idle = feature.became.get("irrelevant", 0)  # values that do nothing here, whatever the target has for others
            parts["irrelevant"] += idle
            parts[feature.support] = parts.get(feature.support, 0) + feature.leaves - idle
        says = ", ".join(f"{count} {_SUPPORT_SAYS.get(name, name)}" for name, count in parts.items() if count)
        title = f"{item.title}: {plural(item.resources, 'resource')}; values: {says}. Before: {item.before}. After: {item.after}."
        rows.append(_Row(item.title, parts, _percent(item.readiness), "", title, item.readiness))
    says = f"{plural(len(rows), 'pattern')} in use, the least ready first, with the number of their values by what the target has for them. Percent is readiness."
    return _chart("patterns", "Patterns by support", says, rows, SUPPORT, _SUPPORT_SAYS)


def _of_namespace(item: NamespaceReadiness) -> _Row:
    alarm = plural(len(item.blockers), "blocker") if item.blockers else ""
    parts = item.effort.model_dump()
    says = ", ".join(f"{parts[name]} {word}" for name, word in _EFFORT_SAYS.items())
    title = (
        f"{item.namespace}: {plural(item.resources, 'resource')} ({says}), readiness {_percent(item.readiness)}, {alarm or 'no blockers'}"
    )
    return _Row(item.namespace, parts, _percent(item.readiness), alarm, title, item.readiness)


def _others(items: list[NamespaceReadiness]) -> list[_Row]:
    if not items:
        return []
    parts = {name: sum(getattr(item.effort, name) for item in items) for name in EFFORT}
    blockers = len({number for item in items for number in item.blockers})
    least = items[0].readiness
    name = f"{len(items)} other namespaces"
    title = f"{name}: {sum(item.resources for item in items)} resources, readiness {_percent(least)} or more"
    return [_Row(name, parts, f"≥ {_percent(least)}", plural(blockers, "blocker") if blockers else "", title, least)]


def _percent(share: float) -> str:
    """Rounded down, so that 100 % is everything."""
    return f"{int(share * 1000) / 10:.1f} %".replace(".0 %", " %")


def _chart(kind: str, title: str, says: str, rows: list[_Row], signs: Mapping[str, str], meaning: Mapping[str, str]) -> Markup:
    label = min(230, max([width(row.name) for row in rows], default=60) + 16)
    left = MARGIN + label
    drawn = [_row(row, left, 6 + place * HIGH, signs) for place, row in enumerate(rows)]
    bottom = 6 + len(rows) * HIGH
    wide = left + BAR + 60 + (90 if any(row.alarm for row in rows) else 0)
    used = [name for name in signs if any(row.parts.get(name) for row in rows)]
    keys, taken = legend(_keys(used, signs, meaning), MARGIN, bottom + 16, wide - MARGIN)
    return figure(kind, title, says, (wide, bottom + taken + 10), [*drawn, keys])


def _row(row: _Row, left: float, y: float, signs: Mapping[str, str]) -> Markup:
    total, x = sum(row.parts.values()) or 1, left
    parts = []
    for name, count in row.parts.items():
        if not count:
            continue
        long = BAR * count / total
        text = f"{signs.get(name, '')} {count}".strip()
        shown = words(x + long / 2, y + 16, text if long > width(text, 11) + 6 else signs.get(name, ""), "on") if long > 14 else Markup("")
        parts.append(
            tag(
                "g",
                tag("rect", x=x, y=y + 2, width=long, height=HIGH - 6, class_="bar"),
                shown,
                class_=f"bar-part is-{name}",
                data_part=name,
                data_count=count,
            )
        )
        x += long
    beside = [words(left + BAR + 8, y + 16, row.beside)]
    if row.alarm:
        beside.append(words(left + BAR + 62, y + 16, row.alarm, "blockers"))
    return tag(
        "g", tag("title", row.title), words(left - 8, y + 16, row.name, "end", most=30), *parts, *beside, class_="row", data_row=row.name
    )


def _keys(used: Iterable[str], signs: Mapping[str, str], meaning: Mapping[str, str]) -> list[tuple[Markup, float, str]]:
    return [
        (
            tag("g", tag("rect", x=0, y=-8, width=18, height=16, class_="bar"), words(9, 4, signs[name], "on"), class_=f"is-{name}"),
            18,
            meaning[name],
        )
        for name in used
    ]
