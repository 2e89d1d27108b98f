"""Tokens and keys that mesh objects hold reach no report, ledger or line in the terminal, whoever repeats them: a message, a witness, a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport
from meshport.cli.run import run

BUNDLE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/a]}}]
    when: [{key: "request.headers[authorization]", values: ["Bearer s3cr3t-t0k3n"]}, {key: "request.headers[x-api-key]", values: ["k3yk3yk3y"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{headers: {authorization: {exact: "Basic Zm9vOmJhcg=="}}}]
    route: [{destination: {host: web}}]
    headers: {request: {set: {authorization: "Basic c2VjcmV0OnZhbHVl"}}}
  - route: [{destination: {host: web}}]
"""
SECRETS = ("s3cr3t", "k3yk3yk3y", "Zm9vOmJhcg", "c2VjcmV0OnZhbHVl")


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize("command", ["convert", "audit"])
def test_no_form_of_a_report_tells_a_token(command: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.yaml"
    source.write_text(BUNDLE)
    forms = [tmp_path / f"report{suffix}" for suffix in (".json", ".md", ".html", ".sarif", ".junit.xml")]
    ledger = tmp_path / "ledger.ndjson"
    out = ["-o", str(tmp_path / "out")] if command == "convert" else []
    reports = [text for form in forms for text in ("--report", str(form))]
    run([command, str(source), "--to", target, "--fail-on", "never", "--ledger", str(ledger), *reports, *out])
    said = capsys.readouterr()
    for name, text in {"terminal": said.out + said.err, **{path.name: path.read_text() for path in (*forms, ledger)}}.items():
        assert [secret for secret in SECRETS if secret in text] == [], name


def test_the_manifests_keep_what_the_reports_hide() -> None:
    result = meshport.convert(meshport.load_text(BUNDLE), source="istio", target="linkerd")
    assert "s3cr3t-t0k3n" in result.text()
    (line,) = [line for line in result.ledger if line.path == "spec.rules[0].when[0].values[0]"]
    assert line.value is None and line.disposition == "translated"


def test_of_two_tokens_the_longer_one_is_hidden_whole() -> None:
    longer = BUNDLE.replace('"k3yk3yk3y"]', '"Bearer s3cr3t-t0k3n-2"]')
    result = meshport.convert(meshport.load_text(longer), source="istio", target="linkerd")
    assert "t0k3n" not in str(result.report().model_dump(mode="json")) and "•••-2" not in str(result.report().model_dump(mode="json"))
