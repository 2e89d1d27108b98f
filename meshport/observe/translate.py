"""One PromQL expression of a mesh as the same question to another mesh, or the reason why it cannot be asked.

Selectors are recognised by metric and matchers as *concepts* with a side that measures; the target's metric, labels and values come from the tables
(`mappings/metrics/`). Labels that group are those of the whole query, so that both sides of an operator still match. What has no counterpart refuses the query: an
expression that runs and says something else is worse than none. Only the characters that change are touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshport.errors import InputError, UsageError
from meshport.findings import Finding
from meshport.mapping.table import builtin
from meshport.observe import values
from meshport.observe.edits import Edits
from meshport.observe.metrics import MESHES, SIDES, Concept, Label, Metric, Metrics, Saying, in_release, metrics
from meshport.observe.promql import GRAFANA, PromQL, parse_promql
from meshport.observe.tokens import quoted
from meshport.observe.tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Labels,
    Matcher,
    Paren,
    Range,
    Selector,
    String,
    Word,
    children,
    walk,
)
from meshport.observe.units import FACTORS, Measure, rescale

LATENCIES = ("keep-unit", "native-unit")
VIEWPOINTS = ("service", "workload")
_DROPPED = {
    ("linkerd", "route_name", "!=", "probe"),
    ("linkerd", "authz_name", "!=", "probe"),
    ("linkerd", "dst_service", "!=", ""),
    ("linkerd", "dst_namespace", "!=", ""),
}
"""Matchers that the target needs no counterpart of: Istio takes probes out before they are counted, and its labels of Services are never empty."""
_SCRAPED = {
    "istio": frozenset(("job", "instance", "container", "node")),
    "linkerd": frozenset(("job", "instance", "control_plane_ns")),
    "cilium": frozenset(("job", "instance", "k8s_app", "node")),
}
"""Labels that scraping adds: they say how the source is scraped."""
_KEPT = frozenset(("__name__", "cluster"))


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


class _Refused(Exception):
    def __init__(self, code: str, **said: str) -> None:
        super().__init__(code)
        self.code = code
        self.said = said


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
    of the same assets by their old names. Raises UsageError for a mesh that has no metrics, or a choice that is none."""
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
        return Translation(None, [_finding("MP821", where=f"{error.line}:{error.column}", why=error.reason.removeprefix("not PromQL: "))])
    if source == target:
        return Translation(expr)
    work = _Work(parsed, metrics(), source, target, target_version, group_by, latency, renamed or {})
    try:
        return work.translated()
    except _Refused as refused:
        return Translation(None, [*work.findings(), _finding(refused.code, **refused.said)])


def _finding(code: str, **said: str) -> Finding:
    row = builtin().codes()[code]
    disposition = "dropped" if row.severity == "error" else "approximated" if row.severity == "warning" else None
    return Finding(code, row.severity, row.message.format(**said), row.remedy, row.effect, disposition, "observability", "telemetry.query")


@dataclass(slots=True)
class _Found:
    """A selector of the source mesh. `side` is who measures: server, client or both; `chosen` who measures for the target."""

    selector: Selector
    metric: Metric
    suffix: str
    concept: Concept
    saying: Saying
    side: str
    pins: frozenset[int]  # matchers that belong to the concept, by position
    chosen: str = ""
    written: Saying | None = None


