"""What the CRDs of SMI ask for (servicemeshinterface/smi-sdk-go, crds/): a reference has a kind and a name, a match of requests has a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.mapping.shapes import Demand, Refusal, maps

_BODIES = (("spec",), ())
"""Where an object says it: the first versions had no `spec`."""
_REFERENCES = (("destination",), ("sources", "[]"), ("rules", "[]"))


def _named(value: dict[str, Any]) -> Iterator[Refusal]:
    for body in _BODIES:
        for steps in _REFERENCES:
            for path, one in maps(value, *body, *steps):
                if missing := [key for key in ("kind", "name") if one.get(key) is None]:
                    yield path, f"it has no {' and no '.join(missing)}"


def _matches(value: dict[str, Any]) -> Iterator[Refusal]:
    for body in _BODIES:
        for path, one in maps(value, *body, "matches", "[]"):
            if one.get("name") is None:
                yield path, "it has no name"


RULES: dict[tuple[str, str], tuple[Demand, ...]] = {
    ("access.smi-spec.io", "TrafficTarget"): (_named,),
    ("specs.smi-spec.io", "HTTPRouteGroup"): (_matches,),
}
