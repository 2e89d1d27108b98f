"""Istio's verdict in ambient: what ztunnel lets into a pod, straight or through the waypoint of a Service.

https://github.com/istio/ztunnel `src/rbac.rs`, https://github.com/istio/istio `pilot/pkg/serviceregistry/ambient/authorization.go`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import istio
from .http import normalized, split_path
from .world import Obj, Request, Service, Workload, World, annotations_of, meta, name_of, namespace_of, spec_of, world_of

_KNOWN = {"principals", "namespaces", "serviceAccounts", "ipBlocks", "ports"}
_KEYS = {"source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"}
_CLASS = "istio-waypoint"
_MODE = "istio.io/dataplane-mode"


def ways(
    manifests: Iterable[Obj], request: Request, *, trust_domain: str = "cluster.local", root_namespace: str = "istio-system"
) -> list[str]:
    """How the request gets in: `pod` for straight to its address, `NAMESPACE/SERVICE` through that Service's waypoint; none where it is refused.

    A pod that ztunnel does not serve takes everything at its address."""
    world = world_of(manifests)
    if not captured(world, world.destination(request)):
        return ["pod"]
    workload, port = world.destination(request), int(request["destination"]["port"])
    identity = istio._identity(request["source"], trust_domain)
    raw, _ = split_path(request)
    http = raw.startswith("/")
    found = []
    if _at_address(world, workload, request, port, identity, raw, trust_domain, root_namespace):
        found.append("pod")
    for service in world.services:
        waypoint = _waypoint(world, service) if service.selects(workload) and service.routable and identity else None
        for entry in service.ports if waypoint else ():
            if entry.get("protocol", "TCP") != "TCP" or port not in workload.numbers(entry.get("targetPort", entry["port"])):
                continue
            tcp = istio.is_tcp(world, workload, port, request)
            if not tcp and not http:
                continue
            peer = _peer(request, int(entry["port"]), identity, raw, trust_domain, tcp=tcp)
            assert waypoint is not None
            own = _peer(
                {**request, "source": {"meshed": True}}, port, f"{trust_domain}/ns/{waypoint[0]}/sa/{waypoint[1]}", raw, trust_domain
            )
            if _allows(_hung(world, service, waypoint, root_namespace), peer) and _ztunnel(world, workload, own, root_namespace):
                found.append(f"{service.namespace}/{service.name}")
    return found


def by_services(
    manifests: Iterable[Obj], request: Request, *, trust_domain: str = "cluster.local", root_namespace: str = "istio-system"
) -> bool:
    """Whether every way to ask for the port lets the request in: each Service in front of it, through its waypoint where the client goes through one, or
    without a Service the pod's address. Data planes that see no difference between them may let in no more than that."""
    world = world_of(manifests)
    workload, port = world.destination(request), int(request["destination"]["port"])
    found = ways(manifests, request, trust_domain=trust_domain, root_namespace=root_namespace)
    named = istio._identity(request["source"], trust_domain) is not None and captured(world, workload)
    asked = [
        f"{service.namespace}/{service.name}" if named and service.routable and _waypoint(world, service) is not None else "pod"
        for service in world.services
        if service.selects(workload)
        and any(
            port in workload.numbers(one.get("targetPort", one["port"])) for one in service.ports if one.get("protocol", "TCP") == "TCP"
        )
    ]
    return all(way in found for way in asked or ["pod"])


def _at_address(
    world: World, workload: Workload, request: Request, port: int, identity: str | None, raw: str, trust_domain: str, root_namespace: str
) -> bool:
    """Whether the pod's own address takes the request: past every waypoint but one for workloads, which an ambient client's ztunnel goes through."""
    gate = _named(world, workload.namespace, workload.labels, ("workload", "all")) if identity else None
    if gate is None:
        return _ztunnel(world, workload, _peer(request, port, identity, raw, trust_domain), root_namespace)
    tcp = istio.is_tcp(world, workload, port, request)
    own = _peer({**request, "source": {"meshed": True}}, port, f"{trust_domain}/ns/{gate[0]}/sa/{gate[1]}", raw, trust_domain)
    return _allows(_hung(world, None, gate, root_namespace), _peer(request, port, identity, raw, trust_domain, tcp=tcp)) and _ztunnel(
        world, workload, own, root_namespace
    )


def captured(world: World, workload: Workload) -> bool:
    """Whether ztunnel stands before a pod: its own label goes before its namespace's, and the host's network is left alone."""
    home = world.namespace(workload.namespace)
    modes = [workload.labels.get(_MODE), (meta(home).get("labels") or {}).get(_MODE) if home else "ambient"]
    return not workload.host_network and next((mode for mode in modes if mode), "none") == "ambient"


