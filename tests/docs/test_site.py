"""The documentation as a site: a page for each command, pattern and finding, and no link that leads nowhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from meshport.cli.app import app
from meshport.mapping.table import builtin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def make_site() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("make_site", ROOT / "scripts" / "make_site.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def pages(make_site: ModuleType) -> dict[str, str]:
    found: dict[str, str] = make_site.site(builtin())
    return found


def test_everything_has_its_page(pages: dict[str, str]) -> None:
    table = builtin()
    assert {f"findings/{code}.md" for code in table.codes()} <= set(pages)
    assert {f"patterns/{pattern.name}.md" for pattern in table.patterns()} <= set(pages)
    assert {f"commands/{command.name}.md" for command in app.registered_commands} <= set(pages)
    for command in app.registered_commands:
        assert (ROOT / "docs" / "commands" / f"{command.name}.md").is_file(), f"docs/commands/{command.name}.md is not written"


def test_links_between_pages_lead_somewhere(pages: dict[str, str]) -> None:
    wrong = []
    for name, text in pages.items():
        for target in re.findall(r"(?<!!)\]\((?!https?:|#)([^)#\s]+)", text):
            there = (Path(name).parent / target).as_posix()
            parts: list[str] = []
            for part in there.split("/"):
                parts = parts[:-1] if part == ".." else [*parts, part]
            if "/".join(parts) not in pages:
                wrong.append((name, target))
    assert wrong == []


def test_a_commands_page_has_every_option_and_a_findings_page_its_remedy(pages: dict[str, str]) -> None:
    assert "`--on-loss CHOICE`" in pages["commands/convert.md"]
    assert "| `stricter` |" in pages["commands/convert.md"]
    assert "Remedy" in pages["findings/MP204.md"]
    assert "[MP455](../findings/MP455.md)" in "".join(text for name, text in pages.items() if name.startswith("patterns/"))


def test_the_navigation_has_every_page(make_site: ModuleType, pages: dict[str, str]) -> None:
    def flat(item: object) -> list[str]:
        if isinstance(item, dict):
            return [name for value in item.values() for name in flat(value)]
        return [name for value in item for name in flat(value)] if isinstance(item, list) else [str(item)]

    listed = flat(make_site.navigation(pages))
    assert sorted(listed) == sorted(pages)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed (extra docs); `make docs` installs it")
    subprocess.run(
        [sys.executable, str(ROOT / "scripts/make_site.py"), str(tmp_path)], check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(tmp_path / "mkdocs.yml"), "-d", str(tmp_path / "site")],
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = (tmp_path / "site/findings/MP204/index.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"https?://(?:fonts|cdn|unpkg)", page)
