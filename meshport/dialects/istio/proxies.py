"""Resources of the sidecar: four annotations of a pod, none of a namespace (Istio reference 7.2; istio.io "Resource Annotations")."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_NAMESPACES, STAGE_WORKLOADS, strip
from meshport.dialects.output import Output
from meshport.effective.proxies import amounts
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.proxies import ProxyAmount
from meshport.mapping.bound import Bound

FEATURE = "proxy.resources"
KEYS = {
    "cpu-request": "sidecar.istio.io/proxyCPU",
    "cpu-limit": "sidecar.istio.io/proxyCPULimit",
    "memory-request": "sidecar.istio.io/proxyMemory",
    "memory-limit": "sidecar.istio.io/proxyMemoryLimit",
}

NATIVE = (("1.27", "sidecar.istio.io/nativeSidecar"),)


def lift(bound: Bound, ir: IR) -> None:
    """The amounts that pods ask for their proxy."""
    for workload in ir.world.workloads:
        notes = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations")
        for what, key in KEYS.items():
            amount = notes.text(key)
            if amount is not None:
                ir.proxies.append(ProxyAmount(what, amount, workload.document))


def lower(ir: IR, out: Output) -> None:
    """The same amounts as annotations. What a namespace says for its pods is said on each one that the bundle has."""
    for workload, found in amounts(ir):
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        strip(out, obj, workload.document, (*workload.template, "metadata"), None, FEATURE)
        for what, amount in found.items():
            obj.set((*workload.template, "metadata", "annotations", KEYS[what]), amount.value, amount)
    namespaces = {namespace.document: namespace for namespace in ir.world.namespaces.values()}
    for item in ir.proxies:
        home = namespaces.get(item.document)
        if home is not None and (home.meshed is None or home.meshed.value):
            default = Fact(item.amount.value, item.amount.src, "proxy.namespace-resources")
            out.lost(default, document=item.document, affects=(Affected(home.name),), value=f"{item.what} {item.amount.value}")
            strip(out, out.change(item.document, rank=STAGE_NAMESPACES), item.document, ("metadata",), None, FEATURE)
        out.imply("stays as it is: no pod that it stands for has a proxy", item.amount)
