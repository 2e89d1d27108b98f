"""Authorization and transport, Istio to Linkerd: source YAML, what comes out, what is said."""

from __future__ import annotations

from typing import Any

import pytest
from judge import linkerd as judge
from judge.world import selects

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
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
      containers: [{name: app, image: users, ports: [{containerPort: 8080}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web}]}
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
"""


def policy(spec: str, name: str = "users", namespace: str = "shop") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
---
"""


def convert(text: str, **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), source="istio", target="linkerd", **options)


def objects(result: Any, kind: str) -> dict[str, dict[str, Any]]:
    return {item.object["metadata"]["name"]: item.object for item in result.manifests if item.object["kind"] == kind}


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def default_of(result: Any, kind: str, name: str) -> str | None:
    holder = objects(result, kind)[name]
    metadata = holder["metadata"] if kind == "Namespace" else holder["spec"]["template"]["metadata"]
    return metadata.get("annotations", {}).get("config.linkerd.io/default-inbound-policy")


def test_strict_in_a_namespace_refuses_plaintext_by_default_policy() -> None:
    result = convert(WORLD + STRICT)
    assert default_of(result, "Namespace", "shop") == "all-authenticated"
    assert not objects(result, "Server")
    assert result.verification.verdict == "equivalent"


def test_permissive_needs_nothing() -> None:
    result = convert(WORLD + STRICT.replace("STRICT", "PERMISSIVE"))
    assert default_of(result, "Namespace", "shop") is None
    assert result.verification.verdict == "equivalent"


def test_mesh_wide_strict_is_a_helm_value_and_an_annotation() -> None:
    result = convert(WORLD + STRICT.replace("namespace: shop", "namespace: istio-system"))
    assert result.install["helm_values"]["linkerd-control-plane"]["proxy"]["defaultInboundPolicy"] == "all-authenticated"
    assert default_of(result, "Namespace", "shop") == "all-authenticated"


def test_permissive_below_a_strict_mesh_is_said() -> None:
    mesh = STRICT.replace("namespace: shop", "namespace: istio-system")
    result = convert(WORLD + mesh + STRICT.replace("STRICT", "PERMISSIVE"))
    assert default_of(result, "Namespace", "shop") == "all-unauthenticated"


def test_a_selector_in_the_root_namespace_is_ignored_as_istio_does() -> None:
    rooted = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: users, namespace: istio-system}
spec: {selector: {matchLabels: {app: users}}, mtls: {mode: STRICT}}
"""
    result = convert(WORLD + rooted)
    assert not objects(result, "Deployment")
    assert "MP108" in codes(result)


def test_a_port_exempt_from_strict_gets_a_server_that_admits_plaintext() -> None:
    exempt = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: users}}, mtls: {mode: STRICT}, portLevelMtls: {"8080": {mode: PERMISSIVE}}}
"""
    result = convert(WORLD + exempt)
    assert default_of(result, "Deployment", "users") == "all-authenticated"
    assert objects(result, "Server")["users-8080"]["spec"]["accessPolicy"] == "all-unauthenticated"
    assert result.verification.verdict == "equivalent"


def test_empty_policy_denies_all_and_empty_rule_allows_all() -> None:
    assert default_of(convert(WORLD + policy("{}")), "Namespace", "shop") == "deny"
    opened = convert(WORLD + policy("{rules: [{}]}"))
    assert default_of(opened, "Namespace", "shop") is None
    assert opened.verification.verdict == "equivalent"


def test_a_rule_without_to_is_a_grant_on_the_server() -> None:
    result = convert(
        WORLD + policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")
    )
    assert default_of(result, "Deployment", "users") == "deny"
    grant = objects(result, "AuthorizationPolicy")["users-8080-users"]
    assert grant["spec"]["targetRef"] == {"group": "policy.linkerd.io", "kind": "Server", "name": "users-8080"}
    assert grant["spec"]["requiredAuthenticationRefs"] == [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]
    assert not objects(result, "HTTPRoute")


def test_a_rule_without_identity_means_every_peer_that_transport_admits() -> None:
    rule = policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {methods: [GET]}}]}]}")
    strict = convert(WORLD + STRICT + rule)
    assert objects(strict, "MeshTLSAuthentication")["any-mesh-identity"]["spec"] == {"identities": ["*"]}
    open_ = convert(WORLD + rule)
    assert objects(open_, "NetworkAuthentication")["any-network"]["spec"]["networks"] == [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]


