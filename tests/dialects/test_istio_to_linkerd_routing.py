"""Istio routing in Linkerd's words: source YAML, target YAML, findings."""

from __future__ import annotations

import pytest
from test_routing_helper import Made, convert, plain, service

import meshport

WORLD = service("app") + service("b0") + service("b1") + service("b2")


def virtual_service(http: str, hosts: str = "[app]", more: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: shop}}
spec:
  hosts: {hosts}
{more}  http: {http}
"""


def made(http: str, world: str = WORLD, rest: str = "", **choices: object) -> Made:
    return convert(world + virtual_service(http) + rest, "istio", "linkerd", **choices)


def test_canary_by_subsets_becomes_two_services_and_a_weighted_route() -> None:
    rules = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec: {host: app, subsets: [{name: stable, labels: {version: v1}}, {name: canary, labels: {version: v2}}]}
"""
    split = "[{route: [{destination: {host: app, subset: stable}, weight: 90}, {destination: {host: app, subset: canary}, weight: 10}]}]"
    result = made(split, rest=rules)
    assert result.spec("HTTPRoute/app") == plain("""
parentRefs: [{group: core, kind: Service, name: app, port: 80}]
rules: [{backendRefs: [{name: app-stable, port: 80, weight: 9}, {name: app-canary, port: 80, weight: 1}]}]
""")
    assert result.spec("Service/app-canary") == plain("""
selector: {app: app, version: v2}
ports: [{name: http, port: 80, targetPort: 8080}]
""")
    assert result.codes == ["MP401"]
    assert result.unexplained == []
    assert result.left("VirtualService", "DestinationRule") == []


def test_a_prefix_of_characters_becomes_an_anchored_regular_expression() -> None:
    result = made("[{match: [{uri: {prefix: /foo}}], route: [{destination: {host: b0}}]}]")
    match = result.spec("HTTPRoute/app")["rules"][0]["matches"]
    assert match == [{"path": {"type": "RegularExpression", "value": "^/foo.*$"}}]
    assert result.unexplained == []


def test_a_regular_expression_with_alternatives_is_grouped() -> None:
    result = made("[{match: [{uri: {regex: /a|/ab}}], route: [{destination: {host: b0}}]}]")
    assert result.spec("HTTPRoute/app")["rules"][0]["matches"][0]["path"]["value"] == "^(?:/a|/ab)$"


def test_a_host_that_cannot_be_rewritten_leaves_its_rule_where_it_is() -> None:
    result = made("[{rewrite: {authority: b0.example}, route: [{destination: {host: b0}}]}]")
    assert result.spec("HTTPRoute/app")["rules"] == [{"backendRefs": [{"name": "b0", "port": 80}]}]
    assert result.codes == ["MP351", "MP401"]
    assert result.unexplained == []


def test_headers_methods_and_presence() -> None:
    result = made(
        "[{match: [{headers: {x-a: {exact: '1'}, x-b: {prefix: v}, x-c: {}}, method: {regex: GET|PUT}}],"
        " route: [{destination: {host: b0}}]}]"
    )
    headers = [
        {"name": "x-a", "value": "1"},
        {"name": "x-b", "type": "RegularExpression", "value": "^v.*$"},
        {"name": "x-c", "type": "RegularExpression", "value": "^.*$"},
    ]
    matches = result.spec("HTTPRoute/app")["rules"][0]["matches"]
    assert matches == [{"headers": headers, "method": "GET"}, {"headers": headers, "method": "PUT"}]
    assert result.unexplained == []


def test_a_general_rule_before_a_special_one_keeps_its_requests() -> None:
    result = made(
        "[{match: [{headers: {x: {exact: '1'}}}], route: [{destination: {host: b0}}]},"
        " {match: [{uri: {exact: /a}}], route: [{destination: {host: b1}}]}]"
    )
    first, second = result.spec("HTTPRoute/app")["rules"]
    assert {"path": {"type": "Exact", "value": "/a"}, "headers": [{"name": "x", "value": "1"}]} in first["matches"]
    assert second["backendRefs"][0]["name"] == "b1"
    assert result.unexplained == []


def test_rules_behind_one_that_takes_everything_are_named_as_dead() -> None:
    result = made("[{route: [{destination: {host: b0}}]}, {match: [{uri: {exact: /a}}], route: [{destination: {host: b1}}]}]")
    assert len(result.spec("HTTPRoute/app")["rules"]) == 1
    assert result.left("VirtualService") == []


def test_rules_that_retry_differently_become_objects_in_order_of_name() -> None:
    result = made(
        "[{match: [{uri: {exact: /a}}], retries: {attempts: 3, perTryTimeout: 2s, retryOn: '5xx,retriable-4xx'},"
        " route: [{destination: {host: b0}}]},"
        " {route: [{destination: {host: b1}}], retries: {attempts: 0}, timeout: 1h30m}]"
    )
    assert result.objects["HTTPRoute/app-1"]["metadata"]["annotations"] == {
        "retry.linkerd.io/http": "5xx,409",
        "retry.linkerd.io/limit": "3",
        "retry.linkerd.io/timeout": "2s",
    }
    assert "annotations" not in result.objects["HTTPRoute/app-2"]["metadata"]
    assert result.spec("HTTPRoute/app-2")["rules"][0]["timeouts"] == {"request": "90m"}
    assert result.codes == []
    assert result.unexplained == []


def test_retries_that_are_empty_and_timeouts_of_zero_write_nothing() -> None:
    result = made("[{route: [{destination: {host: b0}}], retries: {}, timeout: 0s}]")
    assert result.spec("HTTPRoute/app")["rules"] == [{"backendRefs": [{"name": "b0", "port": 80}]}]
    assert result.codes == []
    assert result.left("VirtualService") == []


def test_default_retries_are_named_once_or_written() -> None:
    rule = "[{match: [{uri: {exact: /a}}], route: [{destination: {host: b0}}]}, {route: [{destination: {host: b1}}]}]"
    assert [finding.code for finding in made(rule).findings] == ["MP401"]
    kept = made(rule, preserve_default_retries=True)
    assert kept.objects["HTTPRoute/app"]["metadata"]["annotations"] == {"retry.linkerd.io/limit": "2"}
    assert kept.codes == ["MP408"]
    assert kept.unexplained == []


@pytest.mark.parametrize(
    ("release", "api"),
    [("2.20", "gateway.networking.k8s.io/v1"), ("2.15", "gateway.networking.k8s.io/v1beta1"), ("2.13", "policy.linkerd.io/v1beta2")],
)
def test_the_route_is_one_that_the_release_reads(release: str, api: str) -> None:
    result = made("[{route: [{destination: {host: b0}}]}]", target_version=release)
    assert result.objects["HTTPRoute/app"]["apiVersion"] == api


def test_before_2_13_there_is_no_route() -> None:
    result = made("[{route: [{destination: {host: b0}}]}]", target_version="2.12")
    assert result.objects == {}
    assert result.codes == ["MP302"]


def test_a_rewrite_takes_its_rule_along() -> None:
    result = made(
        "[{match: [{uri: {prefix: /v1/}}], rewrite: {uri: /}, route: [{destination: {host: b0}}]}, {route: [{destination: {host: b1}}]}]"
    )
    assert [rule["backendRefs"][0]["name"] for rule in result.spec("HTTPRoute/app")["rules"]] == ["b1"]
    assert [finding.severity for finding in result.findings if finding.code == "MP351"] == ["error"]
    assert result.unexplained == []


def test_fault_mirror_and_cors_are_left_out_of_a_rule_that_stays() -> None:
    result = made(
        "[{fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, mirror: {host: b1}, corsPolicy: {allowCredentials: true},"
        " route: [{destination: {host: b0}}], retries: {attempts: 0}}]"
    )
    assert result.spec("HTTPRoute/app")["rules"] == [{"backendRefs": [{"name": "b0", "port": 80}]}]
    assert all(finding.severity == "warning" for finding in result.findings)
    assert result.left("VirtualService") == []


def test_a_service_that_is_not_in_the_bundle_is_not_guessed() -> None:
    result = made("[{route: [{destination: {host: b0}}]}]", world=service("b0"))
    assert result.objects == {}
    (finding,) = result.findings
    assert finding.code == "MP301"
    assert "Service shop/app is not in the input" in finding.message
    assert "kubectl get service app -n shop -o yaml" in finding.remedy


def test_a_headless_service_gets_no_route() -> None:
    result = made("[{route: [{destination: {host: b0}}]}]", world=service("app", extra="clusterIP: None, ") + service("b0"))
    assert result.objects == {}
    assert result.codes == ["MP303"]


def test_a_subset_that_nobody_defines_fails_as_before() -> None:
    result = made("[{route: [{destination: {host: app, subset: v9}}], retries: {attempts: 0}}]")
    assert result.spec("HTTPRoute/app")["rules"] == [{"backendRefs": [{"name": "app-v9", "port": 80}]}]
    assert result.codes == ["MP304"]


def test_what_fails_as_before_is_not_sent_to_a_service_that_has_the_name_by_chance() -> None:
    result = made("[{route: [{destination: {host: app, subset: v9}}], retries: {attempts: 0}}]", world=WORLD + service("app-v9"))
    assert result.spec("HTTPRoute/app")["rules"] == [{"backendRefs": [{"name": "app-v9-2", "port": 80}]}]
    assert result.codes == ["MP304"]


def test_a_port_in_a_match_is_the_port_of_the_parent() -> None:
    world = service("app", ports="[{name: http, port: 80}, {name: http-admin, port: 81}]") + service("b0") + service("b1")
    result = made("[{match: [{port: 81}], route: [{destination: {host: b0}}]}, {route: [{destination: {host: b1}}]}]", world=world)
    assert [rule["backendRefs"][0]["name"] for rule in result.spec("HTTPRoute/app-80")["rules"]] == ["b1"]
    assert [rule["backendRefs"][0]["name"] for rule in result.spec("HTTPRoute/app-81")["rules"]] == ["b0"]
    assert result.unexplained == []


