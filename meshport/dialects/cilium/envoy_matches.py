"""What an Envoy route asks of a request, both directions: path, method, headers that it has and has not, host, query.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto fixes the meaning. Istio hands `authority` and `withoutHeaders` to
Envoy in these very words (TranslateRouteMatch of pilot/pkg/networking/core/route/route.go in istio/istio). What is not read here raises `Other`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshport.dialects.cilium.envoy_actions import Other, only
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.patterns import folded, full_regex
from meshport.dialects.output import Obj, Path
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Src
from meshport.ir.routing import RouteMatch

AUTHORITY, WITHOUT = "authority", "withoutHeaders"
PATHS = {"prefix": "prefix", "path": "exact", "path_separated_prefix": "segments"}
_STRINGS = {"exact": "exact", "prefix": "prefix"}
_FORMS = ("exact", "prefix", "regex")


# -- lift


def match_of(place: Cursor, *others: str) -> RouteMatch:
    """The match of a route; keys of `others` are read elsewhere."""
    only(place, *PATHS, "safe_regex", "headers", "query_parameters", "case_sensitive", *others)
    path: Fact[Pattern] | None = None
    for key, kind in PATHS.items():
        if (text := place.text(key)) is not None:
            path = Fact(Pattern(kind, text.value), text.src, "routing.match.path")
    if place.at("safe_regex"):
        path = _regex(place.at("safe_regex"), "routing.match.path")
    if place.at("case_sensitive"):
        path = _folded(path, place.at("case_sensitive"))
    headers: list[tuple[str, Fact[Pattern]]] = []
    without: dict[str, dict[str, str]] = {}
    other: list[tuple[str, Fact[Any]]] = []
    method, because = None, frozenset[int]()
    for item in place.each("headers"):
        only(
            item,
            "name",
            "string_match",
            "present_match",
            "exact_match",
            "safe_regex_match",
            "invert_match",
            "treat_missing_header_as_empty",
        )
        name = item.text("name")
        if name is None:
            raise Other
        known = item.at("present_match").value is not False  # false asks for absence
        negative = (item.at("invert_match").value is True) == known
        fact = _demand(item, name, "routing.match.without-headers" if negative else "routing.match.headers")
        key = name.value.lower()
        if negative:
            if key.startswith(":") or key in without:
                raise Other
            without[key], because = _form(fact.value), because | item.src
            if fact.value.kind != "any" and item.at("treat_missing_header_as_empty").value is not True:
                headers.append((key, Fact(Pattern("any"), item.src, "routing.match.headers")))
        elif item.at("treat_missing_header_as_empty").value is True:
            raise Other
        elif key == ":method":
            method = fact
        elif key == ":authority" and all(taken != AUTHORITY for taken, _ in other):
            other.append((AUTHORITY, Fact(_form(fact.value), fact.src, "routing.match.authority")))
        elif key.startswith(":"):
            raise Other
        else:
            headers.append((key, fact))
    if without:
        other.append((WITHOUT, Fact(without, because, "routing.match.without-headers")))
    query = tuple(sorted((_parameter(item) for item in place.each("query_parameters")), key=lambda pair: pair[0]))
    return RouteMatch(path, method, tuple(sorted(headers, key=lambda pair: pair[0])), query, tuple(other), src=place.src)


def _folded(path: Fact[Pattern] | None, said: Cursor) -> Fact[Pattern] | None:
    """A path that is compared without regard to case, where `case_sensitive` is false; a regular expression is compared as it stands."""
    if path is None or path.value.kind == "regex":
        return path
    if said.value is not False:
        return path.also(said.src)
    if path.value.kind == "segments":
        raise Other
    return path.map(folded).also(said.src)


def _parameter(place: Cursor) -> tuple[str, Fact[Pattern]]:
    name = place.text("name")
    only(place, "name", "string_match", "present_match")
    if name is None or place.at("present_match").value is False:
        raise Other
    return name.value, _demand(place, name, "routing.match.query")


def _demand(place: Cursor, name: Fact[str], feature: str) -> Fact[Pattern]:
    """What is asked of a value."""
    if place.at("present_match"):
        return Fact(Pattern("any"), place.src, feature)
    if (text := place.text("exact_match")) is not None:
        return Fact(Pattern("exact", text.value), place.src, feature)
    string = place.at("string_match")
    if string:
        only(string, *_STRINGS, "safe_regex")
    for key, kind in _STRINGS.items():
        if (text := string.text(key)) is not None:
            return Fact(Pattern(kind, text.value), place.src, feature)
    return _regex(string.at("safe_regex") or place.at("safe_regex_match"), feature).also(name)


def _regex(place: Cursor, feature: str) -> Fact[Pattern]:
    if not place:
        raise Other
    only(place, "regex", "google_re2")
    text = place.text("regex")
    if text is None:
        raise Other
    return Fact(Pattern("regex", text.value), place.src, feature)


def _form(pattern: Pattern) -> dict[str, str]:
    """A pattern as a StringMatch of Istio, the form that the IR has of these demands."""
    return {} if pattern.kind == "any" else {pattern.kind: pattern.text}


# -- lowering


def sayable(name: str, value: Any) -> bool:
    """Whether a demand that no route of the Gateway API has a form for is one that an Envoy route makes."""
    forms = [value] if name == AUTHORITY else list(value.values()) if name == WITHOUT and isinstance(value, Mapping) else [None]
    names = [] if name == AUTHORITY or not isinstance(value, Mapping) else list(value)
    strings = all(
        isinstance(one, Mapping) and len(one) < 2 and all(key in _FORMS and isinstance(text, str) for key, text in one.items())
        for one in forms
    )
    return strings and not any(str(key).startswith((":", "@")) for key in names)


def demanded(match: RouteMatch) -> Iterator[tuple[str, Fact[Pattern], bool]]:
    """Name and pattern of the headers that a match asks for, and whether a request must not have them."""
    if match.method is not None:
        yield ":method", match.method, False
    for name, fact in match.headers:
        yield name, fact, False
    for what, said in match.others:
        if what == AUTHORITY:
            yield ":authority", said.map(_pattern), False
        elif what == WITHOUT:
            for name, form in said.value.items():
                yield name, said.holding(_pattern(form)), True


def _pattern(form: Mapping[str, str]) -> Pattern:
    """A StringMatch of Istio; empty, and the expression `*`, are presence."""
    kind, text = next(iter(form.items()), ("any", ""))
    return Pattern("any") if (kind, text) == ("regex", "*") else Pattern(kind, text)


def write_match(obj: Obj, path: Path, match: RouteMatch, root: Src) -> None:
    pattern = match.path.value if match.path is not None else Pattern("prefix", "/")
    because = (match.path,) if match.path is not None else (root,)
    key, value = {"exact": "path", "prefix": "prefix", "segments": "path_separated_prefix"}.get(pattern.kind), pattern.text
    if pattern.kind == "any" or (pattern.kind in ("prefix", "segments") and not pattern.text.strip("/")):
        key, value = "prefix", "/"
    elif pattern.kind == "segments":
        value = pattern.text.rstrip("/")
        if "?" in value or "#" in value:
            key = None
    if key is None:
        obj.set((*path, "safe_regex", "regex"), full_regex(pattern), *because)
    else:
        obj.set((*path, key), value, *because)
    for number, (name, fact, negative) in enumerate(demanded(match)):
        place: Path = (*path, "headers", number)
        _write_demand(obj, place, name, fact)
        if negative:
            obj.set((*place, "invert_match"), True, fact)
            if fact.value.kind != "any":
                obj.set((*place, "treat_missing_header_as_empty"), True, fact)
    for number, (name, fact) in enumerate(match.query):
        _write_demand(obj, (*path, "query_parameters", number), name, fact)


def _write_demand(obj: Obj, path: Path, name: str, fact: Fact[Pattern]) -> None:
    obj.set((*path, "name"), name, fact)
    pattern = fact.value
    if pattern.kind == "any":
        obj.set((*path, "present_match"), True, fact)
    elif pattern.kind == "exact" or (pattern.kind == "prefix" and pattern.text):
        obj.set((*path, "string_match", pattern.kind), pattern.text, fact)
    else:
        obj.set((*path, "string_match", "safe_regex", "regex"), full_regex(pattern) or "^$", fact)