def test_overlapping_rules_get_a_route_with_both_policies() -> None:
    rules = """{selector: {matchLabels: {app: users}}, rules: [
      {from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET]}}]},
      {from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}], to: [{operation: {paths: [/report]}}]}]}"""
    result = convert(WORLD + policy(rules))
    both = objects(result, "HTTPRoute")["users-8080-users-1-users-2"]
    assert both["spec"]["rules"][0]["matches"] == [{"method": "GET", "path": {"type": "Exact", "value": "/report"}}]
    grants = [
        item
        for item in objects(result, "AuthorizationPolicy").values()
        if item["spec"]["targetRef"]["name"] == "users-8080-users-1-users-2"
    ]
    assert sorted(item["spec"]["requiredAuthenticationRefs"][0]["name"] for item in grants) == ["batch", "web"]
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_callers_of_a_header_keep_it_on_a_path_that_another_callers_route_takes() -> None:
    """Linkerd takes the route for the path before the one for the header; so the path with the header needs a route that both may use."""
    gold = 'when: [{key: "request.headers[x-tier]", values: [gold]}]'
    web = "from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]"
    batch = "from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}]"
    rules = f"[{{{web}, {gold}}}, {{{batch}, to: [{{operation: {{paths: [/report]}}}}]}}, {{{batch}, {gold}}}]"
    result = convert(WORLD + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: {rules}}}"))
    matches = [match for route in objects(result, "HTTPRoute").values() for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert any(match.get("headers") and match.get("path", {}).get("value") == "/report" for match in matches)
    assert "MP900" not in codes(result)


def test_ports_that_are_probed_or_scraped_get_a_server_whether_they_are_declared_or_not() -> None:
    world = WORLD.replace(
        "metadata: {labels: {app: users}}",
        "metadata: {labels: {app: users}, annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '9102'}}",
    ).replace("image: users, ", "image: users, readinessProbe: {httpGet: {path: /ready, port: 8081}}, ")
    result = convert(world + policy("{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}"))
    assert set(objects(result, "Server")) == {"users-8080", "users-8081", "users-9102"}
    assert "MP232" in codes(result)
    assert result.verification.verdict in ("equivalent", "narrowed")
    allowed = convert(world + policy("{rules: [{from: [{source: {namespaces: [shop]}}]}]}"), allow_scrape_from=("monitoring/prometheus",))
    assert "MP233" in codes(allowed)


def test_rules_that_together_let_everybody_in_are_the_default_of_ports_that_nobody_names() -> None:
    rules = "{rules: [{from: [{source: {notNamespaces: [shop]}}]}, {from: [{source: {namespaces: [shop]}}]}]}"
    result = convert(WORLD + policy(rules))
    assert "config.linkerd.io/default-inbound-policy: deny" not in str(objects(result, "Deployment"))
    assert "MP206" not in codes(result)
    assert result.verification.verdict == "equivalent"


def test_ports_that_a_void_rule_names_are_ports_of_its_pods() -> None:
    everyone = policy("{rules: [{to: [{operation: {ports: ['9090']}}]}, {}]}")
    deny = policy("{action: DENY, rules: [{from: [{source: {ipBlocks: [10.1.2.3]}}]}]}", "not-this-one")
    result = convert(WORLD + everyone + deny)
    assert "users-9090" in objects(result, "Server")


def test_two_rules_that_except_different_callers_let_everybody_in_where_both_hold() -> None:
    rules = """{rules: [{from: [{source: {notNamespaces: [ops]}}], to: [{operation: {ports: ['8080']}}]},
      {from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {ports: ['8080'], methods: [GET]}}]}]}"""
    result = convert(WORLD + policy(rules))
    source = {"meshed": False, "ip": "203.0.113.9"}
    target = {"namespace": "shop", "workload": "users", "labels": {"app": "users"}, "port": 8080}
    asked = {"source": source, "destination": target, "protocol": "http", "host": "users", "path": "/"}
    after = [item.object for item in result.manifests]
    assert [judge.decide(after, {**asked, "method": method}) for method in ("GET", "POST")] == ["allow", "deny"]
    (listed,) = [finding.message for finding in result.findings if finding.code == "MP203"]
    assert listed.endswith("all others, and every caller without an identity, are refused")


def test_a_header_value_that_an_allow_excepts_gets_a_better_route_that_refuses() -> None:
    rules = "{rules: [{to: [{operation: {ports: ['8080']}}], when: [{key: 'request.headers[x-debug]', notValues: ['1']}]}]}"
    result = convert(WORLD + policy(rules))
    assert objects(result, "HTTPRoute")["users-8080-denied"]["spec"]["rules"] == [
        {"matches": [{"headers": [{"name": "x-debug", "type": "Exact", "value": "1"}]}]}
    ]
    assert "MP201" not in codes(result)
    assert result.verification.verdict == "equivalent"


def test_a_header_value_that_an_allow_excepts_by_a_pattern_costs_the_rule() -> None:
    """A route's expression passes over values that are no text, and so would let them in."""
    rules = "{rules: [{to: [{operation: {ports: ['8080']}}], when: [{key: 'request.headers[x-debug]', notValues: ['1*']}]}]}"
    result = convert(WORLD + policy(rules))
    assert "MP201" in codes(result)
    assert not [name for name in objects(result, "HTTPRoute") if name.endswith("-users")]


def test_a_port_that_all_may_use_but_for_what_a_better_route_refuses_gets_its_server() -> None:
    """What every identity may send there, less a method for most, is no default policy."""
    rules = policy("{rules: [{from: [{source: {namespaces: ['*']}}]}]}")
    deny = "{action: DENY, rules: [{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET], ports: ['8080']}}]}]}"
    result = convert(WORLD + STRICT + rules + policy(deny, "no-get"))
    assert "users-8080" in objects(result, "Server")
    assert result.verification.verdict == "equivalent", [finding.message for finding in result.findings]


def test_who_may_send_everything_gets_through_beside_a_route_for_the_root_alone() -> None:
    """Where routes hang on a Server, what none of them takes is answered with 404, whoever sends it."""
    rules = "{rules: [{to: [{operation: {paths: [/]}}]}, {from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}"
    result = convert(WORLD + policy(rules))
    web = {"namespace": "shop", "service_account": "web", "meshed": True, "ip": "10.1.2.3"}
    target = {"namespace": "shop", "workload": "users", "labels": {"app": "users"}, "port": 8080}
    after = [item.object for item in result.manifests]
    for route in after:  # whichever is the older one
        if route["metadata"]["name"].endswith("-refuse"):
            route["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"

    def asked(source: dict[str, Any], path: str) -> str:
        request = {"source": source, "destination": target, "protocol": "http", "method": "GET", "host": "users", "path": path}
        return judge.decide(after, request)

    outside = {"meshed": False, "ip": "203.0.113.9"}
    assert [asked(web, "/"), asked(web, "/a"), asked(outside, "/"), asked(outside, "/a")] == ["allow", "allow", "allow", "deny"]


def test_a_deny_by_path_is_cut_out_of_the_allow() -> None:
    text = WORLD + policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: ['/api/*']}}]}]}", "allow")
    text += policy("{selector: {matchLabels: {app: users}}, action: DENY, rules: [{to: [{operation: {paths: [/api/admin]}}]}]}", "deny")
    result = convert(text)
    value = next(iter(objects(result, "HTTPRoute").values()))["spec"]["rules"][0]["matches"][0]["path"]["value"]
    import re

    assert re.fullmatch(value, "/api/users")
    assert re.fullmatch(value, "/api/admin/x")
    assert not re.fullmatch(value, "/api/admin")
    assert not re.fullmatch(value, "/api/../admin")


