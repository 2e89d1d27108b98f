"""Encryption and the demand for an identity, written for Cilium: settings of the installation, and policies that admit meshed peers alone."""

from __future__ import annotations

from typing import Any

from meshport.dialects import installation, modes
from meshport.dialects.base import Options
from meshport.dialects.cilium.plaintext import apart
from meshport.dialects.enrolment import STAGE_NAMESPACES
from meshport.dialects.output import Output
from meshport.dialects.redundant import UNREAD
from meshport.effective.access import Access
from meshport.effective.modes import deciding
from meshport.ir.authorization import Policy
from meshport.ir.base import Fact, PodSet, Ref
from meshport.ir.install import Setting
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.table import in_range

CHART = "cilium"
ENFORCEMENT = "policyEnforcementMode"
_NEVER = "says whether policies hold, and those of the bundle were read by it"


def lift(bound: Bound, ir: IR) -> None:
    """What the installation says: encryption, Hubble, and whether pods that no policy selects are closed."""
    found = mode(bound, ir)
    closed = found is not None and found.value.value == "always"
    if found is not None and closed:
        said = found.value
        for name, namespace in sorted(ir.world.namespaces.items()):
            if namespace.meshed is not None:  # as a policy without a rule for every pod there would
                subject, ref = said.holding(PodSet(name)), said.holding(Ref(name, "default-deny"))
                ir.policies.append(Policy(ref, said.holding("allow"), subject, (), found.document, "Helm value policyEnforcementMode"))
    installation.lift(bound, ir, {ENFORCEMENT: "" if closed else _NEVER})


def mode(bound: Bound, ir: IR) -> Setting | None:
    """When policies are enforced, as the installation says last."""
    return next(reversed(installation.settings(bound, ir.world, CHART, {ENFORCEMENT: "inbound.default-policy"})), None)


def proxyless(bound: Bound, ir: IR) -> Setting | None:
    """That the agent runs without its proxy, and so refuses every policy with rules for requests (pkg/policy/api, rule validation)."""
    found = next(reversed(installation.settings(bound, ir.world, CHART, {"l7Proxy": "l4.ingress-default-deny"})), None)
    return found if found is not None and found.value.value is False else None


_BY_ITSELF = "plaintext is accepted where no policy refuses it"
_KEPT = "who may call is said by policies; what is between the nodes is encrypted by the installation's setting"


def lower(ir: IR, out: Output, options: Options) -> None:
    """Encryption between the nodes, or of workloads, as install settings. Both source meshes encrypt between their pods by themselves, so it is
    switched on wherever a namespace was in the mesh. Which peers are admitted is written with the policies."""
    if options.source == "cilium":
        return
    enrolled = [
        namespace.meshed for _, namespace in sorted(ir.world.namespaces.items()) if namespace.meshed is not None and namespace.meshed.value
    ]
    demanded: list[Fact[str]] = []
    for rule in ir.transport:
        demanded += [mode for mode in (rule.mode, *rule.ports.values()) if mode is not None and mode.value == "strict"]
    for admission in ir.admissions:
        if admission.value.value.endswith("-authenticated"):
            demanded.append(admission.value)
        out.imply("what the port admits is in the policies for these pods, or open as without any", admission.value)
    for workload in ir.world.workloads:
        if ir.world.meshed(workload) is False:
            out.ignore(UNREAD, workload.demanding)
        out.imply("what the port asks for is in the policies for these pods", workload.demanding)
    because: list[Fact[Any]] = enrolled or demanded
    if not because:
        return
    plane = options.data_plane or "wireguard"
    out.install(CHART, "encryption.enabled", True, *because)
    out.install(CHART, "encryption.type", plane, *because)
    document = ir.transport[0].document if ir.transport else None
    if plane == "ztunnel":
        for _, namespace in sorted(ir.world.namespaces.items()):
            if namespace.meshed is not None and namespace.meshed.value:
                obj = out.change(namespace.document, group="", rank=STAGE_NAMESPACES)
                obj.set(("metadata", "labels", "io.cilium/mtls-enabled"), "true", namespace.meshed)
        out.finding("MP131", document=document, feature="transport.workload-mtls", release=options.target_version)
        if not in_range(options.target_version, "1.19", None):
            out.finding(
                "MP134",
                *demanded,
                document=document,
                disposition="dropped",
                feature="transport.workload-mtls",
                release=options.target_version,
            )
        return
    if options.pod_cidr is not None:
        if in_range(options.target_version, "1.19", None):
            out.install(CHART, "encryption.strictMode.egress.enabled", True, *because)
            out.install(CHART, "encryption.strictMode.egress.cidr", options.pod_cidr, *because)
        else:
            out.install(CHART, "encryption.strictMode.enabled", True, *because)
            out.install(CHART, "encryption.strictMode.cidr", options.pod_cidr, *because)
    out.finding(
        "MP130", *demanded, document=document, disposition="installed" if demanded else None, feature="transport.mode", plane=plane,
        what="STRICT mutual TLS" if demanded and ir.transport else "mutual TLS",
    )  # fmt: skip


def account(out: Output, access: Access) -> None:
    """What becomes of the modes for which no policy was written."""
    places = deciding(access, shut=lambda namespace, selector: apart(access, namespace, selector) is None, defaults=False)
    modes.account(out, access, places, lambda mode: _KEPT if mode == "strict" else _BY_ITSELF)
