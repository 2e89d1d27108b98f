"""What carries queries beside files of Prometheus and Grafana: rules of prometheus-adapter, dashboards that are compressed, made or fetched."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
import yaml

import meshport

ADAPTER = """\
# what autoscalers ask
rules:
- seriesQuery: 'istio_requests_total{reporter="destination",destination_workload_namespace!="",destination_workload!=""}'
  resources:
    overrides:
      destination_workload_namespace: {resource: namespace}   # of the server
      destination_workload: {group: apps, resource: deployment}
  name: {matches: "^(.*)_total", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,reporter="destination"}[2m])) by (<<.GroupBy>>)'
- seriesQuery: 'container_cpu_usage_seconds_total{namespace!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
"""
TO_LINKERD = (
    ADAPTER.replace(
        'istio_requests_total{reporter="destination",destination_workload_namespace!="",destination_workload!=""}',
        'response_total{direction="inbound",route_name!="probe",namespace!="",deployment!=""}',
    )
    .replace("destination_workload_namespace: {", "namespace: {")
    .replace("destination_workload: {", "deployment: {")
    .replace('"^(.*)_total"', '".*"')
    .replace('"${1}_per_second"', '"istio_requests_per_second"')
    .replace('<<.LabelMatchers>>,reporter="destination"', '<<.LabelMatchers>>,direction="inbound",route_name!="probe"')
)


def convert(text: str, target: str, tmp_path: Path, name: str = "a.yaml") -> tuple[meshport.Result, str]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text(text)
    result = meshport.convert(meshport.load(tmp_path / "in"), source="istio", target=target, verify=False)
    result.write(str(tmp_path / "out"), force=True)
    made = tmp_path / "out" / name
    return result, made.read_text() if made.exists() else text


def config_map(rules: str) -> str:
    indented = "".join(f"    {line}\n" for line in rules.splitlines())
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: adapter-config\n  namespace: monitoring\ndata:\n  config.yaml: |\n{indented}"
    )


@pytest.mark.parametrize("wrapped", [str, config_map])
def test_a_rule_of_the_adapter_keeps_the_name_that_autoscalers_ask_for(wrapped, tmp_path):
    result, made = convert(wrapped(ADAPTER), "linkerd", tmp_path)
    assert made == wrapped(TO_LINKERD)
    (asset,) = result.assets
    assert (asset.translated, asset.refused, asset.unchanged) == (2, 0, 2)


def test_a_rule_without_a_name_says_that_autoscalers_have_to_ask_otherwise(tmp_path):
    lines = [line for line in ADAPTER.splitlines(keepends=True) if "name: {" not in line]
    result, _ = convert("".join(lines), "cilium", tmp_path)
    (said,) = [one for one in result.findings if one.code == "MP859"]
    assert "serves hubble_http_requests_total where it served istio_requests_total" in said.message
    assert result.install["helm_values"]["cilium"]["hubble"]["metrics"]["enabled"] == [
        "httpV2:labelsContext=destination_namespace,destination_workload"
    ]


def test_a_rule_whose_resource_has_no_label_of_its_own_stays(tmp_path):
    text = ADAPTER.replace("destination_workload: {", "source_version: {")
    result, made = convert(text, "cilium", tmp_path)
    assert made == text
    assert [one.code for one in result.findings if one.severity == "error"] == ["MP801"]


BOARD = {
    "title": "B",
    "schemaVersion": 39,
    "panels": [{"title": "P", "targets": [{"expr": 'sum(rate(istio_requests_total{reporter="source"}[5m]))'}]}],
}


def grafana(**spec: object) -> str:
    return yaml.safe_dump(
        {"apiVersion": "grafana.integreatly.org/v1beta1", "kind": "GrafanaDashboard", "metadata": {"name": "b"}, "spec": spec}
    )


def test_a_compressed_dashboard_is_compressed_again(tmp_path):
    text = grafana(gzipJson=b64encode(gzip.compress(json.dumps(BOARD).encode())).decode())
    result, made = convert(text, "linkerd", tmp_path)
    assert gzip.decompress(b64decode(yaml.safe_load(made)["spec"]["gzipJson"])).decode() == json.dumps(BOARD).replace(
        'istio_requests_total{reporter=\\"source\\"}', 'response_total{direction=\\"outbound\\"}'
    )
    assert result.assets[0].translated == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"jsonnet": 'local q = "sum(rate(istio_requests_total[5m]))"; {panels: [{targets: [{expr: q}]}]}'}, ["MP860"]),
        ({"grafanaCom": {"id": 7639}}, ["MP860"]),
        ({"grafanaCom": {"id": 1860}}, []),
        ({"gzipJson": "bm8gZ3ppcA=="}, []),
    ],
)
def test_a_dashboard_that_is_made_elsewhere_is_said(spec, said, tmp_path):
    result, made = convert(grafana(**spec), "linkerd", tmp_path)
    assert [one.code for one in result.findings if one.pattern == "observability"] == said
    assert yaml.safe_load(made)["spec"] == spec


RULES = """\
groups:
- name: a
  rules:
  - alert: Errors
    expr: sum(rate(istio_requests_total{reporter="destination",response_code=~"5.."}[5m])) by (destination_workload) > 1
    annotations: {summary: "{{ $labels.destination_workload }}"}
  - alert: Plaintext
    expr: sum(rate(istio_requests_total{reporter="destination",connection_security_policy="none"}[5m])) > 0
  - alert: Bytes
    expr: sum(rate(istio_tcp_sent_bytes_total{reporter="destination"}[5m])) > 1
