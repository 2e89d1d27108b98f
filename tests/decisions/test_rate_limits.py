"""Rate limits: the shapes of an EnvoyFilter that are one, and what becomes of buckets, bursts and clients."""

from __future__ import annotations

import pytest

from .decision_helper import convert, namespace, service, shop, workload
from .showing import loud, objects, read, said, spec

LOCAL = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
ENFORCED = """
            filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
            filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}"""


def bucket(
    tokens: int, fill: int, interval: str, *, enforced: str = ENFORCED, selector: str = "workloadSelector: {labels: {app: users}}"
) -> str:
    """The documented patch for a whole workload."""
    return f"""---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: limit, namespace: shop}}
spec:
  {selector}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
            "@type": type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: {LOCAL}
            value:
              stat_prefix: http_local_rate_limiter
              token_bucket: {{max_tokens: {tokens}, tokens_per_fill: {fill}, fill_interval: {interval}}}
{enforced.replace(chr(10) + "            ", chr(10) + "              ")}
"""


STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""
ROUTE = f"""---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: limit, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: users}}}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {{context: SIDECAR_INBOUND, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config: {{"@type": {LOCAL}, stat_prefix: http_local_rate_limiter}}
  - applyTo: HTTP_ROUTE
    match: {{context: SIDECAR_INBOUND, routeConfiguration: {{vhost: {{name: "inbound|http|80", route: {{action: ANY}}}}}}}}
    patch:
      operation: MERGE
      value:
        typed_per_filter_config:
          envoy.filters.http.local_ratelimit:
            "@type": {LOCAL}
            stat_prefix: http_local_rate_limiter
            token_bucket: {{max_tokens: 4, tokens_per_fill: 4, fill_interval: 1s}}
            filter_enabled: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
            filter_enforced: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
"""


@pytest.mark.parametrize(("text", "rate"), [(bucket(10, 10, "1s"), 10), (ROUTE, 4)], ids=["of a workload", "of a route"])
def test_a_documented_shape_is_a_policy_on_a_server_that_leaves_the_port_open(text: str, rate: int) -> None:
    result = convert(shop("istio") + text, "istio", "linkerd")
    assert spec(result, "HTTPLocalRateLimitPolicy/limit-8080") == {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "limit-8080"},
        "total": {"requestsPerSecond": rate},
    }
    assert spec(result, "Server/limit-8080") == read("""
        {podSelector: {matchLabels: {app: users}}, port: 8080, proxyProtocol: HTTP/1, accessPolicy: all-unauthenticated}
    """)
    assert loud(result) == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_the_server_of_a_limit_keeps_out_whom_strict_kept_out() -> None:
    result = convert(shop("istio") + STRICT + bucket(10, 10, "1s"), "istio", "linkerd")
    assert spec(result, "Server/limit-8080")["accessPolicy"] == "all-authenticated"


@pytest.mark.parametrize(
    ("tokens", "fill", "interval", "rate"), [(100, 10, "1s", 10), (1000, 1000, "60s", 16), (50, 5, "500ms", 10), (30, 30, "10s", 3)]
)
def test_a_bucket_is_scaled_to_a_second_and_its_burst_is_lost(tokens: int, fill: int, interval: str, rate: int) -> None:
    result = convert(shop("istio") + bucket(tokens, fill, interval), "istio", "linkerd")
    assert spec(result, "HTTPLocalRateLimitPolicy/limit-8080")["total"] == {"requestsPerSecond": rate}
    assert loud(result) == ["warning MP659"]


def test_fewer_than_one_request_a_second_has_no_form_in_linkerd() -> None:
    result = convert(shop("istio") + bucket(4, 4, "60s"), "istio", "linkerd")
    assert loud(result) == ["error MP658"]
    assert set(objects(result)) == {"Namespace/shop"}


def test_one_server_of_the_port_has_the_policy_and_the_limit() -> None:
    allow = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""
    result = convert(shop("istio") + allow + bucket(10, 10, "1s"), "istio", "linkerd")
    assert [name for name in objects(result) if name.startswith(("Server/", "HTTPLocal"))] == [
        "Server/users-8080",
        "HTTPLocalRateLimitPolicy/users-8080",
    ]
    assert spec(result, "Server/users-8080")["accessPolicy"] == "deny"


def test_a_limited_port_that_speaks_grpc_is_http_2_to_linkerd() -> None:
    text = namespace() + service(ports="[{name: grpc, port: 80, targetPort: 8080}]") + workload() + bucket(10, 10, "1s")
    assert spec(convert(text, "istio", "linkerd"), "Server/limit-8080")["proxyProtocol"] == "HTTP/2"


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_filter_that_nobody_enforces_limits_nothing(target: str) -> None:
    result = convert(shop("istio") + bucket(1, 1, "60s", enforced=""), "istio", target)
    assert "warning MP666" in loud(result)
    assert set(objects(result)) == {"Namespace/shop"}


def test_any_other_patch_is_an_error_that_names_its_context() -> None:
    lua = """---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_OUTBOUND}
    patch: {operation: INSERT_BEFORE, value: {name: envoy.filters.http.lua, typed_config: {inlineCode: "function envoy_on_request(handle) end"}}}
  - applyTo: CLUSTER
    match: {context: GATEWAY}
    patch: {operation: MERGE, value: {connect_timeout: 1s}}
"""
    (found,) = said(convert(shop("istio") + lua, "istio", "linkerd"), "MP950")
    assert found == (
        "error MP950 Linkerd's proxy takes no extensions; the patch of the Envoy configuration "
        "(HTTP_FILTER in SIDECAR_OUTBOUND: envoy.filters.http.lua; CLUSTER in GATEWAY) is lost"
    )


LIMITS = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users-http, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: http, accessPolicy: all-unauthenticated}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: users, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: users-http}
  total: {requestsPerSecond: 100}
  identity: {requestsPerSecond: 20}
"""


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_the_total_goes_everywhere_and_the_limit_of_a_client_is_lost(target: str) -> None:
    result = convert(shop("linkerd") + LIMITS, "linkerd", target)
    assert "warning MP653" in loud(result)
    assert "{'max_tokens': 100, 'tokens_per_fill': 100, 'fill_interval': '1s'}" in str(list(objects(result).values()))


def test_a_limit_and_a_breaker_of_one_service_are_one_config_for_cilium() -> None:
    guard = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
"""
    result = convert(shop("istio") + bucket(10, 10, "1s") + guard, "istio", "cilium")
    (name,) = [name for name in objects(result) if name.startswith("CiliumEnvoyConfig")]
    assert "'consecutive_5xx': 3" in str(spec(result, name))
    assert "'max_tokens': 10" in str(spec(result, name))
