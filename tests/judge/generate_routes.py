"""Random routes over a small world, with rules that lie on top of one another, and requests near what they speak of."""

from __future__ import annotations

from random import Random
from typing import Any

from .vocabulary import dice, some
from .world import Obj

NAMESPACES = ("shop", "pay")
PATHS = ("/", "/api", "/api/", "/api/v1", "/api/v1/items", "/x", "/apix", "/static/a.js")
EXPRESSIONS = ("/api/.*", "/api(/v[0-9]+)?", ".*[.]js", "/[a-z]+", "/api/v1/[^/]+")
METHODS = ("GET", "POST", "PUT")
HEADERS = {"x-user": ("alice", "bob"), "x-beta": ("1", "true"), "cookie": ("a=1", "b=2")}
QUERIES = {"q": ("1", "22"), "debug": ("on",)}
DURATIONS = ("1s", "0s", "1500ms", "2m", "1h30m", "0.5s")
RETRY_ON = (
    "5xx",
    "gateway-error",
    "503",
    "5xx,reset",
    "connect-failure,refused-stream",
    "gateway-error,retriable-4xx",
    "unavailable,503",
    "reset",
)
SERVICES = ("web", "web-v1", "web-v2", "cart")


def _object(api: str, kind: str, namespace: str, name: str, spec: Obj, notes: dict[str, str] | None = None) -> Obj:
    meta: Obj = {"name": name, "namespace": namespace}
    if notes:
        meta["annotations"] = notes
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}


def world(rng: Random, mesh: str) -> list[Obj]:
    """Two namespaces, `web` in two versions with a Service each, and two more Services."""
    out: list[Obj] = []
    for name in NAMESPACES:
        meta: Obj = {"name": name}
        if mesh == "istio":
            meta["labels"] = {"istio-injection": "enabled"}
        elif mesh == "linkerd":
            meta["annotations"] = {"linkerd.io/inject": "enabled"}
        out.append({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    pods = [
        ("shop", "web-v1", {"app": "web", "version": "v1"}),
        ("shop", "web-v2", {"app": "web", "version": "v2"}),
        ("shop", "cart", {"app": "cart"}),
        ("pay", "pay", {"app": "pay"}),
    ]
    for namespace, name, labels in pods:
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": labels["app"],
                "containers": [{"name": "app", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}],
            },
        }
        out.append(_object("apps/v1", "Deployment", namespace, name, {"selector": {"matchLabels": labels}, "template": template}))
    second = dice(rng, 0.25)
    for namespace, name, labels in [("shop", "web", {"app": "web"}), *pods]:
        ports: list[Obj] = [{"name": "http", "port": 80, "targetPort": 8080}]
        if second and namespace == "shop":
            ports.append({"name": rng.choice(["http-admin", "http-admin", "tcp-data"]), "port": 9090})
        out.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": dict(labels), "ports": ports},
            }
        )
    return out


# ---- Istio


def istio(seed: int) -> list[Obj]:
    rng = Random(seed)
    out = world(rng, "istio")
    api = "networking.istio.io/v1"
    for namespace, name in (("shop", "web"), ("pay", "pay")):
        if dice(rng, 0.9 if name == "web" else 0.3):
            spec: Obj = {"hosts": [_host(rng, name, namespace)], "http": [_entry(rng) for _ in range(rng.choice([1, 2, 2, 3, 4]))]}
            if dice(rng, 0.2):
                spec["gateways"] = rng.choice([["mesh", "istio-system/edge"], ["istio-system/edge"]])
            out.append(_object(api, "VirtualService", namespace, name, spec))
    rule: Obj = {"host": "web.shop.svc.cluster.local", "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")]}
    if dice(rng, 0.4):
        rule["trafficPolicy"] = {
            "outlierDetection": {"consecutive5xxErrors": rng.choice([1, 3, 7]), "baseEjectionTime": rng.choice(["10s", "60s", "400s"])}
        }
    out.append(_object(api, "DestinationRule", "shop", "web", rule))
    return out


def _host(rng: Random, name: str, namespace: str) -> str:
    return rng.choice([name, f"{name}.{namespace}.svc.cluster.local"])


