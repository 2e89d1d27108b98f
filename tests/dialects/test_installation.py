"""Settings of an installation: values of a chart, a HelmRelease, Cilium's ConfigMap."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, image: users:1, ports: [{containerPort: 8080}]}]}}
"""
VALUES = """
kubeProxyReplacement: true
policyEnforcementMode: always
encryption: {enabled: true, type: wireguard}
hubble: {enabled: true, ui: {enabled: true}, metrics: {enabled: [dns, httpV2]}}
"""
RELEASE = """
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cilium, namespace: kube-system}
spec:
  chart: {spec: {chart: cilium}}
  values: {policyEnforcementMode: always}
"""
AGENT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {enable-policy: always, enable-wireguard: "true"}
"""
LINKERD = """
identityTrustDomain: cluster.local
proxyInit: {skipSubnets: ""}
proxy: {defaultInboundPolicy: deny}
"""


def convert(text: str, source: str, target: str) -> Any:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


@pytest.mark.parametrize("settings", [VALUES, RELEASE, AGENT], ids=["values", "HelmRelease", "ConfigMap"])
def test_enforcement_for_every_pod_is_a_default_of_the_namespace(settings: str) -> None:
    result = convert(settings + WORLD, "cilium", "linkerd")
    (namespace,) = [item.object for item in result.manifests if item.object["kind"] == "Namespace"]
    assert namespace["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "deny"
    assert result.verification.verdict == "equivalent"


def test_what_stays_with_cilium_is_said_once() -> None:
    result = convert(VALUES + WORLD, "cilium", "linkerd")
    (hubble,) = [finding for finding in result.findings if finding.code == "MP854"]
    assert {result.bundle.path(leaf) for leaf in hubble.leaves} == {
        "hubble.enabled",
        "hubble.ui.enabled",
        "hubble.metrics.enabled[0]",
        "hubble.metrics.enabled[1]",
    }
    fates = {line.path: line.disposition for line in result.ledger}
    assert fates["encryption.enabled"] == "irrelevant"  # the network beneath goes on encrypting between nodes
    assert fates["kubeProxyReplacement"] == "irrelevant"  # the network beneath stays Cilium's
    assert result.install["helm_values"]["cilium"] == {"cni": {"exclusive": False}, "socketLB": {"hostNamespaceOnly": True}}


def test_values_are_no_manifest() -> None:
    result = convert(VALUES + WORLD, "cilium", "linkerd")
    assert all(item.object.get("kind") for item in result.manifests)
    assert all(item.get("kind") for item in result.passed_through)


def test_the_default_of_a_linkerd_installation_closes_every_port() -> None:
    result = convert(LINKERD + WORLD.replace("name: shop}", "name: shop, annotations: {linkerd.io/inject: enabled}}"), "linkerd", "istio")
    (policy,) = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert "rules" not in policy["spec"]
    assert result.verification.verdict == "equivalent"


@pytest.mark.parametrize("text", ["replicas: 3\nimage: users:1\n", "encryption: {enabled: true}\npilot: {env: {}}\n"])
def test_values_of_another_chart_are_skipped_and_said(text: str) -> None:
    bundle = meshport.load_text(text)
    assert not bundle.documents
    assert [problem.code for problem in bundle.problems] == ["MP002"]
