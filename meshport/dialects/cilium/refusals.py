"""Why Cilium's agent, or the API server by the schema, refuses a policy as a whole (docs.cilium.io, security/policy; pkg/policy/api/rule_validation.go).

What no row of the table can tell: members that exclude each other are told from the bindings.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from meshport.dialects.cilium.peers import ENTITIES
from meshport.effective.networks import covers
from meshport.values.language import Language
from meshport.values.ports import is_number
from meshport.values.problems import LanguageTooLarge, ValueProblem

SECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny")
PROTOCOLS = ("TCP", "UDP", "SCTP", "ANY", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}  # and whether values are needed
MOST = 40  # ports, or ICMP types, of one rule


def refused(spec: Any, *, clusterwide: bool) -> str:
    """Why a rule (`spec`, or an entry of `specs`) is refused; the empty text where it is not."""
    return next(_reasons(spec, clusterwide), "")


def _reasons(spec: Any, clusterwide: bool) -> Iterator[str]:
    if not isinstance(spec, dict):
        yield "its rule is no mapping"
        return
    if "nodeSelector" in spec and not clusterwide:
        yield "a nodeSelector stands in a CiliumNetworkPolicy; only a clusterwide policy may have one"
    if not any(_dicts(spec.get(section)) for section in SECTIONS):
        yield "none of ingress, ingressDeny, egress and egressDeny has a rule (deny all is written `ingress: [{}]`)"
    for key in ("endpointSelector", "nodeSelector"):
        yield from _selector(spec.get(key), key)
    for section in SECTIONS:
        value = spec.get(section)
        if value is not None and not isinstance(value, list):
            yield f"{section} is no list"
        for rule in _dicts(value):
            for reason in _rule(rule, section):
                yield f"{section}: {reason}"


def _rule(rule: dict[str, Any], section: str) -> Iterator[str]:
    start = "from" if section.startswith("ingress") else "to"
    for key, value in rule.items():
        if key in ("fromEndpoints", "toEndpoints", "fromNodes", "toNodes", "fromRequires", "toRequires"):
            for selector in value if isinstance(value, list) else ():
                yield from _selector(selector, key)
    for entity in _items(rule.get(start + "Entities")):
        if entity not in ENTITIES:
            yield f"{entity!r} is no entity"
    for cidr in _items(rule.get(start + "CIDR")):
        if not _is_cidr(cidr):
            yield f"{cidr!r} is no CIDR"
    for entry in _dicts(rule.get(start + "CIDRSet")):
        yield from _cidr_set(entry)
    mode = rule.get("authentication")
    if isinstance(mode, dict):
        if section.endswith("Deny"):
            yield "a deny takes no authentication"
        elif mode.get("mode") not in ("disabled", "required", "test-always-fail"):
            yield f"{mode.get('mode')!r} is no mode of authentication"
    fields = [field for entry in _dicts(rule.get("icmps")) for field in _dicts(entry.get("fields"))]
    if len(fields) > MOST:
        yield f"more than {MOST} ICMP types"
    for entry in _dicts(rule.get("toPorts")):
        yield from _ports(entry, section)


def _cidr_set(entry: dict[str, Any]) -> Iterator[str]:
    cidr = entry.get("cidr")
    if cidr is None:
        if entry.get("except"):
            yield "`except` stands without `cidr`"
        return
    if not _is_cidr(cidr):
        yield f"{cidr!r} is no CIDR"
        return
    for item in _items(entry.get("except")):
        if not _is_cidr(item):
            yield f"{item!r} is no CIDR"
            continue
        if not covers(str(cidr), str(item)):
            yield f"the exception {item} does not lie in {cidr}"


def _ports(entry: dict[str, Any], section: str) -> Iterator[str]:
    ports = _dicts(entry.get("ports"))
    if len(ports) > MOST:
        yield f"more than {MOST} ports"
    for port in ports:
        yield from _port(port)
    rules = entry.get("rules")
    if rules is None:
        rules = {}
    if not isinstance(rules, dict):
        yield "`rules` is no mapping"
        return
    if rules and section.endswith("Deny"):
        yield "a deny looks at no more than addresses and ports"
    if entry.get("listener") is not None and section != "egress":
        yield "a listener stands outside of egress"
    if rules.get("dns") and section != "egress":
        yield "DNS rules stand outside of egress"
    if _seven(rules):
        if any(str(port.get("protocol", "ANY")).upper() != "TCP" for port in ports if not rules.get("dns")):
            yield "rules of HTTP or Kafka need `protocol: TCP` at each of their ports"
        if not ports or any(str(port.get("port", "")) in ("", "0") for port in ports):
            yield "rules of HTTP or Kafka need a port other than 0"
        if entry.get("serverNames") and not entry.get("terminatingTLS"):
            yield "serverNames stand beside rules of HTTP without terminatingTLS"
    for element in _dicts(rules.get("http")):
        yield from _http(element)
    for element in _dicts(rules.get("kafka")):
        yield from _kafka(element)


def _port(port: dict[str, Any]) -> Iterator[str]:
    number, end = port.get("port"), port.get("endPort")
    protocol = port.get("protocol")
    if protocol is not None and str(protocol).upper() not in PROTOCOLS:
        yield f"{protocol!r} is no protocol"
    if not isinstance(number, str):
        yield "a port is no text" if number is not None else "a port has no number or name"
        return
    if is_number(number) and int(number) > 65535:
        yield f"{number} is no port"
    elif end is not None and end != 0 and (not is_number(number) or not isinstance(end, int) or end < int(number) or end > 65535):
        yield f"the range {number} to {end} is none"


def _http(element: dict[str, Any]) -> Iterator[str]:
    for key in ("path", "method"):
        text = element.get(key)
        if isinstance(text, str) and text:
            try:
                Language.regex(text, "re2")
            except LanguageTooLarge:
                continue
            except ValueProblem as error:
                yield f"{text!r} is no regular expression ({error})"
        elif text is not None and not isinstance(text, str):
            yield f"{key} is no text"
    for match in _dicts(element.get("headerMatches")):
        if not isinstance(match.get("name"), str) or not match["name"]:
            yield "an entry of headerMatches has no name"
        if match.get("mismatch") not in (None, "LOG", "ADD", "DELETE", "REPLACE"):
            yield f"{match.get('mismatch')!r} is no action on a mismatch"


def _kafka(element: dict[str, Any]) -> Iterator[str]:
    topic = element.get("topic")
    if isinstance(topic, str) and not all(char.isalnum() or char in "._-" for char in topic):
        yield f"{topic!r} is no Kafka topic"
    if element.get("role") and element.get("apiKey"):
        yield "a Kafka rule has both role and apiKey"


def _seven(rules: dict[str, Any]) -> bool:
    return bool(rules.get("http") or rules.get("kafka") or rules.get("l7") or rules.get("l7proto"))


def _selector(selector: Any, where: str) -> Iterator[str]:
    if not isinstance(selector, dict):
        if selector is not None:
            yield f"{where} is no label selector"
        return
    for item in _dicts(selector.get("matchExpressions")):
        operator = item.get("operator")
        if not isinstance(operator, str) or operator not in OPERATORS:
            yield f"{where}: {operator!r} is no operator"
        elif bool(item.get("values")) != OPERATORS[operator]:
            yield f"{where}: {operator} " + ("needs values" if OPERATORS[operator] else "takes no values")
    labels = selector.get("matchLabels")
    if isinstance(labels, dict) and not all(isinstance(value, str) for value in labels.values()):
        yield f"{where}: a label's value is no text"


def _is_cidr(text: Any) -> bool:
    try:
        ip_network(str(text), strict=False)
    except ValueError:
        return False
    return isinstance(text, str)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
