"""How a mesh that governs every pod by its labels sees the peers of one that goes by certificates and addresses.

Networks that hold every address of the cluster say of a pod nothing that its labels do not: it is in the cluster. Anybody from there is the entity `cluster`.
A gateway of the source stands where the target's own stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from meshport.effective.pieces import Piece
from meshport.effective.sets import CLUSTER, Identities, Networks, covers
from meshport.ir.model import ByLabel
from meshport.values.identities import EVERYONE, Identity


def by_label(piece: Piece, networks: Iterable[str], way: ByLabel) -> Piece:
    """The same requests with the peers as labels and entities show them."""
    who, where = piece.who, piece.where
    if who.include is not None or who.exclude:

        def seen(item: Any) -> Any:
            known = local(item, way)
            return way.stands_for.get(known, known)

        include = None if who.include is None else frozenset(map(seen, who.include))
        who = Identities(include, frozenset(map(seen, who.exclude)))
    if whole(where, networks):
        where = Networks()
        if who.include is None:
            who = Identities(frozenset((CLUSTER,)), who.exclude)
    return replace(piece, who=who, where=where) if (who, where) != (piece.who, piece.where) else piece


def local(item: Any, way: ByLabel) -> Any:
    """A peer of this mesh as one of its trust domain, which no label tells; any other as it is."""
    if not isinstance(item, Identity) or item.trust_domain not in way.domains:
        return item
    return Identity(way.domain, item.namespace, item.service_account) if item.namespace or item.service_account else EVERYONE


def whole(where: Networks, networks: Iterable[str]) -> bool:
    """Whether networks are demanded that hold every address of the cluster."""
    if where.include is None or where.exclude:
        return False
    free = [network.cidr for network in where.include if not network.excluded]
    wanted = list(networks)
    return bool(wanted) and all(any(covers(cidr, one) for cidr in free) for one in wanted)
