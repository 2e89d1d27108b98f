"""The corpus and its expected output, reviewed line by line. `UPDATE_EXPECTED=1 make test` writes it anew: then read the change as if you
were to apply it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import meshport
from meshport.pipeline import Result

from .common import CORPUS, accounted

UPDATE = os.environ.get("UPDATE_EXPECTED") == "1"
CASES = [
    ("ecommerce", "istio", "linkerd", ""),
    ("ecommerce", "istio", "linkerd", "-as-published"),
    ("saas-api", "linkerd", "istio", ""),
    ("saas-api", "linkerd", "istio", "-as-published"),
]
NAMES = [f"{scenario}{variant}" for scenario, _, _, variant in CASES]


def _converted(scenario: str, source: str, target: str, variant: str) -> tuple[Result, Path]:
    bundle = meshport.load(str(CORPUS / scenario / f"{source}{variant}"))
    return meshport.convert(bundle, source=source, target=target), CORPUS / scenario / f"expected-{target}{variant}"


def _findings(result: Result) -> str:
    """What is said beside the manifests: findings, settings of the installation, commands, and objects to delete."""
    lines = [f"{finding.severity} {finding.code} {finding.message}" for finding in result.findings]
    for chart, values in result.install["helm_values"].items():
        lines += [f"install {chart} {text}" for text in _flat(values)]
    lines += [f"run {command}" for command in result.install["commands"]]
    lines += [f"delete {item['kind']} {item['namespace']}/{item['name']}" for item in result.removals]
    return "\n".join(lines) + "\n"


def _flat(values: object, path: str = "") -> list[str]:
    if isinstance(values, dict):
        return [line for key, value in values.items() for line in _flat(value, f"{path}.{key}" if path else str(key))]
    return [f"{path}={values}"]


@pytest.mark.parametrize(("scenario", "source", "target", "variant"), CASES, ids=NAMES)
def test_output_and_findings_are_as_reviewed(scenario: str, source: str, target: str, variant: str) -> None:
    result, folder = _converted(scenario, source, target, variant)
    texts = {"manifests.yaml": result.text(), "findings.txt": _findings(result)}
    if UPDATE:
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    for name, text in texts.items():
        assert text == (folder / name).read_text(encoding="utf-8"), f"{folder / name} differs; read the change, then UPDATE_EXPECTED=1"


@pytest.mark.parametrize(("scenario", "source", "target", "variant"), CASES, ids=NAMES)
def test_nothing_is_lost_in_silence(scenario: str, source: str, target: str, variant: str) -> None:
    result, _ = _converted(scenario, source, target, variant)
    assert accounted(result) == []


# What the review of the first conversion asked for: (severity, what the message or remedy has to name).
MUST = {
    "ecommerce": [
        ("info", "restart"),
        ("info", "retries its requests twice"),
        ("warning", "GET /healthz on port 8080"),
        ("warning", "connections (100)"),
        ("warning", "waiting requests (100)"),
        ("warning", "requests at once (1000)"),
        ("warning", "interval 30s"),
        ("warning", "limit of 50 percent"),
        ("error", "--gateway-class"),
        ("error", "deny-all also closes Gateway production/shop"),
        ("info", "every other port is refused"),
    ],
    "ecommerce-as-published": [
        ("error", "kubectl get deploy,sts,ds,svc -n production"),
        ("error", "kubectl get service checkout -n production"),
        ("error", "kubectl get service payment -n production"),
        ("warning", "kubectl get namespace production"),
        ("error", "--gateway-class"),
    ],
    "saas-api": [("info", "restart"), ("info", "probe")],
    "saas-api-as-published": [
        ("error", "policy.linkerd.io/v1beta1"),
        ("error", "spec.retryBudget"),
        ("error", "kubectl get deploy,sts,ds,svc -n saas-api"),
        ("warning", "kubectl get service users-stable -n saas-api"),
        ("warning", "kubectl get service users-canary -n saas-api"),
    ],
}


@pytest.mark.parametrize(("scenario", "source", "target", "variant"), CASES, ids=NAMES)
def test_what_has_to_be_said(scenario: str, source: str, target: str, variant: str) -> None:
    result, _ = _converted(scenario, source, target, variant)
    said = [(finding.severity, f"{finding.message} {finding.remedy}") for finding in result.findings]
    missing = [wanted for wanted in MUST[scenario + variant] if not any(wanted[0] == one and wanted[1] in text for one, text in said)]
    assert missing == []


def test_without_the_world_nothing_is_guessed() -> None:
    result, _ = _converted("ecommerce", "istio", "linkerd", "-as-published")
    assert result.manifests == []
    assert any("default-inbound-policy=deny" in command for command in result.install["commands"])
