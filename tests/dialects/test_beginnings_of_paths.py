"""How paths lie to each other is told by their texts where it can be, and then as their languages have it."""

from __future__ import annotations

from itertools import product

import pytest

from meshport.dialects.gateway_api.patterns import disjoint, language, within
from meshport.ir.authorization import Pattern
from meshport.values.language import BARE_PATHS

TEXTS = ("/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/b", "/a/bc")
KINDS = ("segments", "prefix", "exact")


@pytest.mark.parametrize(("kind", "other"), list(product(KINDS, KINDS)))
def test_texts_say_what_languages_say(kind: str, other: str) -> None:
    for one, two in product(TEXTS, TEXTS):
        left, right = Pattern(kind, one), Pattern(other, two)
        mine, its = language(left), language(right)
        assert mine is not None and its is not None
        assert within(left, right) == mine.issubset(its, BARE_PATHS), (left, right)
        assert disjoint(left, right) == (not mine.overlaps(its)), (left, right)
