"""One namespace of several is converted: what crosses the border between the meshes until the others have moved."""

from __future__ import annotations

import pytest

from meshport import convert, load_text

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: billing, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: data, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}
"""
WORKLOAD = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: HOME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      serviceAccountName: NAME
      containers: [{name: main, image: "main:1", ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: HOME}
spec: {selector: {app: NAME}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
ISTIO = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: HOME}
spec:
  selector: {matchLabels: {app: NAME}}
  rules: [{from: [{source: {principals: [cluster.local/ns/THERE/sa/CALLER]}}]}]
"""
CILIUM = """
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: NAME, namespace: HOME}
spec:
  endpointSelector: {matchLabels: {app: NAME}}
  ingress:
  - fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: THERE, k8s:app: CALLER}}]
"""
LINKERD = """
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: NAME, namespace: HOME}
spec: {podSelector: {matchLabels: {app: NAME}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: HOME}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: NAME}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: CALLER, namespace: THERE}]
"""
CALLERS = [("billing", "billing", "shop", "web"), ("db", "data", "billing", "billing")]
IN = "shop/web to billing/billing port 8080"
OUT = "billing/billing to data/db port 8080"


def bundle(mesh: str, policy: str, more: str = "") -> str:
    other = {"istio": "annotations: {linkerd.io/inject: enabled}", "linkerd": "labels: {istio-injection: enabled}"}.get(mesh)
    world = WORLD if other is None else WORLD.replace(f", {other}", "").replace(f"{other}, ", "")
    if mesh == "cilium":
        world = WORLD.replace(", labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}", "")
    listed = [
        WORKLOAD.replace("NAME", name).replace("HOME", home) for name, home in (("web", "shop"), ("billing", "billing"), ("db", "data"))
    ]
    rules = [
        policy.replace("NAME", name).replace("HOME", home).replace("THERE", there).replace("CALLER", caller)
        for name, home, there, caller in CALLERS
    ]
    return world + "".join(listed + rules) + more


def crossing(text: str, source: str, target: str, *namespaces: str, **options: object) -> list[str]:
    result = convert(load_text(text), source=source, target=target, namespaces=namespaces, **options)
    return [finding.message for finding in result.findings if finding.code == "MP144"]


@pytest.mark.parametrize(
    ("source", "policy", "target", "refused"),
    [
        ("istio", ISTIO, "linkerd", (IN, OUT)),
        ("linkerd", LINKERD, "istio", (IN, OUT)),
        ("istio", ISTIO, "cilium", (OUT,)),  # Cilium knows the pods of callers by their labels, whatever proxy they have
        ("linkerd", LINKERD, "cilium", (OUT,)),
        ("cilium", CILIUM, "istio", (IN,)),
        ("cilium", CILIUM, "linkerd", (IN,)),
    ],
)
def test_calls_by_identity_across_the_border_are_named(source: str, policy: str, target: str, refused: tuple[str, ...]) -> None:
    (said,) = crossing(bundle(source, policy), source, target, "billing")
    assert said.startswith(f"{len(refused)} call(s) are refused")
    assert [call for call in (IN, OUT) if call in said] == list(refused)


def test_both_ends_together_and_the_whole_mesh_cross_nothing() -> None:
    text = bundle("istio", ISTIO)
    assert crossing(text, "istio", "linkerd", "shop", "billing", "data") == []
    assert crossing(text, "istio", "linkerd") == []
    assert OUT not in crossing(text, "istio", "linkerd", "billing", "data")[0]


def test_identities_hold_between_the_data_planes_of_one_mesh() -> None:
    assert crossing(bundle("istio", ISTIO), "istio", "istio", "billing", data_plane="ambient") == []


def test_where_everybody_is_let_in_nobody_is_refused() -> None:
    assert crossing(bundle("istio", ""), "istio", "linkerd", "billing") == []


def test_strict_refuses_whoever_has_moved() -> None:
    strict = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: data}
spec: {mtls: {mode: STRICT}}
"""
    (said,) = crossing(bundle("istio", "", strict), "istio", "linkerd", "billing")
    assert "any workload of the other mesh to data/db port 8080" in said
