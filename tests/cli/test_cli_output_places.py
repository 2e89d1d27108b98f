"""Where output goes: links, folders with rights of their own, pipes and devices, full disks and closed streams."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import Ran

from meshport import writing

Run = Callable[..., Ran]
FULL = Path("/dev/full")


def test_a_link_to_a_folder_is_written_where_it_leads(meshport: Run, shop: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "out"
    real.mkdir()
    link.symlink_to(real)
    for _ in range(2):  # empty, and holding what the first run wrote
        assert meshport("convert", shop, "--to", "linkerd", "-o", link).code == 0
    assert link.is_symlink()
    assert (real / "access" / "users.yaml").is_file()
    assert meshport("convert", shop, "--to", "linkerd", "-o", link, "--check").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "real", "shop"]


def test_a_link_to_a_file_stays_a_link(meshport: Run, shop: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "out.yaml"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    assert meshport("convert", shop, "--to", "linkerd", "-o", link).code == 0
    assert link.is_symlink()
    assert "kind: Server" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_an_empty_folder_keeps_its_rights(meshport: Run, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o700)
    assert meshport("convert", shop, "--to", "linkerd", "-o", out).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_a_mounted_folder_is_filled(meshport: Run, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's volume: what stands beside it is another file system, and it cannot be moved."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    replaced = Path.replace

    def within(path: Path, target: Path) -> Path:
        if path == out or target == out or (out in path.parents) != (out in Path(target).parents):
            raise OSError(18, "Invalid cross-device link")
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", within)
    for _ in range(2):
        assert meshport("convert", shop, "--to", "linkerd", "-o", out).code == 0
    assert sorted(path.name for path in out.iterdir()) == [".meshport", "access", "world.yaml"]


def test_a_ledger_goes_into_a_pipe(meshport: Run, shop: Path, tmp_path: Path) -> None:
    """A shell's `--ledger >(jq ...)`. A device such as /dev/null is written to in the same way, and not replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held: list[str] = []
    reader = threading.Thread(target=lambda: held.append(pipe.read_text()), daemon=True)
    reader.start()
    meshport("convert", shop, "--to", "linkerd", "--ledger", pipe)
    reader.join(20)
    assert pipe.is_fifo()
    assert held[0].startswith("{")


def test_one_file_is_one_file(meshport: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: a}\nspec: {}\n"
    )
    ran = meshport("convert", tmp_path / "a.yaml", "--to", "linkerd", "-o", tmp_path / "out")
    written = len(writing.written_before(str(tmp_path / "out")) or ())
    assert f"wrote {written} file{'' if written == 1 else 's'} to" in ran.err


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["patterns"], ["--help"], ["--version"], ["convert", "--help"]])
def test_a_full_disk_behind_standard_output_is_no_defect(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        ran = subprocess.run([sys.executable, "-m", "meshport", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert ran.stderr.startswith("meshport: error: standard output cannot be written (No space left on device)")


@pytest.mark.parametrize(
    ("closed", "arguments", "says"),
    [
        ("stdout", ["patterns"], "standard output is closed"),
        ("stdin", ["lint", "-"], "<stdin>: standard input is closed"),
        ("stdin", ["promql", "-", "--from", "istio", "--to", "linkerd"], "standard input is closed"),
    ],
)
def test_a_closed_stream_is_said(meshport: Run, monkeypatch: pytest.MonkeyPatch, closed: str, arguments: list[str], says: str) -> None:
    monkeypatch.setattr(sys, closed, None)
    ran = meshport(*arguments)
    assert ran.code == 2
    assert ran.err.startswith(f"meshport: error: {says}")


@pytest.mark.parametrize("command", [["convert", "--to", "linkerd"], ["lint"], ["ir"]])
def test_standard_input_is_not_the_context_too(meshport: Run, shop: Path, command: list[str]) -> None:
    ran = meshport(*command, "-", "--context", "-", stdin=(shop / "world.yaml").read_text())
    assert ran.code == 2
    assert "standard input (-) can be read once" in ran.err
