"""Labels and annotations of Services, namespaces and pods that one mesh reads, in the other's words: sharing between clusters, near endpoints, the balance
of requests, and pods whose proxy takes nothing of what comes in."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

SERVICE = """
apiVersion: v1
kind: Namespace
metadata: {{name: shop, {home}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop, {marks}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{{pods}}}}}
    spec: {{containers: [{{name: app, image: web, ports: [{{containerPort: 8080}}]}}]}}
---
"""
INJECTED, AMBIENT = "labels: {istio-injection: enabled}", "labels: {istio.io/dataplane-mode: ambient}"
DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {}
"""
BYPASS, NONE = 'ambient.istio.io/bypass-inbound-capture: "true"', 'traffic.sidecar.istio.io/includeInboundPorts: ""'


def converted(source: str, target: str, *, home: str = "a: b", marks: str = "", pods: str = "", more: str = "", **options: Any) -> Any:
    text = SERVICE.format(home=home, marks=marks, pods=pods) + more
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")]
    return result


def made(result: Any, kind: str) -> dict[str, Any]:
    return next(item.object for item in result.manifests if item.object["kind"] == kind)


@pytest.mark.parametrize("mark", ['service.cilium.io/global: "true"', 'io.cilium/global-service: "true"'])
def test_a_global_service_of_cilium_is_exported_for_linkerd_by_either_name(mark: str) -> None:
    result = converted("cilium", "linkerd", home="labels: {}", marks=f"annotations: {{{mark}}}")
    assert made(result, "Service")["metadata"]["labels"]["mirror.linkerd.io/exported"] == "remote-discovery"


def test_a_namespace_of_cilium_that_shares_nothing_keeps_its_services() -> None:
    home = 'annotations: {clustermesh.cilium.io/global: "false"}'
    result = converted("cilium", "linkerd", home=home, marks='annotations: {service.cilium.io/global: "true"}')
    assert not [item for item in result.manifests if "mirror.linkerd.io/exported" in item.object["metadata"].get("labels", {})]


@pytest.mark.parametrize("word", ["service.cilium.io/shared", "io.cilium/shared-service"])
def test_a_global_service_that_is_not_shared_offers_nothing_to_other_clusters(word: str) -> None:
    marks = f'annotations: {{service.cilium.io/global: "true", service.cilium.io/global-sync-endpoint-slices: "true", {word}: "%s"}}'
    kept = converted("cilium", "linkerd", home="labels: {}", marks=marks % "false")
    assert "labels" not in made(kept, "Service")["metadata"]
    (said,) = [item for item in kept.findings if item.code == "MP735"]
    assert (said.severity, said.effect, [place.namespace for place in said.affects]) == ("warning", "changes", ["shop"])
    (istio,) = [
        item.message for item in converted("cilium", "istio", home="labels: {}", marks=marks % "false").findings if item.code == "MP755"
    ]
    assert "whose own endpoints stayed in their cluster" in istio
    shared = converted("cilium", "linkerd", home="labels: {}", marks=marks % "true")
    assert made(shared, "Service")["metadata"]["labels"]["mirror.linkerd.io/exported"] == "remote-discovery"
    assert "MP735" not in {item.code for item in shared.findings}


def test_a_namespace_of_istio_shares_its_services() -> None:
    result = converted("istio", "cilium", home=INJECTED.replace("}", ', istio.io/global: "true"}'))
    assert made(result, "Service")["metadata"]["annotations"]["service.cilium.io/global"] == "true"


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize("on", ["home", "marks"])
def test_near_endpoints_are_preferred_by_the_field_of_kubernetes(target: str, on: str) -> None:
    mark = "annotations: {networking.istio.io/traffic-distribution: PreferClose}"
    places = {"home": f"{INJECTED}, {mark}"} if on == "home" else {"home": INJECTED, "marks": mark}
    result = converted("istio", target, **places)
    service = made(result, "Service")
    assert service["spec"]["trafficDistribution"] == "PreferClose"
    assert "networking.istio.io/traffic-distribution" not in service["metadata"].get("annotations", {})
    values = result.install["helm_values"].get("cilium", {})
    assert (values.get("loadBalancer") == {"serviceTopology": True}) == (target == "cilium")
    assert ("MP555" in {finding.code for finding in result.findings}) == (target == "linkerd")


