"""Namespaces of a mesh's own components: Cilium governs their pods like all others, and as a source it has them enrolled nowhere."""

from __future__ import annotations

import pytest
import yaml

import meshport

VIZ = """
apiVersion: v1
kind: Namespace
metadata: {name: linkerd-viz, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tap, namespace: linkerd-viz}
spec:
  selector: {matchLabels: {app: tap}}
  template:
    metadata: {labels: {app: tap}, annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}}
    spec: {serviceAccountName: tap, containers: [{name: app, image: "tap:1", ports: [{name: http, containerPort: 8080}]}]}
"""


def test_what_is_closed_there_is_closed_under_cilium() -> None:
    result = meshport.convert(meshport.load_text(VIZ), source="linkerd", target="cilium")
    assert [item.object["kind"] for item in result.manifests].count("CiliumNetworkPolicy") == 1
    assert {item.code for item in result.findings} & {"MP900", "MP904"} == set()
    assert result.verification is not None
    assert result.verification.verdict != "widened"


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_default_policies_leave_with_the_other_marks(target: str) -> None:
    result = meshport.convert(meshport.load_text(VIZ), source="linkerd", target=target)
    assert "linkerd.io/" not in yaml.safe_dump(
        [item.object for item in result.manifests if item.object["kind"] in ("Namespace", "Deployment")]
    )


PODS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: "cart:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: metrics, namespace: kube-system}
spec:
  selector: {matchLabels: {app: metrics}}
  template:
    metadata: {labels: {app: metrics}}
    spec: {serviceAccountName: metrics, containers: [{name: app, image: "metrics:1", ports: [{containerPort: 8080}]}]}
---
"""
FROM_CART = """
  ingress:
  - fromEndpoints: [{matchLabels: {app: cart, k8s:io.kubernetes.pod.namespace: shop}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET, path: /a}]}}]
  egress: [{toEntities: [cluster]}]
"""
OWN = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: metrics, namespace: kube-system}
spec:
  endpointSelector: {matchLabels: {app: metrics}}
"""
EVERYWHERE = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: base}
spec:
  endpointSelector: {matchLabels: {}}
"""
KNOWN = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n---\n"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("known", ["", KNOWN])
def test_a_policy_for_pods_that_no_mesh_takes_in_stays_as_it_is(target: str, keep: bool, known: str) -> None:
    """Its HTTP rules were taken out of the copy that is kept, and no proxy says them there: cart might send anything."""
    bundle = meshport.load_text(known + PODS + OWN + FROM_CART)
    result = meshport.convert(bundle, source="cilium", target=target, keep_network_policy=keep)
    written = {(item.object["kind"], item.object["metadata"]["name"]) for item in result.manifests}
    assert not any(kind != "Namespace" for kind, _ in written), written
    assert result.removals == []
    assert not any("kube-system" in item for item in result.install["commands"])
    assert [item.severity for item in result.findings if item.code == "MP272"] == ([] if keep else ["info"])
    assert not {"MP102", "MP200", "MP900"} & {item.code for item in result.findings}


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_policy_for_those_and_others_is_parted(target: str) -> None:
    result = meshport.convert(meshport.load_text(PODS + EVERYWHERE + FROM_CART), source="cilium", target=target)
    policies = {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if "Cilium" in item.object["kind"]}
    assert set(policies) == {"base", "base-outside"}
    inside, outside = (policies[name]["endpointSelector"]["matchExpressions"][0] for name in ("base", "base-outside"))
    assert (inside["operator"], outside["operator"]) == ("NotIn", "In")
    assert inside["values"] == outside["values"]
    assert "kube-system" in inside["values"]
    assert "rules" not in policies["base"]["ingress"][0]["toPorts"][0]
    assert policies["base-outside"]["ingress"][0]["toPorts"][0]["rules"] == {"http": [{"method": "GET", "path": "/a"}]}
    assert not {"MP900", "MP901"} & {item.code for item in result.findings}


def test_one_that_has_to_go_is_named() -> None:
    bundle = meshport.load_text(PODS + EVERYWHERE + FROM_CART)
    found = meshport.convert(bundle, source="cilium", target="istio", keep_network_policy=False).findings
    [said] = [item for item in found if item.code == "MP272"]
    assert (said.severity, [item.workload for item in said.affects]) == ("error", ["metrics"])
    assert "nothing guards them once it is deleted" in said.message


SHOP_ALONE = PODS.split("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: metrics")[0] + "---\n"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_one_of_their_namespaces_stays_as_it_is_where_its_pods_are_not_shown(target: str) -> None:
    result = meshport.convert(meshport.load_text(SHOP_ALONE + OWN + FROM_CART), source="cilium", target=target)
    assert not any("Cilium" in item.object["kind"] for item in result.manifests)
    assert result.removals == []


@pytest.mark.parametrize("world", [SHOP_ALONE, KNOWN])
def test_one_for_everywhere_is_parted_where_none_of_those_pods_is_shown(world: str) -> None:
    """Every cluster has pods in kube-system, and the policy is for them too."""
    result = meshport.convert(meshport.load_text(world + EVERYWHERE + FROM_CART), source="cilium", target="istio")
    names = {item.object["metadata"]["name"] for item in result.manifests if "Cilium" in item.object["kind"]}
    assert names == {"base", "base-outside"}


def test_pods_that_linkerd_takes_in_there_are_closed_and_read_back_as_closed() -> None:
    """Linkerd's webhook passes over kube-system alone; that the policy which closes them does nothing in kube-public was a defect (MP904)."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: kube-public, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny}}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: kube-public, labels: {app: pod}}
spec: {containers: [{name: app, image: a, ports: [{containerPort: 8080}]}]}
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium")
    closed = [item.object["spec"]["ingress"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    assert closed == [[{}]] and not {"MP900", "MP904"} & {finding.code for finding in result.findings}
    assert result.verification is not None and result.verification.verdict == "equivalent"
