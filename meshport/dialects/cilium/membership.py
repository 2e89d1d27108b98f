"""Who is in the mesh: under Cilium every pod is, for it is the cluster's network (docs.cilium.io, overview).

As a source, each namespace of the bundle that has workloads is taken in, those of the cluster's own components apart.
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

SYSTEM = (
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "cilium-secrets",
    "istio-system",
    "linkerd",
    "linkerd-viz",
    "linkerd-multicluster",
)


def lift(bound: Bound, ir: IR) -> None:
    """Set `meshed` of the namespaces that have workloads."""
    homes = {workload.ref.namespace for workload in ir.world.workloads if not workload.host_network}
    for name, namespace in ir.world.namespaces.items():
        if name in homes and name not in SYSTEM:
            namespace.meshed = Fact(True, namespace.src, "membership.inject")


def lower(ir: IR, out: Output, options: Options) -> None:
    """Take the source mesh's marks off; nothing replaces them."""
