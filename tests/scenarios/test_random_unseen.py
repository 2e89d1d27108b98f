"""Random bundles beside pods that they do not hold, to Cilium: those pods are let in no more than before, and what they lose is said of their namespace."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from judge import Undecided, ambient
from judge.generate_access import wide_istio_bundle, wide_linkerd_bundle
from judge.generate_ambient import ambient_bundle
from judge.generate_unseen import unseen_pods, unseen_requests
from judge.http import normalized
from sampling import some

from .common import DECIDE, Obj, accounted, afterwards, converted
from .test_random_across import by_real_pods

MAKE: dict[str, Any] = {"istio": wide_istio_bundle, "linkerd": wide_linkerd_bundle, "ambient": ambient_bundle}
SEEDS = {
    "istio": (5, 15, 25, 35, 66, 203), "linkerd": (0, 2, 5, 8, 10, 11, 14, 17, 30, 73), "ambient": (3, 5, 11, 22, 35, 69),
}  # fmt: skip


def judged(source: str, seed: int) -> tuple[Counter[tuple[bool, bool]], list[str], list[str]]:
    """How many requests for pods that the bundle does not hold went which way, and what is wrong."""
    bundle = MAKE[source](seed)
    mesh = "istio" if source == "ambient" else source
    result = converted(bundle, mesh, "cilium")
    more = unseen_pods(bundle, seed, 14)
    before, after = bundle + more, afterwards(bundle, result) + more
    seen: Counter[tuple[bool, bool]] = Counter()
    wrong = []
    for request in by_real_pods(before, source, unseen_requests(before, source, seed, 250)):
        try:
            was, any_way = _before(before, source, request)
            now = DECIDE["cilium"](after, request) == "allow"
        except Undecided:
            continue
        seen[was, now] += 1
        if now and not was and not (source == "linkerd" and _resolved(before, request)):
            wrong.append(f"newly allowed: {request}")
        if any_way and not now and not _told(result, request):
            wrong.append(f"denied, and no finding says so: {request}")
    return seen, wrong, accounted(result)


def _before(world: list[Obj], source: str, request: Obj) -> tuple[bool, bool]:
    """Whether a request was let in by every way that there is, and by any."""
    if source == "ambient":
        return ambient.by_services(world, request), bool(ambient.ways(world, request))
    let_in = DECIDE[source](world, request) == "allow"
    return let_in, let_in


def _resolved(world: list[Obj], request: Obj) -> bool:
    """Whether Linkerd lets the path in once its dot segments are resolved, as Cilium reads it."""
    path, mark, query = request.get("path", "").partition("?")
    return DECIDE["linkerd"](world, {**request, "path": normalized(path) + mark + query}) == "allow"


def _told(result: Any, request: Obj) -> bool:
    """Whether a finding of less access names the namespace, and no other port."""
    target = request["destination"]
    places = [item for one in result.findings if one.effect in ("narrows", "changes") for item in one.affects]
    return any(item.namespace in (None, target["namespace"]) and item.port in (None, target["port"]) for item in places)


@pytest.mark.parametrize(("source", "seed"), [(source, seed) for source, seeds in SEEDS.items() for seed in some(seeds)])
def test_pods_that_nobody_shows_are_let_in_no_more(source: str, seed: int) -> None:
    seen, wrong, unaccounted = judged(source, seed)
    assert wrong == []
    assert unaccounted == []
    assert sum(seen.values()) > 20


@pytest.mark.parametrize(("source", "least"), [("istio", 0.8), ("linkerd", 0.8), ("ambient", 0.75)])
def test_most_of_what_they_were_let_in_to_stays(source: str, least: float) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    for seed in some(range(100, 108)):
        seen += judged(source, seed)[0]
    assert seen[True, True] >= least * (seen[True, True] + seen[True, False])
