"""Small HTTP servers on loopback that say who they are and what arrived."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .proxy import LOOPBACK


class _Echo(BaseHTTPRequestHandler):
    """Answers every request with its own name, the path and the headers."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # in one piece: a body that waits for the acknowledgement of its headers takes 40 ms
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        path = self.requestline.split(" ")[1]  # `self.path` has one slash for several at its start
        body = json.dumps({"backend": getattr(self.server, "called", ""), "path": path, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    called = ""


@contextmanager
def serving(names: list[str]) -> Iterator[dict[str, int]]:
    """A server for each name; yields their ports."""
    with ExitStack() as stack:
        ports = {}
        for name in names:
            server = stack.enter_context(_Server((LOOPBACK, 0), _Echo))
            server.called = name
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            stack.callback(thread.join, 5)
            stack.callback(server.shutdown)
            ports[name] = server.server_address[1]
        yield ports
