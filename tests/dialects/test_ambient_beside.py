"""From sidecars to ambient: what stands beside the pods that move. Gateways keep their proxy, and policies, routes and tokens that ztunnel and waypoints
do not read as sidecars did are moved or said."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_read import CHARGE, NAMESPACE, SELECTOR, WAYPOINT, codes, policy, workload
from test_ambient_written import STRICT, ambient, shop

import meshport

EDGE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: HOME}
spec:
  selector: {matchLabels: {istio: edge}}
  template:
    metadata: {labels: {istio: edgeMARK}, annotations: {inject.istio.io/templates: gateway}}
    spec: {serviceAccountName: edge, containers: [{name: istio-proxy, image: auto, ports: [{containerPort: 8443}]}]}
---
"""
TRACE = "{to: [{operation: {methods: [TRACE]}}]}"


def edge(home: str, mark: str = ', sidecar.istio.io/inject: "true"') -> str:
    return EDGE.replace("HOME", home).replace("MARK", mark)


def root(name: str, rules: str) -> str:
    return policy(name, rules, "selector: {}", "DENY").replace("namespace: shop", "namespace: istio-system")


def test_a_gateway_keeps_its_proxy_and_its_policies() -> None:
    own = policy("public", "{to: [{operation: {paths: ['/public*']}}]}", "selector: {matchLabels: {istio: edge}}")
    out, result = ambient(shop() + edge("istio-system") + own.replace("namespace: shop", "namespace: istio-system"))
    assert ("Deployment", "edge") not in out and ("AuthorizationPolicy", "public") not in out and not result.removals


def test_a_gateway_that_the_namespace_injected_is_injected_by_a_label_of_its_own() -> None:
    out, _ = ambient(shop() + edge("shop", ""))
    assert out["Deployment", "edge"]["spec"]["template"]["metadata"]["labels"] == {"istio": "edge", "sidecar.istio.io/inject": "true"}


def test_a_deny_of_the_namespace_still_holds_at_its_gateway_which_no_guard_closes() -> None:
    """The guard closes all other pods, also those that the bundle does not show and before which no Service stands."""
    out, result = ambient(shop() + edge("shop") + policy("no-trace", TRACE, "selector: {}", "DENY"))
    assert out["AuthorizationPolicy", "no-trace"]["spec"]["targetRefs"]
    assert out["AuthorizationPolicy", "no-trace-edge"]["spec"]["selector"] == {"matchLabels": {"istio": "edge"}}
    assert "selector" not in out["AuthorizationPolicy", "no-trace-only-by-waypoint"]["spec"]
    assert out["AuthorizationPolicy", "edge-as-before"]["spec"] == {
        "selector": {"matchLabels": {"istio": "edge"}},
        "action": "ALLOW",
        "rules": [{}],
    }
    assert ("shop", None) in {(one.namespace, one.workload) for item in result.findings if item.code == "MP245" for one in item.affects}


def test_a_deny_of_the_mesh_stays_for_gateways_and_closes_no_namespace_but_those_without_a_waypoint() -> None:
    batch = shop().split("---")[0] + "---" + workload("job").split("---")[1] + "---"
    out, result = ambient(shop() + batch.replace("shop", "batch") + root("no-trace", TRACE))
    assert not result.removals
    denies = {
        (one["metadata"]["namespace"], name): one["spec"]
        for (kind, name), one in out.items()
        if kind == "AuthorizationPolicy" and one["spec"].get("action") == "DENY"
    }
    assert denies["batch", "no-trace"]["rules"] == [{}]
    assert denies["shop", "no-trace-waypoint"]["rules"] == [{"to": [{"operation": {"methods": ["TRACE"]}}]}]
    assert len(denies) == 2


def test_an_external_authorizer_is_asked_at_the_waypoint_and_nobody_goes_past_it() -> None:
    asks = policy("ext", "{to: [{operation: {paths: [/secret]}}]}", SELECTOR + ", provider: {name: opa}", "CUSTOM")
    out, _ = ambient(shop() + asks)
    spec = out["AuthorizationPolicy", "ext"]["spec"]
    assert (spec["action"], spec["provider"], spec["targetRefs"][0]["name"]) == ("CUSTOM", {"name": "opa"}, "payment")
    assert out["AuthorizationPolicy", "ext-only-by-waypoint"]["spec"]["action"] == "ALLOW"


def test_an_external_authorizer_that_nothing_can_ask_is_a_deny() -> None:
    asks = policy("ext", "{to: [{operation: {paths: [/secret]}}]}", SELECTOR + ", provider: {name: opa}", "CUSTOM")
    alone = "---".join(part for part in shop().split("---") if "kind: Service\n" not in part)
    out, _ = ambient(alone + asks)
    assert out["AuthorizationPolicy", "ext"]["spec"] == {"selector": {"matchLabels": {"app": "payment"}}, "action": "DENY", "rules": [{}]}


