"""Kubernetes quantities, as TrafficSplit weights and dstOverrides use them, and weights brought to a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm

from meshport.values import _grammar
from meshport.values.problems import ValueProblem

_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Fraction:
    """The exact number: `500m` is 1/2, `2Ki` 2048. Raises ValueProblem."""
    tree = _grammar.parse("quantity", text, "a quantity such as 500m or 2")
    parts = {token.type: str(token) for token in _grammar.tokens(tree)}
    value = Fraction(parts["NUMBER"].rstrip(".") or "0")
    if parts.get("SIGN") == "-":
        value = -value
    if "EXPONENT" in parts:
        power = int(parts["EXPONENT"][1:])
        if abs(power) > 100:
            raise ValueProblem(f"{text!r} is not a quantity: the exponent is out of range")
        return Fraction(value * Fraction(10) ** power)
    suffix = parts.get("SUFFIX", "")
    if suffix in _BINARY:
        return value * (1 << _BINARY[suffix])
    return Fraction(value * Fraction(10) ** _DECIMAL.get(suffix, 0))


def ratio(weights: Sequence[int | Fraction]) -> tuple[int, ...]:
    """The smallest whole numbers in the same proportion: 900 and 100 are 9 and 1. All zero stays so. Raises ValueProblem below zero."""
    exact = [Fraction(weight) for weight in weights]
    if any(weight < 0 for weight in exact):
        raise ValueProblem("a weight is below zero")
    scale = lcm(1, *(weight.denominator for weight in exact))
    whole = [int(weight * scale) for weight in exact]
    common = gcd(0, *whole) or 1
    return tuple(weight // common for weight in whole)
