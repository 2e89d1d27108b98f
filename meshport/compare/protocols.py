"""What network policies admit beside TCP, compared: UDP, SCTP and ICMP, which no mesh governs. The verdict is about TCP; that these differ leaves it open."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import zip_longest

from meshport.compare.access import mentioned
from meshport.compare.port import Sides, compare, others
from meshport.compare.replay import Difference, replayed
from meshport.compare.request import sentence
from meshport.effective.access import Effective, speaking
from meshport.ir.authorization import OTHER_PROTOCOLS


def unlike(item: Effective, other: Effective, sides: Sides, known: Collection[str]) -> list[str]:
    """A line for each protocol that is not admitted alike at a workload, with packets that tell the sides apart where some can be named. Changes that TCP shows
    there already (`known`: allowed, denied) are not told again."""
    found: dict[str, None] = {}
    for protocol in OTHER_PROTOCOLS:
        seen: set[str] = set(known)
        for one, two in _governing(item, other, sides):
            mine, its = speaking(one, protocol), speaking(two, protocol)
            ports = {*mentioned(mine), *mentioned(its)}
            for port in (*sorted(ports), *others(ports, mine, its)):
                compared = compare(mine, its, port, (False, False), sides)
                place = f"{item.workload.ref}: what policies say of {protocol}"
                found |= dict.fromkeys(f"{place}: {why}" for why in compared.undecided)
                for change, pieces in (("allowed", compared.widened), ("denied", compared.narrowed)):
                    tried = [
                        replayed(change, piece, item, other, port, (False, False), sides, protocol.lower())
                        for piece in (pieces if change not in seen else ())
                    ]
                    shown = next((one for one in tried if isinstance(one, Difference)), None)
                    if shown is not None:
                        found[
                            f"{place}: {sentence(shown.request, unnamed=port not in ports)}: {shown.before} before, {shown.after} now"
                        ] = None
                        seen.add(change)
                    elif None in tried:
                        found[place] = None
    return list(found)


def _governing(item: Effective, other: Effective, sides: Sides) -> Iterator[tuple[Effective, Effective]]:
    """The network policies of both sides; where one side has none beside its mesh, everybody is let in."""
    if not sides.old.enrols:
        yield item, other
        return
    for one, two in zip_longest(item.beside, other.beside):
        yield one or replace(two, allows=(), denies=(), opened=()), two or replace(one, allows=(), denies=(), opened=())
