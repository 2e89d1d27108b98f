"""VirtualServices for hosts outside the cluster, which are hosts of ServiceEntries: whose requests come to them, and on which ports.

A rule for a host with a wildcard is one for each host that it covers and no VirtualService names.
https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.effective import egress
from meshport.ir.base import Fact
from meshport.ir.routing import NAMES
from meshport.values.hosts import host_matches

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.ir.routing import RouteRule, ServiceRoutes


def settle(ir: IR, options: Options) -> None:
    """Put into the rules of each host outside where they act; rules for connections that send them where they go anyway leave the list."""
    known = {host.value.lower(): host for outside in ir.outside for host in outside.hosts}
    own = {routes.host.value.lower() for routes in ir.routes if routes.kind == "VirtualService" and routes.mesh}
    found: list[ServiceRoutes] = []
    for routes in ir.routes:
        text = routes.host.value.lower()
        if routes.kind in ("HTTPRoute", "GRPCRoute") and routes.service is None and not routes.gateways and not routes.problem:
            found.extend(_on_entry(routes, ir, options))
            continue
        if routes.kind != "VirtualService" or routes.service is not None or not routes.mesh or routes.problem or not text:
            found.append(routes)
            continue
        hosts = (
            [text]
            if text in known or not text.startswith("*")
            else [name for name in sorted(known) if name not in own and host_matches(text, name)]
        )
        if routes.protocol == "http":
            copies = [_placed(routes, host, known, ir, len(hosts)) for host in hosts]
            found.extend(copies or [routes])
        elif (
            text in known
            and all(gateway.value == "mesh" for gateway in routes.gateways)
            and all(_in_place(rule, text) for rule in routes.rules)
        ):
            ir.idle.append(Fact("sends connections to the host where they go anyway", routes.src, "routing.match.port"))
        else:
            found.append(routes)
    ir.routes[:] = found


def _on_entry(routes: ServiceRoutes, ir: IR, options: Options) -> list[ServiceRoutes]:
    """A route of the Gateway API on a ServiceEntry as rules for each of its hosts, whatever hostnames the route has (pilot/pkg/config/kube/gateway); on one
    that is not there it acts on nothing."""
    entries = [
        item for item in ir.outside if routes.host.value == f"{item.ref.value.name}.{item.ref.value.namespace}.svc.{options.cluster_domain}"
    ]
    if not entries:
        return [replace(routes, problem="MP310")]
    found: list[ServiceRoutes] = []
    for outside in entries:
        for host in outside.hosts:
            place = egress.beyond(ir, host.value, {routes.consumer.value} if routes.consumer is not None else None)
            ports = tuple(port for port in place.ports if routes.port is None or routes.port.value == port) if place is not None else ()
            if place is not None and ports:
                found.append(replace(routes, host=host.also(routes.host), hosts=len(outside.hosts), beyond=replace(place, ports=ports)))
    return found or [routes]


def _placed(routes: ServiceRoutes, host: str, known: dict[str, Fact[str]], ir: IR, hosts: int) -> ServiceRoutes:
    """The rules for one host, with where they act; as they were where no destination outside has it."""
    names = {fact.value for fact in routes.exports}
    home = routes.ref.value.namespace
    seen_by = None if not names or "*" in names else {home if name == "." else name for name in names}
    if host not in known:
        return routes
    named = routes.host if routes.host.value.lower() == host else known[host].also(routes.host)
    return replace(routes, host=named, hosts=routes.hosts - 1 + hosts, beyond=egress.beyond(ir, host, seen_by))


def _in_place(rule: RouteRule, host: str) -> bool:
    """Whether the connections of a rule go to the host and port that they are for."""
    if len(rule.backends) != 1 or rule.backends[0].subset is not None:
        return False
    target, port = rule.backends[0].host.value.lower(), rule.backends[0].port
    asked = {match.port.value if match.port is not None else None for match in rule.matches}
    names = {name.lower() for match in rule.matches for key, fact in match.others if key == NAMES for name in fact.value}
    return bool(asked) and asked <= {port.value if port is not None else None} and (names or {host}) == {target}
