"""NetworkPolicies of Kubernetes beside a mesh: a request passes both. Under Cilium all are the network's and add up, so that one policy says what both let in."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {istio-injection: enabled, team: ops}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [
  {name: a, image: "a:1", ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe, namespace: ops}
spec: {selector: {matchLabels: {app: probe}}, template: {metadata: {labels: {app: probe}}, spec: {serviceAccountName: probe, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - from: [{source: {namespaces: [shop, ops]}}]
    to: [{operation: {methods: [GET], ports: ["8080", "9090"]}}]
"""
BESIDE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: network, namespace: shop}
spec:
  podSelector: %s
  ingress: %s
"""


def converted(ingress: str, pods: str = "{matchLabels: {app: api}}") -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """The policies of Cilium and of Kubernetes after the conversion, by name; and the findings."""
    objects = [*yaml.safe_load_all(WORLD), yaml.safe_load(BESIDE % (pods, ingress))]
    result = meshport.convert(meshport.load_objects(objects), source="istio", target="cilium")
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP904")]
    assert result.ledger.counts["unaccounted"] == 0
    found: list[dict[str, Any]] = [
        {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == kind}
        for kind in ("CiliumNetworkPolicy", "NetworkPolicy")
    ]
    return found[0], found[1], result.findings


def test_what_both_let_in_is_one_policy_and_the_other_closes_alone() -> None:
    written, beside, findings = converted("[{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]")
    (rule,) = written["api"]["ingress"]
    (peer,) = rule["fromEndpoints"]
    assert peer["matchLabels"]["k8s:app"] == "web"
    assert peer["matchLabels"]["k8s:io.kubernetes.pod.namespace"] == "shop"
    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{"method": "GET"}]}}]
    assert beside["network"]["ingress"] == []
    (told,) = [item for item in findings if item.code == "MP177"]
    assert [(one.namespace, one.workload) for one in told.affects] == [("shop", "api")]


@pytest.mark.parametrize("ingress", ["[]", "[{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]", "[{ports: [{port: 7000}]}]"])
def test_where_they_let_in_nothing_in_common_nothing_is_let_in(ingress: str) -> None:
    written, beside, _ = converted(ingress)
    assert written["api"]["ingress"] == [{}]
    assert beside.get("network", {}).get("ingress", []) == []


def test_peers_of_other_namespaces_are_joined_by_labels_of_namespaces() -> None:
    written, _, _ = converted("[{from: [{namespaceSelector: {matchLabels: {team: ops}}}]}]")
    (rule,) = written["api"]["ingress"]
    (peer,) = rule["fromEndpoints"]
    assert peer["matchLabels"] == {"k8s:io.cilium.k8s.namespace.labels.team": "ops"}
    assert {"key": "k8s:io.kubernetes.pod.namespace", "operator": "In", "values": ["ops", "shop"]} in peer["matchExpressions"]


def test_pods_that_the_mesh_leaves_open_keep_their_network_policy() -> None:
    ingress = "[{from: [{podSelector: {}}]}]"
    _, beside, _ = converted(ingress, "{}")
    assert beside["network"]["ingress"] == []
    assert beside["network-web"] == {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": yaml.safe_load(ingress),
    }
    written, beside, findings = converted(ingress, "{matchLabels: {app: web}}")
    assert not beside
    assert "MP177" not in {item.code for item in findings}
    assert written["api"]["ingress"][0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}, {"port": "9090", "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("pods", "ingress", "where"),
    [
        ("{matchLabels: [app]}", "[]", "spec.podSelector.matchLabels"),
        ("{matchExpressions: [{operator: Exists}]}", "[]", "spec.podSelector.matchExpressions.0.key"),
        ("{}", "[{from: [{ipBlock: {cidr: 10.0.0.0/40}}]}]", "spec.ingress.0.from.0.ipBlock.cidr"),
        ("{}", "[{ports: [{port: 80, endPort: x}]}]", "spec.ingress.0.ports.0.endPort"),
        ("{}", "everybody", "spec.ingress"),
    ],
)
def test_one_that_no_api_server_takes_restricts_nothing(pods: str, ingress: str, where: str) -> None:
    written, beside, findings = converted(ingress, pods)
    (told,) = [item for item in findings if item.code == "MP015"]
    assert "NetworkPolicy shop/network" in told.message and f"{where}: " in told.message
    assert not beside and written["api"]["ingress"] != [{}]
