"""Where requests from outside go, as canonical data by Gateway: the rules of every host, in the order in which they are tried.

Retries are left out: what an implementation does unasked at its edge is nobody's rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from meshport.compare import routing
from meshport.ir.model import IR, Listener
from meshport.ir.routing import ServiceRoutes, ingress_subject, outer_gateways
from meshport.values.hosts import narrower

SERVING = ("istio", "cilium", "gateway-api")
"""The dialects whose Gateways the mesh itself serves; Linkerd has no ingress."""


def served(ir: IR) -> bool:
    """Whether somebody serves the Gateways of this side: the mesh, or another implementation of the Gateway API beside it."""
    others = (gateway for gateway in ir.gateways if gateway.kind.startswith("gateway.networking"))
    return ir.mesh in SERVING or any(not gateway.implementation.value.startswith("istio") for gateway in others)


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """The rules at each Gateway. Those that only answer with the same address under https are a setting of a listener, and not compared here."""
    out: dict[str, dict[str, Any]] = {}
    for subject, host, routes in at_gateways(ir):
        found = routing.of_rules(ir.world, routes, ir.mesh)
        found.pop("retries", None)
        for aspect, value in found.items():
            place = out.setdefault(subject, {}).setdefault(aspect, {})
            place.update({f"{host}: {key}": item for key, item in value.items()} if isinstance(value, dict) else {host: value})
    return out


def at_gateways(ir: IR, listener: Listener | None = None) -> Iterator[tuple[str, str, ServiceRoutes]]:
    """(subject, host, rules) for each host at each Gateway; the rules of several objects are one list. With a listener those alone that hang on it, for the
    hosts that both name."""
    found: dict[tuple[str, str], ServiceRoutes] = {}
    for routes in sorted(ir.routes, key=lambda item: (item.kind, item.ref.value)):
        if routes.problem or routes.protocol in ("tls", "tcp") or _of_a_listener(routes):
            continue
        if listener is not None and routes.sections and (listener.name is None or listener.name.value not in routes.sections):
            continue
        hosts = [fact.value for fact in routes.hostnames] or [routes.host.value if routes.kind == "VirtualService" else "*"]
        if listener is not None and listener.hosts:
            own = [fact.value.rpartition("/")[2] for fact in listener.hosts]
            hosts = [both for host in hosts for one in own if (both := narrower(one, host)) is not None]
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


def _of_a_listener(routes: ServiceRoutes) -> bool:
    """Whether a route does nothing but send every request on to https."""
    redirects = [rule.filter("redirect") for rule in routes.rules if not rule.matches]
    return len(routes.rules) == 1 and any(item is not None and {name for name, _ in item.parts} == {"scheme", "code"} for item in redirects)
