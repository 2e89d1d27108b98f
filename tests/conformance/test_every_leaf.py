"""A sample of the leaves of the CRDs, each in a valid object of its own, to every target: no defect, and the ledger says what becomes of it.

All leaves take minutes: `tests/conformance/every_leaf.py` is the script for them.
"""

from __future__ import annotations

from functools import cache

import pytest

from . import every_leaf
from .every_leaf import TARGETS, Case, cases, kinds, problems

pytestmark = pytest.mark.skipif(not every_leaf.THERE, reason="no CRDs: ../shared is not there")
EACH = 41  # of the newest versions' leaves: half a minute


@cache
def _sample() -> tuple[Case, ...]:
    found = [case for kind in kinds() for case in _newest(kind)]
    return tuple(found[::EACH])


def _newest(kind: str) -> list[Case]:
    made = [case for case in cases(kind) if isinstance(case, Case)]
    first = min((case.api for case in made), key=len, default="")  # v1 before v1beta1
    return [case for case in made if case.api == first]


@pytest.mark.parametrize("target", TARGETS)
def test_a_leaf_of_each_kind(target: str) -> None:
    found = [(case, told) for case in _sample() if (told := problems(case, target, changing=False)[1])]
    assert {str(case): told for case, told in found} == {}
