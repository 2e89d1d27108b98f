"""Where requests from outside go, as canonical data by Gateway: the rules of every host, in the order in which they are tried.

Retries are left out: what an implementation does unasked at its edge is nobody's rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from meshport.compare import routing
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR, Listener
from meshport.ir.routing import Filter, RouteRule, ServiceRoutes, comes_by, ingress_subject, outer_gateways
from meshport.values.hosts import narrower

_TO_HTTPS = (RouteRule("", (), (), (Filter("redirect", (("scheme", Fact("https")), ("code", Fact(301)))),)),)
"""What Istio does with each request to a server that sends on to https."""
ON_PORT = " on port "
SERVING = ("istio", "cilium", "gateway-api")
"""The dialects whose Gateways the mesh itself serves; Linkerd has no ingress."""


def served(ir: IR) -> bool:
    """Whether somebody serves the Gateways of this side: the mesh, or another implementation of the Gateway API beside it."""
    others = (gateway for gateway in ir.gateways if gateway.kind.startswith("gateway.networking"))
    return ir.mesh in SERVING or any(not gateway.implementation.value.startswith("istio") for gateway in others)


def canonical(ir: IR, apart: frozenset[Ref] = frozenset()) -> dict[str, dict[str, Any]]:
    """The rules at each Gateway; at those of `apart` for each port by itself. Elsewhere those that only answer with the same address under https are a setting
    of a listener, and not compared here."""
    out: dict[str, dict[str, Any]] = {}
    for subject, place, routes in places(ir, apart):
        _put(out, subject, place, routing.of_rules(ir.world, routes, ir.mesh))
    return out


def places(ir: IR, apart: frozenset[Ref] = frozenset()) -> Iterator[tuple[str, str, ServiceRoutes]]:
    """(subject, place, rules): a place is a host at a Gateway, at those of `apart` on one port; no request that comes to one comes to another."""
    split = {ingress_subject(item.ref.value): item for item in ir.gateways if item.ref.value in apart and item.listeners}
    for subject, host, routes in at_gateways(ir):
        if subject not in split:
            yield subject, host, routes
    for subject, gateway in split.items():
        for listener in gateway.listeners:
            redirected = listener.redirect is not None and listener.redirect.value
            for name, host, routes in at_gateways(ir, listener, whole=True):
                if name == subject:
                    rules, named = (replace(routes, rules=_TO_HTTPS), "*") if redirected else (routes, host)
                    yield subject, f"{named}{ON_PORT}{listener.port.value}", rules


def by_port(ir: IR) -> frozenset[Ref]:
    """The Gateways at which rules ask for a port."""
    return frozenset(
        gateway
        for routes in ir.routes
        if not routes.problem and routes.protocol not in ("tls", "tcp")
        for gateway in outer_gateways(routes)
        for rule in routes.rules
        for match in rule.matches
        if match.port is not None and comes_by(match, (str(gateway),), routes.ref.value.namespace)
    )


def _put(out: dict[str, dict[str, Any]], subject: str, place: str, found: dict[str, Any]) -> None:
    for aspect, value in found.items():
        if aspect != "retries":
            held = out.setdefault(subject, {}).setdefault(aspect, {})
            held.update({f"{place}: {key}": item for key, item in value.items()} if isinstance(value, dict) else {place: value})


def at_gateways(ir: IR, listener: Listener | None = None, *, whole: bool = False) -> Iterator[tuple[str, str, ServiceRoutes]]:
    """(subject, host, rules) for each host at each Gateway; the rules of several objects are one list. With a listener those alone that hang on it, for the
    hosts that both name; `whole`: for the hosts as the rules name them, and with what only sends requests on to https."""
    found: dict[tuple[str, str], ServiceRoutes] = {}
    for routes in sorted(ir.routes, key=lambda item: (item.kind, item.ref.value)):
        if routes.problem or routes.protocol in ("tls", "tcp") or (not whole and sends_on(routes)):
            continue
        if listener is not None and not names(routes, listener):
            continue
        hosts = hosts_of(routes)
        if listener is not None and routes.listener_port not in (None, listener.port.value):
            continue
        if listener is not None and listener.hosts:
            own = [fact.value.rpartition("/")[2] for fact in listener.hosts]
            met = [(host, both) for host in hosts for one in own if (both := narrower(one, host)) is not None]
            hosts = list(dict.fromkeys(host if whole else both for host, both in met))
        for gateway in outer_gateways(routes):
            port = listener.port.value if listener is not None else None
            kept = [one for rule in routes.rules if (one := routing.outside(rule, gateway, routes.ref.value.namespace, port)) is not None]
            for host in hosts if kept or not routes.rules else ():
                key = (ingress_subject(gateway), host)
                known = found.get(key)
                mine = replace(routes, rules=tuple(kept))
                found[key] = mine if known is None else replace(known, rules=known.rules + mine.rules)
    for (subject, host), routes in sorted(found.items(), key=lambda item: item[0]):
        yield subject, host, routes


def hosts_of(routes: ServiceRoutes) -> list[str]:
    """The hosts that rules at a Gateway are for."""
    return [fact.value for fact in routes.hostnames] or [routes.host.value if routes.kind == "VirtualService" else "*"]


def names(routes: ServiceRoutes, listener: Listener) -> bool:
    """Whether rules are for a listener by its name, or for every one."""
    return not routes.sections or (listener.name is not None and listener.name.value in routes.sections)


def hangs(routes: ServiceRoutes, gateway: Ref, listener: Listener) -> bool:
    """Whether rules for requests hang on a listener of a Gateway, whatever the hosts."""
    return names(routes, listener) and routes.listener_port in (None, listener.port.value) and gateway in outer_gateways(routes)


def sends_on(routes: ServiceRoutes) -> bool:
    """Whether a route does nothing but send every request on to https."""
    redirects = [rule.filter("redirect") for rule in routes.rules if not rule.matches]
    return len(routes.rules) == 1 and any(item is not None and {name for name, _ in item.parts} == {"scheme", "code"} for item in redirects)
