"""Istio's verdict on one request to a sidecar: PeerAuthentication, then AuthorizationPolicy."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from .clients import shows_a_name
from .http import claims_at, header, in_networks, normalized, protocol_of, split_path
from .world import (
    Obj,
    Request,
    Undecided,
    Workload,
    World,
    account_of,
    annotations_of,
    by_age,
    in_ports,
    is_meshed,
    labels_match,
    namespace_of,
    spec_of,
    trust_domain_of,
    world_of,
)

GROUP = "security.istio.io"
_UNCAPTURED = {15020, 15021, 15090}
_ALWAYS_TCP = {25, 53, 3306, 27017}
_HTTP = {"http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws"}
_TCP = {"tcp", "tls", "https", "mongo", "redis", "mysql", "kubernetes.io/wss"}
_HTTP_FIELDS = {"hosts", "methods", "paths", "requestPrincipals"}

Verdict = Literal["allow", "deny"]


@dataclass(frozen=True)
class _Peer:
    """What a policy sees of one request at one port."""

    request: Request
    port: int
    identity: str | None  # without spiffe://
    path: str
    tcp: bool
    trust_domain: str

    @property
    def ip(self) -> str | None:
        address = self.request["source"].get("ip")
        return None if address is None else str(address)

    @property
    def remote_ip(self) -> str | None:
        forwarded = None if self.tcp else self.request.get("forwarded_for")
        if not forwarded:
            return self.ip
        hops = forwarded if isinstance(forwarded, list) else str(forwarded).split(",")
        return str(hops[-1]).strip()


def decide(
    manifests: Iterable[Obj],
    request: Request,
    *,
    trust_domain: str = "cluster.local",
    root_namespace: str = "istio-system",
    tcp_ports: Collection[int] = (),
) -> Verdict:
    """Whether the destination's sidecar lets the request through. Raises Undecided where external authorization has the last word."""
    world = world_of(manifests)
    workload, port = world.destination(request), int(request["destination"]["port"])
    if not world.istio_injected(workload) or _bypassed(workload, port):
        return "allow"
    mode = mtls_mode(world, workload, port, root_namespace)
    identity = None if mode == "DISABLE" else _identity(request["source"], trust_domain)
    if identity is not None and not shows_a_name(world, request, workload, port, root_namespace):
        identity = None
    if mode == "STRICT" and identity is None:
        return "deny"
    tcp = port in tcp_ports or is_tcp(world, workload, port, request)
    raw, _ = split_path(request)
    if not tcp and not raw.startswith("/"):
        return "deny"  # Envoy answers 400 to a path that it cannot normalise
    peer = _Peer(request, port, identity, normalized(raw), tcp, trust_domain)
    policies = authorization_policies(world, workload, root_namespace)

    def any_match(action: str) -> bool:
        return any(_policy_matches(p, peer) for p in policies if spec_of(p).get("action", "ALLOW") == action)

    if any_match("DENY"):
        return "deny"
    if any(spec_of(p).get("action", "ALLOW") == "ALLOW" for p in policies) and not any_match("ALLOW"):
        return "deny"
    if any_match("CUSTOM"):
        raise Undecided("external authorization")
    return "allow"


def _bypassed(workload: Workload, port: int) -> bool:
    key = "traffic.sidecar.istio.io/{}cludeInboundPorts"
    excluded, included = workload.annotations.get(key.format("ex")), workload.annotations.get(key.format("in"))
    outside = included is not None and included != "*" and not in_ports(included, port)
    return port in _UNCAPTURED or excluded == "*" or in_ports(excluded, port) or outside


def _identity(source: Obj, trust_domain: str) -> str | None:
    if not is_meshed(source):
        return None
    identity = str(source.get("identity") or "")
    if identity and ".serviceaccount.identity." not in identity:
        return identity.removeprefix("spiffe://")
    namespace, account = account_of(source)
    return f"{trust_domain_of(source, trust_domain)}/ns/{namespace}/sa/{account}"


def mtls_mode(world: World, workload: Workload, port: int, root_namespace: str = "istio-system") -> str:
    """PERMISSIVE, STRICT or DISABLE, for one port of a workload."""
    own = _first_policy(world, workload, workload.namespace, selecting=True) if workload.namespace != root_namespace else {}
    mode = "PERMISSIVE"
    for level in (*(_first_policy(world, workload, home, selecting=False) for home in (root_namespace, workload.namespace)), own):
        mode = _set_mode(level.get("mtls")) or mode
    ports = {str(k): v for k, v in (own.get("portLevelMtls") or {}).items()}
    return _set_mode(ports.get(str(port))) or mode


