"""What the proxy of each workload is told: by the pod itself, and by its namespace where the pod says nothing."""

from __future__ import annotations

from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.ir.proxies import OTHER
from meshport.ir.world import Workload


def settings(ir: IR) -> list[tuple[Workload, dict[str, Fact[str]]]]:
    """The workloads that have a proxy, each with its settings by `ProxySetting.what`; those without any are left out."""
    said: dict[int, dict[str, Fact[str]]] = {}
    for item in ir.proxies:
        if item.what != OTHER:
            said.setdefault(item.document, {})[item.what] = item.value
    found = []
    for workload in ir.world.workloads if said else ():
        home = ir.world.namespaces.get(workload.ref.namespace)
        own = {**said.get(home.document if home is not None else -1, {}), **said.get(workload.document, {})}
        if own and ir.world.meshed(workload) is not False:
            found.append((workload, own))
    return found
