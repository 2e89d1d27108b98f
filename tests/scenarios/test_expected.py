"""The corpus and its expected output, reviewed line by line. `UPDATE_EXPECTED=1 make test` writes it anew: then read the change as if you
were to apply it.

Each `corpus/<scenario>/expected-*/convert.yaml` is a case: the folder beside it that is converted (`input`), `from`, `to`, `options` as
`meshport.convert` takes them, and `says`: what a finding of that severity has to name.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result

from .common import CORPUS, accounted

UPDATE = os.environ.get("UPDATE_EXPECTED") == "1"
CASES = sorted(path.parent.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/expected-*/convert.yaml"))


def _case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CORPUS / name / "convert.yaml").read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=1)
def _converted(name: str) -> Result:
    case = _case(name)
    bundle = meshport.load(str((CORPUS / name).parent / case["input"]))
    return meshport.convert(bundle, source=case["from"], target=case["to"], **case.get("options", {}))


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


@pytest.mark.parametrize("name", CASES)
def test_output_and_findings_are_as_reviewed(name: str) -> None:
    result, folder = _converted(name), CORPUS / name
    texts = {"manifests.yaml": result.text(), "findings.txt": _findings(result)}
    if UPDATE:
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    for file, text in texts.items():
        assert text == (folder / file).read_text(encoding="utf-8"), f"{folder / file} differs; read the change, then UPDATE_EXPECTED=1"


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost_in_silence(name: str) -> None:
    assert accounted(_converted(name)) == []


@pytest.mark.parametrize("name", CASES)
def test_what_has_to_be_said(name: str) -> None:
    said = [(finding.severity, f"{finding.message} {finding.remedy}") for finding in _converted(name).findings]
    wanted = [(severity, str(text)) for severity, text in _case(name).get("says", ())]
    assert [one for one in wanted if not any(one[0] == severity and one[1] in text for severity, text in said)] == []


def test_without_the_world_nothing_is_guessed() -> None:
    result = _converted("ecommerce/expected-linkerd-as-published")
    assert result.manifests == []
    assert any("default-inbound-policy=deny" in command for command in result.install["commands"])
