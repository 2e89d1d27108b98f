"""Circuit breaking and limits on Cilium: what a CiliumEnvoyConfig says, what it cannot, and back again."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec:
  host: users
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 50, connectTimeout: 250ms}, http: {http2MaxRequests: 200, idleTimeout: 1m}}
    outlierDetection: {consecutive5xxErrors: 3, interval: 5s, baseEjectionTime: 45s, maxEjectionPercent: 60}
"""
ACCRUAL = """
apiVersion: v1
kind: Service
metadata:
  name: users
  namespace: shop
  annotations:
    balancer.linkerd.io/failure-accrual: consecutive
    balancer.linkerd.io/failure-accrual-consecutive-max-failures: "4"
    balancer.linkerd.io/failure-accrual-consecutive-min-penalty: 2s
    balancer.linkerd.io/failure-accrual-consecutive-max-penalty: 2m
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


def convert(text: str, source: str, target: str = "cilium") -> Any:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


def config(result: Any) -> dict[str, Any]:
    return next(item.object for item in result.manifests if item.object["kind"] == "CiliumEnvoyConfig")


def part(found: dict[str, Any], kind: str) -> Any:
    return next(item for item in found["spec"]["resources"] if item["@type"].endswith(kind))


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_destination_rule_becomes_an_envoy_cluster() -> None:
    result = convert(SERVICE + RULE, "istio")
    found = config(result)
    assert found["metadata"]["name"] == "users-meshport"  # a config of the Service's own name is the one that GAMMA generates
    assert found["metadata"]["annotations"] == {"cec.cilium.io/use-original-source-address": "true"}
    assert found["spec"]["services"] == [{"name": "users", "namespace": "shop", "ports": [80]}]
    cluster = part(found, "Cluster")
    assert cluster["name"] == "shop/users"
    assert cluster["connect_timeout"] == "0.25s"
    unlimited = 4294967295  # what is not written would get the agent's own limit
    assert cluster["circuit_breakers"]["thresholds"] == [
        {"priority": "DEFAULT", "max_connections": 50, "max_pending_requests": unlimited, "max_requests": 200, "max_retries": unlimited}
    ]
    assert cluster["outlier_detection"] == {
        "consecutive_5xx": 3,
        "interval": "5s",
        "base_ejection_time": "45s",
        "max_ejection_percent": 60,
        "enforcing_success_rate": 0,
    }
    route = part(found, "RouteConfiguration")["virtual_hosts"][0]["routes"][0]["route"]
    assert route == {"cluster": "shop/users", "timeout": "0s"}  # Envoy's own would be 15 seconds
    assert result.install["helm_values"]["cilium"] == {"envoyConfig": {"enabled": True}, "kubeProxyReplacement": "true"}
    assert "MP520" in codes(result)
    assert "MP900" not in codes(result)


def test_the_limits_are_named_once_and_not_once_a_field() -> None:
    result = convert(SERVICE + RULE, "istio")
    assert len([finding for finding in result.findings if finding.code in ("MP520", "MP559")]) == 1
    assert result.ledger.counts["approximated"] == 8


def test_failure_accrual_keeps_its_penalties_and_may_eject_all() -> None:
    result = convert(ACCRUAL, "linkerd")
    detection = part(config(result), "Cluster")["outlier_detection"]
    assert detection == {
        "consecutive_5xx": 4,
        "interval": "1s",
        "base_ejection_time": "2s",
        "max_ejection_time": "120s",
        "max_ejection_percent": 100,
        "enforcing_success_rate": 0,
    }
    assert "MP900" not in codes(result)


def test_of_several_ports_one_has_the_listener_of_a_service() -> None:
    """The agent leads the requests for a Service to one listener, whatever its object lists."""
    two = SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: tcp-sync, port: 90}")
    rule = RULE + "    portLevelSettings: [{port: {number: 90}, connectionPool: {tcp: {maxConnections: 9}}}]\n"
    result = convert(two + rule, "istio")
    spec = config(result)["spec"]
    assert [item["name"] for item in spec["resources"] if item["@type"].endswith("Cluster")] == ["shop/users:80"]
    assert [entry["ports"] for entry in spec["services"]] == [[80]]
    assert spec["backendServices"] == [{"name": "users", "namespace": "shop", "number": ["80"]}]  # else its cluster has no endpoints
    assert [finding.message for finding in result.findings if finding.code == "MP524"] == [
        "Service shop/users port 90: its breaker, limits and balancing are left out, because Cilium leads the requests for a Service to one listener, that of port 80"
    ]
    assert "MP900" not in codes(result)
    whole = convert(two + RULE, "istio")
    assert "MP365" in codes(whole) and "MP900" not in codes(whole)


def test_a_port_that_declares_no_http_counts_connections_alone() -> None:
    result = convert(SERVICE.replace("name: http, ", "") + RULE, "istio")
    assert "tcp_proxy" in str(part(config(result), "Listener"))
    assert "MP521" in codes(result)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (RULE, "MP522"),
        (SERVICE.replace("spec: {", "spec: {clusterIP: None, ") + RULE, "MP523"),
        (
            SERVICE
            + RULE.replace("  trafficPolicy:", "  subsets:\n  - name: v1\n    labels: {version: v1}\n    trafficPolicy:")
            .replace("    connectionPool", "      connectionPool")
            .replace("    outlierDetection", "      outlierDetection"),
            "MP524",
        ),
    ],
)
def test_where_no_config_can_stand_a_finding_says_so(text: str, code: str) -> None:
    result = convert(text, "istio")
    assert not any(item.object["kind"] == "CiliumEnvoyConfig" for item in result.manifests)
    assert code in codes(result)
    assert "MP900" not in codes(result)


def test_a_config_of_ours_reads_as_the_same_breaker_in_istio() -> None:
    written = convert(SERVICE + RULE, "istio")
    objects = [item.object for item in written.manifests] + list(yaml.safe_load_all(SERVICE))[:1]
    back = meshport.convert(meshport.load_objects(objects), source="cilium", target="istio")
    rule = next(item.object for item in back.manifests if item.object["kind"] == "DestinationRule")
    assert rule["spec"]["trafficPolicy"] == {
        "connectionPool": {
            "tcp": {"maxConnections": 50, "connectTimeout": "250ms"},
            "http": {"http2MaxRequests": 200, "idleTimeout": "60s"},
        },
        "loadBalancer": {
            "localityLbSetting": {"enabled": False}
        },  # without it Istio would send to near endpoints first, which Envoy here does not
        "outlierDetection": {"consecutive5xxErrors": 3, "interval": "5s", "baseEjectionTime": "45s", "maxEjectionPercent": 60},
    }
    assert "MP900" not in codes(back)


TWO_PORTS = SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: tcp-admin, port: 9000}")


@pytest.mark.parametrize("service", [SERVICE, TWO_PORTS])
@pytest.mark.parametrize("whole", ["", "outlierDetection: {consecutive5xxErrors: 9}"])
def test_settings_of_one_port_stay_settings_of_that_port(service: str, whole: str) -> None:
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: users, namespace: shop}}
spec:
  host: users
  trafficPolicy:
    {whole}
    portLevelSettings: [{{port: {{number: 80}}, outlierDetection: {{consecutive5xxErrors: 2}}}}]
"""
    result = convert(service + rule, "istio")
    assert "MP900" not in codes(result)
    clusters = {
        item["name"]: item["outlier_detection"]["consecutive_5xx"]
        for item in config(result)["spec"]["resources"]
        if item["@type"].endswith("Cluster")
    }
    assert clusters == {"shop/users" if service is SERVICE else "shop/users:80": 2}
    assert ("MP524" in codes(result)) == bool(whole and service is TWO_PORTS)


