"""What the steps of a translation share: the parsed query, what was found in it, what has been said, and what its labels say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from meshport.findings import Finding
from meshport.mapping.table import builtin
from meshport.observe.metrics import SIDES, Candidate, Concept, Label, Metric, Metrics, Saying
from meshport.observe.promql import PromQL
from meshport.observe.tree import (
    Aggregation,
    Binary,
    Call,
    Expr,
    Matcher,
    Selector,
    String,
    Word,
    label_arguments,
    label_asked,
    nearest,
    walk,
)

NAMES = {"istio": "Istio", "linkerd": "Linkerd", "cilium": "Cilium"}
SIDE_LABELS = {"istio": "reporter", "linkerd": "direction", "cilium": "reporter"}
"""The label that says who measured."""
MEASURED = {"server": "by the servers' proxies", "client": "by the clients' proxies", "both": "at both ends"}
DROPPED = {
    ("linkerd", "route_name", "!=", "probe"),
    ("linkerd", "authz_name", "!=", "probe"),
    ("linkerd", "dst_service", "!=", ""),
    ("linkerd", "dst_namespace", "!=", ""),
    ("istio", "app", "!=", "ztunnel"),
}
"""Matchers that the target needs no counterpart of: Istio takes probes out before they are counted, and its labels of Services are never empty."""
SCRAPED = {
    "istio": frozenset(("job", "instance", "container", "node", "mesh_id")),
    "linkerd": frozenset(("job", "instance", "control_plane_ns")),
    "cilium": frozenset(("job", "instance", "k8s_app", "node")),
}
"""Labels that scraping adds: they say how the source is scraped."""
PROBED = frozenset(
    ("request_total", "response_total", "response_latency_ms", "inbound_http_requests_total", "inbound_http_statuses_total",
     "inbound_http_request_duration_seconds", "inbound_http_response_duration_seconds", "inbound_http_authz_allow_total")
)  # fmt: skip
"""Linkerd's metrics that count the kubelets' probes at the servers."""
KINDS = frozenset(("deployment", "statefulset", "daemonset", "replicaset", "replicationcontroller", "k8s_job", "cronjob"))
"""Linkerd's labels of workloads, by kind."""
KEPT = frozenset(("__name__", "cluster"))
"""Labels that stay as they are."""


class Refused(Exception):
    """The query cannot be said to the target; the code of the finding, and what its message says."""

    def __init__(self, code: str, remedy: str = "", **said: str) -> None:
        super().__init__(code)
        self.code = code
        self.remedy = remedy
        self.said = said


def finding(code: str, remedy: str = "", **said: str) -> Finding:
    """A finding on a query, with the values that its message names; `remedy` where there is a better one than the code's own."""
    row = builtin().codes()[code]
    disposition = "dropped" if row.severity == "error" else "approximated" if row.severity == "warning" else None
    return Finding(
        code, row.severity, row.message.format(**said), remedy or row.remedy, row.effect, disposition, "observability", "telemetry.query"
    )


