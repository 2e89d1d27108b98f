"""Resources of the proxy: annotations of a pod, or of a Namespace for its pods (Linkerd reference 1.15; linkerd.io "Proxy Configuration")."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_WORKLOADS, strip
from meshport.dialects.output import Output
from meshport.effective.proxies import amounts
from meshport.ir.model import IR
from meshport.ir.proxies import ProxyAmount
from meshport.mapping.bound import Bound

KEYS = {
    "cpu-request": "config.linkerd.io/proxy-cpu-request",
    "cpu-limit": "config.linkerd.io/proxy-cpu-limit",
    "memory-request": "config.linkerd.io/proxy-memory-request",
    "memory-limit": "config.linkerd.io/proxy-memory-limit",
}

NATIVE = (
    ("2.20", "config.linkerd.io/proxy-enable-native-sidecar"),
    ("2.19", "config.beta.linkerd.io/proxy-enable-native-sidecar"),
    ("2.15", "config.alpha.linkerd.io/proxy-enable-native-sidecar"),
)


def lift(bound: Bound, ir: IR) -> None:
    """The amounts that pods and namespaces ask for proxies."""
    places: list[tuple[int, tuple[str, ...]]]
    places = [(namespace.document, ("metadata", "annotations")) for namespace in ir.world.namespaces.values()]
    places += [(workload.document, (*workload.template, "metadata", "annotations")) for workload in ir.world.workloads]
    for number, place in places:
        notes = Cursor.root(bound, number).at(*place)
        for what, key in KEYS.items():
            amount = notes.text(key)
            if amount is not None:
                ir.proxies.append(ProxyAmount(what, amount, number))


def lower(ir: IR, out: Output) -> None:
    """The same amounts as annotations."""
    for workload, found in amounts(ir):
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        strip(out, obj, workload.document, (*workload.template, "metadata"), None, "proxy.resources")
        for what, amount in found.items():
            obj.set((*workload.template, "metadata", "annotations", KEYS[what]), amount.value, amount)
    for item in ir.proxies:
        out.imply("stays as it is: no pod that it stands for has a proxy", item.amount)
