"""Rate limits: a policy on a Server in Linkerd, an EnvoyFilter in Istio, a filter of a CiliumEnvoyConfig in Cilium."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

LOCAL = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, ports: [{name: http, containerPort: 8080}, {containerPort: 5432}]}]}
"""
SERVER = {
    "apiVersion": "policy.linkerd.io/v1beta3",
    "kind": "Server",
    "metadata": {"name": "cart-http", "namespace": "shop"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "cart"}},
        "port": "http",
        "proxyProtocol": "HTTP/1",
        "accessPolicy": "all-unauthenticated",
    },
}


def policy(name: str = "cart", server: str = "cart-http", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.linkerd.io/v1alpha1",
        "kind": "HTTPLocalRateLimitPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": server}, **spec},
    }


def envoy_filter(bucket: dict[str, Any], *, enforced: int | None = 100, chain: dict[str, Any] | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"@type": LOCAL, "stat_prefix": "limit", "token_bucket": bucket}
    if enforced is not None:
        config["filter_enabled"] = ALWAYS
        config["filter_enforced"] = {"default_value": {"numerator": enforced, "denominator": "HUNDRED"}}
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {
            "context": "SIDECAR_INBOUND",
            "listener": {"filterChain": {**(chain or {}), "filter": {"name": "envoy.filters.network.http_connection_manager"}}},
        },
        "patch": {"operation": "INSERT_BEFORE", "value": {"name": "envoy.filters.http.local_ratelimit", "typed_config": config}},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"workloadSelector": {"labels": {"app": "cart"}}, "configPatches": [patch]},
    }


def convert(source: str, target: str, *objects: dict[str, Any]) -> meshport.Result:
    world = [item for item in yaml.safe_load_all(WORLD) if item]
    del world[0]["metadata"]["annotations" if source == "istio" else "labels"]
    return meshport.convert(meshport.load_objects([*world, *objects]), source=source, target=target)


def of_kind(result: meshport.Result, kind: str) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


def codes(result: meshport.Result) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_total_is_a_bucket_before_the_router_of_the_port() -> None:
    result = convert("linkerd", "istio", SERVER, policy(total={"requestsPerSecond": 100}))
    (found,) = of_kind(result, "EnvoyFilter")
    assert found["spec"]["workloadSelector"] == {"labels": {"app": "cart"}}
    (patch,) = found["spec"]["configPatches"]
    assert patch["match"]["listener"]["filterChain"]["destinationPort"] == 8080
    config = patch["patch"]["value"]["typed_config"]
    assert config["token_bucket"] == {"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"}
    assert config["filter_enforced"]["default_value"] == config["filter_enabled"]["default_value"] == ALWAYS["default_value"]
    assert "MP651" in codes(result)
    assert result.diff == []


def test_limits_of_clients_are_lost_where_envoy_knows_no_client() -> None:
    override = {"requestsPerSecond": 50, "clientRefs": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]}
    limits = policy(total={"requestsPerSecond": 100}, identity={"requestsPerSecond": 10}, overrides=[override])
    for target in ("istio", "cilium"):
        result = convert("linkerd", target, SERVER, limits)
        said = [finding.message for finding in result.findings if finding.code == "MP653"]
        assert any("10 requests a second" in text for text in said)
        assert any("50 requests a second for shop/web" in text for text in said)


def test_to_cilium_the_limit_stands_before_the_service() -> None:
    result = convert("linkerd", "cilium", SERVER, policy(total={"requestsPerSecond": 100}))
    (found,) = of_kind(result, "CiliumEnvoyConfig")
    assert found["spec"]["services"] == [{"name": "cart", "namespace": "shop", "ports": [80]}]
    manager = found["spec"]["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert [item["name"] for item in manager["http_filters"]] == ["envoy.filters.http.local_ratelimit", "envoy.filters.http.router"]
    assert "MP652" in codes(result)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_filter_that_is_not_enforced_limits_nothing(target: str) -> None:
    result = convert("istio", target, envoy_filter({"max_tokens": 1, "fill_interval": "60s"}, enforced=None))
    assert not of_kind(result, "HTTPLocalRateLimitPolicy")
    assert not of_kind(result, "CiliumEnvoyConfig")
    assert not any(finding.code == "MP950" for finding in result.findings)
    assert "MP666" in codes(result)
    assert all(line.disposition == "invalid" for line in result.ledger if "token_bucket" in line.path)


def test_a_filter_for_a_part_of_the_requests_is_said() -> None:
    result = convert("istio", "linkerd", envoy_filter({"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "1s"}, enforced=25))
    (finding,) = [finding for finding in result.findings if finding.code == "MP661"]
    assert "25 %" in finding.message
    assert not of_kind(result, "HTTPLocalRateLimitPolicy")


def test_to_linkerd_each_http_port_gets_a_server_as_open_as_before() -> None:
    result = convert("istio", "linkerd", envoy_filter({"max_tokens": 20, "tokens_per_fill": 20, "fill_interval": "1s"}))
    (server,) = of_kind(result, "Server")
    assert server["spec"] == {
        "podSelector": {"matchLabels": {"app": "cart"}},
        "port": 8080,
        "proxyProtocol": "HTTP/1",
        "accessPolicy": "all-unauthenticated",
    }
    (limit,) = of_kind(result, "HTTPLocalRateLimitPolicy")
    assert limit["spec"]["targetRef"] == {"group": "policy.linkerd.io", "kind": "Server", "name": server["metadata"]["name"]}
    assert limit["spec"]["total"] == {"requestsPerSecond": 20}
    assert result.diff == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_a_server_that_policies_need_anyway_takes_the_limit() -> None:
    allow = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "cart"}},
            "rules": [
                {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}], "to": [{"operation": {"ports": ["8080"]}}]},
            ],
        },
    }
    result = convert("istio", "linkerd", allow, envoy_filter({"max_tokens": 20, "tokens_per_fill": 20, "fill_interval": "1s"}))
    (server,) = of_kind(result, "Server")
    assert server["spec"]["accessPolicy"] == "deny"
    (limit,) = of_kind(result, "HTTPLocalRateLimitPolicy")
    assert limit["spec"]["targetRef"]["name"] == server["metadata"]["name"]


def test_bursts_and_parts_of_a_request_are_lost_with_a_word() -> None:
    result = convert("istio", "linkerd", envoy_filter({"max_tokens": 400, "tokens_per_fill": 100, "fill_interval": "60s"}))
    (limit,) = of_kind(result, "HTTPLocalRateLimitPolicy")
    assert limit["spec"]["total"] == {"requestsPerSecond": 1}
    (finding,) = [finding for finding in result.findings if finding.code == "MP659"]
    assert "100 requests a minute" in finding.message
    assert "400 at once" in finding.message
    assert [change for change in result.diff if not change.findings] == []


def test_less_than_one_a_second_has_no_form_in_linkerd() -> None:
    result = convert("istio", "linkerd", envoy_filter({"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "60s"}))
    assert not of_kind(result, "HTTPLocalRateLimitPolicy")
    assert [finding.severity for finding in result.findings if finding.code == "MP658"] == ["error"]


def test_a_limit_on_a_grpc_server_or_on_none_did_nothing_before() -> None:
    grpc = {**SERVER, "spec": {**SERVER["spec"], "proxyProtocol": "gRPC"}}
    assert "MP656" in codes(convert("linkerd", "istio", grpc, policy(total={"requestsPerSecond": 1})))
    result = convert("linkerd", "istio", SERVER, policy(server="other", total={"requestsPerSecond": 1}))
    assert "MP654" in codes(result)
    assert not of_kind(result, "EnvoyFilter")


def test_the_second_policy_of_a_server_is_refused() -> None:
    limits = [policy("b", total={"requestsPerSecond": 5}), policy("a", total={"requestsPerSecond": 7})]
    result = convert("linkerd", "istio", SERVER, *limits)
    (found,) = of_kind(result, "EnvoyFilter")
    assert found["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["token_bucket"]["max_tokens"] == 7
    assert "MP655" in codes(result)


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_there_and_back_again(target: str) -> None:
    given = policy(total={"requestsPerSecond": 100})
    there = convert("linkerd", target, SERVER, given)
    written = [
        item.object for item in there.manifests if item.object["kind"] in ("EnvoyFilter", "CiliumEnvoyConfig", "AuthorizationPolicy")
    ]
    back = convert(target, "linkerd", *written)
    (limit,) = of_kind(back, "HTTPLocalRateLimitPolicy")
    assert limit["spec"]["total"] == given["spec"]["total"]


def test_pods_whose_port_carries_bytes_get_no_limit_from_others_of_their_selector() -> None:
    """Port 9090 is HTTP in one of the workloads that the filter selects: a Server by the filter's labels would take it in the other as well."""
    admin = yaml.safe_load("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: admin, namespace: shop}
spec:
  selector: {matchLabels: {app: cart, part: admin}}
  template:
    metadata: {labels: {app: cart, part: admin}}
    spec: {containers: [{name: app, ports: [{name: http-admin, containerPort: 9090}]}]}
""")
    service = yaml.safe_load("""
apiVersion: v1
kind: Service
metadata: {name: admin, namespace: shop}
spec: {selector: {app: cart, part: admin}, ports: [{name: http, port: 9090}]}
""")
    bucket = {"max_tokens": 100, "tokens_per_fill": 100, "fill_interval": "1s"}
    result = convert("istio", "linkerd", admin, service, envoy_filter(bucket))
    servers = {item["spec"]["port"]: item["spec"]["podSelector"]["matchLabels"] for item in of_kind(result, "Server")}
    assert servers[9090] == {"app": "cart", "part": "admin"}
    assert codes(result) & {"MP900", "MP660"} == set()
    service["spec"]["selector"] = {"app": "cart"}
    admin["spec"]["template"]["metadata"]["labels"] = admin["spec"]["selector"]["matchLabels"] = {"app": "cart"}
    service["spec"]["ports"].append({"name": "tcp-other", "port": 5432})
    assert codes(convert("istio", "linkerd", admin, service, envoy_filter(bucket))) & {"MP900"} == set()