def test_a_deny_holds_for_pods_that_a_void_allow_beside_it_does_not_select() -> None:
    world = WORLD.replace("image: web}", "image: web, ports: [{containerPort: 8080}]}")
    everyone = policy("{action: ALLOW, rules: [{}]}", "everyone")
    world += WORLD.split("---")[1].replace("users", "web") + "---"
    deny = policy("{action: DENY, rules: [{to: [{operation: {methods: [DELETE], ports: ['8080']}}]}]}", "no-delete")
    void = policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: [/a]}}]}]}", "void")
    result = convert(world + everyone + deny + void)
    selectors = [one["spec"]["podSelector"] for one in objects(result, "Server").values()]
    assert [sum(selects(selector, {"app": name}) for selector in selectors) for name in ("users", "web")] == [1, 1]
    assert "MP900" not in codes(result)
    assert result.verification.verdict == "equivalent"


def test_workloads_that_no_one_label_tells_from_others_get_a_server_each() -> None:
    """Two that open a port, beside one with a label of either and another port."""
    pods = WORLD.split("---")[2].replace("containerPort: 8080", "containerPort: 9090")
    second = pods.replace("name: users,", "name: users-v2,").replace("{app: users}", "{app: users, version: v2}")
    other = pods.replace("name: users,", "name: cart,").replace("app: users}", "app: cart}")
    rules = policy("{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")
    result = convert(WORLD.replace("selector: {app: users},", "selector: {app: nobody},") + "---".join((second, other, "")) + rules)
    labels: list[dict[str, str]] = [{"app": "users", "version": "v2"}, {"app": "cart"}, {"app": "users"}]
    selectors = [one["spec"]["podSelector"] for one in objects(result, "Server").values() if one["spec"]["port"] == 9090]
    assert [sum(selects(selector, one) for selector in selectors) for one in labels] == [1, 1, 0]
    assert "MP230" not in codes(result)