def of(result: Any, code: str) -> list[tuple[str, str]]:
    return [(finding.message.split()[0], finding.severity) for finding in result.findings if finding.code == code]


def test_a_match_by_the_clients_pods_is_said_for_it_would_hold_for_all() -> None:
    routes = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payment, namespace: shop}
spec:
  hosts: [payment]
  http:
  - match: [{sourceLabels: {app: checkout}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: payment}}]
  - route: [{destination: {host: payment}}]
"""
    _, result = ambient(shop() + routes)
    assert of(result, "MP730") == [("VirtualService", "error")]
    lines = {line.path: line.disposition for line in result.ledger}
    assert lines["spec.http[0].match[0].sourceLabels.app"] == "dropped"


def test_rules_in_the_clients_namespace_are_said_and_need_no_waypoint() -> None:
    rules = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payment, namespace: front}
spec: {hosts: [payment.shop.svc.cluster.local], http: [{timeout: 2s, route: [{destination: {host: payment.shop.svc.cluster.local}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: payment, namespace: front}
spec: {host: payment.shop.svc.cluster.local, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
"""
    out, result = ambient(shop() + rules)
    assert of(result, "MP731") == [("DestinationRule", "warning"), ("VirtualService", "warning")]
    assert not of(result, "MP115") and ("Gateway", "waypoint") not in out


def test_what_a_sidecar_refused_to_send_may_leave_and_that_is_an_error() -> None:
    sidecar = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
    result = meshport.convert(meshport.load_text(shop() + sidecar), source="istio", target="istio", data_plane="ambient")
    found = {finding.code: finding for finding in result.findings}
    assert "MP900" not in found and (found["MP760"].severity, found["MP760"].effect) == ("error", "widens")


def test_ports_that_went_past_the_sidecar_do_not_go_past_ztunnel() -> None:
    note = "metadata: {labels: {app: payment}"
    text = shop().replace(note, note + ', annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "9090"}')
    strict = policy("x", "{}").replace("AuthorizationPolicy", "PeerAuthentication").split("spec:")[0] + "spec: {mtls: {mode: STRICT}}\n"
    out, result = ambient(text + strict)
    assert "annotations" not in out["Deployment", "payment"]["spec"]["template"]["metadata"]
    assert [(finding.code, finding.effect) for finding in result.findings if finding.code == "MP732"] == [("MP732", "narrows")]
    moved = text.replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient")
    there = meshport.convert(meshport.load_text(moved), source="istio", target="linkerd")
    assert "MP733" in {finding.code for finding in there.findings}
    assert "skip-inbound-ports" not in there.text()


PAST = shop().replace(
    "metadata: {labels: {app: payment}",
    'metadata: {labels: {app: payment}, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "8080,9090"}',
)
CHECKOUT = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}"


@pytest.mark.parametrize("rules", [CHECKOUT, CHARGE], ids=["ztunnel", "waypoint"])
def test_ports_that_went_past_the_sidecar_are_open_beside_an_allow(rules: str) -> None:
    """At the pods, and at the waypoint on the port of the Service that sends there."""
    out, result = ambient(PAST + policy("x", rules, SELECTOR))
    at_pods = out["AuthorizationPolicy", "payment-open-ports" if rules == CHECKOUT else "payment-open-ports-only-by-waypoint"]
    assert at_pods["spec"]["selector"] == {"matchLabels": {"app": "payment"}}
    assert {"to": [{"operation": {"ports": ["8080", "9090"]}}]} in at_pods["spec"]["rules"]
    if rules == CHARGE:
        assert out["AuthorizationPolicy", "payment-open-ports"]["spec"]["targetRefs"][0]["name"] == "payment"
    assert "MP732" not in codes(result)


@pytest.mark.parametrize(
    "beside", [policy("refuse", "{to: [{operation: {ports: ['9090', '8080']}}]}", SELECTOR, action="DENY"), STRICT], ids=["deny", "strict"]
)
def test_ports_that_went_past_the_sidecar_stay_closed_where_more_than_an_allow_holds(beside: str) -> None:
    out, result = ambient(PAST + policy("x", CHECKOUT, SELECTOR) + beside)
    assert "MP732" in codes(result) and ("AuthorizationPolicy", "payment-open-ports") not in out


def test_ports_that_went_past_the_sidecar_stay_closed_for_pods_with_the_labels_of_others() -> None:
    twin = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: twin, namespace: shop}
spec:
  selector: {matchLabels: {app: payment}}
  template:
    metadata: {labels: {app: payment}}
    spec: {containers: [{name: app, image: payment, ports: [{containerPort: 8080}]}]}
