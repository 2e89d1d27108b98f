"""Running the command line inside the test process, with what it printed and its exit code."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import POLICY, SHOP, Ran

from meshport.cli.run import run


@pytest.fixture
def meshport(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    def ran(*arguments: str | Path, stdin: str | None = None) -> Ran:
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ran(code, printed.out, printed.err)

    return ran


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a small Istio bundle in two files; converting it to Linkerd gives no error."""
    folder = tmp_path / "shop"
    (folder / "access").mkdir(parents=True)
    (folder / "world.yaml").write_text(SHOP)
    (folder / "access" / "users.yaml").write_text(POLICY)
    return folder
