"""Callers that a network policy knows by their labels, and meshes by their service accounts: named exactly, or left out with those that share the account."""

from __future__ import annotations

import pytest

from .decision_helper import convert, namespace, network_policy, policy, said, service, shop, spec, thing, workload, written

WORLD = (
    namespace("edge", "plain") + namespace("pay", "plain") + workload("api", home="pay") + workload("web", home="edge")
    + workload("bot", home="edge", account="jobs") + workload("bat", home="edge", account="jobs")
)  # fmt: skip


def from_edge(*apps: str) -> str:
    peers = ", ".join(f"{{matchLabels: {{app: {app}, k8s:io.kubernetes.pod.namespace: edge}}}}" for app in apps)
    ports = "toPorts: [{ports: [{port: '8080', protocol: TCP}]}]"
    return network_policy(
        f"{{endpointSelector: {{matchLabels: {{app: api}}}}, ingress: [{{fromEndpoints: [{peers}], {ports}}}]}}", "api", "pay"
    )


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("kept", [True, False])
def test_who_shares_the_account_is_named_and_the_other_callers_get_in(target: str, kept: bool) -> None:
    result = convert(WORLD + from_edge("web", "bot", "ghost"), "cilium", target, keep_network_policy=kept)
    if kept:  # the kept half knows the labels, so the mesh's own may let in more: all rules for these pods are about one port
        assert not said(result, "MP267") and not said(result, "MP275")
        return
    (shared,), (unknown,) = said(result, "MP267"), said(result, "MP275")
    assert shared.severity == unknown.severity == "error" and shared.effect == unknown.effect == "narrows"
    assert "edge/app=bot" in shared.message and "shared with Deployment edge/bat" in shared.message
    assert "edge/app=ghost" in unknown.message
    if target == "istio":
        (rule,) = spec(result, "AuthorizationPolicy", "api")["rules"]
        assert rule["from"] == [{"source": {"principals": ["cluster.local/ns/edge/sa/web"]}}]
    else:
        references = spec(result, "AuthorizationPolicy", "api-8080-api")["requiredAuthenticationRefs"]
        assert references == [{"kind": "ServiceAccount", "name": "web", "namespace": "edge"}]


def test_linkerd_cannot_tell_the_world_from_pods_without_a_proxy() -> None:
    rule = "{endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEntities: [world], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}]}"
    (lost,) = said(convert(WORLD + network_policy(rule, "api", "pay"), "cilium", "linkerd", keep_network_policy=False), "MP268")
    assert lost.severity == "error" and "entity world" in lost.message


def test_the_cluster_but_some_is_said_to_linkerd_by_those_that_are_known() -> None:
    denied = "{fromEndpoints: [{matchLabels: {app: web, k8s:io.kubernetes.pod.namespace: edge}}]}"
    rule = f"{{endpointSelector: {{matchLabels: {{app: api}}}}, ingress: [{{fromEntities: [cluster]}}], ingressDeny: [{denied}]}}"
    result = convert(WORLD + network_policy(rule, "api", "pay"), "cilium", "linkerd", keep_network_policy=False)
    assert spec(result, "MeshTLSAuthentication", "api-8080-api")["identityRefs"] == [
        {"kind": "ServiceAccount", "name": "default", "namespace": "edge"},
        {"kind": "ServiceAccount", "name": "jobs", "namespace": "edge"},
        {"kind": "Namespace", "name": "pay"},
    ]
    assert [finding.severity for finding in said(result, "MP203")] == ["warning"]


PEOPLE = shop("istio") + workload("web") + workload("ops") + namespace("old", "plain") + workload("ops", home="old") + namespace("pay") + workload("web", home="pay")  # fmt: skip


