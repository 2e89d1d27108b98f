"""Istio ambient as the target: what ztunnel holds stays with the pods, the rest goes to a waypoint; from Linkerd and from sidecars."""

from __future__ import annotations

from typing import Any

import pytest
from test_access_to_istio import grant, route, server, world
from test_ambient_read import CHARGE, SELECTOR, codes, policy, workload

import meshport

SIDECARS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
"""


def ambient(text: str, source: str = "istio", **options: Any) -> tuple[dict[tuple[str, str], dict[str, Any]], Any]:
    result = meshport.convert(meshport.load_text(text), source=source, target="istio", data_plane="ambient", **options)
    assert not [finding for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")]
    assert result.verification is not None
    told = ("asks an external authorizer", "through the waypoint")  # nobody can tell what it will answer; MP190 says what the network stops
    asked = [why for why in result.verification.undecided if any(words in why for words in told)]
    assert asked or {item.change for item in result.verification.differences} <= {"denied"}
    return {(item.object["kind"], item.object["metadata"]["name"]): item.object for item in result.manifests}, result


def shop(payment: str = "", **more: str) -> str:
    return SIDECARS + workload("payment", "a: b", pod=payment, **more) + workload("checkout", "a: b")


def test_labels_of_ambient_for_those_of_sidecars() -> None:
    out, result = ambient(shop(', sidecar.istio.io/inject: "false"'))
    assert out["Namespace", "shop"]["metadata"]["labels"] == {"istio.io/dataplane-mode": "ambient"}
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"] == {"app": "payment", "istio.io/dataplane-mode": "none"}
    assert (
        result.install["helm_values"]["istiod"]["profile"] == "ambient"
        and result.install["helm_values"]["istio-cni"]["profile"] == "ambient"
    )


def test_what_ztunnel_can_hold_is_not_touched() -> None:
    rules = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {ports: ['8080']}}]}"
    out, _ = ambient(shop() + STRICT + policy("l4", rules, SELECTOR))
    assert {kind for kind, _ in out} == {"Namespace"}


def test_what_asks_for_http_hangs_on_the_service_and_the_pods_admit_the_waypoint() -> None:
    out, result = ambient(shop() + STRICT + policy("l7", CHARGE, SELECTOR))
    gateway = out["Gateway", "waypoint"]
    assert gateway["spec"] == {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}
    assert out["Service", "payment"]["metadata"]["labels"]["istio.io/use-waypoint"] == "waypoint"
    assert ("Service", "checkout") not in out  # only what needs it
    assert out["AuthorizationPolicy", "l7"]["spec"]["targetRefs"] == [{"group": "", "kind": "Service", "name": "payment"}]
    assert "selector" not in out["AuthorizationPolicy", "l7"]["spec"]
    assert out["AuthorizationPolicy", "l7-only-by-waypoint"]["spec"] == {
        "selector": {"matchLabels": {"app": "payment"}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}],
    }
    assert codes(result) >= {"MP101", "MP114"}


def test_rules_without_http_admit_their_callers_past_the_waypoint_too() -> None:
    scrape = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {ports: ['9090']}}]}"
    out, _ = ambient(shop() + STRICT + policy("l7", CHARGE + ", " + scrape, SELECTOR))
    assert out["AuthorizationPolicy", "l7-only-by-waypoint"]["spec"]["rules"][1]["to"] == [{"operation": {"ports": ["9090"]}}]


def test_container_ports_become_those_of_the_service() -> None:
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 9090}"
    rules = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {methods: [GET], ports: ['9090']}}]}"
    out, _ = ambient(shop(ports=ports) + STRICT + policy("l7", rules, SELECTOR))
    assert out["AuthorizationPolicy", "l7"]["spec"]["rules"][0]["to"] == [{"operation": {"methods": ["GET"], "ports": ["81"]}}]


def test_a_port_that_may_mean_either_is_not_guessed() -> None:
    ports = "{name: http, port: 8080, targetPort: 9090}, {name: http-admin, port: 9090, targetPort: 8080}"
    rules = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {methods: [GET], ports: ['9090']}}]}"
    out, result = ambient(shop(ports=ports) + STRICT + policy("l7", rules, SELECTOR))
    assert "rules" not in out["AuthorizationPolicy", "l7"]["spec"]
    assert "MP244" in codes(result)


def test_a_deny_on_a_port_that_a_service_sends_to_by_name_holds_whatever_number_each_pod_gives_it() -> None:
    named = "{name: http, port: 80, targetPort: web}"
    pods = shop(ports=named).replace("{containerPort: 8080}, {containerPort: 9090}", "{name: web, containerPort: 8080}", 1)
    other = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: payment-v2, namespace: shop}
spec:
  selector: {matchLabels: {app: payment, version: v2}}
  template:
    metadata: {labels: {app: payment, version: v2}}
    spec: {containers: [{name: app, image: payment, ports: [{name: web, containerPort: 8081}]}]}
---
"""
    rule = "{to: [{operation: {methods: [DELETE], ports: ['8081']}}]}"
    out, result = ambient(pods + other + STRICT + policy("no-delete", rule, SELECTOR, "DENY"))
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["rules"] == [{"to": [{"operation": {"methods": ["DELETE"], "ports": ["80"]}}]}]
    assert "MP244" in codes(result)


