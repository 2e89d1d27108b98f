"""Ingress controllers that stay when the mesh beside them changes: Linkerd's proxies go by the address that they dial, Istio's sidecars by the host that they name."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}}
---
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop, annotations: {NOTES}}
spec:
  ingressClassName: nginx
  rules: [{host: shop.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: cart, port: {name: http}}}}]}}]
---
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec: {gatewayClassName: CLASS, listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: public, namespace: edge}]
  hostnames: [shop.example]
  rules: [{FILTERS backendRefs: [{name: cart, port: 80}]}]
---
"""


def said(text: str, target: str = "istio", **options: Any) -> list[str]:
    result = meshport.convert(meshport.load_text(text), source="linkerd", target=target, **options)
    assert "MP900" not in {finding.code for finding in result.findings}
    return [finding.message for finding in result.findings if finding.code == "MP747"]


def test_a_controller_that_names_no_host_of_the_mesh_is_named_with_what_it_reaches() -> None:
    (message,) = said(SHOP + INGRESS.replace("NOTES", 'nginx.ingress.kubernetes.io/service-upstream: "true"'))
    assert "Ingress shop/web" in message
    assert "shop/cart" in message


def test_all_of_them_are_one_finding() -> None:
    second = INGRESS.replace("NOTES", "").replace("name: web", "name: admin")
    (message,) = said(SHOP + INGRESS.replace("NOTES", "") + second)
    assert "Ingress shop/web, Ingress shop/admin" in message


@pytest.mark.parametrize(
    ("text", "target", "options"),
    [
        (SHOP + INGRESS.replace("NOTES", "nginx.ingress.kubernetes.io/upstream-vhost: cart.shop.svc.cluster.local"), "istio", {}),
        (SHOP.replace(": enabled", ": disabled") + INGRESS.replace("NOTES", ""), "istio", {}),
        (SHOP + INGRESS.replace("NOTES", ""), "istio", {"data_plane": "ambient"}),
        (SHOP + INGRESS.replace("NOTES", ""), "cilium", {}),
    ],
    ids=["names-the-service", "not-in-the-mesh", "ztunnel-goes-by-addresses", "no-sidecar"],
)
def test_where_the_controller_goes_on_as_before_nothing_is_said(text: str, target: str, options: dict[str, Any]) -> None:
    assert said(text, target, **options) == []


def test_gateways_of_other_implementations_are_no_different() -> None:
    (message,) = said(SHOP + GATEWAY.replace("CLASS", "eg").replace("FILTERS", ""))
    assert "HTTPRoute shop/web" in message
    rewritten = "filters: [{type: URLRewrite, urlRewrite: {hostname: cart.shop.svc.cluster.local}}],"
    assert said(SHOP + GATEWAY.replace("CLASS", "eg").replace("FILTERS", rewritten)) == []
    assert said(SHOP + GATEWAY.replace("CLASS", "istio").replace("FILTERS", "")) == []
