"""Findings of changed access, held to the destinations where access did change: what was lost on the way may be said by other rules as well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected, Finding
from meshport.ir.base import Ref

ACCESS = access_subject(Ref("", ""), None).partition(" ")[0] + " to "
PROBES = ("MP204", "MP205", "MP234")
"""Findings of paths that are open for the kubelet's probes, each with a request for its path as its witness."""
ELSEWHERE = ("authorization.scrape",)
"""Features of requests that are sent elsewhere after the move: what the port admits does not show them."""
UNSHOWN = (
    "MP155",
    "MP179",
    "MP183",
    "MP185",
    "MP186",
    "MP187",
    "MP196",
    "MP209",
    "MP211",
    "MP229",
    "MP231",
    "MP287",
    "MP288",
    "MP298",
    "MP300",
)
"""Findings of what the comparison leaves out: hosts in capitals, paths with dot segments, what a mesh itself keeps open for the kubelet, what proxies hid
from the network, callers that may have no proxy, pods outside the mesh that have the labels of others inside, what an external authorizer decides, bytes
beside routes, and methods that a pattern takes and that HTTP does not define."""
SAME = "; what the other rules there admit is the same without it"


def settle_probes(findings: Iterable[Finding], opened: Mapping[str, list[dict[str, Any] | None]]) -> None:
    """Hold findings of opened probe paths to the destinations where somebody may send what they could not send before, and give each such a request as its
    witness. `opened` are such requests by subject, for the subjects that were compared (None: there are some, and none could be named)."""
    for finding in findings:
        if finding.code not in PROBES or finding.effect != "widens" or finding.witness is None:
            continue
        asked = (finding.witness["method"], finding.witness["path"])
        kept: list[tuple[Affected, dict[str, Any] | None]] = []
        for place in finding.affects:
            requests = opened.get(access_subject(Ref(place.namespace or "", place.workload or ""), place.port))
            mine = [one for one in requests or () if one is None or (one["method"], one["path"].partition("?")[0]) == asked]
            if mine or requests is None:
                kept.append((place, next((one for one in mine if one is not None), None)))
        if kept:
            finding.affects = tuple(place for place, _ in kept)
            finding.witness = next((request for _, request in kept if request is not None), finding.witness)
        elif finding.affects:
            finding.severity, finding.effect, finding.witness = "info", "none", None
            finding.message += SAME


def settle(findings: Iterable[Finding], named: Collection[str], equal: Collection[str], alike: Collection[str]) -> None:
    """Take out of `affects` the destinations where the same requests are admitted before and after. Where none is left, nothing is changed by what the
    finding tells of: it is one to know of, without an effect. `named` are the subjects that either side has data of, `equal` those of which no request tells
    the sides apart, `alike` those of which none but the kubelet's does."""

    def same(subject: str, found: Collection[str]) -> bool:
        if subject not in named:  # a port that only the end of a range names is one of the others
            subject = f"{subject.rpartition(' port ')[0]} other ports"
        return subject in found

    for finding in findings:
        about = [subject for subject, _ in finding.explains]
        if (
            finding.effect == "none"
            or finding.feature in ELSEWHERE
            or finding.code in UNSHOWN
            or not about
            or not all(item.startswith(ACCESS) for item in about)
        ):
            continue
        there = partial(same, found=alike if finding.effect == "narrows" else equal)
        by_workload: dict[str, list[str]] = {}
        for subject in about:
            by_workload.setdefault(subject.rpartition(" port ")[0] or subject.removesuffix(" other ports"), []).append(subject)
        kept = tuple(place for place in finding.affects if _differs(place, by_workload, there))
        if kept:
            finding.affects = kept
        elif finding.affects:
            finding.severity, finding.effect = "info", "none"
            finding.message += SAME


def _differs(place: Affected, about: dict[str, list[str]], same: Callable[[str], bool]) -> bool:
    """Whether access to a destination differs, or may, in one of the subjects that a finding is about, which are given by workload."""
    if place.namespace is None or place.workload is None:
        return True
    ref = Ref(place.namespace, place.workload)
    mine = [access_subject(ref, place.port)] if place.port is not None else about.get(f"{ACCESS}{ref}", [])
    return not mine or not all(map(same, mine))
