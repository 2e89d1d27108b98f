"""Which namespaces istiod reads: those that `meshConfig.discoverySelectors` selects, where it is set.

What stands in the others is not in force, and their pods are not in the mesh: istiod knows neither their Services nor their configuration, and gives them no
root certificate. The root namespace is no exception. https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig,
newDiscoveryNamespacesFilter in istio/istio, pkg/kube/namespace/filter.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import mesh_config
from meshport.ir.base import Fact, Requirement, Selector, Src
from meshport.ir.model import IR, Loss

if TYPE_CHECKING:
    from meshport.documents import Document
    from meshport.ir.world import Namespace
    from meshport.mapping.bound import Bound

NAME = "kubernetes.io/metadata.name"
"""The label that the API server gives each namespace."""


def unread(bound: Bound, ir: IR) -> set[str]:
    """The namespaces of the bundle that istiod does not read, whose pods are taken out of the mesh. One that the bundle does not show counts as read."""
    selectors = _selectors(bound, ir)
    if selectors is None:
        return set()
    found: dict[str, Src] = {}
    for name, namespace in ir.world.namespaces.items():
        labels = {**namespace.labels, NAME: name}
        if not any(selector.accepts(labels) for selector in selectors.value):
            found[name] = selectors.src | _deciding(bound, namespace, selectors.value)
    for name, src in found.items():
        namespace = ir.world.namespaces[name]
        if namespace.meshed is not None and namespace.meshed.value:
            namespace.meshed = Fact(False, namespace.meshed.src | src, namespace.meshed.feature)
        for workload in ir.world.of_namespace(name):
            if workload.meshed is not None and workload.meshed.value:
                workload.meshed = Fact(False, workload.meshed.src | src, workload.meshed.feature)
    return set(found)


def decided(bound: Bound, ir: IR) -> bool:
    """Whether the bundle shows of each namespace that Istio's configuration stands in whether istiod reads it."""
    homes = {document.namespace for number, document in enumerate(bound.bundle.documents) if bound.mesh[number] and document.namespace}
    return homes <= set(ir.world.namespaces)


def of_the_mesh(document: Document) -> bool:
    """Whether a route hangs on Services alone, so that nobody but istiod would read it; at a Gateway it may be another implementation's."""
    spec = document.value.get("spec")
    parents = spec.get("parentRefs") if document.group == "gateway.networking.k8s.io" and isinstance(spec, dict) else None
    return isinstance(parents, list) and bool(parents) and all(isinstance(one, dict) and one.get("kind") == "Service" for one in parents)


def idle(bound: Bound, number: int, ir: IR) -> None:
    """Say of an object in such a namespace that it does nothing."""
    root = Cursor.root(bound, number)
    kept = ("apiVersion", "kind", "metadata", "status")
    facts = tuple(fact for key, place in root.items() if key not in kept for _, fact in place.leaves())
    ir.losses.append(Loss("MP387", facts, number))


def _selectors(bound: Bound, ir: IR) -> Fact[list[Selector]] | None:
    """The selectors as they stand; None where istiod reads every namespace."""
    found = mesh_config.setting(bound, ir.world, mesh_config.SELECTORS, "installation.scope")
    if found is None or not isinstance(found[0].value, list) or not found[0].value:
        return None
    return found[0].holding([_selector(item) for item in found[0].value if isinstance(item, dict)])


def _selector(item: dict[str, Any]) -> Selector:
    labels = item.get("matchLabels")
    wanted = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}
    expressions = [
        Requirement(str(one.get("key")), str(one.get("operator")), tuple(map(str, one.get("values") or ())))
        for one in item.get("matchExpressions") or ()
        if isinstance(one, dict)
    ]
    return Selector.of(wanted, expressions)


def _deciding(bound: Bound, namespace: Namespace, selectors: list[Selector]) -> Src:
    """The leaves of a namespace that the selectors ask for."""
    labels = Cursor.root(bound, namespace.document).at("metadata", "labels")
    asked = {key for selector in selectors for key, _ in selector.labels} | {
        item.key for selector in selectors for item in selector.expressions
    }
    return namespace.src.union(*(labels.at(key).src for key in sorted(asked)))
