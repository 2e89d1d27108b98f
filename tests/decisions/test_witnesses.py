"""The request that a finding shows is one that the manifests themselves decide differently, before and after."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from .decision_helper import convert, namespace, network_policy, policy, said, service, thing, workload

PROBED = workload("users", container=", readinessProbe: {httpGet: {path: /ready, port: http}}")
WORLD = namespace() + service("users") + PROBED + workload("web") + workload("batch")


def deny(rule: str) -> str:
    return policy(f"{{action: DENY, selector: {{matchLabels: {{app: users}}}}, rules: [{rule}]}}", "users")


def test_a_probe_path_that_everybody_has_anyway_is_not_opened() -> None:
    result = convert(WORLD + deny("{to: [{operation: {methods: [POST], paths: [/admin]}}]}"), "istio", "linkerd")
    assert not [finding for finding in result.findings if finding.code in ("MP204", "MP205", "MP234")]


def test_who_gains_a_probe_path_is_the_witness() -> None:
    """Everybody but one account had it before: a caller without an identity would show nothing."""
    refused = deny("{from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}]}")
    (finding,) = [item for code in ("MP204", "MP205", "MP234") for item in said(convert(WORLD + refused, "istio", "linkerd"), code)]
    assert finding.witness["source"]["service_account"] == "batch" and finding.witness["path"] == "/ready"


def test_a_probe_path_that_callers_had_without_a_query_is_opened_with_one() -> None:
    text = "{endpointSelector: {matchLabels: {app: users}}, ingress: [{toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{path: /ready}, {path: '/api/.*'}]}}]}]}"
    result = convert(namespace(mesh="cilium") + service("users") + PROBED + workload("web") + network_policy(text), "cilium", "linkerd")
    (finding,) = [item for code in ("MP204", "MP205", "MP234") for item in said(result, code)]
    assert finding.effect == "widens" and finding.witness["path"].startswith("/ready?")


def test_a_caller_that_is_known_by_its_labels_shows_them() -> None:
    text = "{endpointSelector: {matchLabels: {app: users}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{path: /x}]}}]}]}"
    result = convert(namespace(mesh="cilium") + service("users") + PROBED + workload("web") + network_policy(text), "cilium", "linkerd")
    (finding,) = said(result, "MP197")
    assert finding.witness["source"] == {
        "namespace": "shop",
        "service_account": "web",
        "meshed": True,
        "workload": "web",
        "labels": {"app": "web"},
    }


@pytest.mark.parametrize("checked", [True, False])
def test_a_token_of_a_witness_is_one_that_is_checked_there(checked: bool) -> None:
    tokens = thing(
        "security.istio.io/v1",
        "RequestAuthentication",
        "{jwtRules: [{issuer: 'https://issuer.test', jwksUri: 'https://issuer.test/keys'}]}",
        "tokens",
    )
    allow = policy(
        "{selector: {matchLabels: {app: users}}, rules: [{when: [{key: 'request.auth.claims[group]', values: [admin]}]}]}", "users"
    )
    result = convert(WORLD + allow + tokens * checked, "istio", "linkerd")
    (finding,) = said(result, "MP201")
    assert finding.witness["claims"] == {"iss": "https://issuer.test" if checked else "x", "sub": "x", "group": "admin"}


@pytest.mark.parametrize(
    ("source", "inside"), [("remoteIpBlocks: [198.51.100.0/24]", "198.51.100.0/24"), ("notRemoteIpBlocks: [0.0.0.0/1]", "128.0.0.0/1")]
)
def test_a_witness_says_where_a_request_came_from_before_the_proxy_in_front(source: str, inside: str) -> None:
    allow = policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{{source}}}}}]}}]}}", "users")
    result = convert(WORLD + allow, "istio", "linkerd")
    (finding,) = said(result, "MP201")
    hop = finding.witness["forwarded_for"]
    assert ip_address(hop) in ip_network(inside)
    assert [item.witness["forwarded_for"] for item in result.report().findings if item.code == "MP201" and item.witness] == [hop]
