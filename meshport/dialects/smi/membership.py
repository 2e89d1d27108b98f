"""Who is in the mesh: SMI has no word for it, so a namespace that its resources speak of is taken to be in."""

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


def lift(bound: Bound, options: Options, ir: IR) -> None:
    """Set `meshed` of the namespaces that SMI resources speak of."""
    for called, src in spoken(bound, options).items():
        namespace = ir.world.namespaces.get(called)
        if namespace is not None:
            namespace.meshed = Fact(True, src, "membership.inject")
