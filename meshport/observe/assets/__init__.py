"""Assets that ask a mesh's metrics, among the documents of a bundle: rules, dashboards, gates of rollouts, objectives, triggers, scrapes.

Each is recognised by its kind or its form; its queries are translated, and everything else in its file keeps its bytes. Rules come first, for all others may ask
what they record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from meshport.documents.forms import form_of
from meshport.documents.segments import plain
from meshport.errors import InputError
from meshport.observe.assets import adapter, canaries, dashboards, gates, monitors, rollouts, rules, ruletests
from meshport.observe.assets.queries import Queries, say
from meshport.observe.assets.surface import Fate, Job, Surface, unpacked
from meshport.observe.metrics import MESHES

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.documents import Document
    from meshport.mapping.bound import Bound

_KINDS: dict[tuple[str, str], Callable[[Surface, Queries], None]] = {
    ("flagger.app", "MetricTemplate"): gates.metric_template,
    ("flagger.app", "Canary"): canaries.canary,
    ("argoproj.io", "Rollout"): rollouts.rollout,
    ("argoproj.io", "AnalysisTemplate"): gates.analysis,
    ("argoproj.io", "ClusterAnalysisTemplate"): gates.analysis,
    ("argoproj.io", "AnalysisRun"): gates.analysis,
    ("argoproj.io", "Experiment"): gates.analysis,
    ("sloth.slok.dev", "PrometheusServiceLevel"): gates.sloth,
    ("files", "SlothSpec"): gates.sloth,
    ("files", "AdapterRules"): adapter.rules,
    ("files", "RuleTests"): ruletests.tests,
    ("pyrra.dev", "ServiceLevelObjective"): gates.pyrra,
    ("openslo", "SLO"): gates.openslo,
    ("openslo", "SLI"): gates.openslo,
    ("keda.sh", "ScaledObject"): gates.keda,
    ("keda.sh", "ScaledJob"): gates.keda,
    ("monitoring.coreos.com", "ServiceMonitor"): monitors.monitor,
    ("monitoring.coreos.com", "PodMonitor"): monitors.monitor,
}
_DASHBOARD_GROUPS = ("dashboard.grafana.app",)
_PUBLISHED = {
    "istio": frozenset((7630, 7636, 7639, 7645, 11829, 13277, 21306)),
    "linkerd": frozenset((15474, 15475, 15477, 15478, *range(15480, 15485), 15486, 15487, 15488, 15491, 15492, 15493)),
    "cilium": frozenset((6658, 10596, 10598, 13542, 15514, 16611, 16612, 16613, 18015)),
}
"""The meshes' own dashboards at grafana.com: samples/addons/README.md of Istio, grafana/values.yaml of Linkerd, the pages of Cilium's there."""


@dataclass(slots=True)
class Assets:
    """What became of the assets of a bundle; `read` are their leaves that count."""

    fates: list[Fate] = field(default_factory=list)
    read: set[int] = field(default_factory=set)


def assets_of(out: Output, bound: Bound, options: Options, chosen: Collection[int]) -> Assets:
    """Translate every asset of a bundle into `out`. Nothing happens where source and target have the same metrics, or one of them has none. A mesh that stays
    has the same, but for Istio's two data planes, what Linkerd counts of profiles that become routes, and what is exported no more."""
    stays = options.source == options.target
    if options.source not in MESHES or options.target not in MESHES:
        return Assets()
    queries = Queries(options.source, options.target, options.source_version, options.target_version, options.group_by, options.data_plane)
    job = Job(out, bound, options, queries)
    surfaces = [(number, surface) for number, document in enumerate(bound.bundle.documents) for surface in _surfaces(job, number, document)]
    _rules(job, surfaces)
    for _, surface in surfaces:
        _others(surface, queries, options.latency)
        surface.close()
    for surface in dict.fromkeys(surface.holder[0] for _, surface in surfaces if surface.holder is not None):
        surface.close()
    _install(job)
    fates = [one for one in job.fates if one.document in chosen and (one.findings or (one.expressions and not stays))]
    return Assets(fates, job.read)


def _surfaces(job: Job, number: int, document: Document) -> list[Surface]:
    """What of a document may hold queries: the document, or each dashboard in it."""
    known = (document.group, document.kind)
    value = document.value
    if known in _KINDS or known in (("monitoring.coreos.com", "PrometheusRule"), ("files", "RuleFile"), ("files", "Dashboard")):
        return [Surface(job, number, value, _fate(job, number, document))]
    if document.group in _DASHBOARD_GROUPS and document.kind == "Dashboard" and isinstance(value.get("spec"), dict):
        return [Surface(job, number, value, _fate(job, number, document))]
    if known == ("", "ConfigMap"):
        data = value.get("data")
        if not isinstance(data, dict):
            return []
        rules = [("data", key) for key, text in data.items() if isinstance(text, str) and "seriesQuery" in text]
        if rules:
            return _texts(job, number, document, rules)
        return _texts(job, number, document, [("data", key) for key in data]) if _is_for_grafana(value) else []
    if document.group in ("grafana.integreatly.org", "integreatly.org") and document.kind == "GrafanaDashboard":
        return _texts(job, number, document, [("spec", "json")]) or _packed(job, number, document) or _elsewhere(job, number, document)
    return []


def _is_for_grafana(value: dict[str, Any]) -> bool:
    """Whether a ConfigMap holds dashboards: by the sidecar's label, or by what stands in it."""
    metadata = value.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if isinstance(labels, dict) and "grafana_dashboard" in labels:
        return True
    return any(isinstance(text, str) and '"panels"' in text and '"schemaVersion"' in text for text in value["data"].values())


