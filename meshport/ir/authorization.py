"""Who may call what, as any mesh says it.

A policy closes something (a port, or every port of a workload) and allows requests through, or denies requests. Its rules are conjunctions of conditions
on attributes of the request; several rules are alternatives. The combination is the one that Istio, Linkerd and Cilium share once their own words are
taken off: a request is refused when a deny matches, admitted when a port is closed and an allow matches, and left to the port's default otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshport.ir.base import LAST, NOWHERE, Fact, PodSet, Ref, Selector, Src, sources

# Attributes of a request. A path is without its query; whether dot segments are resolved first is the mesh's way (`IR.raw_paths`).
IDENTITY = "source.identity"
SOURCE_IP = "source.ip"
REMOTE_IP = "source.remote-ip"
PORT = "destination.port"
METHOD = "request.method"
PATH = "request.path"
HOST = "request.host"
SNI = "connection.sni"
HEADER = "request.header:"  # and the header's name in lower case
QUERY = "request.query:"  # and the parameter's name
TOKEN = "request.token"  # a JWT principal, claim, audience or presenter; followed by ":" and which
DESTINATION_IP = "destination.ip"
OTHER = "other:"  # an attribute that no mesh but the source knows

HTTP_ATTRIBUTES = (METHOD, PATH, HOST, HEADER, QUERY, TOKEN)


def is_http(attribute: str) -> bool:
    """Whether an attribute exists only in HTTP requests."""
    return attribute.startswith(HTTP_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of strings by form: exact, prefix, suffix, any, regex, template, segments (a path by its elements), absent."""

    kind: str
    text: str = ""

    def __str__(self) -> str:
        return {"exact": self.text, "prefix": self.text + "*", "suffix": "*" + self.text, "any": "*"}.get(
            self.kind, f"{self.kind} {self.text}"
        )


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of `cidr` less those of `excluded`."""

    cidr: str
    excluded: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.cidr + (" except " + ", ".join(self.excluded) if self.excluded else "")


ACCOUNT_LABEL = "io.cilium.k8s.policy.serviceaccount"  # a service account as a label


@dataclass(frozen=True, slots=True)
class Labelled:
    """Peers by their labels: pods of `namespace` ("" for any of the cluster) that `selector` takes, whatever account they run under.

    What Cilium calls an identity. A lift keeps it only where no set of service accounts is exactly these pods, or where they are `plain`: in no mesh, so that
    they show no identity.
    """

    namespace: str
    selector: Selector
    plain: bool = False

    @property
    def account(self) -> str | None:
        """The service account that the pods run under, where the selector says it."""
        return dict(self.selector.labels).get(ACCOUNT_LABEL)

    def __str__(self) -> str:
        if self.selector.everything:
            return f"all pods of {self.namespace or 'every namespace'}"
        if self.account is None:
            return f"pods {self.namespace or '*'}/{self.selector}"
        own = Selector(tuple(pair for pair in self.selector.labels if pair[0] != ACCOUNT_LABEL), self.selector.expressions)
        return f"pods {self.namespace or '*'}/{'*' if own.everything else own} of service account {self.account}"


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """Peers that have no service account: world (outside every cluster), host, remote-node, kube-apiserver, ingress, health, init,
    unmanaged; `cluster` is all of those but the world, and every pod (docs.cilium.io, security/policy/layer3, entities)."""

    name: str

    def __str__(self) -> str:
        return f"entity {self.name}"


@dataclass(frozen=True, slots=True)
class Condition:
    """`attribute` is one of `any_of` (None: no such demand) and none of `none_of`.

    Values by attribute: identities for IDENTITY (values.identities, Labelled, Entity), Network for addresses, (low, high) pairs for PORT, or the name
    of a container port, which each workload resolves; Pattern for the rest.
    """

    attribute: str
    any_of: tuple[Fact[Any], ...] | None = None
    none_of: tuple[Fact[Any], ...] = ()
    src: Src = NOWHERE

    @property
    def sources(self) -> Src:
        return sources(self.src, *(self.any_of or ()), *self.none_of)


@dataclass(frozen=True, slots=True)
class Rule:
    """A conjunction. `unless` are conjunctions that take requests out again: better-ranked routes with policies of their own."""

    conditions: tuple[Condition, ...] = ()
    unless: tuple[tuple[Condition, ...], ...] = ()
    number: int = 0  # the rule of its policy that it came from
    name: str = ""
    src: Src = NOWHERE
    granted_by: Fact[Ref] | None = None  # the object that grants, where it is not the policy itself, with the leaf of its name
    document: int | None = None
    http: bool = False  # whether an alternative of the same source rule demands something of HTTP: as an allow it is void on other ports

    @property
    def sources(self) -> Src:
        return sources(self.src, *(condition.sources for condition in self.conditions))

    def condition(self, attribute: str) -> Condition | None:
        return next((item for item in self.conditions if item.attribute == attribute), None)

    @property
    def needs_http(self) -> bool:
        return any(is_http(item.attribute) for item in self.conditions)


OTHER_PROTOCOLS = ("UDP", "SCTP", "ICMP")
"""What network policy governs beside TCP, and no mesh does."""


def sole_grant(rules: Iterable[Rule]) -> Fact[str] | None:
    """The name of the object that grants what rules let through; None where several do, or none but the policies themselves."""
    found: dict[str, Src] = {}
    for rule in rules:
        if rule.granted_by is not None:
            name = rule.granted_by.value.name
            found[name] = found.get(name, NOWHERE) | rule.granted_by.src
    return Fact(*next(iter(found.items()))) if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Beyond:
    """What an entry of a policy says of other protocols than TCP: `words` for people, and the same as rules for each of `protocols`."""

    words: Fact[str]
    protocols: tuple[str, ...]  # of OTHER_PROTOCOLS
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """An allow or a deny. An allow closes `port` of its subject, or every port where `port` is None, and lets `rules` through."""

    ref: Fact[Ref]
    action: Fact[str]  # allow or deny
    subject: Fact[PodSet]
    rules: tuple[Rule, ...]
    document: int
    kind: str  # the kind of the source object, for messages
    port: Fact[int | str] | None = None  # a container port by number or name
    protocol: Fact[str] | None = None  # what the port is said to speak: unknown, http, http2, grpc, opaque, tls
    routed: bool = False  # whether routes hang on it, so that requests that none takes are answered 404
    hung: Src = NOWHERE  # the leaves that hang those routes on it
    fallback: Fact[str] | None = None  # what a closed port still admits by itself (Linkerd's accessPolicy): a default of `Admission`
    closing: bool = True  # whether an allow closes what it selects, or only adds to what others close (Cilium's enableDefaultDeny)
    closed_by: Src = NOWHERE  # the leaves that say whether it closes, where the object says so itself
    created: str = LAST  # when the object was made, as the API server writes it: the oldest of several that compete decides
    beyond: tuple[Beyond, ...] = ()  # what the object says of UDP, SCTP and ICMP, which only network policy governs

    @property
    def sources(self) -> Src:
        found = set(self.action.src | self.subject.src | self.closed_by)  # not the name: where it decides, it is named beside
        for part in (self.port, self.protocol, self.fallback, *(item.words for item in self.beyond)):
            if part is not None:
                found |= part.src
        for rule in self.rules:
            found |= rule.sources
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Egress:
    """What pods may reach: rules that only network policy enforces, kept as they were written. `section` is egress or egressDeny."""

    ref: Fact[Ref]
    subject: Fact[PodSet]
    rules: Fact[Any]
    section: str
    document: int
    outside: bool = False  # whether what it says of the world outside is said by defaults and destinations


ADMISSIONS = ("all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated", "deny", "audit")


@dataclass(frozen=True, slots=True)
class Admission:
    """What a port without a policy admits, in one of `ADMISSIONS`, for pods of `subject`; `level` mesh, namespace or workload."""

    subject: PodSet
    level: str
    value: Fact[str]
    document: int | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """One whose tokens are checked at pods: where a request bears one that does not hold, it is refused. `at_waypoint`: before it reaches them."""

    pods: PodSet
    name: str
    at_waypoint: bool = False
