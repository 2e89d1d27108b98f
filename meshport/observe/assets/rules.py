"""Rules of Prometheus: those that record come first, for others ask for what they record, by its name and labels.

https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.documents.spans import Path
from meshport.errors import InputError
from meshport.observe.assets import texts
from meshport.observe.assets.queries import Names, Queries, Recorded, say
from meshport.observe.assets.surface import QUERY, SHOWN, Surface
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql
from meshport.observe.translate import Translation
from meshport.observe.tree import Aggregation, walk

_WORDS = {"istio": ("istio",), "linkerd": ("linkerd",), "cilium": ("cilium", "hubble")}


@dataclass(slots=True)
class Rule:
    """A rule where it stands. `record` is the name that it records under, "" for an alert."""

    surface: Surface
    path: Path
    value: dict[str, Any]

    @property
    def record(self) -> str:
        return str(self.value.get("record") or "")

    @property
    def expr(self) -> str:
        return str(self.value["expr"])

    @property
    def where(self) -> str:
        return f"rule {self.record}" if self.record else f"alert {self.value.get('alert')}"


def rules_of(surface: Surface, groups: Any, base: Path) -> Iterator[Rule]:
    """The rules of a list of groups."""
    for number, group in enumerate(groups if isinstance(groups, list) else ()):
        listed = group.get("rules") if isinstance(group, dict) else None
        for at, rule in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(rule, dict) and isinstance(rule.get("expr"), str):
                yield Rule(surface, (*base, number, "rules", at), rule)


def translate(rules: list[Rule], queries: Queries, latency: str) -> None:
    """Translate rules and what they record, each after those that it asks."""
    recording: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.record:
            recording.setdefault(rule.record, []).append(rule)
    for name in _in_order(recording):
        _record(name, recording[name], queries, set(recording))
    for rule in rules:
        if not rule.record:
            _alert(rule, queries, latency)


def _in_order(recording: dict[str, list[Rule]]) -> list[str]:
    """The names, each after those that its rules ask; of a ring the first one first."""
    asks: dict[str, list[str]] = {}
    for name, rules in recording.items():
        asks[name] = []
        for rule in rules:
            try:
                asks[name] += [metric for metric in parse_promql(rule.expr).metrics if metric in recording and metric != name]
            except InputError:
                continue
    done: dict[str, None] = {}
    for first in recording:
        stack, open_ones = [(first, iter(asks[first]))], {first}
        while stack:
            name, rest = stack[-1]
            following = next((one for one in rest if one not in done and one not in open_ones), None)
            if following is not None:
                stack.append((following, iter(asks[following])))
                open_ones.add(following)
            else:
                stack.pop()
                done.setdefault(name, None)
    return list(done)


def _record(name: str, rules: list[Rule], queries: Queries, taken: set[str]) -> None:
    """Translate all rules that record under one name, or none of them: a name that is half of each mesh says nothing."""
    found = [queries.translate(rule.expr, templating="none") for rule in rules]
    if all(one.neutral for one in found):
        for rule in rules:
            rule.surface.leaf((*rule.path, "expr"))
            _count(rule, "unchanged")
        return
    if any(one.expr is None and not one.neutral for one in found):
        queries.recorded[name] = Recorded(name, refused=True)
        for rule, one in zip(rules, found, strict=True):
            said = one.findings if one.expr is None and not one.neutral else [say("MP831", name=name)]
            rule.surface.report((*rule.path, "expr"), said, rule.where)
            _count(rule, "refused")
        return
    renamed = _renamed(name, rules, found, queries)
    if renamed != name and (renamed in taken or any(item.name == renamed for item in queries.recorded.values())):
        renamed = name
    labels: Names = {}
    for rule, one in zip(rules, found, strict=True):
        labels.update(one.labels or _all_labels(rule.expr, one, queries))
    queries.recorded[name] = Recorded(renamed, labels)
    for rule, one in zip(rules, found, strict=True):
        if one.neutral:
            rule.surface.leaf((*rule.path, "expr"))
            _count(rule, "unchanged")
        else:
            _write(rule, one)
            _texts(rule, one, queries)
        rule.surface.put((*rule.path, "record"), renamed, SHOWN)
    if renamed != name:
        rules[0].surface.report((*rules[0].path, "record"), [say("MP830", name=name, target=renamed)])


def _renamed(name: str, rules: list[Rule], found: list[Translation], queries: Queries) -> str:
    """The name with the target's metric where it has the source's in it, or with the mesh's own name."""
    for rule, one in zip(rules, found, strict=True):
        if one.expr is None:
            continue
        before, after = parse_promql(rule.expr, templating="none").metrics, parse_promql(one.expr, templating="none").metrics
        new = [metric for metric in after if metrics().metric(queries.target, metric) is not None]
        for metric in before:
            if metrics().metric(queries.source, metric) is None or not new:
                continue
            for old, other in zip(_stems(metric, queries.source), _stems(new[0], queries.target), strict=False):
                if old in name:
                    return name.replace(old, other)
    for word in _WORDS[queries.source]:
        parts = name.replace(":", " : ").replace("_", " _ ").split(" ")
        if word in parts:
            return "".join(_WORDS[queries.target][0] if part == word else part for part in parts)
    return name


