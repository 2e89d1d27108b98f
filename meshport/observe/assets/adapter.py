"""Rules of prometheus-adapter, which serve what Prometheus measures to autoscalers: the series, the query over them, and the labels that name resources.

A rule goes as a whole, measured by one side; the metric keeps the name under which autoscalers ask for it.
https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.documents.spans import Path
from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe.assets.queries import Queries, say
from meshport.observe.assets.surface import QUERY, SHOWN, Surface
from meshport.observe.edits import Edits
from meshport.observe.promql import parse_promql
from meshport.observe.translate import Translation
from meshport.observe.work import SIDE_LABELS

_SERIES = "<<.Series>>"


def rules(surface: Surface, queries: Queries) -> None:
    """Translate the rules of a configuration, or of the values of the chart."""
    for path in _places(surface.value):
        rule = surface.at(path)
        series, query = str(rule["seriesQuery"]), rule.get("metricsQuery")
        asked = [("seriesQuery",), *([("metricsQuery",)] if isinstance(query, str) else [])]
        for step in asked:
            surface.leaf((*path, *step))
        surface.fate.expressions += len(asked)
        if not queries.concerns(series) and not (isinstance(query, str) and queries.concerns(query)):
            surface.fate.unchanged += len(asked)
            continue
        said = _rule(surface, path, rule, series, query if isinstance(query, str) else _SERIES, queries)
        if said:
            surface.fate.refused += len(asked)
            surface.report((*path, "seriesQuery"), said, f"rule {series}")
        else:
            surface.fate.translated += len(asked)


def _places(value: dict[str, Any]) -> Iterator[Path]:
    for key in ("rules", "externalRules"):
        held = value.get(key)
        for base, listed in (
            [((key,), held)]
            if isinstance(held, list)
            else [((key, name), one) for name, one in held.items()]
            if isinstance(held, dict)
            else []
        ):
            for number, rule in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(rule, dict) and isinstance(rule.get("seriesQuery"), str):
                    yield (*base, number)


def _rule(surface: Surface, path: Path, rule: dict[str, Any], series: str, query: str, queries: Queries) -> list[Finding]:
    """Translate one rule; the errors for which it stays as it is, if there are some."""
    name = _metric(series)
    if name is None:
        return [say("MP822", name=series)]
    filled = query.replace(_SERIES, name)
    resources = rule.get("resources")
    overrides = resources.get("overrides") if isinstance(resources, dict) else None
    labels = list(overrides) if isinstance(overrides, dict) else []
    asked = queries.translate(f"sum by ({', '.join(labels)}) ({filled})" if labels else filled)
    if asked.expr is None:
        return _errors(asked)
    whole, listed = queries.translate(filled), _listed(series, filled, queries)
    if whole.expr is None or listed.expr is None:
        return _errors(whole) or _errors(listed)
    now = _metric(listed.expr)
    several = next((label for label in labels if len(asked.labels.get(label, (label,))) != 1), None)
    if several is not None or now is None:
        return [say("MP832", label=several or series, why="several labels stand for it now, and one names the resource")]
    template = resources.get("template") if isinstance(resources, dict) else None
    if isinstance(template, str) and template.startswith("<<.Resource>>") and "cilium" in (queries.source, queries.target):
        return [say("MP823", label="resources.template", why="namespace and pod of Hubble's series are those of Cilium's own pods")]
    surface.put((*path, "seriesQuery"), listed.expr, QUERY)
    if "metricsQuery" in rule:
        surface.put((*path, "metricsQuery"), _unfilled(whole.expr, now), QUERY)
    for label in labels:
        if asked.labels.get(label, (label,)) != (label,):
            surface.rename((*path, "resources", "overrides", label), asked.labels[label][0])
    surface.report((*path, "seriesQuery"), [one for one in asked.findings if one.code not in ("MP815", "MP817", "MP892")])
    surface.require((*path, "seriesQuery"), asked.requires)
    _served(surface, path, rule, name, now)
    return []


def _errors(found: Translation) -> list[Finding]:
    return [one for one in found.findings if one.severity == "error"]


def _metric(series: str) -> str | None:
    """The one metric that a selector of series names."""
    try:
        parsed = parse_promql(series)
    except InputError:
        return None
    return parsed.metrics[0] if len(parsed.metrics) == 1 and len(list(parsed.selectors)) == 1 else None


def _listed(series: str, query: str, queries: Queries) -> Translation:
    """The selector of series, measured by the side that the query asks; of either where that is not said."""
    found = queries.translate(series)
    if found.expr is not None:
        return found
    side = SIDE_LABELS[queries.source]
    said = [query[one.start : one.end] for selector in parse_promql(query).selectors for one in selector.matchers if one.label.name == side]
    sided = queries.sided(series, said[0]) if said else None
    return queries.translate(sided) if sided is not None else found


def _unfilled(query: str, name: str) -> str:
    edits = Edits(query)
    for selector in parse_promql(query).selectors:
        if selector.name is not None and selector.name.name == name:
            edits.replace(selector.name.start, selector.name.end, _SERIES)
    return edits.result()


def _served(surface: Surface, path: Path, rule: dict[str, Any], before: str, after: str) -> None:
    """Keep the name that autoscalers ask for; where the rule makes none, say how it is called now."""
    named = rule.get("name")
    if not isinstance(named, dict):
        surface.report((*path, "seriesQuery"), [say("MP859", before=before, after=after)])
        return
    pattern, form = str(named.get("matches") or ".*"), str(named.get("as") or "")
    old, new = (_called(one, pattern, form) for one in (before, after))
    if old is None or old == new:
        return
    if "as" in named:
        surface.put((*path, "name", "as"), old.replace("$", "$$"), SHOWN)
    if "matches" in named:
        surface.put((*path, "name", "matches"), ".*" if "as" in named else f"^{re.escape(after)}$", SHOWN)
    if "as" not in named:
        surface.report((*path, "seriesQuery"), [say("MP859", before=old, after=new or after)])


def _called(name: str, pattern: str, form: str) -> str | None:
    """The name under which a series is served (pkg/naming/metric_namer.go); None where the pattern does not take it."""
    try:
        found = re.search(pattern, name)
    except re.error:
        return None
    if found is None:
        return None
    form = form or ("$1" if found.re.groups == 1 else "$0")
    return re.sub(
        r"\$\$|\$\{(\w+)\}|\$(\w+)", lambda part: "$" if part.group() == "$$" else _group(found, part.group(1) or part.group(2)), form
    )


def _group(found: re.Match[str], name: str) -> str:
    try:
        return found.group(int(name) if name.isdigit() else name) or ""
    except (IndexError, re.error):
        return ""
