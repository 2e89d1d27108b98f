"""Enrolment in the target mesh: the source mesh's labels and annotations leave, the target's come.

Membership follows the source. A pod is never in both meshes, and nothing is enrolled that was not in the mesh before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.output import Gathered, Obj, Output
from meshport.documents import Document
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Src, sources
from meshport.ir.model import IR
from meshport.ir.routing import ServiceRoutes
from meshport.ir.world import Workload, World
from meshport.mapping.owners import SIDECARS
from meshport.mapping.table import Binding
from meshport.values.ports import format_ports

STAGE_NAMESPACES = 10
STAGE_SERVICES = 20
STAGE_WORKLOADS = 30
FEW = 3  # namespaces that a remedy names


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How a mesh enrols: a namespace (object, meshed, *because), a pod template (object, path of the template, meshed, *because)."""

    namespace: Callable[..., None]
    pod: Callable[..., None]
    command: str  # enrols the namespace {namespace}
    labels: dict[str, str] = field(
        default_factory=dict
    )  # that this gives a namespace, where one of which nothing is known would be in the mesh otherwise


def lower(ir: IR, out: Output, enrolment: Enrolment) -> None:
    """Take the source's membership marks off and put the target's on."""
    if ir.mesh == "gateway-api":
        _unsaid(ir, out)
        return
    enrolled: list[str] = []
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.meshed is None:
            continue
        obj = out.change(namespace.document, group="", rank=STAGE_NAMESPACES)
        strip(out, obj, namespace.document, ("metadata",), namespace.meshed)
        enrolment.namespace(obj, namespace.meshed.value, namespace.meshed)
        if namespace.meshed.value:
            enrolled += [name] if namespace.document not in out.outside else []
        else:
            out.imply("a namespace that is not in the mesh needs no mark", namespace.meshed)
    for workload in ir.world.workloads:
        if workload.meshed is None:
            continue
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        strip(out, obj, workload.document, (*workload.template, "metadata"), workload.meshed)
        if not inherits(ir, workload, workload.meshed.value, out.target):
            enrolment.pod(obj, workload.template, workload.meshed.value, workload.meshed)
        else:
            out.imply("the namespace says the same", workload.meshed)
    services(ir, out)
    defaults(ir, out)
    places(ir, out)
    by_command(ir, out, enrolment.command, enrolment.labels)
    if enrolled:
        because = [ir.world.namespaces[name].meshed for name in enrolled]
        found = out.finding(
            "MP101",
            *because,
            document=ir.world.namespaces[enrolled[0]].document,
            affects=tuple(Affected(name) for name in enrolled),
            feature="membership.inject",
            namespaces=", ".join(enrolled),
        )
        found.remedy = restart(enrolled, ir.world) or found.remedy


def inherits(ir: IR, workload: Workload, meshed: bool, target: str) -> bool:
    """Whether a workload's pods are in the mesh, or out of it, by what their namespace will say; one that the bundle has no object for says nothing for
    sure, for it may be enrolled by other hands. Pods that hold the target's proxy themselves count as in it."""
    if not meshed and workload.proxy is not None and workload.proxy.value == SIDECARS.get(target):
        return False
    home = ir.world.namespaces.get(workload.ref.namespace)
    return home is not None and meshed == (home.meshed is not None and home.meshed.value)


def by_command(ir: IR, out: Output, command: str, labels: dict[str, str] | None = None) -> None:
    """Enrol the namespaces that the bundle has no object for by `command`, which has a place for `{namespace}`; `labels` are what the target would not take
    for granted of them."""
    for name, src in sorted(unseen(ir, out).items()):
        text = command.format(namespace=name)
        out.command(text, src, namespace=name)
        if labels:
            out.assumed.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        out.finding(
            "MP102", document=None, affects=(Affected(name),), feature="membership.inject", namespace=name, command=text,
        )  # fmt: skip


def restart(namespaces: list[str], world: World) -> str:
    """The commands that restart the workloads of namespaces one after the other, where a line has room for them; else ""."""
    commands = [f"kubectl rollout restart deployment,statefulset,daemonset -n {name}" for name in namespaces]
    rollouts = sorted(one.ref for one in world.workloads if one.kind == "Rollout" and one.ref.namespace in namespaces)
    commands += [f"kubectl argo rollouts restart {ref.name} -n {ref.namespace}" for ref in rollouts]
    return ", then ".join(commands) if len(commands) <= FEW else ""