def test_that_clients_start_no_tls_is_nothing_to_cilium() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, trafficPolicy: {tls: {mode: DISABLE}}}
"""
    assert "MP900" not in codes(convert(SERVICE + rule, "istio"))


def test_a_breaker_for_a_host_outside_is_not_said_to_lack_its_service() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: payments, namespace: shop}
spec: {hosts: [api.payments.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS, location: MESH_EXTERNAL}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: payments, namespace: shop}
spec: {host: api.payments.example.com, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
"""
    result = convert(text, "istio", "linkerd")
    assert "MP515" in codes(result)
    assert not {"MP503", "MP900"} & codes(result)


def test_a_breaker_of_the_only_port_is_lost_with_a_finding_where_a_route_owns_the_service() -> None:
    text = (
        SERVICE
        + """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec: {hosts: [users], http: [{timeout: 1s, route: [{destination: {host: users}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, trafficPolicy: {portLevelSettings: [{port: {number: 80}, outlierDetection: {consecutive5xxErrors: 4}}]}}
"""
    )
    result = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    codes = {finding.code for finding in result.findings}
    assert "MP524" in codes
    assert "MP900" not in codes


@pytest.mark.parametrize("ports", ["{name: http, port: 80}", "{name: http, port: 8080}"])
def test_a_breaker_of_linkerd_comes_back_from_cilium_as_it_was(ports: str) -> None:
    """The longest penalty too; and what Envoy is told that every mesh does by itself is no loss."""
    objects = [item for item in yaml.safe_load_all(ACCRUAL.replace("{name: http, port: 80, targetPort: 8080}", ports)) if item]
    there = meshport.convert(meshport.load_objects(objects), source="linkerd", target="cilium")
    after = [{**objects[0], "metadata": {"name": "users", "namespace": "shop"}}, *(item.object for item in there.manifests)]
    back = meshport.convert(meshport.load_objects(after), source="cilium", target="linkerd")
    assert codes(back) & {"MP504", "MP900", "MP950"} == set()
    made = next(item.object for item in back.manifests if item.object["kind"] == "Service")
    said = objects[0]["metadata"]["annotations"]
    assert made["metadata"]["annotations"] == {key: "120s" if value == "2m" else value for key, value in said.items()}


