"""Services as subsets of another one, where `--subsets` asks for them: a Service whose selector is that of the other and more labels.

https://istio.io/latest/docs/reference/config/networking/destination-rule/#Subset
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.istio.resilience import destination_rule
from meshport.ir.base import Ref, Src
from meshport.ir.routing import Backend

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.world import World

Narrow = tuple[str, dict[str, str], Src]
"""The name of a subset, its labels, and the leaves that say so."""


def as_subset(world: World, whole: Ref, backend: Backend) -> Narrow | None:
    """The subset of `whole` that a backend is; None where its Service has other pods or ports, or gives clients other endpoints."""
    one, other = world.services.get(whole), world.services.get(backend.service.value) if backend.service is not None else None
    if one is None or other is None or one is other or one.ref.namespace != other.ref.namespace or not one.selector or not other.selector:
        return None
    ports = {(port.number, port.target, port.protocol) for port in one.ports}
    if one.selector.items() - other.selector.items() or one.selector == other.selector or one.given != other.given:
        return None
    if {(port.number, port.target, port.protocol) for port in other.ports} != ports:
        return None
    name = other.ref.name.removeprefix(f"{one.ref.name}-")
    return name, dict(sorted(other.selector.items() - one.selector.items())), one.src | other.src


def subset_of(service: Ref, name: str, labels: dict[str, str], out: Output, options: Options, because: Src, *, document: int) -> None:
    """Define a subset in the DestinationRule of a Service, once."""
    rule = destination_rule(service, out, options, because, document=document)
    known = rule.value["spec"].setdefault("subsets", [])
    if any(item["name"] == name for item in known):
        return
    number = len(known)
    rule.set(("spec", "subsets", number, "name"), name, because)
    for key, value in labels.items():
        rule.set(("spec", "subsets", number, "labels", key), value, because)
