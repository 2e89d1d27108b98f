"""Random worlds with policies, and requests that come near what the policies speak of.

Everything is drawn from a `random.Random`: seeded for plain runs, Hypothesis' own (which shrinks) for the strategies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from hypothesis import strategies as st

from .vocabulary import (
    ACCOUNTS,
    ADDRESSES,
    BLOCKS,
    EDGE,
    HEADERS,
    HOSTS,
    MESHED,
    METHODS,
    OUTSIDE,
    PATHS,
    PATTERNS,
    REGEXES,
    dice,
    namespaces,
    pick_account,
    some,
    subject,
    workloads,
)
from .world import Obj, World, spec_of

_SECURITY = "security.istio.io/v1"
_LINKERD = "policy.linkerd.io/v1alpha1"
_POLICIES = ("all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated", "deny", "audit")


def _object(api: str, kind: str, namespace: str, name: str, spec: Obj, **meta: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


# ---- Istio


def random_istio_bundle(seed: int) -> list[Obj]:
    return build_istio(Random(seed))


def build_istio(rng: Random) -> list[Obj]:
    """Namespaces, workloads, Services, PeerAuthentications at several levels, AuthorizationPolicies."""
    notes = {"cart": {"traffic.sidecar.istio.io/excludeInboundPorts": "9090"}} if dice(rng, 0.1) else None
    out = namespaces("istio") + workloads(rng, notes)
    if dice(rng, 0.4):
        out.append(_peer_authentication(rng, "istio-system", "mesh", selecting=False))
    for namespace in MESHED:
        if dice(rng, 0.4):
            out.append(_peer_authentication(rng, namespace, "default", selecting=False))
        if dice(rng, 0.3):
            out.append(_peer_authentication(rng, namespace, "workload", selecting=True))
    out += [_authorization_policy(rng, number) for number in range(rng.randint(1, 5))]
    return out


def _peer_authentication(rng: Random, namespace: str, name: str, *, selecting: bool) -> Obj:
    spec: Obj = {"mtls": {"mode": rng.choice(["STRICT", "STRICT", "PERMISSIVE", "UNSET"])}}
    if selecting:
        spec["selector"] = {"matchLabels": subject(rng)}
        if dice(rng, 0.6):
            spec["portLevelMtls"] = {str(rng.choice([8080, 9090])): {"mode": rng.choice(["STRICT", "PERMISSIVE", "UNSET"])}}
    return _object(_SECURITY, "PeerAuthentication", namespace, name, spec)


def _authorization_policy(rng: Random, number: int) -> Obj:
    spec: Obj = {}
    if dice(rng, 0.75):
        spec["selector"] = {"matchLabels": subject(rng)}
    action = rng.choices(["ALLOW", "DENY", "AUDIT", None], [5, 3, 0.5, 3])[0]
    if action:
        spec["action"] = action
    count = rng.choice([0, 1, 1, 1, 2, 3])
    if count or action in {"DENY", "AUDIT"}:
        spec["rules"] = [_rule(rng) for _ in range(count or 1)]
    meta = {"annotations": {"istio.io/dry-run": "true"}} if dice(rng, 0.05) else {}
    namespace = rng.choices([*MESHED, "istio-system"], [6, 3, 1])[0]
    return _object(_SECURITY, "AuthorizationPolicy", namespace, f"authz-{number}", spec, **meta)


def _rule(rng: Random) -> Obj:
    rule: Obj = {}
    if dice(rng, 0.75):
        rule["from"] = [{"source": _source(rng)} for _ in range(rng.choice([1, 1, 2]))]
    if dice(rng, 0.7):
        rule["to"] = [{"operation": _operation(rng)} for _ in range(rng.choice([1, 1, 2]))]
    if dice(rng, 0.2):
        rule["when"] = [_when(rng)]
    return rule


def _principals(rng: Random) -> list[str]:
    named = tuple(f"cluster.local/ns/{n}/sa/{a}" for n, a in ACCOUNTS)
    return some(rng, (*named, *named, "*", "cluster.local/ns/shop/*", "*/sa/web", "other.domain/ns/shop/sa/web"), 2)


def _source(rng: Random) -> Obj:
    makers: dict[str, Callable[[], list[str]]] = {
        "principals": lambda: _principals(rng),
        "notPrincipals": lambda: _principals(rng),
        "namespaces": lambda: some(rng, (*MESHED, EDGE, "sh*", "*"), 2),
        "notNamespaces": lambda: some(rng, (*MESHED, OUTSIDE), 2),
        "ipBlocks": lambda: some(rng, BLOCKS, 2),
        "notIpBlocks": lambda: some(rng, BLOCKS, 2),
    }
    if dice(rng, 0.1):
        return {"serviceAccounts": some(rng, (*(f"{n}/{a}" for n, a in ACCOUNTS), "web"), 2)}
    names = rng.choices(list(makers), [6, 1.5, 3, 1, 2, 1], k=rng.choice([1, 1, 1, 2]))
    return {n: makers[n]() for n in dict.fromkeys(names)}


def _operation(rng: Random) -> Obj:
    makers: dict[str, Callable[[], list[str]]] = {
        "methods": lambda: some(rng, METHODS),
        "notMethods": lambda: some(rng, METHODS, 2),
        "paths": lambda: some(rng, PATTERNS),
        "notPaths": lambda: some(rng, PATTERNS[:3] + PATTERNS[6:], 2),
        "ports": lambda: some(rng, ("8080", "9090", "7000"), 2),
        "notPorts": lambda: some(rng, ("8080", "9090"), 1),
        "hosts": lambda: some(rng, HOSTS, 2),
        "notHosts": lambda: some(rng, HOSTS, 1),
    }
    names = rng.choices(list(makers), [5, 1, 5, 1, 3, 1, 1, 0.5], k=rng.choice([1, 1, 2, 3]))
    return {n: makers[n]() for n in dict.fromkeys(names)}


def _when(rng: Random) -> Obj:
    name, value = rng.choice(HEADERS)
    condition = rng.choice(
        [
            (f"request.headers[{name}]", [value]),
            (f"request.headers[{name.title()}]", [rng.choice(["*", value[:1] + "*"])]),
            ("source.namespace", some(rng, MESHED, 1)),
            ("source.ip", some(rng, BLOCKS, 1)),
            ("destination.port", ["8080"]),
        ]
    )
    return {"key": condition[0], "notValues" if dice(rng, 0.25) else "values": condition[1]}


# ---- Linkerd


def random_linkerd_bundle(seed: int) -> list[Obj]:
    return build_linkerd(Random(seed))


def build_linkerd(rng: Random) -> list[Obj]:
    """Namespaces with default policies, workloads, Servers, routes, and the authorizations of all kinds."""
    default = "config.linkerd.io/default-inbound-policy"
    by_namespace = {n: {default: rng.choice(_POLICIES)} for n in MESHED if dice(rng, 0.5)}
    by_pod = {n: {default: rng.choice(_POLICIES)} for n in ("pay", "cart") if dice(rng, 0.2)}
    if dice(rng, 0.1):
        by_pod["runner"] = {"config.linkerd.io/proxy-require-identity-inbound-ports": "8080"}
    elif dice(rng, 0.1):
        by_pod["runner"] = {"config.linkerd.io/skip-inbound-ports": "9090-9091"}
    out = namespaces("linkerd", by_namespace) + workloads(rng, by_pod)
    for namespace in MESHED:
        out += _authentications(rng, namespace)
        servers = [_server(rng, namespace, n) for n in range(rng.choice([0, 1, 1, 2, 3]))]
        out += servers
        for server in servers:
            out += _guards(rng, server)
        if dice(rng, 0.15):
            ref = {"kind": "Namespace", "name": namespace}
            out.append(_linkerd_policy(rng, namespace, "whole-namespace", ref))
    return out


def _server(rng: Random, namespace: str, number: int) -> Obj:
    spec: Obj = {"podSelector": {"matchLabels": subject(rng)}, "port": rng.choice([8080, "http", "http", 9090, "admin", 7000])}
    if dice(rng, 0.15):
        spec["podSelector"] = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["pay", "web"]}]}
    if spec["port"] == 7000:
        spec["proxyProtocol"] = "opaque"
    elif dice(rng, 0.7):
        spec["proxyProtocol"] = rng.choice(["HTTP/1", "HTTP/1", "unknown"])
    if dice(rng, 0.25):
        spec["accessPolicy"] = rng.choice(_POLICIES)
    name = f"server-{number}"
    return _object("policy.linkerd.io/v1beta3", "Server", namespace, name, spec, labels={"server": name, "team": "a"})


def _authentications(rng: Random, namespace: str) -> list[Obj]:
    suffix = "serviceaccount.identity.linkerd.cluster.local"
    identities = (*(f"{a}.{n}.{suffix}" for n, a in ACCOUNTS), "*", f"*.shop.{suffix}", f"*.ops.{suffix}")
    account, other = pick_account(rng), rng.choice(MESHED)
    references = [{"kind": "ServiceAccount", "name": account[1], "namespace": account[0]}, {"kind": "Namespace", "name": other}]
    networks: list[Obj] = [{"cidr": c} for c in some(rng, BLOCKS, 2)]
    if dice(rng, 0.4):
        networks.append({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})
    everywhere = {"networks": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}
    return [
        _object(_LINKERD, "MeshTLSAuthentication", namespace, "by-name", {"identities": some(rng, identities, 2)}),
        _object(_LINKERD, "MeshTLSAuthentication", namespace, "by-ref", {"identityRefs": some(rng, tuple(references), 2)}),
        _object(_LINKERD, "NetworkAuthentication", namespace, "nets", {"networks": networks}),
        _object(_LINKERD, "NetworkAuthentication", namespace, "any", everywhere),
    ]


def _references(rng: Random, namespace: str) -> list[Obj]:
    account = pick_account(rng)
    mesh: Obj = rng.choice(
        [
            {"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": rng.choice(["by-name", "by-ref"])},
            {"kind": "ServiceAccount", "name": account[1], "namespace": account[0]},
        ]
    )
    network = {"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": rng.choice(["nets", "any"]), "namespace": namespace}
    choices: list[list[Obj]] = [
        [mesh],
        [network],
        [mesh, network],
        [],
        [{**mesh, "group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": "gone"}],
    ]
    return rng.choices(choices, [6, 2, 2, 1, 0.5])[0]


def _linkerd_policy(rng: Random, namespace: str, name: str, target: Obj) -> Obj:
    return _object(
        _LINKERD, "AuthorizationPolicy", namespace, name, {"targetRef": target, "requiredAuthenticationRefs": _references(rng, namespace)}
    )


def _guards(rng: Random, server: Obj) -> list[Obj]:
    """Authorizations of one Server, and maybe routes on it with their own."""
    namespace, name = server["metadata"]["namespace"], server["metadata"]["name"]
    opaque = server["spec"].get("proxyProtocol") == "opaque"
    out: list[Obj] = []
    if dice(rng, 0.4):
        target = {"group": "policy.linkerd.io", "kind": "Server", "name": name}
        out.append(_linkerd_policy(rng, namespace, f"{name}-all", target))
    if dice(rng, 0.35):
        out.append(_server_authorization(rng, namespace, name))
    for number in range(0 if opaque else rng.choice([0, 0, 1, 2, 3])):
        api, extra = rng.choice(
            [("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io"), ("policy.linkerd.io/v1beta3", "policy.linkerd.io")]
        )
        route = f"{name}-route-{number}"
        spec: Obj = {
            "parentRefs": [{"group": "policy.linkerd.io", "kind": "Server", "name": name}],
            "rules": [{"matches": [_route_match(rng) for _ in range(rng.choice([1, 1, 2]))]}],
        }
        if dice(rng, 0.1):
            spec["hostnames"] = [rng.choice(["api.shop.test", "*.shop.test"])]
        out.append(_object(api, "HTTPRoute", namespace, route, spec))
        if dice(rng, 0.8):
            out.append(_linkerd_policy(rng, namespace, route, {"group": extra, "kind": "HTTPRoute", "name": route}))
    return out


def _route_match(rng: Random) -> Obj:
    match: Obj = {}
    kind = rng.choice(["Exact", "PathPrefix", "PathPrefix", "RegularExpression", None])
    if kind:
        match["path"] = {"type": kind, "value": rng.choice(REGEXES if kind == "RegularExpression" else PATHS)}
    if dice(rng, 0.6):
        match["method"] = rng.choice(METHODS)
    if dice(rng, 0.15):
        name, value = rng.choice(HEADERS)
        match["headers"] = [{"name": name, "value": value, "type": "Exact"}]
    if dice(rng, 0.05):
        match["queryParams"] = [{"name": "q", "value": "1"}]
    return match or {"method": "GET"}


def _server_authorization(rng: Random, namespace: str, server: str) -> Obj:
    client: Obj = rng.choice(
        [
            {"unauthenticated": True},
            {"meshTLS": {"unauthenticatedTLS": True}},
            {"meshTLS": {"identities": ["*"]}},
            {"meshTLS": {"serviceAccounts": [{"name": a, "namespace": n} for n, a in some(rng, ACCOUNTS, 2)]}},
        ]
    )
    if dice(rng, 0.4):
        client = {**client, "networks": [{"cidr": c} for c in some(rng, (*BLOCKS, "0.0.0.0/0"), 2)]}
    selector: Obj = {"name": server} if dice(rng, 0.7) else {"selector": {"matchLabels": {"server": server}}}
    return _object("policy.linkerd.io/v1beta1", "ServerAuthorization", namespace, f"{server}-saz", {"server": selector, "client": client})


# ---- requests


def requests_for(bundle: list[Obj], seed: int, n: int) -> list[Obj]:
    """Requests near the values of a bundle's policies, of either mesh."""
    rng, atoms = Random(seed), Atoms(bundle)
    return [build_request(rng, atoms) for _ in range(n)]


