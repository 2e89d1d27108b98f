"""Circuit breaking between Istio and Linkerd: the traps, and what is named."""

from __future__ import annotations

import pytest
from test_routing_helper import convert, service

import meshport

ACCRUAL = "balancer.linkerd.io/failure-accrual"


def rule(policy: str, host: str = "app", name: str = "app", more: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop}}
spec: {{host: "{host}", trafficPolicy: {policy}{more}}}
"""


def annotations(text: str, name: str = "app") -> dict[str, str]:
    return dict(convert(text, "istio", "linkerd").objects[f"Service/{name}"]["metadata"]["annotations"])


@pytest.mark.parametrize(
    ("block", "failures", "low", "high"),
    [
        ("{consecutive5xxErrors: 5, baseEjectionTime: 60s}", "5", "60s", "300s"),
        ("{}", "5", "30s", "300s"),
        ("{baseEjectionTime: 10m}", "5", "10m", "10m"),
        ("{consecutive5xxErrors: 1, baseEjectionTime: 1.5s}", "1", "1500ms", "300s"),
    ],
)
def test_four_annotations_with_the_maximum_never_below_the_minimum(block: str, failures: str, low: str, high: str) -> None:
    assert annotations(service("app") + rule(f"{{outlierDetection: {block}}}")) == {
        ACCRUAL: "consecutive",
        f"{ACCRUAL}-consecutive-max-failures": failures,
        f"{ACCRUAL}-consecutive-min-penalty": low,
        f"{ACCRUAL}-consecutive-max-penalty": high,
    }


def test_no_failures_in_a_row_is_no_breaker() -> None:
    result = convert(service("app") + rule("{outlierDetection: {consecutive5xxErrors: 0}}"), "istio", "linkerd")
    assert (result.objects, result.codes) == ({}, [])
    assert result.left("DestinationRule") == []


def test_what_linkerd_lacks_is_named_leaf_by_leaf() -> None:
    policy = (
        "{connectionPool: {tcp: {maxConnections: 100}, http: {h2UpgradePolicy: UPGRADE,"
        " http1MaxPendingRequests: 100, http2MaxRequests: 1000}},"
        " outlierDetection: {consecutive5xxErrors: 5, interval: 30s, baseEjectionTime: 60s, maxEjectionPercent: 50}}"
    )
    result = convert(service("app") + rule(policy), "istio", "linkerd")
    assert sorted((finding.severity, len(finding.leaves)) for finding in result.findings) == [("info", 1)] + [("warning", 1)] * 5
    assert result.unexplained == []
    assert result.left("DestinationRule") == []


def test_limits_that_istio_sets_unasked_are_named_once() -> None:
    result = convert(service("app") + rule("{outlierDetection: {consecutive5xxErrors: 5}}"), "istio", "linkerd")
    assert result.codes == ["MP501"]
    assert result.unexplained == []


def test_mutual_tls_inside_the_mesh_needs_nothing() -> None:
    result = convert(service("app") + rule("{tls: {mode: ISTIO_MUTUAL}}", "*.shop.svc.cluster.local"), "istio", "linkerd")
    assert (result.objects, result.findings) == ({}, [])
    assert result.left("DestinationRule") == []


def test_a_wildcard_is_for_the_services_that_no_rule_of_their_own_hides() -> None:
    text = (
        service("app")
        + service("b0")
        + rule("{outlierDetection: {}}", "*.shop.svc.cluster.local", "all")
        + rule("{tls: {mode: ISTIO_MUTUAL}}")
    )
    result = convert(text, "istio", "linkerd")
    assert list(result.objects) == ["Service/b0"]
    assert result.unexplained == []


def test_a_breaker_for_an_unknown_service_names_the_command() -> None:
    result = convert(rule("{outlierDetection: {}}"), "istio", "linkerd")
    assert result.objects == {}
    assert [finding.remedy for finding in result.findings] == ["Add the Service to the input: kubectl get service app -n shop -o yaml"]


def test_subsets_and_ports_have_no_breaker_of_their_own() -> None:
    more = ", subsets: [{name: v1, labels: {v: '1'}, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}}]"
    text = rule("{portLevelSettings: [{port: {number: 80}, outlierDetection: {}}]}", more=more)
    second = service("app").replace("ports: [", "ports: [{name: http-admin, port: 9090}, ")
    result = convert(second + text, "istio", "linkerd")
    assert [finding.code for finding in result.findings] == ["MP504", "MP504"]
    assert result.objects == {}
    assert result.left("DestinationRule") == []


def test_a_breaker_that_is_the_same_on_each_port_is_one_of_the_service() -> None:
    """Linkerd's annotation stands for all ports; where the only port, or each of two, has the same breaker, nothing is lost."""
    eject = "outlierDetection: {consecutive5xxErrors: 7, interval: 1s, maxEjectionPercent: 100}"
    both = ", ".join(f"{{port: {{number: {port}}}, {eject}}}" for port in (80, 9090))
    second = service("app").replace("ports: [", "ports: [{name: http-admin, port: 9090}, ")
    for text in (
        service("app") + rule(f"{{portLevelSettings: [{{port: {{number: 80}}, {eject}}}]}}"),
        second + rule(f"{{portLevelSettings: [{both}]}}"),
        second + rule(f"{{{eject}, portLevelSettings: [{{port: {{number: 80}}, {eject}}}]}}"),
    ):
        result = convert(text, "istio", "linkerd")
        assert result.codes == []
        assert result.objects["Service/app"]["metadata"]["annotations"][f"{ACCRUAL}-consecutive-max-failures"] == "7"
        assert result.left("DestinationRule") == []


