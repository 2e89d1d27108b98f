"""What each mesh exports of a log: written from the meshes' documentation, and not from meshport's tables.

A series is its labels (with `__name__`) and what it grows by, and when. A histogram has a series for each bucket in the unit and with the bounds of its mesh. Each
mesh's function says who measures what; fixed by https://istio.io/latest/docs/reference/config/metrics/, https://linkerd.io/2-edge/reference/proxy-metrics/ and
https://docs.cilium.io/en/stable/observability/metrics/ (handler httpV2 with labelsContext).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from .traffic import SECONDS, Connection, Log, Pod, Request, Service

Labels = dict[str, str]
Series = dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]
ENVOY = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000)
CLASSIC = (1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, *range(1000, 5001, 1000), *range(10000, 50001, 10000))
ROUTE, BACKEND = (0.05, 0.5, 1, 10), (0.025, 0.05, 0.1, 0.25, 0.5, 1, 10)
CLIENT_GOLANG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BOUNDS = {
    "istio_request_duration_milliseconds": ENVOY,
    "response_latency_ms": CLASSIC,
    "outbound_http_route_request_duration_seconds": ROUTE,
    "outbound_http_route_backend_response_duration_seconds": BACKEND,
    "hubble_http_request_duration_seconds": CLIENT_GOLANG,
}


class Exported:
    """The series of one mesh, of the metrics that somebody asks for. `floats`: bounds are written as Prometheus 3 writes them when it scrapes (`1.0`)."""

    def __init__(self, asked: frozenset[str], floats: bool = False) -> None:
        self.series: Series = defaultdict(list)
        self.asked = asked
        self.floats = floats

    def count(self, name: str, at: float, labels: Labels, by: float = 1.0) -> None:
        if name not in self.asked:
            return
        self.series[tuple(sorted({"__name__": name, **labels}.items()))].append((at, by))

    def observe(self, name: str, at: float, labels: Labels, value: float) -> None:
        for bound in BOUNDS[name] if f"{name}_bucket" in self.asked else ():
            said = f"{bound:g}" if bound < 1e6 else str(bound)
            text = said + ".0" if self.floats and "." not in said else said
            self.count(f"{name}_bucket", at, {**labels, "le": text}, float(value <= bound))
        self.count(f"{name}_bucket", at, {**labels, "le": "+Inf"})
        self.count(f"{name}_count", at, labels)
        self.count(f"{name}_sum", at, labels, value)


def istio(log: Log, out: Exported) -> None:
    """Sidecars: the client's reports with reporter source, the server's with destination. What is not known is `unknown`."""
    for one in log.requests:
        for labels in _istio(one, "grpc" if one.grpc else "http"):
            http = {**labels, "response_code": one.status, "grpc_response_status": one.grpc}
            out.count("istio_requests_total", one.at, http)
            out.observe("istio_request_duration_milliseconds", one.at, http, one.whole)
    for one in log.connections:
        for labels in _istio(one, "tcp"):
            if one.denied:
                out.count("istio_tcp_connections_failed_total", one.at, {**labels, "response_flags": "DENY"})
                continue
            out.count("istio_tcp_connections_opened_total", one.at, labels)
            out.count("istio_tcp_connections_closed_total", one.until, labels)
            out.count("istio_tcp_sent_bytes_total", one.until, labels, one.sent)
            out.count("istio_tcp_received_bytes_total", one.until, labels, one.received)


def _istio(one: Request | Connection, protocol: str) -> Iterable[Labels]:
    def peer(end: str, pod: Pod, known: bool) -> Labels:
        work = pod.workload
        principal = f"spiffe://cluster.local/ns/{work.namespace}/sa/{work.account}" if one.mutual else "unknown"
        values = {
            "workload": work.name, "workload_namespace": work.namespace, "canonical_service": work.app, "canonical_revision": work.version,
            "app": work.app, "version": work.version,
        }  # fmt: skip
        return {f"{end}_principal": principal} | {f"{end}_{label}": value if known else "unknown" for label, value in values.items()}

    for reporter, pod in (("source", one.client), ("destination", one.server)):
        if not pod.workload.meshed or (isinstance(one, Connection) and one.denied and reporter == "source"):
            continue
        service = one.service
        if service is None and reporter == "destination":  # a server knows its Service however it was called
            service = Service(one.server.workload.namespace, one.server.workload.name)
        policy = "unknown" if reporter == "source" else "mutual_tls" if one.mutual else "none"
        yield {
            **peer("source", one.client, one.client.workload.meshed),
            **peer("destination", one.server, True),
            "destination_service": service.host if service else "unknown",
            "destination_service_name": service.name if service else "PassthroughCluster",
            "destination_service_namespace": service.namespace if service else "unknown",
            "reporter": reporter,
            "connection_security_policy": policy,
            "request_protocol": protocol,
            "response_flags": "-",
            "namespace": pod.workload.namespace,
            "pod": pod.name,
            "job": "envoy-stats",
        }


def linkerd(log: Log, out: Exported) -> None:
    """Inbound is the server's proxy, outbound the client's. The proxy's own workload is added by relabelling, with the pod's labels; kubelets' probes are counted."""
    for one in log.requests:
        for labels in _linkerd(one):
            inbound = labels["direction"] == "inbound"
            if one.denied and inbound:
                out.count("inbound_http_authz_deny_total", one.at, _decided(labels, "http"))
                continue
            if inbound:
                out.count("inbound_http_authz_allow_total", one.at, _decided(labels, "http") | {"authz_name": "callers"})
            _linkerd_http(one, labels, out)
    for pod in sorted({one.server for one in log.requests if one.server.workload.meshed}, key=str) if log.probed else ():
        probe = Request(30.0, pod, None, pod, "200", "", 0.7, 0.7, "GET", False)
        labels = _own(pod) | {"direction": "inbound", "tls": "no_identity", "no_tls_reason": "no_tls_from_remote", "route_name": "probe"}
        for second in range(10, SECONDS, 10):
            _classic(probe, labels, out, float(second))
            out.count("inbound_http_authz_allow_total", float(second), _decided(labels, "http") | {"authz_name": "probe"})
    for one in log.connections:
        _linkerd_tcp(one, out)


def _decided(labels: Labels, server: str) -> Labels:
    """Decisions of policy are the servers' by their name, and have no direction."""
    return {label: value for label, value in labels.items() if label not in ("direction", "route_name")} | {"srv_name": server}


def _own(pod: Pod) -> Labels:
    work = pod.workload
    return {
        "namespace": work.namespace,
        "pod": pod.name,
        work.kind: work.name,
        "app": work.app,
        "version": work.version,
        "job": "linkerd-proxy",
    }


def _linkerd(one: Request | Connection) -> Iterable[Labels]:
    def identity(pod: Pod) -> str:
        return f"{pod.workload.account}.{pod.workload.namespace}.serviceaccount.identity.linkerd.cluster.local"

    secured = {"tls": "true"} if one.mutual else {"tls": "no_identity", "no_tls_reason": "no_tls_from_remote"}
    if one.client.workload.meshed:
        work, service = one.server.workload, one.service
        dst = {
            "dst_namespace": work.namespace,
            f"dst_{work.kind}": work.name,
            "dst_pod": one.server.name,
            "dst_serviceaccount": work.account,
        }
        if service is not None:
            dst |= {"dst_service": service.name, "authority": f"{service.host}:{service.port}"}
        named = {"server_id": identity(one.server)} if one.mutual else {}
        yield _own(one.client) | secured | dst | named | {"direction": "outbound"}
    if one.server.workload.meshed:
        named = {"client_id": identity(one.client)} if one.mutual else {}
        yield _own(one.server) | secured | named | {"direction": "inbound", "route_name": "default"}


def _classic(one: Request, labels: Labels, out: Exported, at: float) -> None:
    failed = one.status.startswith("5") or one.grpc not in ("", "0")
    out.count("request_total", at, labels)
    out.count(
        "response_total",
        at,
        labels
        | {"status_code": one.status, "classification": "failure" if failed else "success"}
        | ({"grpc_status": one.grpc} if one.grpc else {}),
    )
    out.observe("response_latency_ms", at, labels | {"status_code": one.status}, one.first)


