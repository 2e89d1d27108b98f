"""From Istio's sidecars to its ambient data plane: identities hold on both, waypoints are there before the pods (istio.io, ambient, migrate)."""

from __future__ import annotations

import copy
from typing import Any

from meshport.migrate import interim, order, words
from meshport.migrate.crossing import asking, gateways, reasons, strict, units_of
from meshport.migrate.drafting import Draft
from meshport.migrate.phases import install, prepare, sign_off
from meshport.migrate.setting import Setting
from meshport.migrate.states import Key, key
from meshport.report.planned import Command

Obj = dict[str, Any]


def to_ambient(draft: Draft, setting: Setting) -> list[str]:
    """The steps from sidecars to ambient; why they come in this order."""
    units = units_of(draft, setting, callers_first=True)
    sequence = [str(workload.ref) for unit in units for workload in unit.workloads]
    wrong = setting.wrong = order.wrong_way(sequence, setting.calls, callers_first=True)
    prepare(draft, setting)
    values = install(draft, setting)
    waypointed: set[str] = set()
    for unit in units:
        name = unit.namespace
        if name not in waypointed:
            waypointed.add(name)
            _waypoints(draft, name)
        _into_ambient(draft, setting, unit)
    gateways(draft)
    asking(draft)
    strict(draft, setting, values)
    sign_off(draft, setting, list(dict.fromkeys(unit.namespace for unit in units)))
    return reasons(draft, setting, units, wrong, callers_first=True, mesh="istio")


def _waypoints(draft: Draft, name: str) -> None:
    final = draft.take(draft.of("waypoint", namespaces=[name]))
    if final:
        draft.add(
            "move",
            f"{name} waypoint",
            f"{name}: a waypoint, which nothing uses yet",
            "Deploying a waypoint changes nothing until a Service or namespace names it. It has to be there before the pods: otherwise rules about requests act nowhere.",
            namespaces=[name],
            final=final,
            checks=[
                words.shell(
                    f"kubectl wait gateway.gateway.networking.k8s.io/{words.q(obj['metadata']['name'])} -n {words.q(name)} --for=condition=Programmed --timeout=5m",
                    "condition met",
                )
                for obj in final
            ],
        )


def _into_ambient(draft: Draft, setting: Setting, unit: order.Unit) -> None:
    name = unit.namespace
    keys = [mark for mark in draft.of(namespaces=[name]) if interim.role(draft.pool[mark]) not in ("gateway", "asking")]
    copies = [form for mark in keys if (form := _sidecar_copy(draft, mark)) is not None]
    final = draft.take(keys)
    marks = [Command(run=command) for command in setting.commands.get(name, ())]
    if not (final or unit.workloads or marks):
        return
    draft.add(
        "move",
        f"{name} move",
        f"{name}: from sidecars to ambient",
        "In this order: rules on the waypoint, Services that use it, the data plane's label, then new pods without sidecar. Callers restart before their servers."
        + (" The rules that sidecars enforce stay beside them as copies named -overlap." if copies else ""),
        namespaces=[name],
        final=final,
        interim=copies,
        before=marks,
        after=words.restart(unit.workloads, name) if unit.workloads or marks else [],
        moves=unit.workloads,
        checks=words.moved("istio", "istio", name, ambient=True),
    )
    if copies:
        draft.enforced[name] = draft.next
        draft.add(
            "enforce",
            f"{name} one form",
            f"{name}: the sidecars' form of the rules goes",
            "No sidecar is left to enforce it. ztunnel takes the allows in it for tighter ones, and no request passes because of them.",
            namespaces=[name],
            delete=[key(each, draft.cluster.default) for each in copies],
            leaves=False,
            checks=words.refused("istio", name),
        )


def _sidecar_copy(draft: Draft, mark: Key) -> Obj | None:
    """The form in which sidecars still enforce a policy that is bound to a waypoint from now on."""
    before = draft.cluster.objects.get(mark)
    if mark[1] not in ("AuthorizationPolicy", "RequestAuthentication") or before is None:
        return None
    if (before.get("spec") or {}).get("targetRefs") or not (draft.pool[mark].get("spec") or {}).get("targetRefs"):
        return None
    found = copy.deepcopy({name: value for name, value in before.items() if name != "status"})
    found["metadata"] = {"name": f"{mark[3][:55].rstrip('-.')}-overlap", "namespace": mark[2]}
    return found
