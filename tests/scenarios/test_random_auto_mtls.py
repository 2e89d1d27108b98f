"""Istio without automatic mutual TLS, where DestinationRules tell some clients to use it: in the target all do, and nobody may be let in by that."""

from __future__ import annotations

from collections import Counter

import pytest
from judge import Undecided, ambient
from judge.generate_access import wide_requests
from judge.generate_clients import told_istio_bundle

from meshport.pipeline import Result

from .common import DECIDE, afterwards, converted, owners, problems
from .test_random_across import DEFECTS, by_real_pods


def defects_of_access(result: Result) -> list[str]:
    """What becomes of the TLS of clients to other Services, which the rules say too, is asked elsewhere."""
    return [finding.message for finding in result.findings if finding.code in DEFECTS and not finding.message.startswith("policy of ")]


@pytest.mark.parametrize("seed", [1, 3, 9, 10, 96])
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_to_another_mesh(target: str, seed: int) -> None:
    bundle = told_istio_bundle(seed)
    result = converted(bundle, "istio", target)
    requests = wide_requests(bundle, "istio", seed, 120)
    wrong, seen = problems(bundle, result, by_real_pods(bundle, "istio", requests) if target == "cilium" else requests)
    assert wrong == []
    assert seen[True, True] > 10
    assert defects_of_access(result) == []


@pytest.mark.parametrize("seed", [1, 9, 65, 111, 5306])
def test_to_ambient(seed: int) -> None:
    bundle = told_istio_bundle(seed)
    result = converted(bundle, "istio", "istio", data_plane="ambient")
    after, wrong = afterwards(bundle, result), []
    seen: Counter[tuple[bool, bool]] = Counter()
    for request in wide_requests(bundle, "istio", seed, 120):
        try:
            was, ways = DECIDE["istio"](bundle, request) == "allow", ambient.ways(after, request)
        except Undecided:
            continue
        seen[was, bool(ways)] += 1
        if ways and not was:
            wrong.append(f"newly allowed by {ways}: {request}")
        if was and not ways and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []
    assert seen[True, True] > 10
    assert defects_of_access(result) == []
