"""What the IR says of strings, as Envoy's matchers. https://www.envoyproxy.io/docs/envoy/latest/api-v3/type/matcher/v3/string.proto"""

from __future__ import annotations

import re

from meshport.ir.authorization import Pattern

from .proxy import Obj


class Unrendered(Exception):
    """Something that Envoy has no words for, or that is not rendered here: it is not compared."""


def text(pattern: Pattern) -> Obj:
    """A StringMatcher."""
    kind, value = pattern.kind, pattern.text
    if kind == "exact":
        return {"exact": value}
    if kind in ("prefix", "suffix") and value:
        return {kind: value}
    if kind in ("any", "prefix", "suffix"):
        return expression(r"(?s:.*)")
    if kind in ("regex", "rust-regex"):
        return expression(value)
    if kind == "segments":
        stem = value.rstrip("/")
        return expression(f"{re.escape(stem)}(?:/(?s:.*))?" if stem else "(?s:.*)")
    raise Unrendered(f"a pattern of kind {kind}")


def expression(regex: str) -> Obj:
    """A StringMatcher that takes what a regular expression matches as a whole."""
    return {"safe_regex": {"regex": regex}}


def header(name: str, pattern: Pattern) -> Obj:
    """A HeaderMatcher."""
    if pattern.kind == "absent":
        return {"name": name, "present_match": True, "invert_match": True}
    if pattern.kind == "any":
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": text(pattern)}
