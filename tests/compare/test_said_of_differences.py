"""What is said of a difference, and of a request on its way, is true of the mesh that it is about."""

from __future__ import annotations

import meshport
from meshport.compare.verify import grouped

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1", ports: [{containerPort: 8080}]}]}
---
"""
ISTIO = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n---\n"
CILIUM = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"


def rule(path: str) -> str:
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web]
  http:
  - match: [{{uri: {{{path}}}}}]
    timeout: 3s
    route: [{{destination: {{host: web}}}}]
  - route: [{{destination: {{host: web}}}}]
"""


def test_a_difference_that_no_request_shows_is_none() -> None:
    # A prefix takes line breaks, `.*` does not; no request line has any.
    before, after = (meshport.load_text(ISTIO + WORLD + rule(path)) for path in ("prefix: /slow", 'regex: "/slow.*"'))
    found = meshport.verify(before, after)
    assert found.verdict == "equivalent" and not found.differences


def test_a_caller_is_known_by_labels_where_there_are_no_certificates() -> None:
    request = {
        "source": {"namespace": "shop", "workload": "web"},
        "destination": {"namespace": "shop", "service": "web", "port": 80},
        "path": "/",
    }
    for head, source, words in ((CILIUM, "cilium", "known by its labels"), (ISTIO, "istio", "with the certificate")):
        found = meshport.trace(meshport.load_text(head + WORLD), request, mesh=source)
        assert found.steps[0].outcome.startswith(words)


def test_what_the_target_does_alike_in_another_form_is_no_difference() -> None:
    """A rule of the Gateway API without backends answers 500; to Linkerd that is a backend that is not there."""
    text = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - {matches: [{path: {type: PathPrefix, value: /a}}], backendRefs: [{name: web, port: 80}]}
  - {matches: [{path: {type: PathPrefix, value: /b}}]}
"""
    result = meshport.convert(meshport.load_text(text), source="gateway-api", target="linkerd")
    (route,) = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert [rule["backendRefs"][0]["name"] for rule in route["spec"]["rules"]] == ["web", "web-refused"]
    assert [change for change in result.diff if not change.findings] == []


MISTYPED = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: '80', protocol: TCP}, {port: '8080', protocol: TCP}]}]}]
"""


def test_what_is_refused_for_another_reason_is_shown_apart() -> None:
    """Both are refused by one policy: on one port for the path, on the other because the policy no more names it."""
    new = MISTYPED.replace(
        "{port: '80', protocol: TCP}, {port: '8080', protocol: TCP}]", "{port: '80', protocol: TCP}], rules: {http: [{path: /x}]}"
    )
    found = meshport.verify(meshport.load_text(MISTYPED), meshport.load_text(new))
    shown = {item.request["destination"]["port"]: item.rules[1] for item, _ in grouped(found.differences) if item.change == "denied"}
    assert shown.keys() == {80, 8080}
    assert "asks for a path in /x" in shown[80]
    assert "asks for a port in 80" in shown[8080]
