"""Proxies that start as native sidecars: an annotation of pods in each mesh, so that only its key differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_WORKLOADS, strip
from meshport.findings import Affected
from meshport.ir.base import Fact
from meshport.ir.proxies import NativeSidecar
from meshport.mapping.table import in_range

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

Keys = tuple[tuple[str, str], ...]
FEATURE = "membership.native-sidecar"
BY_DEFAULT = {"istio": "1.27", "linkerd": "2.20"}  # the release from which proxies start so by themselves


def lift(bound: Bound, ir: IR, keys: Keys, *, namespaces: bool) -> None:
    """What pods say, and namespaces where the mesh reads theirs. `keys` are (since, annotation), the newest first: of several the first counts."""
    places: list[tuple[int, tuple[str, ...]]] = [(one.document, ()) for one in ir.world.namespaces.values()] if namespaces else []
    places += [(workload.document, workload.template) for workload in ir.world.workloads]
    for number, place in places:
        notes = Cursor.root(bound, number).at(*place, "metadata", "annotations")
        found = [fact for _, key in keys if (fact := notes.text(key)) is not None]
        if found:
            ir.native_sidecars.append(NativeSidecar(found[0], number))
            ir.idle.extend(Fact("a newer key on the same pod counts", fact.src, fact.feature) for fact in found[1:])


def lower(ir: IR, out: Output, keys: Keys, options: Options) -> None:
    """The same, under the key that the release reads; and what is to be known of pods whose proxies start otherwise than they did."""
    said = {item.document: item.on for item in ir.native_sidecars}
    key = next((name for since, name in keys if in_range(out.target_version, since, None)), keys[-1][1])
    for workload in ir.world.workloads if said else ():
        home = ir.world.namespaces.get(workload.ref.namespace)
        on = said.get(workload.document) or (said.get(home.document) if home is not None else None)
        if on is None or ir.world.meshed(workload) is False:
            continue
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
        strip(out, obj, workload.document, (*workload.template, "metadata"), None, FEATURE)
        obj.set((*workload.template, "metadata", "annotations", key), on.value, on)
    if out.source != out.target and options.data_plane != "ambient" and not in_range(out.target_version, BY_DEFAULT[out.target], None):
        _jobs(ir, out, keys, set(said))
        _early(ir, out, said, options)
    for item in ir.native_sidecars:
        out.imply("stays as it is: no pod that it stands for has a proxy", item.on)


def _jobs(ir: IR, out: Output, keys: Keys, said: set[int]) -> None:
    """Jobs of a release whose proxies are ordinary containers, which run on and keep the job from ending: theirs starts as a native sidecar."""
    key = next((name for since, name in keys if in_range(out.target_version, since, None)), None)
    for workload in ir.world.workloads:
        home = ir.world.namespaces.get(workload.ref.namespace)
        settled = workload.document in said or (home is not None and home.document in said)
        if workload.kind not in ("Job", "CronJob") or settled or not ir.world.meshed(workload):
            continue
        if key is not None:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
            obj.set((*workload.template, "metadata", "annotations", key), "true", workload.src)
        out.finding(
            "MP237" if key is not None else "MP238", document=workload.document, feature=FEATURE, workload=f"{workload.kind} {workload.ref}",
            annotation=key or "", release=out.target_version,
        )  # fmt: skip


def _early(ir: IR, out: Output, said: Mapping[int, Fact[str]], options: Options) -> None:
    """Init containers that had the network of the pod to themselves, or a proxy that ran before them, and run before the target's has started."""
    ran_before = ir.mesh not in BY_DEFAULT or in_range(options.source_version, BY_DEFAULT[ir.mesh], None)
    for workload in ir.world.workloads:
        home = ir.world.namespaces.get(workload.ref.namespace)
        settled = workload.document in said or (home is not None and home.document in said)
        if not ran_before or settled or workload.kind in ("Job", "CronJob") or not ir.world.meshed(workload):
            continue
        pod: Any = out.bundle.documents[workload.document].value
        for step in (*workload.template, "spec", "initContainers"):
            pod = pod.get(step) if isinstance(pod, dict) else None
        names = [
            str(one.get("name"))
            for one in (pod if isinstance(pod, list) else ())
            if isinstance(one, dict) and one.get("restartPolicy") != "Always"
        ]
        if names:
            out.finding(
                "MP975", document=workload.document, feature=FEATURE, workload=f"{workload.kind} {workload.ref}", names=", ".join(names),
                release=out.target_version, affects=(Affected(workload.ref.namespace, workload.ref.name),),
            )  # fmt: skip
