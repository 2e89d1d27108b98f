"""Random bundles beside random network policies: a request passes both, before and after, and the network sees connections as the proxies send them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from judge import Undecided, network
from judge.generate_access import wide_istio_bundle, wide_linkerd_bundle, wide_requests
from judge.generate_beside import beside
from judge.world import World
from sampling import some

from meshport.pipeline import Result

from .common import DECIDE, Obj, accounted, afterwards, converted, judged_with, owners

MAKE = {"istio": wide_istio_bundle, "linkerd": wide_linkerd_bundle}
WAYS = [
    ("istio", "linkerd", "2.17"),
    ("istio", "linkerd", "2.20"),
    ("linkerd", "istio", None),
]


def through(objects: list[Obj], mesh: str, release: str, request: Obj, settings: Obj) -> bool:
    """Whether a request passes the network and the mesh."""
    world = World(objects)
    pod = world.destination(request)
    meshed = world.istio_injected(pod) if mesh == "istio" else world.linkerd_injected(pod)
    carried = 4143 if mesh == "linkerd" and tuple(map(int, release.split("."))) >= (2, 18) else None
    seen = network.decide(objects, request, meshed=meshed, carried=carried)
    return seen and DECIDE[mesh](objects, request, **settings) == "allow"


def judged(bundle: list[Obj], result: Result, seed: int) -> Iterator[tuple[Obj, bool, bool]]:
    new, settings, options = afterwards(bundle, result), judged_with(result), result.options
    for request in wide_requests(bundle, options.source, seed, 40):
        path = str(request.get("path", ""))
        if any(mark in path for mark in ("%", "\\", "/.")):  # which the meshes resolve differently: that is judged without a network
            continue
        try:
            before = through(bundle, options.source, options.source_version, request, {})
            yield request, before, through(new, options.target, options.target_version, request, settings)
        except Undecided:
            continue


@pytest.mark.parametrize("seed", some(range(8)))
@pytest.mark.parametrize(("source", "target", "release"), WAYS)
def test_nothing_comes_through_that_did_not(source: str, target: str, release: str | None, seed: int) -> None:
    bundle = MAKE[source](seed)
    bundle += beside(bundle, seed)
    result = converted(bundle, source, target, target_version=release, verify=False)
    probes = [one.message for one in result.findings if one.code in ("MP204", "MP205", "MP234")]
    seen: Counter[tuple[bool, bool]] = Counter()
    for request, before, after in judged(bundle, result, seed):
        seen[before, after] += 1
        opened = any(f" {request.get('path', '').partition('?')[0]} " in text for text in probes)
        assert before or not after or opened, request
        assert after or not before or owners(result, request), request
    assert accounted(result) == []
    assert sum(seen.values()) > 8
