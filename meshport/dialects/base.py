"""What a dialect is, and where dialects are found.

A dialect reads its documents into the IR (`lift`) and says an IR in its own words (`lower`). Built-in ones are imported when they are first used; another
package adds one through the entry-point group `meshport.dialects`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from meshport.errors import UsageError

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

BUILT_IN = {
    "istio": "meshport.dialects.istio",
    "linkerd": "meshport.dialects.linkerd",
    "smi": "meshport.dialects.smi",
    "cilium": "meshport.dialects.cilium",
    "gateway-api": "meshport.dialects.gateway_api",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of one conversion, checked. Names are the contract's."""

    source: str
    target: str
    source_version: str
    target_version: str
    on_loss: str = "stricter"
    data_plane: str | None = None
    routes: str | None = None
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()  # domains whose identities the source takes for its own
    cluster_domain: str = "cluster.local"
    root_namespace: str = "istio-system"
    control_plane_namespace: str = "linkerd"
    cluster_networks: tuple[str, ...] = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
    default_namespace: str = "default"
    gateway_class: str | None = None
    gateway_identity: str | None = None
    probe_networks: tuple[str, ...] = ()
    allow_scrape_from: tuple[str, ...] = ()
    pod_cidr: str | None = None
    subsets: bool = False
    preserve_default_retries: bool = False
    keep_network_policy: bool | None = None
    namespaces: tuple[str, ...] = ()
    select: tuple[str, ...] = field(default=())
    group_by: str = "service"
    latency: str | None = None  # None: dashboards in the target's unit, all else in the source's


class Dialect(Protocol):
    name: str
    reads: tuple[str, ...]  # the dialects whose groups it reads

    def lift(self, bound: Bound, options: Options) -> IR:
        """What the documents do."""

    def lower(self, ir: IR, out: Output, options: Options) -> None:
        """The same, written into `out` in this dialect's words."""


def governs(one: Dialect) -> bool:
    """Whether a dialect decides who may call; one that does not (the Gateway API) leaves that to the mesh beside it."""
    return getattr(one, "governs", True)


def dialect(name: str) -> Dialect:
    """The dialect of this name. Raises UsageError where there is none."""
    module = BUILT_IN.get(name)
    if module is not None:
        return cast("Dialect", import_module(module).DIALECT)
    from importlib.metadata import entry_points

    for entry in entry_points(group="meshport.dialects"):
        if entry.name == name:
            return cast("Dialect", entry.load())
    raise UsageError(f"no dialect {name!r}; there are {', '.join(sorted(BUILT_IN))}")


@runtime_checkable
class Keeping(Protocol):
    """A dialect whose policies can stay in force beside another mesh."""

    def keep(self, bound: Bound, ir: IR, out: Output, options: Options) -> IR:
        """Keep them in `out`; what the other mesh still has to say."""

    def apart(self, bound: Bound, ir: IR, out: Output, options: Options) -> IR:
        """Where they are replaced, let those stay in force that are for pods outside the other mesh alone; what that mesh still has to say."""

    def in_force(self, ir: IR, options: Options) -> IR:
        """What is kept, lifted again, as a request in the other mesh meets it."""
