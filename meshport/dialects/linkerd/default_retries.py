"""The retries that Istio makes unasked, for Services that no rules are for: Linkerd reads them on the Service, where they are asked for.

https://linkerd.io/2-edge/reference/retries/
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.enrolment import STAGE_SERVICES
from meshport.dialects.output import Output
from meshport.dialects.unasked_retries import listed, retried, unasked, without_rules
from meshport.findings import Affected
from meshport.ir.model import IR
from meshport.ir.resilience import ISTIO_CONDITIONS, ISTIO_RETRIES
from meshport.mapping.table import version_key
from meshport.values.retry import GRPC_CONDITIONS


def lower(ir: IR, out: Output, options: Options) -> None:
    """What becomes of the retries on each Service of the mesh that may be sent HTTP and has no rules, named by one finding: a limit where it is asked for."""
    attempts = unasked(ir)
    found = list(without_rules(ir)) if attempts else []
    kept = options.preserve_default_retries and version_key(options.target_version) >= (2, 16)
    for service, grpc in found if kept else ():
        obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
        obj.set(("metadata", "annotations", "retry.linkerd.io/limit"), str(attempts), service.src)
        if grpc:
            words = ",".join(word for word in ISTIO_CONDITIONS if word in GRPC_CONDITIONS)
            obj.set(("metadata", "annotations", "retry.linkerd.io/grpc"), words, service.src)
    if found:
        refs = [service.ref for service, _ in found]
        said = out.finding(
            "MP408" if kept else "MP401", document=found[0][0].document, disposition=None, feature="retry.default-policy",
            affects=tuple(Affected(ref.namespace, ref.name) for ref in refs), explains=frozenset(pair for ref in refs for pair in retried(ir, ref)),
            service=listed(refs),
        )  # fmt: skip
        if attempts != ISTIO_RETRIES:
            said.message = said.message.replace("twice", f"{attempts} times").replace("two default", f"{attempts} default")