"""


def within(tmp_path: Path, text: str, source: str, target: str, **options):
    (tmp_path / "r.yaml").write_text(text)
    result = meshport.convert(meshport.load(tmp_path / "r.yaml"), source=source, target=target, verify=False, **options)
    result.write(str(tmp_path / "out"), force=True)
    made = tmp_path / "out" / "r.yaml"
    return result, made.read_text() if made.exists() else text


def test_in_ambient_requests_are_counted_by_waypoints_too(tmp_path):
    result, made = within(tmp_path, RULES, "istio", "istio", data_plane="ambient")
    assert made == RULES.replace('{reporter="destination",response_code', '{reporter=~"destination|waypoint",response_code')
    assert sorted((one.code, one.severity) for one in result.findings) == [("MP801", "error"), ("MP862", "warning")]
    again, same = within(tmp_path, made, "istio", "istio", data_plane="ambient")
    assert same == made and again.assets[0].refused == 1


def test_a_query_that_comes_to_ambient_asks_the_waypoints(tmp_path):
    text = RULES.replace(
        'istio_requests_total{reporter="destination",response_code', 'response_total{direction="inbound",status_code'
    ).replace("destination_workload", "deployment")
    _, made = within(tmp_path, text, "linkerd", "istio", data_plane="ambient")
    assert 'istio_requests_total{reporter=~"destination|waypoint",response_code=~"5.."}' in made


def test_back_to_sidecars_a_waypoints_requests_are_the_servers(tmp_path):
    text = RULES.replace('"destination",response_code', '"waypoint",response_code').replace(
        "istio_tcp_sent_bytes_total", "istio_tcp_connections_failed_total"
    )
    result, made = within(tmp_path, text, "istio", "istio", data_plane="sidecar")
    assert 'istio_requests_total{reporter="destination",response_code=~"5.."}' in made
    assert [one.code for one in result.findings if one.pattern == "observability"] == ["MP800"]


def test_flaggers_own_metrics_ask_servers_so_that_ambient_gets_templates(tmp_path):
    canary = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: c, namespace: n}\nspec: {provider: istio, analysis: {metrics: [{name: request-success-rate}]}}\n"
    _, made = within(tmp_path, canary, "istio", "istio", data_plane="ambient")
    before, template = meshport.load_text(made).documents
    assert before.value["spec"]["provider"] == "istio"
    assert 'reporter=~"destination|waypoint"' in template.value["spec"]["query"]


def test_queries_of_profiles_that_become_routes_are_said(tmp_path):
    text = 'groups: [{name: a, rules: [{record: x, expr: "sum by (rt_route) (rate(route_response_total[5m]))"}]}]\n'
    result, made = within(tmp_path, text, "linkerd", "linkerd")
    assert made == text and [one.code for one in result.findings] == ["MP861"]


UNIT_TESTS = """\
rule_files: [rules.yaml]
tests:
- interval: 1m
  input_series:
  - series: 'istio_requests_total{reporter="destination", destination_service="web.shop.svc.cluster.local", response_code="500"}'
    values: '0+60x10'   # one a second
  promql_expr_test:
  - expr: sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_service)
    eval_time: 5m
    exp_samples:
    - labels: '{destination_service="web.shop.svc.cluster.local"}'
      value: 1
  alert_rule_test:
  - alertname: Errors
    eval_time: 5m
    exp_alerts:
    - exp_labels:
        severity: page
        destination_service: web.shop.svc.cluster.local
      exp_annotations:
        summary: web.shop.svc.cluster.local fails
