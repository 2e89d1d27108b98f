"""Random bundles of an Istio whose clients use mutual TLS only where a DestinationRule tells them to."""

from __future__ import annotations

from random import Random

from .generate_access import wide_istio_bundle
from .vocabulary import EDGE, MESHED, OUTSIDE, dice
from .world import Obj, World

_MODES = ("ISTIO_MUTUAL", "ISTIO_MUTUAL", "ISTIO_MUTUAL", "ISTIO_MUTUAL", "DISABLE", "SIMPLE", "MUTUAL", None)


def told_istio_bundle(seed: int) -> list[Obj]:
    """A bundle with enableAutoMtls false, and DestinationRules of one to four kinds."""
    rng = Random(f"told {seed}")
    out = wide_istio_bundle(seed)
    operator = {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": {"name": "mesh", "namespace": "istio-system"},
    }
    hosts = [f"{one.name}.{one.namespace}.svc.cluster.local" for one in World(out).services]
    wild = ["*.local", "*.svc.cluster.local", "*.shop.svc.cluster.local", "*"]
    return [
        *out,
        {**operator, "spec": {"meshConfig": {"enableAutoMtls": False}}},
        *(_rule(rng, number, hosts, wild) for number in range(rng.randint(1, 4))),
    ]


def _rule(rng: Random, number: int, hosts: list[str], wild: list[str]) -> Obj:
    host = rng.choice(wild if dice(rng, 0.4) else hosts)
    near = host.split(".")[1] if host in hosts else "istio-system"
    home = near if dice(rng, 0.6) else rng.choice([*MESHED, EDGE, OUTSIDE, "istio-system"])
    spec: Obj = {"host": host}
    if dice(rng, 0.85):
        spec["trafficPolicy"] = _policy(rng)
        if dice(rng, 0.2):
            spec["trafficPolicy"]["portLevelSettings"] = [{"port": {"number": rng.choice([80, 9090, 8080])}, **_policy(rng)}]
    if dice(rng, 0.2):
        spec["subsets"] = [{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": _policy(rng)}]
    if dice(rng, 0.2):
        spec["exportTo"] = rng.choice([["."], ["*"], ["ops"], [".", "shop"]])
    if dice(rng, 0.1):
        spec["workloadSelector"] = {"matchLabels": {"app": "web"}}
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": f"tls-{number}", "namespace": home}, "spec": spec,
    }  # fmt: skip


def _policy(rng: Random) -> Obj:
    mode = rng.choice(_MODES)
    return {"connectionPool": {"tcp": {"maxConnections": 100}}} if mode is None else {"tls": {"mode": mode}}