def test_accounts_in_conditions_are_principals_that_ztunnel_knows() -> None:
    rule = "{when: [{key: source.serviceAccount, values: [checkout], notValues: [ops/batch]}]}"
    out, result = ambient(shop() + STRICT + policy("accounts", rule, SELECTOR, "DENY"))
    said = {"key": "source.principal", "values": ["*/ns/shop/sa/checkout"], "notValues": ["*/ns/ops/sa/batch"]}
    assert out["AuthorizationPolicy", "accounts"]["spec"]["rules"] == [{"when": [said]}]
    assert ("Gateway", "waypoint") not in out and "MP245" not in codes(result)
    lines = [line for line in result.ledger if line.path.startswith("spec.rules") and "when" in line.path]
    assert len(lines) == 3 and {line.disposition for line in lines} == {"translated"}


def test_a_deny_beside_accounts_spares_the_waypoint_as_an_account() -> None:
    """serviceAccounts and principals cannot stand in one source."""
    rules = "{to: [{operation: {methods: [DELETE]}}]}, {from: [{source: {notServiceAccounts: [checkout]}}]}"
    everywhere = policy("no-delete", rules, SELECTOR, "DENY").replace("namespace: shop", "namespace: istio-system")
    out, _ = ambient(shop() + STRICT + everywhere)
    source = out["AuthorizationPolicy", "no-delete"]["spec"]["rules"][1]["from"][0]["source"]
    assert source == {"notServiceAccounts": ["checkout", "shop/waypoint"]}


def test_a_deny_that_asks_for_http_closes_the_way_past_the_waypoint() -> None:
    rule = "{to: [{operation: {methods: [DELETE], ports: ['8080']}}]}"
    out, result = ambient(shop() + STRICT + policy("no-delete", rule, SELECTOR, "DENY"))
    hung = out["AuthorizationPolicy", "no-delete"]["spec"]
    assert hung["targetRefs"][0]["name"] == "payment" and hung["rules"] == [
        {"to": [{"operation": {"methods": ["DELETE"], "ports": ["80"]}}]}
    ]
    assert out["AuthorizationPolicy", "no-delete-only-by-waypoint"]["spec"]["rules"][1] == {"to": [{"operation": {"notPorts": ["8080"]}}]}
    assert "MP245" in codes(result)


def test_a_deny_closes_the_pods_too_that_are_not_shown_where_all_others_are_closed() -> None:
    """It moves to the Service of the pods that are shown, and nothing would hold it for the rest of the namespace."""
    web = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
    checkout = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}"
    allows = policy("a", checkout, SELECTOR) + policy("b", checkout, SELECTOR.replace("payment", "checkout"))
    deny = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", "selector: {}", "DENY")
    out, result = ambient(shop() + web + STRICT + allows + deny)
    shut = out["AuthorizationPolicy", "no-delete-only-by-waypoint"]["spec"]
    assert not shut.get("selector") and shut["rules"] == [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}]
    found = next(one for one in result.findings if one.code == "MP245")
    assert "the pods of Service shop/web admit only the waypoint" in found.message
    assert [(one.namespace, one.workload) for one in found.affects] == [("shop", None)]


