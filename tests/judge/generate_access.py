"""Random bundles with everything that decides access in Istio and Linkerd, and requests for them.

They start from the plain bundles of `generate` and add what is rarer: Jobs, headless Services, pods outside the mesh in its namespaces, names for ports that
differ from pod to pod, every level and mode of mTLS, every key of `when`, gRPC, rate limits beside, objects with an age.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from .ambient import captured
from .generate import Atoms, build_istio, build_linkerd, build_request
from .vocabulary import ACCOUNTS, BLOCKS, EDGE, HEADERS, HOSTS, MESHED, METHODS, NAMESPACES, OUTSIDE, PATTERNS, dice, some
from .world import Obj, World, meta, name_of, spec_of

RELEASES = {"linkerd": ("2.12", "2.14", "2.16", "2.18", "2.20"), "istio": ("1.24", "1.25", "1.27", "1.29", "1.30", "1.31")}
_SECURITY = "security.istio.io/v1"
_LINKERD = "policy.linkerd.io/v1alpha1"
_GATEWAY = "gateway.networking.k8s.io"
_DEFAULTS = ("all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated", "deny", "audit")
_SELECTED = (
    {"app": "pay"}, {"app": "cart"}, {"tier": "back"}, {"tier": "front"}, {"app": "web"}, {"app": "db"}, {"app": "report"}, {"app": "agent"},
    {"app": "side"}, {"app": "runner"},
)  # fmt: skip
_GRPC = ("/shop.Cart/Add", "/shop.Cart/List", "/shop.Pay/Charge")
_SUFFIX = "serviceaccount.identity.linkerd.cluster.local"


def _object(api: str, kind: str, namespace: str, name: str, spec: Obj, **metadata: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}


def _age(rng: Random) -> Obj:
    """Metadata of an object that came from a cluster, for some."""
    return {"creationTimestamp": f"2025-0{rng.randint(1, 9)}-01T00:00:00Z"} if dice(rng, 0.3) else {}


# ---- the world


def _pod(labels: dict[str, str], account: str, ports: list[Obj], mesh: str, *, outside: bool = False, **pod: Any) -> Obj:
    metadata: Obj = {"labels": dict(labels)}
    if outside and mesh == "istio":
        metadata["labels"]["sidecar.istio.io/inject"] = "false"
    elif outside:
        metadata["annotations"] = {"linkerd.io/inject": "disabled"}
    container: Obj = {"name": "app", "image": "app:1"}
    if ports:
        container["ports"] = ports
    return {"metadata": metadata, "spec": {"serviceAccountName": account, "containers": [container], **pod}}


def _more_world(rng: Random, mesh: str) -> list[Obj]:
    """A StatefulSet behind a headless Service, a Job, a CronJob, a pod on the host's network, and pods that the mesh leaves out."""
    out: list[Obj] = []
    if dice(rng, 0.5):
        ports: list[Obj] = [{"name": rng.choice(["http", "web"]), "containerPort": rng.choice([8080, 8081])}]
        if dice(rng, 0.4):
            ports.append({"name": "grpc", "containerPort": 50051})
        pod = _pod({"app": "db", "tier": "back"}, rng.choice(["shared", "web"]), ports, mesh)
        out.append(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "shop"},
                "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": pod},
            }
        )
        listed = [{"name": one["name"], "port": one["containerPort"], "targetPort": one["name"]} for one in ports]
        spec = {"clusterIP": "None", "selector": {"app": "db"}, "ports": listed}
        out.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"}, "spec": spec})
    if dice(rng, 0.4):
        pod = _pod({"app": "report"}, rng.choice(["runner", "web"]), [{"containerPort": 8080}] if dice(rng, 0.3) else [], mesh)
        pod["spec"]["restartPolicy"] = "Never"
        job: Obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "report", "namespace": "ops"}, "spec": {"template": pod}}
        if dice(rng, 0.5):
            job["kind"], job["spec"] = "CronJob", {"schedule": "0 * * * *", "jobTemplate": {"spec": job["spec"]}}
        out.append(job)
    if dice(rng, 0.3):
        pod = _pod({"app": "agent"}, rng.choice(["agent", "shared"]), [{"name": "http", "containerPort": 8080}], mesh, hostNetwork=True)
        out.append(_object("apps/v1", "DaemonSet", "shop", "agent", {"selector": {"matchLabels": {"app": "agent"}}, "template": pod}))
    if dice(rng, 0.3):  # a pod that the mesh leaves out, maybe under an account of one that it has
        pod = _pod(
            {"app": "side", "tier": "back"}, rng.choice(["side", "shared"]), [{"name": "http", "containerPort": 8080}], mesh, outside=True
        )
        out.append(_object("apps/v1", "Deployment", "shop", "side", {"selector": {"matchLabels": {"app": "side"}}, "template": pod}))
    return out


