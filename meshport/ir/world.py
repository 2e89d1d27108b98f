"""The cluster that policies and routes talk about: namespaces, workloads, Services, identities, mesh membership.

What is not in the bundle is unknown, never assumed absent: callers ask `World.selected` and get an empty answer, which is itself a reason for a finding.
Kubernetes fixes the meaning: Service target ports are container ports by number or by name; a pod's service account is `default` where none is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Requirement, Selector, Src


@dataclass(slots=True, eq=False)
class ContainerPort:
    number: int
    name: str
    protocol: str  # TCP, UDP or SCTP
    src: Src = NOWHERE
    number_src: Src = NOWHERE  # what makes it a port of this number and protocol, whatever its name


@dataclass(slots=True, eq=False)
class Probe:
    """A probe of the kubelet. `kind` is http, grpc, tcp or exec; `port` is 0 where it cannot be resolved; `path` has no query."""

    kind: str
    port: int
    path: str
    src: Src = NOWHERE


@dataclass(frozen=True, slots=True)
class Scrape:
    """Where Prometheus asks a pod for metrics. Those that annotations ask for reach Istio's own port, past its policies; those of a monitor the application's."""

    port: int
    path: str
    by_monitor: bool
    src: Src = NOWHERE


@dataclass(slots=True, eq=False)
class Namespace:
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    document: int  # index in the bundle
    src: Src = NOWHERE
    meshed: Fact[bool] | None = None  # as its own labels and annotations say; None says nothing
    demanding: Fact[tuple[tuple[int, int], ...]] | None = None  # ports of its pods where a default asks for an identity
    bypassed: Fact[tuple[tuple[int, int], ...]] | None = None  # inbound ports of its pods that their proxies do not see


@dataclass(slots=True, eq=False)
class Workload:
    """A controller of pods, or a pod. Labels and annotations are those of its pod template."""

    ref: Ref
    kind: str
    labels: dict[str, str]
    annotations: dict[str, str]
    account: Fact[str]
    ports: list[ContainerPort]
    probes: list[Probe]
    document: int
    template: tuple[str, ...]  # where the pod template stands in the object; () for a Pod
    host_network: bool = False
    label_src: dict[str, int] = field(default_factory=dict)
    annotation_src: dict[str, int] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()  # keys of labels that a mesh writes or reads: they come and go with it
    src: Src = NOWHERE
    scrapes: list[Scrape] = field(default_factory=list)
    proxy: Fact[str] | None = None  # the container of a mesh's proxy that stands in the object itself, by its name
    alone: bool = False  # whether a mesh's proxy is all that there is in its pods: a gateway
    claimed: Selector | None = None  # the pods that its controller counts as its own; None where it does not find them by labels
    meshed: Fact[bool] | None = None  # the pod template's own word; None: the namespace decides
    bypassed: Fact[tuple[tuple[int, int], ...]] | None = None  # inbound ports that the proxy does not see, as ranges

    demanding: Fact[tuple[tuple[int, int], ...]] | None = None  # ports whose default is raised to "with an identity"
    judged: dict[int, Src] = field(default_factory=dict)  # ports whose requests rules judge, whatever Services say, by them

    @property
    def own_labels(self) -> dict[str, str]:
        """The labels to tell its pods by, in whatever mesh they are."""
        return {key: value for key, value in self.labels.items() if key not in self.marks}

    @property
    def pods(self) -> PodSet:
        """Its pods, by those labels."""
        return PodSet(self.ref.namespace, Selector.of(self.own_labels))

    @property
    def counted(self) -> Selector:
        """What its controller counts its pods by; those labels where it does not find them by any."""
        return self.claimed or Selector.of(self.own_labels)

    def demands(self, port: int | None) -> bool:
        """Whether the default of a port asks for an identity although the pod's does not."""
        return port is not None and self.demanding is not None and any(low <= port <= high for low, high in self.demanding.value)

    def bypasses(self, port: int | None) -> bool:
        """Whether traffic to a port goes past the proxy, so that neither policy nor mTLS holds for it."""
        return port is not None and self.bypassed is not None and any(low <= port <= high for low, high in self.bypassed.value)

    def port_named(self, name: str) -> ContainerPort | None:
        return next((port for port in self.ports if port.name == name), None)

    def scraped(self, port: int) -> Scrape | None:
        """What Prometheus asks for on a port; annotations come before monitors."""
        return next((item for item in self.scrapes if item.port == port), None)

    def labels_src(self, keys: Iterable[str]) -> Src:
        return frozenset(self.label_src[key] for key in keys if key in self.label_src)


