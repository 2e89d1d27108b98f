"""Callers that a network policy lets in and that may be in no mesh: what the kept policy goes on telling is left to it, and of the rest it is said that an identity is asked for."""

from __future__ import annotations

import pytest

from .decision_helper import convert, namespace, network_policy, said, spec, workload, written

SHOP = namespace("shop", "plain") + workload("cart", home="shop") + workload("web", home="shop")
TRAEFIK = namespace("kube-system", "plain") + workload("traefik", home="kube-system")


def ingress(*rules: str) -> str:
    return network_policy(f"{{endpointSelector: {{matchLabels: {{app: cart}}}}, ingress: [{', '.join(rules)}]}}", "cart", "shop")


def rule(namespace: str, port: int = 8080, app: str = "", http: str = "") -> str:
    labels = f"k8s:io.kubernetes.pod.namespace: {namespace}" + (f", app: {app}" if app else "")
    asked = f", rules: {{http: [{http}]}}" if http else ""
    return f"{{fromEndpoints: [{{matchLabels: {{{labels}}}}}], toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]{asked}}}]}}"


@pytest.mark.parametrize("caller", [rule("kube-system", app="traefik"), rule("kube-system"), rule("ingress-nginx")])
def test_where_the_network_tells_who_calls_the_mesh_asks_for_no_identity(caller: str) -> None:
    world = SHOP + TRAEFIK + ingress(caller)
    istio, linkerd = convert(world, "cilium", "istio"), convert(world, "cilium", "linkerd")
    (only,) = spec(istio, "AuthorizationPolicy", "cart")["rules"]
    assert "principals" not in str(only) and "namespaces" not in str(only)
    assert only["to"] == [{"operation": {"ports": ["8080"]}}]
    (required,) = spec(linkerd, "AuthorizationPolicy", "cart-8080-cart")["requiredAuthenticationRefs"]
    assert required["kind"] == "NetworkAuthentication"
    assert not [item for result in (istio, linkerd) for item in result.findings if item.severity in ("error", "warning")]


def test_requests_of_callers_that_show_no_identity_are_asked_for_beside_those_of_the_mesh() -> None:
    result = convert(SHOP + ingress(rule("ingress-nginx", http="{method: GET}")), "cilium", "istio")
    (first, second) = spec(result, "AuthorizationPolicy", "cart")["rules"]
    assert {str(one["from"]) for one in (first, second)} == {
        "[{'source': {'namespaces': ['ingress-nginx']}}]",
        "[{'source': {'notPrincipals': ['*']}}]",
    }
    assert first["to"] == second["to"] == [{"operation": {"ports": ["8080"], "methods": ["GET"]}}]


def test_of_pods_whose_account_nobody_knows_it_is_said_that_they_may_not_join() -> None:
    result = convert(SHOP + ingress(rule("monitoring", app="prometheus", http="{method: GET}")), "cilium", "istio")
    (only,) = spec(result, "AuthorizationPolicy", "cart")["rules"]
    assert only["from"] == [{"source": {"notPrincipals": ["*"]}}]
    (told,) = said(result, "MP174")
    assert "monitoring/app=prometheus" in told.message and told.affects[0].workload == "cart"


def test_that_they_may_not_join_answers_for_ports_that_other_rules_name() -> None:
    every = "{fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: monitoring, app: prometheus}}]}"
    http = "{fromCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '7000', protocol: TCP}], rules: {http: [{method: GET}]}}]}"
    result = convert(SHOP + ingress(every, http), "cilium", "istio")
    assert said(result, "MP174") and not said(result, "MP900")


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_where_others_without_an_identity_may_less_an_identity_is_asked_for_and_that_is_said(target: str) -> None:
    """Both may come without one, and what the network no longer sees of their requests nobody could tell apart."""
    both = ingress(rule("ingress-nginx", http="{method: GET}"), rule("partners", http="{method: POST}"))
    result = convert(SHOP + both, "cilium", target)
    (told,) = said(result, "MP179")
    assert told.severity == "warning" and told.effect == "narrows"
    assert "namespace ingress-nginx" in told.message and "namespace partners" in told.message
    if target == "istio":
        assert "notPrincipals" not in str(written(result, "AuthorizationPolicy"))


def test_linkerd_tells_ports_apart_by_identity_alone() -> None:
    """Its proxies carry every port on one of their own, which the network opens for whoever may come in the mesh."""
    result = convert(SHOP + ingress(rule("ingress-nginx"), rule("shop", 9090, "web")), "cilium", "linkerd")
    (told,) = said(result, "MP179")
    assert "namespace ingress-nginx are let in on 8080" in told.message


def test_pods_that_are_never_in_the_mesh_and_that_it_cannot_tell_are_an_error() -> None:
    result = convert(SHOP + TRAEFIK + ingress(rule("kube-system", app="traefik"), rule("shop", 9090, "web")), "cilium", "linkerd")
    (lost,) = said(result, "MP268")
    assert "kube-system/app=traefik" in lost.message and "take kube-system into the mesh" in lost.remedy


def test_a_named_port_is_the_one_that_the_pods_have() -> None:
    """What is asked of web on 8080 is nothing for prometheus on the port of another number."""
    scrape = rule("kube-system").replace("'8080'", "metrics")
    pods = SHOP.replace("containerPort: 8080", "containerPort: 8080}, {name: metrics, containerPort: 9100")
    result = convert(pods + TRAEFIK + ingress(rule("shop", 8080, "web", "{method: GET}"), scrape), "cilium", "istio")
    assert not said(result, "MP268") and "9100" in str(spec(result, "AuthorizationPolicy", "cart"))


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_health_endpoints_call_nobody_so_that_nothing_is_lost_with_them(target: str) -> None:
    result = convert(SHOP + ingress("{fromEntities: [health]}", rule("shop", 8080, "web", "{method: GET}")), "cilium", target)
    assert {item.severity for item in said(result, "MP268")} == {"info"}


def test_a_deny_that_the_network_goes_on_holding_is_left_to_it() -> None:
    """By service account it would take more than the pods with these labels."""
    world = SHOP + workload("bot", home="shop", account="web")
    denied = "{fromEndpoints: [{matchLabels: {app: bot}}]}"
    text = f"{{endpointSelector: {{matchLabels: {{app: cart}}}}, ingress: [{rule('shop', 8080)}], ingressDeny: [{denied}]}}"
    for target in ("istio", "linkerd"):
        result = convert(world + network_policy(text, "cart", "shop"), "cilium", target)
        assert not said(result, "MP271")
    beyond = convert(world + network_policy(text, "cart", "shop"), "cilium", "istio", keep_network_policy=False)
    assert said(beyond, "MP271") or said(beyond, "MP267")


def test_a_deny_of_a_port_does_not_see_what_linkerds_proxies_carry() -> None:
    """The mesh says it too, and what Linkerd opens for the kubelet's probe is open to the denied callers."""
    probed = SHOP.replace(
        "ports: [{name: http, containerPort: 8080}]",
        "ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {path: /ready, port: 8080}}",
    )
    denied = rule("shop", 8080, "web")
    text = f"{{endpointSelector: {{matchLabels: {{app: cart}}}}, ingress: [{{fromEndpoints: [{{}}]}}], ingressDeny: [{denied}]}}"
    result = convert(probed + network_policy(text, "cart", "shop"), "cilium", "linkerd")
    opened = [finding for code in ("MP204", "MP205", "MP234") for finding in said(result, code)]
    assert [(finding.effect, finding.affects[0].workload) for finding in opened] == [("widens", "cart")]
