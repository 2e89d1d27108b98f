"""What the network lets through beside a mesh: NetworkPolicies of Kubernetes, and ingress rules of Cilium's, for the connection as it goes over the wire.

Between two pods of a mesh that is one of mutual TLS, on the proxies' own port where the mesh has one (`carried`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import cilium
from .http import in_network
from .world import Obj, Request, Workload, World, is_meshed, labels_match, meta, namespace_of, selects, spec_of, world_of

CLOSING = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def decide(manifests: Iterable[Obj], request: Request, *, meshed: bool, carried: int | None = None) -> bool:
    """Whether the connection comes through. `meshed`: whether the destination's pods are in the mesh, with port `carried` for what its peers send."""
    world = world_of(manifests)
    target, port = world.destination(request), int(request["destination"]["port"])
    hidden = meshed and is_meshed(request["source"])
    seen = carried if hidden and carried is not None else port
    if not _egress(world, target, request, seen):
        return False
    if not any(world.of(kind, "cilium.io") for kind in CLOSING):
        return _ingress(world, target, request, seen)
    wire: dict[str, Any] = {**request, "destination": {**request["destination"], "port": seen}}
    if hidden:
        wire["protocol"] = "tcp"
    return cilium.decide([*world.objects, *_for_cilium(world)], wire) == "allow"


def _for_cilium(world: World) -> Iterator[Obj]:
    """The ingress of NetworkPolicies in Cilium's words, which adds them to its own."""
    for policy in world.of("NetworkPolicy", "networking.k8s.io"):
        spec, rules = spec_of(policy), []
        if "Ingress" not in (spec.get("policyTypes") or ["Ingress"]):
            continue
        for entry in spec.get("ingress") or []:
            ports = [
                {"port": str(item.get("port", 0)), "protocol": item.get("protocol", "TCP"), **({"endPort": item["endPort"]} if "endPort" in item else {})}
                for item in entry.get("ports") or []
            ]  # fmt: skip
            on: Obj = {"toPorts": [{"ports": ports}]} if ports else {}
            for peer in entry.get("from") or [None]:
                if peer is None:
                    rules.append({"fromEntities": ["all"], **on})
                elif "ipBlock" in peer:
                    rules.append({"fromCIDRSet": [peer["ipBlock"]], **on})
                else:
                    rules.append({"fromEndpoints": [_selector(peer)], **on})
        yield {
            "apiVersion": "cilium.io/v2", "kind": CLOSING[0], "metadata": {"name": "of-kubernetes", "namespace": namespace_of(policy)},
            "spec": {"endpointSelector": spec.get("podSelector") or {}, "ingress": rules or [{}]},
        }  # fmt: skip


def _selector(peer: Obj) -> Obj:
    labels: Obj = {}
    more: list[Obj] = []
    for prefix, part in ((cilium.OF_NAMESPACE, "namespaceSelector"), ("", "podSelector")):
        chosen = peer.get(part) or {}
        labels |= {prefix + key: value for key, value in (chosen.get("matchLabels") or {}).items()}
        more += [{**item, "key": prefix + item["key"]} for item in chosen.get("matchExpressions") or []]
    if "namespaceSelector" in peer:
        more.append({"key": cilium.NAMESPACE, "operator": "Exists"})
    return {"matchLabels": labels, "matchExpressions": more}


def _policies(world: World, pod: Workload, direction: str) -> Iterator[Obj]:
    for policy in world.of("NetworkPolicy", "networking.k8s.io"):
        spec = spec_of(policy)
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if direction in types and namespace_of(policy) == pod.namespace and selects(spec.get("podSelector"), pod.labels):
            yield policy


def _ingress(world: World, target: Workload, request: Request, port: int) -> bool:
    policies = [] if target.host_network else list(_policies(world, target, "Ingress"))
    caller = _pod(world, request["source"])
    entries = [(policy, entry) for policy in policies for entry in spec_of(policy).get("ingress") or []]
    return not policies or any(
        _peers(world, policy, entry.get("from"), caller, request["source"].get("ip")) and _ports(entry, target, port)
        for policy, entry in entries
    )


def _egress(world: World, target: Workload, request: Request, port: int) -> bool:
    caller = _pod(world, request["source"])
    policies = [] if caller is None or caller.host_network else list(_policies(world, caller, "Egress"))
    entries = [(policy, entry) for policy in policies for entry in spec_of(policy).get("egress") or []]
    return not policies or any(
        _peers(world, policy, entry.get("to"), target, None) and _ports(entry, target, port) for policy, entry in entries
    )


def _pod(world: World, source: Obj) -> Workload | None:
    """The caller as a pod; None for one from outside the cluster."""
    if not source.get("namespace"):
        return None
    here = [one for one in world.workloads if one.namespace == source["namespace"]]
    if source.get("workload"):
        return next((one for one in here if one.name == source["workload"]), None)
    account = source.get("service_account") or "default"
    found = next((one for one in here if one.service_account == account and labels_match(source.get("labels"), one.labels)), None)
    return found or Workload("Pod", str(source["namespace"]), "", dict(source.get("labels") or {}), service_account=str(account))


def _peers(world: World, policy: Obj, peers: list[Obj] | None, pod: Workload | None, ip: str | None) -> bool:
    if not peers:
        return True
    for peer in peers:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            if (
                pod is None
                and ip is not None
                and in_network(ip, block["cidr"])
                and not any(in_network(ip, out) for out in block.get("except") or [])
            ):
                return True
            continue
        if pod is None:
            continue
        space = world.namespace(pod.namespace)
        labels = {**((meta(space).get("labels") or {}) if space else {}), "kubernetes.io/metadata.name": pod.namespace}
        here = selects(peer["namespaceSelector"], labels) if "namespaceSelector" in peer else pod.namespace == namespace_of(policy)
        if here and selects(peer.get("podSelector"), pod.labels):
            return True
    return False


def _ports(entry: Obj, target: Workload, port: int) -> bool:
    """Whether an entry names a TCP port."""
    for item in entry.get("ports") or [{}]:
        named = item.get("port")
        if item.get("protocol", "TCP") != "TCP":
            continue
        if named is None or (isinstance(named, str) and port in target.numbers(named)):
            return True
        if isinstance(named, int) and named <= port <= item.get("endPort", named):
            return True
    return False
