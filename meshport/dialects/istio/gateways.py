"""How Istio says gateways: the servers of its own Gateway, read.

https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import attachment
from meshport.dialects.gateway_api.gateways import home_of_secrets
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR, ClientCheck, Listener
from meshport.mapping.bound import Bound

_READ = ("tls", "port.number", "port.protocol", "port.name", "name", "tls.mode", "tls.credentialName", "tls.httpsRedirect")


def lift(bound: Bound, ir: IR) -> None:
    """The servers of the Gateways that were found, as their listeners."""
    for gateway in ir.gateways:
        if gateway.kind == "networking.istio.io":
            root = Cursor.root(bound, gateway.document)
            home = home_of_secrets(gateway, ir.world) or gateway.ref.value.namespace
            gateway.listeners = tuple(found for item in root.each("spec", "servers") if (found := _listener(item, home)) is not None)
            ir.idle.extend(
                Fact("no release does anything with it", item.at("defaultEndpoint").src) for item in root.each("spec", "servers")
            )
    attachment.settle(ir)


_CHECKS = {"MUTUAL": "required", "OPTIONAL_MUTUAL": "optional"}
_NARROWER = ("subjectAltNames", "verifyCertificateHash", "verifyCertificateSpki", "caCrl")


def _check(place: Cursor, mode: Fact[str] | None, secrets: tuple[tuple[str, Ref], ...], home: str) -> ClientCheck | None:
    """The certificate that a server asks of clients: the authority is in a Secret of its own, in a file, or beside the server's certificate."""
    word = _CHECKS.get(mode.value) if mode is not None else None
    if mode is None or word is None:
        return None
    own, file = place.text("tls", "caCertCredentialName"), place.text("tls", "caCertificates")
    unverified = place.at("tls").get("insecureSkipVerify", bool)
    authorities = (
        (("Secret", Ref(home, own.value)),) if own is not None else (("file", Ref("", file.value)),) if file is not None else secrets
    )
    narrower = [
        f"{key} {fact.value}" for key in _NARROWER for fact in (*place.strings("tls", key), place.text("tls", key)) if fact is not None
    ]
    if unverified is not None and unverified.value:
        narrower.append("not verified")
    return ClientCheck(mode.holding(word), authorities, tuple(narrower))


def _listener(place: Cursor, home: str) -> Listener | None:
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
    secrets = tuple(("Secret", Ref(home, fact.value)) for fact in certificates)
    return Listener(
        name.also(place.at("port", "name").src) if name is not None else None,
        number,
        protocol,
        hosts,
        mode,
        certificates,
        place.at("tls").get("httpsRedirect", bool),
        tuple(extras),
        secrets=secrets,
        check=_check(place, mode, secrets, home),
    )
