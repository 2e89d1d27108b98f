"""Bundles that show a part of a cluster: pods that they do not show let nobody in who was refused there, and where somebody is refused a finding names such pods."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judge import Undecided, ambient, generate_access
from judge.generate_access import wide_requests
from judge.generate_cilium import cilium_requests, wide_cilium_bundle
from judge.generate_parted import is_one, labels_of, parted
from judge.http import normalized
from sampling import some

from meshport.effective.subjects import ANY_POD
from meshport.findings import Affected
from meshport.pipeline import Result

from .common import DECIDE, Obj, _by_the_network, accounted, afterwards, converted, judged_with, probe_paths
from .test_random_across import by_real_pods

MAKE: dict[str, Any] = {
    "istio": generate_access.wide_istio_bundle,
    "linkerd": generate_access.wide_linkerd_bundle,
    "cilium": wide_cilium_bundle,
}
WAYS = [("istio", "linkerd"), ("linkerd", "istio"), ("linkerd", "ambient"), ("cilium", "linkerd"), ("cilium", "istio")]
RELEASES = {"linkerd": ("2.12", "2.16", "2.20"), "istio": ("1.24", "1.31"), "ambient": ("1.31",), "cilium": ("1.15", "1.18")}
TO_CILIUM = {"istio": (1, 5, 16, 25, 29, 44, 46, 48), "linkerd": (5, 27, 36, 45, 50, 52, 62, 99, 126, 172)}


def moved(source: str, target: str, bundle: list[Obj], seed: int) -> Result:
    options: dict[str, Any] = {"data_plane": "ambient"} if target == "ambient" else {}
    if source == "cilium":
        options["keep_network_policy"] = False  # of what stays beside another mesh, others judge
    release = RELEASES[target][seed % len(RELEASES[target])]
    return converted(bundle, source, "istio" if target == "ambient" else target, verify=False, target_version=release, **options)


SEEDS = [(*way, seed) for way in WAYS for seed in some(range(16), 4)]
SEEDS += [("linkerd", "istio", seed) for seed in (23, 35, 38, 144, 148, 156, 170)] + [
    ("cilium", "istio", 143),
    ("cilium", "istio", 162),
    ("cilium", "linkerd", 162),
]
SEEDS += [(source, "cilium", seed) for source, seeds in TO_CILIUM.items() for seed in some(seeds)]


@pytest.mark.parametrize(("source", "target", "seed"), SEEDS)
def test_pods_that_are_not_shown(source: str, target: str, seed: int) -> None:
    shown, unseen = parted(MAKE[source](seed), seed)
    result = moved(source, target, shown, seed)
    before, after = [*shown, *unseen], [*afterwards(shown, result), *unseen]
    asked = cilium_requests(before, seed, 120) if source == "cilium" else wide_requests(before, source, seed, 120)
    if target == "cilium":  # which knows pods by their labels
        asked = list(by_real_pods(before, source, asked))
    probes, settings, seen = probe_paths(before), judged_with(result), 0
    wrong = []
    for request in (one for one in asked if is_one(unseen, one) and not _from_one(unseen, one)):
        try:
            was = DECIDE[source](before, request) == "allow"
            if target == "ambient":
                now = bool(ambient.ways(after, request))
            else:
                now = DECIDE[target](after, request, **settings) == "allow" and _by_the_network(after, result, request)
        except Undecided:
            continue
        seen += 1
        if now and not was and not _excused(source, before, request, probes):
            wrong.append(f"newly allowed: {request}")
        if (
            was
            and not now
            and not any(_named(place, request) for one in result.findings if one.effect in ("narrows", "changes") for place in one.affects)
        ):
            wrong.append(f"denied, and no finding says so: {request}")
    assert wrong == []
    assert accounted(result) == []
    assert seen > 5


def _excused(source: str, before: list[Obj], request: Obj, probes: dict[tuple[str, str], set[tuple[int, str]]]) -> bool:
    """Whether a request may be newly allowed: a probe that a workload of the namespace declares, or a path as the caller could send it resolved before."""
    target = request["destination"]
    path, mark, query = request.get("path", "").partition("?")
    if request.get("method") == "GET" and any(
        (target["port"], path) in known for (home, _), known in probes.items() if home == target["namespace"]
    ):
        return True
    return source == "linkerd" and DECIDE["linkerd"](before, {**request, "path": normalized(path) + mark + query}) == "allow"


def _from_one(pods: list[Obj], request: Obj) -> bool:
    """Whether the caller is one of these pods, of which labels say more than the account (mapping decisions 3: accounts are exact where all workloads are known)."""
    labels = request["source"].get("labels")
    return labels is not None and any(labels_of(pod) == labels for pod in pods)


def _named(place: Affected, request: Obj) -> bool:
    """Whether a finding names the pods of a request."""
    target = request["destination"]
    if place.namespace not in (None, target["namespace"]) or place.port not in (None, target["port"]):
        return False
    return place.workload in (None, ANY_POD) or _selects(place.workload, target["labels"])


def _selects(text: str, labels: dict[str, str]) -> bool:
    """Whether a selector as kubectl writes it takes a pod. A workload's name is none."""
    for part in re.split(r",(?![^(]*\))", text):
        listed = re.fullmatch(r"(\S+) (in|notin) \((.*)\)", part)
        key, equals, value = part.partition("=")
        if listed is not None:
            met = (labels.get(listed[1]) in listed[3].split(",")) == (listed[2] == "in")
        elif equals:
            met = labels.get(key) == value
        else:
            met = part[1:] not in labels if part.startswith("!") else part in labels
        if not met:
            return False
    return True


def test_a_deny_of_a_port_by_its_name_for_pods_that_are_not_shown_is_converted_beside_kept_network_policy() -> None:
    """The name has no number, where Servers of known pods refuse ports by theirs."""
    shown, _ = parted(wide_cilium_bundle(176), 176)
    assert accounted(converted(shown, "cilium", "linkerd", verify=False, target_version="2.20", keep_network_policy=True)) == []