@pytest.mark.parametrize(("switch", "written"), [("enabled", True), ("disabled", False)])
def test_the_algorithm_of_a_service_that_the_agent_balances_is_a_rule_of_its_clients(switch: str, written: bool) -> None:
    marks = f"annotations: {{service.cilium.io/lb-l7: {switch}, service.cilium.io/lb-l7-algorithm: round_robin}}"
    result = converted("cilium", "istio", home="labels: {}", marks=marks)
    rules = [item.object["spec"] for item in result.manifests if item.object["kind"] == "DestinationRule"]
    balanced = {"host": "web.shop.svc.cluster.local", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
    assert rules == ([balanced] if written else [])


def test_pods_that_nothing_captures_are_that_in_either_data_plane_and_beside_every_policy() -> None:
    back = converted("istio", "istio", home=AMBIENT, pods=BYPASS, more=DENY, data_plane="sidecar")
    assert made(back, "Deployment")["spec"]["template"]["metadata"]["annotations"] == {"traffic.sidecar.istio.io/includeInboundPorts": ""}
    there = converted("istio", "istio", home=INJECTED, pods=NONE, more=DENY, data_plane="ambient")
    assert made(there, "Deployment")["spec"]["template"]["metadata"]["annotations"] == {"ambient.istio.io/bypass-inbound-capture": "true"}
    linkerd = converted("istio", "linkerd", home=AMBIENT, pods=BYPASS, more=DENY)
    assert made(linkerd, "Deployment")["spec"]["template"]["metadata"]["annotations"]["config.linkerd.io/skip-inbound-ports"] == "1-65535"
    cilium = converted("istio", "cilium", home=INJECTED, pods=NONE, more=DENY)
    opened = [one.object["spec"] for one in cilium.manifests if one.object["metadata"]["name"] == "web-bypass"]
    assert opened[0]["ingress"][0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}]


def test_what_links_clusters_is_set_up_by_hand_in_linkerd() -> None:
    marks = 'labels: {networking.istio.io/gatewayPort: "15443", topology.istio.io/cluster: east}'
    result = converted("istio", "linkerd", home=INJECTED, marks=marks)
    assert {"MP755", "MP756"} <= {finding.code for finding in result.findings if finding.disposition == "manual"}


def test_of_a_namespace_without_services_nothing_is_shared() -> None:
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled, istio.io/global: 'true'}}\n"
    result = meshport.convert(meshport.load_text(home), source="istio", target="linkerd")
    assert {finding.code for finding in result.findings} == {"MP101"}


def test_what_a_sidecar_does_not_take_goes_past_it() -> None:
    listed = 'traffic.sidecar.istio.io/includeInboundPorts: "8000,8001", traffic.sidecar.istio.io/excludeInboundPorts: "8000"'
    linkerd = converted("istio", "linkerd", home=INJECTED, pods=listed, more=DENY)
    notes = made(linkerd, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert notes["config.linkerd.io/skip-inbound-ports"] == "1-7999,8002-65535"
    cilium = converted("istio", "cilium", home=INJECTED, pods=listed, more=DENY)
    opened = [one.object["spec"] for one in cilium.manifests if one.object["metadata"]["name"] == "web-bypass"]
    assert opened[0]["ingress"][0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}]
    ambient = converted("istio", "istio", home=INJECTED, pods=listed, more=DENY, data_plane="ambient")
    assert [finding.disposition for finding in ambient.findings if finding.code == "MP732"] == ["dropped"]
