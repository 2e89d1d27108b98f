"""Random bundles of what two meshes both have, so that nothing has to be said on the way from one to the other and back."""

from __future__ import annotations

from random import Random
from typing import Any

Obj = dict[str, Any]
NAMES = ("web", "pay", "cart")
ACCOUNTS = ("web", "pay", "cart", "jobs")
METHODS = ("GET", "POST", "PUT", "DELETE")
PATHS = ("/api", "/charge", "/users/42", "/status")
HTTP = 8080
GATEWAY = "gateway.networking.k8s.io"
MARKS: dict[str, Obj] = {
    "istio": {"labels": {"istio-injection": "enabled"}},
    "linkerd": {"annotations": {"linkerd.io/inject": "enabled"}},
    "cilium": {},
    "gateway-api": {},
}


def bundle(mesh: str, other: str, seed: int) -> list[Obj]:
    """Two namespaces in the mesh, three workloads each, and what `mesh` and `other` both say of access, routes, timeouts and retries."""
    rng = Random(f"{mesh} {other} {seed}")
    out = [*world(mesh)]
    if "gateway-api" not in (mesh, other):
        out += {"istio": _istio_access, "linkerd": _linkerd_access, "cilium": _cilium_access}[mesh](rng)
    for namespace in ("shop", "ops"):
        for name in NAMES:
            if rng.random() < 0.5:
                out.append(_routes(mesh, other, rng, namespace, name))
    return out


def an_object(api: str, kind: str, namespace: str, name: str, spec: Obj, **meta: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


def world(mesh: str) -> list[Obj]:
    """Two namespaces in the mesh, with three workloads, their Services and accounts each."""
    out: list[Obj] = []
    for namespace in ("shop", "ops"):
        out.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, **MARKS[mesh]}})
        for name in NAMES:
            ports = [{"name": "http", "containerPort": HTTP}]
            template = {
                "metadata": {"labels": {"app": name}},
                "spec": {"serviceAccountName": name, "containers": [{"name": "app", "image": f"{name}:1", "ports": ports}]},
            }
            out.append(
                an_object("apps/v1", "Deployment", namespace, name, {"selector": {"matchLabels": {"app": name}}, "template": template})
            )
            service = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
            out.append(an_object("v1", "Service", namespace, name, service))
        out += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}} for name in ACCOUNTS]
    return out


def _callers(rng: Random) -> list[tuple[str, str]]:
    known = [(namespace, name) for namespace in ("shop", "ops") for name in NAMES]
    return rng.sample(known, rng.choice([1, 1, 2]))


def _some(rng: Random, values: tuple[str, ...], most: int) -> list[str]:
    return sorted(rng.sample(values, rng.randint(1, most)))


# -- access


def _istio_access(rng: Random) -> list[Obj]:
    out = []
    for namespace in ("shop", "ops"):
        if rng.random() < 0.5:
            out.append(an_object("security.istio.io/v1", "PeerAuthentication", namespace, "default", {"mtls": {"mode": "STRICT"}}))
        for name in NAMES:
            if rng.random() < 0.6:
                rules = [_istio_rule(rng) for _ in range(rng.choice([1, 1, 2]))]
                spec: Obj = {"selector": {"matchLabels": {"app": name}}, "action": "ALLOW", "rules": rules}
                out.append(an_object("security.istio.io/v1", "AuthorizationPolicy", namespace, f"{name}-allow", spec))
    return out


def _istio_rule(rng: Random) -> Obj:
    operation: Obj = {"ports": [str(HTTP)]}
    if rng.random() < 0.5:
        operation["methods"] = _some(rng, METHODS, 2)
    if rng.random() < 0.6:
        operation["paths"] = _some(rng, PATHS, 2)
    people = [f"cluster.local/ns/{namespace}/sa/{name}" for namespace, name in _callers(rng)]
    return {"from": [{"source": {"principals": people}}], "to": [{"operation": operation}]}


def _linkerd_access(rng: Random) -> list[Obj]:
    out: list[Obj] = []
    for namespace in ("shop", "ops"):
        for name in NAMES:
            if rng.random() < 0.6:
                selector = {"podSelector": {"matchLabels": {"app": name}}, "port": HTTP, "proxyProtocol": "HTTP/1"}
                out.append(an_object("policy.linkerd.io/v1beta3", "Server", namespace, f"{name}-http", selector))
                out += _linkerd_grants(rng, namespace, f"{name}-http")
    return out


def _linkerd_grants(rng: Random, namespace: str, server: str) -> list[Obj]:
    policy = "policy.linkerd.io/v1alpha1"
    people = [{"kind": "ServiceAccount", "name": name, "namespace": home} for home, name in _callers(rng)]
    targets: list[tuple[str, Obj]] = [(server, {"group": "policy.linkerd.io", "kind": "Server", "name": server})]
    out: list[Obj] = []
    if rng.random() < 0.6:
        matches = [
            {"path": {"type": "Exact", "value": path}, "method": method}
            for path, method in zip(_some(rng, PATHS, 2), _some(rng, METHODS, 2), strict=False)
        ]
        spec = {"parentRefs": [{"group": "policy.linkerd.io", "kind": "Server", "name": server}], "rules": [{"matches": matches}]}
        out.append(an_object(f"{GATEWAY}/v1", "HTTPRoute", namespace, f"{server}-some", spec))
        targets = [(f"{server}-some", {"group": GATEWAY, "kind": "HTTPRoute", "name": f"{server}-some"})]
    for name, target in targets:
        for number, person in enumerate(people):
            spec = {"targetRef": target, "requiredAuthenticationRefs": [person]}
            out.append(an_object(policy, "AuthorizationPolicy", namespace, f"{name}-{number}", spec))
    return out


