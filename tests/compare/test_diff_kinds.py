"""`diff` says beside each difference whether a request shows it, or whether only the words are others."""

from __future__ import annotations

import meshport

_WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      serviceAccountName: cart
      containers: [{name: app, image: cart, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""
_ROUTE = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
"""
_PREFIX = """
  - match: [{uri: {prefix: /api}}]
    timeout: 2s
    route: [{destination: {host: cart}}]
"""
_BELOW = """
  - match: [{uri: {exact: /api/orders}}]
    timeout: 2s
    route: [{destination: {host: cart}}]
"""
_REST = """
  - route: [{destination: {host: cart}}]
"""
_POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules:
"""
_HALVES = '  - from: [{source: {ipBlocks: ["10.0.0.0/9", "10.128.0.0/9"]}}]\n'
_WHOLE = '  - from: [{source: {ipBlocks: ["10.0.0.0/8"]}}]\n'


def _diff(old: str, new: str) -> list[meshport.Change]:
    return meshport.diff(meshport.load_text(_WORLD + old), meshport.load_text(_WORLD + new))


def test_the_same_addresses_in_other_networks_are_form() -> None:
    found = _diff(_POLICY + _HALVES, _POLICY + _WHOLE)
    assert found, "the networks read differently"
    assert {change.kind for change in found} == {"form"}


def test_a_rule_that_takes_requests_from_a_later_one_is_behaviour() -> None:
    slower = _BELOW.replace("2s", "9s")
    found = _diff(_ROUTE + _PREFIX + _REST, _ROUTE + slower + _PREFIX + _REST)
    assert {change.kind for change in found} == {"behaviour"}


def test_form_in_one_place_is_no_excuse_for_behaviour_in_another() -> None:
    slower = _PREFIX.replace("2s", "9s")
    found = _diff(_POLICY + _HALVES + _ROUTE + _PREFIX + _REST, _POLICY + _WHOLE + _ROUTE + slower + _REST)
    assert {(change.subject.partition(" ")[0], change.kind) for change in found} == {("access", "form"), ("routes", "behaviour")}


def test_one_address_more_is_behaviour() -> None:
    found = _diff(_POLICY + _HALVES, _POLICY + _WHOLE.replace('"10.0.0.0/8"', '"10.0.0.0/8", "11.0.0.1/32"'))
    assert {change.kind for change in found} == {"behaviour"}


def test_callers_named_one_by_one_and_all_at_once_are_no_difference() -> None:
    one_by_one = '  - from: [{source: {namespaces: ["a"]}}]\n  - from: [{source: {notNamespaces: ["a"]}}]\n'
    assert _diff(_POLICY + one_by_one, _POLICY + "  - {}\n") == []
    assert _diff(_POLICY + one_by_one.replace("- from", "- to: [{operation: {methods: [GET]}}]\n    from", 1), _POLICY + "  - {}\n") != []


def test_what_cannot_be_compared_is_behaviour() -> None:
    custom = _POLICY.replace("spec:\n", "spec:\n  action: CUSTOM\n  provider: {name: gate}\n").replace("name: cart, ", "name: gate, ")
    allow = '  - to: [{operation: {methods: ["GET"]}}]\n'
    found = _diff(_POLICY + allow, _POLICY + allow + custom + '  - to: [{operation: {paths: ["/admin"]}}]\n')
    assert found and {change.kind for change in found} == {"behaviour"}


def test_a_workload_that_joins_the_mesh_is_behaviour() -> None:
    policy = _POLICY + '  - to: [{operation: {methods: ["GET"]}}]\n'
    old = meshport.load_text(_WORLD.replace(", labels: {istio-injection: enabled}", "") + policy)
    found = meshport.diff(old, meshport.load_text(_WORLD + policy))
    assert found
    assert all(change.kind == "behaviour" for change in found)
