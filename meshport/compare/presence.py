"""Whether somebody is there who can send a request of a set: the callers that a bundle knows, and those that it has to suppose."""

from __future__ import annotations

from typing import Any

from meshport.compare.witness import ROOTED, targets
from meshport.effective.identities import Identities
from meshport.effective.pieces import Piece
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.base import Ref
from meshport.ir.model import ByLabel
from meshport.ir.world import Workload, World
from meshport.values.identities import Identity


def real(piece: Piece, world: World, way: ByLabel | None, *, shown: bool = True) -> bool:
    """Whether some request that a client can send is in the piece. By labels (`way`) nobody is of another trust domain. Without `shown`, callers that the
    bundle speaks of and does not show may be there as well."""
    if piece.who.include is not None and not any(_there(peer, piece.who, world, way, shown) for peer in piece.who.include):
        return False
    if piece.who.include is None and way is not None and not _anybody(piece.who, world):
        return False
    if piece.path is not None and piece.path.witness(ROOTED) is None:
        return False
    return targets(piece) != ""


def _there(peer: Any, who: Identities, world: World, way: ByLabel | None, shown: bool) -> bool:
    """Whether there may be such a caller. In a namespace whose workloads the bundle shows no pods with other labels are supposed, and elsewhere none with
    the labels of known workloads under other accounts than theirs."""
    if isinstance(peer, Identity) and way is not None and shown and peer.exact and _all_spared(peer, who, world):
        return False
    if isinstance(peer, Identity) and way is not None and peer.trust_domain is not None:
        return not shown or peer.trust_domain in way.domains
    if not isinstance(peer, Labelled):
        return True
    homes = [pod for pod in world.workloads if peer.namespace in ("", pod.ref.namespace)]
    pods = [pod for pod in homes if peer.selector.accepts({**pod.labels, ACCOUNT_LABEL: pod.account.value})]
    if not pods:
        return not shown or not peer.namespace or not homes
    return any(not _spared(pod, who) for pod in pods)


def _all_spared(peer: Identity, who: Identities, world: World) -> bool:
    """Whether all known pods of the mesh that run under an account are taken out, by labels: who else would run under it is not shown."""
    out = [item for item in who.exclude if isinstance(item, Labelled)]
    pods = (
        [pod for pod in world.under(Ref(peer.namespace or "", peer.service_account or "")) if world.meshed(pod) is not False] if out else []
    )
    return bool(pods) and all(
        any(
            item.namespace in ("", pod.ref.namespace) and item.selector.accepts({**pod.labels, ACCOUNT_LABEL: pod.account.value})
            for item in out
        )
        for pod in pods
    )


def _anybody(who: Identities, world: World) -> bool:
    """Whether somebody is left of all callers: outside the cluster, a node, a known pod, or a pod of an account that nobody has in a known namespace. Labels
    tell namespaces apart that the bundle knows, and no others."""
    entities = {peer.name for peer in who.exclude if isinstance(peer, Entity)}
    if "world" not in entities:
        return True
    if "cluster" in entities:
        return False
    if not {"remote-node", "kube-apiserver", "ingress"} <= entities:
        return True
    pods = [(pod.ref.namespace, {**pod.labels, ACCOUNT_LABEL: pod.account.value}) for pod in world.workloads]
    homes = {*world.namespaces, *(pod.ref.namespace for pod in world.workloads)}
    if not homes:
        return True
    return any(
        not _out(namespace, labels, who) for namespace, labels in (*pods, *((home, {ACCOUNT_LABEL: "stranger"}) for home in sorted(homes)))
    )


def _out(namespace: str, labels: dict[str, str], who: Identities) -> bool:
    """Whether a pod is taken out."""
    return any(
        (peer.namespace in (None, namespace) and peer.service_account in (None, labels[ACCOUNT_LABEL]))
        if isinstance(peer, Identity)
        else isinstance(peer, Labelled) and peer.namespace in ("", namespace) and peer.selector.accepts(labels)
        for peer in who.exclude
    )


def _spared(pod: Workload, who: Identities) -> bool:
    """Whether the account of a pod is taken out."""
    return any(
        Identity(domain, pod.ref.namespace, pod.account.value) in who.exclude
        for domain in {item.trust_domain for item in who.exclude if isinstance(item, Identity)}
    )
