"""Assets that ask a mesh's metrics: what is asked, shown and decided goes to the other mesh together, and everything else keeps its bytes."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

import meshport
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql

SHARED = Path(__file__).resolve().parents[3] / "shared"


def convert(tmp_path: Path, files: dict[str, str], source: str, target: str, **options):
    """The result, and the files of the output with the texts in them."""
    given = tmp_path / "in"
    for name, text in files.items():
        (given / name).parent.mkdir(parents=True, exist_ok=True)
        (given / name).write_text(text, encoding="utf-8", newline="")
    result = meshport.convert(meshport.load(given), source=source, target=target, verify=False, **options)
    result.write(str(tmp_path / "out"), force=True)
    made = {str(file.relative_to(tmp_path / "out")): file.read_bytes().decode() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    return result, made


def codes(result) -> list[str]:
    return sorted({finding.code for finding in result.findings})


PANEL = """{
   "title" : "Services", "schemaVersion":39,
   "panels":[ {
      "title": "Service Latency P99", "type": "timeseries",
      "targets": [ {"expr": "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter=\\"destination\\"}[5m])) by (destination_service, le))",
                    "legendFormat": "{{destination_service}}", "refId": "A"} ],
      "fieldConfig": {"defaults": {"unit": "ms", "softMax": 2000, "thresholds": {"mode": "absolute",
         "steps": [ {"color":"green","value":null}, {"color":"yellow","value":100}, {"color":"red","value":500} ]}}, "overrides": []}
   } ]
}
"""


def test_the_panel_of_latency_to_linkerd_stays_in_milliseconds(tmp_path):
    _, made = convert(tmp_path, {"d/services.json": PANEL}, "istio", "linkerd")
    assert made["d/services.json"] == PANEL.replace(
        'istio_request_duration_milliseconds_bucket{reporter=\\"destination\\"}', 'response_latency_ms_bucket{direction=\\"outbound\\",dst_service!=\\"\\"}'
    ).replace("by (destination_service, le)", "by (dst_service, dst_namespace, le)").replace("{{destination_service}}", "{{dst_service}}.{{dst_namespace}}")  # fmt: skip


def test_the_panel_of_latency_to_cilium_is_in_seconds_with_its_thresholds(tmp_path):
    result, made = convert(tmp_path, {"services.json": PANEL}, "istio", "cilium")
    wanted = PANEL
    for old, new in (
        ('istio_request_duration_milliseconds_bucket{reporter=\\"destination\\"}', 'hubble_http_request_duration_seconds_bucket{reporter=\\"server\\"}'),
        ("by (destination_service, le)", "by (destination_workload, destination_namespace, le)"),
        ("{{destination_service}}", "{{destination_namespace}}/{{destination_workload}}"),
        ('"unit": "ms", "softMax": 2000', '"unit": "s", "softMax": 2'),
        ('"value":100}', '"value":0.1}'),
        ('"value":500}', '"value":0.5}'),
    ):  # fmt: skip
        wanted = wanted.replace(old, new)
    assert made["services.json"] == wanted
    assert result.install["helm_values"]["cilium"]["hubble"]["metrics"]["enabled"] == [
        "httpV2:labelsContext=destination_namespace,destination_workload"
    ]


def test_keep_unit_leaves_the_panel_its_unit(tmp_path):
    _, made = convert(tmp_path, {"services.json": PANEL}, "istio", "cilium", latency="keep-unit")
    panel = json.loads(made["services.json"])["panels"][0]
    assert panel["targets"][0]["expr"].endswith("* 1000")
    assert panel["fieldConfig"]["defaults"]["unit"] == "ms"
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 100, 500]


def test_from_cilium_seconds_become_milliseconds(tmp_path):
    panel = json.dumps({
        "schemaVersion": 39, "title": "x", "panels": [{
            "title": "p", "type": "graph", "yaxes": [{"format": "s", "max": "10"}, {"format": "short"}], "thresholds": [{"value": 0.5, "op": "gt"}],
            "alert": {"conditions": [{"evaluator": {"params": [0.5], "type": "gt"}}]},
            "targets": [{"expr": 'histogram_quantile(0.9, sum by (le, destination_workload) (rate(hubble_http_request_duration_seconds_bucket{reporter="server"}[1m])))',
                         "legendFormat": "{{ destination_workload }}"}]}]})  # fmt: skip
    _, made = convert(tmp_path, {"a.json": panel}, "cilium", "istio")
    got = json.loads(made["a.json"])["panels"][0]
    assert 'istio_request_duration_milliseconds_bucket{reporter="destination"}' in got["targets"][0]["expr"]
    assert got["yaxes"] == [{"format": "ms", "max": "10000"}, {"format": "short"}]
    assert got["thresholds"][0]["value"] == 500
    assert got["alert"]["conditions"][0]["evaluator"]["params"] == [500]


def test_a_panel_that_cannot_be_asked_stays_as_it_is_whole(tmp_path):
    dashboard = json.loads(PANEL)
    dashboard["panels"][0]["targets"].append({"expr": 'sum(istio_request_bytes_sum{reporter="destination"})', "refId": "B"})
    text = json.dumps(dashboard, indent=1)
    result, made = convert(tmp_path, {"a.json": text}, "istio", "cilium")
    assert "a.json" not in made
    said = [finding for finding in result.findings if finding.severity == "error"]
    assert [finding.message.partition(":")[0] for finding in said] == ["panel 'Service Latency P99'"]
    assert said[0].leaves and result.assets[0].refused == 2 and result.assets[0].translated == 0


DASHBOARD = {
    "schemaVersion": 39,
    "title": "Mesh",
    "panels": [
        {
            "title": "Rates",
            "targets": [{"expr": 'sum(rate(istio_requests_total{reporter=~"$qrep",destination_service=~"$service"}[$__rate_interval])) by (destination_workload)'}],
            "transformations": [{"id": "organize", "options": {"renameByName": {"destination_workload": "Workload"}, "excludeByName": {}}}],
            "fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": "destination_workload"}, "properties": [{"id": "links", "value": [
                {"url": "/d/x?var-workload=${__field.labels.destination_workload}"}]}]}]},
        },
        {"title": "CPU", "targets": [{"expr": 'rate(container_cpu_usage_seconds_total{pod=~"$pod"}[5m])'}]},
    ],
    "templating": {"list": [
        {"name": "qrep", "type": "custom", "query": "source,destination", "current": {"text": ["source"], "value": ["source"]},
         "options": [{"text": "source", "value": "source", "selected": True}, {"text": "destination", "value": "destination", "selected": False}]},
        {"name": "service", "type": "query", "definition": "label_values(istio_requests_total, destination_service)",
         "query": {"query": "label_values(istio_requests_total, destination_service)", "refId": "x"}},
        {"name": "wl", "type": "query", "regex": '/.*destination_workload="([^"]*).*/', "query":
            'query_result(sum(istio_requests_total{reporter="destination"}) by (destination_workload) or sum(istio_tcp_sent_bytes_total{reporter="destination"}) by (destination_workload))'},
    ]},
}  # fmt: skip


def test_variables_hold_the_targets_words(tmp_path):
    _, made = convert(tmp_path, {"a.json": json.dumps(DASHBOARD)}, "istio", "cilium")
    qrep, service, workload = json.loads(made["a.json"])["templating"]["list"]
    assert qrep["query"] == "client,server"
    assert qrep["current"] == {"text": ["client"], "value": ["client"]}
    assert [one["value"] for one in qrep["options"]] == ["client", "server"]
    assert service["query"]["query"] == service["definition"] == "label_values(hubble_http_requests_total, destination_workload)"
    assert workload["query"] == 'query_result(sum(hubble_http_requests_total{reporter="server"}) by (destination_workload))'


def test_labels_are_renamed_where_a_result_is_shown(tmp_path):
    _, made = convert(tmp_path, {"a.json": json.dumps(DASHBOARD)}, "istio", "linkerd")
    dashboard = json.loads(made["a.json"])
    panel = dashboard["panels"][0]
    assert panel["transformations"][0]["options"]["renameByName"] == {"dst_deployment": "Workload"}
    override = panel["fieldConfig"]["overrides"][0]
    assert override["matcher"]["options"] == "dst_deployment"
    assert override["properties"][0]["value"][0]["url"].endswith("${__field.labels.dst_deployment}")
    assert dashboard["panels"][1] == DASHBOARD["panels"][1]
    assert dashboard["templating"]["list"][2]["regex"] == '/.*deployment="([^"]*).*/'


def test_a_variable_that_would_mean_two_things_stays_with_its_panels(tmp_path):
    panels = [
        {"title": "clients", "targets": [{"expr": 'sum(rate(istio_requests_total{reporter="source",destination_service_name="$x"}[5m]))'}]},
        {
            "title": "servers",
            "targets": [{"expr": 'sum(rate(istio_requests_total{reporter="destination",destination_workload="$x"}[5m]))'}],
        },
        {"title": "others", "targets": [{"expr": 'sum(rate(istio_requests_total{reporter="destination"}[5m]))'}]},
    ]
    variables = [
        {"name": "x", "type": "query", "query": 'label_values(istio_requests_total{reporter="destination"}, destination_workload)'}
    ]
    text = json.dumps({"schemaVersion": 39, "panels": panels, "templating": {"list": variables}})
    result, made = convert(tmp_path, {"a.json": text}, "istio", "linkerd")
    got = json.loads(made["a.json"])
    assert got["panels"][:2] == panels[:2] and got["panels"][2] != panels[2]
    assert got["templating"]["list"] == variables
    assert {"MP836", "MP837"} <= set(codes(result))


def test_a_transformation_over_a_label_that_became_two_keeps_the_panel(tmp_path):
    panel = {
        "title": "Table",
        "targets": [{"expr": 'sum by (destination_service) (rate(istio_requests_total{reporter="source"}[5m]))'}],
        "transformations": [{"id": "organize", "options": {"excludeByName": {"destination_service": True}}}],
    }
    result, made = convert(tmp_path, {"a.json": json.dumps({"schemaVersion": 1, "panels": [panel]})}, "istio", "linkerd")
    assert "a.json" not in made and "MP835" in codes(result)


RULES = """# alerts of the platform
groups:
  - name: mesh
    rules:
      - alert: Errors   # asks what is recorded further down
        expr: |
          sum(rate(istio_requests_total{reporter="destination",response_code=~"5.*"}[5m])) by (destination_service)
            / on (destination_service) destination_service:istio_requests:rate5m > 0.05
        for: 5m
        annotations:
          summary: "{{ $labels.destination_service }} fails {{ $value | humanizePercentage }}"
          runbook: 'https://runbooks/?s={{ $labels.destination_service | urlquery }}'
      - record: destination_service:istio_requests:rate5m
        expr: sum(rate(istio_requests_total{reporter="destination"}[5m])) by (destination_service)
      - alert: Quiet
        expr: destination_service:istio_requests:rate5m{destination_service="cart.shop.svc.cluster.local"} < 1
      - alert: Down
        expr: up == 0
