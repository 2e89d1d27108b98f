"""What lies beyond the cluster: destinations outside, what becomes of traffic to the rest, Services that clusters share, links between clusters.

A destination that bears the name of a Kubernetes Service is no destination of its own (istio.io, reference of ServiceEntry); who may *see* a destination counts
only where unknown destinations are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshport.ir.base import NOWHERE, Fact, Ref, Selector, Src
from meshport.ir.resilience import ServicePolicy

EVERY_ADDRESS = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class OutsidePort:
    """A port of a destination outside. `protocol` is http, grpc, tls, tcp or udp; what is neither HTTP nor TLS cannot be told by name."""

    number: Fact[int]
    protocol: Fact[str]
    target: Fact[int] | None = None  # the port of the endpoints, where another
    src: Src = NOWHERE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that a mesh sends to instead of the one that the client resolved. `rest` are weight, labels, ports, account, by feature."""

    address: Fact[str] | None
    network: Fact[str] | None = None
    locality: Fact[str] | None = None
    rest: tuple[Fact[Any], ...] = ()
    src: Src = NOWHERE


@dataclass(frozen=True, slots=True)
class Outside:
    """A destination that is not a Service of the cluster, by names or by addresses (CIDRs).

    `seen_by` are the namespaces whose clients know it, None for all. `services` are the Kubernetes Services whose names it bears: for those it says nothing
    about where traffic goes. `problem` is the code of what keeps it from being said elsewhere, and `reason` what that is.
    """

    ref: Fact[Ref]
    kind: str
    document: int
    hosts: tuple[Fact[str], ...]
    addresses: tuple[Fact[str], ...] = ()
    ports: tuple[OutsidePort, ...] = ()
    inside: Fact[bool] | None = None  # whether it counts as part of the mesh
    resolution: Fact[str] | None = None
    endpoints: tuple[Endpoint, ...] = ()
    seen_by: tuple[str, ...] | None = None
    exports: tuple[Fact[str], ...] = ()
    extras: tuple[Fact[Any], ...] = ()  # what only the source knows: names in certificates, selectors of machines
    services: tuple[Fact[Ref], ...] = ()
    inert: Src = NOWHERE  # leaves that decide nothing: names of ports
    problem: str = ""
    reason: str = ""
    conditions: tuple[Fact[Any], ...] = ()  # what a request has to be beside (paths, methods), and what is done to it

    @property
    def subject_name(self) -> str:
        return f"{self.kind} {self.ref.value}"

    def shown_to(self, namespace: str) -> bool:
        """Whether clients of a namespace know it."""
        return self.seen_by is None or namespace in self.seen_by


LEFT_ALONE = frozenset({"the cluster", "names", "UDP", "SCTP", "ICMPv4", "ICMPv6"})
"""What passes where a mesh refuses what leaves: connections within the cluster, the names that are looked up there, echo requests, and protocols beside TCP."""


@dataclass(frozen=True, slots=True)
class EgressDefault:
    """What becomes of connections that leave the mesh for a destination which nothing names.

    `namespace` "" is every namespace without one of its own. `networks` are CIDRs that it is limited to, with exceptions; () for all that is not the
    cluster's. `visible` are the hosts that the source's proxies are told about (`namespace/host`), None for all.
    """

    ref: Fact[Ref]
    kind: str
    document: int
    namespace: str
    selector: Fact[Selector]
    refuses: Fact[bool]
    networks: tuple[tuple[Fact[str], tuple[Fact[str], ...]], ...] = ()
    visible: tuple[Fact[str], ...] | None = None
    silenced: str = ""  # why the source mesh does not act on it
    src: Src = NOWHERE
    place: Src = NOWHERE  # the leaves that say which namespace it is for
    spares: frozenset[Ref] = frozenset()  # the workloads, and the namespaces (without a name), whose proxies do not read it
    withheld: frozenset[str] = frozenset()  # what it refuses besides, which no mesh holds back: see `LEFT_ALONE`

    @property
    def said(self) -> bool:
        """Whether the object speaks of what leaves at all."""
        return self.refuses.value or bool(self.refuses.src)

    @property
    def subject_name(self) -> str:
        return f"{self.kind} {self.ref.value}"