def test_a_gateway_of_istios_class_is_named_or_given_another_class() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front, namespace: shop}
spec: {parentRefs: [{name: public}], rules: [{backendRefs: [{name: b0, port: 80}]}]}
"""
    result = convert(text, "istio", "linkerd")
    assert (result.objects, result.codes) == ({}, ["MP704"])
    assert result.left("Gateway", "HTTPRoute") == []
    named = convert(text, "istio", "linkerd", gateway_class="nginx")
    assert named.spec("Gateway/public")["gatewayClassName"] == "nginx"
    assert named.codes == ["MP771"]


def test_the_order_of_documents_decides_nothing() -> None:
    parts = (
        WORLD
        + virtual_service("[{route: [{destination: {host: b0}}]}]")
        + virtual_service("[{route: [{destination: {host: b1}}]}]", "[b2]").replace("name: app,", "name: other,")
    ).split("---\n")
    there = convert("---\n".join(parts), "istio", "linkerd")
    back = convert("---\n".join(reversed(parts)), "istio", "linkerd")
    assert list(there.objects.items()) == list(back.objects.items())
    assert [finding.message for finding in there.findings] == [finding.message for finding in back.findings]


@pytest.mark.parametrize(
    "http",
    [
        "[{route: [{destination: {host: b0}, weight: 3}, {destination: {host: b1}, weight: 1}], retries: {attempts: 0}, timeout: 5s}]",
        "[{match: [{uri: {exact: /a}}, {uri: {prefix: /b}}], route: [{destination: {host: b0}}], retries: {attempts: 1, retryOn: 5xx}},"
        " {match: [{method: {exact: POST}}], redirect: {uri: /new, redirectCode: 302}}]",
    ],
)
def test_there_and_back_again(http: str) -> None:
    there = made(http)
    assert there.codes == []
    import yaml

    text = WORLD + "".join("---\n" + yaml.safe_dump(obj) for obj in there.objects.values())
    again = convert(text, "linkerd", "istio")
    assert again.codes == []
    assert there.have == again.back


WITHOUT_RULES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1", ports: [{containerPort: 8080}]}]}
"""


def _service(name: str, port: str, more: str = "") -> str:
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{more}selector: {{app: web}}, ports: [{{name: {port}, port: 80, targetPort: 8080}}]}}\n"


def test_services_without_rules_lose_the_default_retries_too_and_one_finding_names_them() -> None:
    others = _service("bytes", "tcp") + _service("headless", "http", "clusterIP: None, ")
    text = WITHOUT_RULES + "".join(_service(f"web-{number}", "http") for number in range(12)) + _service("rpc", "grpc") + others
    plain = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    (said,) = [item for item in plain.findings if item.code == "MP401"]
    assert {one.workload for one in said.affects} == {"rpc", *(f"web-{number}" for number in range(12))}
    assert said.message.startswith("Services shop/rpc, shop/web-0, ") and " and 3 more: Istio retries" in said.message
    kept = meshport.convert(meshport.load_text(text), source="istio", target="linkerd", preserve_default_retries=True)
    notes = {
        item.object["metadata"]["name"]: item.object["metadata"].get("annotations", {})
        for item in kept.manifests
        if item.object["kind"] == "Service"
    }
    limits = {name: one["retry.linkerd.io/limit"] for name, one in notes.items() if "retry.linkerd.io/limit" in one}
    assert limits == dict.fromkeys({"rpc", *(f"web-{number}" for number in range(12))}, "2")
    assert notes["rpc"]["retry.linkerd.io/grpc"] == "unavailable,cancelled" and "retry.linkerd.io/grpc" not in notes["web-0"]
    assert {item.code for item in kept.findings} & {"MP401", "MP900", "MP901", "MP904"} == set()


def test_a_mesh_that_retries_nothing_unasked_has_nothing_to_lose() -> None:
    operator = "---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: mesh, namespace: istio-system}\nspec: {meshConfig: {defaultHttpRetryPolicy: {attempts: %s}}}\n"
    for attempts, codes in (("0", set()), ("5", {"MP401"})):
        result = meshport.convert(
            meshport.load_text(WITHOUT_RULES + _service("web", "http") + operator % attempts), source="istio", target="linkerd"
        )
        assert {item.code for item in result.findings} & {"MP401", "MP408"} == codes
        assert all("5 times" in item.message for item in result.findings if item.code == "MP401")


def test_a_port_on_linkerds_own_list_where_istio_detects_http_is_taken_off_it() -> None:
    """Clients would send bytes there and follow no route."""
    hub = WORLD.replace("ports: [{name: http, port: 80", "ports: [{name: hub, port: 4444", 1)
    assert hub != WORLD
    http = "[{match: [{uri: {prefix: /wd/}}], route: [{destination: {host: app}}]}]"
    result = meshport.convert(meshport.load_text(hub + virtual_service(http)), source="istio", target="linkerd")
    assert "MP900" not in {item.code for item in result.findings}
    (said,) = [item.object["metadata"]["annotations"] for item in result.manifests if item.object["kind"] == "Service"]
    assert said == {"config.linkerd.io/opaque-ports": "25,587,3306,5432,6379,9300,11211"}
