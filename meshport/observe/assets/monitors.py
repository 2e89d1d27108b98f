"""Objects of the Prometheus operator that scrape the source mesh's own proxies: the target's chart scrapes its own, and Istio's proxies need an object.

https://istio.io/latest/docs/ops/integrations/prometheus/ (samples/addons/extras/prometheus-operator.yaml), https://linkerd.io/2-edge/tasks/external-prometheus/, https://docs.cilium.io/en/stable/observability/metrics/
"""

from __future__ import annotations

from typing import Any

from meshport.ir.base import Ref
from meshport.observe.assets.queries import Queries, say
from meshport.observe.assets.surface import Surface, below

_OF_POD = ["__meta_kubernetes_pod_annotation_prometheus_io_port", "__meta_kubernetes_pod_ip"]
_ISTIO = {
    "selector": {"matchExpressions": [{"key": "istio-prometheus-ignore", "operator": "DoesNotExist"}]},
    "namespaceSelector": {"any": True},
    "jobLabel": "envoy-stats",
    "podMetricsEndpoints": [
        {
            "path": "/stats/prometheus",
            "interval": "15s",
            "relabelings": [
                {"action": "keep", "sourceLabels": ["__meta_kubernetes_pod_container_name"], "regex": "istio-proxy"},
                {"action": "keep", "sourceLabels": ["__meta_kubernetes_pod_annotationpresent_prometheus_io_scrape"]},
                # the port that the injector writes into the annotation, where the application's own metrics are too
                {
                    "action": "replace",
                    "sourceLabels": _OF_POD,
                    "regex": r"(\d+);(([A-Fa-f0-9]{1,4}::?){1,7}[A-Fa-f0-9]{1,4})",
                    "replacement": "[$2]:$1",
                    "targetLabel": "__address__",
                },
                {
                    "action": "replace",
                    "sourceLabels": _OF_POD,
                    "regex": r"(\d+);((([0-9]+?)(\.|$)){4})",
                    "replacement": "$2:$1",
                    "targetLabel": "__address__",
                },
                {"action": "labeldrop", "regex": "__meta_kubernetes_pod_label_(.+)"},
                {"sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "namespace"},
                {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "pod"},
            ],
        }
    ],
}
_EXPORTED = ["httpV2:labelsContext=destination_namespace,destination_workload,source_namespace,source_workload"]
"""What Hubble is to export where nothing asks for more: without a list it exports nothing, and the chart makes no ServiceMonitor."""
_SETTINGS = {
    "linkerd": [("linkerd-control-plane", "podMonitor.enabled", True)],
    "cilium": [
        ("cilium", "hubble.enabled", True),
        ("cilium", "hubble.metrics.serviceMonitor.enabled", True),
        ("cilium", "prometheus.enabled", True),
        ("cilium", "prometheus.serviceMonitor.enabled", True),
    ],
    "istio": [],
}


def monitor(surface: Surface, queries: Queries) -> None:
    """List one of the source mesh for removal, and see that the target is scraped."""
    spec = surface.value.get("spec")
    if not isinstance(spec, dict) or _mesh(spec) != queries.source:
        return
    out, number = surface.job.out, surface.number
    out.remove(number, f"it scrapes {queries.source.capitalize()}'s proxies; delete it once they are gone")
    src = frozenset(surface.leaf((*path,)) for path, value in below(spec, ("spec",)) if not isinstance(value, dict | list) or not value)
    how = f"{queries.target.capitalize()}'s chart scrapes its own"
    if queries.target == "istio":
        document = surface.job.bound.bundle.documents[number]
        namespace = document.namespace or surface.job.options.root_namespace
        made = out.object(
            "monitoring.coreos.com/v1",
            "PodMonitor",
            Ref(namespace, "envoy-stats-monitor"),
            owner=number,
            group="observability",
            because=src,
        )
        for key, value in _ISTIO.items():
            made.set(("spec", key), value, src)
        how = f"PodMonitor {namespace}/envoy-stats-monitor scrapes Istio's"
    for chart, path, setting in _SETTINGS[queries.target]:
        out.install(chart, path, setting, src)
    if queries.target == "cilium":
        surface.require(("spec",), [("cilium", "hubble.metrics.enabled", _EXPORTED)])
    said = say("MP842", how=how)
    surface.report(("spec",), [said])
    if said.document == number:
        said.leaves, said.disposition = tuple(sorted(src)), "approximated"


def _mesh(spec: dict[str, Any]) -> str:
    """The mesh whose proxies are scraped; "" where it is none's."""
    lists = [listed for key in ("podMetricsEndpoints", "endpoints") if isinstance(listed := spec.get(key), list)]
    endpoints = [one for listed in lists for one in listed if isinstance(one, dict)]
    ports = {str(one.get("port") or one.get("targetPort")) for one in endpoints}
    paths = {str(one.get("path")) for one in endpoints}
    selector = spec.get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    named = {f"{key}={value}" for key, value in labels.items()} if isinstance(labels, dict) else set()
    texts = {value for _, value in below(spec) if isinstance(value, str)}
    if "/stats/prometheus" in paths or ports & {"http-envoy-prom", "http-monitoring"}:
        return "istio"
    if (
        ports & {"linkerd-admin"}
        or any(name.startswith("linkerd.io/") for name in named)
        or any("linkerd_io_proxy" in one for one in texts)
    ):
        return "linkerd"
    if ports & {"hubble-metrics", "envoy-metrics"} or named & {"k8s-app=hubble", "k8s-app=cilium"}:
        return "cilium"
    return ""
