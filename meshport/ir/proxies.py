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
class ProxyAmount:
    """A Kubernetes quantity that the proxy in each pod of a workload gets, or in each pod of a namespace that says no other."""

    what: str  # cpu-request, cpu-limit, memory-request, memory-limit
    amount: Fact[str]
    document: int  # the workload's or the namespace's
