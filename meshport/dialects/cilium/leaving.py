"""What Cilium's egress rules say of the world outside the cluster, for meshes that take their place (`--no-keep-network-policy`).

A proxy tells what leaves by its name or its address, and TCP alone. So names count on the ports on which clients say them (the host of HTTP on 80, the server
name of TLS on 443), addresses on every port; the rest is left out, which refuses it. Inside the cluster no proxy refuses at the client.
https://docs.cilium.io/en/stable/security/policy/layer3/#dns-based
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cilium.requests import demanded
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import HEADER, METHOD, PATH
from meshport.ir.base import Fact, Ref, Selector
from meshport.ir.exposure import EgressDefault, Outside, OutsidePort
from meshport.ir.model import IR, Loss
from meshport.ir.routing import Beyond, RouteMatch, RouteRule, ServiceRoutes
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.mapping.bound import Bound

KIND = "CiliumNetworkPolicy"
HTTP = 80
NAMED = {HTTP: "http", 443: "tls"}
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
            judged: dict[str, _Judged] = {}
            plain: set[str] = set()
            for root, selector in zip(roots, selectors, strict=True):
                _policy(root, home, selector, ir, judged, plain, raw=options.target == "linkerd")
            ir.routes.extend(one.routes(home) for host, one in sorted(judged.items()) if host not in plain)  # what opens more holds beside


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


@dataclass(slots=True)
class _Judged:
    """The requests that rules let go to a host, on the port of HTTP."""

    host: Fact[str]
    port: Fact[int]
    ref: Fact[Ref]
    document: int
    rules: list[RouteRule] = field(default_factory=list)

    def routes(self, home: str) -> ServiceRoutes:
        src = frozenset().union(*(rule.src for rule in self.rules))
        return ServiceRoutes(
            self.ref, KIND, None, self.host, self.port, tuple(self.rules), "first", "refuse", self.document, (self.document,), family="cilium",
            beyond=Beyond((home,), (self.port.value,)), src=src,
        )  # fmt: skip


def _policy(root: Cursor, home: str, selector: Fact[Selector], ir: IR, judged: dict[str, _Judged], plain: set[str], *, raw: bool) -> None:
    ref = root.ref().map(lambda one: replace(one, namespace=home))
    ir.egress_defaults.append(
        EgressDefault(
            ref, KIND, root.number, home, selector, Fact(True, root.at("spec").at("endpointSelector").src, "egress.mode"), src=selector.src
        )
    )
    for rule in root.at("spec").each("egress"):
        for ports, hosts, addresses, matches in _openings(rule, root.number, ir, raw):
            ir.outside.append(Outside(ref, KIND, root.number, hosts, addresses, ports, seen_by=(home,)))
            if matches is None:
                plain |= {host.value for host in hosts if any(port.number.value == HTTP for port in ports)}
                continue
            for host in hosts:
                found = judged.setdefault(host.value, _Judged(host, ports[0].number, ref, root.number))
                found.rules.append(RouteRule(f"{root.document.name}-{len(found.rules) + 1}", matches, (), src=rule.src))
    ir.egress[:] = [replace(one, outside=True) if one.document == root.number else one for one in ir.egress]


Opening = tuple[tuple[OutsidePort, ...], tuple[Fact[str], ...], tuple[Fact[str], ...], tuple[RouteMatch, ...] | None]


def _openings(rule: Cursor, number: int, ir: IR, raw: bool) -> list[Opening]:
    """Ports with the names or the addresses that they are open to, with neither for every address; and what requests have to be, None for nothing."""

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
        demands = [one for one in entry.at("rules").each("http") if one.value]
        if entry.at("serverNames") or (demands and not (names and not anywhere and not addresses)):
            lost(entry, "left out, for it asks for more of what is sent than its host and port")
            continue
        ports = tuple(_ports(entry, lost))
        by_name = tuple(
            replace(port, protocol=port.protocol.holding(NAMED[port.number.value])) for port in ports if port.number.value in NAMED
        )
        if demands:
            matches = tuple(match for item in demands for match in _matches(item, lost, raw))
            http = tuple(port for port in by_name if port.number.value == HTTP)
            if len(http) < len(ports):
                lost(entry, "its rules for requests are left out but on port 80: elsewhere no proxy is known to see HTTP")
            if matches and http:
                found.append((http, names, (), matches))
            continue
        if names and by_name:
            found.append((by_name, names, (), None))
        for port in ports if names else ():
            if port.number.value not in NAMED:
                lost(
                    entry,
                    f"port {port.number.value} of {', '.join(name.value for name in names)} is left out: only on 80 and 443 do clients say a name that a proxy can see",
                )
        if ports and addresses:
            found.append((ports, (), addresses, None))
        if ports and anywhere:
            found.append((ports, (), (), None))
    return found


def _matches(place: Cursor, lost: Any, raw: bool) -> list[RouteMatch]:
    """One entry of HTTP rules as matches of a route; [] where it asks for what a route cannot, above all for a path without a query. `raw`: the reader of the
    route compares paths as they come, and Cilium what they resolve to."""
    found = [RouteMatch(src=place.src)]
    for condition in demanded(place):
        values = condition.any_of or ()
        kind, _, name = condition.attribute.partition(":")
        if condition.attribute == PATH and raw and any(value.value.kind != "exact" for value in values):
            lost(place, "a rule for requests is left out: Linkerd takes paths as they come, so that one with dot segments would pass it")
            return []
        if condition.attribute == PATH:
            found = [replace(one, path=value) for one in found for value in values]
        elif condition.attribute == METHOD:
            found = [replace(one, method=value) for one in found for value in values]
        elif f"{kind}:" == HEADER and not name.startswith(":") and len(values) == 1:
            found = [replace(one, headers=(*one.headers, (name, values[0]))) for one in found]
        else:
            lost(
                place,
                "a rule for requests is left out: a route does not look at the query as a part of the path, nor at the host once more",
            )
            return []
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
