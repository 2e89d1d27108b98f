"""Istio written anew for Istio: versions of kinds, and the data plane that is asked for. What is right already stays as it stands.

From sidecars to ambient the injection labels leave, pods get ztunnel, and what asks for HTTP goes to waypoints (`ambient`). What neither ztunnel nor a
waypoint reads is said. https://istio.io/latest/docs/ambient/migrate/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects import enrolment, installation
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import ambient, membership, waypoints
from meshport.dialects.output import Obj, Output
from meshport.errors import UsageError
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Src, sources
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.table import dialect_of_group

_SIDECAR_MARKS = ("sidecar.istio.io/inject", "istio-injection", "istio.io/rev")


def lower(ir: IR, out: Output, options: Options, reads: tuple[str, ...]) -> None:
    """What is old in the bundle, in the words of the release and the data plane that are wanted."""
    bound = Bound(out.bundle, out.table, reads, {options.source: options.source_version})
    stood = waypoints.read(bound, ir.world, options.default_namespace)
    if options.data_plane == "sidecar" and (stood.ambient or any(map(waypoints.in_ambient, ir.world.namespaces.values()))):
        raise UsageError("--data-plane sidecar: Istio is taken from sidecars to ambient, not back; leave it out to keep ambient as it is")
    if options.data_plane == "ambient":
        _enrol(bound, ir, out)
        ambient.lower(ir, out, options, stood)
        _without_effect(bound, ir, out, options)
    _versions(bound, out, options)
    installation.lower(ir, out)


def _versions(bound: Bound, out: Output, options: Options) -> None:
    """The newest version of each kind that the release serves."""
    for number, document in enumerate(out.bundle.documents):
        kind = bound.table.kind(document.group, document.kind)
        if not bound.mesh[number] or number in bound.broken or number in out.removed or kind is None or kind.dialect != "istio":
            continue
        newest = kind.newest(options.target_version)
        if newest is None or document.version == newest:
            continue
        if document.version in kind.versions and kind.versions.index(document.version) < kind.versions.index(newest):
            continue
        obj = out.change(number, rank=50)
        obj.set(("apiVersion",), f"{document.group}/{newest}", Cursor.root(bound, number).at("apiVersion").src)


# -- from sidecars to ambient


def _enrol(bound: Bound, ir: IR, out: Output) -> None:
    """Labels of ambient for those of sidecars; never both on one pod."""
    changed: list[str] = []
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.meshed is None or not namespace.meshed.value or waypoints.in_ambient(namespace):
            continue
        changed.append(name)
        obj = out.change(namespace.document, rank=enrolment.STAGE_NAMESPACES)
        _drop(bound, obj, namespace.document, ("metadata",), namespace.meshed)
        obj.set(("metadata", "labels", waypoints.MODE), "ambient", namespace.meshed)
    for workload in ir.world.workloads:
        if workload.meshed is None or waypoints.ambient(ir.world, workload):
            continue
        home = ir.world.namespaces.get(workload.ref.namespace)
        inherited = home.meshed.value if home is not None and home.meshed is not None else False
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
        _drop(bound, obj, workload.document, (*workload.template, "metadata"), workload.meshed)
        if workload.meshed.value != inherited:
            mode = "ambient" if workload.meshed.value else "none"
            obj.set((*workload.template, "metadata", "labels", waypoints.MODE), mode, workload.meshed)
        else:
            out.imply("the namespace says the same", workload.meshed)
    membership.install(ir, out)
    if changed:
        out.finding(
            "MP101", *(ir.world.namespaces[name].meshed for name in changed), document=ir.world.namespaces[changed[0]].document,
            affects=tuple(Affected(name) for name in changed), feature="membership.inject", namespaces=", ".join(changed),
        )  # fmt: skip


def _drop(bound: Bound, obj: Obj, number: int, place: tuple[str, ...], because: Fact[bool]) -> None:
    root = Cursor.root(bound, number).at(*place)
    for what in ("labels", "annotations"):
        for key in _SIDECAR_MARKS:
            if mark := root.at(what, key):
                obj.drop((*place, what, key), because, mark.src)


_REASONS = {
    "EnvoyFilter": ("waypoints do not read filters that select pods", "Say what it is for with a WasmPlugin or a route, or drop it."),
    "Sidecar": (
        "ztunnel and waypoints read no Sidecar",
        "Restrict what leaves the namespace with network policy; visibility needs nothing in ambient.",
    ),
    "ProxyConfig": ("there is no proxy in the pod", "Set resources and options of ztunnel and the waypoints where they are installed."),
    "RequestAuthentication": ("ztunnel reads no tokens", "Attach it to the Service behind a waypoint with targetRefs."),
    "WasmPlugin": ("ztunnel runs no extensions", "Attach it to the waypoint with targetRefs."),
}


def _without_effect(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    """What does nothing once the sidecars are gone, and routes that waypoints read but upstream advises against."""
    for number, document in enumerate(out.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or dialect_of_group(document.group) != "istio":
            continue
        spec: Any = document.value.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        named = f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}"
        if document.kind in _REASONS and not spec.get("targetRefs") and not spec.get("targetRef"):
            reason, remedy = _REASONS[document.kind]
        elif document.kind == "DestinationRule" and spec.get("workloadSelector"):
            reason, remedy = (
                "a waypoint applies no rule that selects its clients' pods",
                "Leave workloadSelector out if every client may have the rule.",
            )
        else:
            continue
        severity = "error" if document.kind in ("EnvoyFilter", "RequestAuthentication", "WasmPlugin") else None
        out.finding(
            "MP112", _spec(bound, number), document=number, disposition="dropped", severity=severity, object=named, reason=reason, remedy=remedy,
            affects=(Affected(document.namespace),) if document.namespace else (), feature="membership.ambient",
        )  # fmt: skip
    for routes in sorted(
        {(item.document, item.ref.value) for item in ir.routes if item.kind == "VirtualService" and item.mesh and item.rules}
    ):
        out.finding(
            "MP115",
            document=routes[0],
            affects=(Affected(routes[1].namespace),),
            object=f"VirtualService {routes[1]}",
            feature="routing.host",
        )


def _spec(bound: Bound, number: int) -> Src:
    return sources(Cursor.root(bound, number).at("spec").src)
