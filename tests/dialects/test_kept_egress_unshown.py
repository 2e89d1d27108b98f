"""Kept egress rules to pods that the input does not show: what these let in nobody knows, so that the network goes on asking for ports and HTTP (property 2)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from tests.dialects.test_kept_egress import kept, policy, workload

TO_ECHO = "toEndpoints: [{matchLabels: {kind: echo}}]"
POST = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: POST}]}}]"
PORT = "toPorts: [{ports: [{port: '8080', protocol: TCP}]}]"
FOR_WEB = "endpointSelector: {matchLabels: {app: web}}"
NAMES = "{toEndpoints: [{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}], toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]}"


def out(*rules: str) -> dict[str, Any]:
    return policy("web", f"{{{FOR_WEB}, egress: [{', '.join(rules)}]}}")


def convert(target: str, *policies: dict[str, Any], **options: Any) -> Any:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    result = meshport.convert(meshport.load_objects([space, workload("web"), *policies]), source="cilium", target=target, **options)
    assert not [item for item in result.findings if item.code in ("MP900", "MP901", "MP904", "MP265")]
    assert result.ledger.counts["unaccounted"] == 0
    return result


def said(result: Any, code: str) -> list[str]:
    return [item.message for item in result.findings if item.code == code]


@pytest.mark.parametrize(("target", "options"), [("istio", {}), ("istio", {"data_plane": "ambient"}), ("linkerd", {})])
def test_http_stays_in_a_rule_to_pods_that_nobody_shows(target: str, options: dict[str, Any]) -> None:
    """cilium-cli's `client-egress-l7-http-method`: without POST the client would send GET too."""
    result = convert(target, out(f"{{{TO_ECHO}, {POST}}}", NAMES), **options)
    assert kept(result, "web") is None  # it stays as it is
    (message,) = said(result, "MP175")
    assert 'pods that the input does not show (toEndpoints {"matchLabels": {"kind": "echo"}})' in message


@pytest.mark.parametrize(
    "peers",
    ["toEndpoints: [{matchLabels: {kind: echo, io.kubernetes.pod.namespace: other}}]", "toServices: [{k8sService: {serviceName: echo}}]"],
)
def test_nor_is_http_left_out_to_other_namespaces_and_services_that_nobody_shows(peers: str) -> None:
    result = convert("istio", out(f"{{{peers}, {POST}}}"))
    assert kept(result, "web") is None
    assert said(result, "MP175")


def test_every_pod_is_nobody_shown_where_the_client_stands_alone() -> None:
    for peers in ("toEntities: [cluster], ", ""):
        result = convert("istio", out(f"{{{peers}{POST}}}"))
        assert kept(result, "web") is None
        assert said(result, "MP175")


def test_the_meshs_port_is_not_let_out_to_them_behind_which_each_port_would_be() -> None:
    result = convert("linkerd", out(f"{{{TO_ECHO}, {PORT}}}"))
    assert kept(result, "web") is None
    assert said(result, "MP175")
    assert not said(convert("istio", out(f"{{{TO_ECHO}, {PORT}}}")), "MP175")  # sidecars keep the ports, which the network goes on seeing


def test_looser_lets_more_out_and_says_so() -> None:
    result = convert("istio", out(f"{{{TO_ECHO}, {POST}}}"), on_loss="looser")
    assert "rules" not in kept(result, "web")["egress"][0]["toPorts"][0]
    assert not said(result, "MP175")
    assert "does not show" in said(result, "MP176")[0]


@pytest.mark.parametrize("wider", [TO_ECHO, "toEndpoints: [{}]", "toEntities: [cluster]"])
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_where_another_rule_lets_everything_out_to_them_nothing_is_lost(target: str, wider: str) -> None:
    result = convert(target, out(f"{{{TO_ECHO}, {POST}}}", f"{{{wider}}}"))
    assert "rules" not in kept(result, "web")["egress"][0]["toPorts"][0]
    assert not said(result, "MP175")


def test_a_wider_rule_for_others_lets_nothing_more_out() -> None:
    other = "{toEndpoints: [{matchLabels: {kind: echo, tier: inner}}]}"
    assert said(convert("istio", out(f"{{{TO_ECHO}, {POST}}}", other)), "MP175")


def test_a_denied_port_of_theirs_is_not_reached_behind_the_meshs() -> None:
    deny = policy("web", f"{{{FOR_WEB}, egress: [{{toEntities: [cluster]}}], egressDeny: [{{{TO_ECHO}, {PORT}}}]}}")
    result = convert("linkerd", deny)
    added = yaml.safe_load(f"{{{TO_ECHO}, toPorts: [{{ports: [{{port: '4143', protocol: TCP}}]}}]}}")
    assert kept(result, "web")["egressDeny"] == [*deny["spec"]["egressDeny"], added]
    assert said(result, "MP175")


def test_names_of_the_clusters_own_and_addresses_are_no_such_pods() -> None:
    result = convert("linkerd", out(NAMES, f"{{toCIDR: [10.0.0.0/8], {POST}}}", f"{{toEntities: [world], {POST}}}"))
    assert not said(result, "MP175")
    assert kept(result, "web") is None
