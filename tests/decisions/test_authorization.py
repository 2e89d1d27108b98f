"""Who may call, decision by decision: rules without identity, denies, paths, gateways as callers, networks, and the shapes that Linkerd's objects take."""

from __future__ import annotations

import re
from typing import Any

import pytest

import meshport

from .decision_helper import (
    convert,
    grant,
    inbound_default,
    mtls,
    namespace,
    network_policy,
    policy,
    said,
    server,
    service,
    shop,
    spec,
    thing,
    workload,
    written,
)

STRICT = mtls("{mtls: {mode: STRICT}}")
ISTIO = namespace() + service("users") + workload("users") + workload("web") + workload("batch")
LINKERD = namespace(mesh="linkerd") + service("users") + workload("users") + workload("web")
WEB = "cluster.local/ns/shop/sa/web"
ON_SERVER = "{group: policy.linkerd.io, kind: Server, name: users}"
SERVER = server("{podSelector: {matchLabels: {app: users}}, port: 8080, proxyProtocol: HTTP/1}")


def users(rules: str, action: str = "ALLOW", name: str = "users") -> str:
    return policy(f"{{selector: {{matchLabels: {{app: users}}}}, action: {action}, rules: [{rules}]}}", name)


def by(*accounts: str) -> str:
    names = ", ".join(f"cluster.local/ns/shop/sa/{account}" for account in accounts)
    return f"from: [{{source: {{principals: [{names}]}}}}]"


# -- whom a rule means


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_deny_of_callers_without_identity_is_strict_in_other_words(target: str) -> None:
    deny = convert(ISTIO + users("{from: [{source: {notPrincipals: ['*']}}]}", "DENY"), "istio", target)
    strict = convert(ISTIO + mtls("{selector: {matchLabels: {app: users}}, mtls: {mode: STRICT}}", "users"), "istio", target)
    if target == "cilium":
        assert [item["spec"] for item in written(deny, "CiliumNetworkPolicy").values()] == [
            item["spec"] for item in written(strict, "CiliumNetworkPolicy").values()
        ]
    else:
        assert [item.object for item in deny.manifests] == [item.object for item in strict.manifests]
        assert inbound_default(deny, "Deployment", "users") == "all-authenticated"


@pytest.mark.parametrize("namespace", ["shop", "istio-system"])
def test_a_deny_of_callers_without_identity_for_all_pods_is_a_default_for_linkerd(namespace: str) -> None:
    """Nobody else of the namespace is refused for it, and ports need no Servers."""
    spec = "{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}"
    deny = convert(ISTIO + policy(spec, "need").replace("namespace: shop", f"namespace: {namespace}"), "istio", "linkerd")
    strict = convert(ISTIO + mtls("{mtls: {mode: STRICT}}").replace("namespace: shop", f"namespace: {namespace}"), "istio", "linkerd")
    assert deny.install == strict.install
    assert [item.object for item in deny.manifests] == [item.object for item in strict.manifests]
    assert [finding.code for finding in deny.findings if finding.effect in ("narrows", "widens")] == []


