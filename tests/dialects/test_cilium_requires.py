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
