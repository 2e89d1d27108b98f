"""Regular expressions that Cilium's Envoy refuses for their size, in policies and in routes."""

from __future__ import annotations

import pytest

import meshport

POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{path: "PATTERN"}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: api}]
  rules:
  - matches: [{headers: [{name: x-id, type: RegularExpression, value: "PATTERN"}]}]
    backendRefs: [{name: api, port: 80}]
"""


@pytest.mark.parametrize("text", [POLICY, ROUTE], ids=["policy", "route"])
@pytest.mark.parametrize(("pattern", "said"), [("/files/[a-z0-9]{60}", True), ("/files/[a-z0-9]+", False)])
def test_an_expression_too_large_for_envoy_is_named_where_it_stands(text: str, pattern: str, said: bool) -> None:
    findings = meshport.lint(meshport.load_text(text.replace("PATTERN", pattern)), source="cilium")
    assert [len(finding.leaves) == 1 for finding in findings if finding.code == "MP125"] == ([True] if said else [])
