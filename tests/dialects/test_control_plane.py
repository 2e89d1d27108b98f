"""Egress rules of network policies, and the control plane that proxies of the target ask before their pods become ready."""

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
metadata: {name: legacy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {serviceAccountName: api, containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: old, namespace: legacy}
spec: {selector: {matchLabels: {app: old}}, template: {metadata: {labels: {app: old}}, spec: {containers: [{name: a, image: "a:1"}]}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""
DNS = "[{ports: [{port: 53, protocol: UDP}]}]"
LINKERD = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: linkerd}}}"
ISTIO = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: istio-system}}}"


def network(egress: str, name: str = "network", namespace: str = "shop") -> dict[str, Any]:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": yaml.safe_load(egress)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def said(policies: list[dict[str, Any]], target: str = "linkerd", source: str = "istio", world: str = WORLD) -> list[Any]:
    bundle = meshport.load_objects([*yaml.safe_load_all(world), *policies])
    return [item for item in meshport.convert(bundle, source=source, target=target).findings if item.code == "MP143"]


def test_a_default_deny_of_egress_that_knows_the_old_control_plane_alone_is_named() -> None:
    (finding,) = said([network("[]", "default-deny"), network(f"[{{to: [{ISTIO}]}}]", "mesh"), network(DNS, "dns")])
    assert finding.severity == "warning"
    assert "shop/default-deny, shop/mesh, shop/dns" in finding.message
    assert "linkerd (8080, 8086, 8090)" in finding.message
    assert [item.namespace for item in finding.affects] == ["shop"]


@pytest.mark.parametrize(
    "egress",
    [
        f"[{{to: [{LINKERD}]}}]",
        f"[{{to: [{LINKERD}], ports: [{{port: 8080}}, {{port: 8086, endPort: 8090}}]}}]",
        "[{to: [{namespaceSelector: {}}]}]",
        "[{}]",
        "[{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]",
    ],
)
def test_what_lets_proxies_reach_it_is_silent_beside_a_default_deny(egress: str) -> None:
    assert said([network("[]", "default-deny"), network(egress, "mesh")]) == []


@pytest.mark.parametrize("egress", [f"[{{to: [{LINKERD}], ports: [{{port: 8086}}]}}]", "[{to: [{podSelector: {}}]}]"])
def test_some_of_its_ports_or_another_namespace_are_not_enough(egress: str) -> None:
    assert len(said([network(egress)])) == 1


def test_pods_that_stay_outside_and_meshes_without_proxies_in_pods_need_none() -> None:
    assert said([network("[]", namespace="legacy")]) == []
    assert said([network("[]")], "cilium") == []


def test_an_egress_rule_of_cilium_to_istiod_answers_the_finding() -> None:
    """It stayed whatever the user did about it."""
    world = WORLD.replace(", labels: {istio-injection: enabled}", "").partition("---\napiVersion: security")[0]
    rule = {"toEndpoints": [{"matchLabels": {"app": "db"}}]}
    istiod = {
        "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "istio-system"}}],
        "toPorts": [{"ports": [{"port": "15012", "protocol": "TCP"}]}],
    }
    spec = {"endpointSelector": {"matchLabels": {"app": "api"}}, "egress": [rule]}
    policy = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "api", "namespace": "shop"}, "spec": spec}
    assert len(said([policy], "istio", "cilium", world)) == 1
    assert said([policy | {"spec": spec | {"egress": [rule, istiod]}}], "istio", "cilium", world) == []
    assert said([policy | {"spec": spec | {"enableDefaultDeny": {"egress": False}}}], "istio", "cilium", world) == []
    assert len(said([network(DNS)], "istio", "cilium", world)) == 1  # of Kubernetes, beside those of Cilium
