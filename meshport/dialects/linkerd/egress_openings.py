"""What a route on an EgressNetwork opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.routes import in_group
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.exposure import EgressDefault, Outside, OutsidePort

if TYPE_CHECKING:
    from meshport.dialects.base import Options


API = "policy.linkerd.io/v1alpha1"


ROUTES = {"HTTPRoute": "http", "GRPCRoute": "grpc", "TLSRoute": "tls", "TCPRoute": "tcp"}


def named(root: Cursor, options: Options) -> Fact[Ref]:
    fact = root.ref()
    return fact if fact.value.namespace else fact.map(lambda ref: Ref(options.default_namespace, ref.name))


def opened(root: Cursor, kind: str, networks: dict[Ref, EgressDefault], others: tuple[str, ...] | None, options: Options) -> list[Outside]:
    """What a route opens on each egress network that it is on. `others` are the namespaces that ask the mesh's own networks, None for all."""
    protocol = ROUTES[kind]
    spec = root.at("spec")
    ref = named(root, options)
    found: list[Outside] = []
    rules = spec.each("rules")
    own, inert = NOWHERE, NOWHERE
    parents = {name.value for item in spec.each("parentRefs") if _is_parent(root, item) and (name := item.text("name")) is not None}
    conditions: list[Fact[Any]] = []
    for rule in rules:
        own |= rule.src if rule.value == {} else NOWHERE
        for backend in rule.each("backendRefs"):
            if _is_network(backend) and ((name := backend.text("name")) is None or name.value in parents):
                own |= backend.at("kind").src | backend.at("group").src
                inert |= backend.src - own - backend.at("port").src
            elif (other := backend.whole()) is not None:
                conditions.append(
                    other.holding(f"sent to {backend.at('kind').value if backend.at('kind') else 'Service'} {backend.at('name').value}")
                )
        for key in rule.keys():  # noqa: SIM118  a Cursor is no mapping
            if key not in ("backendRefs", "name") and (said := rule.whole(key)) is not None and not _everything(key, said.value):
                conditions.append(said.holding(f"{key} {said.value}"))
            elif key != "backendRefs":
                own |= rule.at(key).src
    hosts = spec.strings("hostnames") if protocol != "tcp" else ()
    for parent in spec.each("parentRefs"):
        name, number = parent.text("name"), parent.number_at("port")
        if not _is_parent(root, parent) or name is None:
            continue
        place = parent.text("namespace")
        wanted = Ref(place.value if place else ref.value.namespace, name.value)
        network = networks.get(wanted)
        spoken = Fact(protocol, root.at("kind").src, "egress.port")
        addresses: tuple[Fact[str], ...] = ()
        lacking = [f"is on EgressNetwork {wanted}, which the bundle does not have,"] if network is None else []
        lacking += ["names no port in its parentRef"] if number is None else []
        if network is not None and network.networks:
            addresses = tuple(cidr for cidr, _ in network.networks)
        everywhere = (
            root.at("metadata", "namespace").src if place is not None and network is not None and not network.namespace else NOWHERE
        )
        seen = others if network is not None and not network.namespace else (network.namespace if network else ref.value.namespace,)
        found.append(
            Outside(
                Fact(ref.value, ref.src - everywhere, ref.feature).also(parent.src, own, network.ref if network is not None else None),
                kind,
                root.number,
                hosts,
                addresses,
                (OutsidePort(number or Fact(0, name.src, "egress.port"), spoken, None, parent.src),),
                seen_by=seen,
                inert=inert,
                problem="MP728" if lacking else "",
                reason=" and ".join(lacking).removesuffix(","),
                conditions=tuple(conditions),
            )
        )
    return found


def unread(root: Cursor) -> Src:
    """The ports of backends that are egress networks: what goes there goes to the address that the client asked for."""
    backends = (backend for rule in root.each("spec", "rules") for backend in rule.each("backendRefs"))
    return sources(*(backend.at("port").src for backend in backends if _is_network(backend)))


def _is_network(reference: Cursor) -> bool:
    """Whether a reference names an EgressNetwork, of Linkerd's group."""
    return bool(reference.at("kind").value == "EgressNetwork" and reference.at("group").value == API.partition("/")[0])


def _is_parent(root: Cursor, reference: Cursor) -> bool:
    """Whether a parent of a route is an EgressNetwork."""
    return bool(reference.at("kind").value == "EgressNetwork" and in_group(root, reference, API.partition("/")[0]))


def _everything(key: str, value: Any) -> bool:
    """Whether matches take every request."""
    if key != "matches":
        return value in ({}, [])
    return not value or value == [{}] or value == [{"path": {"type": "PathPrefix", "value": "/"}}]