def _renumbered(rng: Random, bundle: list[Obj]) -> None:
    """The port named http is another number in some pods; and a Service names its container port."""
    for obj in bundle:
        if obj["kind"] == "Deployment" and name_of(obj) in ("cart", "pay-v2") and dice(rng, 0.3):
            container = spec_of(obj)["template"]["spec"]["containers"][0]
            container["ports"][0]["containerPort"] = 8081
            for probe in ("readinessProbe", "livenessProbe"):
                if container.get(probe, {}).get("httpGet", {}).get("port") == 8080:
                    container[probe]["httpGet"]["port"] = "http"
        if obj["kind"] == "Service" and dice(rng, 0.2):
            for port in spec_of(obj)["ports"]:
                if port["name"] == "http-admin" and dice(rng, 0.5):
                    port["name"], port["appProtocol"] = "admin", rng.choice(["http", "tcp", "grpc"])


# ---- Istio


def wide_istio_bundle(seed: int) -> list[Obj]:
    """A bundle for the sidecars of Istio, at the release that `releases` gives for the same seed."""
    rng = Random(f"istio {seed}")
    out = build_istio(rng)
    if dice(rng, 0.5):
        _renumbered(rng, out)
    out += _more_world(rng, "istio")
    out = [_widened_authentication(rng, obj) if obj["kind"] == "PeerAuthentication" else obj for obj in out]
    for obj in out:
        if obj["kind"] == "AuthorizationPolicy":
            meta(obj).update(_age(rng))
            if dice(rng, 0.25) and spec_of(obj).get("selector"):
                spec_of(obj)["selector"] = {"matchLabels": dict(rng.choice(_SELECTED))}
            for rule in spec_of(obj).get("rules") or []:
                _widened_rule(rng, rule)
    for number in range(rng.choice([0, 0, 1, 2])):
        out.append(_rare_policy(rng, number))
    if dice(rng, 0.1):
        jwt = {
            "selector": {"matchLabels": dict(rng.choice(_SELECTED))},
            "jwtRules": [{"issuer": "https://issuer.test", "jwksUri": "https://issuer.test/keys"}],
        }
        out.append(_object(_SECURITY, "RequestAuthentication", "shop", "jwt", jwt))
    return out


def _widened_authentication(rng: Random, obj: Obj) -> Obj:
    meta(obj).update(_age(rng))
    spec = spec_of(obj)
    if dice(rng, 0.15):
        spec["mtls"] = {"mode": "DISABLE"}
    if dice(rng, 0.1):
        spec.pop("mtls", None)
    if "selector" in spec and dice(rng, 0.5):
        modes = ("STRICT", "PERMISSIVE", "DISABLE", "UNSET")
        spec["portLevelMtls"] = {port: {"mode": rng.choice(modes)} for port in some(rng, ("8080", "9090", "7000", "8081", "6001"), 2)}
    return obj


