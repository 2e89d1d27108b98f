"""`fromRequires` of Cilium before 1.19 folded into the peers: what it asked of pods that nobody shows stays asked, and nothing else changes."""

from __future__ import annotations

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: main, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: main, ports: [{containerPort: 8080}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: cart}}
  ingress:
  - fromRequires: [{matchExpressions: [{key: team, operator: In, values: [nobody]}]}]
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: "8080"}]}]
"""


def test_a_requirement_that_no_known_pod_meets_is_folded_into_the_peers() -> None:
    result = meshport.convert(meshport.load_text(WORLD), source="cilium", source_version="1.17", target="cilium", target_version="1.20")
    assert [manifest.object["spec"]["ingress"] for manifest in result.manifests] == [
        [
            {},
            {
                "fromEndpoints": [
                    {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "team", "operator": "In", "values": ["nobody"]}]}
                ],
                "toPorts": [{"ports": [{"port": "8080"}]}],
            },
        ]
    ]
    assert result.findings == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_a_clusterwide_requirement_keeps_pods_of_unknown_namespaces_out() -> None:
    text = WORLD.replace("kind: CiliumNetworkPolicy", "kind: CiliumClusterwideNetworkPolicy").replace(
        "metadata: {name: cart, namespace: shop}\nspec:\n  endpointSelector", "metadata: {name: cart}\nspec:\n  endpointSelector"
    )
    result = meshport.convert(meshport.load_text(text), source="cilium", source_version="1.17", target="cilium", target_version="1.20")
    assert [finding.code for finding in result.findings if finding.code in ("MP900", "MP904")] == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


BROAD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: all, namespace: shop}
spec:
  endpointSelector: {}
  %s:
  - fromEndpoints: [{matchLabels: {app: web}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: cart}}
  %s:
  - fromRequires: [{matchExpressions: [{key: team, operator: In, values: [nobody]}]}]
"""
PODS = WORLD.partition("---\napiVersion: cilium.io")[0] + "---"


def said(result: meshport.Result, action: str) -> dict[str, list[object]]:
    """By workload, the rules of the AuthorizationPolicies that are for it alone."""
    found = [item.object["spec"] for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return {
        item["selector"]["matchLabels"]["app"]: item.get("rules", [])
        for item in found
        if "selector" in item and item.get("action", "ALLOW") == action
    }


OF_WEB = [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}]


def converted(section: str) -> meshport.Result:
    text = PODS + BROAD % (section, section)
    return meshport.convert(meshport.load_text(text), source="cilium", source_version="1.17", target="istio", keep_network_policy=False)


def test_a_requirement_of_some_pods_asks_nothing_of_the_peers_of_others() -> None:
    result = converted("ingress")
    assert said(result, "ALLOW") == {"cart": [], "web": OF_WEB}
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]


def test_nor_does_one_of_a_deny_let_their_peers_in() -> None:
    """Who is denied is narrowed for the pods of the requirement alone."""
    assert said(converted("ingressDeny"), "DENY") == {"web": OF_WEB}


def test_where_it_is_folded_the_rules_stay_for_pods_that_it_does_not_concern() -> None:
    text = PODS + BROAD % ("ingress", "ingress")
    result = meshport.convert(meshport.load_text(text), source="cilium", source_version="1.17", target="cilium", target_version="1.20")
    written = {item.object["metadata"]["name"]: item.object for item in result.manifests}
    assert written["all"]["spec"]["ingress"][0]["fromEndpoints"][0]["matchExpressions"] == [
        {"key": "team", "operator": "In", "values": ["nobody"]}
    ]
    assert written["all-rest"]["specs"] == [
        {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]}
    ]
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"