def _stems(metric: str, mesh: str) -> list[str]:
    """A metric's name as names of recording rules have it: whole, without its suffix, without its unit."""
    known = metrics().metric(mesh, metric)
    whole = known[0].name if known is not None else metric
    bare = whole
    for suffix in ("_total", "_milliseconds", "_seconds", "_ms"):
        bare = bare.removesuffix(suffix)
    return [metric, whole, bare]


def _all_labels(expr: str, found: Translation, queries: Queries) -> Names:
    """What the labels of series that nothing groups are called now."""
    try:
        parsed = parse_promql(expr, templating="none")
    except InputError:
        return {}
    if any(isinstance(node, Aggregation) for node in walk(parsed.tree)):
        return {}
    listed: Names = {}
    for metric in parsed.metrics:
        known = metrics().metric(queries.source, metric)
        for label in sorted(known[0].labels) if known is not None else ():
            listed[label] = queries.label(label, expr, found, "none") or ()
    return listed


def _alert(rule: Rule, queries: Queries, latency: str) -> None:
    found = queries.translate(rule.expr, latency, "none")
    path = (*rule.path, "expr")
    if not found.neutral:
        queries.alerts[str(rule.value.get("alert"))] = rule.expr, found
    if found.neutral:
        rule.surface.leaf(path)
        rule.surface.report(path, queries.of_parts(rule.expr, "none"), rule.where)
        _count(rule, "unchanged")
        return
    if found.expr is None:
        rule.surface.report(path, found.findings, rule.where)
        _count(rule, "refused")
        return
    _write(rule, found)
    _texts(rule, found, queries)


def _write(rule: Rule, found: Translation) -> None:
    path = (*rule.path, "expr")
    rule.surface.put(path, found.expr, QUERY)
    rule.surface.report(path, found.findings, rule.where)
    rule.surface.require(path, found.requires)
    _count(rule, "translated")


def _count(rule: Rule, what: str) -> None:
    fate = rule.surface.fate
    fate.expressions += 1
    setattr(fate, what, getattr(fate, what) + 1)


def _texts(rule: Rule, found: Translation, queries: Queries) -> None:
    """Labels and annotations: templates that name labels of the result."""
    for what in ("labels", "annotations"):
        entries = rule.value.get(what)
        for key, text in entries.items() if isinstance(entries, dict) else ():
            if not isinstance(text, str) or "{{" not in text:
                continue
            path = (*rule.path, what, key)
            try:
                made = texts.template(text, lambda name: queries.label(name, rule.expr, found, "none"))
            except texts.Lost as lost:
                rule.surface.report(path, [say("MP833", label=lost.label, what=f"{what}.{key} of {rule.where}")])
                continue
            rule.surface.put(path, made, SHOWN)
            if queries.concerns(made):
                rule.surface.report(path, [say("MP834", what=f"{what}.{key} of {rule.where}")])
