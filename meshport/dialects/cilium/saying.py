"""Conditions on HTTP requests in the words of a CiliumNetworkPolicy: regular expressions (RE2) that match a whole value, headers by presence or value.

A path there is what was sent after normalising, with the query; every other mesh compares it without. So what a pattern leaves open must not reach into the
query, and the query itself is let through (docs.cilium.io, security/policy/layer7; Cilium reference 2.6).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from meshport.effective.pieces import TOKENS, Piece, language_of
from meshport.effective.sets import Methods, Value
from meshport.ir.authorization import Pattern
from meshport.values import programs
from meshport.values.language import BARE_PATHS, PATHS, TEXT, Language, LanguageTooLarge, union
from meshport.values.problems import ValueProblem

QUERY = r"(\?.*)?"
MOST_PATHS = 16  # expressions for the paths of one rule, where one would be too large
_ASKED = Language.regex(r"(?s).*\?.*")
_PRESENT = Language.present()


class Unsaid(ValueError):
    """Something that no rule can demand; its text says what."""


def escaped(text: str) -> str:
    """A text as the RE2 expression that matches just it."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def requests(piece: Piece) -> list[dict[str, Any]]:
    """The `http` rules that together take the requests of a piece; [] where it takes every request. Raises Unsaid."""
    if piece.any_request:
        return []
    if piece.literals:
        raise Unsaid(piece.conditions())
    if piece.query.by_name:
        raise Unsaid(f"the query parameter {piece.query.by_name[0][0]}")
    headers = [_header(name, value) for name, value in piece.headers.by_name]
    found = []
    for method in _methods(piece.methods):
        for path in _paths(piece):
            for host in _hosts(piece.host):
                entry: dict[str, Any] = {}
                if method is not None:
                    entry["method"] = method
                if path is not None:
                    entry["path"] = path
                if host is not None:
                    entry["host"] = host
                if headers:
                    entry["headerMatches"] = headers
                found.append(entry)
    return found


def _methods(methods: Methods) -> list[str | None]:
    if methods.every:
        return [None]
    if not methods.inverted:
        return list(methods.listed())
    found = (TOKENS - union(*map(Language.exact, sorted(methods.names)))).to_regexes(fits, MOST_PATHS)
    if found is None:
        raise Unsaid(f"{methods} in regular expressions that are few and small enough for Cilium's Envoy")
    return list(found)


def _header(name: str, value: Value) -> dict[str, str]:
    if value.outside is not None:
        raise Unsaid(f"the header {name} without certain values")
    if value.inside is None or value.inside.same(_PRESENT):
        return {"name": name}
    text = value.inside.is_finite_exact()
    if text is None:
        raise Unsaid(f"the header {name} by anything but one exact value{_shown(value.inside)}")
    if not text:
        raise Unsaid(f"the header {name} with an empty value")
    return {"name": name, "value": text}


def _shown(language: Language) -> str:
    """The one form of a value in brackets; "" where it has none, or several."""
    try:
        forms = language.as_patterns(TEXT)
    except LanguageTooLarge:
        forms = None
    return f" ({forms[0][0]} {forms[0][1]})" if forms and len(forms) == 1 else ""


def _hosts(host: Language | None) -> list[str | None]:
    if host is None:
        return [None]
    try:
        forms = host.as_patterns(Language.any())
    except LanguageTooLarge:
        forms = None
    made: dict[str, Callable[[str], str]] = {  # `:authority` as it was sent, with its port, as Istio compares it
        "exact": escaped,
        "prefix": lambda text: escaped(text) + ".*",
        "suffix": lambda text: ".*" + escaped(text),
    }
    if not forms or any(kind not in made for kind, _ in forms):
        raise Unsaid("the host by anything but exact names, prefixes and suffixes")
    texts = [made[kind](text) for kind, text in forms]
    together = "(?i)" + (texts[0] if len(texts) == 1 else "(?:" + "|".join(texts) + ")")
    apart = [together] if fits(together) else ["(?i)" + text for text in texts]
    if not all(map(fits, apart)):
        raise Unsaid(f"a host in an expression of at most {programs.LARGEST} RE2 instructions, which is all that Cilium's Envoy takes")
    return list(apart)