def _destination(rng: Random) -> Obj:
    name = rng.choice(["web", "web", "web-v1", "web-v2", "cart", "pay.pay.svc.cluster.local"])
    found: Obj = {"host": name if "." in name else f"{name}.shop.svc.cluster.local"}
    if name == "web" and dice(rng, 0.8):
        found["subset"] = rng.choice(["v1", "v2"])
    if dice(rng, 0.3):
        found["port"] = {"number": 80}
    return found


def _entry(rng: Random) -> Obj:
    entry: Obj = {}
    if dice(rng, 0.8):
        entry["match"] = [_istio_match(rng) for _ in range(rng.choice([1, 1, 2]))]
    kind = rng.choices(["route", "redirect", "direct"], [12, 1.5, 0.7])[0]
    if kind == "redirect":
        entry["redirect"] = rng.choice(
            [
                {"uri": "/new"},
                {"authority": "other.test", "redirectCode": 302},
                {"scheme": "https", "port": 8443},
                {"uri": "/gone", "redirectCode": 308},
            ]
        )
        return entry
    if kind == "direct":
        entry["directResponse"] = {"status": rng.choice([403, 503, 404])}
        return entry
    count = rng.choice([1, 1, 2, 2, 3])
    weights = rng.choice([[90, 10, 0], [50, 50, 20], [33, 33, 34], [1, 3, 5], [100, 0, 0]])
    entry["route"] = [{"destination": _destination(rng), **({"weight": weights[at]} if count > 1 else {})} for at in range(count)]
    if dice(rng, 0.1):
        entry["route"][0]["headers"] = {"request": {"set": {"x-on-the-way": "1"}}}
    if dice(rng, 0.4):
        entry["timeout"] = rng.choice(DURATIONS)
    if dice(rng, 0.4):
        retries: Obj = {"attempts": rng.choice([0, 1, 2, 3, 5])}
        if retries["attempts"]:
            if dice(rng, 0.7):
                retries["retryOn"] = rng.choice(RETRY_ON)
            if dice(rng, 0.5):
                retries["perTryTimeout"] = rng.choice(["500ms", "2s"])
        entry["retries"] = retries
    if dice(rng, 0.12):
        entry["rewrite"] = rng.choice(
            [
                {"uri": "/"},
                {"uri": "/v2"},
                {"uri": "/v2/"},
                {"authority": "inner.test"},
                {"uriRegexRewrite": {"match": "/api/(.*)", "rewrite": "/\\1"}},
            ]
        )
    if dice(rng, 0.1):
        entry["fault"] = {"abort": {"percentage": {"value": rng.choice([10, 0.5])}, "httpStatus": 503}}
    if dice(rng, 0.12):
        entry["mirror"] = _destination(rng)
        if dice(rng, 0.6):
            entry["mirrorPercentage"] = {"value": rng.choice([100, 50, 12.5])}
    if dice(rng, 0.15):
        entry["headers"] = rng.choice(
            [
                {"request": {"set": {"x-a": "1"}, "remove": ["x-beta"]}},
                {"response": {"add": {"x-served": "100%%"}}},
                {"request": {"add": {"x-b": "2"}}},
            ]
        )
    return entry


def _istio_match(rng: Random) -> Obj:
    match: Obj = {}
    if dice(rng, 0.75):
        kind = rng.choice(["exact", "prefix", "prefix", "regex"])
        match["uri"] = {kind: rng.choice(EXPRESSIONS if kind == "regex" else PATHS)}
    if dice(rng, 0.3):
        match["method"] = rng.choice([{"exact": "GET"}, {"exact": "POST"}, {"regex": "GET|POST"}])
    if dice(rng, 0.3):
        name = rng.choice(list(HEADERS))
        match["headers"] = {
            name: rng.choice(
                [{"exact": rng.choice(HEADERS[name])}, {"exact": rng.choice(HEADERS[name])}, {"regex": ".*1.*"}, {"prefix": "a"}, {}]
            )
        }
    if dice(rng, 0.15):
        name = rng.choice(list(QUERIES))
        match["queryParams"] = {name: rng.choice([{"exact": rng.choice(QUERIES[name])}, {"regex": "[0-9]+"}])}
    if dice(rng, 0.06):
        match["port"] = 80
    if dice(rng, 0.05):
        match["sourceNamespace"] = "pay"
    if dice(rng, 0.05):
        match["withoutHeaders"] = {"x-beta": {"exact": "1"}}
    return match or {"method": {"exact": "GET"}}


# ---- the Gateway API, as each mesh has it


