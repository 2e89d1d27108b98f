"""Parts of policies and routes that add nothing to the rest: nothing is written for them, and one info finding for each object names them."""

from __future__ import annotations

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: users, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: ["/users/*"]}}]
---
"""
NO_PAY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-pay, namespace: shop}
spec:
  action: DENY
  selector: {matchLabels: {app: users}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/pay]}}]}]
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_deny_of_callers_that_nobody_lets_in(target: str) -> None:
    with_it = meshport.convert(meshport.load_text(WORLD + NO_PAY), source="istio", target=target)
    without = meshport.convert(meshport.load_text(WORLD), source="istio", target=target)
    assert with_it.verification is not None
    assert without.verification is not None
    assert with_it.verification.verdict == without.verification.verdict
    if target == "cilium":  # it has denies
        assert any("ingressDeny" in item.object["spec"] for item in with_it.manifests if item.object["kind"] == "CiliumNetworkPolicy")
        return
    assert [item.object for item in with_it.manifests] == [item.object for item in without.manifests]
    (told,) = [item for item in with_it.findings if item.code == "MP200"]
    assert (told.severity, told.effect) == ("info", "none")
    assert "no-pay" in told.message
    assert "nothing that the policies allow is refused by it" in told.message
    lines = {line.path: line for line in with_it.ledger if line.document == 4}
    assert lines["spec.rules[0].from[0].source.principals[0]"].codes == ["MP200"]


def test_values_that_another_value_holds() -> None:
    text = WORLD.replace('paths: ["/users/*"]', 'paths: ["/users/*", "/users/7"]').replace("methods: [GET]", 'methods: ["GET", "G*"]')
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    (told,) = [item for item in result.findings if item.code == "MP200"]
    assert "spec.rules[0].to[0].operation.methods[0], spec.rules[0].to[0].operation.paths[1]" in told.message
    assert result.verification is not None
    assert result.verification.verdict in ("equivalent", "narrowed")


def test_a_rule_after_one_for_every_request() -> None:
    text = (
        WORLD.split("apiVersion: security")[0]
        + """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: users, port: 80}]
  rules:
  - backendRefs: [{name: users, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: late, value: "1"}]}}]
    backendRefs: [{name: users, port: 80}]
"""
    )
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target="istio")
    told = [item for item in result.findings if item.code == "MP078"]
    assert [(item.severity, item.disposition) for item in told] == [("info", "dropped")]
    assert "spec.rules[1]" in told[0].message
    assert not any("late" in str(item.object) for item in result.manifests)


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_deny_of_requests_that_there_are_none_of_still_refuses_bytes(target: str) -> None:
    """On a port without HTTP a deny loses what it asks of requests, and so what contradicts itself there."""
    deny = NO_PAY.replace("pay]}}]}]", 'pay]}}], to: [{operation: {paths: ["*.css"], notPaths: ["*"]}}]}]')
    text = WORLD.replace("name: http,", "name: tcp-db,").split("apiVersion: security")[0] + deny
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    kind, section = ("CiliumNetworkPolicy", "ingress") if target == "cilium" else ("Server", "accessPolicy")
    (written,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == kind]
    assert written[section] not in (None, [], "all-unauthenticated")


@pytest.mark.parametrize("port", ["name: http,", "name: web,"])
def test_a_deny_of_requests_that_there_are_none_of_lets_requests_alone_in(port: str) -> None:
    """Where HTTP is spoken, or detected, it refuses whoever it names nothing but bytes; the others nothing."""
    deny = NO_PAY.replace("pay]}}]}]", 'pay]}}], to: [{operation: {notPaths: ["*"]}}]}]')
    text = WORLD.replace("name: http,", port).split("apiVersion: security")[0] + deny
    result = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    (spec,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    anybody, *others = [rule for rule in spec["ingress"] if "icmps" not in rule]
    assert anybody == {"toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}], "rules": {"http": [{}]}}]}
    assert all(rule.keys() - {"toPorts"} for rule in others if rule["toPorts"][0]["ports"][0]["protocol"] == "TCP")
    assert {"key": "k8s:io.cilium.k8s.policy.serviceaccount", "operator": "NotIn", "values": ["pay"]} in [
        item for rule in others for peer in rule.get("fromEndpoints", ()) for item in peer.get("matchExpressions", ())
    ]
    assert "MP200" not in {item.code for item in result.findings}


def test_bytes_that_a_deny_refuses_do_not_come_in_by_a_route_to_linkerd() -> None:
    """On a port that is detected, a grant to the Server lets bytes in, and one to a route does not: one takes the place of no other."""
    deny = NO_PAY.replace("pay]}}]}]", 'pay]}}], to: [{operation: {notPaths: ["*"]}}]}]')
    text = WORLD.replace("name: http,", "name: web,").split("apiVersion: security")[0] + deny
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    (server,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Server"]
    assert server["accessPolicy"] == "deny"
    granted = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    named = {spec["targetRef"]["kind"]: spec["requiredAuthenticationRefs"][0]["name"] for spec in granted}
    assert named == {"Server": "users-8080-default", "HTTPRoute": "any-network"}
    (accounts,) = [item.object["spec"]["identityRefs"] for item in result.manifests if item.object["kind"] == "MeshTLSAuthentication"]
    assert sorted(item["name"] for item in accounts) == ["default", "users"]


def test_a_policy_that_stays_in_the_cluster_is_not_called_left_out() -> None:
    """ztunnel goes on enforcing it for the pods that it selects, whether the bundle shows them or not."""
    text = WORLD + NO_PAY.replace("{app: users}", "{app: gone}")
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane="ambient")
    lines = [line for line in result.ledger if line.document == 4]
    assert {(line.disposition, line.reason) for line in lines} == {("translated", "stays as it is")}
    assert "MP200" not in {item.code for item in result.findings}
    assert "no-pay" in {item["metadata"]["name"] for item in result.passed_through}
