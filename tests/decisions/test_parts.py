"""A part of a bundle converted (`--namespace`, `--select`): what findings, commands and the verdict speak of is what is converted, and all that acts on it."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, mtls, namespace, policy, said, service, workload, written

TOKENS = "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}, {from: [{source: {principals: [cluster.local/ns/ops/sa/backup]}}]}]}"
LISTED = "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web, cluster.local/ns/ops/sa/backup]}}]}]}"


def cluster(*policies: str) -> str:
    """Two namespaces in the mesh with a workload each, and the policies given."""
    world = namespace("shop") + service() + workload() + namespace("ops") + service("backup", home="ops") + workload("backup", home="ops")
    return world + namespace("istio-system", "plain") + mtls("{mtls: {mode: STRICT}}", home="istio-system") + "".join(policies)


@pytest.mark.parametrize("part", [{"namespaces": ["shop"]}, {"select": ["AuthorizationPolicy/istio-system/tokens"]}])
def test_a_rule_of_the_mesh_that_lets_more_in_is_said_with_a_request(part: dict[str, Any]) -> None:
    text = cluster(policy(TOKENS, "tokens", "istio-system"))
    result = convert(text, "istio", "linkerd", on_loss="looser", **part)
    found = said(result, "MP218")
    assert [(item.severity, item.effect) for item in found] == [("error", "widens")]
    assert found[0].witness is not None
    places = {(place.namespace, place.workload) for place in found[0].affects}
    assert places == ({("shop", "users")} if "namespaces" in part else {("shop", "users"), ("ops", "backup")})
    assert (found[0].witness["destination"]["namespace"], found[0].witness["destination"]["workload"]) in places


def test_a_rule_of_the_mesh_that_is_left_out_is_said_where_it_refuses() -> None:
    result = convert(cluster(policy(TOKENS, "tokens", "istio-system")), "istio", "linkerd", namespaces=["shop"])
    found = said(result, "MP201")
    assert [{(place.namespace, place.workload) for place in item.affects} for item in found] == [{("shop", "users")}]
    assert all(item.request["destination"]["namespace"] == "shop" for item in result.verification.differences)


def test_what_only_another_namespace_loses_is_left_to_it() -> None:
    text = cluster(policy(TOKENS, "tokens", "ops"), policy(LISTED, "users", "shop"))
    whole, part = convert(text, "istio", "linkerd"), convert(text, "istio", "linkerd", namespaces=["shop"])
    assert said(whole, "MP201") and not said(part, "MP201")
    assert any(item.request["destination"]["namespace"] == "ops" for item in whole.verification.differences)
    assert not any(item.request["destination"]["namespace"] == "ops" for item in part.verification.differences)


def test_an_error_of_what_stands_above_all_namespaces_is_said_with_each() -> None:
    """Who moves one namespace to Cilium has to hear that its mutual TLS ends, wherever the object stands that asked for it."""
    for name in ("shop", "ops", "istio-system"):
        assert said(convert(cluster(), "istio", "cilium", namespaces=[name]), "MP130")
    assert not said(convert(cluster(), "istio", "cilium", select=["Deployment/shop/users"]), "MP130")


def test_namespaces_that_the_bundle_does_not_show_are_marked_with_their_own_part() -> None:
    text = (
        service()
        + workload()
        + policy(LISTED)
        + service("backup", home="ops")
        + workload("backup", home="ops")
        + policy("{}", "all", "ops")
    )
    whole, part = convert(text, "istio", "linkerd"), convert(text, "istio", "linkerd", namespaces=["shop"])
    assert {text.split()[3] for text in whole.install["commands"]} == {"ops", "shop"}
    assert part.install["commands"] == [text for text in whole.install["commands"] if "namespace shop " in text]
    assert {item.affects[0].namespace for item in said(part, "MP102")} == {"shop"}


def test_waypoints_are_said_with_the_namespace_that_they_stand_in() -> None:
    rule = "{rules: [{to: [{operation: {methods: [GET]}}]}]}"
    text = cluster(policy(rule, "get", "shop"), policy(rule, "get", "ops"))
    part = convert(text, "istio", "istio", data_plane="ambient", namespaces=["shop"])
    assert [item.affects[0].namespace for item in said(part, "MP114")] == ["shop"]
    assert "ops" not in {item["metadata"].get("namespace") for item in written(part, "Gateway").values()}


def test_a_deny_that_is_selected_alone_is_written_and_a_route_says_nothing_of_who_is_admitted() -> None:
    """What several policies come to is written for the pods; a route that is converted by itself refuses nobody, whatever policies stand beside it."""
    deny = policy(
        "{selector: {matchLabels: {app: backup}}, action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}]}]}", "backup", "ops"
    )
    text = cluster(policy("{}", "nobody", "shop"), deny) + (
        "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: users, namespace: shop}, "
        "spec: {hosts: [users], http: [{timeout: 3s, route: [{destination: {host: users}}]}]}}\n"
    )
    alone = convert(text, "istio", "linkerd", select=["AuthorizationPolicy/ops/backup"])
    assert list(written(alone, "Server")) == ["backup-8080"] and alone.verification.verdict != "widened"
    route = convert(text, "istio", "linkerd", select=["VirtualService/shop/users"])
    assert [item.object["kind"] for item in route.manifests] == ["HTTPRoute"]
    assert route.verification.verdict == "equivalent" and not [item for item in route.findings if item.effect == "narrows"]
