"""What no cluster reads any more, and what a controller writes: both are named, and neither becomes a copy."""

from __future__ import annotations

import pytest

import meshport

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n---\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n---\n"
OWNED = "ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: a, controller: true}]"


@pytest.mark.parametrize(
    ("api", "kind", "successor"),
    [
        ("authentication.istio.io/v1alpha1", "Policy", "PeerAuthentication"),
        ("authentication.istio.io/v1alpha1", "MeshPolicy", "PeerAuthentication"),
        ("rbac.istio.io/v1alpha1", "ServiceRole", "AuthorizationPolicy"),
        ("rbac.istio.io/v1alpha1", "ClusterRbacConfig", "AuthorizationPolicy"),
        ("config.istio.io/v1alpha2", "handler", "Telemetry"),
        ("config.istio.io/v1alpha2", "QuotaSpec", "EnvoyFilter"),
    ],
)
def test_a_kind_of_a_group_that_is_gone_names_its_successor(api: str, kind: str, successor: str) -> None:
    text = NAMESPACE + f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: x, namespace: shop}}\nspec: {{a: b}}\n"
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    found = [item for item in result.findings if item.code == "MP010"]
    assert len(found) == 1 and successor in found[0].message and "delete it" in found[0].remedy.replace("the object", "it")
    assert result.ledger.counts["unaccounted"] == 0


def route(owner: str) -> str:
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop, {owner}}}
spec: {{hosts: [web], http: [{{timeout: 3s, route: [{{destination: {{host: web}}}}]}}]}}
"""


def test_a_route_that_a_controller_writes_is_left_to_its_owner() -> None:
    result = meshport.convert(meshport.load_text(NAMESPACE + SERVICE + route(OWNED)), source="istio", target="linkerd")
    assert not [item for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    found = [item for item in result.findings if item.code == "MP742"]
    assert [item.severity for item in found] == ["warning"] and "Canary web" in found[0].message
    assert ("VirtualService", "web") not in {(item["kind"], item["name"]) for item in result.removals}
    assert result.ledger.counts["unaccounted"] == 0


def test_a_policy_is_converted_whoever_wrote_it() -> None:
    policy = f"""apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: closed, namespace: shop, {OWNED}}}
spec: {{}}
"""
    result = meshport.convert(meshport.load_text(NAMESPACE + policy), source="istio", target="linkerd")
    home = next(item.object for item in result.manifests if item.object["kind"] == "Namespace")
    assert home["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "deny"
    assert not [item for item in result.findings if item.code == "MP742"]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_marks_of_what_a_controller_deploys_are_its_own(target: str) -> None:
    """The pods of a Gateway are not taken into the mesh or out of it by hand: their Deployment is written anew with the Gateway."""
    text = (
        NAMESPACE
        + SERVICE
        + """apiVersion: apps/v1
kind: Deployment
metadata:
  name: edge-istio
  namespace: shop
  ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: edge, uid: a}]
spec:
  selector: {matchLabels: {app: edge}}
  template:
    metadata: {labels: {app: edge, sidecar.istio.io/inject: "false", istio.io/dataplane-mode: none}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
"""
    )
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    assert "MP902" not in {item.code for item in result.findings}
    assert "Deployment" not in {item.object["kind"] for item in result.manifests}
    (line,) = [line for line in result.ledger if "dataplane-mode" in line.path]
    assert line.disposition == "irrelevant"


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_who_may_call_a_part_of_the_mesh_that_leaves_is_no_question(target: str) -> None:
    text = (
        NAMESPACE
        + """apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: shop, labels: {app: edge}}
spec: {containers: [{image: proxyv2, name: istio-proxy}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {selector: {matchLabels: {app: edge}}}
"""
    )
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    assert {item.code for item in result.findings} & {"MP900", "MP904"} == set()
    assert result.verification is not None and result.verification.verdict in ("equivalent", "inconclusive")
