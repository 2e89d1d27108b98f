"""Who is in the mesh: SMI has no word for it. The marks of the mesh that implements it say so, and else a namespace that its resources speak of is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.smi.specs import body
from meshport.ir.base import Fact, Src

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound


def spoken(bound: Bound, options: Options) -> dict[str, Src]:
    """The namespaces that hold SMI resources, and those of destinations and sources, with the leaves that name them."""
    found: dict[str, Src] = {}

    def name(namespace: str, src: Src) -> None:
        found[namespace] = found.get(namespace, frozenset()) | src

    for number, document in enumerate(bound.bundle.documents):
        if number in bound.broken or not document.group.endswith(".smi-spec.io"):
            continue
        root = Cursor.root(bound, number)
        home = document.namespace or options.default_namespace
        name(home, root.at("kind").src | root.at("metadata", "namespace").src)
        for place in (body(root).at("destination"), *body(root).each("sources")):
            said = place.text("namespace")
            if said is not None:
                name(said.value, said.src)
    return found


WORDS = {"enabled": True, "ingress": True, "true": True, "disabled": False, "false": False}


def _marked(bound: Bound, number: int, *place: str) -> Fact[bool] | None:
    """What the label or annotation of a mesh says about injection."""
    metadata = Cursor.root(bound, number).at(*place, "metadata")
    for what in ("labels", "annotations"):
        for key, said in metadata.items(what):
            meanings = {binding.feature for binding in bound.table.key_bindings(what, key).values()}
            if meanings == {"membership.inject"} and str(said.value).lower() in WORDS:
                return Fact(WORDS[str(said.value).lower()], said.src, "membership.inject")
    return None


def lift(bound: Bound, options: Options, ir: IR) -> None:
    """Set `meshed` of namespaces and workloads."""
    for namespace in ir.world.namespaces.values():
        namespace.meshed = _marked(bound, namespace.document)
    for workload in ir.world.workloads:
        workload.meshed = _marked(bound, workload.document, *workload.template)
    unmarked = any(namespace.meshed is None for namespace in ir.world.namespaces.values())
    for called, src in spoken(bound, options).items():
        home = ir.world.namespaces.get(called)
        if home is not None and home.meshed is None:
            home.meshed = Fact(True, src, "membership.inject")
        elif unmarked:
            ir.deciding.append(Fact("a namespace without a mark would be in the mesh by it", src))
