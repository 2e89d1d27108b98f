"""Who an authorization admits: AuthorizationPolicy and its authentications, ServerAuthorization (Linkerd reference 1.5–1.7, 2.3, 2.10).

Policies are alternatives; inside one all references must hold. A reference to an object that does not exist makes the whole policy void.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.linkerd.labels import label_selector
from meshport.effective.networks import normal_cidr
from meshport.ir.authorization import IDENTITY, SOURCE_IP, Condition, Network, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import ABSENT, IR, Loss
from meshport.mapping.bound import Bound
from meshport.values.identities import EVERYONE, Identity, IdentityGlob, parse_linkerd

POLICY = "policy.linkerd.io"
CORE = ("", "core")
TARGETS = {
    "Server": (POLICY,),
    "HTTPRoute": ("gateway.networking.k8s.io", POLICY),
    "GRPCRoute": ("gateway.networking.k8s.io",),
    "Namespace": CORE,
}
"""The kinds that an AuthorizationPolicy holds for, with the groups that the webhook knows them by; no group is core."""
REFERRED = ("Server", "HTTPRoute", "GRPCRoute")
"""Those that are objects of Linkerd's, which a grant refers to in vain where they are not there."""
ByKind = dict[tuple[str, str], list[int]]


class Clients:
    """The rules (without request conditions) of Servers, namespaces and routes."""

    def __init__(self, bound: Bound, by_kind: ByKind, options: Options, ir: IR) -> None:
        self.bound = bound
        self.options = options
        self.ir = ir
        self._mesh = self._index(by_kind, "MeshTLSAuthentication")
        self._networks = self._index(by_kind, "NetworkAuthentication")
        self._servers: dict[Ref, list[Rule]] = {}
        self._namespaces: dict[str, list[Rule]] = {}
        self._routes: dict[tuple[str, Ref], list[Rule]] = {}
        self._pods = {self._place(number): number for number in reversed(by_kind.get((POLICY, "Server"), []))}
        self._there = {(kind, self._place(number)) for (_, kind), numbers in by_kind.items() for number in numbers}
        self._labels = self._server_labels(by_kind)
        for number in by_kind.get((POLICY, "AuthorizationPolicy"), []):
            self._policy(number)
        for number in by_kind.get((POLICY, "ServerAuthorization"), []):
            self._server_authorization(number)
        for rules in chain(self._servers.values(), self._namespaces.values(), self._routes.values()):
            rules.sort(key=_who)  # by whom they let in, so that no name of an object decides where something is written

    def of_server(self, server: Ref) -> list[Rule]:
        return self._servers.get(server, []) + self._namespaces.get(server.namespace, [])

    def of_route(self, kind: str, route: Ref) -> list[Rule]:
        return self._routes.get((kind, route), [])

    # -- indexes

    def _place(self, number: int) -> Ref:
        document = self.bound.bundle.documents[number]
        return Ref(document.namespace or self.options.default_namespace, document.name)

    def _index(self, by_kind: ByKind, kind: str) -> dict[Ref, int]:
        """The authentications of a kind that the API server takes; a policy that refers to one of the others refers to nothing."""
        found = {}
        for number in reversed(by_kind.get((POLICY, kind), [])):
            root = Cursor.root(self.bound, number)
            spec = root.at("spec")
            refs = spec.each("identityRefs")
            if spec.at("identities") and spec.at("identityRefs"):
                self._invalid(root, number, "spec takes identities or identityRefs, not both")
            elif any(item.at("kind").value == "Namespace" and item.at("namespace") for item in refs):
                self._invalid(root, number, "an identityRef of kind Namespace takes no namespace")
            else:
                found[self._place(number)] = number
        return found

    def _server_labels(self, by_kind: ByKind) -> dict[Ref, dict[str, Cursor]]:
        found = {}
        for number in by_kind.get((POLICY, "Server"), []):
            found[self._place(number)] = dict(Cursor.root(self.bound, number).items("metadata", "labels"))
        return found

    # -- AuthorizationPolicy

    def _policy(self, number: int) -> None:
        root = Cursor.root(self.bound, number)
        here = self._place(number)
        target = root.at("spec", "targetRef")
        kind, name = target.text("kind"), target.text("name")
        group = target.text("group")
        if kind is None or name is None:
            return
        refused = self._refused(root, here, kind, name)
        if refused:
            self._invalid(root, number, refused)
            return
        if kind.value in REFERRED and self.missing(target, kind.value, Ref(here.namespace, name.value)):
            return
        conditions = self._required(root, here.namespace, number)
        if conditions is None:
            return
        found, src = conditions
        rule = Rule(found, (), 0, here.name, src | _unnamed(root) | target.src, _granting(root, here), number)
        if kind.value == "Server":
            self._servers.setdefault(Ref(here.namespace, name.value), []).append(rule)
        elif kind.value == "Namespace":
            self._namespaces.setdefault(here.namespace, []).append(rule)
        elif kind.value in ("HTTPRoute", "GRPCRoute"):
            label = f"{group.value if group is not None else ''}/{kind.value}"
            self._routes.setdefault((label, Ref(here.namespace, name.value)), []).append(rule)
        else:
            self.ir.losses.append(Loss("MP224", (kind, name), number))

    def _refused(self, root: Cursor, here: Ref, kind: Fact[str], name: Fact[str]) -> str:
        """Why Linkerd's admission webhook refuses the policy (Linkerd reference 1.5); the empty text where it does not."""
        groups = TARGETS.get(kind.value, ())
        if groups and _group(root.at("spec", "targetRef")) not in groups:
            return f"a targetRef to a {kind.value} has to name group {' or '.join(filter(None, groups))}"
        if kind.value == "Namespace" and name.value != here.namespace:
            return f"targetRef names Namespace {name.value}, and only the policy's own can be named"
        refs = root.each("spec", "requiredAuthenticationRefs")
        kinds = [item.at("kind").value for item in refs]
        for item in refs:
            named, group = item.at("kind").value, _group(item)
            if named in ("MeshTLSAuthentication", "NetworkAuthentication") and group != POLICY:
                return f"a reference to a {named} has to name group {POLICY}"
            if named == "ServiceAccount" and group not in CORE:
                return "a reference to a ServiceAccount has to name group core, or none"
        if kinds.count("ServiceAccount") + kinds.count("MeshTLSAuthentication") > 1 or kinds.count("NetworkAuthentication") > 1:
            return "requiredAuthenticationRefs takes one MeshTLSAuthentication or ServiceAccount and one NetworkAuthentication"
        return ""

    def missing(self, reference: Cursor, kind: str, ref: Ref, *, alone: bool = True) -> bool:
        """Whether there is no object of the name that stands in a reference; then the reference, and where it is `alone` all that refers, is for nothing."""
        if (kind, ref) in self._there:
            return False
        root = Cursor.root(self.bound, reference.number)
        facts = tuple(fact for _, fact in (root.at("spec") if alone else reference).leaves()) + ((root.ref(),) if alone else ())
        lack = self._lack(kind, ref)
        values = {"what": f"{kind} {ref}", "lack": lack}
        self.ir.losses.append(Loss("MP014", facts, root.number, values, at=min(reference.at("name").src), deciding=lack == ABSENT))
        return True

    def _lack(self, kind: str, ref: Ref) -> str:
        """Why a reference is to nothing."""
        there = any(item.kind == kind and self._place(place) == ref for place, item in enumerate(self.bound.bundle.documents))
        return "the mesh does not take as it is" if there else ABSENT

    def _invalid(self, root: Cursor, number: int, what: str) -> None:
        facts = tuple(fact for _, fact in root.at("spec").leaves())
        self.ir.losses.append(Loss("MP015", facts, number, {"what": what}))

    def _required(self, root: Cursor, namespace: str, number: int) -> tuple[tuple[Condition, ...], Src] | None:
        refs = root.each("spec", "requiredAuthenticationRefs")
        src = root.at("spec", "requiredAuthenticationRefs").src if not refs else NOWHERE
        conditions: list[Condition] = []
        for item in refs:
            kind, name = item.text("kind"), item.text("name")
            if kind is None or name is None:
                return None
            home = item.text("namespace")
            ref = Ref(home.value if home is not None else namespace, name.value)
            if kind.value == "ServiceAccount":
                identity = Identity(self.options.trust_domain, ref.namespace, ref.name)
                conditions.append(Condition(IDENTITY, (Fact(identity, item.src, "authorization.source.service-accounts"),)))
                continue
            known = (self._mesh if kind.value == "MeshTLSAuthentication" else self._networks).get(ref)
            if known is None or kind.value not in ("MeshTLSAuthentication", "NetworkAuthentication"):
                lack = self._lack(kind.value, ref)
                values = {"what": f"{kind.value} {ref}", "lack": lack}
                self.ir.losses.append(Loss("MP014", (kind, name), number, values, at=min(name.src), deciding=lack == ABSENT))
                return None
            found = self._mesh_tls(known, ref) if kind.value == "MeshTLSAuthentication" else self._network(known, ref)
            if found.any_of is None:
                src |= found.src
            conditions.append(Condition(found.attribute, found.any_of, (), found.src | item.src))
        return tuple(item for item in conditions if item.any_of is not None), src | frozenset(
            leaf for item in conditions for leaf in item.src
        )

    def _mesh_tls(self, number: int, here: Ref) -> Condition:
        root = Cursor.root(self.bound, number)
        facts: list[Fact[Any]] = []
        for fact in root.strings("spec", "identities"):
            if fact.value.startswith("spiffe:"):
                self.ir.losses.append(Loss("MP235", (fact,), number))
            else:
                facts.append(fact.map(self._identity))
        for item in root.each("spec", "identityRefs"):
            kind, name, home = item.text("kind"), item.text("name"), item.text("namespace")
            if kind is None or name is None:
                continue
            account = kind.value == "ServiceAccount"
            namespace = (home.value if home is not None else here.namespace) if account else name.value
            facts.append(Fact(Identity(self.options.trust_domain, namespace, name.value if account else None), item.src, name.feature))
        return Condition(IDENTITY, tuple(facts), (), root.ref().src)

    def _identity(self, text: str) -> Identity | IdentityGlob:
        domain = self.options.trust_domain
        issued = f".serviceaccount.identity.{self.options.control_plane_namespace}.{domain}"
        if text.startswith("*.") and issued.endswith(text[1:]) and text[1:].endswith(f".{domain}"):
            return Identity(domain)  # the end of a name that each account of the domain has
        try:
            return parse_linkerd(text)
        except ValueError:
            return IdentityGlob(text)

    def _network(self, number: int, here: Ref) -> Condition:
        root = Cursor.root(self.bound, number)
        return _networks(root.at("spec"), root.ref().src)

    # -- ServerAuthorization

    def _server_authorization(self, number: int) -> None:
        root = Cursor.root(self.bound, number)
        here = self._place(number)
        spec = root.at("spec")
        client = spec.at("client")
        mesh = client.at("meshTLS")
        conditions: list[Condition] = []
        src = _unnamed(root)
        if client.at("unauthenticated").value is True and mesh:
            self._invalid(root, number, "client demands both unauthenticated and meshTLS")
            return
        if mesh.at("unauthenticatedTLS").value is True and (mesh.at("identities") or mesh.at("serviceAccounts")):
            self._invalid(root, number, "client.meshTLS demands both unauthenticatedTLS and identities")
            return
        if not _names_clients(client):
            self.ir.losses.append(Loss("MP226", (Fact(None, client.src or spec.src, "authorization.rule"),), number))
            return
        named = spec.at("server").text("name")
        if named is not None and self.missing(spec.at("server"), "Server", Ref(here.namespace, named.value)):
            return
        if client.at("unauthenticated").value is True:
            src |= client.at("unauthenticated").src
        elif mesh.at("unauthenticatedTLS").value is True:
            said = mesh.at("unauthenticatedTLS")
            self.ir.losses.append(Loss("MP225", (Fact(True, said.src, "authorization.rule"),), number, workloads=self._behind(spec, here)))
            conditions.append(Condition(IDENTITY, (Fact(EVERYONE, said.src, "authorization.rule"),)))
        else:
            facts: list[Fact[Any]] = [fact.map(self._identity) for fact in mesh.strings("identities")]
            for item in mesh.each("serviceAccounts"):
                name, home = item.text("name"), item.text("namespace")
                if name is not None:
                    namespace = home.value if home is not None else here.namespace
                    facts.append(Fact(Identity(self.options.trust_domain, namespace, name.value), item.src, name.feature))
            conditions.append(Condition(IDENTITY, tuple(facts)))
        if client.each("networks"):  # of an empty list the controller says what it says of none
            networks = _networks(client, NOWHERE)
            if networks.any_of is None:
                src |= networks.src
            else:
                conditions.append(networks)
        else:
            because = root.at("kind").src
            conditions.append(Condition(SOURCE_IP, tuple(Fact(Network(cidr), because) for cidr in self.options.cluster_networks)))
        for server, leaves in self._named(spec, here):
            self._servers.setdefault(server, []).append(
                Rule(tuple(conditions), (), 0, here.name, src | leaves, _granting(root, here), number)
            )

    def _behind(self, spec: Cursor, here: Ref) -> tuple[Ref, ...]:
        """The workloads of the mesh at the Servers that a ServerAuthorization names; of pods that the bundle does not show, what selects them."""
        found: set[Ref] = set()
        for server, _ in self._named(spec, here):
            if server in self._pods:
                pods = PodSet(here.namespace, Cursor.root(self.bound, self._pods[server]).at("spec").selector("podSelector").value)
                shown = self.ir.world.selected(pods)
                found |= {item.ref for item in shown if self.ir.world.meshed(item) is not False}
                if not shown and not pods.selector.everything:
                    found.add(Ref(here.namespace, str(pods.selector)))
        return tuple(sorted(found))

    def _named(self, spec: Cursor, here: Ref) -> list[tuple[Ref, Src]]:
        name = spec.at("server").text("name")
        if name is not None:
            return [(Ref(here.namespace, name.value), name.src)]
        selector = label_selector(spec.at("server"), "selector")
        if not spec.at("server", "selector"):
            return []
        wanted: Selector = selector.value
        asked = {key for key, _ in wanted.labels} | {item.key for item in wanted.expressions}
        return [
            (ref, sources(selector, *(labels[key].src for key in asked if key in labels)))
            for ref, labels in sorted(self._labels.items(), key=lambda item: item[0])
            if ref.namespace == here.namespace and wanted.accepts({key: str(item.value) for key, item in labels.items()})
        ]


