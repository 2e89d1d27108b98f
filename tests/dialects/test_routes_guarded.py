"""What comes with a route beside its rules: grants, copies, subsets, default retries; and what of it only some meshes act on."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.documents import dump
from meshport.pipeline import Result


def service(name: str, namespace: str = "shop", labels: str = "", ports: str = "[{name: http, port: 80}]", notes: str = "{}") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, annotations: {notes}}}
spec: {{selector: {{{labels or f"app: {name}"}}}, ports: {ports}}}
---
"""


VERSIONS = service("web") + service("web-v1", labels="app: web, version: v1") + service("web-v2", labels="app: web, version: v2")
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
"""


def virtual(rule: str, name: str = "web") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec: {{hosts: [{name}], http: [{rule}]}}
---
"""


def route(rules: str, name: str = "web", notes: str = "{}", group: str = "core", parent: str = "") -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop, annotations: {notes}}}
spec: {{parentRefs: [{{group: "{group}", kind: Service, name: web{parent}}}], rules: {rules}}}
---
"""


def convert(text: str, source: str, target: str, **more: Any) -> Result:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **more)
    assert not {"MP900", "MP901", "MP902"} & {finding.code for finding in result.findings}
    return result


def made(result: Result, kind: str) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


def codes(result: Result) -> set[str]:
    return {finding.code for finding in result.findings}


# -- grants

ELSEWHERE = virtual("{route: [{destination: {host: pay.money.svc.cluster.local}}]}")


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_a_backend_in_another_namespace_gets_a_grant_there(target: str) -> None:
    (grant,) = made(convert(service("web") + service("pay", "money") + ELSEWHERE, "istio", target), "ReferenceGrant")
    assert grant["metadata"]["namespace"] == "money"
    assert grant["spec"] == {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service", "name": "pay"}],
    }


def test_linkerd_asks_for_no_grant_and_one_that_is_there_is_enough() -> None:
    world = service("web") + service("pay", "money") + ELSEWHERE
    assert not made(convert(world, "istio", "linkerd"), "ReferenceGrant")
    there = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: any, namespace: money}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service}]}
---
"""
    assert not made(convert(world + there, "istio", "gateway-api"), "ReferenceGrant")


# -- copies and subsets


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_a_copy_for_a_subset_goes_to_a_service_of_its_own(target: str) -> None:
    rule = virtual("{route: [{destination: {host: web, subset: v1}}], mirror: {host: web, subset: v2}}")
    result = convert(service("web") + SUBSETS + rule, "istio", target)
    (obj,) = made(result, "HTTPRoute")
    assert obj["spec"]["rules"][0]["filters"] == [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web-v2", "port": 80}}}
    ]
    assert {item["metadata"]["name"] for item in made(result, "Service")} >= {"web-v1", "web-v2"}


def test_services_are_subsets_where_that_is_asked_for() -> None:
    text = VERSIONS + route("[{backendRefs: [{name: web-v1, port: 80, weight: 9}, {name: web-v2, port: 80, weight: 1}]}]")
    plain = made(convert(text, "linkerd", "istio"), "VirtualService")[0]["spec"]["http"][0]["route"]
    assert [item["destination"]["host"] for item in plain] == ["web-v1.shop.svc.cluster.local", "web-v2.shop.svc.cluster.local"]
    result = convert(text, "linkerd", "istio", subsets=True)
    listed = made(result, "VirtualService")[0]["spec"]["http"][0]["route"]
    assert [(item["destination"]["host"], item["destination"]["subset"], item["weight"]) for item in listed] == [
        ("web.shop.svc.cluster.local", "v1", 90),
        ("web.shop.svc.cluster.local", "v2", 10),
    ]
    (rule,) = made(result, "DestinationRule")
    assert rule["spec"]["subsets"] == [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]


# -- retries


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_default_retries_are_written_out_on_demand(target: str) -> None:
    text = service("web") + virtual("{route: [{destination: {host: web}}]}")
    rule = virtual("{timeout: 3s, route: [{destination: {host: web}}]}")
    assert "retry" not in str(convert(text, "istio", target).text())
    result = convert(service("web") + rule, "istio", target, preserve_default_retries=True)
    assert made(result, "HTTPRoute")[0]["spec"]["rules"][0]["retry"] == {"attempts": 2}
    assert "MP341" in codes(result)