def _widened_rule(rng: Random, rule: Obj) -> None:
    """Rarer fields of sources, operations and conditions in a rule that is there."""
    for entry in rule.get("from") or []:
        if dice(rng, 0.15):
            entry["source"] = _rare_source(rng)
    for entry in rule.get("to") or []:
        operation = entry["operation"]
        if "paths" in operation and dice(rng, 0.15):
            operation["paths"] = some(rng, (*_GRPC, "/a/*/b", "/api/{*}/x", "/shop.Cart/*", "/api//v1", "/%2e", "/a%2Fb"), 2)
        if "methods" in operation and dice(rng, 0.1):
            operation["methods"] = [rng.choice(["*", "P*", "*T", "PATCH"])]
        if "ports" in operation and dice(rng, 0.15):
            operation["ports"] = some(rng, ("8081", "50051", "6001", "8080"), 2)
    if dice(rng, 0.15):
        rule["when"] = [_rare_condition(rng) for _ in range(rng.choice([1, 1, 2]))]


def _rare_source(rng: Random) -> Obj:
    accounts = tuple(f"{n}/{a}" for n, a in ACCOUNTS)
    return rng.choice(
        [
            {"remoteIpBlocks": some(rng, BLOCKS, 2)},
            {"notRemoteIpBlocks": some(rng, BLOCKS, 1)},
            {"requestPrincipals": ["https://issuer.test/*"]},
            {"notRequestPrincipals": ["*"]},
            {"notServiceAccounts": some(rng, accounts, 2)},
            {"serviceAccounts": some(rng, (*accounts, "web"), 2), "ipBlocks": some(rng, BLOCKS, 1)},
            {"principals": ["*"], "notNamespaces": [rng.choice(NAMESPACES)]},
            {"principals": [rng.choice(["*-mesh/ns/shop/*", "cluster.local/ns/legacy/sa/batch", "cluster.local/*", "*web"])]},
            {"notPrincipals": [f"cluster.local/ns/{OUTSIDE}/sa/batch"]},
            {"namespaces": [rng.choice(["*op*", OUTSIDE, "*s"])]},
        ]
    )


def _rare_condition(rng: Random) -> Obj:
    name, value = rng.choice(HEADERS)
    accounts = tuple(f"{n}/{a}" for n, a in ACCOUNTS)
    makers: list[tuple[str, Callable[[], list[str]]]] = [
        (f"request.headers[{name}]", lambda: [value]),
        ("request.headers[:method]", lambda: some(rng, METHODS, 2)),
        ("request.headers[:path]", lambda: [rng.choice(PATTERNS[:3])]),
        ("request.headers[:authority]", lambda: some(rng, HOSTS, 2)),
        ("request.headers[Host]", lambda: ["api.shop.test"]),
        ("source.ip", lambda: some(rng, BLOCKS, 2)),
        ("remote.ip", lambda: some(rng, BLOCKS, 2)),
        ("source.namespace", lambda: some(rng, (*MESHED, EDGE), 2)),
        ("source.serviceAccount", lambda: some(rng, accounts, 2)),
        ("source.principal", lambda: [f"cluster.local/ns/{n}/sa/{a}" for n, a in some(rng, ACCOUNTS, 2)]),
        ("source.trustDomain", lambda: [rng.choice(["cluster.local", "other.domain"])]),
        ("request.auth.principal", lambda: ["https://issuer.test/ann"]),
        ("request.auth.audiences", lambda: ["shop"]),
        ("request.auth.presenter", lambda: ["client"]),
        ("request.auth.claims[groups]", lambda: ["admins"]),
        ("destination.ip", lambda: ["10.2.0.0/16"]),
        ("destination.port", lambda: some(rng, ("8080", "9090", "6001"), 2)),
        ("connection.sni", lambda: ["api.shop.test"]),
    ]
    key, values = rng.choice(makers)
    condition: Obj = {"key": key, "notValues" if dice(rng, 0.3) else "values": values()}
    if dice(rng, 0.1) and "values" in condition and key == "source.ip":
        condition["notValues"] = ["10.1.2.3"]
    return condition


