"""What a document is that has no apiVersion and no kind: values of a mesh's chart, a file of Prometheus or Grafana, or nothing that is read here; and the items of a List."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshport.documents.build import MAX_DEPTH

_CHARTS = {
    "cilium": {
        "kubeProxyReplacement", "hubble", "encryption", "gatewayAPI", "envoyConfig", "policyEnforcementMode", "socketLB", "l7Proxy", "clustermesh",
        "ingressController", "bpf", "authentication", "k8sServiceHost",
    },
    "linkerd-control-plane": {
        "identityTrustAnchorsPEM", "identityTrustDomain", "policyController", "proxyInit", "clusterNetworks", "controllerReplicas",
        "proxyInjector", "profileValidator",
    },
    "istiod": {"pilot", "meshConfig", "sidecarInjectorWebhook", "istio_cni", "defaultRevision", "revision"},
}  # fmt: skip
"""Top-level keys that the values of one chart have and those of the others have not."""


CHARTS = "charts"
"""What `chart_of` says of values of a chart of charts."""


def charts_within(value: Mapping[str, Any]) -> list[str]:
    """The charts of meshes whose values a chart of charts holds, each below its name."""
    return [
        name for name, keys in _CHARTS.items() if isinstance(value.get(name), Mapping) and (name != "cilium" or keys & value[name].keys())
    ]


def chart_of(value: Any) -> str:
    """The chart whose values a mapping without apiVersion and kind plainly holds: two keys of its own, or one and no other's; else ""."""
    if not isinstance(value, Mapping) or "apiVersion" in value or "kind" in value:
        return ""
    if charts_within(value) and all(isinstance(key, str) for key in value):
        return CHARTS
    found = sorted(((len(keys & value.keys()), chart) for chart, keys in _CHARTS.items()), reverse=True)
    (most, chart), (next_most, _) = found[0], found[1]
    if most == 0 or most == next_most:
        return ""
    return (
        chart if all(isinstance(key, str) for key in value) and any(isinstance(value.get(key), Mapping) for key in _CHARTS[chart]) else ""
    )


def chart_named(file: str | None, value: Any) -> str:
    """The chart that a file of values is named after where conversions write them, `install/istiod.yaml`: one value may be of several charts. Else ""."""
    folder, _, name = (file or "").replace("\\", "/").rpartition("/")
    chart = name.removesuffix(".yaml")
    if folder.rpartition("/")[2] != "install" or chart == name or chart not in _CHARTS:
        return ""
    return (
        chart
        if isinstance(value, Mapping)
        and value
        and not ({"apiVersion", "kind"} & value.keys())
        and all(isinstance(key, str) for key in value)
        else ""
    )


_RULE_TESTS = {"input_series", "promql_expr_test", "alert_rule_test"}


def form_of(value: Any) -> str:
    """What a mapping without apiVersion and kind is: a file of rules, a dashboard as Grafana exports it, a specification of Sloth; else ""."""
    if not isinstance(value, Mapping) or "apiVersion" in value or "kind" in value:
        return ""
    groups = value.get("groups")
    if isinstance(groups, (list, tuple)) and any(map(_is_rules, groups)):
        return "RuleFile"
    inner = value.get("dashboard")
    if _is_dashboard(value) or (isinstance(inner, Mapping) and _is_dashboard(inner)):
        return "Dashboard"
    if value.get("version") == "prometheus/v1" and isinstance(value.get("slos"), (list, tuple)):
        return "SlothSpec"
    if any(isinstance(rule, Mapping) and isinstance(rule.get("seriesQuery"), str) for rule in _adapter_rules(value.get("rules"))):
        return "AdapterRules"
    tests = value.get("tests")
    if isinstance(tests, (list, tuple)) and any(isinstance(one, Mapping) and _RULE_TESTS & one.keys() for one in tests):
        return "RuleTests"
    return ""


def _adapter_rules(value: Any) -> list[Any]:
    """Rules of prometheus-adapter: a list in its own file, lists by what they are for in the values of its chart."""
    listed = value.values() if isinstance(value, Mapping) else [value]
    return [rule for one in listed if isinstance(one, (list, tuple)) for rule in one]


def _is_rules(group: Any) -> bool:
    rules = group.get("rules") if isinstance(group, Mapping) else None
    listed = rules if isinstance(rules, (list, tuple)) else ()
    return any(isinstance(rule, Mapping) and "expr" in rule and ("record" in rule or "alert" in rule) for rule in listed)


def _is_dashboard(value: Mapping[str, Any]) -> bool:
    holds = any(isinstance(value.get(name), (list, tuple)) for name in ("panels", "rows"))
    return holds and any(name in value for name in ("schemaVersion", "templating", "__inputs"))


NO_MANIFEST = "nothing to do if the file is no manifest; else add apiVersion and kind"


def not_an_object(value: Any) -> str | None:
    """Why a value is neither a Kubernetes object nor the values of a mesh's chart, None if it is one of them."""
    if chart_of(value) or form_of(value):
        return None
    if not isinstance(value, Mapping):
        kind = "a list" if isinstance(value, (list, tuple)) else "null" if value is None else "a single value"
        return f"skipped: the document is {kind}, not a Kubernetes object"
    if value.get("kind") == "ConformanceReport" and str(value.get("apiVersion")).startswith("gateway.networking.k8s.io/"):
        return "skipped: a report of the conformance tests of Gateway API, which no cluster takes"
    missing = [key for key in ("apiVersion", "kind") if not (isinstance(value.get(key), str) and value[key])]
    return f"skipped: the document has no {' and no '.join(missing)}, so it is not a Kubernetes object" if missing else None


def holds(value: Any, key: str) -> bool:
    """Whether a mapping in a value, at any depth, has a key."""
    if isinstance(value, Mapping):
        return key in value or any(holds(one, key) for one in value.values())
    return isinstance(value, (list, tuple)) and any(holds(one, key) for one in value)


def is_list(value: Any) -> bool:
    """Whether a document is a List of others, `PodList` and its like among them."""
    if not isinstance(value, Mapping):
        return False
    kind, items = value.get("kind"), value.get("items")
    return isinstance(kind, str) and kind.endswith("List") and (isinstance(items, (list, tuple)) or (items is None and kind == "List"))


def items_of(value: Mapping[str, Any], shadow: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    """(value, shadow) of the items of a List, and of Lists in it. In a typed list (`PodList`) items may leave out what the list says."""
    kind = value["kind"].removesuffix("List")
    for number, item in enumerate(value.get("items") or ()):
        places = shadow["items"][number] if shadow is not None else None
        if is_list(item) and depth < MAX_DEPTH:
            yield from items_of(item, places, depth + 1)
            continue
        if kind and isinstance(item, Mapping) and item and not item.get("kind") and isinstance(value.get("apiVersion"), str):
            told = {"apiVersion": "apiVersion", "kind": "kind"}
            item = {**{key: item[key] for key in item if key not in told}, "apiVersion": value["apiVersion"], "kind": kind}
            if places is not None:
                places = {**{key: places[key] for key in places if key not in told}, **{key: shadow[key] for key in told}}
        yield item, places
