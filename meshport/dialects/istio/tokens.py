"""RequestAuthentications (Istio reference 2.2): whose tokens are checked at which pods, and those that check none: without a rule no filter is made for
them, and nobody loses a check with them."""

from __future__ import annotations

from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact, PodSet
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lift(bound: Bound, numbers: list[int], ir: IR, root_namespace: str) -> None:
    """The issuers of tokens by the pods where they are checked; what objects without rules say, as what does nothing."""
    for number in numbers:
        spec = Cursor.root(bound, number).at("spec")
        namespace = bound.bundle.documents[number].namespace or ""
        pods = PodSet("" if namespace == root_namespace else namespace, spec.selector("selector").value)
        issuers = (rule.value.get("issuer") for rule in spec.each("jwtRules") if isinstance(rule.value, dict))
        ir.issuers += [(pods, issuer) for issuer in issuers if isinstance(issuer, str) and issuer]
        if not spec.each("jwtRules"):
            ir.idle.append(Fact("without jwtRules no token is checked", spec.src, "jwt.rule"))