def port_level(world: World, workload: Workload, root_namespace: str) -> dict[str, str] | None:
    """The modes by port of the policy of a workload that has none itself; None where there is no such policy."""
    own = _first_policy(world, workload, workload.namespace, selecting=True) if workload.namespace != root_namespace else {}
    if not own or _set_mode(own.get("mtls")) is not None:
        return None
    return {str(port): mode for port, mtls in (own.get("portLevelMtls") or {}).items() if (mode := _set_mode(mtls)) is not None}


def _first_policy(world: World, workload: Workload, namespace: str, *, selecting: bool) -> Obj:
    """The oldest PeerAuthentication of a level: of a namespace, or for the workload."""
    for policy in by_age(world.of("PeerAuthentication", GROUP)):
        labels = (spec_of(policy).get("selector") or {}).get("matchLabels")
        if namespace_of(policy) == namespace and bool(labels) == selecting and labels_match(labels, workload.labels):
            return spec_of(policy)
    return {}


def _set_mode(mtls: Obj | None) -> str | None:
    mode = (mtls or {}).get("mode")
    return None if mode in {None, "UNSET"} else str(mode)


def is_tcp(world: World, workload: Workload, port: int, request: Request) -> bool:
    """Whether the sidecar treats a container port as opaque bytes: as a Service declares it, else as the request is sniffed."""
    sniffed = protocol_of(request) == "tcp"
    for service in sorted((s for s in world.services if s.selects(workload)), key=lambda s: s.name):
        for entry in service.ports:
            if entry.get("protocol", "TCP") != "TCP" or port not in workload.numbers(entry.get("targetPort", entry["port"])):
                continue
            declared = _declared(entry)
            if declared == "http" and sniffed:
                raise Undecided("bytes that are no HTTP, sent to an HTTP port")
            if declared:
                return declared == "tcp"
    return sniffed


def _declared(entry: Obj) -> str | None:
    """`http`, `tcp`, or None for detection."""
    if entry.get("appProtocol"):
        protocol = str(entry["appProtocol"]).lower()
    else:
        name = str(entry.get("name", "")).lower()
        protocol = "grpc-web" if name.startswith("grpc-web") else name.partition("-")[0]
    if protocol in _HTTP:
        return "http"
    return "tcp" if protocol in _TCP or int(entry["port"]) in _ALWAYS_TCP else None


def authorization_policies(world: World, workload: Workload, root_namespace: str) -> list[Obj]:
    """The enforced policies that a sidecar receives."""

    def applies(policy: Obj) -> bool:
        spec = spec_of(policy)
        if namespace_of(policy) not in {root_namespace, workload.namespace} or spec.get("targetRef") or spec.get("targetRefs"):
            return False
        dry_run = str(annotations_of(policy).get("istio.io/dry-run", "")).lower() in {"1", "t", "true"}
        return not dry_run and labels_match((spec.get("selector") or {}).get("matchLabels"), workload.labels)

    return [p for p in world.of("AuthorizationPolicy", GROUP) if applies(p)]


def _policy_matches(policy: Obj, peer: _Peer) -> bool:
    action = spec_of(policy).get("action", "ALLOW")
    rules = spec_of(policy).get("rules") or []
    return any(_rule_matches(r or {}, peer, namespace_of(policy), action) for r in rules)


def _uses_http(rule: Obj) -> bool:
    fields = [f for e in rule.get("from") or [] for f in e.get("source") or {}]
    fields += [f for e in rule.get("to") or [] for f in e.get("operation") or {}]
    return any(_positive(f)[0] in _HTTP_FIELDS for f in fields) or any(w["key"].startswith("request.") for w in rule.get("when") or [])


def _rule_matches(rule: Obj, peer: _Peer, namespace: str, action: str) -> bool:
    if peer.tcp and action == "ALLOW" and _uses_http(rule):
        return False
    sources = [e.get("source") or {} for e in rule.get("from") or []]
    operations = [e.get("operation") or {} for e in rule.get("to") or []]
    return (
        (not sources or any(_fields_match(s, peer, namespace) for s in sources))
        and (not operations or any(_fields_match(o, peer, namespace) for o in operations))
        and all(_when_matches(w, peer, namespace) for w in rule.get("when") or [])
    )


def _positive(field: str) -> tuple[str, bool]:
    """The positive name of a field, and whether this one was negated."""
    return (field[3].lower() + field[4:], True) if re.match("not[A-Z]", field) else (field, False)


def _fields_match(fields: Obj, peer: _Peer, namespace: str) -> bool:
    for name, values in fields.items():
        field, negated = _positive(name)
        if not values or (peer.tcp and field in _HTTP_FIELDS):
            continue
        test = _FIELDS.get(field)
        if test is None:
            raise Undecided(f"field {name}")
        if any(test(peer, str(v), namespace) for v in values) == negated:
            return False
    return True