def _who(rule: Rule) -> list[str]:
    """What a rule demands of callers, in a text that orders rules."""
    return [
        f"{part.attribute} {'any' if part.any_of is None else [str(fact.value) for fact in part.any_of]} {[str(fact.value) for fact in part.none_of]}"
        for part in rule.conditions
    ]


def _unnamed(root: Cursor) -> Src:
    """What says that the object is there at all, and where. Nothing refers to a policy by its name."""
    return root.at("kind").src | root.at("metadata", "namespace").src


def _granting(root: Cursor, here: Ref) -> Fact[Ref]:
    return Fact(here, root.at("metadata", "name").src, "identity.name")


def _names_clients(client: Cursor) -> bool:
    """Whether a ServerAuthorization says whom it admits: one that says only where they come from is ignored."""
    mesh = client.at("meshTLS")
    accounts = any(item.text("name") is not None for item in mesh.each("serviceAccounts"))
    open_to_all = client.at("unauthenticated").value is True or mesh.at("unauthenticatedTLS").value is True
    return open_to_all or accounts or bool(mesh.strings("identities"))


def _group(reference: Cursor) -> str:
    """The group that a reference names, in lower case as the webhook compares it."""
    said = reference.text("group")
    return said.value.lower() if said is not None else ""


def _networks(place: Cursor, base: Src) -> Condition:
    """Networks as a condition; no demand (with its leaves kept) where they are all addresses there are."""
    facts: list[Fact[Any]] = []
    for item in place.each("networks"):
        cidr = item.text("cidr")
        if cidr is None:
            continue
        try:
            network = Network(normal_cidr(cidr.value), tuple(sorted(normal_cidr(fact.value) for fact in item.strings("except"))))
        except ValueError:
            continue
        facts.append(Fact(network, item.src, cidr.feature))
    whole = {fact.value.cidr for fact in facts if not fact.value.excluded}
    if {"0.0.0.0/0", "::/0"} <= whole:
        return Condition(SOURCE_IP, None, (), base | frozenset(leaf for fact in facts for leaf in fact.src))
    return Condition(SOURCE_IP, tuple(facts), (), base)
