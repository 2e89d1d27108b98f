"""Waypoints before pods that have no proxy of their own: what only the waypoint enforced ends with it, and that is said."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_read import CHARGE, NAMESPACE, WAYPOINT, codes, converted, policy, workload

import meshport

OUTSIDE = workload("payment", pod=", istio.io/dataplane-mode: none") + workload("checkout", "a: b")
ON_HOST = OUTSIDE.replace(", istio.io/dataplane-mode: none", "").replace(
    "serviceAccountName: payment", "hostNetwork: true\n      serviceAccountName: payment"
)
UNSELECTED = """
apiVersion: v1
kind: Service
metadata: {name: payment, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
ELSEWHERE = NAMESPACE.replace("{istio.io/dataplane-mode: ambient}", "{team: a}")
CALLERS = NAMESPACE.replace("name: shop", "name: front")
NO_DELETE = policy("l7", "{to: [{operation: {methods: [DELETE]}}]}", action="DENY")
SECOND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: payment-v2, namespace: shop}
spec:
  selector: {matchLabels: {app: payment, version: v2}}
  template:
    metadata: {labels: {app: payment, version: v2}}
    spec: {serviceAccountName: payment, containers: [{name: app, image: payment, ports: [{containerPort: 8080}]}]}
---
"""
TARGETS: list[dict[str, Any]] = [{"target": "linkerd"}, {"target": "cilium"}, {"target": "istio", "data_plane": "sidecar"}]


def said(result: Any) -> list[Any]:
    return [finding for finding in result.findings if finding.code == "MP148"]


@pytest.mark.parametrize("options", TARGETS, ids=str)
@pytest.mark.parametrize("rules", [policy("l7", CHARGE), NO_DELETE], ids=["allow", "deny"])
@pytest.mark.parametrize(
    "pods",
    [NAMESPACE + OUTSIDE, NAMESPACE + ON_HOST, NAMESPACE + UNSELECTED, CALLERS + ELSEWHERE + workload("payment")],
    ids=["out", "host", "endpoints", "namespace"],
)
def test_what_a_waypoint_alone_enforces_ends_with_it(options: dict[str, Any], rules: str, pods: str) -> None:
    """The policy is an error that widens, with all its leaves, and nothing says that it holds on or that the pods are as open as before."""
    out, result = converted(pods + WAYPOINT + rules, **options)
    [finding] = said(result)
    assert (finding.severity, finding.effect, finding.disposition) == ("error", "widens", "dropped")
    assert not codes(result) & {"MP239", "MP215", "MP240"}
    assert result.verification.verdict == "inconclusive" and finding.message in result.verification.undecided
    assert not [name for kind, name in out if kind in ("AuthorizationPolicy", "Server", "CiliumNetworkPolicy")]
    named = {entry.path for entry in result.ledger if entry.disposition == "dropped" and "MP148" in entry.codes}
    assert {"spec.targetRefs[0].name", "spec.rules[0].to[0].operation.methods[0]"} <= named
    assert ("AuthorizationPolicy", "l7") in {(item["kind"], item["name"]) for item in result.removals}


def test_pods_with_a_proxy_beside_them_keep_the_policy() -> None:
    _, result = converted(NAMESPACE + WAYPOINT + OUTSIDE + SECOND + policy("l7", CHARGE))
    [finding] = said(result)
    assert [place.workload for place in finding.affects] == ["payment"]
    [past] = [finding for finding in result.findings if finding.code == "MP239"]
    assert [place.workload for place in past.affects] == ["payment-v2"]


def test_a_policy_of_two_services_is_kept_for_the_one_with_a_proxy() -> None:
    both = policy("l7", CHARGE).replace("name: payment}", 'name: payment}, {group: "", kind: Service, name: orders}')
    out, result = converted(NAMESPACE + WAYPOINT + OUTSIDE + workload("orders") + both)
    [finding] = said(result)
    assert "shop/payment " in finding.message and "shop/orders" not in finding.message
    assert ("Server", "orders-8080") in out and ("Server", "payment-8080") not in out


@pytest.mark.parametrize("rules", ["{}", "{}, " + CHARGE])
def test_a_policy_that_refuses_nobody_is_no_loss(rules: str) -> None:
    assert not said(converted(NAMESPACE + WAYPOINT + OUTSIDE + policy("l7", rules))[1])


def test_the_waypoint_stays_where_the_mesh_does() -> None:
    text = NAMESPACE + WAYPOINT + OUTSIDE + policy("l7", CHARGE)
    for options in ({"target": "istio", "data_plane": "ambient"}, {"target": "gateway-api"}):
        assert not said(converted(text, **options)[1])
    assert not [finding for finding in meshport.lint(meshport.load_text(text), source="istio") if finding.code in ("MP148", "MP239")]


SIDECARS = workload("checkout", "a: b", pod=', sidecar.istio.io/inject: "true"')


def test_callers_with_a_sidecar_take_the_policy_from_no_waypoint_that_stays() -> None:
    """A mesh half in ambient, which goes there wholly: the waypoint judges the same requests to the pods without a proxy as before."""
    outside = workload("payment", pod=", istio.io/dataplane-mode: none") + SIDECARS
    text = NAMESPACE + WAYPOINT + outside + policy("l7", CHARGE)
    out, result = converted(text, target="istio", data_plane="ambient")
    assert not said(result) and not [name for kind, name in out if kind == "AuthorizationPolicy"] and not result.removals
    both = policy("l7", CHARGE).replace("name: payment}", 'name: payment}, {group: "", kind: Service, name: orders}')
    out, result = converted(NAMESPACE + WAYPOINT + outside + workload("orders") + both, target="istio", data_plane="ambient")
    hung = {name: one["spec"] for (kind, name), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" in one["spec"]}
    assert [ref["name"] for spec in hung.values() for ref in spec["targetRefs"]] == ["orders", "payment"]
    assert all(spec["rules"][0]["to"][0]["operation"]["paths"] == ["/charge"] for spec in hung.values())
    assert not said(result)
