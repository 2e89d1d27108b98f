"""What the meshes read into routes besides their rules: hosts, classes, kinds, ports without a route, durations that they cannot read."""

from __future__ import annotations

import pytest
from test_routing_helper import Made, convert, plain, service

import meshport

USERS = service("users", ports="[{name: http, port: 80}, {name: admin, port: 81}]")
ONE_PORT = service("users")


def to_istio(text: str) -> Made:
    return convert(text, "linkerd", "istio")


def to_linkerd(text: str) -> Made:
    return convert(text, "istio", "linkerd")


def route(rules: str, kind: str = "HTTPRoute", port: str = ", port: 80", more: str = "", notes: str = "") -> str:
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {kind.lower()}, namespace: shop{", annotations: {" + notes + "}" if notes else ""}}}
spec:
  parentRefs: [{{group: core, kind: Service, name: users{port}}}]
{more}  rules: {rules}
"""


def virtual_service(http: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: users, namespace: shop}}
spec: {{hosts: [users], http: {http}}}
"""


def profile(route: str) -> str:
    return f"""---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {{name: users.shop.svc.cluster.local, namespace: shop}}
spec: {{routes: [{route}]}}
"""


# -- hosts


def test_hostnames_of_a_route_are_an_authority_with_or_without_its_port() -> None:
    result = to_istio(ONE_PORT + route("[{backendRefs: [{name: users, port: 80}]}]", more="  hostnames: [users.shop, '*.users.example']\n"))
    rules = result.spec("VirtualService/users")["http"]
    assert rules[0]["match"] == [{"authority": {"regex": r"(?i:users\.shop|[^:]+\.users\.example)(?::[0-9]+)?"}}]
    assert result.unexplained == []


# -- response classes


@pytest.mark.parametrize(
    ("classes", "conditions"),
    [
        # a status that no class takes is a failure from 500 on
        ("[{condition: {status: {min: 500, max: 503}}, isFailure: true}]", "5xx"),
        ("[{condition: {status: {min: 500}}, isFailure: true}]", "5xx"),
        ("[{condition: {status: {min: 429, max: 429}}, isFailure: true}]", "429,5xx"),
        ("[{condition: {all: [{status: {min: 400, max: 499}}, {not: {status: {min: 401, max: 499}}}]}, isFailure: true}]", "400,5xx"),
        ("[{condition: {status: {min: 502, max: 599}}, isFailure: false}]", "500,501"),
        # the first class that takes a status decides
        (
            "[{condition: {status: {min: 501, max: 599}}, isFailure: false}, {condition: {status: {min: 500, max: 504}}, isFailure: true}]",
            "500",
        ),
        # the proxy leaves out a class with one end of a range: the control plane sends 0 for the other
        ("[{condition: {status: {min: 501}}, isFailure: false}, {condition: {status: {min: 500, max: 504}}, isFailure: true}]", "5xx"),
    ],
)
def test_response_classes_are_the_statuses_to_retry(classes: str, conditions: str) -> None:
    result = to_istio(ONE_PORT + profile(f"{{name: all, condition: {{pathRegex: /.*}}, isRetryable: true, responseClasses: {classes}}}"))
    assert result.spec("VirtualService/users")["http"][0]["retries"]["retryOn"] == conditions
    assert result.unexplained == []


def test_classes_without_a_failure_retry_nothing() -> None:
    classes = "[{condition: {status: {min: 100, max: 599}}, isFailure: false}]"
    result = to_istio(ONE_PORT + profile(f"{{name: all, condition: {{pathRegex: /.*}}, isRetryable: true, responseClasses: {classes}}}"))
    assert result.spec("VirtualService/users")["http"][0]["retries"] == {"attempts": 0}


# -- answers of the proxy itself


def test_a_direct_response_becomes_a_backend_that_does_not_exist() -> None:
    result = to_linkerd(
        ONE_PORT
        + virtual_service(
            "[{match: [{uri: {exact: /teapot}}], directResponse: {status: 418}}, {route: [{destination: {host: users}}]}]",
        )
    )
    rules = result.spec("HTTPRoute/users")["rules"]
    assert rules[0]["matches"] == [{"path": {"type": "Exact", "value": "/teapot"}}]
    assert [item["name"] for item in rules[0]["backendRefs"]] == ["users-refused"]
    assert result.unexplained == []


