"""Requests go elsewhere where a Service selects other pods, or leads to another port of theirs, though no mesh says a word about it."""

from __future__ import annotations

import pytest

import meshport

OLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec:
  selector: {app: users}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: "app:1", ports: [{name: http, containerPort: 8080}]}]}
"""


@pytest.mark.parametrize(
    ("this", "that", "after"),
    [
        ("selector: {app: users}\n", "selector: {app: orders}\n", "to shop/app=orders, container port http"),
        ("targetPort: http", "targetPort: 9090", "to shop/app=users, container port 9090"),
        ("targetPort: http", "targetPort: web", "to shop/app=users, of which none has a port of this name"),
        ("containerPort: 8080", "containerPort: 8081", "to shop/app=users, container port 8081"),
        ("  selector: {app: users}\n  ports", "  ports", "to what its endpoints say, container port http"),
        ("port: 80,", "port: 81,", "the Service has no port 80"),
    ],
)
def test_a_service_that_leads_elsewhere(this: str, that: str, after: str) -> None:
    found = meshport.verify(meshport.load_text(OLD, "old.yaml"), meshport.load_text(OLD.replace(this, that), "new.yaml"))
    routed = [item for item in found.differences if item.change == "routed"]
    assert found.verdict == "changed"
    assert [(item.before, item.after) for item in routed] == [("to shop/app=users, container port 8080", after)]
    assert {(cause["side"], cause["file"]) for cause in routed[0].causes} == {("before", "old.yaml"), ("after", "new.yaml")}


def test_another_port_of_a_service_leads_nobody_elsewhere() -> None:
    new = OLD.replace("ports: [{name: http,", "ports: [{name: admin, port: 9090}, {name: http,")
    assert meshport.verify(meshport.load_text(OLD), meshport.load_text(new)).verdict == "equivalent"


OUTSIDE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: legacy, namespace: shop}
spec:
  hosts: [legacy.example.com]
  ports: [{name: http, number: 80, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.1.0.1, labels: {site: a}}, {address: 10.1.0.2, labels: {site: b}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: legacy, namespace: shop}
spec: {host: legacy.example.com, subsets: [{name: a, labels: {site: a}}, {name: b, labels: {site: b}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: legacy, namespace: shop}
spec:
  hosts: [legacy.example.com]
  http:
  - match: [{uri: {prefix: /orders}}]
    route: [{destination: {host: legacy.example.com, subset: a}}]
  - route: [{destination: {host: legacy.example.com, subset: b}}]
"""


@pytest.mark.parametrize(
    ("this", "that"),
    [("subset: a", "subset: b"), ("prefix: /orders", "prefix: /carts"), ("{name: a, labels: {site: a}}", "{name: a, labels: {site: c}}")],
)
def test_which_endpoints_of_a_host_outside_get_a_request_is_compared(this: str, that: str) -> None:
    """Endpoints of a ServiceEntry have labels, by which a DestinationRule makes subsets of them."""
    old, new = meshport.load_text(OUTSIDE), meshport.load_text(OUTSIDE.replace(this, that))
    assert meshport.verify(old, new).verdict == "changed"
    assert {change.subject for change in meshport.diff(old, new)} == {"routes of host legacy.example.com for clients of shop port 80"}
    assert all(change.findings for change in meshport.convert(old, source="istio", target="linkerd").diff)


def test_a_port_by_its_number_is_the_port_by_its_name() -> None:
    new = OLD.replace("targetPort: http", "targetPort: 8080")
    assert meshport.verify(meshport.load_text(OLD), meshport.load_text(new)).verdict == "equivalent"


REWRITTEN = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop, namespace: shop}
spec: {gatewayClassName: some, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec:
  parentRefs: [PARENT]
  rules:
  - backendRefs:
    - {name: users, port: 80, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /v1}}}]}
"""


@pytest.mark.parametrize("parent", ["{name: shop}", "{group: '', kind: Service, name: users}"])
def test_a_rewrite_on_the_way_to_one_backend_is_compared(parent: str) -> None:
    old = OLD + "---" + REWRITTEN.replace("PARENT", parent)
    found = meshport.verify(
        meshport.load_text(old), meshport.load_text(old.replace("/v1}", "/v2}")), old_mesh="gateway-api", new_mesh="gateway-api"
    )
    assert found.verdict == "changed"
    for target in ("istio", "linkerd", "cilium"):
        result = meshport.convert(meshport.load_text(old), source="gateway-api", target=target)
        assert all(change.findings for change in result.diff)
        assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901")] == []
