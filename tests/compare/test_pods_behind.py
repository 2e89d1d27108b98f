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
    ],
)
def test_a_service_that_leads_elsewhere(this: str, that: str, after: str) -> None:
    found = meshport.verify(meshport.load_text(OLD, "old.yaml"), meshport.load_text(OLD.replace(this, that), "new.yaml"))
    routed = [item for item in found.differences if item.change == "routed"]
    assert found.verdict == "changed"
    assert [(item.before, item.after) for item in routed] == [("to shop/app=users, container port 8080", after)]
    assert {(cause["side"], cause["file"]) for cause in routed[0].causes} == {("before", "old.yaml"), ("after", "new.yaml")}


def test_a_port_by_its_number_is_the_port_by_its_name() -> None:
    new = OLD.replace("targetPort: http", "targetPort: 8080")
    assert meshport.verify(meshport.load_text(OLD), meshport.load_text(new)).verdict == "equivalent"
