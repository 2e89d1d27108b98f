"""Mutual TLS, decision by decision: what STRICT, PERMISSIVE and DISABLE become at each level, and Linkerd's default policies in other words."""

from __future__ import annotations

from typing import Any

import pytest

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
    spec,
    thing,
    workload,
    written,
)

STRICT, PERMISSIVE, DISABLE = "{mtls: {mode: STRICT}}", "{mtls: {mode: PERMISSIVE}}", "{mtls: {mode: DISABLE}}"
TWO_PORTS = "[{name: http, containerPort: 8080}, {name: db, containerPort: 3306}]"
ISTIO = namespace() + service("users") + workload("users", TWO_PORTS) + workload("web")
OTHERS = [{"toPorts": [{"ports": [{"port": "0", "protocol": "UDP"}, {"port": "0", "protocol": "SCTP"}]}]}]
ECHO = [{"icmps": [{"fields": [{"family": "IPv4", "type": 8}, {"family": "IPv6", "type": 128}]}]}]
NAMESPACE = "k8s:io.kubernetes.pod.namespace"


def of_users(body: str, name: str = "users") -> str:
    return mtls("{selector: {matchLabels: {app: users}}, " + body + "}", name)


# -- STRICT to Linkerd


@pytest.mark.parametrize(
    ("mesh", "home", "pods", "on_namespace", "on_pods"),
    [
        (None, STRICT, None, "all-authenticated", None),
        (STRICT, None, None, "all-authenticated", None),
        (STRICT, PERMISSIVE, None, "all-unauthenticated", None),
        (STRICT, DISABLE, None, "all-unauthenticated", None),
        (STRICT, "{}", None, "all-authenticated", None),  # UNSET inherits
        (None, PERMISSIVE, None, None, None),
        (PERMISSIVE, None, None, None, None),
        (DISABLE, None, None, None, None),
        (None, None, "mtls: {mode: STRICT}", None, "all-authenticated"),
        (None, STRICT, "mtls: {mode: PERMISSIVE}", "all-authenticated", "all-unauthenticated"),
        (None, STRICT, "mtls: {mode: UNSET}, portLevelMtls: {8080: {mode: UNSET}}", "all-authenticated", None),
        (STRICT, PERMISSIVE, "mtls: {mode: STRICT}", "all-unauthenticated", "all-authenticated"),
    ],
)  # fmt: skip
def test_the_mode_of_each_level_is_a_default_policy_there(
    mesh: str | None, home: str | None, pods: str | None, on_namespace: str | None, on_pods: str | None
) -> None:
    text = ISTIO + (mtls(mesh, home="istio-system") if mesh else "") + (mtls(home) if home else "") + (of_users(pods) if pods else "")
    result = convert(text, "istio", "linkerd")
    assert (inbound_default(result, "Namespace", "shop"), inbound_default(result, "Deployment", "users")) == (on_namespace, on_pods)
    chart = result.install["helm_values"].get("linkerd-control-plane")
    assert chart == ({"proxy": {"defaultInboundPolicy": "all-authenticated"}} if mesh == STRICT else None)
    assert "restart" in said(result, "MP101")[0].message
    assert result.verification is not None and result.verification.verdict == "equivalent"