def test_a_deny_of_an_identity_lists_the_others_and_says_so() -> None:
    text = (
        WORLD
        + STRICT
        + policy(
            "{action: DENY, selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}"
        )
    )
    result = convert(text)
    named = objects(result, "MeshTLSAuthentication")["users-8080-default"]["spec"]["identityRefs"]
    assert named == [{"kind": "ServiceAccount", "name": name, "namespace": "shop"} for name in ("default", "users")]
    assert "MP203" in codes(result)
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_a_condition_on_a_token_leaves_the_allow_out() -> None:
    result = convert(WORLD + policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}"))
    assert not objects(result, "Server")
    lost = next(finding for finding in result.findings if finding.code == "MP201")
    assert (lost.severity, lost.effect, lost.disposition) == ("error", "narrows", "dropped")


def test_looser_keeps_the_traffic_and_shows_a_witness() -> None:
    text = WORLD + policy(
        "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {requestPrincipals: ['*']}}], to: [{operation: {paths: [/a]}}]}]}"
    )
    result = convert(text, on_loss="looser")
    widened = next(finding for finding in result.findings if finding.code == "MP218")
    assert (widened.severity, widened.effect) == ("error", "widens")
    assert widened.witness["path"] == "/a"
    assert result.verification.verdict in ("widened", "changed")


def test_a_condition_lost_for_callers_who_have_everything_by_another_rule_widens_nothing() -> None:
    token = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web], requestPrincipals: ['*']}}]}"
    whole = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}"
    result = convert(WORLD + STRICT + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{token}, {whole}]}}"), on_loss="looser")
    assert not [finding for finding in result.findings if finding.code == "MP218" and finding.effect == "widens"]
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_a_condition_lost_beside_callers_who_are_listed_widens_nothing() -> None:
    """Every caller but one is said by listing those that are known, which is narrower; the token of two of them adds nothing to it."""
    token = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web], requestPrincipals: ['*']}}]}"
    others = "{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/users]}}]}"
    result = convert(
        WORLD + STRICT + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{token}, {others}]}}"), on_loss="looser"
    )
    said = [finding for finding in result.findings if finding.code == "MP218"]
    assert [(finding.severity, finding.effect) for finding in said] == [("info", "none")]


def test_stop_writes_nothing() -> None:
    text = WORLD + policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}")
    assert convert(text, on_loss="stop").manifests == []


def test_audit_and_dry_run_are_not_enforced() -> None:
    result = convert(WORLD + policy("{action: AUDIT, rules: [{}]}", "audited"))
    assert "MP212" in codes(result)
    assert default_of(result, "Namespace", "shop") is None


def test_custom_refuses_what_it_covers() -> None:
    spec = "{action: CUSTOM, provider: {name: oauth}, selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: [/private]}}]}]}"
    result = convert(WORLD + policy(spec))
    (lost,) = [finding for finding in result.findings if finding.code == "MP211"]
    assert (lost.severity, lost.effect) == ("error", "narrows")
    assert default_of(result, "Deployment", "users") == "deny"
    assert ("users", None) in {
        (place.workload, place.port) for place in lost.affects
    }  # ports that nobody declares are refused with the others


