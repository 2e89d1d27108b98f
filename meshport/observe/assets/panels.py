"""A panel of Grafana: its queries go together with their unit, legends, thresholds and the names of labels in what is made of them; or nothing of it changes.

Panels are looked through as a whole, so that those of old dashboards (graph, singlestat), of today's and of the newest schema are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from meshport.documents.spans import Path
from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe.assets import texts
from meshport.observe.assets.queries import Queries, say, variables_in
from meshport.observe.assets.surface import below
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql
from meshport.observe.translate import Translation
from meshport.observe.units import FACTORS

_BOUNDS = ("min", "max", "softMin", "softMax")
_UNIT_KEYS = ("unit", "format")
_BY_LABEL = ("transformations", "styles", "sortBy", "columns", "fieldsFilter")
_LEGENDS = ("legendFormat", "titleFormat", "textFormat", "displayName")


@dataclass(slots=True)
class Query:
    """A query where it stands, in its holder (a target)."""

    path: Path
    expr: str
    holder: dict[str, Any]


@dataclass(slots=True)
class Plan:
    """What is to become of a panel. `uses` are the target's labels that each variable is compared with, `values` the words that it has to hold there."""

    title: str
    queries: list[Query]
    found: list[Translation] = field(default_factory=list)
    puts: list[tuple[Path, Any]] = field(default_factory=list)
    keys: list[tuple[Path, str]] = field(default_factory=list)
    said: list[tuple[Path, Finding]] = field(default_factory=list)
    uses: dict[str, set[str]] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: bool = False

    @property
    def neutral(self) -> bool:
        return all(one.neutral for one in self.found)


