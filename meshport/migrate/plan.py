"""The cutover plan: a conversion as ordered, reversible steps, so that no step widens what it does not say, and each can be gone back on.

Which phases there are depends on the pair. Between two meshes: install beside, let both take plaintext, move namespace by namespace (or Service by Service),
enforce once the callers are there, strict again, sign off, clean up. From sidecars to ambient identities hold throughout. Where one mesh governs all the time
(newer resources of the same mesh, routes of the Gateway API) nothing moves. Onto a new cluster everything is there before the traffic is.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, cast

from meshport.dialects.base import dialect, governs
from meshport.errors import UsageError
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.migrate import order, words
from meshport.migrate.ambient import to_ambient
from meshport.migrate.audit import access, sides
from meshport.migrate.crossing import across
from meshport.migrate.drafting import Draft
from meshport.migrate.setting import Setting
from meshport.migrate.settled import in_place, new_cluster
from meshport.migrate.states import Cluster, Key, bare, could_stand, home, key
from meshport.migrate.windows import windows
from meshport.report.planned import Decision, Plan, PlannedMesh

if TYPE_CHECKING:
    from meshport.pipeline import Result

Obj = dict[str, Any]
STRATEGIES = ("namespace", "service", "cluster")


def plan(result: Result, strategy: str = "namespace") -> Plan:
    """The plan of a conversion. Raises UsageError for a strategy that there is none of."""
    from meshport import __version__

    if strategy not in STRATEGIES:
        raise UsageError(f"--strategy {strategy}: choose {', '.join(STRATEGIES)}")
    options = result.options
    before, after = sides(result)
    found = access(result, before, after)
    written = _written(result)
    setting = _setting(result, strategy, order.calls(found.edges, result.before.world), written)
    setting.rows = found.rows
    draft = _draft(result, setting, written)
    said: list[str] = []
    if not result.stopped:
        make = new_cluster if strategy == "cluster" else in_place if setting.calm else to_ambient if setting.ambient_within else across
        said = make(draft, setting)
        windows(draft, setting, found, before.access)
    return Plan(
        meshport_version=__version__,
        source=PlannedMesh(mesh=options.source, version=options.source_version, data_plane=_plane(result.before)),
        target=PlannedMesh(mesh=options.target, version=options.target_version, data_plane=options.data_plane),
        strategy=cast("Any", strategy),
        order=said,
        decisions=[
            Decision(code=finding.code, severity=finding.severity, message=finding.message, remedy=finding.remedy)
            for finding in result.findings
            if finding.severity == "error" and finding.suppressed is None
        ],
        findings=len(result.findings),
        widened=found.widened,
        undecided=found.undecided,
        steps=draft.steps,
        stopped=result.stopped,
    )


def _plane(ir: IR) -> str | None:
    features = {home.meshed.feature for home in ir.world.namespaces.values() if home.meshed is not None and home.meshed.value}
    return "ambient" if "membership.ambient" in features else None


def _setting(result: Result, strategy: str, calls: list[order.Call], written: dict[Key, Obj]) -> Setting:
    options = result.options
    ambient = options.target == "istio" and options.data_plane == "ambient"
    one_mesh = options.source == options.target
    within = one_mesh and ambient and _plane(result.before) != "ambient"
    calm = (one_mesh and not within) or not governs(dialect(options.target))
    homes = {home(mark) for mark in written}
    movers = [] if calm else _movers(result, homes)
    by_namespace, rest = _commands(result.install["commands"])
    names = homes | set(by_namespace)
    apart = {
        "",
        options.root_namespace if options.target == "istio" else "",
        words.SYSTEM.get(options.target, ""),
        words.SYSTEM.get(options.source, ""),
    }
    names -= apart
    return Setting(
        strategy=strategy,
        calm=calm,
        ambient_within=within,
        ambient=ambient,
        movers=movers,
        namespaces=sorted(names | {workload.ref.namespace for workload in movers}),
        calls=calls,
        commands=by_namespace,
        install_commands=rest,
    )


def _written(result: Result) -> dict[Key, Obj]:
    """The manifests as they are applied, but for those that are no object of the cluster: a dashboard's or a rule's file."""
    default = result.options.default_namespace
    objects = [bare(item.object, default) for item in result.manifests if not item.kind and could_stand(item.object)]
    return {key(obj, default): obj for obj in objects}


def _movers(result: Result, homes: set[str]) -> list[Workload]:
    """The workloads whose pods join or leave a mesh of their own accord: those that are enrolled on either side. Something is written for `homes`."""
    options = result.options
    after = {(one.ref, one.kind): one for one in result.after.world.workloads}
    chosen = set(options.namespaces)
    found = []
    for workload in result.before.world.workloads:
        other = after.get((workload.ref, workload.kind))
        sides = [(result.before, workload)] + ([(result.after, other)] if other is not None else [])
        if workload.host_network or not any(ir.enrols and ir.world.meshed(one) is not False for ir, one in sides):
            continue
        if chosen and workload.ref.namespace not in chosen:
            continue
        if options.select and workload.ref.namespace not in homes:
            continue
        found.append(workload)
    return sorted(found, key=lambda item: (item.ref, item.kind))


def _commands(listed: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The conversion's own commands: those that mark a namespace, by namespace, and the rest."""
    marks: dict[str, list[str]] = {}
    rest = []
    for command in listed:
        parts = shlex.split(command)
        if len(parts) > 3 and parts[0] == "kubectl" and parts[1] in ("label", "annotate") and parts[2] in ("namespace", "ns"):
            marks.setdefault(parts[3], []).append(command)
        else:
            rest.append(command)
    return marks, rest


def _draft(result: Result, setting: Setting, written: dict[Key, Obj]) -> Draft:
    default = result.options.default_namespace
    cluster = Cluster.of(result.known, default, result.refused, result.meant)
    return Draft(result, cluster, setting.movers, setting.calm, pool=written)
