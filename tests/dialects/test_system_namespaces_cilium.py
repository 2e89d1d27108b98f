"""Namespaces of a mesh's own components: Cilium governs their pods like all others, and as a source it has them enrolled nowhere."""

from __future__ import annotations

import pytest
import yaml

import meshport

VIZ = """
apiVersion: v1
kind: Namespace
metadata: {name: linkerd-viz, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tap, namespace: linkerd-viz}
spec:
  selector: {matchLabels: {app: tap}}
  template:
    metadata: {labels: {app: tap}, annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}}
    spec: {serviceAccountName: tap, containers: [{name: app, image: "tap:1", ports: [{name: http, containerPort: 8080}]}]}
"""


def test_what_is_closed_there_is_closed_under_cilium() -> None:
    result = meshport.convert(meshport.load_text(VIZ), source="linkerd", target="cilium")
    assert [item.object["kind"] for item in result.manifests].count("CiliumNetworkPolicy") == 1
    assert {item.code for item in result.findings} & {"MP900", "MP904"} == set()
    assert result.verification is not None
    assert result.verification.verdict != "widened"


@pytest.mark.parametrize("target", ["istio", "cilium"])
def test_default_policies_leave_with_the_other_marks(target: str) -> None:
    result = meshport.convert(meshport.load_text(VIZ), source="linkerd", target=target)
    assert "linkerd.io/" not in yaml.safe_dump(
        [item.object for item in result.manifests if item.object["kind"] in ("Namespace", "Deployment")]
    )
