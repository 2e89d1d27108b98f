"""The Gateway API's fields with values that are odd, empty or absent: what comes out, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}, {name: db, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""


def converted(spec: str, target: str, parent: str = "{group: '', kind: Service, name: cart, port: 80}") -> Any:
    text = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: shop}}
spec: {{parentRefs: [{parent}]{spec}}}
"""
    return meshport.convert(meshport.load_text(WORLD + text), source="gateway-api", target=target)


def first_rule(result: Any) -> dict[str, Any]:
    (found,) = [item.object for item in result.manifests if item.object["kind"] == "VirtualService"]
    rule: dict[str, Any] = found["spec"]["http"][0]
    return rule


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings if finding.severity != "info"}


@pytest.mark.parametrize("spec", ["", ", rules: null", ", rules: [{}]", ", rules: [{backendRefs: []}]"])
def test_a_route_without_rules_has_the_one_of_the_crd_which_answers_500(spec: str) -> None:
    assert first_rule(converted(spec, "istio"))["directResponse"] == {"status": 500}


def test_the_second_demand_on_a_header_does_not_count_and_is_accounted_for() -> None:
    spec = ", rules: [{matches: [{headers: [{name: X-A, value: b}, {name: x-a, value: c}]}], backendRefs: [{name: pay, port: 80}]}]"
    for target in ("istio", "linkerd"):
        result = converted(spec, target)
        assert "MP901" not in codes(result)
    assert first_rule(converted(spec, "istio"))["match"][0]["headers"] == {"x-a": {"exact": "b"}}


@pytest.mark.parametrize(
    "text",
    [
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}}]",
        "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: []}}]",
        "timeouts: {}",
        "matches: []",
        "filters: []",
    ],
)
def test_what_is_empty_changes_nothing_and_is_no_loss(text: str) -> None:
    spec = f", rules: [{{{text}, backendRefs: [{{name: pay, port: 80}}]}}]"
    for target in ("istio", "linkerd"):
        assert not codes(converted(spec, target)), target


def test_no_port_is_called_one_for_bytes_because_linkerd_would() -> None:
    spec = ", rules: [{backendRefs: [{name: pay, port: 80}]}]"
    result = converted(spec, "istio", "{group: '', kind: Service, name: cart}")
    assert not [item for item in result.manifests if item.object["kind"] == "Service"]
    assert not codes(result)
