"""Policies in the making: parts that hold for the same pods, and the ingress rules that they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.planning import DEFAULT, Entry, Part, Where
from meshport.dialects.cilium.refusals import MOST
from meshport.dialects.cilium.writing import ECHO, OTHERS, Ruled, ranges
from meshport.dialects.output import Output
from meshport.effective.access import Effective
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Selector, Src, sources
from meshport.mapping.table import in_range


@dataclass(slots=True)
class Draft:
    """A policy in the making: parts that hold for the same pods."""

    namespace: str
    wanted: str
    members: list[Effective]
    parts: list[Part]
    ports: list[int]
    strict: bool
    selectors: list[tuple[Selector, Src]] = field(default_factory=list)
    named_by: Src = NOWHERE  # what the name is taken from
    alike: list[Effective] = field(default_factory=list)  # pods that the parts hold for too, and another draft is written for


def rules_of(options: Options, draft: Draft, entries: list[Entry]) -> list[Ruled]:
    """The ingress rules of a policy. With Linkerd's single ports, or a default alone, the protocols that no mesh governs stay open."""
    every: set[Where] = {*draft.ports, None}
    found: list[Ruled] = []
    free: list[dict[str, Any]] = []
    free_src: Src = NOWHERE
    opens_rest = any(part.label == DEFAULT and part.entries for part in draft.parts)
    for entry in entries:
        ports = _ports(options, entry, draft.ports, every)
        if ports is None:
            continue
        rule: dict[str, Any] = {entry.kind: entry.shown} if entry.kind else {}
        if not ports and not entry.requests and (opens_rest or not entry.kind):
            ports = [{"port": "0", "protocol": "TCP"}]
        if not entry.kind and not entry.requests and opens_rest:
            free, free_src = [*free, *ports], free_src | entry.src
            continue
        if not entry.kind and not entry.requests and ports == [{"port": "0", "protocol": "TCP"}]:
            found.append(({"fromEntities": ["all"]}, entry.src))
            continue
        if not ports:
            found.append((rule, entry.src))
            continue
        for start in range(0, len(ports), MOST):
            item: dict[str, Any] = {"ports": ports[start : start + MOST]}
            if entry.requests:
                item["rules"] = {"http": entry.requests}
            found.append(({**rule, "toPorts": [item]}, entry.src))
    if opens_rest:
        src = (
            free_src
            or sources(*(part.src for part in draft.parts if part.label == DEFAULT))
            or sources(*(part.src for part in draft.parts))
        )
        free += OTHERS
        found += [({"toPorts": [{"ports": free[start : start + MOST]}]}, src) for start in range(0, len(free), MOST)]
        found.append(({"icmps": [{"fields": ECHO}]}, src))
    return _joined(found)


def unranged(out: Output, options: Options, draft: Draft, entries: list[Entry]) -> None:
    """Ranges of ports came with Cilium 1.16: before it, the ports that nothing names stay closed where others are."""
    every = {*draft.ports, None}
    if in_range(options.target_version, "1.16", None) or not any(None in entry.ports and entry.ports != every for entry in entries):
        return
    out.finding(
        "MP290", document=draft.parts[0].document, feature="server.port", policy=draft.wanted, release=options.target_version,
        affects=tuple(Affected(item.workload.ref.namespace, item.workload.ref.name) for item in draft.members),
        explains=frozenset((access_subject(item.workload.ref, None), "allow") for item in draft.members),
    )  # fmt: skip


def _joined(rules: list[Ruled]) -> list[Ruled]:
    """Rules for the same peers and ports as one, with the requests of all; one that admits every request makes the others void."""
    out: list[Ruled] = []
    for rule, src in rules:
        for position, (known, its) in enumerate(out):
            if not _alike(known, rule):
                continue
            if "rules" in rule["toPorts"][0] and "rules" in known["toPorts"][0]:
                requests = known["toPorts"][0]["rules"]["http"]
                more = [item for item in rule["toPorts"][0]["rules"]["http"] if item not in requests]
                entry = {**known["toPorts"][0], "rules": {"http": [*requests, *more]}}
            else:
                entry = {"ports": known["toPorts"][0]["ports"]}
            out[position] = ({**known, "toPorts": [entry]}, its | src)
            break
        else:
            out.append((rule, src))
    return out


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if "toPorts" not in one or "toPorts" not in other:
        return False
    peers = [{key: value for key, value in rule.items() if key != "toPorts"} for rule in (one, other)]
    return peers[0] == peers[1] and one["toPorts"][0]["ports"] == other["toPorts"][0]["ports"]


def _ports(options: Options, entry: Entry, known: list[int], every: set[Where]) -> list[dict[str, Any]] | None:
    """The ports of a rule; [] for all of them, None where none can be written."""
    if entry.ports == every and not entry.requests:
        return []
    numbers = sorted(port for port in entry.ports if port is not None)
    if None not in entry.ports:
        return [{"port": entry.names.get(number, str(number)), "protocol": "TCP"} for number in numbers] or None
    if not in_range(options.target_version, "1.16", None):  # ranges came with endPort
        return [{"port": str(number), "protocol": "TCP"} for number in numbers] or None
    return ranges(sorted(set(known) - set(numbers)))
