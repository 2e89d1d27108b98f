"""TrafficSplits: backends of a Service with relative weights, in every version of the specification. Input only.

A weight is a Kubernetes quantity in v1alpha1 (`500m`), a whole number later. `matches` came with v1alpha3, which no Linkerd has ever
served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.routing import Backend
from meshport.values.quantity import parse_quantity

if TYPE_CHECKING:
    from meshport.dialects.base import Options

GROUP = "split.smi-spec.io"


@dataclass(frozen=True, slots=True)
class Split:
    """One TrafficSplit: the Service that is split and where its requests go."""

    ref: Fact[Ref]
    service: Fact[Ref]
    backends: tuple[Backend, ...]
    document: int
    conditional: bool  # has `matches`
    src: Src
    unnamed: Src = NOWHERE  # of backends that name no Service

    @property
    def silenced(self) -> tuple[tuple[str, Src], ...]:
        """What decides nothing of it, with the reason."""
        return (("a backend that names no Service takes no requests", self.unnamed),) if self.unnamed else ()


def weight(value: Any) -> Fraction:
    """A weight as a number: an integer, a decimal or a quantity. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"not a weight: {value!r}")
    found = Fraction(str(value)) if isinstance(value, int | float) else parse_quantity(value)
    if found < 0:
        raise ValueError(f"a weight cannot be negative: {value!r}")
    return found


def read(root: Cursor, options: Options) -> Split | None:
    """The split that a document says; None where it names no Service."""
    apex = root.text("spec", "service")
    if apex is None:
        return None
    ref = root.ref()
    namespace = ref.value.namespace or options.default_namespace
    place = root.at("metadata", "namespace").src  # its Services are of its own namespace
    backends = []
    unnamed: set[int] = set()
    for item in root.each("spec", "backends"):
        name = item.text("service")
        if name is None:
            unnamed |= item.src
            continue
        target = Ref(namespace, name.value.split(".")[0])
        backends.append(
            Backend(
                Fact(target, name.src | place, name.feature),
                Fact(f"{target.name}.{namespace}.svc.{options.cluster_domain}", name.src | place, name.feature),
                weight=item.get("weight", weight),
            )
        )
    if len(backends) > 1:  # one that says no weight has none (Go's zero), whatever the others have
        backends = [item if item.weight is not None else replace(item, weight=item.host.holding(Fraction(0))) for item in backends]
    service = Ref(namespace, apex.value.split(".")[0])
    conditional = bool(root.each("spec", "matches"))
    return Split(
        ref.map(lambda found: Ref(namespace, found.name)),
        Fact(service, apex.src | place, apex.feature),
        tuple(backends),
        root.number,
        conditional,
        root.at("spec").src,
        frozenset(unnamed),
    )
