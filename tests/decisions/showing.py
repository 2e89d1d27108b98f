"""What the tests of single decisions share: a small shop, a conversion, and the parts of its answer that a reader asks for."""

from __future__ import annotations

from typing import Any

import yaml

import meshport

ENROLLED = {
    "istio": "labels: {istio-injection: enabled}",
    "linkerd": "annotations: {linkerd.io/inject: enabled}",
    "cilium": "labels: {}",
    "gateway-api": "labels: {}",
}


def namespace(mesh: str, name: str = "shop") -> str:
    return f"""---
apiVersion: v1
kind: Namespace
metadata: {{name: {name}, {ENROLLED[mesh]}}}
"""


def service(
    name: str = "users", home: str = "shop", *, notes: str = "{}", ports: str = "[{name: http, port: 80, targetPort: 8080}]", more: str = ""
) -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {home}, annotations: {notes}}}
spec: {{{more}selector: {{app: {name}}}, ports: {ports}}}
"""


def workload(
    name: str = "users",
    home: str = "shop",
    *,
    kind: str = "Deployment",
    notes: str = "{}",
    ports: str = "[{name: http, containerPort: 8080}]",
    container: str = "",
    pod: str = "",
) -> str:
    return f"""---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {home}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {notes}}}
    spec: {{{pod}serviceAccountName: {name}, containers: [{{name: app, image: "{name}:1", {container}ports: {ports}}}]}}
"""


def shop(mesh: str, **of_service: str) -> str:
    """The namespace, the Service and the Deployment `users`."""
    return namespace(mesh) + service(**of_service) + workload()


def convert(text: str, source: str, target: str, **choices: Any) -> meshport.Result:
    """A conversion without a defect: nothing reads back differently without a finding, and no leaf ends nowhere."""
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **choices)
    assert {item.code for item in result.findings} & {"MP900", "MP901", "MP902", "MP904"} == set()
    assert result.ledger.counts["unaccounted"] == 0
    return result


def objects(result: meshport.Result) -> dict[str, dict[str, Any]]:
    """What was made or changed, by kind and name."""
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object for item in result.manifests}


def spec(result: meshport.Result, name: str) -> Any:
    return objects(result)[name]["spec"]


def read(text: str) -> Any:
    """Expected YAML."""
    return yaml.safe_load(text)


def said(result: meshport.Result, *codes: str) -> list[str]:
    """The findings as a person reads them, of these codes or all."""
    return [f"{item.severity} {item.code} {item.message}" for item in result.findings if not codes or item.code in codes]


def loud(result: meshport.Result) -> list[str]:
    """Severity and code of each error and warning."""
    return [f"{item.severity} {item.code}" for item in result.findings if item.severity != "info"]