def _linkerd_http(one: Request, labels: Labels, out: Exported) -> None:
    _classic(one, labels, out, one.at)
    for direction, peer in (("inbound", "src"), ("inbound", "dst"), ("outbound", "src"), ("outbound", "dst")):
        if labels["direction"] == direction:  # HTTP is TCP first
            out.count("tcp_open_total", one.at, labels | {"peer": peer})
    if labels["direction"] == "inbound" or one.service is None:
        return
    parent = {
        "parent_kind": "Service",
        "parent_name": one.service.name,
        "parent_namespace": one.service.namespace,
        "parent_port": str(one.service.port),
    }
    backend = {label.replace("parent", "backend"): value for label, value in parent.items()}
    route = _own(one.client) | parent | {"route_kind": "default", "route_name": "http"}
    out.count("outbound_http_route_request_statuses_total", one.at, route | {"http_status": one.status})
    out.observe("outbound_http_route_request_duration_seconds", one.at, route, one.whole / 1000)
    out.count("outbound_http_route_backend_requests_total", one.at, route | backend)
    out.observe("outbound_http_route_backend_response_duration_seconds", one.at, route | backend, one.whole / 1000)


def _linkerd_tcp(one: Connection, out: Exported) -> None:
    for labels in _linkerd(one):
        inbound = labels["direction"] == "inbound"
        if one.denied:
            if inbound:
                out.count("inbound_tcp_authz_deny_total", one.at, _decided(labels, "tcp"))
            continue
        for peer in ("src", "dst"):  # the leg to the client, and the leg to the server
            here = labels | {"peer": peer}
            out.count("tcp_open_total", one.at, here)
            out.count("tcp_close_total", one.until, here)
            read, write = (one.received, one.sent) if peer == "src" else (one.sent, one.received)
            out.count("tcp_read_bytes_total", one.until, here, read)
            out.count("tcp_write_bytes_total", one.until, here, write)


def cilium(log: Log, out: Exported) -> None:
    """Hubble with httpV2, tcp, drop and policy, each with labelsContext of both ends. It sees HTTP where Envoy does: here at the ends that had a proxy before."""
    for one in log.requests:
        ends = _ends(one)
        if one.denied:
            verdict = {"match": "l7/http", "action": "dropped", "direction": "ingress"}
            out.count("hubble_policy_verdicts_total", one.at, ends | verdict)
            continue
        for reporter, pod in (("client", one.client), ("server", one.server)):
            if not one.seen or not pod.workload.meshed:
                continue
            if reporter == "server":
                verdict = {"match": "l7/http", "action": "forwarded", "direction": "ingress"}
                out.count("hubble_policy_verdicts_total", one.at, ends | verdict)
            labels = ends | {"reporter": reporter, "method": one.method}
            out.count(
                "hubble_http_requests_total", one.at, labels | {"status": one.status, "protocol": "HTTP/2" if one.grpc else "HTTP/1.1"}
            )
            out.observe("hubble_http_request_duration_seconds", one.at, labels, one.whole / 1000)
    for one in log.connections:
        if one.denied:
            out.count("hubble_drop_total", one.at, _ends(one) | {"reason": "POLICY_DENIED", "protocol": "TCP"})
        else:
            out.count("hubble_tcp_flags_total", one.at, _ends(one) | {"flag": "SYN", "family": "IPv4"})


def _ends(one: Request | Connection) -> Labels:
    scraped = {"namespace": "kube-system", "pod": "cilium-x1", "instance": "10.0.0.1:9965", "job": "hubble-metrics"}
    for end, pod in (("source", one.client), ("destination", one.server)):
        work = pod.workload
        scraped |= {f"{end}_namespace": work.namespace, f"{end}_workload": work.name, f"{end}_pod": pod.name, f"{end}_app": work.app}
    return scraped


EXPORTERS: dict[str, Callable[[Log, Exported], None]] = {"istio": istio, "linkerd": linkerd, "cilium": cilium}


def scraped(log: Log, mesh: str, asked: frozenset[str], floats: bool, times: Iterable[int]) -> Iterable[tuple[str, int, float]]:
    """The samples of a mesh's series of these names at the times of the scrapes: (series in text, seconds, value). Every series is there from the first scrape on, at 0."""
    out = Exported(asked, floats)
    EXPORTERS[mesh](log, out)
    times = list(times)
    for key in sorted(out.series):
        grown = sorted(out.series[key])
        labels = ",".join(f'{name}="{value}"' for name, value in key if name != "__name__")
        text = f"{dict(key)['__name__']}{{{labels}}}"
        total, at = 0.0, 0
        for second in times:
            while at < len(grown) and grown[at][0] <= second:
                total += grown[at][1]
                at += 1
            yield text, second, total
