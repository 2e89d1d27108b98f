"""What a dump of a cluster holds that nobody converts: objects that a controller writes for another object (metadata.ownerReferences), and a mesh's own parts.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshport.documents import Document

TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("argoproj.io", "Rollout"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    ("", "Pod"): (),
}
"""The kinds that pods come from, and where each has the template of its pods."""

SIDECARS = {"istio": "istio-proxy", "linkerd": "linkerd-proxy"}
"""The container that each mesh of sidecars adds to a pod."""

GENERATED = ("VirtualService", "DestinationRule", "TrafficSplit", "ServiceProfile", "CiliumEnvoyConfig")
"""Kinds that controllers write for their own objects, and that open no access: policies are read whoever wrote them."""


def generated_by(document: Document) -> str | None:
    """The kind and name of the object that a document was generated for; None where nobody owns it, or where it is a policy."""
    if document.kind not in GENERATED and (not document.kind.endswith("Route") or _on_server(document)):
        return None
    return owner_of(document)


def owner_of(document: Document) -> str | None:
    """The kind and name of the object that owns a document; None where nobody does."""
    return next((f"{kind} {name}" for kind, name in _owners(document)), None)


def made(documents: Sequence[Document]) -> dict[int, str]:
    """The workloads that another object of the bundle makes, by document, with the kind and name of that object."""
    known = {(document.kind, document.namespace, document.name) for document in documents if (document.group, document.kind) in _MAKERS}
    found: dict[int, str] = {}
    for number, document in enumerate(documents):
        if (document.group, document.kind) in TEMPLATES:
            maker = next((f"{kind} {name}" for kind, name in _owners(document) if (kind, document.namespace, name) in known), None)
            if maker is not None:
                found[number] = maker
    return found


def own_parts(documents: Sequence[Document], meshes: Collection[str]) -> dict[int, str]:
    """The documents that are parts of these meshes themselves, and of which."""
    found = {number: part_of(document) for number, document in enumerate(documents)}
    return {number: mesh for number, mesh in found.items() if mesh in meshes}


_MAKERS = (*TEMPLATES, ("gateway.networking.k8s.io", "Gateway"))
_OF_ISTIO = ("operator.istio.io/", "install.operator.istio.io/", "gateway.istio.io/managed")
_OF_LINKERD = ("linkerd.io/control-plane-component", "linkerd.io/extension", "linkerd.io/is-control-plane")
_OWN_CONTAINERS = {"istio-proxy": "istio", "discovery": "istio", "install-cni": "istio"}


def part_of(document: Document) -> str:
    """The mesh whose installation an object belongs to, by the labels that its charts set, or by containers that are the mesh's alone; else ""."""
    metadata = document.value.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    names = [key for key in labels if isinstance(key, str)] if isinstance(labels, dict) else []
    said = str(labels.get("app.kubernetes.io/part-of", "")).lower() if isinstance(labels, dict) else ""
    if said in ("istio", "linkerd", "cilium"):
        return said
    if any(name.startswith(_OF_ISTIO) for name in names):
        return "istio"
    if any(name in _OF_LINKERD for name in names):
        return "linkerd"
    own = {_OWN_CONTAINERS.get(name, "") for name in _containers(document)}
    return own.pop() if len(own) == 1 else ""


def _containers(document: Document) -> list[str]:
    """The names of the containers of a workload's pods."""
    at: Any = document.value if (document.group, document.kind) in TEMPLATES else None
    for step in (*TEMPLATES.get((document.group, document.kind), ()), "spec", "containers"):
        at = at.get(step) if isinstance(at, dict) else None
    return [str(item.get("name")) for item in at if isinstance(item, dict)] if isinstance(at, list) else []


def _owners(document: Document) -> list[tuple[str, str]]:
    """Kind and name of the objects that own a document."""
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    listed = [owner for owner in owners if isinstance(owner, dict)] if isinstance(owners, list) else []
    return [(str(owner["kind"]), str(owner["name"])) for owner in listed if owner.get("kind") and owner.get("name")]


def _on_server(document: Document) -> bool:
    """Whether a route is part of an inbound policy of Linkerd."""
    spec = document.value.get("spec") if isinstance(document.value, dict) else None
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    return any(isinstance(item, dict) and item.get("kind") == "Server" for item in (parents if isinstance(parents, list) else ()))