"""


def test_recording_rules_are_renamed_with_all_who_ask_them(tmp_path):
    result, made = convert(tmp_path, {"rules.yaml": RULES}, "istio", "linkerd")
    wanted = RULES
    for old, new in (
        ('istio_requests_total{reporter="destination",response_code=~"5.*"}', 'response_total{direction="outbound",dst_service!="",status_code=~"5.*"}'),
        ('istio_requests_total{reporter="destination"}', 'response_total{direction="outbound",dst_service!=""}'),
        ("istio_requests:rate5m", "response:rate5m"),
        ("(destination_service)", "(dst_service, dst_namespace)"),
        ('destination_service="cart.shop.svc.cluster.local"', 'dst_service="cart",dst_namespace="shop"'),
        ("{{ $labels.destination_service }}", "{{ $labels.dst_service }}.{{ $labels.dst_namespace }}"),
        ("{{ $labels.destination_service | urlquery }}", '{{ (printf "%s.%s" $labels.dst_service $labels.dst_namespace) | urlquery }}'),
    ):  # fmt: skip
        wanted = wanted.replace(old, new)
    assert made["rules.yaml"] == wanted
    fate = result.assets[0]
    assert (fate.kind, fate.expressions, fate.translated, fate.unchanged) == ("RuleFile", 4, 3, 1)


def test_what_asks_a_refused_recording_rule_is_refused_with_it(tmp_path):
    text = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: mtls, namespace: shop}
spec:
  groups:
  - name: a
    rules:
    - record: mtls:share
      expr: sum(rate(istio_requests_total{reporter="destination",connection_security_policy="mutual_tls"}[5m])) / sum(rate(istio_requests_total{reporter="destination"}[5m]))
    - alert: Plaintext
      expr: mtls:share < 0.99
"""
    result, made = convert(tmp_path, {"r.yaml": text}, "istio", "cilium")
    assert "r.yaml" not in made
    assert {"MP801", "MP831"} <= set(codes(result))
    assert result.assets[0].refused == 2
    assert result.ledger.counts["dropped"] == 2 and result.ledger.counts["unaccounted"] == 0


