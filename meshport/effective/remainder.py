"""Many sets of requests taken out of many: each is held only against those that share a peer with it, so that the work grows with what overlaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from meshport.effective.pieces import Piece, Unsayable, subtract
from meshport.ir.base import NOWHERE, sources
from meshport.values.identities import Identity
from meshport.values.language import union

MOST_PAIRS = 20_000
"""Sets that are held against each other; beyond it nothing is said."""

MANY = 8
"""Sets of the same requests but for their paths that are taken out one by one."""


def bare(piece: Piece) -> Piece:
    """The set alone, without where it came from: equal for sets that are written alike."""
    return replace(piece, src=NOWHERE, patterns=None, base=None)


def remainder(pieces: Iterable[Piece], others: Iterable[Piece], most: int | None = None) -> list[Piece]:
    """The pieces without the requests of the others. Raises Unsayable where it cannot be computed, or takes more than `most` pairs."""
    wanted = list({bare(piece): piece for piece in pieces}.items())
    taken = {bare(other): other for other in others}
    near = _Near(_by_paths(taken.values()))
    left: list[Piece] = []
    pairs = 0
    for plain, piece in wanted:
        if plain in taken:
            continue
        tried = near.to(piece)
        pairs += len(tried)
        if most is not None and pairs > most:
            raise Unsayable(f"{len(wanted)} sets of requests against {len(taken)} are more than are compared")
        left += subtract([piece], tried)
    return left


def _by_paths(pieces: Iterable[Piece]) -> Iterable[Piece]:
    """The pieces, those that differ in nothing but their paths as one where they are many: taken out one by one, each may cut what is left in two."""
    groups: dict[Piece, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(replace(bare(piece), path=None), []).append(piece)
    for alike in groups.values():
        paths = [piece.path for piece in alike if piece.path is not None]
        if len(paths) < len(alike) or len(alike) <= MANY:
            yield from alike
        else:
            yield replace(bare(alike[0]), path=union(*paths), src=sources(*(piece.src for piece in alike)))


class _Near:
    """Pieces by the accounts that they name; those that name none, or a pattern, may be near to all."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = list(pieces)
        self._by_account: dict[Identity, list[int]] = {}
        self._always: list[int] = []
        for number, piece in enumerate(self._pieces):
            accounts = _accounts(piece)
            if accounts is None:
                self._always.append(number)
            for account in accounts or ():
                self._by_account.setdefault(account, []).append(number)

    def to(self, piece: Piece) -> list[Piece]:
        """Those that may share a peer with a piece, in the order in which they were given."""
        accounts = _accounts(piece)
        if accounts is None:
            return self._pieces
        found = {*self._always, *(number for account in accounts for number in self._by_account.get(account, ()))}
        return [self._pieces[number] for number in sorted(found)]


def _accounts(piece: Piece) -> list[Identity] | None:
    """The accounts of a piece where it has no other peers: two of them are the same one or apart."""
    if piece.who.include is None:
        return None
    found = [peer for peer in piece.who.include if isinstance(peer, Identity) and peer.exact]
    return found if len(found) == len(piece.who.include) else None