@pytest.mark.parametrize(
    ("references", "target", "rule"),
    [
        ("[]", "istio", {"to": [{"operation": {"ports": ["8080"]}}]}),
        ("[{kind: MeshTLSAuthentication, group: policy.linkerd.io, name: gone}]", "istio", None),
        ("[]", "cilium", {"toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}),
        ("[{kind: MeshTLSAuthentication, group: policy.linkerd.io, name: gone}]", "cilium", None),
    ],
)
def test_no_references_are_anyone_and_a_missing_one_is_no_one(references: str, target: str, rule: Any) -> None:
    world = LINKERD.replace("linkerd.io/inject: enabled", "linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: deny")
    result = convert(world + SERVER + grant(ON_SERVER, references), "linkerd", target)
    kind, key = ("AuthorizationPolicy", "rules") if target == "istio" else ("CiliumNetworkPolicy", "ingress")
    assert spec(result, kind, "users").get(key, []) == ([rule] if rule else [] if target == "istio" else [{}])


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_a_server_authorization_without_networks_is_for_the_cluster(target: str) -> None:
    authorization = thing(
        "policy.linkerd.io/v1beta1", "ServerAuthorization",
        "{server: {name: users}, client: {meshTLS: {serviceAccounts: [{name: web}]}}}", "users",
    )  # fmt: skip
    result = convert(LINKERD + SERVER + authorization, "linkerd", target)
    if target == "istio":
        (source,) = spec(result, "AuthorizationPolicy", "users")["rules"][0]["from"]
        assert source == {
            "source": {"principals": [WEB], "ipBlocks": ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]}
        }
    else:  # labels are in the cluster by definition
        peers = spec(result, "CiliumNetworkPolicy", "users")["ingress"][0]["fromEndpoints"]
        assert [peer["matchLabels"]["k8s:io.cilium.k8s.policy.serviceaccount"] for peer in peers] == ["web"]
        assert "fromCIDRSet" not in str(spec(result, "CiliumNetworkPolicy", "users"))


# -- denies


def test_denies_without_an_allow_close_nothing_else_on_cilium() -> None:
    result = convert(ISTIO + users(f"{{{by('web')}}}", "DENY"), "istio", "cilium")
    deny = spec(result, "CiliumNetworkPolicy", "users")
    assert deny["enableDefaultDeny"] == {"ingress": False} and "ingress" not in deny
    assert deny["ingressDeny"][0]["fromEndpoints"][0]["matchLabels"]["k8s:io.cilium.k8s.policy.serviceaccount"] == "web"


def test_a_deny_is_cut_out_of_the_allows_that_it_overlaps_and_of_no_other() -> None:
    rules = users(f"{{{by('web')}}}, {{{by('batch')}, to: [{{operation: {{methods: [GET]}}}}]}}")
    result = convert(ISTIO + rules + users("{to: [{operation: {methods: [DELETE]}}]}", "DENY", "no-delete"), "istio", "linkerd")
    on_server = [item for item in written(result, "AuthorizationPolicy").values() if item["spec"]["targetRef"]["kind"] == "Server"]
    assert on_server == []  # a grant on the Server would let web delete
    routes = written(result, "HTTPRoute")
    refusing = [name for name, route in routes.items() if {"method": "DELETE"} in route["spec"]["rules"][0]["matches"]]
    admitting = {item["spec"]["targetRef"]["name"] for item in written(result, "AuthorizationPolicy").values()}
    assert refusing == ["users-8080-denied"] and admitting and not admitting.intersection(refusing)
    assert not [item for item in result.findings if item.code in ("MP201", "MP202")]


# -- paths


def allowed_on(result: Any, target: str, path: str) -> bool:
    """Whether one of the rules that were written takes a request for the path, as the proxy of the target compares it."""
    if target == "cilium":
        rules = [
            rule
            for item in written(result, "CiliumNetworkPolicy").values()
            for entry in item["spec"]["ingress"]
            for ports in entry["toPorts"]
            for rule in ports["rules"]["http"]
        ]
        return any(re.fullmatch(rule["path"], path) for rule in rules)
    routes = [item for name, item in written(result, "HTTPRoute").items() if not name.endswith("refuse")]
    plain = path.partition("?")[0]
    for match in (match for route in routes for rule in route["spec"]["rules"] for match in rule["matches"]):
        kind, value = match["path"]["type"], match["path"]["value"]
        if (kind == "Exact" and value == plain) or (kind == "RegularExpression" and re.fullmatch(value, plain)):
            return True
        if kind == "PathPrefix" and (plain + "/").startswith(value.rstrip("/") + "/"):
            return True
    return False


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize(
    ("pattern", "taken", "not_taken"),
    [
        ("/api/*", ["/api/", "/api/x", "/api/x/y", "/api/x?q=1"], ["/api", "/apix", "/x"]),
        ("/api*", ["/api", "/apix", "/api/x", "/api?q=1"], ["/ap", "/x/api"]),
        ("/charge", ["/charge", "/charge?q=1"], ["/charge/", "/charge/x", "/charg", "/chargee"]),
        ("/v1.0/a+b", ["/v1.0/a+b"], ["/v1x0/a+b", "/v1.0/aab"]),
        ("*/health", ["/health", "/a/b/health"], ["/health/x", "/xhealthz"]),
        ("/users/{*}/orders", ["/users/7/orders"], ["/users/7/8/orders", "/users//orders"]),
        ("/files/{**}", ["/files/a", "/files/a/b"], ["/file"]),
    ],
)
def test_a_path_pattern_takes_the_same_paths_by_whatever_form(target: str, pattern: str, taken: list[str], not_taken: list[str]) -> None:
    result = convert(ISTIO + users(f"{{to: [{{operation: {{paths: ['{pattern}']}}}}]}}"), "istio", target)
    assert [path for path in taken if not allowed_on(result, target, path)] == []
    assert [path for path in not_taken if allowed_on(result, target, path)] == []


@pytest.mark.parametrize("path", ["/api/../admin", "/api/%2e%2e/admin", "/api/x/../../admin", "/api/..\\\\admin"])
def test_linkerd_compares_raw_paths_so_no_wildcard_takes_a_dot_segment(path: str) -> None:
    result = convert(ISTIO + users("{to: [{operation: {paths: ['/api/*']}}]}"), "istio", "linkerd")
    assert not allowed_on(result, "linkerd", path)
    assert said(result, "MP209")


def test_a_path_of_cilium_refuses_a_query_which_istio_can_say_and_linkerd_cannot() -> None:
    rule = "{endpointSelector: {matchLabels: {app: users}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET, path: /x}]}}]}]}"
    world = namespace(mesh="plain") + service("users") + workload("users") + workload("web")
    istio = convert(world + network_policy(rule), "cilium", "istio")
    assert spec(istio, "AuthorizationPolicy", "users")["rules"][0]["when"] == [{"key": "request.headers[:path]", "values": ["/x"]}]
    linkerd = convert(world + network_policy(rule), "cilium", "linkerd")
    (lost,) = said(linkerd, "MP197")
    assert "/x is matched with the query" in lost.message and lost.severity == "error"
    assert r"(\?.*)?" in lost.remedy
    as_advised = convert(world + network_policy(rule.replace("path: /x", r"path: '/x(\?.*)?'")), "cilium", "linkerd")
    assert not said(as_advised, "MP197") and as_advised.verification.verdict == "equivalent"
    assert inbound_default(linkerd, "Deployment", "users") == "deny"


# -- gateways as callers

GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
ENTRY = thing(
    "networking.istio.io/v1", "Gateway", "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}", "edge"
)  # fmt: skip
SECOND = ENTRY.replace("name: edge", "name: other").replace("istio: ingressgateway", "istio: other")
PODS = namespace("istio-system", "plain") + workload(
    "istio-ingressgateway", home="istio-system", account="istio-ingressgateway-service-account", labels=", istio: ingressgateway"
)
FROM_GATEWAY = users(f"{{from: [{{source: {{principals: [{GATEWAY}]}}}}]}}")


@pytest.mark.parametrize(
    ("entries", "ingress"),
    [("", [{}]), (ENTRY, [{"fromEntities": ["ingress"]}]), (ENTRY + PODS, [{"fromEntities": ["ingress"]}]), (ENTRY + SECOND + PODS, [{}])],
    ids=["none", "one", "one with its pods", "two"],
)
def test_one_gateway_becomes_ciliums_and_of_several_none_is_guessed(entries: str, ingress: list[Any]) -> None:
    result = convert(ISTIO + FROM_GATEWAY + entries, "istio", "cilium")
    assert spec(result, "CiliumNetworkPolicy", "users")["ingress"] == ingress
    assert [finding.severity for finding in said(result, "MP216")] == (["error"] if ingress == [{}] else [])


@pytest.mark.parametrize("entries", ["", ENTRY, PODS, ENTRY + PODS, ENTRY + SECOND + PODS], ids=["none", "one", "pods", "with pods", "two"])
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_the_named_successor_takes_the_gateways_place(target: str, entries: str) -> None:
    result = convert(ISTIO + FROM_GATEWAY + entries, "istio", target, gateway_identity="edge/nginx")
    if target == "linkerd":
        references = spec(result, "AuthorizationPolicy", "users-8080-users")["requiredAuthenticationRefs"]
        assert references == [{"kind": "ServiceAccount", "name": "nginx", "namespace": "edge"}]
    else:
        (peer,) = spec(result, "CiliumNetworkPolicy", "users")["ingress"][0]["fromEndpoints"]
        assert peer["matchLabels"] == {"k8s:io.kubernetes.pod.namespace": "edge", "k8s:io.cilium.k8s.policy.serviceaccount": "nginx"}
    assert not said(result, "MP216") and not said(result, "MP210")
    assert result.verification is not None
    assert not any(item.change == "allowed" for item in result.verification.differences)


def test_without_a_successor_a_rule_for_the_gateway_is_left_out_for_linkerd() -> None:
    result = convert(ISTIO + FROM_GATEWAY + ENTRY + PODS, "istio", "linkerd")
    assert "--gateway-identity" in said(result, "MP216")[0].remedy and said(result, "MP216")[0].severity == "error"
    assert written(result, "AuthorizationPolicy") == {}
    assert not said(result, "MP210")  # its pods are proxies, and have an identity


# -- the forms of Linkerd's objects


def test_one_account_is_named_in_place_and_several_or_patterns_in_an_object_of_their_own() -> None:
    one = convert(ISTIO + users(f"{{{by('web')}}}"), "istio", "linkerd")
    assert spec(one, "AuthorizationPolicy", "users-8080-users")["requiredAuthenticationRefs"] == [
        {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}
    ]
    assert written(one, "MeshTLSAuthentication") == {}
    two = convert(ISTIO + users(f"{{{by('web', 'batch')}}}"), "istio", "linkerd")
    assert spec(two, "MeshTLSAuthentication", "users-8080-users")["identityRefs"] == [
        {"kind": "ServiceAccount", "name": name, "namespace": "shop"} for name in ("batch", "web")
    ]
    home = convert(ISTIO + users("{from: [{source: {namespaces: [front]}}]}"), "istio", "linkerd")
    assert spec(home, "MeshTLSAuthentication", "users-8080-users")["identityRefs"] == [{"kind": "Namespace", "name": "front"}]


def test_identities_and_addresses_of_one_source_are_both_asked_for() -> None:
    rule = f"{{from: [{{source: {{principals: [{WEB}], ipBlocks: [10.1.0.0/16]}}}}]}}"
    references = spec(convert(ISTIO + users(rule), "istio", "linkerd"), "AuthorizationPolicy", "users-8080-users")[
        "requiredAuthenticationRefs"
    ]
    assert sorted(item["kind"] for item in references) == ["NetworkAuthentication", "ServiceAccount"]


@pytest.mark.parametrize(
    ("port", "container", "protocol"),
    [
        ("{name: http, port: 80, targetPort: 8080}", "", "HTTP/1"),
        ("{name: grpc, port: 80, targetPort: 8080}", "", "HTTP/2"),
        ("{name: http2, port: 80, targetPort: 8080}", "", "HTTP/2"),
        ("{name: x, appProtocol: kubernetes.io/h2c, port: 80, targetPort: 8080}", "", "HTTP/2"),
        ("{name: grpc, port: 80, targetPort: 8080}", ", readinessProbe: {httpGet: {path: /ready, port: 8080}}", "unknown"),
        ("{name: tcp, port: 80, targetPort: 8080}", "", "opaque"),
        ("{name: tls, port: 80, targetPort: 8080}", "", "TLS"),
        ("{name: https, port: 80, targetPort: 8080}", "", "TLS"),
        ("{name: whatever, port: 80, targetPort: 8080}", "", "unknown"),
    ],
)
def test_the_protocol_of_a_server_is_what_the_port_declares(port: str, container: str, protocol: str) -> None:
    world = (
        namespace() + service("users", f"[{port}]") + workload("users", "[{containerPort: 8080}]", container=container) + workload("web")
    )
    result = convert(world + users(f"{{{by('web')}}}"), "istio", "linkerd")
    assert spec(result, "Server", "users-8080")["proxyProtocol"] == protocol


def test_ports_of_a_policy_without_ports_are_those_that_somebody_declares_and_the_rest_is_refused() -> None:
    world = namespace() + service("users", "[{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81, targetPort: 9090}]")
    world += workload("users", "[{containerPort: 8080}, {containerPort: 7070}]") + workload("web")
    result = convert(world + users(f"{{{by('web')}}}"), "istio", "linkerd")
    assert sorted(written(result, "Server")) == ["users-7070", "users-8080", "users-9090"]
    assert inbound_default(result, "Deployment", "users") == "deny"
    assert [finding.severity for finding in said(result, "MP206")] == ["info"]


def test_declared_ports_that_carry_bytes_are_none_at_which_requests_are_asked_about() -> None:
    world = namespace() + service("users", "[{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 81, targetPort: 9090}]")
    world += workload("users", "[{containerPort: 8080}]") + workload("web")
    (finding,) = said(convert(world + users(f"{{{by('web')}, to: [{{operation: {{paths: [/a]}}}}]}}"), "istio", "cilium"), "MP280")
    assert "the declared ports (8080);" in finding.message


def test_a_pattern_that_no_account_is_meant_by_is_named() -> None:
    (finding,) = said(convert(ISTIO + users("{from: [{source: {principals: ['*/sa/gone-*']}}]}"), "istio", "linkerd"), "MP201")
    assert finding.message.endswith("cannot say */sa/gone-*: it is no account that the bundle knows")


def test_names_are_those_of_the_set_the_port_and_the_policy_and_cut_with_a_hash() -> None:
    long = "a-policy-with-a-name-that-leaves-no-room-for-the-name-of-a-server"
    result = convert(
        ISTIO + users(f"{{{by('web')}, to: [{{operation: {{paths: [/a]}}}}]}}, {{{by('batch')}, to: [{{operation: {{paths: [/b]}}}}]}}"),
        "istio",
        "linkerd",
    )
    assert sorted(written(result, "HTTPRoute")) == ["users-8080-refuse", "users-8080-users-1", "users-8080-users-2"]
    (cut,) = written(convert(ISTIO + users(f"{{{by('web')}}}", name=long), "istio", "linkerd"), "AuthorizationPolicy")
    assert len(cut) <= 63 and re.search(r"-[0-9a-f]{6}$", cut)


def test_a_refusal_stands_behind_routes_only() -> None:
    routed = convert(ISTIO + users(f"{{{by('web')}, to: [{{operation: {{paths: [/a]}}}}]}}"), "istio", "linkerd")
    assert spec(routed, "HTTPRoute", "users-8080-refuse")["rules"] == [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    assert "users-8080-refuse" not in {item["spec"]["targetRef"]["name"] for item in written(routed, "AuthorizationPolicy").values()}
    assert written(convert(ISTIO + users(f"{{{by('web')}}}"), "istio", "linkerd"), "HTTPRoute") == {}


def test_where_a_refusal_would_tie_with_the_path_alone_the_answer_is_404_which_is_said() -> None:
    result = convert(ISTIO + users(f"{{{by('web')}, to: [{{operation: {{paths: [/]}}}}]}}"), "istio", "linkerd")
    assert list(written(result, "HTTPRoute")) == ["users-8080-users"]
    (finding,) = said(result, "MP195")
    assert (finding.severity, finding.effect) == ("info", "none")
    assert "404 instead of 403" in finding.message and "users" in finding.message
    for without in ("{paths: [/], methods: [GET]}", "{paths: ['/*']}"):
        assert not said(convert(ISTIO + users(f"{{{by('web')}, to: [{{operation: {without}}}]}}"), "istio", "linkerd"), "MP195")


@pytest.mark.parametrize(("paths", "code"), [("[/a]", "MP204"), ("['/r*']", "MP205"), ("[/ready]", "MP205")])
def test_a_probe_keeps_its_way_in_which_is_a_warning(paths: str, code: str) -> None:
    """The kubelet has no identity, so everybody may send GET to this one path: the exception that the contract makes."""
    probed = workload("users", container=", readinessProbe: {httpGet: {path: '/ready?deep=1', port: http}}")
    world = namespace() + service("users") + probed + workload("web")
    result = convert(world + users(f"{{{by('web')}, to: [{{operation: {{paths: {paths}}}}}]}}"), "istio", "linkerd")
    assert spec(result, "HTTPRoute", "users-8080-probes")["rules"] == [
        {"matches": [{"method": "GET", "path": {"type": "Exact", "value": "/ready"}}]}
    ]
    assert spec(result, "NetworkAuthentication", "any-network")["networks"] == [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]
    assert [(finding.severity, finding.effect) for finding in said(result, code)] == [("warning", "widens")]


def test_rules_of_http_are_void_on_a_port_of_bytes() -> None:
    world = namespace() + service("users", "[{name: tcp, port: 80, targetPort: 8080}]") + workload("users") + workload("web")
    result = convert(world + users(f"{{{by('web')}, to: [{{operation: {{methods: [GET]}}}}]}}, {{{by('batch')}}}"), "istio", "linkerd")
    assert written(result, "HTTPRoute") == {}
    assert spec(result, "AuthorizationPolicy", "users-8080-users-2")["requiredAuthenticationRefs"][0]["name"] == "batch"


def test_istio_is_told_of_accounts_by_principals() -> None:
    result = convert(LINKERD + SERVER + grant(ON_SERVER, "[{kind: ServiceAccount, name: web}]"), "linkerd", "istio", target_version="1.25")
    assert spec(result, "AuthorizationPolicy", "users")["rules"][0]["from"] == [{"source": {"principals": [WEB]}}]


def test_hosts_are_compared_with_their_port_as_istio_does() -> None:
    result = convert(ISTIO + users("{to: [{operation: {hosts: [users.test]}}]}"), "istio", "cilium")
    (rule,) = spec(result, "CiliumNetworkPolicy", "users")["ingress"][0]["toPorts"][0]["rules"]["http"]
    takes = re.compile(rule["host"].replace("(?i)", ""), re.IGNORECASE)
    assert takes.fullmatch("Users.test") and not takes.fullmatch("users.test:8080") and not takes.fullmatch("usersxtest")


# -- what only Cilium enforces, and gateways


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_port_with_kafka_rules_is_closed_in_both_halves_and_leaving_the_mesh_is_the_remedy(target: str, keep: bool) -> None:
    rule = "{endpointSelector: {matchLabels: {app: users}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '9092', protocol: TCP}], rules: {kafka: [{topic: orders}]}}]}]}"
    world = namespace(mesh="plain") + workload("users") + workload("web")
    result = convert(world + network_policy(rule), "cilium", target, source_version="1.19", keep_network_policy=keep)
    (lost,) = said(result, "MP269")
    assert (lost.severity, lost.effect) == ("error", "narrows") and "leave the workload out of the mesh" in lost.remedy
    if keep:
        assert spec(result, "CiliumNetworkPolicy", "users")["ingress"] == [{}]
    if target == "istio":
        assert "rules" not in spec(result, "AuthorizationPolicy", "users")
    else:
        assert inbound_default(result, "Deployment", "users") == "deny" and written(result, "Server") == {}


def test_labels_of_the_selected_pods_stay_labels_and_expressions_become_a_policy_for_each_workload() -> None:
    rule = "{endpointSelector: {matchExpressions: [{key: app, operator: In, values: [users, batch]}]}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}]}"
    world = namespace(mesh="plain") + workload("users") + workload("batch") + workload("web")
    istio = convert(world + network_policy(rule), "cilium", "istio")
    assert [item["spec"]["selector"]["matchLabels"] for _, item in sorted(written(istio, "AuthorizationPolicy").items())] == [
        {"app": "batch"},
        {"app": "users"},
    ]
    linkerd = convert(world + network_policy(rule), "cilium", "linkerd")
    selectors = [item["spec"]["podSelector"] for item in written(linkerd, "Server").values()]
    assert {"matchExpressions": [{"key": "app", "operator": "In", "values": ["batch", "users"]}]} in selectors or len(selectors) == 2


@pytest.mark.parametrize(("gateway_class", "kept"), [(None, True), ("nginx", False)])
def test_a_gateway_passes_to_linkerd_unchanged_unless_its_new_class_is_named(gateway_class: str | None, kept: bool) -> None:
    edge = thing(
        "gateway.networking.k8s.io/v1", "Gateway", "{gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}", "edge"
    )
    route = thing(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: users, port: 80}]}]}",
        "edge",
    )
    result = convert(ISTIO + edge + route, "istio", "linkerd", gateway_class=gateway_class)
    assert "HTTPRoute" in {item["kind"] for item in result.passed_through}
    assert [finding.severity for finding in said(result, "MP704")] == (["error"] if kept else [])
    assert {name: item["spec"]["gatewayClassName"] for name, item in written(result, "Gateway").items()} == (
        {} if kept else {"edge": "nginx"}
    )


