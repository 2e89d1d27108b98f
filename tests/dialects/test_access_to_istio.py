"""Authorization and transport, Linkerd to Istio: source YAML, what comes out, what is said."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

CLUSTER = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]


def world(namespace: str = "", pod: str = "") -> str:
    own = f", {namespace}" if namespace else ""
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, annotations: {{linkerd.io/inject: enabled{own}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: users, namespace: shop}}
spec: {{selector: {{app: users}}, ports: [{{name: http, port: 80, targetPort: api}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: users, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: users}}}}
  template:
    metadata: {{labels: {{app: users}}, annotations: {{{pod}}}}}
    spec:
      serviceAccountName: users
      containers: [{{name: app, image: users, ports: [{{name: api, containerPort: 8080}}, {{name: admin, containerPort: 9090}}]}}]
---
"""


def server(port: str = "api", access: str = "deny", protocol: str = "HTTP/1") -> str:
    return f"""
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {{name: users-{port}, namespace: shop}}
spec: {{podSelector: {{matchLabels: {{app: users}}}}, port: {port}, accessPolicy: {access}, proxyProtocol: {protocol}}}
---
"""


def grant(refs: str, target: str = "{group: policy.linkerd.io, kind: Server, name: users-api}", name: str = "users") -> str:
    return f"""
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{targetRef: {target}, requiredAuthenticationRefs: [{refs}]}}
---
"""


def route(matches: str, name: str = "r") -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop}}
spec:
  parentRefs: [{{group: policy.linkerd.io, kind: Server, name: users-api}}]
  rules: [{{matches: [{matches}]}}]
---
"""


WEB = "{kind: ServiceAccount, name: web, namespace: shop}"
ON_ROUTE = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}"


def convert(text: str, **options: Any) -> Any:
    return meshport.convert(meshport.load_text(text), source="linkerd", target="istio", **options)


def rules_of(result: Any) -> list[dict[str, Any]]:
    found = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy" and item.object["spec"]]
    assert len(found) == 1
    return found[0].get("rules", [])


def peer(result: Any) -> list[dict[str, Any]]:
    return [item.object["spec"] for item in result.manifests if item.object["kind"] == "PeerAuthentication"]


def codes(result: Any) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_server_closes_one_port_and_the_others_come_back() -> None:
    result = convert(world() + server() + grant(WEB))
    assert rules_of(result) == [
        {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}], "to": [{"operation": {"ports": ["8080"]}}]},
        {"to": [{"operation": {"notPorts": ["8080"]}}]},
    ]
    assert peer(result) == []
    assert result.verification.verdict == "equivalent"


def test_the_residual_rule_has_the_peers_of_the_default_policy() -> None:
    authenticated = convert(world("config.linkerd.io/default-inbound-policy: all-authenticated") + server() + grant(WEB))
    assert rules_of(authenticated)[-1] == {"from": [{"source": {"principals": ["*"]}}], "to": [{"operation": {"notPorts": ["8080"]}}]}
    assert peer(authenticated) == [{"mtls": {"mode": "STRICT"}}]
    cluster = convert(world("config.linkerd.io/default-inbound-policy: cluster-unauthenticated") + server() + grant(WEB))
    assert rules_of(cluster)[-1]["from"] == [{"source": {"ipBlocks": CLUSTER}}]
    denied = convert(world("config.linkerd.io/default-inbound-policy: deny") + server() + grant(WEB))
    assert [item.object["spec"] for item in denied.manifests if item.object["metadata"]["name"] == "default-deny"] == [{}]
    assert len(rules_of(denied)) == 1


def test_a_server_that_admits_plaintext_keeps_its_port_open_under_strict() -> None:
    text = world("config.linkerd.io/default-inbound-policy: all-authenticated") + server(access="all-unauthenticated")
    result = convert(text)
    workload = next(spec for spec in peer(result) if "selector" in spec)
    assert workload == {
        "selector": {"matchLabels": {"app": "users"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}},
    }
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_server_authorization_without_networks_is_the_cluster_only() -> None:
    text = """
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: web, namespace: shop}
spec: {server: {name: users-api}, client: {meshTLS: {serviceAccounts: [{name: web}]}}}
"""
    first = rules_of(convert(world() + server() + text))[0]
    assert first["from"] == [{"source": {"principals": ["cluster.local/ns/shop/sa/web"], "ipBlocks": CLUSTER}}]


def test_no_references_mean_everybody_and_a_missing_one_nobody() -> None:
    everybody = convert(world() + server() + grant(""))
    assert everybody.verification.verdict == "equivalent"
    assert rules_of(everybody) == [{"to": [{"operation": {"ports": ["8080"]}}, {"operation": {"notPorts": ["8080"]}}]}]
    nobody = convert(world() + server() + grant("{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: gone}"))
    assert rules_of(nobody) == [{"to": [{"operation": {"notPorts": ["8080"]}}]}]
    refused = """
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: gone, namespace: shop}
spec: {identities: ["*"], identityRefs: [{kind: ServiceAccount, name: web}]}
---
"""
    there = convert(world() + server() + refused + grant("{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: gone}"))
    assert rules_of(there) == rules_of(nobody)
    for result, lack in ((nobody, "which the bundle does not have"), (there, "which the mesh does not take as it is")):
        (finding,) = [item for item in result.findings if item.code == "MP014"]
        assert lack in finding.message


GONE = {
    "AuthorizationPolicy": grant("{kind: ServiceAccount, name: web}").replace("name: users-api", "name: gone"),
    "ServerAuthorization": """
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: users, namespace: shop}
spec: {server: {name: gone}, client: {meshTLS: {serviceAccounts: [{name: web}]}}}
""",
    "HTTPRoute": """
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: gone}]
  rules: [{matches: [{path: {value: /users}, method: GET}]}]
