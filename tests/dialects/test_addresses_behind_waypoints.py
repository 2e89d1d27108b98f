"""Waypoints for workloads: at the pods' own addresses the caller is the waypoint's account as well, whoever the pods name."""

from __future__ import annotations

import pytest
from test_ambient_half import CALLERS, OF_WEB
from test_ambient_read import NAMESPACE, SELECTOR, WAYPOINT, codes, converted, policy, workload

import meshport

OF_CHECKOUT = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}"
OF_THE_GATE = "{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}"


def mesh(serves: str, rules: str, pod: str = ", istio.io/use-waypoint: waypoint", label: str = "a: b") -> str:
    """Pods behind such a waypoint, whose Service is behind none and sends to port 8080 alone; callers in ambient, and one with a sidecar."""
    gate = WAYPOINT.replace("waypoint-for: service", f"waypoint-for: {serves}")
    return (
        NAMESPACE + gate + CALLERS + workload("payment", label, pod=pod) + workload("checkout", "a: b") + policy("direct", rules, SELECTOR)
    )


@pytest.mark.parametrize("serves", ["workload", "all"])
def test_who_is_named_at_the_pods_is_refused_where_only_their_addresses_lead(serves: str) -> None:
    out, result = converted(mesh(serves, OF_CHECKOUT))
    assert ("Server", "payment-8080") in out and ("Server", "payment-9090") not in out
    [said] = [finding for finding in result.findings if finding.code == "MP170"]
    assert (said.effect, [place.workload for place in said.affects]) == ("narrows", ["payment"])


def test_callers_with_a_sidecar_go_past_the_waypoint() -> None:
    out, result = converted(mesh("workload", OF_WEB))
    assert ("Server", "payment-9090") in out and "MP170" not in codes(result)


def test_pods_behind_no_such_waypoint_admit_whom_they_name() -> None:
    for text in (mesh("service", OF_CHECKOUT), mesh("workload", OF_CHECKOUT, pod="")):
        out, result = converted(text)
        assert ("Server", "payment-9090") in out and "MP170" not in codes(result)


def test_pods_that_let_the_waypoint_in_are_open_to_whoever_comes_from_there() -> None:
    out, result = converted(mesh("workload", f"{OF_THE_GATE}, {OF_CHECKOUT}"))
    assert ("Server", "payment-9090") in out and "MP170" not in codes(result)


def test_other_pods_of_the_same_policy_keep_it() -> None:
    text = (
        mesh("workload", OF_CHECKOUT)
        + workload("orders", "a: b")
        + policy("whole", OF_CHECKOUT, "action: ALLOW").replace(", action: ALLOW,", ",", 1)
    )
    out, _ = converted(text)
    assert ("Server", "orders-9090") in out and ("Server", "payment-9090") not in out


def test_who_lets_everybody_in_lets_the_waypoint_in() -> None:
    out, result = converted(mesh("all", "{}"))
    assert not {"MP170", "MP244"} & set(codes(result))
    assert [name for kind, name in out if kind == "Server"] == []


ROOT = "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n---\n"
GETS = "{to: [{operation: {methods: [GET]}}]}"


@pytest.mark.parametrize("rules", ["{}", OF_CHECKOUT])
def test_a_policy_of_the_whole_mesh_opens_no_pods_whose_waypoint_judges(rules: str) -> None:
    """Its part for the namespace that it stands in would be one of the whole mesh again."""
    text = (
        mesh("all", OF_CHECKOUT)
        + ROOT
        + policy("judged", GETS, "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]")
    )
    everywhere = policy("everywhere", rules, "action: ALLOW").replace(", action: ALLOW,", ",", 1)
    text += everywhere.replace("namespace: shop", "namespace: istio-system")
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="sidecar")
    assert result.verification is not None and result.verification.verdict == "equivalent"
    assert not {"MP900", "MP904"} & set(codes(result))
    made = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert not any(one["spec"].get("rules") for one in made if one["metadata"]["namespace"] == "istio-system")
