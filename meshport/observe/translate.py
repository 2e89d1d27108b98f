"""One PromQL expression of a mesh as the same question to another mesh, or the reason why it cannot be asked.

Selectors are recognised by metric and matchers as *concepts* with a side that measures; the target's metric, labels and values come from the tables
(`mappings/metrics/`). Labels that group are those of the whole query, so that both sides of an operator still match. What has no counterpart refuses the query: an
expression that runs and says something else is worse than none. Only the characters that change are touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshport.errors import InputError, UsageError
from meshport.findings import Finding
from meshport.observe.edits import Edits
from meshport.observe.grouping import relabel
from meshport.observe.matchers import write
from meshport.observe.metrics import MESHES, metrics
from meshport.observe.promql import PromQL, parse_promql
from meshport.observe.recognise import recognise
from meshport.observe.sides import choose
from meshport.observe.tree import Aggregation, Binary, Call, Expr, Paren, Range, Selector, children, nearest, walk
from meshport.observe.units import Measure, rescale
from meshport.observe.work import KEPT, NAMES, Found, Refused, Work, finding, labels_made

LATENCIES = ("keep-unit", "native-unit")
VIEWPOINTS = ("service", "workload")


@dataclass(slots=True)
class Translation:
    """What became of an expression. `expr` is None where it is refused, and the findings say why.

    `labels` says for each label of the source that the query groups by which labels stand in its place; `values` what values a variable has to carry by the
    target's label; `unit` (before, after) where the result's unit changed, and `factor` what thresholds on the result are multiplied by; `requires` are settings
    of the target's installation as (chart, path, value).
    """

    expr: str | None
    findings: list[Finding] = field(default_factory=list)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    unit: tuple[str, str] | None = None
    factor: float = 1.0
    requires: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def neutral(self) -> bool:
        """Whether nothing of the source mesh stood in it."""
        return self.expr is None and [finding.code for finding in self.findings] == ["MP824"]


def translate_promql(
    expr: str,
    *,
    source: str,
    target: str,
    source_version: str | None = None,
    target_version: str | None = None,
    group_by: str = "service",
    latency: str = "keep-unit",
    templating: str = "grafana",
    renamed: Mapping[str, str] | None = None,
) -> Translation:
    """Translate one expression. `group_by`: service keeps the Service as the viewpoint (in Linkerd measured by clients), workload that of the server.
    `latency`: keep-unit converts what is measured in another unit, native-unit leaves it and rescales the constants that it meets. `renamed` are recording rules
    of the same assets by their old names. What the source's release does not export yet is said (MP863), what the target's does not refuses the query. Raises UsageError for a mesh that has no metrics, or a choice that is none."""
    for what, value, known in (
        ("--from", source, MESHES),
        ("--to", target, MESHES),
        ("--group-by", group_by, VIEWPOINTS),
        ("--latency", latency, LATENCIES),
    ):
        if value not in known:
            raise UsageError(f"{what} {value}: choose {', '.join(known)}")
    try:
        parsed = parse_promql(expr, templating=templating)
    except InputError as error:
        return Translation(None, [finding("MP821", where=f"{error.line}:{error.column}", why=error.reason.removeprefix("not PromQL: "))])
    if source == target:
        return Translation(expr)
    work = Work(parsed, metrics(), source, target, target_version, group_by, latency, renamed or {}, source_version)
    try:
        return _translated(work)
    except Refused as refused:
        return Translation(None, [*work.findings(), finding(refused.code, refused.remedy, **refused.said)])


def _translated(work: Work) -> Translation:
    edits = Edits(work.parsed.text)
    others = recognise(work, edits)
    if not work.found:
        if others:
            return Translation(edits.result(), work.findings())
        return Translation(None, [finding("MP824", mesh=NAMES[work.source])])
    choose(work)
    for one in work.found:
        write(work, one, edits)
    for node, under in work.labelled():
        relabel(work, node, under, edits)
    factor, unit = rescale(work.parsed, [_measure(one) for one in work.found], work.latency, edits, work.say)
    _source_mistakes(work)
    _series(work)
    text, made = _collapsed(edits.result())
    _known(work, made)
    return Translation(text, work.findings(), work.renames, work.values, unit, factor, list(_requires(work)))


def _measure(one: Found) -> Measure:
    assert one.written is not None
    return Measure(one.selector, one.saying.unit, one.written.unit, one.suffix, one.written.buckets)


def _source_mistakes(work: Work) -> None:
    """Counters that are divided as they are: resets and the age of pods weigh in."""
    counters = {id(one.selector) for one in work.found if one.metric.type != "gauge" and one.suffix in ("", "_sum", "_count")}
    for node in walk(work.parsed.tree):
        if isinstance(node, Binary) and node.op.name == "/" and all(_bare(side, counters) for side in (node.left, node.right)):
            work.say("MP816")
            return


def _series(work: Work) -> None:
    """Aggregations that see a mesh's series one by one: how many there are depends on its labels, and differs."""
    aggregations = nearest(work.parsed.tree, lambda node: isinstance(node, Aggregation))
    for one in work.found:
        above = aggregations.get(id(one.selector))
        if isinstance(above, Aggregation) and above.op.name.lower() in _ONE_BY_ONE:
            work.say("MP892", op=above.op.name, metric=one.metric.name)


