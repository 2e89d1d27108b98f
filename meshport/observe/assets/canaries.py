"""Flagger's Canary: its provider, and the metrics that Flagger brings with it for some meshes.

Flagger has queries of its own for Istio and for Linkerd, and for no other mesh: with a provider that it does not know it asks Istio's metrics, with the Gateway API those of the
application (pkg/metrics/observers/factory.go), unless it is installed for Linkerd (pkg/controller/scheduler_metrics.go). A Canary that leaves its mesh therefore names templates, which
ask the same in the same unit.
"""

from __future__ import annotations

from typing import Any

from meshport.documents.spans import Path
from meshport.ir.base import Ref
from meshport.observe.assets.gates import PROMETHEUS, moved
from meshport.observe.assets.queries import Queries, say
from meshport.observe.assets.surface import SHOWN, Surface

_OF_MESH = {"istio": ("istio",), "linkerd": ("linkerd", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3"), "cilium": ()}
_ANY = ("gatewayapi:v1", "gatewayapi:v1beta1", "gatewayapi:v1alpha2")
_PROVIDER = {"istio": "istio", "linkerd": "gatewayapi:v1", "cilium": "gatewayapi:v1"}
_SERVER = {
    "istio": 'reporter="destination",destination_workload_namespace="{{ namespace }}",destination_workload=~"{{ target }}"',
    "linkerd": 'direction="inbound",namespace="{{ namespace }}",deployment=~"{{ target }}"',
}
_BUILT_IN = {
    "request-success-rate": {
        "istio": """\
sum(rate(istio_requests_total{%s,response_code!~"5.*"}[{{ interval }}]))
/
sum(rate(istio_requests_total{%s}[{{ interval }}]))
* 100
""",
        "linkerd": """\
sum(rate(response_total{%s,classification!="failure"}[{{ interval }}]))
/
sum(rate(response_total{%s}[{{ interval }}]))
* 100
""",
    },
    "request-duration": {
        "istio": "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{%s}[{{ interval }}])) by (le))\n",
        "linkerd": "histogram_quantile(0.99, sum(rate(response_latency_ms_bucket{%s}[{{ interval }}])) by (le))\n",
    },
}
"""What Flagger's own metrics ask, per cent and milliseconds, with the matchers left out (pkg/metrics/observers/istio.go, linkerd.go)."""
_OF_ISTIO = ("gateways", "trafficPolicy", "match", "mirror", "headers", "corsPolicy", "delegation")


def canary(surface: Surface, queries: Queries) -> None:
    """The provider and the metrics that come with it; what no Gateway API route says is a finding."""
    spec = surface.value.get("spec")
    if not isinstance(spec, dict):
        return
    provider = spec.get("provider")
    if provider is not None and provider not in (*_OF_MESH[queries.source], *_ANY):
        return  # an ingress controller shifts its traffic
    key = "analysis" if isinstance(spec.get("analysis"), dict) else "canaryAnalysis"
    analysis = spec.get(key)
    listed = analysis.get("metrics") if isinstance(analysis, dict) else None
    own: list[tuple[Path, dict[str, Any]]] = [
        (("spec", key, "metrics", at), one)
        for at, one in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and str(one.get("name")) in _BUILT_IN and "templateRef" not in one
    ]
    stays = queries.source == queries.target
    if stays and not (queries.target == "istio" and queries.data_plane == "ambient"):
        return
    moved(surface, ("spec", "metricsServer"), queries)
    wanted = _PROVIDER[queries.target]
    surface.fate.expressions += len(own)
    if provider not in _ANY and provider != wanted and not stays:
        if provider is None:
            surface.add(("spec", "provider"), wanted, ("metadata", "name"))
        else:
            surface.put(("spec", "provider"), wanted, SHOWN)
        service = spec.get("service")
        tied = [name for name in _OF_ISTIO if isinstance(service, dict) and name in service]
        if wanted in _ANY:
            more = f"; {', '.join(tied)} of spec.service stay Istio's" if tied else ""
            place: Path = ("spec", "provider") if provider is not None else ("metadata", "name")
            surface.report(
                place,
                [say("MP841", before=f"provider {provider}" if provider else "the provider of the installation", after=wanted, more=more)],
            )
    if queries.target == "istio" and provider not in _ANY and queries.data_plane != "ambient":
        surface.fate.translated += len(own)  # Flagger asks Istio's metrics by itself
        return
    if queries.source not in _SERVER or (queries.source == "istio" and provider in _ANY):
        surface.fate.unchanged += len(own)
        return
    for path, one in own:
        _template(surface, path, str(one["name"]), queries)


def _template(surface: Surface, path: Path, name: str, queries: Queries) -> None:
    """A template that asks what Flagger's own metric did, and the metric that names it."""
    text = _BUILT_IN[name][queries.source].replace("%s", _SERVER[queries.source])
    found = queries.translate(text)
    if found.expr is None:
        surface.fate.refused += 1
        surface.report((*path, "name"), found.findings, f"metric {name}")
        return
    surface.fate.translated += 1
    out = surface.job.out
    namespace = surface.job.bound.bundle.documents[surface.number].namespace or ""
    src = frozenset((surface.leaf((*path, "name"), SHOWN),))
    api, kind = "flagger.app/v1beta1", "MetricTemplate"
    called = name if out.bundle_object("flagger.app", kind, Ref(namespace, name)) is None else f"{name}-{queries.target}"
    made = out.object(api, kind, Ref(namespace, called), owner=surface.number, group="observability", because=src)
    made.set(("spec", "provider", "type"), "prometheus", src)
    made.set(("spec", "provider", "address"), PROMETHEUS[queries.target], src)
    made.set(("spec", "query"), found.expr, src)
    surface.add((*path, "templateRef"), {"name": called, **({"namespace": namespace} if namespace else {})}, (*path, "name"))
    surface.report((*path, "name"), [say("MP840", name=name, template=called), *found.findings], f"metric {name}")
    surface.require((*path, "name"), found.requires)
