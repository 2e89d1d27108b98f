"""Labels and annotations that speak to a mesh: those of objects and of their pod templates."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from meshport.dialects.base import dialect
from meshport.dialects.installation import CHARTS, of_document
from meshport.dialects.output import Output
from meshport.documents import Bundle, Document
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.mapping.table import dialect_of_group

_ENDS_WITH_ITS_PROXIES = {"istio": "istio.io", "linkerd": "linkerd.io"}
"""The domains of the keys that are dead once the mesh is left."""
_BELOW = ("spec", "template", "jobTemplate")


def marks(value: Any) -> Iterator[tuple[str, str]]:
    """The labels and annotations of an object and of its pod template, as (labels or annotations, key)."""
    for holder, _ in _holders(value, ()):
        for what in ("labels", "annotations"):
            found = holder.get(what)
            yield from ((what, str(key)) for key in found) if isinstance(found, dict) else ()


def labels_of(value: dict[str, Any]) -> dict[str, Any]:
    """The labels of an object; none where its metadata is of another shape, which no cluster takes."""
    metadata = value.get("metadata")
    found = metadata.get("labels") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def unmarked(value: dict[str, Any], out: Output, written: Container[tuple[Any, ...]]) -> dict[str, Any]:
    """An object without the marks that the target alone reads, but for those at the paths that were `written`; the object itself where it has none."""
    gone = [
        (*path, what, key)
        for holder, path in _holders(value, ())
        for what in ("labels", "annotations")
        if isinstance(found := holder.get(what), dict)
        for key in found
        if (*path, what, key) not in written and _of_target_alone(out, what, key)
    ]
    for path in gone:
        value = _less(value, path)
    return value


def clear(ir: IR, out: Output) -> None:
    """Take the annotations that the source mesh alone reads off the objects that are changed anyway: nobody reads them any more. Labels stay, for selectors may
    ask for them, and so do annotations of pods without a proxy and what is of a network that outlives its policies."""
    if (domain := _ENDS_WITH_ITS_PROXIES.get(out.source)) is None:
        return
    outside = {workload.document for workload in ir.world.workloads if ir.world.meshed(workload) is False}
    for obj in out.objects.values():
        if obj.changed is None or obj.changed in outside or obj.value == out.bundle.documents[obj.changed].value:
            continue
        for holder, path in _holders(obj.value, ()):
            found = holder.get("annotations")
            for key in list(found) if isinstance(found, dict) else ():
                read = out.table.key_bindings("annotations", str(key))
                dead = str(key).partition("/")[0].endswith(domain) and out.source in read and out.target not in read
                if dead:
                    obj.clear((*path, "annotations", key))


def in_the_input(leaf: int, cluster: Bundle, out: Output) -> bool:
    """Whether a leaf of the cluster after a conversion is one that the input held for the target alone, and the output has left as it was."""
    document, parts = cluster.owner(leaf), cluster.parts(leaf)
    obj = out.objects.get((document.group, document.kind, Ref(document.namespace or "", document.name)))
    if for_target_alone(document, out):
        return obj is None
    marked = len(parts) > 2 and parts[-3] == "metadata" and parts[-2] in ("labels", "annotations")
    return marked and _of_target_alone(out, str(parts[-2]), str(parts[-1])) and (obj is None or parts not in obj.sources)


def for_target_alone(document: Document, out: Output) -> bool:
    """Whether a document is of an API that the target reads and the source does not, or says how the target is installed."""
    if out.target in dialect(out.source).reads:
        return False
    chart = CHARTS.get(out.target, "")
    return dialect_of_group(document.group) == out.target or any(True for _ in of_document(0, document, chart))


def _of_target_alone(out: Output, what: str, key: str) -> bool:
    read = out.table.key_bindings(what, str(key))
    return out.target in read and out.source not in read


def _less(value: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """A copy without what stands at a path; what is beside it is shared."""
    step, *below = path
    if not below:
        return {key: item for key, item in value.items() if key != step}
    return {**value, step: _less(value[step], tuple(below))}


def _holders(value: Any, path: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The metadata of an object and of its pod template, with where it stands."""
    if not isinstance(value, dict):
        return
    if isinstance(value.get("metadata"), dict):
        yield value["metadata"], (*path, "metadata")
    for step in _BELOW:
        yield from _holders(value.get(step), (*path, step))
