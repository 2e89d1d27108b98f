"""What Linkerd's installation says for every pod whose annotations say nothing (artifacthub.io, linkerd-control-plane; Linkerd reference 1.15).

Which trust domain, cluster domain and cluster networks all the rest is read by is a choice of the run, which the installation makes where nobody else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects import installation
from meshport.ir.base import Fact, PodSet
from meshport.ir.transport import PortSetting
from meshport.values.ports import merge_ports, parse_ports

if TYPE_CHECKING:
    from meshport.ir.model import IR
    from meshport.ir.world import Workload, World
    from meshport.mapping.bound import Bound

CHART = "linkerd-control-plane"
POLICY = "proxy.defaultInboundPolicy"
OPAQUE = "proxy.opaquePorts"
SKIPPED = {"proxyInit.ignoreInboundPorts": "skip-inbound", "proxyInit.ignoreOutboundPorts": "skip-outbound"}
SKIPPED_BY_DEFAULT = (4567, 4568)  # of the chart, where it is told nothing
DEMANDING = ("proxy.requireIdentityOnInboundPorts", "proxy.requireTLSOnInboundPorts")
_CHOSEN = "all the rest was read by it"


def _ranges(bound: Bound, world: World, path: str, feature: str) -> tuple[Fact[Any], int] | None:
    found = installation.settings(bound, world, CHART, {path: feature})
    if not found or not str(found[-1].value.value).strip():
        return None
    return found[-1].value.map(lambda value: parse_ports(str(value), lenient=True)), found[-1].document


def ports(bound: Bound, ir: IR) -> None:
    """Port lists of pods, namespaces and Services that have none of their own."""
    for path, kind in SKIPPED.items():
        found = _ranges(bound, ir.world, path, f"ports.{kind}")
        for workload in ir.world.workloads if found is not None else ():
            said = (item for item in ir.ports if item.kind == kind)
            if found is None or any(
                item.document == workload.document or (item.on == "namespace" and item.subject.namespace == workload.ref.namespace)
                for item in said
            ):
                continue
            subject = workload.pods
            ir.ports.append(PortSetting(subject, kind, found[0], "workload", workload.document))
            if kind == "skip-inbound":
                workload.bypassed = found[0]
    if not installation.settings(bound, ir.world, CHART, {"proxyInit.ignoreInboundPorts": "ports.skip-inbound"}):
        for workload in ir.world.workloads:
            _by_default(ir, workload)
    for path in DEMANDING:
        found = _ranges(bound, ir.world, path, "server.access-policy")
        for workload in ir.world.workloads if found is not None else ():
            if workload.demanding is None and found is not None:
                workload.demanding = found[0]
    found = _ranges(bound, ir.world, OPAQUE, "ports.opaque")
    if found is not None:
        ir.world.opaque = found[0]
        ir.ports.append(PortSetting(PodSet(""), "opaque", found[0], "mesh", found[1]))


def _by_default(ir: IR, workload: Workload) -> None:
    """What goes past the proxy of a pod of which nobody says otherwise, of the ports that it declares."""
    declared = {port.number: port.number_src for port in workload.ports if port.protocol == "TCP" and port.number in SKIPPED_BY_DEFAULT}
    if workload.bypassed is None and declared and ir.world.meshed(workload):
        ranges = Fact(merge_ports((number, number) for number in declared), frozenset().union(*declared.values()), "ports.skip-inbound")
        subject = workload.pods
        ir.ports.append(PortSetting(subject, "skip-inbound", ranges, "workload", workload.document))
        workload.bypassed = ranges


def settings(bound: Bound, ir: IR) -> None:
    """Everything else that the installation says."""
    known = bool(ir.world.workloads)
    installation.lift(
        bound,
        ir,
        {
            POLICY: "",
            OPAQUE: "",
            **(dict.fromkeys((*SKIPPED, *DEMANDING), "") if known else {}),
            "identityTrustDomain": _CHOSEN,
            "clusterDomain": _CHOSEN,
            "clusterNetworks": _CHOSEN,
        },
    )
