"""Why Cilium's agent, or the API server by the schema, refuses a policy as a whole (docs.cilium.io, security/policy; pkg/policy/api/rule_validation.go).

What no row of the table can tell: members that exclude each other are told from the bindings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from meshport.dialects.cilium.peers import ENTITIES
from meshport.effective.networks import covers
from meshport.values.ports import is_number
from meshport.values.regex import refused as no_expression

SECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
PROTOCOLS = ("TCP", "UDP", "SCTP", "ANY", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}  # and whether values are needed
Path = tuple[str | int, ...]
MOST = 40  # ports, or ICMP types, of one rule


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule is refused, and where that stands: a path from the rule (`spec`, or an entry of `specs`)."""

    what: str
    path: Path = ()

    def below(self, *steps: str | int) -> Refusal:
        return Refusal(self.what, (*steps, *self.path))


def refused(spec: Any, *, clusterwide: bool) -> Refusal | None:
    """The first reason why a rule (`spec`, or an entry of `specs`) is refused; None where it is taken."""
    return next(_reasons(spec, clusterwide), None)


def _reasons(spec: Any, clusterwide: bool) -> Iterator[Refusal]:
    if not isinstance(spec, dict):
        yield Refusal("its rule is no mapping")
        return
    if "nodeSelector" in spec and not clusterwide:
        yield Refusal("a nodeSelector stands in a CiliumNetworkPolicy; only a clusterwide policy may have one", ("nodeSelector",))
    if not any(_dicts(spec.get(section)) for section in SECTIONS):
        yield Refusal("none of ingress, ingressDeny, egress and egressDeny has a rule (deny all is written `ingress: [{}]`)")
    for key in ("endpointSelector", "nodeSelector"):
        yield from (item.below(key) for item in _selector(spec.get(key), key))
    for section in SECTIONS:
        value = spec.get(section)
        if value is not None and not isinstance(value, list):
            yield Refusal(f"{section} is no list", (section,))
        for index, rule in _dicts(value):
            for item in _rule(rule, section, nodes="nodeSelector" in spec):
                yield Refusal(f"{section}: {item.what}", (section, index, *item.path))


_NAME, _PATTERN = re.compile(r"[-a-zA-Z0-9_.]+"), re.compile(r"[-a-zA-Z0-9_.*]+")


def _rule(rule: dict[str, Any], section: str, *, nodes: bool) -> Iterator[Refusal]:
    start = "from" if section.startswith("ingress") else "to"
    for key, value in rule.items():
        if key in ("fromEndpoints", "toEndpoints", "fromNodes", "toNodes", "fromRequires", "toRequires"):
            for index, selector in enumerate(_items(value)):
                yield from (item.below(key, index) for item in _selector(selector, key))
    for index, entity in enumerate(_items(rule.get(start + "Entities"))):
        if entity not in ENTITIES:
            yield Refusal(f"{entity!r} is no entity", (start + "Entities", index))
    for index, cidr in enumerate(_items(rule.get(start + "CIDR"))):
        if not _is_cidr(cidr):
            yield Refusal(f"{cidr!r} is no CIDR", (start + "CIDR", index))
    for index, entry in _dicts(rule.get(start + "CIDRSet")):
        yield from (item.below(start + "CIDRSet", index) for item in _cidr_set(entry))
    for index, entry in _dicts(rule.get("toFQDNs")):
        yield from (item.below("toFQDNs", index) for item in _name(entry))
    mode = rule.get("authentication")
    if isinstance(mode, dict):
        if section.endswith("Deny"):
            yield Refusal("a deny takes no authentication", ("authentication",))
        elif mode.get("mode") not in ("disabled", "required", "test-always-fail"):
            yield Refusal(f"{mode.get('mode')!r} is no mode of authentication", ("authentication", "mode"))
    for index, entry in _dicts(rule.get("icmps")):
        if len(_items(entry.get("fields"))) > MOST:
            yield Refusal(f"more than {MOST} ICMP types", ("icmps", index, "fields"))
    for index, entry in _dicts(rule.get("toPorts")):
        yield from (item.below("toPorts", index) for item in _ports(entry, section, nodes=nodes))


def _name(entry: dict[str, Any]) -> Iterator[Refusal]:
    """Characters of names and of patterns of names (pkg/policy/api/fqdn.go, pkg/fqdn/matchpattern); a `*` belongs into a pattern."""
    for key, form in (("matchName", _NAME), ("matchPattern", _PATTERN)):
        text = entry.get(key)
        if isinstance(text, str) and text and not form.fullmatch(text):
            yield Refusal(
                f"{text!r} is no " + ("name; a `*` stands in matchPattern alone" if "*" in text and key == "matchName" else "name of DNS"),
                (key,),
            )


def _cidr_set(entry: dict[str, Any]) -> Iterator[Refusal]:
    cidr = entry.get("cidr")
    if cidr is None:
        if entry.get("except"):
            yield Refusal("`except` stands without `cidr`", ("except",))
        return
    if not _is_cidr(cidr):
        yield Refusal(f"{cidr!r} is no CIDR", ("cidr",))
        return
    for index, item in enumerate(_items(entry.get("except"))):
        if not _is_cidr(item):
            yield Refusal(f"{item!r} is no CIDR", ("except", index))
            continue
        if not covers(str(cidr), str(item)):
            yield Refusal(f"the exception {item} does not lie in {cidr}", ("except", index))


