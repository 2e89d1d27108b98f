"""The Service Mesh Interface, read only: what it splits, and what its access control admits.

SMI is a specification that several meshes implemented in part, and was archived in 2023. Nothing is written in it: `--to smi` does not exist. Linkerd reads
its splits alone, through an extension. https://github.com/servicemeshinterface/smi-spec
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound


class Smi:
    name = "smi"
    reads = ("smi",)

    def lift(self, bound: Bound, options: Options) -> IR:
        """What the bundle's SMI resources mean to a mesh that implements all of them."""
        from meshport.dialects import kubernetes
        from meshport.dialects.smi import authorization, membership, routing
        from meshport.dialects.smi.specs import Specs
        from meshport.ir.model import IR

        ir = IR("smi", kubernetes.lift(bound, options.default_namespace))
        specs = Specs(bound, options)
        membership.lift(bound, options, ir)
        authorization.lift(bound, specs, options, ir)
        routing.lift(bound, specs, options, ir)
        specs.unused(ir)
        return ir

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """Nothing is written in SMI. Raises UsageError."""
        raise UsageError("--to smi: SMI is read only; there are istio, linkerd, cilium, gateway-api")


DIALECT = Smi()
