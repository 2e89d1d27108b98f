"""What istiod's webhook refuses of the objects that say how traffic goes (pkg/config/validation in istio/istio), beside the limits in their CRDs: names
of hosts and gateways, ports, and members that need or exclude each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from meshport.mapping.shapes import Demand, Path, Refusal, at, maps, one_of, texts, unread

_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:\*|(?:\*-?)?{_LABEL})(?:\.{_LABEL})*\.?")


def _host(text: str) -> str | None:
    """Why a text is none of Istio's host names (ValidateWildcardDomain): labels, the first of which may be or begin with a star, and the last of which
    has more than digits."""
    named = len(text) <= 255 and _DOMAIN.fullmatch(text) and not ("." in text and text.rpartition(".")[2].isdigit())
    return None if named else f"{text!r} is no host name"


def _of_istiod(value: dict[str, Any]) -> bool:
    """Whether istiod made the object of one of the Gateway API; such an object has names that it takes of nobody else."""
    return any(str(path[-1]).startswith("internal.istio.io/") for path, _ in at(value, "metadata", "annotations", "*"))


def _named_host(text: str, *, sidecar: bool) -> str | None:
    """Why a text is no host of a server of a Gateway (`host` or `namespace/host`) or of an egress listener of a Sidecar (`namespace/host`)."""
    space, slash, host = text.partition("/") if "/" in text else ("", "", text)
    if sidecar and not slash:
        return f"{text!r} names no namespace: it is namespace/host"
    if slash and space not in (("*", ".", "~") if sidecar else ("*", ".")) and not re.fullmatch(_LABEL, space):
        return f"{space!r} is no namespace"
    if host != "*" and "." not in host:
        return f"{host!r} is a short name; a whole host name is asked for"
    if "*" in host and host != "*" and not host.startswith("*."):
        return f"{host!r} has a star that is no whole label"
    return None if not sidecar and _is_address(host) else _host(host)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


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


def _unlike(*steps: str) -> Demand:
    """Labels of a selector that have a star, which stands for itself nowhere."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, label in at(value, *steps, "*"):
            if "*" in str(label) or "*" in str(path[-1]):
                yield path, "a selector knows no wildcards"

    return check


_PROTOCOLS = ("TCP", "UDP", "GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS", "MONGO", "REDIS", "MYSQL")


def _ported(*steps: str, least: int = 1) -> Demand:
    """Ports with a number and a protocol that there is."""

    def check(value: dict[str, Any]) -> Iterator[Refusal]:
        for path, port in maps(value, *steps):
            protocol = port.get("protocol")
            if isinstance(protocol, str) and protocol and protocol.upper() not in _PROTOCOLS:
                yield (*path, "protocol"), f"{protocol!r} is no protocol"
            yield from (((*path, *place), text) for place, text in _numbered(port, least))

    return check


def _numbered(port: dict[str, Any], least: int = 1) -> Iterator[Refusal]:
    number = port.get("number")
    if isinstance(number, int) and not isinstance(number, bool) and not least <= number < 65536:
        yield ("number",), f"{number} is no port from 1 to 65535"


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
        for place, address in texts(spec, "addresses", "[]"):
            if not _is_network(address):
                yield (*path, *place), f"{address!r} is neither an address nor a CIDR"
        names = {str(port.get("name")) for _, port in maps(spec, "ports", "[]")}
        for place, _ in at(spec, "endpoints", "[]", "ports", "*"):
            if str(place[-1]) not in names:
                yield (*path, *place), f"the entry has no port {place[-1]}"


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


_PLAIN = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")  # protocols for HTTP without TLS


