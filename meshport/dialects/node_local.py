"""Services whose requests stay on the node of their caller (`internalTrafficPolicy: Local`), and the proxies that do not keep to it.

Istio's sidecars and ztunnel are given the endpoints of their node alone (filterIstioEndpoint in istio/istio, pilot/pkg/xds/endpoints/endpoint_builder.go;
constructService in pilot/pkg/serviceregistry/ambient/services.go), Linkerd's proxies likewise since 2.13 (filterAddresses in linkerd/linkerd2,
controller/api/destination/watcher/filtered_listener_group.go), and Cilium's datapath. Cilium's Envoy is not: of the two policies of a Service it goes by the
external one (DefaultSelectBackends in cilium/cilium, pkg/loadbalancer/writer/writer.go).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshport.findings import Affected
from meshport.ir.base import Ref
from meshport.mapping.table import in_range

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.ir.model import IR

ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute")
CONFIGS = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")


def lower(ir: IR, out: Output) -> None:
    """Say of each such Service where the target's proxies choose otherwise than the source's. Last of a lowering: it looks at what is written."""
    if out.source == out.target or out.target == "gateway-api":
        return
    found = {ref: service for ref, service in sorted(ir.world.services.items()) if service.node_local is not None and not service.headless}
    before, after = (_before(out), _after(out)) if found else (set(), set())
    for ref, service in found.items():
        kept, keeps = _kept(ref, out, out.source, before), _kept(ref, out, out.target, after)
        if kept != keeps:
            out.finding(
                "MP381" if kept else "MP382", service.node_local, document=service.document, feature="routing.destination",
                affects=(Affected(ref.namespace, ref.name),), name=str(ref), mesh=_called(out.target if kept else out.source, out),
            )  # fmt: skip


def _kept(ref: Ref, out: Output, mesh: str, through: set[Ref]) -> bool:
    """Whether requests to the Service stay on the node."""
    if mesh == "cilium":
        return ref not in through
    return (mesh, out.target) != ("linkerd", "linkerd") or in_range(out.target_version, "2.13", None)


def _called(mesh: str, out: Output) -> str:
    if mesh == "linkerd":
        return f"Linkerd {out.target_version}"
    return "Envoy, which its requests go through in Cilium,"


def _before(out: Output) -> set[Ref]:
    """The Services whose requests Envoy takes in the input."""
    return {ref for document in out.bundle.documents for ref in _through(document.value, document.kind)}


def _after(out: Output) -> set[Ref]:
    """Those of the output."""
    written = [obj.value for obj in out.objects.values()]
    staying = [out.bundle.documents[number].value for number in out.staying - out.removed]
    return {ref for value in (*written, *staying) for ref in _through(value, str(value.get("kind")))}


def _through(value: Any, kind: str) -> Iterator[Ref]:
    """The Services that a route or an Envoy configuration names: those whose requests it takes, and those that it sends them to."""
    if kind not in (*ROUTES, *CONFIGS) or not isinstance(value.get("spec"), dict):
        return
    spec, home = value["spec"], str(value["metadata"].get("namespace") or "default")
    if kind in CONFIGS:
        named = [*_dicts(spec.get("services")), *_dicts(spec.get("backendServices"))]
    else:
        named = [parent for parent in _dicts(spec.get("parentRefs")) if parent.get("kind") == "Service"]
        named += [backend for rule in _dicts(spec.get("rules")) for backend in _dicts(rule.get("backendRefs"))]
    for item in named:
        yield Ref(str(item.get("namespace") or home), str(item.get("name")))


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
