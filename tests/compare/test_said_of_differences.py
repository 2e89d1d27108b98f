"""What is said of a difference, and of a request on its way, is true of the mesh that it is about."""

from __future__ import annotations

import meshport

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
