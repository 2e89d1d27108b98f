"""Ports of Services: which of them speak HTTP in Istio's eyes, and how a Service made for a subset writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshport.ir.world import Service, ServicePort

_APP_PROTOCOLS = {"http": "http", "http2": "kubernetes.io/h2c", "grpc": "kubernetes.io/h2c", "kubernetes.io/h2c": "kubernetes.io/h2c"}
_NOT_HTTP = ("tcp", "tls", "https", "mongo", "mysql", "redis", "udp")


def speaks_http(port: ServicePort) -> bool:
    """Whether Istio treats the port as HTTP: by appProtocol, by the prefix of its name, else by looking at the traffic."""
    if port.protocol != "TCP":
        return False
    word = (port.app_protocol.rpartition("/")[2] or port.name).lower().split("-")[0]
    return word not in _NOT_HTTP and port.number not in (25, 53, 3306, 27017)


def as_written(port: ServicePort, *, known_words: bool = False) -> dict[str, Any]:
    """A port as the Service has it. With `known_words` only an appProtocol that Linkerd knows is kept: it takes any other for an opaque port."""
    found: dict[str, Any] = {"name": port.name} if port.name else {}
    found["port"] = port.number
    if port.target != port.number:
        found["targetPort"] = port.target
    if port.protocol != "TCP":
        found["protocol"] = port.protocol
    word = port.app_protocol.lower()
    if word in _APP_PROTOCOLS:
        found["appProtocol"] = _APP_PROTOCOLS[word]
    elif word and not known_words:
        found["appProtocol"] = port.app_protocol
    return found


def sends_alike(one: Service, other: Service, number: int | None) -> bool:
    """Whether two Services send a port (None: any of the second's) to the same port of the pods; of a port that the second has not, there is nothing to keep."""

    def alike(port: ServicePort) -> bool:
        there = one.port(port.number)
        return there is not None and (there.target, there.protocol) == (port.target, port.protocol)

    return all(alike(port) for port in other.ports if number in (None, port.number))
