"""Policies behind waypoints whose pods the bundle does not show: what keeps callers from the pods past the waypoint holds afterwards, too."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios.common import DECIDE, accounted, afterwards, documents, judged_with

import meshport

PLATFORM = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: gate}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: TARGET}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: pay}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
"""
ONLY_BY_WAYPOINT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-by-waypoint, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gate]}}]}]}
"""
PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay, tier: back}}
    spec: {serviceAccountName: pay, containers: [{name: app, image: "pay:1", ports: [{name: web, containerPort: 8080}]}]}
"""


def let_in(text: str, target: str, **asked: Any) -> bool:
    bundle = documents(text)
    result = meshport.convert(
        meshport.load_objects(bundle), source="istio", target=target, **({"data_plane": "sidecar"} if target == "istio" else {})
    )
    assert accounted(result) == []
    caller = {
        "namespace": "shop",
        "service_account": "web",
        "meshed": asked.pop("meshed", True),
        "ip": "10.1.0.7",
        "labels": {"app": "web"},
    }
    place = {"namespace": "shop", "workload": "pay", "port": asked.pop("port", 8080)}
    request = {
        "source": caller,
        "destination": place,
        "protocol": "http",
        "method": "GET",
        "path": "/",
        "host": "pay",
        "headers": {},
    } | asked
    return bool(DECIDE[target](afterwards(bundle, result) + documents(PODS), request, **judged_with(result)) == "allow")


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_whom_the_pods_refuse_past_the_waypoint_is_refused(target: str) -> None:
    text = PLATFORM.replace("TARGET", "8080") + "---" + ONLY_BY_WAYPOINT
    assert let_in(text, target)
    assert not let_in(text, target, method="POST")
    assert not let_in(text, target, meshed=False)
    assert not let_in(text, target, port=9090)


def test_a_port_that_the_service_gives_by_name_stays_closed_past_the_waypoint() -> None:
    """Its number stands in the Deployment alone: an allow without ports would open those that no Service sends to."""
    text = PLATFORM.replace("TARGET", "web") + "---" + ONLY_BY_WAYPOINT
    assert not let_in(text, "istio", port=9090)
    result = meshport.convert(meshport.load_objects(documents(text)), source="istio", target="istio", data_plane="sidecar")
    [finding] = [one for one in result.findings if one.code == "MP244"]
    assert [(one.namespace, one.workload) for one in finding.affects] == [("shop", "app=pay")]
    assert "by its number" in finding.message


def test_where_nothing_closes_the_pods_the_policy_holds_on_every_port() -> None:
    text = PLATFORM.replace("TARGET", "web")
    assert let_in(text, "istio")
    assert not let_in(text, "istio", method="POST")


def test_a_mode_that_ztunnel_passes_over_is_none_for_pods_that_nobody_shows() -> None:
    """Without mutual TLS nobody would have a name, and a deny by names would refuse nobody."""
    quiet = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, mtls: {mode: DISABLE}, portLevelMtls: {"9090": {mode: PERMISSIVE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-web, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""
    assert not let_in(PLATFORM.split("---")[0].replace(", istio.io/use-waypoint: gate", "") + "---" + quiet, "istio")


def test_pods_before_which_no_service_stands_stay_closed_by_the_policy_that_admits_the_waypoint_alone() -> None:
    """At the shown pods others took its place; it left, and opened the rest of the namespace."""
    bundle = documents(PLATFORM.replace("TARGET", "8080") + "---" + ONLY_BY_WAYPOINT + "---" + PODS)
    result = meshport.convert(meshport.load_objects(bundle), source="istio", target="istio", data_plane="sidecar")
    after = afterwards(bundle, result) + documents(PODS.replace("pay", "ghost"))
    source = {"namespace": "shop", "service_account": "web", "meshed": True, "ip": "10.1.0.7", "labels": {"app": "web"}}
    asked = {"source": source, "protocol": "http", "method": "GET", "path": "/", "host": "pay", "headers": {}}
    verdicts = [
        DECIDE["istio"](after, {**asked, "destination": {"namespace": "shop", "workload": name, "port": 8080}}) for name in ("pay", "ghost")
    ]
    assert verdicts == ["allow", "deny"] and accounted(result) == []


def test_a_policy_of_a_service_whose_pods_are_reached_past_the_waypoint_names_those_that_nobody_shows() -> None:
    shown = PODS.replace("matchLabels: {app: pay}", "matchLabels: {app: pay, tier: back}")
    result = meshport.convert(
        meshport.load_text(PLATFORM.replace("TARGET", "8080") + "---" + shown), source="istio", target="istio", data_plane="sidecar"
    )
    [finding] = [one for one in result.findings if one.code == "MP239"]
    assert [(one.namespace, one.workload) for one in finding.affects] == [("shop", "pay"), ("shop", "app=pay")]