def _value(rng: Random, values: tuple[str, ...]) -> Obj:
    return {"value": rng.choice(values)} if dice(rng, 0.7) else {"type": "RegularExpression", "value": rng.choice([".*1.*", "[a-z]+"])}


def _route_match(rng: Random) -> Obj:
    match: Obj = {}
    if dice(rng, 0.75):
        kind = rng.choice(["Exact", "PathPrefix", "PathPrefix", "RegularExpression"])
        match["path"] = {"type": kind, "value": rng.choice(EXPRESSIONS if kind == "RegularExpression" else PATHS)}
    if dice(rng, 0.3):
        match["method"] = rng.choice(METHODS)
    if dice(rng, 0.3):
        names = some(rng, tuple(HEADERS), 2)
        match["headers"] = [{"name": name, **_value(rng, HEADERS[name])} for name in names]
    if dice(rng, 0.15):
        name = rng.choice(list(QUERIES))
        match["queryParams"] = [{"name": name, **_value(rng, QUERIES[name])}]
    return match or {"method": "GET"}


def _filters(rng: Random, more: bool) -> list[Obj]:
    found: list[Obj] = []
    if dice(rng, 0.15):
        found.append(
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-A", "value": "1"}], "remove": ["x-beta"]}}
        )
    if dice(rng, 0.1):
        found.append({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-served", "value": "100%"}]}})
    if more and dice(rng, 0.12):
        found.append(
            {
                "type": "RequestMirror",
                "requestMirror": {"backendRef": {"name": rng.choice(["cart", "web-v2"]), "port": 80}, **rng.choice([{}, {"percent": 10}])},
            }
        )
    if more and dice(rng, 0.12):
        body = rng.choice([{"hostname": "inner.test"}, {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/one"}}])
        found.append({"type": "URLRewrite", "urlRewrite": body})
    return found


def _route_rule(rng: Random, more: bool) -> Obj:
    rule: Obj = {}
    if dice(rng, 0.8):
        rule["matches"] = [_route_match(rng) for _ in range(rng.choice([1, 1, 2]))]
    if dice(rng, 0.12):
        body: Obj = rng.choice(
            [
                {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}},
                {"scheme": "https", "statusCode": 301},
                {"hostname": "other.test", "port": 8443},
            ]
        )
        rule["filters"] = [{"type": "RequestRedirect", "requestRedirect": body}]
        return rule
    filters = _filters(rng, more)
    if more and dice(rng, 0.1):
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": rng.choice(["/api", "/api/v1", "/"])}}]
        filters = [
            {
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": rng.choice(["/", "/v2", "/v2/"])}},
            }
        ]
    if filters:
        rule["filters"] = filters
    count = rng.choice([1, 1, 2, 3])
    weights = rng.choice([[9, 1, 0], [1, 1, 1], [90, 10, 5], [1, 2, 0]])
    rule["backendRefs"] = [
        {"name": name, "port": 80, **({"weight": weights[at]} if count > 1 else {})} for at, name in enumerate(rng.sample(SERVICES, count))
    ]
    if dice(rng, 0.4):
        rule["timeouts"] = {"request": rng.choice(DURATIONS[:4])}
        if more and dice(rng, 0.3):
            rule["timeouts"]["backendRequest"] = rule["timeouts"]["request"]
    if more and dice(rng, 0.2):
        rule["retry"] = {"attempts": rng.choice([1, 3]), "codes": rng.choice([[503], [500, 502], []])}
    return rule


def _routes(rng: Random, group: str, more: bool, notes: bool) -> list[Obj]:
    out = []
    for number in range(rng.choice([1, 1, 2, 3])):
        parent: Obj = {"group": group, "kind": "Service", "name": "web"}
        if dice(rng, 0.2):
            parent["port"] = 80
        found: dict[str, str] = {}
        if notes and dice(rng, 0.3):
            found["retry.linkerd.io/http"] = rng.choice(["5xx", "gateway-error", "503", "500-504", "5xx,reset"])
            if dice(rng, 0.6):
                found["retry.linkerd.io/limit"] = rng.choice(["1", "3"])
            if dice(rng, 0.4):
                found["retry.linkerd.io/timeout"] = rng.choice(["400ms", "2s"])
        if notes and dice(rng, 0.2):
            found["timeout.linkerd.io/request"] = rng.choice(["3s", "10s", "oops"])
        spec = {"parentRefs": [parent], "rules": [_route_rule(rng, more) for _ in range(rng.choice([1, 2, 3]))]}
        namespace = "shop"
        out.append(_object("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, f"web-{number}", spec, found))
    return out


def linkerd(seed: int) -> list[Obj]:
    rng = Random(seed)
    out = world(rng, "linkerd")
    web = next(obj for obj in out if obj["kind"] == "Service" and obj["metadata"]["name"] == "web")
    if dice(rng, 0.3):
        web["metadata"]["annotations"] = {
            "balancer.linkerd.io/failure-accrual": "consecutive",
            "balancer.linkerd.io/failure-accrual-consecutive-max-failures": rng.choice(["3", "7"]),
            "balancer.linkerd.io/failure-accrual-consecutive-min-penalty": rng.choice(["5s", "2m"]),
            **({"balancer.linkerd.io/failure-accrual-consecutive-max-penalty": "5m"} if dice(rng, 0.5) else {}),
        }
    if dice(rng, 0.3):
        out.append(_profile(rng))
        if dice(rng, 0.3):
            out += _routes(rng, "core", False, True)
    else:
        out += _routes(rng, "core", False, True)
    return out


def _profile(rng: Random) -> Obj:
    routes: list[Obj] = []
    for number in range(rng.choice([1, 2, 3])):
        condition: Obj = rng.choice(
            [
                {"pathRegex": rng.choice(("/api/v1", "/api/.*", "/x", "/api(/v[0-9]+)?"))},
                {"method": "GET"},
                {"all": [{"method": "POST"}, {"pathRegex": "/api.*"}]},
                {"any": [{"pathRegex": "/x"}, {"pathRegex": "/static/.*"}]},
            ]
        )
        route: Obj = {"name": f"route {number}", "condition": condition}
        if dice(rng, 0.4):
            route["timeout"] = rng.choice(["300ms", "2s", "25s"])
        if dice(rng, 0.4):
            route["isRetryable"] = True
        routes.append(route)
    spec: Obj = {"routes": routes}
    if dice(rng, 0.5):
        spec["retryBudget"] = {"retryRatio": 0.2, "minRetriesPerSecond": 10, "ttl": "10s"}
    if dice(rng, 0.4):
        spec["dstOverrides"] = [
            {"authority": f"{name}.shop.svc.cluster.local:80", "weight": weight}
            for name, weight in (("web-v1", "900m"), ("web-v2", "100m"))
        ]
    return _object("linkerd.io/v1alpha2", "ServiceProfile", "shop", "web.shop.svc.cluster.local", spec)


def gateway(seed: int, mesh: str = "gateway-api") -> list[Obj]:
    rng = Random(seed)
    return world(rng, mesh) + _routes(rng, "", True, False)


def cilium(seed: int) -> list[Obj]:
    out = gateway(seed, "cilium")
    for obj in out:
        if obj["kind"] == "HTTPRoute":
            obj["spec"]["parentRefs"][0].pop("port", None)
    return out


MAKE: dict[str, Any] = {"istio": istio, "linkerd": linkerd, "cilium": cilium, "gateway-api": gateway}

# ---- requests


def requests(seed: int, count: int) -> list[Obj]:
    rng = Random(seed + 7)
    out = []
    for _ in range(count):
        path = rng.choice([*PATHS, "/api/v1/items/7", "/api/v2", "/apixy", "/other", "/x/", "/static/b.js", "/api/v1/", "/API"])
        if dice(rng, 0.3):
            name = rng.choice(list(QUERIES))
            path += f"?{name}={rng.choice((*QUERIES[name], '3'))}"
        names = some(rng, tuple(HEADERS), 2) if dice(rng, 0.5) else []
        service = rng.choice([("shop", "web")] * 5 + [("pay", "pay"), ("shop", "cart")])
        out.append(
            {
                "source": {"namespace": rng.choice(NAMESPACES), "service_account": "cart", "meshed": True, "labels": {"app": "cart"}},
                "destination": {"namespace": service[0], "service": service[1], "port": 80},
                "protocol": "http",
                "method": rng.choice([*METHODS, "GET", "DELETE"]),
                "host": service[1],
                "path": path,
                "headers": {name: rng.choice((*HEADERS[name], "z")) for name in names},
            }
        )
    return out