def inside(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Everything in a panel but the panels in it."""
    return below(value, path, without="panels")


def queries_of(panel: dict[str, Any], path: Path) -> list[Query]:
    """The queries of a panel that Prometheus answers."""
    own = panel.get("datasource")
    found = []
    for where, value in inside(panel, path):
        if isinstance(value, dict) and isinstance(value.get("expr"), str) and _asks_prometheus(value.get("datasource", own)):
            found.append(Query((*where, "expr"), value["expr"], value))
    return found


def _asks_prometheus(datasource: Any) -> bool:
    name = datasource.get("type") if isinstance(datasource, dict) else datasource
    return not isinstance(name, str) or not re.search(
        "loki|elastic|influx|graphite|tempo|jaeger|zipkin|cloudwatch|sql", name, re.IGNORECASE
    )


def plan(panel: dict[str, Any], path: Path, queries: Queries, latency: str | None, blocked: set[str]) -> Plan:
    """What is to become of a panel. `latency` None: the target's unit where the panel says in which unit it shows. `blocked` are variables that stay as they
    are, so that a panel that asks with them stays too."""
    made = Plan(str(panel.get("title") or panel.get("name") or ""), queries_of(panel, path))
    kept = [queries.translate(query.expr) for query in made.queries]
    declared = _declared(panel)
    native = latency == "native-unit" or (latency is None and declared != "")
    made.found, factor, unit = _in_unit(made, kept, queries, declared, native)
    if made.neutral:
        return made
    for query, found in zip(made.queries, made.found, strict=True):
        if found.expr is None and not found.neutral:
            made.refused = True
            made.said += [(query.path, one) for one in found.findings if one.severity == "error"]
    if not made.refused:
        names = {name for query, one in zip(made.queries, made.found, strict=True) if not one.neutral for name in variables_in(query.expr)}
        if names & blocked:
            made.refused = True
            made.said.append((made.queries[0].path, say("MP836", name=", ".join(sorted(names & blocked)))))
    if made.refused:
        return made
    for query, found in zip(made.queries, made.found, strict=True):
        if found.neutral or found.expr is None:
            continue
        made.puts.append((query.path, found.expr))
        made.said += [(query.path, one) for one in found.findings if one.code not in ("MP815", "MP817")]
        _note_uses(made, found)
    if unit is not None:
        before = len(made.puts)
        _rescale(panel, path, made, unit, factor)
        if len(made.puts) == before:
            made.said.append((made.queries[0].path, say("MP843", what=made.title or "the panel", before=unit[0], after=unit[1])))
    _labels(panel, path, made, queries)
    return made


# -- units


def _declared(panel: dict[str, Any]) -> str:
    """The unit of time that a panel shows its values in; "" where it says none."""
    for _, value in inside(panel, ()):
        if isinstance(value, dict):
            defaults = value.get("defaults")
            if isinstance(defaults, dict) and defaults.get("unit") in ("ms", "s"):
                return str(defaults["unit"])
            axes = value.get("yaxes")
            if isinstance(axes, list) and axes and isinstance(axes[0], dict) and axes[0].get("format") in ("ms", "s"):
                return str(axes[0]["format"])
    axis = panel.get("yAxis")
    for holder in (panel, axis if isinstance(axis, dict) else {}):
        if holder.get("format") in ("ms", "s"):
            return str(holder["format"])
    return ""


def _in_unit(
    made: Plan, kept: list[Translation], queries: Queries, declared: str, native: bool
) -> tuple[list[Translation], float, tuple[str, str] | None]:
    """The translations with the factor and the unit that the panel changes to: in the target's unit where all queries agree on it, else in the one they had."""
    bounds = {_bounds(query.expr, one, queries) for query, one in zip(made.queries, kept, strict=True) if one.expr is not None}
    if len(bounds) == 1 and (one := next(iter(bounds))) is not None:  # a heatmap: the bounds of its buckets are the values
        return kept, FACTORS[one], one
    if not native:
        return kept, 1.0, None
    found = [queries.translate(query.expr, "native-unit") for query in made.queries]
    units = {one.unit for one in found if not one.neutral}
    if units <= {None}:
        return found, 1.0, None
    unit = next(iter(units))
    alone = len(units) == 1 and not any(one.neutral for one in found)
    if alone and unit is not None and declared in (unit[0], ""):
        return found, found[0].factor, unit
    return kept, 1.0, None


def _bounds(expr: str, found: Translation, queries: Queries) -> tuple[str, str] | None:
    """The units of bucket bounds before and after, where a query's result is told apart by them."""
    if "histogram_" in expr or not re.search(r"\ble\b", expr) or found.expr is None:
        return None
    try:
        pair = [
            {known[0].unit for name in parse_promql(text).metrics if (known := metrics().metric(mesh, name)) is not None and known[1] == "_bucket"}
            for text, mesh in ((expr, queries.source), (found.expr, queries.target))
        ]  # fmt: skip
    except InputError:
        return None
    if any(len(one) != 1 for one in pair) or pair[0] == pair[1] or re.search(r"\ble\s*=", expr):
        return None
    before, after = (next(iter(one)) for one in pair)
    return (before, after) if (before, after) in FACTORS else None


def _rescale(panel: dict[str, Any], path: Path, made: Plan, unit: tuple[str, str], factor: float) -> None:
    """The unit, and every number that a value is held against."""
    targets = {query.path[:-1] for query in made.queries}
    root = _declared(panel) == unit[0]
    for where, value in inside(panel, path):
        if not isinstance(value, dict) or where in targets:
            continue
        own = next((key for key in _UNIT_KEYS if value.get(key) == unit[0]), "")
        if own:
            made.puts.append(((*where, own), unit[1]))
            made.puts += [((*where, key), _times(value[key], factor)) for key in _BOUNDS if key in value]
            made.puts += _steps(value.get("thresholds"), (*where, "thresholds"), factor)
        if value.get("id") == "unit" and value.get("value") == unit[0] and len(where) > 1 and isinstance(where[-1], int):
            made.puts.append(((*where, "value"), unit[1]))
        evaluator = value.get("evaluator")
        if isinstance(evaluator, dict) and isinstance(evaluator.get("params"), list):
            made.puts += [((*where, "evaluator", "params", at), _times(one, factor)) for at, one in enumerate(evaluator["params"])]
        if isinstance(value.get("properties"), list):
            made.puts += _override(value["properties"], (*where, "properties"), unit, factor)
    if not root:
        return
    for key in ("thresholds", "grid"):
        value = panel.get(key)
        if isinstance(value, list):  # of a graph
            made.puts += [
                ((*path, key, at, "value"), _times(one["value"], factor))
                for at, one in enumerate(value)
                if isinstance(one, dict) and "value" in one
            ]
        elif isinstance(value, str) and value and panel.get("format") == unit[0]:  # of a singlestat
            made.puts.append(((*path, key), ",".join(str(_times(part, factor)) for part in value.split(","))))
        elif isinstance(value, dict) and key == "grid":
            made.puts += [((*path, key, name), _times(one, factor)) for name, one in value.items() if re.fullmatch("threshold[0-9]", name)]
    gauge = panel.get("gauge")
    if isinstance(gauge, dict):
        made.puts += [((*path, "gauge", key), _times(gauge[key], factor)) for key in ("minValue", "maxValue") if key in gauge]


def _override(properties: list[Any], path: Path, unit: tuple[str, str], factor: float) -> Iterator[tuple[Path, Any]]:
    """Of an override that does not show another unit, the numbers."""
    own = {str(one.get("id")): one.get("value") for one in properties if isinstance(one, dict)}
    if own.get("unit", unit[0]) != unit[0]:
        return
    for at, one in enumerate(properties):
        name = str(one.get("id")) if isinstance(one, dict) else ""
        if name in _BOUNDS:
            yield (*path, at, "value"), _times(one.get("value"), factor)
        elif name == "thresholds":
            yield from _steps(one.get("value"), (*path, at, "value"), factor)


def _steps(value: Any, path: Path, factor: float) -> Iterator[tuple[Path, Any]]:
    steps = value.get("steps") if isinstance(value, dict) and value.get("mode") != "percentage" else None
    for at, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict) and "value" in step:
            yield (*path, "steps", at, "value"), _times(step["value"], factor)


