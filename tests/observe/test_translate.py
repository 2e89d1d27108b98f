"""A query keeps its meaning in the other mesh's words, or is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import meshport
from meshport import parse_promql, translate_promql
from meshport.cli.run import run
from meshport.observe.metrics import MESHES, metrics

ORACLES = Path(__file__).parents[3] / "shared" / "oracles"
RATE = 'sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_service)'
P99 = 'histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination"}[5m])) by (destination_service, le))'


def said(expr: str, source: str, target: str, **options: Any) -> tuple[str | None, list[str]]:
    found = translate_promql(expr, source=source, target=target, **options)
    return found.expr, [finding.code for finding in found.findings]


@pytest.mark.parametrize(
    ("expr", "source", "target", "options", "wanted"),
    [
        (RATE, "istio", "linkerd", {}, 'sum(rate(response_total{direction="outbound",dst_service!=""}[5m])) by (dst_service, dst_namespace)'),
        (RATE, "istio", "linkerd", {"group_by": "workload"}, 'sum(rate(response_total{direction="inbound",route_name!="probe"}[5m])) by (deployment, namespace)'),
        (RATE, "istio", "cilium", {}, 'sum(rate(hubble_http_requests_total{reporter="server"}[5m])) by (destination_workload, destination_namespace)'),
        (
            P99, "istio", "linkerd", {},
            'histogram_quantile(0.99, sum(rate(response_latency_ms_bucket{direction="outbound",dst_service!=""}[5m])) by (dst_service, dst_namespace, le))',
        ),
        (
            P99, "istio", "cilium", {},
            'histogram_quantile(0.99, sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server"}[5m])) '
            "by (destination_workload, destination_namespace, le)) * 1000",
        ),
        (
            P99, "istio", "cilium", {"latency": "native-unit"},
            'histogram_quantile(0.99, sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server"}[5m])) '
            "by (destination_workload, destination_namespace, le))",
        ),
        (
            'sum(rate(istio_requests_total{reporter="destination",connection_security_policy="mutual_tls"}[5m]))'
            ' / sum(rate(istio_requests_total{reporter="destination"}[5m]))',
            "istio", "linkerd", {},
            'sum(rate(response_total{direction="inbound",route_name!="probe",tls="true"}[5m]))'
            ' / sum(rate(response_total{direction="inbound",route_name!="probe"}[5m]))',
        ),
        (
            'sum by (deployment) (rate(response_total{direction="inbound", classification="success"}[30s]))',
            "linkerd", "istio", {},
            'sum by (destination_workload) (rate(istio_requests_total{reporter="destination", response_code!~"5.*"}[30s]))',
        ),
        (
            'sum(rate(hubble_http_requests_total{reporter="server",status=~"5.*"}[5m])) by (destination_workload, destination_namespace)',
            "cilium", "istio", {},
            'sum(rate(istio_requests_total{reporter="destination",response_code=~"5.*"}[5m])) by (destination_workload, destination_workload_namespace)',
        ),
        (
            'istio_requests_total{reporter="destination",destination_service="users.shop.svc.cluster.local"}',
            "istio", "linkerd", {},
            'response_total{direction="outbound",dst_service="users",dst_namespace="shop"}',
        ),
        (
            'rate(istio_requests_total{reporter="destination",source_principal="spiffe://cluster.local/ns/shop/sa/web"}[1m])',
            "istio", "linkerd", {},
            'rate(response_total{direction="inbound",route_name!="probe",client_id="web.shop.serviceaccount.identity.linkerd.cluster.local"}[1m])',
        ),
        (
            'rate(istio_tcp_sent_bytes_total{reporter="source",source_workload="web"}[1m])',
            "istio", "linkerd", {},
            'rate(tcp_read_bytes_total{direction="outbound",peer="dst",deployment="web"}[1m])',
        ),
        (
            'sum(rate(tcp_write_bytes_total{direction="inbound",peer="src"}[1m])) by (deployment)',
            "linkerd", "istio", {},
            'sum(rate(istio_tcp_sent_bytes_total{reporter="destination"}[1m])) by (destination_workload)',
        ),
    ],
)  # fmt: skip
def test_worked_out_answers(expr: str, source: str, target: str, options: dict[str, str], wanted: str) -> None:
    assert said(expr, source, target, **options)[0] == wanted


def test_everything_else_keeps_its_bytes() -> None:
    text = (
        "# share of errors\nsum (\n  rate( istio_requests_total{reporter = 'destination',  # servers\n    response_code=~`5.*` }[ 5m ])\n)"
    )
    assert said(text, "istio", "linkerd")[0] == (
        "# share of errors\nsum (\n  rate( response_total{direction = 'inbound',route_name!=\"probe\",  # servers\n    status_code=~`5.*` }[ 5m ])\n)"
    )


@pytest.mark.parametrize(
    ("expr", "source", "target", "code", "says"),
    [
        (
            'sum(rate(istio_requests_total{connection_security_policy="mutual_tls"}[5m]))',
            "istio",
            "cilium",
            "MP801",
            "connection_security_policy",
        ),
        ('rate(istio_requests_total{response_flags=~".*UO.*",reporter="source"}[5m])', "istio", "linkerd", "MP801", "response_flags"),
        ('rate(istio_tcp_sent_bytes_total{reporter="destination"}[5m])', "istio", "cilium", "MP800", "no bytes of workloads"),
        ("rate(pilot_xds_pushes[5m])", "istio", "linkerd", "MP800", "pilot_xds_pushes"),
        ("sum by (deployment) (rate(response_total[5m]))", "linkerd", "istio", "MP804", "deployment"),
        ('rate(response_total{direction="inbound",rt_route="/x"}[5m])', "linkerd", "istio", "MP801", "rt_route"),
        ("rate(istio_${kind}_total[5m])", "istio", "linkerd", "MP822", "istio_${kind}_total"),
        ("rate(istio_requests_total{[5m])", "istio", "linkerd", "MP821", "braces"),
        (
            'istio_requests_total{reporter="destination",destination_service!="a.b.svc.cluster.local"}',
            "istio",
            "linkerd",
            "MP823",
            "refused together",
        ),
        ("sum(up)", "istio", "linkerd", "MP824", "stays as it is"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(expr: str, source: str, target: str, code: str, says: str) -> None:
    found = translate_promql(expr, source=source, target=target)
    assert found.expr is None
    assert found.findings[-1].code == code
    assert says in found.findings[-1].message


def test_what_is_measured_otherwise_is_said() -> None:
    assert "MP802" in said(P99, "istio", "linkerd")[1]  # to the first byte
    assert "MP806" in said(P99, "istio", "cilium")[1]  # only what Envoy sees
    assert "MP813" in said(RATE, "istio", "linkerd")[1]  # at the clients
    assert "MP811" in said(RATE, "istio", "cilium")[1]  # workloads, not Services
    assert "MP805" in said("sum(rate(istio_requests_total[5m]))", "istio", "linkerd")[1]
    assert (
        "MP816" in said('istio_requests_total{response_code="500"} / ignoring (response_code) istio_requests_total', "istio", "linkerd")[1]
    )
    assert "MP820" in said('rate(istio_request_duration_seconds_count{reporter="source"}[1m])', "istio", "linkerd")[1]


def test_a_threshold_beyond_the_largest_bucket_is_an_error() -> None:
    alert = P99 + " > 15000"
    expr, codes = said(alert, "istio", "cilium")
    assert expr is not None
    assert "MP819" in codes
    assert "MP819" not in said(alert, "istio", "linkerd")[1]
    assert "MP819" not in said(P99 + " > 500", "istio", "cilium")[1]


def test_bounds_of_buckets_are_in_the_targets_unit_and_exist_there() -> None:
    share = 'sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",le="%s"}[5m]))'
    assert said(share % "250", "istio", "cilium")[0] == (
        'sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server",le="0.25"}[5m]))'
    )
    assert said(share % "1000", "istio", "cilium")[0] == (
        'sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server",le=~"1(\\\\.0)?"}[5m]))'
    )
    found = translate_promql(share % "250", source="istio", target="linkerd")
    assert found.expr is not None
    assert 'le=~"200(\\\\.0)?"' in found.expr
    assert "200 is taken, the next is 300" in next(finding.message for finding in found.findings if finding.code == "MP818")


@pytest.mark.parametrize(
    ("expr", "keep", "native"),
    [
        (f"{P99} > 500", "({{}} * 1000) > 500", "{} > 0.5"),
        (f"{P99} / 1000", "{}", "{}"),
        (f"round({P99}, 1)", "round({} * 1000, 1)", "round({}, 0.001)"),
        (f"round({P99})", "round({} * 1000)", "round({}, 0.001)"),
        (f"clamp_max({P99}, 2000)", "clamp_max({} * 1000, 2000)", "clamp_max({}, 2)"),
        (f"sqrt({P99})", "sqrt({} * 1000)", "sqrt({} * 1000)"),
    ],
)
def test_units_are_converted_once(expr: str, keep: str, native: str) -> None:
    quantile = said(P99, "istio", "cilium", latency="native-unit")[0] or ""
    assert said(expr, "istio", "cilium")[0] == keep.replace("{{}}", "{}").format(quantile)
    assert said(expr, "istio", "cilium", latency="native-unit")[0] == native.format(quantile)


def test_a_mean_is_converted_at_its_sum() -> None:
    mean = 'sum(rate(istio_request_duration_milliseconds_sum{reporter="destination"}[5m])) / sum(rate(istio_request_duration_milliseconds_count{reporter="destination"}[5m]))'
    assert said(mean, "istio", "cilium")[0] == (
        '(sum(rate(hubble_http_request_duration_seconds_sum{reporter="server"}[5m])) * 1000)'
        ' / sum(rate(hubble_http_request_duration_seconds_count{reporter="server"}[5m]))'
    )


def test_the_two_names_of_one_metric_collapse() -> None:
    both = (
        '(histogram_quantile(0.5, sum(irate(istio_request_duration_milliseconds_bucket{reporter="source",source_workload="web"}[1m])) by (le)) / 1000)'
        ' or histogram_quantile(0.5, sum(irate(istio_request_duration_seconds_bucket{reporter="source",source_workload="web"}[1m])) by (le))'
    )
    assert said(both, "istio", "linkerd")[0] == (
        '(histogram_quantile(0.5, sum(irate(response_latency_ms_bucket{direction="outbound",deployment="web"}[1m])) by (le)) / 1000)'
    )


def test_a_variable_that_chooses_who_measures_carries_other_values() -> None:
    found = translate_promql('sum(rate(istio_requests_total{reporter=~"$qrep"}[5m]))', source="istio", target="linkerd")
    assert found.expr == 'sum(rate(response_total{direction=~"$qrep"}[5m]))'
    assert found.values == {"direction": {"destination": "inbound", "source": "outbound", "waypoint": "outbound"}}
    fixed = translate_promql('istio_requests_total{reporter=~"$qrep",destination_service="$service"}', source="istio", target="linkerd")
    assert fixed.expr == 'response_total{direction="outbound",dst_service="$service"}'
    assert "MP826" in [finding.code for finding in fixed.findings]


def test_hubble_has_to_be_told_which_labels_to_export() -> None:
    found = translate_promql(RATE, source="istio", target="cilium")
    assert ("cilium", "hubble.metrics.enabled", ["httpV2:labelsContext=destination_namespace,destination_workload"]) in found.requires
    assert found.labels == {"destination_service": ("destination_workload", "destination_namespace")}


def test_every_query_of_the_corpus_is_said_in_target_metrics_or_refused() -> None:
    file = ORACLES / "promql_corpus.json"
    if not file.exists():
        pytest.skip(f"no {file}: the expressions of real dashboards are not beside the checkout")
    table = metrics()
    translated = 0
    for case in json.loads(file.read_text()):
        if case.get("valid") is not True:
            continue
        given = parse_promql(case["expr"])
        for source in MESHES:
            if not any(table.is_of(source, name) for name in given.metrics):
                continue
            for target in set(MESHES) - {source}:
                for latency in ("keep-unit", "native-unit"):
                    found = translate_promql(case["expr"], source=source, target=target, latency=latency)
                    if found.expr is None:
                        assert found.findings, case["expr"]
                        continue
                    translated += 1
                    made = parse_promql(found.expr)
                    assert any(table.is_of(target, name) for name in made.metrics), found.expr
                    for selector in made.selectors:
                        name = selector.metric
                        if name is None or not table.is_of(source, name) or table.is_of(target, name):
                            continue
                        raise AssertionError(f"{name} of {source} stands in {found.expr}")
                    for selector in made.selectors:
                        known = table.metric(target, selector.metric or "")
                        for matcher in selector.matchers if known is not None else ():
                            labels = known[0].labels | {"le", "__name__", "cluster"} if known is not None else set()
                            assert matcher.label.name in labels or matcher.whole or matcher.label.dynamic, (matcher.label.name, found.expr)
    assert translated > 500  # refusing everything is not a translation


@pytest.mark.parametrize("expr", [
    'sum(rate(istio_requests_total{reporter="source",source_workload="web",destination_workload="users"}[5m])) by (response_code)',
    'histogram_quantile(0.5, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload_namespace="shop"}[5m])) by (le))',
])  # fmt: skip
@pytest.mark.parametrize("through", ["linkerd", "cilium"])
def test_there_and_back_is_the_same(expr: str, through: str) -> None:
    there = translate_promql(expr, source="istio", target=through).expr
    assert there is not None
    back = translate_promql(there, source=through, target="istio").expr
    assert (back or "").replace(" * 1000 / 1000", "") == expr


def test_the_command_prints_the_query_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promql", RATE, "--from", "istio", "--to", "linkerd"]) == 0
    printed = capsys.readouterr()
    assert printed.out == 'sum(rate(response_total{direction="outbound",dst_service!=""}[5m])) by (dst_service, dst_namespace)\n'
    assert "MP813" in printed.err
    assert run(["promql", "rate(pilot_xds_pushes[1m])", "--from", "istio", "--to", "cilium"]) == 1
    refused = capsys.readouterr()
    assert refused.out == ""
    assert "MP800" in refused.err
    assert run(["promql", RATE, "--from", "istio", "--to", "cilium", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == {"destination_service": ["destination_workload", "destination_namespace"]}
    assert run(["promql", RATE, "--from", "istio"]) == 2
    assert run(["promql", RATE, "--from", "smi", "--to", "istio"]) == 2


def test_the_door_is_the_librarys() -> None:
    assert meshport.translate_promql is translate_promql
    with pytest.raises(meshport.UsageError, match="--group-by pod: choose service, workload"):
        translate_promql("up", source="istio", target="linkerd", group_by="pod")


@pytest.mark.parametrize(
    ("expr", "source", "target", "wanted"),
    [
        # what nobody knows is `unknown` in Istio, and an empty or absent label elsewhere
        (
            'sum(rate(istio_requests_total{reporter="source",destination_workload="unknown"}[5m]))', "istio", "linkerd",
            'sum(rate(response_total{direction="outbound",dst_deployment=""}[5m]))',
        ),
        (
            'sum(rate(istio_requests_total{reporter="destination",source_workload!~"web|unknown"}[5m]))', "istio", "cilium",
            'sum(rate(hubble_http_requests_total{reporter="server",source_workload!~"web|"}[5m]))',
        ),
        (
            'sum(rate(hubble_http_requests_total{reporter="server",source_namespace!="",source_workload=~".+"}[5m]))', "cilium", "istio",
            'sum(rate(istio_requests_total{reporter="destination",source_workload_namespace!="unknown",source_workload!="unknown"}[5m]))',
        ),
        (
            'sum(rate(response_total{direction="outbound",server_id!=""}[5m]))', "linkerd", "istio",
            'sum(rate(istio_requests_total{reporter="source",destination_principal!="unknown"}[5m]))',
        ),
        # an authority is the host and the port of a Service
        (
            'sum(rate(response_total{direction="outbound",authority="users.shop.svc.cluster.local:80"}[5m]))', "linkerd", "cilium",
            'sum(rate(hubble_http_requests_total{reporter="client",destination_workload="users",destination_namespace="shop"}[5m]))',
        ),
        (
            'sum(rate(response_total{direction="outbound",authority=~"users.shop.*"}[5m])) by (authority)', "linkerd", "istio",
            'sum(rate(istio_requests_total{reporter="source",destination_service=~"users.shop.*"}[5m])) by (destination_service)',
        ),
        (
            'sum(rate(response_total{direction="outbound",authority="$authority"}[5m]))', "linkerd", "istio",
            'sum(rate(istio_requests_total{reporter="source",destination_service="$authority"}[5m]))',
        ),
        # Istio's canonical service is the label app of the server's pods, which a client of Linkerd's does not know
        (
            'sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_canonical_service)', "istio", "linkerd",
            'sum(rate(response_total{direction="inbound",route_name!="probe"}[5m])) by (app)',
        ),
        (
            'sum(rate(istio_requests_total{reporter="source"}[5m])) by (destination_canonical_service)', "istio", "linkerd",
            'sum(rate(response_total{direction="outbound"}[5m])) by (dst_deployment)',
        ),
        # the kubelets' probes are allowed by an authorization of their own
        (
            'sum(rate(hubble_policy_verdicts_total{match="l7/http",action="forwarded",direction="ingress"}[5m]))', "cilium", "linkerd",
            'sum(rate(inbound_http_authz_allow_total{authz_name!="probe"}[5m]))',
        ),
    ],
)  # fmt: skip
def test_values_and_labels_keep_their_meaning(expr: str, source: str, target: str, wanted: str) -> None:
    assert said(expr, source, target)[0] == wanted


@pytest.mark.parametrize(
    ("expr", "source", "target", "label"),
    [
        ('histogram_quantile(0.9, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",response_code="200"}[5m])) by (le))', "istio", "cilium", "response_code"),
        ('histogram_quantile(0.9, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",request_protocol="grpc"}[5m])) by (le))', "istio", "linkerd", "request_protocol"),
        ('sum(rate(istio_request_duration_milliseconds_sum{reporter="source",grpc_response_status="0"}[5m]))', "istio", "linkerd", "grpc_response_status"),
        ('sum(rate(hubble_drop_total{reason="POLICY_DENIED",source_workload="web"}[5m]))', "cilium", "linkerd", "source_workload"),
    ],
)  # fmt: skip
def test_a_label_that_other_metrics_of_the_target_have_is_not_enough(expr: str, source: str, target: str, label: str) -> None:
    found = translate_promql(expr, source=source, target=target)
    assert found.expr is None
    assert (found.findings[-1].code, found.findings[-1].message.partition(":")[0]) == ("MP801", label)


def test_what_only_one_mesh_counts_is_said_in_both_directions() -> None:
    assert "MP806" in said('sum(rate(hubble_http_requests_total{reporter="server"}[5m]))', "cilium", "istio")[1]
    assert "MP812" in said('sum(rate(response_total{direction="inbound"}[5m])) by (deployment)', "linkerd", "istio")[1]
    assert "MP890" in said('sum(rate(response_total{direction="inbound"}[5m]))', "linkerd", "istio")[1]
    assert "MP890" not in said('sum(rate(response_total{direction="inbound",route_name!="probe"}[5m]))', "linkerd", "istio")[1]
    share = 'sum(rate(istio_requests_total{%sconnection_security_policy="mutual_tls"}[5m]))'
    assert "MP891" in said(share % "", "istio", "linkerd")[1]
    assert "MP891" in said(share % 'reporter="source",', "istio", "linkerd")[1]
    assert "MP891" not in said(share % 'reporter="destination",', "istio", "linkerd")[1]


@pytest.mark.parametrize(
    ("expr", "source", "target", "code", "candidate"),
    [
        ('sum(rate(envoy_cluster_upstream_rq_retry{cluster_name=~"outbound.*"}[5m]))', "istio", "linkerd", "MP800", "outbound_http_route_retry_requests_total"),
        ("sum(envoy_cluster_outlier_detection_ejections_active)", "istio", "linkerd", "MP800", "outbound_http_balancer_endpoints"),
        ('sum(rate(istio_requests_total{reporter="source",response_flags=~".*UO.*"}[5m]))', "istio", "linkerd", "MP801", 'error="failfast"'),
        ('sum(rate(istio_requests_total{reporter="source",response_flags=~".*URX.*"}[5m]))', "istio", "linkerd", "MP801", "retry_limit_exceeded"),
        ("sum(envoy_cluster_upstream_cx_active)", "istio", "cilium", "MP800", "cilium_bpf_map_pressure"),
        ('sum(rate(istio_requests_total{reporter="destination",connection_security_policy="mutual_tls"}[5m]))', "istio", "cilium", "MP801", "transparent_encryption"),
        (
            'sum by (source_workload) (rate(istio_requests_total{reporter="destination",connection_security_policy!="mutual_tls"}[5m]))',
            "istio", "linkerd", "MP801", "do not count requests from outside",
        ),
        ("sum(outbound_http_balancer_queue_length)", "linkerd", "istio", "MP800", "envoy_cluster_upstream_rq_pending_active"),
        ("sum(rate(inbound_http_local_ratelimit_total[5m]))", "linkerd", "istio", "MP800", 'response_code="429"'),
        ("sum(rate(route_actual_request_total[5m])) - sum(rate(route_request_total[5m]))", "linkerd", "cilium", "MP800", "cilium-envoy"),
        ("identity_cert_expiration_timestamp_seconds - time()", "linkerd", "istio", "MP800", "istio_agent_cert_expiry_seconds"),
        ('sum(rate(hubble_http_requests_total{reporter="server"}[5m])) by (method)', "cilium", "istio", "MP801", "request_method"),
        ("sum(rate(hubble_drop_total[5m])) by (reason)", "cilium", "linkerd", "MP800", "inbound_tcp_authz_deny_total"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_names_what_is_near_it(expr: str, source: str, target: str, code: str, candidate: str) -> None:
    found = translate_promql(expr, source=source, target=target)
    assert found.expr is None
    assert found.findings[-1].code == code
    assert candidate in found.findings[-1].remedy


@pytest.mark.parametrize(
    ("expr", "source", "target", "wanted"),
    [
        (
            'sum(rate(hubble_drop_total{reason="Policy denied"}[5m])) by (destination_workload)', "cilium", "linkerd",
            "sum(rate(inbound_tcp_authz_deny_total[5m])) by (deployment)",
        ),
        (
            'sum(rate(hubble_tcp_flags_total{flag="SYN",destination_namespace="shop"}[5m]))', "cilium", "istio",
            'sum(rate(istio_tcp_connections_opened_total{reporter="destination",destination_workload_namespace="shop"}[5m]))',
        ),
        (
            'sum(rate(hubble_tcp_flags_total{flag="SYN",source_workload="web"}[5m]))', "cilium", "linkerd",
            'sum(rate(tcp_open_total{direction="outbound",peer="dst",deployment="web"}[5m]))',
        ),
        (
            'sum(rate(outbound_grpc_route_request_statuses_total{grpc_status=~"UNAVAILABLE|INTERNAL"}[1m])) by (parent_name)', "linkerd", "istio",
            'sum(rate(istio_requests_total{reporter="source",request_protocol="grpc",grpc_response_status=~"14|13"}[1m])) by (destination_service_name)',
        ),
        (
            'histogram_quantile(0.95, sum(rate(inbound_http_request_duration_seconds_bucket{route_name!="probe"}[5m])) by (le))', "linkerd", "istio",
            'histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination"}[5m])) by (le)) / 1000',
        ),
    ],
)  # fmt: skip
def test_metrics_that_do_not_say_who_measures_are_read_as_the_servers(expr: str, source: str, target: str, wanted: str) -> None:
    assert said(expr, source, target)[0] == wanted


def test_a_mean_over_single_series_depends_on_how_a_mesh_splits_them() -> None:
    rate = 'rate(istio_requests_total{reporter="destination"}[5m])'
    assert "MP892" in said(f"avg({rate})", "istio", "linkerd")[1]
    assert "MP892" in said(f"topk(3, {rate})", "istio", "cilium")[1]
    assert "MP892" not in said(f"topk(3, sum by (destination_workload) ({rate}))", "istio", "linkerd")[1]


def test_hubbles_protocol_is_another_than_istios() -> None:
    found = translate_promql(
        'sum by (request_protocol) (rate(istio_requests_total{reporter="destination"}[5m]))', source="istio", target="cilium"
    )
    assert (found.expr, found.findings[-1].code) == (None, "MP801")


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("spiffe.*", 'client_id!=""'),
        ("spiffe://cluster.local/ns/prod/.*", r'client_id=~".*\\.prod\\.serviceaccount\\.identity\\.linkerd\\.cluster\\.local"'),
        ("spiffe://cluster.local/ns/prod-.*", r'client_id=~".*\\.prod-[^.]*\\.serviceaccount\\.identity\\.linkerd\\.cluster\\.local"'),
        (".*/ns/prod/sa/web", r'client_id=~"web\\.prod\\.serviceaccount\\.identity\\.linkerd\\..*"'),
        ("spiffe://cluster.local/ns/(a|b)/sa/web", r'client_id=~"web\\.(a|b)\\.serviceaccount\\.identity\\.linkerd\\.cluster\\.local"'),
        (
            "spiffe://d/ns/a/sa/b|spiffe://d/ns/c/sa/d",
            r'client_id=~"b\\.a\\.serviceaccount\\.identity\\.linkerd\\.d|d\\.c\\.serviceaccount\\.identity\\.linkerd\\.d"',
        ),
    ],
)
def test_patterns_of_principals_are_patterns_of_identities(pattern: str, wanted: str) -> None:
    expr, _ = said(f'rate(istio_requests_total{{reporter="destination",source_principal=~"{pattern}"}}[1m])', "istio", "linkerd")
    assert expr == f'rate(response_total{{direction="inbound",route_name!="probe",{wanted}}}[1m])'


def test_a_pattern_of_principals_that_is_no_list_of_names_is_refused() -> None:
    assert said('istio_requests_total{reporter="destination",source_principal=~".*prod.*"}', "istio", "linkerd") == (None, ["MP823"])


def test_the_cluster_that_answered_is_read_of_linkerd_and_not_written() -> None:
    remote = 'rate(response_total{direction="outbound",dst_target_cluster="east",dst_target_cluster!=""}[1m])'
    assert said(remote, "linkerd", "istio") == ('rate(istio_requests_total{reporter="source",destination_cluster="east"}[1m])', ["MP858"])
    assert said('rate(response_total{direction="outbound",dst_target_cluster!=""}[1m])', "linkerd", "istio")[1][-1] == "MP823"
    assert said('rate(istio_requests_total{reporter="source",destination_cluster="east"}[1m])', "istio", "linkerd")[1] == ["MP801"]


def test_a_metric_that_the_release_of_the_source_does_not_have_is_said() -> None:
    new = 'rate(inbound_http_statuses_total{http_status="500"}[1m])'
    assert "MP863" in said(new, "linkerd", "istio", source_version="2.16")[1]
    assert "MP863" not in said(new, "linkerd", "istio", source_version="2.19")[1]


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ('sum(rate(request_total{dst_deployment="web"}[1m])) by (deployment)', 'sum(rate(istio_requests_total{reporter="source",destination_workload="web"}[1m])) by (source_workload)'),
        ('sum(rate(response_total{dst_service!=""}[1m])) by (dst_service)', 'sum(rate(istio_requests_total{reporter="source"}[1m])) by (destination_service_name)'),
        ('sum(rate(response_total{client_id!=""}[1m])) by (deployment)', 'sum(rate(istio_requests_total{reporter="destination",source_principal!="unknown"}[1m])) by (destination_workload)'),
    ],
)  # fmt: skip
def test_who_measures_is_told_by_labels_that_one_side_has(expr: str, wanted: str) -> None:
    assert said(expr, "linkerd", "istio")[0] == wanted


def test_a_label_that_may_be_empty_tells_nothing_of_who_measures() -> None:
    assert "MP804" in said('sum(rate(request_total{dst_deployment=~".*"}[1m])) by (deployment)', "linkerd", "istio")[1]


def test_labels_of_the_proxys_pod_are_those_of_the_side_that_measures() -> None:
    expr = 'sum by (app) (rate(istio_requests_total{reporter="%s",app!="ztunnel"}[1m]))'
    assert (
        said(expr % "destination", "istio", "cilium")[0]
        == 'sum by (destination_app) (rate(hubble_http_requests_total{reporter="server"}[1m]))'
    )
    assert said(expr % "source", "istio", "linkerd")[0] == 'sum by (app) (rate(response_total{direction="outbound"}[1m]))'


def test_a_label_of_prometheus_itself_stays_and_is_said() -> None:
    expr, codes = said('sum by (cluster) (rate(hubble_http_requests_total{reporter="server",cluster="east"}[1m]))', "cilium", "istio")
    assert expr == 'sum by (cluster) (rate(istio_requests_total{reporter="destination",cluster="east"}[1m]))'
    assert codes.count("MP865") == 1
