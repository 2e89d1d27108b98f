"""Queries inside assets: a query may ask a recording rule of the same assets, whose name and labels change with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe import parts, planes, values
from meshport.observe.edits import Edits
from meshport.observe.metrics import SIDES, metrics
from meshport.observe.promql import PromQL, parse_promql
from meshport.observe.tokens import quoted
from meshport.observe.translate import Translation, translate_promql
from meshport.observe.tree import Aggregation, Binary, Call, Expr, Labels, Matcher, Selector, String, children, label_arguments, walk
from meshport.observe.work import NAMES, SIDE_LABELS, finding

Names = dict[str, tuple[str, ...]]
"""Labels of the source, and those of the target that stand in their place."""

_TRIES = 40
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)|\$([A-Za-z_][A-Za-z0-9_]*)|\[\[([A-Za-z0-9_]+)")
OTHER_WORDS = frozenset(("connection_security_policy", "tls", "reporter", "direction", "le", "classification"))
"""Labels whose values are other words, so that a rename alone would not do."""

_OF_OTHERS = frozenset(("MP838", "MP861", "MP864"))
"""What is said of a query that stays as it is."""


def say(code: str, **said: str) -> Finding:
    """A finding of the codes table about a query."""
    made = finding(code, **said)
    if code in _OF_OTHERS:
        made.disposition = None
    return made


def variables_in(text: str) -> set[str]:
    """The variables of Grafana that a text names."""
    return {next(filter(None, found.groups())) for found in _VARIABLE.finditer(text)}


@dataclass(slots=True)
class Recorded:
    """A recording rule. `name` is its new name, `labels` those of its series that are called otherwise; `refused`: it stays as it is, and is empty."""

    name: str
    labels: Names = field(default_factory=dict)
    refused: bool = False


@dataclass(slots=True)
class Queries:
    """The translation of all queries of a bundle's assets."""

    source: str
    target: str
    source_version: str
    target_version: str
    group_by: str
    data_plane: str | None = None  # of Istio as the target, where it was chosen
    recorded: dict[str, Recorded] = field(default_factory=dict)
    alerts: dict[str, tuple[str, Translation]] = field(default_factory=dict)  # their expressions and what became of them, by name

    def concerns(self, text: str) -> bool:
        """Whether a text names a metric of the source mesh, or a recording rule that has one in it."""
        return any(name in self.recorded or self._is_source(name) for name in _NAME.findall(text))

    def _is_source(self, name: str) -> bool:
        known = metrics()
        if known.metric(self.source, name) is not None:
            return True
        return name.startswith(known.prefixes[self.source]) and known.metric(self.target, name) is None

    def translate(self, expr: str, latency: str = "keep-unit", templating: str = "grafana") -> Translation:
        """The query for the target mesh; MP824 alone where nothing of the source is in it."""
        if not self.concerns(expr):
            return Translation(None, [say("MP824", mesh=self.source.capitalize())])
        if self.source == self.target:
            return self._within(expr, templating)
        labels: Names = {}
        text = expr
        if self.recorded:
            try:
                parsed = parse_promql(expr, templating=templating)
                text, labels = self._of_recorded(parsed)
            except InputError:
                pass  # the translation says so
            except _Refused as refused:
                return Translation(None, [refused.finding])
        found = translate_promql(
            text,
            source=self.source,
            target=self.target,
            source_version=self.source_version,
            target_version=self.target_version,
            group_by=self.group_by,
            latency=latency,
            templating=templating,
            renamed={name: item.name for name, item in self.recorded.items()},
        )
        if found.expr is not None:
            clash = next((name for name, names in labels.items() if found.labels.get(name, names) != names), None)
            if clash is not None:
                return Translation(None, [*found.findings, say("MP832", label=clash, why="recorded and measured series call it otherwise")])
            found.labels = {**labels, **found.labels}
        return planes.moved(found, "ambient", templating) if self.target == "istio" and self.data_plane == "ambient" else found

    def of_parts(self, expr: str, templating: str = "grafana") -> list[Finding]:
        """What there is to say of a query that is of no mesh's metrics: parts of the source mesh that it asks for by name."""
        found = parts.named(expr, self.source, templating) if self.source != self.target else []
        for one in found:
            one.disposition = None
        return found

    def _within(self, expr: str, templating: str) -> Translation:
        """A query of a mesh that stays, for its other data plane, or with what becomes of the thing that it counts."""
        try:
            asked = parse_promql(expr, templating=templating).metrics
        except InputError:
            asked = []  # said below, where it matters
        gone = next((name for name in asked if name in self.recorded and self.recorded[name].refused), None)
        if gone is not None:
            return Translation(None, [say("MP831", name=gone)])
        found = Translation(expr)
        if self.target == "istio" and self.data_plane is not None:
            found = planes.moved(found, self.data_plane, templating)
        elif self.target == "linkerd" and (profiled := [name for name in asked if name.startswith("route_")]):
            found.findings = [say("MP861", metric=profiled[0])]
        for name in asked:
            known = metrics().metric(self.source, name)
            if known is not None and known[0].gone:
                said = say("MP820", metric=name, mesh=NAMES[self.source], why=known[0].gone)
                said.disposition = None
                found.findings.append(said)
        if found.expr == expr and not found.findings:
            return Translation(None, [say("MP824", mesh=self.source.capitalize())])
        return found

    def of_variable(self, query: str, without: Collection[str] = ()) -> list[Translation]:
        """A query that lists values, the preferred translation first: for either side where it does not say who measures. What the target cannot say of it is
        left out (a filter by another variable, one of several alternatives, and those of the variables `without`), with MP844, for a list of values is wider or narrower by that and no more."""
        first = self.translate(query)
        if (first.expr is not None and not without) or first.neutral:
            return [first]
        start = _unfiltered(query, lambda one: bool(variables_in(one.value) & set(without))) if without else query
        waiting, seen = [start], {start}
        for _ in range(_TRIES):
            if not waiting:
                break
            text = waiting.pop(0)
            found = self.translate(text)
            made = [found] if found.expr is not None else []
            if any(one.code == "MP804" for one in found.findings):
                label, words = SIDE_LABELS[self.source], values.SIDE_VALUES[self.source]
                sides = (self.sided(text, f'{label}="{words[side]}"') for side in SIDES)
                made = [one for side in sides if side is not None and (one := self.translate(side)).expr is not None]
            if made:
                if text != query:
                    for one in made:
                        one.findings.append(say("MP844"))
                return made
            for looser in _looser(text):
                if looser not in seen:
                    seen.add(looser)
                    waiting.append(looser)
        return [first]

    def sided(self, query: str, matcher: str) -> str | None:
        """A query with a matcher more on every selector of the source mesh."""
        edits = Edits(query)
        for selector in parse_promql(query).selectors:
            if selector.metric is not None and metrics().metric(self.source, selector.metric) is not None:
                if selector.braces is None:
                    edits.insert(selector.end, "{" + matcher + "}")
                else:
                    edits.insert(selector.braces[0] + 1, matcher + ("," if selector.matchers else ""))
        made = edits.result()
        return made if made != query else None

    def label(self, name: str, expr: str, found: Translation, templating: str = "grafana") -> tuple[str, ...] | None:
        """The labels that stand for one of the result's series; None where the target has none, and itself where it stays."""
        if name in found.labels:
            return found.labels[name]
        known = metrics()
        if self.source == self.target or not known.has_label(self.source, name):
            return (name,)
        shown = result_labels(expr, templating)
        if shown is not None and name not in shown:
            return (name,)  # it said nothing before either
        probe = self.translate(f"sum by ({name}) ({expr})", templating=templating)
        return probe.labels.get(name) if probe.expr is not None else None

    # -- recorded series

    def _of_recorded(self, parsed: PromQL) -> tuple[str, Names]:
        """The query with the labels of recorded series as they are called now; what they are called."""
        edits = Edits(parsed.text)
        used: Names = {}
        for selector in parsed.selectors:
            item = self.recorded.get(selector.metric or "")
            if item is None:
                continue
            if item.refused:
                raise _Refused(say("MP831", name=selector.metric or ""))
            used.update({name: names for name, names in item.labels.items() if names != (name,)})
            self._matchers(selector, item, edits)
        if not used:
            return parsed.text, {}
        for node in walk(parsed.tree):
            if isinstance(node, Aggregation | Binary | Call):
                below = [one for one in walk(node) if isinstance(one, Selector)]
                if all(not self._is_source(one.metric or "") or (one.metric or "") in self.recorded for one in below):
                    self._grouping(node, used, edits)
        return edits.result(), used

    def _matchers(self, selector: Selector, item: Recorded, edits: Edits) -> None:
        for matcher in selector.matchers:
            names = item.labels.get(matcher.label.name)
            if names is None or names == (matcher.label.name,):
                continue
            if matcher.label.name in OTHER_WORDS or "principal" in matcher.label.name or not names:
                raise _Refused(say("MP832", label=matcher.label.name, why="its values are other words on the recorded series"))
            if len(names) == 1:
                edits.replace(matcher.label.start, matcher.label.end, names[0])
                continue
            try:
                made = values.host(matcher, (names[0], names[1])).matchers
            except values.Unsaid as unsaid:
                raise _Refused(say("MP823", label=matcher.label.name, why=str(unsaid))) from None
            edits.replace(matcher.start, matcher.end, ",".join(f"{label}{op}{quoted(value)}" for label, op, value in made))

    def _grouping(self, node: Aggregation | Binary | Call, used: Names, edits: Edits) -> None:
        lists: list[Labels] = []
        if isinstance(node, Aggregation) and node.labels is not None:
            lists.append(node.labels)
        elif isinstance(node, Binary) and node.matching is not None:
            lists += [one for one in (node.matching.labels, node.matching.include) if one is not None]
        elif isinstance(node, Call):
            for argument in label_arguments(node):
                if argument.value in used:
                    names = used[argument.value]
                    if len(names) != 1:
                        raise _Refused(say("MP832", label=argument.value, why="several labels stand for it now, and one is asked for"))
                    edits.replace(argument.start, argument.end, quoted(names[0]))
        for listed in lists:
            made = list(dict.fromkeys(name for word in listed.words for name in used.get(word.name, (word.name,))))
            if made != [word.name for word in listed.words]:
                edits.replace(listed.start, listed.end, "(" + ", ".join(made) + ")")


