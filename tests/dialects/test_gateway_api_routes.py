"""A mesh's routes as routes on Services of the Gateway API: source YAML, target YAML, findings."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_api_helper import WORLD, codes, convert, objects, plain, service, spec, virtual_service

import meshport
from meshport.pipeline import Result

SUBSETS = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec: {host: app, subsets: [{name: stable, labels: {version: v1}}, {name: canary, labels: {version: v2}}]}
"""


def made(http: str, rest: str = "", world: str = WORLD, **options: object) -> Result:
    return convert(world + virtual_service(http) + rest, "istio", "gateway-api", **options)


def test_a_canary_by_subsets_becomes_two_services_and_a_weighted_route() -> None:
    split = "[{route: [{destination: {host: app, subset: stable}, weight: 90}, {destination: {host: app, subset: canary}, weight: 10}]}]"
    result = made(split, SUBSETS)
    assert spec(result, "HTTPRoute/app") == plain("""
parentRefs: [{group: "", kind: Service, name: app}]
rules: [{backendRefs: [{name: app-stable, port: 80, weight: 9}, {name: app-canary, port: 80, weight: 1}]}]
""")
    assert spec(result, "Service/app-canary")["selector"] == {"app": "app", "version": "v2"}
    assert codes(result) == ["MP450"]  # Istio's two default retries
    assert sorted((item["kind"], item["name"]) for item in result.removals) == [("DestinationRule", "app"), ("VirtualService", "app")]


def test_matches_timeout_headers_and_redirect() -> None:
    result = made("""
  - match: [{uri: {exact: /old}}]
    redirect: {uri: /new, authority: other.example, redirectCode: 308}
  - match: [{method: {regex: GET|HEAD}, uri: {exact: /a}, headers: {x-v: {exact: "2"}}, queryParams: {q: {exact: "1"}}}]
    timeout: 90s
    retries: {attempts: 0}
    headers: {request: {set: {x-a: b}, remove: [x-c]}, response: {add: {x-d: e}}}
    route: [{destination: {host: b0}}]
""")
    old, a = spec(result, "HTTPRoute/app")["rules"]
    assert old["filters"] == plain("""
- type: RequestRedirect
  requestRedirect: {hostname: other.example, path: {type: ReplaceFullPath, replaceFullPath: /new}, statusCode: 308}
""")
    assert [match["method"] for match in a["matches"]] == ["GET", "HEAD"]
    assert a["matches"][0] == plain("""
path: {type: Exact, value: /a}
method: GET
headers: [{name: x-v, value: "2"}]
queryParams: [{name: q, value: "1"}]
""")
    assert a["timeouts"] == {"request": "90s"}
    assert [item["type"] for item in a["filters"]] == ["RequestHeaderModifier", "ResponseHeaderModifier"]
    assert codes(result) == []


def test_a_redirect_of_a_prefix_is_matched_by_path_elements() -> None:
    result = made("[{match: [{uri: {prefix: /old/}}], redirect: {prefixRewrite: /new/, derivePort: FROM_REQUEST_PORT}}]")
    (rule,) = spec(result, "HTTPRoute/app")["rules"]
    assert rule == plain("""
matches: [{path: {type: PathPrefix, value: /old}}]
filters:
- type: RequestRedirect
  requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}
""")
    assert codes(result) == ["MP329"]


def test_a_redirect_of_a_prefix_from_an_exact_path_is_of_the_whole_path() -> None:
    result = made("[{match: [{uri: {exact: /old}}], redirect: {prefixRewrite: /new}}]")
    (rule,) = spec(result, "HTTPRoute/app")["rules"]
    assert rule["filters"][0]["requestRedirect"]["path"] == {"type": "ReplaceFullPath", "replaceFullPath": "/new"}
    assert codes(result) == []


def test_the_host_set_as_a_header_is_a_rewrite_of_the_host() -> None:
    result = made("[{headers: {request: {set: {Host: other.example, x-a: b}}}, route: [{destination: {host: app}}]}]")
    (rule,) = spec(result, "HTTPRoute/app")["rules"]
    assert rule["filters"] == plain("""
- type: RequestHeaderModifier
  requestHeaderModifier: {set: [{name: x-a, value: b}]}
- type: URLRewrite
  urlRewrite: {hostname: other.example}
""")
    assert codes(result) == ["MP450"]


def test_before_1_5_a_redirect_is_301_or_302() -> None:
    result = made("[{redirect: {uri: /new, redirectCode: 308}}]", target_version="1.4")
    (rule,) = spec(result, "HTTPRoute/app")["rules"]
    assert rule["filters"][0]["requestRedirect"]["statusCode"] == 301
    assert codes(result) == ["MP308"]


