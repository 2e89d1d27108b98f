"""A seeded synthetic fleet: as many manifests as asked for, shaped like what teams keep in Git."""

from __future__ import annotations

from random import Random
from typing import Any

import yaml

Doc = dict[str, Any]

_APPS = ("cart", "pay", "users", "search", "stock", "mail", "report", "audit", "price", "media")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_ISTIO = "networking.istio.io/v1"
_SECURITY = "security.istio.io/v1"
_POLICY = "policy.linkerd.io/v1beta3"


def istio(count: int, seed: int = 7) -> str:
    """`count` documents of an Istio fleet as one YAML stream."""
    return _stream(_fleet(count, Random(seed), "istio"))


def linkerd(count: int, seed: int = 7) -> str:
    """`count` documents of a Linkerd fleet as one YAML stream."""
    return _stream(_fleet(count, Random(seed), "linkerd"))


def _stream(docs: list[Doc]) -> str:
    return yaml.dump_all(docs, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)


def _fleet(count: int, rng: Random, mesh: str) -> list[Doc]:
    out: list[Doc] = []
    team = 0
    while len(out) < count:
        team += 1
        namespace = f"team-{team:03d}"
        out += _istio_namespace(namespace) if mesh == "istio" else _linkerd_namespace(namespace)
        apps = [f"{rng.choice(_APPS)}-{number}" for number in range(20)]
        for app in apps:
            caller = rng.choice(apps)
            out += _workloads(rng, namespace, app)
            out += _istio_app(rng, namespace, app, caller) if mesh == "istio" else _linkerd_app(rng, namespace, app, caller)
    return out[:count]


def _object(api: str, kind: str, namespace: str | None, name: str, spec: Any = None, **meta: Any) -> Doc:
    metadata: Doc = {"name": name, **({"namespace": namespace} if namespace else {}), **meta}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **({} if spec is None else {"spec": spec})}


def _workloads(rng: Random, namespace: str, app: str) -> list[Doc]:
    docs: list[Doc] = []
    for version in ("v1", "v2"):
        labels = {"app": app, "version": version}
        container = {
            "name": "app",
            "image": f"registry.example.com/{app}:{version}.{rng.randint(0, 40)}",
            "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9090}],
            "env": [{"name": f"SETTING_{number}", "value": str(rng.randint(0, 9999))} for number in range(3)],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
        }
        template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": app, "containers": [container]}}
        docs.append(
            _object(
                "apps/v1",
                "Deployment",
                namespace,
                f"{app}-{version}",
                {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
            )
        )
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return [*docs, _object("v1", "Service", namespace, app, {"selector": {"app": app}, "ports": ports})]


# -- Istio


def _istio_namespace(namespace: str) -> list[Doc]:
    return [
        _object("v1", "Namespace", None, namespace, labels={"istio-injection": "enabled"}),
        _object(_SECURITY, "PeerAuthentication", namespace, "default", {"mtls": {"mode": "STRICT"}}),
        _object(_SECURITY, "AuthorizationPolicy", namespace, "deny-all", {}),
    ]


def _istio_app(rng: Random, namespace: str, app: str, caller: str) -> list[Doc]:
    host = f"{app}.{namespace}.svc.cluster.local"
    weight = rng.choice([5, 10, 20])
    routes = [
        {"destination": {"host": host, "subset": "stable"}, "weight": 100 - weight},
        {"destination": {"host": host, "subset": "canary"}, "weight": weight},
    ]
    policy = {
        "outlierDetection": {"consecutive5xxErrors": rng.randint(3, 9), "interval": "10s", "baseEjectionTime": "30s"},
        "connectionPool": {"tcp": {"maxConnections": 100}},
    }
    subsets = [{"name": "stable", "labels": {"version": "v1"}}, {"name": "canary", "labels": {"version": "v2"}}]
    operation = {"methods": rng.sample(_METHODS, 2), "paths": [f"/{app}/*", "/status"]}
    rules = [{"from": [{"source": {"principals": [f"cluster.local/ns/{namespace}/sa/{caller}"]}}], "to": [{"operation": operation}]}]
    return [
        _object(
            _ISTIO,
            "VirtualService",
            namespace,
            app,
            {"hosts": [app], "http": [{"timeout": "5s", "retries": {"attempts": 2, "perTryTimeout": "2s"}, "route": routes}]},
        ),
        _object(_ISTIO, "DestinationRule", namespace, app, {"host": host, "trafficPolicy": policy, "subsets": subsets}),
        _object(_SECURITY, "AuthorizationPolicy", namespace, f"allow-{app}", {"selector": {"matchLabels": {"app": app}}, "rules": rules}),
    ]


# -- Linkerd


def _linkerd_namespace(namespace: str) -> list[Doc]:
    notes = {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "all-authenticated"}
    return [_object("v1", "Namespace", None, namespace, annotations=notes)]


def _linkerd_app(rng: Random, namespace: str, app: str, caller: str) -> list[Doc]:
    weight = rng.choice([1, 2])
    route = {
        "parentRefs": [{"group": "core", "kind": "Service", "name": app, "port": 80}],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": f"/{app}"}}],
                "timeouts": {"request": "5s"},
                "backendRefs": [
                    {"name": f"{app}-stable", "port": 80, "weight": 10 - weight},
                    {"name": f"{app}-canary", "port": 80, "weight": weight},
                ],
            },
            {"backendRefs": [{"name": f"{app}-stable", "port": 80}]},
        ],
    }
    versions = [
        _object(
            "v1",
            "Service",
            namespace,
            f"{app}-{name}",
            {"selector": {"app": app, "version": version}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        )
        for name, version in (("stable", "v1"), ("canary", "v2"))
    ]
    server = {"podSelector": {"matchLabels": {"app": app}}, "port": 8080, "proxyProtocol": "HTTP/1"}
    inbound = {
        "parentRefs": [{"group": "policy.linkerd.io", "kind": "Server", "name": app}],
        "rules": [{"matches": [{"method": method, "path": {"type": "Exact", "value": f"/{app}"}} for method in rng.sample(_METHODS, 2)]}],
    }
    grant = {
        "targetRef": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": f"{app}-inbound"},
        "requiredAuthenticationRefs": [{"kind": "ServiceAccount", "name": caller, "namespace": namespace}],
    }
    return [
        *versions,
        _object("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, app, route),
        _object(_POLICY, "Server", namespace, app, server),
        _object("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, f"{app}-inbound", inbound),
        _object("policy.linkerd.io/v1alpha1", "AuthorizationPolicy", namespace, app, grant),
    ]
