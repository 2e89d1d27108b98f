"""Who is in the mesh: `linkerd.io/inject` on a Namespace or pod template (Linkerd reference 1.15); the pod has the last word.

A Namespace labelled `config.linkerd.io/admission-webhooks: disabled` is one that the injector is never asked about (the `namespaceSelector` of its webhook).
"""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import Enrolment
from meshport.dialects.enrolment import lower as enrol
from meshport.dialects.output import Obj, Output
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.owners import SIDECARS

INJECT = "linkerd.io/inject"
WEBHOOKS = "config.linkerd.io/admission-webhooks"
_VALUES = {"enabled": True, "ingress": True, "disabled": False}


def lift(bound: Bound, ir: IR) -> None:
    """Set `meshed` of namespaces and workloads from their annotations. Parts of the mesh itself move nowhere."""
    passed: dict[str, Fact[str]] = {}
    for namespace in ir.world.namespaces.values():
        if namespace.document in bound.own:
            continue
        metadata = Cursor.root(bound, namespace.document).at("metadata")
        webhooks = metadata.at("labels").text(WEBHOOKS)
        said = metadata.at("annotations").text(INJECT)
        if webhooks is not None and webhooks.value == "disabled":
            passed[namespace.name] = webhooks
            namespace.meshed = webhooks.holding(False)
        elif said is not None and said.value in _VALUES:
            namespace.meshed = said.map(_VALUES.__getitem__).also(webhooks)
    for workload in ir.world.workloads:
        if workload.document in bound.own:
            continue
        said = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations").text(INJECT)
        if said is not None and said.value in _VALUES:
            home = passed.get(workload.ref.namespace)
            workload.meshed = said.map(_VALUES.__getitem__) if home is None else said.holding(False).also(home)
        elif workload.proxy is not None and workload.proxy.value == SIDECARS["linkerd"]:  # linkerd inject --manual
            workload.meshed = Fact(True, workload.proxy.src, "membership.inject")


def lower(ir: IR, out: Output) -> None:
    """`linkerd.io/inject` on enrolled namespaces, and on pods that differ from theirs."""

    def namespace(obj: Obj, meshed: bool, *because: Fact[bool]) -> None:
        if meshed:
            obj.set(("metadata", "annotations", INJECT), "enabled", *because)

    def pod(obj: Obj, path: tuple[str, ...], meshed: bool, *because: Fact[bool]) -> None:
        obj.set((*path, "metadata", "annotations", INJECT), "enabled" if meshed else "disabled", *because)

    enrol(ir, out, Enrolment(namespace, pod, f"kubectl annotate namespace {{namespace}} {INJECT}=enabled --overwrite"))