def test_mesh_wide_strict_is_on_every_enrolled_namespace_and_on_no_other() -> None:
    text = ISTIO + namespace("more") + namespace("outside", "plain") + mtls(STRICT, home="istio-system")
    homes = written(convert(text, "istio", "linkerd"), "Namespace")
    assert {name: home["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] for name, home in homes.items()} == {
        "more": "all-authenticated",
        "shop": "all-authenticated",
    }


def test_deny_is_stricter_than_strict_and_stands_alone() -> None:
    assert inbound_default(convert(ISTIO + mtls(STRICT) + policy("{}"), "istio", "linkerd"), "Namespace", "shop") == "deny"


def test_without_a_namespace_object_none_is_invented_and_the_annotation_is_a_command() -> None:
    result = convert(workload("users") + mtls(STRICT), "istio", "linkerd")
    assert written(result, "Namespace") == {}
    assert (
        "kubectl annotate namespace shop config.linkerd.io/default-inbound-policy=all-authenticated --overwrite"
        in result.install["commands"]
    )
    assert said(result, "MP104")


def test_a_selector_in_the_root_namespace_selects_nobody() -> None:
    rooted = mtls("{selector: {matchLabels: {app: users}}, mtls: {mode: STRICT}}", "users", "istio-system")
    result = convert(ISTIO + rooted, "istio", "cilium")
    assert written(result, "CiliumNetworkPolicy") == {} and said(result, "MP108")


# -- ports exempt from STRICT


@pytest.mark.parametrize("mode", ["PERMISSIVE", "DISABLE"])
def test_a_port_exempt_from_strict_is_open_to_everybody_where_no_authorization_covers_it(mode: str) -> None:
    result = convert(
        ISTIO + mtls(STRICT) + of_users(f"mtls: {{mode: STRICT}}, portLevelMtls: {{3306: {{mode: {mode}}}}}"), "istio", "linkerd"
    )
    assert list(written(result, "Server")) == ["users-3306"]
    assert spec(result, "Server", "users-3306")["accessPolicy"] == "all-unauthenticated"
    assert [("skip-inbound-ports" in finding.remedy) for finding in said(result, "MP105")] == ([True] if mode == "DISABLE" else [])


def test_authorization_that_covers_an_exempt_port_still_holds() -> None:
    exempt = of_users("mtls: {mode: STRICT}, portLevelMtls: {3306: {mode: PERMISSIVE}}")
    covered = policy(
        "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['3306']}}]}]}"
    )
    result = convert(ISTIO + exempt + covered, "istio", "linkerd")
    assert spec(result, "Server", "users-3306")["accessPolicy"] == "deny"
    assert spec(result, "MeshTLSAuthentication", "users-3306-users")["identityRefs"] == [{"kind": "Namespace", "name": "shop"}]


def test_a_port_that_alone_is_strict_gets_a_server_that_asks_for_an_identity() -> None:
    result = convert(ISTIO + of_users("portLevelMtls: {3306: {mode: STRICT}}"), "istio", "linkerd")
    assert {name: item["spec"]["accessPolicy"] for name, item in written(result, "Server").items()} == {"users-3306": "all-authenticated"}


# -- STRICT to Cilium


def strict_ingress(*namespaces: str) -> list[Any]:
    if len(namespaces) == 1:
        peers: dict[str, Any] = {"matchLabels": {NAMESPACE: namespaces[0]}}
    else:
        peers = {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": list(namespaces)}]}
    return [{"fromEndpoints": [peers], "toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}, *OTHERS, *ECHO]


MESH = ISTIO + namespace("front") + workload("page", home="front") + namespace("outside", "plain") + workload("cron", home="outside")


def test_strict_to_cilium_is_encryption_with_a_word_and_access_for_the_meshed_namespaces() -> None:
    result = convert(MESH + mtls(STRICT), "istio", "cilium")
    assert spec(result, "CiliumNetworkPolicy", "strict-mtls") == {"endpointSelector": {}, "ingress": strict_ingress("front", "shop")}
    assert result.install["helm_values"]["cilium"] == {"encryption": {"enabled": True, "type": "wireguard"}}
    (plain,) = said(result, "MP130")
    assert plain.severity == "error" and "is not workload mTLS: traffic on one node is not encrypted" in plain.message
    assert "ztunnel" in plain.remedy


@pytest.mark.parametrize(
    ("options", "encryption"),
    [
        ({"data_plane": "ipsec"}, {"enabled": True, "type": "ipsec"}),
        ({"pod_cidr": "10.0.0.0/8"}, {"enabled": True, "type": "wireguard", "strictMode": {"egress": {"cidr": "10.0.0.0/8", "enabled": True}}}),
        ({"pod_cidr": "10.0.0.0/8", "target_version": "1.18"}, {"enabled": True, "type": "wireguard", "strictMode": {"cidr": "10.0.0.0/8", "enabled": True}}),
        ({"data_plane": "ztunnel"}, {"enabled": True, "type": "ztunnel"}),
    ],
)  # fmt: skip
def test_the_kind_of_encryption_is_chosen_and_its_strict_mode_needs_the_pods_addresses(options: Any, encryption: Any) -> None:
    result = convert(MESH + mtls(STRICT), "istio", "cilium", **options)
    assert result.install["helm_values"]["cilium"] == {"encryption": encryption}
    assert bool(said(result, "MP130")) is (options.get("data_plane") != "ztunnel")


def test_a_port_exempt_from_strict_is_open_to_any_peer_on_cilium() -> None:
    result = convert(ISTIO + of_users("mtls: {mode: STRICT}, portLevelMtls: {3306: {mode: PERMISSIVE}}"), "istio", "cilium")
    meshed, free, _ = spec(result, "CiliumNetworkPolicy", "strict-mtls")["ingress"]
    assert [(port["port"], port.get("endPort")) for port in meshed["toPorts"][0]["ports"]] == [("1", 3305), ("3307", 65535)]
    assert free["toPorts"][0]["ports"] == [{"port": "3306", "protocol": "TCP"}, *OTHERS[0]["toPorts"][0]["ports"]]


EXEMPT = mtls("{selector: {matchLabels: {tier: core}}, mtls: {mode: STRICT}, portLevelMtls: {'3306': {mode: PERMISSIVE}}}", "ledger")
CORE = namespace() + workload("ledger", "[{containerPort: 3306}]", labels=", tier: core") + workload("web")


def test_a_port_of_some_pods_is_exempt_for_those_that_the_source_selects() -> None:
    text = CORE.replace("app: ledger", "app.kubernetes.io/name: ledger") + mtls(STRICT) + EXEMPT
    servers = written(convert(text, "istio", "linkerd"), "Server").values()
    assert [item["spec"]["podSelector"] for item in servers] == [{"matchLabels": {"tier": "core"}}]


def test_strict_of_a_namespace_holds_for_pods_that_nobody_shows_beside_those_with_an_exempt_port() -> None:
    result = convert(CORE + mtls(STRICT) + EXEMPT.replace("mtls: {mode: STRICT}, ", ""), "istio", "cilium")
    assert [item["spec"]["endpointSelector"] for item in written(result, "CiliumNetworkPolicy").values()] == [
        {"matchLabels": {"tier": "core"}},
        {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["core"]}]},
    ]


def test_strict_for_some_pods_closes_no_others_of_their_namespace() -> None:
    text = (
        namespace()
        + workload("ledger", labels=", tier: core")
        + mtls("{selector: {matchLabels: {tier: core}}, mtls: {mode: STRICT}}", "ledger")
    )
    (found,) = written(convert(text, "istio", "cilium"), "CiliumNetworkPolicy").values()
    assert found["spec"]["endpointSelector"] == {"matchLabels": {"tier": "core"}}


def test_a_narrower_policy_makes_another_for_strict_needless() -> None:
    result = convert(ISTIO + mtls(STRICT) + policy("{}", "deny"), "istio", "cilium")
    assert list(written(result, "CiliumNetworkPolicy")) == ["deny"]


@pytest.mark.parametrize(("source", "text"), [("istio", namespace() + mtls(STRICT)), ("linkerd", namespace(default="all-authenticated"))])
def test_a_namespace_whose_workloads_are_not_shown_refuses_callers_from_outside_the_mesh(source: str, text: str) -> None:
    result = convert(text, source, "cilium")
    (found,) = written(result, "CiliumNetworkPolicy").values()
    assert found["spec"] == {"endpointSelector": {}, "ingress": strict_ingress("shop")}
    assert [(finding.severity, finding.effect) for finding in said(result, "MP281")] == [("warning", "narrows")]


@pytest.mark.parametrize(
    "text", [MESH + mtls(STRICT), namespace(mesh="linkerd", default="all-authenticated") + workload("users") + workload("web", "[]")]
)
def test_whom_the_namespaces_stand_for_is_said_once_whatever_ports_their_pods_have(text: str) -> None:
    (told,) = said(convert(text, "istio" if "istio" in text else "linkerd", "cilium"), "MP281")
    assert {"users", "web"} <= {place.workload for place in told.affects}


def test_strict_for_pods_that_nobody_shows_is_written_for_their_labels() -> None:
    result = convert(ISTIO + mtls("{selector: {matchLabels: {app: ghost}}, mtls: {mode: STRICT}}", "ghost"), "istio", "cilium")
    assert spec(result, "CiliumNetworkPolicy", "ghost") == {
        "endpointSelector": {"matchLabels": {"app": "ghost"}},
        "ingress": strict_ingress("shop"),
    }


def test_a_port_of_pods_that_nobody_shows_is_told_from_the_others_by_ranges_that_came_with_1_16() -> None:
    text = ISTIO + mtls("{selector: {matchLabels: {app: ghost}}, portLevelMtls: {9090: {mode: STRICT}}}", "ghost")
    meshed, free, _ = spec(convert(text, "istio", "cilium"), "CiliumNetworkPolicy", "ghost")["ingress"]
    assert meshed["toPorts"][0]["ports"] == [{"port": "9090", "protocol": "TCP"}]
    assert [(port["port"], port.get("endPort")) for port in free["toPorts"][0]["ports"][:2]] == [("1", 9089), ("9091", 65535)]
    assert [finding.severity for finding in said(convert(text, "istio", "cilium", target_version="1.15"), "MP290")] == ["error"]


@pytest.mark.parametrize("more", [mtls("{selector: {matchLabels: {app: ghost}}, mtls: {mode: PERMISSIVE}}", "ghost"), policy("{selector: {matchLabels: {app: ghost}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}", "ghost")], ids=["permissive", "closed by a policy"])  # fmt: skip
def test_a_namespaces_strict_leaves_out_pods_that_something_else_decides_for(more: str) -> None:
    result = convert(ISTIO + mtls(STRICT) + more, "istio", "cilium")
    assert spec(result, "CiliumNetworkPolicy", "strict-mtls")["endpointSelector"] == {
        "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ghost"]}]
    }


