"""Labels and annotations that no mesh reads: whose an object is, how DNS is made for it, in which order it is applied."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop, MARKS}
spec: {hosts: [web], http: [{timeout: 3s, route: [{destination: {host: web}}]}]}
---
"""
GATE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop, MARKS}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}
---
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop, MARKS}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/NAME]}}]}]}
---
"""


def written(text: str, target: str, kind: str) -> list[dict[str, Any]]:
    result = meshport.convert(meshport.load_text(WORLD + text), source="istio", target=target)
    return [item.object["metadata"] for item in result.manifests if item.object["kind"] == kind]


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_they_go_over_to_the_routes_and_the_ledger_says_so(target: str) -> None:
    marks = "labels: {team: a}, annotations: {argocd.argoproj.io/sync-wave: '3'}"
    (made,) = written(ROUTE.replace("MARKS", marks), target, "HTTPRoute")
    assert (made["labels"], made["annotations"]["argocd.argoproj.io/sync-wave"]) == ({"team": "a"}, "3")
    result = meshport.convert(meshport.load_text(WORLD + ROUTE.replace("MARKS", marks)), source="istio", target=target)
    lines = [line for line in result.ledger if line.path.startswith(("metadata.labels.team", "metadata.annotations"))]
    assert [line.disposition for line in lines] == ["translated", "translated"]


@pytest.mark.parametrize(
    "marks",
    [
        "labels: {app.kubernetes.io/instance: shop, app.kubernetes.io/managed-by: Helm, kustomize.toolkit.fluxcd.io/name: apps}",
        "annotations: {meta.helm.sh/release-name: shop, argocd.argoproj.io/tracking-id: x, kubectl.kubernetes.io/last-applied-configuration: x}",
        "labels: {operator.istio.io/component: Pilot}",
    ],
)
def test_what_tells_a_tool_its_own_objects_stays_behind(marks: str) -> None:
    (made,) = written(ROUTE.replace("MARKS", marks), "linkerd", "HTTPRoute")
    assert not {"labels", "annotations"} & made.keys()


def test_the_labels_of_a_gateway_would_come_to_its_pods() -> None:
    marks = "labels: {app: web}, annotations: {external-dns.alpha.kubernetes.io/target: lb.example.com}"
    (made,) = written(GATE.replace("MARKS", marks), "cilium", "Gateway")
    assert "labels" not in made
    assert made["annotations"] == {"external-dns.alpha.kubernetes.io/target": "lb.example.com"}


def test_what_was_made_of_two_policies_has_what_both_have() -> None:
    one = POLICY.replace("NAME", "front").replace("MARKS", "labels: {team: a, tier: one}")
    other = POLICY.replace("NAME", "back").replace("MARKS", "labels: {team: a, tier: two}")
    (server,) = written(one + other, "linkerd", "Server")
    assert server["labels"] == {"team": "a"}