def test_a_deny_holds_for_pods_that_are_not_shown_where_an_allow_opens_them() -> None:
    anybody = policy("open", "{}", SELECTOR.replace("payment", "web"))
    deny = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", "selector: {}", "DENY")
    out, result = ambient(shop() + STRICT + anybody + deny)
    kept = out["AuthorizationPolicy", "no-delete-open"]["spec"]
    assert kept == {"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]}
    assert any(one.code == "MP244" and [(a.namespace, a.workload) for a in one.affects] == [("shop", "app=web")] for one in result.findings)


def test_a_deny_on_every_port_leaves_none_open_that_no_service_sends_to() -> None:
    out, _ = ambient(shop() + STRICT + policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", SELECTOR, "DENY"))
    assert len(out["AuthorizationPolicy", "no-delete-only-by-waypoint"]["spec"]["rules"]) == 1


def test_a_deny_leaves_open_nothing_that_another_one_needs_closed() -> None:
    """Allows add up: each deny that goes to the waypoint closes the way past it by one."""
    everywhere = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", SELECTOR, "DENY")
    elsewhere = policy("no-put", "{to: [{operation: {methods: [PUT], ports: ['9191']}}]}", SELECTOR, "DENY")
    out, _ = ambient(shop() + STRICT + everywhere + elsewhere)
    for name in ("no-delete", "no-put"):
        assert len(out["AuthorizationPolicy", f"{name}-only-by-waypoint"]["spec"]["rules"]) == 1


def test_what_a_deny_refuses_without_http_stays_refused_on_ports_that_no_service_sends_to() -> None:
    by_caller = "{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/checkout]}}]}"
    rules = "{to: [{operation: {paths: [/admin], ports: ['8080']}}]}, " + by_caller
    out, _ = ambient(shop() + STRICT + policy("no-admin", rules, SELECTOR, "DENY"))
    assert out["AuthorizationPolicy", "no-admin-other-ports"]["spec"] == {
        "selector": {"matchLabels": {"app": "payment"}},
        "action": "DENY",
        "rules": [
            {"from": [{"source": {"notPrincipals": ["cluster.local/ns/shop/sa/checkout", "cluster.local/ns/shop/sa/waypoint"]}}]},
        ],
    }


def test_without_a_service_an_allow_that_asks_for_http_is_left_out() -> None:
    text = SIDECARS + "---".join(part for part in workload("payment", "a: b").split("---") if "kind: Service\n" not in part)
    out, result = ambient(text + "---" + policy("l7", CHARGE, SELECTOR))
    assert "rules" not in out["AuthorizationPolicy", "l7"]["spec"] and out["AuthorizationPolicy", "l7"]["spec"]["selector"]
    assert "MP244" in codes(result)


def test_without_a_service_a_deny_refuses_more() -> None:
    text = SIDECARS + "---".join(part for part in workload("payment", "a: b").split("---") if "kind: Service\n" not in part)
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}], to: [{operation: {methods: [DELETE]}}]}"
    out, _ = ambient(text + "---" + policy("no-delete", rule, SELECTOR, "DENY"))
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["rules"] == [
        {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/batch"]}}]}
    ]


def test_ztunnel_gets_the_real_trust_domain() -> None:
    out, result = ambient(shop() + STRICT + policy("l7", CHARGE, SELECTOR), trust_domain="prod.example.com")
    said = [
        item["source"]["principals"]
        for (kind, _), one in out.items()
        if kind == "AuthorizationPolicy"
        for item in one["spec"]["rules"][0]["from"]
    ]
    assert sorted(said) == [["prod.example.com/ns/shop/sa/checkout"], ["prod.example.com/ns/shop/sa/waypoint"]]
    assert {line.disposition for line in result.ledger if "principals" in line.path} == {"translated"}


def test_what_nothing_reads_in_ambient_is_said() -> None:
    filters = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec: {configPatches: [{applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND}, patch: {operation: REMOVE}}]}