def test_an_identity_of_another_trust_domain_matches_nobody() -> None:
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [other.example/ns/shop/sa/web]}}]}]}"
    assert "MP208" in codes(convert(WORLD + policy(rule)))
    known = convert(WORLD + policy(rule), trust_domain="other.example")
    assert objects(known, "AuthorizationPolicy")["users-8080-users"]["spec"]["requiredAuthenticationRefs"][0]["name"] == "web"


def test_a_gateway_needs_a_successor() -> None:
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account]}}]}]}"
    assert "MP216" in codes(convert(WORLD + policy(rule)))
    known = convert(WORLD + policy(rule), gateway_identity="ingress/nginx")
    refs = objects(known, "AuthorizationPolicy")["users-8080-users"]["spec"]["requiredAuthenticationRefs"]
    assert refs == [{"kind": "ServiceAccount", "name": "nginx", "namespace": "ingress"}]


def test_http_conditions_on_a_tcp_port_make_an_allow_void() -> None:
    world = WORLD.replace("name: http, port: 80", "name: tcp, port: 80")
    result = convert(world + policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {methods: [GET]}}]}]}"))
    assert not objects(result, "Server")
    assert default_of(result, "Deployment", "users") == "deny"


def test_addresses_and_exceptions() -> None:
    rule = "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {ipBlocks: [10.0.0.0/8], notIpBlocks: [10.1.0.0/16]}}]}]}"
    result = convert(WORLD + policy(rule))
    networks = objects(result, "NetworkAuthentication")["users-8080-users-networks"]["spec"]["networks"]
    assert networks == [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]
    assert result.verification.verdict == "narrowed"  # the ports that nobody declares


def test_pods_that_the_bundle_does_not_show_are_closed_and_named() -> None:
    result = convert(WORLD + policy("{selector: {matchLabels: {app: ghost}}, rules: [{to: [{operation: {methods: [GET]}}]}]}"))
    finding = next(finding for finding in result.findings if finding.code == "MP164")
    assert "kubectl get" in finding.remedy
    assert default_of(result, "Namespace", "shop") == "deny"
    server = objects(result, "Server")["ghost-8080"]["spec"]  # the port that others of the namespace have
    assert (server["podSelector"], server["accessPolicy"]) == ({"matchLabels": {"app": "ghost"}}, "deny")
    assert objects(result, "HTTPRoute")["ghost-8080-users"]["spec"]["rules"][0]["matches"][0]["method"] == "GET"
    assert default_of(result, "Deployment", "users") == "all-unauthenticated"
    assert result.verification.verdict == "narrowed"


def test_a_grpc_probe_keeps_its_way_in() -> None:
    world = WORLD.replace("ports: [{containerPort: 8080}]", "ports: [{containerPort: 8080}], livenessProbe: {grpc: {port: 8080}}")
    result = convert(world + STRICT)
    probes = objects(result, "HTTPRoute")["users-8080-probes"]["spec"]["rules"][0]["matches"]
    assert probes == [{"method": "POST", "path": {"type": "Exact", "value": "/grpc.health.v1.Health/Check"}}]
    assert objects(result, "Server")["users-8080"]["spec"]["accessPolicy"] == "all-authenticated"


def test_probe_networks_narrow_the_probe_route() -> None:
    world = WORLD.replace(
        "ports: [{containerPort: 8080}]", "ports: [{containerPort: 8080}], readinessProbe: {httpGet: {path: /ready, port: 8080}}"
    )
    text = world + policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: [/api]}}]}]}")
    result = convert(text, probe_networks=["10.2.0.0/24"])
    assert objects(result, "NetworkAuthentication")["users-8080-probes-networks"]["spec"]["networks"] == [{"cidr": "10.2.0.0/24"}]
    finding = next(finding for finding in result.findings if finding.code == "MP204")
    assert (finding.severity, finding.effect) == ("warning", "widens")


