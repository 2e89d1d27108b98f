"""What an Envoy route does with a request, both directions: changes of headers, rewrites, redirects; and what is read of answers of its own and of copies.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto fixes the meaning. What is not read here raises `Other`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.patterns import full_regex
from meshport.dialects.output import Obj, Path
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact
from meshport.ir.routing import Filter, RouteMatch

ANSWERS = {"MOVED_PERMANENTLY": 301, "FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}
"""The words of a redirect's `response_code`; the first is the default."""
ACTIONS = {"OVERWRITE_IF_EXISTS_OR_ADD": "set", "APPEND_IF_EXISTS_OR_ADD": "add"}
"""What becomes of a header that is there already; the second is the default."""
SHARES = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
HEADERS = {"request-headers": "request_headers_to", "response-headers": "response_headers_to"}
_WORDS = {code: word for word, code in ANSWERS.items()}
_HOW = {action: word for word, action in ACTIONS.items()}
_FEATURES = {"request-headers": "header.request", "response-headers": "header.response"}


class Other(Exception):
    """Something of Envoy's that is not read here."""


def only(place: Cursor, *keys: str) -> None:
    """Raise where a place has any other key."""
    if not set(place.keys()) <= set(keys):
        raise Other


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
        parts.append(("percent", Fact(percent(share), share.src, "mirror.percentage")))
    return Filter("mirror", tuple(parts))


def percent(fraction: Cursor) -> float:
    """The share of the requests that a `runtime_fraction` is for, in percent."""
    only(fraction, "default_value")
    only(fraction.at("default_value"), "numerator", "denominator")
    over, under = fraction.number_at("default_value", "numerator"), fraction.text("default_value", "denominator")
    whole = SHARES.get(under.value if under is not None else "HUNDRED")
    if over is None or whole is None:
        raise Other
    return float(Fraction(over.value, whole) * 100)


# -- lowering


def write_headers(obj: Obj, path: Path, item: Filter) -> None:
    stem, seen = HEADERS[item.kind], {"add": 0, "remove": 0}
    for what, fact in item.parts:
        action, _, name = what.partition(":")
        kind = "remove" if action == "remove" else "add"
        place: Path = (*path, f"{stem}_{kind}", seen[kind])
        seen[kind] += 1
        if kind == "remove":
            obj.set(place, name, fact)
        else:
            obj.set(place, {"header": {"key": name, "value": str(fact.value)}, "append_action": _HOW[action]}, fact)


def write_redirect(obj: Obj, path: Path, item: Filter, match: RouteMatch) -> None:
    keys = {
        "path": "path_redirect",
        "prefix": "prefix_rewrite",
        "hostname": "host_redirect",
        "scheme": "scheme_redirect",
        "port": "port_redirect",
    }
    for name, key in keys.items():
        if (fact := item.part(name)) is not None:
            obj.set((*path, key), fact.value, fact)
    code = item.part("code")
    if code is not None:
        obj.set((*path, "response_code"), _WORDS[code.value], code, *(fact for _, fact in item.parts))


def write_rewrite(obj: Obj, path: Path, item: Filter, match: RouteMatch) -> None:
    """Envoy puts the new prefix in the place of what was matched; a whole path it replaces by an expression, unless the whole of it was matched."""
    host, whole, new = item.part("authority") or item.part("hostname"), item.part("path"), item.part("uri") or item.part("prefix")
    if host is not None:
        obj.set((*path, "host_rewrite_literal"), host.value, host)
    before, after = item.part("uriRegexRewrite.match"), item.part("uriRegexRewrite.rewrite")
    if before is not None and after is not None:
        obj.set((*path, "regex_rewrite", "pattern", "regex"), before.value, before)
        obj.set((*path, "regex_rewrite", "substitution"), after.value, after)
    kind = match.path.value.kind if match.path is not None else "prefix"
    if whole is not None and kind in ("prefix", "segments"):
        obj.set((*path, "regex_rewrite", "pattern", "regex"), "^/.*$", whole)
        obj.set((*path, "regex_rewrite", "substitution"), str(whole.value).replace("\\", "\\\\"), whole)
    elif whole is not None:
        obj.set((*path, "prefix_rewrite"), whole.value, whole)
    elif (
        new is not None
        and kind == "segments"
        and match.path is not None
        and str(new.value) in ("", "/")
        and match.path.value.text.strip("/")
    ):
        stem = full_regex(Pattern("exact", match.path.value.text.rstrip("/")))
        obj.set((*path, "regex_rewrite", "pattern", "regex"), f"^{stem}/?", new, match.path)
        obj.set((*path, "regex_rewrite", "substitution"), "/", new)
    elif new is not None:
        obj.set((*path, "prefix_rewrite"), new.value, new)
