"""What the proxies of a mesh get from the node that they run on."""

from __future__ import annotations

from dataclasses import dataclass

from meshport.ir.base import Fact


@dataclass(frozen=True, slots=True)
class NativeSidecar:
    """Whether the proxy of a workload's pods, or of a namespace's, starts as a native sidecar: before the containers, and without keeping a Job from its end."""

    on: Fact[str]
    document: int


@dataclass(frozen=True, slots=True)
class ProxySetting:
    """What the proxy in each pod of a workload is told, or in each pod of a namespace that says nothing else.

    `cpu-request`, `cpu-limit`, `memory-request` and `memory-limit` are Kubernetes quantities; `await` says whether the containers wait for the proxy
    (`enabled`, `disabled`), `drain` how long a proxy that has to stop waits for its connections to end. `OTHER` is what no other mesh has a word for.
    """

    what: str
    value: Fact[str]
    document: int  # the workload's or the namespace's


OTHER = "other"