@dataclass(slots=True, eq=False)
class ServicePort:
    number: int
    name: str
    target: int | str
    protocol: str
    app_protocol: str
    src: Src = NOWHERE
    position: int = 0  # in spec.ports
    target_src: Src = NOWHERE  # what decides the container port
    spoken_src: Src = NOWHERE  # what declares the protocol
    number_src: Src = NOWHERE


@dataclass(slots=True, eq=False)
class Service:
    ref: Ref
    selector: dict[str, str] | None  # None: no selector
    ports: list[ServicePort]
    headless: bool
    external_name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    document: int
    src: Src = NOWHERE
    opaque: tuple[tuple[int, int], ...] = ()  # ports that clients of the source mesh treat as bytes, whatever passes
    endpoints: tuple[
        tuple[str, Fact[Any]], ...
    ] = ()  # members of the spec that say which endpoints clients are given, where it is not all that are ready

    mirror: Fact[str] | None = None  # what says that a controller makes it of a Service of another cluster
    pods_src: Src = NOWHERE  # of `src`, the leaves that say which pods stand behind it, whatever it is called

    @property
    def given(self) -> dict[str, Any]:
        """Those members as plain values."""
        return {key: fact.value for key, fact in self.endpoints}

    @property
    def node_local(self) -> Fact[Any] | None:
        """What keeps requests on the node of their caller; None where nothing does."""
        return next((fact for key, fact in self.endpoints if key == "internalTrafficPolicy"), None)

    @property
    def pods(self) -> PodSet | None:
        return PodSet(self.ref.namespace, Selector.of(self.selector)) if self.selector else None

    def is_opaque(self, port: int) -> bool:
        """Whether no rule for requests acts on a port."""
        return any(low <= port <= high for low, high in self.opaque)

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)


