"""Random policies of Cilium and NetworkPolicies of Kubernetes for the same pods, which add up before, and let the mesh's own port through after."""

from __future__ import annotations

from collections import Counter

import pytest
from judge import Undecided, network
from judge.generate_beside import beside
from judge.generate_cilium import cilium_requests, random_cilium_bundle
from sampling import some

from .common import DECIDE, Obj, accounted, afterwards, converted, judged_with, owners


def with_network_policies(seed: int) -> list[Obj]:
    bundle = random_cilium_bundle(seed)
    more = [one for number in range(3) for one in beside(bundle, 100 * seed + number) if one["kind"] == "NetworkPolicy"]
    inward = [one for one in more if one["spec"]["policyTypes"] == ["Ingress"]]
    for number, one in enumerate(inward):
        one["metadata"]["name"] = f"beside-{number}"
    return [*bundle, *inward]


@pytest.mark.parametrize("seed", some(range(24), 4))
@pytest.mark.parametrize(("target", "release", "carried"), [("linkerd", "2.20", 4143), ("linkerd", "2.17", None)])
def test_nothing_comes_through_that_did_not(target: str, release: str, carried: int | None, seed: int) -> None:
    bundle = with_network_policies(seed)
    result = converted(bundle, "cilium", target, target_version=release, verify=False)
    new, settings = afterwards(bundle, result), judged_with(result)
    probes = [one.message for one in result.findings if one.code in ("MP204", "MP205", "MP234")]
    seen: Counter[tuple[bool, bool]] = Counter()
    for request in cilium_requests(bundle, seed, 60):
        try:
            before = network.decide(bundle, request, meshed=False)
            through = network.decide(new, request, meshed=True, carried=carried)
            after = through and DECIDE[target](new, request, **settings) == "allow"
        except Undecided:
            continue
        seen[before, after] += 1
        opened = any(f" {request.get('path', '').partition('?')[0]} " in text for text in probes)
        assert before or not after or opened, request
        assert after or not before or owners(result, request), request
    assert accounted(result) == []
    assert not [one for one in result.findings if one.code == "MP185"]
    assert sum(seen.values()) > 8
