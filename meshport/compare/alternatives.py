"""A rule of Cilium as its alternatives, so that rules compare as equal however they are joined or split: one for each peer, port and demand on what the port
speaks (docs.cilium.io, security/policy/language: rules, and the lists in a rule, add to one another)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from math import prod
from typing import Any

MOST = 1000
"""Alternatives of one rule; one with more stays as it is."""
_PEERS = ("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "fromNodes", "fromGroups",
          "toEndpoints", "toEntities", "toCIDR", "toCIDRSet", "toNodes", "toGroups", "toFQDNs", "toServices")  # fmt: skip
_READ = ("http", "dns", "kafka", "l7")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PLACES = tuple(
    re.compile(text)
    for text in (
        rf"(?:{'|'.join((*_PEERS, 'toPorts', 'icmps'))})\[\d+\]",
        r"toPorts\[\d+\]\.ports\[\d+\]",
        rf"toPorts\[\d+\]\.rules\.(?:{'|'.join(_READ)})\[\d+\]",
        r"icmps\[\d+\]\.fields\[\d+\]",
    )
)
_Choice = tuple[str, Any, frozenset[str]]
"""A member of an alternative, its value, and the places in the rule that it comes from."""


def alternatives(rule: Mapping[str, Any], paths: Iterable[str]) -> list[Mapping[str, Any]]:
    """The rule with one peer, one port and one demand each: those alternatives that a leaf of the rule at one of `paths` is in. What is demanded together
    (fromRequires, headers) stays together."""
    choices: list[list[_Choice]] = []
    for key, value in sorted(rule.items()):
        found: list[_Choice] = []
        for number, one in enumerate(value if isinstance(value, list) else ()):
            place = f"{key}[{number}]"
            if key in _PEERS:
                found.append((key, [one], frozenset((place,))))
            elif key == "toPorts" and isinstance(one, Mapping):
                found += [(key, [part], places | {place}) for part, places in _ports(one, place)]
            elif key == "icmps" and isinstance(one, Mapping):
                fields = one.get("fields")
                found += [
                    (key, {"family": "IPv4", **field}, frozenset((place, f"{place}.fields[{position}]")))
                    for position, field in enumerate(fields if isinstance(fields, list) else ())
                    if isinstance(field, Mapping)
                ]
        choices.append(found or [(key, value, frozenset())])
    if prod(map(len, choices)) > MOST:
        return [rule]
    wanted = {frozenset(hit[0] for pattern in _PLACES if (hit := pattern.match(path))) for path in paths}
    made = [(dict(choice[:2] for choice in chosen), frozenset().union(*(choice[2] for choice in chosen))) for chosen in product(*choices)]
    if not all(any(leaf <= places for _, places in made) for leaf in wanted):
        return [rule]
    return [found for found, places in made if any(leaf <= places for leaf in wanted)]


def _ports(entry: Mapping[str, Any], place: str) -> list[tuple[Mapping[str, Any], frozenset[str]]]:
    """An entry of `toPorts` for each of its ports and of what it demands of the requests there."""
    rules = entry.get("rules")
    read = {key: value for key, value in rules.items() if value} if isinstance(rules, Mapping) else {}
    key = next((name for name in _READ if isinstance(read.get(name), list)), None)
    demands: list[tuple[Mapping[str, Any], str]] = [(read, "")]
    if key is not None:
        demands = [({**read, key: [one]}, f"{place}.rules.{key}[{number}]") for number, one in enumerate(read[key])]
    ports = entry.get("ports")
    listed = ports if isinstance(ports, list) else []
    named = [(one, f"{place}.ports[{number}]") for number, port in enumerate(listed) for one in _port(port)]
    rest = {name: value for name, value in entry.items() if name not in ("ports", "rules")}
    return [
        ({**rest, **({"ports": [port]} if port is not None else {}), **({"rules": demand} if demand else {})}, frozenset((where, why)))
        for port, where in named or [(None, "")]
        for demand, why in demands
    ]


def _port(port: Any) -> list[Any]:
    """A port once for each protocol that it is for, without an end that is its start."""
    if not isinstance(port, Mapping):
        return [port]
    kept = {key: value for key, value in port.items() if key != "endPort" or str(value) not in ("0", str(port.get("port")))}
    named = str(port.get("protocol") or "ANY").upper()
    return [{**kept, "protocol": one} for one in (_PROTOCOLS if named == "ANY" else (named,))]
