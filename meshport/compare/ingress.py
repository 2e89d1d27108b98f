"""Where requests from outside go, as canonical data by Gateway: the rules of every host, in the order in which they are tried.

Retries are left out: what an implementation does unasked at its edge is nobody's rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from meshport.compare import routing
from meshport.ir.model import IR
from meshport.ir.routing import ServiceRoutes, ingress_subject, outer_gateways

SERVING = ("istio", "cilium", "gateway-api")
"""The dialects whose Gateways somebody serves; Linkerd has none of its own."""


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


def at_gateways(ir: IR) -> Iterator[tuple[str, str, ServiceRoutes]]:
    """(subject, host, rules) for each host at each Gateway; the rules of several objects are one list."""
    found: dict[tuple[str, str], ServiceRoutes] = {}
    for routes in sorted(ir.routes, key=lambda item: (item.kind, item.ref.value)):
        if routes.problem or routes.protocol in ("tls", "tcp") or _of_a_listener(routes):
            continue
        hosts = [fact.value for fact in routes.hostnames] or [routes.host.value if routes.kind == "VirtualService" else "*"]
        for gateway in outer_gateways(routes):
            for host in hosts:
                key = (ingress_subject(gateway), host)
                known = found.get(key)
                mine = replace(routes, rules=tuple(routing.outside(rule) for rule in routes.rules))
                found[key] = mine if known is None else replace(known, rules=known.rules + mine.rules)
    for (subject, host), routes in sorted(found.items(), key=lambda item: item[0]):
        yield subject, host, routes


def _of_a_listener(routes: ServiceRoutes) -> bool:
    """Whether a route does nothing but send every request on to https."""
    redirects = [rule.filter("redirect") for rule in routes.rules if not rule.matches]
    return len(routes.rules) == 1 and any(item is not None and {name for name, _ in item.parts} == {"scheme", "code"} for item in redirects)
