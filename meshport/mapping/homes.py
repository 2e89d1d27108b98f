"""The namespace of an object that names none: `kubectl apply` puts it into the one of its context, and all names in it are read from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.documents.kubectl import OF_THE_CLUSTER

if TYPE_CHECKING:
    from meshport.documents import Bundle

__all__ = ["OF_THE_CLUSTER", "at_home"]


def at_home(bundle: Bundle, namespace: str) -> Bundle:
    """The bundle with the objects that name no namespace in this one; those of the cluster stay in none. What is written of them stays as it is."""
    documents = [
        replace(document, home=namespace)
        if document.named_namespace is None and not document.chart and not document.form and document.kind not in OF_THE_CLUSTER
        else document
        for document in bundle.documents
    ]
    return bundle.holding(documents)
