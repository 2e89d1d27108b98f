"""Matches found by what their paths begin with: whatever may take the requests of a match, or share one with it, is among what is found."""

from __future__ import annotations

from itertools import product

from meshport.dialects.gateway_api.ranking import contained, overlap
from meshport.dialects.gateway_api.stems import Stems
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact
from meshport.ir.routing import RouteMatch

PLAIN = ("", "/", "/a", "/a/", "/ab", "/a/b", "/b", "*", "a")
EXPRESSIONS = ("/a", "/a.*", "/(a|ab)", "(?i:/A.*)", "/.*", ".*", "/a?", "/ab+", "(/.*|x)", "/a/[^/]*", "/[ab].*")
NEVER = Pattern("exact")  # no path is empty
PATTERNS = [
    Pattern(*one)
    for one in (*product(("exact", "prefix", "segments"), PLAIN), *product(("regex",), EXPRESSIONS), ("any", ""), ("suffix", "b"))
]


def test_nothing_is_overlooked() -> None:
    matches = [RouteMatch(), *(RouteMatch(Fact(pattern)) for pattern in PATTERNS if pattern != NEVER)]
    known = Stems[RouteMatch]()
    for match in matches:
        known.add(match, match)
    few = 0
    for match in matches:
        around, across = list(known.around(match)), list(known.across(match))
        assert [other for other in matches if contained(match, other) and other not in around] == [], match
        assert [other for other in matches if overlap(match, other) and other not in across] == [], match
        assert len(around) == len({id(other) for other in around}) and len(across) == len({id(other) for other in across})
        few += len(around) < len(matches) / 2
    assert few > len(matches) / 3
