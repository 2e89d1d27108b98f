"""Random guards that two meshes both have: breakers, limits, and what may leave."""

from __future__ import annotations

from random import Random

from .common_ground import Obj, an_object

ACCRUAL = "balancer.linkerd.io/failure-accrual"
LOCAL = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
HOSTS = ("api.example.com", "*.cdn.example.com", "pay.example.net")
ALL = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def guarded(bundle: list[Obj], mesh: str, other: str, rng: Random) -> list[Obj]:
    """The bundle with guards, as far as both meshes say them without loss; towards Cilium those that are said to be approximate too."""
    routed = {
        (item["metadata"]["namespace"], item["metadata"]["name"]) for item in bundle if item["kind"] in ("HTTPRoute", "VirtualService")
    }
    services = [item for item in bundle if item["kind"] == "Service"]
    if "gateway-api" in (mesh, other):
        return bundle
    if mesh == "linkerd":
        for service in services:
            if rng.random() < 0.4:
                service["metadata"]["annotations"] = _accrual(rng)
        return [*bundle, *(_limit(item, rng) for item in bundle if item["kind"] == "Server" and rng.random() < 0.4), *_linkerd_egress(rng)]
    if mesh == "istio" and other == "linkerd":
        return [*bundle, *(_bucket(item, rng) for item in services if rng.random() < 0.3)]
    if mesh == "istio" and other == "cilium":
        free = [item for item in services if (item["metadata"]["namespace"], item["metadata"]["name"]) not in routed]
        return [*bundle, *(_rule(item, rng) for item in free if rng.random() < 0.6), *_istio_egress(rng)]
    return bundle


def _accrual(rng: Random) -> dict[str, str]:
    """A breaker whose longest ejection is Envoy's own, which no field of Istio's says."""
    return {
        ACCRUAL: "consecutive",
        f"{ACCRUAL}-consecutive-max-failures": str(rng.randint(1, 9)),
        f"{ACCRUAL}-consecutive-min-penalty": f"{rng.choice([1, 30, 200])}s",
        f"{ACCRUAL}-consecutive-max-penalty": "300s",
    }


def _limit(server: Obj, rng: Random) -> Obj:
    home, name = server["metadata"]["namespace"], server["metadata"]["name"]
    spec = {
        "targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": name},
        "total": {"requestsPerSecond": rng.randint(1, 500)},
    }
    return an_object("policy.linkerd.io/v1alpha1", "HTTPLocalRateLimitPolicy", home, name, spec)


def _bucket(service: Obj, rng: Random) -> Obj:
    rate = rng.randint(1, 500)
    config = {
        "@type": LOCAL,
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"},
        "filter_enabled": ALL,
        "filter_enforced": ALL,
    }
    chain = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "SIDECAR_INBOUND", "listener": chain},
        "patch": {"operation": "INSERT_BEFORE", "value": {"name": "envoy.filters.http.local_ratelimit", "typed_config": config}},
    }
    home, name = service["metadata"]["namespace"], service["metadata"]["name"]
    spec = {"workloadSelector": {"labels": {"app": name}}, "configPatches": [patch]}
    return an_object("networking.istio.io/v1alpha3", "EnvoyFilter", home, f"{name}-limit", spec)


def _rule(service: Obj, rng: Random) -> Obj:
    home, name = service["metadata"]["namespace"], service["metadata"]["name"]
    detection = {
        "consecutive5xxErrors": rng.randint(1, 9),
        "interval": f"{rng.choice([1, 10, 30])}s",
        "baseEjectionTime": f"{rng.choice([10, 30, 600])}s",
        "maxEjectionPercent": rng.choice([10, 50, 100]),
    }
    pool = {"tcp": {"maxConnections": rng.randint(1, 100)}, "http": {"http1MaxPendingRequests": rng.randint(1, 100)}}
    policy: Obj = {"outlierDetection": detection}
    if rng.random() < 0.5:
        policy["connectionPool"] = pool
    if rng.random() < 0.5:
        policy["loadBalancer"] = {"simple": rng.choice(["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"])}
    host = rng.choice([name, f"{name}.{home}.svc.cluster.local"])
    return an_object("networking.istio.io/v1", "DestinationRule", home, name, {"host": host, "trafficPolicy": policy})


def _istio_egress(rng: Random) -> list[Obj]:
    out = [an_object("networking.istio.io/v1", "Sidecar", "shop", "default", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})]
    for number, host in enumerate(rng.sample(HOSTS, rng.randint(0, 2))):
        port = {"number": 443, "name": "tls", "protocol": "TLS"}
        resolution = "NONE" if "*" in host else "DNS"
        spec = {"hosts": [host], "exportTo": ["."], "location": "MESH_EXTERNAL", "resolution": resolution, "ports": [port]}
        out.append(an_object("networking.istio.io/v1", "ServiceEntry", "shop", f"outside-{number}", spec))
    return out if rng.random() < 0.6 else []


def _linkerd_egress(rng: Random) -> list[Obj]:
    out = [an_object("policy.linkerd.io/v1alpha1", "EgressNetwork", "shop", "egress", {"trafficPolicy": "Deny"})]
    for number, host in enumerate(rng.sample(HOSTS, rng.randint(0, 2))):
        network = {"group": "policy.linkerd.io", "kind": "EgressNetwork", "name": "egress", "port": 443}
        spec = {"parentRefs": [network], "hostnames": [host], "rules": [{"backendRefs": [network]}]}
        out.append(an_object("gateway.networking.k8s.io/v1alpha2", "TLSRoute", "shop", f"outside-{number}", spec))
    return out if rng.random() < 0.6 else []
