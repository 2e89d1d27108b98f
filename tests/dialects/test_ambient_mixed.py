"""Meshes half-way to ambient: one policy over pods with a sidecar and pods with ztunnel holds at each what its proxy knows of it."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

DEFECTS = {"MP900", "MP901", "MP902", "MP904"}


def workload(namespace: str, name: str, labels: str = "") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{labels}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: app, ports: [{{name: http, containerPort: 8080}}]}}]}}
---"""


def namespace(name: str, labels: str) -> str:
    return f"\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---"


SIDECARS, AMBIENT = "istio-injection: enabled", "istio.io/dataplane-mode: ambient"
WORLD = namespace("shop", SIDECARS) + namespace("pay", AMBIENT) + workload("shop", "web") + workload("pay", "pay")


def policy(home: str, action: str, rules: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: all, namespace: {home}}}
spec: {{action: {action}, rules: [{rules}]}}
"""


FROM_SHOP = "{from: [{source: {namespaces: [shop]}}]"
GET = FROM_SHOP + ", to: [{operation: {methods: [GET]}}]}"


def convert(text: str, target: str = "istio", data_plane: str | None = None) -> meshport.Result:
    result = meshport.convert(meshport.load_text(text), source="istio", target=target, data_plane=data_plane)
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []
    return result


def made(result: meshport.Result, kind: str = "AuthorizationPolicy") -> dict[tuple[str, str], Any]:
    return {
        (item.object["metadata"].get("namespace", ""), item.object["metadata"]["name"]): item.object
        for item in result.manifests
        if item.object["kind"] == kind
    }


@pytest.mark.parametrize("data_plane", ["ambient", "sidecar"])
def test_an_allow_by_method_goes_on_holding_where_a_sidecar_saw_methods(data_plane: str) -> None:
    result = convert(WORLD + policy("istio-system", "ALLOW", GET), data_plane=data_plane)
    assert result.verification.verdict in ("equivalent", "narrowed")
    asking = [key for key, obj in made(result).items() if any("methods" in str(rule) for rule in obj["spec"].get("rules", ()))]
    assert [home for home, _ in asking] == ["shop"]
    assert not any(finding.effect == "widens" for finding in result.findings)


def test_what_ztunnel_makes_of_an_allow_stays_in_force_for_its_pods_when_the_document_goes_to_a_waypoint() -> None:
    both = WORLD + workload("shop", "old", f", sidecar.istio.io/inject: 'false', {AMBIENT}")
    result = convert(both + policy("shop", "ALLOW", f"{FROM_SHOP}}}, {GET}"), data_plane="ambient")
    assert result.verification.verdict in ("equivalent", "narrowed")
    assert made(result)["shop", "all"]["spec"]["targetRefs"][0]["name"] == "web"
    own = made(result)["shop", "all-ztunnel-old"]["spec"]
    assert own["selector"] == {"matchLabels": {"app": "old"}} and own["rules"] == [{"from": [{"source": {"namespaces": ["shop"]}}]}]


def test_a_deny_by_method_is_not_lost_with_ztunnel() -> None:
    """ztunnel enforces nothing of it, so that its document leaves; the pods with a sidecar need it as before."""
    result = convert(WORLD + policy("istio-system", "DENY", GET), data_plane="sidecar")
    assert result.verification.verdict == "equivalent"
    assert [item["name"] for item in result.removals] == ["all"]
    left = made(result)["shop", "all"]["spec"]
    assert left["action"] == "DENY" and left["rules"] == [
        {"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"methods": ["GET"]}}]}
    ]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_an_allow_by_method_reaches_another_mesh_for_pods_with_a_sidecar(target: str) -> None:
    result = convert(WORLD + policy("istio-system", "ALLOW", GET), target)
    assert any("GET" in str(item.object) for item in result.manifests)


@pytest.mark.parametrize("mode", ["none", "ambient"])
def test_a_sidecar_comes_before_what_the_pod_says_of_ambient(mode: str) -> None:
    text = namespace("shop", SIDECARS) + workload("shop", "web", f", istio.io/dataplane-mode: {mode}") + policy("shop", "ALLOW", GET)
    result = convert(text, data_plane="ambient")
    assert made(result)["shop", "all"]["spec"]["targetRefs"][0]["name"] == "web"
    labels = made(result, "Deployment")["shop", "web"]["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "web"}  # the namespace enrols it
    result = convert(text, "linkerd")
    assert "GET" in str([item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"])


def test_of_a_namespace_with_both_labels_the_pods_without_a_sidecar_are_in_ambient() -> None:
    text = namespace("shop", f"{SIDECARS}, {AMBIENT}") + workload("shop", "web", ", sidecar.istio.io/inject: 'false'")
    result = convert(text + policy("shop", "ALLOW", GET), "linkerd")
    assert "MP241" in {finding.code for finding in result.findings}  # ztunnel sees no methods
    result = convert(text + policy("shop", "ALLOW", FROM_SHOP + "}"), data_plane="sidecar")
    assert made(result, "Namespace")["", "shop"]["metadata"]["labels"] == {"istio-injection": "enabled"}
    assert made(result, "Deployment")["shop", "web"]["spec"]["template"]["metadata"]["labels"] == {"app": "web"}


def test_pods_with_ztunnel_take_names_under_disable_and_those_with_a_sidecar_none() -> None:
    disabled = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mesh, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---"""
    by_name = policy("istio-system", "ALLOW", "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}")
    result = convert(WORLD + disabled + by_name, "cilium")
    assert result.verification.differences == []
    account = {"k8s:io.kubernetes.pod.namespace": "shop", "k8s:io.cilium.k8s.policy.serviceaccount": "web"}
    letting = {home for (home, _), obj in made(result, "CiliumNetworkPolicy").items() if str(account) in str(obj)}
    assert letting == {"pay"}


def test_ports_that_go_past_a_proxy_which_pods_do_not_have_are_nothing_to_linkerd() -> None:
    left_out = namespace("shop", SIDECARS) + workload("shop", "web", ", sidecar.istio.io/inject: 'false'")
    text = left_out.replace(
        "template:\n    metadata: {", "template:\n    metadata: {annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '9090'}, "
    )
    assert "annotations" in text
    convert(text, "linkerd")


@pytest.mark.parametrize("by_pod", [False, True])
def test_a_mark_against_sidecars_in_ambient_stays_and_installs_nothing(by_pod: bool) -> None:
    mode = f", {AMBIENT}" if by_pod else ""
    text = namespace("shop", "a: b" if by_pod else AMBIENT) + workload("shop", "web", f", sidecar.istio.io/inject: 'false'{mode}")
    result = convert(text, data_plane="ambient")
    assert result.install["helm_values"]["istiod"] == {"profile": "ambient"} and not result.manifests
    (line,) = [line for line in result.ledger if "inject" in line.path]
    assert line.disposition == ("installed" if by_pod else "translated")  # both labels together take the pod in
    if not by_pod:
        assert line.reason == "the pod stays without a sidecar, and ztunnel before it" and not line.outputs
