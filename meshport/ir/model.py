"""The IR of one bundle: everything its configuration does, in no mesh's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshport.ir.authorization import Admission, Egress, Issuer, Policy
from meshport.ir.base import Fact, Ref, Selector
from meshport.ir.exposure import ClusterLink, EgressDefault, Machine, Outside, SharedService
from meshport.ir.install import Setting
from meshport.ir.proxies import NativeSidecar, ProxySetting
from meshport.ir.ratelimit import RateLimit
from meshport.ir.resilience import ServicePolicy
from meshport.ir.routing import ServiceRoutes
from meshport.ir.telemetry import AccessLog
from meshport.ir.transport import PortSetting, TransportRule, Uncaptured
from meshport.ir.world import Workload, World


@dataclass(frozen=True, slots=True)
class Admits:
    """The routes that may hang on a listener: `origin` is All, Same, or Selector for namespaces with labels; `kinds` None is what its protocol has."""

    origin: str
    selector: Selector = Selector()
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """The certificate that a listener asks of clients: `mode` is `required`, `optional` (a valid one, or none) or `unchecked` (any, or none).

    `authorities` are the objects that it goes by, with their kind; `narrower` what else has to hold of the certificate, in the source's words.
    """

    mode: Fact[str]
    authorities: tuple[tuple[str, Ref], ...] = ()
    narrower: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of a gateway with the hosts that it takes (`namespace/host` where the source limits whose routes may claim one).

    `tls` is the source's mode, `certificates` are names of Secrets, `redirect` whether plaintext is answered with a redirect to HTTPS; what else is said
    stands in `extras` by its path.
    """

    name: Fact[str] | None
    port: Fact[int]
    protocol: Fact[str]
    hosts: tuple[Fact[str], ...]
    tls: Fact[str] | None = None
    certificates: tuple[Fact[str], ...] = ()
    redirect: Fact[bool] | None = None
    extras: tuple[tuple[str, Fact[Any]], ...] = ()
    admits: Admits | None = None  # of a Gateway of the Gateway API
    secrets: tuple[tuple[str, Ref], ...] = ()  # the certificates as objects, with their kind
    check: ClientCheck | None = None
    home: str = ""  # the namespace of the ListenerSet that adds it, which needs the grants for its certificates


@dataclass(slots=True)
class Gateway:
    """An entry into the mesh. `implementation` is a GatewayClass, or the labels of the pods that serve it."""

    ref: Fact[Ref]
    kind: str
    document: int
    implementation: Fact[str]
    listeners: tuple[Listener, ...] = ()  # of a Gateway in a mesh's own words; one of the Gateway API stays as it is
    added: tuple[Listener, ...] = ()  # by ListenerSets, on which routes of their own hang

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the pods that serve it, where it names them by labels."""
        return dict(pair.split("=", 1) for pair in self.implementation.value.split(",") if "=" in pair)

    @property
    def waypoint(self) -> bool:
        """Whether it is a proxy inside Istio's mesh, and no way in that another class could take over."""
        return self.implementation.value.startswith("istio-waypoint")

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels serve it, of whatever namespace: those that a Gateway in a mesh's own words names by labels."""
        wanted = self.labels
        return bool(wanted) and not self.kind.startswith("gateway.networking") and wanted.items() <= labels.items()

    def pods(self, world: World) -> list[Workload]:
        """The workloads of the bundle that serve it."""
        return [pod for pod in world.workloads if self.selects(pod.labels)]


ABSENT = "the bundle does not have"
"""What is lacking of most references to nothing (MP014)."""


@dataclass(slots=True)
class Loss:
    """Something that a lift could not turn into the IR: a finding in the making. `facts` are what is lost; `workloads` whom that concerns, all of the
    document's namespace where none is named."""

    code: str
    facts: tuple[Fact[Any], ...]
    document: int
    values: dict[str, str] = field(default_factory=dict)
    workloads: tuple[Ref, ...] = ()
    at: int | None = None  # the leaf that is pointed at, where that is not the first
    deciding: bool = False  # whether an object that the bundle does not have would decide access


