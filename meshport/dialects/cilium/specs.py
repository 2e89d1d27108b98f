"""Where the rules of a network policy stand: its `spec`, and each of its `specs` (docs.cilium.io, CiliumNetworkPolicy)."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Path


def specs(root: Cursor) -> list[tuple[Path, Cursor]]:
    """Each set of rules with its path."""
    single: list[tuple[Path, Cursor]] = [(("spec",), root.at("spec"))] if root.at("spec") else []
    return [*single, *((("specs", position), place) for position, place in enumerate(root.each("specs")))]
