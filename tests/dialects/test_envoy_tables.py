"""Rules of a Service as the route table of a CiliumEnvoyConfig: where an HTTPRoute of Cilium would be for every port, or ask in another order, or where `--routes native` asks for it."""

from __future__ import annotations

import re
from typing import Any

import pytest

import meshport
from meshport.dialects.output import Output
from tests.decisions.decision_helper import convert, namespace, said, service, thing, workload, written

TWO = "[{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 8081}]"
PORTS = "[{containerPort: 8080}, {containerPort: 8081}]"
WORLD = namespace() + service("web") + workload("web") + service("api") + workload("api")
MULTI = namespace() + service("web", TWO) + workload("web", PORTS) + service("api") + workload("api")
HTTP = "networking.istio.io/v1"
BREAKER = "outlierDetection: {consecutive5xxErrors: 7, baseEjectionTime: 1m}, connectionPool: {tcp: {maxConnections: 100}}"


def rules(*http: str) -> str:
    return thing(HTTP, "VirtualService", f"{{hosts: [web], http: [{', '.join(http)}]}}", "web")


def to(host: str = "web", more: str = "") -> str:
    return f"route: [{{destination: {{host: {host}{more}}}}}]"


def settings(policy: str, subsets: str = "[]") -> str:
    return thing(HTTP, "DestinationRule", f"{{host: web, trafficPolicy: {{{policy}}}, subsets: {subsets}}}", "web")


def config(result: Any) -> dict[str, Any]:
    (found,) = written(result, "CiliumEnvoyConfig").values()
    return found["spec"]


def routes(result: Any, listener: str) -> list[dict[str, Any]]:
    (table,) = [item for item in config(result)["resources"] if item["@type"].endswith("RouteConfiguration") and item["name"] == listener]
    return table["virtual_hosts"][0]["routes"]


def clusters(result: Any) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in config(result)["resources"] if item["@type"].endswith("Cluster")}


def alike(result: Any) -> bool:
    """Whether requests meet what they met, and nothing of it is called lost."""
    return result.verification.verdict == "equivalent" and not {item.code for item in result.findings} & {
        "MP372",
        "MP327",
        "MP900",
        "MP901",
        "MP904",
    }


def test_a_prefix_whose_case_is_ignored_is_replaced_and_what_follows_it_stays() -> None:
    match = "match: [{uri: {prefix: /Ab}, ignoreUriCase: true}, {uri: {prefix: /c.d}}, {uri: {exact: /e}}]"
    result = convert(WORLD + rules(f"{{{match}, rewrite: {{uri: /new}}, {to()}}}", f"{{{to()}}}"), "istio", "cilium")
    assert alike(result)
    (rewrite,) = {item["route"]["regex_rewrite"]["pattern"]["regex"] for item in routes(result, "web") if "regex_rewrite" in item["route"]}
    assert [re.sub(rewrite, "/new", path) for path in ("/aB/x", "/Ab", "/c.d/x", "/e")] == ["/new/x", "/new", "/new/x", "/new"]


def test_rules_for_a_service_of_several_ports_hold_for_one_of_them() -> None:
    result = convert(
        MULTI + rules(f"{{match: [{{uri: {{prefix: /v2/}}}}], {to('api', ', port: {number: 80}')}}}", f"{{{to()}, timeout: 3s}}"),
        "istio",
        "cilium",
    )
    assert said(result, "MP363")[0].severity == "info" and alike(result) and written(result, "HTTPRoute") == {}
    (found,) = said(result, "MP368")
    assert found.severity == "error" and (found.affects[0].namespace, found.affects[0].workload) == ("shop", "web")
    assert [entry["ports"] for entry in config(result)["services"]] == [[80]]
    assert [(route["match"], route["route"]["cluster"], route["route"]["timeout"]) for route in routes(result, "web")] == [
        ({"prefix": "/v2/"}, "shop/api:80", "0s"), ({"prefix": "/"}, "shop/web:80", "3s")
    ]  # fmt: skip
    assert config(result)["backendServices"] == [
        {"name": "api", "namespace": "shop", "number": ["80"]}, {"name": "web", "namespace": "shop", "number": ["80"]}
    ]  # fmt: skip


