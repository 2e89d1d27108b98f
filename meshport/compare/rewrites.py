"""What a rewrite does to the path of the requests that a match takes, in words that do not depend on who wrote it.

A VirtualService replaces the characters that its match looks at, a route of the Gateway API whole path elements, and either is also written as a regular
expression. https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRewrite, https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier
"""

from __future__ import annotations

import re
from dataclasses import replace

from meshport.dialects.gateway_api.patterns import path_key
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact
from meshport.ir.routing import Filter, RouteMatch, RouteRule

_LITERAL = re.compile(r"(?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9])*")


def parted(rule: RouteRule, match: RouteMatch) -> list[RouteMatch]:
    """A match as those of which a redirect to another prefix of path elements makes different paths: the prefix itself, and what is below it."""
    redirect = rule.filter("redirect")
    pattern = match.path.value if match.path is not None else Pattern("segments", "/")
    if redirect is None or redirect.part("prefix") is None or pattern.kind != "segments":
        return [match]
    path = match.path or Fact(pattern)
    text = pattern.text.rstrip("/")
    return [replace(match, path=path.holding(one)) for one in (Pattern("exact", text or "/"), Pattern("prefix", text + "/"))]


Operation = tuple[str, str, str]
"""What is done: `whole`, `characters`, `elements` or `expression`, what it replaces, and what comes in its place."""


def described(item: Filter, match: RouteMatch, narrow: RouteMatch | None = None) -> dict[str, str]:
    """The new authority, and what becomes of the path; of the requests of `narrow` alone, where that is given."""
    authority = item.part("authority")
    out = {"authority": str(authority.value)} if authority is not None else {}
    asked = (narrow or match).path
    new = item.part("prefix")
    if item.kind == "redirect" and new is not None and match is not narrow and asked is not None and asked.value.kind == "exact":
        return {**out, "path": f"becomes {new.value or '/'}"}  # the prefix alone is not put together with anything
    path = _text(_operation(item, match), asked.value.text if asked is not None and asked.value.kind == "exact" else None)
    if path:
        out["path"] = path
    return out


def _operation(item: Filter, match: RouteMatch) -> Operation | None:
    parts = {name: str(fact.value) for name, fact in item.parts}
    pattern = match.path.value if match.path is not None else Pattern("prefix" if "uri" in parts else "segments", "/")
    if item.kind == "redirect":
        new = parts.get("path", parts.get("prefix", ""))
        return ("whole", "", new) if "path" in parts else _replaced(pattern, new) if "prefix" in parts else None
    if "uri" in parts:
        return _replaced(pattern, parts["uri"])
    if "uriRegexRewrite.match" in parts:
        return _by_expression(pattern, parts["uriRegexRewrite.match"], parts.get("uriRegexRewrite.rewrite", ""))
    return None


def _replaced(pattern: Pattern, new: str) -> Operation:
    """The path elements or the characters of a prefix, or the whole path of any other match."""
    old = pattern.text or "/"
    if pattern.kind not in ("prefix", "segments"):
        return "whole", "", new
    if pattern.kind == "segments":
        return "elements", old.rstrip("/"), new.rstrip("/")
    return ("elements", old.rstrip("/"), new.rstrip("/")) if old.endswith("/") and new.endswith("/") else ("characters", old, new)


def _by_expression(pattern: Pattern, expression: str, new: str) -> Operation:
    if expression in ("^.*$", "/.*", "^/.*$", ".*") and "\\" not in new:
        return "whole", "", new
    stem = expression.removesuffix("/?") if new == "/" else expression
    literal = stem.removeprefix("^")
    if stem.startswith("^") and _LITERAL.fullmatch(literal):
        old = re.sub(r"\\(.)", r"\1", literal)
        whole = stem != expression or not new.endswith("/")
        if whole and (not old or _of_elements(pattern, old) or (pattern.kind == "exact" and _below(pattern.text, old))):
            return "elements", old, "" if stem != expression else new
        if stem == expression and pattern.kind in ("prefix", "exact") and pattern.text.startswith(old):
            return "characters", old, new
    return "expression", expression, new


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _text(operation: Operation | None, exact: str | None) -> str:
    """The operation in words; for one path alone what becomes of it."""
    if operation is None:
        return ""
    what, old, new = operation
    if exact is not None and what != "expression":
        found = new if what == "whole" else (new + exact[len(old) :] or "/") if exact.startswith(old) else exact
        return f"becomes {found}" if found != exact else ""
    if what == "whole":
        return f"becomes {new}"
    if old == new:
        return ""
    return f"has {new or '/'} for the {what} {old or '/'}"


def _of_elements(pattern: Pattern, prefix: str) -> bool:
    """Whether a match takes the paths that begin with whole elements, however it is written."""
    return (pattern.kind == "segments" and pattern.text.rstrip("/") == prefix) or (
        pattern.kind == "regex" and path_key(pattern) == path_key(Pattern("segments", prefix))
    )
