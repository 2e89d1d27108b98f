"""Envoy's v3 resources as a CiliumEnvoyConfig holds them: which field says what, and the shapes around it.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto and its neighbours fix the meaning. Durations are seconds with `s`
(protobuf's JSON); a threshold that is not written gets a default of the agent, so all four are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.dialects.gateway_api.durations import milliseconds

TYPE = "type.googleapis.com/envoy."
UNLIMITED = 4294967295
CONNECT_TIMEOUT = 10_000
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
OPTIONS = ("typed_extension_protocol_options", HTTP_OPTIONS)
_COMMON = (*OPTIONS, "common_http_protocol_options")
_HTTP2 = (*OPTIONS, "use_downstream_protocol_config", "http2_protocol_options")
ROUTE = ("virtual_hosts", 0, "routes", 0, "route")
PROXY = ("filter_chains", 0, "filters", 0, "typed_config")
"""Where the one route of a route configuration, and the one filter of a listener, are configured."""
THRESHOLD = ("circuit_breakers", "thresholds", 0)
_BUDGET = (*THRESHOLD, "retry_budget")
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of an Envoy cluster. `kind` is number, duration, seconds (a bare number of them), flag or percent."""

    path: Path
    kind: str = "number"


POOL: dict[str, Setting] = {
    "connectionPool.tcp.maxConnections": Setting((*THRESHOLD, "max_connections")),
    "connectionPool.http.http1MaxPendingRequests": Setting((*THRESHOLD, "max_pending_requests")),
    "connectionPool.http.http2MaxRequests": Setting((*THRESHOLD, "max_requests")),
    "connectionPool.http.maxRetries": Setting((*THRESHOLD, "max_retries")),
    "retryBudget.percent": Setting((*_BUDGET, "budget_percent", "value"), "percent"),
    "retryBudget.minRetryConcurrency": Setting((*_BUDGET, "min_retry_concurrency")),
    "connectionPool.tcp.connectTimeout": Setting(("connect_timeout",), "duration"),
    "connectionPool.tcp.maxConnectionDuration": Setting((*_COMMON, "max_connection_duration"), "duration"),
    "connectionPool.tcp.tcpKeepalive.probes": Setting(("upstream_connection_options", "tcp_keepalive", "keepalive_probes")),
    "connectionPool.tcp.tcpKeepalive.time": Setting(("upstream_connection_options", "tcp_keepalive", "keepalive_time"), "seconds"),
    "connectionPool.tcp.tcpKeepalive.interval": Setting(("upstream_connection_options", "tcp_keepalive", "keepalive_interval"), "seconds"),
    "connectionPool.http.idleTimeout": Setting((*_COMMON, "idle_timeout"), "duration"),
    "connectionPool.http.maxRequestsPerConnection": Setting((*_COMMON, "max_requests_per_connection")),
    "connectionPool.http.maxConcurrentStreams": Setting((*_HTTP2, "max_concurrent_streams")),
    "connectionPool.http.http2KeepAlive.interval": Setting((*_HTTP2, "connection_keepalive", "interval"), "duration"),
    "connectionPool.http.http2KeepAlive.timeout": Setting((*_HTTP2, "connection_keepalive", "timeout"), "duration"),
}
"""Limits by Istio's path of them, the names under which the IR holds them."""

DETECTION: dict[str, Setting] = {
    "interval": Setting(("outlier_detection", "interval"), "duration"),
    "maxEjectionPercent": Setting(("outlier_detection", "max_ejection_percent")),
    "minHealthPercent": Setting(("common_lb_config", "healthy_panic_threshold", "value")),
    "consecutiveGatewayErrors": Setting(("outlier_detection", "consecutive_gateway_failure")),
    "consecutiveLocalOriginFailures": Setting(("outlier_detection", "consecutive_local_origin_failure")),
    "splitExternalLocalOriginErrors": Setting(("outlier_detection", "split_external_local_origin_errors"), "flag"),
}
"""Ejection beside the count and the time, by Istio's names."""