def test_rules_that_say_where_requests_for_every_port_go_need_no_port() -> None:
    rule = f"{{match: [{{uri: {{prefix: /v2/}}}}], {to('api', ', port: {number: 80}')}}}"
    result = convert(MULTI + rules(rule, f"{{{to(more=', port: {number: 80}')}, timeout: 3s}}"), "istio", "cilium")
    assert alike(result) and not said(result, "MP363") and not said(result, "MP368")
    assert len(written(result, "HTTPRoute")["web"]["spec"]["rules"]) == 2
    result = convert(MULTI + rules(rule, f"{{{to(more=', port: {number: 80}')}, timeout: 3s}}"), "istio", "cilium", routes="native")
    assert alike(result) and [entry["ports"] for entry in config(result)["services"]] == [[80, 81]] and len(routes(result, "web")) == 2


def test_a_rule_for_one_port_leaves_the_others_alone() -> None:
    result = convert(MULTI + rules(f"{{match: [{{port: 81}}], {to()}, timeout: 2s}}"), "istio", "cilium")
    assert [entry["ports"] for entry in config(result)["services"]] == [[81]] and alike(result)


def test_rules_that_an_httproute_would_ask_in_another_order_stand_as_they_are() -> None:
    first = "{match: [{uri: {regex: '/api/v1/[^/]+'}, method: {exact: GET}, queryParams: {debug: {exact: 'on'}}}], route: [{destination: {host: api}}]}"
    later = "{match: [{queryParams: {debug: {regex: '[0-9]+'}}}, {uri: {prefix: /api/v1/items}}], route: [{destination: {host: web}}], retries: {attempts: 1}}"
    result = convert(WORLD + rules(first, later), "istio", "cilium")
    assert "asks the more specific" in said(result, "MP363")[0].message
    assert alike(result) and [route["route"]["cluster"] for route in routes(result, "web")] == [
        "shop/api:80",
        "shop/web:80",
        "shop/web:80",
    ]


@pytest.mark.parametrize(
    "action", ["directResponse: {status: 503}", f"{to()}, rewrite: {{uriRegexRewrite: {{match: '/a/(.*)', rewrite: '/\\1'}}}}"]
)
def test_what_no_route_of_cilium_does_is_left_to_a_table(action: str) -> None:
    result = convert(WORLD + rules(f"{{match: [{{uri: {{prefix: /a/}}}}], {action}}}", f"{{{to()}}}"), "istio", "cilium")
    assert said(result, "MP363") and alike(result) and len(routes(result, "web")) == 2
    assert not {"MP352", "MP362"} & {item.code for item in result.findings}


def test_routes_and_limits_of_a_service_stand_together_where_native_routes_are_asked_for() -> None:
    split = "{route: [{destination: {host: web, subset: a}, weight: 90}, {destination: {host: web, subset: b}, weight: 10}]}"
    first = f"{{match: [{{uri: {{exact: /plain}}}}], {to()}}}"
    text = WORLD + rules(first, split) + settings(BREAKER, "[{name: a, labels: {version: a}}, {name: b, labels: {version: b}}]")
    assert said(convert(text, "istio", "cilium"), "MP524")
    result = convert(text, "istio", "cilium", routes="native")
    assert not said(result, "MP524") and alike(result)
    assert {name: item["outlier_detection"]["consecutive_5xx"] for name, item in clusters(result).items()} == dict.fromkeys(
        ("shop/web:80", "shop/web-a:80", "shop/web-b:80"), 7
    )
    assert all(item["circuit_breakers"]["thresholds"][0]["max_connections"] == 100 for item in clusters(result).values())


