"""Policies that reach pods of the bundle and add nothing there, or only such as no proxy serves: what becomes of their leaves."""

from __future__ import annotations

from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.ir.authorization import Policy
from meshport.ir.base import sources

GRANTED = "what the other rules for these pods come to is the same without it"
REFUSED = "nothing that the policies allow is refused by it"


OUTSIDE = "selects only pods outside the mesh, where no proxy reads it"


def beside_the_mesh(out: Output, access: Access) -> None:
    """Policies that select pods of the bundle, and only such as are in no mesh: nothing reads what they say."""
    inside = set[int]()
    outside: dict[int, list[Policy]] = {}
    for item in access.workloads:
        for policy in (*item.allows, *item.denies, *item.customs, *item.opened):
            if item.meshed is False:
                outside.setdefault(policy.document, []).append(policy)
            else:
                inside.add(policy.document)
    reached = out.written()
    for number in sorted(outside.keys() - inside):
        out.adds_nothing(OUTSIDE, sources(*(policy.sources for policy in outside[number])) - reached)


def without_effect(out: Output, access: Access) -> None:
    """Parts of policies on known pods that reach nothing: the other rules there come to the same without them. (The read-back proves it.)"""
    for item in access.workloads:
        for reason, policies in ((GRANTED, (*item.allows, *item.opened)), (REFUSED, (*item.denies, *item.customs))):
            for policy in policies:
                spoken = sources(policy.protocol)
                if policy.routed:
                    out.decide("what the port is said to speak decides which routes hang on it", spoken)
                if not policy.closing:
                    out.decide("says that the rules close nothing, where others would", policy.action)
                out.adds_nothing(reason, policy.sources)


__all__ = ["beside_the_mesh", "without_effect"]
