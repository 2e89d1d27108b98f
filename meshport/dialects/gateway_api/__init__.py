"""The Gateway API: read and written as a dialect of its own, and what the meshes that serve it share of reading and writing its routes.

As a dialect it governs nobody's access (`governs`): policies of the source stay in force beside the routes, see `staying`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound


class GatewayAPI:
    name = "gateway-api"
    reads = ("gateway-api",)
    governs = False

    def lift(self, bound: Bound, options: Options) -> IR:
        """Where requests go by the routes of the bundle."""
        from meshport.dialects import kubernetes
        from meshport.dialects.gateway_api import routing
        from meshport.ir.model import IR

        ir = IR("gateway-api", kubernetes.lift(bound, options.default_namespace))
        numbers = [number for number, mine in enumerate(bound.mesh) if mine and number not in bound.broken]
        routing.lift(bound, numbers, ir.world, options, ir)
        return ir

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """Routes and Gateways; what else the source says is accounted for and stays."""
        from meshport.dialects.gateway_api import modern, resilience, routing

        routing.lower(ir, out, options)
        resilience.lower(ir, out, options)
        if options.source == options.target:
            modern.lower(out, options)


DIALECT = GatewayAPI()
