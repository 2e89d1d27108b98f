"""Callers in Cilium's labels and entities: gateways by the account that they run under, and every caller but some."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_access_to_cilium import ISTIO, LINKERD, codes, convert, policies, policy

import meshport
from tests.decisions.decision_helper import namespace, shop, workload

NAMESPACE = "k8s:io.kubernetes.pod.namespace"
ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"
EDGE = """
apiVersion: v1
kind: Namespace
metadata: {name: edge, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: edge}
spec:
  template:
    metadata: {labels: {istio: public, app: edge}}
    spec: {serviceAccountName: public-sa, containers: [{name: istio-proxy, image: auto, ports: [{containerPort: 8080}]}]}
---
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: NAME, namespace: edge}
spec:
  selector: {istio: public}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["HOST"]}]
---
"""
MANAGED = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door, namespace: edgeNOTES}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
"""


def gateway(name: str = "public", host: str = "a.example.com") -> str:
    return GATEWAY.replace("NAME", name).replace("HOST", host)


def admitting(principal: str) -> str:
    return policy(
        f'{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{principals: ["cluster.local/ns/{principal}"]}}}}]}}]}}'
    )


@pytest.mark.parametrize(
    ("gateways", "principal"),
    [
        (EDGE + gateway(), "edge/sa/public-sa"),
        (EDGE + gateway() + gateway("second", "b.example.com"), "edge/sa/public-sa"),  # two objects, one gateway
        (MANAGED.replace("NOTES", ""), "edge/sa/door-istio"),
        (MANAGED.replace("NOTES", ", annotations: {gateway.istio.io/service-account: own}"), "edge/sa/own"),
    ],
    ids=["selected pods", "two objects for them", "made by Istio", "with an account of its own"],
)
def test_a_gateway_is_found_by_who_serves_it_and_becomes_the_entity(gateways: str, principal: str) -> None:
    assert policies(convert(ISTIO + gateways + admitting(principal)))["users"]["ingress"] == [{"fromEntities": ["ingress"]}]


def test_of_two_gateways_neither_becomes_the_entity_and_that_is_said() -> None:
    result = convert(ISTIO + EDGE + gateway() + MANAGED.replace("NOTES", "") + admitting("edge/sa/public-sa"))
    assert policies(result)["users"]["ingress"] == [{}]
    (finding,) = [finding for finding in result.findings if finding.code == "MP216"]
    assert finding.severity == "error" and "edge/sa/public-sa" in finding.message


ANYBODY = '{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: ["*"]}}]}]}'


def entities(text: str) -> list[Any]:
    return [peer for rule in policies(convert(text))["users"]["ingress"] for peer in rule.get("fromEntities", ())]


@pytest.mark.parametrize(
    "gateways",
    [EDGE + gateway(), gateway(), EDGE + gateway() + MANAGED.replace("NOTES", "")],
    ids=["shown", "pods not shown", "two accounts"],
)
def test_a_rule_for_any_mesh_identity_admits_the_gateways_and_so_what_takes_their_place(gateways: str) -> None:
    result = convert(ISTIO + gateways + policy(ANYBODY))
    assert entities(ISTIO + gateways + policy(ANYBODY)) == ["ingress"]
    assert not {"MP216", "MP904"} & codes(result)


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [
        ('{source: {namespaces: ["edge"]}}', ["ingress"]),
        ('{source: {namespaces: ["web"]}}', []),
        ('{source: {principals: ["cluster.local/ns/edge/sa/public-sa", "cluster.local/ns/edge/sa/door-istio"]}}', ["ingress"]),
        ('{source: {principals: ["*"], notPrincipals: ["cluster.local/ns/edge/sa/door-istio"]}}', []),
        ('{source: {principals: ["*"], notNamespaces: ["edge"]}}', []),
        ('{source: {principals: ["*"], notNamespaces: ["shop"]}}', ["ingress"]),
    ],
)
def test_of_two_gateways_both_have_to_be_admitted(rule: str, admitted: list[str]) -> None:
    both = ISTIO + EDGE + gateway() + MANAGED.replace("NOTES", "")
    assert entities(both + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{rule}]}}]}}")) == admitted


