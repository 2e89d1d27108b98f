"""Istio ambient back to sidecars: what hangs on Services becomes policies of the pods, and what only admitted the waypoint leaves with it."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_read import CHARGE, NAMESPACE, ONLY_BY_WAYPOINT, SELECTOR, WAYPOINT, codes, policy, workload

import meshport

SHOP = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b")
GATEWAY = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]"
PAYMENT = {"matchLabels": {"app": "payment"}}


def sidecars(text: str, **options: Any) -> tuple[dict[tuple[str, str], dict[str, Any]], Any]:
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="sidecar", **options)
    assert not [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")]
    assert result.verification is not None and {item.change for item in result.verification.differences} <= {"denied"}
    return {(item.object["kind"], item.object["metadata"]["name"]): item.object for item in result.manifests}, result


def removed(result: Any) -> set[tuple[str, str]]:
    return {(item["kind"], item["name"]) for item in result.removals}


def test_labels_of_sidecars_for_those_of_ambient() -> None:
    pods = workload("payment", pod=", istio.io/dataplane-mode: none")
    out, result = sidecars(NAMESPACE + WAYPOINT + pods + workload("checkout", "a: b"))
    assert out["Namespace", "shop"]["metadata"]["labels"] == {"istio-injection": "enabled"}
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"] == {"app": "payment", "sidecar.istio.io/inject": "false"}
    assert "labels" not in out["Service", "payment"]["metadata"]
    assert ("Gateway", "waypoint") in removed(result) and codes(result) >= {"MP118", "MP705"}


def test_a_pod_that_was_enrolled_alone_gets_its_own_sidecar() -> None:
    home = NAMESPACE.replace(", labels: {istio.io/dataplane-mode: ambient}", "")
    out, _ = sidecars(home + workload("payment", "a: b", pod=", istio.io/dataplane-mode: ambient"))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"] == {"app": "payment", "sidecar.istio.io/inject": "true"}


def test_a_mark_against_sidecars_does_not_keep_a_pod_out_of_ambient() -> None:
    out, _ = sidecars(NAMESPACE + workload("payment", "a: b", pod=', sidecar.istio.io/inject: "false"'))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"] == {"app": "payment"}


def test_a_policy_of_a_service_is_one_of_its_pods_and_the_guard_leaves() -> None:
    out, result = sidecars(SHOP + policy("l7", CHARGE) + ONLY_BY_WAYPOINT)
    assert out["AuthorizationPolicy", "l7"]["spec"] == {
        "selector": PAYMENT,
        "action": "ALLOW",
        "rules": [
            {
                "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/checkout"]}}],
                "to": [{"operation": {"methods": ["POST"], "paths": ["/charge"], "ports": ["8080"]}}],
            }
        ],
    }
    assert removed(result) == {("Gateway", "waypoint"), ("AuthorizationPolicy", "payment-only-by-waypoint")}
    assert "MP119" in codes(result) and result.verification.verdict == "equivalent"


def test_a_deny_of_ports_that_no_service_sends_to_leaves_with_the_waypoint() -> None:
    """Nothing that it refuses comes to the pods; a DENY without rules is none that Istio takes."""
    deny = "{to: [{operation: {methods: [GET], ports: ['7000']}}]}"
    out, result = sidecars(SHOP + policy("late", deny, GATEWAY, "DENY"))
    assert not [name for name in out if name[0] == "AuthorizationPolicy"]
    assert ("AuthorizationPolicy", "late") in removed(result)
    assert result.ledger.counts["unaccounted"] == 0


def test_whom_the_guard_admits_beside_the_waypoint_gets_no_more_than_the_service_gives() -> None:
    """At the Service checkout may POST /charge alone; that the pods' own addresses take more from it opens nothing that the Service refuses."""
    checkout = "cluster.local/ns/shop/sa/checkout"
    direct = f"{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/waypoint, {checkout}]}}}}]}}"
    out, result = sidecars(SHOP + policy("l7", CHARGE) + policy("guard", direct, SELECTOR))
    assert out["AuthorizationPolicy", "guard"]["spec"]["rules"] == [
        {"from": [{"source": {"principals": [checkout]}}], "to": [{"operation": {"notPorts": ["8080"]}}]}
    ]
    (said,) = [finding for finding in result.findings if finding.code == "MP170"]
    assert said.effect == "narrows" and [(item.namespace, item.workload) for item in said.affects] == [("shop", "payment")]


