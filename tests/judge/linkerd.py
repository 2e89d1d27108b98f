"""Linkerd's verdict on one request to an inbound proxy: default policy, Servers, authorizations, routes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from .gateway import Match, attached, best, routes_of
from .http import in_network, in_networks, protocol_of, split_path
from .world import (
    Obj,
    Request,
    Undecided,
    Workload,
    World,
    account_of,
    by_age,
    in_ports,
    is_meshed,
    meta,
    name_of,
    namespace_of,
    selects,
    spec_of,
    trust_domain_of,
    world_of,
)

GROUP = "policy.linkerd.io"
CLUSTER_NETWORKS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
DEFAULT_POLICIES = ("all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated", "deny", "audit")
OPAQUE_PORTS = "25,587,3306,4444,5432,6379,9300,11211"
SKIPPED_PORTS = "4567,4568"

Verdict = Literal["allow", "deny", "unrouted"]
Authorized = Callable[[], bool]  # whether one authorization admits the request's client


def decide(
    manifests: Iterable[Obj],
    request: Request,
    *,
    cluster_networks: Sequence[str] = CLUSTER_NETWORKS,
    default_policy: str = "all-unauthenticated",
    trust_domain: str = "cluster.local",
    control_plane_namespace: str = "linkerd",
    skipped_ports: str = SKIPPED_PORTS,
) -> Verdict:
    """Whether the destination's proxy lets the request through; `unrouted` if it answers 404."""
    world = world_of(manifests)
    workload, port = world.destination(request), int(request["destination"]["port"])
    if not world.linkerd_injected(workload) or _bypassed(world, workload, port, request, skipped_ports):
        return "allow"
    return _Proxy(
        world, workload, port, request, tuple(cluster_networks), default_policy, (control_plane_namespace, trust_domain)
    ).verdict()


def _bypassed(world: World, workload: Workload, port: int, request: Request, skipped_ports: str) -> bool:
    skipped = world.linkerd_annotation(workload, "config.linkerd.io/skip-inbound-ports")
    subnets = [s.strip() for s in (world.linkerd_annotation(workload, "config.linkerd.io/skip-subnets") or "").split(",") if s.strip()]
    return in_ports(skipped_ports if skipped is None else skipped, port) or (
        bool(subnets) and in_networks(request["source"].get("ip"), subnets)
    )


def server_for(world: World, workload: Workload, port: int) -> Obj | None:
    """The Server that governs a container port: of several, the oldest, then the first by name."""
    for server in by_age(o for o in world.of("Server", GROUP) if namespace_of(o) == workload.namespace):
        spec = spec_of(server)
        if "podSelector" in spec and selects(spec["podSelector"], workload.labels) and port in workload.numbers(spec.get("port")):
            return server
    return None


def default_inbound_policy(world: World, workload: Workload, port: int, cluster_default: str) -> str:
    """The policy of a port that no Server selects."""
    policy = world.linkerd_annotation(workload, "config.linkerd.io/default-inbound-policy")
    if policy not in DEFAULT_POLICIES:
        policy = cluster_default
    required = world.linkerd_annotation(workload, "config.linkerd.io/proxy-require-identity-inbound-ports")
    return policy.replace("unauthenticated", "authenticated") if in_ports(required, port) else policy