def test_a_deny_of_the_gateways_namespace_refuses_what_takes_its_place_too() -> None:
    deny = policy('{action: DENY, rules: [{from: [{source: {namespaces: ["edge"]}}]}]}', "no-edge")
    assert entities(ISTIO + EDGE + gateway() + policy(ANYBODY)) == ["ingress"]
    assert entities(ISTIO + EDGE + gateway() + policy(ANYBODY) + deny) == []


def test_of_a_gateway_whose_pods_nobody_shows_no_namespace_is_guessed() -> None:
    assert entities(ISTIO + gateway() + policy(ANYBODY.replace('principals: ["*"]', 'namespaces: ["istio-system"]'))) == []


def test_verify_takes_the_entity_for_the_gateway_whose_place_it_takes() -> None:
    before = meshport.load_text(ISTIO + EDGE + gateway() + policy(ANYBODY))
    made = meshport.convert(before, source="istio", target="cilium")
    after = meshport.load_objects([item.object for item in made.manifests])
    assert of_ingress(before, after) == set()
    closed = [item.object for item in made.manifests]
    for item in closed:
        if item["kind"] == "CiliumNetworkPolicy":
            item["spec"]["ingress"] = [rule for rule in item["spec"]["ingress"] if "fromEntities" not in rule]
    assert of_ingress(before, meshport.load_objects(closed)) == {("denied", "users")}


def of_ingress(before: Any, after: Any) -> set[tuple[str, str]]:
    """Whose access changes for the entity `ingress`, and how."""
    found = meshport.verify(before, after).differences
    return {
        (item.change, item.request["destination"]["workload"])
        for item in found
        if "reserved:ingress" in item.request["source"].get("labels", {})
    }


def test_strict_closes_no_pods_that_serve_a_gateway() -> None:
    strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: mesh, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n---\n"
    made = convert(ISTIO + EDGE + gateway() + strict)
    chosen: dict[str, list[Any]] = {}
    for item in made.manifests:
        if item.object["kind"] == "CiliumNetworkPolicy":
            chosen.setdefault(item.object["metadata"]["namespace"], []).append(item.object["spec"]["endpointSelector"])
    others = [  # pods beside the gateway's, which nobody shows
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["edge"]}]},
        {"matchLabels": {"app": "edge"}, "matchExpressions": [{"key": "istio", "operator": "NotIn", "values": ["public"]}]},
    ]
    assert chosen == {"shop": [{}], "web": [{}], "edge": others}
    assert "edge" in {
        item.object["metadata"]["namespace"]
        for item in convert(ISTIO + EDGE + strict).manifests
        if item.object["kind"] == "CiliumNetworkPolicy"
    }


@pytest.mark.parametrize(
    ("refused", "selectors"),
    [
        (
            "web/sa/front",
            [
                {
                    "matchExpressions": [
                        {"key": NAMESPACE, "operator": "Exists"},
                        {"key": NAMESPACE, "operator": "NotIn", "values": ["web"]},
                    ]
                },
                {"matchLabels": {NAMESPACE: "web"}, "matchExpressions": [{"key": ACCOUNT, "operator": "NotIn", "values": ["front"]}]},
            ],
        ),
        (
            "web/*",
            [{"matchExpressions": [{"key": NAMESPACE, "operator": "Exists"}, {"key": NAMESPACE, "operator": "NotIn", "values": ["web"]}]}],
        ),
    ],
)
def test_every_caller_but_some_is_said_by_labels_and_by_what_is_no_pod(refused: str, selectors: list[Any]) -> None:
    rule = policy(
        f'{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{notPrincipals: ["cluster.local/ns/{refused}"]}}}}]}}]}}'
    )
    without = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: older, namespace: web}