def _unsaid(ir: IR, out: Output) -> None:
    """A source that says nothing of membership enrols nobody; where routes on Services are to act, somebody has to."""
    routed = [routes.service for routes in ir.routes if routes.service is not None and not routes.problem]
    names = sorted({service.value.namespace for service in routed})
    if names:
        out.finding("MP367", document=None, affects=tuple(Affected(name) for name in names), namespaces=", ".join(names))


def services(ir: IR, out: Output) -> None:
    """Take the source's marks off the Services."""
    for service in sorted(ir.world.services.values(), key=lambda item: item.ref):
        marks = [
            key for key in service.labels if (found := mark(out, "labels", key)) is not None and found.feature == "membership.waypoint"
        ]
        if marks:
            obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
            for key in marks:
                obj.drop(("metadata", "labels", key), leaf_at(out, service.document, ("metadata", "labels", key)))


def defaults(ir: IR, out: Output) -> None:
    """Take the source's default policies off namespaces and pods: in a cluster that has its proxies again they would hold again, beside what was written."""
    places: list[tuple[int, str, int, tuple[str, ...]]] = [
        (namespace.document, "", STAGE_NAMESPACES, ("metadata",)) for _, namespace in sorted(ir.world.namespaces.items())
    ]
    places += [
        (workload.document, f"workload {workload.ref.name}", STAGE_WORKLOADS, (*workload.template, "metadata"))
        for workload in ir.world.workloads
    ]
    for number, group, rank, holder in places:
        held: Any = out.bundle.documents[number].value
        for step in holder:
            held = held.get(step) if isinstance(held, dict) else None
        labels, found = (held.get(what) if isinstance(held, dict) else None for what in ("labels", "annotations"))
        for key in list(labels) if isinstance(labels, dict) else ():
            if (binding := mark(out, "labels", key)) is not None and binding.feature == "membership.waypoint":
                path = (*holder, "labels", key)
                obj = out.change(number, group=group, rank=rank)
                if _holds(obj.value, path):  # it may have left with the mark of membership
                    obj.drop(path, leaf_at(out, number, path))
        for key in list(found) if isinstance(found, dict) else ():
            if (binding := mark(out, "annotations", key)) is not None and binding.feature == "inbound.default-policy":
                out.change(number, group=group, rank=rank).drop((*holder, "annotations", key), NOWHERE)
        if ir.mesh == "linkerd" and isinstance(found, dict) and found.get("linkerd.io/inject") == "ingress":
            document = out.bundle.documents[number]
            where = Affected(document.namespace or "", document.name) if group else Affected(document.name)
            leaf = leaf_at(out, number, (*holder, "annotations", "linkerd.io/inject"))
            out.finding("MP740", leaf, document=number, disposition=None, affects=(where,), object=f"{document.kind} {document.name}")


def _holds(value: Any, path: tuple[str, ...]) -> bool:
    """Whether there is something at a path of a manifest."""
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True


def unseen(ir: IR, out: Output) -> dict[str, Src]:
    """Namespaces that policies and routes speak of and the bundle has no object for, because of the leaves that name them."""
    found: dict[str, Src] = {}
    spoken = [(routes.service.value.namespace, _placed(routes, out)) for routes in ir.routes if routes.service is not None]
    subjects = [(policy.subject, policy.document) for policy in ir.policies] + [(rule.subject, rule.document) for rule in ir.transport]
    for subject, number in subjects:
        inside = out.bundle.documents[number].namespace in (subject.value.namespace, None)
        spoken.append((subject.value.namespace, leaf_at(out, number, ("metadata", "namespace")) if inside else subject.src))
    for name, src in spoken:
        if name and name not in ir.world.namespaces and name not in ir.world.apart:
            found[name] = found.get(name, frozenset()) | src
    return found


def _placed(routes: ServiceRoutes, out: Output) -> Src:
    """The leaves that say in which namespace the Service of routes is: that of their own object, or what names another."""
    if routes.service is None or not routes.service.src & out.called(routes.document, "namespace"):
        return sources(routes.service)
    return routes.ref.src - out.called(routes.document, "name")


