"""Denies of ports by name, where the same name is another number in pods that no label tells apart: no pod is let in to what it was refused."""

from __future__ import annotations

import pytest

from .decision_helper import convert, namespace, network_policy, said, workload, written

PORTS = "[{{name: http, containerPort: 8080}}, {{name: admin, containerPort: {}}}]"
DENY = """{endpointSelector: {matchExpressions: [{key: app, operator: In, values: [pay]}]},
  ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}],
  ingressDeny: [{toPorts: [{ports: [{port: admin, protocol: TCP}, {port: "9999", protocol: TCP}]}]}]}"""


def pods(name: str, labels: str, ports: str) -> str:
    """A workload whose pods have the label `app: pay`, whatever it is called."""
    return workload(name, ports, labels=labels, account="pay").replace(f"app: {name}", "app: pay")


@pytest.mark.parametrize(
    ("labels", "ports", "narrowed"),
    [
        (", version: v2", PORTS.format(7000), True),  # the first one's labels take these pods too, which are refused what it is refused
        (", version: v2", PORTS.format(9090), False),
        ("", PORTS.format(7000), True),  # the same labels: both are refused what either is
    ],
)
def test_what_a_name_means_in_each_is_refused_to_both(labels: str, ports: str, narrowed: bool) -> None:
    world = namespace(mesh="plain") + workload("web") + pods("pay", "", PORTS.format(9090)) + pods("pay-new", labels, ports)
    result = convert(world + network_policy(DENY, "pay"), "cilium", "istio", keep_network_policy=False)
    found = [item["spec"] for item in written(result, "AuthorizationPolicy").values() if item["spec"].get("action") == "DENY"]
    refused = {
        port
        for spec in found
        if spec["selector"]["matchLabels"] == {"app": "pay"}
        for rule in spec["rules"]
        for port in rule["to"][0]["operation"]["ports"]
    }
    assert {"9090", "9999"} <= refused and ("7000" in refused) is (labels == "")
    assert bool([one for one in said(result, "MP230") if "denied to both" in one.message]) is narrowed
    assert result.verification is not None and all(item.change == "denied" for item in result.verification.differences)


@pytest.mark.parametrize(("number", "more"), [(7000, True), (9090, False)])
def test_pods_that_the_input_does_not_show_are_refused_each_number_of_the_name(number: int, more: bool) -> None:
    world = namespace(mesh="plain") + workload("web", PORTS.format(9090)) + workload("pay", PORTS.format(number))
    deny = "{endpointSelector: {}, ingress: [{}], ingressDeny: [{toPorts: [{ports: [{port: admin, protocol: TCP}]}]}]}"
    result = convert(world + network_policy(deny, "all"), "cilium", "istio", keep_network_policy=False)
    (spec,) = (item["spec"] for item in written(result, "AuthorizationPolicy").values() if item["spec"].get("action") == "DENY")
    assert "selector" not in spec
    assert {port for rule in spec["rules"] for port in rule["to"][0]["operation"]["ports"]} == {"9090", str(number)}
    assert bool(said(result, "MP230")) is more