spec: {template: {metadata: {labels: {sidecar.istio.io/inject: "false"}}, spec: {serviceAccountName: front, containers: [{name: a, image: x}]}}}
---
"""
    # nobody that the bundle shows is refused who was not, but for a pod without a proxy under that account
    for world, said in ((ISTIO, ("info", "none")), (ISTIO + without, ("warning", "narrows"))):
        result = convert(world + rule)
        assert policies(result)["users"]["ingress"] == [
            {"fromEndpoints": selectors},
            {"fromEntities": ["world", "host", "remote-node", "kube-apiserver", "ingress"]},
        ]
        (finding,) = [finding for finding in result.findings if finding.code == "MP298"]
        assert (finding.severity, finding.effect) == said
        assert not {"MP900", "MP904"} & codes(result)


SERVERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: one, namespace: shop}
spec:
  template:
    metadata: {labels: {app: one, tier: back}}
    spec: {containers: [{name: a, image: x, ports: [{name: admin, containerPort: 9090}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: two, namespace: shop}
spec:
  template:
    metadata: {labels: {app: two, tier: back}}
    spec: {containers: [{name: a, image: x, ports: [{name: metrics, containerPort: 9090}]}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: admin, namespace: shop}
spec: {podSelector: {matchLabels: {tier: back}}, port: admin, accessPolicy: deny}
"""


def test_a_server_for_a_named_port_closes_it_where_the_pods_have_that_name_alone() -> None:
    written = policies(convert(LINKERD + SERVERS, "linkerd"))
    assert written["admin"]["endpointSelector"] == {"matchLabels": {"app": "one", "tier": "back"}}


def test_a_port_past_the_proxy_that_nothing_closes_is_accounted_for() -> None:
    noted = ISTIO.replace(
        "metadata: {labels: {app: cart}}",
        'metadata: {labels: {app: cart}, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "9090"}}',
    )
    result = convert(noted + policy("{selector: {matchLabels: {app: users}}, action: DENY, rules: [{}]}"))
    assert not {"MP901", "MP902"} & codes(result)


PEOPLE = (
    shop("istio") + workload("web") + workload("ops") + namespace("old", "plain") + workload("ops", home="old") + namespace("pay") + workload("web", home="pay") + "---\n"
)  # fmt: skip
NO_PODS = ["world", "host", "remote-node", "kube-apiserver"]


def of(space: str, account: str = "") -> dict[str, Any]:
    return {"matchLabels": {NAMESPACE: space, **({ACCOUNT: account} if account else {})}}