CANARY = """apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: cart
  namespace: shop
spec:
  provider: istio # shifts
  analysis:
    metrics:
    - name: request-success-rate
      thresholdRange: {min: 99}
    - name: request-duration
      thresholdRange:
        max: 500 # ms
"""


def test_a_canary_that_goes_to_cilium_asks_templates_in_its_own_units(tmp_path):
    result, made = convert(tmp_path, {"canary.yaml": CANARY}, "istio", "cilium")
    canary, *templates = meshport.load_text(made["canary.yaml"]).documents
    assert canary.value["spec"]["provider"] == "gatewayapi:v1"
    metrics_of = canary.value["spec"]["analysis"]["metrics"]
    assert [one["templateRef"]["name"] for one in metrics_of] == ["request-success-rate", "request-duration"]
    assert [one["thresholdRange"] for one in metrics_of] == [{"min": 99}, {"max": 500}]
    assert "# shifts" in made["canary.yaml"] and "# ms" in made["canary.yaml"]
    queries = {one.name: one.value["spec"]["query"] for one in templates}
    assert queries["request-success-rate"].rstrip().endswith("* 100") and "hubble_http_requests_total" in queries["request-success-rate"]
    assert queries["request-duration"].rstrip().endswith("* 1000")
    assert {"MP840", "MP841"} <= set(codes(result))