def _paths(piece: Piece) -> list[str | None]:
    if piece.path is None:
        return [None]
    if piece.patterns is not None:
        patterns: Iterable[Pattern] = [fact.value for fact in piece.patterns]
        if any(pattern.kind == "any" for pattern in patterns):
            return [None]
        return list(dict.fromkeys(text for pattern in patterns for text in paths(pattern)))
    try:
        forms = piece.path.as_patterns(BARE_PATHS)
    except LanguageTooLarge:
        forms = None
    if forms:
        return [text for form in forms for text in paths(Pattern(*form))]
    return list(_spelt(piece.path))


def fits(text: str) -> bool:
    """Whether Cilium's Envoy takes an expression: it keeps Envoy's limit on the size of RE2's program, and where one rule is over it, the
    policies of the endpoint are not applied (github.com/cilium/cilium/issues/41314)."""
    try:
        return programs.size(text) <= programs.LARGEST
    except (ValueProblem, LanguageTooLarge):
        return False


def paths(pattern: Pattern) -> list[str]:
    """The expressions that together take a path of this pattern, whatever its query. Raises Unsaid."""
    found = _written(pattern)
    if all(map(fits, found)):
        return found
    try:
        return _spelt(language_of(pattern))
    except LanguageTooLarge:
        raise Unsaid(_too_large(pattern.text)) from None
    except Unsaid:
        raise Unsaid(_too_large(pattern.text)) from None


def _too_large(text: str) -> str:
    shown = text if len(text) <= 40 else text[:37] + "..."
    return f"the path {shown!r} in an expression of at most {programs.LARGEST} RE2 instructions, which is all that Cilium's Envoy takes"


def _written(pattern: Pattern) -> list[str]:
    kind, text = pattern.kind, pattern.text
    if kind == "any":
        return ["/.*"]
    if kind == "exact":
        return [escaped(text) + QUERY]
    if kind == "prefix":
        return [escaped(text) + ".*"]
    if kind == "suffix":
        return ["[^?]*" + escaped(text) + QUERY]
    if kind == "segments":
        stem = text.rstrip("/")
        return [escaped(stem) + "([/?].*)?" if stem else "/.*"]
    if kind == "template":
        return [_template(text)]
    language = language_of(pattern)
    try:
        forms = language.as_patterns(BARE_PATHS)
        if forms and len(forms) == 1:
            return _written(Pattern(*forms[0]))
        plain = language.pattern
        if plain is not None and not language.overlaps(_ASKED):
            return [_asked(plain)]
    except LanguageTooLarge:
        raise Unsaid(f"the path {text!r}") from None
    return _spelt(language)


def _template(text: str) -> str:
    parts = re.split(r"(\{\*\*?\})", text)
    while parts and not parts[-1]:
        parts.pop()
    out = ""
    for position, part in enumerate(parts):
        if part == "{**}":
            out += ".*" if position == len(parts) - 1 else "[^?]*"
        else:
            out += "[^/?]+" if part == "{*}" else escaped(part)
    return out if out.endswith(".*") else out + QUERY


def _spelt(language: Language) -> list[str]:
    """Any language of paths as expressions that stay in front of the query, none too large for the proxy."""
    try:
        found = (language & BARE_PATHS).to_regexes(_fits_asked, MOST_PATHS, PATHS)
    except LanguageTooLarge:
        found = None
    if found is None:
        raise Unsaid("the paths that are left in regular expressions that are few and small enough for Cilium's Envoy")
    return [_asked(text) for text in found]


def _fits_asked(text: str) -> bool:
    return fits(_asked(text))


def _asked(text: str) -> str:
    """An expression of paths with any query behind it."""
    return (f"(?:{text})" if _has_choices(text) else text) + QUERY


def _has_choices(text: str) -> bool:
    """Whether an expression is a choice as a whole, which the query would only follow in its last part."""
    depth = 0
    for token in re.findall(r"\\.|\[(?:\\.|[^\]\\])*\]|.", text, re.DOTALL):
        depth += (token == "(") - (token == ")")
        if token == "|" and not depth:
            return True
    return False


__all__ = ["Unsaid", "escaped", "fits", "paths", "requests"]
