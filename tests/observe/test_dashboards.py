"""Dashboards as a whole, in the shapes that the meshes publish them in: what cannot be asked is said once with all its places, and what is shown stays true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import meshport


def convert(tmp_path: Path, dashboard: dict, source: str, target: str, **options):
    """The result and the dashboard as it is written."""
    given = tmp_path / "in" / "d.json"
    given.parent.mkdir(parents=True, exist_ok=True)
    given.write_text(json.dumps(dashboard, indent=1))
    result = meshport.convert(meshport.load(given), source=source, target=target, verify=False, **options)
    result.write(str(tmp_path / "out"), force=True)
    made = tmp_path / "out" / "d.json"
    return result, json.loads(made.read_text()) if made.exists() else dashboard


def board(*panels: tuple[str, str], variables: list[dict] | None = None, **panel) -> dict:
    """A dashboard with one query a panel."""
    made = [{"title": title, "type": "timeseries", "targets": [{"expr": expr, "refId": "A"}], **panel} for title, expr in panels]
    return {"title": "Board", "schemaVersion": 39, "panels": made, "templating": {"list": variables or []}}


def test_panels_of_the_control_plane_are_one_finding_that_points_at_every_query(tmp_path):
    asked = [(f"Panel {at}", f"sum(pilot_metric_{at})") for at in range(9)]
    result, made = convert(tmp_path, board(*asked, ("Sizes", "sum(istio_request_bytes_sum)")), "istio", "linkerd")
    said = [one for one in result.findings if one.severity == "error"]
    assert sorted(one.message for one in said) == [
        "panel 'Sizes': istio_request_bytes: Linkerd has nothing that says it: Linkerd counts the bytes of frames, not of whole bodies",
        "panels 'Panel 0', 'Panel 1', 'Panel 2' and 6 more: pilot_metric_0, pilot_metric_1, pilot_metric_2, pilot_metric_3, pilot_metric_4 and 4 more: "
        "Linkerd has nothing that says it: it speaks of the mesh's own parts, which the other does not have",
    ]
    assert sorted(len(one["leaves"]) for one in result.report().model_dump(mode="json")["findings"] if one["severity"] == "error") == [1, 9]
    assert result.assets[0].refused == 10 and made["panels"][0]["targets"][0]["expr"] == "sum(pilot_metric_0)"


WORKLOADS = board(
    (
        "Success",
        'sum(rate(response_total{classification="success",namespace="$namespace",deployment="$deployment",direction="inbound"}[5m])) by (deployment)',
    ),
    variables=[
        {"name": "namespace", "type": "query", "query": 'label_values(process_start_time_seconds{deployment!=""}, namespace)'},
        {"name": "deployment", "type": "query", "query": 'label_values(process_start_time_seconds{namespace="$namespace"}, deployment)'},
    ],
)
"""The form of linkerd-viz' deployment.json: its variables list what proxies run for."""


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (
            "istio",
            [
                'label_values(istio_requests_total{reporter="destination",destination_workload!="unknown"}, destination_workload_namespace)',
                'label_values(istio_requests_total{reporter="destination",destination_workload_namespace="$namespace"}, destination_workload)',
            ],
        ),
        (
            "cilium",
            [
                'label_values(hubble_http_requests_total{reporter="server",destination_workload!=""}, destination_namespace)',
                'label_values(hubble_http_requests_total{reporter="server",destination_namespace="$namespace"}, destination_workload)',
            ],
        ),
    ],
)
def test_variables_that_list_linkerds_proxies_list_what_the_target_knows(target, wanted, tmp_path):
    result, made = convert(tmp_path, WORKLOADS, "linkerd", target)
    assert [one["query"] for one in made["templating"]["list"]] == wanted
    assert sorted(one.message.split()[0] for one in result.findings if one.code == "MP857") == ["deployment", "namespace"]


def test_a_variable_of_linkerds_own_namespace_stays_with_its_panels(tmp_path):
    variable = {
        "name": "ns",
        "type": "query",
        "query": 'label_values(process_start_time_seconds{control_plane_ns!=""}, control_plane_ns)',
    }
    dashboard = board(("P", 'sum(rate(response_total{namespace="$ns",direction="inbound"}[5m]))'), variables=[variable])
    result, made = convert(tmp_path, dashboard, "linkerd", "istio")
    assert made == dashboard
    assert {one.code for one in result.findings if one.severity == "error"} == {"MP801", "MP836"}


def test_a_variable_that_only_panels_ask_with_that_stay_is_no_error_of_its_own(tmp_path):
    variable = {"name": "ns", "type": "query", "query": "label_values(source_namespace)"}
    dashboard = board(("P", 'sum(rate(hubble_flows_processed_total{source_namespace=~"$ns"}[1m])) by (verdict)'), variables=[variable])
    result, _ = convert(tmp_path, dashboard, "cilium", "istio")
    assert [one.code for one in result.findings] == ["MP800"]


