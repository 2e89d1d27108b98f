"""Semantic differences between two bundles: canonical data by subject, compared subject by subject, deepdiff where a pair is unequal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshport.compare import access, connections, exposure, ingress, listeners, routing
from meshport.dialects import ratelimits
from meshport.dialects.base import Options
from meshport.effective.proxies import settings
from meshport.effective.subjects import tokens
from meshport.effective.telemetry import logging
from meshport.ir.base import Ref
from meshport.ir.model import IR


@dataclass(slots=True)
class Change:
    """One difference. `path` is inside the subject's canonical data; `findings` are indices into the report's findings.

    `kind` is form where the exact comparison of both sides finds no request that tells them apart, else behaviour.
    """

    change: str  # added, removed, changed
    subject: str
    path: str
    before: Any
    after: Any
    aspect: str = ""  # the first step of the path: what findings answer for
    findings: list[int] = field(default_factory=list)
    kind: str = "behaviour"


def canonical(
    ir: IR, options: Options, ports: dict[str, set[int]] | None = None, governed: frozenset[Ref] = frozenset(), *, outside: bool = False
) -> dict[str, dict[str, Any]]:
    """Everything that the IR says, as plain data by subject."""
    return {**access.canonical(ir, options, ports, governed, outside=outside), **beside_access(ir), **_proxies(ir), **_logs(ir)}


def beside_access(ir: IR) -> Canonical:
    """What the IR says of requests that are let through: where they go, how they are guarded and limited, and what may leave."""
    return {**routing.canonical(ir), **connections.canonical(ir), **exposure.canonical(ir), **ratelimits.canonical(ir)}


def at_gateways(old: IR, new: IR) -> tuple[Canonical, Canonical]:
    """What both IRs say of what Gateways listen for, and of requests and connections that come in through them; port by port where rules of either ask for
    one."""
    apart = ingress.by_port(old) | ingress.by_port(new)
    shown = {*old.world.grants, *new.world.grants}
    first, second = (
        {**ingress.canonical(ir, apart), **connections.at_gateways(ir), **listeners.shared(ir, shown, apart)} for ir in (old, new)
    )
    return first, second


def _proxies(ir: IR) -> dict[str, dict[str, Any]]:
    return {f"{PROXY} {workload.ref}": {what: fact.value for what, fact in found.items()} for workload, found in settings(ir)}


def _tokens(ir: IR) -> Canonical:
    """Whose tokens are checked on the way to each workload: a proxy that tunnels reads none itself."""
    found: Canonical = {}
    for one in ir.issuers:
        for workload in ir.world.selected(one.pods):
            if ir.world.meshed(workload) is not False and (one.at_waypoint or workload.ref not in ir.tunnelled):
                found.setdefault(tokens(workload.ref), {"issuers": {}})["issuers"][one.name] = "checked"
    return found


def _logs(ir: IR) -> dict[str, dict[str, Any]]:
    return {f"{LOG} {workload.ref}": {"writes": True} for workload, _ in logging(ir)}


LOG = "access log of"
MEMBERSHIP = "mesh membership of namespace"
PROXY = "proxy of"
Canonical = dict[str, dict[str, Any]]


def sides(old: IR, new: IR, old_options: Options, new_options: Options, *, outside: bool = False) -> tuple[Canonical, Canonical]:
    """Both IRs as canonical data, over the ports that either speaks of; where `outside` with what holds for pods that are not in the mesh."""
    ports: dict[str, set[int]] = {}
    for side in (old, new):
        for workload, numbers in access.known_ports(side, beside=outside).items():
            ports.setdefault(workload, set()).update(numbers)
    before, after = access.governed(old), access.governed(new)
    sided = (
        canonical(old, old_options, ports, after - before, outside=outside),
        canonical(new, new_options, ports, before - after, outside=outside),
    )
    if old.mesh == new.mesh:  # of others it is said object by object
        sided = {**sided[0], **_tokens(old)}, {**sided[1], **_tokens(new)}
    if ingress.served(old) and ingress.served(new):
        outer = at_gateways(old, new)
        sided = {**sided[0], **outer[0]}, {**sided[1], **outer[1]}
    if not (old.enrols and new.enrols):  # where every pod is governed, there is no membership to compare, nor a proxy in each pod
        return _of_any_mesh(sided[0]), _of_any_mesh(sided[1])
    return sided


def _of_any_mesh(side: Canonical) -> Canonical:
    kept = {subject: data for subject, data in side.items() if not subject.startswith((MEMBERSHIP, PROXY, LOG))}
    for subject, data in kept.items():
        if data.get("tls.mode") == "DISABLE":  # below the connection everything is encrypted alike, whether a proxy starts TLS or not
            kept[subject] = {key: value for key, value in data.items() if key != "tls.mode"}
    return kept


def changes(before: Canonical, after: Canonical) -> list[Change]:
    """What differs, in the order of the subjects."""
    found: list[Change] = []
    for subject in sorted({*before, *after}):
        one, other = before.get(subject, {}), after.get(subject, {})
        if not one and subject.startswith(MEMBERSHIP):
            continue  # a namespace that only a command speaks of
        if one != other and not ("undecided" in one or "undecided" in other):
            found.extend(_between(subject, one, other))
    return found


def _between(subject: str, one: dict[str, Any], other: dict[str, Any]) -> list[Change]:
    """The differences inside one unequal pair: down to the smallest differing parts, lists by deepdiff."""
    out: list[Change] = []
    stack: list[tuple[tuple[str, ...], Any, Any]] = [((), one, other)]
    while stack:
        path, left, right = stack.pop()
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            for key in sorted({*left, *right}, reverse=True):
                place = (*path, str(key))
                if key not in left:
                    out.append(Change("added", subject, _dotted(place), None, right[key], place[0]))
                elif key not in right:
                    out.append(Change("removed", subject, _dotted(place), left[key], None, place[0]))
                else:
                    stack.append((place, left[key], right[key]))
        elif isinstance(left, list) and isinstance(right, list):
            out.extend(_lists(subject, path, left, right))
        else:
            out.append(Change("changed", subject, _dotted(path), left, right, path[0] if path else ""))
    return sorted(out, key=lambda item: (item.path, item.change))


def _lists(subject: str, path: tuple[str, ...], left: list[Any], right: list[Any]) -> list[Change]:
    if len(left) * len(right) > 2500:
        return [Change("changed", subject, _dotted(path), left, right, path[0] if path else "")]
    from deepdiff import DeepDiff

    found = DeepDiff(left, right, ignore_order=True, view="tree", verbose_level=1)
    out = []
    for kind, items in found.items():
        change = "added" if kind.endswith("_added") else "removed" if kind.endswith("_removed") else "changed"
        for item in items:
            place = _dotted(path) + item.path(root="")
            before = None if change == "added" else item.t1
            after = None if change == "removed" else item.t2
            out.append(Change(change, subject, place, before, after, path[0] if path else ""))
    return out or [Change("changed", subject, _dotted(path), left, right, path[0] if path else "")]


def _dotted(path: tuple[str, ...]) -> str:
    from meshport.documents import format_path

    return format_path(path)
