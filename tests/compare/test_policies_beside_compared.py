"""verify and diff see network policies that hold beside a mesh, policies for the cluster's own components, and limits of pods that nobody shows."""

from __future__ import annotations

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: {injection}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{serviceAccountName: web, containers: [{{name: app, image: web, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: PERMISSIVE}}}}
"""
POLICY = """
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: web, namespace: {namespace}}}
spec:
  endpointSelector: {{matchLabels: {{app: {app}}}}}
  ingress: [{{fromEndpoints: [{{matchLabels: {{app: front}}}}], toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]}}]
"""


def compared(old: str, new: str, mesh: str) -> tuple[str, set[tuple[str, int]], list[str]]:
    """The verdict, what is newly allowed or denied on which port, and the subjects that `diff` names."""
    one, other = meshport.load_text(old), meshport.load_text(new)
    found = meshport.verify(one, other, old_mesh=mesh, new_mesh=mesh)
    shown = {(item.change, item.request["destination"]["port"]) for item in found.differences}
    return found.verdict, shown, [change.subject for change in meshport.diff(one, other, old_mesh=mesh, new_mesh=mesh)]


def of_istio(injection: str, namespace: str, app: str, port: int) -> str:
    return WORLD.format(injection=injection) + POLICY.format(namespace=namespace, app=app, port=port)


@pytest.mark.parametrize("injection", ["enabled", "disabled"])
def test_another_port_in_a_network_policy_beside_istio_is_a_difference(injection: str) -> None:
    """What both sides refuse everybody else on is no difference; pods outside the mesh are governed by the network as well."""
    verdict, shown, subjects = compared(of_istio(injection, "shop", "web", 8080), of_istio(injection, "shop", "web", 9090), "istio")
    assert verdict == "changed"
    assert shown == {("denied", 8080), ("allowed", 9090)}
    assert subjects == ["access to shop/web port 8080", "access to shop/web port 9090"]


@pytest.mark.parametrize("injection", ["enabled", "disabled"])
def test_a_network_policy_that_lets_in_more_beside_istio_is_a_widening(injection: str) -> None:
    open_to_all = of_istio(injection, "shop", "web", 8080).replace("fromEndpoints: [{matchLabels: {app: front}}], ", "")
    verdict, shown, _ = compared(of_istio(injection, "shop", "web", 8080), open_to_all, "istio")
    assert (verdict, shown) == ("widened", {("allowed", 8080)})
    assert compared(open_to_all, open_to_all, "istio") == ("equivalent", set(), [])


def test_a_network_policy_beside_istio_for_pods_that_are_not_shown_is_compared() -> None:
    old, new = (of_istio("enabled", "other", "pay", port) for port in (9090, 9091))
    verdict, shown, _ = compared(old, new, "istio")
    assert (verdict, shown) == ("changed", {("denied", 9090), ("allowed", 9091)})


@pytest.mark.parametrize("namespace", ["kube-system", "istio-system", "linkerd"])
@pytest.mark.parametrize("known", [True, False])
def test_policies_of_cilium_for_the_clusters_own_components_are_compared(namespace: str, known: bool) -> None:
    """In Cilium every pod is governed: another port for the cluster's DNS is no "equivalent"."""
    world = WORLD.partition("---\napiVersion: security")[0].format(injection="disabled").replace("shop", namespace) if known else ""
    old, new = (world + POLICY.format(namespace=namespace, app="web", port=port) for port in (9153, 9154))
    verdict, shown, _ = compared(old, new, "cilium")
    assert (verdict, shown) == ("changed", {("denied", 9153), ("allowed", 9154)})


LIMITED = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: HTTP/1, accessPolicy: all-unauthenticated}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: web, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: web}, total: {requestsPerSecond: 100}}
"""


def test_another_limit_for_pods_that_are_not_shown_is_a_difference() -> None:
    verdict, _, subjects = compared(LIMITED, LIMITED.replace("100", "900"), "linkerd")
    assert verdict == "changed"
    assert subjects == ["rate limit of pods shop/app=web port 8080"] * 2  # rate and burst


PATCHED = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: web, namespace: shop}
spec:
  workloadSelector: {labels: {app: web}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          stat_prefix: limit
          token_bucket: {fill_interval: 60s, max_tokens: 100, tokens_per_fill: 100}
          filter_enabled: {runtime_key: a, default_value: {numerator: 100, denominator: HUNDRED}}
          filter_enforced: {runtime_key: b, default_value: {numerator: 100, denominator: HUNDRED}}
"""


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        (LIMITED, "linkerd", "istio"),
        (LIMITED, "linkerd", "cilium"),
        (LIMITED.replace("port: 8080", "port: http"), "linkerd", "istio"),
        (LIMITED.replace("matchLabels: {app: web}", "matchExpressions: [{key: app, operator: NotIn, values: [x]}]"), "linkerd", "istio"),
        (PATCHED, "istio", "linkerd"),
        (PATCHED, "istio", "cilium"),
    ],
)
def test_a_limit_for_pods_that_are_not_shown_reads_back_as_it_was_meant_or_is_named(text: str, source: str, target: str) -> None:
    result = meshport.convert(meshport.load_text(text), source=source, target=target)
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")] == []
    assert all(change.findings for change in result.diff)
