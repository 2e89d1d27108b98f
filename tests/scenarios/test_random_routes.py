"""Random routes in every direction: a request goes where it went, in the same shares and with the same guards, or a finding about the Service says what changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from judge import Undecided, generate_routes
from judge.routes import default_retries
from sampling import some

from meshport.pipeline import Result

from .common import Obj, accounted, afterwards, converted, outcomes

MESHES = ("istio", "linkerd", "cilium", "gateway-api")
DIRECTIONS = list(permutations(MESHES, 2))
HUNDREDS = {"timeout": "34", "retries": "34", "breakers": "35"}  # which codes speak of an aspect; the others are routing


def aspects(outcome: Any) -> dict[str, Any]:
    """The parts that are compared; an answer 404 of the proxy is as good as no route."""
    direct = dict(outcome.detail) if outcome.kind == "direct" else {}
    kind = "unrouted" if direct.get("status") == "404" else outcome.kind
    return {
        "kind": kind,
        "answer": direct if kind == "direct" else {},
        "backends": outcome.backends,
        "changes": outcome.changes,
        "fault": outcome.fault,
        "timeout": outcome.timeout_ns,
        "retries": outcome.retries,
        "breakers": outcome.breakers,
    }


def differing(before: Any, after: Any, source: str, target: str) -> set[str]:
    """The aspects in which two outcomes differ. What guards requests counts where they go to the same pods; retries that Istio makes unasked are a
    setting of the mesh, and breakers of the Gateway API are nobody's."""
    one, other = aspects(before), aspects(after)
    found = {name for name in one if one[name] != other[name]}
    if one["kind"] != other["kind"]:
        found -= {"timeout", "retries"}
    if one["backends"] != other["backends"] or {source, target} & {"gateway-api", "cilium"}:
        found.discard("breakers")
    if default_retries() in (one["retries"], other["retries"]) and "istio" in (source, target):
        found.discard("retries")
    return found


def owned(result: Result, request: Obj, aspect: str) -> bool:
    """Whether a finding names the Service, of a kind that speaks of the aspect."""
    place = request["destination"]
    return any(
        (one.namespace, one.workload) == (place["namespace"], place["service"])
        and finding.code[2] in HUNDREDS.get(aspect, "3")
        and (finding.severity != "info" or finding.code[2] != "3")
        for finding in result.findings
        for one in finding.affects
    )


def judged(bundle: list[Obj], result: Result, seed: int) -> Iterator[tuple[Obj, set[str]]]:
    """(request, aspects in which it is treated differently afterwards) for each request that can be judged."""
    source, target, new = result.options.source, result.options.target, afterwards(bundle, result)
    for request in generate_routes.requests(seed, 40):
        try:
            before, after = outcomes(bundle, source, request), outcomes(new, target, request)
        except Undecided:
            continue
        if any(one != before[0] for one in before):
            continue
        yield request, set().union(*(differing(before[0], one, source, target) for one in after))


@pytest.mark.parametrize("seed", some(range(6)))
@pytest.mark.parametrize(("source", "target"), DIRECTIONS, ids=["-".join(pair) for pair in DIRECTIONS])
def test_random_routes(source: str, target: str, seed: int) -> None:
    bundle = generate_routes.MAKE[source](seed)
    result = converted(bundle, source, target, verify=False)
    assert accounted(result) == []
    for request, changed in judged(bundle, result, seed):
        assert all(owned(result, request, aspect) for aspect in changed), (changed, request)


@pytest.mark.parametrize(("source", "target"), DIRECTIONS, ids=["-".join(pair) for pair in DIRECTIONS])
def test_most_requests_go_where_they_went(source: str, target: str) -> None:
    seen = Counter[bool]()
    for seed in range(12, 20):
        bundle = generate_routes.MAKE[source](seed)
        for _, changed in judged(bundle, converted(bundle, source, target, verify=False), seed):
            seen[not changed & {"kind", "backends"}] += 1
    assert seen[True] > 3 * seen[False]