def test_linkerds_breaker_arms_istios_fully() -> None:
    notes = ", ".join(
        [
            f"{ACCRUAL}: consecutive",
            f"{ACCRUAL}-consecutive-max-failures: '3'",
            f"{ACCRUAL}-consecutive-min-penalty: 2s",
            f"{ACCRUAL}-consecutive-max-penalty: 5m",
        ]
    )
    result = convert(service("app", notes=notes), "linkerd", "istio")
    assert result.spec("DestinationRule/app") == {
        "host": "app.shop.svc.cluster.local",
        "trafficPolicy": {
            "loadBalancer": {"localityLbSetting": {"enabled": False}},
            "outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "2s", "maxEjectionPercent": 100},
        },
    }
    assert result.unexplained == []


def test_defaults_of_linkerds_breaker_are_written() -> None:
    result = convert(service("app", notes=f"{ACCRUAL}: consecutive"), "linkerd", "istio")
    detection = result.spec("DestinationRule/app")["trafficPolicy"]["outlierDetection"]
    assert (detection["consecutive5xxErrors"], detection["baseEjectionTime"]) == (7, "1s")
    assert result.codes == ["MP502"]
    assert result.unexplained == []


def test_a_minimum_above_the_maximum_is_no_breaker() -> None:
    notes = f"{ACCRUAL}: consecutive, {ACCRUAL}-consecutive-min-penalty: 90s"
    result = convert(service("app", notes=notes), "linkerd", "istio")
    assert (result.objects, result.findings, result.have) == ({}, [], {})


def test_backends_of_a_route_get_the_breaker_too() -> None:
    text = (
        service("app", notes=f"{ACCRUAL}: consecutive")
        + service("v1")
        + """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: app, port: 80}], rules: [{backendRefs: [{name: v1, port: 80}]}]}
"""
    )
    result = convert(text, "linkerd", "istio")
    assert {"DestinationRule/app", "DestinationRule/v1"} <= set(result.objects)
    assert "MP506" in result.codes
    assert result.unexplained == []


TWO_PORTS = """---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {selector: {app: app}, ports: [{name: http, port: 80}, {name: http-admin, port: 81}]}
"""
OWN_SETTINGS = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]"


def test_settings_of_the_only_port_replace_the_breaker_of_the_service() -> None:
    result = convert(service("app") + rule(f"{{outlierDetection: {{}}, {OWN_SETTINGS}}}"), "istio", "linkerd")
    assert (result.objects, result.codes) == ({}, ["MP553"])
    assert result.left("DestinationRule") == []


def test_linkerd_breaks_no_port_that_has_settings_without_a_breaker() -> None:
    result = convert(TWO_PORTS + rule(f"{{outlierDetection: {{consecutive5xxErrors: 3}}, {OWN_SETTINGS}}}"), "istio", "linkerd")
    assert result.objects == {}
    assert [finding.message for finding in result.findings if finding.code == "MP504"] == [
        "Service shop/app: Linkerd has one circuit breaker for a Service; that for the ports beside 80 is lost"
    ]
    assert result.unexplained == []


def test_cilium_breaks_the_ports_that_have_no_settings_of_their_own() -> None:
    bundle = meshport.load_text(TWO_PORTS + rule(f"{{outlierDetection: {{consecutive5xxErrors: 3}}, {OWN_SETTINGS}}}"))
    result = meshport.convert(bundle, source="istio", target="cilium")
    (config,) = (made.object for made in result.manifests)
    assert [item["ports"] for item in config["spec"]["services"]] == [[81]]
    assert "MP900" not in [finding.code for finding in result.findings]


def test_a_trace_names_the_breaker_of_the_port_that_is_called() -> None:
    pod = """---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: shop, labels: {app: app, sidecar.istio.io/inject: 'true'}}
spec: {containers: [{name: app, ports: [{containerPort: 80}, {containerPort: 81}]}]}
"""
    bundle = meshport.load_text(pod + TWO_PORTS + rule(f"{{outlierDetection: {{consecutive5xxErrors: 3}}, {OWN_SETTINGS}}}"))
    found = {}
    for port in (80, 81):
        request = {
            "source": {"namespace": "shop", "service_account": "web", "meshed": True},
            "destination": {"namespace": "shop", "service": "app", "port": port},
            "protocol": "http",
            "method": "GET",
            "path": "/",
        }
        traced = meshport.trace(bundle, request, mesh="istio")
        found[port] = any(step.what.startswith("which breaker") for step in traced.steps)
    assert found == {80: False, 81: True}
