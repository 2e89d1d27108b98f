"""The ledger of random bundles is true as well: change a leaf, and what its line says happens.

Leaves are sampled, for each change is a conversion. Rules that overlap at random leave some lines that are known to be false (a condition among several of
which the output shows another): their share is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from judge import generate, generate_access, generate_cilium, generate_routes
from sampling import ALL

from .changing import Changes, Source, leaves, outcome, with_value
from .test_ledger import BY_VALUE, fates

Obj = dict[str, Any]
MAKE: dict[str, tuple[Callable[[int], list[Obj]], ...]] = {
    "istio": (generate.random_istio_bundle, generate_access.wide_istio_bundle, generate_routes.istio),
    "linkerd": (generate.random_linkerd_bundle, generate_access.wide_linkerd_bundle, generate_routes.linkerd),
    "cilium": (generate_cilium.random_cilium_bundle, generate_cilium.wide_cilium_bundle, generate_routes.cilium),
    "gateway-api": (generate_routes.gateway,),
}
TARGETS = ("istio", "istio:ambient", "linkerd", "cilium", "gateway-api")
LEAVES = 6 if ALL else 3
"""Leaves of a bundle that are changed."""
ELSEWHERE = 2
"""Values of other leaves that each one is given besides."""
SHARE = {"istio": 0.02}
"""The part of them whose line may be false, where it is not `OTHERWISE`."""
OTHERWISE = 0.025
FIRST_AND_LAST = ["a-first", "z-last"]
UNREAD = ("passed_through",)
LOST = ("dropped", "manual", "invalid")


def false_lines(source: Source, seed: int) -> list[str]:
    result = source.convert()
    base, changes = outcome(result), Changes(source)
    named = {leaf for finding in base.said for leaf in finding.leaves}
    lines = [leaf for leaf in leaves(source, result) if leaf.disposition not in UNREAD]
    assert [leaf.shown for leaf in lines if leaf.disposition in LOST and leaf.number not in named] == []
    found = []
    for leaf in Random(seed).sample(lines, min(LEAVES, len(lines))):
        others = [] if leaf.disposition in LOST else changes.of(leaf)
        if leaf.path == ("metadata", "name") and others:
            others += FIRST_AND_LAST  # of several objects the first by name may be the one that counts
        elif leaf.disposition not in LOST:  # two objects of one name are another bundle
            others += Random(seed).sample(known := changes.elsewhere(leaf), min(ELSEWHERE, len(known)))
        if leaf.disposition != "irrelevant" and {"labels", "annotations"} & set(leaf.path[:-1]):
            others.append(...)  # that it is there may be all that counts
        seen = [outcome(source.convert(with_value(source.objects, leaf, other))) for other in others]
        if leaf.disposition == "irrelevant":
            by_value = any(words in leaf.reason for words in BY_VALUE)
            wrong = any(after.manifests != base.manifests or (not by_value and fates(after) != fates(base)) for after in seen)
        else:
            wrong = bool(seen) and all(after.output == base.output and (leaf.outputs or after.findings == base.findings) for after in seen)
        if wrong:
            found.append(f"{source.name}: {leaf.kind} {leaf.shown} ({leaf.value!r}, {leaf.disposition}): {leaf.reason}")
    return found


@pytest.mark.parametrize("mesh", MAKE)
def test_nearly_every_line_is_true(mesh: str) -> None:
    false: list[str] = []
    changed = 0
    for target in TARGETS:
        name, _, plane = target.partition(":")
        for seed, make in enumerate(MAKE[mesh]):
            source = Source(f"{mesh} to {target}", mesh, make(seed), name, {"data_plane": plane} if plane else {})
            false += false_lines(source, seed)
            changed += LEAVES
    assert len(false) <= SHARE.get(mesh, OTHERWISE) * changed, false
