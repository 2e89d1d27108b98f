"""Cilium onto a newer Cilium: what the release no longer reads, or reads otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

HEAD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: queue, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: queue}}
  ingress:
"""
KAFKA = (
    HEAD
    + """
  - fromEndpoints: [{matchLabels: {app: writer}}]
    toPorts:
    - ports: [{port: "9092", protocol: TCP}]
      rules: {kafka: [{role: produce, topic: events}]}
"""
)


def convert(text: str, source: str, target: str = "1.20", **options: Any) -> Any:
    return meshport.convert(
        meshport.load_text(text), source="cilium", target="cilium", source_version=source, target_version=target, **options
    )


def policy(result: Any) -> Any:
    (found,) = [item.object for item in result.manifests]
    return found["spec"]


def codes(result: Any) -> dict[str, str]:
    return {finding.code: finding.effect for finding in result.findings}


def test_a_port_held_to_a_topic_is_closed_and_not_left_open() -> None:
    result = convert(KAFKA, "1.18")
    assert policy(result)["ingress"] == [{}]
    assert codes(result)["MP140"] == "narrows"
    assert "MP900" not in codes(result)


def test_other_ports_of_the_rule_stay() -> None:
    result = convert(KAFKA + '    - ports: [{port: "9404", protocol: TCP}]\n', "1.18")
    assert policy(result)["ingress"] == [
        {"fromEndpoints": [{"matchLabels": {"app": "writer"}}], "toPorts": [{"ports": [{"port": "9404", "protocol": "TCP"}]}]}
    ]


def test_looser_keeps_the_port_and_says_so() -> None:
    result = convert(KAFKA, "1.18", on_loss="looser")
    assert policy(result)["ingress"][0]["toPorts"] == [{"ports": [{"port": "9092", "protocol": "TCP"}]}]
    assert codes(result)["MP141"] == "widens"


def test_a_release_that_reads_kafka_changes_nothing() -> None:
    result = convert(KAFKA, "1.16", "1.19")
    assert result.manifests == []
    assert not {"MP140", "MP900"} & set(codes(result))


def test_requirements_are_folded_into_every_peer_of_the_direction() -> None:
    text = (
        HEAD
        + "  - fromEndpoints: [{matchLabels: {app: writer}}]\n  - fromRequires: [{matchLabels: {env: prod}}]\n    fromEndpoints: [{}]\n"
    )
    result = convert(text, "1.18", "1.19")
    assert policy(result)["ingress"] == [
        {"fromEndpoints": [{"matchLabels": {"app": "writer", "env": "prod"}}]},
        {"fromEndpoints": [{"matchLabels": {"env": "prod"}}]},
    ]


REQUIRES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: queue, namespace: shop}
spec:
  template:
    metadata: {labels: {app: queue}}
    spec: {serviceAccountName: queue, containers: [{name: a, image: "a:1", ports: [{containerPort: 80}]}]}
