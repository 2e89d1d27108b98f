"""What proxies are told: annotations of a pod, or of a Namespace for its pods (Linkerd reference 1.15; linkerd.io "Proxy Configuration")."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_WORKLOADS, strip
from meshport.dialects.output import Output
from meshport.effective.proxies import settings
from meshport.findings import Affected
from meshport.ir.model import IR
from meshport.ir.proxies import OTHER, ProxySetting
from meshport.mapping.bound import Bound
from meshport.values.durations import parse_linkerd
from meshport.values.problems import ValueProblem

KEYS = {
    "cpu-request": "config.linkerd.io/proxy-cpu-request",
    "cpu-limit": "config.linkerd.io/proxy-cpu-limit",
    "memory-request": "config.linkerd.io/proxy-memory-request",
    "memory-limit": "config.linkerd.io/proxy-memory-limit",
    "await": "config.linkerd.io/proxy-await",
    "drain": "config.linkerd.io/shutdown-grace-period",
}
FEATURES = ("proxy.resources", "proxy.startup", "proxy.shutdown")

NATIVE = (
    ("2.20", "config.linkerd.io/proxy-enable-native-sidecar"),
    ("2.19", "config.beta.linkerd.io/proxy-enable-native-sidecar"),
    ("2.15", "config.alpha.linkerd.io/proxy-enable-native-sidecar"),
)


def lift(bound: Bound, ir: IR) -> None:
    """What pods and namespaces tell proxies."""
    places: list[tuple[int, tuple[str, ...]]]
    places = [(namespace.document, ("metadata", "annotations")) for namespace in ir.world.namespaces.values()]
    places += [(workload.document, (*workload.template, "metadata", "annotations")) for workload in ir.world.workloads]
    for number, place in places:
        notes = Cursor.root(bound, number).at(*place)
        for what, key in KEYS.items():
            if (value := notes.get(key, _time if what == "drain" else str)) is not None:
                ir.proxies.append(ProxySetting(what, value, number))


def _time(text: object) -> str:
    """A time in one spelling. Raises ValueError for one that Linkerd's proxy does not read."""
    if not isinstance(text, str):
        raise ValueProblem(f"{text} is no text")
    return str(parse_linkerd(text))


def lower(ir: IR, out: Output) -> None:
    """The same as annotations, and what Linkerd has no annotation for named."""
    others = {item.document: item for item in ir.proxies if item.what == OTHER}
    for workload, found in settings(ir):
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        whole = () if workload.document in others else ("proxy.config",)  # what is to be read by hand stays to be read
        strip(out, obj, workload.document, (*workload.template, "metadata"), None, (*FEATURES, *whole))
        for what, value in found.items():
            obj.set((*workload.template, "metadata", "annotations", KEYS[what]), value.value, value)
    for workload in ir.world.workloads if others else ():
        if workload.document in others and ir.world.meshed(workload) is not False:
            out.lost(
                others[workload.document].value, document=workload.document, affects=(Affected(workload.ref.namespace, workload.ref.name),)
            )
    for item in ir.proxies:
        out.imply("stays as it is: no pod that it stands for has a proxy", item.value)
