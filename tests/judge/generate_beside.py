"""Random network policies beside a mesh's bundle: NetworkPolicies of Kubernetes and CiliumNetworkPolicies for its own pods, with the proxies' port among the ports."""

from __future__ import annotations

import random
from typing import Any

from .world import Obj, Workload, World

PORTS: tuple[Obj, ...] = (
    {"port": 8080},
    {"port": 9090},
    {"port": 4143},
    {"port": 4000, "endPort": 9000},
    {"port": 53, "protocol": "UDP"},
    {},
)


def beside(bundle: list[Obj], seed: int) -> list[Obj]:
    """One to three of them."""
    rng = random.Random(f"beside {seed}")
    pods = [one for one in World(bundle).workloads if one.labels]
    return [_policy(rng, pods, number) for number in range(rng.randint(1, 3))]


def _policy(rng: random.Random, pods: list[Workload], number: int) -> Obj:
    pod, cilium = rng.choice(pods), rng.random() < 0.3
    key = rng.choice(sorted(key for key in pod.labels if "/" not in key))  # a mesh's own labels leave with it
    chosen = {"matchLabels": {key: pod.labels[key]}}
    meta = {"name": f"beside-{number}", "namespace": pod.namespace}
    if cilium:
        spec: dict[str, Any] = {"endpointSelector": chosen, "ingress": [_rule(rng, pods) for _ in range(rng.randint(1, 2))]}
        if rng.random() < 0.25:
            spec["ingressDeny"] = [_rule(rng, pods)]
        return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": meta, "spec": spec}
    direction, way = rng.choice([("ingress", "from"), ("ingress", "from"), ("egress", "to")])
    entries = []
    for _ in range(rng.randint(0, 2)):
        entry: dict[str, Any] = {way: [_peer(rng, pods) for _ in range(rng.randint(1, 2))]} if rng.random() < 0.8 else {}
        entries.append(entry | ({"ports": rng.sample(PORTS, rng.randint(1, 2))} if rng.random() < 0.7 else {}))
    spec = {"podSelector": rng.choice([chosen, {}]), "policyTypes": [direction.capitalize()], direction: entries}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def _peer(rng: random.Random, pods: list[Workload]) -> Obj:
    pod = rng.choice(pods)
    space = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": pod.namespace}}}
    return rng.choice(
        [{**space, "podSelector": {"matchLabels": pod.labels}}, space, {"podSelector": {}}, {"ipBlock": {"cidr": "203.0.113.0/24"}}]
    )


def _rule(rng: random.Random, pods: list[Workload]) -> Obj:
    pod = rng.choice(pods)
    labels = {**pod.labels, "k8s:io.kubernetes.pod.namespace": pod.namespace}
    peers: Obj = rng.choice(
        [{"fromEndpoints": [{"matchLabels": labels}]}, {"fromEndpoints": [{}]}, {"fromEntities": ["world"]}, {"fromEntities": ["all"]}]
    )
    ports = {"toPorts": [{"ports": [{"port": rng.choice(["8080", "9090", "4143"]), "protocol": "TCP"}]}]}
    return {**peers, **(ports if rng.random() < 0.7 else {})}
