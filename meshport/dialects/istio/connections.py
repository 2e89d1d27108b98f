"""Routes for bytes as `tcp` rules of the VirtualService of their Service.

https://istio.io/latest/docs/reference/config/networking/virtual-service/#TCPRoute
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.gateway_api.writing import hundred
from meshport.dialects.istio.resilience import API, fqdn
from meshport.ir.routing import Backend, ServiceRoutes, gather, ports_of

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR


def tcp_rules(routes: ServiceRoutes, ir: IR, out: Output, options: Options) -> None:
    """The rules of a TCPRoute; of several for one port Istio too takes the first alone."""
    assert routes.service is not None
    service, src = routes.service.value, gather(routes.service)
    obj = out.object(API, "VirtualService", service, owner=routes.document, group=f"service {service.name}", rank=30, because=src)
    obj.add_origin(routes.document)
    obj.note(f"from {routes.kind} {routes.ref.value}")
    obj.set(("spec", "hosts", 0), fqdn(service, options), src)
    known = ports_of(ir.world, service)
    for rule in routes.rules:
        place: tuple[str | int, ...] = ("spec", "tcp", len(obj.value["spec"].get("tcp", [])))
        if routes.port is not None and set(known) != {routes.port.value}:
            obj.set((*place, "match", 0, "port"), routes.port.value, routes.port)
        else:
            out.imply("the Service has no other port", routes.port)
        backends = rule.backends or (Backend(routes.service, routes.host),)
        weights = hundred([one.weight.value if one.weight is not None else 1 for one in backends])
        for number, (backend, weight) in enumerate(zip(backends, weights, strict=True)):
            at = (*place, "route", number)
            host = fqdn(backend.service.value, options) if backend.service is not None else backend.host.value
            obj.set((*at, "destination", "host"), host, backend.host, src)
            if backend.port is not None:
                obj.set((*at, "destination", "port", "number"), backend.port.value, backend.port)
            if len(backends) > 1:
                obj.set((*at, "weight"), weight, *(one.weight for one in backends))
            elif backend.weight is not None:
                out.ignore("a single destination takes everything, whatever its weight", backend.weight)
