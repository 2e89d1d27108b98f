"""What an Envoy route asks of a request and does with it, read: matches, changes of headers, rewrites, redirects, answers of the proxy's own and copies.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto fixes the meaning. What is not read here raises `Other`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact
from meshport.ir.routing import Filter, RouteMatch

PATHS = {"prefix": "prefix", "path": "exact", "path_separated_prefix": "segments"}
ANSWERS = {"MOVED_PERMANENTLY": 301, "FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}
"""The words of a redirect's `response_code`; the first is the default."""
ACTIONS = {"OVERWRITE_IF_EXISTS_OR_ADD": "set", "APPEND_IF_EXISTS_OR_ADD": "add"}
"""What becomes of a header that is there already; the second is the default."""
SHARES = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
HEADERS = {"request-headers": "request_headers_to", "response-headers": "response_headers_to"}
_FEATURES = {"request-headers": "header.request", "response-headers": "header.response"}
_STRINGS = {"exact": "exact", "prefix": "prefix"}


class Other(Exception):
    """Something of Envoy's that is not read here."""


def only(place: Cursor, *keys: str) -> None:
    """Raise where a place has any other key."""
    if not set(place.keys()) <= set(keys):
        raise Other


# -- matches


def match_of(place: Cursor) -> RouteMatch:
    only(place, *PATHS, "safe_regex", "headers", "query_parameters")
    path: Fact[Pattern] | None = None
    for key, kind in PATHS.items():
        if (text := place.text(key)) is not None:
            path = Fact(Pattern(kind, text.value), text.src, "routing.match.path")
    if place.at("safe_regex"):
        path = _regex(place.at("safe_regex"), "routing.match.path")
    headers, method = [], None
    for item in place.each("headers"):
        name, pattern = _header(item)
        if name == ":method":
            method = pattern
        else:
            headers.append((name, pattern))
    query = tuple(sorted((_parameter(item) for item in place.each("query_parameters")), key=lambda pair: pair[0]))
    return RouteMatch(path, method, tuple(sorted(headers, key=lambda pair: pair[0])), query, src=place.src)


def _header(place: Cursor) -> tuple[str, Fact[Pattern]]:
    name = place.text("name")
    only(place, "name", "string_match", "present_match", "exact_match", "safe_regex_match")
    if name is None or (name.value.startswith(":") and name.value != ":method"):
        raise Other
    return name.value.lower(), _demand(place, name, "routing.match.headers")


def _parameter(place: Cursor) -> tuple[str, Fact[Pattern]]:
    name = place.text("name")
    only(place, "name", "string_match", "present_match")
    if name is None:
        raise Other
    return name.value, _demand(place, name, "routing.match.query")


def _demand(place: Cursor, name: Fact[str], feature: str) -> Fact[Pattern]:
    """What is asked of a value."""
    if place.at("present_match").value is True:
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


# -- what is done


def headers_of(place: Cursor) -> list[Filter]:
    """What a route does to the headers of requests and of responses."""
    found = []
    for kind, stem in HEADERS.items():
        parts: list[tuple[str, Fact[Any]]] = []
        for item in place.each(f"{stem}_add"):
            only(item, "header", "append_action")
            only(item.at("header"), "key", "value")
            name, value, how = item.text("header", "key"), item.text("header", "value"), item.text("append_action")
            action = ACTIONS.get(how.value if how is not None else "APPEND_IF_EXISTS_OR_ADD")
            if name is None or value is None or action is None:
                raise Other
            parts.append((f"{action}:{name.value.lower()}", Fact(value.value, item.src, _FEATURES[kind])))
        parts += [(f"remove:{fact.value.lower()}", Fact(fact.value, fact.src, _FEATURES[kind])) for fact in place.strings(f"{stem}_remove")]
        if parts:
            found.append(Filter(kind, tuple(parts)))
    return found


