"""Which pods write an access log."""

from __future__ import annotations

from meshport.ir.model import IR
from meshport.ir.telemetry import AccessLog
from meshport.ir.world import Workload

LEVELS = ("workload", "namespace", "mesh")


def access_log(ir: IR, workload: Workload) -> AccessLog | None:
    """What decides for a workload; None where nothing speaks of its log, or where it has no proxy."""
    if not ir.access_logs or ir.world.meshed(workload) is False:
        return None
    for level in LEVELS:
        for item in ir.access_logs:
            if item.level == level and item.subject.value.contains(workload.ref.namespace, workload.labels):
                return item
    return None


def logging(ir: IR) -> list[tuple[Workload, AccessLog]]:
    """The known workloads that write one."""
    found = [(workload, access_log(ir, workload)) for workload in ir.world.workloads]
    return [(workload, item) for workload, item in found if item is not None and item.on.value]
