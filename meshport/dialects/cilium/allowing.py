"""Authorization written for Cilium: a CiliumNetworkPolicy for each set of pods and each policy of the source (mapping decisions 3)."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.ir.model import IR


def lower(ir: IR, out: Output, options: Options) -> None:
    """Policies for every region."""
