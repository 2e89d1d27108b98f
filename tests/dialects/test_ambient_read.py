"""Istio ambient as the source: waypoint and ztunnel together are what the pods admit."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
"""
WAYPOINT = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
"""
ONLY_BY_WAYPOINT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: payment-only-by-waypoint, namespace: shop}
spec:
  selector: {matchLabels: {app: payment}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]
---
"""


def workload(
    name: str, label: str = "istio.io/use-waypoint: waypoint", ports: str = "{name: http, port: 80, targetPort: 8080}", pod: str = ""
) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop, labels: {{{label}}}}}
spec: {{selector: {{app: {name}}}, ports: [{ports}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{pod}}}}}
    spec:
      serviceAccountName: {name}
      containers: [{{name: app, image: {name}, ports: [{{containerPort: 8080}}, {{containerPort: 9090}}]}}]
---
"""


def policy(name: str, rules: str, where: str = 'targetRefs: [{group: "", kind: Service, name: payment}]', action: str = "ALLOW") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{{where}, action: {action}, rules: [{rules}]}}
---
"""


SELECTOR = "selector: {matchLabels: {app: payment}}"
CHARGE = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {methods: [POST], paths: [/charge]}}]}"


def converted(text: str, **options: Any) -> tuple[dict[tuple[str, str], dict[str, Any]], Any]:
    result = meshport.convert(meshport.load_text(text), source="istio", target=options.pop("target", "linkerd"), **options)
    assert not [finding for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")]
    return {(item.object["kind"], item.object["metadata"]["name"]): item.object for item in result.manifests}, result


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def test_the_namespace_label_is_membership() -> None:
    out, _ = converted(NAMESPACE + workload("payment", "team: a"))
    assert out["Namespace", "shop"]["metadata"] == {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}


def test_a_namespace_without_sidecars_is_in_the_mesh_by_ztunnel() -> None:
    """`istio-injection: disabled` is a word to the injector alone: beside it the namespace was outside the mesh, and its policies went."""
    both = NAMESPACE.replace("{istio.io", "{istio-injection: disabled, istio.io")
    own = policy("own", "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}", SELECTOR)
    out, result = converted(both + workload("payment", "team: a") + own)
    assert out["Namespace", "shop"]["metadata"]["annotations"] == {"linkerd.io/inject": "enabled"}
    assert out["Server", "payment-8080"]["spec"]["accessPolicy"] == "deny"
    labels = {line.path: line.disposition for line in result.ledger if line.path.startswith("metadata.labels[") and line.document == 0}
    assert set(labels.values()) == {"translated"}
    kept, _ = converted(both + workload("payment", "team: a") + own, target="cilium")
    assert ("CiliumNetworkPolicy", "own") in kept


def test_a_pod_that_opts_out_stays_out() -> None:
    out, _ = converted(NAMESPACE + workload("payment", "team: a", pod=", istio.io/dataplane-mode: none"))
    template = out["Deployment", "payment"]["spec"]["template"]["metadata"]
    assert template == {"labels": {"app": "payment"}, "annotations": {"linkerd.io/inject": "disabled"}}


def test_a_policy_of_the_service_is_one_of_its_pods() -> None:
    out, result = converted(
        NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + policy("l7", CHARGE) + ONLY_BY_WAYPOINT
    )
    assert out["Server", "payment-8080"]["spec"]["accessPolicy"] == "deny"
    assert out["HTTPRoute", "payment-8080-l7"]["spec"]["rules"][0]["matches"] == [
        {"method": "POST", "path": {"type": "Exact", "value": "/charge"}}
    ]
    refs = out["AuthorizationPolicy", "payment-8080-l7"]["spec"]["requiredAuthenticationRefs"]
    assert refs == [{"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}]
    assert "labels" not in out["Service", "payment"]["metadata"]  # use-waypoint leaves
    assert ("Gateway", "waypoint") in {(item["kind"], item["name"]) for item in result.removals}
    assert codes(result) >= {"MP705"} and result.verification.verdict == "equivalent"
    assert not [finding for finding in result.findings if finding.severity in ("error", "warning")]


def test_ports_of_the_service_become_those_of_the_pods() -> None:
    rules = "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}], to: [{operation: {ports: ['81']}}]}"
    ports = "{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 81, targetPort: 9090}"
    out, _ = converted(
        NAMESPACE + WAYPOINT + workload("payment", ports=ports) + workload("checkout", "a: b") + policy("l7", rules) + ONLY_BY_WAYPOINT
    )
    assert ("Server", "payment-9090") in out and ("Server", "payment-8080") not in out


def test_a_waypoint_without_policy_admits_every_identity() -> None:
    out, _ = converted(NAMESPACE + WAYPOINT + workload("payment") + ONLY_BY_WAYPOINT)
    refs = out["AuthorizationPolicy", next(name for kind, name in out if kind == "AuthorizationPolicy")]["spec"][
        "requiredAuthenticationRefs"
    ]
    authentication = out["MeshTLSAuthentication", refs[0]["name"]]
    assert authentication["spec"] == {"identities": ["*"]}


def test_a_service_without_waypoint_has_a_policy_that_nothing_enforces() -> None:
    out, result = converted(NAMESPACE + WAYPOINT + workload("payment", "a: b") + policy("l7", CHARGE))
    assert not [kind for kind, _ in out if kind == "Server"]
    assert [finding.severity for finding in result.findings if finding.code == "MP240"] == ["error"]


def test_without_a_guard_the_pods_can_be_reached_past_the_waypoint() -> None:
    out, result = converted(NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + policy("l7", CHARGE))
    assert ("Server", "payment-8080") in out  # as it is meant, which is narrower
    assert "MP239" in codes(result)


def test_a_guard_that_does_not_admit_the_waypoint_closes_everything() -> None:
    guard = policy("direct", "{from: [{source: {principals: [cluster.local/ns/shop/sa/other]}}]}", SELECTOR)
    out, result = converted(NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + policy("l7", CHARGE) + guard)
    assert "MP243" in codes(result)
    assert not [name for kind, name in out if kind == "HTTPRoute" and "l7" in name]


def test_ztunnel_leaves_out_an_allow_that_asks_for_http() -> None:
    out, result = converted(NAMESPACE + workload("payment", "a: b") + workload("checkout", "a: b") + policy("l7", CHARGE, SELECTOR))
    assert "MP241" in codes(result)
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {
        "config.linkerd.io/default-inbound-policy": "deny"
    }
    assert not [kind for kind, _ in out if kind == "HTTPRoute"]


def test_a_deny_that_asks_for_http_alone_never_fires_at_ztunnel() -> None:
    deny = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", SELECTOR, "DENY")
    out, result = converted(NAMESPACE + workload("payment", "a: b") + deny)
    assert "MP242" in codes(result)
    assert not [kind for kind, _ in out if kind == "Server"]


def test_a_deny_with_a_port_beside_the_method_refuses_the_whole_port() -> None:
    deny = policy("no-delete", "{to: [{operation: {methods: [DELETE], ports: ['8080']}}]}", SELECTOR, "DENY")
    ir = meshport.convert(
        meshport.load_text(NAMESPACE + workload("payment", "a: b") + deny), source="istio", target="istio", data_plane="ambient"
    )
    assert "MP242" in codes(ir)


def test_a_sidecar_keeps_its_http_rules() -> None:
    pod = ', sidecar.istio.io/inject: "true"'
    out, result = converted(
        NAMESPACE + workload("payment", "a: b", pod=pod) + workload("checkout", "a: b") + policy("l7", CHARGE, SELECTOR)
    )
    assert "MP241" not in codes(result) and ("HTTPRoute", "payment-8080-l7") in out


def test_disable_is_permissive() -> None:
    mode = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: payment, namespace: shop}
spec: {selector: {matchLabels: {app: payment}}, mtls: {mode: DISABLE}}
"""
    _, result = converted(NAMESPACE + workload("payment", "a: b") + mode)
    assert "MP111" in codes(result) and "MP105" not in codes(result)


CHECKOUT = "{source: {principals: [cluster.local/ns/shop/sa/checkout]}}"
PAYMENT = workload("payment", "a: b") + workload("checkout", "a: b")
DEFAULT = "config.linkerd.io/default-inbound-policy"


@pytest.mark.parametrize("key", ["source.serviceAccount", "source.trustDomain", "connection.sni"])
def test_ztunnel_knows_only_five_keys_of_when(key: str) -> None:
    rule = f"{{from: [{CHECKOUT}], when: [{{key: {key}, values: [checkout]}}]}}"
    out, result = converted(NAMESPACE + PAYMENT + policy("l4", rule, SELECTOR))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {DEFAULT: "deny"}
    assert "MP241" in codes(result) and not [kind for kind, _ in out if kind == "Server"]


def test_a_deny_of_an_account_in_when_never_fires_at_ztunnel() -> None:
    rule = "{to: [{operation: {ports: ['8080']}}], when: [{key: source.serviceAccount, values: [checkout]}]}"
    out, result = converted(NAMESPACE + PAYMENT + policy("no-checkout", rule, SELECTOR, "DENY"))
    assert "MP242" in codes(result) and not [kind for kind, _ in out if kind == "Server"]


def test_ztunnel_leaves_out_a_rule_with_all_its_alternatives() -> None:
    rule = "{to: [{operation: {methods: [GET]}}, {operation: {ports: ['9090']}}]}"
    out, _ = converted(NAMESPACE + PAYMENT + policy("l7", rule, SELECTOR))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {DEFAULT: "deny"}


def test_ztunnel_passes_over_trust_domains() -> None:
    alone = "{from: [{source: {trustDomains: [partner.example.com]}}]}"
    out, result = converted(NAMESPACE + PAYMENT + policy("l4", alone, SELECTOR))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {DEFAULT: "deny"}
    assert codes(result) & {"MP117", "MP241"}
    beside = "{from: [{source: {trustDomains: [partner.example.com], ipBlocks: [10.0.0.0/8]}}], to: [{operation: {ports: ['8080']}}]}"
    out, result = converted(NAMESPACE + PAYMENT + policy("l4", beside, SELECTOR))
    networks = [one["spec"]["networks"] for (kind, _), one in out.items() if kind == "NetworkAuthentication"]
    assert [{"cidr": "10.0.0.0/8"}] in networks and "MP117" in codes(result)


def test_ztunnel_compares_namespaces_and_trust_domains_literally() -> None:
    starred = "{from: [{source: {namespaces: ['sh*p']}}]}"
    out, result = converted(NAMESPACE + PAYMENT + policy("l4", starred, SELECTOR))
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {DEFAULT: "deny"}
    assert "MP117" in codes(result)
    rule = f"{{from: [{CHECKOUT}], to: [{{operation: {{ports: ['8080']}}}}]}}"
    out, result = converted(NAMESPACE + PAYMENT + policy("l4", rule, SELECTOR), trust_domain="prod.example.com")
    assert "MP117" in codes(result) and not [kind for kind, _ in out if kind == "MeshTLSAuthentication"]


INTERNAL = """
apiVersion: v1
kind: Service
metadata: {name: pay-internal, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {selector: {app: payment}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
NO_DELETE = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", action="DENY")


def test_another_service_without_policy_lets_every_identity_in() -> None:
    out, _ = converted(
        NAMESPACE + WAYPOINT + workload("payment") + INTERNAL + workload("checkout", "a: b") + policy("l7", CHARGE) + ONLY_BY_WAYPOINT
    )
    assert [one["spec"] for (kind, _), one in out.items() if kind == "MeshTLSAuthentication"] == [{"identities": ["*"]}]
    assert not [name for kind, name in out if kind == "HTTPRoute"]


def test_another_service_that_leads_past_a_deny_is_said() -> None:
    shop = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + ONLY_BY_WAYPOINT
    _, result = converted(shop + INTERNAL + NO_DELETE)
    said = [finding.message for finding in result.findings if finding.code == "MP736"]
    assert len(said) == 1 and "shop/pay-internal" in said[0] and "MP239" not in codes(result)
    _, result = converted(shop + NO_DELETE)
    assert not codes(result) & {"MP736", "MP239"}
    both = NO_DELETE.replace("name: payment}", 'name: payment}, {group: "", kind: Service, name: pay-internal}')
    _, result = converted(shop + INTERNAL + both)
    assert not codes(result) & {"MP736", "MP239"}


def test_the_pods_address_leads_past_a_deny() -> None:
    _, result = converted(NAMESPACE + WAYPOINT + workload("payment") + NO_DELETE)
    assert "MP239" in codes(result)


def test_a_policy_of_a_waypoint_for_workloads_is_named_and_not_said_to_be_elsewhere() -> None:
    gate = WAYPOINT.replace("waypoint-for: service", "waypoint-for: workload")
    on_gate = policy("l7", CHARGE, "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]")
    out, result = converted(NAMESPACE + gate + workload("payment", "a: b", pod=", istio.io/use-waypoint: waypoint") + on_gate)
    [said] = [finding for finding in result.findings if finding.code == "MP159"]
    assert (said.severity, [place.workload for place in said.affects]) == ("error", ["payment"]) and "MP743" not in codes(result)
    assert not [finding for finding in result.findings if "behind it" in finding.message]
    assert "istio.io/use-waypoint" not in out["Deployment", "payment"]["spec"]["template"]["metadata"]["labels"]


def everywhere(serves: str, more: str = "") -> str:
    """A policy of a waypoint that the whole namespace uses, pods without plaintext, and a port of theirs that no Service sends to."""
    gate = WAYPOINT.replace("waypoint-for: service", f"waypoint-for: {serves}")
    home = NAMESPACE.replace("dataplane-mode: ambient", "dataplane-mode: ambient, istio.io/use-waypoint: waypoint")
    strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n---\n"
    pods = workload("payment", "a: b").replace("{containerPort: 8080}", "{containerPort: 8080}, {containerPort: 9090}")
    on_gate = policy("l7", CHARGE, "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]")
    return home + gate + strict + pods + on_gate + more


@pytest.mark.parametrize(("serves", "closed"), [("all", True), ("service", False)])
def test_a_waypoint_for_all_judges_requests_to_addresses_too(serves: str, closed: bool) -> None:
    """Whoever calls the pod itself passes the waypoint as well, so the port beside the Service is no way past its policy."""
    out, result = converted(everywhere(serves))
    assert ("MP239" in codes(result)) is not closed
    assert (("Server", "payment-9090") in out) is closed
    _, back = converted(everywhere(serves), target="istio", data_plane="sidecar")
    assert back.verification.differences == []


def test_a_gateway_goes_past_a_waypoint_for_all() -> None:
    entry = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
"""
    assert "MP239" in codes(converted(everywhere("all", entry))[1])


def test_a_caller_whom_the_pods_name_is_refused_at_the_service() -> None:
    """There its requests come under the waypoint's account, which the policy does not admit."""
    direct = policy("direct", "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}", SELECTOR)
    text = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + direct
    request = {
        "source": {"namespace": "shop", "workload": "checkout"},
        "destination": {"namespace": "shop", "service": "payment", "port": 80},
        "method": "GET", "path": "/",
    }  # fmt: skip
    assert not meshport.trace(meshport.load_text(text), request, mesh="istio").allowed
    assert "MP170" in {finding.code for finding in meshport.lint(meshport.load_text(text))}
    out, result = converted(text)
    assert ("Server", "payment-8080") not in out and ("Server", "payment-9090") in out
    (said,) = [finding for finding in result.findings if finding.code == "MP170"]
    assert (said.effect, [(item.workload, item.port) for item in said.affects]) == ("narrows", [("payment", None)])


def test_a_deny_that_names_callers_behind_a_waypoint_is_said() -> None:
    deny = policy("guests", "{from: [{source: {principals: [cluster.local/ns/shop/sa/checkout]}}]}", SELECTOR, "DENY")
    _, result = converted(NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + deny)
    (said,) = [finding for finding in result.findings if finding.code == "MP171"]
    assert (said.effect, [item.workload for item in said.affects]) == ("narrows", ["payment"])
    _, without = converted(NAMESPACE + WAYPOINT + workload("payment", "a: b") + workload("checkout", "a: b") + deny)
    assert "MP171" not in codes(without)


def test_disable_of_a_port_does_not_open_it_where_the_policy_has_no_mode() -> None:
    """ztunnel's policy is written for ports that say PERMISSIVE; the STRICT of the namespace holds for this one."""
    modes = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: payment, namespace: shop}
spec: {selector: {matchLabels: {app: payment}}, portLevelMtls: {8080: {mode: DISABLE}PORTS}}
---
"""
    out, result = converted(NAMESPACE + workload("payment", "a: b") + modes.replace("PORTS", ""))
    assert "MP111" in codes(result) and not [name for kind, name in out if kind == "Server"]
    out, _ = converted(NAMESPACE + workload("payment", "a: b") + modes.replace("PORTS", ", 9090: {mode: PERMISSIVE}"))
    assert {("Server", "payment-8080"), ("Server", "payment-9090")} <= out.keys()


def test_a_rule_for_ports_that_the_service_has_not_is_accounted_for() -> None:
    rules = "{from: [{source: {principals: ['*']}}], to: [{operation: {ports: ['80']}}, {operation: {ports: ['8080'], paths: [/x]}}]}"
    _, result = converted(NAMESPACE + WAYPOINT + workload("payment") + policy("l7", rules) + ONLY_BY_WAYPOINT)
    assert result.ledger.counts["unaccounted"] == 0


def test_a_waypoint_stays_where_the_policies_that_hang_on_it_do() -> None:
    """The Gateway API enforces none of them; the waypoint was called needless, and to be deleted."""
    text = NAMESPACE + WAYPOINT + workload("payment") + workload("checkout", "a: b") + policy("l7", CHARGE) + ONLY_BY_WAYPOINT
    result = meshport.convert(meshport.load_text(text), source="istio", target="gateway-api")
    assert codes(result) == {"MP246"}
    assert result.removals == []
    said = {entry.disposition for entry in result.ledger if entry.path == "spec.gatewayClassName"}
    assert said == {"translated"}


@pytest.mark.parametrize("target", ["istio", "linkerd", "cilium"])
@pytest.mark.parametrize("hung", ["", policy("web", "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}")])
def test_a_waypoint_that_is_let_in_by_its_own_address_is_said_to_be_refused(target: str, hung: str) -> None:
    """The address of the waypoint's pods stands in no manifest: it was read as that of the callers, or reached nothing (MP901)."""
    rules = '{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}], when: [{key: source.ip, values: ["10.1.0.0/16"]}]}'
    text = NAMESPACE + WAYPOINT + workload("payment") + policy("by-address", rules, SELECTOR) + hung
    _, result = converted(text, target=target, **({"data_plane": "sidecar"} if target == "istio" else {}))
    (said,) = [item for item in result.findings if item.code == "MP244"]
    assert (said.effect, [(one.namespace, one.workload) for one in said.affects]) == ("narrows", [("shop", "payment")])
    assert codes(result) & {"MP900", "MP901", "MP904"} == set() and "10.1.0.0" not in str([item.object for item in result.manifests])