def _when_matches(condition: Obj, peer: _Peer, namespace: str) -> bool:
    key = condition["key"]
    if peer.tcp and key.startswith("request."):
        return True
    test = _WHEN.get(key)
    if key.startswith("request.headers["):
        name = key.removeprefix("request.headers[").removesuffix("]")
        test = lambda p, v, _: string_matches(v, header(p.request, name, path=p.path))  # noqa: E731
    elif key.startswith("request.auth.claims["):
        test = _claim(re.findall(r"\[([^\]]*)\]", key))
    if test is None:
        raise Undecided(f"condition {key}")
    values, refused = condition.get("values") or [], condition.get("notValues") or []
    return (not values or any(test(peer, str(v), namespace) for v in values)) and not any(test(peer, str(v), namespace) for v in refused)


def string_matches(pattern: str, value: str | None, *, ignore_case: bool = False) -> bool:
    """Exact, `p*`, `*s` or `*`, which asks for presence. A star elsewhere is a character like others."""
    if value is None:
        return False
    if ignore_case:
        pattern, value = pattern.lower(), value.lower()
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def path_matches(pattern: str, path: str) -> bool:
    """A path pattern of an AuthorizationPolicy; with `{*}` or `{**}` it is a template."""
    if "{*}" not in pattern and "{**}" not in pattern:
        return string_matches(pattern, path)
    operators = {"{*}": "[^/]+", "{**}": ".*"}
    regex = "".join(operators.get(part) or re.escape(part) for part in re.split(r"(\{\*\*?\})", pattern))
    return re.fullmatch(regex, path) is not None


def _principal(peer: _Peer, pattern: str, _: str) -> bool:
    parts = pattern.split("/")
    if len(parts) == 5 and parts[0] == "cluster.local":
        pattern = "/".join([peer.trust_domain, *parts[1:]])
    return string_matches(pattern, peer.identity)


def _segments(peer: _Peer, regex: str) -> bool:
    return peer.identity is not None and re.fullmatch(".*/ns/" + regex, peer.identity) is not None


def _namespace(peer: _Peer, pattern: str, _: str) -> bool:
    return _segments(peer, ".*".join(map(re.escape, pattern.split("*"))) + "/.*")


def _service_account(peer: _Peer, reference: str, namespace: str) -> bool:
    account_namespace, _, account = reference.rpartition("/")
    return _segments(peer, re.escape(f"{account_namespace or namespace}/sa/{account}"))


def _trust_domain(peer: _Peer, pattern: str, _: str) -> bool:
    return peer.identity is not None and string_matches(pattern, peer.identity.partition("/")[0])


def _request_principal(peer: _Peer, pattern: str, _: str) -> bool:
    """Issuer and subject are compared each for itself; the last slash divides the pattern."""
    issuer, slash, subject = pattern.rpartition("/")
    if not slash:
        issuer = "*" if pattern.startswith("*") else pattern
        subject = pattern if pattern.startswith("*") else "*" if pattern.endswith("*") else ""
    claims = peer.request.get("claims") or {}
    return string_matches(issuer, claims.get("iss")) and string_matches(subject, claims.get("sub"))


def _claim(path: list[str]) -> _Test:
    return lambda peer, pattern, _: any(string_matches(pattern, v) for v in claims_at(peer.request.get("claims"), path))


def _destination_ip(peer: _Peer, cidr: str, _: str) -> bool:
    return in_networks(peer.request["destination"].get("ip"), [cidr])


_Test = Callable[[_Peer, str, str], bool]
_FIELDS: dict[str, _Test] = {
    "principals": _principal,
    "namespaces": _namespace,
    "serviceAccounts": _service_account,
    "trustDomains": _trust_domain,
    "requestPrincipals": _request_principal,
    "ipBlocks": lambda p, v, _: in_networks(p.ip, [v]),
    "remoteIpBlocks": lambda p, v, _: in_networks(p.remote_ip, [v]),
    "hosts": lambda p, v, _: string_matches(v, p.request.get("host"), ignore_case=True),
    "ports": lambda p, v, _: v == str(p.port),
    "methods": lambda p, v, _: string_matches(v, str(p.request.get("method") or "GET")),
    "paths": lambda p, v, _: path_matches(v, p.path),
}
_WHEN: dict[str, _Test] = {
    "source.ip": _FIELDS["ipBlocks"],
    "remote.ip": _FIELDS["remoteIpBlocks"],
    "source.namespace": _namespace,
    "source.serviceAccount": _service_account,
    "source.principal": _principal,
    "source.trustDomain": _trust_domain,
    "request.auth.principal": _request_principal,
    "request.auth.audiences": _claim(["aud"]),
    "request.auth.presenter": _claim(["azp"]),
    "destination.ip": _destination_ip,
    "destination.port": _FIELDS["ports"],
    "connection.sni": lambda p, v, _: string_matches(v, str(p.request.get("sni") or "").lower() or None),  # Envoy lowers it
}
