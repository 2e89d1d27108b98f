"""What leaves the mesh, and what clusters share, written for Cilium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_exposure_clusters import ENTRY, RULE, SERVICE
from test_exposure_egress import CLOSED, entry, namespace, network, route, specs, whole, workload
from test_exposure_egress import codes as all_codes

import meshport
from meshport.pipeline import Result

DNS = {
    "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns"}}],
    "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}],
}
BESIDE = [
    {"toPorts": [{"ports": [{"port": "0", "protocol": "UDP"}, {"port": "0", "protocol": "SCTP"}]}]},
    {"icmps": [{"fields": [{"family": "IPv4", "type": 8}, {"family": "IPv6", "type": 128}]}]},
]


def convert(text: str, source: str = "istio", **choices: Any) -> Result:
    return meshport.convert(meshport.load_text(text), source=source, target="cilium", **choices)


def codes(result: Result, *severities: str) -> list[str]:
    """What is said of the way out; that mutual TLS ends is said of every mesh with sidecars."""
    return [code for code in all_codes(result, *severities) if code != "MP130"]


def notes(result: Result, name: str = "stock") -> dict[str, str]:
    found = [item.object for item in result.manifests if item.object["kind"] == "Service" and item.object["metadata"]["name"] == name]
    return dict(found[0]["metadata"].get("annotations", {})) if found else {}


def opened(result: Result, name: str = "egress") -> list[dict[str, Any]]:
    """The egress rules between what every such policy has."""
    rules = specs(result)[f"CiliumNetworkPolicy/shop/{name}"]["egress"]
    assert rules[:2] == [DNS, {"toEntities": ["cluster"]}]
    assert rules[-2:] == BESIDE
    return list(rules[2:-2])


def ports(*numbers: int) -> list[dict[str, Any]]:
    return [{"ports": [{"port": str(number), "protocol": "TCP"} for number in numbers]}]


def test_where_everything_may_leave_no_rule_is_written() -> None:
    result = convert(namespace() + workload("web") + entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}]"))
    assert specs(result) == {}
    assert codes(result) == []
    assert whole(result)


def test_a_closed_namespace_opens_names_with_their_dns() -> None:
    text = namespace() + workload("web") + CLOSED
    result = convert(text + entry("hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS"))
    assert specs(result)["CiliumNetworkPolicy/shop/egress"]["endpointSelector"] == {}
    assert opened(result) == [{"toFQDNs": [{"matchName": "api.example.com"}], "toPorts": ports(443)}]
    assert codes(result) == ["MP726"]
    assert whole(result)


def test_plain_tcp_is_opened_by_name_or_by_address() -> None:
    text = namespace() + workload("web") + CLOSED
    named = convert(text + entry("hosts: [db.example.com], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS"))
    assert opened(named) == [{"toFQDNs": [{"matchName": "db.example.com"}], "toPorts": ports(5432)}]
    body = "hosts: [db.lan], addresses: [10.20.0.5], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: NONE"
    addressed = convert(text + entry(body))
    assert opened(addressed) == [{"toCIDR": ["10.20.0.5/32"], "toPorts": ports(5432)}]
    assert whole(named)
    assert whole(addressed)


@pytest.mark.parametrize(("version", "pattern", "said"), [("1.19", "**.example.com", []), ("1.18", "*.example.com", ["MP720"])])
def test_a_wildcard_is_for_names_at_any_depth_where_patterns_can_say_so(version: str, pattern: str, said: list[str]) -> None:
    text = namespace() + workload("web") + CLOSED + entry('hosts: ["*.example.com"], ports: [{number: 443, name: tls, protocol: TLS}]')
    result = convert(text, target_version=version)
    assert opened(result) == [{"toFQDNs": [{"matchPattern": pattern}], "toPorts": ports(443)}]
    assert [code for code in codes(result) if code == "MP720"] == said
    assert whole(result)


def test_control_for_some_workloads_is_a_policy_for_these() -> None:
    chosen = CLOSED.replace("{outbound", "{workloadSelector: {labels: {app: web}}, outbound")
    result = convert(namespace() + workload("web") + workload("job") + chosen)
    policy = specs(result)["CiliumNetworkPolicy/shop/egress-default"]
    assert policy["endpointSelector"] == {"matchLabels": {"app": "web"}}
    assert whole(result)


def test_a_workload_with_a_rule_of_its_own_is_left_to_it() -> None:
    free = CLOSED.replace("name: default", "name: free").replace("{outbound", "{workloadSelector: {labels: {app: job}}, outbound")
    text = namespace() + workload("web") + workload("job") + CLOSED + free.replace("REGISTRY_ONLY", "ALLOW_ANY")
    result = convert(text)
    selector = specs(result)["CiliumNetworkPolicy/shop/egress"]["endpointSelector"]
    assert selector == {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["job"]}]}
    assert whole(result)


def test_linkerds_egress_network_is_the_same_policy() -> None:
    text = namespace(mesh="linkerd") + workload("web") + network("Deny") + route("TLSRoute", 443, "api.example.com")
    result = convert(text, "linkerd")
    assert opened(result) == [{"toFQDNs": [{"matchName": "api.example.com"}], "toPorts": ports(443)}]
    assert whole(result)


def test_a_route_that_asks_for_more_than_a_host_opens_nothing() -> None:
    text = namespace(mesh="linkerd") + workload("web") + network("Deny")
    result = convert(text + route("HTTPRoute", 80, "api.example.com", rules="[{matches: [{method: GET}]}]"), "linkerd")
    assert opened(result) == []
    assert codes(result, "error") == ["MP720"]
    assert whole(result)


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_every_leaf_of_what_leaves_is_accounted_for(mesh: str) -> None:
    bundle = Path(__file__).parents[1] / "properties" / "bundles" / f"{mesh}-egress.yaml"
    assert whole(convert(bundle.read_text(encoding="utf-8"), mesh))


def test_a_shared_service_is_global_even_where_only_other_clusters_run_it() -> None:
    for pods in (workload("stock"), ""):
        result = convert(namespace() + pods + SERVICE + ENTRY)
        assert notes(result) == {"service.cilium.io/global": "true"}
        assert result.install["helm_values"]["cilium"]["clustermesh"] == {"useAPIServer": True}
        assert "cilium clustermesh connect" in next(item.remedy for item in result.findings if item.code == "MP710")
        assert whole(result)


def test_failover_of_a_shared_service_prefers_the_own_cluster() -> None:
    rule = RULE.replace("FIELDS", "failover: [{from: us, to: eu}]")
    result = convert(namespace() + workload("stock") + SERVICE + ENTRY + rule)
    assert notes(result) == {"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"}
    assert "MP514" in codes(result)
    assert whole(result)


def test_failover_within_one_cluster_is_lost() -> None:
    result = convert(namespace() + workload("stock") + SERVICE + RULE.replace("FIELDS", "failover: [{from: us, to: eu}]"))
    assert "MP511" in codes(result)
    assert notes(result) == {}
    assert whole(result)


def test_an_exported_service_of_linkerd_becomes_global_under_its_own_name() -> None:
    text = namespace(mesh="linkerd") + workload("stock")
    text += SERVICE.replace("namespace: shop}", 'namespace: shop, labels: {mirror.linkerd.io/exported: "true"}}')
    result = convert(text, "linkerd")
    assert notes(result) == {"service.cilium.io/global": "true"}
    assert "MP722" in codes(result)
    assert whole(result)


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_global_service_is_shared_in_the_other_mesh(target: str) -> None:
    text = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n" + workload("stock")
    marks = '{service.cilium.io/global: "true", service.cilium.io/affinity: local}'
    text += SERVICE.replace("namespace: shop}", f"namespace: shop, annotations: {marks}}}")
    result = meshport.convert(meshport.load_text(text), source="cilium", target=target)
    made = next(item.object for item in result.manifests if item.object["kind"] == "Service")
    assert "annotations" not in made["metadata"]
    assert made["metadata"].get("labels", {}) == ({"mirror.linkerd.io/exported": "remote-discovery"} if target == "linkerd" else {})
    assert "MP511" in codes(result)
    assert whole(result)