def test_an_empty_list_of_ports_asks_for_nothing_whatever_the_data_plane() -> None:
    world = namespace() + service() + workload() + workload("web")
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {ports: [], paths: [/a]}}]}"
    text = world + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{rule}]}}")
    at_waypoint = written(convert(text, "istio", "istio", data_plane="ambient"), "AuthorizationPolicy")["users"]["spec"]
    assert at_waypoint["rules"][0]["to"] == [{"operation": {"ports": [], "paths": ["/a"]}}]
    assert any("/a" in str(route["spec"]["rules"]) for route in written(convert(text, "istio", "linkerd"), "HTTPRoute").values())


def test_digits_of_other_scripts_are_no_port() -> None:
    rule = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {ports: ['٨٠٨٠']}}]}"
    text = (
        namespace() + service() + workload() + workload("web") + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{rule}]}}")
    )
    assert written(convert(text, "istio", "linkerd"), "AuthorizationPolicy") == {}


@pytest.mark.parametrize(("mode", "allowed"), [("", False), ("nodes", True)])
def test_networks_of_cilium_take_nodes_only_where_the_installation_says_so(mode: str, allowed: bool) -> None:
    settings = f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cilium-config, namespace: kube-system}}\ndata: {{policy-cidr-match-mode: '{mode}'}}\n"
    rule = "{fromCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: '8080', protocol: TCP}]}]}"
    text = namespace(mesh="cilium") + service() + workload() + settings
    text += network_policy(f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{rule}]}}")
    caller = {"labels": {"reserved:remote-node": ""}, "ip": "10.2.3.4", "meshed": False}
    request = {"source": caller, "destination": {"namespace": "shop", "service": "users", "port": 80}, "method": "GET", "path": "/"}
    assert meshport.trace(meshport.load_text(text), request, mesh="cilium").allowed is allowed
    assert not said(convert(text, "cilium", "istio"), "MP265")