def test_settings_that_subsets_have_apart_are_left_out() -> None:
    split = "{route: [{destination: {host: web, subset: a}, weight: 90}, {destination: {host: web, subset: b}, weight: 10}]}"
    subsets = (
        "[{name: a, labels: {version: a}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 5}}}}, {name: b, labels: {version: b}}]"
    )
    result = convert(WORLD + rules(split) + settings(BREAKER, subsets), "istio", "cilium", routes="native")
    assert {finding.message.partition(":")[0] for finding in said(result, "MP524")} == {"Service shop/web", "Service shop/web subset a"}
    made = {name: item["circuit_breakers"]["thresholds"][0]["max_connections"] for name, item in clusters(result).items()}
    assert alike(result) and made == dict.fromkeys(("shop/web-a:80", "shop/web-b:80"), 4294967295)


@pytest.mark.parametrize(
    ("action", "route"),
    [
        ("directResponse: {status: 503, body: {string: down}}", {"direct_response": {"status": 503, "body": {"inline_string": "down"}}}),
        ("redirect: {uri: /new, redirectCode: 308}", {"redirect": {"path_redirect": "/new", "response_code": "PERMANENT_REDIRECT"}}),
        (f"{to()}, rewrite: {{uri: /, authority: inner.test}}", {"route": {"cluster": "shop/web:80", "timeout": "0s", "prefix_rewrite": "/", "host_rewrite_literal": "inner.test"}}),
        (f"{to()}, rewrite: {{uriRegexRewrite: {{match: '/a/(.*)', rewrite: '/\\1'}}}}",
         {"route": {"cluster": "shop/web:80", "timeout": "0s", "regex_rewrite": {"pattern": {"regex": "/a/(.*)"}, "substitution": "/\\1"}}}),
        (f"{to()}, mirror: {{host: api}}, mirrorPercentage: {{value: 12.5}}",
         {"route": {"cluster": "shop/web:80", "timeout": "0s", "request_mirror_policies": [
             {"cluster": "shop/api:80", "runtime_fraction": {"default_value": {"numerator": 1250, "denominator": "TEN_THOUSAND"}}}]}}),
        (f"{to()}, retries: {{attempts: 3, perTryTimeout: 2s, retryOn: '5xx,503', backoff: 50ms}}",
         {"route": {"cluster": "shop/web:80", "timeout": "0s", "retry_policy": {
             "retry_on": "5xx,retriable-status-codes", "retriable_status_codes": [503], "num_retries": 3, "per_try_timeout": "2s",
             "retry_back_off": {"base_interval": "0.05s"}}}}),
        (f"{to()}, headers: {{request: {{set: {{x-at: '%START_TIME%'}}, remove: [x-b]}}}}",
         {"request_headers_to_add": [{"header": {"key": "x-at", "value": "%START_TIME%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
          "request_headers_to_remove": ["x-b"], "route": {"cluster": "shop/web:80", "timeout": "0s"}}),
    ],
    ids=["answer", "redirect", "prefix", "expression", "copy", "retries", "headers"],
)  # fmt: skip
def test_what_is_done_with_a_request_goes_there_and_back(action: str, route: dict[str, Any]) -> None:
    text = WORLD + rules(f"{{match: [{{uri: {{prefix: /a/}}}}], {action}}}", f"{{{to()}}}")
    result = convert(text, "istio", "cilium", routes="native")
    assert routes(result, "web")[0] == {"match": {"prefix": "/a/"}, **route}
    assert alike(result) and not [
        item for item in result.findings if item.pattern in ("header-changes", "mirroring", "retry") and item.code not in ("MP450",)
    ]
    objects = [*(item.object for item in result.manifests), *result.passed_through]
    back = convert_objects(objects)
    first = written(back, "VirtualService")["web"]["spec"]["http"][0]
    assert first["match"][0]["uri"] == {"prefix": "/a/"}
    for key in ("redirect", "directResponse", "rewrite", "headers"):
        assert (key in first) == (f"{key}:" in action), key
    assert [item["percentage"] for item in first.get("mirrors", [])] == ([{"value": 12.5}] if "mirror" in action else [])


def convert_objects(objects: list[dict[str, Any]]) -> Any:
    return meshport.convert(meshport.load_objects(objects), source="cilium", target="istio")


def test_a_failure_of_a_share_is_a_route_of_its_own() -> None:
    """Envoy draws one number for a request: what fails must not be what would go to one of two destinations."""
    split = "route: [{destination: {host: web}, weight: 51}, {destination: {host: api}, weight: 49}]"
    fault = f"{{match: [{{uri: {{prefix: /a/}}}}], fault: {{abort: {{httpStatus: 503, percentage: {{value: 50}}}}}}, {split}}}"
    result = convert(WORLD + rules(fault, f"{{{to()}}}"), "istio", "cilium")
    failing, passing, _ = routes(result, "web")
    assert failing["match"] == {"prefix": "/a/", "runtime_fraction": {"default_value": {"numerator": 5000, "denominator": "TEN_THOUSAND"}}}
    assert failing["direct_response"] == {"status": 503, "body": {"inline_string": "fault filter abort"}}
    assert passing["match"] == {"prefix": "/a/"} and "weighted_clusters" in passing["route"]
    assert alike(result) and not said(result, "MP355") and "lets no share" in said(result, "MP363")[0].message
    back = convert_objects([*(item.object for item in result.manifests), *result.passed_through])
    assert written(back, "VirtualService")["web"]["spec"]["http"][0]["fault"] == {
        "abort": {"httpStatus": 503, "percentage": {"value": 50.0}}
    }


def test_a_delay_is_lost_and_a_failure_beside_it_is_not() -> None:
    delay, abort = "delay: {fixedDelay: 5s, percentage: {value: 10}}", "abort: {httpStatus: 500, percentage: {value: 10}}"
    result = convert(WORLD + rules(f"{{fault: {{{delay}, {abort}}}, {to()}}}"), "istio", "cilium")
    assert len(routes(result, "web")) == 2 and "the delay" in said(result, "MP355")[0].message and alike(result)
    assert written(convert(WORLD + rules(f"{{fault: {{{delay}}}, {to()}}}"), "istio", "cilium"), "HTTPRoute")
    grpc = convert(
        WORLD + rules(f"{{fault: {{abort: {{grpcStatus: UNAVAILABLE, percentage: {{value: 10}}}}}}, {to()}}}"), "istio", "cilium"
    )
    assert said(grpc, "MP355") and written(grpc, "HTTPRoute")


def test_what_is_not_there_is_answered_404() -> None:
    """A rule of an HTTPRoute without a backend answers 500; 404 it answers where no rule matches."""
    some = convert(WORLD + rules("{match: [{uri: {prefix: /legacy/}}], directResponse: {status: 404}}", f"{{{to()}}}"), "istio", "cilium")
    whole = convert(WORLD + rules("{directResponse: {status: 404}}"), "istio", "cilium")
    for result in (some, whole):
        assert routes(result, "web")[0]["direct_response"] == {"status": 404} and alike(result) and not said(result, "MP352")
    last = convert(WORLD + rules(f"{{match: [{{uri: {{prefix: /a/}}}}], {to()}}}", "{directResponse: {status: 404}}"), "istio", "cilium")
    assert written(last, "HTTPRoute") and not said(last, "MP352")


def test_a_match_on_more_headers_than_a_route_of_the_gateway_api_takes_is_one_of_a_table() -> None:
    many = ", ".join(f"x{number}: {{exact: a}}" for number in range(17))
    result = convert(WORLD + rules(f"{{match: [{{headers: {{{many}}}}}], {to('api')}}}", f"{{{to()}}}"), "istio", "cilium")
    assert len(routes(result, "web")[0]["match"]["headers"]) == 17 and alike(result)


CORS = "corsPolicy: {allowOrigins: [{prefix: https://a}, {regex: '.*b'}], allowMethods: [GET, PUT], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE}"


def test_origins_of_cors_requests_are_told_apart_as_they_were() -> None:
    result = convert(WORLD + rules(f"{{match: [{{uri: {{prefix: /a/}}}}], {CORS}, {to()}}}", f"{{{to()}}}"), "istio", "cilium")
    first, second = routes(result, "web")
    policy = dict(first["typed_per_filter_config"]["envoy.filters.http.cors"])
    assert policy.pop("@type").endswith("cors.v3.CorsPolicy") and "typed_per_filter_config" not in second
    assert policy == {
        "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}, "allow_methods": "GET,PUT", "max_age": "86400",
        "allow_origin_string_match": [{"prefix": "https://a"}, {"safe_regex": {"regex": ".*b"}}], "allow_credentials": True,
        "forward_not_matching_preflights": False,
    }  # fmt: skip
    manager = config(result)["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert [item["name"] for item in manager["http_filters"]] == ["envoy.filters.http.cors", "envoy.filters.http.router"]
    assert alike(result) and not {item.code for item in result.findings} & {"MP320", "MP353"}
    back = convert_objects([*(item.object for item in result.manifests), *result.passed_through])
    assert written(back, "VirtualService")["web"]["spec"]["http"][0]["corsPolicy"] == {
        "allowOrigins": [{"prefix": "https://a"}, {"regex": ".*b"}], "allowMethods": ["GET", "PUT"], "maxAge": "24h", "allowCredentials": True,
        "unmatchedPreflights": "IGNORE",
    }  # fmt: skip
    early = convert(WORLD + rules(f"{{{CORS}, {to()}}}"), "istio", "cilium", target_version="1.19", routes="native")
    assert said(early, "MP353") and "cors" not in str(routes(early, "web"))


def test_hosts_and_headers_that_are_not_there_are_asked_for() -> None:
    asked = "{authority: {prefix: web.}, withoutHeaders: {x-user: {exact: alice}, x-beta: {}}}"
    result = convert(WORLD + rules(f"{{match: [{asked}], {to('api')}}}", f"{{{to()}}}"), "istio", "cilium")
    assert routes(result, "web")[0]["match"]["headers"] == [
        {"name": ":authority", "string_match": {"prefix": "web."}},
        {"name": "x-user", "string_match": {"exact": "alice"}, "invert_match": True, "treat_missing_header_as_empty": True},
        {"name": "x-beta", "present_match": True, "invert_match": True},
    ]
    assert alike(result) and not {item.code for item in result.findings} & {"MP316", "MP319", "MP350"}
    back = convert_objects([*(item.object for item in result.manifests), *result.passed_through])
    match = written(back, "VirtualService")["web"]["spec"]["http"][0]["match"][0]
    assert match == {"authority": {"prefix": "web."}, "withoutHeaders": {"x-user": {"exact": "alice"}, "x-beta": {}}}
    other = f"{{match: [{{withoutHeaders: {{x-user: {{}}}}, sourceNamespace: other}}], {to('api')}}}"
    assert said(convert(WORLD + rules(other, f"{{{to()}}}"), "istio", "cilium"), "MP316")


def test_a_percent_sign_of_another_mesh_is_no_command_of_envoys() -> None:
    spec = (
        "{parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
        "{set: [{name: x-share, value: 50%}]}}], backendRefs: [{name: web, port: 80}]}]}"
    )
    world = namespace(mesh="linkerd") + service("web", TWO) + workload("web", PORTS)
    result = convert(world + thing("policy.linkerd.io/v1beta3", "HTTPRoute", spec, "web"), "linkerd", "cilium")
    assert routes(result, "web")[0]["request_headers_to_add"][0]["header"] == {"key": "x-share", "value": "50%%"} and alike(result)


def test_no_port_is_named_before_cilium_could() -> None:
    result = convert(MULTI + rules(f"{{{to()}, timeout: 3s}}"), "istio", "cilium", target_version="1.15")
    assert written(result, "CiliumEnvoyConfig") == {} and said(result, "MP370")


def test_an_expression_whose_path_is_rewritten_is_an_alternative_of_its_own() -> None:
    rule = f"{{match: [{{uri: {{prefix: /a/}}}}, {{uri: {{regex: '/v[0-9]+/x'}}, queryParams: {{debug: {{exact: 'true'}}}}}}], rewrite: {{uri: /b/}}, {to()}}}"
    result = convert(WORLD + rules(rule), "istio", "cilium")
    assert not said(result, "MP901")
    spec = written(result, "HTTPRoute")["web"]["spec"]["rules"]
    assert [(item["matches"][0]["path"]["type"], item["filters"][0]["urlRewrite"]["path"]["type"]) for item in spec] == [
        ("PathPrefix", "ReplacePrefixMatch"), ("RegularExpression", "ReplaceFullPath")
    ]  # fmt: skip


LIMITED = thing(HTTP, "DestinationRule", f"{{host: api, trafficPolicy: {{{BREAKER}}}}}", "api")
TO_API = rules(f"{{match: [{{uri: {{prefix: /v2/}}}}], {to('api')}}}", f"{{{to()}, timeout: 3s}}")


def connections(result: Any, name: str) -> dict[str, int]:
    (spec,) = [obj["spec"] for obj in written(result, "CiliumEnvoyConfig").values() if obj["spec"]["services"][0]["name"] == name]
    found = [item for item in spec["resources"] if item["@type"].endswith("Cluster")]
    return {item["name"]: item["circuit_breakers"]["thresholds"][0]["max_connections"] for item in found}


def test_the_limits_of_a_service_hold_for_what_the_table_of_another_one_sends_there() -> None:
    """`shop/api:80` is one cluster for the agent, whatever object names it, as it is one for a client of Istio."""
    result = convert(WORLD + TO_API + LIMITED, "istio", "cilium", routes="native")
    assert alike(result) and not said(result, "MP365")
    assert connections(result, "web") == {"shop/web:80": 4294967295, "shop/api:80": 100} and connections(result, "api") == {
        "shop/api:80": 100
    }
    back = convert_objects([*(item.object for item in result.manifests), *result.passed_through])
    assert (
        not said(back, "MP386")
        and written(back, "DestinationRule")["api"]["spec"]["trafficPolicy"]["connectionPool"]["tcp"]["maxConnections"] == 100
    )


def test_the_limits_of_a_service_do_not_hold_for_what_a_route_of_another_one_sends_there() -> None:
    result = convert(WORLD + TO_API + LIMITED, "istio", "cilium")
    (found,) = said(result, "MP365")
    assert written(result, "HTTPRoute") and "for the requests that the rules of Service shop/web send to it" in found.message
    assert [place.workload for place in found.affects] == ["api"]
    assert not said(convert(WORLD + rules(f"{{{to()}, timeout: 3s}}") + LIMITED, "istio", "cilium"), "MP365")


def test_a_hash_is_none_of_a_route_that_divides_requests() -> None:
    hashed = LIMITED.replace(BREAKER, "loadBalancer: {consistentHash: {httpHeaderName: x-user}}")
    split = rules("{route: [{destination: {host: api}, weight: 50}, {destination: {host: web}, weight: 50}]}")
    result = convert(WORLD + split + hashed, "istio", "cilium", routes="native")
    assert "the rules of Service shop/web" in said(result, "MP365")[0].message and alike(result)
    assert not any("hash_policy" in route["route"] for route in named(result, "web"))
    result = convert(WORLD + TO_API + hashed, "istio", "cilium", routes="native")
    assert not said(result, "MP365") and [("hash_policy" in route["route"]) for route in named(result, "web")] == [True, False]


def named(result: Any, name: str) -> list[dict[str, Any]]:
    (spec,) = [obj["spec"] for obj in written(result, "CiliumEnvoyConfig").values() if obj["spec"]["services"][0]["name"] == name]
    (table,) = [item for item in spec["resources"] if item["@type"].endswith("RouteConfiguration")]
    return table["virtual_hosts"][0]["routes"]


def test_a_breaker_of_linkerds_is_not_for_what_the_rules_of_another_service_send_there() -> None:
    notes = "{balancer.linkerd.io/failure-accrual: consecutive}"
    world = namespace(mesh="linkerd") + service("web") + workload("web") + service("api", notes=notes) + workload("api")
    spec = "{parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{backendRefs: [{name: api, port: 80}]}]}"
    result = convert(world + thing("policy.linkerd.io/v1beta3", "HTTPRoute", spec, "web"), "linkerd", "cilium", routes="native")
    found = {
        item["name"]: item
        for obj in written(result, "CiliumEnvoyConfig").values()
        for item in obj["spec"]["resources"]
        if item["@type"].endswith("Cluster")
    }
    assert alike(result) and {name: "outlier_detection" in item for name, item in found.items()} == {
        "shop/api:80": True,
        "shop:api:80": False,
    }
    assert found["shop:api:80"]["eds_cluster_config"] == {"service_name": "shop/api:80"}
    assert [route["route"]["cluster"] for route in named(result, "web")] == ["shop:api:80"]


def test_what_is_asked_of_requests_for_a_port_without_the_table_is_named() -> None:
    first = f"{{match: [{{port: 81, uri: {{prefix: /a}}}}], {to('api')}, retries: {{attempts: 3}}}}"
    result = convert(MULTI + rules(first, f"{{{to()}}}"), "istio", "cilium")
    (found,) = said(result, "MP368")
    assert found.disposition == "dropped" and len(routes(result, "web")) == 1
    lost = {leaf.path for leaf in result.ledger if leaf.disposition == "dropped"}
    assert {"spec.http[0].match[0].uri.prefix", "spec.http[0].route[0].destination.host", "spec.http[0].retries.attempts"} <= lost


def test_a_rule_for_a_port_of_bytes_takes_no_request() -> None:
    world = WORLD.replace(service("web"), service("web", TWO.replace("http-admin", "tcp-data")))
    result = convert(
        world + rules(f"{{match: [{{port: 81, uri: {{prefix: /a}}}}], {to('api')}}}", f"{{{to()}, timeout: 3s}}"), "istio", "cilium"
    )
    assert len(written(result, "HTTPRoute")["web"]["spec"]["rules"]) == 1


def test_headers_that_have_to_be_empty_are_asked_for_in_words_that_are_read() -> None:
    text = WORLD + rules(f"{{match: [{{headers: {{x-user: {{exact: ''}}}}}}], {to('api')}}}", f"{{{to()}}}")
    spec = written(convert(text, "istio", "cilium"), "HTTPRoute")["web"]["spec"]["rules"][0]
    assert spec["matches"][0]["headers"] == [{"name": "x-user", "type": "RegularExpression", "value": "^$"}]
    assert written(convert(text, "istio", "linkerd"), "HTTPRoute")["web"]["spec"]["rules"][0]["matches"] == spec["matches"]
    table = routes(convert(text, "istio", "cilium", routes="native"), "web")
    assert table[0]["match"]["headers"] == [{"name": "x-user", "string_match": {"exact": ""}}]


def test_an_answer_of_the_proxys_own_has_the_headers_that_are_said() -> None:
    answer = "{match: [{uri: {prefix: /a/}}], directResponse: {status: 503}, headers: {response: {set: {x-why: closed}}, request: {set: {x-b: c}}}}"
    result = convert(WORLD + rules(answer, f"{{{to()}}}"), "istio", "cilium")
    assert alike(result) and routes(result, "web")[0]["response_headers_to_add"][0]["header"] == {"key": "x-why", "value": "closed"}


@pytest.mark.parametrize("first", ["{}", "{port: 80}"])
def test_a_match_behind_one_that_takes_every_request_adds_nothing(first: str) -> None:
    text = WORLD + rules(f"{{match: [{first}, {{uri: {{regex: '/[a-z]+'}}}}], rewrite: {{uri: /n/}}, {to('api')}}}")
    assert len(written(convert(text, "istio", "cilium"), "HTTPRoute")["web"]["spec"]["rules"]) == 1


def test_a_delegate_whose_rules_lie_outside_is_no_rule() -> None:
    outer = f"{{match: [{{uri: {{prefix: /a/}}}}], delegate: {{name: inner}}}}, {{{to()}, timeout: 3s}}"
    inner = thing(HTTP, "VirtualService", f"{{http: [{{match: [{{uri: {{prefix: /b/}}}}], {to('api')}}}]}}", "inner")
    result = convert(WORLD + rules(outer) + inner, "istio", "cilium")
    assert not said(result, "MP358") and len(written(result, "HTTPRoute")["web"]["spec"]["rules"]) == 1


def test_settings_of_a_port_that_are_those_of_the_service_go_where_the_port_has_no_table() -> None:
    limits = "connectionPool: {tcp: {maxConnections: 9}}"
    for text in (MULTI, MULTI + rules(f"{{{to()}, timeout: 3s}}")):
        result = convert(text + settings(f"{limits}, portLevelSettings: [{{port: {{number: 81}}, {limits}}}]"), "istio", "cilium")
        assert (
            "port 81" in said(result, "MP524")[0].message
            and clusters(result)["shop/web:80"]["circuit_breakers"]["thresholds"][0]["max_connections"] == 9
        )


def test_settings_of_a_service_are_not_those_of_a_port_that_has_others() -> None:
    rule = (
        "{route: [{destination: {host: web, port: {number: 81}}, weight: 50}, {destination: {host: api, port: {number: 80}}, weight: 50}]}"
    )
    hashed = settings("loadBalancer: {consistentHash: {useSourceIp: true}}, portLevelSettings: [{port: {number: 81}}]")
    result = convert(MULTI + rules(rule) + hashed, "istio", "cilium", routes="native")
    assert said(result, "MP524") and not any("hash_policy" in route["route"] for route in routes(result, "web"))


def test_copies_are_not_told_apart_by_a_hash() -> None:
    text = WORLD + rules(f"{{{to('api')}, mirror: {{host: web}}}}") + settings("loadBalancer: {consistentHash: {httpHeaderName: x-user}}")
    result = convert(text, "istio", "cilium", routes="native")
    assert "consistentHash.httpHeaderName" in said(result, "MP540")[0].message


def test_the_ledger_calls_translated_what_the_table_would_have_otherwise() -> None:
    answer = "{name: closed, match: [{uri: {prefix: /a/}}], directResponse: {status: 503}}"
    behind = f"{{match: [{{port: 81, uri: {{prefix: /b/}}}}], {to('api')}}}"
    result = convert(MULTI + rules(answer, f"{{{to()}}}", behind), "istio", "cilium")
    lines = {item.path: item.disposition for item in result.ledger if item.path.startswith("spec.http")}
    assert lines["spec.http[0].directResponse.status"] == "translated" and lines["spec.http[0].name"] == "irrelevant"
    assert lines["spec.http[2].match[0].port"] != "translated"


def test_a_table_that_sends_nothing_on_is_read_whole() -> None:
    text = WORLD + rules("{match: [{uri: {prefix: /a/}}], redirect: {uri: /b}}", "{directResponse: {status: 503}}")
    result = convert(text, "istio", "cilium", routes="native")
    back = convert_objects([*(item.object for item in result.manifests), *result.passed_through])
    assert not said(back, "MP950") and len(written(back, "VirtualService")["web"]["spec"]["http"]) == 2


@pytest.mark.parametrize("count", [2, 12])
def test_the_output_is_sorted_no_more_often_for_more_services(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    sorted_by: list[Output] = []
    in_order = Output.in_order
    monkeypatch.setattr(Output, "in_order", lambda out: (sorted_by.append(out), in_order(out))[1])
    text = namespace() + "".join(service(f"s{n}") + workload(f"s{n}") for n in range(count))
    for n in range(count):
        text += thing(HTTP, "VirtualService", f"{{hosts: [s{n}], http: [{{{to(f's{n}')}, timeout: 2s}}]}}", f"s{n}")
        text += thing(HTTP, "DestinationRule", f"{{host: s{n}, trafficPolicy: {{{BREAKER}}}}}", f"s{n}")
    result = convert(text, "istio", "cilium", routes="native")
    assert len(written(result, "CiliumEnvoyConfig")) == count and len(sorted_by) < 10