---
"""
    out, result = ambient(PAST + twin + policy("x", CHECKOUT, SELECTOR))
    assert "MP732" in codes(result) and ("AuthorizationPolicy", "payment-open-ports") not in out


@pytest.mark.parametrize(
    ("rules", "effect"),
    [(CHECKOUT, "widens"), (CHECKOUT.replace("sa/checkout", "sa/other"), "none"), ("{}", "none")],
    ids=["named", "another", "all"],
)
def test_callers_that_went_past_their_sidecar_show_their_account(rules: str, effect: str) -> None:
    """They were refused where it is asked for, and are let in: that is said, with the pods."""
    note = "metadata: {labels: {app: checkout}"
    text = shop().replace(note, note + ', annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "8080"}')
    result = meshport.convert(meshport.load_text(text + policy("x", rules, SELECTOR)), source="istio", target="istio", data_plane="ambient")
    (found,) = [finding for finding in result.findings if finding.code == "MP763"]
    places = [(one.workload, one.port) for one in found.affects]
    assert (found.effect, places) == (effect, [("payment", 8080)] if effect == "widens" else [])
    assert result.verification is not None and result.verification.verdict == ("inconclusive" if effect == "widens" else "equivalent")
    assert "excludeOutboundPorts" not in result.text()


def test_a_gateway_of_the_gateway_api_keeps_what_its_namespace_refuses_and_is_not_closed() -> None:
    gateway = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
"""
    out, _ = ambient(shop() + gateway + policy("no-trace", TRACE, "selector: {}", "DENY"))
    held = out["AuthorizationPolicy", "no-trace-edge"]["spec"]
    assert held["targetRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]
    assert (held["action"], held["rules"]) == ("DENY", [{"to": [{"operation": {"methods": ["TRACE"]}}]}])
    assert all("selector" in one["spec"] for (_, name), one in out.items() if "only-by-waypoint" in name)


def tokens(selector: str) -> str:
    return (
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: tokens, namespace: shop}\n"
        f"spec: {{{selector}, jwtRules: [{{issuer: x, jwksUri: 'https://x/jwks'}}]}}\n"
    )


def test_tokens_are_asked_for_at_the_waypoint_where_one_stands_before_the_pods() -> None:
    out, result = ambient(shop() + policy("reads", "{to: [{operation: {methods: [GET]}}]}", SELECTOR) + tokens(SELECTOR))
    spec = out["RequestAuthentication", "tokens"]["spec"]
    assert "selector" not in spec
    assert spec["targetRefs"] == [{"group": "", "kind": "Service", "name": "payment"}]
    (said,) = [finding for finding in result.findings if finding.code == "MP126"]
    assert said.severity == "warning" and "payment" in said.message
    assert "MP112" not in {finding.code for finding in result.findings}


def test_tokens_that_no_waypoint_would_read_are_an_error() -> None:
    out, result = ambient(shop() + tokens(SELECTOR))
    assert ("RequestAuthentication", "tokens") not in out
    (said,) = [finding for finding in result.findings if finding.code == "MP112"]
    assert said.severity == "error"


def test_disable_means_nothing_to_ztunnel_and_that_is_said() -> None:
    off = f"---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: plain, namespace: shop}}\nspec: {{{SELECTOR}, mtls: {{mode: DISABLE}}}}\n"
    _, result = ambient(shop() + off)
    assert [finding.severity for finding in result.findings if finding.code == "MP111"] == ["warning"]


def test_a_check_of_tokens_at_the_wrong_service_is_seen() -> None:
    """`diff` of what a conversion writes and of the same with another Service in targetRefs."""
    world = NAMESPACE + workload("payment") + workload("other")
    tokens = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {targetRefs: [{group: "", kind: Service, name: payment}], jwtRules: [{issuer: a, jwksUri: "https://a/jwks"}]}
---"""
    told = meshport.diff(
        meshport.load_text(world + WAYPOINT + tokens),
        meshport.load_text(world + WAYPOINT + tokens.replace("name: payment", "name: other")),
        old_mesh="istio", new_mesh="istio",
    )  # fmt: skip
    assert [item.change for item in told if item.subject == "tokens at shop/payment"] == ["removed"]


def test_a_gateway_that_no_injector_made_is_not_ztunnels_in_a_namespace_that_moves() -> None:
    """Its container is the proxy itself, as in manifests that istioctl renders: what the mesh closes is not said to be closed there (MP900)."""
    made = edge("shop", ', sidecar.istio.io/inject: "false"').replace(", annotations: {inject.istio.io/templates: gateway}", "")
    out, result = ambient(shop() + made + "---\n" + root("closed", "{}"))
    assert ("Deployment", "edge") not in out
    assert "MP900" not in {finding.code for finding in result.findings}
