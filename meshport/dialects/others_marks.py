"""Labels and annotations that no mesh reads go over to what is written for their object: whose it is, how DNS and certificates are made for it, in which order it
is applied.

What tells a deployment tool which objects are its own stays behind: with it the tool would take new objects for its own, and delete them. A Gateway gets
annotations alone, for its controller puts the labels on pods, which Services and policies select by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor

if TYPE_CHECKING:
    from meshport.dialects.output import Obj, Output
    from meshport.ir.base import Fact
    from meshport.mapping.bound import Bound

_OWNERS = (
    "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "argocd.argoproj.io/instance", "argocd.argoproj.io/tracking-id", "helm.sh/", "meta.helm.sh/",
    "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "config.k8s.io/owning-inventory", "kapp.k14s.io/", "objectset.rio.cattle.io/",
    "kubectl.kubernetes.io/", "deployment.kubernetes.io/", "kubernetes.io/",
)  # fmt: skip
"""How keys begin by which a tool, or the cluster itself, knows its objects."""
_MESHES = ("istio.io", "linkerd.io", "cilium.io", "gateway.networking.k8s.io", "flagger.app")
"""The domains of keys that meshes and what steers them put on objects, read or not."""
_SELECTED_BY_LABELS = ("Gateway", "WorkloadEntry", "WorkloadGroup", "ExternalWorkload")
"""Kinds whose own labels, or those of the pods made for them, selectors ask for: the mesh's words are all that may stand there."""


def carry(bound: Bound, out: Output) -> None:
    """Put them on the objects that were made; where one was made of several, those that all of them have alike."""
    found: dict[int, dict[tuple[str, str], Fact[str]]] = {}
    for obj in out.objects.values():
        if obj.changed is not None or obj.file_of[0] or "/" not in str(obj.value.get("apiVersion")):
            continue
        origins = [number for number in obj.origins if bound.mesh[number]]
        for number in origins:
            if number not in found:
                found[number] = _of(bound, number)
        if origins:
            _put(obj, [found[number] for number in origins])


def _put(obj: Obj, marks: list[dict[tuple[str, str], Fact[str]]]) -> None:
    for (what, key), mark in marks[0].items():
        alike = all(each.get((what, key)) == mark for each in marks)
        if alike and not (what == "labels" and obj.kind in _SELECTED_BY_LABELS) and key not in (obj.at(("metadata", what)) or {}):
            obj.set(("metadata", what, key), mark.value, *(each[what, key] for each in marks))


def _of(bound: Bound, number: int) -> dict[tuple[str, str], Fact[str]]:
    """The labels and annotations of a document that no mesh reads."""
    found: dict[tuple[str, str], Fact[str]] = {}
    for what in ("labels", "annotations"):
        for key, place in Cursor.root(bound, number).items("metadata", what):
            read = bound.table.key_bindings(what, str(key)) or str(key).partition("/")[0].endswith(_MESHES)
            if not read and not str(key).startswith(_OWNERS) and (fact := place.fact(str)) is not None:
                found[what, key] = fact
    return found
