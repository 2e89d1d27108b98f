"""Findings about known workloads, where the policies that they speak of select pods as well that the bundle does not show: those lose the same."""

from __future__ import annotations

from meshport.dialects.cilium.admitting import selector_of
from meshport.dialects.cilium.writing import KIND
from meshport.dialects.output import Obj, Output
from meshport.effective.access import Access, Effective
from meshport.effective.subjects import ANY_POD
from meshport.findings import Affected
from meshport.ir.base import PodSet, Selector

LESS = ("narrows", "changes")
OWN = "authorization.probe"
"""The feature of what only a workload itself says."""
OF_ALL = {"MP281"}
"""What is said once of all policies, whichever document it points at."""


def tell(out: Output, access: Access) -> None:
    """Name these pods beside the workloads, by the selectors of the policies."""
    homes: dict[str, list[tuple[Obj, Selector]]] = {}
    for (_, kind, ref), obj in out.objects.items():
        if kind == KIND and obj.changed is None and obj.value["spec"].get("ingress"):
            selector = selector_of(obj.value["spec"])
            if not access.world.shows(PodSet(ref.namespace, selector)):
                homes.setdefault(ref.namespace, []).append((obj, selector))
    known = {(item.workload.ref.namespace, item.workload.ref.name): item for item in access.workloads}
    for finding in out.findings:
        if finding.effect not in LESS or finding.document is None or finding.feature == OWN:
            continue
        more: dict[Affected, None] = {}
        for place in finding.affects:
            item = known.get((place.namespace or "", place.workload or ""))
            if item is None:
                continue
            for obj, selector in homes.get(item.workload.ref.namespace, ()):
                if selector.accepts(item.workload.labels) and (finding.code in OF_ALL or _speaks_of(finding.document, obj, item)):
                    more[Affected(place.namespace, ANY_POD if selector.everything else str(selector), place.port)] = None
        finding.affects = tuple(dict.fromkeys((*finding.affects, *more)))


def _speaks_of(document: int, obj: Obj, item: Effective) -> bool:
    """Whether a finding about a document of the source is about what a policy was written of: that document, or the default of the workload's ports."""
    if document in obj.origins:
        return True
    said = {policy.document for policy in (*item.allows, *item.denies, *item.customs)}
    return document not in said and said.isdisjoint(obj.origins)