---
"""
    _, result = ambient(shop() + filters)
    assert [(finding.code, finding.severity) for finding in result.findings if finding.code == "MP112"] == [("MP112", "error")]


def test_what_is_ambient_already_stays_as_it_is() -> None:
    once, first = ambient(shop() + STRICT + policy("l7", CHARGE, SELECTOR))
    again = first.text() + "---" + workload("checkout", "a: b") + STRICT
    deployment = "---".join(part for part in workload("payment").split("---") if "kind: Service\n" not in part)
    out, result = ambient(again + "---" + deployment)
    assert once and out == {} and result.verification.verdict == "equivalent"


def test_linkerd_rules_on_a_route_go_to_the_waypoint() -> None:
    text = (
        world()
        + server()
        + route("{method: GET, path: {type: Exact, value: /x}}")
        + grant("{kind: ServiceAccount, name: web, namespace: shop}", "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}")
    )
    out, _ = ambient(text, "linkerd")
    hung = [one for (kind, _), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" in one["spec"]]
    held = [one for (kind, _), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" not in one["spec"]]
    assert [one["spec"]["targetRefs"][0]["name"] for one in hung] == ["users"]
    assert {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]} in held[0]["spec"]["rules"]
    assert {"to": [{"operation": {"notPorts": ["8080"]}}]} in held[0]["spec"]["rules"]  # ports without a Server stay open
    assert out["Namespace", "shop"]["metadata"]["labels"] == {"istio.io/dataplane-mode": "ambient"}


def test_an_ambient_bundle_onto_itself_stays_as_it_is() -> None:
    text = shop().replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient")
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio")
    assert result.manifests == [] and result.findings == [] and result.removals == []


def test_old_versions_are_written_anew_and_nothing_else() -> None:
    old = policy("l4", "{}", SELECTOR).replace("security.istio.io/v1", "security.istio.io/v1beta1")
    result = meshport.convert(meshport.load_text(shop() + old), source="istio", target="istio")
    assert [(item.object["kind"], item.object["apiVersion"]) for item in result.manifests] == [
        ("AuthorizationPolicy", "security.istio.io/v1")
    ]
    assert not [finding for finding in result.findings if finding.severity != "info"] and result.removals == []


ROOT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everywhere, namespace: istio-system}
spec: {action: DENY, rules: [{from: [{source: {serviceAccounts: [batch]}}], to: [{operation: {methods: [GET]}}]}]}
---
"""


@pytest.mark.parametrize(
    "rule",
    [
        "{from: [{source: {trustDomains: [cluster.local]}}]}",
        "{from: [{source: {namespaces: ['sh*p']}}]}",
        "{when: [{key: source.namespace, values: ['sh*p']}]}",
    ],
)
def test_what_ztunnel_reads_otherwise_goes_to_the_waypoint(rule: str) -> None:
    out, _ = ambient(shop() + STRICT + policy("l7", rule, SELECTOR), target_version="1.30")
    assert "targetRefs" in out["AuthorizationPolicy", "l7"]["spec"]
    guard = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}
    assert out["AuthorizationPolicy", "l7-only-by-waypoint"]["spec"]["rules"] == [guard]


def test_an_account_without_a_namespace_keeps_it_in_another_one() -> None:
    out, _ = ambient(shop() + STRICT + ROOT)
    hung = [one for (kind, _), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" in one["spec"]]
    assert hung and all(one["spec"]["rules"][0]["from"] == [{"source": {"serviceAccounts": ["istio-system/batch"]}}] for one in hung)


def test_ztunnel_gets_the_real_trust_domain_in_when_too() -> None:
    rule = (
        "{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {ports: ['9090']}}], "
        "when: [{key: source.principal, values: [cluster.local/ns/shop/sa/checkout]}]}"
    )
    out, result = ambient(shop() + STRICT + policy("l7", rule, SELECTOR), trust_domain="prod.example.com")
    assert {line.disposition for line in result.ledger if ".values" in line.path} == {"translated"}
    when = out["AuthorizationPolicy", "l7-only-by-waypoint"]["spec"]["rules"][1]["when"]
    assert when == [{"key": "source.principal", "values": ["prod.example.com/ns/shop/sa/checkout"]}]


def test_a_policy_that_stays_at_ztunnel_gets_the_real_trust_domain() -> None:
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}"
    out, _ = ambient(shop() + STRICT + policy("l4", rule, SELECTOR), trust_domain="prod.example.com")
    source = out["AuthorizationPolicy", "l4"]["spec"]["rules"][0]["from"][0]["source"]
    assert source == {"principals": ["prod.example.com/ns/shop/sa/checkout"]}


