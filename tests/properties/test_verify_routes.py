"""verify against routes with one value changed: what it calls equivalent an independent evaluator treats alike, and each of its witnesses it treats differently."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from judge import Undecided, generate_routes
from judge.routes import route

import meshport
from meshport.compare.request import sentence

from .changing import Changes, Source, leaves, with_value

Obj = dict[str, Any]
OTHER = {"istio": "linkerd", "linkerd": "istio", "cilium": "istio", "gateway-api": "istio"}
ROUTING = ("VirtualService", "DestinationRule", "HTTPRoute", "ServiceProfile", "Service")
UNJUDGED = re.compile(
    r"(backendRef|destination|mirror).*port|retryBudget|parentRefs|Rewrite\.path\.type|filters\.\d+\.type|backendRequest|path\.type|queryParams\.\d+\.type"
)
"""What the evaluator does not know as it is (ports of backends, budgets, plus signs in queries), and values that belong to the one beside them, so that no
cluster takes another one alone."""


def mutants(mesh: str, seed: int, count: int) -> Iterator[tuple[str, list[Obj], list[Obj]]]:
    """(what was changed, the bundle, the changed bundle)."""
    bundle = generate_routes.MAKE[mesh](seed)
    source = Source(f"routes-{seed}", mesh, bundle, OTHER[mesh])
    listed = [
        leaf
        for leaf in leaves(source, source.convert())
        if leaf.kind in ROUTING and (leaf.kind != "Service" or "annotations" in leaf.path) and not UNJUDGED.search(leaf.shown)
        if leaf.path[0] == "spec" or "annotations" in leaf.path
    ]
    changes, rng = Changes(source), Random(seed)
    rng.shuffle(listed)
    for leaf in listed[:count]:
        if others := changes.of(leaf):
            other = rng.choice(others)
            yield f"{leaf.kind} {leaf.shown}: {leaf.value!r} -> {other!r}", bundle, with_value(bundle, leaf, other)


def judged(mesh: str, bundle: list[Obj], request: Obj) -> list[Any] | None:
    """What becomes of a request, on each way of reading routes that the Gateway API leaves open; None where the evaluator cannot tell."""
    places = ("last", "early") if mesh == "gateway-api" else ("",)
    try:
        return [route(bundle, mesh, request, expressions=place) for place in places]
    except Undecided:
        return None


def completed(request: Obj) -> Obj:
    """A witness as the evaluator takes it: to the Service's first port where it is the same on all, for the Service's own name."""
    destination = {"port": 80, **request["destination"]}
    return {"method": "GET", "path": "/", "host": destination["service"], "headers": {}, **request, "destination": destination}


@pytest.mark.parametrize("seed", range(500, 507))
@pytest.mark.parametrize("mesh", generate_routes.MAKE)
def test_one_value_changed(mesh: str, seed: int) -> None:
    for what, old, new in mutants(mesh, seed, 6):
        found = meshport.verify(meshport.load_objects(old), meshport.load_objects(new), old_mesh=mesh, new_mesh=mesh)
        if found.verdict == "equivalent":
            for request in generate_routes.requests(seed, 150):
                assert judged(mesh, old, request) == judged(mesh, new, request), (what, request)
        for item in found.differences:
            if "namespace" not in item.request["destination"]:
                continue  # a host that no Service has, or a Gateway
            before, after = (judged(mesh, side, completed(item.request)) for side in (old, new))
            if before is None or after is None or ("path" not in item.request and before[0].kind != "forward"):
                continue  # a setting of pods that no rule sends to
            assert before != after, (what, sentence(item.request), item.before, item.after)