""",
}


@pytest.mark.parametrize("kind", GONE)
def test_what_is_for_a_server_that_is_not_there_is_an_error_and_not_called_needless(kind: str) -> None:
    """Whoever forgot a file would take "nothing is written for it" as good news."""
    result = convert(world() + GONE[kind])
    (finding,) = [item for item in result.findings if item.code == "MP014"]
    assert (finding.severity, "refers to Server shop/gone, which the bundle does not have" in finding.message) == ("error", True)
    own = [line for line in result.ledger if line.codes == ["MP014"]]
    assert {line.path for line in own} >= {"metadata.name"}
    assert all(line.disposition == "invalid" for line in own)
    assert not [item for item in result.findings if item.code == "MP200"]


def test_identities_of_every_form() -> None:
    authn = """
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: who, namespace: shop}
spec: {identities: ["*.web.serviceaccount.identity.linkerd.cluster.local", "a.b.serviceaccount.identity.linkerd.cluster.local"]}
---
"""
    text = world() + server() + authn + grant("{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: who}")
    assert rules_of(convert(text))[0]["from"] == [{"source": {"principals": ["cluster.local/ns/b/sa/a", "cluster.local/ns/web/*"]}}]


def test_networks_with_exceptions() -> None:
    authn = """
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: {name: nets, namespace: shop}
spec: {networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}
---
"""
    text = world() + server() + authn + grant("{group: policy.linkerd.io, kind: NetworkAuthentication, name: nets}")
    assert rules_of(convert(text))[0]["from"] == [{"source": {"ipBlocks": ["10.0.0.0/8"], "notIpBlocks": ["10.1.0.0/16"]}}]


def test_routes_by_path_method_and_header() -> None:
    matches = "{method: GET, path: {type: PathPrefix, value: /api}, headers: [{name: X-Tenant, value: gold}]}"
    result = convert(world() + server() + route(matches) + grant(WEB, ON_ROUTE))
    first = rules_of(result)[0]
    assert first["to"] == [{"operation": {"ports": ["8080"], "methods": ["GET"], "paths": ["/api", "/api/*"]}}]
    assert first["when"] == [{"key": "request.headers[x-tenant]", "values": ["gold"]}]


def test_a_regex_becomes_a_template_where_it_is_one() -> None:
    result = convert(world() + server() + route("{path: {type: RegularExpression, value: '/api/users/[^/]+'}}") + grant(WEB, ON_ROUTE))
    assert rules_of(result)[0]["to"][0]["operation"]["paths"] == ["/api/users/{*}"]
    lost = convert(world() + server() + route("{path: {type: RegularExpression, value: '/api/v[0-9]+/x'}}") + grant(WEB, ON_ROUTE))
    assert "MP201" in codes(lost)
    assert all("8080" not in str(rule.get("to", "")) or "notPorts" in str(rule) for rule in rules_of(lost))


def test_a_server_with_routes_sees_requests_on_a_port_that_the_pod_calls_opaque() -> None:
    """A Server replaces the detection of its port (Linkerd reference 2.2); as bytes, no rule on requests would hold in Istio."""
    text = world(pod="config.linkerd.io/opaque-ports: '8080'") + server(protocol="unknown")
    result = convert(text + route("{path: {type: Exact, value: /api}}") + grant(WEB, ON_ROUTE))
    assert rules_of(result)[0]["to"] == [{"operation": {"ports": ["8080"], "paths": ["/api"]}}]
    assert "appProtocol: tcp" not in result.text()
    assert not [item for item in result.verification.differences if item.change == "denied"]


PREFIX = "{path: {type: PathPrefix, value: /api}}"


@pytest.mark.parametrize(
    ("first", "second", "web", "batch"),
    [
        (PREFIX, "{path: {type: Exact, value: /api}}", ["/api", "/api/*"], []),
        ("{path: {type: Exact, value: /api}}", PREFIX, ["/api"], ["/api/*"]),
        (PREFIX, "{path: {type: RegularExpression, value: '/api(?:/.*)?'}}", ["/api"], ["/api/*"]),
        (PREFIX, "{path: {type: Exact, value: /api/}}", ["/api", "/api/*"], ["/api/"]),
        ("{path: {type: PathPrefix, value: /}}", "{path: {type: Exact, value: /}}", [], []),
    ],
)
def test_of_a_path_its_length_ranks_whatever_the_match(first: str, second: str, web: list[str], batch: list[str]) -> None:
    """A prefix that is the path itself ties with the match of the whole path, and the first by name is taken
    (linkerd2-proxy, linkerd/http/route/src/http/match/path.rs)."""
    text = world() + server()
    for name, matches, account in (("a", first, "web"), ("b", second, "batch")):
        on = f"{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name}}}"
        text += route(matches, name) + grant(f"{{kind: ServiceAccount, name: {account}, namespace: shop}}", on, name)
    said: dict[str, list[str]] = {"web": [], "batch": []}
    for rule in rules_of(convert(text)):
        for account in said:
            if f"sa/{account}" in str(rule.get("from", "")):
                said[account] += rule["to"][0]["operation"].get("paths", [])
    assert sorted(said["web"]) == web and sorted(said["batch"]) == batch


def test_a_better_route_takes_its_requests_out() -> None:
    text = world() + server()
    text += route("{path: {type: PathPrefix, value: /api}}") + grant(WEB, ON_ROUTE)
    text += route("{path: {type: Exact, value: /api/admin}}", "admin")
    text += grant("{kind: ServiceAccount, name: ops, namespace: shop}", ON_ROUTE.replace("name: r", "name: admin"), "admin")
    result = convert(text)
    by_peer = {rule["from"][0]["source"]["principals"][0]: rule["to"][0]["operation"] for rule in rules_of(result) if "from" in rule}
    assert by_peer["cluster.local/ns/shop/sa/ops"]["paths"] == ["/api/admin"]
    web = by_peer["cluster.local/ns/shop/sa/web"]
    assert "/api/admin" in web.get("notPaths", []) or "/api/admin" not in web.get("paths", [])
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_a_query_cannot_be_demanded() -> None:
    result = convert(world() + server() + route("{queryParams: [{name: v, value: '2'}]}") + grant(WEB, ON_ROUTE))
    assert "MP201" in codes(result)


def test_named_ports_are_numbers_of_each_workload() -> None:
    other = world().split("---")[2].replace("name: users,", "name: other,").replace("8080", "7070")
    result = convert(world() + other + "---\n" + server() + grant(WEB))
    found = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"
    }
    assert len(found) == 1 or all(spec["selector"]["matchLabels"] for spec in found.values())
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_without_workloads_the_policy_closes_all_ports_and_says_so() -> None:
    result = convert(server() + grant(WEB))
    assert rules_of(result) == [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}]
    finding = next(finding for finding in result.findings if finding.code == "MP220")
    assert finding.severity == "error"
    assert result.verification.verdict == "inconclusive"  # nobody knows the number of the port of that name


def test_a_port_that_asks_for_an_identity_by_annotation() -> None:
    result = convert(world(pod='config.linkerd.io/proxy-require-identity-inbound-ports: "9090"'))
    assert peer(result)[0]["portLevelMtls"] == {"9090": {"mode": "STRICT"}}
    assert result.verification.verdict == "equivalent"


def test_skipped_ports_go_past_both_proxies() -> None:
    result = convert(world(pod='config.linkerd.io/skip-inbound-ports: "9090"'))
    template = next(item.object for item in result.manifests if item.object["kind"] == "Deployment")["spec"]["template"]["metadata"]
    assert template["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] == "9090"


def test_opaque_servers_say_so_on_the_service() -> None:
    result = convert(world() + server(protocol="opaque") + grant(WEB))
    service = next(item.object for item in result.manifests if item.object["kind"] == "Service")
    assert service["spec"]["ports"][0]["appProtocol"] == "tcp"


def test_probes_that_linkerd_opens_to_all_are_named() -> None:
    text = world().replace("image: users,", "image: users, readinessProbe: {httpGet: {path: /ready, port: api}},") + server() + grant(WEB)
    finding = next(finding for finding in convert(text).findings if finding.code == "MP229")
    assert (finding.severity, finding.effect) == ("info", "narrows")


ROUTES = """
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: NAME, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: users-api}], rules: [{matches: [MATCHES]}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: NAME}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]}
---
"""


def test_what_a_caller_may_send_is_one_rule() -> None:
    read = ROUTES.replace("NAME", "read").replace(
        "MATCHES", "{method: GET, path: {type: Exact, value: /a}}, {method: GET, path: {type: Exact, value: /b}}"
    )
    change = ROUTES.replace("NAME", "change").replace(
        "MATCHES", "{method: PUT, path: {type: Exact, value: /c}}, {method: DELETE, path: {type: Exact, value: /c}}"
    )
    (rule, *_) = [each for each in rules_of(convert(world() + server() + read + change)) if "from" in each]
    assert [len(source["source"]["principals"]) for source in rule["from"]] == [1]
    said = [(sorted(entry["operation"]["methods"]), sorted(entry["operation"]["paths"])) for entry in rule["to"]]
    assert sorted(said) == [(["DELETE", "PUT"], ["/c"]), (["GET"], ["/a", "/b"])]


def test_what_asks_for_http_stands_apart_from_what_does_not() -> None:
    """Where a port speaks no HTTP, Istio leaves the whole rule of an ALLOW out for one operation that asks for it."""
    route = ROUTES.replace("NAME", "read").replace("MATCHES", "{method: GET}")
    rules = rules_of(
        convert(world("config.linkerd.io/default-inbound-policy: all-unauthenticated") + server(access="all-unauthenticated") + route)
    )
    for rule in rules:
        assert len({"methods" in entry["operation"] or "paths" in entry["operation"] for entry in rule.get("to", ())}) < 2
    assert {"to": [{"operation": {"notPorts": ["8080"]}}]} in rules