def test_the_name_of_that_backend_is_one_that_no_service_has() -> None:
    result = to_linkerd(ONE_PORT + service("users-refused") + virtual_service("[{directResponse: {status: 503}}]"))
    assert result.spec("HTTPRoute/users")["rules"][0]["backendRefs"][0]["name"] == "users-refused-2"


# -- annotations of a Service


def test_annotations_of_a_service_hold_on_the_ports_without_a_route() -> None:
    noted = service("users", ports="[{name: http, port: 80}, {name: admin, port: 81}]", notes="timeout.linkerd.io/request: 4s")
    result = to_istio(noted + route("[{backendRefs: [{name: users, port: 80}]}]", notes="timeout.linkerd.io/request: 9s"))
    times = {rule.get("match", [{}])[0].get("port"): rule.get("timeout") for rule in result.spec("VirtualService/users")["http"]}
    assert (times[80], times[81]) == ("9s", "4s")
    assert result.unexplained == []


# -- kinds of routes


GRPC = "[{matches: [{method: {service: users.Users}}], backendRefs: [{name: users, port: 80}]}]"
HTTP = "[{matches: [{path: {value: /http}}], backendRefs: [{name: users, port: 80}]}]"


def test_grpc_routes_go_before_http_routes_of_the_same_port() -> None:
    result = to_istio(ONE_PORT + route(HTTP) + route(GRPC, "GRPCRoute"))
    rules = result.spec("VirtualService/users")["http"]
    assert [rule["match"][0]["uri"] for rule in rules if "match" in rule] == [{"prefix": "/users.Users/"}]
    assert any("GRPCRoutes go before HTTPRoutes" in reason for reason in result.out.irrelevant.values())


def test_a_port_that_says_http_follows_the_http_routes() -> None:
    spoken = service("users", ports="[{name: web, port: 80, appProtocol: http}]")
    result = to_istio(spoken + route(HTTP) + route(GRPC, "GRPCRoute"))
    assert "users.Users" not in str(result.spec("VirtualService/users"))


# -- durations


@pytest.mark.parametrize("duration", ["1m30s", "1.5s", "10"])
def test_a_duration_that_linkerd_cannot_read_does_nothing(duration: str) -> None:
    noted = service("users", notes=f"timeout.linkerd.io/request: '{duration}', retry.linkerd.io/http: 5xx")
    result = to_istio(noted)
    assert "MP409" in result.codes
    said = next(item for item in result.findings if item.code == "MP409")
    assert (said.severity, duration in said.message) == ("warning", True)
    assert "timeout" not in str(result.objects.get("VirtualService/users"))


@pytest.mark.parametrize(("duration", "written"), [("500us", "1ms"), ("1.0005s", "1001ms"), ("0.25ms", "1ms")])
def test_a_fraction_of_a_millisecond_is_rounded_up_and_said(duration: str, written: str) -> None:
    result = to_linkerd(ONE_PORT + virtual_service(f"[{{route: [{{destination: {{host: users}}}}], timeout: {duration}}}]"))
    assert result.spec("HTTPRoute/users")["rules"][0]["timeouts"] == plain(f"{{request: {written}}}")
    said = next(item for item in result.findings if item.code == "MP410")
    assert duration in said.message


def test_whole_milliseconds_are_not_spoken_of() -> None:
    result = to_linkerd(ONE_PORT + virtual_service("[{route: [{destination: {host: users}}], timeout: 1.5s}]"))
    assert result.spec("HTTPRoute/users")["rules"][0]["timeouts"] == {"request": "1500ms"}
    assert "MP410" not in result.codes


PROFILE = """
apiVersion: v1
kind: Service
metadata: {name: pg, namespace: shop}
spec: {selector: {app: pg}, ports: [{name: tcp-pg, port: 5432}, {name: http, port: 80}]}
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: pg.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {pathRegex: /a}, timeout: 5s}]}
"""


@pytest.mark.parametrize("target", ["linkerd", "istio", "gateway-api"])
def test_rules_for_requests_say_nothing_of_ports_that_linkerd_takes_for_bytes(target: str) -> None:
    """5432 is opaque by default: https://linkerd.io/2-edge/features/protocol-detection/."""
    result = meshport.convert(meshport.load_text(PROFILE), source="linkerd", target=target)
    routes = [item.object["spec"] for item in result.manifests if item.object["kind"] in ("HTTPRoute", "VirtualService")]
    assert len(routes) == 1
    assert all(parent.get("port", 80) == 80 for spec in routes for parent in spec.get("parentRefs", ()))
    assert not [finding.code for finding in result.findings if finding.severity != "info"]
