"""Where Prometheus scrapes a pod, as its annotations say (prometheus.io/scrape, port, path)."""

from __future__ import annotations

from meshport.ir.base import Src
from meshport.ir.world import Workload
from meshport.values.ports import is_number

_PREFIX = "prometheus.io/"


def scrapes(workload: Workload, port: int) -> bool:
    """Whether the application's metrics are asked for on this port: the one stated, else the first that is declared."""
    notes = workload.annotations
    if notes.get(_PREFIX + "scrape") != "true":
        return False
    stated = notes.get(_PREFIX + "port")
    first = next((item.number for item in workload.ports if item.protocol == "TCP"), None)
    return (int(stated) if stated and is_number(stated) else first) == port


def scraped_at(workload: Workload) -> tuple[str, Src]:
    """The path that is asked for, and the leaves that ask."""
    src = frozenset(leaf for key, leaf in workload.annotation_src.items() if key.startswith(_PREFIX))
    return workload.annotations.get(_PREFIX + "path") or "/metrics", src
