"""What a cluster demands of several values of an object together: the expressions in the CRDs of Istio and the Gateway API that are no mere limit of
one value, and what the webhooks of Istio (pkg/config/validation) and Linkerd refuse beside them. Each is the path of the value and why it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

Path = tuple[str | int, ...]
Refusal = tuple[Path, str]


def demands(value: dict[str, Any], group: str, kind: str) -> Iterator[Refusal]:
    """Why a cluster refuses an object of this kind; nothing where no demand is known."""
    for rule in _RULES.get((group, kind), ()):
        yield from rule(value)


# -- reading without minding the shape


def at(value: Any, *steps: str) -> Iterator[tuple[Path, Any]]:
    """What stands at a path of keys, `[]` being each item of a list and `*` each entry of a mapping."""
    found: list[tuple[Path, Any]] = [((), value)]
    for step in steps:
        below: list[tuple[Path, Any]] = []
        for path, one in found:
            if step == "[]":
                below += [((*path, index), item) for index, item in enumerate(one)] if isinstance(one, list) else []
            elif step == "*":
                below += [((*path, key), item) for key, item in one.items()] if isinstance(one, dict) else []
            elif isinstance(one, dict) and one.get(step) is not None:
                below.append(((*path, step), one[step]))
        found = below
    return iter(found)


def _maps(value: Any, *steps: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    return ((path, one) for path, one in at(value, *steps) if isinstance(one, dict))


def _texts(value: Any, *steps: str) -> Iterator[tuple[Path, str]]:
    return ((path, one) for path, one in at(value, *steps) if isinstance(one, str))


def _one_of(*names: str, at_path: tuple[str, ...] = ("spec",)) -> Callable[[dict[str, Any]], Iterator[Refusal]]:
    """At most one of these members."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in _maps(value, *at_path):
            there = [name for name in names if one.get(name) is not None]
            if len(there) > 1:
                yield (*path, there[1]), f"{' and '.join(there)} stand together; one of them may"

    return check


# -- Istio

_TARGETS = {("gateway.networking.k8s.io", "Gateway"), ("gateway.networking.k8s.io", "GatewayClass"), ("", "Service"), ("core", "Service"),
            ("networking.istio.io", "ServiceEntry")}  # fmt: skip


def _target(value: dict[str, Any]) -> Iterator[Refusal]:
    for steps in (("spec", "targetRef"), ("spec", "targetRefs", "[]")):
        for path, ref in _maps(value, *steps):
            if isinstance(ref.get("kind"), str) and (str(ref.get("group") or ""), ref["kind"]) not in _TARGETS:
                yield (*path, "kind"), f"{ref['kind']} of group {ref.get('group') or 'core'!r} is no target of a policy"