def test_callers_that_do_not_pass_the_waypoint_keep_what_the_guard_gives_them() -> None:
    edge = "cluster.local/ns/istio-ingress/sa/edge"
    direct = f"{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/waypoint, {edge}]}}}}]}}"
    out, result = sidecars(SHOP + policy("l7", CHARGE) + policy("guard", direct, SELECTOR))
    assert out["AuthorizationPolicy", "guard"]["spec"]["rules"] == [{"from": [{"source": {"principals": [edge]}}]}]
    assert "MP170" not in codes(result)


def test_of_the_callers_that_when_names_those_who_pass_the_waypoint_get_no_more_by_it() -> None:
    callers = "cluster.local/ns/shop/sa/checkout, cluster.local/ns/istio-ingress/sa/edge"
    direct = f"{{when: [{{key: source.principal, values: [cluster.local/ns/shop/sa/waypoint, {callers}]}}]}}"
    out, result = sidecars(SHOP + policy("l7", CHARGE) + policy("guard", direct, SELECTOR))
    elsewhere, here = out["AuthorizationPolicy", "guard"]["spec"]["rules"]
    assert elsewhere["to"] == [{"operation": {"notPorts": ["8080"]}}]
    assert here["from"] == [{"source": {"principals": ["cluster.local/ns/istio-ingress/sa/edge"]}}]
    assert here["to"] == [{"operation": {"ports": ["8080"]}}] and "MP170" in codes(result)


def test_a_guard_by_service_account_admits_the_waypoint_too() -> None:
    guard = policy("guard", "{from: [{source: {serviceAccounts: [shop/waypoint]}}]}", SELECTOR)
    out, result = sidecars(SHOP + policy("l7", CHARGE) + guard)
    assert "MP243" not in codes(result) and ("AuthorizationPolicy", "guard") in removed(result)
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"]


def test_a_guard_that_admits_the_waypoints_namespace_admits_the_waypoint_and_on_its_ports_nobody_else() -> None:
    guard = policy("guard", "{from: [{source: {namespaces: [shop]}}]}", SELECTOR)
    out, result = sidecars(SHOP + policy("l7", CHARGE) + guard)
    assert "MP243" not in codes(result) and "MP170" in codes(result)
    assert out["AuthorizationPolicy", "guard"]["spec"]["rules"] == [
        {"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"notPorts": ["8080"]}}]}
    ]
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"][0]["to"][0]["operation"]["paths"] == ["/charge"]


def test_pods_of_a_guard_that_stand_behind_no_waypoint_keep_its_rules() -> None:
    """One policy for the namespace; only payment has a Service behind the waypoint."""
    everybody = policy("mesh", "{from: [{source: {namespaces: [shop]}}]}", "selector: {}")
    shop = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b")
    out, _ = sidecars(shop + policy("l7", CHARGE) + everybody)
    assert out["AuthorizationPolicy", "mesh"]["spec"]["rules"][0]["to"] == [{"operation": {"notPorts": ["8080"]}}]
    assert out["AuthorizationPolicy", "mesh-checkout"]["spec"] == {
        "selector": {"matchLabels": {"app": "checkout"}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"ports": ["8080"]}}]}],
    }


def test_a_guard_that_admits_the_waypoint_on_some_ports_refuses_it_on_others() -> None:
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 9090}"
    shop = NAMESPACE + WAYPOINT + workload("payment", ports=ports) + workload("checkout", "a: b")
    waypoint = "{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}], to: [{operation: {ports: ['9090']}}]}"
    out, result = sidecars(shop + policy("l7", CHARGE) + policy("guard", waypoint, SELECTOR))
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"][0]["to"][0]["operation"]["ports"] == ["9090"]
    assert "MP243" in codes(result) and result.verification.verdict == "equivalent"


