"""Peers of Cilium that never have a proxy (nodes, the world, its own ingress), where the network policy is kept beside Istio: on ports on which nobody else is asked
for more than the network sees, they stay let in."""

from __future__ import annotations

from typing import Any

import pytest

from meshport import convert, load_text

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: shop}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {serviceAccountName: NAME, containers: [{name: main, image: "main:1", ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9000}]}]}
---
"""
HOME = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: NAME, namespace: shop}
spec:
  endpointSelector: {SELECTED}
  ingress: [RULES]
---
"""
NODES = "{fromEntities: [host, remote-node]}"
REQUESTS = '{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET, path: "/a"}]}}]}'
PROOF = (
    '{fromEndpoints: [{matchLabels: {app: web}}], authentication: {mode: required}, toPorts: [{ports: [{port: "9000", protocol: TCP}]}]}'
)
BYTES = '{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "9000", protocol: TCP}]}]}'
NOBODY = [{"source": {"notPrincipals": ["*"]}}]


def bundle(*rules: str) -> str:
    policies = [
        POLICY.replace("NAME", f"p{number}").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", rule)
        for number, rule in enumerate(rules)
    ]
    return HOME + "".join(POD.replace("NAME", name) for name in ("web", "api")) + "".join(policies)


def unnamed(*rules: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rules for callers without an identity, and what is said of those that have none."""
    result = convert(load_text(bundle(*rules)), source="cilium", target="istio")
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
    written = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    found = [rule for spec in written for rule in spec.get("rules", ()) if rule.get("from") == NOBODY]
    return found, [finding.message for finding in result.findings if finding.code == "MP268"]


def test_on_ports_of_others_requests_they_are_left_out_and_elsewhere_let_in() -> None:
    rules, said = unnamed(NODES, REQUESTS)
    assert rules == [{"from": NOBODY, "to": [{"operation": {"notPorts": ["8080"]}}]}]
    (message,) = said
    assert "on port 8080 " in message


def test_where_a_peer_has_to_prove_who_it_is_nobody_comes_in_without() -> None:
    rules, said = unnamed(NODES, PROOF)
    assert rules == [{"from": NOBODY, "to": [{"operation": {"notPorts": ["9000"]}}]}]
    assert "on port 9000 " in said[0]
    rules, _ = unnamed('{fromEntities: [world], toPorts: [{ports: [{port: "9000", protocol: TCP}]}]}', PROOF)
    assert rules == []


@pytest.mark.parametrize("other", ["", BYTES])
def test_where_nobody_is_asked_for_more_the_network_tells_them_apart(other: str) -> None:
    _, said = unnamed(NODES, *([other] if other else []))
    assert said == []


def test_ports_that_are_known_by_a_name_of_nobody_split_nothing() -> None:
    rules, said = unnamed(NODES, REQUESTS.replace('"8080"', "missing"))
    assert rules == []
    assert said


def test_a_rule_for_some_ports_is_split_too() -> None:
    nodes = '{fromEntities: [host], toPorts: [{ports: [{port: "8080", protocol: TCP}, {port: "9000", protocol: TCP}]}]}'
    rules, said = unnamed(nodes, REQUESTS)
    assert rules == [{"from": NOBODY, "to": [{"operation": {"ports": ["9000"]}}]}]
    assert "on port 8080 " in said[0]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize(
    "rules",
    [
        ('{fromEntities: [cluster, world], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}',),
        ('{fromEntities: [world, cluster], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}',),
        (
            '{fromEntities: [cluster], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}',
            '{fromCIDR: [0.0.0.0/0], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}',
        ),
    ],
)
def test_the_world_and_the_cluster_are_everybody(target: str, rules: tuple[str, ...], keep: bool) -> None:
    """With requests in the rule that read back as a defect (MP900), and without kept network policy the world was left out (MP268)."""
    text = (
        HOME
        + POD.replace("NAME", "api")
        + POLICY.replace("NAME", "open").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", ", ".join(rules))
    )
    result = convert(load_text(text), source="cilium", target=target, keep_network_policy=keep)
    if not keep and "fromCIDR" in rules[-1]:  # which is no address of IPv6, and nothing else refuses these then
        assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
        return
    assert not [finding for finding in result.findings if finding.severity != "info" and finding.code != "MP276"]
    assert result.verification is not None and result.verification.verdict == "equivalent"
    assert result.ledger.counts["dropped"] == result.ledger.counts["approximated"] == 0


def test_the_world_and_the_cluster_are_not_everybody_where_clusters_are_linked() -> None:
    """The pods of another cluster are in neither, and only network policy keeps them out."""
    rules = '{fromEntities: [world, cluster], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}'
    text = (
        HOME
        + POD.replace("NAME", "api")
        + POLICY.replace("NAME", "open").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", rules)
    )
    values = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata: {cluster-id: "2"}\n---\n'
    result = convert(load_text(values + text), source="cilium", target="istio", keep_network_policy=False)
    assert "MP268" in {finding.code for finding in result.findings}


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_the_cluster_on_one_port_and_the_world_on_another_are_not(target: str) -> None:
    rules = (
        '{fromEntities: [cluster], toPorts: [{ports: [{port: "8080", protocol: TCP}]}]}, '
        '{fromEntities: [world], toPorts: [{ports: [{port: "9000", protocol: TCP}]}]}'
    )
    text = (
        HOME
        + POD.replace("NAME", "api")
        + POLICY.replace("NAME", "open").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", rules)
    )
    result = convert(load_text(text), source="cilium", target=target)
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
    assert result.verification is not None and not [item for item in result.verification.differences if item.change == "allowed"]


def test_requests_to_pods_that_are_not_shown_count_as_well() -> None:
    """The nodes come to every pod of the namespace, and other peers with requests to 8080 of known pods and to 9000 of others."""
    known = POLICY.replace("NAME", "known").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", REQUESTS)
    ghost = (
        POLICY.replace("NAME", "ghost").replace("SELECTED", "matchLabels: {app: ghost}").replace("RULES", REQUESTS.replace("8080", "9000"))
    )
    nodes = POLICY.replace("NAME", "nodes").replace("SELECTED", "").replace("RULES", NODES)
    text = HOME + POD.replace("NAME", "web") + POD.replace("NAME", "api") + known + ghost + nodes
    result = convert(load_text(text), source="cilium", target="istio")
    written = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    open_ = [entry["operation"] for spec in written for rule in spec.get("rules", ()) if rule.get("from") == NOBODY for entry in rule["to"]]
    assert open_ and all({"8080", "9000"} <= set(entry.get("notPorts", ())) for entry in open_)


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_whoever_is_denied_to_the_cluster_is_denied_to_its_nodes_whatever_their_address(target: str) -> None:
    """They were told from the world by private addresses, which nodes need not have (MP904)."""
    rules = "{fromEntities: [all]}]\n  ingressDeny: [{fromEntities: [cluster]}"
    text = (
        HOME
        + POD.replace("NAME", "api")
        + POLICY.replace("NAME", "open").replace("SELECTED", "matchLabels: {app: api}").replace("RULES", rules)
    )
    result = convert(load_text(text), source="cilium", target=target, keep_network_policy=False)
    assert result.verification is not None and result.verification.verdict == "narrowed"
    assert "MP904" not in {finding.code for finding in result.findings}