def test_one_word_that_linkerd_cannot_read_switches_its_retries_off() -> None:
    notes = '{retry.linkerd.io/http: "5xx,reset", retry.linkerd.io/limit: "3"}'
    text = VERSIONS.replace("name: web, namespace: shop, annotations: {}", f"name: web, namespace: shop, annotations: {notes}", 1)
    result = convert(text + route("[{backendRefs: [{name: web-v1, port: 80}]}]"), "linkerd", "istio")
    assert made(result, "VirtualService")[0]["spec"]["http"][0]["retries"] == {"attempts": 0}
    assert "MP342" in codes(result)


@pytest.mark.parametrize(
    "notes",
    [
        'retry.linkerd.io/http: "5xx,reset"',
        "retry.linkerd.io/http: 504-500",
        'retry.linkerd.io/limit: "70000"',
        "retry.linkerd.io/timeout: 1.5s",
        "timeout.linkerd.io/request: 1m30s",
        "timeout.linkerd.io/idle: soon",
    ],
)
def test_a_route_with_a_value_that_linkerds_webhook_refuses_is_not_in_force(notes: str) -> None:
    """policy-controller/runtime/src/admission.rs reads the retries and timeouts of each route of a Service; on a Service nobody checks them."""
    text = VERSIONS + route("[{backendRefs: [{name: web-v1, port: 80}]}]", notes=f"{{{notes}}}")
    result = convert(text, "linkerd", "istio")
    (finding,) = result.findings
    assert (finding.code, finding.severity, result.manifests) == ("MP072", "error", [])
    assert notes.partition(":")[0] in finding.message
    linted = meshport.lint(meshport.load_text(text), source="linkerd")
    assert [one.code for one in linted if one.severity != "info"] == ["MP072"]


# -- who acts on what


def test_a_port_that_istio_takes_for_tcp_is_named() -> None:
    ports = "[{name: http, port: 80}, {name: tcp-data, port: 9090}]"
    text = service("web", ports=ports) + service("cart") + route("[{backendRefs: [{name: cart, port: 80}]}]")
    (finding,) = [item for item in convert(text, "linkerd", "istio").findings if item.code == "MP312"]
    assert (finding.severity, finding.affects[0].port) == ("warning", 9090)
    named = text.replace("name: web}], rules", "name: web, port: 9090}], rules")
    assert [item.severity for item in convert(named, "linkerd", "istio").findings if item.code == "MP312"] == ["error"]


def test_an_order_that_the_api_leaves_open_is_said() -> None:
    rules = """[{matches: [{path: {type: RegularExpression, value: "/api/.*"}}], backendRefs: [{name: web-v1, port: 80}]},
      {matches: [{path: {type: PathPrefix, value: /api/v1}}], backendRefs: [{name: web-v2, port: 80}]}]"""
    assert "MP313" in codes(convert(VERSIONS + route(rules, group=""), "cilium", "gateway-api"))
    apart = rules.replace("/api/v1", "/other")
    assert "MP313" not in codes(convert(VERSIONS + route(apart, group=""), "cilium", "gateway-api"))
    for target, reader, first in (
        ("istio", "the translation", "web-2 before web"),
        ("linkerd", "the translation", "web-2 before web"),
        ("cilium", "Cilium", "web before web-2"),
    ):
        (finding,) = [item for item in convert(VERSIONS + route(rules, group=""), "gateway-api", target).findings if item.code == "MP313"]
        assert (finding.severity, f"{reader} takes {first};" in finding.message) == ("warning", True)
        assert "MP313" not in codes(convert(VERSIONS + route(apart, group=""), "gateway-api", target))
    kept = meshport.convert(
        meshport.load_text(VERSIONS + route(rules, group="")), source="gateway-api", target="istio", routes="gateway-api"
    )
    assert any("Istio takes web-2 before web;" in item.message for item in kept.findings if item.code == "MP313")


def test_an_order_that_holds_for_every_reader_is_not_called_open() -> None:
    rules = """{match: [{method: {exact: GET}}], route: [{destination: {host: web-v1}}], retries: {attempts: 0}},
      {match: [{uri: {regex: "/static/.*"}}], route: [{destination: {host: web-v2}}], retries: {attempts: 0}}"""
    there = convert(VERSIONS + virtual(rules), "istio", "gateway-api")
    text = VERSIONS + dump(made(there, "HTTPRoute"))
    assert "RegularExpression" in text
    for target in ("istio", "linkerd", "cilium"):
        assert "MP313" not in codes(convert(text, "gateway-api", target))


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_last_rule_that_answers_404_is_what_no_rule_of_a_route_takes(target: str) -> None:
    rules = (
        "{match: [{uri: {prefix: /api/}}], route: [{destination: {host: web}}], retries: {attempts: 0}}, {directResponse: {status: 404}}"
    )
    result = convert(service("web") + virtual(rules), "istio", target)
    assert [item.message for item in result.findings if item.code in ("MP352", "MP320")] == []
    assert [len(item["spec"]["rules"]) for item in made(result, "HTTPRoute")] == [1]
    other = convert(service("web") + virtual(rules.replace("404", "403")), "istio", target)
    assert ("MP363" if target == "cilium" else "MP352") in codes(other)
    alone = convert(service("web") + virtual("{directResponse: {status: 404}}"), "istio", target)  # a route needs a rule
    assert ("MP363" if target == "cilium" else "MP352") in codes(alone)