def _rare_policy(rng: Random, number: int) -> Obj:
    """Policies that open, close or cut everything, of every action, also where no server lives."""
    spec: Obj = {}
    if dice(rng, 0.6):
        spec["selector"] = {"matchLabels": dict(rng.choice(_SELECTED))}
    kind = rng.choice(["nothing", "everything", "mtls", "address", "outsiders", "custom", "audit", "empty-rules", "waypoint", "condition"])
    if kind == "everything":
        spec["rules"] = [{}]
        if dice(rng, 0.15):
            spec["action"] = "DENY"
    elif kind == "mtls":
        spec.update(action="DENY", rules=[{"from": [{"source": {"notPrincipals": ["*"]}}]}])
    elif kind == "address":
        spec.update(action="DENY", rules=[{"from": [{"source": {"ipBlocks": [rng.choice(BLOCKS)]}}]}])
    elif kind == "outsiders":
        spec.update(action="DENY", rules=[{"from": [{"source": {"namespaces": [OUTSIDE]}}]}])
    elif kind == "custom":
        spec.update(action="CUSTOM", provider={"name": "ext"}, rules=[{"to": [{"operation": {"paths": ["/admin*"]}}]}])
    elif kind == "audit":
        spec.update(action="AUDIT", rules=[{}])
    elif kind == "empty-rules":
        spec["rules"] = []
    elif kind == "waypoint":
        spec.pop("selector", None)
        spec.update(targetRefs=[{"kind": "Service", "group": "", "name": "pay"}], rules=[{}])
    elif kind == "condition":
        spec.update(action=rng.choice(["ALLOW", "DENY"]), rules=[{"when": [_rare_condition(rng)]}])
    namespace = rng.choice([*MESHED, "shop", EDGE, "istio-system"]) if kind != "waypoint" else "shop"
    return _object(_SECURITY, "AuthorizationPolicy", namespace, f"rare-{number}", spec, **_age(rng))


# ---- Linkerd


def wide_linkerd_bundle(seed: int) -> list[Obj]:
    """A bundle for Linkerd."""
    rng = Random(f"linkerd {seed}")
    out = build_linkerd(rng)
    if dice(rng, 0.5):
        _renumbered(rng, out)
    out += _more_world(rng, "linkerd")
    for obj in out:
        if obj["kind"] in ("Server", "HTTPRoute", "AuthorizationPolicy"):
            meta(obj).update(_age(rng))
        if obj["kind"] == "Server":
            _widened_server(rng, obj)
        elif obj["kind"] == "HTTPRoute":
            _widened_route(rng, obj)
        elif obj["kind"] == "MeshTLSAuthentication":
            _widened_identities(rng, obj)
        elif obj["kind"] == "NetworkAuthentication" and name_of(obj) == "nets" and dice(rng, 0.2):
            spec_of(obj)["networks"] = [{"cidr": "0.0.0.0/0", "except": some(rng, BLOCKS, 2)}]
        elif obj["kind"] in ("Namespace", "Deployment", "StatefulSet") and dice(rng, 0.15):
            _widened_annotations(rng, obj)
    for server in [obj for obj in out if obj["kind"] == "Server"]:
        out += _beside(rng, server)
    if dice(rng, 0.15):
        out.append(_empty_selector(rng))
    return out


def _widened_server(rng: Random, server: Obj) -> None:
    spec = spec_of(server)
    if dice(rng, 0.2):
        spec["podSelector"] = rng.choice(
            [{"matchLabels": dict(rng.choice(_SELECTED))}, {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}]
        )
    if dice(rng, 0.1):
        spec["port"] = rng.choice([8081, 50051, "grpc", "web", 6001])
    if spec.get("proxyProtocol") != "opaque" and dice(rng, 0.15):
        spec["proxyProtocol"] = rng.choice(["HTTP/2", "opaque", "TLS", "unknown"])


def _widened_route(rng: Random, route: Obj) -> None:
    spec = spec_of(route)
    if dice(rng, 0.1):
        spec["hostnames"] = some(rng, ("api.shop.test", "*.shop.test", "pay.shop.svc.cluster.local"), 2)
    if dice(rng, 0.07):
        spec["rules"] = [{}]
    for rule in spec["rules"]:
        if dice(rng, 0.07):
            modifier = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-seen", "value": "1"}]}}
            rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "elsewhere.test"}}
            rule["filters"] = [rng.choice([modifier, modifier, rewrite])]
        for match in rule.get("matches") or []:
            if dice(rng, 0.1):
                match["headers"] = [{"name": "X-Tenant", "value": rng.choice(["gold|silver", "g.*"]), "type": "RegularExpression"}]
            if dice(rng, 0.07):
                match["queryParams"] = [{"name": "q", "value": rng.choice(["[0-9]+", "1"]), "type": "RegularExpression"}]
            if dice(rng, 0.07):
                match["path"] = {"type": "PathPrefix", "value": rng.choice(["/api/", "/", "/shop.Cart"])}