---
"""


def test_addresses_entities_and_rules_without_peers_need_not_meet_a_requirement() -> None:
    rules = (
        "  - fromEndpoints: [{matchLabels: {app: writer}}]\n    fromRequires: [{matchLabels: {env: prod}}]\n"
        "  - fromCIDR: [203.0.113.0/24]\n  - fromEntities: [cluster]\n    toPorts: [{ports: [{port: '80', protocol: TCP}]}]\n"
    )
    result = convert(REQUIRES + HEAD + rules, "1.18")
    assert policy(result)["ingress"] == [
        {"fromEndpoints": [{"matchLabels": {"app": "writer", "env": "prod"}}]},
        {"fromCIDR": ["203.0.113.0/24"]},
        {"fromEntities": ["cluster"], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]},
    ]
    assert not {"MP900", "MP904"} & set(codes(result))
    assert result.verification.verdict == "equivalent"


def test_a_rule_of_nothing_but_a_requirement_admits_nobody_before_and_after() -> None:
    result = convert(
        REQUIRES + HEAD + "  - fromRequires: [{matchLabels: {env: prod}}]\n    toPorts: [{ports: [{port: '80', protocol: TCP}]}]\n", "1.18"
    )
    assert policy(result)["ingress"] == [{}]
    assert result.verification.verdict == "equivalent"


def test_a_requirement_holds_for_the_rules_of_other_policies_on_the_same_pods() -> None:
    other = HEAD.replace("name: queue", "name: ops") + "  - fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: ops}}]\n"
    rules = "  - fromEndpoints: [{matchLabels: {app: writer}}]\n    fromRequires: [{matchLabels: {env: prod}}]\n"
    result = convert(REQUIRES + HEAD + rules + "---" + other, "1.18")
    made = {item.object["metadata"]["name"]: item.object["spec"]["ingress"] for item in result.manifests}
    assert made["ops"] == [
        {
            "fromEndpoints": [
                {
                    "matchLabels": {"k8s:io.kubernetes.pod.namespace": "ops", "env": "prod"},
                    "matchExpressions": [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "In", "values": ["shop"]}],
                }
            ]
        }
    ]
    assert result.verification.verdict == "equivalent"


def test_what_the_release_before_did_not_know_does_not_begin_to_act() -> None:
    text = (
        HEAD.replace("  ingress:", "  enableDefaultDeny: {ingress: false}\n  ingress:")
        + '  - toPorts: [{ports: [{port: "7000", endPort: 8080, protocol: TCP}]}]\n'
    )
    result = convert(REQUIRES + text, "1.15")
    assert policy(result) == {
        "endpointSelector": {"matchLabels": {"app": "queue"}},
        "ingress": [{"toPorts": [{"ports": [{"port": "7000", "protocol": "TCP"}]}]}],
    }
    assert "MP021" in codes(result)
    assert result.verification.verdict == "equivalent"
    assert convert(REQUIRES + text, "1.16").manifests == []


@pytest.mark.parametrize(("source", "changed"), [("1.15", True), ("1.16", False)])
def test_an_empty_list_of_peers_was_none_before_1_16(source: str, changed: bool) -> None:
    text = HEAD + '  - fromEndpoints: []\n    toPorts: [{ports: [{port: "80", protocol: TCP}]}]\n'
    result = convert(text, source, "1.18")
    assert [("fromEndpoints" in item.object["spec"]["ingress"][0]) for item in result.manifests] == ([False] if changed else [])


def test_versions_of_kinds_follow_the_release() -> None:
    text = "apiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: vpn}\nspec: {externalCIDRs: [10.1.0.0/16]}\n"
    assert [item.object["apiVersion"] for item in convert(text, "1.17").manifests] == ["cilium.io/v2"]
    assert convert(text, "1.16", "1.17").manifests == []


def test_authentication_is_kept_and_its_end_is_said() -> None:
    text = HEAD + "  - fromEndpoints: [{matchLabels: {app: writer}}]\n    authentication: {mode: required}\n"
    result = convert(text, "1.18")
    assert result.manifests == []
    assert "MP142" in codes(result)


def test_twice_is_once() -> None:
    first = convert(KAFKA, "1.18")
    again = convert(yaml.safe_dump_all([item.object for item in first.manifests]), "1.20")
    assert again.manifests == []


def test_http_rules_of_pods_that_nothing_closes_refuse_nothing_since_1_18() -> None:
    text = HEAD.replace("  ingress:", "  enableDefaultDeny: {ingress: false}\n  ingress:") + (
        "  - fromEndpoints: [{}]\n    toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{method: GET}]}}]\n"
    )
    closing = "---" + HEAD.replace("name: queue", "name: closed") + "  - {}\n"
    assert codes(convert(REQUIRES + text, "1.16"))["MP128"] == "widens"
    assert "MP128" not in codes(convert(REQUIRES + text + closing, "1.16"))  # the agent reads them where any rule closes the pods
    assert "MP128" not in codes(convert(REQUIRES + text, "1.18"))