ALGORITHMS = {"ROUND_ROBIN": "ROUND_ROBIN", "LEAST_REQUEST": "LEAST_REQUEST", "LEAST_CONN": "LEAST_REQUEST", "RANDOM": "RANDOM"}


def seconds(value: int) -> str:
    """Milliseconds as Envoy reads a duration."""
    return f"{value / 1000:.3f}".rstrip("0").rstrip(".") + "s"


def written(setting: Setting, value: Any) -> Any | None:
    """A value of the IR as Envoy's field takes it; None where it is none."""
    try:
        if setting.kind == "duration":
            return seconds(milliseconds(value))
        if setting.kind == "seconds":
            return milliseconds(value) // 1000  # as Istio itself hands them to Envoy
    except ValueError:
        return None
    if setting.kind == "flag":
        return value if isinstance(value, bool) else None
    number = isinstance(value, int | float if setting.kind == "percent" else int) and not isinstance(value, bool)
    return value if number else None


def listener(name: str, protocol: str) -> dict[str, Any]:
    """A listener for one Service port: HTTP towards the route configuration of its name, else a TCP proxy. The agent gives it its address."""
    if protocol != "http":
        raise ValueError(protocol)
    manager = {
        "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "rds": {"route_config_name": name},
        "use_remote_address": True,
        "skip_xff_append": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],  # Envoy answers 403 to an upgrade that it is not told of; the meshes pass it on
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"}}
        ],
    }
    return _listener(name, "envoy.filters.network.http_connection_manager", manager)


def tcp_listener(name: str, cluster: str) -> dict[str, Any]:
    """A listener that passes connections on to a cluster."""
    proxy = {"@type": TYPE + "extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": cluster}
    return _listener(name, "envoy.filters.network.tcp_proxy", proxy)


def _listener(name: str, filter_name: str, config: dict[str, Any]) -> dict[str, Any]:
    chain = {"filters": [{"name": filter_name, "typed_config": config}]}
    return {"@type": TYPE + "config.listener.v3.Listener", "name": name, "filter_chains": [chain]}


def routes(name: str, cluster: str) -> dict[str, Any]:
    """Every request to one cluster, without Envoy's own timeout of fifteen seconds."""
    return table(name, [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}])


def table(name: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    """The routes of one listener, for whatever host is asked for."""
    host = {"name": name, "domains": ["*"], "routes": routes}
    return {"@type": TYPE + "config.route.v3.RouteConfiguration", "name": name, "virtual_hosts": [host]}


def cluster(name: str, endpoints: str = "") -> dict[str, Any]:
    """A cluster of a Service's endpoints, which are those of its name where none are said; with the limits that a mesh has where nobody sets any: none, and no
    panic routing."""
    limits = {
        "priority": "DEFAULT",
        "max_connections": UNLIMITED,
        "max_pending_requests": UNLIMITED,
        "max_requests": UNLIMITED,
        "max_retries": UNLIMITED,
    }
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        **({"eds_cluster_config": {"service_name": endpoints}} if endpoints not in ("", name) else {}),
        "connect_timeout": seconds(CONNECT_TIMEOUT),
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def downstream_protocol() -> dict[str, Any]:
    """Options of the connections to endpoints; they keep the protocol of the client."""
    return {"@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions", "use_downstream_protocol_config": {}}


def sent(value: Any) -> Iterator[str]:
    """The clusters that routes and TCP proxies send to, by name: no request meets any other."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("cluster"), str):
                yield item["cluster"]
            weighted = item.get("weighted_clusters")
            shares = weighted.get("clusters") if isinstance(weighted, dict) else None
            for one in shares if isinstance(shares, list) else ():
                if isinstance(one, dict) and isinstance(one.get("name"), str):
                    yield one["name"]
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
