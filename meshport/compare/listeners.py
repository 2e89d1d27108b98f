"""What Gateways listen for, as canonical data by Gateway: ports, hosts, certificates, who serves them, and which rules hang on which port. Names of listeners
and their order decide nothing by themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from meshport.compare import routing
from meshport.compare.ingress import at_gateways
from meshport.ir.base import Ref
from meshport.ir.listening import BYTES, LISTENERS, passes_on, places, protocol, spoken
from meshport.ir.model import IR, Gateway, Listener
from meshport.ir.routing import ServiceRoutes, gateway_of, ingress_subject

WHAT, INGRESS, ON_PORT = LISTENERS, "ingress of Gateway ", " on port "
WAYPOINT = "istio-waypoint"
_PLACE = re.compile(r"port (?P<port>\d+) for (?P<host>.*)|(?:requests for (?P<of>.*)|connections) on port (?P<on>\d+)")


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """Subjects are Gateways; what each port listens for, host by host."""
    return {f"{WHAT}{gateway.ref.value}": _of_gateway(ir, gateway) for gateway in ir.gateways if gateway.listeners}


def shared(ir: IR) -> dict[str, dict[str, Any]]:
    """The same in the words that an Istio Gateway and one of the Gateway API have both: what each port listens for, host by host, with the TLS that it ends or
    passes on and the names of its certificates. Who serves it and whose routes it admits are not of both; a waypoint, which Istio alone knows for a proxy
    inside its mesh, is no way in."""
    found: dict[str, dict[str, set[str]]] = {}
    for gateway in ir.gateways:
        for listener in gateway.listeners if not gateway.implementation.value.startswith(WAYPOINT) else ():
            for place in places(listener):
                found.setdefault(f"{WHAT}{gateway.ref.value}", {}).setdefault(place, set()).add(_meant(listener))
    return {subject: {place: " and ".join(sorted(said)) for place, said in data.items()} for subject, data in found.items()}


def _meant(listener: Listener) -> str:
    """What a listener speaks, without the words of either dialect."""
    named = listener.protocol.value.upper()
    if spoken(listener) not in ("HTTPS", "TLS"):
        return protocol(listener) if protocol(listener) != "TCP" or named in BYTES else named
    if passes_on(listener):
        return "TLS passed on"
    mode = _ENDS.get(listener.tls.value.upper(), listener.tls.value) if listener.tls is not None else "ended"
    certificates = ", ".join(sorted({fact.value for fact in listener.certificates}))
    return f"{spoken(listener)}, TLS {mode}" + (f", certificates {certificates}" if certificates else "")


_ENDS = {"SIMPLE": "ended", "TERMINATE": "ended"}


def _of_gateway(ir: IR, gateway: Gateway) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for listener in gateway.listeners:
        for host in [fact.value for fact in listener.hosts] or ["*"]:
            found.setdefault(f"port {listener.port.value} for {host}", []).append(_said(listener))
        for key, rules in _hung(ir, gateway, listener).items():
            found.setdefault(f"{key}{ON_PORT}{listener.port.value}", []).append(rules)
    return {"served by": gateway.implementation.value, **{key: " and ".join(sorted(set(value))) for key, value in found.items()}}


def apart(subject: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Any, Any]:
    """A Gateway's data on both sides; without what hangs on its ports, where that is another on the whole and said there."""
    sides = first.get(subject), second.get(subject)
    whole = subject.replace(WHAT, INGRESS)
    if first.get(whole) == second.get(whole):
        return sides
    one, two = ({key: value for key, value in (side or {}).items() if ON_PORT not in key} or None for side in sides)
    return one, two


def _said(listener: Listener) -> str:
    parts = [listener.protocol.value]
    if listener.tls is not None:
        parts.append(f"TLS {listener.tls.value}")
    if listener.certificates:
        parts.append(f"certificates {', '.join(sorted(fact.value for fact in listener.certificates))}")
    if listener.redirect is not None and listener.redirect.value:
        parts.append("redirected to https")
    parts += sorted(f"{path} {fact.value}" for path, fact in listener.extras)
    said = listener.admits
    if said is not None and (said.origin != "Same" or said.kinds is not None):
        parts.append(
            f"routes from {said.origin} {said.selector}" + (f" of {', '.join(sorted(said.kinds))}" if said.kinds is not None else "")
        )
    return ", ".join(parts)


def _hung(ir: IR, gateway: Gateway, listener: Listener) -> dict[str, str]:
    """What hangs on a listener, in words: rules by host, whatever their order, which is compared where they are, and connections."""
    subject = ingress_subject(gateway.ref.value)
    found = {
        f"requests for {host}": _words(routing.of_rules(ir.world, routes, ir.mesh))
        for name, host, routes in at_gateways(ir, listener)
        if name == subject
    }
    bytes_of = sorted(str(_connections(routes)) for routes in ir.routes if _on(routes, gateway.ref.value, listener))
    return {**found, **({"connections": "; ".join(bytes_of)} if bytes_of else {})}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in sorted(value.items()) if key != "retries")
    return str(value)


def _connections(routes: ServiceRoutes) -> tuple[str, list[str], list[str]]:
    to = [f"{backend.host.value}:{backend.port.value if backend.port else ''}" for rule in routes.rules for backend in rule.backends]
    return routes.protocol, sorted(fact.value for fact in routes.hostnames), sorted(to)


def _on(routes: ServiceRoutes, gateway: Ref, listener: Listener) -> bool:
    """Whether a route for connections hangs on a listener."""
    named = not routes.sections or (listener.name is not None and listener.name.value in routes.sections)
    home = routes.ref.value.namespace
    mine = any(fact.value != "mesh" and gateway_of(fact.value, home) == gateway for fact in routes.gateways)
    return routes.protocol in ("tls", "tcp") and not routes.problem and named and mine


def request(subject: str, told: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """A request from outside that meets what is told of a Gateway: to the first port and host that are named there."""
    namespace, _, name = subject.removeprefix(WHAT).removeprefix(INGRESS).rpartition("/")
    port, host = None, ""
    for key, sides in told.items():
        rules = next((text for side in sides if isinstance(side, Mapping) for text in side), "")
        found = _PLACE.fullmatch(key)
        if found is not None:
            port, host = int(found["port"] or found["on"]), found["host"] or found["of"] or ""
            break
        place, on, number = rules.partition(": ")[0].partition(ON_PORT)
        host, port = host or place, port or (int(number) if on else None)
    asked = host.rpartition("/")[2]
    asked = "any.example" if asked in ("", "*") else asked.replace("*", "any", 1)
    source = {"meshed": False, "ip": "203.0.113.7"}
    return {"source": source, "destination": {"namespace": namespace, "service": name, "port": port}, "protocol": "http", "host": asked}
