"""Linkerd routing in Istio's words: source YAML, target YAML, findings."""

from __future__ import annotations

import pytest
from test_routing_helper import Made, convert, plain, service

import meshport
from meshport.dialects.linkerd.profiles import profile_pattern

PROFILE = """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - name: GET /api/users/{id}
    condition: {method: GET, pathRegex: "/api/users/[^/]+"}
    timeout: 5s
    retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}
  - name: POST /api/users
    condition: {method: POST, pathRegex: /api/users}
    timeout: 10s
"""
SPLIT = """---
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: users-canary, namespace: shop}
spec: {service: users, backends: [{service: users-stable, weight: 900}, {service: users-canary, weight: 100}]}
"""
NAMESPACE = """---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
"""
USERS = (
    service("users")
    + service("users-stable", labels="app: users, track: stable")
    + service("users-canary", labels="app: users, track: canary")
)


def made(text: str, **choices: object) -> Made:
    return convert(text, "linkerd", "istio", **choices)


def route(body: str, name: str = "r", notes: str = "") -> str:
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop{", annotations: {" + notes + "}" if notes else ""}}}
spec:
  parentRefs: [{{group: core, kind: Service, name: users, port: 80}}]
  rules: {body}
"""


def test_a_profile_and_a_split_become_one_virtual_service() -> None:
    result = made(USERS + PROFILE + SPLIT)
    split = """
    - {destination: {host: users-stable.shop.svc.cluster.local, port: {number: 80}}, weight: 90}
    - {destination: {host: users-canary.shop.svc.cluster.local, port: {number: 80}}, weight: 10}
"""
    assert result.spec("VirtualService/users") == plain(f"""
hosts: [users.shop.svc.cluster.local]
http:
- name: get-api-users-id
  match: [{{method: {{exact: GET}}, uri: {{regex: '/api/users/[^/]+'}}}}]
  timeout: 5s
  retries: {{attempts: 0}}
  route: {split}
- name: post-api-users
  match: [{{method: {{exact: POST}}, uri: {{exact: /api/users}}}}]
  timeout: 10s
  retries: {{attempts: 0}}
  route: {split}
- name: other
  retries: {{attempts: 0}}
  route: {split}
""")
    assert result.findings == []
    assert result.out.installs["istiod", "meshConfig.defaultHttpRetryPolicy.attempts"].value == 0
    assert result.unexplained == []
    assert result.left("ServiceProfile", "TrafficSplit") == []


def test_backends_outside_the_bundle_keep_their_names() -> None:
    result = made(PROFILE + SPLIT)
    assert result.spec("VirtualService/users")["http"][2]["route"][0] == {
        "destination": {"host": "users-stable.shop.svc.cluster.local"},
        "weight": 90,
    }
    assert [finding.remedy for finding in result.findings] == [
        "Look whether it exists: kubectl get service users-stable -n shop",
        "Look whether it exists: kubectl get service users-canary -n shop",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/api/users", "/api/users"),
        ("^/api$", "/api"),
        (" /x.* ", "/x.*"),
        ("/a|/b", "/a.*|.*/b"),
        ("/a|/b|/c", "/a.*|.*/b.*|.*/c"),
        ("(/a|/b)", "(/a|/b)"),
        ("/a|^/b", "/a.*|/b"),
    ],
)
def test_anchors_of_a_profile_hold_for_the_outer_alternatives(written: str, meant: str) -> None:
    assert profile_pattern(written).text == meant


def test_conditions_are_written_out() -> None:
    text = (
        USERS
        + """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - name: reads
    condition: {all: [{method: GET}, {any: [{pathRegex: /a}, {pathRegex: /b/.*}]}]}
"""
    )
    assert made(text).spec("VirtualService/users")["http"][0]["match"] == [
        {"method": {"exact": "GET"}, "uri": {"exact": "/a"}},
        {"method": {"exact": "GET"}, "uri": {"prefix": "/b/"}},
    ]


@pytest.mark.parametrize(
    ("port", "classes", "conditions"),
    [
        ("grpc", "", "5xx,deadline-exceeded,internal,unavailable"),
        (
            "grpc",
            ", responseClasses: [{condition: {status: {min: 500, max: 503}}}]",
            "504,505,506,507,508,510,511,deadline-exceeded,internal,unavailable",
        ),
        ("grpc", ", responseClasses: [{condition: {status: {min: 200, max: 299}}}]", "5xx"),  # what gRPC says is not looked at then
        ("http", "", "5xx"),
    ],
)
def test_a_profile_retries_what_grpc_calls_a_failure(port: str, classes: str, conditions: str) -> None:
    """Its answers have the status 200, and were retried no more."""
    profile = f"""---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {{name: users.shop.svc.cluster.local, namespace: shop}}
