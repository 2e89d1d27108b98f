"""Circuit breaking and load balancing: whose DestinationRule counts, what the other meshes make of it, and what they lack."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, namespace, service, shop, workload
from .showing import loud, objects, read, said, spec

ACCRUAL = "balancer.linkerd.io/failure-accrual"


def rule(policy: str, *, host: str = "users", home: str = "shop", name: str = "users", made: str = "") -> str:
    created = f", creationTimestamp: '{made}'" if made else ""
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {home}{created}}}
spec: {{host: "{host}", trafficPolicy: {policy}}}
"""


def breaker(result: Any) -> dict[str, str]:
    """Failure accrual of the Service `users`, by the last part of its annotations."""
    notes = objects(result)["Service/users"]["metadata"]["annotations"]
    return {key.removeprefix(ACCRUAL).removeprefix("-consecutive-"): value for key, value in notes.items() if key.startswith(ACCRUAL)}


def cluster(result: Any) -> Any:
    (found,) = [item for item in spec(result, "CiliumEnvoyConfig/users-meshport")["resources"] if item["@type"].endswith("v3.Cluster")]
    return found


@pytest.mark.parametrize(
    ("block", "failures", "low", "high"),
    [
        ("{consecutive5xxErrors: 3}", "3", "30s", "300s"),
        ("{interval: 5s}", "5", "30s", "300s"),  # a block without a count ejects after five
        ("{baseEjectionTime: 600s}", "5", "10m", "10m"),  # with the maximum below it the breaker would be off
        ("{baseEjectionTime: 1h30m}", "5", "90m", "90m"),
    ],
)
def test_to_linkerd_the_mode_and_three_annotations(block: str, failures: str, low: str, high: str) -> None:
    result = convert(shop("istio") + rule(f"{{outlierDetection: {block}}}"), "istio", "linkerd")
    assert breaker(result) == {"": "consecutive", "max-failures": failures, "min-penalty": low, "max-penalty": high}


def test_to_linkerd_each_limit_is_a_warning_and_the_algorithm_an_info() -> None:
    policy = """
        {connectionPool: {tcp: {maxConnections: 10}, http: {h2UpgradePolicy: UPGRADE}}, loadBalancer: {simple: RANDOM},
         outlierDetection: {consecutive5xxErrors: 5, interval: 30s, maxEjectionPercent: 50}}"""
    result = convert(shop("istio") + rule(policy), "istio", "linkerd")
    assert loud(result) == ["warning MP551", "warning MP552", "warning MP552"]
    assert "info MP553 Linkerd always sends to the faster of two endpoints; the choice RANDOM is lost" in said(result)
    assert any(text.startswith("info MP558") for text in said(result))


def test_to_linkerd_a_hash_is_a_warning() -> None:
    result = convert(shop("istio") + rule("{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}"), "istio", "linkerd")
    assert loud(result) == ["warning MP554"]


def test_to_istio_the_whole_breaker_is_armed_and_locality_is_off() -> None:
    notes = f'{{{ACCRUAL}: consecutive, {ACCRUAL}-consecutive-max-failures: "4", {ACCRUAL}-consecutive-min-penalty: 10s}}'
    result = convert(shop("linkerd", notes=notes), "linkerd", "istio")
    assert spec(result, "DestinationRule/users") == read("""
        host: users.shop.svc.cluster.local
        trafficPolicy:
          loadBalancer: {localityLbSetting: {enabled: false}}
          outlierDetection: {consecutive5xxErrors: 4, interval: 1s, baseEjectionTime: 10s, maxEjectionPercent: 100}
    """)


@pytest.mark.parametrize("target", ["istio", "cilium"])
@pytest.mark.parametrize(
    ("said_as", "on"),
    [
        ("min-penalty: 90s", False),  # above the maximum of a minute
        ("min-penalty: 90s, max-penalty: 2m", True),
        ("max-penalty: 0s", False),
        ("max-failures: many", False),  # what cannot be read
        ('min-penalty: "10"', False),
        ("max-penalty: soon", False),
        ("min-penalty: 1m, max-penalty: 1m", True),
    ],
)
def test_a_breaker_that_linkerd_switches_off_in_silence_stays_off(said_as: str, on: bool, target: str) -> None:
    notes = ", ".join(f"{ACCRUAL}-consecutive-{one}" for one in said_as.split(", "))
    result = convert(shop("linkerd", notes=f"{{{ACCRUAL}: consecutive, {notes}}}"), "linkerd", target)
    made = {"istio": "DestinationRule", "cilium": "CiliumEnvoyConfig"}[target]
    assert {name.partition("/")[0] for name in objects(result)} == {"Namespace", *([made] if on else [])}


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_no_failures_in_a_row_is_no_breaker(target: str) -> None:
    result = convert(shop("istio") + rule("{outlierDetection: {consecutive5xxErrors: 0}}"), "istio", target)
    assert {name.partition("/")[0] for name in objects(result)} == {"Namespace"}


