"""Codes that no other test asks for: each is said of an input that brings it about, of the object that it is about, and nowhere else in the world."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import meshport

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "codes_said.yaml").read_text(encoding="utf-8"))
MARKS = {"istio": "labels: {istio-injection: enabled}", "linkerd": "annotations: {linkerd.io/inject: enabled}"}


def _workload(name: str, ports: str) -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: c, image: x, ports: [{ports}]}}]}}
---
"""


def world(mesh: str) -> str:
    return (
        f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, {MARKS.get(mesh, "labels: {team: a}")}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
"""
        + _workload("web", "{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}")
        + _workload("cart", "{name: http, containerPort: 8080}")
    )


def said(text: str, case: dict[str, Any]) -> list[meshport.Finding]:
    bundle = meshport.load_text(text)
    source = case.get("from", "auto")
    return [
        item
        for item in meshport.convert(bundle, source=source, target=case["to"], **case.get("options", {})).findings
        if item.code == case["code"]
    ]


@pytest.mark.parametrize(
    "case", [case for case in CASES if "input" in case], ids=lambda case: f"{case['code']}-{case['from']}-{case['to']}"
)
def test_it_is_said_of_what_brings_it_about(case: dict[str, Any]) -> None:
    found = said(world(case["from"]) + case["input"], case)
    assert case["severity"] in {item.severity for item in found}
    assert not any(re.search(r"\{[a-z_]+\}", f"{item.message} {item.remedy}") for item in found)
    assert said(world(case["from"]), case) == []  # of the world alone there is nothing to say


@pytest.mark.parametrize("case", [case for case in CASES if "bundle" in case], ids=lambda case: f"{case['code']}-{case['bundle']}")
def test_it_is_said_of_a_bundle(case: dict[str, Any]) -> None:
    text = (HERE.parent / "properties" / "bundles" / case["bundle"]).read_text(encoding="utf-8")
    assert case["severity"] in {item.severity for item in said(text, case)}
