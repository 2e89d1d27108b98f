"""The wheel carries its data: it converts where no checkout is in reach, installed and zipped."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpus" / "saas-api" / "linkerd"

# Run with -I -S: no working folder, no .pth of the editable install; only what is named is on the path.
CONVERT = """
import sys
sys.path[:0] = sys.argv[2:]
import meshport
assert meshport.__file__.startswith(sys.argv[2]), meshport.__file__
result = meshport.convert(meshport.load(sys.argv[1]), source="linkerd", target="istio")
assert any(item.object["kind"] == "VirtualService" for item in result.manifests)
from meshport.cli.run import run
assert run(["explain", "MP012"]) == 0
import pathlib, tempfile
file = pathlib.Path(tempfile.mkdtemp(), "report.html")
run(["audit", sys.argv[1], "--to", "istio", "-q", "--report", str(file)])
assert 'data-findings="' in file.read_text(encoding="utf-8")
"""


def test_no_stale_data_in_the_checkout() -> None:
    """`meshport/_data` belongs in wheels: in a checkout it would hide the live tables."""
    assert not (ROOT / "meshport" / "_data").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling (pip install -e '.[test]')")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dependencies of this environment, without its editable install of meshport."""
    import typer

    site = Path(typer.__file__).parents[1]
    folder = tmp_path_factory.mktemp("libraries")
    for entry in site.iterdir():
        if "meshport" not in entry.name and entry.suffix not in (".pth", ".pyc"):
            (folder / entry.name).symlink_to(entry)
    return str(folder)


def converts(*path: str, cwd: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-I", "-S", "-c", CONVERT, str(CORPUS), *path]
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "An unknown field" in ran.stdout


def test_contents(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"meshport/py.typed", "meshport/_data/mappings/codes.yaml", "meshport/_data/grammars/regex.lark"} <= names
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "meshport/report/templates").iterdir()}
    assert {"meshport/report/templates/style.css", "meshport/report/templates/script.js"} < templates <= names
    for folder in ("mappings", "grammars"):
        listed = {f"meshport/_data/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert listed <= names
    assert not any(name.startswith(("tests/", "corpus/", "scripts/")) for name in names)


def test_installed(wheel: Path, libraries: str, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        str(target),
    ]
    ran = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (target / "bin" / "meshport").exists()
    converts(str(target), libraries, cwd=tmp_path)


def test_zipped(wheel: Path, libraries: str, tmp_path: Path) -> None:
    converts(str(wheel), libraries, cwd=tmp_path)
