"""Routes between workloads on Cilium: what a GAMMA route says, and what Cilium does not follow."""

from __future__ import annotations

import re
from typing import Any

import pytest

import meshport
from meshport.values import programs

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
CANARY = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec:
  hosts: [users]
  http:
  - timeout: 3s
    route:
    - {destination: {host: users, subset: v1}, weight: 95}
    - {destination: {host: users, subset: v2}, weight: 5}
"""
PATHS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec:
  hosts: [users]
  http:
  - match: [{uri: {regex: "/api/[^/]+"}}]
    timeout: 1s
    route: [{destination: {host: users}}]
  - route: [{destination: {host: users}}]
"""


def convert(text: str, source: str = "istio", **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), source=source, target="cilium", **options)


def routes(result: Any) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_canary_is_a_route_on_the_service_without_a_port_of_the_parent() -> None:
    result = convert(SERVICE + CANARY)
    (route,) = routes(result)
    assert route["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
    assert route["spec"]["rules"] == [
        {
            "backendRefs": [{"name": "users-v1", "port": 80, "weight": 19}, {"name": "users-v2", "port": 80, "weight": 1}],
            "timeouts": {"request": "3s"},
        }
    ]
    made = {
        item.object["metadata"]["name"]: item.object["spec"]["selector"] for item in result.manifests if item.object["kind"] == "Service"
    }
    assert made == {"users-v1": {"app": "users", "version": "v1"}, "users-v2": {"app": "users", "version": "v2"}}
    assert result.install["helm_values"]["cilium"]["gatewayAPI"] == {"enabled": True}
    assert "MP900" not in codes(result)


def test_an_expression_goes_before_a_prefix_in_cilium_so_the_rest_stays_plain() -> None:
    (route,) = routes(convert(SERVICE + PATHS))
    assert [rule.get("matches") for rule in route["spec"]["rules"]] == [
        [{"path": {"type": "RegularExpression", "value": "/api/[^/]+"}}],
        None,
    ]


def test_a_prefix_before_an_expression_keeps_its_place() -> None:
    text = SERVICE + PATHS.replace('{regex: "/api/[^/]+"}', "{prefix: /api/}").replace(
        "  - route:",
        '  - match: [{uri: {regex: "/api/v[0-9]/.*"}}]\n    timeout: 9s\n    route: [{destination: {host: users}}]\n  - route:',
    )
    result = convert(text)
    waits = [rule.get("timeouts", {}).get("request") for rule in routes(result)[0]["spec"]["rules"]]
    assert "9s" not in waits  # no request reaches the second rule
    assert "MP900" not in codes(result)


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (SERVICE + CANARY, {"target_version": "1.15"}, "MP370"),
        (
            SERVICE
            + CANARY.replace(
                "namespace: shop}\nspec:\n  hosts: [users]",
                "namespace: web}\nspec:\n  exportTo: [.]\n  hosts: [users.shop.svc.cluster.local]",
            ).replace("host: users,", "host: users.shop.svc.cluster.local,"),
            {},
            "MP371",
        ),
        (
            SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: http-admin, port: 81}")
            + CANARY.replace(
                "  - timeout:", "  - match: [{uri: {prefix: /x}}]\n    route: [{destination: {host: example.com}}]\n  - timeout:"
            ),
            {},
            "MP372",
        ),
    ],
    ids=["release", "consumer", "ports"],
)
def test_routes_that_cilium_would_not_follow_as_meant_are_left_out(text: str, options: dict[str, Any], code: str) -> None:
    result = convert(text, **options)
    assert routes(result) == []
    assert [finding.severity for finding in result.findings if finding.code == code] == ["error"]
    assert "MP900" not in codes(result)


def test_routes_that_send_to_one_port_whatever_port_was_asked_for_are_written_once() -> None:
    two = SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: http-admin, port: 81}")
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: old.test}}]
  - backendRefs: [{name: users, port: 80}]
