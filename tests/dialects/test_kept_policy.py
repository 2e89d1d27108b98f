"""Network policy that is kept beside another mesh: what the network still sees stays with it, the rest moves to the mesh."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: pay, containers: [{name: app, image: pay:1, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: shop}
spec:
  selector: {matchLabels: {app: batch}}
  template:
    metadata: {labels: {app: batch}}
    spec: {serviceAccountName: web, containers: [{name: app, image: batch:1}]}
---
"""
HEAD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: pay, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: pay}}
"""
HTTP = '    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: POST, path: "/charge"}]}}]\n'


def convert(rules: str, target: str = "istio", **options: Any) -> Any:
    return meshport.convert(meshport.load_text(WORLD + HEAD + rules), source="cilium", target=target, **options)


def kept(result: Any) -> Any:
    """The network policy's ingress after the conversion; None where it stays as it is."""
    assert not any(item["kind"] == "CiliumNetworkPolicy" for item in result.removals)
    found = [item.object["spec"]["ingress"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    return found[0] if found else None


def policy(result: Any) -> Any:
    (found,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return found


def sound(result: Any) -> bool:
    return result.verification.verdict in ("equivalent", "narrowed") and not {"MP900", "MP901", "MP904"} & {f.code for f in result.findings}


def test_http_of_a_meshed_peer_moves_to_the_mesh() -> None:
    result = convert("  ingress:\n  - fromEndpoints: [{matchLabels: {k8s:io.cilium.k8s.policy.serviceaccount: pay}}]\n" + HTTP)
    (rule,) = kept(result)
    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]  # the proxies' TLS hides HTTP from the network
    (said,) = policy(result)["rules"]
    assert said["from"][0]["source"]["principals"] == ["cluster.local/ns/shop/sa/pay"]
    assert said["to"][0]["operation"] == {"ports": ["8080"], "methods": ["POST"], "paths": ["/charge"]}
    assert sound(result)


def test_peers_that_no_mesh_has_keep_their_rule_whole() -> None:
    result = convert("  ingress:\n  - fromEntities: [world]\n" + HTTP)
    assert kept(result) is None
    assert policy(result)["rules"][0]["from"] == [{"source": {"notPrincipals": ["*"]}}]
    assert sound(result)


def test_a_rule_for_everybody_is_parted() -> None:
    result = convert("  ingress:\n  -" + HTTP.removeprefix("   "))
    inside, outside = kept(result)
    assert inside["fromEntities"] == ["cluster"]
    assert "rules" not in inside["toPorts"][0]
    assert outside["fromEntities"] == ["world"]
    assert outside["toPorts"][0]["rules"] == {"http": [{"method": "POST", "path": "/charge"}]}
    assert sound(result)


def test_labels_that_no_account_tells_apart_are_left_to_the_network() -> None:
    rules = '  ingress:\n  - fromEndpoints: [{matchLabels: {app: web}}]\n    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]\n'
    result = convert(rules)  # batch runs under the account of web
    assert kept(result) is None
    assert policy(result)["rules"] == [{"to": [{"operation": {"ports": ["8080"]}}]}]
    assert result.verification.verdict == "equivalent"
    alone = convert(rules, keep_network_policy=False)
    assert "rules" not in policy(alone)


def test_linkerds_own_port_is_let_through_and_linkerd_tells_ports_apart() -> None:
    rules = '  ingress:\n  - fromEndpoints: [{matchLabels: {app: pay}}]\n    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]\n'
    result = convert(rules, "linkerd", target_version="2.18")
    assert kept(result)[0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}, {"port": "4143", "protocol": "TCP"}]
    assert any(item.object["kind"] == "Server" and item.object["spec"]["port"] == 8080 for item in result.manifests)
    assert sound(result)
    assert kept(convert(rules, "linkerd", target_version="2.17")) is None


def test_ambients_port_is_let_through() -> None:
    rules = '  ingress:\n  - fromEndpoints: [{matchLabels: {app: pay}}]\n    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]\n'
    ports = kept(convert(rules, data_plane="ambient"))[0]["toPorts"][0]["ports"]
    assert {"port": "15008", "protocol": "TCP"} in ports


def test_kafka_is_closed_in_both_halves() -> None:
    rules = """  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: "9092", protocol: TCP}], rules: {kafka: [{role: produce, topic: events}]}}]
"""
    result = convert(rules, source_version="1.19")
    assert kept(result) == [{}]
    assert "rules" not in policy(result)
    assert any(finding.severity == "error" and "kafka" in finding.message for finding in result.findings)


def test_egress_stays_and_the_control_plane_is_named() -> None:
    rules = "  egress:\n  - toEndpoints: [{matchLabels: {app: web}}]\n"
    result = convert(rules)
    assert not any(item["kind"] == "CiliumNetworkPolicy" for item in result.removals)
    (finding,) = [finding for finding in result.findings if finding.code == "MP143"]
    assert "15012" in finding.message


def test_handshakes_of_agents_are_the_meshs_now() -> None:
    rules = """  ingress:
  - fromEndpoints: [{matchLabels: {app: pay}}]
    authentication: {mode: required}
"""
    result = convert(rules)
    meshed, *others = kept(result)
    assert meshed == {"fromEndpoints": [{"matchLabels": {"app": "pay"}}], "toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}
    assert policy(result)["rules"] == [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/pay"]}}]}]
    assert [rule["authentication"] for rule in others] == [{"mode": "required"}] * 2  # for UDP, SCTP and echoes, which no proxy takes
    assert sound(result)


@pytest.mark.parametrize(("target", "direction"), [("istio", "ingress"), ("istio", "egress"), ("linkerd", "ingress")])
def test_what_no_proxy_takes_goes_on_being_asked_for_a_handshake(target: str, direction: str) -> None:
    """Nor does anybody come in, or is reached, without one who had none before: the world and nodes."""
    result = convert(f'  {direction}: [{{authentication: {{mode: required}}, toPorts: [{{ports: [{{port: "8080"}}]}}]}}]\n', target)
    (written,) = [item.object["spec"][direction] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    (pods,) = [rule for rule in written if "authentication" not in rule]
    assert "fromEndpoints" in pods or "toEndpoints" in pods
    assert {port["protocol"] for entry in pods["toPorts"] for port in entry["ports"]} == {"TCP"}
    (rest,) = [rule for rule in written if "authentication" in rule]
    assert {port["protocol"] for entry in rest["toPorts"] for port in entry["ports"]} == {"UDP", "SCTP"}
    assert sound(result)


def test_a_handshake_that_always_fails_goes_on_failing() -> None:
    result = convert('  ingress: [{authentication: {mode: test-always-fail}, toPorts: [{ports: [{port: "8080"}]}]}]\n')
    assert kept(result) is None
    assert "rules" not in policy(result)


def test_ports_of_a_range_that_nobody_declares_are_said_to_be_refused() -> None:
    rules = '  ingress:\n  - toPorts: [{ports: [{port: "7000", endPort: 8080, protocol: TCP}]}]\n'
    result = convert(rules, "linkerd")
    assert [finding.effect for finding in result.findings if finding.code == "MP206"] == ["narrows"]
    assert sound(result)


def test_ports_without_http_of_a_rule_for_everybody_are_not_parted() -> None:
    """Else whoever is neither in the cluster nor outside it would have to be told apart, where nothing tells requests apart."""
    result = convert(
        '  ingress: [{toPorts: [{ports: [{port: "0", protocol: TCP}]}, '
        '{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: POST}]}}]}]\n'
    )
    plain, inside, outside = kept(result)
    assert plain == {"toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}
    assert (inside["fromEntities"], outside["fromEntities"]) == (["cluster"], ["world"])
    assert ["rules" in rule["toPorts"][0] for rule in (inside, outside)] == [False, True]
    assert sound(result)


@pytest.mark.parametrize(
    "rules",
    [
        '[{fromCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{path: "/.*"}]}}]}]',
        '[{fromEntities: [kube-apiserver], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{headers: [X-Token], path: "/.*"}]}}]}]',
        "[{fromEntities: [cluster]}, {fromEntities: [world]}]",
    ],
)
def test_every_path_and_everybody_in_two_parts_read_back_as_what_they_are(rules: str) -> None:
    assert sound(convert(f"  ingress: {rules}\n"))


UNSHOWN = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + HEAD


@pytest.mark.parametrize(
    ("ports", "servers"),
    [
        ('{port: "8080", protocol: TCP}', ["pay-8080"]),
        ('{port: "8080", protocol: TCP}, {port: "9090", protocol: TCP}', ["pay-8080", "pay-9090"]),
        ('{port: "8080", endPort: 8090, protocol: TCP}', []),  # of which the pods may have any
        ('{port: "http", protocol: TCP}', []),
    ],
)
def test_servers_for_pods_that_nobody_shows_stand_where_the_network_closes_every_other_port(ports: str, servers: list[str]) -> None:
    rules = f"  ingress: [{{fromEntities: [world], toPorts: [{{ports: [{ports}], rules: {{http: [{{method: GET}}]}}}}]}}]\n"
    result = meshport.convert(meshport.load_text(UNSHOWN + rules), source="cilium", target="linkerd", target_version="2.17")
    assert sorted(item.object["metadata"]["name"] for item in result.manifests if item.object["kind"] == "Server") == servers
    assert [item.severity for item in result.findings if item.code == "MP207"] == ([] if servers else ["error"])


LOCKDOWN = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: external-lockdown}
spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster]}]}
"""


@pytest.mark.parametrize("world", [WORLD, ""])
@pytest.mark.parametrize("release", ["2.17", "2.20"])
def test_what_no_port_and_no_request_decides_is_left_to_the_network(world: str, release: str) -> None:
    """The proxies' port is one of all ports, so the network goes on telling who comes: Linkerd closes nothing, of no pod that the bundle shows or not."""
    result = meshport.convert(meshport.load_text(world + LOCKDOWN), source="cilium", target="linkerd", target_version=release)
    assert {item.object["kind"] for item in result.manifests} <= {"Namespace"}
    assert "default-inbound-policy" not in result.text() and "linkerd-control-plane" not in result.install["helm_values"]
    assert {item.code for item in result.findings} <= {"MP101"}
    assert sound(result) and result.ledger.counts["dropped"] == 0


