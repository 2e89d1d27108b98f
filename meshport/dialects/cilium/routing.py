"""How Cilium says routing: Gateway API routes whose parent is a Service (docs.cilium.io, network/servicemesh/gateway-api/gamma)."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.gateway_api import routes as gateway_api
from meshport.dialects.output import Output
from meshport.ir.model import IR
from meshport.ir.world import World
from meshport.mapping.bound import Bound


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR) -> None:
    """The routes of the documents at `numbers`."""
    gateway_api.lift(bound, numbers, world, options, ir, family="cilium")


def lower(ir: IR, out: Output, options: Options) -> None:
    """Routes as HTTPRoutes on Services."""