def test_retries_are_written_with_the_channel_that_they_need() -> None:
    http = "[{retries: {attempts: 3, perTryTimeout: 2s, retryOn: 'gateway-error,429'}, timeout: 5s, route: [{destination: {host: app}}]}]"
    result = made(http)
    (rule,) = spec(result, "HTTPRoute/app")["rules"]
    assert rule["retry"] == {"codes": [429, 502, 503, 504], "attempts": 3}
    assert rule["timeouts"] == {"request": "5s", "backendRequest": "2s"}
    assert [(finding.code, finding.severity) for finding in result.findings] == [
        ("MP453", "warning"),
        ("MP455", "warning"),
        ("MP456", "info"),  # Envoy counts a broken connection as a gateway-error; a list of codes cannot
    ]
    before = made(http, target_version="1.1")
    assert "retry" not in spec(before, "HTTPRoute/app")["rules"][0]
    assert "MP455" in codes(before)


def test_the_timeout_of_a_try_is_never_longer_than_that_of_the_request() -> None:
    result = made("[{retries: {attempts: 1, perTryTimeout: 9s}, timeout: 5s, route: [{destination: {host: app}}]}]")
    assert spec(result, "HTTPRoute/app")["rules"][0]["timeouts"] == {"request": "5s", "backendRequest": "5s"}


def test_a_rule_that_comes_first_keeps_its_requests() -> None:
    result = made("""
  - match: [{headers: {x-beta: {exact: "1"}}}]
    route: [{destination: {host: b0}}]
  - match: [{uri: {exact: /a}}]
    route: [{destination: {host: b1}}]
  - route: [{destination: {host: app}}]
""")
    beta = spec(result, "HTTPRoute/app")["rules"][0]["matches"]
    header = [{"name": "x-beta", "value": "1"}]
    assert beta == [{"headers": header}, {"path": {"type": "Exact", "value": "/a"}, "headers": header}]


def test_a_prefix_of_characters_stays_one_and_what_follows_yields_to_it() -> None:
    """Istio ranks expressions below every prefix, so that the catch-all would take all requests if it were written as a prefix."""
    result = made("""
  - match: [{uri: {prefix: /foo}}]
    route: [{destination: {host: b0}}]
  - route: [{destination: {host: app}}]
""")
    first, rest = spec(result, "HTTPRoute/app")["rules"]
    assert first["matches"] == [{"path": {"type": "RegularExpression", "value": "/foo.*"}}]
    assert rest["matches"] == [{"path": {"type": "RegularExpression", "value": "/.*"}}]
    assert codes(result) == ["MP328", "MP450"]


def test_an_order_that_no_ranking_keeps_is_an_error_and_nothing_is_written() -> None:
    result = made("""
  - match: [{uri: {regex: "/a.*"}}]
    route: [{destination: {host: b0}}]
  - match: [{uri: {regex: "/.*/b/[0-9]+"}}]
    route: [{destination: {host: b1}}]
""")
    assert objects(result) == {}
    assert [(item.code, item.severity) for item in result.findings if item.code == "MP327"] == [("MP327", "error")]
    assert result.removals == []