@dataclass(frozen=True, slots=True)
class ByLabel:
    """How a mesh that goes by labels sees peers: all of the trust domain `domain`, whichever of `domains` they were said to be of.

    `gateways`: for each account that the source's gateways run under, the identities it may have; who admits them all admits the entity `ingress`."""

    domain: str = "cluster.local"
    domains: frozenset[str | None] = frozenset((None, "cluster.local"))
    gateways: tuple[frozenset[Any], ...] = ()


@dataclass(slots=True)
class IR:
    mesh: str
    world: World
    raw_paths: bool = False  # whether paths are matched as sent, with dot segments unresolved
    enrols: bool = True  # whether pods take part one by one; False where the mesh governs every pod of the cluster
    by_label: ByLabel | None = None  # judge peers as a mesh sees them that goes by labels
    open_probes: bool = False  # whether declared HTTP probes pass every policy until a route hangs on the port
    transport: list[TransportRule] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    attached: list[tuple[frozenset[Ref], Policy]] = field(
        default_factory=list
    )  # policies with the gateways of the Gateway API that they hang on
    at_waypoints: dict[int, frozenset[Ref]] = field(
        default_factory=dict
    )  # the Services whose waypoint alone enforces a policy, by its document
    ways_out: set[Ref] = field(default_factory=set)  # gateways of a mesh that is left which stand where traffic leaves
    entrance: list[Policy] = field(default_factory=list)  # at the pods of gateways alone, which go with the mesh that is left
    admissions: list[Admission] = field(default_factory=list)
    egress: list[Egress] = field(default_factory=list)
    issuers: list[Issuer] = field(default_factory=list)  # whose tokens are checked, and at which pods
    redundant: list[Fact[str]] = field(default_factory=list)  # what adds nothing to the rest of its object, with the reason as the value
    deciding: list[Fact[str]] = field(
        default_factory=list
    )  # what adds nothing as it is, and would with another value, with the reason as the value
    idle: list[Fact[str]] = field(default_factory=list)  # what was read and decides nothing, with the reason as the value
    ports: list[PortSetting] = field(default_factory=list)
    uncaptured: list[Uncaptured] = field(default_factory=list)
    routes: list[ServiceRoutes] = field(default_factory=list)
    service_policies: list[ServicePolicy] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    emptied: list[Gateway] = field(
        default_factory=list
    )  # of the source, whose pods stay, and serve nothing once its Gateways have become others
    outside: list[Outside] = field(default_factory=list)
    egress_defaults: list[EgressDefault] = field(default_factory=list)
    shared: list[SharedService] = field(default_factory=list)
    links: list[ClusterLink] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    access_logs: list[AccessLog] = field(default_factory=list)
    rate_limits: list[RateLimit] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    unnamed: set[int] = field(default_factory=set)  # documents whose rules hold as if callers had no name, though some may show one
    proxies: list[ProxySetting] = field(default_factory=list)
    native_sidecars: list[NativeSidecar] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)  # of the installation
    beside: list[IR] = field(default_factory=list)  # what stays in force next to it (kept network policy): a request has to pass all
    evading: frozenset[Ref] = (
        frozenset()
    )  # workloads, and namespaces of such, that go past waypoints where others go through: access is what both ways give
    tunnelled: frozenset[Ref] = frozenset()  # workloads whose proxy takes encrypted connections whatever mode is said
    unproxied: frozenset[Ref] = frozenset()  # Services that clients in the mesh reach by proxies that read no HTTP
    retries_unasked: int | None = (
        None  # how often the mesh retries where nothing says so, as its configuration says; None for its own default
    )
    trust_domain: Fact[str] = field(default_factory=lambda: Fact("cluster.local"))

    def depends(self, setting: Setting) -> str:
        """What a setting decides that nobody knows the value of: "access", "encryption", or "" for nothing of either."""
        if setting.decides == "policies":
            return "access" if self.policies or self.transport or self.admissions else ""
        return setting.decides
