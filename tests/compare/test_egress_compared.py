"""What leaves, before and after a conversion: one mesh says it as a default of its proxies, the other as a policy of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_what_a_conversion_closes_verify_finds_closed(tmp_path: Path, target: str) -> None:
    old = meshport.load_text(WORLD)
    meshport.convert(old, source="istio", target=target).write(tmp_path / "out")
    found = meshport.verify(old, meshport.load(tmp_path / "out"))
    assert (found.verdict, found.differences) == ("equivalent", [])
