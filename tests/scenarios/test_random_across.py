"""Random bundles with everything that decides access, to Cilium and onto the ambient data plane: nothing is newly allowed, and what is denied is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from judge import Undecided, ambient
from judge.generate_access import wide_istio_bundle, wide_linkerd_bundle, wide_requests
from judge.world import World

from .common import DECIDE, Obj, accounted, afterwards, converted, dotted, owners, problems

MAKE: dict[str, Any] = {"istio": wide_istio_bundle, "linkerd": wide_linkerd_bundle}
PODS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
DEFECTS = ("MP299", "MP900", "MP901", "MP904")


def by_real_pods(bundle: list[Obj], mesh: str, requests: Iterable[Obj]) -> Iterator[Obj]:
    """The requests that a cluster could see: Cilium knows a pod by its labels, so its proxy and its address are those that such a pod has."""
    world = World(bundle)
    injected = {"istio": world.istio_injected, "linkerd": world.linkerd_injected, "ambient": partial(ambient.captured, world)}[mesh]
    proxies: dict[tuple[str, str], set[bool | None]] = {}  # None: on the node's network, where it is the node to Cilium
    for pod in world.workloads:
        proxies.setdefault((pod.namespace, pod.service_account), set()).add(None if pod.host_network else bool(injected(pod)))
    spaces = {namespace for namespace, _ in proxies}
    for request in requests:
        source = request["source"]
        if source.get("namespace"):
            known = proxies.get((source["namespace"], source.get("service_account") or "default"))
            if known is None and source["namespace"] in spaces:
                continue
            if known is not None and known != {bool(source.get("meshed"))}:
                continue
            if not any(ip_address(source["ip"]) in ip_network(cidr) for cidr in PODS):
                continue
        yield request


@pytest.mark.parametrize("seed", [0, 2, 7, 18, 32, 39, 58, 94, 106])
@pytest.mark.parametrize("source", ["istio", "linkerd"])
def test_to_cilium(source: str, seed: int) -> None:
    bundle = MAKE[source](seed)
    result = converted(bundle, source, "cilium")
    wrong, _ = problems(bundle, result, by_real_pods(bundle, source, wide_requests(bundle, source, seed, 120)))
    assert wrong == []
    assert accounted(result) == []
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []


@pytest.mark.parametrize(
    ("source", "seed"),
    [*(("istio", seed) for seed in (3, 21, 36, 46, 79, 109, 118, 126, 127)), *(("linkerd", seed) for seed in (5, 7, 47, 83))],
)
def test_to_ambient(source: str, seed: int) -> None:
    """Four of these switch mTLS off: nobody had a name there, and ztunnel knows everybody's. In others pods of one Service admit other callers."""
    bundle = MAKE[source](seed)
    result = converted(bundle, source, "istio", data_plane="ambient")
    after, wrong = afterwards(bundle, result), []
    seen: Counter[tuple[bool, bool]] = Counter()
    for request in wide_requests(bundle, source, seed, 100):
        try:
            was, ways = DECIDE[source](bundle, request) == "allow", ambient.ways(after, request)
        except Undecided:
            continue
        seen[was, bool(ways)] += 1
        if ways and not was and not (source == "linkerd" and dotted(request.get("path", ""))):
            wrong.append(f"newly allowed by {ways}: {request}")
        if was and not ways and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []
    assert seen[True, True] > 10
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []


@pytest.mark.parametrize("seed", [0, 11, 13, 35, 81, 94])
def test_from_ambient_back_to_sidecars(seed: int) -> None:
    """What the waypoint and ztunnel let in together is what the pods' own proxies let in."""
    original = wide_istio_bundle(seed)
    bundle = afterwards(original, converted(original, "istio", "istio", data_plane="ambient", verify=False))
    result = converted(bundle, "istio", "istio", data_plane="sidecar")
    after, wrong = afterwards(bundle, result), []
    for request in wide_requests(original, "istio", seed, 100):
        try:
            ways, let_in = ambient.ways(bundle, request), DECIDE["istio"](after, request) == "allow"
        except Undecided:
            continue
        if let_in and not ways:
            wrong.append(f"newly allowed: {request}")
        if ways and not let_in and not owners(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []
    assert [finding.message for finding in result.findings if finding.code in DEFECTS] == []
