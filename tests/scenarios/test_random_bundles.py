"""Random worlds with random policies: whatever comes in, nothing is newly allowed, and what is newly denied is said."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from judge import generate
from sampling import some

from .common import Obj, accounted, converted, problems

MAKE: dict[str, Any] = {"istio": generate.random_istio_bundle, "linkerd": generate.random_linkerd_bundle}
SEEDS = some(range(25), 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("source", "target"), [("istio", "linkerd"), ("linkerd", "istio")], ids=["istio", "linkerd"])
def test_a_random_bundle(source: str, target: str, seed: int) -> None:
    bundle = MAKE[source](seed)
    result = converted(bundle, source, target, verify=False)
    wrong, seen = problems(bundle, result, generate.requests_for(bundle, seed, 40))
    assert wrong == []
    assert sum(seen.values()) > 20
    assert accounted(result) == []


CLUSTER = [ip_network(cidr) for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")]


def as_labels_tell(request: Obj) -> bool:
    """Whether Cilium can see the caller as the source does: a pod has an address of the cluster, and is in the mesh as its workload is."""
    source = request["source"]
    if "namespace" not in source:
        return True
    inside = any(ip_address(source["ip"]) in network for network in CLUSTER)
    return inside and (source["namespace"] != generate.OUTSIDE) == source["meshed"]


@pytest.mark.parametrize("seed", some(range(20), 3))
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_a_random_bundle_for_cilium(source: str, seed: int) -> None:
    bundle = MAKE[source](seed)
    result = converted(bundle, source, "cilium", verify=False, target_version=("1.16", "1.18", "1.20")[seed % 3])
    wrong, seen = problems(bundle, result, [one for one in generate.requests_for(bundle, seed, 90) if as_labels_tell(one)])
    assert wrong == []
    assert sum(seen.values()) > 10
    assert accounted(result) == []


@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_most_of_what_was_allowed_is_allowed_under_cilium(source: str) -> None:
    kept = lost = 0
    for seed in range(12):
        bundle = MAKE[source](seed)
        result = converted(bundle, source, "cilium", verify=False)
        _, seen = problems(bundle, result, [one for one in generate.requests_for(bundle, seed, 40) if as_labels_tell(one)])
        kept, lost = kept + seen[True, True], lost + seen[True, False]
    assert kept > 2 * lost