def test_a_guard_that_admits_another_waypoint_admits_none() -> None:
    other = policy("guard", "{from: [{source: {principals: [cluster.local/ns/shop/sa/edge]}}]}", SELECTOR)
    out, result = sidecars(SHOP + policy("l7", CHARGE) + other)
    assert "rules" not in out["AuthorizationPolicy", "l7"]["spec"] and "MP243" in codes(result)


def test_a_policy_of_the_gateway_is_one_for_each_service_behind_it() -> None:
    ports = "{name: http, port: 81, targetPort: 9090}"
    shop = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", ports=ports)
    out, result = sidecars(shop + policy("every", CHARGE, GATEWAY) + ONLY_BY_WAYPOINT)
    made = {name: one["spec"] for (kind, name), one in out.items() if kind == "AuthorizationPolicy"}
    assert {spec["selector"]["matchLabels"]["app"] for spec in made.values()} == {"payment", "checkout"}
    assert made["every"]["selector"] == {"matchLabels": {"app": "checkout"}}
    assert made["every"]["rules"][0]["to"][0]["operation"]["ports"] == ["9090"]
    assert made["every"]["rules"][1] == {"to": [{"operation": {"notPorts": ["9090"]}}]}  # nothing guards checkout's other ports
    assert made["every-payment"]["rules"][0]["to"][0]["operation"]["ports"] == ["8080"]
    assert "targetRefs" not in str(made) and "MP239" in codes(result)


def test_ports_of_the_service_become_those_of_the_pods() -> None:
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 9090}"
    shop = NAMESPACE + WAYPOINT + workload("payment", ports=ports) + workload("checkout", "a: b")
    rule = "{to: [{operation: {methods: [GET], ports: ['81']}}, {operation: {methods: [GET], notPorts: ['81']}}]}"
    out, _ = sidecars(shop + policy("l7", rule) + ONLY_BY_WAYPOINT)
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"] == [
        {
            "from": [{"source": {"principals": ["*"]}}],  # ztunnel kept everybody else from the pods
            "to": [{"operation": {"methods": ["GET"], "ports": ["9090"]}}, {"operation": {"methods": ["GET"], "ports": ["8080"]}}],
        }
    ]


def test_a_deny_of_a_service_refuses_at_the_pods() -> None:
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {methods: [DELETE]}}]}"
    out, _ = sidecars(SHOP + policy("no-delete", rule, action="DENY"))
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["action"] == "DENY"
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["rules"][0]["to"] == [{"operation": {"methods": ["DELETE"], "ports": ["8080"]}}]


def test_a_waypoint_without_policy_lets_every_identity_in() -> None:
    out, result = sidecars(SHOP + ONLY_BY_WAYPOINT)
    assert out["AuthorizationPolicy", "payment-only-by-waypoint"]["spec"]["rules"] == [
        {"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"ports": ["8080"]}}]}
    ]
    assert result.verification.verdict == "equivalent"


def test_what_ztunnel_left_out_stays_left_out() -> None:
    scrape = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {ports: ['9090']}}]}"
    out, result = sidecars(NAMESPACE + workload("payment", "a: b") + policy("mixed", CHARGE + ", " + scrape, SELECTOR))
    assert [rule["to"] for rule in out["AuthorizationPolicy", "mixed"]["spec"]["rules"]] == [[{"operation": {"ports": ["9090"]}}]]
    assert "MP241" in codes(result)


def test_a_deny_that_never_fired_leaves_and_one_that_refused_more_still_does() -> None:
    never = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", SELECTOR, "DENY")
    _, result = sidecars(NAMESPACE + workload("payment", "a: b") + never)
    assert removed(result) == {("AuthorizationPolicy", "no-delete")}
    more = policy("no-delete", "{to: [{operation: {methods: [DELETE], ports: ['8080']}}]}", SELECTOR, "DENY")
    out, _ = sidecars(NAMESPACE + workload("payment", "a: b") + more)
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["rules"] == [{"to": [{"operation": {"ports": ["8080"]}}]}]


