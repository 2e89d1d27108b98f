"""The retries that Istio makes unasked, for Services that no rules are for: which these are, and what differs where nobody makes them."""

from __future__ import annotations

from collections.abc import Iterator

from meshport.dialects import protocols
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.ir.resilience import ISTIO_RETRIES
from meshport.ir.routing import ports_of
from meshport.ir.world import Service

NAMED = 10
"""Services that a message names; the finding is about all of them."""


def unasked(ir: IR) -> int:
    """How often the source tries again where nobody says anything."""
    if ir.mesh != "istio":
        return 0
    return ISTIO_RETRIES if ir.retries_unasked is None else ir.retries_unasked


def listed(refs: list[Ref]) -> str:
    """Services as a message names them."""
    more = f" and {len(refs) - NAMED} more" if len(refs) > NAMED else ""
    return "Services " + ", ".join(map(str, refs[:NAMED])) + more if len(refs) > 1 else f"Service {refs[0]}"


def without_rules(ir: IR) -> Iterator[tuple[Service, bool]]:
    """The Services of the mesh without rules that may be sent HTTP, and whether all that they are sent is gRPC."""
    routed = {routes.service.value for routes in ir.routes if routes.service is not None and routes.mesh and not routes.problem}
    for ref, service in sorted(ir.world.services.items()):
        members = ir.world.selected(service.pods) if service.pods is not None else []
        inside = any(ir.world.meshed(workload) is not False for workload in members)
        if ref in routed or ref in ir.unproxied or service.headless or service.external_name or not inside:
            continue
        spoken = {protocols.of_service_port(port) for port in service.ports if port.protocol == "TCP"}
        if any(map(protocols.is_http, spoken)):
            yield service, spoken == {"grpc"}


def retried(ir: IR, ref: Ref) -> Iterator[tuple[str, str]]:
    subject = f"routes of Service {ref}"
    for place in (subject, *(f"{subject} port {number}" for number in ports_of(ir.world, ref))):
        yield from ((place, aspect) for aspect in ("retries", "backends", "rules"))