def _ports_of_pods(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in _maps(value, "spec"):
        labels = next(at(spec, "selector", "matchLabels"), None)
        if spec.get("portLevelMtls") is not None and (labels is None or not labels[1]):
            yield (*path, "portLevelMtls"), "portLevelMtls needs a selector with labels"


def _tokens(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, rule in _maps(value, "spec", "jwtRules", "[]"):
        if rule.get("issuer") is None and not any(rule.get(name) for name in ("jwksUri", "jwks_uri")):
            yield path, "a rule needs an issuer or a jwksUri"
        there = [name for name in ("jwksUri", "jwks_uri", "jwks") if rule.get(name) is not None]
        if len(there) > 1:
            yield (*path, there[1]), f"{' and '.join(there)} stand together; one of them may"
        for name in ("jwksUri", "jwks_uri"):
            if isinstance(rule.get(name), str) and rule[name].partition("://")[0] not in ("http", "https"):
                yield (*path, name), f"{rule[name]!r} is no URL of http or https"


_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:\*|(?:\*-?)?{_LABEL})(?:\.{_LABEL})*\.?")


def _host(text: str) -> str | None:
    """Why a text is none of Istio's host names (ValidateWildcardDomain): labels, the first of which may be or begin with a star."""
    return None if len(text) <= 255 and _DOMAIN.fullmatch(text) else f"{text!r} is no host name"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _hosted(value: dict[str, Any], addresses: bool = False) -> Iterator[Refusal]:
    for path, text in _texts(value, "spec", "hosts", "[]"):
        if (why := _host(text)) is not None and not (addresses and _is_address(text)):
            yield path, why


def _entry(value: dict[str, Any]) -> Iterator[Refusal]:
    yield from _hosted(value)
    for path, spec in _maps(value, "spec"):
        resolution = spec.get("resolution") or "NONE"
        if resolution not in ("STATIC", "NONE"):
            for place, address in _texts(spec, "addresses", "[]"):
                if "/" in address:
                    yield (*path, *place), f"a range of addresses needs resolution STATIC or NONE, not {resolution}"
        endpoints = spec.get("endpoints")
        if resolution == "NONE" and endpoints is not None:
            yield (*path, "endpoints"), "resolution NONE takes no endpoints"
        if resolution == "DNS_ROUND_ROBIN" and isinstance(endpoints, list) and len(endpoints) > 1:
            yield (*path, "endpoints"), "resolution DNS_ROUND_ROBIN takes one endpoint"


def _endpoint(*steps: str) -> Callable[[dict[str, Any]], Iterator[Refusal]]:
    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in _maps(value, *steps):
            address = one.get("address")
            if address is None and one.get("network") is None:
                yield path, "neither address nor network is there"
            if isinstance(address, str) and address.startswith("unix://"):
                if address[7:8] not in ("/", "@"):
                    yield (*path, "address"), f"{address!r} is no absolute path of a socket"
                if address.endswith("/"):
                    yield (*path, "address"), f"{address!r} is a folder and no socket"
                if one.get("ports") is not None:
                    yield (*path, "ports"), "a socket has no ports"
            for place, _ in at(one, "ports", "*"):
                name = str(place[-1])
                if len(name) >= 63 or not re.fullmatch(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?", name):
                    yield (*path, *place), f"{name!r} is no name of a port"

    return check


def _envoy(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, match in _maps(value, "spec", "configPatches", "[]", "match"):
        if (match.get("waypoint") is not None) != (match.get("context") == "WAYPOINT"):
            yield path, "a match on a waypoint and context WAYPOINT go together"


def _metrics(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, tag in _maps(value, "spec", "metrics", "[]", "overrides", "[]", "tagOverrides", "*"):
        if tag.get("operation") == "UPSERT" and tag.get("value") in (None, ""):
            yield path, "UPSERT needs a value"
        if tag.get("operation") == "REMOVE" and tag.get("value") is not None:
            yield (*path, "value"), "REMOVE takes no value"


def _wasm(*steps: str) -> Callable[[dict[str, Any]], Iterator[Refusal]]:
    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in _maps(value, *steps):
            url = one.get("url")
            if isinstance(url, str):
                scheme, there, rest = url.partition("://")
                schemed = not there or (scheme in ("http", "https", "file", "oci") and rest)
                if not schemed or re.search(r"[^!-~]|^:|%(?![0-9a-fA-F]{2})", url):
                    yield (*path, "url"), f"{url!r} is no URL of oci, http, https or file"
            for place, variable in _maps(one, "vmConfig", "env", "[]"):
                if variable.get("valueFrom") == "HOST" and variable.get("value") is not None:
                    yield (*path, *place, "value"), "a value stands beside valueFrom HOST"

    return check


_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")  # protocols for HTTP without TLS


def _servers(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in _maps(value, "spec"):
        if not spec.get("servers"):
            yield path, "a gateway needs a server"
    names = set()
    for path, server in _maps(value, "spec", "servers", "[]"):
        port, tls = server.get("port"), server.get("tls")
        if not isinstance(port, dict):
            continue
        if port.get("targetPort"):
            yield (*path, "port", "targetPort"), "targetPort has no meaning for a gateway"
        if str(port.get("name")) in names:
            yield (*path, "port", "name"), f"another server has a port of the name {port.get('name')!r}"
        names.add(str(port.get("name")))
        protocol = str(port.get("protocol")).upper()
        if protocol in ("HTTPS", "TLS") and tls is None:
            yield path, f"a server for {protocol} needs tls"
        if isinstance(tls, dict) and protocol not in ("HTTPS", "TLS"):
            files = any(tls.get(name) for name in ("caCertificates", "privateKey", "serverCertificate"))
            if protocol not in _PLAIN or files or tls.get("mode") not in (None, "PASSTHROUGH", "AUTO_PASSTHROUGH"):
                yield (*path, "tls"), f"a server for {protocol} takes no tls" + (" but httpsRedirect" if protocol in _PLAIN else "")
        if isinstance(tls, dict):
            yield from (((*path, "tls", *place), text) for place, text in _certificates(tls))


def _certificates(tls: dict[str, Any]) -> Iterator[Refusal]:
    there = [name for name in ("credentialName", "credentialNames", "tlsCertificates") if tls.get(name)]
    if tls.get("serverCertificate") and tls.get("privateKey"):
        there.append("serverCertificate")
    if len(there) > 1:
        yield (there[1],), f"{' and '.join(there)} stand together; one of them may"
    if tls.get("mode") == "ISTIO_MUTUAL":
        for name in ("credentialName", "credentialNames", "tlsCertificates", "serverCertificate", "privateKey", "caCertificates"):
            if tls.get(name):
                yield (name,), f"{name} stands beside ISTIO_MUTUAL, which takes the mesh's certificates"
    elif tls.get("mode") in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL") and not any(
        tls.get(name) for name in ("credentialName", "credentialNames", "tlsCertificates")
    ):
        needed = ("serverCertificate", "privateKey", *(("caCertificates",) if tls["mode"] != "SIMPLE" else ()))
        missing = [name for name in needed if not tls.get(name)]
        if missing:
            yield (), f"{tls['mode']} needs a credentialName, or else {' and '.join(missing)}"


def _unread(parse: Callable[[str], Any], text: str) -> str | None:
    """Why a text is none of a small language."""
    from meshport.values.problems import ValueProblem

    try:
        parse(text)
    except ValueProblem as error:
        return str(error)
    return None


_DESTINATIONS = (
    *((kind, "[]", "route", "[]", "destination") for kind in ("http", "tls", "tcp")), ("http", "[]", "mirror"), ("http", "[]", "mirrors", "[]", "destination"),
)  # fmt: skip


def _virtual_service(value: dict[str, Any]) -> Iterator[Refusal]:
    from meshport.values.retry import parse_istio

    yield from _hosted(value, addresses=True)
    for path, spec in _maps(value, "spec"):
        gateways = spec.get("gateways") or ["mesh"]
        hosts = spec.get("hosts")
        if isinstance(hosts, list) and "*" in hosts and isinstance(gateways, list) and "mesh" in gateways:
            yield (*path, "hosts", hosts.index("*")), "the host * may stand for gateways alone, not for the mesh"
        if not hosts:
            for name in ("gateways", "tls", "tcp"):
                if spec.get(name):
                    yield (*path, name), f"without hosts it is a delegate, which takes no {name}"
        if not any(spec.get(kind) for kind in ("http", "tls", "tcp")):
            yield path, "there is no rule, neither in http nor in tls or tcp"
        for place, match in _maps(spec, "tls", "[]", "match", "[]"):
            names = match.get("sniHosts")
            if not names:
                yield (*path, *place), "a match of a tls rule needs a name in sniHosts"
            for index, name in enumerate(names if isinstance(names, list) and isinstance(hosts, list) else ()):
                if isinstance(name, str) and not any(isinstance(host, str) and _covers(host, name) for host in hosts or ()):
                    yield (*path, *place, "sniHosts", index), f"{name} is none of the hosts that the object is for"
        for place, rule in _maps(spec, "http", "[]"):
            if not any(rule.get(name) for name in ("route", "redirect", "directResponse", "delegate")):
                yield (*path, *place), "a rule has none of route, redirect, directResponse and delegate"
            for name, members in (("rewrite", ("uri", "authority", "uriRegexRewrite")), ("fault", ("delay", "abort"))):
                part = rule.get(name)
                if isinstance(part, dict) and not any(part.get(member) is not None for member in members):
                    yield (*path, *place, name), f"{name} has none of {' and '.join(filter(None, (', '.join(members[:-1]), members[-1])))}"
            yield from _redirect((*path, *place, "redirect"), rule.get("redirect"))
        for place, text in (found for steps in _DESTINATIONS for found in _texts(spec, *steps, "host")):
            if (why := _host(text)) is not None:
                yield (*path, *place), why
        for place, listed in (found for kind in ("http", "tls", "tcp") for found in at(spec, kind, "[]", "route")):
            if isinstance(listed, list) and len(listed) > 1 and not any(isinstance(one, dict) and one.get("weight") for one in listed):
                said = next((index for index, one in enumerate(listed) if isinstance(one, dict) and "weight" in one), None)
                yield (*path, *place, *(() if said is None else (said, "weight"))), "of several destinations none has a weight above 0"
        for place, text in _texts(spec, "http", "[]", "retries", "retryOn"):
            if " " in text:
                yield (*path, *place), f"{text!r} has blanks; the conditions are separated by commas alone"
            elif (why := _unread(parse_istio, text)) is not None:
                yield (*path, *place), why
        for place, retries in _maps(spec, "http", "[]", "retries"):
            attempts = retries.get("attempts")
            if isinstance(attempts, int) and attempts < 0:
                yield (*path, *place, "attempts"), "attempts cannot be negative"
            beside = [name for name in ("perTryTimeout", "retryOn", "retryRemoteLocalities") if retries.get(name)]
            if beside and not retries.get("attempts"):
                yield (*path, *place, beside[0]), f"{beside[0]} stands beside attempts: 0, which turns retries off"


def _redirect(path: Path, redirect: Any) -> Iterator[Refusal]:
    """What istiod refuses of a redirect (validateHTTPRedirect of pkg/config/validation in istio/istio)."""
    if not isinstance(redirect, dict):
        return
    if not any(redirect.get(name) for name in ("uri", "prefixRewrite", "authority", "scheme", "port", "derivePort")):
        yield path, "a redirect has none of uri, authority, scheme, port and derivePort"
    code, scheme = redirect.get("redirectCode"), redirect.get("scheme")
    if isinstance(code, int) and code and not 300 <= code <= 399:
        yield (*path, "redirectCode"), f"{code} is no code of a redirect"
    if isinstance(scheme, str) and scheme not in ("", "http", "https"):
        yield (*path, "scheme"), f"{scheme!r} is no scheme of a redirect: it is http or https"


def _covers(host: str, name: str) -> bool:
    """Whether each name that `name` stands for is one of `host`, which may begin with a wildcard."""
    host, name = host.lower(), name.lower()
    return host in (name, "*") or (host.startswith("*.") and name.endswith(host[1:]))


def _subsets(value: dict[str, Any]) -> Iterator[Refusal]:
    seen: set[str] = set()
    for path, name in _texts(value, "spec", "subsets", "[]", "name"):
        if not re.fullmatch(_LABEL, name):
            yield path, f"{name!r} is no name of a subset"
        if name in seen:
            yield path, f"the subset {name} is defined twice"
        seen.add(name)


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
            for place, one in _maps(listed, "[]"):
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
                    for below, replaced in _maps(one, member, "path"):
                        wanted = _REPLACED.get(str(replaced.get("type")))
                        if wanted and replaced.get(wanted) is None:
                            yield (*path, *place, *below), f"path of type {replaced['type']} has no {wanted}"
            if {"RequestRedirect", "URLRewrite"} <= seen:
                yield path, "a redirect and a rewrite stand together; one of them may"


def _rules(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, rule in _maps(value, "spec", "rules", "[]"):
        if rule.get("backendRefs") and any(True for _ in at(rule, "filters", "[]", "requestRedirect")):
            yield (*path, "backendRefs"), "a redirect and backendRefs stand together; one of them may"
        prefixes = [one.get("type", "PathPrefix") for _, one in _maps(rule, "matches", "[]", "path")]
        for member in ("requestRedirect", "urlRewrite"):
            for place, replaced in _maps(rule, "filters", "[]", member, "path"):
                plain = not rule.get("matches") or (
                    isinstance(rule["matches"], list) and len(rule["matches"]) == 1 and prefixes in ([], ["PathPrefix"])
                )
                if replaced.get("type") == "ReplacePrefixMatch" and not plain:
                    yield (*path, *place), "replacePrefixMatch needs exactly one match, of a PathPrefix"
        for place, match in _maps(rule, "matches", "[]", "path"):
            text = match.get("value")
            if not isinstance(text, str) or match.get("type", "PathPrefix") not in ("Exact", "PathPrefix"):
                continue
            bad = next((part for part in ("//", "/./", "/../", "%2f", "%2F", "#") if part in text), "")
            if not text.startswith("/") or bad or text.endswith(("/..", "/.")) or not _PATH.fullmatch(text):
                yield (*path, *place, "value"), f"{text!r} is no absolute path" + (f": {bad} may not stand in it" if bad else "")
    for steps in (("backendRefs", "[]"), ("filters", "[]", "requestMirror", "backendRef")):
        for path, ref in _maps(value, "spec", "rules", "[]", *steps):
            if ref.get("group", "") == "" and ref.get("kind", "Service") == "Service" and ref.get("port") is None:
                yield path, "a Service is named without its port"


def _linkerd_paths(value: dict[str, Any]) -> Iterator[Refusal]:
    """What Linkerd's webhook asks of a path (policy-controller/k8s/index/src/routes/http.rs, path_match)."""
    for path, match in _maps(value, "spec", "rules", "[]", "matches", "[]", "path"):
        text = match.get("value")
        if isinstance(text, str) and match.get("type", "PathPrefix") != "RegularExpression" and not text.startswith("/"):
            yield (*path, "value"), f"{text!r} is no absolute path"


def _listeners(value: dict[str, Any]) -> Iterator[Refusal]:
    names: set[str] = set()
    places: set[tuple[str, ...]] = set()
    for path, one in _maps(value, "spec", "listeners", "[]"):
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

    for path, one in _maps(value, "spec", "rules", "[]", "timeouts"):
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

    for path, spec in _maps(value, "spec"):
        there = [name for name in ("identities", "identityRefs") if spec.get(name) is not None]
        if len(there) != 1:
            yield (*path, *there[1:]), "exactly one of identities and identityRefs has to be there"
        for place, text in _texts(spec, "identities", "[]"):
            if (why := _unread(parse_linkerd, text)) is not None:
                yield (*path, *place), why
        for place, ref in _maps(spec, "identityRefs", "[]"):
            if not ref.get("name"):
                yield (*path, *place), "an account or a namespace is referred to without a name"


def _networks(*steps: str, needed: bool = False) -> Callable[[dict[str, Any]], Iterator[Refusal]]:
    """Networks of Linkerd: addresses or CIDRs, whose exceptions lie inside and do not take all of it."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, listed in at(value, *steps):
            if needed and listed == []:
                yield path, "no network is named"
        for path, one in _maps(value, *steps, "[]"):
            whole = _network(one.get("cidr"))
            if isinstance(one.get("cidr"), str) and whole is None:
                yield (*path, "cidr"), f"{one['cidr']!r} is neither an address nor a CIDR"
            for place, text in _texts(one, "except", "[]"):
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
        for path, text in _texts(value, *steps):
            if (why := _unread(parse_go, text)) is not None:
                yield path, why
    for path, condition in _maps(value, "spec", "routes", "[]", "condition"):
        yield from _conditions(condition, path)


def _conditions(condition: dict[str, Any], path: Path) -> Iterator[Refusal]:
    if not any(condition.get(name) for name in ("pathRegex", "method")) and all(
        condition.get(name) is None for name in ("all", "any", "not")
    ):
        yield path, "a condition says nothing"
    for steps in (("all", "[]"), ("any", "[]"), ("not",)):
        for place, inner in _maps(condition, *steps):
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


def _inside(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.subnet_of(other)
    return isinstance(other, IPv6Network) and one.subnet_of(other)


def _network(text: Any) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False) if isinstance(text, str) else None
    except ValueError:
        return None


_ATTACHED = (_one_of("selector", "targetRef", "targetRefs"), _target)
_ROUTE = (_filters, _rules)
_RULES: dict[tuple[str, str], tuple[Callable[[dict[str, Any]], Iterator[Refusal]], ...]] = {
    ("security.istio.io", "AuthorizationPolicy"): _ATTACHED,
    ("security.istio.io", "RequestAuthentication"): (*_ATTACHED, _tokens),
    ("security.istio.io", "PeerAuthentication"): (_ports_of_pods,),
    ("telemetry.istio.io", "Telemetry"): (*_ATTACHED, _metrics),
    ("extensions.istio.io", "WasmPlugin"): (*_ATTACHED, _wasm("spec")),
    ("extensions.istio.io", "TrafficExtension"): (_one_of("selector", "targetRefs"), _target, _wasm("spec", "wasm")),
    ("networking.istio.io", "EnvoyFilter"): (_one_of("workloadSelector", "targetRefs"), _target, _envoy),
    ("networking.istio.io", "ServiceEntry"): (_one_of("workloadSelector", "endpoints"), _entry, _endpoint("spec", "endpoints", "[]")),
    ("networking.istio.io", "WorkloadEntry"): (_endpoint("spec"),),
    ("networking.istio.io", "Gateway"): (_servers,),
    ("networking.istio.io", "VirtualService"): (_virtual_service,),
    ("networking.istio.io", "DestinationRule"): (_subsets,),
    ("gateway.networking.k8s.io", "HTTPRoute"): (*_ROUTE, _timeouts),
    ("gateway.networking.k8s.io", "GRPCRoute"): (_filters,),
    ("linkerd.io", "ServiceProfile"): (_profile,),
    ("policy.linkerd.io", "HTTPRoute"): (_linkerd_paths,),
    ("policy.linkerd.io", "Server"): (_numbered,),
    ("policy.linkerd.io", "MeshTLSAuthentication"): (_identified,),
    ("policy.linkerd.io", "HTTPLocalRateLimitPolicy"): (_rates,),
    ("policy.linkerd.io", "NetworkAuthentication"): (_networks("spec", "networks", needed=True),),
    ("policy.linkerd.io", "ServerAuthorization"): (_networks("spec", "client", "networks"),),
    ("policy.linkerd.io", "EgressNetwork"): (_networks("spec", "networks", needed=True),),
    ("gateway.networking.k8s.io", "Gateway"): (_listeners,),
}