@dataclass(slots=True)
class _Work:
    parsed: PromQL
    table: Metrics
    source: str
    target: str
    version: str | None
    group_by: str
    latency: str
    renamed: Mapping[str, str]
    found: list[_Found] = field(default_factory=list)
    said: dict[tuple[str, tuple[tuple[str, str], ...]], None] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    context: set[str] = field(default_factory=set)
    tls_needed: bool = False

    def say(self, code: str, **said: str) -> None:
        self.said[code, tuple(said.items())] = None

    def findings(self) -> list[Finding]:
        found = [_finding(code, **dict(said)) for code, said in self.said]
        return list({(finding.code, finding.message): finding for finding in found}.values())

    # -- the whole

    def translated(self) -> Translation:
        edits = Edits(self.parsed.text)
        others = self._recognise(edits)
        if not self.found:
            if others:
                return Translation(edits.result(), self.findings())
            return Translation(None, [_finding("MP824", mesh=_NAMES[self.source])])
        self._choose()
        for one in self.found:
            self._selector(one, edits)
        for node, under in self._labelled():
            self._relabel(node, under, edits)
        factor, unit = rescale(self.parsed, [self._measure(one) for one in self.found], self.latency, edits, self.say)
        self._source_mistakes()
        text = self._collapsed(edits.result())
        return Translation(text, self.findings(), self.labels, self.values, unit, factor, list(self._requires()))

    @staticmethod
    def _measure(one: _Found) -> Measure:
        assert one.written is not None
        return Measure(one.selector, one.saying.unit, one.written.unit, one.suffix, one.written.buckets)

    # -- what is measured

    def _recognise(self, edits: Edits) -> bool:
        """Find the selectors of the source mesh; whether recording rules of the same assets were renamed beside them."""
        others = False
        for selector in self.parsed.selectors:
            if self._is_label_of_variable(selector):
                continue
            name = selector.metric
            if name is None:
                self._dynamic(selector)
                continue
            if name in self.renamed and selector.name is not None:
                edits.replace(selector.name.start, selector.name.end, self.renamed[name])
                others = True
                continue
            if not self.table.is_of(self.source, name):
                continue
            known = self.table.metric(self.source, name)
            readings = self.table.readings(self.source, known[0].name) if known is not None else []
            if known is None or not readings:
                if self.table.is_of(self.target, name) and known is None:
                    continue
                raise _Refused(
                    "MP800", metric=name, mesh=_NAMES[self.target], why="it speaks of the mesh's own parts, which the other does not have"
                )
            metric, suffix = known
            if metric.gone:
                self.say("MP820", metric=name, mesh=_NAMES[self.source], why=metric.gone)
            if metric.type == "histogram" and not suffix:
                self.say("MP827", metric=name)
            self.found.append(self._reading(selector, metric, suffix, readings))
        return others

    def _is_label_of_variable(self, selector: Selector) -> bool:
        """Whether a selector is the label that a Grafana variable takes its values from."""
        for node in walk(self.parsed.tree):
            if isinstance(node, Call) and node.function.name in GRAFANA and len(node.arguments) > 1 and node.arguments[1] is selector:
                return True
        return False

    def _dynamic(self, selector: Selector) -> None:
        if selector.name is None:
            named = [one for one in selector.matchers if one.label.name == "__name__"]
            if named and any(prefix in named[0].value for prefix in ("istio", "hubble", "cilium", "response", "request_total", "bound_")):
                raise _Refused("MP822", name=named[0].value)
            return
        if selector.type != "any" or any(prefix.rstrip("_") in selector.name.name for prefix in self.table.prefixes[self.source]):
            raise _Refused("MP822", name=selector.name.name)

    def _reading(self, selector: Selector, metric: Metric, suffix: str, readings: list[tuple[Concept, str, Saying]]) -> _Found:
        side = self._side(selector)
        for concept, reads, saying in readings:
            if reads != "both" and side not in (reads, "both"):
                continue
            pins = self._pinned(selector, saying)
            if pins is None:
                continue
            told = reads if reads != "both" else side
            return _Found(selector, metric, suffix, concept, saying, told, pins)
        raise _Refused("MP804", metric=metric.name, what="which end of the connection it counts", label=self._side_label())

    def _side_label(self) -> str:
        return {"istio": "reporter", "linkerd": "direction", "cilium": "reporter"}[self.source]

    def _side(self, selector: Selector) -> str:
        """Who measures, as the matchers say; both where none does, or where a variable does."""
        for matcher in selector.matchers:
            if matcher.label.name == self._side_label():
                side = values.side_of(matcher, self.source)
                if side is None and not matcher.dynamic:
                    raise _Refused("MP823", label=matcher.label.name, why=f"the value {matcher.value!r} says nothing of who measures")
                return side or "both"
        return "both"

    @staticmethod
    def _pinned(selector: Selector, saying: Saying) -> frozenset[int] | None:
        found = set()
        for label, value in saying.pins:
            at = next(
                (n for n, one in enumerate(selector.matchers) if one.label.name == label and one.op == "=" and one.value == value), None
            )
            if at is None:
                return None
            found.add(at)
        return frozenset(found)

    # -- who measures for the target

    def _choose(self) -> None:
        """One side of the target for all selectors that one side of the source measures."""
        groups: dict[str, list[_Found]] = {}
        for one in self.found:
            groups.setdefault(one.side, []).append(one)
        for side, members in groups.items():
            used = {label.name: label for one in members for label in self._used(one)}
            varies = side == "both" and any(one.label.name == self._side_label() for found in members for one in found.selector.matchers)
            wanted = list(dict.fromkeys([side, *(("client", "server") if side != "both" or varies else ())]))
            lacking: dict[str, str] = {}
            for candidate in wanted:
                missing = self._missing(candidate, side, members, used.values())
                if missing is None:
                    if candidate != side and varies:
                        self.say("MP826", label=self._side_label(), after=_MEASURED[candidate])
                    elif candidate != side:
                        self.say("MP813", before=_MEASURED[side], after=_MEASURED[candidate])
                    for one in members:
                        one.chosen = candidate
                        one.written = self._saying(one.concept, candidate)
                    break
                lacking[candidate] = missing
            else:
                missing = lacking[wanted[0]]
                if side == "both" and any(self._missing(one, side, members, used.values()) is None for one in SIDES):
                    raise _Refused("MP804", metric=members[0].metric.name, what=f"whose {missing} is meant", label=self._side_label())
                raise _Refused("MP801", label=missing, mesh=_NAMES[self.target])
        for one in self.found:
            sided = any(matcher.label.name == self._side_label() for matcher in one.selector.matchers)
            if one.side == "both" and not sided and one.written is not None and not one.written.unsided and not one.saying.unsided:
                self.say("MP805", metric=one.metric.name, label=self._side_label())
            self._near(one)

    def _near(self, one: _Found) -> None:
        written = one.written
        assert written is not None
        for code in (*one.concept.read, *one.saying.read, *written.written):
            self.say(code, metric=one.metric.name, target=written.metric)
        if one.saying.means and written.means and one.saying.means != written.means:
            self.say("MP802", before=_MEANS[one.saying.means], after=_MEANS[written.means])
        row = self.table.inventory[self.target][written.metric]
        if not in_release(row, self.version):
            raise _Refused(
                "MP800", metric=one.metric.name, mesh=f"{_NAMES[self.target]} {self.version}", why=f"{row.name} came with {row.since}"
            )

    def _saying(self, concept: Concept, side: str) -> Saying | None:
        """How the target says a concept on a side."""
        known = self.table.concepts[concept.becomes] if concept.becomes and (self.target, "server") not in concept.says else concept
        if side != "both":
            return known.says.get((self.target, side))
        one, other = (known.says.get((self.target, name)) for name in SIDES)
        return one if one == other else None

    def _missing(self, candidate: str, side: str, members: list[_Found], used: Iterable[Label]) -> str | None:
        """What the target lacks on a side: the name of a label, or of the metric; None where it lacks nothing."""
        for one in members:
            if self._saying(one.concept, candidate) is None:
                known = self.table.concepts[one.concept.becomes] if one.concept.becomes else one.concept
                if not any((self.target, name) in known.says for name in SIDES):
                    raise _Refused(
                        "MP800",
                        metric=one.metric.name,
                        mesh=_NAMES[self.target],
                        why=known.none.get(self.target, "it does not measure that"),
                    )
                return f"metric of {known.title}"
        for label in used:
            if label.name in ("side", "outcome", "protocol"):
                continue
            if label.name == "tls" and self.target == "istio" and candidate == "client":
                return "connection_security_policy"  # a client's proxy knows nothing of it
            if label.of(self.target, candidate, self.group_by) is None:
                return self._named(label, side)
        return None

    def _named(self, label: Label, side: str) -> str:
        names = (
            label.names.get((self.source, side if side != "both" else "server"))
            or label.names.get((self.source, "client"))
            or (label.name,)
        )
        return names[0]

    def _used(self, one: _Found) -> Iterator[Label]:
        """What the labels of a selector, and those that its results are grouped by, say."""
        for number, matcher in enumerate(one.selector.matchers):
            if number in one.pins or self._drops(matcher) or matcher.whole:
                continue
            label = self._label(matcher.label, one)
            if label is not None:
                yield label
        for node, under in self._labelled():
            if one in under:
                for word in _words(node):
                    if word.name not in self._own(node):
                        label = self._label(word, one)
                        if label is not None:
                            yield label

    def _label(self, word: Word, one: _Found) -> Label | None:
        """What a label of a selector says; None for one that stays. Raises _Refused for one that the tables do not know."""
        name = word.name
        if name in _KEPT or word.dynamic:
            return None
        if name == "namespace" and self.source == "istio":
            label = self.table.labels["destination.namespace" if one.side != "client" else "source.namespace"]
            if one.side == "both":
                raise _Refused("MP804", metric=one.metric.name, what=f"whose {name} is meant", label=self._side_label())
            return label
        if name == "dst_namespace" and one.side == "client" and self._speaks_of_services(one):
            return self.table.labels["service.namespace"]
        if name in _SCRAPED[self.source]:
            return None
        found = self.table.label(self.source, one.side, name)
        if found is not None:
            return found
        if one.side == "both" and any(self.table.label(self.source, side, name) is not None for side in SIDES):
            raise _Refused("MP804", metric=one.metric.name, what=f"whose {name} is meant", label=self._side_label())
        if name in one.metric.labels or name not in self._any_label():
            raise _Refused("MP801", label=name, mesh=_NAMES[self.target])
        raise _Refused("MP801", label=name, mesh=_NAMES[self.target])

    def _any_label(self) -> frozenset[str]:
        return frozenset(name for metric in self.table.inventory[self.source].values() for name in metric.labels)

    def _speaks_of_services(self, one: _Found) -> bool:
        words = {matcher.label.name for matcher in one.selector.matchers if not self._drops(matcher)}
        words |= {word.name for node, under in self._labelled() if one in under for word in _words(node)}
        return bool(words & {"dst_service", "parent_name", "backend_name"})

    # -- a selector

    def _drops(self, matcher: Matcher) -> bool:
        return (self.source, matcher.label.name, matcher.op, matcher.value) in _DROPPED or matcher.label.name in _SCRAPED[self.source]

    def _selector(self, one: _Found, edits: Edits) -> None:
        selector, written = one.selector, one.written
        assert written is not None
        name = written.metric + (one.suffix if self.table.inventory[self.target][written.metric].type == "histogram" else "")
        if selector.name is not None:
            edits.replace(selector.name.start, selector.name.end, name)
        kept: list[str] = []
        dropped: list[Matcher] = []
        sided = False
        for number, matcher in enumerate(selector.matchers):
            if matcher.whole:
                kept.append(self.parsed.text[matcher.start : matcher.end])
                self.say("MP822", name=matcher.label.name)
            elif matcher.label.name == "__name__":
                kept.append(self._written(matcher, [("__name__", matcher.op, name)]))
            elif matcher.label.name == self._side_label():
                sided = True
                kept += [self._written(matcher, self._sided(matcher, one))]
            elif number in one.pins or self._drops(matcher):
                if matcher.label.name in _SCRAPED[self.source]:
                    self.say("MP814", label=matcher.label.name)
                dropped.append(matcher)
            elif matcher.label.name in _KEPT or matcher.label.dynamic:
                kept.append(self.parsed.text[matcher.start : matcher.end])
            else:
                kept.append(self._written(matcher, self._rewritten(matcher, one)))
        added = [(label, "=", value) for label, value in written.pins]
        if self.target == "linkerd":
            added = [*self._linkerd(one, kept), *added]
        if not sided and one.chosen != "both" and not written.unsided:
            added.insert(0, (_SIDE_LABELS[self.target], "=", values.SIDE_VALUES[self.target][one.chosen]))
        self._braces(selector, kept, [f"{label}{op}{quoted(value)}" for label, op, value in added], bool(dropped), edits)

    def _linkerd(self, one: _Found, kept: list[str]) -> list[tuple[str, str, str]]:
        """Where a client's proxy measures, requests to no Service are counted too; where a server's does, the kubelet's probes."""
        http = one.written is not None and one.written.metric in ("response_total", "response_latency_ms")
        if not http:
            return []
        if one.chosen == "client" and any(label.name.startswith("service.") for label in self._used(one)) and self.group_by == "service":
            return [] if any(text.startswith(("dst_service=", "dst_service!=")) for text in kept) else [("dst_service", "!=", "")]
        return [("route_name", "!=", "probe")] if one.chosen == "server" else []

    def _braces(self, selector: Selector, kept: list[str], added: list[str], dropped: bool, edits: Edits) -> None:
        """Write the matchers: in place where each old one has its own, so that blanks and comments stay, else anew. New ones stand behind the one that says
        who measures."""
        olds = list(selector.matchers)
        first = next((number + 1 for number, old in enumerate(olds) if old.label.name == self._side_label()), 0)
        if selector.braces is None:
            if added:
                edits.insert(selector.end, "{" + ",".join(added) + "}")
            return
        if dropped or not olds or len(kept) != len(olds) or not all(kept):
            stay = [text for text in kept if text]
            at = min(first, len(stay))
            texts = [*stay[:at], *added, *stay[at:]]
            edits.replace(*selector.braces, "{" + ",".join(texts) + "}" if texts else "")
            return
        for old, text in zip(olds, kept, strict=True):
            edits.replace(old.start, old.end, text)
        if added and first:
            edits.insert(olds[first - 1].end, "," + ",".join(added))
        elif added:
            edits.insert(olds[0].start, ",".join(added) + ",")

    def _written(self, old: Matcher, made: list[tuple[str, str, str]]) -> str:
        like = self.parsed.text[old.value_start] if old.value_end > old.value_start else '"'
        before = self.parsed.text[old.start : old.value_start]
        spaced = before[len(before.rstrip("=!~ \t\n")) :]
        texts = []
        for label, op, value in made:
            between = spaced.replace(old.op, op) if old.op and old.op in spaced else op
            texts.append(f"{label}{between}{self._quoted(value, like, old)}")
        return ",".join(texts)

    def _quoted(self, value: str, like: str, old: Matcher) -> str:
        token = self.parsed.text[old.value_start : old.value_end]
        if old.value == value and token[:1] in "\"'`":
            return token
        return quoted(value, like if like in "\"'`" else '"')

    def _sided(self, matcher: Matcher, one: _Found) -> list[tuple[str, str, str]]:
        label, words = _SIDE_LABELS[self.target], values.SIDE_VALUES[self.target]
        if one.written is not None and one.written.unsided:
            return []
        if matcher.dynamic and one.chosen == "both":
            self.say("MP815", label=label, holds=" or ".join(sorted(words.values())))
            own = values.SIDE_VALUES[self.source]
            self.values[label] = {own[side]: word for side, word in words.items()} | (
                {"waypoint": words["client"]} if self.source == "istio" else {}
            )
            return [(label, matcher.op, matcher.value)]
        if one.chosen == "both":
            return [(label, "=~", "|".join(words[side] for side in SIDES))] if matcher.op in ("=", "=~") else []
        return [(label, "=", words[one.chosen])]

    def _rewritten(self, matcher: Matcher, one: _Found) -> list[tuple[str, str, str]]:
        label = self._label(matcher.label, one)
        assert label is not None
        try:
            if label.name == "outcome":
                return self._outcome(matcher)
            if label.name == "protocol":
                return self._protocol(matcher)
            said = label.of(self.target, one.chosen, self.group_by)
            if said is None:
                raise _Refused("MP801", label=matcher.label.name, mesh=_NAMES[self.target])
            names, near = said
            if near:
                self.say(near, label=matcher.label.name, target=", ".join(names))
            return self._valued(matcher, label, names, one)
        except values.Unsaid as unsaid:
            raise _Refused("MP823", label=matcher.label.name, why=str(unsaid)) from None

    def _valued(self, matcher: Matcher, label: Label, names: tuple[str, ...], one: _Found) -> list[tuple[str, str, str]]:
        if label.value == "tls":
            return values.tls(matcher, self.source, self.target, names[0]).matchers
        if label.value == "identity":
            return values.identity(matcher, self.source, self.target, names[0]).matchers
        if label.value == "bucket":
            return self._bound(matcher, one)
        if label.value == "host":
            return self._host(matcher, names)
        if len(names) > 1:
            raise values.Unsaid("several labels stand for it")
        return [(names[0], matcher.op, self._status(matcher, label))]

    def _host(self, matcher: Matcher, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
        if matcher.label.name in ("authority", "dst"):
            if matcher.dynamic or matcher.op not in ("=", "!=") or not matcher.value:
                raise values.Unsaid(f"{matcher.label.name} has the port in it, which the target's label has not")
            self.say("MP828", label=matcher.label.name)
            return [(names[0], matcher.op, matcher.value.partition(":")[0])]
        if len(names) == 1:
            return [(names[0], matcher.op, matcher.value)]
        found = values.host(matcher, (names[0], names[1]))
        for code in found.near:
            self.say(code, label=names[0], holds=found.variable["holds"])
        return found.matchers

    def _status(self, matcher: Matcher, label: Label) -> str:
        if label.name == "grpc.status" and matcher.value in _GRPC and matcher.op in ("=", "!="):
            return str(_GRPC.index(matcher.value))
        return matcher.value

    def _outcome(self, matcher: Matcher) -> list[tuple[str, str, str]]:
        """Linkerd's verdict on a response: failures are 5xx and failed gRPC calls."""
        words = [matcher.value] if matcher.op in ("=", "!=") else values.alternatives(matcher.value)
        if matcher.dynamic or not words or len(words) != 1 or words[0] not in ("success", "failure"):
            raise values.Unsaid(f"{matcher.value!r} of classification")
        good = (words[0] == "success") == (matcher.op in ("=", "=~"))
        self.say("MP810", before="classification", after={"istio": "response_code", "cilium": "status"}[self.target])
        return [({"istio": "response_code", "cilium": "status"}[self.target], "!~" if good else "=~", "5.*")]

    def _protocol(self, matcher: Matcher) -> list[tuple[str, str, str]]:
        """Linkerd tells gRPC by its status; Hubble's protocol is the version of HTTP."""
        if self.source == "istio" and self.target == "linkerd" and not matcher.dynamic and matcher.op in ("=", "!="):
            if matcher.value in ("grpc", "http"):
                grpc = (matcher.value == "grpc") == (matcher.op == "=")
                return [("grpc_status", "!=" if grpc else "=", "")]
            if matcher.value == "tcp":
                raise values.Unsaid("TCP is counted by metrics of its own")
        raise _Refused("MP801", label=matcher.label.name, mesh=_NAMES[self.target])

    def _bound(self, matcher: Matcher, one: _Found) -> list[tuple[str, str, str]]:
        assert one.written is not None
        factor = FACTORS.get((one.saying.unit, one.written.unit), 1.0)
        if factor == 1.0 and one.saying.buckets == one.written.buckets:
            return [("le", matcher.op, matcher.value)]
        found, missed = values.bound(matcher, factor, one.written.buckets, "le")
        if missed is not None:
            wanted, below, above = missed
            self.say("MP818", wanted=f"{wanted:g}", below=f"{below:g}", above=f"{above:g}", metric=one.written.metric)
        return found.matchers

    # -- labels that group

    def _labelled(self) -> list[tuple[Expr, list[_Found]]]:
        """The nodes that name labels, with the selectors of the source mesh below each."""
        found = []
        for node in walk(self.parsed.tree):
            if any(True for _ in _words(node)) or (isinstance(node, Call) and node.function.name == "label_values"):
                below = {id(one) for one in walk(node)}
                under = [one for one in self.found if id(one.selector) in below]
                if under:
                    found.append((node, under))
        return found

    def _own(self, node: Expr) -> set[str]:
        """Labels that the query itself makes below a node."""
        made: set[str] = set()
        for below in walk(node):
            if (
                isinstance(below, Call)
                and below.function.name in ("label_replace", "label_join")
                and isinstance(below.arguments[1], String)
            ):
                if not _keeps(below):
                    made.add(below.arguments[1].value)
            elif isinstance(below, Aggregation) and below.op.name.lower() == "count_values" and isinstance(below.arguments[0], String):
                made.add(below.arguments[0].value)
        return made

    def _relabel(self, node: Expr, under: list[_Found], edits: Edits) -> None:
        own = self._own(node)
        if isinstance(node, Aggregation) and node.labels is not None:
            self._list(node.labels, under, own, node.grouping == "without", edits)
        elif isinstance(node, Binary) and node.matching is not None:
            self._list(node.matching.labels, under, own, node.matching.how == "ignoring", edits)
            if node.matching.include is not None:
                self._list(node.matching.include, under, own, False, edits)
        elif isinstance(node, Call):
            self._in_call(node, under, own, edits)

    def _list(self, labels: Labels, under: list[_Found], own: set[str], taken_out: bool, edits: Edits) -> None:
        names: list[str] = []
        same = True
        for word in labels.words:
            made = (word.name,) if word.name in own or word.dynamic else self._grouped(word, under, taken_out)
            same = same and made == (word.name,)
            names += [name for name in made if name not in names]
        if not same:
            edits.replace(labels.start, labels.end, "(" + ", ".join(names) + ")")

    def _grouped(self, word: Word, under: list[_Found], taken_out: bool) -> tuple[str, ...]:
        """The labels that stand for one that groups; the same for all selectors below."""
        found: set[tuple[str, ...]] = set()
        for one in under:
            if taken_out and word.name in _SCRAPED[self.source]:
                found.add(())
                continue
            if word.name in _SCRAPED[self.source]:
                raise _Refused("MP801", label=word.name, mesh=_NAMES[self.target])
            label = self._label(word, one)
            if label is None:
                found.add((word.name,))
                continue
            if label.name == "side":
                found.add((_SIDE_LABELS[self.target],) if one.written is not None and not one.written.unsided else ())
                continue
            said = label.of(self.target, one.chosen, self.group_by)
            if said is None:
                if not taken_out:
                    raise _Refused("MP801", label=word.name, mesh=_NAMES[self.target])
                found.add(())
                continue
            names, near = said
            if near:
                self.say(near, label=word.name, target=", ".join(names))
            if label.value == "tls":
                self.say("MP829", label=word.name, target=names[0])
            if word.name in ("authority", "dst"):
                self.say("MP828", label=word.name)
            self.context.update(names)
            found.add(names)
        if len(found) > 1:
            raise _Refused("MP804", metric=under[0].metric.name, what=f"whose {word.name} is meant", label=self._side_label())
        names = next(iter(found))
        if not taken_out and word.name != "le":
            self.labels[word.name] = names
        return names

    def _in_call(self, node: Call, under: list[_Found], own: set[str], edits: Edits) -> None:
        name = node.function.name
        if (
            name == "label_values"
            and len(node.arguments) > 1
            and isinstance(node.arguments[1], Selector)
            and node.arguments[1].name is not None
        ):
            word = node.arguments[1].name
            made = self._grouped(word, under, False)
            edits.replace(word.start, word.end, made[0] if made else word.name)
            if len(made) > 1:
                self.say("MP815", label=made[0], holds="the Service's name alone")
            return
        reads = {"label_replace": slice(3, 4), "label_join": slice(3, None)}.get(name)
        if reads is None:
            return
        for argument in node.arguments[reads]:
            if not isinstance(argument, String) or argument.value in own or argument.value in ("", "le"):
                continue
            made = self._grouped(Word(argument.value, argument.start, argument.end), under, False)
            if len(made) != 1 and name == "label_replace":
                raise _Refused("MP823", label=argument.value, why="label_replace takes one label, and several stand for this one")
            token = self.parsed.text[argument.start : argument.end]
            edits.replace(argument.start, argument.end, ", ".join(quoted(one, token[0]) for one in made))

    # -- what is wrong in the source, and what the target needs

    def _source_mistakes(self) -> None:
        """Counters that are divided as they are: resets and the age of pods weigh in."""
        counters = {id(one.selector) for one in self.found if one.metric.type != "gauge" and one.suffix in ("", "_sum", "_count")}
        for node in walk(self.parsed.tree):
            if isinstance(node, Binary) and node.op.name == "/" and all(_bare(side, counters) for side in (node.left, node.right)):
                self.say("MP816")
                return

    def _collapsed(self, text: str) -> str:
        """Of two alternatives that have become the same, one."""
        for _ in range(8):
            parsed = parse_promql(text)
            double = next(
                (node for node in walk(parsed.tree) if isinstance(node, Binary) and node.op.name == "or" and _alike(node, text)), None
            )
            if double is None:
                return text
            text = text[: double.left.end] + text[double.right.end :]
        return text

    def _requires(self) -> Iterator[tuple[str, str, Any]]:
        needs = {one.written.requires for one in self.found if one.written is not None and one.written.requires}
        rows = self.table.requires[self.target]
        for need in sorted(needs):
            row = rows[need]
            yield from map(tuple, row.get("set") or ())
            if "handler" in row:
                labels = sorted({name for name in self.context if name in _CONTEXT} | set(self._context_labels()))
                context = f":labelsContext={','.join(labels)}" if labels else ""
                yield "cilium", "hubble.enabled", True
                yield "cilium", "prometheus.enabled", True
                yield "cilium", "hubble.metrics.enabled", [row["handler"] + context]
                self.say("MP825", handler=row["handler"] + context)

    def _context_labels(self) -> Iterator[str]:
        for one in self.found:
            for label in self._used(one):
                said = label.of("cilium", one.chosen, self.group_by)
                for name in said[0] if said is not None else ():
                    if name in _CONTEXT:
                        yield name


def _words(node: Expr) -> Iterator[Word]:
    """The labels that a node names, apart from those of selectors."""
    if isinstance(node, Aggregation) and node.labels is not None:
        yield from node.labels.words
    elif isinstance(node, Binary) and node.matching is not None:
        yield from node.matching.labels.words
        if node.matching.include is not None:
            yield from node.matching.include.words
    elif isinstance(node, Call) and node.function.name in ("label_replace", "label_join"):
        start = 3
        stop = 4 if node.function.name == "label_replace" else None
        for argument in node.arguments[start:stop]:
            if isinstance(argument, String) and argument.value not in ("", "le"):
                yield Word(argument.value, argument.start, argument.end)
    elif isinstance(node, Call) and node.function.name == "label_values" and len(node.arguments) > 1:
        label = node.arguments[1]
        if isinstance(label, Selector) and label.name is not None:
            yield label.name


def _keeps(call: Call) -> bool:
    """Whether label_replace rewrites a label in its own place."""
    return (
        call.function.name == "label_replace"
        and len(call.arguments) > 3
        and isinstance(call.arguments[3], String)
        and (isinstance(call.arguments[1], String) and call.arguments[1].value == call.arguments[3].value)
    )


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


_CONTEXT = frozenset(
    f"{end}_{what}" for end in ("source", "destination") for what in ("ip", "namespace", "pod", "workload", "workload_kind", "app")
)
"""Labels that Hubble puts on its metrics where labelsContext lists them."""
_NAMES = {"istio": "Istio", "linkerd": "Linkerd", "cilium": "Cilium"}
_SIDE_LABELS = {"istio": "reporter", "linkerd": "direction", "cilium": "reporter"}
_MEASURED = {"server": "by the servers' proxies", "client": "by the clients' proxies", "both": "at both ends"}
_MEANS = {"whole": "the whole exchange", "first": "the time to the first byte of the response"}
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
