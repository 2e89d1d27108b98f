"""Peers in Linkerd's words: inline ServiceAccounts, MeshTLSAuthentication, NetworkAuthentication (Linkerd reference 1.6, 1.7).

Linkerd names peers, it never excludes them. "All but these" is said by naming the known others: exact for whom the bundle knows, closed for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.naming import unique
from meshport.dialects.output import Output
from meshport.effective.identities import glob_accepts, label, of_gateways, of_no_domain
from meshport.effective.pieces import Piece
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled, Network
from meshport.ir.base import Ref, Src
from meshport.ir.world import World
from meshport.values.identities import EVERYONE, Identity, IdentityGlob

POLICY = "policy.linkerd.io/v1alpha1"
ANY_NETWORK = "any-network"
ANY_IDENTITY = "any-mesh-identity"
CLUSTER = Entity("cluster")


@dataclass(frozen=True, slots=True)
class Peers:
    """Who a grant admits, sayable in Linkerd. `members` None: no identity is demanded; `networks` None: from every address."""

    members: tuple[Any, ...] | None
    networks: tuple[Network, ...] | None
    listed: str = ""  # how "all but some" or a pattern was said by a list of known peers: what it stood for
    foreign: tuple[Any, ...] = ()  # identities of trust domains that nobody here has
    gateways: tuple[Any, ...] = ()  # identities of the source's gateways, which the target does not run
    cluster: bool = False  # whether the whole cluster was said as every mesh identity


class NoPeers(ValueError):
    """Peers that Linkerd cannot be told of; the text says whom."""

    def __init__(self, reason: str, code: str = "MP201") -> None:
        super().__init__(reason)
        self.code = code


def peers(piece: Piece, world: World, options: Options, gateways: frozenset[Ref]) -> Peers:
    """The peers of a piece. Raises NoPeers where nobody sayable is left."""
    who = piece.who
    patterns: list[str] = []
    networks = piece.where.networks()
    if networks == ():
        raise NoPeers("no address is left")
    if who.everyone:
        return Peers(None, networks)
    include = who.include
    members: set[Any] = set()
    foreign: list[Any] = []
    passed: list[Any] = []
    if include is not None and not who.exclude:
        for item in sorted(include, key=str):
            said = EVERYONE if item == CLUSTER else _local(item, options)
            if said is None:
                foreign.append(item)
            elif isinstance(said, Identity) and said.exact and Ref(said.namespace or "", said.service_account or "") in gateways:
                passed.append(item)
            elif isinstance(said, Identity) and (said.namespace is not None or said.service_account is None):
                members.add(said)
            else:
                patterns.append(label(item))
                members |= known(world, lambda one, item=item: _takes(item, one, options), options)
    else:
        listed = "every caller" if include is None else " or ".join(sorted(map(label, include)))
        patterns.append(listed + " but " + " and ".join(sorted(map(label, who.exclude))))
        members = _known_but(world, include, who.exclude, options)
    listed = " or ".join(patterns)
    if not members:
        reasons = [f"{of_gateways(passed)} not part of Linkerd; name its successor with --gateway-identity NS/SA"] if passed else []
        reasons += [of_no_domain(foreign)] if foreign else []
        reasons += [f"{listed}: it is no account that the bundle knows"] if listed else []
        reason = ", and ".join(reasons) or "nobody: no caller that the bundle knows is left"
        raise NoPeers(reason, "MP216" if passed else "MP208" if foreign else "MP201")
    for whole_mesh in (EVERYONE, Identity(options.trust_domain)):
        if whole_mesh in members:
            members = {one for one in members if not isinstance(one, Identity) or one == whole_mesh}
            break
    whole = include is not None and CLUSTER in include and not who.exclude
    return Peers(tuple(sorted(members, key=str)), networks, listed, tuple(foreign), tuple(passed), whole)


def _local(item: Any, options: Options) -> Any | None:
    """The identity as one of this trust domain; None where it is another's."""
    if not isinstance(item, Identity):
        return item
    if item.trust_domain not in (None, options.trust_domain, "cluster.local"):
        return None
    if item == EVERYONE:
        return EVERYONE
    return Identity(options.trust_domain, item.namespace, item.service_account)


def _takes(item: Any, one: Identity, options: Options) -> bool:
    if isinstance(item, IdentityGlob):
        return glob_accepts(item, one)
    if item == CLUSTER:
        return True
    said = _local(item, options)
    return isinstance(said, Identity) and said.namespace in (None, one.namespace) and said.service_account in (None, one.service_account)


def known(world: World, wanted: Any, options: Options) -> set[Identity]:
    """The identities of the bundle that may be in the mesh and that are wanted: of its workloads, of its ServiceAccounts, and `default`, which every
    namespace has (kubernetes.io/docs/concepts/security/service-accounts)."""
    running = dict(world.identities())
    enrolled = {name for name, home in world.namespaces.items() if home.meshed is not None and home.meshed.value}
    named = {ref for ref in world.accounts if ref.namespace in enrolled} | {Ref(name, "default") for name in enrolled}
    found = set()
    for ref in sorted({*named, *running}):
        one = Identity(options.trust_domain, ref.namespace, ref.name)
        if running.get(ref) is not False and wanted(one):
            found.add(one)
    return found


