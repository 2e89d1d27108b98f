"""`--on-loss`: what becomes of a rule of which some can be said, under each of its words."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, policy, said, shop, spec, thing, written

LISTED = """{selector: {matchLabels: {app: users}}, rules: [{
  from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET], ports: ["8080"]}}], when: [{key: "request.headers[x-v]", values: [one, "two*"]}]}]}"""
ONE, EVERY = {"method": "GET", "headerMatches": [{"name": "x-v", "value": "one"}]}, {"method": "GET"}


@pytest.mark.parametrize(
    ("on_loss", "requests", "codes"),
    [
        ("stricter", [ONE], [("MP393", "error", "narrows")]),
        ("looser", [ONE, EVERY], [("MP218", "error", "widens")]),  # the method is asked for all the same
    ],
)
def test_a_header_that_cilium_cannot_compare_costs_what_is_asked_for(on_loss: str, requests: list[Any], codes: list[Any]) -> None:
    result = convert(shop("istio") + policy(LISTED), "istio", "cilium", on_loss=on_loss)
    (rule,) = spec(result, "CiliumNetworkPolicy", "users")["ingress"]
    assert rule["fromEndpoints"] == [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}}]
    (entry,) = rule["toPorts"]
    assert entry["ports"] == [{"port": "8080", "protocol": "TCP"}] and entry["rules"]["http"] == requests
    assert [(item.code, item.severity, item.effect) for item in result.findings if item.code in ("MP201", "MP218", "MP393")] == codes


@pytest.mark.parametrize(
    ("on_loss", "methods", "codes"),
    [("stricter", ["GET"], [("MP393", "error", "narrows")]), ("looser", [None], [("MP218", "error", "widens")])],
)
def test_a_method_that_linkerd_has_no_word_for_costs_what_is_asked_for(on_loss: str, methods: list[Any], codes: list[Any]) -> None:
    rule = LISTED.replace("[GET]", "[GET, LOCK]").replace(', "two*"', "")
    result = convert(shop("istio") + policy(rule), "istio", "linkerd", on_loss=on_loss)
    (routed,) = [item for name, item in written(result, "HTTPRoute").items() if name.endswith("-users")]
    matches = [match for one in routed["spec"]["rules"] for match in one["matches"]]
    assert [match.get("method") for match in matches] == methods
    assert all(match["headers"] == [{"type": "Exact", "name": "x-v", "value": "one"}] for match in matches)  # asked for all the same
    assert [(item.code, item.severity, item.effect) for item in result.findings if item.code in ("MP201", "MP218", "MP393")] == codes


@pytest.mark.parametrize(
    ("more", "stopped"),
    [
        ("mirror: {host: users}, ", True),  # a warning about what is left out
        ("timeout: 5s, ", False),  # infos do not stop
    ],
)
def test_stop_is_for_losses(more: str, stopped: bool) -> None:
    rules = thing(
        "networking.istio.io/v1",
        "VirtualService",
        f"{{hosts: [users], http: [{{{more}route: [{{destination: {{host: users}}}}]}}]}}",
        "users",
    )
    result = convert(shop("istio") + rules, "istio", "linkerd", on_loss="stop")
    assert result.findings and (result.manifests == []) is stopped
    assert {item.severity for item in result.findings} == ({"warning", "info"} if stopped else {"info"})
    assert bool(said(result, "MP354")) is stopped
