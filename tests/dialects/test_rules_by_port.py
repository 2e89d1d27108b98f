"""Rules that hold for one port, or for a gateway alone: where none of a VirtualService acts, Istio sends requests to the Service; where all that act are lost, none
is let through."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}, {name: http-admin, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {selector: {app: other}, ports: [{name: http, port: 80}, {name: http-admin, port: 81}]}
---
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  %s
  http:
  - match: [%s]
    route: [{destination: {host: other, port: {number: 80}}}]
"""


def convert(matches: str, target: str, gateways: str = "", **more: Any) -> Result:
    return meshport.convert(meshport.load_text(WORLD + RULES % (gateways, matches)), source="istio", target=target, **more)


def by_port(result: Result) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for item in result.manifests:
        if item.object["kind"] == "HTTPRoute":
            found.setdefault(item.object["spec"]["parentRefs"][0]["port"], []).extend(item.object["spec"]["rules"])
    return found


def codes(result: Result) -> set[str]:
    return {finding.code for finding in result.findings if finding.severity != "info"}


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
def test_a_port_that_no_rule_is_for_stays_as_it_is(target: str) -> None:
    result = convert("{port: 80, uri: {exact: /a}}", target)
    (rule,) = by_port(result)[80]
    assert rule["matches"] == [{"path": {"type": "Exact", "value": "/a"}}]
    assert set(by_port(result)) == {80}
    assert not codes(result)


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
def test_rules_of_two_ports_are_two_routes(target: str) -> None:
    result = convert("{port: 80, uri: {exact: /a}}, {port: 81, uri: {exact: /b}}", target)
    paths = {port: [rule["matches"][0]["path"]["value"] for rule in rules] for port, rules in by_port(result).items()}
    assert paths == {80: ["/a"], 81: ["/b"]}
    assert not codes(result)


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
def test_rules_for_a_gateway_alone_leave_the_mesh_as_it_is(target: str) -> None:
    result = convert("{gateways: [edge], uri: {exact: /a}}", target, "gateways: [mesh, edge]")
    assert all(parent["name"] != "cart" for item in result.manifests for parent in item.object["spec"].get("parentRefs", ()))
    assert "MP900" not in codes(result)


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
def test_where_every_rule_is_lost_the_requests_that_none_took_are_still_refused(target: str) -> None:
    result = convert("{port: 80, withoutHeaders: {x: {}}}", target)
    ((port, (rule,)),) = by_port(result).items()
    assert port == 80
    if target == "linkerd":  # without a backend it would be the Service
        assert rule["backendRefs"] == [{"name": "cart-refused", "port": 80}]
    else:
        assert "backendRefs" not in rule
    (said,) = [finding for finding in result.findings if finding.code == "MP331"]
    assert [(one.namespace, one.workload) for one in said.affects] == [("shop", "cart")]
    assert "MP900" not in codes(result)


def test_looser_keeps_the_traffic_of_the_port_and_says_what_is_let_through() -> None:
    result = convert("{port: 80, withoutHeaders: {x: {}}}", "linkerd", on_loss="looser")
    assert not by_port(result)
    assert "MP332" in codes(result)
    assert "MP900" not in codes(result)


def test_rules_for_certain_callers_alone_refuse_nobody_else() -> None:
    result = convert("{sourceLabels: {app: web}, uri: {exact: /a}}", "linkerd")
    assert not by_port(result)
    assert not codes(result) & {"MP331", "MP900"}


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
def test_a_rule_for_the_mesh_alone_takes_every_request_of_it(target: str) -> None:
    result = convert("{gateways: [mesh]}", target, "gateways: [mesh, edge]")
    assert all(len(rules) == 1 and "matches" not in rules[0] for rules in by_port(result).values())
    assert by_port(result)
    assert "MP900" not in codes(result)
