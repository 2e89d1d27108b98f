"""Raw paths for Linkerd: every written form against brute force over short paths, and read back."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.values.language import BARE_PATHS, PATHS, Language
from meshport.values.paths import DOT_FREE, PLAIN, RAW, SEG, from_raw, normalise_istio, raw_allow, with_query, without_query

ESCAPED = [
    "/" + "".join(rest)
    for size in range(5)
    for rest in itertools.product(("/", "a", "e", "5", "%61", "%65", "%35", "%2e", "%2f", "%"), repeat=size)
]
SHORT = ["/" + "".join(rest) for size in range(6) for rest in itertools.product("/.a%2e\\", repeat=size)]

PREFIX = r"^/api(?:/(?:(?:\.|%2[eE]){0,2}(?:[^./%\\;]|%(?:[^2/]|2[^eE/]))[^/\\]*|(?:;|(?:\.|%2[eE]){3})[^/\\]*)?)+$"

FORMS = {
    "any": Language.any(),
    "prefix /": Language.prefix("/"),
    "prefix /a/": Language.prefix("/a/"),
    "prefix /a": Language.prefix("/a"),
    "prefix /.": Language.prefix("/."),
    "prefix /a/.": Language.prefix("/a/."),
    "prefix /a/%": Language.prefix("/a/%"),
    "prefix /%": Language.prefix("/%"),
    "prefix /%2": Language.prefix("/%2"),
    "prefix /../": Language.prefix("/../"),
    "prefix //": Language.prefix("//"),
    "exact": Language.exact("/a.e"),
    "exact dots": Language.exact("/a/.."),
    "segments /a": Language.segments("/a"),
    "segments /": Language.segments("/"),
    "suffix .a": Language.suffix(".a"),
    "suffix /a": Language.suffix("/a"),
    "suffix e": Language.suffix("e"),
    "suffix 5": Language.suffix("5"),
    "all but one": ~Language.exact("/a"),
    "all but below one": ~Language.segments("/a"),
    "an escape": Language.exact("/%61"),
    "suffix .": Language.suffix("."),
    "suffix /": Language.suffix("/"),
    "template": Language.template("/a/{*}"),
    "template 2": Language.template("/{*}/a"),
    "template 3": Language.template("/{**}/a"),
    "template 5": Language.template("/a/{**}/2"),
    "template 4": Language.template("/{*}/{**}"),
    "two": Language.exact("/e") | Language.prefix("/a/"),
    "less": Language.prefix("/a/") - Language.exact("/a/e"),
    "regex": Language.regex("/a/[2e]+"),
}


def test_a_prefix_to_the_letter() -> None:
    assert raw_allow(Language.prefix("/api/")) == PREFIX


@pytest.mark.parametrize("path", ["/api/..;x/admin", "/api/.;/x", "/api/..;", "/api/%2e%2E;a=b/admin", "/api/x/.%2e;/y"])
def test_dots_with_parameters_are_a_dot_segment(path: str) -> None:
    """A patched Envoy resolves them, so Linkerd must not let them through as text (CVE-2026-73551)."""
    for language in (Language.prefix("/api/"), Language.prefix("/api"), Language.segments("/api"), Language.any()):
        assert not re.fullmatch(raw_allow(language) or "", path)


@pytest.mark.parametrize("path", ["/api/;x", "/api/a;b/c", "/api/...;x", "/api/.a;x", "/api/..x;y"])
def test_other_parameters_are_text(path: str) -> None:
    assert re.fullmatch(raw_allow(Language.prefix("/api/")) or "", path)


@pytest.mark.parametrize("name", FORMS)
def test_by_brute_force(name: str) -> None:
    language = FORMS[name]
    pattern = raw_allow(language)
    if pattern is None:
        assert not (language & DOT_FREE & RAW).overlaps(BARE_PATHS)
        return
    matches = re.compile(pattern.replace("(?s:.)", "[\\s\\S]")).fullmatch
    segments = re.compile(f"(?:/{SEG})+").fullmatch
    for path in SHORT:
        allowed = matches(path) is not None
        wanted = language.accepts(path) and segments(path) is not None
        assert allowed == wanted or (not RAW.accepts(path) and not allowed), path
        if allowed:
            assert language.accepts(normalise_istio(path)), path
    for path in ESCAPED:
        assert matches(path) is None or language.accepts(normalise_istio(path)), path


@pytest.mark.parametrize("name", FORMS)
def test_is_the_language_without_dot_segments(name: str) -> None:
    language = FORMS[name]
    pattern = raw_allow(language)
    if pattern is not None:
        written = Language.regex(pattern, "rust")
        assert written.same(language & DOT_FREE, within=RAW)
        assert written.issubset(language & DOT_FREE, within=BARE_PATHS)


@pytest.mark.parametrize("name", FORMS)
def test_reads_back(name: str) -> None:
    language = FORMS[name]
    pattern = raw_allow(language)
    if pattern is None:
        return
    back = from_raw(pattern)
    assert back is not None
    assert (back & DOT_FREE).same(language & DOT_FREE, within=RAW)
    if name not in ("any", "less", "regex") and not name.startswith("all but") and "%" not in name:
        assert back.as_patterns(BARE_PATHS) == language.as_patterns(BARE_PATHS)


PIECES = st.text("/.a%2e", max_size=4).map(lambda s: "/" + s)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["prefix", "exact", "segments", "suffix"]), PIECES)
def test_any_simple_form(kind: str, text: str) -> None:
    language = getattr(Language, kind)(text if kind != "suffix" else text[1:])
    pattern = raw_allow(language)
    if pattern is not None:
        assert Language.regex(pattern, "rust").same(language & DOT_FREE, within=RAW)
        back = from_raw(pattern)
        assert back is not None and (back & DOT_FREE).same(language & DOT_FREE, within=RAW)


def test_dot_free_is_segments() -> None:
    assert Language.regex(f"(?:/{SEG})+").same(DOT_FREE)


def test_dot_free_paths_stay_as_they_are() -> None:
    stays = DOT_FREE & PLAIN
    for path in SHORT:
        if stays.accepts(path):
            assert normalise_istio(path) == path
        elif "%" not in path:
            assert normalise_istio(path) != path, path


@pytest.mark.parametrize(
    ("sent", "judged"),
    [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("//a//b", "//a//b"),
        ("/a//../b", "/a/b"),
        ("/a\\..\\b", "/b"),
        ("/%2e%2E/x", "/x"),
        ("/%61dm%69n", "/admin"),
        ("/%41%7e%2d%5F%30", "/A~-_0"),
        ("/a%2fb%20c%3B", "/a%2fb%20c%3B"),
        ("/%2%65", "/%252e"),
        ("/%%zz", "/%%zz"),
        ("/a/...", "/a/..."),
        ("/a%2f../b", "/a%2f../b"),
        ("/a?x=/../b", "/a"),
        ("/a#f", "/a"),
        ("*", "*"),
    ],
)
def test_normalised(sent: str, judged: str) -> None:
    assert normalise_istio(sent) == judged


def test_a_pattern_that_lets_dot_segments_in_says_nothing_of_normalised_paths() -> None:
    assert from_raw("^/api/.*$") is None
    numbers = from_raw("/users/[0-9]+")
    assert numbers is not None and numbers.accepts("/users/7")


def test_too_long_for_the_field() -> None:
    many = Language.none()
    for number in range(40):
        many = many | Language.prefix(f"/service{number}x/api/")
    assert raw_allow(many, limit=200) is None


def test_queries() -> None:
    assert without_query(Language.regex("/charge(\\?.*)?")) == Language.exact("/charge")
    assert without_query(Language.regex("/charge")) is None
    assert without_query(Language.regex("/api/.*")) == Language.prefix("/api/")
    assert without_query(Language.regex("/u/[^/?]+(\\?.*)?")) == Language.template("/u/{*}")
    assert with_query(Language.exact("/a")).same(Language.regex("/a(\\?.*)?"), within=PATHS)
    assert with_query(Language.prefix("/a")).same(Language.prefix("/a"), within=PATHS)


def test_importing_values_does_not_import_lark() -> None:
    modules = "language paths durations identities ports retry quantity hosts cidrs"
    code = "import sys\n" + "".join(f"import meshport.values.{m}\n" for m in modules.split()) + "assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