class Atoms:
    """The callers, ports, methods, paths, hosts, headers and addresses that a bundle makes interesting."""

    def __init__(self, bundle: list[Obj]) -> None:
        world = World(bundle)
        self.servers = [w for w in world.workloads if w.namespace in MESHED] or world.workloads
        self.tcp = {
            (w.namespace, w.name, p.number) for w in world.workloads for p in w.ports if p.name.startswith("tcp") or p.number == 7000
        }
        self.callers = sorted({(w.namespace, w.service_account, w.namespace != OUTSIDE) for w in world.workloads})
        self.callers += [("elsewhere", "stranger", True), ("shop", "default", True), (EDGE, "gateway", True)]
        self.paths, self.methods = set(PATHS[:4]), {"GET", "POST"}
        self.hosts, self.addresses = {"pay"}, set(ADDRESSES)
        self.headers: set[tuple[str, str]] = set(HEADERS)
        for obj in bundle:
            for key, value in _leaves(spec_of(obj)):
                self._note(key, value)

    def _note(self, key: str, value: str) -> None:
        if key in {"path", "paths", "notPaths", "value"} and ("/" in value or value == "*"):
            self.paths.add(_sample(value))
        elif key in {"method", "methods", "notMethods"} and value.isupper():
            self.methods.add(value)
        elif key in {"hosts", "notHosts", "hostnames"}:
            self.hosts.add(value.replace("*", "x"))
        elif key in {"ipBlocks", "notIpBlocks", "cidr", "except"} and "." in value:
            network = ipaddress.ip_network(value, strict=False)
            if network.prefixlen:
                self.addresses.update({str(network.network_address + 1 if network.num_addresses > 1 else network.network_address)})
                self.addresses.add(str(network.broadcast_address + 1))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _leaves(child, str(name))
    elif isinstance(value, list):
        for child in value:
            yield from _leaves(child, key)
    elif isinstance(value, str):
        yield key, value