def test_a_policy_that_nothing_enforces_is_not_brought_to_life() -> None:
    out, result = sidecars(NAMESPACE + WAYPOINT + workload("payment", "a: b") + policy("l7", CHARGE))
    assert not [kind for kind, _ in out if kind == "AuthorizationPolicy"]
    assert ("AuthorizationPolicy", "l7") in removed(result) and "MP240" in codes(result)
    said = {entry.path: entry.disposition for entry in result.ledger}
    assert said["spec.rules[0].to[0].operation.methods[0]"] == "irrelevant"  # other rules do nothing either
    assert said["spec.targetRefs[0].name"] == "translated"  # another Service may have a waypoint


def test_an_address_of_a_service_is_none_of_its_pods() -> None:
    rule = "{from: [{source: {namespaces: [shop]}}], when: [{key: destination.ip, values: [10.96.0.7]}]}"
    out, result = sidecars(SHOP + policy("l4", rule) + ONLY_BY_WAYPOINT)
    assert "rules" not in out["AuthorizationPolicy", "l4"]["spec"] and "MP739" in codes(result)
    out, result = sidecars(SHOP + policy("l4", rule, action="DENY"))
    assert "when" not in out["AuthorizationPolicy", "l4"]["spec"]["rules"][0] and "MP739" in codes(result)


def test_disable_stays_what_it_was_at_ztunnel() -> None:
    mode = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: payment, namespace: shop}
spec: {selector: {matchLabels: {app: payment}}, mtls: {mode: DISABLE}}
---
"""
    out, _ = sidecars(SHOP + mode)
    assert out["PeerAuthentication", "payment"]["spec"]["mtls"] == {"mode": "PERMISSIVE"}


@pytest.mark.parametrize(
    ("spec", "code"),
    [("selector: {matchLabels: {app: payment}}, ", "MP738"), ('targetRefs: [{group: "", kind: Service, name: payment}], ', "MP737")],
)
def test_what_the_other_data_plane_does_not_read_is_said(spec: str, code: str) -> None:
    tokens = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: jwt, namespace: shop}}
spec: {{{spec}jwtRules: [{{issuer: https://issuer.example.com}}]}}
---
"""
    _, result = sidecars(SHOP + tokens)
    assert code in codes(result)


def test_there_and_back_the_pods_admit_the_same() -> None:
    there = SHOP.replace("istio.io/dataplane-mode: ambient", "istio-injection: enabled")
    there = there.replace("{istio.io/use-waypoint: waypoint}", "{a: b}").replace(WAYPOINT, "")
    first = meshport.load_text(there + policy("l7", CHARGE, SELECTOR))
    ambient = meshport.convert(first, source="istio", target="istio", data_plane="ambient")
    middle = meshport.load_objects(
        [*(item.object for item in ambient.manifests), *(one.value for one in first.documents if one.kind == "Deployment")]
    )
    back = meshport.convert(middle, source="istio", target="istio", data_plane="sidecar")
    assert back.verification.verdict == "equivalent" and not [one for one in back.findings if one.code == "MP900"]
    assert [item.object["spec"]["rules"][0]["from"] for item in back.manifests if item.object["kind"] == "AuthorizationPolicy"] == [
        [{"source": {"principals": ["cluster.local/ns/shop/sa/checkout"]}}]
    ]


def test_ports_that_ztunnel_took_do_not_go_past_the_sidecar() -> None:
    note = 'annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "9090"}, labels: {app: payment}'
    shop = NAMESPACE + workload("payment", "a: b").replace("metadata: {labels: {app: payment}}", "metadata: {" + note + "}")
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}"
    out, _ = sidecars(shop + policy("l4", rule, SELECTOR))
    assert "annotations" not in out["Deployment", "payment"]["spec"]["template"]["metadata"]


def test_a_deny_that_refuses_the_waypoint_refuses_whoever_came_through_it() -> None:
    deny = policy("strangers", "{from: [{source: {notNamespaces: [ops]}}]}", SELECTOR, "DENY")
    out, result = sidecars(SHOP + policy("l7", CHARGE) + ONLY_BY_WAYPOINT + deny)
    assert out["AuthorizationPolicy", "strangers"]["spec"]["rules"] == [
        {"from": [{"source": {"notNamespaces": ["ops"]}}]},
        {"to": [{"operation": {"ports": ["8080"]}}]},  # on others the waypoint stands before nobody
    ]
    assert "MP244" in codes(result)


