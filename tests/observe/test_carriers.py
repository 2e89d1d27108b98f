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
