"""Queries that decide: metrics of Flagger and Argo Rollouts, objectives of Sloth, Pyrra and OpenSLO, triggers of KEDA. What they are held against stays, so
that the unit stays too.

https://docs.flagger.app/usage/metrics, https://argo-rollouts.readthedocs.io/en/stable/features/analysis/, https://sloth.dev, https://github.com/pyrra-dev/pyrra,
https://github.com/OpenSLO/OpenSLO, https://keda.sh/docs/latest/scalers/prometheus/
"""

from __future__ import annotations

import re
from collections.abc import Callable

from meshport.documents.spans import Path
from meshport.observe.assets.queries import Queries, say
from meshport.observe.assets.surface import QUERY, SHOWN, Surface, below
from meshport.observe.translate import Translation

_HOSTS = {"istio": "prometheus.istio-system", "linkerd": "prometheus.linkerd-viz", "cilium": "prometheus.cilium-monitoring"}
PROMETHEUS = {mesh: f"http://{host}:9090" for mesh, host in _HOSTS.items()}
"""The address of the Prometheus that each mesh's own instructions install."""


def together(
    surface: Surface, places: list[Path], queries: Queries, where: str, repair: Callable[[str], str] = str
) -> list[Translation] | None:
    """Translate queries that belong together: all of them, or none where one is refused. What became of them; None where nothing changes."""
    found = [queries.translate(str(surface.at(path))) for path in places]
    for path in places:
        surface.leaf(path)
    surface.fate.expressions += len(places)
    if all(one.neutral for one in found):
        surface.fate.unchanged += len(places)
        return None
    refused = any(one.expr is None and not one.neutral for one in found)
    for path, one in zip(places, found, strict=True):
        if one.neutral:
            surface.fate.unchanged += 1
        elif refused:
            surface.fate.refused += 1
            if one.expr is None:
                surface.report(path, one.findings, where)
        elif one.expr is not None:
            surface.put(path, repair(one.expr), QUERY)
            surface.report(path, one.findings, where)
            surface.require(path, one.requires)
            surface.fate.translated += 1
    return None if refused else found


def moved(surface: Surface, path: Path, queries: Queries) -> None:
    """The address of the Prometheus that comes with the source mesh becomes that of the target's; another one stays."""
    holder = surface.at(path[:-1])
    address = holder.get(path[-1]) if isinstance(holder, dict) else None
    host = _HOSTS[queries.source]
    if queries.source != queries.target and isinstance(address, str) and re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", address):
        surface.put(path, address.replace(host, _HOSTS[queries.target]), SHOWN)
        surface.report(path, [say("MP839", before=host, after=_HOSTS[queries.target])])


def metric_template(surface: Surface, queries: Queries) -> None:
    """Flagger's MetricTemplate."""
    spec = surface.value.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("query"), str):
        return
    if together(surface, [("spec", "query")], queries, "the query") is not None and isinstance(spec.get("provider"), dict):
        moved(surface, ("spec", "provider", "address"), queries)


def analysis(surface: Surface, queries: Queries) -> None:
    """Templates and runs of Argo Rollouts, and experiments: every metric that Prometheus answers."""
    for path, value in below(surface.value.get("spec"), ("spec",)):
        if isinstance(value, dict) and path[-1] == "prometheus" and path[-2] == "provider" and isinstance(value.get("query"), str):
            name = surface.at(path[:-2]).get("name")
            if together(surface, [(*path, "query")], queries, f"metric {name}") is not None:
                moved(surface, (*path, "address"), queries)


def sloth(surface: Surface, queries: Queries) -> None:
    """Sloth: of each objective the queries of its indicator."""
    base: Path = () if "slos" in surface.value else ("spec",)
    spec = surface.at(base) if base == () or isinstance(surface.value.get("spec"), dict) else {}
    for number, one in enumerate(spec["slos"] if isinstance(spec.get("slos"), list) else ()):
        sli = one.get("sli") if isinstance(one, dict) else None
        places = [
            (*base, "slos", number, "sli", kind, key)
            for kind, keys in (("events", ("errorQuery", "error_query", "totalQuery", "total_query")), ("raw", ("errorRatioQuery", "error_ratio_query")))
            for key in keys
            if isinstance(sli, dict) and isinstance(sli.get(kind), dict) and isinstance(sli[kind].get(key), str)
        ]  # fmt: skip
        if places:
            together(surface, places, queries, f"objective {one.get('name')}")


def pyrra(surface: Surface, queries: Queries) -> None:
    """Pyrra: the metrics of the indicator, and the labels that its objectives are grouped by."""
    spec = surface.value.get("spec")
    indicator = spec.get("indicator") if isinstance(spec, dict) else None
    for kind, one in indicator.items() if isinstance(indicator, dict) else ():
        base: Path = ("spec", "indicator", kind)
        places = [path for path, value in below(one, base) if path[-1] == "metric" and isinstance(value, str)]
        found = together(surface, places, queries, f"indicator {kind}", _equal_bound) if places else None
        listed = one.get("grouping") if isinstance(one, dict) else None
        if found is None or not isinstance(listed, list):
            continue
        made: list[str] = []
        expr = str(surface.at(places[0]))
        for label in listed:
            names = queries.label(str(label), expr, found[0])
            if names is None:
                surface.report((*base, "grouping"), [say("MP833", label=str(label), what="the grouping")])
            made += names or ()
        if made != listed:
            surface.put((*base, "grouping"), list(dict.fromkeys(made)), SHOWN)


def _equal_bound(expr: str) -> str:
    """Pyrra reads the bound of a bucket from a matcher that is an equality."""
    return re.sub(r'\ble=~"([0-9]+)\(\\\\\.0\)\?"', r'le="\1"', expr)


def openslo(surface: Surface, queries: Queries) -> None:
    """OpenSLO: the queries of each indicator."""
    for path, value in below(surface.value.get("spec"), ("spec",)):
        if isinstance(value, dict) and path[-1] in ("ratioMetric", "thresholdMetric"):
            places = [where for where, one in below(value, path) if where[-1] in ("query", "promql") and isinstance(one, str)]
            if places:
                together(surface, places, queries, str(path[-1]))


def keda(surface: Surface, queries: Queries) -> None:
    """KEDA: triggers that Prometheus answers."""
    spec = surface.value.get("spec")
    listed = spec.get("triggers") if isinstance(spec, dict) else None
    for number, trigger in enumerate(listed if isinstance(listed, list) else ()):
        metadata = trigger.get("metadata") if isinstance(trigger, dict) and trigger.get("type") == "prometheus" else None
        if isinstance(metadata, dict) and isinstance(metadata.get("query"), str):
            base: Path = ("spec", "triggers", number, "metadata")
            if together(surface, [(*base, "query")], queries, f"trigger {number}") is not None:
                moved(surface, (*base, "serverAddress"), queries)
