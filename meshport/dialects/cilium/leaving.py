"""What Cilium's egress rules say of the world outside the cluster, for meshes that take their place (`--no-keep-network-policy`).

A proxy tells what leaves by its name or its address, and TCP alone. So names count on the ports on which clients say them (the host of HTTP on 80, the server
name of TLS on 443), addresses on every port; the rest is left out, which refuses it. Inside the cluster no proxy refuses at the client.
https://docs.cilium.io/en/stable/security/policy/layer3/#dns-based
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact, Selector
from meshport.ir.exposure import EgressDefault, Outside, OutsidePort
from meshport.ir.model import IR, Loss
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.mapping.bound import Bound

KIND = "CiliumNetworkPolicy"
NAMED = {80: "http", 443: "tls"}
"""The ports on which clients say the name that they want, and how."""
_WORLD = ("world", "all")
_OUTSIDE = ("toFQDNs", "toCIDR", "toCIDRSet")
_INSIDE = ("toEndpoints", "toServices", "toNodes", "toRequires")


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Defaults and destinations of the namespaces whose policies all speak of the same pods; the others stay as they are, lost as a whole."""
    clusterwide = by_kind.get(("cilium.io", "CiliumClusterwideNetworkPolicy"), [])
    if any(_leaves(Cursor.root(bound, number)) for number in clusterwide):
        return
    homes: dict[str, list[Cursor]] = {}
    for number in by_kind.get(("cilium.io", KIND), []):
        root = Cursor.root(bound, number)
        if _leaves(root):
            homes.setdefault(root.ref().value.namespace or options.default_namespace, []).append(root)
    for home, roots in sorted(homes.items()):
        selectors = [root.at("spec").selector("endpointSelector") for root in roots]
        alike = len({one.value for one in selectors}) == 1 and not selectors[0].value.expressions
        if alike and all(map(_plain, roots)) and not any(_open(rule) for root in roots for rule in root.at("spec").each("egress")):
            for root, selector in zip(roots, selectors, strict=True):
                _policy(root, home, selector, ir)


def _leaves(root: Cursor) -> bool:
    return any(place.at("egress") or place.at("egressDeny") for _, place in specs(root))


def _plain(root: Cursor) -> bool:
    """Whether a policy closes what leaves its pods but for what its rules name."""
    spec = root.at("spec")
    return (
        bool(spec.each("egress"))
        and not root.at("specs")
        and not spec.at("egressDeny")
        and spec.at("enableDefaultDeny", "egress").value is not False
    )


def _entities(rule: Cursor) -> set[str]:
    return {fact.value for fact in rule.strings("toEntities")}


def _open(rule: Cursor) -> bool:
    """Whether a rule opens every port of every address outside."""
    return bool(_entities(rule) & set(_WORLD)) and not rule.at("toPorts") and not rule.at("icmps")


def _policy(root: Cursor, home: str, selector: Fact[Selector], ir: IR) -> None:
    ref = root.ref().map(lambda one: replace(one, namespace=home))
    ir.egress_defaults.append(
        EgressDefault(
            ref, KIND, root.number, home, selector, Fact(True, root.at("spec").at("endpointSelector").src, "egress.mode"), src=selector.src
        )
    )
    for rule in root.at("spec").each("egress"):
        for ports, hosts, addresses in _openings(rule, root.number, ir):
            ir.outside.append(Outside(ref, KIND, root.number, hosts, addresses, ports, seen_by=(home,)))
    ir.egress[:] = [replace(one, outside=True) if one.document == root.number else one for one in ir.egress]


Opening = tuple[tuple[OutsidePort, ...], tuple[Fact[str], ...], tuple[Fact[str], ...]]


def _openings(rule: Cursor, number: int, ir: IR) -> list[Opening]:
    """Ports with the names or the addresses that they are open to; with neither they are open to every address."""

    def lost(place: Cursor, reason: str) -> None:
        ir.losses.append(Loss("MP720", (Fact(None, place.src, "l4.egress"),), number, {"reason": reason}))

    names, addresses = _names(rule, lost), _addresses(rule, lost)
    outside = any(rule.at(key) for key in _OUTSIDE)
    anywhere = bool(_entities(rule) & set(_WORLD)) or not any(rule.at(key) for key in (*_OUTSIDE, *_INSIDE, "toEntities", "toGroups"))
    if not (outside or anywhere):
        return []  # what is inside the cluster, which no proxy refuses at the client
    if outside and not rule.at("toPorts"):
        lost(rule, "every port of a destination outside is open, and a mesh opens ports one by one")
        return []
    found: list[Opening] = []
    for entry in rule.each("toPorts"):
        if (any(entry.at("rules").each("http")) and any(one.value for one in entry.at("rules").each("http"))) or entry.at("serverNames"):
            lost(entry, "left out, for it asks for more of what is sent than its host and port")
            continue
        ports = tuple(_ports(entry, lost))
        by_name = tuple(
            replace(port, protocol=port.protocol.holding(NAMED[port.number.value])) for port in ports if port.number.value in NAMED
        )
        if names and by_name:
            found.append((by_name, names, ()))
        for port in ports if names else ():
            if port.number.value not in NAMED:
                lost(
                    entry,
                    f"port {port.number.value} of {', '.join(name.value for name in names)} is left out: only on 80 and 443 do clients say a name that a proxy can see",
                )
        if ports and addresses:
            found.append((ports, (), addresses))
        if ports and anywhere:
            found.append((ports, (), ()))
    return found


def _names(rule: Cursor, lost: Any) -> tuple[Fact[str], ...]:
    found: list[Fact[str]] = []
    for item in rule.each("toFQDNs"):
        name = item.text("matchName") or item.text("matchPattern")
        if name is None:
            continue
        text = name.value.lower().rstrip(".")
        if "*" not in text:
            found.append(name.holding(text))
        elif text.startswith("**.") and "*" not in text[3:]:
            found.append(name.holding(text[1:]))
        elif text.strip("*") == "":
            lost(item, f"{name.value} is left out: it is every name, and a mesh that opens every name opens every address")
        else:
            lost(item, f"{name.value} is left out: it holds for one level of names, where the pattern of a mesh takes every level below")
    return tuple(found)


def _addresses(rule: Cursor, lost: Any) -> tuple[Fact[str], ...]:
    found = list(rule.strings("toCIDR"))
    for item in rule.each("toCIDRSet"):
        cidr = item.text("cidr")
        if cidr is None or item.at("except"):
            lost(item, "a group of networks, or one with exceptions, is left out: a mesh names networks that are open as a whole")
        else:
            found.append(cidr)
    return tuple(found)


def _ports(entry: Cursor, lost: Any) -> list[OutsidePort]:
    """The single TCP ports of an entry; no mesh governs other protocols."""
    found: list[OutsidePort] = []
    for item in entry.each("ports"):
        port, protocol = item.text("port"), item.text("protocol")
        if protocol is not None and protocol.value.upper() not in ("TCP", "ANY"):
            continue
        if (
            port is None
            or not is_number(port.value)
            or port.value == "0"
            or (item.at("endPort") and str(item.at("endPort").value) != port.value)
        ):
            lost(item, "a range of ports, or one by name, is left out: a mesh opens ports one by one")
            continue
        found.append(OutsidePort(port.map(int), Fact("tcp", item.src, "egress.port"), None, item.src))
    return found
