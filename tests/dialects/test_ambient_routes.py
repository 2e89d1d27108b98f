"""Who follows routes in ambient: the waypoint of the Service; ztunnel follows none."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_read import NAMESPACE, WAYPOINT, codes, converted, workload

import meshport

CLIENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c, image: c}]}}}
---
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: payment, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: payment}], rules: [{backendRefs: [{name: other, port: 80}]}]}
---
"""
OWN = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payment, namespace: shop}
spec: {hosts: [payment], http: [{retries: {attempts: 0}, route: [{destination: {host: other}}]}]}
---
"""


def bundle(route: str, label: str = "istio.io/use-waypoint: waypoint", serves: str = "service") -> str:
    gate = WAYPOINT.replace("waypoint-for: service", f"waypoint-for: {serves}")
    return NAMESPACE + gate + workload("payment", label) + workload("other", "a: b") + CLIENT + route


def route_of(text: str) -> Any:
    request = {
        "source": {"namespace": "shop", "workload": "web"},
        "destination": {"namespace": "shop", "service": "payment", "port": 80},
        "path": "/x",
    }
    return meshport.trace(meshport.load_text(text), request, mesh="istio")


@pytest.mark.parametrize("route", [ROUTE, OWN])
@pytest.mark.parametrize(("label", "serves", "followed"), [
    ("istio.io/use-waypoint: waypoint", "service", True),
    ("istio.io/use-waypoint: waypoint", "all", True),
    ("istio.io/use-waypoint: waypoint", "workload", False),  # requests to the Service go past it
    ("istio.io/use-waypoint: waypoint", "none", False),
    ("a: b", "service", False),  # a waypoint alone enrols nobody
])  # fmt: skip
def test_a_route_acts_where_a_waypoint_of_the_service_follows_it(route: str, label: str, serves: str, followed: bool) -> None:
    text = bundle(route, label, serves)
    said = " ".join(f"{step.what} {step.outcome}" for step in route_of(text).steps)
    assert ("ztunnel follows no routes" in said) is not followed
    _, result = converted(text)
    assert ("MP379" in codes(result)) is not followed
    written = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert bool(written) is followed


@pytest.mark.parametrize("target", ["linkerd", "cilium", "istio"])
def test_what_nobody_followed_does_not_begin_to_act(target: str) -> None:
    """The target's proxies, or Istio's own sidecars, would follow the route; so it leaves, and requests go where they went."""
    options = {"data_plane": "sidecar"} if target == "istio" else {}
    _, result = converted(bundle(ROUTE, "a: b"), target=target, **options)
    assert ("HTTPRoute", "payment") in [(item["kind"], item["name"]) for item in result.removals]


def test_with_a_waypoint_or_without_is_a_difference() -> None:
    old, new = (meshport.load_text(bundle(ROUTE, label)) for label in ("istio.io/use-waypoint: waypoint", "a: b"))
    assert {change.subject for change in meshport.diff(old, new, old_mesh="istio", new_mesh="istio")} >= {
        "routes of Service shop/payment port 80"
    }


def test_where_a_client_may_have_a_sidecar_the_route_acts() -> None:
    beside = NAMESPACE.replace("name: shop, labels: {istio.io/dataplane-mode: ambient}", "name: old, labels: {istio-injection: enabled}")
    _, result = converted(bundle(ROUTE, "a: b") + beside)
    assert "MP379" not in codes(result)


def test_ztunnel_goes_by_no_breaker_and_a_gateway_does() -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: payment, namespace: shop}
spec: {host: payment, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
---
"""
    gate = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
"""

    def accrual(text: str) -> bool:
        return "failure-accrual" in str([item.object for item in converted(text)[1].manifests])

    assert not accrual(bundle(rule, "a: b")) and accrual(bundle(rule)) and accrual(bundle(rule + gate, "a: b"))


@pytest.mark.parametrize("source", ["linkerd", "gateway-api"])
def test_routes_beside_the_clients_are_named_for_no_waypoint_follows_them(source: str) -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: fake, namespace: ops}
spec: {selector: {app: fake}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pay, namespace: ops}
spec:
  parentRefs: [{group: "", kind: Service, name: pay, namespace: shop, port: 80}]
  rules: [{backendRefs: [{name: fake, port: 80}]}]
"""
    result = meshport.convert(meshport.load_text(text), source=source, target="istio", data_plane="ambient")
    (found,) = [item for item in result.findings if item.code == "MP371"]
    assert (found.affects[0].namespace, found.affects[0].workload, found.disposition) == ("shop", "pay", "dropped")
    assert not [item for item in result.manifests if item.object["kind"] in ("HTTPRoute", "VirtualService")]
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]


def test_routes_of_a_service_outside_the_mesh_are_followed_by_nobody() -> None:
    """Proxies of its clients followed them in Linkerd; ztunnel follows none."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: front, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: web}]}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{timeouts: {request: 2s}, backendRefs: [{name: web, port: 80}]}]
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio", data_plane="ambient")
    (said,) = [item for item in result.findings if item.code == "MP112"]
    assert (said.severity, said.effect) == ("error", "changes") and [(one.namespace, one.workload) for one in said.affects] == [
        ("shop", "web")
    ]
    assert "MP900" not in {finding.code for finding in result.findings}


def test_a_route_with_two_parents_is_named_for_each_that_nobody_follows_it_at() -> None:
    """One stands beside its clients, the other is a host outside without a waypoint."""
    text = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: shop}
spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: far, namespace: lab}, {group: networking.istio.io, kind: ServiceEntry, name: out}]
  rules: [{backendRefs: [{name: other, port: 80}]}]
---
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="ambient")
    assert {"MP112", "MP731"} <= set(codes(result)) and "MP900" not in codes(result)