def test_a_legend_keeps_what_its_query_never_had(tmp_path):
    dashboard = board(("P", 'sum(rate(hubble_http_requests_total{reporter="server"}[1m])) by (source_namespace, status)'))
    dashboard["panels"][0]["targets"][0]["legendFormat"] = "{{ method }} {{ source_namespace }}: {{ status }}"
    _, made = convert(tmp_path, dashboard, "cilium", "istio")
    assert made["panels"][0]["targets"][0]["legendFormat"] == "{{ method }} {{ source_workload_namespace }}: {{ response_code }}"


def test_the_looks_of_a_column_that_became_two_go_to_the_first(tmp_path):
    overrides = [{"matcher": {"id": "byName", "options": "destination_service"}, "properties": [{"id": "displayName", "value": "Service"}]}]
    dashboard = board(
        ("Table", 'sum by (destination_service) (rate(istio_requests_total{reporter=~"source|waypoint"}[5m]))'),
        fieldConfig={"defaults": {}, "overrides": overrides},
    )
    result, made = convert(tmp_path, dashboard, "istio", "linkerd")
    assert (
        made["panels"][0]["targets"][0]["expr"]
        == 'sum by (dst_service, dst_namespace) (rate(response_total{direction="outbound",dst_service!=""}[5m]))'
    )
    assert made["panels"][0]["fieldConfig"]["overrides"][0]["matcher"]["options"] == "dst_service"
    assert not [one for one in result.findings if one.severity == "error"]


def test_two_units_under_one_operator_stay_in_the_panels(tmp_path):
    quantile = 'histogram_quantile(0.9, sum(rate(istio_request_duration_%s_bucket{reporter="destination"}[5m])) by (le))'
    both = f"({quantile % 'milliseconds'} / 1000) or {quantile % 'seconds'}"
    dashboard = board(("P", both), fieldConfig={"defaults": {"unit": "s", "thresholds": {"steps": [{"value": 0.5}]}}})
    _, made = convert(tmp_path, dashboard, "istio", "linkerd")
    panel = made["panels"][0]
    assert panel["targets"][0]["expr"] == (
        '(histogram_quantile(0.9, sum(rate(response_latency_ms_bucket{direction="inbound",route_name!="probe"}[5m])) by (le)) / 1000)'
    )
    assert panel["fieldConfig"] == dashboard["panels"][0]["fieldConfig"]


def test_services_that_a_variable_names_without_their_namespace_are_said(tmp_path):
    variable = {"name": "service", "type": "query", "query": "label_values(istio_requests_total, destination_service)"}
    alone = board(("P", 'sum(rate(istio_requests_total{reporter="source",destination_service="$service"}[5m]))'), variables=[variable])
    assert "MP856" in [one.code for one in convert(tmp_path, alone, "istio", "linkerd")[0].findings]
    told = board(
        ("P", 'sum(rate(istio_requests_total{reporter="source",destination_service="$service",destination_service_namespace="prod"}[5m]))'),
        variables=[variable],
    )
    assert "MP856" not in [one.code for one in convert(tmp_path, told, "istio", "linkerd")[0].findings]


def test_what_the_mesh_itself_costs_stays_and_is_said_once_a_part(tmp_path):
    dashboard = board(
        ("Memory", 'sum(container_memory_working_set_bytes{container="istio-proxy",namespace!="istio-system"})'),
        ("CPU", 'sum(rate(container_cpu_usage_seconds_total{container=~"discovery|istio-proxy",pod=~"istiod-.*"}[5m]))'),
        ("Shop", 'sum(container_memory_working_set_bytes{namespace="shop"})'),
    )
    result, made = convert(tmp_path, dashboard, "istio", "linkerd")
    assert made == dashboard
    assert sorted(one.message.split()[0] for one in result.findings if one.code == "MP864") == ["istio-proxy", "istiod"]
    assert result.assets[0].unchanged == 3


def test_a_link_of_a_tables_column_names_the_column_that_is_there(tmp_path):
    links = [{"id": "links", "value": [{"url": '/d/w?var-workload=${__data.fields.destination_workload}&var-x=${__data.fields["Value"]}'}]}]
    dashboard = board(
        ("Table", 'sum by (destination_workload) (rate(istio_requests_total{reporter="destination"}[5m]))'),
        fieldConfig={"defaults": {}, "overrides": [{"matcher": {"id": "byName", "options": "destination_workload"}, "properties": links}]},
    )
    _, made = convert(tmp_path, dashboard, "istio", "linkerd")
    (override,) = made["panels"][0]["fieldConfig"]["overrides"]
    assert override["properties"][0]["value"][0]["url"] == '/d/w?var-workload=${__data.fields.deployment}&var-x=${__data.fields["Value"]}'


def test_the_heading_of_a_column_that_became_two_goes_to_the_first(tmp_path):
    organize = {
        "id": "organize",
        "options": {"renameByName": {"destination_service": "Service"}, "indexByName": {"destination_service": 0, "Value": 1}},
    }
    dashboard = board(
        ("Table", 'sum by (destination_service) (rate(istio_requests_total{reporter="source"}[5m]))'), transformations=[organize]
    )
    _, made = convert(tmp_path, dashboard, "istio", "linkerd")
    assert made["panels"][0]["transformations"][0]["options"] == {
        "renameByName": {"dst_service": "Service"},
        "indexByName": {"dst_service": 0, "Value": 1},
    }
