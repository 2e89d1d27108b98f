"""Requests that belong together reach one endpoint: Istio's consistentHash as an Envoy cluster that hashes, and the hash policy of what leads to it.

Each node's Envoy makes the same ring of the same endpoints, as each sidecar does.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto, RouteAction.HashPolicy; of bytes, which have an address alone,
https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/v3/hash_policy.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.cilium import envoy
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.dialects.output import Obj
from meshport.ir.base import Fact
from meshport.ir.resilience import CONSISTENT_HASH as HASH
from meshport.ir.resilience import ServicePolicy
from meshport.ir.world import Service, ServicePort
from meshport.values.ports import is_number

_FEATURE = "load-balancing.consistent-hash"
_ADDRESS = "useSourceIp"
_REQUESTS: dict[str, tuple[str, ...]] = {
    "httpHeaderName": ("header", "header_name"),
    "httpQueryParameterName": ("query_parameter", "name"),
    _ADDRESS: ("connection_properties", "source_ip"),
    "httpCookie.name": ("cookie", "name"),
    "httpCookie.path": ("cookie", "path"),
    "httpCookie.ttl": ("cookie", "ttl"),
}
"""Where a hash policy says what Istio says by this name."""
_SIZES: dict[str, tuple[str, ...]] = {
    "ringHash.minimumRingSize": ("ring_hash_lb_config", "minimum_ring_size"),
    "maglev.tableSize": ("maglev_lb_config", "table_size"),
}
_BARE = ("ringHash", "maglev")  # which of the two, without a size
BYTES = envoy.TYPE + "extensions.filters.network.tcp_proxy.v3.TcpProxy"


def of(policy: ServicePolicy) -> dict[str, Fact[Any]]:
    """What a policy says of the hash, by Istio's names of it."""
    return {path.removeprefix(HASH): fact for path, fact in policy.extras if path.startswith(HASH)}


def asked(policy: ServicePolicy) -> bool:
    """Whether a policy asks for a hash that an Envoy cluster takes as it stands."""
    said = {name: fact for name, fact in of(policy).items() if name in _REQUESTS}
    return len({name.partition(".")[0] for name in said}) == 1 and _whole(said) and all(sayable(name, fact) for name, fact in said.items())


def sayable(name: str, fact: Fact[Any]) -> bool:
    """Whether Envoy has a field for a setting, and the field takes its value."""
    return _written(name, fact.value) is not None


def _whole(said: dict[str, Fact[Any]]) -> bool:
    return "httpCookie.name" in said or not any(name.startswith("httpCookie") for name in said)


def acts(policy: ServicePolicy, service: Service) -> bool:
    """Whether the hash decides anything at a port of the Service: of bytes only the address of the client is known."""
    ports = [port for port in service.ports if policy.port is None or port.number == policy.port.value]
    return asked(policy) and (_ADDRESS in of(policy) or any(_http(port) for port in ports))


def _http(port: ServicePort) -> bool:
    return protocols.of_service_port(port) in ("http", "http2", "grpc")


def _written(name: str, value: Any) -> Any | None:
    """A value as Envoy's field takes it; None where there is no such field, or it does not."""
    if name in _BARE:
        return value if value == {} else None
    if name in _SIZES:
        return int(value) if is_number(str(value)) else None
    if name == "httpCookie.ttl":
        try:
            return envoy.seconds(milliseconds(value))
        except ValueError:
            return None
    if name == _ADDRESS:
        return True if value is True else None
    return str(value) if name in _REQUESTS else None


