"""How Linkerd says access logs: an annotation of a Namespace or of pods, read at pod creation; both directions.

All requests that the proxy takes are logged or none, to its standard output, in one of two forms. https://linkerd.io/2-edge/features/access-logging/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_NAMESPACES, STAGE_WORKLOADS
from meshport.effective.telemetry import logging
from meshport.findings import Affected
from meshport.ir.base import Fact, PodSet
from meshport.ir.telemetry import AccessLog

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

KEY = "config.linkerd.io/access-log"
FORMS = ("apache", "json")


def lift(bound: Bound, ir: IR) -> None:
    """The annotations of namespaces and pods."""
    for namespace in ir.world.namespaces.values():
        said = Cursor.root(bound, namespace.document).at("metadata", "annotations").text(KEY)
        if said is not None:
            ir.access_logs.append(_log(said, PodSet(namespace.name), "namespace", namespace.document))
    for workload in ir.world.workloads:
        said = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations").text(KEY)
        if said is not None:
            pods = workload.pods
            ir.access_logs.append(_log(said, pods, "workload", workload.document))


def _log(said: Fact[str], pods: PodSet, level: str, document: int) -> AccessLog:
    return AccessLog(Fact(pods), Fact(said.value in FORMS, said.src), level, document, said)


def lower(ir: IR, out: Output) -> None:
    """The annotation on namespaces whose known pods all log, else on the pods that do."""
    found = logging(ir)
    whole: set[str] = set()
    for name, home in sorted(ir.world.namespaces.items()):
        said = next((item for item in ir.access_logs if item.level != "workload" and item.subject.value.contains(name, {})), None)
        members = [workload for workload in ir.world.of_namespace(name) if ir.world.meshed(workload) is not False]
        chosen = {id(workload) for workload, _ in found}
        if said is None or not said.on.value or not home.meshed or not home.meshed.value:
            continue
        if all(id(workload) in chosen for workload in members):
            whole.add(name)
            obj = out.change(home.document, group="", rank=STAGE_NAMESPACES)
            obj.set(("metadata", "annotations", KEY), "apache", said.on, said.subject)
    for workload, item in found:
        if workload.ref.namespace not in whole or item.level == "workload":
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
            silent = [other for other in ir.access_logs if not other.on.value and other.subject.value.namespace == workload.ref.namespace]
            because = [fact for other in silent if item.level != "workload" for fact in (other.on, other.subject)]
            obj.set((*workload.template, "metadata", "annotations", KEY), "apache", item.on, item.subject, *because)
    for item in ir.access_logs:
        affects = (Affected(item.subject.value.namespace or None),)
        if not item.on.value:
            says = out.decide if _governed(ir, item.subject.value) else out.ignore
            says("no log is the default", item.on)
            out.ignore("no log is the default", item.subject, *item.beside)
            continue
        if item.level == "mesh":
            out.finding(
                "MP855", item.on, item.subject, document=item.document, disposition=None if found else "manual", affects=affects,
                feature="access-log.provider",
            )  # fmt: skip
        for fact in item.beside:
            if fact.feature == "access-log.provider" and fact.value == "envoy":
                out.imply("the log goes to the standard output of the proxy, as before", fact)
                continue
            out.lost(fact, document=item.document, affects=affects)
        out.ignore("no pod that it stands for is in the mesh", item.on, item.subject)


def _governed(ir: IR, pods: PodSet) -> bool:
    """Whether the input shows a namespace or a pod of the mesh among these."""
    homes = (name for name, home in ir.world.namespaces.items() if home.meshed and home.meshed.value)
    return any(pods.contains(name, {}) for name in homes) or any(ir.world.meshed(one) is not False for one in ir.world.selected(pods))
