"""What a cluster demands of several values of an object together: the expressions in the CRDs of Istio and the Gateway API that are no mere limit of
one value, and what the webhooks of Istio (pkg/config/validation) and Linkerd refuse beside them. Each is the path of the value and why it is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from meshport.mapping import demands_istio, demands_istio_traffic, demands_routes, demands_smi
from meshport.mapping.shapes import Demand, Path, Refusal, at, maps, texts, unread


def demands(value: dict[str, Any], group: str, kind: str, meshes: Collection[str] = ()) -> Iterator[Refusal]:
    """Why a cluster with these meshes refuses an object of this kind; nothing where no demand is known."""
    for rule in _RULES.get((group, kind), ()):
        yield from rule(value)
    if kind in ("HTTPRoute", "GRPCRoute") and group == "gateway.networking.k8s.io":
        yield from demands_routes.expressions(value, meshes)
    if "linkerd" in meshes:
        yield from demands_routes.linkerd(value, group, kind)


# -- Gateway API

_FILTERS = {
    "RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier", "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite", "ExtensionRef": "extensionRef", "CORS": "cors",
}  # fmt: skip
_ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")
_REPLACED = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")


def _filters(value: dict[str, Any]) -> Iterator[Refusal]:
    for steps in (("spec", "rules", "[]", "filters"), ("spec", "rules", "[]", "backendRefs", "[]", "filters")):
        for path, listed in at(value, *steps):
            seen: set[str] = set()
            for place, one in maps(listed, "[]"):
                kind = one.get("type")
                for known, member in _FILTERS.items():
                    if kind == known and one.get(member) is None:
                        yield (*path, *place, "type"), f"a filter {known} has no {member}"
                    if kind != known and isinstance(kind, str) and one.get(member) is not None:
                        yield (*path, *place, member), f"{member} stands in a filter {kind}"
                if kind in _ONCE and kind in seen:
                    yield (*path, *place, "type"), f"a second filter {kind}"
                seen.add(str(kind))
                for member in ("requestRedirect", "urlRewrite"):
                    for below, replaced in maps(one, member, "path"):
                        wanted = _REPLACED.get(str(replaced.get("type")))
                        if wanted and replaced.get(wanted) is None:
                            yield (*path, *place, *below), f"path of type {replaced['type']} has no {wanted}"
            if {"RequestRedirect", "URLRewrite"} <= seen:
                yield path, "a redirect and a rewrite stand together; one of them may"


def _rules(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, rule in maps(value, "spec", "rules", "[]"):
        if rule.get("backendRefs") and any(True for _ in at(rule, "filters", "[]", "requestRedirect")):
            yield (*path, "backendRefs"), "a redirect and backendRefs stand together; one of them may"
        prefixes = [one.get("type", "PathPrefix") for _, one in maps(rule, "matches", "[]", "path")]
        for member in ("requestRedirect", "urlRewrite"):
            for place, replaced in maps(rule, "filters", "[]", member, "path"):
                plain = not rule.get("matches") or (
                    isinstance(rule["matches"], list) and len(rule["matches"]) == 1 and prefixes in ([], ["PathPrefix"])
                )
                if replaced.get("type") == "ReplacePrefixMatch" and not plain:
                    yield (*path, *place), "replacePrefixMatch needs exactly one match, of a PathPrefix"
        for place, match in maps(rule, "matches", "[]", "path"):
            text = match.get("value")
            if not isinstance(text, str) or match.get("type", "PathPrefix") not in ("Exact", "PathPrefix"):
                continue
            bad = next((part for part in ("//", "/./", "/../", "%2f", "%2F", "#") if part in text), "")
            if not text.startswith("/") or bad or text.endswith(("/..", "/.")) or not _PATH.fullmatch(text):
                yield (*path, *place, "value"), f"{text!r} is no absolute path" + (f": {bad} may not stand in it" if bad else "")
    for steps in (("backendRefs", "[]"), ("filters", "[]", "requestMirror", "backendRef")):
        for path, ref in maps(value, "spec", "rules", "[]", *steps):
            if ref.get("group", "") == "" and ref.get("kind", "Service") == "Service" and ref.get("port") is None:
                yield path, "a Service is named without its port"


def _linkerd_paths(value: dict[str, Any]) -> Iterator[Refusal]:
    """What Linkerd's webhook asks of a path (policy-controller/k8s/index/src/routes/http.rs, path_match)."""
    for path, match in maps(value, "spec", "rules", "[]", "matches", "[]", "path"):
        text = match.get("value")
        if isinstance(text, str) and match.get("type", "PathPrefix") != "RegularExpression" and not text.startswith("/"):
            yield (*path, "value"), f"{text!r} is no absolute path"


