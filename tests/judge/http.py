"""HTTP details that both judges need: paths, queries, headers, durations, addresses."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from urllib.parse import parse_qsl

from .world import Request, Undecided

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_GO = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNRESERVED = re.compile(r"%([0-9A-Fa-f]{2})")


def split_path(request: Request) -> tuple[str, str]:
    """Raw path and query of a request; a fragment never travels."""
    path, _, query = str(request.get("path") or "/").partition("#")[0].partition("?")
    return path, query


def normalized(path: str) -> str:
    """Istio's BASE normalisation: unreserved characters decoded, backslashes turned, dot segments resolved, slashes not merged."""

    def decode(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char.isascii() and (char.isalnum() or char in "-._~") else match[0]

    parts = _UNRESERVED.sub(decode, path).replace("\\", "/").split("/")[1:]
    out: list[str] = []
    for i, part in enumerate(parts):
        if part not in {".", ".."}:
            out.append(part)
            continue
        if part == ".." and out:
            out.pop()
        if i == len(parts) - 1:
            out.append("")
    return "/" + "/".join(out)


def query_values(request: Request, name: str) -> list[str]:
    return [v for k, v in parse_qsl(split_path(request)[1], keep_blank_values=True) if k == name]


def header(request: Request, name: str, *, path: str | None = None) -> str | None:
    """A header by its case-insensitive name, pseudo headers included; `path` replaces what `:path` shows before the query."""
    name = name.lower()
    if name == ":method":
        return str(request.get("method") or "GET")
    if name in {":authority", "host"}:
        return request.get("host")
    if name == ":path":
        raw, query = split_path(request)
        return (raw if path is None else path) + ("?" + query if query else "")
    for key, value in (request.get("headers") or {}).items():
        if key.lower() == name:
            return ",".join(value) if isinstance(value, list) else str(value)
    return None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except re.error as error:
        raise Undecided(f"regular expression {pattern!r}: {error}") from error


def re2_full(pattern: str, text: str) -> bool:
    """RE2's full match: any way of matching will do."""
    return _compiled(pattern).fullmatch(text) is not None


def rust_whole(pattern: str, text: str) -> bool:
    """Linkerd's regular expressions: the leftmost-first find must happen to span the whole text."""
    found = _compiled(pattern).search(text)
    return found is not None and found.span() == (0, len(text))


def found(pattern: str, text: str) -> bool:
    """Whether a regular expression occurs anywhere."""
    return _compiled(pattern).search(text) is not None


def go_duration(text: str) -> int | None:
    """Nanoseconds of a Go duration, None if it is none."""
    text = str(text).strip()
    if text in {"0", "-0", "+0"}:
        return 0
    if not re.fullmatch(rf"[-+]?(?:{_GO.pattern})+", text):
        return None
    total = sum((Fraction(n.rstrip(".") or "0") if not n.startswith(".") else Fraction("0" + n)) * _UNITS[u] for n, u in _GO.findall(text))
    return int(-total if text.startswith("-") else total)


def annotation_duration(text: str) -> int | None:
    """Nanoseconds in the grammar of Linkerd's annotations: one integer and one unit."""
    text = str(text).strip()
    if text == "0":
        return 0
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def in_network(ip: str, cidr: str) -> bool:
    address, network = ipaddress.ip_address(ip), ipaddress.ip_network(cidr, strict=False)
    return address.version == network.version and address in network


def in_networks(ip: str | None, cidrs: Iterable[str]) -> bool:
    if ip is None:
        raise Undecided("the request has no source address")
    return any(in_network(ip, c) for c in cidrs)


def split_host(host: str | None) -> str | None:
    """A host without its port."""
    return None if host is None else re.sub(r":\d+$", "", host)


def protocol_of(request: Request) -> str:
    """`tcp` or `http`, the default; gRPC and HTTP/2 are HTTP."""
    return "tcp" if str(request.get("protocol") or "http").lower() in {"tcp", "tls"} else "http"


def claims_at(claims: Mapping[str, object] | None, path: Iterable[str]) -> list[str]:
    """The string values of a claim, which may be a string or a list."""
    value: object = claims or {}
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, str)]
