"""One request to a listener on loopback, as it stands, and what came back."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse

from .proxy import LOOPBACK

_SENT = re.compile(r"/[!-\"$-~]*")  # what a request line can carry: no fragment, no spaces
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def sendable(method: str, path: str, host: str, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether HTTP/1.1 can carry a request: others are not compared."""
    texts = [host, *(value for _, value in headers)]
    return bool(method in _METHODS and _SENT.fullmatch(path) and all(re.fullmatch(r"[!-~]([ -~]*[!-~])?", text) for text in texts))


def ask(port: int, method: str, path: str, host: str, headers: Iterable[tuple[str, str]], proxied: str = "") -> Answer:
    """Send a request and read the answer. `proxied` is a line of the PROXY protocol before it."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers), "connection: close", "", ""]
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall((proxied + "\r\n".join(lines)).encode("ascii"))
        answer = HTTPResponse(connection, method=method)
        try:
            answer.begin()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            answer.close()
