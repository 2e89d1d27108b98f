"""How Istio says gateways: the servers of its own Gateway, read.

https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import attachment
from meshport.ir.base import Fact
from meshport.ir.model import IR, Listener
from meshport.mapping.bound import Bound

_READ = ("tls", "port.number", "port.protocol", "port.name", "name", "tls.mode", "tls.credentialName", "tls.httpsRedirect")


def lift(bound: Bound, ir: IR) -> None:
    """The servers of the Gateways that were found, as their listeners."""
    for gateway in ir.gateways:
        if gateway.kind == "networking.istio.io":
            root = Cursor.root(bound, gateway.document)
            gateway.listeners = tuple(found for item in root.each("spec", "servers") if (found := _listener(item)) is not None)
            ir.idle.extend(
                Fact("no release does anything with it", item.at("defaultEndpoint").src) for item in root.each("spec", "servers")
            )
    attachment.settle(ir)


def _listener(place: Cursor) -> Listener | None:
    number, protocol = place.number_at("port", "number"), place.text("port", "protocol")
    if number is None or protocol is None:
        return None
    single = place.text("tls", "credentialName")
    certificates = place.strings("tls", "credentialNames") or ((single,) if single is not None else ())
    hosts = tuple(host.map(str.lower) for host in place.strings("hosts"))
    used = frozenset[int]().union(*(fact.src for fact in (*certificates, *hosts)))
    extras: list[tuple[str, Fact[Any]]] = [
        (path, fact) for path, fact in place.leaves() if path not in _READ and not fact.src <= used and fact.feature
    ]
    mode, tls = place.text("tls", "mode"), place.at("tls")
    if mode is None and tls and protocol.value.upper() in ("HTTPS", "TLS"):  # the first of the modes is what none stands for
        mode = Fact("PASSTHROUGH", tls.src, "gateway.tls.mode")
    name = place.text("name") or place.text("port", "name")
    return Listener(
        name.also(place.at("port", "name").src) if name is not None else None,
        number,
        protocol,
        hosts,
        mode,
        certificates,
        place.at("tls").get("httpsRedirect", bool),
        tuple(extras),
    )
