"""How a mesh that governs every pod by its labels sees the peers of one that goes by certificates and addresses.

Networks that hold every address of the cluster say of a pod nothing that its labels do not: it is in the cluster. Anybody from there is the entity `cluster`.
Where all gateways of the source are admitted or refused, so is what takes their place: the entity `ingress`, which serves every Gateway with one identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from meshport.effective.identities import CLUSTER, INGRESS, WORLD, Identities
from meshport.effective.networks import Networks, covers, disjoint
from meshport.effective.pieces import Piece
from meshport.ir.model import ByLabel
from meshport.values.identities import EVERYONE, Identity


def by_labels(piece: Piece, networks: Iterable[str], way: ByLabel, *, deny: bool = False) -> list[Piece]:
    """The same requests with the peers as labels and entities show them: in pieces where they come from all of the cluster and from addresses beyond it. What
    is denied to such addresses stays said by them."""
    who, where = piece.who, piece.where
    if who.include is not None or who.exclude:
        include = None if who.include is None else frozenset(local(item, way) for item in who.include)
        who = Identities(include, frozenset(local(item, way) for item in who.exclude))
        if way.gateways:
            who = _with_gateways(who, way.gateways)
    known = list(networks)
    if not (whole(where, known) if deny else holds(where, known)) or WORLD in (who.include or ()):
        return [replace(piece, who=who) if who != piece.who else piece]
    inside = replace(piece, who=who if who.include is not None else Identities(frozenset((CLUSTER,)), who.exclude), where=Networks())
    if who.include is not None:
        return [inside]
    every = where.networks() or ()
    apart = [one for one in every if all(disjoint(one.cidr, cidr) for cidr in known)]  # no pod has one of these
    around = [one for one in every if one not in apart]  # machines beyond the cluster have private addresses as well
    found = [(who, apart), (Identities(frozenset((WORLD,)), who.exclude), around)]
    return [inside, *(replace(piece, who=peers, where=Networks(tuple(some))) for peers, some in found if some)]


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


def holds(where: Networks, networks: Iterable[str]) -> bool:
    """Whether networks are demanded that hold every address of the cluster, and do not hold every address there is."""
    asked, wanted = where.networks(), list(networks)
    if asked is None or not wanted:
        return False
    return all(any(covers(one.cidr, cidr) and all(disjoint(out, cidr) for out in one.excluded) for one in asked) for cidr in wanted)


def whole(where: Networks, networks: Iterable[str]) -> bool:
    """Whether just the cluster's addresses are demanded."""
    known = list(networks)
    return holds(where, known) and all(any(covers(cidr, one.cidr) for cidr in known) for one in where.networks() or ())