@dataclass(slots=True, eq=False)
class Found:
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
class Work:
    """A translation that is under way."""

    parsed: PromQL
    table: Metrics
    source: str
    target: str
    version: str | None
    group_by: str
    latency: str
    renamed: Mapping[str, str]
    source_version: str | None = None
    found: list[Found] = field(default_factory=list)
    said: dict[tuple[str, tuple[tuple[str, str], ...]], None] = field(default_factory=dict)
    renames: dict[str, tuple[str, ...]] = field(default_factory=dict)  # labels that group, by those of the source
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    context: set[str] = field(default_factory=set)
    known: dict[int, list[Label]] = field(default_factory=dict)  # what `used` found
    above: dict[int, Expr] | None = None  # the nearest node above each that names labels
    makes: bool | None = None  # whether the query makes labels itself

    def say(self, code: str, **said: str) -> None:
        self.said[code, tuple(said.items())] = None

    def findings(self) -> list[Finding]:
        found = [finding(code, **dict(said)) for code, said in self.said]
        return list({(one.code, one.message): one for one in found}.values())

    def nothing(self, metric: str, why: str = "") -> Refused:
        """That the target has nothing that says a metric, with what is near it."""
        near = self.table.near_metric(metric)
        why = why or (near.why if near is not None else "it speaks of the mesh's own parts, which the other does not have")
        return Refused("MP800", _instead(near, self.target), metric=metric, mesh=NAMES[self.target], why=why)

    def no_label(self, label: str) -> Refused:
        """That the target's series have no label that says one, with what is near it."""
        said = [matcher.value for one in self.parsed.selectors for matcher in one.matchers if matcher.label.name == label]
        return Refused("MP801", _instead(self.table.near_label(label, said), self.target), label=label, mesh=NAMES[self.target])

    def side_label(self) -> str:
        return SIDE_LABELS[self.source]

    def used(self, one: Found) -> list[Label]:
        """What the labels of a selector, and those that its results are grouped by, say."""
        if id(one) not in self.known:
            self.known[id(one)] = list(self._used(one))
        return self.known[id(one)]

    def _used(self, one: Found) -> Iterator[Label]:
        for number, matcher in enumerate(one.selector.matchers):
            if number in one.pins or self.drops(matcher) or matcher.whole:
                continue
            label = self.label(matcher.label, one)
            if label is not None:
                yield label
        for node in self.naming_of(one):
            own = self.own(node)
            for word in words(node):
                if word.name not in own:
                    label = self.label(word, one)
                    if label is not None:
                        yield label

    def label(self, word: Word, one: Found) -> Label | None:
        """What a label of a selector says; None for one that stays. Raises Refused for one that the tables do not know."""
        name = word.name
        if name == "cluster":
            self.say("MP865", label=name)
        if name in KEPT or word.dynamic:
            return None
        if name == "namespace" and self.source == "istio":
            label = self.table.labels["destination.namespace" if one.side != "client" else "source.namespace"]
            if one.side == "both":
                raise Refused("MP804", metric=one.metric.name, what=f"whose {name} is meant", label=self.side_label())
            return label
        if name == "dst_namespace" and one.side == "client" and self.speaks_of_services(one):
            return self.table.labels["service.namespace"]
        if name in SCRAPED[self.source]:
            return None
        found = self.table.label(self.source, one.side, name)
        if found is not None:
            return found
        if one.side == "both" and any(self.table.label(self.source, side, name) is not None for side in SIDES):
            raise Refused("MP804", metric=one.metric.name, what=f"whose {name} is meant", label=self.side_label())
        raise self.no_label(name)

    def speaks_of_services(self, one: Found) -> bool:
        named = {matcher.label.name for matcher in one.selector.matchers if not self.drops(matcher)}
        named |= {word.name for node in self.naming_of(one) for word in words(node)}
        return bool(named & {"dst_service", "parent_name", "backend_name"})

    def say_near(self, near: str, label: str, names: tuple[str, ...]) -> None:
        """That labels are near each other, and no more: what the table says, or that Linkerd's label is of one kind of workload."""
        if not near and self.source == "linkerd" and label.removeprefix("dst_") in KINDS:
            near = "MP812"
        if near:
            self.say(near, label=label, target=", ".join(names))
        if near == "MP811" and any(name.removeprefix("dst_") in KINDS for name in names):
            self.say("MP812", label=label, target=", ".join(names))

    def drops(self, matcher: Matcher) -> bool:
        return (self.source, matcher.label.name, matcher.op, matcher.value) in DROPPED or matcher.label.name in SCRAPED[self.source]

    def labelled(self) -> list[tuple[Expr, list[Found]]]:
        """The nodes that name labels, with the selectors of the source mesh below each; to be asked when all of those are found."""
        under: dict[int, tuple[Expr, list[Found]]] = {}
        for one in self.found:
            for node in self.naming_of(one):
                under.setdefault(id(node), (node, []))[1].append(one)
        return sorted(under.values(), key=lambda item: (item[0].start, -item[0].end))

    def naming_of(self, one: Found) -> list[Expr]:
        """The nodes above a selector that name labels, the outermost first."""
        if self.above is None:
            self.above = nearest(self.parsed.tree, lambda node: any(True for _ in words(node)))
        found: list[Expr] = []
        node: Expr | None = one.selector
        while node is not None and (node := self.above.get(id(node))) is not None:
            found.append(node)
        return found[::-1]

    def own(self, node: Expr) -> set[str]:
        """Labels that the query itself makes below a node."""
        if self.makes is None:
            self.makes = any(_makes_labels(one) for one in walk(self.parsed.tree))
        return labels_made(node) if self.makes else set()


def labels_made(node: Expr) -> set[str]:
    """Labels that a query makes itself, at a node or below it."""
    made: set[str] = set()
    for below in walk(node):
        if isinstance(below, Call) and below.function.name in ("label_replace", "label_join") and isinstance(below.arguments[1], String):
            if not _keeps(below):
                made.add(below.arguments[1].value)
        elif isinstance(below, Aggregation) and below.op.name.lower() == "count_values" and isinstance(below.arguments[0], String):
            made.add(below.arguments[0].value)
    return made


def _makes_labels(node: Expr) -> bool:
    if isinstance(node, Call):
        return node.function.name in ("label_replace", "label_join")
    return isinstance(node, Aggregation) and node.op.name.lower() == "count_values"


def _instead(near: Candidate | None, target: str) -> str:
    return f"In its place: {near.instead[target]}." if near is not None and target in near.instead else ""


def words(node: Expr) -> Iterator[Word]:
    """The labels that a node names, apart from those of selectors."""
    if isinstance(node, Aggregation) and node.labels is not None:
        yield from node.labels.words
    elif isinstance(node, Binary) and node.matching is not None:
        yield from node.matching.labels.words
        if node.matching.include is not None:
            yield from node.matching.include.words
    elif isinstance(node, Call):
        for argument in label_arguments(node):
            if argument.value not in ("", "le"):
                yield Word(argument.value, argument.start, argument.end)
        label = label_asked(node)
        if label is not None:
            yield label


def _keeps(call: Call) -> bool:
    """Whether label_replace rewrites a label in its own place."""
    return (
        call.function.name == "label_replace"
        and len(call.arguments) > 3
        and isinstance(call.arguments[3], String)
        and (isinstance(call.arguments[1], String) and call.arguments[1].value == call.arguments[3].value)
    )
