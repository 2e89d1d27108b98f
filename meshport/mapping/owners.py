"""Objects that a controller writes for another object, as a dump of a cluster holds them (metadata.ownerReferences).

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.documents import Document

GENERATED = ("VirtualService", "DestinationRule", "TrafficSplit", "ServiceProfile", "CiliumEnvoyConfig")
"""Kinds that controllers write for their own objects, and that open no access: policies are read whoever wrote them."""


def generated_by(document: Document) -> str | None:
    """The kind and name of the object that a document was generated for; None where nobody owns it, or where it is a policy."""
    if document.kind not in GENERATED and (not document.kind.endswith("Route") or _on_server(document)):
        return None
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("kind") and owner.get("name"):
            return f"{owner['kind']} {owner['name']}"
    return None


def _on_server(document: Document) -> bool:
    """Whether a route is part of an inbound policy of Linkerd."""
    spec = document.value.get("spec") if isinstance(document.value, dict) else None
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    return any(isinstance(item, dict) and item.get("kind") == "Server" for item in (parents if isinstance(parents, list) else ()))
