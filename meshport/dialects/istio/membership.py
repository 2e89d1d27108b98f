"""Who is in the mesh: `istio-injection`, `istio.io/rev` and `sidecar.istio.io/inject` (Istio reference 7.1, istio.io "Installing the Sidecar").

A namespace label enrols new pods; the pod's own label or annotation has the last word, except that `istio-injection: disabled` blocks it. A pod's own
`istio.io/rev` counts where its namespace has neither label (webhook `rev.object.sidecar-injector.istio.io`).
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import Enrolment
from meshport.dialects.enrolment import lower as enrol
from meshport.dialects.istio import waypoints
from meshport.dialects.output import Obj, Output
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.world import Namespace
from meshport.mapping.bound import Bound
from meshport.mapping.owners import SIDECARS

NAMESPACE_LABELS = ("istio-injection", "istio.io/rev", "istio.io/dataplane-mode")
POD_KEYS = ("sidecar.istio.io/inject", "istio.io/rev", "istio.io/dataplane-mode")


def lift(bound: Bound, ir: IR, options: Options) -> None:
    """Set `meshed` of namespaces and workloads from their labels and annotations. Parts of the mesh itself move nowhere."""
    leaving = options.target == "istio" and options.data_plane == "ambient"
    for namespace in ir.world.namespaces.values():
        if namespace.document in bound.own:
            continue
        labels = Cursor.root(bound, namespace.document).at("metadata", "labels")
        injection, revision, ambient = (labels.at(key) for key in NAMESPACE_LABELS)
        if waypoints.in_ambient(namespace):
            namespace.meshed = Fact(True, ambient.src, "membership.ambient")
            ir.deciding.append(Fact("says that its pods get no sidecar, so that ztunnel takes them", injection.src, "membership.ambient"))
        elif injection:
            namespace.meshed = Fact(injection.value == "enabled", injection.src, "membership.inject")
        elif revision:
            namespace.meshed = Fact(True, revision.src, "membership.revision")
        elif ambient:
            namespace.meshed = Fact(ambient.value == "ambient", ambient.src, "membership.ambient")
    for workload in ir.world.workloads:
        if workload.document in bound.own:
            continue
        metadata = Cursor.root(bound, workload.document).at(*workload.template, "metadata")
        namespace_of = ir.world.namespaces.get(workload.ref.namespace)
        said = metadata.at("labels", "sidecar.istio.io/inject") or metadata.at("annotations", "sidecar.istio.io/inject")
        mode = metadata.at("labels", "istio.io/dataplane-mode")
        with_sidecar, captured = waypoints.injected(ir.world, workload), waypoints.ambient(ir.world, workload)
        if said.fact(_switch) is not None:
            src = said.src if with_sidecar else said.src | mode.src  # without a sidecar it depends on ztunnel
            workload.meshed = Fact(with_sidecar or captured, src, "membership.inject")
        elif (
            mode
        ):  # a sidecar comes before ztunnel, whatever the label says, so that the label decides where there are no more sidecars alone
            enrolled = namespace_of.meshed if namespace_of is not None and with_sidecar and not leaving else None
            workload.meshed = Fact(with_sidecar or captured, enrolled.src if enrolled is not None else mode.src, "membership.ambient")
        elif (revision := metadata.at("labels", "istio.io/rev")) and (namespace_of is None or _says_nothing(namespace_of)):
            workload.meshed = Fact(True, revision.src, "membership.revision")
        if captured and namespace_of is not None and waypoints.injecting(namespace_of):
            home = Cursor.root(bound, namespace_of.document).at("metadata", "labels", waypoints.MODE)
            ir.deciding.append(
                Fact("says which of its pods ztunnel serves, where they have no sidecar", home.src - mode.src, "membership.ambient")
            )
        if workload.meshed is None and workload.proxy is not None and workload.proxy.value == SIDECARS["istio"]:  # istioctl kube-inject
            workload.meshed = Fact(True, workload.proxy.src, "membership.inject")


def _switch(value: object) -> bool:
    """What the injector reads of the mark; it says nothing with another value (istio/istio pkg/kube/inject, injectRequired)."""
    if (word := str(value).lower()) not in ("true", "false"):
        raise ValueError(value)
    return word == "true"


def _says_nothing(namespace: Namespace) -> bool:
    """Whether the pods of a namespace choose a revision of the injector for themselves."""
    return not {"istio-injection", "istio.io/rev"} & namespace.labels.keys()


def lower(ir: IR, out: Output, options: Options) -> None:
    """`istio-injection: enabled` on enrolled namespaces and `sidecar.istio.io/inject` on pods that differ from theirs; in ambient
    `istio.io/dataplane-mode` on both."""
    ambient = options.data_plane == "ambient"
    on_namespace, mark = ("istio.io/dataplane-mode", "ambient") if ambient else ("istio-injection", "enabled")
    on_pod, words = ("istio.io/dataplane-mode", ("ambient", "none")) if ambient else ("sidecar.istio.io/inject", ("true", "false"))

    def namespace(obj: Obj, meshed: bool, *because: Fact[bool]) -> None:
        if meshed:
            obj.set(("metadata", "labels", on_namespace), mark, *because)
            labels = obj.value["metadata"]["labels"]
            for key in (
                ("istio-injection", "istio.io/rev") if ambient else ()
            ):  # of another mesh's cluster that had sidecars too, which come before ztunnel
                if key in labels:
                    obj.drop(("metadata", "labels", key), *because)

    def pod(obj: Obj, path: tuple[str, ...], meshed: bool, *because: Fact[bool]) -> None:
        obj.set((*path, "metadata", "labels", on_pod), words[0] if meshed else words[1], *because)

    command = f"kubectl label namespace {{namespace}} {on_namespace}={mark} --overwrite"
    enrol(ir, out, Enrolment(namespace, pod, command, {on_namespace: mark} if ambient else {}))
    if ambient:
        install(ir, out)


def install(ir: IR, out: Output) -> None:
    """What ambient needs of the installation: its profile in istiod and the CNI plugin, and ztunnel on every node
    (istio.io/latest/docs/ambient/install/helm)."""
    because = [namespace.meshed for namespace in ir.world.namespaces.values() if namespace.meshed is not None]
    for workload in ir.world.workloads:
        if workload.meshed is not None and waypoints.MODE not in workload.labels and waypoints.ambient(ir.world, workload):
            out.imply("the pod stays without a sidecar, and ztunnel before it", workload.meshed)
        elif workload.meshed is not None:
            because.append(workload.meshed)
    if because:
        for chart in ("istiod", "istio-cni"):
            out.install(chart, "profile", "ambient", *because)
        out.command("helm upgrade --install ztunnel istio/ztunnel -n istio-system --wait", *because)