def test_to_cilium_the_defaults_of_envoy_and_of_the_agent_are_written_over() -> None:
    result = convert(shop("istio") + rule("{outlierDetection: {consecutive5xxErrors: 3, baseEjectionTime: 600s}}"), "istio", "cilium")
    config = objects(result)["CiliumEnvoyConfig/users-meshport"]
    assert config["metadata"]["annotations"] == {"cec.cilium.io/use-original-source-address": "true"}
    routes = next(item for item in config["spec"]["resources"] if item["@type"].endswith("RouteConfiguration"))
    assert [route["route"]["timeout"] for route in routes["virtual_hosts"][0]["routes"]] == ["0s"]
    found = cluster(result)
    assert (found["connect_timeout"], found["common_lb_config"]) == ("10s", {"healthy_panic_threshold": {"value": 0}})
    assert found["outlier_detection"] == read("""
        {consecutive_5xx: 3, interval: 10s, base_ejection_time: 600s, max_ejection_time: 600s, max_ejection_percent: 10, enforcing_success_rate: 0}
    """)
    assert [text for text in loud(result) if "MP130" not in text] == ["warning MP520"]


def test_to_cilium_the_choice_that_envoy_makes_anyway_is_no_difference() -> None:
    policy = "{loadBalancer: {simple: LEAST_REQUEST}, outlierDetection: {consecutive5xxErrors: 2}}"
    result = convert(shop("istio") + rule(policy), "istio", "cilium")
    assert cluster(result)["lb_policy"] == "LEAST_REQUEST"
    assert result.diff == []


def test_to_cilium_a_route_on_the_service_leaves_no_room_for_its_breaker() -> None:
    split = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec: {hosts: [users], http: [{timeout: 2s, route: [{destination: {host: users}}]}]}
"""
    result = convert(shop("istio") + split + rule("{outlierDetection: {consecutive5xxErrors: 2}}"), "istio", "cilium")
    assert "HTTPRoute/users" in objects(result)
    assert not any(name.startswith("CiliumEnvoyConfig") for name in objects(result))
    assert "warning MP524" in loud(result)


@pytest.mark.parametrize(("source", "target"), [("linkerd", "istio"), ("linkerd", "cilium")])
def test_failure_accrual_of_a_headless_service_guards_nothing(source: str, target: str) -> None:
    text = namespace(mesh=source) + service(notes=f"{{{ACCRUAL}: consecutive}}", more=", clusterIP: None") + workload()
    result = convert(text, source, target)
    assert set(objects(result)) == {"Namespace/shop"}


def test_a_breaker_for_a_headless_service_is_a_warning() -> None:
    text = namespace() + service(more=", clusterIP: None") + workload() + rule("{outlierDetection: {consecutive5xxErrors: 2}}")
    for target, code in (("linkerd", "MP505"), ("cilium", "MP523")):
        assert f"warning {code}" in loud(convert(text, "istio", target))


def test_what_linkerd_does_by_itself_is_not_lost() -> None:
    """A rule that ejects as Linkerd does: at once, every endpoint, for at most the five minutes of Envoy's own limit."""
    armed = "{loadBalancer: {localityLbSetting: {enabled: false}}, outlierDetection: {consecutive5xxErrors: 5, interval: 1s, maxEjectionPercent: 100}}"
    result = convert(shop("istio") + rule(armed), "istio", "linkerd")
    assert loud(result) == []
    assert "MP501" not in {item.code for item in result.findings}
    notes = f"{{{ACCRUAL}: consecutive, {ACCRUAL}-consecutive-min-penalty: 30s, {ACCRUAL}-consecutive-max-penalty: 300s}}"
    back = convert(shop("linkerd", notes=notes), "linkerd", "istio")
    assert loud(back) == []
    assert back.diff == []


def test_a_backend_with_a_breaker_of_its_own_keeps_it_and_the_callers_of_the_route_are_told() -> None:
    """Linkerd goes by the Service that is called, Istio by the one that is sent to."""
    split = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: users, port: 80}], rules: [{backendRefs: [{name: orders, port: 80}]}]}