spec: {{routes: [{{name: get, condition: {{pathRegex: /users.Users/Get}}, isRetryable: true{classes}}}]}}
"""
    assert "name: http" in USERS
    result = made(USERS.replace("name: http", f"name: {port}") + profile)
    assert result.spec("VirtualService/users")["http"][0]["retries"]["retryOn"] == conditions
    assert "MP900" not in result.codes


def test_a_retryable_route_gets_attempts_and_the_budget() -> None:
    text = (
        USERS
        + """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}
  routes: [{name: all, condition: {pathRegex: "/.*"}, isRetryable: true}]
"""
    )
    result = made(text)
    assert result.spec("VirtualService/users")["http"][0]["retries"] == {"attempts": 1, "retryOn": "5xx"}
    assert result.spec("DestinationRule/users")["trafficPolicy"]["retryBudget"] == {
        "percent": 20.0,
        "minRetryConcurrency": 10,
        "budgetInterval": "10s",
    }
    assert "MP403" in result.codes
    older = made(text, target_version="1.26")
    assert "DestinationRule/users" not in older.objects
    assert older.left("ServiceProfile") == []


def test_a_profile_silences_routes_annotations_and_the_breaker() -> None:
    world = service("users", notes="balancer.linkerd.io/failure-accrual: consecutive, retry.linkerd.io/http: 5xx")
    result = made(world + PROFILE + route("[{backendRefs: [{name: users, port: 80}], timeouts: {request: 1s}}]"))
    assert list(result.objects) == ["VirtualService/users"]
    assert [rule["name"] for rule in result.spec("VirtualService/users")["http"]] == ["get-api-users-id", "post-api-users", "other"]
    assert result.left("ServiceProfile", "HTTPRoute") == []


def test_ranked_matches_are_put_in_order() -> None:
    result = made(
        USERS
        + route("[{backendRefs: [{name: users-stable, port: 80}]}]", "a")
        + route("[{matches: [{path: {type: PathPrefix, value: /v2}}], backendRefs: [{name: users-canary, port: 80}]}]", "b")
        + route("[{matches: [{path: {type: Exact, value: /v2/x}}], backendRefs: [{name: users, port: 80}]}]", "c")
    )
    rules = result.spec("VirtualService/users")["http"]
    assert [rule.get("match") for rule in rules] == [[{"uri": {"exact": "/v2/x"}}], [{"uri": {"regex": "/v2(?:/.*)?"}}], None]
    assert result.unexplained == []


def test_annotations_of_the_service_hold_where_the_route_says_nothing_of_the_kind() -> None:
    world = service("users", notes='retry.linkerd.io/http: "5xx", retry.linkerd.io/limit: "2", timeout.linkerd.io/request: 9s')
    (rule,) = made(world + route("[{timeouts: {request: 1s}, backendRefs: [{name: users, port: 80}]}]")).spec("VirtualService/users")[
        "http"
    ]
    assert (rule["timeout"], rule["retries"]) == ("1s", {"attempts": 2, "retryOn": "5xx"})
    (rule,) = made(world).spec("VirtualService/users")["http"]
    assert (rule["timeout"], rule["retries"]) == ("9s", {"attempts": 2, "retryOn": "5xx"})


def test_a_route_with_a_filter_that_linkerd_ignores_routes_nothing() -> None:
    result = made(USERS + route("[{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /}}}]}]"))
    assert result.objects == {}
    assert result.codes == ["MP315"]
    assert result.left("HTTPRoute") == []


def test_the_other_ports_of_a_service_are_left_alone() -> None:
    world = service("users", ports="[{name: http, port: 80}, {name: admin, port: 81}]")
    result = made(world + route("[{matches: [{method: GET}], backendRefs: [{name: users, port: 80}]}]"))
    rules = result.spec("VirtualService/users")["http"]
    assert rules[0]["match"] == [{"method": {"exact": "GET"}, "port": 80}]
    assert rules[1] == {"name": "none-80", "match": [{"port": 80}], "directResponse": {"status": 404}}
    assert rules[2]["route"] == [{"destination": {"host": "users.shop.svc.cluster.local"}}]
    assert result.unexplained == []


def test_a_route_can_stay_one_of_the_gateway_api() -> None:
    result = made(
        USERS + route("[{matches: [{path: {type: PathPrefix, value: /v2}}], backendRefs: [{name: users-stable, port: 80}]}]"),
        routes="gateway-api",
    )
    assert result.spec("HTTPRoute/r")["parentRefs"] == [{"group": "", "kind": "Service", "name": "users", "port": 80}]
    assert result.codes == ["MP406"]
    assert result.unexplained == []


def test_a_split_without_a_profile_keeps_its_ratio() -> None:
    thirds = SPLIT.replace("weight: 900", "weight: 500m").replace("weight: 100", "weight: 1")
    weights = [entry["weight"] for entry in made(USERS + thirds).spec("VirtualService/users")["http"][0]["route"]]
    assert weights == [1, 2]


def test_a_condition_that_no_request_meets_takes_no_request() -> None:
    """Without its rule the profile sends every request on, with no timeout of its own."""
    profile = PROFILE.replace('{method: GET, pathRegex: "/api/users/[^/]+"}', "{method: GET, all: [{method: POST}]}")
    entries = made(USERS + profile).spec("VirtualService/users")["http"]
    assert [(entry["name"], entry.get("timeout")) for entry in entries] == [("post-api-users", "10s"), ("other", None)]


@pytest.mark.parametrize("everything", [".*", "/.*", "^.*$"])
def test_no_rule_is_written_behind_one_that_takes_every_request(everything: str) -> None:
    profile = f"""---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {{name: users.shop.svc.cluster.local, namespace: shop}}
