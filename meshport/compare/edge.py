"""Which rule takes a request from outside at a Gateway. It knows no mesh.

The most specific host goes first; where none of its rules takes the request, a broader host's may (Gateway API, Hostname and HTTPRouteSpec.Hostnames).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshport.compare import routing
from meshport.compare.ingress import at_gateways
from meshport.compare.journey import takes
from meshport.compare.request import Request
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes, ingress_subject


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
    """The rule that takes a request at a Gateway (at any where none is named): that of the most specific host first; None where it is answered 404."""
    wanted = ingress_subject(gateway) if gateway is not None else None
    asked = (request.host or "").partition(":")[0].lower()
    fitting = [item for item in at_gateways(ir) if wanted in (None, item[0]) and _fits(item[1].lower(), asked)]
    for subject, host, routes in sorted(fitting, key=lambda item: (item[1] == asked, len(item[1])), reverse=True):
        for match, outcome, rule in routing.ways(ir.world, routes, None, ir.mesh):
            if takes(match, request, raw=ir.raw_paths):
                return Taken(subject, host, routes, match, rule, outcome)
    return None


def _fits(pattern: str, host: str) -> bool:
    """Whether a host of a route is for the host of a request; a wildcard stands for one label or more."""
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) > len(pattern) - 1)
