"""Circuit breaking and load balancing, as Envoy resources in a CiliumEnvoyConfig (docs.cilium.io, network/servicemesh/l7-traffic-management)."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """What the Envoy clusters of a CiliumEnvoyConfig do."""


def lower(ir: IR, out: Output, options: Options) -> None:
    """A CiliumEnvoyConfig for each Service that has a breaker or limits."""
