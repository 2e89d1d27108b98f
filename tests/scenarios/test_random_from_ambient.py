"""Random bundles of Istio ambient with waypoints, converted: a Service gives no more than its waypoint did, though the pods' addresses may have."""

from __future__ import annotations

from collections import Counter

import pytest
from judge import Undecided, ambient
from judge.generate_access import wide_istio_bundle, wide_requests
from judge.generate_ambient import ambient_bundle

from .common import DECIDE, accounted, afterwards, converted, owners, probe_paths

DEFECTS = ("MP900", "MP901", "MP902", "MP904")


@pytest.mark.parametrize("seed", [4, 6, 7, 10, 22, 32])
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_who_is_refused_at_a_service_is_refused_afterwards(target: str, seed: int) -> None:
    bundle = ambient_bundle(seed)
    options = {"data_plane": "sidecar"} if target == "istio" else {}
    result = converted(bundle, "istio", target, **options)
    after, wrong = afterwards(bundle, result), []
    probes = probe_paths(bundle) if target == "linkerd" else {}
    seen: Counter[tuple[bool, bool]] = Counter()
    for request in wide_requests(wide_istio_bundle(seed), "istio", seed, 100):
        try:
            by_services, ways = ambient.by_services(bundle, request), ambient.ways(bundle, request)
            let_in = DECIDE[target](after, request) == "allow"
        except Undecided:
            continue
        seen[by_services, let_in] += 1
        place = request["destination"]
        probe = (int(place["port"]), request.get("path", "").partition("?")[0]) in probes.get(
            (place["namespace"], place["workload"]), set()
        )
        if let_in and not by_services and not (probe and request.get("method") == "GET"):
            wrong.append(f"newly allowed: {request}")
        if ways and not let_in and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []
    assert seen[True, True] > 10
    assert accounted(result) == []
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []
