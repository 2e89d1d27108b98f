"""Queries of Linkerd and of Cilium with their answers in the other meshes, worked out by hand from what each mesh's metrics mean.

A code stands where there is no answer. Istio's own queries are in test_translate.py.
"""

from __future__ import annotations

import pytest

from meshport import translate_promql

LINKERD = [
    (  # rate of requests begun, by workload
        'sum(rate(request_total{direction="inbound"}[5m])) by (deployment, namespace)',
        'sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_workload, destination_workload_namespace)',
        'sum(rate(hubble_http_requests_total{reporter="server"}[5m])) by (destination_workload, destination_namespace)',
    ),
    (  # linkerd viz stat: share of failures
        'sum(rate(response_total{classification="failure",direction="inbound",namespace="prod"}[5m])) by (deployment)'
        ' / sum(rate(response_total{direction="inbound",namespace="prod"}[5m])) by (deployment)',
        'sum(rate(istio_requests_total{response_code=~"5.*",reporter="destination",destination_workload_namespace="prod"}[5m])) by (destination_workload)'
        ' / sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="prod"}[5m])) by (destination_workload)',
        'sum(rate(hubble_http_requests_total{status=~"5.*",reporter="server",destination_namespace="prod"}[5m])) by (destination_workload)'
        ' / sum(rate(hubble_http_requests_total{reporter="server",destination_namespace="prod"}[5m])) by (destination_workload)',
    ),
    (  # latency: the alert's unit stays milliseconds
        'histogram_quantile(0.95, sum(rate(response_latency_ms_bucket{direction="inbound"}[30s])) by (le, deployment)) > 500',
        'histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination"}[30s])) by (le, destination_workload)) > 500',
        '(histogram_quantile(0.95, sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server"}[30s])) by (le, destination_workload)) * 1000) > 500',
    ),
    (  # mean latency
        'sum(rate(response_latency_ms_sum{direction="inbound"}[5m])) / sum(rate(response_latency_ms_count{direction="inbound"}[5m]))',
        'sum(rate(istio_request_duration_milliseconds_sum{reporter="destination"}[5m]))'
        ' / sum(rate(istio_request_duration_milliseconds_count{reporter="destination"}[5m]))',
        '(sum(rate(hubble_http_request_duration_seconds_sum{reporter="server"}[5m])) * 1000)'
        ' / sum(rate(hubble_http_request_duration_seconds_count{reporter="server"}[5m]))',
    ),
    (  # 300 ms is a bound of Linkerd's alone: the next lower one
        'sum(rate(response_latency_ms_bucket{direction="inbound",le="300"}[5m]))',
        r'sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",le=~"250(\\.0)?"}[5m]))',
        'sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server",le="0.25"}[5m]))',
    ),
    (  # who calls whom
        'sum(rate(response_total{direction="outbound",dst_deployment="web"}[1m])) by (deployment, dst_deployment)',
        'sum(rate(istio_requests_total{reporter="source",destination_workload="web"}[1m])) by (source_workload, destination_workload)',
        'sum(rate(hubble_http_requests_total{reporter="client",destination_workload="web"}[1m])) by (source_workload, destination_workload)',
    ),
    (  # by Service
        'sum(rate(response_total{direction="outbound",status_code=~"5.."}[5m])) by (dst_service, dst_namespace)',
        'sum(rate(istio_requests_total{reporter="source",response_code=~"5.."}[5m])) by (destination_service_name, destination_service_namespace)',
        'sum(rate(hubble_http_requests_total{reporter="client",status=~"5.."}[5m])) by (destination_workload, destination_namespace)',
    ),
    (  # by host and port
        'sum(rate(response_total{authority="web.prod.svc.cluster.local:80",direction="outbound"}[5m]))',
        'sum(rate(istio_requests_total{destination_service="web.prod.svc.cluster.local",reporter="source"}[5m]))',
        'sum(rate(hubble_http_requests_total{destination_workload="web",destination_namespace="prod",reporter="client"}[5m]))',
    ),
    (  # mutual TLS of requests
        'sum(rate(response_total{direction="inbound",tls="true"}[5m])) / sum(rate(response_total{direction="inbound"}[5m]))',
        'sum(rate(istio_requests_total{reporter="destination",connection_security_policy="mutual_tls"}[5m]))'
        ' / sum(rate(istio_requests_total{reporter="destination"}[5m]))',
        "MP801",
    ),
    (  # one caller
        'sum(rate(response_total{direction="inbound",route_name!="probe",client_id="web.prod.serviceaccount.identity.linkerd.cluster.local"}[5m]))',
        'sum(rate(istio_requests_total{reporter="destination",source_principal="spiffe://cluster.local/ns/prod/sa/web"}[5m]))',
        "MP801",
    ),
    (  # failed gRPC calls
        'sum(increase(response_total{direction="inbound",grpc_status!~"0|"}[1m]))',
        'sum(increase(istio_requests_total{reporter="destination",grpc_response_status!~"0|"}[1m]))',
        "MP801",
    ),
    (  # the same of the newer metric, which says statuses by name
        'sum(rate(outbound_grpc_route_request_statuses_total{grpc_status!="OK"}[5m])) by (parent_name)',
        'sum(rate(istio_requests_total{reporter="source",request_protocol="grpc",grpc_response_status!="0"}[5m])) by (destination_service_name)',
        "MP800",
    ),
    (  # routes: full latency, in seconds
        'histogram_quantile(0.99, sum(rate(outbound_http_route_request_duration_seconds_bucket{parent_namespace="prod"}[5m])) by (le, parent_name))',
        'histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter="source",destination_service_namespace="prod"}[5m]))'
        " by (le, destination_service_name)) / 1000",
        'histogram_quantile(0.99, sum(rate(hubble_http_request_duration_seconds_bucket{reporter="client",destination_namespace="prod"}[5m]))'
        " by (le, destination_workload))",
    ),
    (  # denials
        "sum(rate(inbound_http_authz_deny_total[5m])) by (deployment)",
        'sum(rate(istio_requests_total{reporter="destination",response_code="403"}[5m])) by (destination_workload)',
        'sum(rate(hubble_policy_verdicts_total{match="l7/http",action="dropped",direction="ingress"}[5m])) by (destination_workload)',
    ),
    (
        "sum(rate(inbound_tcp_authz_deny_total[5m])) by (deployment)",
        'sum(rate(istio_tcp_connections_failed_total{reporter="destination",response_flags="DENY"}[5m])) by (destination_workload)',
        'sum(rate(hubble_drop_total{reason="POLICY_DENIED"}[5m])) by (destination_workload)',
    ),
    (  # what the server writes to its client is what it sends
        'sum(rate(tcp_write_bytes_total{direction="inbound",peer="src"}[5m])) by (deployment)',
        'sum(rate(istio_tcp_sent_bytes_total{reporter="destination"}[5m])) by (destination_workload)',
        "MP800",
    ),
    (
        'sum(rate(tcp_open_total{direction="inbound",peer="src"}[1m])) by (namespace)',
        'sum(rate(istio_tcp_connections_opened_total{reporter="destination"}[1m])) by (destination_workload_namespace)',
        'sum(rate(hubble_tcp_flags_total{flag="SYN"}[1m])) by (destination_namespace)',
    ),
    ("sum(rate(outbound_http_route_retry_requests_total[5m]))", "MP800", "MP800"),
    ('sum(outbound_http_balancer_endpoints{endpoint_state="pending"})', "MP800", "MP800"),
    ('sum(rate(route_response_total{direction="outbound"}[5m])) by (rt_route)', "MP801", "MP801"),
]
"""A query of Linkerd, Istio's answer, Cilium's answer."""

CILIUM = [
    (
        'sum(rate(hubble_http_requests_total{reporter="server"}[5m])) by (destination_workload, destination_namespace)',
        'sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_workload, destination_workload_namespace)',
        'sum(rate(response_total{direction="inbound",route_name!="probe"}[5m])) by (deployment, namespace)',
    ),
    (
        'sum(rate(hubble_http_requests_total{reporter="client",destination_workload="web"}[5m])) by (source_workload, status)',
        'sum(rate(istio_requests_total{reporter="source",destination_workload="web"}[5m])) by (source_workload, response_code)',
        'sum(rate(response_total{direction="outbound",dst_deployment="web"}[5m])) by (deployment, status_code)',
    ),
    (  # seconds stay seconds
        'histogram_quantile(0.99, sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server"}[5m])) by (destination_workload, le)) > 0.5',
        '(histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination"}[5m])) by (destination_workload, le)) / 1000) > 0.5',
        '(histogram_quantile(0.99, sum(rate(response_latency_ms_bucket{direction="inbound",route_name!="probe"}[5m])) by (deployment, le)) / 1000) > 0.5',
    ),
    (
        'sum(rate(hubble_http_request_duration_seconds_bucket{reporter="server",le="0.25"}[5m]))',
        r'sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",le=~"250(\\.0)?"}[5m]))',
        r'sum(rate(response_latency_ms_bucket{direction="inbound",route_name!="probe",le=~"200(\\.0)?"}[5m]))',
    ),
    (  # a server's proxy of Linkerd does not know its caller: the client's does
        'sum(rate(hubble_http_requests_total{reporter="server",source_workload="web",destination_workload="api"}[5m]))',
        'sum(rate(istio_requests_total{reporter="destination",source_workload="web",destination_workload="api"}[5m]))',
        'sum(rate(response_total{direction="outbound",deployment="web",dst_deployment="api"}[5m]))',
    ),
    (
        'sum by (destination_app) (rate(hubble_http_requests_total{reporter="server"}[5m]))',
        'sum by (destination_app) (rate(istio_requests_total{reporter="destination"}[5m]))',
        'sum by (app) (rate(response_total{direction="inbound",route_name!="probe"}[5m]))',
    ),
    (  # HTTP denials of older and newer Hubbles
        'sum(rate(hubble_policy_verdicts_total{match="l7/http",action="dropped",direction="ingress"}[5m])) by (destination_workload)',
        'sum(rate(istio_requests_total{reporter="destination",response_code="403"}[5m])) by (destination_workload)',
        "sum(rate(inbound_http_authz_deny_total[5m])) by (deployment)",
    ),
    (
        'sum(rate(hubble_drop_total{reason="Policy denied"}[5m])) by (destination_namespace)',
        'sum(rate(istio_tcp_connections_failed_total{reporter="destination",response_flags="DENY"}[5m])) by (destination_workload_namespace)',
        "sum(rate(inbound_tcp_authz_deny_total[5m])) by (namespace)",
    ),
    (
        'sum(rate(hubble_tcp_flags_total{flag="SYN"}[5m])) by (destination_workload)',
        'sum(rate(istio_tcp_connections_opened_total{reporter="destination"}[5m])) by (destination_workload)',
        'sum(rate(tcp_open_total{direction="inbound",peer="src"}[5m])) by (deployment)',
    ),
    (  # the label of Prometheus' own configuration stays
        'sum by (cluster) (rate(hubble_http_requests_total{reporter="server",cluster="east"}[5m]))',
        'sum by (cluster) (rate(istio_requests_total{reporter="destination",cluster="east"}[5m]))',
        'sum by (cluster) (rate(response_total{direction="inbound",route_name!="probe",cluster="east"}[5m]))',
    ),
    ("sum(rate(hubble_http_requests_total[5m])) by (method)", "MP801", "MP801"),
    ('sum(rate(hubble_tcp_flags_total{flag="RST"}[5m]))', "MP800", "MP800"),
    ('sum(rate(hubble_flows_processed_total{verdict="DROPPED"}[5m]))', "MP800", "MP800"),
    ("sum(rate(hubble_dns_queries_total[5m])) by (qtypes)", "MP800", "MP800"),
    ("sum(rate(cilium_forward_bytes_total[5m])) by (direction)", "MP800", "MP800"),
]
"""A query of Cilium, Istio's answer, Linkerd's answer."""

CASES = [
    (source, query, target, answer)
    for source, rows, targets in (("linkerd", LINKERD, ("istio", "cilium")), ("cilium", CILIUM, ("istio", "linkerd")))
    for query, *answers in rows
    for target, answer in zip(targets, answers, strict=True)
]


@pytest.mark.parametrize(("source", "query", "target", "answer"), CASES)
def test_a_query_has_the_answer_that_was_worked_out(source: str, query: str, target: str, answer: str) -> None:
    found = translate_promql(query, source=source, target=target)
    if answer.startswith("MP"):
        assert found.expr is None and found.findings[-1].code == answer
    else:
        assert found.expr == answer, [one.message for one in found.findings]
