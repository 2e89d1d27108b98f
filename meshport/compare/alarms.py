"""Findings of changed access, held to the destinations where access did change: what was lost on the way may be said by other rules as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected, Finding
from meshport.ir.base import Ref

ACCESS = access_subject(Ref("", ""), None).partition(" ")[0] + " to "
ELSEWHERE = ("authorization.scrape",)
"""Features of requests that are sent elsewhere after the move: what the port admits does not show them."""
UNSHOWN = ("MP206", "MP209", "MP229", "MP231", "MP277", "MP280", "MP287", "MP288")
"""Findings of what the comparison leaves out: paths with dot segments, ports in or beyond a range, for "other ports" stands for one of them alone, and HTTP
probes on ports that are named as if they spoke something else."""
SAME = "; what the other rules there admit is the same without it"


def settle(findings: Iterable[Finding], before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> None:
    """Take out of `affects` the destinations where the same requests are admitted before and after. Where none is left, nothing is changed by what the
    finding tells of: it is one to know of, without an effect."""
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
        kept = tuple(place for place in finding.affects if _differs(place, about, before, after))
        if kept:
            finding.affects = kept
        elif finding.affects:
            finding.severity, finding.effect = "info", "none"
            finding.message += SAME


def _differs(place: Affected, about: list[str], before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether access to a destination differs, or may, in one of the subjects that a finding is about."""
    if place.namespace is None or place.workload is None:
        return True
    ref = Ref(place.namespace, place.workload)
    if place.port is not None:
        mine = [access_subject(ref, place.port)]
    else:
        mine = [subject for subject in about if subject.startswith((f"{ACCESS}{ref} port ", access_subject(ref, None)))]
    return not mine or any(not _same(before.get(subject), after.get(subject)) for subject in mine)


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    return one is not None and one == other and "undecided" not in one
