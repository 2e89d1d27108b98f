"""Where connections go that are no requests: TLS known by the name that a client asks for, and bytes, by port of a Service or by Gateway.

A subject holds, for each name that is asked for, the pods that take its connections with their shares; the first rule that takes a name decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.compare import routing
from meshport.dialects.gateway_api.connections import acting
from meshport.ir.base import NOWHERE, Src
from meshport.ir.model import IR, Listener
from meshport.ir.routing import (
    NAMES,
    Backend,
    RouteMatch,
    RouteRule,
    ServiceRoutes,
    comes_by,
    connections_subject,
    gateway_connections,
    gather,
    of_mesh,
    outer_gateways,
    ports_of,
)

EVERY = "every connection"
Data = dict[str, dict[str, Any]]


def canonical(ir: IR) -> Data:
    """What becomes of connections of clients in the mesh, by Service (or host) and port; what would be so without any rule is left out."""
    out: Data = {}
    for subject, port, routes, rule, match in inside(ir):
        own = routing.shares(ir.world, (Backend(routes.service, routes.host),), port)
        _put(out, subject, match, routing.shares(ir.world, rule.backends, port))
        if out[subject] == {"rules": {EVERY: own}}:
            out[subject] = {"rules": {}}
    return {subject: data for subject, data in out.items() if data["rules"]}


def at_gateways(ir: IR) -> Data:
    """The same for connections that come in through Gateways; ports of the destination are those that the rules name."""
    out: Data = {}
    for subject, port, rule, match in _outside(ir):
        _put(out, subject, match, routing.shares(ir.world, rule.backends, None), f" on port {port}" if port is not None else "")
    return out


def leaves(ir: IR, subject: str) -> Src:
    """The leaves that say something about a subject."""
    found = NOWHERE
    for name, _, routes, rule, match in inside(ir):
        found |= (gather(rule, match) or routes.src) if name == subject else NOWHERE
    for name, _, rule, match in _outside(ir):
        found |= gather(rule, match) if name == subject else NOWHERE
    return found


def inside(ir: IR) -> Iterator[tuple[str, int | None, ServiceRoutes, RouteRule, RouteMatch]]:
    """(subject, port, routes, rule, match) for every rule that acts on connections of the mesh, in the order in which they are asked."""
    for routes in _sorted(ir):
        if not routes.mesh or (routes.service is None and not routes.host.value):
            continue
        service = ir.world.services.get(routes.service.value) if routes.service is not None else None
        for rule in routes.rules:
            for match in rule.matches or (RouteMatch(),):
                if not rule.backends or not of_mesh(match):
                    continue
                ports: list[int | None]
                if routes.kind == "VirtualService":
                    named = match.port.value if match.port is not None else None
                    ports = [*acting(service, routes.protocol, named)] if service is not None else [named]
                elif routes.port is not None:
                    ports = [routes.port.value]
                else:
                    ports = [*ports_of(ir.world, routes.service.value)] if service is not None and routes.service is not None else [None]
                for port in ports:
                    yield connections_subject(routes.subject_name, port), port, routes, rule, match


def _outside(ir: IR) -> Iterator[tuple[str, int | None, RouteRule, RouteMatch]]:
    """(subject, port of the Gateway, rule, match); the port is None where the bundle does not say what the Gateway listens for."""
    known = {gateway.ref.value: gateway.listeners for gateway in ir.gateways}
    told: set[tuple[int, str]] = set()
    for routes in _sorted(ir):
        if (routes.document, routes.protocol) in told:
            continue  # the rules of a VirtualService are the same for each of its hosts
        told.add((routes.document, routes.protocol))
        for gateway in outer_gateways(routes):
            for rule in routes.rules:
                for match in rule.matches or (RouteMatch(),):
                    if rule.backends and comes_by(match, (str(gateway),), routes.ref.value.namespace):
                        for port in _listening(routes, match, known.get(gateway, ())):
                            yield gateway_connections(gateway), port, rule, match


def _listening(routes: ServiceRoutes, match: RouteMatch, listeners: tuple[Listener, ...]) -> list[int | None]:
    """The ports on which the connections of a match come in: those that it names, else all that listen for such."""
    named = match.port.value if match.port is not None else routes.listener_port
    found = {
        listener.port.value
        for listener in listeners
        if named in (None, listener.port.value)
        and (not routes.sections or (listener.name is not None and listener.name.value in routes.sections))
        and _hears(listener, routes.protocol)
    }
    return [*sorted(found)] or [None]


def _hears(listener: Listener, protocol: str) -> bool:
    """Whether a listener hands on such connections: TLS as it comes (`tls`), or bytes (`tcp`), and no requests."""
    whole = listener.tls is not None and listener.tls.value.upper().endswith("PASSTHROUGH")
    return whole if protocol == "tls" else not whole and not listener.protocol.value.upper().startswith(("HTTP", "GRPC"))


def _sorted(ir: IR) -> list[ServiceRoutes]:
    found = [item for item in ir.routes if item.protocol in ("tls", "tcp") and not item.problem]
    return sorted(found, key=lambda item: (item.host.value, item.protocol != "tls", item.ref.value))


def _put(out: Data, subject: str, match: RouteMatch, shares: dict[str, str], where: str = "") -> None:
    rules = out.setdefault(subject, {"rules": {}})["rules"]
    if EVERY + where in rules:
        return
    more = [f"{name} {fact.value}" for name, fact in match.others if name not in (NAMES, "gateways")]
    names = next((fact.value for name, fact in match.others if name == NAMES), ["*"])
    for name in names:
        words = [*([] if name == "*" else [f"name {name}"]), *more]
        rules.setdefault((" and ".join(words) or EVERY) + where, shares)
