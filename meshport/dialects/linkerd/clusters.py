"""Services that clusters share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.exposure import (
    BALANCES,
    affected,
    drop_marks,
    guarded,
)
from meshport.ir.base import Fact

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR


EXPORTED, FEDERATED, MIRRORED = "mirror.linkerd.io/exported", "mirror.linkerd.io/federated", "mirror.linkerd.io/mirrored-service"
SHARING = {EXPORTED: ("true", "remote-discovery"), FEDERATED: ("member",)}
"""The values that the selectors of a Link have by default (linkerd.io/2-edge/reference/multicluster)."""


def networks(ir: IR, out: Output) -> None:
    """The names of networks on namespaces, pods and Services: a Link names the other cluster's instead."""
    holders: list[tuple[int, tuple[str, ...]]] = [(item.document, ("metadata", "labels")) for item in ir.world.namespaces.values()]
    holders += [(item.document, ("metadata", "labels")) for item in ir.world.services.values()]
    holders += [(item.document, (*item.template, "metadata", "labels")) for item in ir.world.workloads]
    for number, path in holders:
        found: Any = out.bundle.documents[number].leaves
        for step in (*path, "topology.istio.io/network"):
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, int):
            out.lost(Fact(out.bundle.value(found), frozenset((found,)), "multi-cluster.network"), document=number)


def shared(ir: IR, out: Output, options: Options) -> None:
    """The label on Services whose endpoints are in this cluster, and what the other clusters then see."""
    for shared in ir.shared:
        ref = shared.service.value
        subject = f"sharing of Service {ref}"
        if out.source == "linkerd":
            out.imply("stays as it is", shared.mode)
            continue
        drop_marks(out, shared)
        if shared.prefers is not None and out.source != "istio":  # of Istio's, the finding of the DestinationRule speaks
            out.finding(
                "MP511", shared.prefers, document=shared.document, disposition="dropped", affects=affected(ir, ref),
                explains={(subject, "prefers"): None}, subject=f"Service {ref}", setting=f"{shared.prefers.value} endpoints go first", instead=BALANCES["linkerd"],
            )  # fmt: skip
        if not shared.offered:
            if out.source == "cilium":  # of Istio's entries, their own finding says what is to be done in the other cluster
                out.finding(
                    "MP735", shared.mode, document=shared.document, disposition="approximated", affects=affected(ir, ref), service=str(ref),
                    name=f"{ref.name}-CLUSTER",
                )  # fmt: skip
            continue
        service = ir.world.services[ref]
        merged = shared.mode.value == "merged" and out.supports("multi-cluster.federate")
        obj = out.change(service.document, group=f"service {ref.name}", rank=20)
        obj.add_origin(shared.document)
        if merged:
            obj.set(("metadata", "labels", FEDERATED), "member", shared.mode)
        else:
            obj.set(("metadata", "labels", EXPORTED), "true" if shared.mode.value == "gateway" else "remote-discovery", shared.mode)
        if shared.because:
            obj.note(f"used by other clusters, as {shared.because} says")
        suffix = "federated" if merged else "CLUSTER"
        out.finding("MP725", document=shared.document, affects=affected(ir, ref), service=str(ref), name=f"{ref.name}-{suffix}")
        if shared.mode.value == "gateway" and guarded(ref, ir):
            out.finding("MP717", document=shared.document, affects=affected(ir, ref), service=str(ref), trust_domain=options.trust_domain)
        out.command("linkerd multicluster install | kubectl apply -f -", shared.mode)
