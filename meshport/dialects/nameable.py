"""Peers of a network policy that a mesh knows by no service account: whom they are, why they cannot be named, and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshport.effective.identities import label
from meshport.effective.pieces import Piece
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.base import Ref
from meshport.ir.world import Workload, World

WORLD = Entity("world")


def pods_of(world: World, peer: Labelled) -> list[Workload]:
    """The workloads whose pods have these labels."""
    return [
        item
        for item in (world.of_namespace(peer.namespace) if peer.namespace else world.workloads)
        if peer.selector.accepts({**item.labels, ACCOUNT_LABEL: item.account.value})
    ]


def why(world: World, pods: list[Workload]) -> str:
    """Why pods that are known by their labels cannot be named by their accounts."""
    accounts = {Ref(pod.ref.namespace, pod.account.value) for pod in pods}
    meant = set(map(id, pods))
    rest = [item for item in world.workloads if id(item) not in meant]
    sharing = [f"{pod.kind} {pod.ref}" for pod in rest if Ref(pod.ref.namespace, pod.account.value) in accounts]
    spaces = ", ".join(sorted({pod.ref.namespace for pod in pods}))
    return (
        f"theirs are shared with {', '.join(sharing)}"
        if sharing
        else f"of all namespaces that they may be in the input shows them in {spaces}"
    )


def named(peer: Any, piece: Piece) -> str:
    """A peer for people: addresses outside the cluster by the addresses."""
    networks = piece.where.networks() if isinstance(peer, Entity) else None
    if networks is None:
        return str(label(peer))
    where = ", ".join(map(str, networks))
    return f"{where} outside the cluster" if peer == WORLD else f"{label(peer)} at {where}"


def weight(peers: Iterable[Any]) -> str:
    """How severe it is that peers are left out. Cilium's health endpoints answer the probes of nodes and call no pods (docs.cilium.io, cilium-health)."""
    return "info" if all(peer == Entity("health") for peer in peers) else "error"


def joining(peers: Iterable[Any]) -> str:
    """What else can be done about peers that show no identity: those that are pods can be taken into the mesh."""
    homes = sorted({peer.namespace for peer in peers if isinstance(peer, Labelled) and peer.namespace})
    return f"; or take {', '.join(homes)} into the mesh" if homes else ""


def instead(peer: Any) -> str:
    """What to do about a peer that a deny cannot name."""
    if isinstance(peer, Labelled):
        return "Give the denied pods a service account of their own"
    if isinstance(peer, Entity):
        return "Keep the policy beside the mesh, which names such callers, or deny them where they come in"
    return "Deny service accounts or namespaces, without exceptions that have neither"
