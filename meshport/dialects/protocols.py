"""What a container port speaks, as the bundle's Services declare it to the source mesh.

Istio reads `appProtocol`, then the port name's prefix, and knows some numbers (Istio reference 8.6); Linkerd has opaque ports and Servers. The answer is
`http`, `http2`, `grpc`, `tls`, `tcp`, or "" where nothing is declared and the proxy detects.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.ir.base import NOWHERE, Ref, Src
from meshport.ir.model import IR
from meshport.ir.world import ServicePort, Workload, World

_NAMES = {
    "http": "http",
    "http2": "http2",
    "grpc": "grpc",
    "grpc-web": "http",
    "https": "tls",
    "tls": "tls",
    "tcp": "tcp",
    "mongo": "tcp",
    "redis": "tcp",
    "mysql": "tcp",
    "udp": "udp",
}
_KUBERNETES = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "tls"}
_OPAQUE = ("linkerd.io/opaque", "linkerd.io/tcp")  # Linkerd's own words (2.18), which Istio does not know
HTTP = ("http", "http2", "grpc")
_SERVER_FIRST = {25, 53, 3306, 27017}


def of_service_port(port: ServicePort) -> str:
    """Istio's reading of one Service port."""
    if port.protocol == "UDP":
        return "udp"
    said = port.app_protocol.lower()
    if said in _KUBERNETES:
        return _KUBERNETES[said]
    if said in _NAMES:
        return _NAMES[said]
    if said:
        return ""
    name = port.name.lower()
    if name.startswith("grpc-web"):
        return "http"
    prefix = name.partition("-")[0]
    if prefix in _NAMES:
        return _NAMES[prefix]
    return "tcp" if port.number in _SERVER_FIRST else ""


def of_port(workload: Workload, port: int, world: World) -> tuple[str, Src]:
    """What a container port speaks by the Services in front of it, with the leaves that say so; "" where they disagree or say nothing."""
    found: dict[str, Src] = {}
    for service in world.services_of(workload):
        for item in service.ports:
            if world.target_number(workload, item) == port:
                said = "tcp" if item.app_protocol.lower() in _OPAQUE else of_service_port(item)
                if said in ("tcp", "tls") and port in workload.judged:
                    found[""] = found.get("", NOWHERE) | workload.judged[port]
                    continue
                found[said] = found.get(said, NOWHERE) | item.spoken_src
    return _one(found)


def together(workloads: Iterable[Workload], port: int, world: World) -> tuple[str, Src]:
    """What a port of several workloads speaks; "" where they differ."""
    found: dict[str, Src] = {}
    for workload in workloads:
        said, src = of_port(workload, port, world)
        found[said] = found.get(said, NOWHERE) | src
    return _one(found)


def _one(found: dict[str, Src]) -> tuple[str, Src]:
    """What several words come to. Bytes and TLS are bytes; datagrams are no connections, and decide nothing about these."""
    src = frozenset(leaf for leaves in found.values() for leaf in leaves)
    said = set(found) - {"udp"} or set(found)
    return next(iter(said)) if len(said) == 1 else "tcp" if said == {"tcp", "tls"} else "", src


def is_http(protocol: str) -> bool:
    """Whether HTTP conditions can be judged there; an undeclared port is detected, and for HTTP traffic they can."""
    return protocol in (*HTTP, "")


def routed(ir: IR) -> set[tuple[Ref, int]]:
    """The ports of Services where rules for requests act whatever the port is called: only Istio takes a name like `tcp-data` for bytes."""
    found: set[tuple[Ref, int]] = set()
    for routes in ir.routes:
        service = ir.world.services.get(routes.service.value) if routes.service is not None else None
        if service is None or routes.problem or not routes.mesh or routes.protocol in ("tls", "tcp") or routes.family in ("istio", "smi"):
            continue
        ports = [routes.port.value] if routes.port is not None else [port.number for port in service.ports]
        found.update((service.ref, port) for port in ports if not service.is_opaque(port))
    return found


def sniffed(ir: IR) -> set[tuple[Ref, int]]:
    """The ports of Services that no protocol is declared of, and where rules for requests act as Istio detects HTTP."""
    found: set[tuple[Ref, int]] = set()
    for routes in ir.routes:
        service = ir.world.services.get(routes.service.value) if routes.service is not None else None
        if service is None or routes.problem or not routes.mesh or routes.protocol in ("tls", "tcp") or routes.family != "istio":
            continue
        ports = [port for port in service.ports if routes.port is None or port.number == routes.port.value]
        found.update((service.ref, port.number) for port in ports if not of_service_port(port))
    return found
