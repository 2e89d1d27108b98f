"""The retries that Istio makes unasked, for Services that no rules are for: a GAMMA route of its own for each, where they are asked for.

https://docs.cilium.io/en/stable/network/servicemesh/gateway-api/gamma/
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cilium.routes import Lowering
from meshport.dialects.cilium.routing import installed
from meshport.dialects.gateway_api.service_ports import speaks_http
from meshport.dialects.output import Output
from meshport.dialects.unasked_retries import listed, retried, unasked, without_rules
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact
from meshport.ir.model import IR
from meshport.ir.routing import RouteRule, ServiceRoutes
from meshport.ir.world import Service
from meshport.mapping.table import version_key


def lower(ir: IR, out: Output, options: Options) -> None:
    """What becomes of the retries on each Service of the mesh that may be sent HTTP and has no rules. A route is written for those with one port, of which no
    CiliumEnvoyConfig of the output is the owner; of the others one finding says that they end."""
    attempts = unasked(ir)
    found = [service for service, _ in without_rules(ir)] if attempts else []
    owned = {
        (entry.get("namespace"), entry.get("name"))
        for obj in out.objects.values()
        if obj.kind == "CiliumEnvoyConfig"
        for entry in obj.value.get("spec", {}).get("services", ())
    }
    kept = [service for service in found if (service.ref.namespace, service.ref.name) not in owned and _one_port(service)]
    if not options.preserve_default_retries or version_key(options.target_version) < (1, 17):
        kept = []
    for service in kept:
        _write(service, ir, out, options)
    if kept:
        installed(ir, out, True, [])
    gone = [service.ref for service in found if service not in kept]
    if gone:
        cell = out.table.support("retry.default-policy", out.target, out.target_version)
        said = out.from_cell(
            cell, Fact(f"attempts: {attempts}", NOWHERE, "retry.default-policy"), document=ir.world.services[gone[0]].document,
            affects=tuple(Affected(ref.namespace, ref.name) for ref in gone), explains=frozenset(pair for ref in gone for pair in retried(ir, ref)),
        )  # fmt: skip
        if said is not None:
            said.disposition = None
            said.message = f"{listed(gone)}: {said.message}"


def _one_port(service: Service) -> bool:
    """Whether a route on the Service, which Cilium reads without a port, is for HTTP alone."""
    ports = [port for port in service.ports if port.protocol == "TCP"]
    return len(ports) == 1 and speaks_http(ports[0])


def _write(service: Service, ir: IR, out: Output, options: Options) -> None:
    """A route for everything that says nothing: what Istio makes of it unasked is written by the lowering of routes."""
    known = Fact(service.ref, service.src)
    host = known.map(lambda ref: f"{ref.name}.{ref.namespace}.svc.{options.cluster_domain}")
    routes = ServiceRoutes(
        known, "Service", known, host, None, (RouteRule("", (), ()),), "first", "forward", service.document, (service.document,), family="istio",
        src=service.src,
    )  # fmt: skip
    Lowering(ir, out, options, routes, service, name=service.ref.name).write()