def _linkerd_filters(value: dict[str, Any]) -> Iterator[Refusal]:
    """A filter of Linkerd's own route has what its type names, or the webhook cannot read the route (policy-controller/k8s/api/src/policy/httproute.rs)."""
    for path, one in maps(value, "spec", "rules", "[]", "filters", "[]"):
        kind = str(one.get("type"))
        member = _FILTERS.get(kind)
        if member is not None and one.get(member) is None:
            yield (*path, "type"), f"a filter {kind} has no {member}"


def _listeners(value: dict[str, Any]) -> Iterator[Refusal]:
    names: set[str] = set()
    places: set[tuple[str, ...]] = set()
    for path, one in maps(value, "spec", "listeners", "[]"):
        protocol, tls = one.get("protocol"), one.get("tls")
        if protocol in ("HTTP", "TCP", "UDP") and tls is not None:
            yield (*path, "tls"), f"a listener of {protocol} has tls"
        if protocol == "HTTPS" and isinstance(tls, dict) and tls.get("mode") not in (None, "", "Terminate"):
            yield (*path, "tls", "mode"), "a listener of HTTPS has to terminate TLS"
        if protocol in ("TCP", "UDP") and one.get("hostname"):
            yield (*path, "hostname"), f"a listener of {protocol} has a hostname"
        if (
            isinstance(tls, dict)
            and tls.get("mode", "Terminate") == "Terminate"
            and not tls.get("certificateRefs")
            and not tls.get("options")
        ):
            yield (*path, "tls"), "a listener that terminates TLS has neither certificateRefs nor options"
        name, place = str(one.get("name")), (str(one.get("port")), str(protocol), str(one.get("hostname")))
        if name in names:
            yield (*path, "name"), f"a second listener {name}"
        if place in places and one.get("port") is not None:
            yield (*path, "port"), "port, protocol and hostname of two listeners are the same"
        names.add(name)
        places.add(place)


def _timeouts(value: dict[str, Any]) -> Iterator[Refusal]:
    from meshport.values.durations import parse_gateway
    from meshport.values.problems import ValueProblem

    for path, one in maps(value, "spec", "rules", "[]", "timeouts"):
        whole, each = one.get("request"), one.get("backendRequest")
        if isinstance(whole, str) and isinstance(each, str):
            try:
                if parse_gateway(whole).ns and parse_gateway(each) > parse_gateway(whole):
                    yield (*path, "backendRequest"), f"backendRequest {each} is longer than request {whole}"
            except ValueProblem:
                continue


