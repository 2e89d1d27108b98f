"""The quick start, followed to the letter with the objects of the corpus."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from meshport.cli.run import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quick-start.md").read_text(encoding="utf-8")


def commands(step: int) -> list[list[str]]:
    """What is to be typed in a step, without `meshport`, about the corpus' namespace and Services."""
    part = PAGE.split(f"\n## {step}. ")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL) for line in block.splitlines()]
    lines = [line.replace("shop/frontend", "production/frontend").replace("shop/users", "production/checkout") for line in lines]
    return [shlex.split(line)[1:] for line in lines if line.startswith("meshport ")]


def test_it_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    documents = [item for file in sorted((ROOT / "corpus/ecommerce/istio").glob("*.yaml")) for item in yaml.safe_load_all(file.read_text())]
    of_mesh = [item for item in documents if "istio" in item["apiVersion"] or "gateway" in item["apiVersion"]]
    world = [item for item in documents if item not in of_mesh]
    for name, items in (("istio.yaml", of_mesh), ("world.yaml", world)):
        Path(name).write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}))
    waivers = re.search(r"```yaml\n(# meshport.waivers.yaml\n.*?)```", PAGE, re.DOTALL)
    assert waivers is not None
    Path("meshport.waivers.yaml").write_text(waivers[1])

    [audit] = commands(2)
    assert run(audit) == 1
    assert "widened: 0, undecided: 0" in "\n".join(capsys.readouterr().out.splitlines()[:4])
    assert Path("audit.html").exists() and Path("audit.md").exists()
    [explain] = commands(3)
    assert run(explain) == 0

    [convert] = commands(4)
    assert run(convert) == 1
    before = {path: path.read_bytes() for path in Path("linkerd").rglob("*") if path.is_file()}
    assert run(convert) == 1
    assert before == {path: path.read_bytes() for path in Path("linkerd").rglob("*") if path.is_file()}
    said = json.loads(Path("convert.json").read_text())["verification"]["verdict"]

    verify, trace = commands(5)
    capsys.readouterr()
    run(verify)
    assert capsys.readouterr().out.startswith(f"{said}: "), "what the conversion said of its own output"
    assert run(trace) == 0
    assert ": allowed by Server production/checkout-8080" in capsys.readouterr().out.splitlines()[0]

    [plan] = commands(6)
    run(plan)
    assert Path("runbook/plan.md").exists()