def test_strict_closes_no_gateway_whose_pods_are_not_shown() -> None:
    edge = thing(
        "networking.istio.io/v1", "Gateway", "{selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}", "edge"
    )  # fmt: skip
    result = convert(namespace() + mtls(STRICT) + edge, "istio", "cilium")
    assert spec(result, "CiliumNetworkPolicy", "strict-mtls")["endpointSelector"] == {
        "matchExpressions": [{"key": "istio", "operator": "NotIn", "values": ["edge"]}]
    }


def test_mesh_wide_strict_without_a_namespace_to_write_it_in_is_an_error() -> None:
    result = convert(mtls(STRICT, home="istio-system"), "istio", "cilium")
    (lost,) = said(result, "MP960")
    assert (lost.severity, lost.effect) == ("error", "widens") and "kubectl get ns" in lost.remedy


# -- authentication.mode


@pytest.mark.parametrize("target_version", ["1.17", "1.19", "1.20"])
def test_authentication_is_never_written_for_cilium(target_version: str) -> None:
    rules = policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ['*']}}]}]}")
    result = convert(ISTIO + mtls(STRICT) + rules, "istio", "cilium", target_version=target_version)
    assert "authentication" not in str([item.object for item in result.manifests])


@pytest.mark.parametrize(("peers", "callers"), [("fromEndpoints: [{matchLabels: {app: web}}]", "cluster.local/ns/shop/sa/web"), ("fromEntities: [all]", "*")])  # fmt: skip
def test_an_authenticated_peer_of_cilium_is_one_with_an_identity(peers: str, callers: str) -> None:
    rule = f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{{{peers}, authentication: {{mode: required}}, toPorts: [{{ports: [{{port: '8080', protocol: TCP}}]}}]}}]}}"
    world = namespace(mesh="plain") + workload("users") + workload("web")
    result = convert(world + network_policy(rule), "cilium", "istio")
    assert spec(result, "AuthorizationPolicy", "users")["rules"] == [
        {"from": [{"source": {"principals": [callers]}}], "to": [{"operation": {"ports": ["8080"]}}]}
    ]
    assert "authentication" not in str(spec(result, "CiliumNetworkPolicy", "users"))  # in the half that is kept


