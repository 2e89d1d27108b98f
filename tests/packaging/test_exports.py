"""What other tools read of the project: hooks, the action, the plugin's name; each names commands and options that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshport.cli.run import run

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpus"


def test_the_hook_lints_a_repository(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (tmp_path / "a.yaml").write_text(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {rulez: []}\n"
    )
    monkeypatch.chdir(tmp_path)
    hook = hooks["meshport-lint"]
    assert run([*shlex.split(hook["entry"])[1:], *hook["args"]]) == 1
    assert "rulez" in capsys.readouterr().out


def test_the_check_hook_fails_where_the_output_would_change(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    entry = shlex.split(hooks["meshport-check"]["entry"])[1:]
    source = str(CORPUS / "saas-api/linkerd")
    call = [source, "--from", "linkerd", "--to", "istio", "-o", str(tmp_path / "out")]
    assert run([*entry, *call]) == 1
    assert run(["convert", *call, "--fail-on", "never"]) == 0
    assert run([*entry, *call]) == 0
    capsys.readouterr()


def _script() -> str:
    action: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    script: str = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "audit")
    return script


@pytest.mark.parametrize("fail_on", ["error", "never"])
def test_the_action_leaves_reports_and_a_summary_and_the_audits_exit_code(tmp_path: Path, fail_on: str) -> None:
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PATHS": str(CORPUS / "ecommerce/istio"), "FROM": "auto",
        "TO": "linkerd", "ARGS": "--routes native", "FAIL_ON": fail_on, "REPORTS": str(tmp_path / "reports"), "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
    }  # fmt: skip
    script = _script().replace("meshport audit", f"{shlex.quote(sys.executable)} -m meshport audit")
    ran = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == (1 if fail_on == "error" else 0), ran.stderr
    assert "::error file=" in ran.stdout
    assert "**Findings: " in summary.read_text()
    written = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert all(Path(file).is_file() for file in written.values())
    assert set(written) == {"html", "json", "sarif"}


def test_every_input_of_the_action_is_used() -> None:
    text = (ROOT / "action.yml").read_text()
    named = set(yaml.safe_load(text)["inputs"])
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == named


def test_kubectl_finds_the_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-meshport"] == scripts["meshport"]
    assert run(["audit", "--help"], "kubectl meshport") == 0
    assert "kubectl meshport audit" in capsys.readouterr().out


def test_the_container_runs_the_command() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert 'ENTRYPOINT ["meshport"]' in text
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