"""
    rules = (
        "[{match: [{uri: {prefix: /old}}], redirect: {authority: old.test}}, {route: [{destination: {host: users, port: {number: 80}}}]}]"
    )
    service = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: users, namespace: shop}}
spec: {{hosts: [users], http: {rules}}}
"""
    for source, text in (("linkerd", route), ("istio", service)):
        result = meshport.convert(meshport.load_text(two + text), source=source, target="cilium")
        (written,) = routes(result)
        assert written["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
        assert [rule.get("backendRefs") for rule in written["spec"]["rules"]] == [None, [{"name": "users", "port": 80}]]
        assert not {"MP372", "MP900"} & codes(result)
    for source, text in (
        ("linkerd", route.replace("name: users}]", "name: users, port: 80}]")),
        ("istio", service.replace(", port: {number: 80}", "")),
    ):
        assert "MP363" in codes(meshport.convert(meshport.load_text(two + text), source=source, target="cilium"))


def test_other_ports_of_the_service_reach_the_proxy_too() -> None:
    result = convert(SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: tcp-metrics, port: 9090}") + CANARY)
    assert len(routes(result)) == 1
    (finding,) = [finding for finding in result.findings if finding.code == "MP373"]
    assert "9090" in finding.message


def test_linkerds_routes_lose_the_port_and_the_group_of_their_parent() -> None:
    text = (
        SERVICE
        + """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop, annotations: {retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "3"}}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /api}}]
    timeouts: {request: 2s}
    backendRefs: [{name: users, port: 80}]
"""
    )
    result = convert(text, "linkerd")
    (route,) = routes(result)
    assert route["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "2s"}
    assert rule["retry"]["attempts"] == 3
    assert "annotations" not in route["metadata"]
    assert "MP900" not in codes(result)


def test_a_gateway_of_istio_becomes_one_of_cilium() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    (gateway,) = [item.object for item in convert(text).manifests]
    assert gateway["spec"]["gatewayClassName"] == "cilium"
    (other,) = [item.object for item in convert(text, gateway_class="nginx").manifests]
    assert other["spec"]["gatewayClassName"] == "nginx"
    assert convert(text.replace("gatewayClassName: istio", "gatewayClassName: envoy-gateway")).manifests == []


def test_a_route_that_cilium_reads_as_it_is_stays_and_is_no_removal() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: users}]
  rules: [{backendRefs: [{name: users-v1, port: 80, weight: 9}, {name: users-v2, port: 80, weight: 1}]}]
"""
    result = convert(text, "gateway-api")
    assert (result.manifests, result.removals) == ([], [])
    assert "MP900" not in codes(result)


def test_hosts_of_rules_that_were_left_out_are_named() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  gateways: [istio-system/edge]
  hosts: ["*"]
  http: [{match: [{uri: {prefix: /cart}}], delegate: {name: cart}}]
"""
    result = convert(text)
    assert {"MP358", "MP376"} <= codes(result)
    assert result.ledger.counts["unaccounted"] == 0


def test_a_route_on_a_resource_of_another_mesh_is_left_alone() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: all}], rules: [{matches: [{path: {value: /get}}]}]}
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert (result.manifests, result.removals) == ([], [])
    assert codes(result) == {"MP375"}


LONG = PATHS.replace("/api/[^/]+", "|".join(f"/files/{letter * 12}/[0-9]+" for letter in "abcdefgh"))


def test_an_expression_too_large_for_envoy_is_written_in_parts_that_fit() -> None:
    (route,) = routes(convert(SERVICE + LONG))
    texts = [match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]]
    assert len(texts) > 1
    assert all(programs.size(text) <= programs.LARGEST for text in texts)
    assert all(any(re.fullmatch(text, f"/files/{letter * 12}/42") for text in texts) for letter in "abcdefgh")


def test_an_expression_that_has_no_such_parts_is_left_out_and_said() -> None:
    result = convert(SERVICE + PATHS.replace("/api/[^/]+", "/files/[a-z0-9]{60}"))
    (finding,) = [finding for finding in result.findings if finding.code == "MP123"]
    assert (finding.severity, finding.disposition) == ("error", "dropped")
    assert "[a-z0-9]{60}" not in str(routes(result))


def test_a_word_boundary_is_kept_for_re2_has_it() -> None:
    result = convert(SERVICE + PATHS.replace("/api/[^/]+", r"/api\\b.*"))
    assert r"/api\b.*" in str(routes(result)[0]["spec"]["rules"][0]["matches"][0]["path"]["value"])
    assert not codes(result) & {"MP123", "MP316", "MP900", "MP901"}


def test_an_expression_of_unknown_size_is_not_called_too_large() -> None:
    result = convert(SERVICE + PATHS.replace("/api/[^/]+", r"/api/\\p{L}"))
    (finding,) = [finding for finding in result.findings if finding.code == "MP123"]
    assert r"whose size is not known (regular expression uses \p{L}" in finding.message


GRPC = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: users
  namespace: shop
  annotations: {timeout.linkerd.io/request: 5s}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules:
  - matches: [{method: {service: users.v1.Users, method: Get}}]
    backendRefs: [{name: users, port: 80}]
