"""Random queries of one mesh, in the shapes that dashboards, alerts and tools have.

A question says how exactly its answers may be compared: `exact`; `quantile`, where both may lie anywhere in their own histogram's bucket; `below`, a share of
requests below a bound; `chosen`, where ties may be cut otherwise, so that values alone are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

NAMES = {
    "workload": ("web", "users", "ledger"),
    "namespace": ("shop", "pay"),
    "service": ("web", "users", "ledger"),
    "app": ("web", "users"),
    "version": ("v1",),
    "status": ("200", "404", "500", "503"),
    "grpc": ("0", "14"),
}
VALUES: dict[str, dict[str, str]] = {  # by who measures in a mesh: labels, and what their values are
    "istio server": {
        "destination_workload": "workload", "destination_workload_namespace": "namespace", "destination_service": "host",
        "destination_service_name": "service", "destination_service_namespace": "namespace", "destination_app": "app",
        "destination_version": "version", "destination_canonical_service": "app", "source_principal": "spiffe",
        "connection_security_policy": "istio tls", "response_code": "status", "grpc_response_status": "grpc", "request_protocol": "protocol",
        "source_workload": "workload", "source_workload_namespace": "namespace", "source_app": "app", "pod": "pod",
    },
    "istio client": {
        "destination_workload": "workload", "destination_workload_namespace": "namespace", "destination_service": "host",
        "destination_service_name": "service", "destination_service_namespace": "namespace", "destination_principal": "spiffe",
        "destination_canonical_service": "app", "source_canonical_service": "app",
        "response_code": "status", "grpc_response_status": "grpc", "source_workload": "workload", "source_workload_namespace": "namespace",
        "source_app": "app", "source_version": "version", "connection_security_policy": "istio tls", "pod": "pod",
    },
    "linkerd server": {
        "deployment": "workload", "namespace": "namespace", "app": "app", "version": "version", "pod": "pod", "client_id": "dns",
        "tls": "linkerd tls", "status_code": "status", "grpc_status": "grpc", "classification": "class",
    },
    "linkerd client": {
        "deployment": "workload", "namespace": "namespace", "dst_deployment": "workload", "dst_namespace": "namespace", "dst_service": "service",
        "dst_pod": "pod", "app": "app", "server_id": "dns", "status_code": "status", "grpc_status": "grpc", "classification": "class",
        "authority": "authority", "pod": "pod", "tls": "linkerd tls",
    },
    "cilium server": {
        "destination_workload": "workload", "destination_namespace": "namespace", "destination_app": "app", "destination_pod": "pod",
        "source_workload": "workload", "source_namespace": "namespace", "source_app": "app", "status": "status", "method": "method",
    },
}  # fmt: skip
VALUES["cilium client"] = VALUES["cilium server"]
WORKLOADS = {  # TCP and policies are of workloads; statuses and Services are not on their series, or are of HTTP alone
    side: {name: kind for name, kind in labels.items() if kind in ("workload", "namespace", "spiffe", "dns", "istio tls", "linkerd tls")}
    for side, labels in VALUES.items()
}
SIDES = {
    "istio": {"server": 'reporter="destination"', "client": 'reporter="source"', "both": ""},
    "linkerd": {"server": 'direction="inbound"', "client": 'direction="outbound"', "both": ""},
    "cilium": {"server": 'reporter="server"', "client": 'reporter="client"', "both": ""},
}
COUNTERS = {
    "istio": (("istio_requests_total", "server client both"),),
    "linkerd": (
        ("response_total", "server client both"),
        ("request_total", "server client"),
        ("outbound_http_route_request_statuses_total", "route"),
    ),
    "cilium": (("hubble_http_requests_total", "server client both"),),
}
LATENCIES = {
    "istio": (("istio_request_duration_milliseconds", "server client"),),
    "linkerd": (
        ("response_latency_ms", "server client"),
        ("outbound_http_route_request_duration_seconds", "route"),
        ("outbound_http_route_backend_response_duration_seconds", "route"),
    ),
    "cilium": (("hubble_http_request_duration_seconds", "server client"),),
}
OTHERS = {  # metric, who measures, matchers that say which
    "istio": (
        ("istio_tcp_sent_bytes_total", "server client", ""), ("istio_tcp_received_bytes_total", "server client", ""),
        ("istio_tcp_connections_opened_total", "server client", ""), ("istio_tcp_connections_closed_total", "server client", ""),
        ("istio_tcp_connections_failed_total", "server", 'response_flags="DENY"'),
    ),
    "linkerd": (
        ("tcp_write_bytes_total", "server", 'peer="src"'), ("tcp_read_bytes_total", "server", 'peer="src"'),
        ("tcp_write_bytes_total", "client", 'peer="dst"'), ("tcp_read_bytes_total", "client", 'peer="dst"'),
        ("tcp_open_total", "server", 'peer="src"'), ("tcp_open_total", "client", 'peer="dst"'), ("tcp_close_total", "server", 'peer="src"'),
        ("inbound_http_authz_deny_total", "policy", ""), ("inbound_tcp_authz_deny_total", "policy", ""),
        ("inbound_http_authz_allow_total", "policy", ""),
    ),
    "cilium": (
        ("hubble_policy_verdicts_total", "policy", 'match="l7/http",action="dropped",direction="ingress"'),
        ("hubble_policy_verdicts_total", "policy", 'match="l7/http",action="forwarded",direction="ingress"'),
        ("hubble_drop_total", "policy", 'reason="POLICY_DENIED"'), ("hubble_tcp_flags_total", "policy", 'flag="SYN"'),
    ),
}  # fmt: skip
ROUTE_LABELS = {
    "deployment": "workload", "namespace": "namespace", "parent_name": "service", "parent_namespace": "namespace",
}  # fmt: skip


BOUNDS = {  # of each histogram some, those that other meshes have and those that they do not
    "istio_request_duration_milliseconds": ("100", "250", "500", "50", "1000", "25"),
    "response_latency_ms": ("100", "200", "300", "50", "1000", "20"),
    "outbound_http_route_request_duration_seconds": ("0.05", "0.5", "1", "10"),
    "outbound_http_route_backend_response_duration_seconds": ("0.025", "0.1", "0.25", "1"),
    "hubble_http_request_duration_seconds": ("0.1", "0.25", "1", "0.05", "2.5", "10"),
}
UNLABELLED = {  # kinds of labels that a metric does not have
    "request_total": "status class grpc",
    "response_latency_ms": "class grpc",
    "hubble_http_request_duration_seconds": "status",
}


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    compare: str = "exact"


class Asking:
    """Makes the queries of a mesh. `floats`: bounds of buckets stand as Prometheus 3 writes them."""

    def __init__(self, mesh: str, random: Random, floats: bool = False) -> None:
        self.mesh = mesh
        self.random = random
        self.floats = floats

    def question(self) -> Question:
        pick = self.random.random()
        if pick < 0.42:
            return self._around(self._rates())
        if pick < 0.55:
            return self._ratio()
        if pick < 0.68:
            return self._mean()
        if pick < 0.83:
            return self._quantile()
        if pick < 0.90:
            return self._share()
        return self._others()

    # -- parts

    def _labels(self, side: str, narrow: bool = False, metric: str = "") -> dict[str, str]:
        if side == "route":
            return ROUTE_LABELS | ({"http_status": "status"} if "statuses" in metric else {})
        if metric:
            return {name: kind for name, kind in self._labels(side, narrow).items() if kind not in UNLABELLED.get(metric, "").split()}
        if side == "both":
            return {name: kind for name, kind in VALUES[f"{self.mesh} server"].items() if kind in ("status", "grpc")}
        known = WORKLOADS if narrow else VALUES
        return known[f"{self.mesh} {'server' if side == 'policy' else side}"]

    def _matcher(self, label: str, kind: str) -> str:
        random = self.random
        if kind == "istio tls":
            return label + random.choice(('="mutual_tls"', '!="mutual_tls"'))
        if kind == "linkerd tls":
            return label + random.choice(('="true"', '!="true"'))
        if kind == "class":
            return label + random.choice(('="success"', '="failure"', '!="success"'))
        if kind == "protocol":
            return label + random.choice(('="grpc"', '="http"'))
        if kind == "method":
            return label + '="GET"'
        if kind == "status":
            return label + random.choice(('=~"5.*"', '!~"5.*"', '="200"', '=~"4..|5.."', '!="404"', '=~"2.*"', '=~"[45].."'))
        if kind == "grpc":
            return label + random.choice(('="0"', '!~"0|"', '="14"', '!=""'))
        if kind == "spiffe":
            return label + random.choice(
                (
                    '="spiffe://cluster.local/ns/shop/sa/web-sa"', '!="spiffe://cluster.local/ns/shop/sa/web-sa"', '=~"spiffe://cluster.local/ns/shop/sa/.*"',
                    '!="unknown"', '="unknown"',
                )
            )  # fmt: skip
        if kind == "dns":
            return label + random.choice(
                (
                    '="web-sa.shop.serviceaccount.identity.linkerd.cluster.local"',
                    '=~".*\\\\.shop\\\\.serviceaccount\\\\.identity\\\\.linkerd\\\\.cluster\\\\.local"', '!=""',
                )
            )  # fmt: skip
        if kind == "host":
            return label + random.choice(
                (
                    '="users.shop.svc.cluster.local"', '=~"users.*"', '=~"(users|web).shop.svc.cluster.local"', '=~".*\\\\.shop\\\\.svc\\\\.cluster\\\\.local"',
                    '!="unknown"', '=~"users\\\\.shop\\\\..*"', '=~".+"',
                )
            )  # fmt: skip
        if kind == "authority":
            return label + '="users.shop.svc.cluster.local:80"'
        if kind == "pod":
            return label + random.choice(('=~"users-.*"', '!="web-0"'))
        names = NAMES[kind]
        one = random.choice(names)
        other = random.choice(names)
        none = '"unknown"' if self.mesh == "istio" else '""'
        return label + random.choice(
            (f'="{one}"', f'="{one}"', f'!="{one}"', f'=~"{one}|{other}"', f'=~"{one[:2]}.*"', f'!~"{one}|no"', f"!={none}", '=~".+"')
        )

    def _braces(self, side: str, some: int = 2, narrow: bool = False, pins: str = "", metric: str = "") -> str:
        labels = self._labels(side, narrow, metric)
        chosen = self.random.sample(sorted(labels), min(len(labels), self.random.randint(0, some)))
        parts = [self._matcher(label, labels[label]) for label in chosen]
        said = "" if side in ("route", "policy") else SIDES[self.mesh][side]
        parts = [*([said] if said else []), *([pins] if pins else []), *parts]
        return "{" + ",".join(parts) + "}" if parts else ""

    def _grouping(self, side: str, some: int = 2, narrow: bool = False, metric: str = "") -> list[str]:
        labels = [name for name, kind in self._labels(side, narrow, metric).items() if kind != "class"]
        return self.random.sample(sorted(labels), min(len(labels), self.random.randint(0, some)))

    def _sum(self, inside: str, labels: list[str], op: str = "sum") -> str:
        if not labels:
            return f"{op}({inside})"
        listed = ", ".join(labels)
        return self.random.choice((f"{op}({inside}) by ({listed})", f"{op} by ({listed}) ({inside})"))

    def _rate(self, series: str) -> str:
        function = self.random.choice(("rate", "rate", "irate", "increase"))
        return f"{function}({series}[{self.random.choice(('2m', '4m', '240s', '10m'))}])"

    def _chosen(self, table: tuple[tuple[str, str], ...]) -> tuple[str, str]:
        metric, sides = self.random.choice(table)
        return metric, self.random.choice(sides.split())

    # -- shapes

    def _rates(self) -> tuple[str, list[str]]:
        metric, side = self._chosen(COUNTERS[self.mesh])
        labels = self._grouping(side, metric=metric)
        return self._sum(self._rate(metric + self._braces(side, metric=metric)), labels), labels

    def _ratio(self) -> Question:
        metric, side = self._chosen(COUNTERS[self.mesh])
        labels, braces = self._grouping(side, metric=metric), self._braces(side, 1, metric=metric)
        own = self._labels(side, metric=metric)
        narrower = self.random.choice([name for name in own if name not in labels] or list(own))
        matcher = self._matcher(narrower, own[narrower])
        above = braces[:-1] + f",{matcher}}}" if braces else f"{{{matcher}}}"
        window = self.random.choice(("2m", "4m"))
        parts = [self._sum(f"rate({metric}{part}[{window}])", labels) for part in (above, braces)]
        text = self.random.choice(("{} / {}", "100 * ({} / {})", "1 - ({} / {})", "({} / {}) > 0.2", "{} / ({} > 0)"))
        return Question(text.format(*parts))

    def _mean(self) -> Question:
        metric, side = self._chosen(LATENCIES[self.mesh])
        labels, braces = self._grouping(side, metric=metric), self._braces(side, metric=metric)
        window = self.random.choice(("2m", "4m"))
        parts = [self._sum(f"rate({metric}_{part}{braces}[{window}])", labels) for part in ("sum", "count")]
        unit = 1.0 if metric.endswith("seconds") and "milli" not in metric else 1000.0
        text = self.random.choice(
            ("{} / {}", f"({{}} / {{}}) > {0.03 * unit:g}", "max({} / {})", f"round({{}} / {{}}, {0.001 * unit:g})", f"({{}} / {{}}) / {unit:g}", f"clamp_max({{}} / {{}}, {0.1 * unit:g})")
        )  # fmt: skip
        return Question(text.format(*parts), "rounded" if text.startswith("round") else "exact")

    def _quantile(self) -> Question:
        metric, side = self._chosen(LATENCIES[self.mesh])
        labels = self._grouping(side, 1, metric=metric)
        inside = self._sum(self._rate(metric + "_bucket" + self._braces(side, 1, metric=metric)), [*labels, "le"])
        q = self.random.choice(("0.5", "0.50", "0.9", "0.95", "0.99"))
        return Question(f"histogram_quantile({q}, {inside})", "quantile")

    def _share(self) -> Question:
        metric, side = self._chosen(LATENCIES[self.mesh])
        bound = self.random.choice(BOUNDS[metric])
        if self.floats and "." not in bound:
            bound += ".0"
        labels, braces = self._grouping(side, 1, metric=metric), self._braces(side, 1, metric=metric)
        with_le = braces[:-1] + f',le="{bound}"}}' if braces else f'{{le="{bound}"}}'
        parts = [self._sum(f"rate({metric}_{part}[4m])", labels) for part in (f"bucket{with_le}", f"count{braces}")]
        return Question("{} / {}".format(*parts), "below")

    def _others(self) -> Question:
        metric, sides, pins = self.random.choice(OTHERS[self.mesh])
        side = self.random.choice(sides.split())
        narrow = side == "policy" and self.mesh == "linkerd"
        labels = self._grouping(side, 1, True)
        labels = [one for one in labels if not (narrow and one == "tls")]
        return Question(
            self._sum(self._rate(metric + self._braces(side, 1, True, pins)), labels), "trend" if "hubble_tcp" in metric else "exact"
        )

    def _around(self, made: tuple[str, list[str]]) -> Question:
        text, labels = made
        shapes = [
            "{}", "{}", "{}", "round({}, 0.001)", "{} > 0.01", "{} * 60", "sort_desc({})", "clamp_min({}, 0.02)", "({} or vector(0))", "({} or on() vector(0))",
            "sum({})", "max({})", "count({})", "avg({})", "({}) > bool 0.01", "absent({})", "-({})", "({}) offset 2m", "scalar(sum({}))", "quantile(0.5, {})",
            "max_over_time(({})[4m:2m])",
        ]  # fmt: skip
        shape = self.random.choice(shapes)
        compare = "rounded" if shape.startswith("round") else "exact"
        if shape == "({}) offset 2m":
            return Question(text.replace("m])", "m] offset 2m)").replace("240s])", "240s] offset 2m)"))
        if labels and self.random.random() < 0.25:
            label = self.random.choice(labels)
            shape, compare = self.random.choice(
                (
                    ("topk(2, {})", "chosen"), ("bottomk(1, {})", "chosen"), (f"count by ({label}) ({{}})", "exact"), (f"max({{}}) by ({label})", "exact"),
                    (f'label_join({{}}, "row", "/", {", ".join(chr(34) + one + chr(34) for one in labels)})', "joined"),
                    (f'label_replace({{}}, "short", "$1", "{label}", "(..).*")', "joined"),
                    (f"{{}} / on ({', '.join(labels)}) {{}}", "exact"), ("{} / ignoring () {}", "exact"),
                    (f"sum without ({label}) ({{}})", "exact"), ("{} and {} > 0.02", "exact"), ("{} unless {} > 0.02", "exact"),
                    (f"{{}} / on ({label}) group_left sum by ({label}) ({{}})", "exact"),
                )
            )  # fmt: skip
        return Question(shape.replace("{}", text), compare)