def result_labels(expr: str, templating: str = "grafana") -> set[str] | None:
    """The labels that the series of a query's result may have; None where they are not listed in it, or it cannot be read."""
    try:
        tree = parse_promql(expr, templating=templating).tree
    except InputError:
        return None
    found: set[str] = set()
    stack: list[Expr] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Aggregation) and node.op.name.lower() not in ("topk", "bottomk", "limitk", "limit_ratio"):
            if node.grouping == "without":
                return None
            if node.labels is not None:
                if any(word.dynamic for word in node.labels.words):
                    return None
                found.update(word.name for word in node.labels.words)
            if node.op.name.lower() == "count_values" and isinstance(node.parameter, String):
                found.add(node.parameter.value)
            continue
        if isinstance(node, Selector) or node.type == "any":
            return None
        if isinstance(node, Call) and node.function.name in ("label_replace", "label_join") and isinstance(node.arguments[1], String):
            found.add(node.arguments[1].value)
        if isinstance(node, Binary) and node.matching is not None and node.matching.include is not None:
            found.update(word.name for word in node.matching.include.words)
        stack.extend(children(node))
    return found


def _looser(query: str) -> list[str]:
    """A query with one alternative of several, and without a filter that a variable fills."""
    made = []
    parsed = parse_promql(query)
    for node in walk(parsed.tree):
        if isinstance(node, Binary) and node.op.name.lower() == "or":
            made += [query[: node.start] + query[side.start : side.end] + query[node.end :] for side in (node.left, node.right)]
    labels = {one.label.name for selector in parsed.selectors for one in selector.matchers if one.dynamic}
    return made + [_unfiltered(query, _of(label)) for label in sorted(labels)]


def _of(label: str) -> Callable[[Matcher], bool]:
    return lambda one: one.label.name == label


def _unfiltered(query: str, which: Callable[[Matcher], bool]) -> str:
    """A query without some of the matchers that variables fill."""
    edits = Edits(query)
    for selector in parse_promql(query).selectors:
        gone = [one for one in selector.matchers if one.dynamic and which(one)]
        if selector.braces is not None and gone:
            kept = [query[one.start : one.end] for one in selector.matchers if one not in gone]
            edits.replace(*selector.braces, "{" + ",".join(kept) + "}")
    return edits.result()


class _Refused(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding
