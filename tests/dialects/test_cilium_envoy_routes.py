"""Routes that a CiliumEnvoyConfig gives Envoy by hand: with their timeouts and retries they are routes of any mesh, as long as nothing else stands beside them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decisions.decision_helper import convert, namespace, said, service, spec, thing, workload, written

WORLD = namespace(mesh="cilium") + service("web") + workload("web") + service("web-v2") + workload("web-v2")
RETRY = "retry_policy: {retry_on: '5xx,connect-failure', num_retries: 2, per_try_timeout: 1s, retry_back_off: {base_interval: 0.05s}}"


def config(routes: str, more: str = "", filters: str = "", clusters: tuple[str, ...] = ("shop/web",)) -> str:
    """A listener for Service web, its routes, and a cluster for each Service that is sent to."""
    kinds = "type.googleapis.com/envoy.config"
    router = (
        "{name: envoy.filters.http.router, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"
    )
    manager = (
        "{'@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: web, "
        f"rds: {{route_config_name: web}}, http_filters: [{filters}{router}]}}"
    )
    listener = f"{{'@type': {kinds}.listener.v3.Listener, name: web, filter_chains: [{{filters: [{{name: envoy.filters.network.http_connection_manager, typed_config: {manager}}}]}}]}}"
    hosts = f"[{{name: web, domains: ['*'], routes: {routes}}}]"
    table = f"{{'@type': {kinds}.route.v3.RouteConfiguration, name: web, virtual_hosts: {hosts}{more}}}"
    ends = "".join(f", {{'@type': {kinds}.cluster.v3.Cluster, name: {name}, type: EDS, connect_timeout: 10s}}" for name in clusters)
    return thing("cilium.io/v2", "CiliumEnvoyConfig", f"{{services: [{{name: web}}], resources: [{listener}, {table}{ends}]}}", "web-lb")


def http(result: Any) -> list[dict[str, Any]]:
    return spec(result, "VirtualService", "web")["http"]


def test_a_retry_policy_is_that_of_a_virtual_service_and_of_linkerds_annotations() -> None:
    text = WORLD + config(f"[{{match: {{prefix: /}}, route: {{cluster: shop/web, timeout: 3s, {RETRY}}}}}]")
    result = convert(text, "cilium", "istio")
    (rule,) = http(result)
    assert rule["retries"] == {"attempts": 2, "perTryTimeout": "1s", "backoff": "50ms", "retryOn": "5xx,connect-failure"}
    assert rule["timeout"] == "3s" and not said(result, "MP950")
    made = written(convert(text, "cilium", "linkerd"), "HTTPRoute")["web-lb"]
    assert made["metadata"]["annotations"] == {
        "retry.linkerd.io/http": "5xx",
        "retry.linkerd.io/limit": "2",
        "retry.linkerd.io/timeout": "1s",
    }
    assert made["spec"]["rules"][0]["timeouts"] == {"request": "3s"}


@pytest.mark.parametrize(
    ("policy", "retries"),
    [
        ("{retry_on: 'retriable-status-codes', retriable_status_codes: [503, 429]}", {"attempts": 1, "retryOn": "503,429"}),
        ("{retry_on: gateway-error}", {"attempts": 1, "retryOn": "gateway-error"}),  # Envoy tries once more unless told otherwise
        ("{num_retries: 4}", {"attempts": 0}),  # without a condition nothing is retried
    ],
)
def test_what_a_retry_policy_leaves_out_is_what_envoy_does_then(policy: str, retries: dict[str, Any]) -> None:
    (rule,) = http(
        convert(WORLD + config(f"[{{match: {{prefix: /}}, route: {{cluster: shop/web, retry_policy: {policy}}}}}]"), "cilium", "istio")
    )
    assert rule["retries"] == retries
    assert rule["timeout"] == "15s"  # as long as Envoy waits where a route does not say


def test_shares_matches_and_the_answer_to_what_no_route_takes_go_along() -> None:
    shares = "{clusters: [{name: shop/web, weight: 90}, {name: shop/web-v2, weight: 10}]}"
    match = "{path_separated_prefix: /api, headers: [{name: ':method', string_match: {exact: GET}}, {name: X-Beta, present_match: true}]}"
    routes = f"[{{match: {match}, route: {{weighted_clusters: {shares}, timeout: 0s}}}}]"
    result = convert(WORLD + config(routes, clusters=("shop/web", "shop/web-v2")), "cilium", "gateway-api")
    (rule,) = spec(result, "HTTPRoute", "web-lb")["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/api"}, "method": "GET", "headers": [{"name": "x-beta", "type": "RegularExpression", "value": ".*"}]}]  # fmt: skip
    assert [(item["name"], item["weight"]) for item in rule["backendRefs"]] == [("web", 9), ("web-v2", 1)]
    assert "timeouts" not in rule


def test_the_longest_pause_is_lost_where_it_is_not_what_envoy_makes_of_the_first() -> None:
    def pause(longest: str) -> str:
        policy = f"{{retry_on: 5xx, retry_back_off: {{base_interval: 0.1s, max_interval: {longest}}}}}"
        return WORLD + config(f"[{{match: {{prefix: /}}, route: {{cluster: shop/web, retry_policy: {policy}}}}}]")

    assert not said(convert(pause("1s"), "cilium", "istio"), "MP385")
    assert said(convert(pause("30s"), "cilium", "istio"), "MP385")[0].severity == "info"


@pytest.mark.parametrize(
    "routes",
    [
        "[{match: {path_separated_prefix: /a}, route: {cluster: shop/web, prefix_rewrite: /}}]",
        "[{match: {prefix: /}, route: {cluster: shop/web, retry_policy: {retry_on: 5xx, retry_host_predicate: []}}}]",
        "[{match: {prefix: /a}, redirect: {path_redirect: /b, strip_query: true}}, {match: {prefix: /}, route: {cluster: shop/web}}]",
        "[{match: {prefix: /a}, non_forwarding_action: {}}, {match: {prefix: /}, route: {cluster: shop/web}}]",
        "[{match: {prefix: /}, route: {cluster: shop/web}, request_headers_to_add: [{header: {key: x}}]}]",
        "[{match: {prefix: /}, route: {cluster: elsewhere}}]",
        "[{match: {prefix: /, runtime_fraction: {}}, route: {cluster: shop/web}}]",
    ],
)
def test_half_of_a_route_table_is_not_written(routes: str) -> None:
    result = convert(WORLD + config(routes), "cilium", "istio")
    assert written(result, "VirtualService") == {}
    assert said(result, "MP950")[0].severity == "error"


def test_a_filter_that_nobody_reads_is_named_beside_the_routes() -> None:
    lua = "{name: envoy.filters.http.lua, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}, "
    result = convert(WORLD + config("[{match: {prefix: /}, route: {cluster: shop/web}}]", filters=lua), "cilium", "istio")
    assert len(http(result)) == 1 and said(result, "MP950")


def test_a_clusterwide_configuration_names_its_services_with_their_namespace_and_their_endpoints() -> None:
    text = config("[{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: mine, weight: 100}]}}}]", clusters=("mine",))
    text = text.replace("kind: CiliumEnvoyConfig", "kind: CiliumClusterwideEnvoyConfig").replace(", namespace: shop}", "}")
    text = text.replace("[{name: web}]", "[{name: web, namespace: shop}]").replace(
        "type: EDS", "type: EDS, edsClusterConfig: {serviceName: 'shop/web-v2:80'}"
    )
    (rule,) = http(convert(WORLD + text, "cilium", "istio"))
    assert rule["route"] == [{"destination": {"host": "web-v2.shop.svc.cluster.local", "port": {"number": 80}}}]


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("named", [False, True])
def test_a_configuration_for_no_service_is_nobodys_until_a_policy_sends_to_it(target: str, named: bool) -> None:
    """It was an error whatever the policies say: the Envoy resource was lost."""
    text = WORLD + config("[{match: {prefix: /}, route: {cluster: shop/web}}]").replace("services: [{name: web}]", "services: []")
    listener = "listener: {envoyConfig: {kind: CiliumEnvoyConfig, name: web-lb}, name: web}"
    rule = f"{{toEntities: [world], toPorts: [{{ports: [{{port: '80', protocol: TCP}}], {listener}}}]}}"
    if named:
        text += thing("cilium.io/v2", "CiliumNetworkPolicy", f"{{endpointSelector: {{}}, egress: [{rule}]}}", "out")
    result = convert(text, "cilium", target)
    assert bool(said(result, "MP950")) is named
    assert result.ledger.counts["unaccounted"] == 0


def test_the_time_that_a_stream_may_be_silent_is_that_of_linkerd() -> None:
    result = convert(
        WORLD + config("[{match: {prefix: /}, route: {cluster: shop/web, timeout: 0s, idle_timeout: 30s}}]"), "cilium", "linkerd"
    )
    assert "timeout.linkerd.io/idle': '30s'" in str([item.object for item in result.manifests]) and not said(result, "MP950")


def test_what_of_an_envoy_resource_is_lost_is_named() -> None:
    routes = "[{match: {prefix: /}, route: {cluster: shop/web, retry_policy: {retry_on: 5xx, retry_host_predicate: []}}}]"
    result = convert(WORLD + config(routes, more=", validate_clusters: true"), "cilium", "linkerd")
    assert "RouteConfiguration web" in said(result, "MP950")[0].message
    buffer = "{name: envoy.filters.http.buffer, typed_config: {max_request_bytes: 5}}, "
    alone = convert(WORLD + config("[{match: {prefix: /}, route: {cluster: shop/web}}]", filters=buffer), "cilium", "linkerd")
    assert (
        "of the CiliumEnvoyConfig envoy.filters.http.buffer, max_request_bytes of Listener web is lost" in said(alone, "MP950")[0].message
    )