def _ports(entry: dict[str, Any], section: str, *, nodes: bool) -> Iterator[Refusal]:
    ports = _dicts(entry.get("ports"))
    if len(ports) > MOST:
        yield Refusal(f"more than {MOST} ports", ("ports",))
    for index, port in ports:
        yield from (item.below("ports", index) for item in _port(port))
    rules = entry.get("rules")
    if rules is None:
        rules = {}
    if not isinstance(rules, dict):
        yield Refusal("`rules` is no mapping", ("rules",))
        return
    if rules and section.endswith("Deny"):
        yield Refusal("a deny looks at no more than addresses and ports", ("rules",))
    if entry.get("listener") is not None and section != "egress":
        yield Refusal("a listener stands outside of egress", ("listener",))
    if rules.get("dns"):
        yield from _dns(entry, ports, section)
    if entry.get("listener") is not None and (rules.get("dns") or _seven(rules)):
        yield Refusal("a listener stands beside rules for requests", ("listener",))
    if _seven(rules):
        yield from _requests(entry, ports, rules, nodes=nodes)
    for key, check in (("http", _http), ("kafka", _kafka), ("dns", _name)):
        for index, element in _dicts(rules.get(key)):
            yield from (item.below("rules", key, index) for item in check(element))


def _dns(entry: dict[str, Any], ports: list[tuple[int, dict[str, Any]]], section: str) -> Iterator[Refusal]:
    if section != "egress":
        yield Refusal("DNS rules stand outside of egress", ("rules", "dns"))
    if not ports:
        yield Refusal("DNS rules need a port, 53", ("rules", "dns"))
    for index, port in ports:
        end, number = port.get("endPort"), str(port.get("port"))
        if isinstance(end, int) and is_number(number) and end > int(number):
            yield Refusal("DNS rules take no range of ports", ("ports", index, "endPort"))


def _requests(entry: dict[str, Any], ports: list[tuple[int, dict[str, Any]]], rules: dict[str, Any], *, nodes: bool) -> Iterator[Refusal]:
    if nodes:
        yield Refusal("a policy for nodes takes no rules of HTTP or Kafka", ("rules",))
    for index, port in ports:
        if not rules.get("dns") and str(port.get("protocol", "ANY")).upper() != "TCP":
            yield Refusal("rules of HTTP or Kafka need `protocol: TCP` at each of their ports", ("ports", index))
    if not ports:
        yield Refusal("rules of HTTP or Kafka need a port other than 0", ("rules",))
    for index, port in ports:
        if str(port.get("port", "")) in ("", "0"):
            yield Refusal("rules of HTTP or Kafka need a port other than 0", ("ports", index))
    if entry.get("serverNames") and not entry.get("terminatingTLS"):
        yield Refusal("serverNames stand beside rules of HTTP without terminatingTLS", ("serverNames",))


def _port(port: dict[str, Any]) -> Iterator[Refusal]:
    number, end = port.get("port"), port.get("endPort")
    protocol = port.get("protocol")
    if protocol is not None and str(protocol).upper() not in PROTOCOLS:
        yield Refusal(f"{protocol!r} is no protocol", ("protocol",))
    if not isinstance(number, str):
        yield Refusal("a port is no text", ("port",)) if number is not None else Refusal("a port has no number or name")
        return
    if is_number(number) and int(number) > 65535:
        yield Refusal(f"{number} is no port", ("port",))
    elif end is not None and end != 0 and (not is_number(number) or not isinstance(end, int) or end < int(number) or end > 65535):
        yield Refusal(f"the range {number} to {end} is none", ("endPort",))


def _http(element: dict[str, Any]) -> Iterator[Refusal]:
    for key in ("path", "method"):
        text = element.get(key)
        if isinstance(text, str) and text:
            if (why := no_expression(text)) is not None:
                yield Refusal(f"{text!r} is no regular expression ({why})", (key,))
        elif text is not None and not isinstance(text, str):
            yield Refusal(f"{key} is no text", (key,))
    for index, match in _dicts(element.get("headerMatches")):
        if not isinstance(match.get("name"), str) or not match["name"]:
            yield Refusal("an entry of headerMatches has no name", ("headerMatches", index))
        if match.get("mismatch") not in (None, "LOG", "ADD", "DELETE", "REPLACE"):
            yield Refusal(f"{match.get('mismatch')!r} is no action on a mismatch", ("headerMatches", index, "mismatch"))


def _kafka(element: dict[str, Any]) -> Iterator[Refusal]:
    topic = element.get("topic")
    if isinstance(topic, str) and not all(char.isalnum() or char in "._-" for char in topic):
        yield Refusal(f"{topic!r} is no Kafka topic", ("topic",))
    if element.get("role") and element.get("apiKey"):
        yield Refusal("a Kafka rule has both role and apiKey", ("role",))


def _seven(rules: dict[str, Any]) -> bool:
    return bool(rules.get("http") or rules.get("kafka") or rules.get("l7") or rules.get("l7proto"))


def _selector(selector: Any, where: str) -> Iterator[Refusal]:
    if not isinstance(selector, dict):
        if selector is not None:
            yield Refusal(f"{where} is no label selector")
        return
    for index, item in _dicts(selector.get("matchExpressions")):
        place = ("matchExpressions", index, "operator")
        operator = item.get("operator")
        if not isinstance(operator, str) or operator not in OPERATORS:
            yield Refusal(f"{where}: {operator!r} is no operator", place)
        elif bool(item.get("values")) != OPERATORS[operator]:
            yield Refusal(f"{where}: {operator} " + ("needs values" if OPERATORS[operator] else "takes no values"), place)
    labels = selector.get("matchLabels")
    if isinstance(labels, dict) and not all(isinstance(value, str) for value in labels.values()):
        yield Refusal(f"{where}: a label's value is no text", ("matchLabels",))


def _is_cidr(text: Any) -> bool:
    try:
        ip_network(str(text), strict=False)
    except ValueError:
        return False
    return isinstance(text, str)


def _dicts(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """The mappings of a list with their places in it."""
    return [(index, item) for index, item in enumerate(_items(value)) if isinstance(item, dict)]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