def _texts(job: Job, number: int, document: Document, places: list[tuple[str, str]]) -> list[Surface]:
    outer = Surface(job, number, document.value, _fate(job, number, document))
    found = []
    for place in places:
        holder = document.value.get(place[0])
        text = holder.get(place[1]) if isinstance(holder, dict) else None
        if not isinstance(text, str):
            continue
        try:
            value = json.loads(text) if text.lstrip()[:1] == "{" else plain(text) if "seriesQuery" in text else None
        except (ValueError, InputError):
            continue
        if dashboards.is_dashboard(value) or form_of(value) == "AdapterRules":
            fate = outer.fate if len(places) == 1 else _fate(job, number, document, place[1])
            found.append(outer.embedded(place, value, fate))
    return found


def _packed(job: Job, number: int, document: Document) -> list[Surface]:
    """A dashboard that the operator is given compressed."""
    spec = document.value.get("spec")
    text = spec.get("gzipJson") if isinstance(spec, dict) else None
    try:
        value = json.loads(unpacked(text)) if isinstance(text, str) else None
    except ValueError:
        return []
    if not dashboards.is_dashboard(value):
        return []
    outer = Surface(job, number, document.value, _fate(job, number, document))
    return [outer.embedded(("spec", "gzipJson"), value, outer.fate, packed=True)]


def _elsewhere(job: Job, number: int, document: Document) -> list[Surface]:
    """Say of a dashboard that the operator makes or fetches that its queries are not converted, where they are the source mesh's by all that is seen."""
    found = document.value.get("spec")
    spec = found if isinstance(found, dict) and job.queries.source != job.queries.target else {}
    for key in ("jsonnet", "jsonnetLib", "grafanaCom", "url"):
        held = spec.get(key)
        number_of = held.get("id") if isinstance(held, dict) else None
        seen = isinstance(held, str) and (job.queries.concerns(held) or (key == "url" and job.queries.source in held.lower()))
        if seen or number_of in _PUBLISHED[job.queries.source]:
            surface = Surface(job, number, document.value, _fate(job, number, document))
            path = ("spec", key) if isinstance(held, str) else ("spec", key, "id")
            surface.report(path, [say("MP860", what=f"spec.{key}")])
            break
    return []


def _fate(job: Job, number: int, document: Document, part: str = "") -> Fate:
    name = f"{document.name}/{part}" if part else document.name
    if document.form:
        title = (document.value.get("dashboard") or document.value) if document.kind == "Dashboard" else {}
        name = str(title.get("title") or PurePath(document.name).name)
    made = Fate(document.file, document.kind, document.namespace, name, number)
    job.fates.append(made)
    return made


def _rules(job: Job, surfaces: list[tuple[int, Surface]]) -> None:
    found = []
    for number, surface in surfaces:
        document = job.bound.bundle.documents[number]
        if document.kind == "RuleFile":
            found += list(rules.rules_of(surface, surface.value.get("groups"), ("groups",)))
        elif document.kind == "PrometheusRule":
            spec = surface.value.get("spec")
            found += list(rules.rules_of(surface, spec.get("groups"), ("spec", "groups"))) if isinstance(spec, dict) else []
    rules.translate(found, job.queries, job.options.latency or "keep-unit")


def _others(surface: Surface, queries: Queries, latency: str | None) -> None:
    document = surface.job.bound.bundle.documents[surface.number]
    handle = _KINDS.get((document.group, document.kind))
    if surface.holder is not None and form_of(surface.value) == "AdapterRules":
        adapter.rules(surface, queries)
    elif surface.holder is not None:
        dashboards.translate(surface, (), queries, latency)
    elif document.kind == "Dashboard" and document.form:
        inner = surface.value.get("dashboard")
        dashboards.translate(surface, ("dashboard",) if isinstance(inner, dict) else (), queries, latency)
    elif document.kind == "Dashboard":
        dashboards.translate(surface, ("spec",), queries, latency)
    elif handle is not None and not (handle is monitors.monitor and queries.source == queries.target):
        handle(surface, queries)


def _install(job: Job) -> None:
    """The settings of all queries as one: what Hubble is to export, with all the labels that any of them asks for."""
    for (chart, path), wanted in sorted(job.requires.items()):
        src = frozenset().union(*(leaves for _, leaves in wanted))
        before = job.out.installs.get((chart, path))
        values = [*([before.value] if before is not None else []), *(value for value, _ in wanted)]
        made = values[0]
        for value in values[1:]:
            made = _merged(made, value)
        job.out.install(chart, path, made, src)
        if path == "hubble.metrics.enabled" and isinstance(made, list):
            said = say("MP825", handler=" ".join(map(str, made)))
            said.document = job.bound.bundle.number(min(src))
            said.leaves = tuple(sorted(src))
            job.out.findings.append(said)


def _merged(one: Any, other: Any) -> Any:
    """Two values of one setting together."""
    if not isinstance(one, list) or not isinstance(other, list):
        return one if isinstance(one, list) else other
    handlers: dict[str, dict[str, list[str]]] = {}
    for text in map(str, [*one, *other]):
        name, _, options = text.partition(":")
        known = handlers.setdefault(name, {})
        for option in filter(None, options.split(";")):
            key, _, value = option.partition("=")
            known[key] = sorted({*known.get(key, ()), *value.split(",")}) if key == "labelsContext" else [value]
    return [
        name + (":" + ";".join(f"{key}={','.join(listed)}" for key, listed in options.items()) if options else "")
        for name, options in sorted(handlers.items())
    ]


__all__ = ["Assets", "Fate", "assets_of"]