def _times(value: Any, factor: float) -> Any:
    """A number, or a text that is one, in the other unit; anything else as it is."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        made = round(value * factor, 12)
        return int(made) if made == int(made) else made
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+(?:\.[0-9]+)?\s*", value):
        return f"{round(float(value) * factor, 12):g}"
    return value


# -- labels


def _note_uses(made: Plan, found: Translation) -> None:
    assert found.expr is not None
    for name, labels in uses(found.expr).items():
        made.uses.setdefault(name, set()).update(labels)
    for label, words in found.values.items():
        made.values.setdefault(label, {}).update(words)


def uses(expr: str) -> dict[str, set[str]]:
    """The labels that each variable in a query is compared with."""
    found: dict[str, set[str]] = {}
    for selector in parse_promql(expr).selectors:
        for matcher in selector.matchers:
            for name in variables_in(matcher.value) if matcher.dynamic else ():
                found.setdefault(name, set()).add(matcher.label.name)
    return found


def _labels(panel: dict[str, Any], path: Path, made: Plan, queries: Queries) -> None:
    """Names of labels outside the queries."""
    pairs = [(query, found) for query, found in zip(made.queries, made.found, strict=True) if found.expr is not None]

    def of_any(name: str) -> tuple[str, ...] | None:
        for query, found in pairs:
            if (names := queries.label(name, query.expr, found)) is not None:
                return names
        return None

    for query, found in pairs:
        for key in _LEGENDS:
            text = query.holder.get(key)
            if isinstance(text, str) and "{{" in text:
                where = (*query.path[:-1], key)
                try:
                    made.puts.append((where, texts.legend(text, partial(queries.label, expr=query.expr, found=found))))
                except texts.Lost as lost:
                    made.said.append((query.path, say("MP833", label=lost.label, what=f"the legend {text}")))
    renamed = {name: names for _, found in pairs for name, names in found.labels.items() if names != (name,)}
    for where, value in inside(panel, path):
        if isinstance(value, str) and texts.linked(value):
            try:
                made.puts.append((where, texts.link(value, of_any)))
            except texts.Lost as lost:
                made.said.append((made.queries[0].path, say("MP833", label=lost.label, what=f"the link {value}")))
        elif isinstance(value, dict):
            matcher = value.get("matcher")
            options = matcher.get("options") if isinstance(matcher, dict) and "properties" in value else None
            if isinstance(options, str) and renamed.get(
                options
            ):  # of several the first: what a column looks like is no question of one field
                made.puts.append(((*where, "matcher", "options"), renamed[options][0]))
            if isinstance(value.get("tagKeys"), str):
                keys = [key.strip() for key in value["tagKeys"].split(",")]
                made.puts.append(((*where, "tagKeys"), ",".join(one for key in keys for one in renamed.get(key, (key,)))))
        if where and where[-1] in _BY_LABEL and isinstance(value, dict | list):
            _named(value, where, made, renamed)


def _named(value: Any, path: Path, made: Plan, renamed: dict[str, tuple[str, ...]]) -> None:
    """Labels by name in what is made of a result: values and keys that are one."""
    for where, one in inside(value, path):
        if isinstance(one, str):
            _one(one, where, made, renamed)
        elif isinstance(one, list) and all(isinstance(item, str) for item in one) and any(len(renamed.get(item, "x")) > 1 for item in one):
            made.puts.append((where, [name for item in one for name in renamed.get(item, (item,))]))
        elif isinstance(one, dict):
            for key in one:
                names = renamed.get(key)
                looks = where[-1] in ("renameByName", "indexByName") or (where[-1] == "excludeByName" and one[key] is False)
                if names and (len(names) == 1 or looks):  # of several the first: heading and place of a column
                    made.keys.append(((*where, key), names[0]))
                elif names is not None:
                    _refuse(made, key)


def _one(text: str, where: Path, made: Plan, renamed: dict[str, tuple[str, ...]]) -> None:
    names = renamed.get(text)
    if names is None:
        return
    if len(names) == 1:
        made.puts.append((where, names[0]))
    elif not any(path == where[:-1] for path, _ in made.puts):
        _refuse(made, text)


def _refuse(made: Plan, label: str) -> None:
    """A transformation or an override asks for one field where there are several now."""
    if not made.refused:
        made.refused = True
        made.said = [
            *((where, one) for where, one in made.said if one.severity == "error"),
            (made.queries[0].path, say("MP835", label=label)),
        ]
