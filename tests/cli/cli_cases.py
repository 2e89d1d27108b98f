"""A small Istio bundle, and what a run of the command line came to."""

from __future__ import annotations

from dataclasses import dataclass

SHOP = """\
# who lives here
apiVersion: v1
kind: Namespace
metadata:
  name: shop   # the shop itself
  labels:
    team: blue
    istio-injection: enabled
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec:
      serviceAccountName: users
      containers: [{name: app, image: "users:1", ports: [{containerPort: 8080}]}]
"""

POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], ports: ["8080"]}}]
"""


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a user gets instead of a result."""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("meshport: error: ")
        assert self.out == ""
        return self.err.strip().removeprefix("meshport: error: ")