def test_callers_that_are_told_by_labels_are_told_by_the_mesh_where_another_rule_opens_a_port() -> None:
    batch = "  ingress:\n  - fromEndpoints: [{matchLabels: {app: batch}}]\n"
    assert "default-inbound-policy" not in convert(batch, "linkerd").text()
    port = '  - fromEndpoints: [{matchLabels: {app: pay}}]\n    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]\n'
    result = convert(batch + port, "linkerd")
    assert "default-inbound-policy: deny" in result.text() and "MP267" in {item.code for item in result.findings}
    assert sound(result)


def test_the_world_gets_its_port_beside_peers_that_may_have_everything() -> None:
    rules = "  ingress:\n  - fromEndpoints: [{}]\n  - fromEntities: [world]\n    toPorts: [{ports: [{port: '8080', protocol: TCP}]}]\n"
    result = convert(rules, "linkerd")
    assert not [item for item in result.findings if item.severity == "error"]
    (granted,) = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [item["name"] for item in granted["requiredAuthenticationRefs"]] == ["any-network"]
    assert sound(result)


@pytest.mark.parametrize(("target", "release"), [("linkerd", "2.20"), ("linkerd", "2.17"), ("istio", None)])
def test_ports_whose_tls_cilium_ends_stay_as_they_are(target: str, release: str | None) -> None:
    """On the proxies' port its own proxy would meet TLS that it has no key for."""
    tls = "terminatingTLS: {secret: {name: cert}, certificate: tls.crt, privateKey: tls.key}"
    entry = f'{{ports: [{{port: "8080", protocol: TCP}}], {tls}, rules: {{http: [{{method: GET}}]}}}}'
    result = convert(
        f"  ingress: [{{fromEndpoints: [{{matchLabels: {{app: pay}}}}], toPorts: [{entry}]}}]\n", target, **({"target_version": release} if release else {})
    )  # fmt: skip
    assert kept(result) is None
    (lost,) = [item for item in result.findings if item.code == "MP269"]
    assert "terminatingTLS" in lost.message and [(place.workload, place.port) for place in lost.affects] == [("pay", 8080)]
    assert sound(result)


