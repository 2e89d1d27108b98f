"""What the lift makes of Cilium policies: who may send what to which port."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport import pipeline
from meshport.compare.access import canonical
from meshport.dialects.base import Options
from meshport.documents import load_objects
from meshport.ir.model import IR
from meshport.mapping.table import builtin
from meshport.options import resolve

Obj = dict[str, Any]
ACCOUNT = "io.cilium.k8s.policy.serviceaccount"


def workload(name: str, account: str, *ports: Obj, namespace: str = "shop", **labels: str) -> Obj:
    spec = {"serviceAccountName": account, "containers": [{"name": "a", "image": "a:1", "ports": list(ports)}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"metadata": {"labels": {"app": name, **labels}}, "spec": spec}},
    }


def policy(*ingress: Obj, name: str = "rules", namespace: str | None = "shop", **spec: Any) -> Obj:
    kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    body = {"endpointSelector": {"matchLabels": {"app": "api"}}, **({"ingress": list(ingress)} if ingress else {}), **spec}
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": body}


def on(port: str, protocol: str | None = "TCP", **rest: Any) -> list[Obj]:
    return [{"ports": [{"port": port, **({"protocol": protocol} if protocol else {})}], **rest}]


SHOP = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"zone": "inner"}}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge", "labels": {"zone": "outer"}}},
    workload("api", "api", {"name": "http", "containerPort": 8080}),
    workload("web", "web", tier="front"),
    workload("cart", "shared"),
    workload("pay", "shared"),
    workload("gate", "gate", namespace="edge"),
]


def lifted(*objects: Obj, version: str = "1.18") -> tuple[IR, Options]:
    table = builtin()
    bundle = load_objects([*SHOP, *objects])
    options = resolve(bundle, table, source="cilium", target="istio", source_version=version)
    ir, _ = pipeline.lift(bundle, table, options)
    return ir, options


def access(*objects: Obj, port: int | None = 8080, of: str = "shop/api", version: str = "1.18") -> dict[str, dict[str, str]]:
    """peer → method → paths, for one port."""
    ir, options = lifted(*objects, version=version)
    found = canonical(ir, options, {of: {port} if port is not None else set()})
    known = next(value for key, value in found.items() if of in key and key.endswith(f"port {port}" if port is not None else "other ports"))
    rows: dict[str, dict[str, str]] = known["allow"]
    return rows


def test_a_policy_with_an_empty_rule_closes_every_port() -> None:
    assert access(policy({})) == {}
    assert access(policy({}), port=9999) == {}
    assert access(policy({}), of="shop/web") == {"anyone": {"any method": "any path"}}


def test_labels_become_the_account_that_just_these_pods_run_under() -> None:
    rows = access(policy({"fromEndpoints": [{"matchLabels": {"app": "web"}}]}))
    assert list(rows) == ["cluster.local/ns/shop/sa/web"]


def test_labels_stay_where_another_workload_shares_the_account() -> None:
    rows = access(policy({"fromEndpoints": [{"matchLabels": {"app": "cart"}}]}))
    assert list(rows) == ["pods shop/app=cart of service account shared"]


def test_labels_that_take_all_workloads_of_an_account_become_that_account() -> None:
    expression = {"key": "app", "operator": "In", "values": ["cart", "pay"]}
    assert list(access(policy({"fromEndpoints": [{"matchExpressions": [expression]}]}))) == ["cluster.local/ns/shop/sa/shared"]


@pytest.mark.parametrize(
    ("labels", "peer"),
    [
        ({}, "cluster.local/ns/shop/*"),
        ({"k8s:io.kubernetes.pod.namespace": "edge"}, "cluster.local/ns/edge/*"),
        ({"k8s:io.kubernetes.pod.namespace": "edge", ACCOUNT: "gate"}, "cluster.local/ns/edge/sa/gate"),
        ({"any:io.cilium.k8s.policy.serviceaccount": "web"}, "cluster.local/ns/shop/sa/web"),
        ({"io.cilium.k8s.namespace.labels.zone": "outer"}, "cluster.local/ns/edge/*"),
        ({"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "edge", "app": "gate"}, "cluster.local/ns/edge/sa/gate"),
        ({"reserved:host": ""}, "entity host"),
    ],
)
def test_what_a_peer_selector_means(labels: dict[str, str], peer: str) -> None:
    assert list(access(policy({"fromEndpoints": [{"matchLabels": labels}]}))) == [peer]


def test_an_empty_peer_selector_of_a_clusterwide_policy_is_every_pod_of_the_cluster() -> None:
    assert list(access(policy({"fromEndpoints": [{}]}, namespace=None))) == ["any mesh identity"]


def test_an_empty_list_of_peers_is_nobody_and_was_no_condition_before_1_16() -> None:
    rule = {"fromEndpoints": [], "toPorts": on("8080")}
    assert access(policy(rule)) == {}
    assert list(access(policy(rule), version="1.15")) == ["anyone"]


def test_addresses_take_the_world_alone_and_where_no_pod_has_one_just_themselves() -> None:
    rows = access(policy({"fromCIDR": ["203.0.113.0/24"]}, {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}))
    assert set(rows) == {"anyone from 203.0.113.0/24", "entity world from 10.0.0.0/8 except 10.1.0.0/16"}


def test_a_named_port_is_the_number_that_each_workload_gives_it() -> None:
    other = workload("api-v2", "api", {"name": "http", "containerPort": 9000})
    other["spec"]["template"]["metadata"]["labels"]["app"] = "api"
    rule = policy({"fromEntities": ["all"], "toPorts": on("http")})
    assert access(rule, other, port=8080)
    assert not access(rule, other, port=9000)
    assert access(rule, other, port=9000, of="shop/api-v2")


def test_a_range_of_ports_and_the_ports_around_it() -> None:
    rule = policy({"toPorts": [{"ports": [{"port": "7000", "endPort": 7010, "protocol": "TCP"}]}]})
    assert [bool(access(rule, port=port)) for port in (6999, 7000, 7010, 7011)] == [False, True, True, False]


def test_udp_grants_no_tcp_and_is_kept_in_words() -> None:
    ir, _ = lifted(policy({"toPorts": on("53", "UDP")}))
    assert access(policy({"toPorts": on("53", "UDP")}), port=53) == {}
    assert [item.words.value for item in ir.policies[0].beyond] == ["UDP port 53"]


def test_a_path_that_admits_any_query_is_a_path_and_one_that_does_not_is_a_demand_on_the_target() -> None:
    def paths(path: str) -> dict[str, str]:
        return access(policy({"toPorts": on("8080", rules={"http": [{"path": path}]})}))["anyone"]

    assert paths("/api/.*") == {"any method": 'prefix "/api/"'}
    assert paths(r"/charge(\?.*)?") == {"any method": 'exact "/charge"'}
    assert paths("/charge") == {'any method header :path is exact "/charge"': 'exact "/charge"'}


def test_a_header_is_there_or_has_just_one_value() -> None:
    rules = [{"headers": ["X-Kind: a b"]}, {"headers": ["X-Debug"]}, {"headerMatches": [{"name": "x-one", "value": "1"}]}]
    rows = access(policy({"toPorts": on("8080", rules={"http": rules})}))["anyone"]
    assert [key.removeprefix("any method header ") for key in rows] == ['x-debug is any ""', 'x-kind is exact "a b"', 'x-one is exact "1"']


def test_a_deny_goes_before_every_allow_and_closes_like_one() -> None:
    deny = [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]
    assert access(policy(ingressDeny=deny)) == {}
    open_otherwise = policy(ingressDeny=deny, enableDefaultDeny={"ingress": False})
    assert list(access(open_otherwise)) == ["anyone but cluster.local/ns/shop/sa/web"]


def test_a_rule_that_does_not_close_adds_to_one_that_does() -> None:
    open_rule = policy({"fromEndpoints": [{"matchLabels": {"app": "web"}}]}, name="adds", enableDefaultDeny={"ingress": False})
    assert list(access(open_rule)) == ["anyone"]
    assert list(access(open_rule, policy({}, name="closes"))) == ["cluster.local/ns/shop/sa/web"]


def test_kafka_rules_are_never_a_plain_allow_of_the_port() -> None:
    rows = access(policy({"toPorts": on("9092", rules={"kafka": [{"role": "produce", "topic": "events"}]})}), port=9092)
    assert all("kafka" in key for row in rows.values() for key in row)


def test_required_authentication_asks_for_an_identity() -> None:
    required = {"authentication": {"mode": "required"}}
    assert list(access(policy({"toPorts": on("8080"), **required}))) == ["any mesh identity"]
    assert access(policy({"fromEntities": ["world"], **required})) == {}


def test_pods_by_their_account_are_the_workloads_that_run_under_it() -> None:
    rule = policy({}, endpointSelector={"matchLabels": {ACCOUNT: "web"}})
    assert access(rule, of="shop/web") == {}
    assert access(rule) != {}


def test_a_clusterwide_policy_selects_the_namespaces_that_its_labels_name() -> None:
    rule = policy({}, namespace=None, endpointSelector={"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.zone": "outer"}})
    assert access(rule, of="edge/gate") == {}
    assert access(rule) != {}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (policy(ingress=[]), "none of ingress"),
        (policy({"toPorts": on("8080", None, rules={"http": [{"path": "/x"}]})}), "need `protocol: TCP`"),
        (policy({"toPorts": on("0", rules={"http": [{"path": "/x"}]})}), "other than 0"),
        (policy({"toPorts": on("8080", rules={"http": [{"path": "(?=x)"}]})}), "no regular expression"),
        (policy({"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}]}), "does not lie in"),
        (policy({"fromEntities": ["internet"]}), "is not one of"),
        (policy({"toPorts": [{"ports": [{"port": 8080}]}]}), "is not a string"),
        (policy({"toPorts": on("8080", rules={"kafka": [{"topic": "events-*"}]})}), "no Kafka topic"),
    ],
)
def test_what_the_agent_refuses_grants_nothing_closes_nothing_and_is_said(wrong: Obj, why: str) -> None:
    assert list(access(wrong)) == ["anyone"]
    result = meshport.convert(load_objects([*SHOP, wrong]), source="cilium", target="istio")
    said = [finding for finding in result.findings if finding.code in ("MP013", "MP015") and finding.severity == "error"]
    assert [finding.code for finding in said] == ["MP013" if why in ("is not one of", "is not a string") else "MP015"]  # the schema says it
    assert why in said[0].message


def test_the_published_clusterwide_policy_lifts_to_nothing() -> None:
    spec = {
        "endpointSelector": {},
        "nodeSelector": {"matchLabels": {}},
        "egress": [{"toEntities": ["cluster"], "authentication": {"mode": "required"}}],
    }
    published = {"apiVersion": "cilium.io/v2", "kind": "CiliumClusterWideNetworkPolicy", "metadata": {"name": "encrypt-all"}, "spec": spec}
    ir, _ = lifted(published)
    assert not ir.policies
    assert not ir.egress
