"""The pages are true: what is generated is as the table has it, commands and examples run, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from meshport.cli.app import app
from meshport.mapping.table import builtin

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
HAND_WRITTEN = [page for page in PAGES if page.name not in ("patterns.md", "findings.md")]


def _make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_as_the_table_has_it() -> None:
    for name, text in _make_docs().pages(builtin()).items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name}: run scripts/make_docs.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_excerpts_are_the_code_as_it_stands() -> None:
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for name, block in blocks:
        assert block in (ROOT / name).read_text(encoding="utf-8"), f"CONTRIBUTING.md: an excerpt is not in {name} any more"


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_codes_named_are_published(page: Path) -> None:
    for code in re.findall(r"\bMP\d{3}\b", page.read_text(encoding="utf-8")):
        assert code in builtin().codes(), f"{page.name}: {code}"


def _options() -> dict[str, set[str]]:
    """The options of each command, from its help."""
    found = {}
    for command in app.registered_commands:
        assert command.name is not None
        text = CliRunner().invoke(app, [command.name, "--help"]).output
        found[command.name] = set(re.findall(r"(?<![\w-])-{1,2}[a-zA-Z][\w-]*", text))
    return found


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    known, wrong = _options(), []
    for block in re.findall(r"```(?:console|sh|yaml)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|[\s|])meshport (.*)", line.partition(" #")[0])
            if found is None or "=" in line.partition("meshport")[0]:
                continue
            words = shlex.split(re.split(r"[|>]", found[1])[0])
            command = words[0] if words[0] in known else None
            if command is None and words[0] not in ("--help", "--version"):
                wrong.append(line)
            options = {word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
            wrong += [f"{line}: {option}" for option in options - known.get(command or "", set())]
    assert wrong == []


def test_the_library_example_runs(tmp_path: Path) -> None:
    script = tmp_path / "upgrade.py"
    script.write_text(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(encoding="utf-8"), re.DOTALL)[0])
    out = tmp_path / "out"
    call = [sys.executable, str(script), str(ROOT / "corpus" / "saas-api" / "linkerd"), str(out)]
    ran = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (out / "users-routes.yaml").is_file()
    assert "3 manifests" in ran.stderr


def test_the_short_examples_of_the_library_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(encoding="utf-8"), re.DOTALL)[1:]
    assert blocks
    script = "\n".join(blocks)
    ran = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


SHOWN = [
    (command, output)
    for command, output in re.findall(
        r"```console\n\$ meshport (.*?)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
]


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command.split()[0] for command, _ in SHOWN])
def test_what_the_readme_shows_is_what_comes_out(command: str, output: str) -> None:
    call = [sys.executable, "-m", "meshport", *shlex.split(command.replace(" --report audit.html", ""))]
    ran = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = {line.rstrip() for line in (ran.stdout + ran.stderr).splitlines()}
    missing = [
        line for line in output.splitlines() if line.strip() != "" and not line.rstrip().endswith("...") and line.rstrip() not in lines
    ]
    assert missing == []
    assert ran.returncode in (0, 1)
