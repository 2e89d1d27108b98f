"""Who is in the mesh: under Cilium every pod is, for it is the cluster's network (docs.cilium.io, overview).

As a source, each namespace of the bundle that has workloads is taken in, those of the cluster's own components apart.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.peers import NAMESPACE, Chosen, take_apart
from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_NAMESPACES, STAGE_WORKLOADS, defaults, leaf_at, mark, places, restart, services, strip, unseen
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.world import Namespace
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


def lift(bound: Bound, ir: IR, options: Options) -> None:
    """Set `meshed` of the namespaces that have workloads, or policies for pods that the bundle does not show; those of the cluster's own components are governed
    like all others, and not taken in elsewhere. Of what another mesh's output does they are told as well: Linkerd takes in pods of kube-public."""
    homes = {workload.ref.namespace for workload in ir.world.workloads if not workload.host_network}
    if options.source == "cilium":
        ir.world.apart |= frozenset(SYSTEM)
        homes |= _governed(bound, ir, options)
    apart = ir.world.apart if options.source == "cilium" else ()
    for name, namespace in ir.world.namespaces.items():
        if name in homes and name not in apart:
            namespace.meshed = Fact(True, namespace.src, "membership.inject")


def _governed(bound: Bound, ir: IR, options: Options) -> set[str]:
    """The namespaces whose pods policies select: their own, and of the clusterwide ones those that they name, or all."""
    found: set[str] = set()
    for number, document in enumerate(bound.bundle.documents):
        if document.group != "cilium.io" or number in bound.broken:
            continue
        if document.kind == "CiliumNetworkPolicy":
            found.add(document.namespace or options.default_namespace)
        elif document.kind == "CiliumClusterwideNetworkPolicy":
            root = Cursor.root(bound, number)
            for spec in (root.at("spec"), *root.each("specs")):
                if spec.at("endpointSelector"):
                    chosen = take_apart(spec.selector("endpointSelector").value)
                    found |= {home.name for home in ir.world.namespaces.values() if _holds(chosen, home)}
    return found


def _holds(chosen: Chosen, home: Namespace) -> bool:
    """Whether a selector may take pods of a namespace."""
    named = all(item.accepts({NAMESPACE: home.name}) for item in chosen.namespace)
    return named and not chosen.foreign and not chosen.reserved and all(item.accepts(home.labels) for item in chosen.namespace_labels)


UNMARK = {
    "istio": "kubectl label namespace {namespace} istio-injection- istio.io/rev- istio.io/dataplane-mode-",
    "linkerd": "kubectl annotate namespace {namespace} linkerd.io/inject-",
}


def lower(ir: IR, out: Output, options: Options) -> None:
    """Take the source mesh's marks off what is in it; nothing replaces them."""
    if options.source == "cilium":
        return
    left: list[str] = []
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.meshed is None:
            continue
        if not namespace.meshed.value:
            _stays(out, namespace.document, ("metadata",), namespace.meshed)
            continue
        obj = out.change(namespace.document, group="", rank=STAGE_NAMESPACES)
        strip(out, obj, namespace.document, ("metadata",), namespace.meshed)
        if namespace.document not in out.outside:
            left.append(name)
    for workload in ir.world.workloads:
        if workload.meshed is None:
            continue
        if not workload.meshed.value:
            _stays(out, workload.document, (*workload.template, "metadata"), workload.meshed)
            continue
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        strip(out, obj, workload.document, (*workload.template, "metadata"), workload.meshed)
        out.imply("every pod is governed, and none has a sidecar", workload.meshed)
        if workload.ref.namespace not in left and workload.document not in out.outside:
            left.append(workload.ref.namespace)
    services(ir, out)
    defaults(ir, out)
    places(ir, out)
    for name, src in sorted(unseen(ir, out).items()):
        command = UNMARK.get(options.source, "").format(namespace=name)
        if command:
            out.command(command, src, namespace=name)
        found = out.finding("MP133", document=None, affects=(Affected(name),), feature="membership.inject", namespace=name, command=command)
        found.remedy = found.remedy.removesuffix(", or run:")
    tunnelled = [name for name in left if _without_sidecars(ir, name)]
    for code, names in (("MP132", [name for name in left if name not in tunnelled]), ("MP734", tunnelled)):
        homes = [ir.world.namespaces[name] for name in names if name in ir.world.namespaces]
        if names:
            found = out.finding(
                code, *(home.meshed for home in homes), document=homes[0].document if homes else None, affects=tuple(Affected(name) for name in names),
                feature="membership.inject", namespaces=", ".join(names),
            )  # fmt: skip
            if code == "MP132":
                found.remedy = restart(names, ir.world) or found.remedy


def _stays(out: Output, number: int, holder: tuple[str, ...], meshed: Fact[bool]) -> None:
    """What is not in the source mesh is left alone, with the marks that keep it out: pods are not restarted for what changes nothing."""
    found: Any = out.bundle.documents[number].value
    for step in holder:
        found = found.get(step) if isinstance(found, dict) else None
    for what in ("labels", "annotations") if isinstance(found, dict) else ():
        marks = found.get(what)
        for key in marks if isinstance(marks, dict) else ():
            if (binding := mark(out, what, key)) is not None and binding.feature.startswith("membership."):
                out.ignore("another mark keeps it out of the mesh", leaf_at(out, number, (*holder, what, key)) - meshed.src)
    out.imply("keeps it out of the source mesh, and nothing is to be taken off", meshed)


def _without_sidecars(ir: IR, name: str) -> bool:
    """Whether a namespace enrolled its pods in a data plane of the node, which a running pod leaves at once."""
    home = ir.world.namespaces.get(name)
    return home is not None and home.meshed is not None and home.meshed.feature == "membership.ambient"
