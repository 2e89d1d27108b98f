"""Modes for which nothing is written in a mesh that has none: what becomes of them, and of what says which pods they are for."""

from __future__ import annotations

from collections.abc import Callable

from meshport.dialects.output import Output
from meshport.effective.access import Access
from meshport.effective.modes import Place
from meshport.ir.transport import refusing, tells_apart

CLOSED = "policies close the ports that it is for whatever their mode, or another rule decides it"
TOLD = "says what clients send to the port, and so what its mode comes to"
INHERITED = "the mode of the level above is what holds"


def account(out: Output, access: Access, places: set[Place], says: Callable[[str], str]) -> None:
    """Modes with which the target does the same by itself, where another one would be written (`places`), and those that decide nothing there.

    `says` is what the target does where a mode holds.
    """
    refused = refusing(access.ir.transport)
    for rule in access.ir.transport:
        said = [(port, mode, says(mode.value)) for port, mode in ((None, rule.mode), *rule.ports.items()) if mode is not None]
        said += [(port, mode, INHERITED) for port, mode in rule.inheriting.items()]
        decides = False
        for port, mode, reason in said:
            if (rule.document, port) in places:
                decides = True
                out.imply(reason, mode)
            else:
                own = frozenset(leaf for leaf in mode.src if out.bundle.number(leaf) == rule.document)
                out.adds_nothing(CLOSED, own)
                out.decide(TOLD, mode.src - own)
        if decides and tells_apart(rule, refused, access.namespace_mode(rule.subject.value.namespace).value):
            out.imply("decides which pods the mode holds for", rule.subject)
        else:
            reason = "the same mode holds for all pods, as far as the target tells modes apart" if decides else CLOSED
            out.adds_nothing(reason, rule.subject)


__all__ = ["account"]
