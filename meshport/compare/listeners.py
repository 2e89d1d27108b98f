"""What Gateways listen for, as canonical data by Gateway: ports, hosts, certificates, who serves them, and which rules hang on which port. Names of listeners
and their order decide nothing by themselves."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from meshport.compare import routing
from meshport.compare.ingress import at_gateways, hangs, hosts_of, names, sends_on
from meshport.dialects.gateway_api.forwarding import may_refer
from meshport.ir.base import Ref
from meshport.ir.listening import BYTES, LISTENERS, passes_on, places, protocol, spoken
from meshport.ir.model import IR, ClientCheck, Gateway, Listener
from meshport.ir.routing import ServiceRoutes, gateway_of, ingress_subject
from meshport.values.hosts import narrower

WHAT, INGRESS, ON_PORT = LISTENERS, "ingress of Gateway ", " on port "
CHECK = "client certificates"
REQUIRED = f"{CHECK} required"
_PLACE = re.compile(r"port (?P<port>\d+) for (?P<host>.*)|(?:requests for (?P<of>.*)|connections) on port (?P<on>\d+)")


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """Subjects are Gateways; what each port listens for, host by host."""
    return {f"{WHAT}{gateway.ref.value}": _of_gateway(ir, gateway) for gateway in ir.gateways if gateway.listeners}


def shared(ir: IR, shown: Collection[str], apart: Collection[Ref]) -> dict[str, dict[str, Any]]:
    """The same in the words that an Istio Gateway and one of the Gateway API have both: what each port listens for, host by host, with the TLS that it ends or
    passes on, its certificates, those that clients have to show, and whether plaintext is sent on to https. Who serves it and whose routes it admits are not
    of both; a waypoint, which Istio alone knows for a proxy inside its mesh, is no way in. `shown` are the namespaces whose ReferenceGrants are known, `apart` the
    Gateways whose rules are compared port by port, among them those that only send on."""
    found: dict[str, dict[str, set[str]]] = {}
    sent = [routes for routes in ir.routes if not routes.problem and routes.protocol not in ("tls", "tcp") and sends_on(routes)]
    for gateway in ir.gateways:
        for listener in (*gateway.listeners, *gateway.added) if not gateway.waypoint else ():
            meant = _meant(listener, gateway, ir, shown)
            for place in places(listener):
                said = (
                    meant
                    if gateway.ref.value in apart
                    else meant + _sent_on(listener, place.rpartition(" ")[2], gateway.ref.value, sent, ir)
                )
                found.setdefault(f"{WHAT}{gateway.ref.value}", {}).setdefault(place, set()).add(said)
    return {subject: {place: " and ".join(sorted(said)) for place, said in data.items()} for subject, data in found.items()}


def _meant(listener: Listener, asking: Gateway, ir: IR, shown: Collection[str]) -> str:
    """What a listener speaks, without the words of either dialect."""
    named = listener.protocol.value.upper()
    if spoken(listener) not in ("HTTPS", "TLS"):
        return protocol(listener) if protocol(listener) != "TCP" or named in BYTES else named
    if passes_on(listener):
        return "TLS passed on"
    mode = _ENDS.get(listener.tls.value.upper(), listener.tls.value) if listener.tls is not None else "ended"
    certificates = _objects(listener.secrets, asking, ir, shown, listener.home)
    insists = listener.check is not None and listener.check.mode.value != "unchecked"  # else nobody is refused
    checked = f", {_checked(listener.check, asking, ir, shown)}" if listener.check is not None and insists else ""
    return f"{spoken(listener)}, TLS {mode}" + (f", certificates {certificates}" if certificates else "") + checked


_ENDS = {"SIMPLE": "ended", "TERMINATE": "ended", "MUTUAL": "ended", "OPTIONAL_MUTUAL": "ended"}


def _checked(check: ClientCheck, asking: Gateway, ir: IR, shown: Collection[str]) -> str:
    """What clients have to show, in words."""
    by = _objects(check.authorities, asking, ir, shown)
    return f"{CHECK} {check.mode.value}" + (f" by {by}" if by else "") + "".join(f" of {one}" for one in check.narrower)


def _objects(listed: Iterable[tuple[str, Ref]], asking: Gateway, ir: IR, shown: Collection[str], of_set: str = "") -> str:
    """Secrets and the like as a Gateway names them, those of other namespaces that nothing lets it, or the ListenerSet of the namespace `of_set`, refer to marked;
    their kind decides nothing."""
    found, home = set(), asking.ref.value.namespace
    sender, own = ("ListenerSet", of_set) if of_set else ("Gateway", home)
    for kind, ref in listed:
        name = ref.name if ref.namespace == home else str(ref)
        needs = (
            asking.kind.startswith("gateway.networking") and ref.namespace not in ("", own) and ref.namespace in {*shown, *ir.world.grants}
        )
        let = not needs or any(may_refer(grant, sender, own, ref.name, kind) for grant in ir.world.grants.get(ref.namespace, ()))
        found.add(name if let else f"{name} without a grant")
    return ", ".join(sorted(found))


def _sent_on(listener: Listener, host: str, gateway: Ref, sent: list[ServiceRoutes], ir: IR) -> str:
    """Which requests for a host are sent on to https: all of them, or those that no other rule takes."""
    if listener.redirect is not None and listener.redirect.value:
        return ", every request sent on to https with 301"
    said: set[str] = set()
    for routes in sent if spoken(listener) in ("HTTP", "HTTPS") else ():
        for one in hosts_of(routes) if hangs(routes, gateway, listener) else ():
            both = narrower(one, host)
            if both is None:
                continue
            met = any(
                narrower(name, both) is not None
                for other in ir.routes
                if other is not routes and not other.problem and other.protocol not in ("tls", "tcp") and hangs(other, gateway, listener)
                for name in hosts_of(other)
            )
            code = next((part.value for rule in routes.rules for item in rule.filters if (part := item.part("code")) is not None), 302)
            place = f" for {both.lower()}" if both.lower() != host else ""
            said.add(f", {'the rest of the requests' if met else 'every request'}{place} sent on to https with {code}")
    return "".join(sorted(said))


def _of_gateway(ir: IR, gateway: Gateway) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for listener in (*gateway.listeners, *gateway.added):
        for host in [fact.value for fact in listener.hosts] or ["*"]:
            found.setdefault(f"port {listener.port.value} for {host}", []).append(_said(listener, gateway, ir))
        for key, rules in _hung(ir, gateway, listener).items() if listener not in gateway.added else ():
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


def _said(listener: Listener, asking: Gateway, ir: IR) -> str:
    parts = [listener.protocol.value]
    if listener.tls is not None:
        parts.append(f"TLS {listener.tls.value}")
    if listener.secrets:
        parts.append(f"certificates {_objects(listener.secrets, asking, ir, (), listener.home)}")
    if listener.check is not None:
        parts.append(_checked(listener.check, asking, ir, ()))
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
    home = routes.ref.value.namespace
    mine = any(fact.value != "mesh" and gateway_of(fact.value, home) == gateway for fact in routes.gateways)
    return routes.protocol in ("tls", "tcp") and not routes.problem and names(routes, listener) and mine


def checked(told: Mapping[str, tuple[Any, Any]]) -> str:
    """Whether clients without a certificate are let in where they were refused (allowed), or the other way round (denied): the first decides."""
    sides = [(REQUIRED in str(one), REQUIRED in str(other)) for one, other in told.values() if one is not None and other is not None]
    return "allowed" if (True, False) in sides else "denied" if (False, True) in sides else "routed"


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
