"""The world that random bundles play in: namespaces, workloads, callers, and the values policies speak of."""

from __future__ import annotations

from random import Random
from typing import Any

from .world import Obj

MESHED = ("shop", "ops")
OUTSIDE = "legacy"  # a namespace without any mesh
EDGE = "edge"  # where the gateway lives
NAMESPACES = (*MESHED, EDGE, OUTSIDE)
ACCOUNTS = (("shop", "web"), ("shop", "shared"), ("ops", "runner"), ("ops", "web"), (EDGE, "gateway"), (OUTSIDE, "batch"))
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")
PATHS = ("/", "/api", "/api/v1", "/api/v1/items", "/charge", "/refund", "/admin", "/healthz", "/users/42", "/a.b")
PATTERNS = ("/api/*", "/api*", "*/items", "/users/{*}", "/files/{**}", "*", "/charge", "/admin/*", "/healthz", "/")
REGEXES = (r"^(?:/api/v1/[^/]+)$", r"/users/[0-9]+", r"^(?:/api/.*)$", r"/(charge|refund)", r"^/files/.+\.txt$")
HOSTS = ("api.shop.test", "*.shop.test", "pay.shop.svc.cluster.local", "api.shop.test:8080")
HEADERS = (("x-tenant", "gold"), ("x-tenant", "silver"), ("x-debug", "1"))
BLOCKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "203.0.113.0/24", "192.168.0.0/16")
ADDRESSES = ("10.1.2.3", "10.9.0.7", "192.168.4.4", "203.0.113.9", "198.51.100.1", "100.64.1.1")


def dice(rng: Random, chance: float) -> bool:
    return rng.random() < chance


def some(rng: Random, values: tuple[Any, ...], most: int = 3) -> list[Any]:
    """One to `most` different values."""
    return rng.sample(values, rng.randint(1, min(most, len(values))))


def pick_account(rng: Random) -> tuple[str, str]:
    return rng.choice(ACCOUNTS)


def _deployment(rng: Random, namespace: str, name: str, account: str, labels: dict[str, str], annotations: dict[str, str]) -> Obj:
    ports = [{"name": "http", "containerPort": 8080}]
    if dice(rng, 0.5):
        ports.append({"name": "admin", "containerPort": 9090})
    if dice(rng, 0.3):
        ports.append({"name": "tcp-data", "containerPort": 7000})
    container: Obj = {"name": "app", "image": f"{name}:1", "ports": ports}
    if dice(rng, 0.7):
        container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": rng.choice(["http", 8080])}}
    if dice(rng, 0.2):
        container["livenessProbe"] = {"httpGet": {"path": "/livez?full=1", "port": ports[-1]["name"]}}
    metadata: Obj = {"labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": {"serviceAccountName": account, "containers": [container]}},
        },
    }


def _service(rng: Random, deployment: Obj, *, declared: bool) -> Obj:
    template = deployment["spec"]["template"]
    ports = []
    for port in template["spec"]["containers"][0]["ports"]:
        number = {8080: 80}.get(port["containerPort"], port["containerPort"])
        name = port["name"] if port["name"] != "admin" else "http-admin"
        ports.append({"name": name, "port": number, "targetPort": rng.choice([port["name"], port["containerPort"]])})
    if declared and dice(rng, 0.2):
        ports[0]["appProtocol"] = "http"
    meta = {"name": deployment["metadata"]["name"], "namespace": deployment["metadata"]["namespace"]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": {"app": template["metadata"]["labels"]["app"]}, "ports": ports},
    }


def namespaces(mesh: str, annotations: dict[str, dict[str, str]] | None = None) -> list[Obj]:
    """The four namespaces, three of them enrolled."""
    out: list[Obj] = []
    for name in NAMESPACES:
        metadata: Obj = {"name": name}
        notes = dict((annotations or {}).get(name, {}))
        if name != OUTSIDE and mesh == "istio":
            metadata["labels"] = {"istio-injection": "enabled"}
        elif name != OUTSIDE:
            notes["linkerd.io/inject"] = "enabled"
        if notes:
            metadata["annotations"] = notes
        out.append({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return out


def workloads(rng: Random, pod_annotations: dict[str, dict[str, str]] | None = None) -> list[Obj]:
    """Three to five servers with their Services, a gateway, and a client outside every mesh."""
    notes = pod_annotations or {}
    servers = [
        ("shop", "pay", "shared", {"app": "pay", "tier": "back"}),
        ("shop", "cart", "shared", {"app": "cart", "tier": "back"}),  # shares its account with pay
        ("shop", "web", "web", {"app": "web", "tier": "front"}),
        ("ops", "runner", "runner", {"app": "runner", "tier": "back"}),
        ("ops", "web", "web", {"app": "web", "tier": "front"}),
    ][: rng.randint(3, 5)]
    out: list[Obj] = []
    for namespace, name, account, labels in servers:
        deployment = _deployment(rng, namespace, name, account, labels, notes.get(name, {}))
        out += [deployment, _service(rng, deployment, declared=True)]
    if dice(rng, 0.3):  # a second version behind the same Service
        out.append(_deployment(rng, "shop", "pay-v2", "shared", {"app": "pay", "tier": "back", "version": "v2"}, notes.get("pay", {})))
    out.append(_deployment(rng, EDGE, "gateway", "gateway", {"app": "gateway"}, {}))
    out.append(_deployment(rng, OUTSIDE, "batch", "batch", {"app": "batch"}, {}))
    return out


def subject(rng: Random) -> dict[str, str]:
    """Labels that select one workload or several."""
    return rng.choice(
        [{"app": "pay"}, {"app": "cart"}, {"tier": "back"}, {"app": "web"}, {"app": "runner"}, {"app": "pay", "tier": "back"}]
    )