APART = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces whose pods neither Istio's injector (its IgnoredNamespaces) nor Linkerd's webhook (its namespaceSelector) gives a proxy."""


@dataclass(slots=True, eq=False)
class World:
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    workloads: list[Workload] = field(default_factory=list)
    services: dict[Ref, Service] = field(default_factory=dict)
    accounts: dict[Ref, Src] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)  # leaves of documents of no mesh that were read
    grants: dict[str, list[Any]] = field(
        default_factory=dict
    )  # what the ReferenceGrants of a namespace say; {} for one that no cluster takes
    apart: frozenset[str] = APART  # namespaces of the cluster's own components, which no mesh takes in
    opaque: Fact[tuple[tuple[int, int], ...]] | None = (
        None  # Linkerd's opaque ports where nobody says others; None for those of a plain installation
    )
    _by_namespace: dict[str, list[Workload]] | None = None
    _by_label: dict[tuple[str, str, str], list[Workload]] | None = None
    _accounts: tuple[int, dict[Ref, list[Workload]]] | None = None
    _services_of: dict[int, list[Service]] | None = None

    def of_namespace(self, namespace: str) -> list[Workload]:
        return self._homes().get(namespace, [])

    def homes(self) -> Collection[str]:
        """The namespaces that workloads of the bundle are in."""
        return self._homes().keys()

    def _homes(self) -> dict[str, list[Workload]]:
        if self._by_namespace is None:
            self._by_namespace = {}
            for workload in self.workloads:
                self._by_namespace.setdefault(workload.ref.namespace, []).append(workload)
        return self._by_namespace

    def selected(self, pods: PodSet) -> list[Workload]:
        """The known workloads whose pods belong to the set."""
        if pods.selector.labels:
            among = min((self._labelled(pods.namespace, *pair) for pair in pods.selector.labels), key=len)
        else:
            among = self.workloads if not pods.namespace else self.of_namespace(pods.namespace)
        return [workload for workload in among if pods.selector.accepts(workload.labels)]

    def shows(self, pods: PodSet) -> bool:
        """Whether all pods of a set in one namespace are known: a controller of the bundle counts them as its own, and no other's pods may have such labels
        (kubernetes.io/docs/concepts/workloads/controllers/deployment, selector). Pods by other labels may be there and not be shown."""
        values = [[(need.key, value) for value in need.values] for need in pods.selector.expressions if need.operator == "In"]
        asked = set(pods.selector.expressions)
        for chosen in product(*values):
            labels = {**dict(chosen), **dict(pods.selector.labels)}
            if not any(_claims(workload, labels, asked) for workload in self.of_namespace(pods.namespace)):
                return False
        return True

    def _labelled(self, namespace: str, key: str, value: str) -> list[Workload]:
        """The workloads with a label, in a namespace or, where it is "", in all."""
        if self._by_label is None:
            self._by_label = {}
            for workload in self.workloads:
                for pair in workload.labels.items():
                    for place in (workload.ref.namespace, ""):
                        self._by_label.setdefault((place, *pair), []).append(workload)
        return self._by_label.get((namespace, key, value), [])

    def services_of(self, workload: Workload) -> list[Service]:
        """The Services whose selector takes this workload's pods, by name; it may be none of the bundle's."""
        if self._services_of is None:
            self._services_of = {id(one): [] for one in self.workloads}
            for service in sorted(self.services.values(), key=lambda item: item.ref):
                for one in self.selected(service.pods) if service.pods is not None else ():
                    if one.ref.namespace == service.ref.namespace:
                        self._services_of[id(one)].append(service)
        known = self._services_of.get(id(workload))
        return known if known is not None else self._before(workload)

    def _before(self, workload: Workload) -> list[Service]:
        found = [
            one for one in self.services.values() if one.pods is not None and one.pods.contains(workload.ref.namespace, workload.labels)
        ]
        return sorted(found, key=lambda item: item.ref)

    def served(self, ref: Ref) -> bool:
        """Whether a workload of the bundle stands behind a Service."""
        service = self.services.get(ref)
        return service is not None and any(service in self.services_of(item) for item in self.of_namespace(ref.namespace))

    def target_number(self, workload: Workload, port: ServicePort) -> int | None:
        """The container port that a Service port reaches in this workload; None where its name is unknown there."""
        if isinstance(port.target, int):
            return port.target
        found = workload.port_named(port.target)
        return found.number if found else None

    def meshed(self, workload: Workload) -> bool | None:
        """Whether the pods are in the source mesh; None where the bundle does not say."""
        if workload.host_network:
            return False
        if (said := self.said_of(workload)) is not None:
            return said.value
        return None if workload.ref.namespace not in self.namespaces and workload.ref.namespace not in self.apart else False

    def govern_all(self) -> None:
        """Count the pods of the cluster's own components among those that are governed: of a mesh that is the cluster's network they are."""
        self.apart = frozenset()
        for name, namespace in self.namespaces.items():
            if namespace.meshed is None and name in self.homes():
                namespace.meshed = Fact(True, namespace.src, "membership.inject")

    def said_of(self, workload: Workload) -> Fact[bool] | None:
        """What the labels and annotations of the pods, or else of their namespace, say of being in the mesh."""
        namespace = self.namespaces.get(workload.ref.namespace)
        return workload.meshed if workload.meshed is not None or namespace is None else namespace.meshed

    def identities(self) -> Iterator[tuple[Ref, bool | None]]:
        """The service accounts that workloads of the bundle run under, and whether they are in the mesh."""
        seen: dict[Ref, bool | None] = {}
        for workload in self.workloads:
            ref = Ref(workload.ref.namespace, workload.account.value)
            seen[ref] = seen.get(ref) or self.meshed(workload)
        yield from sorted(seen.items(), key=lambda item: item[0])

    def running(self) -> list[Ref]:
        """The service accounts that workloads of the bundle run under, by name."""
        return list(self._run())

    def runs(self, account: Ref) -> bool:
        """Whether a workload of the bundle runs under a service account."""
        return account in self._run()

    def under(self, account: Ref) -> list[Workload]:
        """The workloads of the bundle that run under a service account."""
        return self._run().get(account, [])

    def _run(self) -> dict[Ref, list[Workload]]:
        if self._accounts is None or self._accounts[0] != len(self.workloads):
            found: dict[Ref, list[Workload]] = {}
            for workload in self.workloads:
                found.setdefault(Ref(workload.ref.namespace, workload.account.value), []).append(workload)
            self._accounts = len(self.workloads), dict(sorted(found.items(), key=lambda item: item[0]))
        return self._accounts[1]


def _claims(workload: Workload, labels: Mapping[str, str], asked: Collection[Requirement]) -> bool:
    """Whether a controller counts every pod as its own that has these labels and meets these requirements."""
    claimed = workload.claimed
    return (
        claimed is not None
        and all(labels.get(key) == value for key, value in claimed.labels)
        and all(item in asked or (item.key in labels and item.accepts(labels)) for item in claimed.expressions)
    )


def telling_labels(workloads: Iterable[Workload], keys: Iterable[str]) -> Src:
    """The leaves of labels with values that a single one of the workloads has: a value that several have is there without any one of them."""
    found: dict[tuple[str, str], list[int]] = {}
    listed = list(keys)
    for workload in workloads:
        for key in listed:
            if key in workload.label_src:
                found.setdefault((key, workload.labels[key]), []).append(workload.label_src[key])
    return frozenset(leaves[0] for leaves in found.values() if len(leaves) == 1)


NO_WORLD = World()