def test_a_rewritten_prefix_is_one_of_path_elements() -> None:
    result = made("[{match: [{uri: {prefix: /api/}}, {uri: {exact: /api}}], rewrite: {uri: /}, route: [{destination: {host: b0}}]}]")
    rules = spec(result, "HTTPRoute/app")["rules"]
    assert [rule["filters"][0]["urlRewrite"]["path"]["type"] for rule in rules] == ["ReplacePrefixMatch", "ReplaceFullPath"]
    assert rules[0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/api"}}]
    assert "MP329" in codes(result)


def test_a_mirror_with_its_share() -> None:
    http = "[{mirror: {host: b1}, mirrorPercentage: {value: 5}, route: [{destination: {host: app}}]}]"
    (rule,) = spec(made(http), "HTTPRoute/app")["rules"]
    assert rule["filters"] == plain("[{type: RequestMirror, requestMirror: {backendRef: {name: b1, port: 80}, percent: 5}}]")
    early = made(http, target_version="1.2")  # all requests would be copied
    assert "filters" not in spec(early, "HTTPRoute/app")["rules"][0]
    assert "MP354" in codes(early)


def test_cors() -> None:
    http = """
  - corsPolicy: {allowOrigins: [{exact: "https://a.example"}, {regex: "https://.*"}], allowMethods: [GET], maxAge: 24h, allowCredentials: true}
    route: [{destination: {host: app}}]
"""
    result = made(http)
    assert spec(result, "HTTPRoute/app")["rules"][0]["filters"] == plain("""
- type: CORS
  cors: {allowOrigins: ["https://a.example"], allowMethods: [GET], maxAge: 86400, allowCredentials: true}
""")
    assert "MP320" in codes(result)  # the origin by expression
    assert "filters" not in spec(made(http, target_version="1.2"), "HTTPRoute/app")["rules"][0]


def test_a_service_with_several_ports_gets_a_route_for_each() -> None:
    world = service("app", ports="[{name: http, port: 80}, {name: http-admin, port: 81}, {name: tcp-db, port: 5432}]") + service("b0")
    result = made("[{match: [{uri: {exact: /a}}], route: [{destination: {host: app}}]}]", world=world)
    assert spec(result, "HTTPRoute/app-80")["parentRefs"] == [{"group": "", "kind": "Service", "name": "app", "port": 80}]
    assert spec(result, "HTTPRoute/app-81")["rules"][0]["backendRefs"] == [{"name": "app", "port": 81}]
    assert len(objects(result)) == 2


def test_more_rules_than_a_route_may_have_become_two_in_their_order() -> None:
    rules = ", ".join(f"{{match: [{{uri: {{exact: /{number}}}}}], route: [{{destination: {{host: b0}}}}]}}" for number in range(20))
    result = made(f"[{rules}]")
    assert [len(spec(result, f"HTTPRoute/app-{number}")["rules"]) for number in (1, 2)] == [16, 4]
    assert ("VirtualService", "app") in [(item["kind"], item["name"]) for item in result.removals]


def test_an_answer_of_the_proxy_has_no_form() -> None:
    result = made("[{match: [{uri: {exact: /x}}], directResponse: {status: 503}}, {route: [{destination: {host: app}}]}]")
    first, _ = spec(result, "HTTPRoute/app")["rules"]
    assert first == {"matches": [{"path": {"type": "Exact", "value": "/x"}}]}  # without a backend the requests are refused
    assert [finding.severity for finding in result.findings if finding.code == "MP352"] == ["error"]


def test_a_service_that_is_not_in_the_input_is_not_guessed() -> None:
    result = made("[{route: [{destination: {host: app, subset: v1}}]}]", world="", rest=SUBSETS)
    assert objects(result) == {}
    assert "MP301" in codes(result)
    assert result.removals == []  # neither the rules nor the subsets that they send to


LINKERD_ROUTE = """---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata:
  name: app
  namespace: shop
  annotations: {retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "2", retry.linkerd.io/timeout: 400ms}
spec:
  parentRefs: [{group: core, kind: Service, name: app, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /a}}]
    backendRefs: [{name: b0, port: 80, weight: 90}, {name: b1, port: 80, weight: 10}]
    timeouts: {request: 5s}
"""


def test_a_route_of_linkerds_own_group_becomes_one_of_the_gateway_api() -> None:
    result = convert(WORLD + LINKERD_ROUTE, "linkerd", "gateway-api")
    written = objects(result)["HTTPRoute/app"]
    assert written["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert "annotations" not in written["metadata"]
    assert written["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "app", "port": 80}]
    (rule,) = written["spec"]["rules"]
    assert [item["weight"] for item in rule["backendRefs"]] == [9, 1]
    assert rule["timeouts"] == {"request": "5s", "backendRequest": "400ms"}
    assert rule["retry"]["attempts"] == 2
    assert [(item["apiVersion"], item["kind"]) for item in result.removals] == [("policy.linkerd.io/v1beta3", "HTTPRoute")]


@pytest.mark.parametrize("kind", ["GRPCRoute", "TCPRoute"])
def test_other_routes_lose_only_the_group_that_linkerd_invented(kind: str) -> None:
    route = f"""---
apiVersion: gateway.networking.k8s.io/{"v1" if kind == "GRPCRoute" else "v1alpha2"}
kind: {kind}
metadata: {{name: app, namespace: shop}}
spec:
  parentRefs: [{{group: core, kind: Service, name: app, port: 80}}]
  rules: [{{backendRefs: [{{name: b0, port: 80}}]}}]
"""
    result = convert(WORLD + route, "linkerd", "gateway-api")
    assert spec(result, f"{kind}/app")["parentRefs"][0]["group"] == ""
    assert spec(result, f"{kind}/app")["rules"] == [{"backendRefs": [{"name": "b0", "port": 80}]}]
    assert result.removals == []


CORS = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - corsPolicy: {%s}
    route: [{destination: {host: cart, port: {number: 80}}}]
"""


def cors(policy: str) -> tuple[dict[str, Any], set[str]]:
    result = meshport.convert(meshport.load_text(CORS % policy), source="istio", target="gateway-api")
    (route,) = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    found = [item["cors"] for item in route["spec"]["rules"][0].get("filters", ())]
    return (found[0] if found else {}), {item.code for item in result.findings if item.severity != "info"}


def test_the_old_list_of_origins_is_one_of_exact_ones() -> None:
    assert cors('allowOrigin: ["https://a.test"]') == ({"allowOrigins": ["https://a.test"]}, set())


def test_the_old_list_of_origins_is_not_asked_beside_the_new_one() -> None:
    assert cors('allowOrigin: ["https://a.test"], allowOrigins: [{exact: "https://b.test"}]') == (
        {"allowOrigins": ["https://b.test"]},
        set(),
    )


def test_a_method_that_the_filter_does_not_know_is_left_out_with_a_finding() -> None:
    found, codes = cors('allowOrigins: [{exact: "https://a.test"}], allowMethods: [GET, PURGE]')
    assert found["allowMethods"] == ["GET"]
    assert codes == {"MP320"}
