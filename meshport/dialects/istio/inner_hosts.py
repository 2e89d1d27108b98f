"""Hosts of what leaves the cluster that Istio takes for a Service of it: rules and entries for them would meet what goes to the Service.

An EgressNetwork of Linkerd goes by the address that a connection is for, so that no request to a Service ever meets a route on one, whatever name it bears.
Istio goes by the name: a VirtualService's host without a dot is the Service of its own namespace, and a proxy knows a Service by its shorter names too.
https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.ir.base import Ref
from meshport.values.hosts import kubernetes_service, narrower

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshport.dialects.base import Options
    from meshport.ir.exposure import Outside
    from meshport.ir.model import IR
    from meshport.ir.routing import ServiceRoutes

ASPECTS = ("rules", "backends", "filters", "timeout", "retries", "unmatched")


def of_service(host: str, clients: Collection[str] | None, ir: IR, options: Options) -> bool:
    """Whether clients of some namespaces (None: of any) know a Service by this name."""
    text = host.lower()
    if kubernetes_service(text, options.cluster_domain) is not None:
        return True
    name, _, rest = text.removesuffix(".svc").partition(".")
    if rest:
        return Ref(rest, name) in ir.world.services
    if clients is not None:
        return any(Ref(client, name) in ir.world.services for client in clients)
    return any(ref.name == name for ref in ir.world.services)


def ruled(host: str, clients: Collection[str] | None, ir: IR, options: Options) -> bool:
    """Whether rules for this host would be rules for Services."""
    wild = host.startswith("*") and narrower(host, f"*.svc.{options.cluster_domain}") is not None
    return wild or "." not in host or of_service(host, clients, ir, options)


def rules_of(outside: Outside, ir: IR, options: Options) -> list[tuple[str, ServiceRoutes]]:
    """The rules for hosts of a destination that are left out for that, by host."""
    found = []
    for routes in (one for one in ir.routes if one.beyond is not None):
        host = next((fact.value for fact in outside.hosts if fact.value.lower() == routes.host.value.lower()), None)
        if host is not None and routes.beyond is not None and not routes.problem and ruled(host, routes.beyond.clients, ir, options):
            found.append((host, routes))
    return found


def left_out(outside: Outside, ir: IR, options: Options) -> list[str]:
    """The hosts of a destination that are not written: a Service's, and those whose rules are not, which are not to be open without them."""
    judged = {host for host, _ in rules_of(outside, ir, options)}
    return [fact.value for fact in outside.hosts if fact.value in judged or of_service(fact.value, outside.seen_by, ir, options)]
