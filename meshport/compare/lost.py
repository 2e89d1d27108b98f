"""Findings of what is left out, held to the requests that it let in: whether one of them is refused after the move, at each destination for itself.

Several findings may name one destination where access differs for the sake of one of them: the others would be alarms with a witness of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.compare.alarms import SAME, UNSHOWN
from meshport.compare.port import Sides, of_these
from meshport.compare.replay import Difference, replayed
from meshport.effective.access import Effective
from meshport.effective.pieces import Piece, Unsayable
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected, Finding
from meshport.ir.base import Ref
from meshport.values.language import LanguageTooLarge


@dataclass(frozen=True, slots=True)
class Site:
    """One port of a workload on both sides, where requests are newly refused."""

    item: Effective
    other: Effective
    port: int
    https: tuple[bool, bool]
    refused: list[Piece]


@dataclass(slots=True)
class Sites:
    """Where requests are newly refused, by subject; `unsure` are the subjects of which that is not known for every port."""

    sides: Sides
    narrowed: dict[str, list[Site]] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    _known: dict[Any, Any] = field(default_factory=dict)

    def of(self, subject: str, pieces: list[Piece]) -> dict[str, Any] | bool:
        """A request of the pieces that is admitted before and refused after; True where that may be, and no such request can be named, False where none is."""
        sites = self.narrowed.get(subject)
        if not sites or subject in self.unsure:
            return True
        found = [self._at(site, pieces) for site in sites]
        return next((one for one in found if isinstance(one, dict)), True in found)

    def _at(self, site: Site, pieces: list[Piece]) -> dict[str, Any] | bool:
        ref = site.item.workload.ref
        key = (site.item.key, site.other.key, site.port, site.https, ref.namespace, frozenset(map(id, pieces)))
        if key not in self._known:
            self._known[key] = self._asked(site, pieces)
        found = self._known[key]
        return {**found, "destination": {**found["destination"], "workload": ref.name}} if isinstance(found, dict) else bool(found)

    def _asked(self, site: Site, pieces: list[Piece]) -> dict[str, Any] | bool:
        try:
            gone, unshown = of_these(pieces, site.refused, site.item, site.other, self.sides)
        except (Unsayable, LanguageTooLarge, ValueError):
            return True
        doubt = unshown
        for piece in sorted(gone, key=lambda one: bool(one.literals)):
            made = replayed("denied", piece, site.item, site.other, site.port, site.https, self.sides)
            if isinstance(made, Difference):
                return made.request
            doubt = doubt or made is None
        return doubt


def settle_lost(findings: list[Finding], sites: Sites) -> None:
    """Take out of `affects` the destinations where each request that a finding says is left out is refused before as well, or admitted after, as other rules
    have it; give each finding a request of its own as its witness. A destination keeps somebody who answers for what is refused there."""
    owners: dict[Affected, set[int]] = {}
    for finding in findings:
        if finding.effect in ("narrows", "changes") and finding.code not in UNSHOWN:
            for place in finding.affects:
                owners.setdefault(place, set()).add(id(finding))
    for finding in findings:
        if finding.effect != "narrows" or not finding.lost:
            continue
        kept: list[Affected] = []
        alone = False
        for place in finding.affects:
            found = [sites.of(subject, finding.lost[subject]) for subject in _subjects(place, finding.lost)]
            finding.witness = finding.witness or next((one for one in found if isinstance(one, dict)), None)
            if not found or any(found):
                kept.append(place)
            elif _answered(place, owners, finding):
                owners[place].discard(id(finding))
            else:
                kept.append(place)
                alone = True
        if kept:
            finding.affects = tuple(kept)
            if alone and finding.witness is None:
                finding.lost = None  # what is refused there is told by it alone, whatever it is
        elif finding.affects:
            finding.severity, finding.effect = "info", "none"
            finding.message += SAME


def _subjects(place: Affected, lost: dict[str, list[Any]]) -> Iterator[str]:
    """The subjects of a destination for which it is known what is left out; none where it is not known for all of it."""
    if place.namespace is None or place.workload is None:
        return
    ref = Ref(place.namespace, place.workload)
    other = access_subject(ref, None)
    if place.port is None:
        ports = access_subject(ref, 0).removesuffix("0")
        yield from (subject for subject in lost if subject == other or subject.startswith(ports))
    elif (subject := access_subject(ref, place.port)) in lost:
        yield subject


def _answered(place: Affected, owners: dict[Affected, set[int]], finding: Finding) -> bool:
    """Whether somebody else answers for what is refused at a destination."""
    wider = (place, Affected(place.namespace, place.workload), Affected(place.namespace), Affected(None))
    return any(owners.get(one, set()) - {id(finding)} for one in wider)
