"""What sidecars are told: four annotations of a pod and one that holds a block of YAML, none of a namespace (Istio reference 7.2; istio.io "Resource
Annotations" and "Global Mesh Options", ProxyConfig)."""

from __future__ import annotations

import json
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_NAMESPACES, STAGE_WORKLOADS, strip
from meshport.dialects.output import Output
from meshport.documents.segments import plain
from meshport.effective.proxies import settings
from meshport.errors import InputError
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.proxies import OTHER, ProxySetting
from meshport.mapping.bound import Bound
from meshport.values.durations import parse_go
from meshport.values.problems import ValueProblem

FEATURES = ("proxy.resources", "proxy.startup", "proxy.shutdown")
KEYS = {
    "cpu-request": "sidecar.istio.io/proxyCPU",
    "cpu-limit": "sidecar.istio.io/proxyCPULimit",
    "memory-request": "sidecar.istio.io/proxyMemory",
    "memory-limit": "sidecar.istio.io/proxyMemoryLimit",
}
BLOCK = "proxy.istio.io/config"
AWAIT, DRAIN = "holdApplicationUntilProxyStarts", "terminationDrainDuration"

NATIVE = (("1.24", "sidecar.istio.io/nativeSidecar"),)


def lift(bound: Bound, ir: IR) -> None:
    """What pods tell their proxy."""
    for workload in ir.world.workloads:
        notes = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations")
        for what, key in KEYS.items():
            amount = notes.text(key)
            if amount is not None:
                ir.proxies.append(ProxySetting(what, amount, workload.document))
        block = notes.text(BLOCK)
        if block is not None:
            ir.proxies.extend(ProxySetting(what, fact, workload.document) for what, fact in _within(block))


def _within(block: Fact[str]) -> list[tuple[str, Fact[str]]]:
    """The settings of a block; one that is no YAML, or holds no settings, is `OTHER` as a whole."""
    try:
        value = plain(block.value)
    except InputError:
        value = None
    if not isinstance(value, dict):
        return [(OTHER, block)]
    rest = dict(value)
    found = []
    if isinstance(rest.get(AWAIT), bool):
        found.append(("await", Fact("enabled" if rest.pop(AWAIT) else "disabled", block.src, "proxy.startup")))
    try:
        found.append(("drain", Fact(str(parse_go(str(rest[DRAIN]))), block.src, "proxy.shutdown")))
        del rest[DRAIN]
    except (KeyError, ValueProblem):
        pass
    if rest or not found:
        found.append((OTHER, block.holding(", ".join(f"{key}: {_shown(item)}" for key, item in rest.items()))))
    return found


def _shown(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item)


def lower(ir: IR, out: Output) -> None:
    """The same as annotations. What a namespace says for its pods is said on each one that the bundle has."""
    for workload, found in settings(ir):
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        notes = (*workload.template, "metadata", "annotations")
        strip(out, obj, workload.document, notes[:-1], None, FEATURES)
        for what, key in KEYS.items():
            if what in found:
                obj.set((*notes, key), found[what].value, found[what])
        block: dict[str, Any] = {AWAIT: found["await"].value == "enabled"} if "await" in found else {}
        if "drain" in found:
            block[DRAIN] = parse_go(found["drain"].value).protobuf()
        if block:
            obj.set((*notes, BLOCK), json.dumps(block), found.get("await"), found.get("drain"))
    namespaces = {namespace.document: namespace for namespace in ir.world.namespaces.values()}
    for item in ir.proxies:
        home = namespaces.get(item.document)
        if home is not None and (home.meshed is None or home.meshed.value):
            default = Fact(item.value.value, item.value.src, "proxy.namespace-settings")
            out.lost(default, document=item.document, affects=(Affected(home.name),), value=f"{item.what} {item.value.value}")
            strip(out, out.change(item.document, rank=STAGE_NAMESPACES), item.document, ("metadata",), None, FEATURES)
        out.imply("stays as it is: no pod that it stands for has a proxy", item.value)
