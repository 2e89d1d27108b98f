"""Waypoints for workloads: at the pods' own addresses the caller is the waypoint's account as well, whoever the pods name."""

from __future__ import annotations

import pytest
from test_ambient_half import CALLERS, OF_WEB
from test_ambient_read import CHARGE, NAMESPACE, SELECTOR, WAYPOINT, codes, converted, policy, workload
from test_ambient_written import ambient

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
    assert result.verification is not None and result.verification.differences == []
    assert not {"MP900", "MP904"} & set(codes(result))
    made = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert not any(one["spec"].get("rules") for one in made if one["metadata"]["namespace"] == "istio-system")


ON_THE_GATE = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]"


def hung(serves: str, rules: str, pod: str = ", istio.io/use-waypoint: waypoint", action: str = "ALLOW") -> str:
    """Pods that no policy of theirs closes, with a port that no Service sends to, behind a waypoint that has one."""
    return mesh(serves, rules, pod).split("apiVersion: security.istio.io")[0] + policy("l7", rules, ON_THE_GATE, action)


@pytest.mark.parametrize(("serves", "becomes"), [("all", "service"), ("workload", "none")])
def test_beside_callers_with_a_sidecar_no_waypoint_stays_before_addresses(serves: str, becomes: str) -> None:
    """They went straight to the pods; in ambient they would come as the waypoint, which the pods let in, and which asks no policy of a Service."""
    home = NAMESPACE.replace("dataplane-mode: ambient", "dataplane-mode: ambient, istio.io/use-waypoint: waypoint")
    gate = WAYPOINT.replace("waypoint-for: service", f"waypoint-for: {serves}")
    text = home + gate + CALLERS + workload("payment", "a: b") + policy("only", OF_THE_GATE, SELECTOR) + policy("l7", CHARGE)
    out, result = ambient(text)
    assert out["Gateway", "waypoint"]["metadata"]["labels"]["istio.io/waypoint-for"] == becomes
    [said] = [finding for finding in result.findings if finding.code == "MP158"]
    assert [(place.namespace, place.workload) for place in said.affects] == [("shop", "payment")] and said.leaves


def test_a_waypoint_for_all_stays_one_where_everybody_is_in_ambient() -> None:
    out, result = ambient(hung("all", OF_CHECKOUT).replace(CALLERS, ""))
    assert ("Gateway", "waypoint") not in out and "MP158" not in codes(result)


@pytest.mark.parametrize("serves", ["workload", "all"])
def test_what_hangs_on_the_gateway_decides_for_addresses_alone(serves: str) -> None:
    """Whoever goes past the waypoint gets in, and of the callers who do not those whom it lets through."""
    out, _ = converted(hung(serves, OF_CHECKOUT), target="istio", data_plane="sidecar")
    [spec] = [one["spec"] for (kind, _), one in out.items() if kind == "AuthorizationPolicy"]
    assert spec["selector"] == {"matchLabels": {"app": "payment"}} and "targetRefs" not in spec
    beside = [rule for rule in spec["rules"] if rule["to"][0]["operation"] == {"notPorts": ["8080"]}]
    sources = [entry["source"] for rule in beside for entry in rule["from"]]
    assert {"principals": ["cluster.local/ns/shop/sa/checkout"]} in sources
    assert {"notPrincipals": ["*"]} in sources and {"namespaces": ["front"]} in sources
    assert {"to": [{"operation": {"ports": ["8080"]}}]} in spec["rules"]  # by the Service, which is behind no waypoint


def test_a_service_leads_past_what_hangs_on_a_gateway_for_addresses() -> None:
    _, result = converted(hung("workload", OF_CHECKOUT))
    [said] = [finding for finding in result.findings if finding.code == "MP159"]
    assert (said.severity, [place.workload for place in said.affects]) == ("error", ["payment"])
    assert "MP159" not in codes(converted(hung("workload", OF_CHECKOUT, pod=""))[1])


def test_a_deny_of_the_gateway_refuses_whoever_comes_to_an_address() -> None:
    everybody = "{from: [{source: {namespaces: [shop, front]}}]}"
    out, result = converted(hung("workload", everybody, action="DENY"), target="istio", data_plane="sidecar")
    [spec] = [one["spec"] for (kind, _), one in out.items() if kind == "AuthorizationPolicy"]
    assert spec["action"] == "DENY" and spec["rules"][0]["to"] == [{"operation": {"notPorts": ["8080"]}}]
    assert "front" in str(spec["rules"]) and "MP244" in codes(result)


def test_pods_with_a_sidecar_are_behind_such_a_waypoint_too() -> None:
    pod = ', istio.io/use-waypoint: waypoint, sidecar.istio.io/inject: "true"'
    out, result = converted(mesh("workload", OF_CHECKOUT, pod))
    assert ("Server", "payment-8080") in out and ("Server", "payment-9090") not in out and "MP170" in codes(result)


def test_where_nobody_has_a_name_nobody_is_told_to_go_past_the_waypoint() -> None:
    disabled = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: plain, namespace: shop}\nspec: {mtls: {mode: DISABLE}}\n---\n"
    pod = ', istio.io/use-waypoint: waypoint, sidecar.istio.io/inject: "true"'
    out, result = converted(hung("workload", OF_CHECKOUT, pod) + disabled, target="istio", data_plane="sidecar")
    [spec] = [one["spec"] for (kind, _), one in out.items() if kind == "AuthorizationPolicy"]
    assert "notPrincipals" not in str(spec) and "MP244" in codes(result)


def test_an_account_of_pods_of_both_kinds_is_named_where_it_is_refused() -> None:
    both = workload("worker", "a: b", pod=', sidecar.istio.io/inject: "true"').replace(
        "serviceAccountName: worker", "serviceAccountName: checkout"
    )
    _, result = converted(hung("workload", OF_CHECKOUT) + both, target="istio", data_plane="sidecar")
    said = [finding for finding in result.findings if finding.code == "MP244" and "shop/checkout" in finding.message]
    assert [(one.effect, [place.workload for place in one.affects]) for one in said] == [("narrows", ["payment"])]
    _, result = converted(hung("workload", OF_CHECKOUT), target="istio", data_plane="sidecar")
    assert not [finding for finding in result.findings if finding.code == "MP244"]
