"""Which rule takes a request from outside at a Gateway. It knows no mesh.

The most specific host goes first; where none of its rules takes the request, a broader host's may (Gateway API, Hostname and HTTPRouteSpec.Hostnames).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshport.compare import routing
from meshport.compare.ingress import at_gateways
from meshport.compare.journey import takes
from meshport.compare.request import Request
from meshport.ir.base import Ref
from meshport.ir.model import IR, Listener
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes, ingress_subject, outer_gateways
from meshport.values.hosts import host_matches


@dataclass(frozen=True, slots=True)
class Taken:
    """What takes a request from outside: the Gateway's subject, the host that its routes were found under, the rule, and what becomes of the request."""

    subject: str
    host: str
    routes: ServiceRoutes
    match: RouteMatch
    rule: RouteRule
    outcome: Mapping[str, Any]


def take(ir: IR, request: Request, gateway: Ref | None = None) -> Taken | None:
    """The rule that takes a request at a Gateway (at any where none is named): that of the most specific host first; None where it is answered 404.

    Of a Gateway's listeners the one with the most specific hostname takes the request, whatever hangs on the others.
    """
    asked = (request.host or "").partition(":")[0].lower()
    known = {item.ref.value: item.listeners for item in ir.gateways}
    wanted = [gateway] if gateway is not None else sorted({ref for routes in ir.routes for ref in outer_gateways(routes)})
    for ref in wanted:
        for listener in _asked(known.get(ref, ()), asked):
            found = _taken(ir, ref, listener, asked, request)
            if found is not None:
                return found
    return None


def _asked(listeners: Sequence[Listener], host: str) -> list[Listener | None]:
    """The listeners that a request comes to, of whatever port; [None] where the input shows none."""
    if not listeners:
        return [None]
    named = [(host, item) for item in listeners for host in ([fact.value.rpartition("/")[2] for fact in item.hosts] or ["*"])]
    fitting = [(name.lower() == host, len(name), item) for name, item in named if host_matches(name, host)]
    most = max(((exact, length) for exact, length, _ in fitting), default=None)
    return [item for exact, length, item in fitting if (exact, length) == most]


def _taken(ir: IR, gateway: Ref, listener: Listener | None, asked: str, request: Request) -> Taken | None:
    subject = ingress_subject(gateway)
    fitting = [item for item in at_gateways(ir, listener) if item[0] == subject and host_matches(item[1], asked)]
    for _, host, routes in sorted(fitting, key=lambda item: (item[1].lower() == asked, len(item[1])), reverse=True):
        for match, outcome, rule in routing.ways(ir.world, routes, None, ir.mesh):
            if takes(match, request, raw=ir.raw_paths):
                return Taken(subject, host, routes, match, rule, outcome)
    return None
