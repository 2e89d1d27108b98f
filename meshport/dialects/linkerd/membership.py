"""Who is in the mesh: `linkerd.io/inject` on a Namespace or pod template (Linkerd reference 1.15); the pod has the last word."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import Enrolment
from meshport.dialects.enrolment import lower as enrol
from meshport.dialects.output import Obj, Output
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.mapping.bound import Bound

INJECT = "linkerd.io/inject"
_VALUES = {"enabled": True, "ingress": True, "disabled": False}


def lift(bound: Bound, ir: IR) -> None:
    """Set `meshed` of namespaces and workloads from their annotations."""
    for namespace in ir.world.namespaces.values():
        said = Cursor.root(bound, namespace.document).at("metadata", "annotations").text(INJECT)
        if said is not None and said.value in _VALUES:
            namespace.meshed = said.map(_VALUES.__getitem__)
    for workload in ir.world.workloads:
        said = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations").text(INJECT)
        if said is not None and said.value in _VALUES:
            workload.meshed = said.map(_VALUES.__getitem__)


def lower(ir: IR, out: Output) -> None:
    """`linkerd.io/inject` on enrolled namespaces, and on pods that differ from theirs."""

    def namespace(obj: Obj, meshed: bool, *because: Fact[bool]) -> None:
        if meshed:
            obj.set(("metadata", "annotations", INJECT), "enabled", *because)

    def pod(obj: Obj, path: tuple[str, ...], meshed: bool, *because: Fact[bool]) -> None:
        obj.set((*path, "metadata", "annotations", INJECT), "enabled" if meshed else "disabled", *because)

    enrol(ir, out, Enrolment(namespace, pod, f"kubectl annotate namespace {{namespace}} {INJECT}=enabled --overwrite"))
