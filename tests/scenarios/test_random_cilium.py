"""Random Cilium policies written for another mesh, the network policies taken away or kept: nothing is newly allowed, and what is newly denied is said."""

from __future__ import annotations

import pytest
from judge.generate_cilium import cilium_requests, far_cilium_bundle, far_requests, random_cilium_bundle, wide_cilium_bundle
from sampling import some

from .common import accounted, converted, problems


@pytest.mark.parametrize("seed", some(range(20)))
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_random_cilium_bundle(target: str, seed: int) -> None:
    bundle = random_cilium_bundle(seed)
    result = converted(bundle, "cilium", target, verify=False, keep_network_policy=False)
    wrong, seen = problems(bundle, result, cilium_requests(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []


@pytest.mark.parametrize("seed", some(range(20)))
@pytest.mark.parametrize(("target", "release"), [("istio", "1.31"), ("linkerd", "2.17"), ("linkerd", "2.20")])
def test_a_random_cilium_bundle_that_is_kept(target: str, release: str, seed: int) -> None:
    bundle = random_cilium_bundle(seed)
    result = converted(bundle, "cilium", target, verify=False, target_version=release)
    assert not any(item["kind"] == "CiliumNetworkPolicy" for item in result.removals)
    wrong, seen = problems(bundle, result, cilium_requests(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []


@pytest.mark.parametrize("seed", some(range(12)))
@pytest.mark.parametrize(("target", "keep"), [("istio", False), ("linkerd", False), ("istio", True), ("linkerd", True)])
def test_a_random_bundle_with_what_policies_say_more_seldom(target: str, keep: bool, seed: int) -> None:
    bundle = wide_cilium_bundle(seed)
    result = converted(bundle, "cilium", target, verify=False, keep_network_policy=keep)
    wrong, seen = problems(bundle, result, cilium_requests(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []


@pytest.mark.parametrize("seed", some(range(16)))
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_callers_of_whom_nobody_knows_whether_they_have_a_proxy(target: str, seed: int) -> None:
    bundle = far_cilium_bundle(seed)
    result = converted(bundle, "cilium", target)
    wrong, seen = problems(bundle, result, far_requests(bundle, seed, 80))
    assert wrong == []
    assert sum(seen.values()) > 40
    assert accounted(result) == []


@pytest.mark.parametrize("seed", some(range(24)))
def test_such_callers_onto_ambient_are_read_back_as_they_were_meant(seed: int) -> None:
    result = converted(far_cilium_bundle(seed), "cilium", "istio", data_plane="ambient")
    assert accounted(result) == []
    assert [finding.message for finding in result.findings if finding.code == "MP904"] == []