def test_failures_of_gateways_and_a_budget_for_retries_come_back_from_cilium_as_they_were() -> None:
    """Both are fields of an Envoy cluster, which Istio fills from these (applyRetryBudget, applyOutlierDetection of istiod)."""
    policy = (
        "{retryBudget: {percent: 12.5, minRetryConcurrency: 5}, outlierDetection: {consecutive5xxErrors: 3, consecutiveGatewayErrors: 2}}"
    )
    rule = f"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: users, namespace: shop}}\nspec: {{host: users, trafficPolicy: {policy}}}\n"
    there = convert(SERVICE + rule, "istio")
    threshold = part(config(there), "Cluster")["circuit_breakers"]["thresholds"][0]
    assert threshold["retry_budget"] == {"budget_percent": {"value": 12.5}, "min_retry_concurrency": 5}
    assert not codes(there) & {"MP451", "MP900"}
    back = convert(SERVICE + yaml.safe_dump(config(there)), "cilium", "istio")
    assert not codes(back) & {"MP900", "MP950"}
    made = next(item.object["spec"]["trafficPolicy"] for item in back.manifests if item.object["kind"] == "DestinationRule")
    assert made["retryBudget"] == {"percent": 12.5, "minRetryConcurrency": 5}
    assert made["outlierDetection"]["consecutiveGatewayErrors"] == 2


def test_failures_of_gateways_eject_nobody_unless_envoy_is_told_to_enforce_that() -> None:
    """`enforcing_consecutive_gateway_failure` is 0 where it is not said (envoy.config.cluster.v3.OutlierDetection)."""
    cluster = "{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster, name: shop/users, type: EDS, outlier_detection: {consecutive_gateway_failure: 2}}"
    listener = yaml.safe_dump([item for item in config(convert(SERVICE + RULE, "istio"))["spec"]["resources"] if "Cluster" not in item["@type"]], default_flow_style=True, width=10_000)  # fmt: skip
    text = f"apiVersion: cilium.io/v2\nkind: CiliumEnvoyConfig\nmetadata: {{name: lb, namespace: shop}}\nspec: {{services: [{{name: users}}], resources: {listener.strip()[:-1]}, {cluster}]}}\n"
    result = convert(SERVICE + text, "cilium", "istio")
    made = next(item.object["spec"]["trafficPolicy"] for item in result.manifests if item.object["kind"] == "DestinationRule")
    assert made["outlierDetection"]["consecutive5xxErrors"] == 5 and "consecutiveGatewayErrors" not in made["outlierDetection"]
    assert "MP950" not in codes(result)