def test_callers_by_tls_alone_are_said_of_the_pods_at_the_server_that_admits_them() -> None:
    admits = thing(
        "policy.linkerd.io/v1beta1",
        "ServerAuthorization",
        "{server: {name: users}, client: {meshTLS: {unauthenticatedTLS: true}}}",
        "by-tls",
    )
    (finding,) = said(convert(LINKERD + SERVER + admits, "linkerd", "istio"), "MP225")
    assert [(place.namespace, place.workload) for place in finding.affects] == [("shop", "users")]


LISTED = """{selector: {matchLabels: {app: users}}, rules: [{
  from: [{source: {namespaces: [shop]}}], to: [{operation: {METHODS}}], when: [{key: "request.headers[x-v]", values: [one, VALUE, three]}]}]}"""


def test_a_header_value_that_cilium_cannot_say_does_not_cost_its_neighbours() -> None:
    text = LISTED.replace("VALUE", '"two*"').replace("METHODS", "methods: [GET]")
    result = convert(shop("istio") + policy(text), "istio", "cilium")
    (said_of,) = said(result, "MP393")
    assert len(said_of.leaves) == 1 and "prefix two" in said_of.message
    requests = [
        one
        for rule in spec(result, "CiliumNetworkPolicy", "users")["ingress"]
        for port in rule.get("toPorts", ())
        for one in port.get("rules", {}).get("http", ())
    ]
    assert requests == [{"method": "GET", "headerMatches": [{"name": "x-v", "value": value}]} for value in ("one", "three")]
    exact = convert(shop("istio") + policy(text.replace('"two*"', "two")), "istio", "cilium")
    assert not said(exact, "MP393") and not said(exact, "MP201")


