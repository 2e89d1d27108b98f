"""Rules for requests at pods that the bundle does not show, onto Cilium: the Services before them say on which ports they are read."""

from __future__ import annotations

from typing import Any

import meshport

POLICIES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: admin}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/web/sa/front]}}]
    to: [{operation: {methods: [GET], paths: [/items]}}]
"""


def converted(text: str) -> tuple[list[dict[str, Any]], Any]:
    result = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    return [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"], result


def test_requests_are_read_on_the_ports_of_the_service() -> None:
    (spec,), result = converted(POLICIES)
    (rule,) = spec["ingress"]
    assert rule["fromEndpoints"] == [
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "web", "k8s:io.cilium.k8s.policy.serviceaccount": "front"}}
    ]
    assert rule["toPorts"] == [
        {
            "ports": [{"port": "8080", "protocol": "TCP"}, {"port": "admin", "protocol": "TCP"}],
            "rules": {"http": [{"method": "GET", "path": r"/items(\?.*)?"}]},
        }
    ]
    codes = {finding.code for finding in result.findings}
    (said,) = [finding for finding in result.findings if finding.code == "MP280"]
    assert (said.severity, [(place.namespace, place.workload) for place in said.affects]) == ("warning", [("shop", "app=pay")])
    assert "(8080, admin)" in said.message and "MP286" not in codes


def test_on_a_port_for_bytes_a_rule_for_requests_lets_nobody_in() -> None:
    specs, _ = converted(POLICIES.replace("{name: http, port: 80", "{name: tcp, port: 80"))
    ports = {port["port"] for spec in specs for rule in spec["ingress"] for entry in rule.get("toPorts", ()) for port in entry["ports"]}
    assert "8080" not in ports


def test_without_a_service_the_pods_are_closed() -> None:
    specs, result = converted(POLICIES.replace("selector: {app: pay}, ports", "selector: {app: other}, ports"))
    assert not any("toPorts" in rule for spec in specs for rule in spec["ingress"])
    assert "MP286" in {finding.code for finding in result.findings}


def test_a_server_by_name_in_a_namespace_that_is_closed_loses_nothing() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny}}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: pay, namespace: shop}
spec: {podSelector: {matchLabels: {app: pay}}, port: http}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: pay}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    assert "MP291" not in {finding.code for finding in result.findings}
    other = meshport.convert(meshport.load_text(text), source="linkerd", target="istio")
    assert other.verification is not None and other.verification.verdict == "inconclusive"  # the name has a number that nothing shows


def test_without_a_service_a_rule_for_requests_is_said_to_be_left_out_and_others_stay() -> None:
    rules = POLICIES.replace("selector: {app: pay}", "selector: {app: other}") + "  - from: [{source: {namespaces: [shop]}}]\n"
    (spec,), result = converted(rules)
    assert spec["ingress"] == [{"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}}]}]
    (said,) = [finding for finding in result.findings if finding.code == "MP286"]
    assert [(place.namespace, place.workload) for place in said.affects] == [("shop", "app=pay")]
    assert "MP280" not in {finding.code for finding in result.findings}