@dataclass(frozen=True, slots=True)
class SharedService:
    """A Service that other clusters may use. `mode` is gateway (by way of one), flat (pod to pod) or merged (one name over all clusters).

    `prefers` is local or remote where one cluster's endpoints go first.
    """

    service: Fact[Ref]
    mode: Fact[str]
    document: int
    prefers: Fact[str] | None = None
    because: str = ""  # the object that says so, where the Service itself does not
    offered: bool = True  # whether this cluster's endpoints are offered to the others


@dataclass(frozen=True, slots=True)
class ClusterLink:
    """A link to another cluster, with everything that it is made of."""

    ref: Fact[Ref]
    kind: str
    cluster: Fact[str]
    document: int
    parts: tuple[Fact[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A workload outside the cluster that the mesh knows as a member.

    `parts` are all facts of its object. `account` is the service account whose identity it bears; what only the source has stands in `rest`. One without
    an address is a pattern for machines that register themselves.
    """

    ref: Fact[Ref]
    kind: str
    document: int
    address: Fact[str] | None
    parts: tuple[Fact[Any], ...] = ()
    ports: tuple[tuple[str, Fact[int]], ...] = ()
    labels: tuple[tuple[str, Fact[str]], ...] = ()
    account: Fact[str] | None = None
    rest: tuple[Fact[Any], ...] = ()

    @property
    def subject(self) -> str:
        return f"machine {self.ref.value}"


@dataclass(frozen=True, slots=True)
class Locality:
    """What a policy says about near and far endpoints. `failover` are (from, to) regions, in words where there is no pair."""

    enabled: Fact[bool] | None
    failover: tuple[Fact[str], ...]
    distribute: tuple[Fact[str], ...]
    priority: tuple[Fact[str], ...]
    paths: tuple[str, ...]  # of the policy's extras

    @property
    def facts(self) -> tuple[Fact[Any], ...]:
        return (*((self.enabled,) if self.enabled is not None else ()), *self.failover, *self.distribute, *self.priority)


LOCALITY = "loadBalancer.localityLbSetting"


def locality_of(policy: ServicePolicy) -> Locality | None:
    """The locality settings of a policy; None where it has none."""
    found = [(path.removeprefix(LOCALITY).lstrip("."), path, fact) for path, fact in policy.extras if path.startswith(LOCALITY)]
    if not found:
        return None
    enabled = next((fact for name, _, fact in found if name == "enabled"), None)
    groups: dict[str, dict[str, list[Fact[Any]]]] = {"failover[": {}, "distribute[": {}, "failoverPriority[": {}}
    for name, _, fact in found:
        for kind, entries in groups.items():
            if name.startswith(kind):
                entries.setdefault(name.partition("]")[0], []).append(fact)

    def said(kind: str, between: str) -> tuple[Fact[str], ...]:
        return tuple(
            Fact(between.join(str(fact.value) for fact in facts), frozenset().union(*(fact.src for fact in facts)), facts[0].feature)
            for facts in groups[kind].values()
        )

    return Locality(
        enabled, said("failover[", " to "), said("distribute[", ", "), said("failoverPriority[", ", "), tuple(path for _, path, _ in found)
    )


def inert(policy: ServicePolicy) -> tuple[Fact[Any], ...]:
    """The locality settings that decide nothing: all where it is switched off; without a breaker all but the distribution, which needs none."""
    locality = locality_of(policy)
    if locality is None:
        return ()
    if locality.enabled is not None and locality.enabled.value is False:
        return locality.facts
    if policy.breaker is not None:
        return ()
    return tuple(
        fact for fact in locality.facts if fact not in locality.distribute and (fact is not locality.enabled or not locality.distribute)
    )
