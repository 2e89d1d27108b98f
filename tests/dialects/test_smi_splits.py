"""SMI's splits, in every version, in the words of the meshes: source YAML, target YAML, findings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result

WORLD = "".join(
    f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: api, v: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""
    for name in ("api", "api-old", "api-new")
)
GROUP = """---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: testers, namespace: shop}
spec:
  matches:
  - {name: firefox, headers: {user-agent: ".*Firefox.*"}}
  - {name: previews, pathRegex: /preview, methods: [GET]}
"""


def split(version: str, old: object, new: object, name: str = "canary", matches: str = "[]") -> str:
    return f"""---
apiVersion: split.smi-spec.io/{version}
kind: TrafficSplit
metadata: {{name: {name}, namespace: shop}}
spec:
  service: api
  backends: [{{service: api-old, weight: {old}}}, {{service: api-new, weight: {new}}}]
""" + (f"  matches: {matches}\n" if matches != "[]" else "")


def rules(result: Result) -> Any:
    return next(item.object["spec"]["rules"] for item in result.manifests if item.object["kind"] == "HTTPRoute")


def convert(text: str, to: str = "linkerd") -> Result:
    return meshport.convert(meshport.load_text(text), source="smi", target=to)


@pytest.mark.parametrize(
    ("version", "old", "new"),
    [("v1alpha1", "900m", "100m"), ("v1alpha1", 900, 100), ("v1alpha2", 90, 10), ("v1alpha3", 90, 10), ("v1alpha4", 9, 1)],
)
def test_weights_are_ratios_in_every_version(version: str, old: object, new: object) -> None:
    result = convert(WORLD + split(version, old, new))
    assert rules(result) == yaml.safe_load("[{backendRefs: [{name: api-old, port: 80, weight: 9}, {name: api-new, port: 80, weight: 1}]}]")
    assert result.diff == []
    assert [item["kind"] for item in result.removals] == ["TrafficSplit"]


def test_matches_take_what_the_group_describes_and_the_service_gets_the_rest() -> None:
    result = convert(WORLD + GROUP + split("v1alpha4", 0, 1, matches="[{kind: HTTPRouteGroup, name: testers}]"))
    assert rules(result) == yaml.safe_load("""
- matches:
  - headers: [{name: user-agent, type: RegularExpression, value: ^.*Firefox.*$}]
  - {path: {type: Exact, value: /preview}, method: GET}
  backendRefs: [{name: api-old, port: 80, weight: 0}, {name: api-new, port: 80, weight: 1}]
- matches: [{path: {type: PathPrefix, value: /}}]
""")
    assert result.diff == []
    assert result.ledger.counts["unaccounted"] == 0


def test_a_split_with_matches_goes_before_one_without() -> None:
    text = (
        WORLD + GROUP + split("v1alpha4", 1, 1, name="all") + split("v1alpha4", 0, 1, "testers", "[{kind: HTTPRouteGroup, name: testers}]")
    )
    result = convert(text, "istio")
    service = next(item.object for item in result.manifests if item.object["kind"] == "VirtualService")
    assert [(rule["name"], [entry["weight"] for entry in rule["route"]]) for rule in service["spec"]["http"]] == [
        ("testers", [0, 100]),
        ("all", [50, 50]),
    ]


def test_a_group_that_is_not_there_makes_no_rule() -> None:
    result = convert(WORLD + split("v1alpha4", 0, 1, matches="[{kind: HTTPRouteGroup, name: gone}]"))
    assert [item.object["kind"] for item in result.manifests] == []
    assert "MP014" in {finding.code for finding in result.findings}
    assert result.ledger.counts["unaccounted"] == 0


def test_documents_of_smi_alone_are_read_as_smi_and_beside_a_mesh_as_its_own() -> None:
    alone = meshport.convert(meshport.load_text(WORLD + split("v1alpha4", 9, 1)), target="istio")
    assert alone.options.source == "smi"
    profile = """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: api.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {pathRegex: /.*}, timeout: 5s}]}
"""
    beside = meshport.convert(meshport.load_text(WORLD + split("v1alpha2", 9, 1) + profile), target="istio")
    assert beside.options.source == "linkerd"


def test_the_gateway_api_has_splits_and_no_access_control() -> None:
    target = """---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: callers, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: api, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: testers}]
  sources: [{kind: ServiceAccount, name: web, namespace: shop}]
"""
    pods = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [{name: app, image: api}]}}}
"""
    result = convert(WORLD + pods + GROUP + target + split("v1alpha4", 9, 1), "gateway-api")
    assert [item.object["kind"] for item in result.manifests] == ["HTTPRoute"]
    assert [item["kind"] for item in result.removals] == ["TrafficSplit"]
    assert "TrafficTarget shop/callers stays with SMI" in " ".join(finding.message for finding in result.findings)


def test_the_marks_of_the_mesh_behind_smi_leave_with_it() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: shop}
spec:
  template:
    metadata: {labels: {app: batch}, annotations: {linkerd.io/inject: disabled}}
    spec: {containers: [{name: app, image: batch}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec: {service: web, backends: [{service: web-v1, weight: 1}]}
"""
    result = meshport.convert(meshport.load_text(text), source="smi", target="istio")
    out = {item.object["kind"]: item.object for item in result.manifests}
    assert out["Namespace"]["metadata"] == {"name": "shop", "labels": {"istio-injection": "enabled"}}
    assert out["Deployment"]["spec"]["template"]["metadata"] == {"labels": {"app": "batch", "sidecar.istio.io/inject": "false"}}
    kept = {
        item.object["kind"]: item.object for item in meshport.convert(meshport.load_text(text), source="smi", target="linkerd").manifests
    }
    assert "Namespace" not in kept and "Deployment" not in kept


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_an_operator_that_shifts_weights_is_named(target: str) -> None:
    marks = "metadata: {name: canary, annotations: {failover.linkerd.io/primary-service: api-old}, labels: {failover.linkerd.io/controlled-by: linkerd-failover}, "
    text = WORLD + split("v1alpha2", 1, 0).replace("metadata: {name: canary, ", marks)
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target)
    assert "MP902" not in {item.code for item in result.findings}
    (said,) = [item for item in result.findings if item.code == "MP555"]
    assert "api-old" in said.message and said.disposition == "manual"


@pytest.mark.parametrize("target", ["istio", "linkerd", "cilium"])
def test_every_method_of_a_match_decides_as_much_as_the_path_beside_it(target: str) -> None:
    text = (
        WORLD
        + GROUP.replace("methods: [GET]", "methods: ['*']")
        + split("v1alpha4", 9, 1, matches="[{kind: HTTPRouteGroup, name: testers}]")
    )
    result = convert(text, target)
    assert [item.code for item in result.findings if item.code.startswith("MP90")] == []
    assert [line.disposition for line in result.ledger if line.path.endswith("methods[0]")] == ["translated"]
    asked = convert(text.replace("methods: ['*']", "methods: [GET]"), target)
    assert [item.object for item in asked.manifests] != [item.object for item in result.manifests]