@pytest.mark.parametrize(
    ("source", "admitted"),
    [
        ("namespaces: [shop], notPrincipals: [cluster.local/ns/shop/sa/ops]", ["shop/default", "shop/users", "shop/web"]),
        ("namespaces: [shop], notPrincipals: [other.domain/ns/shop/sa/ops]", ["shop"]),  # nobody of whom is in this mesh
        ("namespaces: [shop, pay], notPrincipals: [cluster.local/ns/shop/sa/ops]", ["pay", "shop/default", "shop/users", "shop/web"]),
        ("principals: ['*'], notNamespaces: [shop]", ["pay"]),
        ("principals: ['*'], notNamespaces: [shop], notPrincipals: [cluster.local/ns/pay/sa/web]", ["pay/default"]),
        ("notPrincipals: [other.domain/ns/shop/sa/ops]", ["pay", "shop"]),
        ("notPrincipals: ['*/sa/ops']", ["pay/default", "pay/web", "shop/default", "shop/users", "shop/web"]),
        ("principals: ['*/sa/ops']", ["shop/ops"]),  # pods outside the mesh show no identity
        ("notPrincipals: ['*']", []),
    ],
)
def test_callers_less_some_are_nobody_more(source: str, admitted: list[str]) -> None:
    result = convert(
        PEOPLE + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{{source}}}}}]}}]}}"), "istio", "linkerd"
    )
    references = [one for item in written(result, "MeshTLSAuthentication").values() for one in item["spec"]["identityRefs"]]
    references += [
        one
        for item in written(result, "AuthorizationPolicy").values()
        for one in item["spec"]["requiredAuthenticationRefs"]
        if one["kind"] == "ServiceAccount"
    ]
    assert sorted(f"{one['namespace']}/{one['name']}" if "namespace" in one else one["name"] for one in references) == admitted


def test_the_cluster_but_for_a_caller_and_the_world_are_everybody_but_that_caller() -> None:
    """Beside Istio the rule for all is kept as one for the cluster, without HTTP, and one for the world, with it: together they are what was meant."""
    rule = "{fromEntities: [all], toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{path: /healthz, headers: ['X-Env: prod']}]}}]}"
    deny = "{fromEndpoints: [{matchLabels: {app: web}}]}"
    text = f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{rule}], ingressDeny: [{deny}]}}"
    result = convert(
        namespace(mesh="plain") + service("users") + workload("users") + workload("web") + network_policy(text), "cilium", "istio"
    )
    assert result.verification.verdict == "equivalent"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("kept", [True, False])
def test_callers_by_labels_in_every_namespace_are_those_that_the_input_shows(target: str, kept: bool) -> None:
    """`app: web` of a clusterwide policy is no namespace's; that others have no such pods left all of them out (MP267)."""
    ports = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]"
    spec_ = f"{{endpointSelector: {{matchLabels: {{app: api}}}}, ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}, {{matchLabels: {{app: bot}}}}], {ports}}}]}}"
    result = convert(
        WORLD + thing("cilium.io/v2", "CiliumClusterwideNetworkPolicy", spec_, "api", ""), "cilium", target, keep_network_policy=kept
    )
    (shared,), (others,) = said(result, "MP267"), said(result, "MP154")
    assert "shared with Deployment edge/bat" in shared.message and "app=web" not in shared.message
    assert (others.severity, others.effect) == ("info", "narrows") and "app=web" in others.message
    named = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert any("edge/sa/web" in str(item) or "'name': 'web', 'namespace': 'edge'" in str(item) for item in named)


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("nodes", [True, False])
def test_callers_that_another_rule_lets_in_are_not_missed(target: str, nodes: bool) -> None:
    """Where the cluster is let in too, nodes and pods without a proxy are refused, and that is told by MP270 alone: bots come in by the identity of their account."""
    rules = from_edge("bot")
    if nodes:
        ports = "toPorts: [{ports: [{port: '8080', protocol: TCP}]}]"
        rules += network_policy(
            f"{{endpointSelector: {{matchLabels: {{app: api}}}}, ingress: [{{fromEntities: [cluster], {ports}}}]}}", "all", "pay"
        )
    result = convert(WORLD + rules, "cilium", target, keep_network_policy=False)
    (shared,) = said(result, "MP267")
    if not nodes:
        assert (shared.severity, shared.effect) == ("error", "narrows") and shared.witness["source"]["workload"] == "bot"
        return
    (outside,) = said(result, "MP270")
    assert (shared.severity, shared.effect, shared.witness) == ("info", "none", None)
    assert (outside.severity, outside.effect) == ("warning", "narrows") and outside.witness["source"]["meshed"] is False
