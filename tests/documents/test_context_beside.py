"""`--context`: what else is known of the cluster. An object that the input has too is as the input says."""

from __future__ import annotations

import meshport

OLD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"
POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "web:1", ports: [{containerPort: 8080}]}]}
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
"""


def test_an_older_copy_of_an_object_in_the_context_does_not_win() -> None:
    """The context was read last, and its Namespace, labelled for injection, took the place of one that leaves the mesh."""
    now = OLD.replace("enabled", "disabled")
    result = meshport.convert(
        meshport.load_text(STRICT + now), source="istio", target="linkerd", context=meshport.load_text(POD + OLD, file="old.yaml")
    )
    [namespace] = [item.object for item in result.manifests if item.object["kind"] == "Namespace"]
    assert namespace["metadata"].get("annotations", {}).get("linkerd.io/inject") != "enabled"