def _widened_identities(rng: Random, obj: Obj) -> None:
    if name_of(obj) == "by-name" and dice(rng, 0.2):
        spec_of(obj)["identities"] = some(
            rng, (f"*.{OUTSIDE}.{_SUFFIX}", f"*.{_SUFFIX}", f"ghost.shop.{_SUFFIX}", "*.other.test", f"web.ops.{_SUFFIX}"), 2
        )
    elif name_of(obj) == "by-ref" and dice(rng, 0.2):
        spec_of(obj)["identityRefs"] = [
            rng.choice(
                [{"kind": "ServiceAccount", "name": "web"}, {"kind": "Namespace", "name": OUTSIDE}, {"kind": "Namespace", "name": EDGE}]
            )
        ]


def _widened_annotations(rng: Random, obj: Obj) -> None:
    holder = meta(obj) if obj["kind"] == "Namespace" else spec_of(obj)["template"]["metadata"]
    key, value = rng.choice(
        [
            ("default-inbound-policy", rng.choice(_DEFAULTS)),
            ("default-inbound-policy", rng.choice(_DEFAULTS)),
            ("proxy-require-identity-inbound-ports", rng.choice(["9090", "8080-8081"])),
            ("skip-inbound-ports", rng.choice(["9090", "6000-6010"])),
            ("opaque-ports", rng.choice(["9090", "8080,9090"])),
        ]
    )
    holder.setdefault("annotations", {})[f"config.linkerd.io/{key}"] = value


def _beside(rng: Random, server: Obj) -> list[Obj]:
    """A GRPCRoute, a rate limit, a ServerAuthorization or a policy in another form on a Server."""
    namespace, name = meta(server)["namespace"], name_of(server)
    out: list[Obj] = []
    spec = spec_of(server)
    if spec.get("proxyProtocol") == "HTTP/2" and dice(rng, 0.6):
        spec["proxyProtocol"] = "gRPC"
    if spec.get("proxyProtocol") == "gRPC":
        for number in range(rng.choice([0, 1, 2])):
            route = f"{name}-grpc-{number}"
            method = rng.choice([{"service": "shop.Cart"}, {"service": "shop.Cart", "method": "Add"}, {"method": "Add"}, None])
            match: Obj = {"method": method} if method else {}
            if dice(rng, 0.2):
                match["headers"] = [{"name": "x-tenant", "value": "gold", "type": "Exact"}]
            rule = {"matches": [match]} if match else {}
            parents = [{"group": "policy.linkerd.io", "kind": "Server", "name": name}]
            out.append(_object(f"{_GATEWAY}/v1", "GRPCRoute", namespace, route, {"parentRefs": parents, "rules": [rule]}))
            out.append(_policy(rng, namespace, f"{route}-policy", {"group": _GATEWAY, "kind": "GRPCRoute", "name": route}))
    elif dice(rng, 0.1) and spec.get("proxyProtocol") not in ("opaque", "TLS"):
        limit = {"targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": name}, "total": {"requestsPerSecond": 100}}
        out.append(_object(_LINKERD, "HTTPLocalRateLimitPolicy", namespace, f"{name}-limit", limit))
    if dice(rng, 0.1):
        out.append(_policy(rng, namespace, f"{name}-more", {"group": "policy.linkerd.io", "kind": "Server", "name": name}))
    if dice(rng, 0.08):
        client = rng.choice(
            [
                {"meshTLS": {"identities": [f"*.shop.{_SUFFIX}"]}},
                {"meshTLS": {"serviceAccounts": [{"name": "web"}]}, "networks": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]},
                {"unauthenticated": True, "networks": [{"cidr": "203.0.113.0/24"}]},
            ]
        )
        saz = {"server": {"selector": {"matchLabels": {"team": "a"}}}, "client": client}
        out.append(_object("policy.linkerd.io/v1beta1", "ServerAuthorization", namespace, f"{name}-older", saz))
    return out