# -- Linkerd's defaults


def linkerd(default: str = "") -> str:
    return namespace(mesh="linkerd", default=default) + service("users") + workload("users") + workload("web")


SERVER = server("{podSelector: {matchLabels: {app: users}}, port: http, proxyProtocol: HTTP/1}")
FROM_WEB = grant("{group: policy.linkerd.io, kind: Server, name: users}", "[{kind: ServiceAccount, name: web}]")
CLUSTER = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]


@pytest.mark.parametrize(
    ("default", "residual"),
    [
        ("", {}),
        ("all-unauthenticated", {}),
        ("all-authenticated", {"from": [{"source": {"principals": ["*"]}}]}),
        ("cluster-authenticated", {"from": [{"source": {"principals": ["*"], "ipBlocks": CLUSTER}}]}),
        ("cluster-unauthenticated", {"from": [{"source": {"ipBlocks": CLUSTER}}]}),
        ("audit", {}),
        ("deny", None),
    ],
)
def test_ports_without_a_server_are_one_residual_rule_with_the_peers_of_the_default(default: str, residual: dict[str, Any] | None) -> None:
    result = convert(linkerd(default) + SERVER + FROM_WEB, "linkerd", "istio")
    granted, *rest = spec(result, "AuthorizationPolicy", "users")["rules"]
    assert granted == {
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
        "to": [{"operation": {"ports": ["8080"]}}],
    }
    assert rest == ([] if residual is None else [{**residual, "to": [{"operation": {"notPorts": ["8080"]}}]}])
    assert [finding.severity for finding in said(result, "MP213")] == (["warning"] if default == "audit" else [])
    assert ("PeerAuthentication" in {item.object["kind"] for item in result.manifests}) is (default == "all-authenticated")


