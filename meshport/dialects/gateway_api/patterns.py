"""Patterns of matches: the texts that they take, and how a route of the Gateway API writes them."""

from __future__ import annotations

import re
from functools import lru_cache

from meshport.ir.authorization import Pattern
from meshport.values.language import BARE_PATHS, TEXT, Language
from meshport.values.problems import UnsupportedRegex, ValueProblem
from meshport.values.search import finds_whole

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_WORDS = re.compile(r"\^?(?:\(\?:|\()?([A-Z]+(?:\|[A-Z]+)*)\)?\$?")


def quote(text: str) -> str:
    """A literal inside a regular expression, for RE2 and Rust alike."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def folded(pattern: Pattern) -> Pattern:
    """A path or a prefix in whatever case it comes, as the expression that takes the same."""
    return Pattern("regex", f"(?i:{quote(pattern.text)}{'' if pattern.kind == 'exact' else '.*'})")


def language(pattern: Pattern) -> Language | None:
    """The texts of a pattern; None where it cannot be read (look-around, or too large)."""
    try:
        if pattern.kind == "regex":
            return Language.regex(pattern.text)
        if pattern.kind == "any":
            return Language.any()
        if pattern.kind in ("exact", "prefix", "suffix", "segments", "template"):
            made: Language = getattr(Language, pattern.kind)(pattern.text)
            return made
    except ValueProblem:
        return None
    return None


def path_key(pattern: Pattern | None) -> str:
    """A text that is equal for equal sets of paths; "" for every path."""
    return _key(pattern, BARE_PATHS)


def value_key(pattern: Pattern | None) -> str:
    """The same for the values of a header, a query parameter or a method."""
    return _key(pattern, TEXT)


def _key(pattern: Pattern | None, world: Language) -> str:
    if pattern is None:
        return ""
    found = language(pattern)
    try:
        if found is None:
            return f"regex {full_regex(pattern)}"
        if world is BARE_PATHS and every_path(pattern):
            return ""
        return found.key(world)
    except ValueProblem:
        return f"{pattern.kind} {bare(pattern.text) if pattern.kind == 'regex' else pattern.text}"


_ROOT = Language.prefix("/") & BARE_PATHS


@lru_cache(maxsize=1024)
def every_path(pattern: Pattern) -> bool:
    """Whether a path that starts with a slash is in it, whichever it is: all paths but the `*` of OPTIONS, which routes cannot ask for."""
    found = language(pattern)
    try:
        return found is not None and _ROOT.issubset(found)
    except ValueProblem:
        return False


def disjoint(one: Pattern, other: Pattern) -> bool:
    """Whether no text matches both; False also where that cannot be told."""
    quick = _quickly(one, other)
    if quick is not None:
        return quick == "apart"
    a, b = language(one), language(other)
    try:
        return a is not None and b is not None and not a.overlaps(b)
    except ValueProblem:
        return False


def within(one: Pattern, other: Pattern, *, path: bool = True) -> bool:
    """Whether every text of `one` is one of `other`; False also where that cannot be told."""
    if path and every_path(other):
        return True
    quick = _quickly(one, other)
    if quick is not None:
        return quick == "inside"
    a, b = language(one), language(other)
    try:
        return a is not None and b is not None and a.issubset(b, BARE_PATHS if path else TEXT)
    except ValueProblem:
        return False


def _quickly(one: Pattern, other: Pattern) -> str | None:
    """How two sets of texts lie to each other, where plain texts tell: apart, inside (the first in the second) or across."""
    if one == other:
        return "inside"
    one, other = _plain(one), _plain(other)
    if "regex" in (one.kind, other.kind):
        left, right = beginning(one), beginning(other)
        return None if left.startswith(right) or right.startswith(left) else "apart"
    if one.kind == "exact":
        if other.kind == "exact":
            return "apart"
        if other.kind == "prefix":
            return "inside" if one.text.startswith(other.text) else "apart"
        if other.kind == "segments":
            stem = other.text.rstrip("/")
            return "inside" if one.text == stem or one.text.startswith(stem + "/") else "apart"
        return None
    if one.kind == "prefix" and other.kind == "prefix":
        if one.text.startswith(other.text):
            return "inside"
        return "across" if other.text.startswith(one.text) else "apart"
    if other.kind == "exact":
        found = _quickly(other, one)
        return "across" if found == "inside" else found
    if {one.kind, other.kind} <= {"segments", "prefix"}:
        return _beginnings(one, other)
    return None


def _beginnings(one: Pattern, other: Pattern) -> str:
    """The same for two beginnings of which one or both go by whole elements of a path."""
    if other.kind == "prefix":
        if (one.text.rstrip("/") or "/").startswith(other.text):
            return "inside"
        return "across" if other.text.startswith(one.text.rstrip("/") + "/") else "apart"
    within = other.text.rstrip("/") + "/"
    if one.kind == "prefix":
        if one.text.startswith(within):
            return "inside"
        return "across" if within[:-1].startswith(one.text) else "apart"
    mine = one.text.rstrip("/") + "/"
    if mine.startswith(within):
        return "inside"
    return "across" if within.startswith(mine) else "apart"


@lru_cache(maxsize=4096)
def _literal(regex: str) -> tuple[str, bool]:
    """The text that every match of a regular expression begins with, and whether that is all of it."""
    body = bare(regex)
    if len(top_level(body)) > 1:
        return "", False
    text, at = "", 0
    while at < len(body):
        char = body[at]
        if char == "\\" and at + 1 < len(body) and not body[at + 1].isalnum():
            text, at = text + body[at + 1], at + 2
        elif char in "*?{":
            return text[:-1], False
        elif char in "+.()|[]}^$\\":
            return text, False
        else:
            text, at = text + char, at + 1
    return text, True


def _plain(pattern: Pattern) -> Pattern:
    """A regular expression that is nothing but a text, as that text."""
    text, whole = _literal(pattern.text) if pattern.kind == "regex" else ("", False)
    return Pattern("exact", text) if whole else pattern


def beginning(pattern: Pattern) -> str:
    """What every text of the pattern begins with."""
    if pattern.kind == "regex":
        return _literal(pattern.text)[0]
    return pattern.text.rstrip("/") if pattern.kind == "segments" else pattern.text if pattern.kind in ("exact", "prefix") else ""


def full_regex(pattern: Pattern) -> str:
    """The pattern as a regular expression that matches from end to end, without anchors."""
    if pattern.kind == "exact":
        return quote(pattern.text)
    if pattern.kind == "prefix":
        return quote(pattern.text) + ".*"
    if pattern.kind == "suffix":
        return ".*" + quote(pattern.text)
    if pattern.kind == "segments":
        stem = pattern.text.rstrip("/")
        return quote(stem) + "(?:/.*)?" if stem else "/.*"
    if pattern.kind == "any":
        return ".*"
    return bare(pattern.text)


def bare(regex: str) -> str:
    """A regular expression without the anchors at its ends, where they hold for all of it."""
    body = regex.removeprefix("^")
    if body.endswith("$") and not body.endswith("\\$"):
        body = body[:-1]
    return regex if body != regex and len(top_level(regex)) > 1 else body


def top_level(regex: str) -> list[str]:
    """The alternatives of a regular expression, split at each `|` outside groups and classes."""
    parts, depth, at, in_class, current = [], 0, 0, False, ""
    while at < len(regex):
        char = regex[at]
        if char == "\\":
            current += regex[at : at + 2]
            at += 2
            continue
        if in_class:
            in_class = char != "]" or current.endswith(("[", "[^"))
        elif char == "[":
            in_class = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "|" and depth == 0:
            parts.append(current)
            current = ""
            at += 1
            continue
        current += char
        at += 1
    return [*parts, current]


def spans(regex: str) -> bool:
    """Whether Linkerd, which takes the leftmost first match and wants it to be the whole text, takes every text of the expression."""
    try:
        return finds_whole(regex)
    except UnsupportedRegex as error:
        return error.taken and regex.endswith("$") and not regex.endswith("\\$") and len(top_level(regex)) == 1
    except ValueProblem:
        return False


def anchored(pattern: Pattern) -> str:
    """A regular expression as Linkerd should read it: anchored, and grouped where it has alternatives, since Rust takes the leftmost
    one."""
    body = full_regex(pattern)
    return f"^(?:{body})$" if len(top_level(body)) > 1 else f"^{body}$"


def methods(pattern: Pattern) -> tuple[str, ...] | None:
    """The methods of a pattern that a route can name one by one; None where it means more than those."""
    if pattern.kind == "exact":
        return (pattern.text,) if pattern.text in METHODS else None
    if pattern.kind == "regex" and (found := _WORDS.fullmatch(pattern.text)):
        words = tuple(dict.fromkeys(found[1].split("|")))
        return words if all(word in METHODS for word in words) else None
    return None


def simplest(pattern: Pattern) -> Pattern:
    """A regular expression as the text or the prefix that it stands for, where it is one."""
    if pattern.kind != "regex":
        return pattern
    found = language(pattern)
    try:
        only = found.describe(BARE_PATHS) if found is not None else None
    except ValueProblem:
        only = None
    if only is not None and only[0] in ("exact", "prefix"):
        return Pattern(*only)
    return Pattern("regex", bare(pattern.text))


_ANY_LABELS = re.compile(r"(?P<scheme>https?)://\.\*(?P<host>(?:\\\.[A-Za-z0-9-]+)*)(?P<port>:\d+)?")


def origin_of(expression: str) -> str | None:
    """The origin with a `*` that an expression for origins comes to; None where it is none. One for every host takes every port, which no origin does."""
    found = _ANY_LABELS.fullmatch(expression)
    if found is None or not (found["host"] or found["port"]):
        return None
    return f"{found['scheme']}://*{found['host'].replace(chr(92), '')}{found['port'] or ''}"
