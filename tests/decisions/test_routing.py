"""Where requests go, decision by decision: canaries, weights, order, what falls through, filters, names of ports; then retries and timeouts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .decision_helper import convert, namespace, said, service, spec, thing, workload, written

ISTIO = namespace() + service("app") + workload("app") + service("b") + workload("b")
LINKERD = namespace(mesh="linkerd") + service("app") + workload("app") + service("b") + workload("b")
SUBSETS = thing("networking.istio.io/v1", "DestinationRule", "{host: app, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}", "app")  # fmt: skip


def virtual_service(http: str) -> str:
    return thing("networking.istio.io/v1", "VirtualService", f"{{hosts: [app], http: {http}}}", "app")


def http_route(rules: str, metadata: str = "") -> str:
    parents = "[{group: core, kind: Service, name: app, port: 80}]"
    return thing("gateway.networking.k8s.io/v1", "HTTPRoute", f"{{parentRefs: {parents}, rules: {rules}}}", "app", metadata=metadata)


def profile(routes: str, more: str = "") -> str:
    return thing("linkerd.io/v1alpha2", "ServiceProfile", f"{{routes: {routes}{more}}}", "app.shop.svc.cluster.local")


def rules(result: Any, name: str = "app") -> Any:
    return spec(result, "HTTPRoute", name)["rules"]


def http(result: Any) -> Any:
    return spec(result, "VirtualService", "app")["http"]


CANARY = virtual_service(
    "[{route: [{destination: {host: app, subset: v1}, weight: 90}, {destination: {host: app, subset: v2}, weight: 10}]}]"
)


# -- canaries


@pytest.mark.parametrize(
    ("target", "parent"),
    [
        ("linkerd", {"group": "core", "kind": "Service", "name": "app", "port": 80}),
        ("cilium", {"group": "", "kind": "Service", "name": "app"}),
        ("gateway-api", {"group": "", "kind": "Service", "name": "app"}),
    ],
)
def test_subsets_become_services_and_weights_the_smallest_of_their_ratio(target: str, parent: dict[str, Any]) -> None:
    result = convert(ISTIO + SUBSETS + CANARY, "istio", target)
    assert spec(result, "Service", "app-v2") == {
        "selector": {"app": "app", "version": "v2"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    assert spec(result, "HTTPRoute", "app")["parentRefs"] == [parent]
    assert rules(result) == [{"backendRefs": [{"name": "app-v1", "port": 80, "weight": 9}, {"name": "app-v2", "port": 80, "weight": 1}]}]
    assert not said(result, "MP301")


def test_several_ports_of_a_service_are_more_than_a_route_of_cilium_can_tell_apart() -> None:
    two = "[{name: http, port: 80, targetPort: 8080}, {name: http-b, port: 81, targetPort: 8081}]"
    world = namespace() + service("app", two) + workload("app")
    result = convert(world + SUBSETS + CANARY, "istio", "cilium")
    assert said(result, "MP363") and written(result, "HTTPRoute") == {}
    assert said(result, "MP368")[0].severity == "error" and "on the ports 81" in said(result, "MP368")[0].message
    assert [entry["ports"] for entry in written(result, "CiliumEnvoyConfig")["app-meshport"]["spec"]["services"]] == [[80]]
    told = CANARY.replace("subset: v1", "subset: v1, port: {number: 80}").replace("subset: v2", "subset: v2, port: {number: 80}")
    assert told.count("number: 80") == 2
    result = convert(world + SUBSETS + told, "istio", "cilium")  # requests for either port go to port 80
    assert not said(result, "MP368") and len(written(result, "HTTPRoute")["app"]["spec"]["rules"]) == 1
    outside = CANARY.replace("[{route:", "[{match: [{uri: {prefix: /x}}], route: [{destination: {host: example.com}}]}, {route:", 1)
    result = convert(world + SUBSETS + outside, "istio", "cilium")
    assert said(result, "MP372")[0].severity == "error" and written(result, "HTTPRoute") == written(result, "CiliumEnvoyConfig") == {}


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_without_the_service_nothing_is_guessed(target: str) -> None:
    result = convert(namespace() + SUBSETS + CANARY, "istio", target)
    assert written(result, "Service") == {} and written(result, "HTTPRoute") == {}
    assert said(result, "MP301")[0].severity == "error"


@pytest.mark.parametrize(
    ("given", "wanted"), [((9, 1), (90, 10)), ((1, 1), (50, 50)), ((900, 100), (90, 10)), ((1, 2), (1, 2)), ((0, 5), (0, 100)), ((4, 6), (40, 60)), ((3, 6), (1, 2))]
)  # fmt: skip
def test_weights_of_a_virtual_service_add_up_to_a_hundred_where_they_can(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    route = http_route(f"[{{backendRefs: [{{name: app, port: 80, weight: {given[0]}}}, {{name: b, port: 80, weight: {given[1]}}}]}}]")
    ((rule),) = http(convert(LINKERD + route, "linkerd", "istio"))
    assert tuple(item["weight"] for item in rule["route"]) == wanted


def test_zero_stays_zero_and_one_destination_without_a_weight_is_all() -> None:
    split = virtual_service("[{route: [{destination: {host: app}, weight: 0}, {destination: {host: b}, weight: 100}]}]")
    assert [item.get("weight") for item in rules(convert(ISTIO + split, "istio", "linkerd"))[0]["backendRefs"]] == [0, 1]
    alone = virtual_service("[{route: [{destination: {host: app}}]}]")
    assert rules(convert(ISTIO + alone, "istio", "linkerd")) == [{"backendRefs": [{"name": "app", "port": 80}]}]


NODE = ", internalTrafficPolicy: Local"


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_services_made_for_subsets_give_their_clients_the_endpoints_that_the_service_gives(target: str) -> None:
    world = namespace() + service("app", more=NODE + ", trafficDistribution: PreferClose") + workload("app")
    result = convert(world + SUBSETS + CANARY, "istio", target)
    assert {"internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}.items() <= spec(result, "Service", "app-v2").items()


def test_of_the_meshes_only_ciliums_envoy_and_old_linkerd_send_to_other_nodes_than_the_service_says() -> None:
    world = namespace() + service("app", more=NODE) + workload("app")
    assert not said(convert(world + CANARY + SUBSETS, "istio", "linkerd"), "MP381")
    assert said(convert(world, "istio", "linkerd", target_version="2.12"), "MP381")
    assert not said(convert(world, "istio", "cilium"), "MP381")  # without a route the datapath chooses, and keeps to it
    assert said(convert(world + CANARY + SUBSETS, "istio", "cilium"), "MP381")[0].severity == "warning"


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_what_envoy_did_not_keep_to_stops_requests_from_other_nodes(target: str) -> None:
    route = (
        http_route("[{backendRefs: [{name: app, port: 80}]}]")
        .replace("group: core", 'group: ""')
        .replace(", port: 80}], rules", "}], rules")
    )
    world = namespace(mesh="cilium") + service("app", more=NODE) + workload("app")
    assert said(convert(world + route, "cilium", target), "MP382")[0].severity == "error"
    assert not said(convert(world, "cilium", target), "MP382")


# -- what a request that no rule takes gets


def test_a_service_profile_lets_requests_through_that_no_route_takes() -> None:
    result = convert(LINKERD + profile("[{name: a, condition: {method: GET, pathRegex: /a}}]"), "linkerd", "istio")
    assert [rule.get("match") for rule in http(result)] == [[{"method": {"exact": "GET"}, "uri": {"exact": "/a"}}], None]
    assert {rule["route"][0]["destination"]["host"] for rule in http(result)} == {"app.shop.svc.cluster.local"}


def test_a_virtual_service_answers_404_and_so_does_a_route() -> None:
    result = convert(ISTIO + virtual_service("[{match: [{uri: {prefix: /a/}}], route: [{destination: {host: b}}]}]"), "istio", "linkerd")
    ((rule),) = rules(result)
    assert [match["path"]["value"] for match in rule["matches"]] == ["^/a/.*$"] and rule["backendRefs"][0]["name"] == "b"


def test_a_service_profile_silences_routes_and_annotations_and_leaves_with_them() -> None:
    world = (
        namespace(mesh="linkerd")
        + service("app", notes="{balancer.linkerd.io/failure-accrual: consecutive}")
        + workload("app")
        + service("b")
    )
    result = convert(
        world + profile("[{name: a, condition: {pathRegex: /.*}}]") + http_route("[{backendRefs: [{name: b, port: 80}]}]"),
        "linkerd",
        "linkerd",
    )
    assert {"ServiceProfile"} <= {item["kind"] for item in result.removals}
    (left,) = written(result, "HTTPRoute").values()
    assert [rule.get("backendRefs") for rule in left["spec"]["rules"]] == [
        None
    ]  # to the Service itself: what the silenced route said was not in force
    assert said(result, "MP335") and said(result, "MP507")
    assert "failure-accrual" not in str(written(result, "Service")["app"]["metadata"])


def test_the_first_match_decides_whatever_the_target_ranks_first() -> None:
    first_prefix = virtual_service(
        "[{match: [{uri: {prefix: /}}], route: [{destination: {host: app}}]}, {match: [{uri: {exact: /a}}], route: [{destination: {host: b}}]}]"
    )
    for target in ("linkerd", "cilium", "gateway-api"):
        assert [backend["name"] for rule in rules(convert(ISTIO + first_prefix, "istio", target)) for backend in rule["backendRefs"]] == [
            "app"
        ]


@pytest.mark.parametrize("name", ["api.partner.example", "app.shop.svc"])
@pytest.mark.parametrize("target", ["istio", "cilium", "gateway-api", "linkerd"])
def test_a_profile_that_linkerd_looks_up_for_nobody_is_nothing(name: str, target: str) -> None:
    outside = profile("[{name: a, timeout: 1s, condition: {pathRegex: /a}}]").replace("app.shop.svc.cluster.local", name)
    result = convert(LINKERD + outside, "linkerd", target)
    assert said(result, "MP380")[0].severity == "warning"
    assert written(result, "VirtualService") == written(result, "HTTPRoute") == {}
    assert {line.disposition for line in result.ledger if line.path.startswith("spec.routes")} == {"invalid"}


@pytest.mark.parametrize(
    "empty", [profile("[]"), thing("split.smi-spec.io/v1alpha1", "TrafficSplit", "{service: app, backends: []}", "app")]
)
def test_what_says_nothing_of_a_service_leaves_its_annotations_in_force(empty: str) -> None:
    noted = namespace(mesh="linkerd") + service("app", notes="{timeout.linkerd.io/request: 3s}") + workload("app")
    (rule,) = http(convert(noted + empty, "linkerd", "istio"))
    assert rule["timeout"] == "3s"


# -- what the target has not


def test_linkerd_gets_no_filter_that_would_void_its_route() -> None:
    result = convert(
        ISTIO + virtual_service("[{match: [{uri: {prefix: /a/}}], rewrite: {uri: /b/}, route: [{destination: {host: b}}]}, {mirror: {host: b}, route: [{destination: {host: app}}]}]"),
        "istio", "linkerd",
    )  # fmt: skip
    assert "filters" not in str(rules(result)) and len(rules(result)) == 1
    assert [finding.severity for finding in said(result, "MP351") + said(result, "MP354")] == ["error", "warning"]


def test_each_mirror_that_linkerd_has_not_is_named() -> None:
    several = (
        "[{mirrors: [{destination: {host: b}, percentage: {value: 5}}, {destination: {host: app}}], route: [{destination: {host: app}}]}]"
    )
    found = said(convert(ISTIO + virtual_service(several), "istio", "linkerd"), "MP354")
    assert sorted(finding.message.rpartition("the mirror to ")[2] for finding in found) == [
        "app.shop.svc.cluster.local is left out",
        "b.shop.svc.cluster.local is left out",
    ]


def test_cilium_copies_requests_and_delays_none() -> None:
    result = convert(
        ISTIO
        + virtual_service(
            "[{fault: {delay: {fixedDelay: 5s, percentage: {value: 10}}}, mirror: {host: b}, route: [{destination: {host: app}}]}]"
        ),
        "istio",
        "cilium",
    )
    assert [item["type"] for item in rules(result)[0]["filters"]] == ["RequestMirror"]
    assert {finding.severity for finding in said(result, "MP355")} == {"warning"}


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_no_route_attaches_to_a_headless_service(target: str) -> None:
    headless = service("app").replace("{selector", "{clusterIP: None, selector")
    result = convert(
        namespace() + headless + workload("app") + virtual_service("[{timeout: 3s, route: [{destination: {host: app}}]}]"), "istio", target
    )
    assert written(result, "HTTPRoute") == {} and said(result, "MP303")[0].severity == "error"


# -- names of ports


@pytest.mark.parametrize(
    ("protocol", "wanted"),
    [("http", {"http", None}), ("http2", {"kubernetes.io/h2c"}), ("grpc", {"kubernetes.io/h2c"}), ("kubernetes.io/h2c", {"kubernetes.io/h2c"}), ("mysql", {"linkerd.io/opaque"}), ("tcp", {"linkerd.io/opaque"}), ("some.io/x", {None})],
)  # fmt: skip
def test_linkerd_reads_three_protocols_of_a_port_and_takes_any_other_for_bytes(protocol: str, wanted: set[str | None]) -> None:
    world = namespace() + service("app", f"[{{name: p, appProtocol: {protocol}, port: 80}}]") + workload("app")
    found = written(convert(world, "istio", "linkerd"), "Service").get("app")
    said_of_it = found["spec"]["ports"][0].get("appProtocol") if found else protocol
    assert said_of_it in wanted


def test_ports_of_bytes_are_listed_on_the_service_and_on_the_pods_beside_linkerds_own() -> None:
    world = namespace() + service("app", "[{name: tcp-x, port: 1234, targetPort: 5678}]") + workload("app", "[{containerPort: 5678}]")
    result = convert(world, "istio", "linkerd")
    of_service = written(result, "Service")["app"]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"].split(",")
    of_pods = spec(result, "Deployment", "app")["template"]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"].split(",")
    assert "1234" in of_service and "5678" in of_pods
    assert {"25", "587", "3306", "4444", "5432", "6379", "9300", "11211"} <= set(of_service) & set(of_pods)


@pytest.mark.parametrize("mesh", ["cilium", "gateway-api"])
def test_a_port_where_a_route_acts_is_no_port_of_bytes_to_linkerd_whatever_its_name(mesh: str) -> None:
    """Only Istio reads names like `tcp-x`; an opaque port would switch the route off."""
    world = namespace() + service("app", "[{name: tcp-x, port: 80}, {name: tcp-y, port: 81}]") + workload("app", "[{containerPort: 80}]")
    result = convert(world + http_route("[{timeouts: {request: 2s}, backendRefs: [{name: app, port: 80}]}]"), mesh, "linkerd")
    opaque = written(result, "Service")["app"]["metadata"]["annotations"]["config.linkerd.io/opaque-ports"].split(",")
    assert "81" in opaque and "80" not in opaque
    assert [rule["timeouts"] for rule in rules(result)] == [{"request": "2s"}] and not said(result, "MP900")


def test_opaque_ports_are_tcp_to_istio() -> None:
    opaque = service("app", notes="{config.linkerd.io/opaque-ports: '80'}")
    ports = spec(convert(namespace(mesh="linkerd") + opaque + workload("app"), "linkerd", "istio"), "Service", "app")["ports"]
    assert [port["appProtocol"] for port in ports] == ["tcp"]


@pytest.mark.parametrize(
    ("kind", "path"), [("Exact", "/a//b"), ("PathPrefix", "/a//b"), ("PathPrefix", "/a%2fb"), ("PathPrefix", "/x/../y")]
)
def test_a_path_that_only_linkerd_admits_is_an_expression(kind: str, path: str) -> None:
    matches = f"[{{matches: [{{path: {{type: {kind}, value: '{path}'}}}}], backendRefs: [{{name: b, port: 80}}]}}, {{backendRefs: [{{name: app, port: 80}}]}}]"
    route = http_route(matches).replace("gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3")
    found = rules(convert(LINKERD + route, "linkerd", "gateway-api"))[0]["matches"][0]["path"]
    assert found["type"] == "RegularExpression"
    assert bool(re.fullmatch(found["value"], f"{path}/z")) is (kind == "PathPrefix") and re.fullmatch(found["value"], path)


def test_a_path_that_begins_with_no_slash_makes_linkerd_refuse_the_route() -> None:
    route = http_route("[{matches: [{path: {value: api}}], backendRefs: [{name: b, port: 80}]}]")
    result = convert(LINKERD + route.replace("gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3"), "linkerd", "cilium")
    assert [finding.severity for finding in said(result, "MP072")] == ["error"] and not written(result, "HTTPRoute")


# -- retries and timeouts


def retried(settings: str) -> str:
    return virtual_service(f"[{{retries: {settings}, route: [{{destination: {{host: app}}}}]}}]")


def test_retries_become_annotations_condition_by_condition() -> None:
    result = convert(ISTIO + retried('{attempts: 3, perTryTimeout: 2s, retryOn: "gateway-error,connect-failure,429"}'), "istio", "linkerd")
    notes = written(result, "HTTPRoute")["app"]["metadata"]["annotations"]
    assert notes == {"retry.linkerd.io/http": "gateway-error,429", "retry.linkerd.io/limit": "3", "retry.linkerd.io/timeout": "2s"}
    assert "connect-failure" in said(result, "MP402")[0].message and said(result, "MP402")[0].severity == "warning"


@pytest.mark.parametrize("retry", ["{attempts: 3}", "{attempts: 3, codes: []}"])
def test_a_retry_that_names_no_code_is_about_the_connection(retry: str) -> None:
    route = http_route(f"[{{retry: {retry}, backendRefs: [{{name: b, port: 80}}]}}]").replace("core", "''")
    istio = convert(ISTIO + route, "gateway-api", "istio")
    assert [rule["retries"] for rule in http(istio)] == [{"attempts": 3, "retryOn": "connect-failure,refused-stream"}]
    linkerd = convert(ISTIO + route, "gateway-api", "linkerd")  # which retries refused streams by itself, and no failed connection
    assert "conditions connect-failure;" in said(linkerd, "MP402")[0].message


def test_rules_that_differ_in_their_retries_are_routes_of_their_own() -> None:
    two = virtual_service(
        "[{match: [{uri: {prefix: /a/}}], retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: app}}]}, {retries: {attempts: 5, retryOn: gateway-error}, route: [{destination: {host: app}}]}]"
    )
    routes = written(convert(ISTIO + two, "istio", "linkerd"), "HTTPRoute")
    assert [item["metadata"]["annotations"]["retry.linkerd.io/limit"] for _, item in sorted(routes.items())] == ["1", "5"]


@pytest.mark.parametrize(("settings", "times"), [("{}", 1), ("{attempts: 0}", 0)])
def test_the_retries_that_istio_makes_unasked_are_one_info_a_service(settings: str, times: int) -> None:
    plain = virtual_service("[{match: [{uri: {prefix: /a/}}], route: [{destination: {host: app}}]}, {route: [{destination: {host: app}}]}]")
    found = said(convert(ISTIO + (plain if settings == "{}" else retried(settings)), "istio", "linkerd"), "MP401")
    assert [finding.severity for finding in found if finding.affects[0].workload == "app"] == ["info"] * times
    assert [finding.severity for finding in found if finding.affects[0].workload == "b"] == [
        "info"
    ]  # which has no rules, and is retried all the same


def test_to_istio_retries_are_switched_off_in_the_mesh_and_on_each_route() -> None:
    result = convert(LINKERD + http_route("[{backendRefs: [{name: b, port: 80}]}]"), "linkerd", "istio")
    assert result.install["helm_values"]["istiod"] == {"meshConfig": {"defaultHttpRetryPolicy": {"attempts": 0}}}
    assert [rule["retries"] for rule in http(result)] == [{"attempts": 0}]


BUDGET = ", retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}"


@pytest.mark.parametrize(
    ("release", "budget"),
    [("1.26", None), ("1.27", {"percent": 20.0, "minRetryConcurrency": 10}), ("1.31", {"percent": 20.0, "minRetryConcurrency": 10, "budgetInterval": "10s"})],
)  # fmt: skip
def test_a_retry_budget_needs_an_istio_that_has_one(release: str, budget: dict[str, Any] | None) -> None:
    result = convert(
        LINKERD + profile("[{name: r, isRetryable: true, condition: {pathRegex: /.*}}]", BUDGET), "linkerd", "istio", target_version=release
    )
    assert [rule["retries"] for rule in http(result)] == [{"attempts": 1, "retryOn": "5xx"}]
    assert said(result, "MP403")[0].severity == "warning"
    if budget is None:
        assert written(result, "DestinationRule") == {} and any("no retry budget" in finding.message for finding in said(result, "MP451"))
    else:
        assert spec(result, "DestinationRule", "app")["trafficPolicy"] == {"retryBudget": budget}


def test_a_budget_without_a_retryable_route_retries_nothing() -> None:
    result = convert(LINKERD + profile("[{name: r, condition: {pathRegex: /.*}}]", BUDGET), "linkerd", "istio")
    assert [rule["retries"] for rule in http(result)] == [{"attempts": 0}] and written(result, "DestinationRule") == {}


@pytest.mark.parametrize(("release", "written_there"), [("2.15", False), ("2.16", True)])
def test_retries_to_an_older_linkerd_are_lost_and_said(release: str, written_there: bool) -> None:
    result = convert(ISTIO + retried("{attempts: 3, retryOn: 5xx}"), "istio", "linkerd", target_version=release)
    assert ("retry.linkerd.io/limit" in str(written(result, "HTTPRoute"))) is written_there
    assert {finding.disposition for finding in said(result, "MP452")} == (set() if written_there else {"dropped"})


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize(("given", "wanted"), [("1h30m", "90m"), ("1.5s", "1500ms"), ("3s", "3s"), ("0.25s", "250ms")])
def test_durations_have_one_unit_and_no_fraction(target: str, given: str, wanted: str) -> None:
    result = convert(ISTIO + virtual_service(f"[{{timeout: {given}, route: [{{destination: {{host: app}}}}]}}]"), "istio", target)
    assert rules(result)[0]["timeouts"] == {"request": wanted}


@pytest.mark.parametrize(
    ("timeouts", "wanted"), [("{request: 5s, backendRequest: 1s}", "1s"), ("{backendRequest: 1s}", "1s"), ("{request: 5s, backendRequest: 5s}", "5s"), ("{request: 5s}", "5s")]
)  # fmt: skip
def test_the_timeout_of_the_only_try_is_that_of_the_request(timeouts: str, wanted: str) -> None:
    route = http_route(f"[{{timeouts: {timeouts}, backendRefs: [{{name: app, port: 80}}]}}]").replace(
        "{group: core, kind: Service, name: app, port: 80}", "{group: '', kind: Service, name: app}"
    )
    result = convert(namespace(mesh="plain") + service("app") + workload("app") + route, "cilium", "istio")
    assert [rule["timeout"] for rule in http(result)] == [wanted]


def test_from_istio_to_istio_a_virtual_service_stays_one_and_that_is_said_where_routes_are_asked_for() -> None:
    asked = convert(ISTIO + SUBSETS + CANARY, "istio", "istio", routes="gateway-api")
    assert (written(asked, "HTTPRoute"), asked.removals) == ({}, [])
    assert "(1, the first is VirtualService shop/app)" in said(asked, "MP395")[0].message
    assert not said(convert(ISTIO + SUBSETS + CANARY, "istio", "istio"), "MP395")


@pytest.mark.parametrize(
    ("said_as", "several", "single"),
    [("90s", "90s", "90s"), ("100.5s", "1m40s500ms", "101s"), ("100000s", "27h46m40s", "1667m"), ("1h30m", "90m", "90m")],
)
def test_a_timeout_has_five_digits_before_each_unit_and_one_unit_for_linkerd(said_as: str, several: str, single: str) -> None:
    text = ISTIO + virtual_service(f"[{{timeout: {said_as}, retries: {{attempts: 0}}, route: [{{destination: {{host: app}}}}]}}]")
    for target in ("cilium", "gateway-api"):
        assert rules(convert(text, "istio", target))[0]["timeouts"] == {"request": several}
    linkerd = convert(text, "istio", "linkerd")
    assert rules(linkerd)[0]["timeouts"] == {"request": single}
    assert bool(said(linkerd, "MP396")) == (several != single)


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_the_pause_before_a_retry_is_that_of_the_route(target: str) -> None:
    text = ISTIO + virtual_service("[{retries: {attempts: 2, retryOn: '503', backoff: 1.5s}, route: [{destination: {host: app}}]}]")
    assert rules(convert(text, "istio", target))[0]["retry"] == {"codes": [503], "attempts": 2, "backoff": "1500ms"}


@pytest.mark.parametrize("copies", ["mirror: {host: cart}, mirrorPercentage: {}", "mirrors: [{destination: {host: cart}, percentage: {}}]"])
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_share_that_says_nothing_is_none_of_the_requests(copies: str, target: str) -> None:
    rule = f"{{{copies}, fault: {{abort: {{httpStatus: 500, percentage: {{}}}}}}, route: [{{destination: {{host: app}}}}]}}"
    result = convert(virtual_service(f"[{rule}]") + namespace() + service("app") + workload("app") + service("cart"), "istio", target)
    assert "filters" not in spec(result, "HTTPRoute", "app")["rules"][0]
    assert [item.code for item in result.findings if item.code in ("MP320", "MP354", "MP355")] == []


@pytest.mark.parametrize(("beside", "kept"), [(", gateways: [mesh]", True), ("", False)])
def test_beside_gateways_istio_looks_at_no_labels_of_the_client(beside: str, kept: bool) -> None:
    rules = f"[{{match: [{{sourceLabels: {{app: cart}}{beside}}}], route: [{{destination: {{host: cart}}}}]}}, {{route: [{{destination: {{host: app}}}}]}}]"
    result = convert(virtual_service(rules) + namespace() + service("app") + workload("app") + service("cart"), "istio", "linkerd")
    first = spec(result, "HTTPRoute", "app")["rules"][0]
    assert first == {"backendRefs": [{"name": "cart" if kept else "app", "port": 80}]}
    assert ("MP319" in {item.code for item in result.findings}) != kept


@pytest.mark.parametrize("protocol", ["grpc", "https", "linkerd.io/opaque"])
def test_a_route_on_a_port_that_linkerd_takes_for_bytes_never_acted_and_acts_nowhere(protocol: str) -> None:
    text = (
        namespace(mesh="linkerd")
        + service("app", f"[{{name: http, port: 80, targetPort: 8080, appProtocol: {protocol}}}]")
        + workload("app")
    )
    rule = "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}], backendRefs: [{name: app, port: 80}]}"
    route = thing(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        f"{{parentRefs: [{{group: '', kind: Service, name: app, port: 80}}], rules: [{rule}]}}",
        "app",
    )
    for target in ("istio", "cilium"):
        result = convert(text + route, "linkerd", target)
        assert {"VirtualService", "HTTPRoute"}.isdisjoint(item.object["kind"] for item in result.manifests)
        assert said(result, "MP305")
