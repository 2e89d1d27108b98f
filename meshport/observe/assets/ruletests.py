"""Unit tests of rules, as `promtool test rules` runs them: given series, expressions with the samples they give, alerts with their labels.

A test goes as a whole, or stays with the reasons. Its numbers stay, so that a series whose values would be in another unit, or a bucket that the target does not have,
keeps it where it is. https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.documents.spans import Path
from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe import values
from meshport.observe.assets import texts
from meshport.observe.assets.queries import OTHER_WORDS, Queries, say
from meshport.observe.assets.surface import QUERY, Surface
from meshport.observe.edits import Edits
from meshport.observe.promql import parse_promql
from meshport.observe.tokens import quoted
from meshport.observe.translate import Translation
from meshport.observe.tree import Matcher, Selector

_BOUND = re.compile(r"([0-9]+)\(\\\.0\)\?")


class _Stays(Exception):
    """The test stays as it is."""

    def __init__(self, path: Path, *findings: Finding) -> None:
        super().__init__()
        self.path = path
        self.findings = findings


@dataclass(slots=True)
class _Made:
    """What is to become of a test."""

    puts: list[tuple[Path, Any]] = field(default_factory=list)
    keys: list[tuple[Path, str]] = field(default_factory=list)
    adds: list[tuple[Path, Any, Path]] = field(default_factory=list)
    asked: int = 0


def tests(surface: Surface, queries: Queries) -> None:
    """Translate the tests of a file."""
    listed = surface.value.get("tests")
    for number, test in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(test, dict):
            continue
        made, base = _Made(), ("tests", number)
        try:
            _test(test, base, made, queries)
        except _Stays as stays:
            surface.fate.expressions += max(made.asked, 1)
            surface.fate.refused += max(made.asked, 1)
            surface.report(stays.path, list(stays.findings), f"test {test.get('name') or number + 1}")
            continue
        surface.fate.expressions += made.asked
        changed = bool(made.puts or made.keys or made.adds)
        surface.fate.translated += made.asked if changed else 0
        surface.fate.unchanged += 0 if changed else made.asked
        for path, value in made.puts:
            surface.put(path, value, QUERY)
        for path, key in made.keys:
            surface.rename(path, key)
        for path, value, because in made.adds:
            surface.add(path, value, because)


def _test(test: dict[str, Any], base: Path, made: _Made, queries: Queries) -> None:
    for path, one in _items(test, base, "input_series"):
        if isinstance(one.get("series"), str):
            _series((*path, "series"), one["series"], made, queries)
    for path, one in _items(test, base, "promql_expr_test"):
        if not isinstance(one.get("expr"), str):
            continue
        made.asked += 1
        found = queries.translate(one["expr"], templating="none")
        if found.neutral:
            continue
        if found.expr is None:
            raise _Stays((*path, "expr"), *_errors(found))
        made.puts.append(((*path, "expr"), found.expr))
        for where, sample in _items(one, path, "exp_samples"):
            if isinstance(sample.get("labels"), str):
                _sample((*where, "labels"), sample["labels"], one["expr"], found, made, queries)
    for path, one in _items(test, base, "alert_rule_test"):
        _alerts(path, one, made, queries)


def _items(holder: dict[str, Any], base: Path, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    listed = holder.get(key)
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(one, dict):
            yield (*base, key, number), one


def _errors(found: Translation) -> list[Finding]:
    return [one for one in found.findings if one.severity == "error"]


def _series(path: Path, text: str, made: _Made, queries: Queries) -> None:
    """A series as one of the target: what the selector of it says with equalities."""
    made.asked += 1
    if not queries.concerns(text):
        return
    found = queries.translate(text, templating="none")
    if found.neutral:
        return
    if found.expr is None:
        raise _Stays(path, *_errors(found))
    tree = parse_promql(found.expr, templating="none").tree
    if not isinstance(tree, Selector) or tree.metric is None:
        raise _Stays(path, say("MP823", label=text, why="the values of the series would be in another unit"))
    if any(one.code == "MP818" for one in found.findings):
        raise _Stays(path, say("MP823", label="le", why="the target has no such bucket, and the next one would have other values"))
    labels = [f"{one.label.name}={quoted(_plain(path, one))}" for one in tree.matchers if one.op != "!="]
    made.puts.append((path, tree.metric + ("{" + ", ".join(labels) + "}" if labels else "")))


def _plain(path: Path, matcher: Matcher) -> str:
    """The one value that a matcher takes."""
    bound = _BOUND.fullmatch(matcher.value) if matcher.op == "=~" else None
    if matcher.op != "=" and bound is None:
        raise _Stays(path, say("MP823", label=matcher.label.name, why=f"{matcher.value!r} is no single value"))
    return bound.group(1) if bound is not None else matcher.value


def _sample(path: Path, text: str, expr: str, found: Translation, made: _Made, queries: Queries) -> None:
    """The labels of a sample that an expression gives, which its translation gives as well."""
    try:
        tree = parse_promql(text, templating="none").tree
    except InputError:
        return  # no labels, or none that say something
    if not isinstance(tree, Selector):
        return
    if tree.metric is not None:
        _series(path, text, made, queries)
        made.asked -= 1
        return
    edits = Edits(text)
    for matcher in tree.matchers:
        names = _names(path, matcher.label.name, expr, found, queries)
        if len(names) == 1:
            edits.replace(matcher.label.start, matcher.label.end, names[0])
        else:
            edits.replace(
                matcher.start, matcher.end, ", ".join(f"{label}={quoted(value)}" for label, value in _split(path, matcher, names))
            )
    if edits.result() != text:
        made.puts.append((path, edits.result()))


def _names(path: Path, label: str, expr: str, found: Translation, queries: Queries) -> tuple[str, ...]:
    names = queries.label(label, expr, found, "none")
    if not names or (label in OTHER_WORDS and names != (label,)):
        raise _Stays(path, say("MP833", label=label, what="the labels that the test expects"))
    return names


def _split(path: Path, matcher: Matcher, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """A host as a name and a namespace."""
    try:
        return [(label, value) for label, _, value in values.host(matcher, (names[0], names[1])).matchers]
    except values.Unsaid as unsaid:
        raise _Stays(path, say("MP823", label=matcher.label.name, why=str(unsaid))) from None


def _alerts(path: Path, test: dict[str, Any], made: _Made, queries: Queries) -> None:
    name = str(test.get("alertname"))
    if name not in queries.alerts:
        return
    expr, found = queries.alerts[name]
    if found.expr is None:
        raise _Stays((*path, "alertname"), say("MP831", name=name))
    for where, alert in _items(test, path, "exp_alerts"):
        labels = alert.get("exp_labels")
        spoken: list[tuple[str, str]] = []
        for label, value in labels.items() if isinstance(labels, dict) else ():
            place = (*where, "exp_labels", label)
            names = _names(place, label, expr, found, queries)
            if len(names) == 1:
                made.keys += [(place, names[0])] if names != (label,) else []
                continue
            tree = parse_promql(f"{{{label}={quoted(str(value))}}}", templating="none").tree
            assert isinstance(tree, Selector)
            (first, said), (second, rest) = _split(place, tree.matchers[0], names)
            made.keys.append((place, first))
            made.puts.append((place, said))
            made.adds.append(((*where, "exp_labels", second), rest, place))
            spoken.append((str(value), texts.joined((first, second), {first: said, second: rest}.__getitem__)))
        notes = alert.get("exp_annotations")
        for key, text in notes.items() if isinstance(notes, dict) else ():
            made_text = str(text)
            for old, new in spoken:
                made_text = made_text.replace(old, new)
            if made_text != text and isinstance(text, str):
                made.puts.append(((*where, "exp_annotations", key), made_text))