def test_all_authenticated_is_strict_but_for_the_port_whose_server_admits_plaintext() -> None:
    open_port = server("{podSelector: {matchLabels: {app: users}}, port: 9090, accessPolicy: all-unauthenticated}")
    result = convert(linkerd("all-authenticated") + open_port, "linkerd", "istio")
    assert spec(result, "PeerAuthentication", "default") == {"mtls": {"mode": "STRICT"}}
    assert spec(result, "PeerAuthentication", "users-mtls") == {
        "selector": {"matchLabels": {"app": "users"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9090": {"mode": "PERMISSIVE"}},
    }


@pytest.mark.parametrize(("default", "source"), [("cluster-authenticated", {"principals": ["*"], "ipBlocks": CLUSTER}), ("cluster-unauthenticated", {"ipBlocks": CLUSTER})])  # fmt: skip
def test_a_default_for_the_clusters_networks_holds_without_a_workload_too(default: str, source: dict[str, Any]) -> None:
    result = convert(namespace(default=default), "linkerd", "istio")
    assert spec(result, "AuthorizationPolicy", f"default-{default}") == {"action": "ALLOW", "rules": [{"from": [{"source": source}]}]}


@pytest.mark.parametrize(
    ("default", "peers"),
    [
        ("all-authenticated", [{"fromEndpoints": [{"matchLabels": {NAMESPACE: "shop"}}]}]),
        ("cluster-unauthenticated", [{"fromEntities": ["cluster"]}, {"fromCIDRSet": [{"cidr": cidr} for cidr in CLUSTER]}]),
    ],
)
def test_a_server_closes_one_port_and_cilium_opens_the_others_by_ranges(default: str, peers: list[dict[str, Any]]) -> None:
    """Machines beyond the cluster have addresses of its networks as well, and no entity takes them."""
    result = convert(linkerd(default) + SERVER + FROM_WEB, "linkerd", "cilium")
    _, *rules = spec(result, "CiliumNetworkPolicy", "users")["ingress"]
    residual, others = rules[: len(peers)], rules[len(peers) :]
    ranges = [{"port": "1", "endPort": 8079, "protocol": "TCP"}, {"port": "8081", "endPort": 65535, "protocol": "TCP"}]
    assert residual == [{**one, "toPorts": [{"ports": ranges}]} for one in peers]
    assert others == [*OTHERS, *ECHO]


def test_a_default_of_deny_opens_no_other_port_on_cilium() -> None:
    assert len(spec(convert(linkerd("deny") + SERVER + FROM_WEB, "linkerd", "cilium"), "CiliumNetworkPolicy", "users")["ingress"]) == 1


def test_before_1_16_cilium_has_no_ranges_and_what_closes_is_an_error() -> None:
    result = convert(linkerd() + SERVER + FROM_WEB, "linkerd", "cilium", target_version="1.15")
    assert "endPort" not in str(spec(result, "CiliumNetworkPolicy", "users"))
    assert [(finding.severity, finding.effect) for finding in said(result, "MP290")] == [("error", "narrows")]


# -- TLS of callers


def caller_tls(host: str, settings: str) -> str:
    return thing("networking.istio.io/v1", "DestinationRule", f"{{host: {host}, trafficPolicy: {{tls: {settings}}}}}", "caller")


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_mutual_tls_of_the_mesh_is_what_the_others_do_by_themselves(target: str) -> None:
    result = convert(ISTIO + caller_tls("users", "{mode: ISTIO_MUTUAL}"), "istio", target)
    assert [line.disposition for line in result.ledger if line.path == "spec.trafficPolicy.tls.mode"] == ["irrelevant"]


def test_plaintext_that_a_caller_asks_for_is_lost_to_linkerd_and_said() -> None:
    (lost,) = said(convert(ISTIO + caller_tls("users", "{mode: DISABLE}"), "istio", "linkerd"), "MP153")
    assert "mutual TLS to every meshed pod" in lost.message


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
@pytest.mark.parametrize("settings", ["{mode: SIMPLE}", "{mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem}"])
def test_tls_that_the_proxy_started_is_lost_and_an_error(target: str, settings: str) -> None:
    outside = thing("networking.istio.io/v1", "ServiceEntry", "{hosts: [api.test], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: http, protocol: HTTP}]}", "api")  # fmt: skip
    lost = said(convert(ISTIO + outside + caller_tls("api.test", settings), "istio", target), "MP750")
    assert lost and {(finding.severity, finding.disposition) for finding in lost} == {("error", "dropped")}


@pytest.mark.parametrize(
    ("rules", "ports"), [("{to: [{operation: {ports: ['4567']}}]}", None), ("{to: [{operation: {ports: ['4566']}}]}", "absent")]
)
def test_a_port_that_linkerds_proxies_leave_alone_is_taken_where_a_policy_names_it(rules: str, ports: str | None) -> None:
    result = convert(ISTIO + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{rules}]}}"), "istio", "linkerd")
    chart = result.install["helm_values"].get("linkerd-control-plane", {})
    assert chart == ({} if ports else {"proxyInit": {"ignoreInboundPorts": ""}})