def rewrite_of(action: Cursor, matched: RouteMatch) -> list[Filter]:
    """What becomes of the path and of the host. Envoy puts `prefix_rewrite` in the place of what the match took: a prefix, or the whole path."""
    parts: list[tuple[str, Fact[Any]]] = []
    new, host, regex = action.text("prefix_rewrite"), action.text("host_rewrite_literal"), action.at("regex_rewrite")
    if new is not None:
        if matched.path is not None and matched.path.value.kind == "segments" and new.value.endswith("/"):
            raise Other  # a second slash would follow
        parts.append(("uri", Fact(new.value, new.src, "routing.rewrite-path")))
    if regex:
        only(regex, "pattern", "substitution")
        only(regex.at("pattern"), "regex", "google_re2")
        pattern, text = regex.text("pattern", "regex"), regex.text("substitution")
        if pattern is None or text is None or new is not None:
            raise Other
        parts.append(("uriRegexRewrite.match", Fact(pattern.value, regex.at("pattern").src, "routing.rewrite-regex")))
        parts.append(("uriRegexRewrite.rewrite", Fact(text.value, text.src, "routing.rewrite-regex")))
    if host is not None:
        parts.append(("authority", Fact(host.value, host.src, "routing.rewrite-authority")))
    return [Filter("rewrite", tuple(parts))] if parts else []


def redirect_of(place: Cursor, matched: RouteMatch) -> list[Filter]:
    """Another place that clients are sent to."""
    if not place:
        return []
    names = {"path_redirect": "path", "prefix_rewrite": "prefix", "host_redirect": "hostname", "scheme_redirect": "scheme"}
    features = {"path": "routing.redirect-path", "prefix": "routing.redirect-path", "hostname": "routing.redirect-authority", "scheme": "routing.redirect-scheme"}  # fmt: skip
    only(place, *names, "https_redirect", "port_redirect", "response_code")
    parts: list[tuple[str, Fact[Any]]] = []
    for key, name in names.items():
        if (text := place.text(key)) is not None:
            parts.append((name, Fact(text.value, text.src, features[name])))
            if name == "prefix" and matched.path is not None and matched.path.value.kind == "segments" and text.value.endswith("/"):
                raise Other
    if place.at("https_redirect").value is True:
        parts.append(("scheme", Fact("https", place.at("https_redirect").src, features["scheme"])))
    if (port := place.number_at("port_redirect")) is not None:
        parts.append(("port", Fact(port.value, port.src, "routing.redirect-port")))
    word = place.text("response_code")
    code = ANSWERS.get(word.value) if word is not None else 301
    if code is None or (word is None and place.at("response_code")):
        raise Other
    feature = "routing.redirect-code" if code in (301, 302) else "routing.redirect-code-other"
    return [Filter("redirect", (*parts, ("code", Fact(code, word.src if word is not None else place.src, feature))))]


def answer_of(place: Cursor) -> list[Filter]:
    """An answer that the proxy gives by itself."""
    if not place:
        return []
    only(place, "status", "body")
    only(place.at("body"), "inline_string")
    status, body = place.number_at("status"), place.text("body", "inline_string")
    if status is None or (place.at("body") and body is None):
        raise Other
    parts: list[tuple[str, Fact[Any]]] = [("status", Fact(status.value, status.src, "routing.direct-response"))]
    if body is not None:
        parts.append(("body.string", Fact(body.value, body.src, "routing.direct-response")))
    return [Filter("direct-response", tuple(parts))]


def copy_of(place: Cursor, host: Fact[str], port: Fact[int] | None) -> Filter:
    """Where copies of requests go, and of how many; `host` and `port` are those of the cluster that is named."""
    only(place, "cluster", "runtime_fraction")
    parts: list[tuple[str, Fact[Any]]] = [("host", Fact(host.value, host.src, "mirror.destination"))]
    if port is not None:
        parts.append(("port", Fact(port.value, port.src, "mirror.destination")))
    if share := place.at("runtime_fraction"):
        only(share, "default_value")
        only(share.at("default_value"), "numerator", "denominator")
        over, under = share.number_at("default_value", "numerator"), share.text("default_value", "denominator")
        whole = SHARES.get(under.value if under is not None else "HUNDRED")
        if over is None or whole is None:
            raise Other
        parts.append(("percent", Fact(float(Fraction(over.value, whole) * 100), share.src, "mirror.percentage")))
    return Filter("mirror", tuple(parts))