spec:
  routes:
  - {{name: a, condition: {{pathRegex: /a}}, timeout: 5s}}
  - {{name: all, condition: {{pathRegex: "{everything}"}}, timeout: 6s}}
"""
    rules = made(USERS + profile).spec("VirtualService/users")["http"]
    assert [(rule["name"], rule.get("match")) for rule in rules] == [("a", [{"uri": {"exact": "/a"}}]), ("all", None)]


def test_a_redirect_to_another_prefix_is_one_for_the_prefix_itself_and_one_for_what_is_below() -> None:
    """Envoy puts the new prefix in the place of the whole path where a rule matches by an expression, so that what follows would be lost."""
    route = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}}]
"""
    result = made(USERS + route)
    first, second, *_ = result.spec("VirtualService/users")["http"]
    assert (first["match"], first["redirect"]) == ([{"uri": {"exact": "/old"}}], {"uri": "/new", "redirectCode": 301})
    assert (second["match"], second["redirect"]) == ([{"uri": {"prefix": "/old/"}}], {"prefixRewrite": "/new/", "redirectCode": 301})
    assert result.unexplained == []


def test_a_redirect_of_the_status_alone_goes_to_the_port_of_the_request() -> None:
    """istiod refuses a redirect that names no path, host, scheme or port (validateHTTPRedirect): no rule of the object would hold."""
    result = made(USERS + route("[{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302}}]}]"))
    first, *_ = result.spec("VirtualService/users")["http"]
    assert first["redirect"] == {"redirectCode": 302, "derivePort": "FROM_REQUEST_PORT"}
    assert result.unexplained == [] and "MP900" not in result.codes


def test_retries_of_a_route_that_only_redirects_are_none() -> None:
    """No endpoint answers, so that nothing is tried again: Istio loses nothing, and nothing is named."""
    moved = route(
        "[{filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example, statusCode: 302}}]}]",
        notes="retry.linkerd.io/http: 5xx",
    )
    result = meshport.convert(meshport.load_text(NAMESPACE + USERS + moved), source="linkerd", target="istio")
    assert [finding.code for finding in result.findings if finding.severity != "info"] == []
    assert {line.disposition for line in result.ledger if "retry.linkerd.io" in line.path} == {"irrelevant"}