def _policy(rng: Random, namespace: str, name: str, target: Obj) -> Obj:
    account = rng.choice(ACCOUNTS)
    mesh = {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": rng.choice(["by-name", "by-ref"])}
    refs: list[Obj] = rng.choice(
        [
            [mesh],
            [{"kind": "ServiceAccount", "name": account[1], "namespace": account[0]}],
            [{"kind": "ServiceAccount", "name": "web"}],
            [mesh, {"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": "nets"}],
            [{**mesh, "namespace": rng.choice(MESHED)}],
            [{**mesh, "namespace": OUTSIDE}],
        ]
    )
    return _object(_LINKERD, "AuthorizationPolicy", namespace, name, {"targetRef": target, "requiredAuthenticationRefs": refs})


def _empty_selector(rng: Random) -> Obj:
    """A Server for every pod of a namespace."""
    spec: Obj = {"podSelector": {}, "port": rng.choice([8080, "http", 9090])}
    if dice(rng, 0.5):
        spec["accessPolicy"] = rng.choice(_DEFAULTS)
    return _object("policy.linkerd.io/v1beta3", "Server", rng.choice(MESHED), "a-server-for-all", spec, **_age(rng))


# ---- requests


class WideAtoms(Atoms):
    """The callers as they are: a pod has an identity where it has a proxy."""

    def __init__(self, bundle: list[Obj], mesh: str) -> None:
        super().__init__(bundle)
        world = World(bundle)
        injected = {"istio": world.istio_injected, "linkerd": world.linkerd_injected, "ambient": partial(captured, world)}[mesh]
        self.servers = [one for one in world.workloads if one.namespace in MESHED]
        self.callers = sorted({(one.namespace, one.service_account, injected(one)) for one in world.workloads})
        self.callers += [("elsewhere", "stranger", True), ("shop", "default", True), (EDGE, "gateway", True)]


def wide_requests(bundle: list[Obj], mesh: str, seed: int, n: int) -> list[Obj]:
    """Requests near the values of a bundle, with all that a rule may ask of them."""
    rng, atoms = Random(f"requests {seed}"), WideAtoms(bundle, mesh)
    return [_widened_request(rng, build_request(rng, atoms)) for _ in range(n)]


def _widened_request(rng: Random, request: Obj) -> Obj:
    request["destination"]["ip"] = rng.choice(["10.2.0.5", "10.3.0.5"])
    if dice(rng, 0.03) and request["source"].get("meshed"):
        request["source"]["identity"] = "other.domain/ns/shop/sa/web"
        request["source"].pop("service_account", None)
    if dice(rng, 0.15):
        request["sni"] = "api.shop.test"
    if request.get("protocol") != "http":
        return request
    if dice(rng, 0.1):
        request["forwarded_for"] = rng.choice(["10.1.2.3", "203.0.113.9, 192.168.4.4"])
    if dice(rng, 0.1):
        request["claims"] = {"iss": "https://issuer.test", "sub": "ann", "aud": ["shop"], "azp": "client", "groups": ["admins"]}
    if dice(rng, 0.12):
        request.update(method="POST", path=rng.choice(_GRPC))
    elif dice(rng, 0.1):
        request["path"] = rng.choice(
            ["/api/v1?q=1", "/api/v1?q=22&x=1", "/a%2Fb", "/api//v1", "/a/*/b", "/api/%2e%2e/admin", "/api\\v1", "*/items", "/api?q=x"]
        )
        if not request["path"].startswith("/"):
            request["path"] = "/" + request["path"]
    if dice(rng, 0.1):
        request["host"] = rng.choice(["API.shop.test", "api.shop.test:8080", "y.x.shop.test", "shop.test"])
    return request


__all__ = ["RELEASES", "wide_istio_bundle", "wide_linkerd_bundle", "wide_requests"]
