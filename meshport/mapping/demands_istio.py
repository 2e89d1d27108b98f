"""What istiod's webhook refuses of Istio's objects (pkg/config/validation in istio/istio) beside the limits in their CRDs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from meshport.mapping.shapes import Demand, Path, Refusal, at, maps, one_of, texts, unread

_TARGETS = {("gateway.networking.k8s.io", "Gateway"), ("gateway.networking.k8s.io", "GatewayClass"), ("", "Service"), ("core", "Service"),
            ("networking.istio.io", "ServiceEntry")}  # fmt: skip


def _target(value: dict[str, Any]) -> Iterator[Refusal]:
    for steps in (("spec", "targetRef"), ("spec", "targetRefs", "[]")):
        for path, ref in maps(value, *steps):
            if isinstance(ref.get("kind"), str) and (str(ref.get("group") or ""), ref["kind"]) not in _TARGETS:
                yield (*path, "kind"), f"{ref['kind']} of group {ref.get('group') or 'core'!r} is no target of a policy"


def _ports_of_pods(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in maps(value, "spec"):
        labels = next(at(spec, "selector", "matchLabels"), None)
        if spec.get("portLevelMtls") is not None and (labels is None or not labels[1]):
            yield (*path, "portLevelMtls"), "portLevelMtls needs a selector with labels"


def _tokens(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, rule in maps(value, "spec", "jwtRules", "[]"):
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
    for path, text in texts(value, "spec", "hosts", "[]"):
        if (why := _host(text)) is not None and not (addresses and _is_address(text)):
            yield path, why


def _entry(value: dict[str, Any]) -> Iterator[Refusal]:
    yield from _hosted(value)
    for path, spec in maps(value, "spec"):
        resolution = spec.get("resolution") or "NONE"
        if resolution not in ("STATIC", "NONE"):
            for place, address in texts(spec, "addresses", "[]"):
                if "/" in address:
                    yield (*path, *place), f"a range of addresses needs resolution STATIC or NONE, not {resolution}"
        endpoints = spec.get("endpoints")
        if resolution == "NONE" and endpoints is not None:
            yield (*path, "endpoints"), "resolution NONE takes no endpoints"
        if resolution == "DNS_ROUND_ROBIN" and isinstance(endpoints, list) and len(endpoints) > 1:
            yield (*path, "endpoints"), "resolution DNS_ROUND_ROBIN takes one endpoint"


def _endpoint(*steps: str) -> Demand:
    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in maps(value, *steps):
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
    for path, match in maps(value, "spec", "configPatches", "[]", "match"):
        if (match.get("waypoint") is not None) != (match.get("context") == "WAYPOINT"):
            yield path, "a match on a waypoint and context WAYPOINT go together"


def _metrics(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, tag in maps(value, "spec", "metrics", "[]", "overrides", "[]", "tagOverrides", "*"):
        if tag.get("operation") == "UPSERT" and tag.get("value") in (None, ""):
            yield path, "UPSERT needs a value"
        if tag.get("operation") == "REMOVE" and tag.get("value") is not None:
            yield (*path, "value"), "REMOVE takes no value"


def _wasm(*steps: str) -> Demand:
    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, one in maps(value, *steps):
            url = one.get("url")
            if isinstance(url, str):
                scheme, there, rest = url.partition("://")
                schemed = not there or (scheme in ("http", "https", "file", "oci") and rest)
                if not schemed or re.search(r"[^!-~]|^:|%(?![0-9a-fA-F]{2})", url):
                    yield (*path, "url"), f"{url!r} is no URL of oci, http, https or file"
            for place, variable in maps(one, "vmConfig", "env", "[]"):
                if variable.get("valueFrom") == "HOST" and variable.get("value") is not None:
                    yield (*path, *place, "value"), "a value stands beside valueFrom HOST"

    return check


_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")  # protocols for HTTP without TLS


def _servers(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in maps(value, "spec"):
        if not spec.get("servers"):
            yield path, "a gateway needs a server"
    names = set()
    for path, server in maps(value, "spec", "servers", "[]"):
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


_DESTINATIONS = (
    *((kind, "[]", "route", "[]", "destination") for kind in ("http", "tls", "tcp")), ("http", "[]", "mirror"), ("http", "[]", "mirrors", "[]", "destination"),
)  # fmt: skip


def _virtual_service(value: dict[str, Any]) -> Iterator[Refusal]:
    from meshport.values.retry import parse_istio

    yield from _hosted(value, addresses=True)
    for path, spec in maps(value, "spec"):
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
        for place, match in maps(spec, "tls", "[]", "match", "[]"):
            names = match.get("sniHosts")
            if not names:
                yield (*path, *place), "a match of a tls rule needs a name in sniHosts"
            for index, name in enumerate(names if isinstance(names, list) and isinstance(hosts, list) else ()):
                if isinstance(name, str) and not any(isinstance(host, str) and _covers(host, name) for host in hosts or ()):
                    yield (*path, *place, "sniHosts", index), f"{name} is none of the hosts that the object is for"
        for place, rule in maps(spec, "http", "[]"):
            if not any(rule.get(name) for name in ("route", "redirect", "directResponse", "delegate")):
                yield (*path, *place), "a rule has none of route, redirect, directResponse and delegate"
            for name, members in (("rewrite", ("uri", "authority", "uriRegexRewrite")), ("fault", ("delay", "abort"))):
                part = rule.get(name)
                if isinstance(part, dict) and not any(part.get(member) is not None for member in members):
                    yield (*path, *place, name), f"{name} has none of {' and '.join(filter(None, (', '.join(members[:-1]), members[-1])))}"
            yield from _redirect((*path, *place, "redirect"), rule.get("redirect"))
        for place, text in (found for steps in _DESTINATIONS for found in texts(spec, *steps, "host")):
            if (why := _host(text)) is not None:
                yield (*path, *place), why
        for place, listed in (found for kind in ("http", "tls", "tcp") for found in at(spec, kind, "[]", "route")):
            if isinstance(listed, list) and len(listed) > 1 and not any(isinstance(one, dict) and one.get("weight") for one in listed):
                said = next((index for index, one in enumerate(listed) if isinstance(one, dict) and "weight" in one), None)
                yield (*path, *place, *(() if said is None else (said, "weight"))), "of several destinations none has a weight above 0"
        for place, text in texts(spec, "http", "[]", "retries", "retryOn"):
            if " " in text:
                yield (*path, *place), f"{text!r} has blanks; the conditions are separated by commas alone"
            elif (why := unread(parse_istio, text)) is not None:
                yield (*path, *place), why
        for place, retries in maps(spec, "http", "[]", "retries"):
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
    for path, name in texts(value, "spec", "subsets", "[]", "name"):
        if not re.fullmatch(_LABEL, name):
            yield path, f"{name!r} is no name of a subset"
        if name in seen:
            yield path, f"the subset {name} is defined twice"
        seen.add(name)


_ATTACHED = (one_of("selector", "targetRef", "targetRefs"), _target)
RULES: dict[tuple[str, str], tuple[Demand, ...]] = {
    ("security.istio.io", "AuthorizationPolicy"): _ATTACHED,
    ("security.istio.io", "RequestAuthentication"): (*_ATTACHED, _tokens),
    ("security.istio.io", "PeerAuthentication"): (_ports_of_pods,),
    ("telemetry.istio.io", "Telemetry"): (*_ATTACHED, _metrics),
    ("extensions.istio.io", "WasmPlugin"): (*_ATTACHED, _wasm("spec")),
    ("extensions.istio.io", "TrafficExtension"): (one_of("selector", "targetRefs"), _target, _wasm("spec", "wasm")),
    ("networking.istio.io", "EnvoyFilter"): (one_of("workloadSelector", "targetRefs"), _target, _envoy),
    ("networking.istio.io", "ServiceEntry"): (one_of("workloadSelector", "endpoints"), _entry, _endpoint("spec", "endpoints", "[]")),
    ("networking.istio.io", "WorkloadEntry"): (_endpoint("spec"),),
    ("networking.istio.io", "Gateway"): (_servers,),
    ("networking.istio.io", "VirtualService"): (_virtual_service,),
    ("networking.istio.io", "DestinationRule"): (_subsets,),
}
