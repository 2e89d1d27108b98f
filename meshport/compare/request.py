"""One request, in the members of the contract's REQUEST, as the evaluator takes it.

Members that do not matter may be left out: a source without `meshed` is taken for a meshed one where it names an account or a workload of the mesh, a
request without `protocol` for HTTP where it has a path, a method or a host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from meshport.errors import UsageError
from meshport.ir.base import Ref
from meshport.ir.world import Workload, World
from meshport.values.identities import Identity, parse_linkerd
from meshport.values.paths import normalise_istio

UNNAMED = 61000
"""The port number that stands for those that nothing names, where it is one of them."""

PROTOCOLS = ("http", "http2", "grpc", "tls", "tcp", "udp", "sctp", "icmp")
_SOURCE = ("namespace", "service_account", "identity", "workload", "labels", "ip", "meshed")
_DESTINATION = ("namespace", "service", "workload", "labels", "ip", "port")
_MEMBERS = ("source", "destination", "protocol", "method", "host", "path", "headers", "sni", "forwarded_for", "claims")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `principal` is the certificate's name without `spiffe://`, None for a caller without a certificate; `labels` are the pod's."""

    namespace: str | None
    account: str | None
    labels: Mapping[str, str]
    ip: str | None
    principal: str | None
    workload: Workload | None = None
    pod: bool = False  # whether it is a pod of the cluster
    unknown: str | None = None  # the name of a workload that the bundle does not show, where nothing else says who calls

    @property
    def identity(self) -> Identity | None:
        """The service account of the certificate, None where there is none or it is of no Kubernetes account."""
        parts = (self.principal or "").split("/")
        return Identity(parts[0], parts[2], parts[4]) if len(parts) == 5 and (parts[1], parts[3]) == ("ns", "sa") else None


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` is as it was sent, with its query; `port` is the Service's where `service` is named, else the container's."""

    caller: Caller
    namespace: str
    service: str | None
    workload: str | None
    labels: Mapping[str, str] | None
    address: str | None
    port: int | None
    protocol: str
    method: str
    host: str | None
    path: str
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sni: str | None = None
    forwarded_for: tuple[str, ...] = ()
    claims: Mapping[str, Any] | None = None
    members: Mapping[str, Any] = field(default_factory=dict)  # as it was given

    @property
    def http(self) -> bool:
        return self.protocol in ("http", "http2", "grpc")

    @property
    def bare(self) -> str:
        """The path without its query, as it was sent."""
        return self.path.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter of the query, as it was sent."""
        found: dict[str, str] = {}
        for pair in self.path.partition("?")[2].split("&"):
            name, _, value = pair.partition("=")
            if name:
                found.setdefault(name, value)
        return found

    def target(self, raw: bool) -> str:
        """The path with its query as a mesh sees it: as it was sent, or with its dot segments resolved."""
        bare, mark, query = self.path.partition("?")
        return self.path if raw else normalise_istio(bare) + mark + query

    def header(self, name: str, *, raw: bool = True) -> tuple[str, ...]:
        """The values of a header or of one of HTTP/2's pseudo-headers; () where it is not sent. `raw`: the path as it was sent."""
        if name in (":path", ":method", ":authority"):
            value = {":path": self.target(raw), ":method": self.method, ":authority": self.host}[name]
            return (value,) if value is not None else ()
        if name == "host":
            return (self.host,) if self.host is not None else ()
        return self.headers.get(name, ())


def parse(members: Mapping[str, Any], world: World, trust_domain: str = "cluster.local") -> Request:
    """A request from the contract's members. Raises UsageError that names the member and what it may be."""
    _known("a request", members, _MEMBERS)
    source, destination = _mapping(members, "source"), _mapping(members, "destination")
    _known("source", source, _SOURCE)
    _known("destination", destination, _DESTINATION)
    namespace = destination.get("namespace")
    if not isinstance(namespace, str) or not namespace:
        raise UsageError("a request needs destination.namespace: the namespace of the Service or the workload")
    if not any(destination.get(key) for key in ("service", "workload", "labels", "ip")):
        raise UsageError("a request needs destination.service, destination.workload or destination.labels")
    port = destination.get("port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise UsageError(f"destination.port {port!r}: a number from 1 to 65535")
    path, method, host = members.get("path"), members.get("method"), members.get("host")
    protocol = members.get("protocol") or ("http" if path or method or host else "tcp")
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol {protocol!r}: one of {', '.join(PROTOCOLS)}")
    forwarded = members.get("forwarded_for") or ()
    hops = forwarded.split(",") if isinstance(forwarded, str) else forwarded
    return Request(
        _caller(source, world, trust_domain),
        namespace,
        _text(destination, "service"),
        _text(destination, "workload"),
        destination.get("labels"),
        _address(destination, "destination.ip"),
        port,
        protocol,
        str(method or ("POST" if protocol == "grpc" else "GET")),
        str(host).lower() if host is not None else None,
        str(path or "/"),
        {str(name).lower(): _values(value) for name, value in (members.get("headers") or {}).items()},
        members.get("sni"),
        tuple(str(hop).strip() for hop in hops if str(hop).strip()),
        members.get("claims"),
        members,
    )


def _caller(source: Mapping[str, Any], world: World, trust_domain: str) -> Caller:
    namespace, account, identity = (_text(source, key) for key in ("namespace", "service_account", "identity"))
    workload = _workload(world, namespace, _text(source, "workload"))
    name = identity.removeprefix("spiffe://") if identity else None
    if identity and ".serviceaccount.identity." in identity:
        found = parse_linkerd(identity)
        name = found.istio() if isinstance(found, Identity) else identity
    if name and name.count("/") == 4 and "/ns/" in name:
        parts = name.split("/")
        namespace, account = namespace or parts[2], account or parts[4]
    if workload is not None:
        namespace, account = workload.ref.namespace, account or workload.account.value
    meshed = source.get("meshed")
    if meshed is None:
        meshed = world.meshed(workload) is not False if workload is not None else bool(name or account)
    if meshed and name is None and namespace:
        name = f"{trust_domain}/ns/{namespace}/sa/{account or 'default'}"
    labels = source.get("labels") or (workload.labels if workload is not None else _of_account(world, namespace, account))
    asked = _text(source, "workload") if workload is None and not (account or identity or labels) and source.get("meshed") is None else None
    return Caller(
        namespace, account, labels, _address(source, "source.ip"), name if meshed else None, workload, namespace is not None, asked
    )


def _of_account(world: World, namespace: str | None, account: str | None) -> Mapping[str, str]:
    """The labels of the pods that run under an account, where all of them have the same ones."""
    if namespace is None or account is None:
        return {}
    found = [item.labels for item in world.under(Ref(namespace, account))]
    return found[0] if found and all(labels == found[0] for labels in found) else {}


def _workload(world: World, namespace: str | None, name: str | None) -> Workload | None:
    if namespace is None or name is None:
        return None
    return next((item for item in world.of_namespace(namespace) if item.ref.name == name), None)


def sentence(request: dict[str, Any], *, unnamed: bool = False) -> str:
    """A request as a sentence: `GET /x from shop/frontend to shop/users:8080`. `unnamed`: a witness for all ports that nothing names, whose number nobody chose."""
    source, destination = request.get("source", {}), request.get("destination", {})
    protocol = request.get("protocol", "http")
    if protocol in ("udp", "sctp", "icmp"):
        what = f"{protocol.upper()} packets"
    elif protocol == "tcp" or not request.get("path"):
        what = f"a {request.get('protocol', 'tcp')} connection"
    else:
        what = f"{request.get('method') or 'GET'} {request['path']}"
    if request.get("host"):
        what += f" for {request['host']}"
    headers = request.get("headers") or {}
    if headers:
        what += " with " + ", ".join(f"{name}: {value}" for name, value in sorted(headers.items()))
    claims = request.get("claims") or {}
    if claims:
        what += " with a token of " + ", ".join(f"{name} {value}" for name, value in sorted(claims.items()))
    who = "anyone"
    if source.get("identity"):
        who = str(source["identity"])
    elif source.get("service_account") or source.get("workload"):
        who = f"{source.get('namespace', 'any')}/{source.get('service_account') or source['workload']}"
        if source.get("meshed") is False:
            who += " without a certificate"
    elif entity := next((key.partition(":")[2] for key in source.get("labels") or () if key.startswith("reserved:")), None):
        who = f"the entity {entity}"
    elif source.get("meshed") is False:
        who = "outside the mesh"
    elif source.get("namespace"):
        who = f"a client in {source['namespace']}"
    if source.get("ip"):
        who += f" ({source['ip']})"
    if not destination:
        return f"{what} from {who} out of the cluster"
    port = destination.get("port")
    name = destination.get("service") or destination.get("workload") or "any workload"
    where = ", on any port that nothing names" if unnamed and port == UNNAMED else f":{'any other port' if port is None else port}"
    where = "" if protocol == "icmp" else where
    return f"{what} from {who} to {destination.get('namespace', 'any')}/{name}{where}"


def destinations(request: Request, world: World) -> tuple[list[tuple[Workload, int | None]], bool]:
    """The workloads that a request may reach with the container port that it meets there, and whether the bundle shows them.

    A destination that the bundle does not show is a pod with just the labels that the request names.
    """
    if request.workload is not None:
        known = _workload(world, request.namespace, request.workload)
        if known is not None:
            return [(known, request.port)], True
    if request.service is not None and (service := world.services.get(Ref(request.namespace, request.service))) is not None:
        pods = service.pods
        port = next((item for item in service.ports if item.number == request.port), None)
        if port is None and request.port is None and len(service.ports) == 1:
            port = service.ports[0]
        found = world.selected(pods) if pods is not None else []
        reached = [(item, world.target_number(item, port) if port is not None else None) for item in found]
        if port is not None and reached:
            return reached, True
        if service.headless and found:  # its name stands for the pods, which take calls on any port
            return [(item, request.port) for item in found], True
    if request.labels is not None and request.workload is None and request.service is None:
        found = [item for item in world.of_namespace(request.namespace) if item.labels == dict(request.labels)]
        if found:
            return [(item, request.port) for item in found], True
    return [(unseen(request), request.port)], False


def unseen(request: Request) -> Workload:
    """A pod that the bundle does not show, with the labels that the request names for it."""
    from meshport.ir.base import Fact

    name = request.workload or request.service or "a pod"
    return Workload(Ref(request.namespace, name), "Pod", dict(request.labels or {}), {}, Fact("default"), [], [], -1, ())


def _known(where: str, members: Mapping[str, Any], names: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    for name in members:
        if name not in names:
            close = get_close_matches(str(name), names, 1)
            raise UsageError(
                f"{where} has no member {name!r}; " + (f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}")
            )


def _mapping(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name) or {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} of a request is a mapping, not {value!r}")
    return value


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    return str(value) if value is not None and value != "" else None


def _address(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get("ip")
    if value is None:
        return None
    try:
        return str(ip_address(str(value)))
    except ValueError:
        raise UsageError(f"{name} {value!r}: an address is expected, such as 10.1.2.3") from None


def _values(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
