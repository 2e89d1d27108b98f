"""Which endpoints of a Service its clients prefer: Istio's annotation as the field of Kubernetes that the other meshes go by.

https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution; Istio takes its annotation before the field, and a Service's before its
namespace's (istio.io/latest/docs/reference/config/annotations, networking.istio.io/traffic-distribution).
"""

from __future__ import annotations

from meshport.dialects.enrolment import STAGE_SERVICES, leaf_at
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.model import IR

MARK = "networking.istio.io/traffic-distribution"
NOTE = ("metadata", "annotations", MARK)
FIELD = ("spec", "trafficDistribution")
FEATURE = "locality.topology"


def lower(ir: IR, out: Output) -> None:
    """`trafficDistribution` of each Service for which the annotation speaks, and what the target makes of that."""
    if ir.mesh != "istio":
        return
    unused: dict[str, Fact[str]] = {}
    for name, home in ir.world.namespaces.items():
        if MARK in home.annotations:
            unused[name] = Fact(home.annotations[MARK], leaf_at(out, home.document, NOTE), FEATURE)
    above = dict(unused)
    for service in sorted(ir.world.services.values(), key=lambda item: item.ref):
        own = service.annotations.get(MARK)
        said = Fact(own, leaf_at(out, service.document, NOTE), FEATURE) if own is not None else above.get(service.ref.namespace)
        if said is None:
            continue
        if own is None:
            unused.pop(service.ref.namespace, None)
        obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
        obj.set(FIELD, said.value, said)
        if own is not None:
            obj.drop(NOTE, said)
        if out.target == "cilium":
            out.install("cilium", "loadBalancer.serviceTopology", True, said)
        out.lost(said, document=service.document, affects=(Affected(service.ref.namespace, service.ref.name),))
    for said in unused.values():
        out.ignore("no Service of the input goes by it", said)