def test_rules_for_one_of_two_ports_come_back_from_istio() -> None:
    ports = "[{name: http, port: 80}, {name: http-admin, port: 8080}]"
    rule = route("[{matches: [{path: {type: PathPrefix, value: /api}}], backendRefs: [{name: web, port: 80}]}]", parent=", port: 80")
    there = convert(service("web", ports=ports) + rule, "linkerd", "istio")
    (virtual_service,) = made(there, "VirtualService")
    text = service("web", ports=ports) + dump([virtual_service])
    back = convert(text, "istio", "linkerd")
    assert [item.message for item in back.findings if item.severity != "info"] == []
    by_port = {item["spec"]["parentRefs"][0]["port"]: item["spec"]["rules"] for item in made(back, "HTTPRoute")}
    assert [len(by_port[80]), "matches" in by_port[80][0], "matches" in by_port[8080][0]] == [1, True, False]


def test_rules_for_a_port_that_pods_take_as_bytes_act_in_clients_all_the_same() -> None:
    """Linkerd's clients go by the list of the Service; that of a pod is for what comes in."""
    ports = "[{name: http, port: 80}, {name: http-admin, port: 9090}]"
    pod = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {config.linkerd.io/opaque-ports: "9090"}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 80}, {containerPort: 9090}]}]}
---
"""
    rule = route("[{backendRefs: [{name: web, port: 9090}], timeouts: {request: 2s}}]", parent=", port: 9090")
    result = convert(service("web", ports=ports) + pod + rule, "linkerd", "istio")
    (made_of,) = made(result, "VirtualService")
    assert [item["timeout"] for item in made_of["spec"]["http"] if item.get("match") == [{"port": 9090}]] == ["2s"]
    assert made(result, "Service") == []


def test_a_breaker_of_a_backend_that_linkerd_does_not_ask_is_said() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
---
"""
    text = service("web") + service("cart") + virtual("{route: [{destination: {host: cart}}]}") + rule
    (finding,) = [item for item in convert(text, "istio", "linkerd").findings if item.code == "MP340"]
    assert (finding.affects[0].workload, finding.severity) == ("web", "warning")
    of_called = text.replace(
        "spec: {host: cart, trafficPolicy", "spec: {host: web, trafficPolicy"
    )  # Istio guards nothing by it that goes to cart
    (finding,) = [item for item in convert(of_called, "istio", "linkerd").findings if item.code == "MP340"]
    assert "go to Service shop/cart were guarded by no breaker" in finding.message
    own = text.replace("{destination: {host: cart}}", "{destination: {host: web}}")
    assert "MP340" not in codes(convert(own, "istio", "linkerd"))


def test_a_route_that_a_profile_had_switched_off_leaves_with_it() -> None:
    profile = """
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {pathRegex: "/.*"}, timeout: 2s}]}
---
"""
    result = convert(VERSIONS + profile + route("[{backendRefs: [{name: web-v1, port: 80}]}]", name="idle"), "linkerd", "gateway-api")
    assert "MP335" in codes(result)
    assert ("HTTPRoute", "idle") in {(item["kind"], item["name"]) for item in result.removals}


def test_routes_for_a_port_and_for_the_whole_service_are_one_list() -> None:
    text = VERSIONS
    text += route("[{matches: [{path: {type: PathPrefix, value: /a}}], backendRefs: [{name: web-v1, port: 80}]}]", name="a", group="")
    text += route("[{backendRefs: [{name: web-v2, port: 80}]}]", name="b", group="", parent=", port: 80")
    http = made(convert(text, "gateway-api", "istio"), "VirtualService")[0]["spec"]["http"]
    assert [item["route"][0]["destination"]["host"].partition(".")[0] for item in http] == ["web-v1", "web-v2"]
    assert "match" not in http[1]


# -- rewrites


