"""Cilium's rules that name a port by its name, onto meshes: pods that the bundle does not show may give the name to another number, or to none."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

Obj = dict[str, Any]
ADMIN = {"ports": [{"port": "admin", "protocol": "TCP"}]}
CLOSING = {"endpointSelector": {"matchLabels": {"tier": "back"}}}
OPEN = {"endpointSelector": {}, "enableDefaultDeny": {"ingress": False}}


def workload(name: str, **ports: int) -> Obj:
    labels = {"app": name, "tier": "back"}
    container = {"name": "app", "image": "x:1", "ports": [{"name": key, "containerPort": number} for key, number in ports.items()]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def converted(target: str, spec: Obj, *workloads: Obj) -> Any:
    policy = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    result = meshport.convert(meshport.load_objects([home, *workloads, policy]), source="cilium", target=target, keep_network_policy=False)
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
    return result


def servers(result: Any) -> list[tuple[Obj, Any]]:
    specs = [item.object["spec"] for item in result.manifests if item.object["kind"] == "Server"]
    return [(spec["podSelector"], spec["port"]) for spec in specs]


@pytest.mark.parametrize("spec", [{**CLOSING, "ingress": [{"toPorts": [ADMIN]}]}, {**OPEN, "ingressDeny": [{"toPorts": [ADMIN]}]}])
def test_a_server_names_the_port_as_the_rule_does(spec: Obj) -> None:
    result = converted("linkerd", spec, workload("a", http=8080, admin=9090))
    assert servers(result) == [(spec["endpointSelector"], "admin")]
    (line,) = [line for line in result.ledger if line.value == "admin" and line.document == 2]
    assert line.disposition == "translated" and any(item["path"] == "spec.port" for item in line.outputs)


def test_a_server_by_a_number_that_other_rules_admit_as_well_takes_the_shown_pods_alone() -> None:
    more = {"ports": [{"port": "9000", "endPort": 9100, "protocol": "TCP"}]}
    alone = {"fromEntities": ["cluster"], "toPorts": [more]}
    result = converted("linkerd", {**CLOSING, "ingress": [{"toPorts": [ADMIN]}, alone]}, workload("a", http=8080, admin=9090))
    assert ({"matchLabels": {"app": "a", "tier": "back"}}, 9090) in servers(result)
    assert not [port for selector, port in servers(result) if selector == CLOSING["endpointSelector"]]
    assert [place for one in result.findings if one.effect == "narrows" for place in one.affects if place.workload in (None, "tier=back")]


def test_a_server_of_pods_that_are_all_shown_has_the_number() -> None:
    spec = {"endpointSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"toPorts": [ADMIN]}]}
    assert servers(converted("linkerd", spec, workload("a", http=8080, admin=9090))) == [({"matchLabels": {"app": "a"}}, 9090)]


def rules(result: Any) -> list[tuple[Obj, Any]]:
    """What the AuthorizationPolicies select, and the ports that they name."""
    found = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return [(spec.get("selector", {}), [rule["to"][0]["operation"] for rule in spec["rules"]]) for spec in found]


def test_istio_admits_by_the_numbers_of_the_shown_pods_there_alone() -> None:
    spec = {**CLOSING, "ingress": [{"toPorts": [ADMIN, {"ports": [{"port": "8080", "protocol": "TCP"}]}]}]}
    result = converted("istio", spec, workload("a", http=8080, admin=9090))
    assert rules(result) == [
        ({"matchLabels": {"app": "a"}}, [{"ports": ["9090"]}, {"ports": ["8080"]}]),
        ({"matchLabels": {"tier": "back"}}, [{"ports": ["8080"]}]),
    ]
    (said,) = [one for one in result.findings if one.code == "MP286"]
    assert [place.workload for place in said.affects] == ["tier=back"]


def test_istio_denies_by_a_name_that_no_shown_pod_has_on_the_ports_that_they_do_not_name() -> None:
    result = converted("istio", {**OPEN, "ingressDeny": [{"toPorts": [ADMIN]}]}, workload("a", http=8080))
    assert rules(result) == [({}, [{"notPorts": ["8080"]}])]
    (said,) = [one for one in result.findings if one.code == "MP230"]
    assert {place.workload for place in said.affects} == {"a", "any pod"}


@pytest.mark.parametrize(
    ("shown", "numbers"),
    [
        ([workload("a", http=8080, admin=9090), workload("b", http=8080, admin=9091)], [({"matchLabels": {"app": "a"}}, 9090), ({"matchLabels": {"app": "b"}}, 9091)]),
        ([workload("a", http=8080)], []),
    ],
)  # fmt: skip
def test_linkerd_denies_other_pods_by_the_name_whatever_numbers_the_shown_ones_have(
    shown: list[Obj], numbers: list[tuple[Obj, int]]
) -> None:
    result = converted("linkerd", {**OPEN, "ingressDeny": [{"toPorts": [ADMIN]}]}, *shown)
    apps = [one["metadata"]["name"] for one in shown]
    others = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": apps}]}
    assert servers(result) == [*numbers, (others, "admin")]
    (line,) = [line for line in result.ledger if line.value == "admin" and line.path.endswith("ports[0].port")]
    assert line.disposition == "translated"