@pytest.mark.parametrize(("entities", "inside"), [("[cluster, world]", ["cluster"]), ("[all]", ["cluster"]), ("[host, world]", None)])
def test_the_world_keeps_its_http_rules_and_peers_in_the_cluster_do_not(entities: str, inside: list[str] | None) -> None:
    rules = kept(convert(f"  ingress:\n  - fromEntities: {entities}\n{HTTP}"))
    if inside is None:  # none of them can be in the mesh
        assert rules is None
        return
    told = [(rule["fromEntities"], "rules" in rule["toPorts"][0]) for rule in rules]
    assert told == [(inside, False), (["world"], True)]


def test_every_port_needs_no_port_of_the_mesh_beside_it() -> None:
    every = '  - fromEndpoints: [{matchLabels: {app: web}}]\n    toPorts: [{ports: [{port: "0", protocol: TCP}]}]\n'
    assert kept(convert("  ingress:\n" + every, "linkerd")) is None


def test_what_opens_without_closing_is_written_for_the_pods_that_another_policy_closes() -> None:
    """`enableDefaultDeny: {ingress: false}` for all pods: an AuthorizationPolicy for all of them would close those that nothing closes."""
    opening = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: open, namespace: shop}
spec:
  endpointSelector: {}
  enableDefaultDeny: {ingress: false}
  ingress: [{fromEndpoints: [{matchLabels: {app: pay}}], toPorts: [{ports: [{port: "9090", protocol: TCP}]}]}]
"""
    closing = '  ingress: [{fromEndpoints: [{matchLabels: {app: pay}}], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}]\n'
    result = convert(closing + opening, keep_network_policy=False)
    written = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [item["selector"] for item in written] == [{"matchLabels": {"app": "pay"}}] * 2
    assert result.verification.verdict != "widened" and sound(result)


def test_a_port_that_a_deny_alone_names_is_one_of_those_that_a_long_range_loses() -> None:
    """The deny stays with the network, and that Istio has no ranges is said of its port too; it was a defect (MP900)."""
    result = convert(
        '  ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "1024", endPort: 65535, protocol: TCP}], rules: {http: [{method: GET}]}}]}]\n'
        '  ingressDeny: [{fromEndpoints: [{matchLabels: {app: batch}}], toPorts: [{ports: [{port: "3000", protocol: TCP}]}]}]\n'
    )
    assert "MP900" not in {finding.code for finding in result.findings}
    (finding,) = [finding for finding in result.findings if finding.code == "MP273"]
    assert [(place.workload, place.port) for place in finding.affects] == [("pay", None)]
