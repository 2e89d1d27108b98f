"""Ports that a Service gives by name, of pods that the bundle does not show: a Linkerd Server may name them the same way."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

POLICIES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: grpc, port: 80, targetPort: api}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""


def servers(text: str) -> tuple[dict[str, Any], Any]:
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    return {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "Server"}, result


def test_a_server_names_the_port_as_the_service_does() -> None:
    made, result = servers(POLICIES)
    assert made == {
        "pay-api": {"podSelector": {"matchLabels": {"app": "pay"}}, "port": "api", "proxyProtocol": "HTTP/2", "accessPolicy": "deny"}
    }
    grants = [
        item.object["spec"]["requiredAuthenticationRefs"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"
    ]
    assert grants == [[{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]]
    (said,) = [finding for finding in result.findings if finding.code == "MP164"]
    assert "(api)" in said.message and [(place.workload, place.port) for place in said.affects] == [("app=pay", None)]


@pytest.mark.parametrize(
    "asked",
    [
        "action: DENY, rules: [{to: [{operation: {ports: ['8080']}}]}]",
        "rules: [{to: [{operation: {notPorts: ['8080']}}]}]",
    ],
)
def test_a_port_that_may_have_a_number_that_is_refused_stays_closed(asked: str) -> None:
    more = f"---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: more, namespace: shop}}\nspec: {{selector: {{matchLabels: {{app: pay}}}}, {asked}}}\n"
    made, _ = servers(POLICIES + more)
    assert "api" not in {spec["port"] for spec in made.values()}


def test_a_rule_for_another_port_admits_nobody_there() -> None:
    made, result = servers(POLICIES.replace("web]}}]}]}", "web]}}], to: [{operation: {ports: ['9090']}}]}]}"))
    assert "pay-9090" in made
    targets = {item.object["spec"]["targetRef"]["name"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"}
    assert targets == {"pay-9090"}


OF_CILIUM = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: grpc, port: 80, targetPort: api}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: pay, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: pay}}
  ingress:
  - fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: web, io.kubernetes.pod.namespace: shop}}]
    toPorts: [{ports: [{port: api, protocol: TCP}]}]
"""


def test_a_rule_that_names_the_port_too_admits_there_by_its_name() -> None:
    result = meshport.convert(meshport.load_text(OF_CILIUM), source="cilium", target="linkerd", keep_network_policy=False)
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    ports = {item.object["metadata"]["name"]: item.object["spec"]["port"] for item in result.manifests if item.object["kind"] == "Server"}
    targets = [item.object["spec"]["targetRef"]["name"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert ports == {"pay-api": "api"} and targets == ["pay-api"]