def test_a_port_in_when_is_that_of_the_service_too() -> None:
    rules = "{to: [{operation: {methods: [DELETE]}}], when: [{key: destination.port, values: ['8080']}, {key: source.ip, values: [10.0.0.0/8]}]}"
    out, result = ambient(shop() + STRICT + policy("no-delete", rules, SELECTOR, "DENY"))
    assert out["AuthorizationPolicy", "no-delete"]["spec"]["rules"] == [
        {"to": [{"operation": {"methods": ["DELETE"], "ports": ["80"]}}], "when": [{"key": "source.ip", "values": ["10.0.0.0/8"]}]}
    ]
    assert "MP244" not in codes(result)


def test_pods_of_one_service_that_admit_other_callers_are_not_opened_to_each_others() -> None:
    """The waypoint does not tell the canary from the rest: what one of them refuses is refused at both, and said."""
    canary = workload("canary", "a: b").replace("{app: canary}", "{app: payment, track: canary}")
    more = policy("canary", CHARGE.replace("sa/checkout", "sa/tester"), "selector: {matchLabels: {track: canary}}")
    out, result = ambient(shop() + canary + STRICT + policy("l7", CHARGE, SELECTOR) + more)
    admitted = [
        source
        for (kind, _), obj in out.items()
        if kind == "AuthorizationPolicy" and {"group": "", "kind": "Service", "name": "payment"} in obj["spec"].get("targetRefs", ())
        for rule in obj["spec"].get("rules", ())
        for source in rule["from"]
    ]
    assert admitted == [{"source": {"principals": ["cluster.local/ns/shop/sa/checkout"]}}]
    assert any("does not tell pods apart" in finding.message for finding in result.findings if finding.code == "MP244")


def test_a_deny_by_namespace_does_not_refuse_the_waypoint_that_stands_in_it() -> None:
    deny = policy(
        "no-shop",
        "{from: [{source: {namespaces: [shop]}}]}, {from: [{source: {principals: [cluster.local/ns/ops/sa/x]}}]}",
        SELECTOR,
        "DENY",
    )
    out, _ = ambient(shop() + STRICT + policy("l7", CHARGE.replace("ns/shop/sa/checkout", "ns/ops/sa/web"), SELECTOR) + deny)
    assert out["AuthorizationPolicy", "no-shop"]["spec"]["rules"] == [
        {"from": [{"source": {"namespaces": ["shop"], "notPrincipals": ["cluster.local/ns/shop/sa/waypoint"]}}]},
        {"from": [{"source": {"principals": ["cluster.local/ns/ops/sa/x"]}}]},
    ]
    assert out["AuthorizationPolicy", "no-shop-waypoint"]["spec"]["rules"][0] == {"from": [{"source": {"namespaces": ["shop"]}}]}


@pytest.mark.parametrize(
    ("asked", "said"),
    [("[{key: source.namespace, values: [shop]}]", False), ("[{key: source.namespace, notValues: [web]}]", True), ("[]", True)],
)
def test_a_rule_that_asks_for_a_name_in_when_admits_not_everybody(asked: str, said: bool) -> None:
    """Callers without an identity had nothing of such a rule, so that they lose nothing at ztunnel."""
    rule = "{to: [{operation: {methods: [POST], ports: ['8080']}}], when: " + asked + "}"
    _, result = ambient(shop() + policy("l7", rule, SELECTOR))
    assert ("MP113" in codes(result)) is said


def test_pods_with_a_proxy_of_their_own_that_is_none_of_the_mesh_stay_out_of_it() -> None:
    """Istio's own Prometheus had one for its certificates; without the mark against injection the proxy would count as the mesh's."""
    own = shop(', sidecar.istio.io/inject: "false"').replace("containers: [", "containers: [{name: istio-proxy, image: proxyv2}, ")
    out, result = ambient(own.replace("istio-injection: enabled", "istio-injection: disabled") + STRICT)
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"]["istio.io/dataplane-mode"] == "none"
    assert result.verification.differences == []
