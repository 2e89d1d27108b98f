"""ServerAuthorizations as AuthorizationPolicies with their authentications.

A ServerAuthorization without `networks` admits the cluster's networks alone, an AuthorizationPolicy without a NetworkAuthentication every address: the
networks are always written. https://linkerd.io/2-edge/reference/authorization-policy/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.linkerd.authentication import POLICY, shared
from meshport.dialects.linkerd.labels import label_selector
from meshport.dialects.naming import name
from meshport.dialects.output import Output
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Src, sources
from meshport.ir.model import ABSENT, IR
from meshport.mapping.bound import Bound
from meshport.values.identities import Identity

GROUP = "policy.linkerd.io"
KIND = "ServerAuthorization"
CLUSTER_NETWORKS = "cluster-networks"


@dataclass(slots=True)
class _Writing:
    bound: Bound
    ir: IR
    out: Output
    options: Options
    number: int
    here: Ref

    @property
    def src(self) -> Src:
        """What says that the object is there at all."""
        return Cursor.root(self.bound, self.number).ref().src


def lower(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    """An AuthorizationPolicy for each Server that a ServerAuthorization opens."""
    refused = {loss.document for loss in ir.losses if loss.code in ("MP015", "MP226")}
    for number, document in enumerate(out.bundle.documents):
        if (document.group, document.kind) == (GROUP, KIND) and number not in bound.broken and number not in refused:
            here = Ref(document.namespace or options.default_namespace, document.name)
            _one(_Writing(bound, ir, out, options, number, here))


def _one(w: _Writing) -> None:
    spec = Cursor.root(w.bound, w.number).at("spec")
    servers = _servers(w, spec)
    if not servers:
        what = "a Server with the labels of its selector" if spec.at("server", "selector") else "a Server"
        w.out.finding("MP014", spec.at("server").src, document=w.number, object=f"{KIND} {w.here}", what=what, lack=ABSENT)
        return
    tls = spec.at("client", "meshTLS", "unauthenticatedTLS")
    if tls.value is True:
        fact = Fact(True, tls.src, "authorization.source.unauthenticated-tls")
        affects, explained = _concerned(w, [ref for ref, _ in servers])
        found = w.out.lost(fact, document=w.number, affects=affects, explains=explained, object=f"{KIND} {w.here}")
        if found is not None:
            found.disposition = "dropped"
            found.leaves = tuple(sorted(spec.src))
        w.out.remove(w.number, "it admits TLS clients without an identity, which no AuthorizationPolicy can; see the finding")
        return
    if tls:
        w.out.ignore("no demand: clients are asked for what else stands there", tls.src)
    refs = [*_identities(w, spec), _networks(w, spec)]
    names = []
    for server, src in servers:
        wanted = w.here.name if len(servers) == 1 else name(w.here.name, server.name)
        called = w.out.free(POLICY, "AuthorizationPolicy", w.here.namespace, wanted)
        obj = w.out.object(
            POLICY, "AuthorizationPolicy", Ref(w.here.namespace, called), owner=w.number, group=f"server {server.name}", because=w.src
        )
        target = {"group": GROUP, "kind": "Server", "name": server.name}
        for key, value in target.items():
            obj.set(("spec", "targetRef", key), value, src)
        for position, (ref, because) in enumerate(refs):
            for key, value in ref.items():
                obj.set(("spec", "requiredAuthenticationRefs", position, key), value, because)
        obj.note(f"from {KIND} {w.here}")
        if spec.at("server", "selector"):
            obj.note("the Server is one of those that its selector takes; a Server that gets these labels later needs a policy of its own")
        names.append(called)
    w.out.remove(w.number, f"AuthorizationPolicy {', '.join(names)} admits the same clients")


def _servers(w: _Writing, spec: Cursor) -> list[tuple[Ref, Src]]:
    named = spec.at("server").text("name")
    if named is not None:
        return [(Ref(w.here.namespace, named.value), named.src)]
    if not spec.at("server", "selector"):
        return []
    wanted = label_selector(spec.at("server"), "selector")
    found = []
    for number, document in enumerate(w.out.bundle.documents):
        if (document.group, document.kind) != (GROUP, "Server") or number in w.bound.broken:
            continue
        labels = {key: str(item.value) for key, item in Cursor.root(w.bound, number).items("metadata", "labels")}
        if (document.namespace or w.options.default_namespace) == w.here.namespace and wanted.value.accepts(labels):
            found.append((Ref(w.here.namespace, document.name), wanted.src))
    return sorted(found)


def _identities(w: _Writing, spec: Cursor) -> list[tuple[dict[str, str], Src]]:
    """The reference to who is admitted; none where no identity is asked for."""
    mesh = spec.at("client", "meshTLS")
    if spec.at("client", "unauthenticated").value is True or not mesh:
        return []
    written = [(fact.value, fact.src) for fact in mesh.strings("identities")]
    accounts = []
    for item in mesh.each("serviceAccounts"):
        account, home = item.text("name"), item.text("namespace")
        if account is not None:
            accounts.append((Ref(home.value if home is not None else w.here.namespace, account.value), item.src))
    if not written and len(accounts) == 1:
        ref, src = accounts[0]
        return [({"kind": "ServiceAccount", "name": ref.name, "namespace": ref.namespace}, src)]
    src = sources(*(item for _, item in (*written, *accounts)))
    called = w.out.free(POLICY, "MeshTLSAuthentication", w.here.namespace, w.here.name)
    obj = w.out.object(POLICY, "MeshTLSAuthentication", Ref(w.here.namespace, called), owner=w.number, rank=40, because=w.src)
    if not written:
        for position, (ref, leaves) in enumerate(accounts):
            obj.set(("spec", "identityRefs", position), {"kind": "ServiceAccount", "name": ref.name, "namespace": ref.namespace}, leaves)
    else:  # one object takes identities or references, not both
        written += [(_identity(w, ref), leaves) for ref, leaves in accounts]
        for position, (text, leaves) in enumerate(written):
            obj.set(("spec", "identities", position), text, leaves)
    obj.note(f"from {KIND} {w.here}")
    return [({"group": GROUP, "kind": "MeshTLSAuthentication", "name": called}, src)]


def _identity(w: _Writing, ref: Ref) -> str:
    found = Identity(w.options.trust_domain, ref.namespace, ref.name).linkerd(w.options.control_plane_namespace, w.options.trust_domain)
    return found or "*"


def _networks(w: _Writing, spec: Cursor) -> tuple[dict[str, str], Src]:
    """The reference to the addresses that clients come from: those that are written, else the cluster's."""
    client = spec.at("client")
    listed = client.each("networks")
    if listed:
        label = w.out.free(POLICY, "NetworkAuthentication", w.here.namespace, w.here.name)
        obj = w.out.object(POLICY, "NetworkAuthentication", Ref(w.here.namespace, label), owner=w.number, rank=40, because=w.src)
        written = [members for item in listed if (members := item.items())]  # an item that is no mapping lets nobody in
        if not written:
            obj.set(("spec", "networks"), [], client.at("networks").src)
        for position, members in enumerate(written):
            for key, place in members:
                obj.set(("spec", "networks", position, key), place.value, place.src)
        obj.note(f"from {KIND} {w.here}")
        src = client.at("networks").src
    else:
        src = w.src | client.at("unauthenticated").src
        whole = {"networks": [{"cidr": cidr} for cidr in w.options.cluster_networks]}
        label = shared(w.out, "NetworkAuthentication", Ref(w.here.namespace, CLUSTER_NETWORKS), whole, w.number, src)
        obj = w.out.objects[GROUP, "NetworkAuthentication", Ref(w.here.namespace, label)]
        obj.note(
            "the clusterNetworks of a default installation, which a ServerAuthorization without networks means; write yours if they differ"
        )
    return {"group": GROUP, "kind": "NetworkAuthentication", "name": label}, src | client.at("unauthenticated").src


def _concerned(w: _Writing, servers: list[Ref]) -> tuple[tuple[Affected, ...], frozenset[tuple[str, str]]]:
    """The workload ports behind Servers, and the differences in access to them."""
    affects: dict[Affected, None] = {}
    explained: set[tuple[str, str]] = set()
    for policy in w.ir.policies:
        if policy.kind != "Server" or Ref(policy.subject.value.namespace, policy.ref.value.name) not in servers or policy.port is None:
            continue
        for workload in w.ir.world.selected(policy.subject.value):
            port: Any = policy.port.value
            known = workload.port_named(port) if isinstance(port, str) else None
            number = port if isinstance(port, int) else known.number if known is not None else None
            affects[Affected(workload.ref.namespace, workload.ref.name, number)] = None
            explained |= {(access_subject(workload.ref, number), aspect) for aspect in ("allow", "deny", "default")}
    return tuple(affects) or (Affected(w.here.namespace),), frozenset(explained)
