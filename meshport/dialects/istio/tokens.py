"""RequestAuthentications that check no token (Istio reference 2.2): without a rule no filter is made for them, and nobody loses a check with them."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lift(bound: Bound, numbers: list[int], ir: IR) -> None:
    """What such objects say, as what does nothing."""
    for number in numbers:
        spec = Cursor.root(bound, number).at("spec")
        if not spec.each("jwtRules"):
            ir.idle.append(Fact("without jwtRules no token is checked", spec.src, "jwt.rule"))