def _cilium_access(rng: Random) -> list[Obj]:
    out = []
    for namespace in ("shop", "ops"):
        for name in NAMES:
            if rng.random() < 0.6:
                ingress: list[Obj] = [_cilium_rule(rng) for _ in range(rng.choice([1, 1, 2]))]
                ingress.append({"toPorts": [{"ports": [{"port": "0", "protocol": "UDP"}, {"port": "0", "protocol": "SCTP"}]}]})
                ingress.append({"icmps": [{"fields": [{"family": "IPv4", "type": 8}, {"family": "IPv6", "type": 128}]}]})
                spec = {"endpointSelector": {"matchLabels": {"app": name}}, "ingress": ingress}
                out.append(an_object("cilium.io/v2", "CiliumNetworkPolicy", namespace, f"{name}-allow", spec))
    return out


def _cilium_rule(rng: Random) -> Obj:
    peers = [
        {
            "matchLabels": {
                "k8s:io.kubernetes.pod.namespace": namespace,
                "k8s:io.cilium.k8s.policy.serviceaccount": name,
            }
        }
        for namespace, name in _callers(rng)
    ]
    port: Obj = {"ports": [{"port": str(HTTP), "protocol": "TCP"}]}
    if rng.random() < 0.5:
        port["rules"] = {"http": [{"method": method, "path": f"{rng.choice(PATHS)}(\\?.*)?"} for method in _some(rng, METHODS, 2)]}
    return {"fromEndpoints": peers, "toPorts": [port]}


# -- routes


def _routes(mesh: str, other: str, rng: Random, namespace: str, name: str) -> Obj:
    if mesh == "istio":
        return _virtual_service(rng, namespace, name, other)
    rules, notes = [], {}
    if rng.random() < 0.5:
        rules.append({"matches": [_match(rng)], "backendRefs": _backends(rng, name)})
    rules.append({"backendRefs": _backends(rng, name)})
    if rng.random() < 0.5:
        for rule in rules:
            rule["timeouts"] = {"request": f"{rng.choice([1, 5, 30])}s"}
    if {mesh, other} == {"linkerd", "istio"} and rng.random() < 0.3:
        notes = {"retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "2", "retry.linkerd.io/timeout": "300ms"}
    parent: Obj = {"group": "", "kind": "Service", "name": name, "port": 80}
    if mesh == "linkerd":
        parent["group"] = "core"
    if mesh == "cilium":
        del parent["port"]
    spec = {"parentRefs": [parent], "rules": rules}
    return an_object(f"{GATEWAY}/v1", "HTTPRoute", namespace, name, spec, **({"annotations": notes} if notes else {}))


def _match(rng: Random) -> Obj:
    match: Obj = {"path": {"type": rng.choice(["Exact", "PathPrefix"]), "value": rng.choice(PATHS)}}
    if rng.random() < 0.3:
        match["headers"] = [{"name": "x-canary", "value": "yes"}]
    if rng.random() < 0.3:
        match["method"] = rng.choice(METHODS)
    return match


def _backends(rng: Random, name: str) -> list[Obj]:
    if rng.random() < 0.5:
        return [{"name": name, "port": 80}]
    other = rng.choice([item for item in NAMES if item != name])
    return [{"name": name, "port": 80, "weight": 9}, {"name": other, "port": 80, "weight": 1}]


def _virtual_service(rng: Random, namespace: str, name: str, other: str) -> Obj:
    rules: list[Obj] = []
    if rng.random() < 0.5:
        match: Obj = {"uri": {"exact": rng.choice(PATHS)}}
        if rng.random() < 0.3:
            match["headers"] = {"x-canary": {"exact": "yes"}}
        if rng.random() < 0.3:
            match["method"] = {"exact": rng.choice(METHODS)}
        rules.append({"match": [match], "route": _destinations(rng, namespace, name)})
    rules.append({"route": _destinations(rng, namespace, name)})
    for rule in rules:
        rule["retries"] = {"attempts": 0}
        if rng.random() < 0.5:
            rule["timeout"] = f"{rng.choice([1, 5, 30])}s"
        if other == "linkerd" and rng.random() < 0.3:
            rule["retries"] = {"attempts": 2, "retryOn": "5xx", "perTryTimeout": "300ms"}
    return an_object("networking.istio.io/v1", "VirtualService", namespace, name, {"hosts": [name], "http": rules})


def _destinations(rng: Random, namespace: str, name: str) -> list[Obj]:
    host = f"{{}}.{namespace}.svc.cluster.local"
    if rng.random() < 0.5:
        return [{"destination": {"host": host.format(name)}}]
    other = rng.choice([item for item in NAMES if item != name])
    return [{"destination": {"host": host.format(name)}, "weight": 90}, {"destination": {"host": host.format(other)}, "weight": 10}]
