"""From one mesh to another: phases in which both stand side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from meshport.ir.world import Workload
from meshport.migrate import interim, order, words
from meshport.migrate.drafting import Draft
from meshport.migrate.phases import install, prepare, retire, sign_off
from meshport.migrate.setting import Setting
from meshport.migrate.states import Key, home, key
from meshport.report.planned import Command

Obj = dict[str, Any]


def across(draft: Draft, setting: Setting) -> list[str]:
    """The steps between two meshes; why they come in this order."""
    options = draft.result.options
    units = units_of(draft, setting, callers_first=False)
    sequence = [str(workload.ref) for unit in units for workload in unit.workloads]
    wrong = setting.wrong = order.wrong_way(sequence, setting.calls, callers_first=False)
    prepare(draft, setting)
    final_values = install(draft, setting)
    exceptions = _overlap(draft, setting, wrong)
    prepared: set[str] = set()
    for unit in units:
        if unit.namespace not in prepared:
            prepared.add(unit.namespace)
            _prepare_namespace(draft, unit.namespace)
        _move(draft, setting, unit, exceptions)
        _enforce_where_possible(draft, setting, units)
    for name in sorted({unit.namespace for unit in units}):
        _enforce(draft, setting, name)
    gateways(draft)
    asking(draft)
    strict(draft, setting, final_values)
    sign_off(draft, setting, list(dict.fromkeys(unit.namespace for unit in units)))
    retire(draft, setting)
    return reasons(draft, setting, units, wrong, callers_first=False, mesh=options.source)


def units_of(draft: Draft, setting: Setting, *, callers_first: bool) -> list[order.Unit]:
    if setting.strategy == "service" and not setting.ambient_within:
        units = order.by_service(setting.movers, draft.result.before.world)
        bare = set(setting.namespaces) - {unit.namespace for unit in units}
        units += [order.Unit(name, name) for name in sorted(bare)]
        return order.ordered(units, setting.calls, callers_first=callers_first)
    return order.ordered(order.by_namespace(setting.movers, setting.namespaces), setting.calls, callers_first=callers_first)


def reasons(
    draft: Draft, setting: Setting, units: Sequence[order.Unit], wrong: Sequence[order.Call], *, callers_first: bool, mesh: str
) -> list[str]:
    said = [
        "Callers move before the servers they call: identities hold on both data planes, and a sidecar passes waypoints by."
        if callers_first
        else "Servers move before their callers: what has moved lets callers without a proxy in until the last of them has come after."
        if mesh == "cilium"
        else f"Servers move before their callers: a caller that has moved shows {mesh} no identity, and the rules of a server that has not would refuse it; what has "
        "moved lets callers of both meshes in until the last of them has come after.",
        "Of namespaces that nothing orders, the one with the fewest calls across its border moves first, then the one with the fewest workloads.",
    ]
    if setting.ambient_within and setting.strategy == "service":
        said.append(
            "A namespace moves whole, for its Services share a waypoint and the rules on it: --strategy service is the same as namespace here."
        )
    said.append("Order: " + ", ".join(unit.name for unit in units) + "." if units else "The input shows nothing that moves.")
    if not setting.calls:
        said.append(
            "The rules name no pair of workloads of the input, so the call graph says nothing about the order: look at real traffic before you keep to it."
        )
    if wrong:
        pairs = ", ".join(f"{call.source} to {call.destination}:{call.port}" for call in wrong[:10])
        said.append(f"Calls that no order serves, because they go in a circle: {pairs}{' and more' if len(wrong) > 10 else ''}.")
    return said


# -- overlap


def _overlap(draft: Draft, setting: Setting, wrong: Sequence[order.Call]) -> dict[str, list[Key]]:
    """Both meshes take plaintext; exceptions for the calls of which the caller moves first, by the workload that they are for."""
    options = draft.result.options
    if not setting.movers and not setting.commands:
        return {}
    passing: list[Obj] = []
    restarts: list[Workload] = []
    for mark, obj in list(draft.cluster.objects.items()):
        if not _is_chosen(draft, mark):
            continue
        if options.source == "istio" and (form := interim.permissive(obj) or interim.automatic(obj)) is not None:
            passing.append(form)
        if options.source == "linkerd" and (form := interim.opened(obj)) is not None:
            passing.append(form)
            restarts += [
                one
                for one in setting.movers
                if (one.ref.namespace == mark[3] if mark[1] == "Namespace" else one.ref.name == mark[3]) and one not in restarts
            ]
    exceptions: dict[str, list[Key]] = {}
    known = {str(workload.ref): workload for workload in setting.movers}
    servers = [obj for obj in draft.cluster.objects.values() if interim.role(obj) == "server"]
    networks = (options.pod_cidr,) if options.pod_cidr else options.cluster_networks
    for call in wrong:
        made = interim.exception(known[call.destination], call.port, options.source, networks, servers)
        for obj in made:
            mark = key(obj, draft.cluster.default)
            if mark not in {key(each, draft.cluster.default) for each in passing}:
                passing.append(obj)
                exceptions.setdefault(call.destination, []).append(mark)
        if made:
            setting.excepted.append(call)
    if not passing:
        return exceptions
    restarting = [command for workload in restarts for command in words.restart([workload], "")]
    draft.add(
        "overlap",
        "overlap",
        f"Let {options.source} take callers of both meshes",
        "Traffic between the meshes is plaintext while both exist. Mode changes pass through PERMISSIVE, never straight from one side to the other"
        + (
            ", and clients leave mutual TLS to Istio, which uses it towards its own sidecars alone."
            if options.source == "istio"
            else ": new pods read the new default."
        ),
        namespaces=sorted({home(key(obj, draft.cluster.default)) for obj in passing} - {""}),
        interim=passing,
        after=restarting,
        back=restarting,
        checks=[check for name in setting.namespaces for check in words.served(options.source, name)],
    )
    return exceptions


def _is_chosen(draft: Draft, mark: Key) -> bool:
    chosen = draft.result.options.namespaces
    return not chosen or home(mark) in chosen or home(mark) == draft.result.options.root_namespace


# -- one namespace


def _prepare_namespace(draft: Draft, name: str) -> None:
    """What the target needs to be there before the pods, and what the source does not read."""
    options = draft.result.options
    roles = {
        "linkerd": ("service", "authentication", "route", "authorization", "limit", "other"),
        "istio": ("service", "route", "waypoint", "other"),
    }.get(options.target, ("service",))
    keys = [
        mark
        for mark in draft.of(*roles, namespaces=[name])
        if not interim.of_source(draft.pool[mark], options.source)
        and not (interim.role(draft.pool[mark]) == "route" and _read_by_both(draft, draft.pool[mark]))
    ]
    passing: list[Obj] = []
    for mark in [mark for mark in keys if interim.role(draft.pool[mark]) == "service" and mark in draft.cluster.objects]:
        both = interim.with_both(draft.cluster.objects[mark], draft.pool[mark])
        if both is not None:
            passing.append(both)
            keys.remove(mark)
    if options.target == "linkerd":
        for mark in draft.of("server", namespaces=[name]):
            form = interim.audited(draft.pool[mark], options.target_version)
            if form is not None:
                passing.append(form)
    by_label = _by_label(draft, name)
    passing += by_label
    final = draft.take(keys)
    if not final and not passing:
        return
    checks = words.accepted(final)
    audit = any(interim.role(obj) == "server" for obj in passing)
    draft.add(
        "move",
        f"{name} prepare",
        f"{name}: what {options.target} will read, before any of its pods is there",
        (
            "Network policies by label and port are in force from here on, beside the sidecars' rules; what they say of requests comes when no sidecar encrypts them any more."
            if by_label
            else f"Nothing of it acts yet: {options.source} does not read it, and no pod of the namespace has {options.target}."
        )
        + (
            " The order is that of the files: authentications, routes, authorizations, then Servers, which admit and log (audit) for now."
            if audit
            else ""
        ),
        namespaces=[name],
        final=final,
        interim=passing,
        checks=checks,
    )


def _by_label(draft: Draft, name: str) -> list[Obj]:
    """Cilium's policies without their rules about requests, ahead of the move: Istio's sidecars leave labels and ports as they are (Linkerd's and ztunnel's
    traffic comes on a port of its own)."""
    options = draft.result.options
    ambient = any(
        home.meshed is not None and home.meshed.feature == "membership.ambient" for home in draft.result.before.world.namespaces.values()
    )
    if options.target != "cilium" or options.source != "istio" or ambient:
        return []
    return [
        form
        for mark in sorted(draft.of("authorization", namespaces=[name]))
        if (form := interim.without_requests(draft.pool[mark])) is not None
    ]


def _read_by_both(draft: Draft, obj: Obj) -> bool:
    """Whether the source acts on a route as soon as it is there: a VirtualService ends where an HTTPRoute names its Service, so routes come with the pods."""
    if interim.group_of(obj) != "gateway.networking.k8s.io" or draft.result.options.source not in ("istio", "cilium", "linkerd"):
        return False
    parents = (obj.get("spec") or {}).get("parentRefs")
    groups = {
        str(parent.get("group", "gateway.networking.k8s.io"))
        for parent in (parents if isinstance(parents, list) else ())
        if isinstance(parent, dict) and parent.get("kind") == "Service"
    }
    return "" in groups or (draft.result.options.source == "linkerd" and "core" in groups)


def _move(draft: Draft, setting: Setting, unit: order.Unit, exceptions: dict[str, list[Key]]) -> None:
    options = draft.result.options
    passing: list[Obj] = []
    keys: list[Key] = []
    whole = setting.strategy == "namespace" or not unit.workloads
    last = whole or not any(
        str(one.ref) not in draft.moved for one in setting.movers if one.ref.namespace == unit.namespace and str(one.ref) not in unit.names
    )
    if whole:
        keys = draft.of("namespace", "workload", namespaces=[unit.namespace])
    else:
        where = {(one.kind, one.ref.namespace, one.ref.name) for one in unit.workloads}
        home_obj = draft.pool.get(("", "Namespace", "", unit.namespace)) or draft.cluster.objects.get(("", "Namespace", "", unit.namespace))
        for mark, obj in draft.cluster.objects.items():
            if mark[1:] in where and interim.role(obj) == "workload":
                passing.append(interim.enrolled(obj, home_obj, options.target, options.source, ambient=setting.ambient))
    if options.target == "istio" or options.target == "linkerd":
        keys += [mark for mark in draft.of("route", namespaces=[unit.namespace]) if last]
        keys += [
            mark
            for mark in draft.of(namespaces=[unit.namespace])
            if last and interim.of_source(draft.pool[mark], options.source) and mark not in keys
        ]
    for mark in list(keys):
        form = interim.opened(draft.pool[mark]) if interim.role(draft.pool[mark]) in ("namespace", "workload") else None
        if form is not None:
            passing.append(form)
            keys.remove(mark)
    expired = [mark for name in sorted(unit.names) for mark in exceptions.pop(name, ())]
    marks = [Command(run=command) for command in setting.commands.get(unit.namespace, ()) if whole]
    passing += _gateways_stay_out(draft, unit.namespace) if last else []
    final = draft.take(keys)
    if not unit.workloads and not marks and not final and not passing:
        return
    restarts = words.restart(unit.workloads, unit.namespace) if unit.workloads or marks else []
    draft.add(
        "move",
        f"{unit.name} move",
        f"{unit.name}: move to {options.target}",
        "A pod is in one mesh: the labels of one leave as those of the other come, and new pods follow them. Servers restart before their callers."
        + (" Exceptions that were made for these workloads end here." if expired else "")
        + (" The Gateway's own pods stay with Istio, and out of Linkerd." if any(obj["kind"] == "Gateway" for obj in passing) else ""),
        namespaces=[unit.namespace],
        final=final,
        interim=passing,
        delete=expired,
        leaves=False,
        before=marks,
        after=restarts,
        back=[] if unit.workloads else [*_unmarked(marks), *(words.restart([], unit.namespace) if marks else [])],
        moves=unit.workloads,
        checks=words.moved(options.target, options.source, unit.namespace, ambient=setting.ambient),
    )
    if last and not whole:
        namespace_follows(draft, setting, unit.namespace)


def _gateways_stay_out(draft: Draft, name: str) -> list[Obj]:
    """Gateways that Istio runs in the namespace, kept out of Linkerd: their next pod would have two proxies."""
    options = draft.result.options
    if options.target != "linkerd" or options.source != "istio":
        return []
    found = []
    for mark, obj in sorted(draft.cluster.objects.items()):
        spec = obj.get("spec")
        if (
            mark[:3] == ("gateway.networking.k8s.io", "Gateway", name)
            and isinstance(spec, dict)
            and spec.get("gatewayClassName") == "istio"
        ):
            made = copy.deepcopy(obj)
            infrastructure = made["spec"].setdefault("infrastructure", {})
            infrastructure["annotations"] = {**(infrastructure.get("annotations") or {}), "linkerd.io/inject": "disabled"}
            found.append(made)
    return found


def _unmarked(marks: Sequence[Command]) -> list[Command]:
    """The commands of the conversion turned round: what was set is taken off. What stood there before the input does not show."""
    found = []
    for mark in marks:
        parts = [part for part in mark.run.split() if part != "--overwrite"]
        keys = [part.partition("=")[0] + "-" for part in parts[4:] if "=" in part]
        if keys:
            found.append(
                Command(
                    run=" ".join([*parts[:4], *keys]), note="Then set again what stood there before; the input does not show the namespace."
                )
            )
    return found


def namespace_follows(draft: Draft, setting: Setting, name: str) -> None:
    """After the last Service of a namespace: the namespace says it for all, and the pod templates no longer have to."""
    final = draft.take(draft.of("namespace", "workload", namespaces=[name]))
    options = draft.result.options
    own = [one for one in setting.movers if one.ref.namespace == name]
    written = {key(obj, draft.cluster.default) for obj in final}
    restore = []
    for mark, obj in draft.cluster.objects.items():
        if (
            interim.role(obj) == "workload"
            and mark not in written
            and any((one.kind, one.ref.namespace, one.ref.name) == mark[1:] for one in own)
        ):
            document = next((item for item in draft.result.known.documents if key(item.value, draft.cluster.default) == mark), None)
            restore += [copy.deepcopy(document.value)] if document is not None else []
    if not final:
        return
    passing = [form for obj in list(final) if (form := interim.opened(obj)) is not None]
    for obj in list(final):
        if interim.opened(obj) is not None:
            final.remove(obj)
            draft.pool[key(obj, draft.cluster.default)] = obj
    draft.add(
        "move",
        f"{name} whole",
        f"{name}: the namespace as a whole",
        f"Every Service of it has moved: the namespace enrols its pods in {options.target}, and the pod templates say nothing of their own any more.",
        namespaces=[name],
        final=final,
        interim=[*passing, *restore],
        after=words.restart(order.within(order.Unit(name, name, own), setting.calls, callers_first=False), name),
        back=words.restart(list(reversed(own)), name),
        checks=words.moved(options.target, options.source, name, ambient=setting.ambient),
    )


def _enforce_where_possible(draft: Draft, setting: Setting, units: Sequence[order.Unit]) -> None:
    known = {str(workload.ref) for workload in setting.movers}
    for name in dict.fromkeys(unit.namespace for unit in units):
        own = {str(workload.ref) for workload in setting.movers if workload.ref.namespace == name}
        callers = {call.source for call in setting.calls if call.destination in own and call.source in known}
        waits = own if draft.result.options.target == "cilium" else own | callers
        if own and waits <= set(draft.moved) and name not in draft.enforced:
            _enforce(draft, setting, name)


def _enforce(draft: Draft, setting: Setting, name: str) -> None:
    """The rules of a namespace are in force, now that whoever they name is there."""
    if name in draft.enforced:
        return
    options = draft.result.options
    keys = [
        mark
        for mark in draft.of(namespaces=[name])
        if interim.role(draft.pool[mark]) not in ("namespace", "workload", "transport", "gateway", "asking")
        and not _kept_service(draft, mark)
    ]
    audit = any(
        interim.audited(draft.pool[mark], options.target_version) is not None for mark in keys if interim.role(draft.pool[mark]) == "server"
    )
    final = draft.take(keys)
    if not final:
        return
    draft.enforced[name] = draft.next
    draft.add(
        "enforce",
        f"{name} enforce",
        f"{name}: rules in force",
        "The rules go by labels, so they can be in force as soon as the last sidecar is gone."
        if options.target == "cilium"
        else f"Every known caller of the namespace is in {options.target} and shows its identity.",
        namespaces=[name],
        final=final,
        first=[words.audited(name)] if audit else [],
        checks=[*words.accepted(final), *words.refused(options.target, name), *words.served(options.target, name)],
    )


def _kept_service(draft: Draft, mark: Key) -> bool:
    """A Service that still carries the source's annotations beside the target's; they go with the clean-up."""
    return interim.role(draft.pool[mark]) == "service" and mark in draft.cluster.objects


# -- the end of the overlap


def gateways(draft: Draft) -> None:
    """The way in moves last: a gateway is a caller of everything behind it."""
    final = draft.take(draft.of("gateway"))
    if not final:
        return
    names = sorted({home(key(obj, draft.cluster.default)) for obj in final})
    draft.add(
        "enforce",
        "gateways",
        "The way in: Gateways and their routes",
        "A gateway calls what stands behind it, so it moves after it. Where the class changes, a new address comes up: move DNS or the load balancer when the checks hold.",
        namespaces=names,
        final=final,
        checks=[
            words.shell(
                f"kubectl wait {words.resource(obj)}/{words.q(obj['metadata']['name'])} -n {words.q(obj['metadata']['namespace'])} --for=condition=Programmed --timeout=5m",
                "condition met",
            )
            for obj in final
            if obj["kind"] == "Gateway" and interim.group_of(obj) == "gateway.networking.k8s.io"
        ]
        + words.accepted(final),
    )


def asking(draft: Draft) -> None:
    """Rules, dashboards, gates and triggers go over when all that they count is in the target: before that they would ask series that nobody has."""
    final = draft.take(draft.of("asking"))
    if not final:
        return
    options = draft.result.options
    draft.add(
        "enforce",
        "metrics",
        f"Alerts, dashboards and gates ask {options.target}",
        f"Until here they ask {options.source}, which counts what has not moved: alerts see less with each namespace, and gates and triggers of those that have moved see nothing. Hold "
        "rollouts and autoscaling by these metrics from the first move to this step, and look at the target's own console meanwhile.",
        namespaces=sorted({home(key(obj, draft.cluster.default)) for obj in final} - {""}),
        final=final,
        first=words.counted(options.target),
        checks=words.accepted(final),
        judged=False,
    )


def strict(draft: Draft, setting: Setting, values: dict[str, Obj]) -> None:
    """Everything that could not be strict while both meshes were there; what is left of the conversion is applied here."""
    options = draft.result.options
    changed = {chart: value for chart, value in values.items() if draft.cluster.values.get(chart) != value}
    final = draft.take([mark for mark in draft.pool if not _kept_service(draft, mark)])
    if not final and not changed:
        return
    folder = draft.folder("strict")
    commands: list[Command] = []
    back: list[Command] = []
    if changed:
        commands = [Command(run=f"linkerd upgrade --values {folder}/helm/linkerd-control-plane.yaml | kubectl apply -f -")]
        earlier = next((step.folder for step in draft.steps if step.values), folder)
        back = [Command(run=f"linkerd upgrade --values {earlier}/helm/linkerd-control-plane.yaml | kubectl apply -f -")]
    reread = _by_default(draft, setting, final) if options.target == "linkerd" else []
    draft.add(
        "strict",
        "strict",
        "Strict again: plaintext is refused",
        "No caller is left in the other mesh. Ask first who still comes without a certificate: they are refused from here on.",
        namespaces=sorted({home(key(obj, draft.cluster.default)) for obj in final} - {""}),
        final=final,
        first=[check for name in setting.namespaces for check in words.plaintext(options.target, name)],
        before=commands,
        after=words.restart(reread, "") if reread else [],
        back=[*back, *(words.restart(list(reversed(reread)), "") if reread else [])],
        values=changed,
        checks=[
            *(
                check
                for name in setting.namespaces
                for check in (*words.plaintext(options.target, name), *words.refused(options.target, name))
            ),
        ],
    )


def _by_default(draft: Draft, setting: Setting, final: Sequence[Obj]) -> list[Workload]:
    """The workloads whose pods read another default from here on: those of a Namespace that says it, and those that go by the installation."""
    said = {key(obj, draft.cluster.default)[3]: obj for obj in final if interim.role(obj) == "namespace"}
    found = []
    for workload in setting.movers:
        name = workload.ref.namespace
        obj = draft.cluster.objects.get(("", "Namespace", "", name))
        by_itself = (obj or {}).get("metadata", {}).get("annotations", {}).get(interim.DEFAULT_POLICY) if obj else None
        own = (workload.kind, name, workload.ref.name) in {key(each, draft.cluster.default)[1:] for each in final}
        if name in said or own or by_itself is None:
            found.append(workload)
    return found