def _servers(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in maps(value, "spec"):
        if not spec.get("servers"):
            yield path, "a gateway needs a server"
    names = set()
    for path, server in maps(value, "spec", "servers", "[]"):
        port, tls, bind = server.get("port"), server.get("tls"), server.get("bind")
        if server.get("hosts") == []:
            yield (*path, "hosts"), "a server needs a host"
        for place, host in texts(server, "hosts", "[]"):
            if (why := _named_host(host, sidecar=False)) is not None and not _of_istiod(value):
                yield (*path, *place), why
        socket = isinstance(bind, str) and bind.startswith("unix://")
        if isinstance(bind, str) and bind and not socket and not _is_address(bind):
            yield (*path, "bind"), f"{bind!r} is no address"
        if not isinstance(port, dict):
            continue
        if port.get("targetPort"):
            yield (*path, "port", "targetPort"), "targetPort has no meaning for a gateway"
        if not socket:
            yield from (((*path, "port", *place), text) for place, text in _numbered(port))
        if port.get("name") == "":
            yield (*path, "port", "name"), "a port needs a name"
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
    yield from _twice(value)
    for steps in (("gateways",), *((kind, "[]", "match", "[]", "gateways") for kind in ("http", "tls", "tcp"))):
        for path, text in texts(value, "spec", *steps, "[]") if not _of_istiod(value) else ():
            space, slash, name = text.rpartition("/")
            if not re.fullmatch(_LABEL, name) if slash else _host(text) is not None or "*" in text:
                yield path, f"{text!r} is no name of a Gateway"
            elif slash and not re.fullmatch(_LABEL, space):
                yield path, f"{space!r} is no namespace"
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
            yield from (((*path, *place, *below), text) for below, text in _rule(rule))
        for place, text in (found for steps in _DESTINATIONS for found in texts(spec, *steps, "host")):
            if (why := f"{text!r} is no host name" if text == "*" else _host(text)) is not None:
                yield (*path, *place), why
        for place, port in (found for steps in _DESTINATIONS for found in maps(spec, *steps, "port")):
            yield from (((*path, *place, *below), text) for below, text in _numbered(port))
        for place, weight in (found for kind in ("http", "tls", "tcp") for found in at(spec, kind, "[]", "route", "[]", "weight")):
            if isinstance(weight, int) and weight < 0:
                yield (*path, *place), "a weight cannot be negative"
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


def _twice(value: dict[str, Any]) -> Iterator[Refusal]:
    """Hosts of which another of the object takes the requests too."""
    hosts = list(texts(value, "spec", "hosts", "[]"))
    exact: dict[str, int] = {}
    for index, (path, host) in enumerate(hosts):
        if (first := exact.setdefault(host, index)) != index:
            yield path, f"{host} stands there twice, at {first} and {index}"
    for path, star in hosts:
        for other, host in hosts if star.startswith("*") else ():
            if host != star and (host.endswith(star[1:]) if not host.startswith("*") else host[1:].endswith(star[1:])):
                yield max(path, other), f"{star} takes the requests for {host} too"


_SHARES = (("fault", "abort", "percentage"), ("fault", "delay", "percentage"), ("mirrorPercentage",), ("mirrors", "[]", "percentage"))
LONGEST = 1024
"""Bytes of a regular expression."""
_TEXTS = (
    *((name,) for name in ("uri", "scheme", "method", "authority")), *((name, "*") for name in ("headers", "withoutHeaders", "queryParams")),
)  # fmt: skip
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
)  # fmt: skip


def _rule(rule: dict[str, Any]) -> Iterator[Refusal]:
    """What is refused of one rule for HTTP."""
    for steps in _TEXTS:
        for path, text in maps(rule, "match", "[]", *steps):
            for name in ("prefix", "regex"):
                if text.get(name) == "" and (name, steps) != ("prefix", ("uri",)):
                    yield (*path, name), f"{name} is empty"
            if text.get("regex") != "*" or steps[0] != "withoutHeaders":  # there it asks for presence
                yield from _expression(text.get("regex"), (*path, "regex"))
    for steps in (("corsPolicy", "allowOrigins", "[]", "regex"), ("rewrite", "uriRegexRewrite", "match")):
        for path, expression in at(rule, *steps):
            yield from _expression(expression, path)
    for path, rewrite in maps(rule, "rewrite", "uriRegexRewrite"):
        for name in ("match", "rewrite"):
            if not rewrite.get(name):
                yield (*path, *((name,) if name in rewrite else ())), f"{name} is missing"
    for steps in (("match", "[]", "headers", "*"), ("match", "[]", "withoutHeaders", "*")):
        for path, _ in at(rule, *steps):
            if not str(path[-1]).startswith("@request.auth.claims") and not re.fullmatch(r"[-_A-Za-z0-9]+", str(path[-1])):
                yield path, f"{path[-1]!r} is no name of a header"
    for steps in _SHARES:
        for path, share in at(rule, *steps, "value"):
            if isinstance(share, int | float) and not 0 <= share <= 100:
                yield path, f"{share} is no percentage"
    for steps, low, high in ((("fault", "abort", "httpStatus"), 200, 600), (("directResponse", "status"), 200, 600)):
        for path, status in at(rule, *steps):
            if isinstance(status, int) and not low <= status <= high:
                yield path, f"{status} is no status from {low} to {high - 1}"
    for path, name in texts(rule, "fault", "abort", "grpcStatus"):
        if name not in _GRPC:
            yield path, f"{name!r} is no status of gRPC"
    for path, rewrite in maps(rule, "rewrite"):
        if rewrite.get("uri") and rewrite.get("uriRegexRewrite") is not None:
            yield (*path, "uriRegexRewrite"), "uri and uriRegexRewrite stand together; one of them may"
    for start in ((), ("route", "[]")):
        for side, what in (("request", "add"), ("request", "set"), ("response", "add"), ("response", "set")):
            for path, _ in at(rule, *start, "headers", side, what, "*"):
                yield from _kept_header(path, str(path[-1]), authority=side == "request")
        for side in ("request", "response"):
            for path, name in texts(rule, *start, "headers", side, "remove", "[]"):
                yield from _kept_header(path, name, authority=False)


