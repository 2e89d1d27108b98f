"""A Prometheus on loopback: where its binaries are, and one that answers queries about samples that it is given."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

STARTED_WITHIN = 30.0  # seconds
Vector = dict[tuple[tuple[str, str], ...], float]


class Unanswered(Exception):
    """Prometheus refused a query; the text is what it says."""


@lru_cache(maxsize=1)
def binaries() -> tuple[str, str] | None:
    """The paths of `prometheus` and `promtool`; None where they are not both here."""
    beside = str(Path(sys.prefix) / "prometheus" / "usr" / "bin")
    found = [shutil.which(name, path=beside) or shutil.which(name) for name in ("prometheus", "promtool")]
    if found[0] is None or found[1] is None:
        return None
    for path in found:
        try:
            ran = subprocess.run([str(path), "--version"], capture_output=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if ran.returncode:
            return None
    return str(found[0]), str(found[1])


def needs_prometheus(test: Any) -> Any:
    """Marks a test, or a module's tests, that need the binaries."""
    skipped = pytest.mark.skipif(
        binaries() is None,
        reason="no prometheus and promtool that run here: Debian's package prometheus, on the PATH or unpacked into .venv/prometheus",
    )
    return pytest.mark.prometheus(skipped(test))


def stored(samples: Iterable[tuple[str, int, float]], folder: Path) -> None:
    """Write samples (series, seconds, value) into the storage of a server that is not running yet."""
    found = binaries()
    assert found is not None
    text = folder / "samples.om"
    with text.open("w") as file:
        file.writelines(f"{series} {value:.12g} {at}\n" for series, at, value in samples)
        file.write("# EOF\n")
    subprocess.run(
        [found[1], "tsdb", "create-blocks-from", "--max-block-duration=54h", "openmetrics", str(text), str(folder / "data")],
        capture_output=True,
        timeout=300,
        check=True,
    )
    text.unlink()


class Server:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def complaint(self, query: str) -> str | None:
        """What the parser says against an expression; None where it takes it."""
        self._connection.request(
            "POST", "/api/v1/format_query", urlencode({"query": query}), {"Content-Type": "application/x-www-form-urlencoded"}
        )
        answer = json.loads(self._connection.getresponse().read())
        return None if answer["status"] == "success" else str(answer.get("error", "no reason given"))

    def ask(self, query: str, at: float) -> Vector | float:
        """The answer at a time, in seconds: a vector by labels, or a scalar. Raises Unanswered where the server refuses."""
        self._connection.request(
            "POST", "/api/v1/query", urlencode({"query": query, "time": at}), {"Content-Type": "application/x-www-form-urlencoded"}
        )
        answer = json.loads(self._connection.getresponse().read())
        if answer["status"] != "success":
            raise Unanswered(answer.get("error", "no reason given"))
        data = answer["data"]
        if data["resultType"] == "scalar":
            return float(data["result"][1])
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in data["result"]}


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server over what was stored, on a free port of loopback; it is ended afterwards."""
    found = binaries()
    assert found is not None
    (folder / "prometheus.yml").write_text("{}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [found[0], f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
               "--storage.tsdb.retention.time=100y", "--log.level=warn"]  # fmt: skip
    with (folder / "prometheus.log").open("w+b") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = Server(port)
        try:
            _ready(process, server, folder / "prometheus.log")
            yield server
        finally:
            server.close()
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    until = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            server.ask("vector(1)", 0)
            return
        except (OSError, Unanswered, json.JSONDecodeError):
            server.close()
            time.sleep(0.1)
    pytest.fail(f"Prometheus does not answer: {log.read_text()[-2000:]}")