"""
    for mine, instead in (
        ("{}", "which had none"),
        (f'{{{ACCRUAL}: consecutive, {ACCRUAL}-consecutive-max-failures: "2"}}', "which is another"),
    ):
        theirs = service("orders", notes=f'{{{ACCRUAL}: consecutive, {ACCRUAL}-consecutive-max-failures: "9"}}') + workload("orders")
        result = convert(shop("linkerd", notes=mine) + theirs + split, "linkerd", "istio")
        assert spec(result, "DestinationRule/orders")["trafficPolicy"]["outlierDetection"]["consecutive5xxErrors"] == 9
        assert said(result, "MP597") == [
            "warning MP597 HTTPRoute shop/users: requests to Service shop/users that go to Service shop/orders were guarded by the breaker of "
            f"Service shop/users, {instead}; Istio goes by the one of Service shop/orders"
        ]


# -- which rule counts

HOST = "users.shop.svc.cluster.local"


def test_the_rule_of_the_services_namespace_comes_before_that_of_the_root_namespace() -> None:
    text = (
        shop("istio")
        + rule("{outlierDetection: {consecutive5xxErrors: 9}}", host=HOST, home="istio-system", name="mesh")
        + rule("{outlierDetection: {consecutive5xxErrors: 2}}", host="*.shop.svc.cluster.local", name="all")
    )
    assert breaker(convert(text, "istio", "linkerd"))["max-failures"] == "2"
    assert cluster(convert(text, "istio", "cilium"))["outlier_detection"]["consecutive_5xx"] == 2


def test_a_wildcard_of_the_root_namespace_is_for_services_without_a_rule() -> None:
    text = shop("istio") + rule("{outlierDetection: {consecutive5xxErrors: 9}}", host="*.local", home="istio-system", name="mesh")
    assert breaker(convert(text, "istio", "linkerd"))["max-failures"] == "9"


def test_a_rule_beside_the_clients_is_theirs_alone() -> None:
    text = (
        shop("istio")
        + rule("{outlierDetection: {consecutive5xxErrors: 2}}")
        + rule("{outlierDetection: {consecutive5xxErrors: 9}}", host=HOST, home="web", name="users-for-web")
    )
    for target in ("linkerd", "cilium"):
        result = convert(text, "istio", target)
        (found,) = said(result, "MP596")
        assert found == (
            "warning MP596 DestinationRule web/users-for-web stands in another namespace than its Service, so that only clients in web go by it; "
            "clients of other namespaces do not go by it, so it is left out"
        )
    assert breaker(convert(text, "istio", "linkerd"))["max-failures"] == "2"


def test_the_only_rule_is_for_every_client_with_a_warning() -> None:
    text = shop("istio") + rule("{outlierDetection: {consecutive5xxErrors: 9}}", host=HOST, home="web")
    result = convert(text, "istio", "linkerd")
    assert breaker(result)["max-failures"] == "9"
    assert said(result, "MP596")[0].endswith("only clients in web go by it; in the target every client goes by it")


def test_mutual_tls_that_clients_ask_for_by_a_rule_of_their_own_needs_no_word() -> None:
    text = shop("istio") + rule("{tls: {mode: ISTIO_MUTUAL}}", host="*.local", home="web")
    assert loud(convert(text, "istio", "linkerd")) == []


def test_of_two_rules_for_one_host_the_older_one_holds() -> None:
    text = (
        shop("istio")
        + rule("{outlierDetection: {consecutive5xxErrors: 2}}", name="a", made="2026-02-01T00:00:00Z")
        + rule("{outlierDetection: {consecutive5xxErrors: 9}}", name="b", made="2025-02-01T00:00:00Z")
    )
    assert breaker(convert(text, "istio", "linkerd"))["max-failures"] == "9"
    assert cluster(convert(text, "istio", "cilium"))["outlier_detection"]["consecutive_5xx"] == 9


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_settings_of_the_only_port_are_those_of_the_service_and_what_is_lost_answers_for_it(target: str) -> None:
    alone = "{tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}"
    result = convert(shop("istio") + rule(alone), "istio", target)
    assert loud(result) == ["error MP750"] or (target == "cilium" and "error MP750" in loud(result))
    (changed,) = [change for change in result.diff if change.subject == "policy of Service shop/users"]
    assert [result.findings[number].code for number in changed.findings] == ["MP750"]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_settings_of_a_port_that_the_service_has_not_are_for_nothing(target: str) -> None:
    targeted = "{portLevelSettings: [{port: {number: 8080}, connectionPool: {tcp: {maxConnections: 100}}}]}"  # the port of the pods
    result = convert(shop("istio") + rule(targeted), "istio", target)
    assert {name.partition("/")[0] for name in objects(result)} <= {"Namespace"} and not any(
        "maxConnections" in text for text in said(result)
    )


def test_a_wildcards_settings_of_a_port_are_for_the_services_that_have_it() -> None:
    two = service("admin", "[{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 9090, targetPort: 9090}]") + workload(
        "admin"
    )
    wide = rule(
        "{portLevelSettings: [{port: {number: 9090}, connectionPool: {tcp: {maxConnections: 100}}}]}", host="*.shop.svc.cluster.local"
    )
    result = convert(shop("istio") + two + wide, "istio", "cilium")
    (made,) = [name for name in objects(result) if name.startswith("CiliumEnvoyConfig")]
    limits = [
        item["circuit_breakers"]["thresholds"][0]["max_connections"]
        for item in spec(result, made)["resources"]
        if "circuit_breakers" in item
    ]
    assert made == "CiliumEnvoyConfig/admin-meshport" and limits == [100]


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_subset_that_the_clients_of_one_namespace_have_is_left_out_with_its_rule(target: str) -> None:
    theirs = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: web}
spec:
  host: users.shop.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}]
"""
    text = shop("istio") + rule("{outlierDetection: {consecutive5xxErrors: 2}}") + namespace("web") + theirs
    result = convert(text, "istio", target)
    assert any(found.startswith("warning MP596 DestinationRule web/users") for found in said(result))