def write(obj: Obj, leading: envoy.Path, cluster: envoy.Path, policy: ServicePolicy, *, http: bool) -> None:
    """The hash at what leads to the cluster (a route, or the proxy of bytes), and the cluster that goes by it."""
    said = {name: fact for name, fact in of(policy).items() if sayable(name, fact)} if asked(policy) else {}
    kinds = [fact for name, fact in said.items() if name in _REQUESTS]
    if not said:
        return
    maglev = any(name.startswith("maglev") for name in said)
    obj.set((*cluster, "lb_policy"), "MAGLEV" if maglev else "RING_HASH", *kinds, *(said[name] for name in _BARE if name in said))
    for name, fact in said.items():
        if name in _SIZES:
            obj.set((*cluster, *_SIZES[name]), _written(name, fact.value), fact)
        elif name in _REQUESTS and http:
            obj.set((*leading, "hash_policy", 0, *_REQUESTS[name]), _written(name, fact.value), fact)
        elif name == _ADDRESS:
            obj.set((*leading, "hash_policy", 0, "source_ip"), {}, fact)


# -- lift


def lift(root: Cursor, cluster: Cursor, others: Sequence[Cursor]) -> list[tuple[str, Fact[Any]]]:
    """What a cluster hashes by, where all that leads to it says the same. Bytes that come without a hash have that of `others`, the clusters of the same
    Service, by which no connection is told apart."""
    algorithm = cluster.text("lb_policy")
    if algorithm is None or algorithm.value not in ("RING_HASH", "MAGLEV"):
        return []
    ways = _ways(root, cluster)
    if all(map(_untold, ways)):
        alike = [other for other in others if other.at("lb_policy").value == algorithm.value]
        ways = [way for other in alike for way in _ways(root, other) if not _untold(way)]
    told = [found for way in ways if (found := read(way)) is not None]
    if not told or len(told) < len(ways) or any(_values(found) != _values(told[0]) for found in told):
        return []
    extras = [(HASH + name, fact.also(algorithm, *(found[name] for found in told))) for name, fact in told[0].items()]
    sizes = [(name, cluster.at(*path).fact(int)) for name, path in _SIZES.items()]
    extras += [(HASH + name, Fact(size.value, size.src, _FEATURE)) for name, size in sizes if size is not None]
    if algorithm.value == "MAGLEV" and not cluster.at("maglev_lb_config", "table_size"):
        extras.append((HASH + "maglev", Fact({}, algorithm.src, _FEATURE)))
    return extras


def _values(found: dict[str, Fact[Any]]) -> dict[str, Any]:
    return {name: fact.value for name, fact in found.items()}


def _untold(way: Cursor) -> bool:
    """Whether bytes come this way that nothing tells apart."""
    return way.at("@type").value == BYTES and not way.at("hash_policy")


def _ways(root: Cursor, cluster: Cursor) -> list[Cursor]:
    """The routes and the proxies of bytes that send to a cluster."""
    name = cluster.at("name").value
    ways = []
    for place in root.each("spec", "resources"):
        filters = [item.at("typed_config") for chain in place.each("filter_chains") for item in chain.each("filters")]
        for table in (place, *(item.at("route_config") for item in filters)):
            ways += [route.at("route") for host in table.each("virtual_hosts") for route in host.each("routes")]
        ways += [item for item in filters if item.at("@type").value == BYTES]
    return [
        way
        for way in ways
        if name == way.at("cluster").value or name in (one.at("name").value for one in way.each("weighted_clusters", "clusters"))
    ]


def read(way: Cursor) -> dict[str, Fact[Any]] | None:
    """The hash of a route or a proxy of bytes, by Istio's names; None where it is none that Istio has."""
    entries = way.each("hash_policy")
    entry = entries[0] if len(entries) == 1 else None
    kinds = entry.keys() if entry is not None else []
    if entry is None or len(kinds) != 1:
        return None
    kind = kinds[0]
    if kind == "source_ip":
        return {_ADDRESS: Fact(True, entry.src, _FEATURE)}
    found: dict[str, Fact[Any]] = {}
    for key, item in entry.items(kind):
        name = next((name for name, path in _REQUESTS.items() if path == (kind, key)), None)
        fact = item.fact(bool if name == _ADDRESS else str)
        if name is None or fact is None or fact.value is False:
            return None
        try:
            value = one_unit(milliseconds(fact.value)) if name == "httpCookie.ttl" else fact.value
        except ValueError:
            return None
        found[name] = Fact(value, fact.src, _FEATURE)
    return found if found and _whole(found) else None
