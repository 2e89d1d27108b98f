"""Rows that say the same with a header and without it read as one row, however many routes say it."""

from __future__ import annotations

import pytest
import yaml

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: shop}
spec:
  selector: {matchLabels: {app: batch}}
  template:
    metadata: {labels: {app: batch}}
    spec: {containers: [{name: a, image: a, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: batch, namespace: shop}
spec: {selector: {app: batch}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-head, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [HEAD]}}], when: [{key: "request.headers[x-env]", values: VALUES}]}]
"""


@pytest.mark.parametrize("values", ["[prod]", "[prod, stage]"])
def test_a_method_denied_under_a_header_reads_back_as_it_was_meant(values: str) -> None:
    """Linkerd has a route for requests with the header and one for all others; what both admit asks for no header."""
    result = meshport.convert(meshport.load_text(WORLD.replace("VALUES", values)), source="istio", target="linkerd")
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901")] == []
    assert not [change for change in result.diff if change.subject == "access to shop/batch port 8080"]
    assert any(item.object["kind"] == "HTTPRoute" for item in result.manifests)


def test_rows_under_different_demands_stay_apart() -> None:
    """`prod` alone is less than whether or not: a change of the values shows."""
    old, new = (meshport.load_text(WORLD.replace("VALUES", values)) for values in ("[prod]", "[prod, stage]"))
    changes = [change for change in meshport.diff(old, new, old_mesh="istio", new_mesh="istio") if change.subject.startswith("access")]
    assert changes and yaml.safe_dump([change.path for change in changes]).count("x-env")