def but(*spaces: str, accounts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every pod that is not in these namespaces, nor of these accounts."""
    demands: list[dict[str, Any]] = [{"key": NAMESPACE, "operator": "Exists"}]
    demands += [{"key": NAMESPACE, "operator": "NotIn", "values": list(spaces)}] if spaces else []
    return {"matchExpressions": demands + ([{"key": ACCOUNT, "operator": "NotIn", "values": list(accounts)}] if accounts else [])}


def other_accounts(space: str, *accounts: str) -> dict[str, Any]:
    return {**of(space), "matchExpressions": [{"key": ACCOUNT, "operator": "NotIn", "values": list(accounts)}]}


@pytest.mark.parametrize(
    ("source", "endpoints", "entities", "said"),
    [
        ("namespaces: [shop], notPrincipals: [cluster.local/ns/shop/sa/ops]", [of("shop", "users"), of("shop", "web")], [], [("MP203", "warning")]),
        ("namespaces: [shop], notPrincipals: [other.domain/ns/shop/sa/ops]", [of("shop")], [], [("MP203", "info")]),  # nobody of whom is in this cluster
        ("namespaces: [shop, pay], notPrincipals: [cluster.local/ns/shop/sa/ops]", [of("pay"), of("shop", "users"), of("shop", "web")], [], [("MP203", "warning")]),
        ("principals: ['*'], notNamespaces: [shop]", [of("pay")], [], [("MP203", "warning")]),
        ("principals: ['*'], notNamespaces: [shop], notPrincipals: [cluster.local/ns/pay/sa/web]", [], [], [("MP201", "error")]),
        ("notPrincipals: [other.domain/ns/shop/sa/ops]", [but()], ["host", "remote-node", "kube-apiserver", "ingress"], [("MP298", "warning")]),
        ("notPrincipals: [cluster.local/ns/shop/sa/ops]", [but("shop"), other_accounts("shop", "ops")], [*NO_PODS, "ingress"], [("MP298", "info")]),
        ("notPrincipals: [cluster.local/ns/old/sa/ops]", [but("old"), other_accounts("old", "ops")], [*NO_PODS, "ingress"], [("MP298", "warning")]),
        ("notPrincipals: ['*/sa/ops']", [but(accounts=("ops",))], [*NO_PODS, "ingress"], [("MP298", "warning")]),
        ("notNamespaces: [shop], notPrincipals: [cluster.local/ns/pay/sa/web]", [but("pay", "shop"), other_accounts("pay", "web")], [*NO_PODS, "ingress"], [("MP298", "info")]),
        ("notPrincipals: ['*']", [], [*NO_PODS, "ingress"], [("MP298", "warning")]),
        ("principals: [cluster.local/ns/shop/sa/web], ipBlocks: [10.1.0.0/16]", [], [], [("MP284", "error")]),
        ("principals: [cluster.local/ns/shop/sa/web], ipBlocks: [203.0.113.0/24]", [], [], [("MP284", "info")]),
    ],
)  # fmt: skip
def test_callers_less_some_are_nobody_more(source: str, endpoints: list[Any], entities: list[str], said: list[tuple[str, str]]) -> None:
    result = convert(PEOPLE + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{{source}}}}}]}}]}}"))
    rules = [{"fromEndpoints": endpoints}] if endpoints else []
    rules += [{"fromEntities": entities}] if entities else []
    assert policies(result)["users"]["ingress"] == (rules or [{}])
    assert [(item.code, item.severity) for item in result.findings if item.code in ("MP201", "MP203", "MP284", "MP298")] == said


@pytest.mark.parametrize(
    ("source", "ingress"),
    [("notNamespaces: [edge]", False), ("notPrincipals: [cluster.local/ns/edge/sa/public-sa]", False), ("notNamespaces: [pay]", True), ("namespaces: [edge]", True), ("principals: ['*'], notNamespaces: [edge]", False)],
)  # fmt: skip
def test_the_gateway_is_not_among_callers_less_its_own(source: str, ingress: bool) -> None:
    text = (
        PEOPLE
        + "---\n"
        + EDGE
        + gateway()
        + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{from: [{{source: {{{source}}}}}]}}]}}")
    )
    assert ("ingress" in str([rule.get("fromEntities") for rule in policies(convert(text))["users"]["ingress"]])) is ingress


CLUSTERS = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]


@pytest.mark.parametrize(
    ("networks", "outside"),
    [
        ({"ipBlocks": [*CLUSTERS, "203.0.113.0/24"]}, [[{"cidr": "203.0.113.0/24"}], [{"cidr": cidr} for cidr in CLUSTERS]]),
        ({"ipBlocks": ["0.0.0.0/0", "fd00::/8"]}, [[{"cidr": "0.0.0.0/0"}, {"cidr": "fd00::/8"}]]),
        ({"notIpBlocks": ["203.0.113.0/24"]}, [[{"cidr": "0.0.0.0/0", "except": ["203.0.113.0/24"]}, {"cidr": "::/0"}]]),
    ],
)
def test_addresses_of_the_whole_cluster_and_beyond_are_every_pod_and_those_beyond(networks: dict[str, list[str]], outside: Any) -> None:
    """A CIDR takes no pod; where the networks hold every address that a pod may have, the entity says the pods, and the networks machines beyond the cluster."""
    result = convert(
        ISTIO + policy(json.dumps({"selector": {"matchLabels": {"app": "users"}}, "rules": [{"from": [{"source": networks}]}]}))
    )
    assert [{key: rule[key] for key in rule if key.startswith("from")} for rule in policies(result)["users"]["ingress"]] == [
        {"fromEntities": ["cluster"]},
        *({"fromCIDRSet": some} for some in outside),
    ]
    assert "MP284" not in codes(result) and not [one for one in result.verification.differences if one.change in ("allowed", "denied")]


def test_callers_less_an_account_and_an_address_are_the_other_pods_and_the_other_addresses() -> None:
    """Nobody beyond the cluster shows the account, and no pod has the address."""
    source = {"notServiceAccounts": ["shop/batch"], "notIpBlocks": ["203.0.113.9/32"]}
    result = convert(ISTIO + policy(json.dumps({"selector": {"matchLabels": {"app": "users"}}, "rules": [{"from": [{"source": source}]}]})))
    others, entities, beyond = policies(result)["users"]["ingress"]
    assert others["fromEndpoints"][1]["matchExpressions"] == [{"key": ACCOUNT, "operator": "NotIn", "values": ["batch"]}]
    assert "world" not in entities["fromEntities"] and "host" in entities["fromEntities"]
    assert beyond["fromCIDRSet"] == [{"cidr": "0.0.0.0/0", "except": ["203.0.113.9/32"]}, {"cidr": "::/0"}]
    assert not {"MP201", "MP284", "MP900"} & set(codes(result))


def test_a_deny_by_address_and_request_leaves_the_cluster_whole() -> None:
    deny = {"from": [{"source": {"ipBlocks": ["203.0.113.0/24"]}}], "to": [{"operation": {"paths": ["/admin"], "methods": ["POST"]}}]}
    result = convert(ISTIO + policy(json.dumps({"action": "DENY", "selector": {"matchLabels": {"app": "users"}}, "rules": [deny]})))
    assert not [one for one in result.verification.differences if one.change == "allowed"]
    assert {"fromEntities": ["cluster"]}.items() <= policies(result)["users"]["ingress"][0].items()


def test_a_deny_of_every_address_but_some_refuses_callers_outside_as_well() -> None:
    deny = {
        "action": "DENY",
        "selector": {"matchLabels": {"app": "users"}},
        "rules": [{"from": [{"source": {"notIpBlocks": ["203.0.113.0/24"]}}]}],
    }
    result = convert(ISTIO + policy(json.dumps(deny)))
    assert not [one for one in result.verification.differences if one.change == "allowed"]
    assert [rule["fromCIDRSet"] for rule in policies(result)["users"]["ingress"] if "fromCIDRSet" in rule] == [[{"cidr": "203.0.113.0/24"}]]


def test_an_account_of_a_namespace_outside_the_mesh_lets_nobody_in_by_its_labels() -> None:
    """No pod of `legacy` shows an identity, whoever runs there: the input shows none under the account."""
    world = ISTIO + "apiVersion: v1\nkind: Namespace\nmetadata: {name: legacy}\n---\n"
    admits = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: two, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/legacy/sa/batch, cluster.local/ns/elsewhere/sa/web]}}]}]}
---
"""
    made = convert(world + admits)
    rules = [item.object["spec"]["ingress"] for item in made.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    assert "elsewhere" in str(rules) and "legacy" not in str(rules)
    (told,) = [item for item in made.findings if item.code == "MP283"]
    assert (told.severity, told.effect) == ("warning", "narrows") and "cluster.local/ns/legacy/sa/batch is left out" in told.message
    assert not any("legacy/batch" in item.message for item in made.findings if item.code == "MP189")