def places(ir: IR, out: Output) -> None:
    """The namespaces that policies and modes stand in: another one would count as in the mesh, and be governed."""
    spoken = [policy.document for policy in ir.policies] + [rule.document for rule in ir.transport]
    for number in dict.fromkeys(spoken):
        document = out.bundle.documents[number]
        metadata = document.leaves.get("metadata")
        leaf = metadata.get("namespace") if isinstance(metadata, dict) else None
        if isinstance(leaf, int) and document.kind != "IstioOperator":  # which sets up the mesh, wherever it lies
            out.decide("what the object says, it says for this namespace, which counts as in the mesh", frozenset((leaf,)))


def unshown(ir: IR, out: Output, name: str, what: str, ranges: Fact[tuple[tuple[int, int], ...]]) -> None:
    """Say of a namespace's list of ports that it is for pods which the bundle does not show; one that is not in the mesh has none."""
    home = ir.world.namespaces[name]
    if home.meshed is not None and not home.meshed.value:
        out.ignore("no pod of the namespace is in the mesh", ranges)
        return
    out.finding(
        "MP963", ranges, document=home.document, disposition="dropped", affects=(Affected(name),), feature=ranges.feature, namespace=name, what=what,
        value=format_ports(ranges.value),
    )  # fmt: skip


def strip(
    out: Output, obj: Obj, number: int, holder: tuple[str, ...], because: Fact[Any] | None, features: str | tuple[str, ...] = "membership."
) -> None:
    """Remove the source mesh's labels and annotations for `features` (how their names begin) from a changed object's metadata at `holder`."""
    found: Any = obj.value
    for step in holder:
        found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return
    for what in ("labels", "annotations"):
        marks = found.get(what)
        if not isinstance(marks, dict):
            continue
        for key in list(marks):
            binding = mark(out, what, key)
            if binding is not None and binding.feature.startswith(features):
                leaf = leaf_at(out, number, (*holder, what, key))
                value = marks[key]
                obj.drop((*holder, what, key), because)
                if binding.feature == "membership.revision" and leaf & sources(because):
                    _revision(out, number, Fact(str(value), leaf, binding.feature))
                if binding.feature in ENROLS:
                    out.ignore(ANOTHER, leaf - sources(because))
                else:
                    out.ignore("it speaks to the source mesh's proxies, and is taken off with them", leaf)


def _revision(out: Output, number: int, revision: Fact[str]) -> None:
    """Say, once of each revision of the control plane, that the target does not choose one: what the label says is that its object is in the mesh."""
    document = out.bundle.documents[number]
    known = out.gathered.get(("MP955", revision.value))
    if known is not None:
        known.finding.leaves = tuple(sorted({*known.finding.leaves, *revision.src}))
        known.finding.affects = tuple(dict.fromkeys((*known.finding.affects, _home(document))))
    elif (found := out.lost(revision, document=number, affects=(_home(document),))) is not None:
        out.gathered["MP955", revision.value] = Gathered(found, {}, {})


def _home(document: Document) -> Affected:
    """The namespace that a document is, or stands in."""
    return Affected(document.name if document.kind == "Namespace" else document.namespace or "")


ANOTHER = "another mark says whether the mesh takes it, and this one is taken off with that"
ENROLS = ("membership.inject", "membership.revision", "membership.ambient")
"""Features of which another value takes the object into the mesh or out of it."""


def mark(out: Output, what: str, key: str) -> Binding | None:
    """The binding of a label or annotation that belongs to the source mesh; SMI's marks are those of the mesh that implements it."""
    found = out.table.key_bindings(what, key)
    if out.source != "smi":
        return found.get(out.source)
    return next((binding for mesh, binding in sorted(found.items()) if mesh != out.target), None)


def leaf_at(out: Output, number: int, path: tuple[str, ...]) -> Src:
    """The leaf at a path of a document of the input, alone; none where nothing, or no scalar, stands there."""
    shadow: Any = out.bundle.documents[number].leaves
    for step in path:
        shadow = shadow.get(step) if isinstance(shadow, dict) else None
    return frozenset((shadow,)) if isinstance(shadow, int) else frozenset()
