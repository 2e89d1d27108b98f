"""Random pools, breakers, balancing and rate limits, in the words of Istio and Linkerd: what becomes Envoy's own configuration elsewhere."""

from __future__ import annotations

from random import Random
from typing import Any

Obj = dict[str, Any]
_TIMES = ("1ms", "250ms", "1s", "1500ms", "90s", "2m", "1h30m")
_POOL: dict[str, dict[str, Any]] = {
    "tcp": {
        "maxConnections": (1, 50, 2147483647), "connectTimeout": _TIMES, "maxConnectionDuration": _TIMES,
        "tcpKeepalive": ({"probes": 3, "time": "90s", "interval": "1500ms"}, {"time": "1h"}),
    },
    "http": {
        "http1MaxPendingRequests": (1, 100), "http2MaxRequests": (1, 1000), "maxRequestsPerConnection": (1, 7), "maxRetries": (0, 3),
        "idleTimeout": _TIMES, "maxConcurrentStreams": (1, 100), "h2UpgradePolicy": ("UPGRADE", "DO_NOT_UPGRADE"),
    },
}  # fmt: skip
_EJECTION: dict[str, Any] = {
    "consecutive5xxErrors": (0, 1, 7), "consecutiveGatewayErrors": (1, 5), "interval": _TIMES, "baseEjectionTime": ("1s", "45s", "10m"),
    "maxEjectionPercent": (1, 50, 100), "minHealthPercent": (0, 50), "consecutiveLocalOriginFailures": (1, 5), "splitExternalLocalOriginErrors": (True,),
}  # fmt: skip
_BALANCERS: tuple[Obj, ...] = (
    {"simple": "ROUND_ROBIN"}, {"simple": "LEAST_REQUEST"}, {"simple": "RANDOM"}, {"simple": "PASSTHROUGH"},
    {"consistentHash": {"httpHeaderName": "x-user"}}, {"consistentHash": {"httpCookie": {"name": "user", "ttl": "0s"}}},
    {"consistentHash": {"useSourceIp": True, "ringHash": {"minimumRingSize": 512}}}, {"consistentHash": {"httpQueryParameterName": "q", "maglev": {}}},
)  # fmt: skip


def istio(seed: int) -> list[Obj]:
    """A Service of two or three ports with a DestinationRule."""
    rng = Random(f"istio {seed}")
    policy = _policy(rng)
    if rng.random() < 0.3:
        policy["portLevelSettings"] = [{"port": {"number": 80}, **_policy(rng)}]
    rule = {"host": "web", "trafficPolicy": policy}
    return [*_world(rng, {}), _object("networking.istio.io/v1", "DestinationRule", rule)]


def linkerd(seed: int) -> list[Obj]:
    """The same Service with failure accrual, and a limit on its port."""
    rng = Random(f"linkerd {seed}")
    accrual = {
        "balancer.linkerd.io/failure-accrual": "consecutive",
        "balancer.linkerd.io/failure-accrual-consecutive-max-failures": str(rng.choice((1, 7, 100))),
        "balancer.linkerd.io/failure-accrual-consecutive-min-penalty": rng.choice(("1s", "1500ms", "1m")),
        "balancer.linkerd.io/failure-accrual-consecutive-max-penalty": rng.choice(("2m", "1h")),
    }
    server = {"podSelector": {"matchLabels": {"app": "web"}}, "port": rng.choice(("http", 8080)), "proxyProtocol": "HTTP/1"}
    limit = {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "web"},
        "total": {"requestsPerSecond": rng.choice((1, 3, 100, 100_000))},
    }
    return [
        *_world(rng, accrual if rng.random() < 0.7 else {}),
        _object("policy.linkerd.io/v1beta3", "Server", server),
        _object("policy.linkerd.io/v1alpha1", "HTTPLocalRateLimitPolicy", limit),
    ]


def _policy(rng: Random) -> Obj:
    found: Obj = {}
    if rng.random() < 0.7:
        found["connectionPool"] = {layer: _some(rng, fields) for layer, fields in _POOL.items()}
    if rng.random() < 0.7:
        found["outlierDetection"] = _some(rng, _EJECTION)
    if rng.random() < 0.5:
        found["loadBalancer"] = rng.choice(_BALANCERS)
        if rng.random() < 0.3:
            found["loadBalancer"] = {**found["loadBalancer"], "warmup": {"duration": "60s"}}
    return found


def _some(rng: Random, fields: Obj) -> Obj:
    return {name: rng.choice(values) for name, values in fields.items() if rng.random() < 0.5}


def _world(rng: Random, notes: dict[str, str]) -> list[Obj]:
    marks = {"labels": {"istio-injection": "enabled"}, "annotations": {"linkerd.io/inject": "enabled"}}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tcp-data", "port": 9000}, {"name": "grpc", "port": 50051}]
    service = _object("v1", "Service", {"selector": {"app": "web"}, "ports": ports[: rng.randint(1, 3)]}, annotations=notes)
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}]},
    }
    workload = _object("apps/v1", "Deployment", {"selector": {"matchLabels": {"app": "web"}}, "template": pod})
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", **marks}}, service, workload]


def _object(api: str, kind: str, spec: Obj, **meta: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "web", "namespace": "shop", **meta}, "spec": spec}