def _peer(request: Request, port: int, identity: str | None, raw: str, trust_domain: str, *, tcp: bool = True) -> istio._Peer:
    return istio._Peer(request, port, identity, normalized(raw) if raw.startswith("/") else raw, tcp, trust_domain)


def _waypoint(world: World, service: Service) -> tuple[str, str] | None:
    """(namespace, name) of the waypoint that a Service's clients go through."""
    return _named(world, service.namespace, meta(service.obj).get("labels") or {}, ("service", "all"))


def _named(world: World, namespace: str, own: Obj, kinds: tuple[str, ...]) -> tuple[str, str] | None:
    """The waypoint for such traffic that the labels of a Service or a pod name, or those of its namespace."""
    home = next((o for o in world.of("Namespace", "") if name_of(o) == namespace), {})
    for labels in (own, meta(home).get("labels") or {}):
        if name := labels.get("istio.io/use-waypoint"):
            where = labels.get("istio.io/use-waypoint-namespace", namespace)
            known = world.get("Gateway", "gateway.networking.k8s.io", where, name)
            serves = (meta(known).get("labels") or {}).get("istio.io/waypoint-for", "service") if known is not None else ""
            return (where, name) if serves in kinds and known is not None and spec_of(known).get("gatewayClassName") == _CLASS else None
    return None


def _hung(world: World, service: Service | None, waypoint: tuple[str, str], root_namespace: str) -> list[Obj]:
    found = []
    for policy in world.of("AuthorizationPolicy", istio.GROUP):
        for target in spec_of(policy).get("targetRefs") or ():
            named = (namespace_of(policy), target["kind"], target["name"])
            if named in (
                (service.namespace, "Service", service.name) if service is not None else None,
                (waypoint[0], "Gateway", waypoint[1]),
                (root_namespace, "GatewayClass", _CLASS),
            ):
                found.append(policy)
    return [one for one in found if annotations_of(one).get("istio.io/dry-run") != "true"]


def _allows(policies: list[Obj], peer: istio._Peer) -> bool:
    def match(action: str) -> bool:
        return any(istio._policy_matches(p, peer) for p in policies if spec_of(p).get("action", "ALLOW") == action)

    closed = any(spec_of(p).get("action", "ALLOW") == "ALLOW" for p in policies)
    return not match("DENY") and (not closed or match("ALLOW"))


def _ztunnel(world: World, workload: Workload, peer: istio._Peer, root_namespace: str) -> bool:
    if _strict(world, workload, peer.port, root_namespace) and peer.identity is None:
        return False
    said = []
    for policy in istio.authorization_policies(world, workload, root_namespace):
        action = spec_of(policy).get("action", "ALLOW")
        if action in ("ALLOW", "DENY"):
            rules = [made for rule in spec_of(policy).get("rules") or () for made in _enforced(rule or {}, action)]
            said.append({**policy, "spec": {"action": action, "rules": rules}})
    return _allows(said, peer)


def _strict(world: World, workload: Workload, port: int, root_namespace: str) -> bool:
    """Whether ztunnel refuses plaintext on a port. A policy without a mode excepts ports that say PERMISSIVE, and DISABLE only beside such a port."""
    own = istio.port_level(world, workload, root_namespace)
    if own is not None and "PERMISSIVE" not in own.values() and own.get(str(port)) == "DISABLE":
        return istio.mtls_mode(world, workload, 0, root_namespace) == "STRICT"
    return istio.mtls_mode(world, workload, port, root_namespace) == "STRICT"


def _enforced(rule: Obj, action: str) -> Iterator[Obj]:
    """A rule as ztunnel has it; nothing where it has none."""
    made: dict[str, Any] = {}
    for part, inner in (("from", "source"), ("to", "operation")):
        entries = [{key: _literal(key, values) for key, values in (entry.get(inner) or {}).items()} for entry in rule.get(part) or ()]
        kept = [{key: value for key, value in entry.items() if istio._positive(key)[0] in _KNOWN} for entry in entries]
        asked = {istio._positive(key)[0] for entry in entries for key in entry}
        if action == "ALLOW" and asked - _KNOWN - {"trustDomains"}:  # which nobody copies, and nobody counts as HTTP
            return
        if entries and not any(kept):
            return
        if entries:
            made[part] = [{inner: entry} for entry in kept if entry]
    when = rule.get("when") or []
    if any(item["key"] not in _KEYS for item in when):
        return
    yield {**made, "when": [{key: _literal(item["key"], value) for key, value in item.items()} for item in when]}


def _literal(field: str, values: Any) -> Any:
    """Namespaces as ztunnel compares them: a star that is neither first nor last is a letter, which no namespace has."""
    if field not in ("namespaces", "notNamespaces", "source.namespace") or not isinstance(values, list):
        return values
    return ["-" if "*" in (one[1:] if one.startswith("*") else one[:-1]) else one for one in values]
