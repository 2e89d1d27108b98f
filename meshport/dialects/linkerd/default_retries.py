"""The retries that Istio makes unasked, for Services that no rules are for: Linkerd reads them on the Service, where they are asked for.

https://linkerd.io/2-edge/reference/retries/
"""

from __future__ import annotations

from collections.abc import Iterator

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.enrolment import STAGE_SERVICES
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.ir.resilience import ISTIO_CONDITIONS, ISTIO_RETRIES
from meshport.ir.routing import ports_of
from meshport.ir.world import Service
from meshport.mapping.table import version_key
from meshport.values.retry import GRPC_CONDITIONS

NAMED = 10
"""Services that a message names; the finding is about all of them."""


def lower(ir: IR, out: Output, options: Options) -> None:
    """What becomes of the retries on each Service of the mesh that may be sent HTTP and has no rules, named by one finding: a limit where it is asked for."""
    unasked = ISTIO_RETRIES if ir.retries_unasked is None else ir.retries_unasked
    if ir.mesh != "istio" or not unasked:
        return
    found = list(_bare(ir))
    kept = options.preserve_default_retries and version_key(options.target_version) >= (2, 16)
    for service, grpc in found if kept else ():
        obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
        obj.set(("metadata", "annotations", "retry.linkerd.io/limit"), str(unasked), service.src)
        if grpc:
            words = ",".join(word for word in ISTIO_CONDITIONS if word in GRPC_CONDITIONS)
            obj.set(("metadata", "annotations", "retry.linkerd.io/grpc"), words, service.src)
    if found:
        refs = [service.ref for service, _ in found]
        more = f" and {len(refs) - NAMED} more" if len(refs) > NAMED else ""
        said = out.finding(
            "MP408" if kept else "MP401", document=found[0][0].document, disposition=None, feature="retry.default-policy",
            affects=tuple(Affected(ref.namespace, ref.name) for ref in refs), explains=frozenset(pair for ref in refs for pair in _retried(ir, ref)),
            service="Services " + ", ".join(map(str, refs[:NAMED])) + more if len(refs) > 1 else f"Service {refs[0]}",
        )  # fmt: skip
        if unasked != ISTIO_RETRIES:
            said.message = said.message.replace("twice", f"{unasked} times").replace("two default", f"{unasked} default")


def _bare(ir: IR) -> Iterator[tuple[Service, bool]]:
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


def _retried(ir: IR, ref: Ref) -> Iterator[tuple[str, str]]:
    subject = f"routes of Service {ref}"
    for place in (subject, *(f"{subject} port {number}" for number in ports_of(ir.world, ref))):
        yield from ((place, aspect) for aspect in ("retries", "backends", "rules"))