def test_a_canary_that_goes_to_istio_uses_flaggers_own_metrics(tmp_path):
    _, made = convert(tmp_path, {"c.yaml": CANARY.replace("provider: istio", "provider: linkerd")}, "linkerd", "istio")
    assert made["c.yaml"] == CANARY


def test_a_canary_of_the_gateway_api_asks_its_application(tmp_path):
    """Flagger's own queries for that provider are of http_request_duration_seconds, whatever the mesh."""
    text = CANARY.replace("provider: istio # shifts", "provider: gatewayapi:v1\n  metricsServer: http://prometheus.istio-system:9090")
    result, made = convert(tmp_path, {"c.yaml": text}, "istio", "linkerd")
    assert made["c.yaml"] == text.replace("prometheus.istio-system", "prometheus.linkerd-viz")
    assert codes(result) == ["MP839"] and result.assets[0].unchanged == 2


GATES = {
    "analysis": ("""apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: latency, namespace: shop}
spec:
  args: [{name: app}]
  metrics:
  - name: p95
    successCondition: result[0] < 500
    provider:
      prometheus:
        address: http://prometheus.istio-system.svc:9090
        query: |
          histogram_quantile(0.95, sum(rate(
            istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload="{{args.app}}"}[5m]
          )) by (le))
""", [("istio_request_duration_milliseconds_bucket", "hubble_http_request_duration_seconds_bucket"), ('"destination"', '"server"'),
      (")) by (le))\n", ")) by (le)) * 1000\n"), ("prometheus.istio-system", "prometheus.cilium-monitoring")]),
    "sloth": ("""apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata: {name: s, namespace: shop}
spec:
  slos:
  - name: requests
    sli:
      events:
        errorQuery: sum(rate(istio_requests_total{reporter="destination",destination_workload="cart",response_code=~"5.."}[{{.window}}]))
        totalQuery: sum(rate(istio_requests_total{reporter="destination",destination_workload="cart"}[{{.window}}]))
""", [("istio_requests_total", "hubble_http_requests_total"), ('"destination"', '"server"'), ("response_code", "status")]),
    "pyrra": ("""apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: p, namespace: shop}
spec:
  target: "99"
  indicator:
    latency:
      success:
        metric: istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload="cart",le="1000"}
      total:
        metric: istio_request_duration_milliseconds_count{reporter="destination",destination_workload="cart"}
      grouping:
      - destination_workload_namespace
""", [("istio_request_duration_milliseconds", "hubble_http_request_duration_seconds"), ('"destination"', '"server"'), ('"1000"', '"1"'),
      ("destination_workload_namespace", "destination_namespace")]),
    "openslo": ("""apiVersion: openslo/v1
kind: SLO
metadata: {name: o}
spec:
  indicator:
    spec:
      ratioMetric:
        good: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(istio_requests_total{reporter="destination",response_code!~"5.."}[5m]))'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(istio_requests_total{reporter="destination"}[5m]))'}}}
""", [("istio_requests_total", "hubble_http_requests_total"), ('"destination"', '"server"'), ("response_code", "status")]),
    "keda": ("""apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: k, namespace: shop}
spec:
  triggers:
  - type: cpu
    metadata: {value: "60"}
  - type: prometheus
    metadata:
      serverAddress: http://my-prometheus:9090
      query: sum(rate(istio_requests_total{reporter="destination",destination_workload="cart"}[2m]))
      threshold: "100"
""", [("istio_requests_total", "hubble_http_requests_total"), ('"destination"', '"server"')]),
}  # fmt: skip


