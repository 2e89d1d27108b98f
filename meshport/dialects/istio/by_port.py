"""Rules that sidecars read, parted by port: what of a rule is left for some ports, for everybody, for callers with an identity."""

from __future__ import annotations

import copy
from typing import Any

from meshport.dialects.istio.rules import NAME_KEYS, NAMES, takes
from meshport.ir.base import Src


def rule_beside(rule: dict[str, Any], ports: list[int]) -> dict[str, Any]:
    """A rule on all ports of the pods but those that the Service sends to, for which it stands already."""
    made = copy.deepcopy(rule)
    for entry in made.setdefault("to", [{"operation": {}}]):
        operation = entry.setdefault("operation", {})
        operation["notPorts"] = [*operation.get("notPorts", ()), *map(str, ports)]
    return made


def of_everybody(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule that asks nothing of the caller."""
    when = [item for item in rule.get("when") or () if not str(item.get("key")).startswith("source.")]
    return {key: value for key, value in {**rule, "when": when}.items() if key != "from" and (key != "when" or when)}


def ported(rule: dict[str, Any], known: dict[int, tuple[set[int], Src]]) -> dict[str, Any] | None:
    """A rule about the ports of a Service as one about those of its pods; None where it speaks of no port of the Service."""
    said = copy.deepcopy(rule)
    asked = [entry for entry in said.get("when") or () if entry.get("key") == "destination.port"]
    entries = []
    items: list[dict[str, Any]] = said.get("to") or [{"operation": {}}]
    for item in items:
        operation = item["operation"]
        conditions = [
            (operation.pop("ports", None), operation.pop("notPorts", None)),
            *((entry.get("values"), entry.get("notValues")) for entry in asked),
        ]
        reached = {
            target
            for number, (numbers, _) in known.items()
            if all(takes(wanted, refused, number) for wanted, refused in conditions)
            for target in numbers
        }
        if reached:
            operation["ports"] = [str(number) for number in sorted(reached)]
            entries.append(item)
    if not entries:
        return None
    said["to"] = entries
    rest = [entry for entry in said.get("when") or () if entry not in asked]
    if rest:
        said["when"] = rest
    else:
        said.pop("when", None)
    return said


def identified(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule that demands an identity, as ztunnel did of whoever did not come through the waypoint."""
    said = copy.deepcopy(rule)
    if any(entry.get("key") in NAME_KEYS and entry.get("values") for entry in said.get("when") or ()):
        return said
    for item in said.get("from") or ():
        source = item["source"]
        if any(source.get(key) for key in NAMES):
            continue
        if source.get("notServiceAccounts"):  # which cannot stand beside principals
            said.setdefault("when", []).append({"key": "source.principal", "values": ["*"]})
            return said
        source["principals"] = ["*"]
    return said if said.get("from") else {"from": [{"source": {"principals": ["*"]}}], **said}