def _numbered(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, port in at(value, "spec", "port"):
        if isinstance(port, int) and not isinstance(port, bool) and not 0 < port < 65536:
            yield path, f"{port} is no port from 1 to 65535"


def _identified(value: dict[str, Any]) -> Iterator[Refusal]:
    from meshport.values.identities import parse_linkerd

    for path, spec in maps(value, "spec"):
        there = [name for name in ("identities", "identityRefs") if spec.get(name) is not None]
        if len(there) != 1:
            yield (*path, *there[1:]), "exactly one of identities and identityRefs has to be there"
        for place, text in texts(spec, "identities", "[]"):
            if (why := unread(parse_linkerd, text)) is not None:
                yield (*path, *place), why
        for place, ref in maps(spec, "identityRefs", "[]"):
            if not ref.get("name"):
                yield (*path, *place), "an account or a namespace is referred to without a name"


def _networks(*steps: str, needed: bool = False) -> Demand:
    """Networks of Linkerd: addresses or CIDRs, whose exceptions lie inside and do not take all of it."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, listed in at(value, *steps):
            if needed and listed == []:
                yield path, "no network is named"
        for path, one in maps(value, *steps, "[]"):
            whole = _network(one.get("cidr"))
            if isinstance(one.get("cidr"), str) and whole is None:
                yield (*path, "cidr"), f"{one['cidr']!r} is neither an address nor a CIDR"
            for place, text in texts(one, "except", "[]"):
                taken = _network(text)
                if taken is None:
                    yield (*path, *place), f"{text!r} is neither an address nor a CIDR"
                elif whole is not None and not _inside(taken, whole):
                    yield (*path, *place), f"{text} is no part of {one['cidr']}"
                elif taken == whole:
                    yield (*path, *place), f"nothing is left of {one['cidr']} without {text}"

    return check


def _profile(value: dict[str, Any]) -> Iterator[Refusal]:
    from meshport.values.durations import parse_go

    for steps in (("spec", "retryBudget", "ttl"), ("spec", "routes", "[]", "timeout")):
        for path, text in texts(value, *steps):
            if (why := unread(parse_go, text)) is not None:
                yield path, why
    for path, condition in maps(value, "spec", "routes", "[]", "condition"):
        yield from _conditions(condition, path)


def _conditions(condition: dict[str, Any], path: Path) -> Iterator[Refusal]:
    if not any(condition.get(name) for name in ("pathRegex", "method")) and all(
        condition.get(name) is None for name in ("all", "any", "not")
    ):
        yield path, "a condition says nothing"
    for steps in (("all", "[]"), ("any", "[]"), ("not",)):
        for place, inner in maps(condition, *steps):
            yield from _conditions(inner, (*path, *place))


def _rates(value: dict[str, Any]) -> Iterator[Refusal]:
    total = next((rate for _, rate in at(value, "spec", "total", "requestsPerSecond")), None)
    for steps in (("spec", "total"), ("spec", "identity"), ("spec", "overrides", "[]")):
        for path, rate in at(value, *steps, "requestsPerSecond"):
            if not isinstance(rate, int) or isinstance(rate, bool):
                continue
            if rate < 1:
                yield path, f"{rate} is no number of requests above 0"
            elif isinstance(total, int) and rate > total:
                yield path, f"{rate} is more than the total of {total}"
    for path, ref in maps(value, "spec", "overrides", "[]", "clientRefs", "[]"):
        if ref.get("kind") != "ServiceAccount":
            yield (*path, "kind"), f"a client is a ServiceAccount, and no {ref.get('kind')}"


def _inside(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)


def _network(text: Any) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False) if isinstance(text, str) else None
    except ValueError:
        return None


_ROUTE = (_filters, _rules)
_RULES: dict[tuple[str, str], tuple[Demand, ...]] = {
    **demands_istio.RULES,
    **demands_istio_traffic.RULES,
    **demands_smi.RULES,
    ("gateway.networking.k8s.io", "HTTPRoute"): (*_ROUTE, _timeouts),
    ("gateway.networking.k8s.io", "GRPCRoute"): (_filters,),
    ("linkerd.io", "ServiceProfile"): (_profile,),
    ("policy.linkerd.io", "HTTPRoute"): (_linkerd_paths, _linkerd_filters),
    ("policy.linkerd.io", "Server"): (_numbered,),
    ("policy.linkerd.io", "MeshTLSAuthentication"): (_identified,),
    ("policy.linkerd.io", "HTTPLocalRateLimitPolicy"): (_rates,),
    ("policy.linkerd.io", "NetworkAuthentication"): (_networks("spec", "networks", needed=True),),
    ("policy.linkerd.io", "ServerAuthorization"): (_networks("spec", "client", "networks"),),
    ("policy.linkerd.io", "EgressNetwork"): (_networks("spec", "networks", needed=True),),
    ("gateway.networking.k8s.io", "Gateway"): (_listeners,),
}