def test_older_linkerd_gets_the_versions_that_it_serves() -> None:
    text = WORLD + policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: [/api]}}]}]}")
    result = convert(text, target_version="2.15")
    assert {item.object["apiVersion"] for item in result.manifests if item.object["kind"] == "Server"} == {"policy.linkerd.io/v1beta2"}
    assert "accessPolicy" not in objects(result, "Server")["users-8080"]["spec"]
    assert {item.object["apiVersion"] for item in result.manifests if item.object["kind"] == "HTTPRoute"} == {"policy.linkerd.io/v1beta3"}
    target = objects(result, "AuthorizationPolicy")["users-8080-users"]["spec"]["targetRef"]
    assert target["group"] == "policy.linkerd.io"


def test_a_pod_out_of_the_mesh_gets_no_policy() -> None:
    world = WORLD.replace("metadata: {labels: {app: users}}", 'metadata: {labels: {app: users, sidecar.istio.io/inject: "false"}}')
    result = convert(world + policy("{selector: {matchLabels: {app: users}}, rules: [{}]}"))
    assert not objects(result, "Server")
    template = objects(result, "Deployment")["users"]["spec"]["template"]["metadata"]
    assert template["annotations"]["linkerd.io/inject"] == "disabled"
    assert "sidecar.istio.io/inject" not in template.get("labels", {})


def test_what_an_allow_admits_on_every_other_port_becomes_the_default() -> None:
    rules = """{selector: {matchLabels: {app: users}}, rules: [
      {from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {ports: ["8080"]}}]},
      {from: [{source: {principals: ["*"]}}], to: [{operation: {notPorts: ["8080"]}}]}]}"""
    result = convert(WORLD + policy(rules))
    assert default_of(result, "Deployment", "users") == "all-authenticated"
    assert list(objects(result, "Server")) == ["users-8080"]
    assert result.verification.verdict == "equivalent"
    assert "MP206" not in codes(result)


def test_a_hundred_rules_of_a_port_are_written_whether_or_not_they_share_a_path() -> None:
    def rule(number: int) -> str:
        return (
            f"{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/c{number}]}}}}], "
            f"to: [{{operation: {{methods: [GET], paths: [/own{number}/*, /common]}}}}]}}"
        )

    result = convert(WORLD + STRICT + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{', '.join(map(rule, range(100)))}]}}"))
    assert "MP201" not in codes(result)
    after = [item.object for item in result.manifests]
    for caller, path, expected in (
        ("c7", "/own7/x", "allow"),
        ("c99", "/common", "allow"),
        ("c7", "/own8/x", "deny"),
        ("web", "/common", "deny"),
    ):
        request = {
            "source": {"namespace": "shop", "service_account": caller}, "destination": {"namespace": "shop", "workload": "users", "port": 8080},
            "protocol": "http", "method": "GET", "path": path,
        }  # fmt: skip
        assert judge.decide(after, request) == expected, (caller, path)


@pytest.mark.parametrize("odd", ["/users/{id}", "/api/[0-9]+", "/a|b", "/straße"])
def test_a_path_that_the_gateway_api_admits_as_no_exact_one_is_an_expression(odd: str) -> None:
    """One such path makes the cluster refuse the whole route: all that a DENY refused was open, and nothing that an ALLOW admits got through."""
    for action in ("ALLOW", "DENY"):
        result = convert(WORLD + STRICT + policy(f"{{action: {action}, rules: [{{to: [{{operation: {{paths: ['{odd}', /keys]}}}}]}}]}}"))
        written = [
            match["path"] for route in objects(result, "HTTPRoute").values() for rule in route["spec"]["rules"] for match in rule["matches"]
        ]
        assert [path["value"] for path in written if path["type"] == "Exact"] == ["/keys"]
        assert not {"MP900", "MP904"} & set(codes(result))
        again = meshport.lint(meshport.load_objects([item.object for item in result.manifests]))
        assert "MP013" not in [finding.code for finding in again]


def test_a_probe_path_that_is_no_exact_one_is_an_expression() -> None:
    world = WORLD.replace(
        "image: users, ports: [{containerPort: 8080}]",
        "image: users, ports: [{containerPort: 8080}], livenessProbe: {httpGet: {path: //live, port: 8080}}",
    )
    result = convert(world + STRICT + policy("{selector: {matchLabels: {app: users}}, rules: [{to: [{operation: {paths: [/keys]}}]}]}"))
    (rule,) = objects(result, "HTTPRoute")["users-8080-probes"]["spec"]["rules"]
    assert rule["matches"][0]["path"] == {"type": "RegularExpression", "value": "^(?://live)$"}
