"""Labels that come and go with a mesh: pods are not told apart by them, and one of Linkerd's keeps its injector away."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

Obj = dict[str, Any]


def pods(name: str, labels: str, namespace: str = "shop", notes: str = "{}") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{tier: {name}}}}}
  template:
    metadata: {{labels: {{tier: {name}{labels}}}, annotations: {notes}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: "app:1", ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{tier: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""


def converted(text: str, source: str, target: str, **options: Any) -> Result:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert not [item.message for item in result.findings if item.code in ("MP900", "MP901", "MP902", "MP904")]
    return result


def of_kind(result: Result, kind: str) -> list[Obj]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


ADMITS = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: shop}
spec: {rules: [{from: [{source: {namespaces: [shop]}}]}]}
"""


@pytest.mark.parametrize(
    ("target", "kind", "field"), [("cilium", "CiliumNetworkPolicy", "endpointSelector"), ("linkerd", "Server", "podSelector")]
)
def test_a_policy_does_not_select_by_a_label_that_is_taken_off_the_pod(target: str, kind: str, field: str) -> None:
    """One that did would select nobody once the pod has left its mesh, and leave it open."""
    world = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    result = converted(
        world + pods("web", ', istio.io/rev: stable, sidecar.istio.io/inject: "true"') + pods("cart", "") + ADMITS, "istio", target
    )
    policy, *closed = of_kind(result, kind)
    (web,) = of_kind(result, "Deployment")
    assert policy["spec"][field] == {"matchLabels": {"tier": "web"}}
    others = [item["spec"]["endpointSelector"]["matchExpressions"] for item in closed]  # pods that are not shown may be injected too
    assert others == [[{"key": "tier", "operator": "NotIn", "values": ["cart", "web"]}]] * (target == "cilium")
    assert all(item["spec"]["ingress"] == policy["spec"]["ingress"] for item in closed)
    assert web["spec"]["template"]["metadata"]["labels"] == {"tier": "web"}


def test_what_an_annotation_says_is_said_of_the_pods_by_their_own_labels() -> None:
    injected = ", linkerd.io/control-plane-ns: linkerd, linkerd.io/proxy-deployment: web, linkerd.io/workload-ns: shop"
    result = converted(
        pods("web", injected, notes="{linkerd.io/inject: enabled, config.linkerd.io/access-log: apache}"), "linkerd", "istio"
    )
    (telemetry,) = of_kind(result, "Telemetry")
    assert telemetry["spec"]["selector"] == {"matchLabels": {"tier": "web"}}


def test_the_pods_of_a_gateway_have_no_labels_but_those_of_its_controller() -> None:
    text = pods("door", ', istio.io/dataplane-mode: none, sidecar.istio.io/inject: "false"').replace(
        "tier: door", "gateway.networking.k8s.io/gateway-name: door"
    )
    result = converted(
        text + ADMITS.replace("{rules", "{selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: door}}, rules"),
        "istio",
        "cilium",
    )
    assert {str(item["spec"]["endpointSelector"]) for item in of_kind(result, "CiliumNetworkPolicy")} <= {
        "{'matchLabels': {'gateway.networking.k8s.io/gateway-name': 'door'}}"
    }


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_linkerd_injects_nobody_where_its_webhooks_are_not_asked(target: str) -> None:
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {config.linkerd.io/admission-webhooks: disabled}, annotations: %s}\n"
    policy = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {tier: web}}, port: 8080}