def _known(work: Work, made: PromQL) -> None:
    """Every label of the target's series is one that the table has for them: a query for another one runs, and finds nothing. Raises Refused."""
    rows = {
        id(one): row[0].labels | KEPT | {"le"}
        for one in made.selectors
        if one.metric is not None and (row := work.table.metric(work.target, one.metric)) is not None
    }
    for selector in made.selectors:
        for matcher in selector.matchers if id(selector) in rows else ():
            if not (matcher.whole or matcher.label.dynamic or matcher.label.name in rows[id(selector)]):
                raise work.no_label(matcher.label.name)
    for node in walk(made.tree):
        if isinstance(node, Aggregation) and node.grouping == "by" and node.labels is not None:
            below = [one for one in walk(node) if isinstance(one, Selector)]
            if below and all(id(one) in rows for one in below):
                known = frozenset().union(*(rows[id(one)] for one in below))
                lost = [word.name for word in node.labels.words if not word.dynamic and word.name not in known]
                if lost and (lost := [name for name in lost if name not in labels_made(node)]):
                    raise work.no_label(lost[0])


def _collapsed(text: str) -> tuple[str, PromQL]:
    """Of two alternatives that have become the same, one."""
    parsed = parse_promql(text)
    for _ in range(8):
        double = next(
            (node for node in walk(parsed.tree) if isinstance(node, Binary) and node.op.name == "or" and _alike(node, text)), None
        )
        if double is None:
            return text, parsed
        text = text[: double.left.end] + text[double.right.end :]
        parsed = parse_promql(text)
    return text, parsed


def _requires(work: Work) -> Iterator[tuple[str, str, Any]]:
    needs = {one.written.requires for one in work.found if one.written is not None and one.written.requires}
    rows = work.table.requires[work.target]
    for need in sorted(needs):
        row = rows[need]
        yield from map(tuple, row.get("set") or ())
        if "handler" in row:
            labels = sorted({name for name in work.context if name in _CONTEXT} | set(_context_labels(work)))
            context = f":labelsContext={','.join(labels)}" if labels else ""
            yield "cilium", "hubble.enabled", True
            yield "cilium", "prometheus.enabled", True
            yield "cilium", "hubble.metrics.enabled", [row["handler"] + context]
            work.say("MP825", handler=row["handler"] + context)


def _context_labels(work: Work) -> Iterator[str]:
    for one in work.found:
        for label in work.used(one):
            said = label.of("cilium", one.chosen, work.group_by)
            for name in said[0] if said is not None else ():
                if name in _CONTEXT:
                    yield name


def _bare(node: Expr, counters: set[int]) -> bool:
    """Whether counters are added up as they are."""
    stack, seen = [node], False
    while stack:
        found = stack.pop()
        if isinstance(found, Range) or (isinstance(found, Call) and found.function.name not in ("label_replace", "label_join")):
            return False
        seen = seen or id(found) in counters
        stack.extend(children(found))
    return seen


def _alike(node: Binary, text: str) -> bool:
    def bare(one: Expr) -> str:
        while isinstance(one, Paren):
            one = one.expr
        return "".join(text[one.start : one.end].split())

    return bare(node.left) == bare(node.right)


_ONE_BY_ONE = frozenset(("avg", "min", "max", "stddev", "stdvar", "quantile", "topk", "bottomk"))
_CONTEXT = frozenset(
    f"{end}_{what}" for end in ("source", "destination") for what in ("ip", "namespace", "pod", "workload", "workload_kind", "app")
)
"""Labels that Hubble puts on its metrics where labelsContext lists them."""