def _sample(pattern: str) -> str:
    """A path that a pattern or a regular expression probably matches."""
    text = pattern.removeprefix("^").removesuffix("$").removeprefix("(?:").removesuffix(")")
    for old, new in (
        ("{**}", "p/q"),
        ("{*}", "seg"),
        (r"[^/]+", "seg"),
        ("[0-9]+", "7"),
        (".*", "x"),
        (".+", "x"),
        ("(charge|refund)", "refund"),
    ):
        text = text.replace(old, new)
    text = text.replace("\\", "").replace("*", "z")
    text = text.partition("(")[0].partition("[")[0]
    return text if text.startswith("/") else "/" + text


def build_request(rng: Random, atoms: Atoms) -> Obj:
    """One REQUEST of the contract."""
    server = rng.choice(atoms.servers)
    ports = [p.number for p in server.ports]
    port = rng.choice([*ports, *ports, ports[0] if ports else 8080, 8080, 9090, 6001])
    namespace, account, meshed = rng.choice(atoms.callers)
    source: Obj = {"namespace": namespace, "service_account": account, "meshed": meshed and not dice(rng, 0.15)}
    source["ip"] = rng.choice(sorted(atoms.addresses)) if dice(rng, 0.6) else "10.9.0.7"
    if dice(rng, 0.1):  # somebody from outside the cluster
        source = {"meshed": False, "ip": rng.choice(["203.0.113.9", "198.51.100.1"])}
    request: Obj = {
        "source": source,
        "destination": {"namespace": server.namespace, "workload": server.name, "labels": dict(server.labels), "port": port},
    }
    if (server.namespace, server.name, port) in atoms.tcp:
        return {**request, "protocol": "tcp"}
    path = rng.choice(sorted(atoms.paths))
    around = [
        path,
        path,
        path,
        path + "x",
        path + "/",
        path + "/..",
        "/x/.." + path,
        path + "?q=1",
        "/healthz",
        "/livez",
        "/other",
        path.upper(),
    ]
    host = rng.choice(sorted(atoms.hosts))
    headers = dict([rng.choice(sorted(atoms.headers))]) if dice(rng, 0.4) else {}
    method = rng.choice(sorted(atoms.methods)) if dice(rng, 0.9) else rng.choice(METHODS)
    return {**request, "protocol": "http", "method": method, "host": host, "path": rng.choice(around), "headers": headers}


# ---- Hypothesis


def istio_bundles() -> st.SearchStrategy[list[Obj]]:
    return st.randoms(use_true_random=False).map(build_istio)


def linkerd_bundles() -> st.SearchStrategy[list[Obj]]:
    return st.randoms(use_true_random=False).map(build_linkerd)


def requests(bundle: list[Obj]) -> st.SearchStrategy[Obj]:
    atoms = Atoms(bundle)
    return st.randoms(use_true_random=False).map(lambda rng: build_request(rng, atoms))


def bundle_and_requests(mesh: str, size: int = 20) -> st.SearchStrategy[tuple[list[Obj], list[Obj]]]:
    """A bundle of one mesh together with requests for it."""
    bundles = istio_bundles() if mesh == "istio" else linkerd_bundles()
    return bundles.flatmap(lambda b: st.tuples(st.just(b), st.lists(requests(b), min_size=1, max_size=size)))
