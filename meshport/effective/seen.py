"""How a mesh that governs every pod by its labels sees the peers of one that goes by certificates and addresses.

Networks that hold every address of the cluster say of a pod nothing that its labels do not: it is in the cluster. Anybody from there is the entity `cluster`.
Where all gateways of the source are admitted or refused, so is what takes their place: the entity `ingress`, which serves every Gateway with one identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from meshport.effective.identities import CLUSTER, INGRESS, Identities
from meshport.effective.networks import Networks, covers
from meshport.effective.pieces import Piece
from meshport.ir.model import ByLabel
from meshport.values.identities import EVERYONE, Identity


def by_label(piece: Piece, networks: Iterable[str], way: ByLabel) -> Piece:
    """The same requests with the peers as labels and entities show them."""
    who, where = piece.who, piece.where
    if who.include is not None or who.exclude:
        include = None if who.include is None else frozenset(local(item, way) for item in who.include)
        who = Identities(include, frozenset(local(item, way) for item in who.exclude))
        if way.gateways:
            who = _with_gateways(who, way.gateways)
    if whole(where, networks):
        where = Networks()
        if who.include is None:
            who = Identities(frozenset((CLUSTER,)), who.exclude)
    return replace(piece, who=who, where=where) if (who, where) != (piece.who, piece.where) else piece


def _with_gateways(who: Identities, gateways: tuple[frozenset[Identity], ...]) -> Identities:
    """The peers with the entity `ingress` in the place of the gateways. Raises nothing: what cannot be told is not admitted."""
    admitted = all(_takes(who, names) for names in gateways)
    if who.include is None:
        return who if admitted else Identities(None, who.exclude | {INGRESS})
    if not admitted:
        return who
    return Identities((who.include - frozenset().union(*gateways)) | {INGRESS}, who.exclude)


def _takes(who: Identities, names: frozenset[Identity]) -> bool:
    """Whether an account is admitted by any name that it may have, where one is said in full, and refused by none; by all of them otherwise."""
    each = [Identities(frozenset((name,))) for name in names]
    if not all(Identities(None, who.exclude).covers(one) for one in each):
        return False
    return who.include is None or not names.isdisjoint(who.include) or all(Identities(who.include).covers(one) for one in each)


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