@pytest.mark.parametrize("name", GATES)
def test_a_gate_asks_the_same_in_the_same_unit_and_nothing_else_changes(name, tmp_path):
    text, changes = GATES[name]
    _, made = convert(tmp_path, {"g.yaml": text}, "istio", "cilium")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    assert made["g.yaml"] == text


def test_both_queries_of_an_objective_stay_where_one_is_refused(tmp_path):
    text = GATES["sloth"][0].replace('response_code=~"5.."', 'response_flags="UO"')
    result, made = convert(tmp_path, {"g.yaml": text}, "istio", "linkerd")
    assert "g.yaml" not in made and result.assets[0].refused == 2


MONITORS = """apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: hubble, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: hubble}}
  endpoints: [{port: hubble-metrics}]
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: app, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  endpoints: [{port: http}]
"""


def test_a_scrape_of_the_source_is_listed_for_removal_and_the_target_is_scraped(tmp_path):
    text = MONITORS
    result, made = convert(tmp_path, {"m.yaml": text}, "cilium", "istio")
    assert [(gone["kind"], gone["name"]) for gone in result.removals] == [("ServiceMonitor", "hubble")]
    monitor = meshport.load_text(made["m.yaml"]).documents[0]
    assert (monitor.kind, monitor.name) == ("PodMonitor", "envoy-stats-monitor")
    again, _ = convert(tmp_path / "two", {"m.yaml": text}, "cilium", "linkerd")
    assert again.install["helm_values"]["linkerd-control-plane"] == {"podMonitor": {"enabled": True}}


CONFIG_MAP = """apiVersion: v1
kind: ConfigMap
metadata:
  name: mesh
  labels: {grafana_dashboard: "1"}
data:
  mesh.json: |-
    {
      "schemaVersion": 39,
      "panels": [
        {"title": "A", "targets": [{"expr": "sum(rate(istio_requests_total{reporter=\\"destination\\"}[5m])) by (destination_workload)"}]},
        {"title": "B", "targets": [{"expr": "pilot_xds_pushes"}]}
      ]
    }
  note: istio_requests_total
"""


def test_a_dashboard_in_a_configmap_is_changed_in_its_lines_alone(tmp_path):
    result, made = convert(tmp_path, {"cm.yaml": CONFIG_MAP}, "istio", "linkerd")
    assert made["cm.yaml"] == CONFIG_MAP.replace(
        'istio_requests_total{reporter=\\"destination\\"}', 'response_total{direction=\\"inbound\\",route_name!=\\"probe\\"}'
    ).replace("by (destination_workload)", "by (deployment)")
    error = next(finding for finding in result.findings if finding.code == "MP800")
    assert (error.line, error.column) == (12, 45) and error.message.startswith("panel 'B'")


def test_a_dashboard_of_the_operator_is_found(tmp_path):
    text = (
        "apiVersion: grafana.integreatly.org/v1beta1\nkind: GrafanaDashboard\nmetadata: {name: d, namespace: m}\nspec:\n  json: >\n    "
        + " ".join(PANEL.split())
        + "\n"
    )
    _, made = convert(tmp_path, {"d.yaml": text}, "istio", "cilium")
    assert (
        json.loads(meshport.load_text(made["d.yaml"]).documents[0].value["spec"]["json"])["panels"][0]["fieldConfig"]["defaults"]["unit"]
        == "s"
    )


