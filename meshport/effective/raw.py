"""Bytes that are no requests, on ports whose protocol is detected: a deny that asks about requests loses there what it asks, and refuses its callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from meshport.effective.pieces import Piece, Unsayable, nameless, of_rule
from meshport.ir.authorization import Policy
from meshport.ir.base import sources


def refused(policies: Iterable[Policy], port: int | None, disabled: bool) -> list[Piece]:
    """The callers of denies that no request meets, so that bytes are all that they refuse. `disabled`: nobody shows an identity on the port."""
    found: list[Piece] = []
    for policy in policies:
        for rule in policy.rules:
            try:
                if rule.http and not of_rule(rule, deny=True, port=port):
                    pieces = of_rule(rule, http=False, deny=True, port=port)
                    found += [replace(piece, src=piece.src | sources(policy.action, policy.subject)) for piece in pieces]
            except (Unsayable, ValueError):  # taken for a deny of every request
                continue
    return nameless(found) if disabled else found


def parted(piece: Piece, silenced: list[Piece]) -> Iterator[tuple[Piece, bool]]:
    """What a piece admits, in parts that may overlap, with whether it is requests alone: callers whom bytes are refused send no more. Only a piece of every
    request holds bytes."""
    left = [piece]
    if piece.any_request:
        for one in silenced:
            left = [part for item in left for part in item.minus(replace(one, literals=frozenset()))]
    if left != [piece]:
        yield replace(piece, src=sources(piece.src, *(one.src for one in silenced))), True
    yield from ((item, False) for item in left)
