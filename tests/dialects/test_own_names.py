"""Policies of the target that stand in the input stay, whatever the policies that are written are called."""

from __future__ import annotations

from typing import Any

import meshport


def world(mark: str) -> str:
    pods = "".join(
        f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: a, ports: [{{name: http, containerPort: 8080}}]}}]}}
"""
        for name in ("pay", "web")
    )
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, {mark}}}\n{pods}"


ISTIO = world("labels: {istio-injection: enabled}")
LINKERD = world("annotations: {linkerd.io/inject: enabled}")
LET_IN = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""
OF_CILIUM = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: pay, namespace: shop}
%s
"""
CLOSED = "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{matchLabels: {app: pay}}]}]}"
SERVER = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: pay-8080, namespace: shop}
spec: {podSelector: {matchLabels: {app: %s}}, port: 8080, accessPolicy: deny}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: pay-8080}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""
REFUSE = LET_IN.replace("app: pay", "app: web").replace("spec: {", "spec: {action: DENY, ")


def written(text: str, source: str, target: str, kind: str) -> list[Any]:
    result = meshport.convert(meshport.load_text(text), source=source, target=target)
    assert not [one for one in result.findings if one.code in ("MP900", "MP901", "MP904")]
    return [item.object for item in result.manifests if item.object["kind"] == kind]


def test_a_policy_of_cilium_for_other_pods_is_not_written_over() -> None:
    """Applied, `pay` opened the pods of web, and nothing said so."""
    for said in (f"spec: {CLOSED}", f"specs: [{CLOSED}]"):
        (made,) = written(ISTIO + LET_IN + OF_CILIUM % said, "istio", "cilium", "CiliumNetworkPolicy")
        assert (made["metadata"]["name"], made["spec"]["endpointSelector"]) == ("pay-2", {"matchLabels": {"app": "pay"}})
        assert "specs" not in made


def test_a_server_for_other_pods_is_not_written_over() -> None:
    text = ISTIO + LET_IN + SERVER % "web"
    (server,) = written(text, "istio", "linkerd", "Server")
    (policy,) = written(text, "istio", "linkerd", "AuthorizationPolicy")
    assert server["metadata"]["name"] == policy["spec"]["targetRef"]["name"] == "pay-8080-2"


def test_a_policy_of_istio_for_other_pods_is_not_written_over() -> None:
    (made,) = written(LINKERD + SERVER % "pay" + REFUSE, "linkerd", "istio", "AuthorizationPolicy")
    assert made["metadata"]["name"] == "pay-2"


def test_what_says_the_same_keeps_its_name() -> None:
    """As in a cluster where the output of an earlier run stands; to Cilium, where policies add up, two say together what one said."""
    (made,) = written(LINKERD + SERVER % "pay", "linkerd", "istio", "AuthorizationPolicy")
    (again,) = written(LINKERD + SERVER % "pay" + f"---\n{made}", "linkerd", "istio", "AuthorizationPolicy")
    assert again["metadata"]["name"] == "pay"
    (made,) = written(ISTIO + LET_IN, "istio", "cilium", "CiliumNetworkPolicy")
    again = written(ISTIO + LET_IN + f"---\n{made}", "istio", "cilium", "CiliumNetworkPolicy")
    assert made["spec"]["ingress"] in [one["spec"]["ingress"] for one in again]
