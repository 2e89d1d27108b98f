"""Namespaces whose Pod Security Standard refuses the init container of a sidecar.

Both sidecar meshes redirect a pod's traffic from an init container with NET_ADMIN and NET_RAW, unless their CNI plugin does it on the node; `baseline` and
`restricted` refuse pods that add these capabilities (kubernetes.io/docs/concepts/security/pod-security-standards).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.findings import Affected

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR

ENFORCE = "pod-security.kubernetes.io/enforce"
_PLUGIN = {
    "istio": "Install the chart istio-cni, and set pilot.cni.enabled=true in the values of istiod.",
    "linkerd": "Install the CNI plugin first (linkerd install-cni | kubectl apply -f -), and set cniEnabled=true in the values of linkerd-control-plane.",
}


def report(ir: IR, out: Output, options: Options) -> None:
    """MP979 for the namespaces that join a mesh of sidecars and refuse its init container."""
    if options.target not in _PLUGIN or options.data_plane == "ambient":
        return
    joining = {one.ref.namespace for one in ir.world.workloads if ir.world.meshed(one)}
    joining |= {name for name, space in ir.world.namespaces.items() if space.meshed is not None and space.meshed.value}
    strict = [
        name
        for name in sorted(joining)
        if name in ir.world.namespaces and ir.world.namespaces[name].labels.get(ENFORCE) in ("baseline", "restricted")
    ]
    if strict:
        out.finding(
            "MP979", document=ir.world.namespaces[strict[0]].document, feature="membership.inject", namespaces=", ".join(strict),
            levels=", ".join(sorted({ir.world.namespaces[name].labels[ENFORCE] for name in strict})), affects=tuple(Affected(name) for name in strict),
        ).remedy = _PLUGIN[options.target]  # fmt: skip