@pytest.mark.parametrize(
    ("match", "rewrite", "written"),
    [
        ("{uri: {exact: /old}}", "/new", {"type": "ReplaceFullPath", "replaceFullPath": "/new"}),
        ('{uri: {regex: "/o.*"}}', "/new", {"type": "ReplaceFullPath", "replaceFullPath": "/new"}),
        ("{uri: {prefix: /old/}}", "/new/", {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}),
        ("{method: {exact: GET}}", "/new/", {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new/"}),
    ],
)
def test_a_rewrite_replaces_what_its_match_takes(match: str, rewrite: str, written: dict[str, str]) -> None:
    text = service("web") + virtual(f"{{match: [{match}], rewrite: {{uri: {rewrite}}}, route: [{{destination: {{host: web}}}}]}}")
    (obj,) = made(convert(text, "istio", "gateway-api"), "HTTPRoute")
    assert obj["spec"]["rules"][0]["filters"][0]["urlRewrite"]["path"] == written


def test_a_prefix_without_its_slash_is_said_to_be_replaced_by_elements() -> None:
    text = service("web") + virtual("{rewrite: {uri: /v2}, route: [{destination: {host: web}}]}")
    assert "MP329" in codes(convert(text, "istio", "gateway-api"))  # Istio makes /v2api of /api


# -- hosts and Services without an address


def test_linkerd_asks_for_the_host_before_the_path() -> None:
    text = VERSIONS + route("[{matches: [{path: {type: PathPrefix, value: /api/v1}}], backendRefs: [{name: web-v1, port: 80}]}]", name="a")
    text += route("[{backendRefs: [{name: web-v2, port: 80}]}]", name="b").replace("spec: {", "spec: {hostnames: [web.test], ")
    http = made(convert(text, "linkerd", "istio"), "VirtualService")[0]["spec"]["http"]
    assert [item["route"][0]["destination"]["host"].partition(".")[0] for item in http] == ["web-v2", "web-v1"]
    assert "authority" in http[0]["match"][0]


@pytest.mark.parametrize(
    ("source", "target"), [("linkerd", "istio"), ("gateway-api", "istio"), ("gateway-api", "cilium"), ("istio", "linkerd")]
)
def test_no_route_attaches_to_a_headless_service(source: str, target: str) -> None:
    headless = service("web").replace("spec: {", "spec: {clusterIP: None, ")
    rules = virtual("{timeout: 3s, route: [{destination: {host: web}}]}") if source == "istio" else ""
    text = headless + (rules or route("[{backendRefs: [{name: web, port: 80}]}]", group="core" if source == "linkerd" else ""))
    result = convert(text, source, target)
    assert [finding.severity for finding in result.findings if finding.code == "MP303"] == ["error"]
    assert not made(result, "HTTPRoute") and not made(result, "VirtualService")


@pytest.mark.parametrize(("target", "code"), [("linkerd", "MP343"), ("gateway-api", "MP343"), ("cilium", "MP373"), ("istio", "MP312")])
def test_a_split_says_what_becomes_of_ports_without_http(target: str, code: str) -> None:
    ports = "[{name: http, port: 80}, {name: tcp-data, port: 9090}]"
    text = "".join(
        service(name, labels=labels, ports=ports)
        for name, labels in (("web", ""), ("web-v1", "app: web, v: one"), ("web-v2", "app: web, v: two"))
    )
    text += """
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec: {service: web, backends: [{service: web-v1, weight: 90}, {service: web-v2, weight: 10}]}
"""
    result = convert(text, "smi", target)
    assert code in codes(result)
    assert "MP903" not in codes(result)


def test_a_percent_sign_of_linkerd_is_one() -> None:
    filters = "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-served, value: 100%}]}}]"
    text = VERSIONS + route(f"[{{{filters}, backendRefs: [{{name: web-v1, port: 80}}]}}]")
    (obj,) = made(convert(text, "linkerd", "gateway-api"), "HTTPRoute")
    assert obj["spec"]["rules"][0]["filters"][0]["responseHeaderModifier"]["add"] == [{"name": "x-served", "value": "100%"}]


def test_of_equal_rank_the_route_that_comes_first_takes_the_root_too() -> None:
    text = VERSIONS + route("[{matches: [{method: GET}], backendRefs: [{name: web-v1, port: 80}]}]", name="a")
    text += route("[{matches: [{method: GET, path: {type: Exact, value: /}}], backendRefs: [{name: web-v2, port: 80}]}]", name="b")
    http = made(convert(text, "linkerd", "istio"), "VirtualService")[0]["spec"]["http"]
    assert http[0]["route"][0]["destination"]["host"].startswith("web-v1.")
    assert http[0]["match"][0]["uri"] == {"exact": "/"}