class _Proxy:
    """One inbound proxy port, asked about one request."""

    def __init__(
        self,
        world: World,
        workload: Workload,
        port: int,
        request: Request,
        cluster_networks: tuple[str, ...],
        cluster_default: str,
        identity_suffix: tuple[str, str],
    ) -> None:
        self.world, self.workload, self.port, self.request = world, workload, port, request
        self.cluster_networks, self.cluster_default, self.identity_suffix = cluster_networks, cluster_default, identity_suffix
        self.source: Obj = request["source"]
        self.server = server_for(world, workload, port)

    def verdict(self) -> Verdict:
        routes, open_ended = self._routes()
        if routes is None:  # bytes, not requests
            return self._any([])
        if not routes:
            probed = self.request.get("method", "GET") == "GET" and (self.port, split_path(self.request)[0]) in self.workload.probes
            return "allow" if open_ended and probed else self._any([])
        chosen = best(routes, self.request)
        return "unrouted" if chosen is None else self._any(self._targeting(chosen.route))

    def _any(self, route_policies: list[Obj]) -> Verdict:
        return "allow" if any(a() for a in [*self._server_grants(), *(self._policy(p) for p in route_policies)]) else "deny"

    def _routes(self) -> tuple[list[Match] | None, bool]:
        """Candidate matches of the attached routes (None where the port is opaque), and whether automatic probe routes would stand in."""
        sent = protocol_of(self.request)
        if self.server is None:
            opaque = self.world.linkerd_annotation(self.workload, "config.linkerd.io/opaque-ports")
            if sent == "tcp" or in_ports(OPAQUE_PORTS if opaque is None else opaque, self.port):
                return None, False
            return [], True
        protocol = spec_of(self.server).get("proxyProtocol", "unknown")
        if protocol in {"opaque", "TLS"} or (protocol == "unknown" and sent == "tcp"):
            return None, False
        if sent == "tcp":
            raise Undecided(f"bytes that are no HTTP, sent to a {protocol} Server")
        kinds = ["GRPCRoute"] if protocol == "gRPC" else ["HTTPRoute"]
        routes = [r for r in routes_of(self.world, kinds) if self._attached(r)]
        return [m for r in routes for m in attached(r)], protocol != "gRPC"

    def _attached(self, route: Obj) -> bool:
        """Whether a route names this Server, and in a way that Linkerd accepts."""
        parents = []
        for ref in spec_of(route).get("parentRefs") or []:
            group = ref.get("group", GROUP if route["apiVersion"].startswith(GROUP) else "gateway.networking.k8s.io")
            if group == GROUP and ref.get("kind") == "Server":
                parents.append(ref)
        namespace = namespace_of(route)
        refused = any("port" in p or "sectionName" in p or p.get("namespace", namespace) != namespace for p in parents)
        server = self.server
        return (
            not refused and server is not None and namespace == namespace_of(server) and any(p["name"] == name_of(server) for p in parents)
        )

    def _targeting(self, route: Obj) -> list[Obj]:
        return self._policies(route["apiVersion"].partition("/")[0], route["kind"], name_of(route), namespace_of(route))

    def _policies(self, group: str, kind: str, name: str, namespace: str) -> list[Obj]:
        def targets(policy: Obj) -> bool:
            ref = spec_of(policy).get("targetRef") or {}
            return (_group(ref), str(ref.get("kind", "")).lower(), ref.get("name")) == (group, kind.lower(), name)

        return [p for p in self.world.of("AuthorizationPolicy", GROUP) if namespace_of(p) == namespace and targets(p)]

    def _server_grants(self) -> list[Authorized]:
        """What holds for every request at this port, whatever its route."""
        if self.server is None:
            policy = default_inbound_policy(self.world, self.workload, self.port, self.cluster_default)
            return [lambda: self._default_admits(policy)]
        namespace = namespace_of(self.server)
        policies = self._policies(GROUP, "Server", name_of(self.server), namespace) + self._policies("", "Namespace", namespace, namespace)
        access = spec_of(self.server).get("accessPolicy") or "deny"
        return [
            lambda: self._default_admits(access),
            *(self._policy(p) for p in policies),
            *(self._server_authorization(o) for o in self.world.of("ServerAuthorization", GROUP) if namespace_of(o) == namespace),
        ]

    def _default_admits(self, policy: str) -> bool:
        if policy in {"deny", ""}:
            return False
        if policy.endswith("-authenticated") and self.identity is None:
            return False
        return not policy.startswith("cluster-") or in_networks(self.source.get("ip"), self.cluster_networks)

    @property
    def identity(self) -> str | None:
        """The client's mesh identity, none for plaintext."""
        if not is_meshed(self.source):
            return None
        identity = str(self.source.get("identity") or "")
        if identity and "/" not in identity:
            return identity
        return self._account(*account_of(self.source), trust_domain_of(self.source, self.identity_suffix[1]))

    def _account(self, namespace: str, account: str, trust_domain: str = "") -> str:
        control_plane, own = self.identity_suffix
        return f"{account}.{namespace}.serviceaccount.identity.{control_plane}.{trust_domain or own}"

    def _identity_in(self, patterns: Collection[str]) -> bool:
        identity = self.identity
        return identity is not None and any(p in {"*", identity} or (p.startswith("*.") and identity.endswith(p[1:])) for p in patterns)

    def _network_in(self, networks: Iterable[Obj]) -> bool:
        ip = self.source.get("ip")
        return any(in_networks(ip, [n["cidr"]]) and not any(in_network(str(ip), e) for e in n.get("except") or []) for n in networks)

    def _server_authorization(self, authorization: Obj) -> Authorized:
        spec = spec_of(authorization)
        reference, client = spec.get("server") or {}, spec.get("client") or {}
        assert self.server is not None
        if "name" in reference:
            concerned = reference["name"] == name_of(self.server)
        else:
            concerned = "selector" in reference and selects(reference["selector"], meta(self.server).get("labels") or {})
        tls = client.get("meshTLS")
        networks = client["networks"] if client.get("networks") is not None else [{"cidr": c} for c in self.cluster_networks]

        def identified() -> bool:
            if client.get("unauthenticated"):
                return tls is None  # both together are refused at admission
            if not tls:
                return False
            named = [*(tls.get("identities") or [])]
            named += [self._account(a.get("namespace") or namespace_of(authorization), a["name"]) for a in tls.get("serviceAccounts") or []]
            if tls.get("unauthenticatedTLS"):
                return not named and is_meshed(self.source)
            return self._identity_in(named)

        return lambda: concerned and identified() and self._network_in(networks)

    def _policy(self, policy: Obj) -> Authorized:
        """An AuthorizationPolicy: all its references, or nobody where one of them dangles."""
        namespace = namespace_of(policy)
        identities: list[list[str]] = []
        networks: list[list[Obj]] = []
        for ref in spec_of(policy).get("requiredAuthenticationRefs") or []:
            key = (_group(ref), str(ref.get("kind", "")).lower())
            at = ref.get("namespace") or namespace
            if key == ("", "serviceaccount"):
                identities.append([self._account(at, ref["name"])])
            elif key == (GROUP, "meshtlsauthentication") and (found := self.world.get("MeshTLSAuthentication", GROUP, at, ref["name"])):
                identities.append(self._identities(found))
            elif key == (GROUP, "networkauthentication") and (found := self.world.get("NetworkAuthentication", GROUP, at, ref["name"])):
                networks.append(spec_of(found).get("networks") or [])
            else:
                return lambda: False
        if len(identities) > 1 or len(networks) > 1:
            return lambda: False
        return lambda: all(self._identity_in(i) for i in identities) and all(self._network_in(n) for n in networks)

    def _identities(self, authentication: Obj) -> list[str]:
        spec = spec_of(authentication)
        patterns = list(spec.get("identities") or [])
        for ref in spec.get("identityRefs") or []:
            if str(ref.get("kind")).lower() == "namespace":
                patterns.append(self._account(ref["name"], "*"))
            elif ref.get("name"):
                patterns.append(self._account(ref.get("namespace") or namespace_of(authentication), ref["name"]))
        return patterns


def _group(ref: Obj) -> str:
    group = str(ref.get("group") or "").lower()
    return "" if group == "core" else group
