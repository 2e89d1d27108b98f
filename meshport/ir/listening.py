"""What a listener of a Gateway says in whatever words: an Istio server and a listener of the Gateway API mean the same by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshport.ir.base import Ref
from meshport.ir.model import Listener

LISTENERS = "listeners of Gateway "
_PROTOCOLS = {"HTTP": "HTTP", "HTTP2": "HTTP", "GRPC": "HTTP", "GRPC-WEB": "HTTP", "HTTPS": "HTTPS", "TLS": "TLS"}
BYTES = ("TCP", "MONGO", "MYSQL", "REDIS")


def protocol(item: Listener) -> str:
    """The protocol of the Gateway API for what a listener names."""
    return _PROTOCOLS.get(item.protocol.value.upper(), "TCP")


def spoken(item: Listener) -> str:
    """The protocol of its listener: what passes TLS on does not look into it."""
    return "TLS" if protocol(item) == "HTTPS" and passes_on(item) else protocol(item)


def passes_on(item: Listener) -> bool:
    """Whether TLS goes through as it comes."""
    return item.tls is not None and item.tls.value.upper().endswith("PASSTHROUGH")


def places(item: Listener) -> Iterator[str]:
    """What a listener listens for, by port and host; bytes are of every host."""
    hosts = [fact.value.rpartition("/")[2].lower() for fact in item.hosts] if protocol(item) != "TCP" else []
    yield from (f"port {item.port.value} for {host}" for host in hosts or ["*"])


def explains(gateway: Ref, listeners: Iterable[Listener] | None = None) -> frozenset[tuple[str, str]]:
    """The differences that follow from what becomes of these listeners of a Gateway; of all that it has without a word of them."""
    subject = f"{LISTENERS}{gateway}"
    if listeners is None:
        return frozenset({(subject, "*")})
    return frozenset((subject, place) for item in listeners for place in places(item))