def _may_be(item: Any, one: Identity, world: World) -> bool:
    """Whether some pods of a peer that is no account run under this one: to take them out, the whole account goes."""
    if isinstance(item, Entity):
        return item.name == "cluster"
    return isinstance(item, Labelled) and any(
        (pod.ref.namespace, pod.account.value) == (one.namespace, one.service_account)
        and item.namespace in ("", pod.ref.namespace)
        and item.selector.accepts({**pod.labels, ACCOUNT_LABEL: pod.account.value})
        for pod in world.workloads
    )


def _known_but(world: World, include: frozenset[Any] | None, exclude: Iterable[Any], options: Options) -> set[Any]:
    """Every known peer but some; a namespace none of whose accounts is taken out stands for all of its accounts."""

    def wanted(one: Identity) -> bool:
        return (include is None or any(_takes(item, one, options) for item in include)) and not any(
            _takes(item, one, options) or _may_be(item, one, world) for item in exclude
        )

    accounts = known(world, wanted, options)
    out: set[Any] = set()
    for namespace in sorted({one.namespace or "" for one in accounts}):
        whole = Identity(options.trust_domain, namespace, None)
        untouched = not any(_touches(item, namespace, options) or isinstance(item, Labelled | Entity) for item in exclude)
        included = include is None or any(
            item == CLUSTER or (isinstance(item, Identity) and item.service_account is None and item.namespace in (None, namespace))
            for item in include
        )
        if untouched and included:
            out.add(whole)
        else:
            out |= {one for one in accounts if one.namespace == namespace}
    return out


def _touches(item: Any, namespace: str, options: Options) -> bool:
    if isinstance(item, Identity):
        said = _local(item, options)
        return said is not None and said.namespace in (None, namespace)
    return True


def references(
    out: Output, who: Peers, namespace: str, called: str, owner: int, rank: int, group: str, options: Options, because: Src
) -> list[dict[str, str]]:
    """The `requiredAuthenticationRefs` for peers, with the objects that they name written."""
    refs: list[dict[str, str]] = []
    if who.members is not None:
        first = who.members[0]
        if first == EVERYONE:
            label = shared(out, "MeshTLSAuthentication", Ref(namespace, ANY_IDENTITY), {"identities": ["*"]}, owner, because)
            refs.append({"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": label})
        elif len(who.members) == 1 and isinstance(first, Identity) and first.exact:
            refs.append({"kind": "ServiceAccount", "name": first.service_account or "", "namespace": first.namespace or ""})
        else:
            _mesh_tls(out, who.members, namespace, called, owner, rank, group, options, because)
            refs.append({"group": "policy.linkerd.io", "kind": "MeshTLSAuthentication", "name": called})
    if who.networks is not None or who.members is None:
        label = f"{called}-networks"
        if who.networks is None:
            everywhere = {"networks": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}
            label = shared(out, "NetworkAuthentication", Ref(namespace, ANY_NETWORK), everywhere, owner, because)
        else:
            obj = out.object(POLICY, "NetworkAuthentication", Ref(namespace, label), owner=owner, rank=rank, group=group, because=because)
            for position, network in enumerate(who.networks):
                obj.set(("spec", "networks", position, "cidr"), network.cidr, because)
                if network.excluded:
                    obj.set(("spec", "networks", position, "except"), list(network.excluded), because)
        refs.append({"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": label})
    return refs


def shared(out: Output, kind: str, ref: Ref, spec: dict[str, Any], owner: int, because: Src) -> str:
    """The name of an authentication that several grants share. The input's object of that name is taken where it says the same, never changed."""

    def says_otherwise(called: str) -> bool:
        standing = out.bundle_object("policy.linkerd.io", kind, Ref(ref.namespace, called))
        return standing is not None and out.bundle.documents[standing].value.get("spec") != spec

    found = unique(ref.name, says_otherwise)
    obj = out.object(POLICY, kind, Ref(ref.namespace, found), owner=owner, rank=40, because=because)
    for key, values in spec.items():
        for position, value in enumerate(values):
            obj.set(("spec", key, position), value, because)
    return found


def free(out: Output, namespace: str, wanted: str, *kinds: tuple[str, str]) -> str:
    """A name that no object of these API versions and kinds has yet, here or in the input; authentications and policies are looked at as well."""
    looked = (*kinds, (POLICY, "AuthorizationPolicy"), (POLICY, "MeshTLSAuthentication"))

    def taken(called: str) -> bool:
        networks = Ref(namespace, f"{called}-networks")
        return any(out.taken(api, kind, Ref(namespace, called)) for api, kind in looked) or out.taken(
            POLICY, "NetworkAuthentication", networks
        )

    return unique(wanted, taken)


def _written(item: Any, options: Options) -> str:
    if isinstance(item, Identity):
        return item.linkerd(options.control_plane_namespace, options.trust_domain) or "*"
    return str(item.text)


def _mesh_tls(
    out: Output, members: tuple[Any, ...], namespace: str, called: str, owner: int, rank: int, group: str, options: Options, because: Src
) -> None:
    obj = out.object(POLICY, "MeshTLSAuthentication", Ref(namespace, called), owner=owner, rank=rank, group=group, because=because)
    for position, item in enumerate(members):
        if isinstance(item, Identity) and item.namespace is not None:
            entry = {"kind": "ServiceAccount" if item.service_account else "Namespace", "name": item.service_account or item.namespace}
            if item.service_account:
                entry["namespace"] = item.namespace
            obj.set(("spec", "identityRefs", position), entry, because)
        else:
            obj.set(("spec", "identities", position), _written(item, options), because)
