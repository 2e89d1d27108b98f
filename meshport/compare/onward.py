"""A request as it leaves the client's proxy, and what the proxy answers by itself: rewrites, changes of headers, redirects. It knows no mesh.

What a rewrite comes to is Envoy's, which Istio, Cilium and the Gateway API's implementations write their rules for:
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto (prefix_rewrite, regex_rewrite, RedirectAction).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshport.compare.request import Request
from meshport.ir.authorization import Pattern
from meshport.ir.routing import Filter, RouteMatch, RouteRule
from meshport.values.ports import is_number

_DEFAULT_PORTS = ("80", "443")  # left out where the scheme changes


def rewritten(request: Request, match: RouteMatch, rule: RouteRule, *, raw: bool) -> Request:
    """The request as the rule sends it on, where `match` took it: the pods judge the path, the host and the headers that arrive."""
    target, host = request.target(raw), request.host
    rewrite = rule.filter("rewrite")
    if rewrite is not None:
        target = _path(target, match, rewrite)
        named = rewrite.part("hostname") or rewrite.part("authority")
        host = str(named.value) if named is not None else host
    return replace(request, path=target, host=host, headers=_headers(request, rule))


def _headers(request: Request, rule: RouteRule) -> Mapping[str, tuple[str, ...]]:
    """The headers after the changes of the rule: what is taken away goes before anything is added."""
    headers = dict(request.headers)
    parts = [(name, fact) for item in rule.filters if item.kind == "request-headers" for name, fact in item.parts]
    for name, fact in sorted(parts, key=lambda part: not part[0].startswith("remove:")):
        action, _, header = name.partition(":")
        value = str(fact.value).replace("%%", "%")
        if action == "remove":
            headers.pop(header, None)
        elif action == "set":
            headers[header] = (value,)
        elif action == "add":
            headers[header] = (*headers.get(header, ()), value)
    return headers


def _path(target: str, match: RouteMatch, rewrite: Filter) -> str:
    """The path with its query after a rewrite: as a whole, by an expression, or the prefix that the match looked at."""
    bare, mark, query = target.partition("?")
    whole, expression = rewrite.part("path"), rewrite.part("uriRegexRewrite.match")
    if whole is not None:
        return str(whole.value) + mark + query
    if expression is not None:
        new = rewrite.part("uriRegexRewrite.rewrite")
        return _substituted(bare, str(expression.value), str(new.value) if new is not None else "") + mark + query
    prefix = rewrite.part("prefix") or rewrite.part("uri")
    if prefix is None:
        return target
    every = Pattern("segments" if rewrite.part("prefix") is not None else "prefix", "/")  # as the Gateway API and as Envoy has it
    return _prefixed(bare, match.path.value if match.path is not None else every, str(prefix.value)) + mark + query


def _prefixed(bare: str, matched: Pattern, new: str) -> str:
    """The path with another prefix; the whole of it where the match is on the whole of it."""
    if matched.kind == "segments" and bare.startswith(stem := matched.text.rstrip("/")):
        return new.rstrip("/") + bare[len(stem) :] if bare != stem else new or "/"
    if matched.kind == "prefix" and bare.startswith(matched.text):
        return new + bare[len(matched.text) :]
    return new


def _substituted(bare: str, expression: str, new: str) -> str:
    """Every place that an expression of RE2 matches replaced, `\\1` in the new text being what its first group took; as it was where it is none."""
    try:
        return re.sub(expression, lambda found: re.sub(r"\\(\d)", lambda group: found[int(group[1])] or "", new), bare)
    except (re.error, IndexError):
        return bare


def answered(request: Request, match: RouteMatch, rule: RouteRule, *, raw: bool) -> dict[str, Any]:
    """What the proxy answers by itself: `status`, and `location` where it redirects."""
    direct = rule.filter("direct-response")
    redirect = rule.filter("redirect")
    if redirect is None:
        status = direct.part("status") if direct is not None else None
        return {"status": status.value if status is not None else None}
    said = {name: str(fact.value) for name, fact in redirect.parts}
    return {"status": int(said["code"]) if is_number(said.get("code", "")) else None, "location": _location(request, match, said, raw)}


def _location(request: Request, match: RouteMatch, said: Mapping[str, str], raw: bool) -> str:
    """Where a redirect leads: what it does not name stays as the request had it (the Service's name, where it names no host), in plain HTTP as proxies of a mesh
    see it."""
    bare, mark, query = request.target(raw).partition("?")
    scheme = said.get("scheme", "http")
    host, _, port = (request.host or request.service or "").partition(":")
    if "hostname" in said:
        host, _, port = said["hostname"].partition(":")
    port = said.get("port", port if scheme.lower() == "http" or port not in _DEFAULT_PORTS else "")
    path = bare
    if "path" in said:
        path = said["path"]
    elif "prefix" in said:
        path = _prefixed(bare, match.path.value if match.path is not None else Pattern("prefix", "/"), said["prefix"])
    return f"{scheme}://{host}{f':{port}' if port else ''}{path}" + ("" if "?" in path else mark + query)
