"""What a finding says of an object agrees with what else the answer says of it."""

from __future__ import annotations

import pytest

import meshport

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
"""
EGRESS_GATEWAY = """
apiVersion: cilium.io/v2
kind: CiliumEgressGatewayPolicy
metadata: {name: out}
spec:
  selectors: [{podSelector: {matchLabels: {app: web}}}]
  destinationCIDRs: [172.18.0.0/16]
  egressGateway: {nodeSelector: {matchLabels: {egress: "true"}}}
"""
ORPHAN = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: shop}
spec: {http: [{route: [{destination: {host: web}}]}]}
"""
ROOT = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: shop}
spec: {hosts: [web], http: [{match: [{uri: {prefix: /a}}], delegate: {name: part}}]}
"""


@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize("keep", [True, False])
def test_what_has_to_stay_with_cilium_is_no_removal(target: str, keep: bool) -> None:
    result = meshport.convert(meshport.load_text(SHOP + EGRESS_GATEWAY), source="cilium", target=target, keep_network_policy=keep)
    [said] = [item for item in result.findings if item.code == "MP265"]
    assert "CiliumEgressGatewayPolicy out has to stay with Cilium" in said.message
    assert result.removals == []


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_delegate_that_nobody_names_is_no_host_without_a_service(target: str) -> None:
    """The finding said that `(a delegate without hosts)` is no Service, and to write its full name; followed, that changed nothing."""
    alone = meshport.convert(meshport.load_text(SHOP + ORPHAN), source="istio", target=target)
    assert {"MP310", "MP901"} & {item.code for item in alone.findings} == set()
    assert [(item.severity, item.disposition) for item in alone.findings if item.code == "MP389"] == [("warning", "invalid")]
    named = meshport.convert(meshport.load_text(SHOP + ORPHAN + ROOT), source="istio", target=target)
    assert {"MP310", "MP389"} & {item.code for item in named.findings} == set()


def test_retries_of_a_profile_are_one_finding_however_many_routes_have_them() -> None:
    routes = ", ".join(f"{{name: r{number}, condition: {{pathRegex: /r{number}}}, isRetryable: true}}" for number in range(30))
    profile = f"apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {{name: web.shop.svc.cluster.local, namespace: shop}}\nspec: {{routes: [{routes}]}}\n"
    result = meshport.convert(meshport.load_text(SHOP + profile), source="linkerd", target="istio")
    [said] = [item for item in result.findings if item.code == "MP403"]
    assert "rule r0, r1, " in said.message and "and 24 more" in said.message
    assert len(said.leaves) == 30
    assert not [item for item in result.findings if item.code in ("MP900", "MP901")]