"""


def test_a_grpc_route_with_a_timeout_becomes_an_http_route_which_has_a_field_for_it() -> None:
    result = convert(SERVICE + GRPC, "linkerd")
    assert [item.object["kind"] for item in result.manifests if item.object["kind"] == "GRPCRoute"] == []
    (route,) = routes(result)
    (rule,) = route["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "Exact", "value": "/users.v1.Users/Get"}}]
    assert rule["timeouts"] == {"request": "5s"}
    assert [(item["kind"], item["name"]) for item in result.removals] == [("GRPCRoute", "users")]
    assert not {"MP900", "MP901", "MP902"} & codes(result)
    plain = convert(SERVICE + GRPC.replace("  annotations: {timeout.linkerd.io/request: 5s}\n", ""), "linkerd")
    assert [item.object["kind"] for item in plain.manifests] == ["GRPCRoute"]


def test_the_gateway_api_is_switched_on_where_a_route_is_there_to_be_read() -> None:
    """Cilium 1.15 reads no route on a Service: all are left out, and nothing needs the setting."""
    needed = "gatewayAPI" in str(convert(SERVICE + GRPC, "linkerd").install)
    without = meshport.convert(meshport.load_text(SERVICE + GRPC), source="linkerd", target="cilium", target_version="1.15")
    assert needed and "gatewayAPI" not in str(without.install)
    assert "MP370" in codes(without) and not {"MP900", "MP901", "MP902"} & codes(without)
    unreadable = SERVICE.replace("namespace: shop}", "namespace: shop, annotations: {timeout.linkerd.io/request: soon}}", 1)
    spoken = codes(meshport.convert(meshport.load_text(unreadable + GRPC), source="linkerd", target="cilium", target_version="1.15"))
    assert "MP409" in spoken and not {"MP900", "MP901", "MP902"} & spoken


WORLD = (
    SERVICE
    + """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template: {metadata: {labels: {app: users}}, spec: {containers: [{name: a, image: i, ports: [{containerPort: 8080}]}]}}
---
"""
)


def test_default_retries_of_services_without_rules_are_written_where_that_is_asked_for() -> None:
    """`--preserve-default-retries` wrote them for Services with a VirtualService alone, and for the others nothing said that they end."""
    bundle = meshport.load_text(WORLD)
    kept = meshport.convert(bundle, source="istio", target="cilium", preserve_default_retries=True)
    (route,) = [item.object["spec"] for item in kept.manifests if item.object["kind"] == "HTTPRoute"]
    assert route["rules"] == [{"backendRefs": [{"name": "users", "port": 80}], "retry": {"attempts": 2}}]
    assert kept.install["helm_values"]["cilium"]["gatewayAPI"] == {"enabled": True}
    gone = meshport.convert(bundle, source="istio", target="cilium")
    assert [finding.message.partition(":")[0] for finding in gone.findings if finding.code == "MP450"] == ["Service shop/users"]
    assert not [item for item in gone.manifests if item.object["kind"] == "HTTPRoute"]


def test_a_breaker_goes_before_the_default_retries_of_its_service() -> None:
    """One object alone may own the ports of a Service."""
    rule = (
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: users, namespace: shop}, "
        "spec: {host: users, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}}"
    )
    result = meshport.convert(meshport.load_text(WORLD + rule), source="istio", target="cilium", preserve_default_retries=True)
    assert {item.object["kind"] for item in result.manifests} & {"HTTPRoute", "CiliumEnvoyConfig"} == {"CiliumEnvoyConfig"}
    assert {"MP450", "MP520"} <= {finding.code for finding in result.findings}


def test_parents_that_differ_by_their_port_alone_become_one() -> None:
    """Cilium reads no port of a parent, and the API server takes no parent twice."""
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: two, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}, {group: "", kind: Service, name: web, port: 8080}, {group: "", kind: Service, name: other}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target="cilium")
    (route,) = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert [parent["name"] for parent in route["spec"]["parentRefs"]] == ["web", "other"]
    assert "MP374" in {finding.code for finding in result.findings}


@pytest.mark.parametrize(("asked", "called"), [("sourceNamespace: pay", "dropped"), ("gateways: [mesh]", "irrelevant")])
def test_a_gateway_at_which_no_rule_is_left_goes_with_its_rules(asked: str, called: str) -> None:
    rule = f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: users, namespace: shop}}
spec:
  hosts: [users]
  gateways: [mesh, istio-system/edge]
  http: [{{match: [{{uri: {{exact: /x}}, {asked}}}], route: [{{destination: {{host: users}}}}]}}]
"""
    result = convert(SERVICE + rule)
    (line,) = [item for item in result.ledger if item.path == "spec.gateways[1]"]
    assert line.disposition == called and bool(line.codes) is (called == "dropped")
    assert "MP901" not in codes(result)


def test_what_cilium_makes_of_a_retry_is_said_for_the_release() -> None:
    """Before 1.20 its proxy is not told what to retry on; from then on it retries failed connections too. A backend's timeout ends the request with all of its tries."""
    rule = (
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: users, namespace: shop}, spec: {hosts: [users], "
        "http: [{retries: {attempts: 2, perTryTimeout: 1s, retryOn: '503,connect-failure'}, timeout: 9s, route: [{destination: {host: users}}]}]}}"
    )
    said = {}
    for release in ("1.19", "1.20"):
        result = meshport.convert(meshport.load_text(WORLD + rule), source="istio", target="cilium", target_version=release)
        said[release] = {finding.code: finding.message for finding in result.findings if finding.code in ("MP453", "MP455", "MP456")}
        assert "all tries together have 1s" in said[release]["MP453"]
    assert "retries nothing" in said["1.19"]["MP455"] and "retries nothing" not in said["1.20"]["MP455"]
    assert "connect-failure" in said["1.19"]["MP456"] and "MP456" not in said["1.20"]