def test_a_deny_of_the_waypoint_by_name_and_address_refuses_whoever_came_through_it() -> None:
    """Its address is not in the input, so it may be among those that are refused."""
    source = "{principals: [cluster.local/ns/shop/sa/waypoint], ipBlocks: [10.0.0.0/8]}"
    deny = policy("gate", f"{{from: [{{source: {source}}}]}}", SELECTOR, "DENY")
    out, result = sidecars(SHOP + policy("l7", CHARGE) + ONLY_BY_WAYPOINT + deny)
    assert out["AuthorizationPolicy", "gate"]["spec"]["rules"][-1] == {"to": [{"operation": {"ports": ["8080"]}}]}
    assert any("by addresses of which its own" in found.message for found in result.findings if found.code == "MP244")


def test_an_exception_of_a_deny_for_the_waypoint_leaves_with_it() -> None:
    deny = policy(
        "no-shop", "{from: [{source: {namespaces: [shop], notPrincipals: [cluster.local/ns/shop/sa/waypoint]}}]}", SELECTOR, "DENY"
    )
    out, result = sidecars(SHOP + policy("l7", CHARGE) + ONLY_BY_WAYPOINT + deny)
    assert out["AuthorizationPolicy", "no-shop"]["spec"]["rules"] == [{"from": [{"source": {"namespaces": ["shop"]}}]}]
    assert "MP244" not in codes(result)


def test_a_named_port_that_some_pods_do_not_declare_is_not_opened_there() -> None:
    """The Service reached `admin` at one of the two; a policy of both by number would open it at the other."""
    named = workload("payment", ports="{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81, targetPort: admin}").replace(
        "{containerPort: 9090}", "{containerPort: 9090, name: admin}"
    )
    canary = workload("canary", "a: b").replace("{app: canary}", "{app: payment, track: canary}")
    out, result = sidecars(NAMESPACE + WAYPOINT + named + canary + workload("checkout", "a: b") + policy("l7", CHARGE) + ONLY_BY_WAYPOINT)
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"][0]["to"][0]["operation"]["ports"] == ["8080"]
    said = [finding for finding in result.findings if finding.code == "MP244"]
    assert [(place.workload, place.port) for finding in said for place in finding.affects] == [("payment", 9090)]


def test_what_comes_through_a_waypoint_on_a_named_port_is_let_in_where_all_pods_have_it() -> None:
    """Nothing hangs on the Service, so that it lets everybody through; the labels of the one select the other too, which has no `admin`."""
    named = workload("payment", ports="{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81, targetPort: admin}").replace(
        "{containerPort: 9090}", "{containerPort: 9090, name: admin}"
    )
    canary = workload("canary", "a: b").replace("{app: canary}", "{app: payment, track: canary}")
    out, result = sidecars(NAMESPACE + WAYPOINT + named + canary + ONLY_BY_WAYPOINT)
    opened = [one["spec"] for (kind, _), one in out.items() if kind == "AuthorizationPolicy"]
    ports = {
        port for spec in opened for rule in spec.get("rules", ()) for item in rule.get("to", ()) for port in item["operation"]["ports"]
    }
    assert ports == {"8080"}
    assert any("gives a port by name" in finding.message for finding in result.findings if finding.code == "MP244")


def test_a_guard_that_gives_no_more_than_the_waypoint_is_read_as_it_stands() -> None:
    """Whoever the address admits, the Service admits too: nothing is split by how a request comes."""
    but = "{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/checkout]}}]}"
    waypoint = "{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}"
    out, result = sidecars(SHOP + policy("l7", but) + policy("guard", f"{waypoint}, {but}", SELECTOR))
    assert "MP170" not in codes(result)
    assert out["AuthorizationPolicy", "guard"]["spec"]["rules"] == [
        {"from": [{"source": {"notPrincipals": ["cluster.local/ns/shop/sa/checkout"]}}]}
    ]
