"""Routes for bytes as `tcp` rules of the VirtualService of their Service.

https://istio.io/latest/docs/reference/config/networking/virtual-service/#TCPRoute
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.gateway_api.connections import acting
from meshport.dialects.gateway_api.writing import hundred
from meshport.dialects.istio.resilience import API, fqdn
from meshport.findings import Affected
from meshport.ir.routing import Backend, ServiceRoutes, connections_subject, gather, ports_of

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR


def tcp_rules(routes: ServiceRoutes, ir: IR, out: Output, options: Options) -> None:
    """The rules of a TCPRoute; of several for one port Istio too takes the first alone. On ports that Istio takes for HTTP or TLS no such rule acts."""
    assert routes.service is not None
    service, src = routes.service.value, gather(routes.service)
    known = ir.world.services[service]
    ports = [routes.port.value] if routes.port is not None else list(ports_of(ir.world, service))
    heard = [port for port in ports if known.is_opaque(port) or acting(known, "tcp", port)]
    if len(heard) < len(ports):
        deaf = [port for port in ports if port not in heard]
        out.finding(
            "MP306", routes.src | gather(routes.rules), document=routes.document, disposition=None if heard else "dropped", protocol="TCP",
            outcome=f"Istio takes {'port' if len(deaf) == 1 else 'the ports'} {', '.join(map(str, deaf))} for HTTP or TLS by name or appProtocol"
            " (name it tcp-…), and connections go to the Service itself",
            subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}", affects=(Affected(service.namespace, service.name),),
            explains=frozenset((connections_subject(routes.subject_name, port), "rules") for port in deaf),
        )  # fmt: skip
    if not heard:
        return
    obj = out.object(API, "VirtualService", service, owner=routes.document, group=f"service {service.name}", rank=30, because=src)
    obj.add_origin(routes.document)
    obj.note(f"from {routes.kind} {routes.ref.value}")
    obj.set(("spec", "hosts", 0), fqdn(service, options), src)
    every = len(heard) == len(known.ports) and (set(heard) == set(acting(known, "tcp", None)) or all(map(known.is_opaque, heard)))
    for rule in routes.rules:
        place: tuple[str | int, ...] = ("spec", "tcp", len(obj.value["spec"].get("tcp", [])))
        for number, port in enumerate(() if every else heard):
            obj.set((*place, "match", number, "port"), port, routes.port, src)
        if every:
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