def test_a_method_that_http_route_does_not_know_does_not_cost_its_neighbours() -> None:
    text = LISTED.replace("VALUE", "two").replace("METHODS", 'methods: [GET, "P*", LOCK]')
    result = convert(shop("istio") + policy(text), "istio", "linkerd")
    (said_of,) = said(result, "MP393")
    assert "'LOCK'" in said_of.message and len(said_of.leaves) == 1
    (made,) = [obj for name, obj in written(result, "HTTPRoute").items() if name == "users-8080-users"]
    assert [match["method"] for match in made["spec"]["rules"][0]["matches"]] == ["GET", "PATCH", "POST", "PUT"]


def test_not_values_that_no_value_meets_are_no_difference() -> None:
    text = LISTED.replace("VALUE", '"two*"').replace("METHODS", "methods: [GET]").replace("three]", "three], notValues: [x]")
    assert "MP900" not in {item.code for item in convert(shop("istio") + policy(text), "istio", "linkerd").findings}


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_callers_of_other_trust_domains_are_named_where_the_bundle_shows_that_there_are_some(target: str) -> None:
    accounts = policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {serviceAccounts: [shop/web]}}]}]}")
    foreign = policy(
        "{selector: {matchLabels: {app: other}}, rules: [{from: [{source: {principals: [other.domain/ns/a/sa/b]}}]}]}", "other"
    )
    assert not said(convert(shop("istio") + accounts, "istio", target), "MP394")
    (told,) = said(convert(shop("istio") + accounts + foreign, "istio", target), "MP394")
    assert told.severity == "info" and "shop/web" in told.message and told.affects[0].workload == "users"
