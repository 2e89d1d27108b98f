"""The policies of one workload and port as two RBAC filters of Envoy, one that denies and one that allows, and requests as they find them.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto. Which policies hold for a workload is meshport's own answer
(`effective.access`); what they let through is Envoy's: paths normalised or not, expressions of RE2, the address behind `x-forwarded-for`, networks, and how rules,
conditions and exceptions combine.

Who calls stands in headers that nobody else may send: a principal (`x-peer`) instead of a client certificate, and for peers by labels the pod's namespace,
account and labels. So this says nothing of how certificates are checked, nor of what a mesh takes a pod for. The caller's address, the destination's and its
port come through the PROXY protocol, and are what Envoy sees of the connection: the caller's is compared as `source_ip`, for `direct_remote_ip`, which istiod
writes, stays the one on loopback. Tokens and ports that speak no HTTP are not rendered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from meshport.compare.request import Request
from meshport.effective.access import Effective
from meshport.ir import authorization as ir
from meshport.ir.authorization import Condition, Entity, Labelled, Network, Policy, Rule
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.values.identities import Identity, IdentityGlob

from .completed import MANAGER, ROUTER, TYPE
from .patterns import Unrendered, expression, header, text
from .proxy import Obj

RBAC = TYPE + "extensions.filters.http.rbac.v3."
SCOPE = "x-test-scope"
PEER, ACCOUNT, NAMESPACE, LABEL = "x-peer", "x-peer-account", "x-peer-namespace", "x-peer-label-"
SEEN = {"header": {"key": "x-path-seen", "value": "%REQ(:path)%"}}
_ANY = {"any": True}
MOST_EXCEPTIONS = 4
"""Exceptions of one rule that are multiplied out."""


# -- the proxy


def listener(name: str, scopes: dict[str, Obj], *, normalise: bool) -> Obj:
    """A listener that answers 200 where the filters of a scope let a request through. `scopes` are per-route configurations by name."""
    routes = [
        {
            "match": {"prefix": "", "headers": [{"name": SCOPE, "string_match": {"exact": scope}}]},
            "direct_response": {"status": 200},
            "typed_per_filter_config": config,
        }
        for scope, config in scopes.items()
    ]
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "normalize_path": normalise,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes, "response_headers_to_add": [SEEN]}]},
        "http_filters": [{"name": part, "typed_config": {"@type": RBAC + "RBAC"}} for part in ("deny", "allow")] + [ROUTER],
    }
    proxied = {
        "name": "envoy.filters.listener.proxy_protocol",
        "typed_config": {"@type": TYPE + "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "listener_filters": [proxied], "filter_chains": [chain]}


def filters(item: Effective, port: int, source: IR, networks: tuple[str, ...]) -> Obj:
    """What both filters do for requests to a port. Raises Unrendered."""
    mode = item.mode(port).value
    denies = _policies(item.denies, port, source, deny=True)
    if mode == "strict":
        denies["plaintext"] = _policy([_ANY], [_not({"header": {"name": PEER, "present_match": True}})])
    allows = _policies(item.at(port), port, source, deny=False) if item.at(port) else _by_default(item.default(port), networks)
    for number, path in enumerate(item.probe_paths(port) if allows is not None else ()):
        probe = [{"header": {"name": ":method", "string_match": {"exact": "GET"}}}, {"url_path": {"path": {"exact": path}}}]
        allows = {**(allows or {}), f"probe {number}": _policy(probe, [_ANY])}
    found = {"deny": _per_route("DENY", denies)}
    if allows is not None:
        found["allow"] = _per_route("ALLOW", allows)
    return found


def _by_default(default: str, networks: tuple[str, ...]) -> dict[str, Obj] | None:
    """What an open port admits (linkerd.io, reference/authorization-policy, default policies); None where that is everybody."""
    if default in ("all-unauthenticated", "audit"):
        return None
    who: list[Obj] = [] if default.endswith("unauthenticated") else [{"header": {"name": PEER, "present_match": True}}]
    if default.startswith("cluster"):
        who.append(_or([_network("source_ip", cidr) for cidr in networks]))
    return {} if default == "deny" else {"default": _policy([_ANY], who or [_ANY])}


def _per_route(action: str, policies: dict[str, Obj]) -> Obj:
    return {"@type": RBAC + "RBACPerRoute", "rbac": {"rules": {"action": action, "policies": policies}}}


def _policies(policies: Iterable[Policy], port: int, source: IR, *, deny: bool) -> dict[str, Obj]:
    found = {}
    for number, policy in enumerate(policies):
        for place, rule in enumerate(policy.rules):
            for part, (what, who) in enumerate(_alternatives(rule, port, source)):
                found[f"{number}.{place}.{part} {policy.ref.value}"] = _policy(what, who)
    return found


def _policy(what: list[Obj], who: list[Obj]) -> Obj:
    return {"permissions": [{"and_rules": {"rules": what or [_ANY]}}], "principals": [{"and_ids": {"ids": who or [_ANY]}}]}


def _alternatives(rule: Rule, port: int, source: IR) -> list[tuple[list[Obj], list[Obj]]]:
    """The rule as permissions and principals that have to hold together; several where exceptions are of both kinds."""
    if len(rule.unless) > MOST_EXCEPTIONS:
        raise Unrendered(f"a rule with {len(rule.unless)} exceptions")
    found = [_halves(rule.conditions, port, source)]
    for exception in rule.unless:
        what, who = _halves(exception, port, source)
        more = [([*one, _not({"and_rules": {"rules": what}})], other) for one, other in found] if what else []
        more += [(one, [*other, _not({"and_ids": {"ids": who}}, "not_id")]) for one, other in found] if who else []
        found = more
    return found


def _halves(conditions: Iterable[Condition], port: int, source: IR) -> tuple[list[Obj], list[Obj]]:
    what: list[Obj] = []
    who: list[Obj] = []
    for condition in conditions:
        one, other = (_permission, what) if condition.attribute not in (ir.IDENTITY, ir.SOURCE_IP, ir.REMOTE_IP) else (_principal, who)
        negative = "not_rule" if other is what else "not_id"
        if condition.any_of is not None:
            other.append(_or([one(condition.attribute, fact, source) for fact in condition.any_of], permission=other is what))
        other += [_not(one(condition.attribute, fact, source), negative) for fact in condition.none_of]
    return what, who


def _or(parts: list[Obj], *, permission: bool = False) -> Obj:
    if not parts:
        return _not(_ANY, "not_rule" if permission else "not_id")
    return {"or_rules": {"rules": parts}} if permission else {"or_ids": {"ids": parts}}


def _not(part: Obj, key: str = "not_id") -> Obj:
    return {"not_rule" if "and_rules" in part else key: part}


def _permission(attribute: str, fact: Fact[Any], source: IR) -> Obj:
    value = fact.value
    if attribute == ir.PORT:
        low, high = value if isinstance(value, tuple) else (-1, -1)
        return {"destination_port_range": {"start": low, "end": high + 1}} if 0 < low <= high < 65535 else _not(_ANY, "not_rule")
    if attribute == ir.PATH:
        if value.kind == "template":
            typed = {"@type": TYPE + "extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": _template(value.text)}
            return {"uri_template": {"name": "template", "typed_config": typed}}
        return {"url_path": {"path": text(value)}}
    if attribute == ir.METHOD:
        return {"header": header(":method", value)}
    if attribute == ir.HOST:
        matcher = text(value)
        return {"header": {"name": ":authority", "string_match": matcher if "safe_regex" in matcher else {**matcher, "ignore_case": True}}}
    if attribute == ir.DESTINATION_IP:
        return _within(value, "destination_ip", "and_rules", "rules", "not_rule")
    if attribute.startswith(ir.HEADER):
        return {"header": header(attribute.removeprefix(ir.HEADER), value)}
    if attribute.startswith(ir.QUERY) and value.kind == "exact":
        name = re.escape(attribute.removeprefix(ir.QUERY))
        return {"header": {"name": ":path", "string_match": expression(rf"[^?]*\?(?:[^&]*&)*?{name}={re.escape(value.text)}(?:&.*)?")}}
    raise Unrendered(f"{attribute} in {value}")


def _template(path: str) -> str:
    """Istio's spelling of a template as Envoy's (istio.io, reference/config/security/authorization-policy, Operation)."""
    return path.replace("{*}", "*").replace("{**}", "**")


def _principal(attribute: str, fact: Fact[Any], source: IR) -> Obj:
    value = fact.value
    if attribute != ir.IDENTITY:
        return _within(value, "source_ip" if attribute == ir.SOURCE_IP else "remote_ip", "and_ids", "ids", "not_id")
    if isinstance(value, Entity):
        known = {"all": _ANY, "cluster": _sent(NAMESPACE), "world": _not(_sent(NAMESPACE))}
        if value.name not in known:
            raise Unrendered(str(value))
        return known[value.name]
    if isinstance(value, Labelled):
        return {"and_ids": {"ids": [_sent(NAMESPACE, value.namespace or None), *_labels(value)]}}
    if isinstance(value, Identity):
        parts = [part if part is None else re.escape(part) for part in (value.trust_domain, value.namespace, value.service_account)]
        regex = "{}/ns/{}/sa/{}".format(*(part or "[^/]+" for part in parts))
        if value == Identity():
            regex = ".+"
        return {"header": {"name": PEER if source.enrols else ACCOUNT, "string_match": expression(regex)}}
    if isinstance(value, IdentityGlob):
        return {"header": {"name": PEER, "string_match": _glob(value.text)}}
    raise Unrendered(str(value))


def _glob(principal: str) -> Obj:
    """A principal, or a namespace, as istiod writes it: a `*` at either end is open."""
    if re.fullmatch(r"\*/ns/[^/]*/\*", principal):
        return expression(".*/ns/{}/.*".format(re.escape(principal[len("*/ns/") : -len("/*")]).replace(r"\*", ".*")))
    if principal.startswith("*"):
        return {"suffix": principal[1:]}
    return {"prefix": principal[:-1]} if principal.endswith("*") else {"exact": principal}


def _labels(peer: Labelled) -> list[Obj]:
    found = [_label(key, value) for key, value in peer.selector.labels]
    for need in peer.selector.expressions:
        inside = need.operator in ("In", "Exists")
        one = _or([_label(need.key, value) for value in need.values]) if need.values else _label(need.key, None)
        found.append(one if inside else _not(one))
    return found


def _label(key: str, value: str | None) -> Obj:
    return _sent(label_header(key), value)


def label_header(key: str) -> str:
    return LABEL + re.sub(r"[^a-z0-9]", "-", key.lower())


def _sent(name: str, value: str | None = None) -> Obj:
    return {"header": {"name": name, "present_match": True} if value is None else {"name": name, "string_match": {"exact": value}}}


def _within(network: Network, key: str, both: str, listed: str, negative: str) -> Obj:
    inside = _network(key, network.cidr)
    if not network.excluded:
        return inside
    return {both: {listed: [inside, *({negative: _network(key, cidr)} for cidr in network.excluded)]}}


def _network(key: str, cidr: str) -> Obj:
    network = ipaddress.ip_network(cidr, strict=False)
    return {key: {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}}


# -- a request


def headers(request: Request, item: Effective, port: int, scope: str) -> list[tuple[str, str]]:
    """The headers that say to the filters what they cannot see on loopback. Where mutual TLS is off nobody shows an identity."""
    caller = request.caller
    found = [(SCOPE, scope)]
    if caller.principal is not None and item.mode(port).value != "disable":
        found.append((PEER, caller.principal))
    if caller.pod:
        found += [(NAMESPACE, caller.namespace or ""), (ACCOUNT, f"cluster.local/ns/{caller.namespace}/sa/{caller.account or 'default'}")]
        labels = {**caller.labels, ir.ACCOUNT_LABEL: caller.account or "default"}
        found += [(label_header(key), value) for key, value in labels.items()]
    return found
