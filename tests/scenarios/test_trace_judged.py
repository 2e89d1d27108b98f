"""What `trace` says of a request is what an independent evaluator says: whether the pod takes it, and where the caller's proxy sends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from judge import Undecided, generate, generate_access, generate_cilium, generate_routes
from sampling import some

import meshport

from .common import DECIDE, Obj, outcomes

ACCESS: list[tuple[str, Callable[[int], list[Obj]], Callable[[list[Obj], int, int], list[Obj]]]] = [
    ("istio", generate.random_istio_bundle, generate.requests_for),
    ("linkerd", generate.random_linkerd_bundle, generate.requests_for),
    ("istio", generate_access.wide_istio_bundle, lambda bundle, seed, count: generate_access.wide_requests(bundle, "istio", seed, count)),
    (
        "linkerd",
        generate_access.wide_linkerd_bundle,
        lambda bundle, seed, count: generate_access.wide_requests(bundle, "linkerd", seed, count),
    ),
    ("cilium", generate_cilium.random_cilium_bundle, generate_cilium.cilium_requests),
    ("cilium", generate_cilium.wide_cilium_bundle, generate_cilium.cilium_requests),
]


@pytest.mark.parametrize(
    ("mesh", "make", "asked"), ACCESS, ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "")
)
def test_whether_a_pod_takes_a_request(mesh: str, make: Callable[[int], list[Obj]], asked: Callable[..., list[Obj]]) -> None:
    agreed, unsure = 0, 0
    for seed in some(range(60, 64)):
        objects = make(seed)
        bundle = meshport.load_objects(objects)
        for request in asked(objects, seed, 25):
            try:
                wanted = DECIDE[mesh](objects, request) == "allow"
            except Undecided:
                continue
            found = meshport.trace(bundle, request, mesh=mesh)
            unsure += found.allowed is None
            assert found.allowed in (wanted, None), (seed, request, [f"{step.what}: {step.outcome}" for step in found.steps])
            agreed += found.allowed is wanted
    assert agreed > 40 and unsure < 10


KINDS = {"forward": {"allow", "deny"}, "unrouted": {"unrouted"}, "redirect": {"answered"}, "direct": {"answered"}}


@pytest.mark.parametrize("mesh", generate_routes.MAKE)
def test_where_a_request_goes(mesh: str) -> None:
    agreed = 0
    for seed in some(range(40, 44)):
        objects = generate_routes.MAKE[mesh](seed)
        bundle = meshport.load_objects(objects)
        for request in generate_routes.requests(seed, 20):
            try:
                outcome, *others = outcomes(objects, mesh, request)
            except Undecided:
                continue
            found = meshport.trace(bundle, request, mesh=mesh)
            if found.verdict == "undecided" or any(other != outcome for other in others):
                continue
            shown = (seed, request, [f"{step.what}: {step.outcome}" for step in found.steps], outcome)
            assert found.verdict in KINDS[outcome.kind], shown
            if outcome.kind == "forward" and found.route is not None:
                sent: dict[str, float] = {}
                for item in found.route["backends"]:
                    whole, _, parts = item["share"].partition("/")
                    name = item["to"].partition(":")[0]
                    sent[name] = sent.get(name, 0) + int(whole) / int(parts or 1)
                wanted = {f"{home}/{','.join(f'{key}={value}' for key, value in sorted(labels))}": float(share)
                          for (home, labels), share in outcome.backends.items()}  # fmt: skip
                if all(home for home, _ in outcome.backends):  # a share that the proxy fails by itself has no pods
                    assert sent == pytest.approx(wanted), shown
            agreed += 1
    assert agreed > 20
