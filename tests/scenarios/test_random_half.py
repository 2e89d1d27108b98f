"""Random bundles half in ambient: who is refused by every Service is refused afterwards, and whoever loses a way in is named."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from judge import Undecided, half
from judge.generate_half import half_bundle, half_requests
from judge.world import World
from sampling import some

from .common import DECIDE, Obj, accounted, afterwards, converted, judged_with, owners, probe_paths

DEFECTS = ("MP299", "MP900", "MP901", "MP904")
TARGETS: dict[str, dict[str, Any]] = {
    "sidecar": {"target": "istio", "data_plane": "sidecar"}, "ambient": {"target": "istio", "data_plane": "ambient"},
    "linkerd": {"target": "linkerd"}, "cilium": {"target": "cilium"},
}  # fmt: skip
SEEDS = (1, 2, 5, 12, 15, 16, 21, 24, 27, 36, 41, 44, 49, 98, 134, 144)
GATES = (6118, 7000, 7002, 7019, 7017, 7020, 7028, 7038, 7044, 7065, 7110, 7114, 7135)


@pytest.mark.parametrize("seed", some(SEEDS, 4))
@pytest.mark.parametrize("target", TARGETS)
def test_half_of_the_mesh_in_ambient(target: str, seed: int) -> None:
    _judge(target, half_bundle(seed))


@pytest.mark.parametrize("seed", some(GATES, 4))
@pytest.mark.parametrize("target", TARGETS)
def test_waypoints_of_every_kind_in_a_mesh_half_in_ambient(target: str, seed: int) -> None:
    """For Services, for addresses, for both and for nothing; some of another namespace."""
    _judge(target, half_bundle(seed, gates=True))


def _judge(target: str, bundle: list[Obj]) -> None:
    result = converted(bundle, "istio", **TARGETS[target])
    stood, after, wrong = World(bundle), World(afterwards(bundle, result)), []
    seen: Counter[tuple[bool, bool]] = Counter()
    for request, caller in half_requests(bundle):
        try:
            was, now = half.ways(stood, request, caller), _afterwards(target, after, request, caller, judged_with(result))
        except Undecided:
            continue
        before = any(was.values()) if target == "ambient" else half.by_services(was)  # both ways are still there
        seen[before, now] += 1
        if now and not before:
            wrong.append(f"newly allowed: {caller} {was} {request}")
        if any(was.values()) and not now and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {caller} {was} {request}")
    assert wrong == []
    assert seen[True, True] > 10 and not probe_paths(bundle)
    assert accounted(result) == []
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []


def _afterwards(target: str, after: World, request: Obj, caller: half.Plane, settings: dict[str, Any]) -> bool:
    if target == "ambient":
        return any(half.ways(after, request, "none" if caller == "none" else "ztunnel").values())
    mesh = {"sidecar": "istio"}.get(target, target)
    return bool(DECIDE[mesh](after, request, **(settings if mesh == "linkerd" else {})) == "allow")
