"""Dashboards of Grafana: panels, variables, annotations. A variable that is used on several panels has to mean one thing on all of them.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.documents.spans import Path
from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe.assets import grouped, panels, texts
from meshport.observe.assets.grouped import Said
from meshport.observe.assets.panels import Plan
from meshport.observe.assets.queries import Queries, say, variables_in
from meshport.observe.assets.surface import QUERY, SHOWN, Surface
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql
from meshport.observe.translate import Translation
from meshport.observe.tree import Call, Selector, label_asked

_OF_A_LABEL = re.compile(r"\s*label_values\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*\)\s*")
_MEANING = {
    "service": ("dst_service", "parent_name", "backend_name", "destination_service_name"),
    "host": ("destination_service", "authority", "dst"),
    "workload": (
        "deployment", "dst_deployment", "destination_workload", "source_workload", "destination_canonical_service", "source_canonical_service", "statefulset",
        "dst_statefulset", "daemonset", "dst_daemonset",
    ),
    "namespace": (
        "namespace", "dst_namespace", "destination_namespace", "source_namespace", "destination_workload_namespace", "source_workload_namespace",
        "destination_service_namespace", "parent_namespace",
    ),
    "pod": ("pod", "dst_pod", "destination_pod", "source_pod"),
}  # fmt: skip
_MEANS = {label: meaning for meaning, labels in _MEANING.items() for label in labels}


def is_dashboard(value: Any) -> bool:
    """Whether a JSON value is a dashboard."""
    return isinstance(value, dict) and (isinstance(value.get("panels"), list) or isinstance(value.get("rows"), list) or "elements" in value)


def translate(surface: Surface, root: Path, queries: Queries, latency: str | None) -> None:
    """Translate a dashboard at a path of a surface."""
    dashboard = surface.at(root)
    found = list(_panels(dashboard, root))
    variables = [_variable(holder, path) for holder, path in _variables(dashboard, root)]
    blocked: set[str] = set()
    for _ in range(len(variables) + 1):
        plans = [panels.plan(panel, path, queries, latency, blocked) for panel, path in found]
        uses, waiting = _uses(plans), _waiting(plans)
        for variable in variables:
            variable.plan(queries, uses, waiting, blocked, _values(plans))
        more = {one.name for one in variables if one.refused} - blocked
        if not more:
            break
        blocked |= more
    said: list[Said] = []
    for made in plans:
        _write(surface, made, said, queries)
    for variable in variables:
        variable.write(surface, said)
    grouped.report(surface, said)
    _unchanged_users(surface, plans, variables)


def _panels(value: Any, path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """What asks queries: panels wherever they are nested, and annotations."""
    stack: list[tuple[Path, Any]] = [(path, value)]
    while stack:
        where, found = stack.pop()
        if isinstance(found, dict):
            newest = found.get("kind") == "Panel" and isinstance(found.get("spec"), dict)
            asks = isinstance(found.get("targets"), list) or newest or (isinstance(found.get("expr"), str) and "annotations" in where)
            if asks:
                yield (found["spec"], (*where, "spec")) if newest else (found, where)
                if isinstance(found.get("panels"), list):
                    stack.append(((*where, "panels"), found["panels"]))
                continue
            stack.extend(((*where, key), item) for key, item in reversed(list(found.items())) if key != "templating")
        elif isinstance(found, list):
            stack.extend(((*where, number), found[number]) for number in range(len(found) - 1, -1, -1))


def _write(surface: Surface, made: Plan, said: list[Said], queries: Queries) -> None:
    fate = surface.fate
    fate.expressions += len(made.queries)
    for query, found in zip(made.queries, made.found, strict=True):
        surface.leaf(query.path)
        if made.refused and not made.neutral:
            fate.refused += not found.neutral
            fate.unchanged += found.neutral
        elif found.neutral:
            fate.unchanged += 1
            said += [Said(query.path, "panel", made.title, one) for one in queries.of_parts(query.expr)]
        else:
            fate.translated += 1
            surface.require(query.path, found.requires)
    said += [Said(path, "panel", made.title, finding) for path, finding in made.said]
    if made.refused:
        return
    asked = {query.path for query in made.queries}
    for path, value in made.puts:
        surface.put(path, value, QUERY if path in asked else SHOWN)
    for path, key in made.keys:
        surface.rename(path, key)


def _uses(plans: list[Plan]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for made in plans:
        for name, labels in made.uses.items() if not made.refused else ():
            found.setdefault(name, set()).update(labels)
    return found


def _waiting(plans: list[Plan]) -> set[str]:
    """The variables that panels ask with which stay as they are."""
    return {name for made in plans if made.refused for query in made.queries for name in variables_in(query.expr)}


def _values(plans: list[Plan]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for made in plans:
        for label, words in made.values.items() if not made.refused else ():
            found.setdefault(label, {}).update(words)
    return found


def _unchanged_users(surface: Surface, plans: list[Plan], variables: list[_Variable]) -> None:
    """Panels that stay as they are and ask with a variable that holds other values now."""
    other = {one.name for one in variables if one.other_values and not one.refused}
    for made in plans:
        for query, found in zip(made.queries, made.found, strict=True):
            names = variables_in(query.expr) & other
            if found.neutral and names:
                surface.report(query.path, [say("MP838", name=", ".join(sorted(names)), panel=made.title)])


# -- variables


@dataclass(slots=True)
class _Variable:
    """A variable where it stands. `refused`: it cannot be made to mean what its panels ask with it, so that it stays with them."""

    name: str
    type: str
    path: Path
    value: dict[str, Any]
    puts: list[tuple[Path, Any]] = field(default_factory=list)
    said: list[Finding] = field(default_factory=list)
    found: Translation | None = None
    refused: bool = False
    other_values: bool = False

    def plan(
        self, queries: Queries, uses: dict[str, set[str]], waiting: set[str], blocked: set[str], words: dict[str, dict[str, str]]
    ) -> None:
        """Work out what becomes of it; a refused one stays refused. One that only panels ask with which stay as they are (`waiting`) stays too."""
        if self.refused:
            return
        self.puts, self.said, self.found, self.other_values = [], [], None, False
        labels = uses.get(self.name, set())
        if len({_MEANS.get(label, label) for label in labels}) > 1:
            self._refuse(say("MP837", name=self.name, what=", ".join(sorted(labels))))
        elif self.type == "query":
            self._query(queries, labels, blocked, self.name in waiting)
        known = {source: target for label in labels for source, target in words.get(label, {}).items()}
        if self.type == "custom":
            self._custom(known)
        elif not self.refused:
            self._chosen(known)

    def _refuse(self, *findings: Finding) -> None:
        self.refused, self.puts, self.said = True, [], list(findings)

    def write(self, surface: Surface, said: list[Said]) -> None:
        queried = self.path if not self.puts else self.puts[0][0]
        if self.type == "query" and (self.found is not None):
            surface.fate.expressions += 1
            if self.refused:
                surface.fate.refused += 1
            elif self.found.neutral:
                surface.fate.unchanged += 1
            else:
                surface.fate.translated += 1
                surface.require(queried, self.found.requires)
        said += [Said(queried, "variable", self.name, finding) for finding in self.said]
        if not self.refused:
            for path, value in self.puts:
                surface.put(path, value, QUERY if path[-1] in ("query", "definition") else SHOWN)

    # -- values that are asked for

    def _query(self, queries: Queries, labels: set[str], blocked: set[str], waiting: bool) -> None:
        text, holders = self._text()
        if not text:
            return
        alone = _OF_A_LABEL.fullmatch(text)
        if alone is not None:
            self._of_a_label(alone.group(1), text, holders, queries, labels, waiting)
            return
        gone = variables_in(text) & blocked
        of_proxies = _of_proxies(text, queries.source) if labels else None
        found = queries.of_variable(of_proxies or text, gone)
        self.found = found[0]
        if found[0].neutral:
            return
        if found[0].expr is None:
            self._refuse(*(one for one in found[0].findings if one.severity == "error"))
            return
        wanted = {_MEANS.get(label, label) for label in labels}
        chosen = next((one for one in found if _fits(one, wanted)), None)
        if chosen is None or chosen.expr is None:
            self._refuse(say("MP837", name=self.name, what=", ".join(sorted(labels))))
            return
        self.found = chosen
        quiet = ("MP803", "MP805", "MP813", "MP814", "MP815", "MP817", "MP890") if of_proxies else ("MP805", "MP813", "MP815", "MP817")
        self.said = [one for one in chosen.findings if one.code not in quiet]
        if of_proxies:
            self.said.append(say("MP857", name=self.name))
        self._put(text, chosen.expr, holders)
        before, after = _asked(text), _asked(chosen.expr)
        self.other_values = before is not None and after is not None and _MEANS.get(before, before) != _MEANS.get(after, after)
        regex = self.value.get("regex")
        if isinstance(regex, str) and regex and before is None:
            try:
                self.puts.append(((*self.path, "regex"), texts.pattern(regex, chosen.labels)))
            except texts.Lost as lost:
                self._refuse(say("MP837", name=self.name, what=f"{lost.label} in the pattern {regex}"))

    def _of_a_label(self, name: str, text: str, holders: list[Path], queries: Queries, labels: set[str], waiting: bool) -> None:
        """`label_values(label)`: of all series, so that what the panels compare it with says which label is meant."""
        known = metrics()
        self.found = queries.translate("up")
        if not known.has_label(queries.source, name) or name in labels:
            return
        if len(labels) == 1:
            after = next(iter(labels))
            self._put(text, text.replace(name, after), holders)
            self.found = Translation(text.replace(name, after))
            self.other_values = _MEANS.get(name, name) != _MEANS.get(after, after)
        elif labels or not (waiting or known.has_label(queries.target, name)):
            self._refuse(say("MP837", name=self.name, what=", ".join(sorted(labels)) or "nothing"))

    def _text(self) -> tuple[str, list[Path]]:
        """The query, and the places where it stands."""
        query, definition = self.value.get("query"), self.value.get("definition")
        places: list[Path] = []
        text = ""
        if isinstance(query, str):
            text = query
            places.append((*self.path, "query"))
        elif isinstance(query, dict):
            spec = query.get("spec")
            for holder, where in ((query, (*self.path, "query")), (spec, (*self.path, "query", "spec"))):
                if isinstance(holder, dict) and isinstance(holder.get("query"), str) and not text:
                    text = holder["query"]
                    places.append((*where, "query"))
        if isinstance(definition, str) and definition and (not text or definition == text):
            text = text or definition
            places.append((*self.path, "definition"))
        return text, places

    def _put(self, before: str, after: str, places: list[Path]) -> None:
        self.puts += [(place, after) for place in places]
        query = self.value.get("query")
        if isinstance(query, dict) and isinstance(query.get("metric"), str) and query.get("metric"):
            self._fields(query, after)

    def _fields(self, query: dict[str, Any], after: str) -> None:
        """The query as Grafana's builder keeps it beside its text."""
        tree = parse_promql(after).tree
        if not isinstance(tree, Call) or len(tree.arguments) != 2 or not isinstance(tree.arguments[0], Selector):
            return
        selector, label = tree.arguments[0], _asked(after)
        base = (*self.path, "query")
        self.puts.append(((*base, "metric"), selector.metric or query["metric"]))
        if "label" in query and label:
            self.puts.append(((*base, "label"), label))
        if isinstance(query.get("labelFilters"), list):
            filters = [{"label": one.label.name, "op": one.op, "value": one.value} for one in selector.matchers]
            self.puts.append(((*base, "labelFilters"), filters))

    # -- values that are listed

    def _custom(self, words: dict[str, str]) -> None:
        if not words:
            return
        text = self.value.get("query")
        listed = [part.strip() for part in text.split(",")] if isinstance(text, str) else []
        held = [part.rpartition(" : ")[2] for part in listed]
        if any(part not in words for part in held if part and part not in (".*", ".+")):
            self._refuse(say("MP837", name=self.name, what=f"values that are {', '.join(sorted(words))}"))
            return
        self.other_values = True
        if isinstance(text, str):
            made = list(dict.fromkeys(self._word(part, words) for part in listed))
            self.puts.append(((*self.path, "query"), ("," if ", " not in text else ", ").join(made)))
        self._chosen(words)

    def _chosen(self, words: dict[str, str]) -> None:
        """The values that are on offer, and the one that is chosen."""
        options = self.value.get("options")
        for at, one in enumerate(options if isinstance(options, list) else ()):
            self._held(one, (*self.path, "options", at), words)
        self._held(self.value.get("current"), (*self.path, "current"), words)

    @staticmethod
    def _word(part: str, words: dict[str, str]) -> str:
        shown, colon, value = part.rpartition(" : ")
        return f"{shown}{colon}{words.get(value, value)}"

    def _held(self, holder: Any, path: Path, words: dict[str, str]) -> None:
        for key in ("text", "value") if isinstance(holder, dict) else ():
            value = holder.get(key)
            if isinstance(value, str) and value in words:
                self.puts.append(((*path, key), words[value]))
            elif isinstance(value, list):
                self.puts += [((*path, key, at), words[one]) for at, one in enumerate(value) if isinstance(one, str) and one in words]


def _variables(dashboard: dict[str, Any], root: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    templating = dashboard.get("templating")
    listed = templating.get("list") if isinstance(templating, dict) else None
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(one, dict):
            yield one, (*root, "templating", "list", number)
    for number, one in enumerate(dashboard["variables"] if isinstance(dashboard.get("variables"), list) else ()):
        if isinstance(one, dict) and isinstance(one.get("spec"), dict):
            yield {"type": str(one.get("kind")).removesuffix("Variable").lower(), **one["spec"]}, (*root, "variables", number, "spec")


def _variable(value: dict[str, Any], path: Path) -> _Variable:
    return _Variable(str(value.get("name") or ""), str(value.get("type") or "query"), path, value)


def _of_proxies(query: str, source: str) -> str | None:
    """A query for what Linkerd's proxies run for, by the metrics of their own process, as one for what they count requests for; None of another query."""
    try:
        tree = parse_promql(query).tree
    except InputError:
        return None
    if source != "linkerd" or not isinstance(tree, Call) or label_asked(tree) is None or not isinstance(tree.arguments[0], Selector):
        return None
    name = tree.arguments[0].name
    if name is None or name.dynamic or not name.name.startswith("process_"):
        return None
    return query[: name.start] + "request_total" + query[name.end :]


def _asked(query: str) -> str | None:
    """The label that `label_values(..., label)` asks for; None for another query."""
    try:
        tree = parse_promql(query).tree
    except InputError:
        return None
    word = label_asked(tree) if isinstance(tree, Call) and len(tree.arguments) == 2 else None
    return word.name if word is not None else None


def _fits(found: Translation, wanted: set[str]) -> bool:
    """Whether a query lists what the panels compare it with."""
    if found.expr is None:
        return False
    label = _asked(found.expr)
    listed = {label} if label is not None else {names[0] for names in found.labels.values() if names}
    return not wanted or not listed or {_MEANS.get(one, one) for one in listed} == wanted
