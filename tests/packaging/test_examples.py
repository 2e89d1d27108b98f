"""The files in examples/ do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import meshport
from meshport.mapping.table import builtin
from meshport.suppression import suppress, waivers

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "corpus" / "ecommerce" / "istio")


def test_convert_in_python(tmp_path: Path) -> None:
    script, source = ROOT / "examples" / "convert_in_python.py", ROOT / "corpus" / "saas-api" / "linkerd"
    ran = subprocess.run([sys.executable, str(script), str(source), str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"{tmp_path}/out/users-routes.yaml" in ran.stdout.splitlines()


def test_waivers() -> None:
    bundle = meshport.load(SHOP)
    result = meshport.convert(bundle, target="linkerd")
    suppress(result.findings, result.known, builtin(), waivers(str(ROOT / "examples" / "waivers.yaml"), builtin()))
    assert {finding.code for finding in result.findings if finding.suppressed} in ({"MP551"}, set())  # the day may have passed


def test_mappings() -> None:
    result = meshport.convert(meshport.load(SHOP), target="linkerd", mappings=str(ROOT / "examples" / "mappings.yaml"))
    found = next(finding for finding in result.findings if "runbook 12" in finding.message)
    assert (found.severity, found.disposition) == ("info", "manual")
