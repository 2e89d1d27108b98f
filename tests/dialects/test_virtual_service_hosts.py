"""Whom the rules of a VirtualService are for: hosts with a wildcard, and rules that are handed to a delegate."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result


def service(name: str, namespace: str = "shop") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}
---
"""


def virtual(name: str, http: str, hosts: str = "", namespace: str = "shop") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{f"hosts: [{hosts}], " if hosts else ""}http: {http}}}
---
"""


def convert(text: str, target: str = "linkerd") -> Result:
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    assert not {"MP900", "MP901", "MP902"} & {finding.code for finding in result.findings}
    return result


def routes(result: Result) -> dict[str, dict[str, Any]]:
    """The HTTPRoutes by the Service that they are on."""
    found = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    return {obj["spec"]["parentRefs"][0]["name"]: obj for obj in found}


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_wildcard_is_for_each_service_that_no_other_names(target: str) -> None:
    world = service("a") + service("b") + service("c", "elsewhere")
    every = virtual("every", "[{timeout: 3s, route: [{destination: {host: b}}]}]", hosts='"*.shop.svc.cluster.local"')
    own = virtual("own", "[{timeout: 5s, route: [{destination: {host: b}}]}]", hosts="b")
    found = routes(convert(world + every + own, target))
    assert {name: obj["spec"]["rules"][0]["timeouts"]["request"] for name, obj in found.items()} == {"a": "3s", "b": "5s"}


def test_a_short_name_with_a_dot_is_no_service() -> None:
    result = convert(service("a") + virtual("a", "[{timeout: 3s, route: [{destination: {host: a}}]}]", hosts="a.shop"))
    assert not routes(result)
    assert [finding.code for finding in result.findings if finding.severity == "error"] == ["MP310"]


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_the_short_and_the_full_name_in_one_list_are_one_host(target: str) -> None:
    both = virtual("a", "[{timeout: 3s, route: [{destination: {host: b}}]}]", hosts="a, a.shop.svc.cluster.local")
    result = convert(service("a") + service("b") + both, target)
    assert list(routes(result)) == ["a"]
    assert "MP311" not in {finding.code for finding in result.findings}
    lines = [line for line in result.ledger if line.path.startswith("spec.hosts")]
    assert [line.disposition for line in lines] == ["translated", "translated"]


DELEGATE = virtual("inner", """[
  {match: [{uri: {prefix: /b/x}}], timeout: 5s, route: [{destination: {host: b}}]},
  {match: [{uri: {prefix: /c}}], route: [{destination: {host: b}}]},
  {route: [{destination: {host: b}}]}]""", namespace="other")  # fmt: skip
ROOT = virtual("a", """[
  {match: [{uri: {prefix: /b}}], timeout: 9s, delegate: {name: inner, namespace: other}},
  {route: [{destination: {host: a}}]}]""", hosts="a")  # fmt: skip


def test_the_rules_of_a_delegate_stand_inside_the_rule_that_names_it() -> None:
    result = convert(service("a") + service("b", "other") + ROOT + DELEGATE)
    rules = routes(result)["a"]["spec"]["rules"]
    assert [(rule.get("matches", [{}])[0].get("path", {}).get("value"), rule.get("timeouts")) for rule in rules] == [
        ("^/b/x.*$", {"request": "5s"}),  # what the delegate says goes first, and /c lies outside
        ("^/b.*$", {"request": "9s"}),
        (None, None),
    ]
    assert [rule["backendRefs"][0]["name"] for rule in rules] == ["b", "b", "a"]
    assert {item["name"] for item in result.removals} == {"a", "inner"}


def test_a_delegate_that_is_not_there_leaves_its_rule_out_with_an_error() -> None:
    result = convert(service("a") + service("b", "other") + ROOT)
    assert [finding.severity for finding in result.findings if "delegate" in finding.message] == ["error"]
    assert len(routes(result)["a"]["spec"]["rules"]) == 1


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize(("name", "kept"), [("web", "VirtualService"), ("api", "HTTPRoute")])
def test_of_a_virtual_service_and_an_http_route_for_one_service_the_first_by_name_goes_over(target: str, name: str, kept: str) -> None:
    text = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: enabled}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec: {{hosts: [web], http: [{{timeout: 2s, route: [{{destination: {{host: web}}}}]}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}-0, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web}}]
  rules: [{{timeouts: {{request: 7s}}, backendRefs: [{{name: web, port: 80}}]}}]
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    said = [item.message for item in result.findings if item.code == "MP311"]
    assert len(said) == 1 and said[0].startswith("HTTPRoute" if kept == "VirtualService" else "VirtualService")
    assert "MP900" not in {item.code for item in result.findings}
    gone = {item["kind"] for item in result.removals}
    assert ("HTTPRoute" in gone) == (kept == "VirtualService")
    routes = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"] + result.passed_through
    timeouts = [rule["timeouts"]["request"] for route in routes if route["kind"] == "HTTPRoute" for rule in route["spec"]["rules"]]
    assert timeouts == ["2s" if kept == "VirtualService" else "7s"]


def test_an_http_route_says_nothing_on_a_port_that_istio_takes_for_tcp() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: tcp-data, port: 7000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    assert "MP900" not in {item.code for item in result.findings}