- interval: 1m
  input_series:
  - {series: 'istio_request_bytes_sum{reporter="source"}', values: '1'}
"""
ERRORS = """\
groups:
- name: a
  rules:
  - alert: Errors
    expr: sum(rate(istio_requests_total{reporter="destination",response_code=~"5.."}[5m])) by (destination_service) > 0.5
    labels: {severity: page}
    annotations: {summary: "{{ $labels.destination_service }} fails"}
"""


def test_unit_tests_of_rules_go_with_them(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rules.yaml").write_text(ERRORS)
    (tmp_path / "in" / "tests.yaml").write_text(UNIT_TESTS)
    result = meshport.convert(meshport.load(tmp_path / "in"), source="istio", target="linkerd", verify=False)
    result.write(str(tmp_path / "out"), force=True)
    made = (tmp_path / "out" / "tests.yaml").read_text()
    first, second = yaml.safe_load(made)["tests"]
    assert (
        first["input_series"][0]["series"]
        == 'response_total{direction="outbound", dst_service="web", dst_namespace="shop", status_code="500"}'
    )
    assert (
        first["promql_expr_test"][0]["expr"]
        == 'sum(rate(response_total{direction="outbound",dst_service!=""}[5m])) by (dst_service, dst_namespace)'
    )
    assert first["promql_expr_test"][0]["exp_samples"] == [{"labels": '{dst_service="web", dst_namespace="shop"}', "value": 1}]
    (alert,) = first["alert_rule_test"][0]["exp_alerts"]
    assert alert == {
        "exp_labels": {"severity": "page", "dst_service": "web", "dst_namespace": "shop"},
        "exp_annotations": {"summary": "web.shop fails"},
    }
    assert "# one a second" in made
    assert second == yaml.safe_load(UNIT_TESTS)["tests"][1]
    assert [(one.code, one.message.partition(":")[0]) for one in result.findings if one.severity == "error"] == [("MP800", "test 2")]


def test_a_unit_test_whose_values_would_be_in_another_unit_stays(tmp_path):
    text = "tests:\n- input_series:\n  - {series: 'istio_request_duration_milliseconds_sum{reporter=\"source\"}', values: '0+100x5'}\n"
    result, made = convert(text, "cilium", tmp_path)
    assert made == text and [one.code for one in result.findings if one.severity == "error"] == ["MP823"]


def test_a_mesh_that_stays_is_told_what_it_exports_no_more(tmp_path):
    text = 'groups: [{name: a, rules: [{record: x, expr: "rate(hubble_http_responses_total[5m])"}, {record: y, expr: "rate(hubble_http_requests_total[5m])"}]}]\n'
    result, made = within(tmp_path, text, "cilium", "cilium")
    assert made == text and [(one.code, len(one.leaves)) for one in result.findings] == [("MP820", 1)]
    assert result.ledger.counts["unaccounted"] == 0
