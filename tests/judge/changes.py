"""What routes do to a request beside choosing where it goes: rewrites, redirects, header changes, copies; from both ways of writing them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .http import split_path
from .outcome import Backend, Changes
from .world import Obj, Request


def of_gateway(rule: Obj, match: Obj, request: Request, mirrors: frozenset[tuple[Backend, float]]) -> Changes:
    """Of a rule of the Gateway API, for a request that `match` took."""
    path, authority, location = None, None, ()
    own, _ = split_path(request)
    found = match.get("path") or {}
    prefix = found.get("value", "/") if found.get("type", "PathPrefix") == "PathPrefix" else None
    for item in rule.get("filters") or []:
        if item["type"] == "URLRewrite":
            body = item["urlRewrite"]
            authority = body.get("hostname")
            path = _replaced(body.get("path"), own, prefix)
        elif item["type"] == "RequestRedirect":
            body = item["requestRedirect"]
            port = body.get("port")
            location = (
                str(body.get("statusCode", 302)),
                body.get("scheme"),
                body.get("hostname"),
                str(port) if port else None,
                _replaced(body.get("path"), own, prefix),
            )
    return Changes(path if path != own else None, authority, frozenset(_filters(rule.get("filters") or [])), mirrors, location)


def of_backend(backend: Backend, filters: Iterable[Obj]) -> set[tuple[str, ...]]:
    """Header changes for one backend alone."""
    return {(repr(sorted(backend[1])), *entry) for entry in _filters(filters)}


def _replaced(path: Obj | None, own: str, prefix: str | None) -> str | None:
    if not path:
        return None
    if path["type"] == "ReplaceFullPath":
        return str(path["replaceFullPath"])
    stem = (prefix or "/").rstrip("/")
    return str(path["replacePrefixMatch"]).rstrip("/") + own[len(stem) :] or "/"


def _filters(filters: Iterable[Obj]) -> set[tuple[str, ...]]:
    out: set[tuple[str, ...]] = set()
    for item in filters:
        side = {"RequestHeaderModifier": "request", "ResponseHeaderModifier": "response"}.get(item["type"])
        if side is None:
            continue
        body = item[f"{side}HeaderModifier"]
        for action in ("set", "add"):
            out |= {(side, action, entry["name"].lower(), str(entry["value"])) for entry in body.get(action) or []}
        out |= {(side, "remove", name.lower(), "") for name in body.get("remove") or []}
    return out


def headers_of(entry: Obj) -> set[tuple[str, ...]]:
    """Header changes as a VirtualService says them; `%%` is a percent sign."""
    out: set[tuple[str, ...]] = set()
    for side in ("request", "response"):
        body = (entry.get("headers") or {}).get(side) or {}
        for action in ("set", "add"):
            out |= {(side, action, name.lower(), str(value).replace("%%", "%")) for name, value in (body.get(action) or {}).items()}
        out |= {(side, "remove", name.lower(), "") for name in body.get("remove") or []}
    return out


def of_entry(entry: Obj, match: Obj, request: Request, mirrors: frozenset[tuple[Backend, float]], path: str) -> Changes:
    """Of an entry of a VirtualService, for a request that `match` took; `path` is the normalised one."""
    rewrite, redirect = entry.get("rewrite") or {}, entry.get("redirect")
    uri = match.get("uri") or {}
    prefix = uri.get("prefix", None if uri else "/")
    new: str | None = None
    if "uri" in rewrite:
        new = rewrite["uri"] + path[len(prefix) :] if prefix is not None else rewrite["uri"]
    elif "uriRegexRewrite" in rewrite:
        new = re.sub(rewrite["uriRegexRewrite"]["match"], rewrite["uriRegexRewrite"]["rewrite"], path)
    location: tuple[str | None, ...] = ()
    if redirect is not None:
        target = redirect.get("uri") or None
        if redirect.get("prefixRewrite"):
            target = redirect["prefixRewrite"] + path[len(prefix) :] if prefix is not None else redirect["prefixRewrite"]
        host, _, port = (redirect.get("authority") or "").partition(":")
        number = redirect.get("port") or port
        location = (str(redirect.get("redirectCode") or 301), redirect.get("scheme"), host or None, str(number) if number else None, target)
    return Changes(new if new != path else None, rewrite.get("authority"), frozenset(headers_of(entry)), mirrors, location)