ALL = {"rules.yaml": RULES, "d.json": PANEL, "a.json": json.dumps(DASHBOARD, indent=2), "canary.yaml": CANARY, "cm.yaml": CONFIG_MAP} | {
    f"{name}.yaml": text for name, (text, _) in GATES.items()
}


def _spoilt(value, chance: random.Random):
    """A value with something else at one place in it."""
    places = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
    for holder, key in places:
        if isinstance(holder[key], dict | list):
            places += [(holder[key], one) for one in (holder[key] if isinstance(holder[key], dict) else range(len(holder[key])))]
    holder, key = chance.choice(places)
    holder[key] = chance.choice([None, 1, True, "x", [], {}, ["a", None], {"a": 1}])
    return value


@pytest.mark.parametrize("seed", range(10))
def test_documents_of_any_shape_are_read_without_a_defect(seed):
    chance = random.Random(seed)
    objects = [item.value for text in [*ALL.values(), MONITORS] for item in meshport.load_text(text).documents]
    spoilt = [_spoilt(json.loads(json.dumps(one)), chance) for one in objects for _ in range(2)]
    result = meshport.convert(meshport.load_objects(spoilt), source=chance.choice(["istio", "cilium"]), target="linkerd", verify=False)
    assert result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_second_conversion_changes_nothing(target, tmp_path):
    _, made = convert(tmp_path, ALL, "istio", target)
    given = {name: text for name, text in made.items() if not name.startswith((".meshport", "install"))}
    _, again = convert(tmp_path / "again", given, "istio", target)
    assert [name for name in again if name not in (".meshport",) and not name.startswith("install")] == []


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_every_leaf_that_counts_is_accounted_for(target, tmp_path):
    result, _ = convert(tmp_path, ALL, "istio", target)
    assert result.ledger.counts["unaccounted"] == 0
    assert sum(one.expressions for one in result.assets) == sum(one.translated + one.refused + one.unchanged for one in result.assets)
    audited = result.audit().audit.assets
    assert {one.kind for one in audited} >= {"RuleFile", "Dashboard", "ConfigMap", "Canary", "AnalysisTemplate"}
    assert all(0 <= number < len(result.findings) for one in audited for number in one.findings)


def test_nothing_happens_to_assets_where_the_mesh_stays(tmp_path):
    result, made = convert(tmp_path, {"rules.yaml": RULES}, "istio", "istio")
    assert result.assets == [] and "rules.yaml" not in made


def test_files_of_rules_do_not_get_into_a_stream_of_objects(tmp_path):
    result, _ = convert(tmp_path, {"rules.yaml": RULES, "canary.yaml": CANARY}, "istio", "cilium")
    assert all("apiVersion" in document.value for document in meshport.load_text(result.text()).documents)
    alone, _ = convert(tmp_path / "alone", {"rules.yaml": RULES}, "istio", "cilium")
    assert "hubble_http_requests_total" in alone.text()


def _expressions(value):
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for below in value.values():
            yield from _expressions(below)
    elif isinstance(value, list):
        for below in value:
            yield from _expressions(below)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_published_dashboards_stay_importable_and_every_translated_query_parses(target, tmp_path):
    file = SHARED / "corpus" / "istio" / "istio+istio" / "samples" / "addons" / "grafana.yaml"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    text = file.read_text(encoding="utf-8")
    result, made = convert(tmp_path, {"grafana.yaml": text}, "istio", target)
    before = {one.name: one.value for one in meshport.load_text(text).documents if one.kind == "ConfigMap"}
    changed = 0
    for document in meshport.load_text(made["grafana.yaml"]).documents:
        for key, value in (document.value.get("data") or {}).items():
            old = before[document.name]["data"][key]
            if value == old or not value.lstrip().startswith("{"):
                continue
            for one, other in zip(_expressions(json.loads(old)), _expressions(json.loads(value)), strict=True):
                if one != other:
                    changed += 1
                    names = parse_promql(other).metrics
                    assert not any(metrics().is_of("istio", name) for name in names)
                    assert any(metrics().is_of(target, name) for name in names)
    assert changed > 15
    assert changed <= sum(one.translated for one in result.assets)
    assert re.search(r"panel '", next(one.message for one in result.findings if one.severity == "error"))