def test_what_a_service_asks_of_requests_is_not_for_its_opaque_port_and_its_breaker_not_for_where_its_rules_lead() -> None:
    """5432 is bytes to Linkerd's clients by default: no annotation acts there, and nothing of them is lost with a route of another port."""
    two = ACCRUAL.replace("targetPort: 8080}", "targetPort: 8080}, {name: db, port: 5432}").replace(
        "annotations:\n", "annotations:\n    timeout.linkerd.io/request: 4s\n"
    )
    other = SERVICE.replace("users", "users-v2")
    route = (
        "---\n{apiVersion: policy.linkerd.io/v1beta3, kind: HTTPRoute, metadata: {name: users, namespace: shop}, spec: {parentRefs: "
        "[{group: core, kind: Service, name: users, port: 80}], rules: [{timeouts: {request: 9s}, backendRefs: "
        "[{name: users, port: 80, weight: 3}, {name: users-v2, port: 80}]}]}}\n---\n"
    )
    result = convert(route + two + "---\n" + other, "linkerd")
    assert "MP372" not in codes(result) and "MP900" not in codes(result)
    where = [finding.message.partition("do not hold ")[2] for finding in result.findings if finding.code == "MP365"]
    assert [text.partition(":")[0] for text in where] == ["for the requests that its rules send to shop/users-v2", "on the port 5432"]
    to_istio = meshport.convert(meshport.load_text(route + two + "---\n" + other), source="linkerd", target="istio")
    (rules,) = [item.object["spec"]["http"] for item in to_istio.manifests if item.object["kind"] == "VirtualService"]
    assert [rule.get("timeout") for rule in rules] == ["9s", None]


def test_errors_of_gateways_eject_alone_where_they_are_enforced() -> None:
    """Envoy counts them unasked and ejects for none; istiod enforces them where a DestinationRule says a number, and with 0 failures nothing else."""
    only = RULE.replace(
        "consecutive5xxErrors: 3,", "consecutive5xxErrors: 0, consecutiveGatewayErrors: 4, splitExternalLocalOriginErrors: true,"
    )
    result = convert(SERVICE + only, "istio")
    ejected = next(item for item in config(result)["spec"]["resources"] if "outlier_detection" in item)["outlier_detection"]
    assert (ejected["consecutive_5xx"], ejected["consecutive_gateway_failure"], ejected["enforcing_consecutive_gateway_failure"]) == (
        0,
        4,
        100,
    )
    assert ejected["enforcing_local_origin_success_rate"] == 0 and not {"MP540", "MP900"} & codes(result)
    table = yaml.safe_dump(config(result))
    for text, wanted in (
        (table, 4),
        (table.replace("enforcing_consecutive_gateway_failure: 100", "enforcing_consecutive_gateway_failure: 0"), 0),
    ):
        back = meshport.convert(meshport.load_text(SERVICE + text), source="cilium", target="istio")
        (rule,) = [item.object["spec"]["trafficPolicy"] for item in back.manifests if item.object["kind"] == "DestinationRule"]
        assert (rule["outlierDetection"]["consecutive5xxErrors"], rule["outlierDetection"]["consecutiveGatewayErrors"]) == (0, wanted)
        assert not {"MP950", "MP900"} & codes(back)
    unsaid = meshport.convert(
        meshport.load_text(SERVICE + table.replace("enforcing_consecutive_gateway_failure: 100", "enforcing_consecutive_5xx: 100")), source="cilium", target="istio"
    )  # fmt: skip
    (rule,) = [item.object["spec"]["trafficPolicy"] for item in unsaid.manifests if item.object["kind"] == "DestinationRule"]
    assert "consecutiveGatewayErrors" not in rule["outlierDetection"]
    assert "MP900" not in codes(meshport.convert(meshport.load_text(SERVICE + only), source="istio", target="linkerd"))