def _expression(text: Any, path: Path) -> Iterator[Refusal]:
    """What the webhook refuses of an expression: it compiles each one, and takes none of more than 1024 bytes (validateStringRegexp)."""
    from meshport.values.regex import refused

    if isinstance(text, str) and text:
        why = "it is longer than 1024 bytes" if len(text.encode()) > LONGEST else refused(text)
        if why is not None:
            yield path, f"{text[:60]!r} is no regular expression that Istio takes ({why})"


def _kept_header(path: Path, name: str, *, authority: bool) -> Iterator[Refusal]:
    """Headers that nobody may change: those of HTTP/2 and the host, except that a request may get another host."""
    if (name.startswith(":") or name.lower() == "host") and not (authority and name.lower() in (":authority", "host")):
        yield path, f"{name} cannot be changed"


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


def _destination_rule(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, host in texts(value, "spec", "host"):
        if (why := _host(host)) is not None:
            yield path, why
    for steps in (("trafficPolicy",), ("subsets", "[]", "trafficPolicy")):
        for path, policy in maps(value, "spec", *steps):
            yield from (((*path, *place), why) for place, why in _policy(policy))
            for place, one in maps(policy, "portLevelSettings", "[]"):
                yield from (((*path, *place, *below), why) for below, why in _policy(one))


_COUNTS = (
    ("tcp", "maxConnections"), *(("http", name) for name in ("http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries",
    "maxConcurrentStreams")),
)  # fmt: skip


def _policy(policy: dict[str, Any]) -> Iterator[Refusal]:
    """What is refused of a traffic policy, or of one for a port."""
    if all(one is None for one in policy.values()):
        yield (), "a traffic policy says nothing"
    for path, pool in maps(policy, "connectionPool"):
        if pool.get("tcp") is None and pool.get("http") is None:
            yield path, "connectionPool has neither tcp nor http"
        for steps in _COUNTS:
            for place, number in at(pool, *steps):
                if isinstance(number, int) and number < 0:
                    yield (*path, *place), f"{place[-1]} cannot be negative"
    for path, breaker in maps(policy, "outlierDetection"):
        for name in ("maxEjectionPercent", "minHealthPercent"):
            if isinstance(breaker.get(name), int) and not 0 <= breaker[name] <= 100:
                yield (*path, name), f"{breaker[name]} is no percentage"


def _subsets(value: dict[str, Any]) -> Iterator[Refusal]:
    seen: set[str] = set()
    for path, name in texts(value, "spec", "subsets", "[]", "name"):
        if not re.fullmatch(_LABEL, name):
            yield path, f"{name!r} is no name of a subset"
        if name in seen:
            yield path, f"the subset {name} is defined twice"
        seen.add(name)


def _sidecar(value: dict[str, Any]) -> Iterator[Refusal]:
    for path, spec in maps(value, "spec"):
        if all(not spec.get(name) for name in ("egress", "ingress")) and all(
            spec.get(name) is None for name in ("outboundTrafficPolicy", "inboundConnectionPool")
        ):
            yield path, "a Sidecar says nothing"
        for place, listener in maps(spec, "egress", "[]"):
            if not listener.get("hosts"):
                yield (*path, *place), "a listener needs a host"
            for below, host in texts(listener, "hosts", "[]"):
                if (why := _named_host(host, sidecar=True)) is not None:
                    yield (*path, *place, *below), why
        for place, endpoint in texts(spec, "ingress", "[]", "defaultEndpoint"):
            if endpoint and not re.fullmatch(r"unix://[/@].*[^/]|(?:127\.0\.0\.1|0\.0\.0\.0|\[::1?\])?:\d+", endpoint):
                yield (*path, *place), f"{endpoint!r} is neither a port of the pod itself nor a socket"


RULES: dict[tuple[str, str], tuple[Demand, ...]] = {
    ("networking.istio.io", "ServiceEntry"): (
        one_of("workloadSelector", "endpoints"), _entry, _endpoint("spec", "endpoints", "[]"), _ported("spec", "ports", "[]"),
        _unlike("spec", "workloadSelector", "labels"),
    ),
    ("networking.istio.io", "WorkloadEntry"): (_endpoint("spec"),),
    ("networking.istio.io", "Gateway"): (_servers,),
    ("networking.istio.io", "VirtualService"): (_virtual_service,),
    ("networking.istio.io", "DestinationRule"): (_destination_rule, _subsets, _unlike("spec", "workloadSelector", "matchLabels")),
    ("networking.istio.io", "Sidecar"): (
        _sidecar, _ported("spec", "ingress", "[]", "port"), _ported("spec", "egress", "[]", "port", least=0), _unlike("spec", "workloadSelector", "labels"),
    ),
}  # fmt: skip
