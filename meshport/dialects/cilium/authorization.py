"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, read (docs.cilium.io, security/policy). Lowering is in `cilium/allowing.py`."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cilium.allowing import lower
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The ingress rules of every policy, as allows and denies."""


__all__ = ["lift", "lower"]
