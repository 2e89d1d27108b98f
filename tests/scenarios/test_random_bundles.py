"""Random worlds with random policies: whatever comes in, nothing is newly allowed, and what is newly denied is said."""

from __future__ import annotations

from typing import Any

import pytest
from judge import generate

from .common import accounted, converted, problems

MAKE: dict[str, Any] = {"istio": generate.random_istio_bundle, "linkerd": generate.random_linkerd_bundle}
SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")], ids=["istio", "linkerd"])
def test_a_random_bundle(source: str, target: str, seed: int) -> None:
    bundle = MAKE[source](seed)
    result = converted(bundle, source, target, verify=False)
    wrong, seen = problems(bundle, result, generate.requests_for(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []
