"""Prefixes whose case is ignored, and what `rewrite.uri` of a VirtualService replaces beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.patterns import quote
from meshport.ir.base import Fact


def past_folded(place: Cursor, parts: Iterable[tuple[str, Fact[Any]]]) -> Iterator[tuple[str, Fact[Any]]]:
    """What is rewritten, of a rule with a prefix whose case is ignored: Envoy puts the new path in place of the prefix, in whatever case it came (`case_sensitive`
    and `prefix_rewrite` of a route), where the expression that stands here for such a prefix would take the whole path with it."""
    matches = place.each("match")
    folded = [fold.src for item in matches if (fold := item.get("ignoreUriCase", bool)) and fold.value and item.text("uri", "prefix")]
    for name, fact in parts:
        if name == "uri" and folded and isinstance(fact.value, str):
            found = fact.holding(f"^(?:{'|'.join(map(_replaced, matches))})").also(*folded, *(item.at("uri").src for item in matches))
            yield "uriRegexRewrite.match", replace(found, feature="routing.rewrite-regex")
            yield "uriRegexRewrite.rewrite", replace(fact.holding(fact.value.replace("\\", "\\\\")), feature="routing.rewrite-regex")
        else:
            yield name, fact


def _replaced(match: Cursor) -> str:
    """The part of a path that `rewrite.uri` replaces, as an expression."""
    fold = match.get("ignoreUriCase", bool)
    ignored = "(?i:" if fold is not None and fold.value else "(?:"
    if prefix := match.text("uri", "prefix"):
        return f"{ignored}{quote(prefix.value)})"
    if exact := match.text("uri", "exact"):
        return f"{ignored}{quote(exact.value)})$"
    regex = match.text("uri", "regex")
    return f"(?:{regex.value})$" if regex is not None else "/"
