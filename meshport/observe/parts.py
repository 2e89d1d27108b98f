"""Queries of no mesh's metrics that ask for the source mesh's own containers, pods or namespaces by name: what proxies and control planes cost."""

from __future__ import annotations

import re

from meshport.errors import InputError
from meshport.findings import Finding
from meshport.observe.promql import parse_promql
from meshport.observe.work import NAMES, finding

_LABELS = frozenset(("container", "container_name", "pod", "pod_name", "app", "job", "k8s_app", "component", "namespace"))
_OWN = {
    "istio": re.compile(r"(?<![\w-])(istio-(?:proxy|system|(?:in|e)gressgateway|cni)|istiod|ztunnel)(?![a-z])"),
    "linkerd": re.compile(r"(?<![\w-])(linkerd(?:-[a-z]+)*)(?![\w-])"),
    "cilium": re.compile(r"(?<![\w-])((?:cilium|hubble)(?:-[a-z]+)*)(?![\w-])"),
}


def named(expr: str, mesh: str, templating: str = "grafana") -> list[Finding]:
    """A finding for each part of a mesh that a query asks for."""
    if _OWN[mesh].search(expr) is None:
        return []
    try:
        parsed = parse_promql(expr, templating=templating)
    except InputError:
        return []
    matchers = (one for selector in parsed.selectors for one in selector.matchers if one.label.name in _LABELS and one.op in ("=", "=~"))
    found = dict.fromkeys(name for one in matchers for name in _OWN[mesh].findall(one.value))
    return [finding("MP864", name=name, mesh=NAMES[mesh]) for name in found]
