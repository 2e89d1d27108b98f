"""Policies that reach pods of the bundle and add nothing there, or only such as no proxy serves: what becomes of their leaves."""

from __future__ import annotations

from meshport.dialects.output import Obj, Output, Path
from meshport.effective.access import Access
from meshport.ir.authorization import Policy
from meshport.ir.base import sources
from meshport.ir.model import IR

GRANTED = "what the other rules for these pods come to is the same without it"
REFUSED = "nothing that the policies allow is refused by it"


UNREAD = "its pods are outside the mesh, where no proxy reads it"
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


SHOWN = 16
"""Of a longer name, what stands in one that was made shorter for the output."""
_AUTHENTICATIONS = ("MeshTLSAuthentication", "NetworkAuthentication")
_FRAME = (("metadata", "name"), ("metadata", "namespace"), ("spec", "action"), ("spec",))


def framing(ir: IR, out: Output) -> None:
    """Take leaves that may add nothing out of the reasons for what policies are called and whom they are for, where that is all they reach and it does
    not show them, with all others of a document of which nothing else is left: the policy would be written without them, and they are said to add nothing."""
    posture = sources(
        *(fact for policy in ir.policies for fact in (policy.action, policy.subject))
    )  # closes the pods, whatever else it says
    inside: set[int] = set()
    places: dict[int, list[tuple[Obj, Path]]] = {}
    for obj in out.objects.values() if out.redundant else ():
        for path, src in obj.sources.items():
            if obj.changed is None and (obj.kind in _AUTHENTICATIONS or path in _FRAME):
                for leaf in (src & out.redundant.keys()) - posture:
                    places.setdefault(leaf, []).append((obj, path))
            else:
                inside |= src
    for leaf in inside & places.keys():
        del places[leaf]
    unshown = {leaf for leaf, held in places.items() if not any(_word(out, leaf) in str(obj.at(path)) for obj, path in held)}
    used = {out.bundle.number(leaf) for leaf in inside}
    empty = {out.bundle.number(leaf) for leaf in unshown} - used
    for leaf, held in places.items():
        if leaf in unshown or out.bundle.number(leaf) in empty:
            for obj, path in held:
                obj.sources[path] -= {leaf}


def _word(out: Output, leaf: int) -> str:
    return str(out.bundle.value(leaf))[:SHOWN]


__all__ = ["GRANTED", "UNREAD", "beside_the_mesh", "framing", "without_effect"]