"""
    for said in ("{linkerd.io/inject: enabled}", "{}"):
        result = converted(home % said + pods("web", "", notes="{linkerd.io/inject: enabled}") + policy, "linkerd", target)
        if target == "cilium":  # what is not in the mesh is left alone
            assert result.manifests == []
            continue
        assert {item.object["kind"] for item in result.manifests} == {"Namespace", "Deployment"}
        assert [item["metadata"] for item in of_kind(result, "Namespace")] == [{"name": "shop"}] or said == "{}"
        assert "istio" not in result.text()


@pytest.mark.parametrize("target", ["cilium", "linkerd"])
@pytest.mark.parametrize(
    "caller", ["principals: [cluster.local/ns/Shop/sa/web]", "principals: ['cluster.local/ns/shop/sa/we_b']", "namespaces: ['shop[0]']"]
)
def test_who_can_have_no_such_name_is_let_in_by_no_label(target: str, caller: str) -> None:
    world = (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n" + pods("web", "") + pods("cart", "")
    )
    result = converted(world + ADMITS.replace("namespaces: [shop]", caller), "istio", target)
    assert any(item.disposition == "dropped" for item in result.findings)
    for policy in of_kind(result, "CiliumNetworkPolicy"):
        assert policy["spec"]["ingress"] in ([], [{}])
    assert not of_kind(result, "MeshTLSAuthentication")


# -- network policies that select by them

SPACES = """---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: jobs, labels: {team: jobs}}
"""
OUTSIDE = ', sidecar.istio.io/inject: "false"'


def policy(spec: str, kind: str = "networking.k8s.io/v1, kind: NetworkPolicy") -> str:
    return f"---\n{{apiVersion: {kind}, metadata: {{name: web, namespace: shop}}, spec: {{{spec}}}}}\n"


def test_a_label_that_keeps_pods_out_of_the_mesh_stays_under_cilium() -> None:
    text = SPACES + pods("web", OUTSIDE) + policy('podSelector: {matchLabels: {sidecar.istio.io/inject: "false"}}, policyTypes: [Ingress]')
    result = converted(text, "istio", "cilium")
    assert {item.object["kind"] for item in result.manifests} == {"Namespace"}
    assert not [item for item in result.findings if item.code in ("MP192", "MP193")]


@pytest.mark.parametrize("target", ["linkerd"])
@pytest.mark.parametrize(
    "selector", ['matchLabels: {sidecar.istio.io/inject: "false"}', "matchExpressions: [{key: sidecar.istio.io/inject, operator: Exists}]"]
)
def test_a_network_policy_goes_on_selecting_pods_by_a_label_that_leaves(target: str, selector: str) -> None:
    text = SPACES + pods("web", OUTSIDE) + pods("api", "") + policy(f"podSelector: {{{selector}}}, policyTypes: [Ingress]")
    result = converted(text, "istio", target)
    labels = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"] for item in of_kind(result, "Deployment")}
    assert labels["web"] == {"tier": "web", "was.sidecar.istio.io/inject": "false"}
    assert "was.sidecar.istio.io/inject" not in labels.get("api", {})
    (made,) = of_kind(result, "NetworkPolicy")
    assert str(made["spec"]["podSelector"]).count("was.sidecar.istio.io/inject") == 1
    assert [item.severity for item in result.findings if item.code == "MP192"] == ["info"]


@pytest.mark.parametrize(
    ("selector", "peers"),
    [
        (
            "matchLabels: {istio-injection: enabled}",
            [
                {"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}},  # who moves later
                {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]}},
            ],
        ),
        (
            "matchExpressions: [{key: istio-injection, operator: DoesNotExist}]",
            [
                {
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": "istio-injection", "operator": "DoesNotExist"},
                            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]},
                        ]
                    }
                }
            ],
        ),
    ],
)
def test_namespaces_whose_label_leaves_are_named(selector: str, peers: list[Obj]) -> None:
    text = SPACES + pods("web", "") + policy(f"podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {{{selector}}}}}]}}]")
    (made,) = of_kind(converted(text, "istio", "linkerd"), "NetworkPolicy")
    assert made["spec"]["ingress"][0]["from"] == peers


def test_a_policy_that_cannot_go_on_selecting_is_an_error() -> None:
    spec = (
        'endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {"k8s:io.cilium.k8s.namespace.labels.istio-injection": enabled}}]}]'
    )
    result = converted(SPACES + pods("web", "") + policy(spec, "cilium.io/v2, kind: CiliumNetworkPolicy"), "istio", "linkerd")
    assert [item.severity for item in result.findings if item.code == "MP193"] == ["error"]


def test_a_policy_that_selects_by_labels_that_stay_is_left_alone() -> None:
    text = SPACES + pods("web", OUTSIDE) + policy("podSelector: {matchLabels: {tier: web}}, policyTypes: [Ingress]")
    result = converted(text, "istio", "linkerd")
    assert not of_kind(result, "NetworkPolicy") and not [item for item in result.findings if item.code in ("MP192", "MP193")]
