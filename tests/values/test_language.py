"""Languages: the algebra against plain string tests, regular expressions against Python's `re` and RE2, and what is written back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from meshport.values.language import (
    BARE_PATHS,
    PATHS,
    TEXT,
    Language,
    LanguageTooLarge,
    UnsupportedRegex,
    ValueProblem,
    union,
    with_plain_dots,
)

SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@contextmanager
def unless_too_large() -> Iterator[None]:
    """Random languages may exceed the budget; that they say so is right."""
    try:
        yield
    except LanguageTooLarge:
        reject()


ALPHABET = "/ab.x"
TEXTS = st.text(ALPHABET + "%\n", max_size=8)
LITERALS = st.text(ALPHABET, max_size=4)


def patterns() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(
        ["a", "b", "x", "/", "\\.", ".", "[ab]", "[^/]", "[^a]", "\\w", "[a-x]", "(?:ab)", "(?i:A)", "[[:alpha:]]", "\\x61", "\\d", "\\S"]
    )
    counts = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "{2,}"])
    item = st.builds(lambda a, c: a + c, atoms, counts)
    flat = st.lists(item, max_size=4).map("".join)
    return st.recursive(
        flat,
        lambda inner: st.builds(lambda a, b, c: f"({a}|{b}){c}", inner, inner, counts) | st.builds("{}{}".format, inner, inner),
        max_leaves=4,
    )


LANGUAGES = st.recursive(
    st.builds(Language.exact, LITERALS)
    | st.builds(Language.prefix, LITERALS)
    | st.builds(Language.suffix, LITERALS)
    | st.builds(Language.segments, LITERALS.map(lambda s: "/" + s))
    | st.builds(Language.regex, patterns()),
    lambda inner: (
        st.builds(lambda a, b: a | b, inner, inner)
        | st.builds(lambda a, b: a & b, inner, inner)
        | st.builds(lambda a, b: a - b, inner, inner)
        | st.builds(lambda a: ~a, inner)
    ),
    max_leaves=4,
)


@given(LANGUAGES, LANGUAGES, TEXTS)
def test_combining_means_what_it_says(a: Language, b: Language, text: str) -> None:
    in_a, in_b = a.accepts(text), b.accepts(text)
    assert (a | b).accepts(text) == (in_a or in_b)
    assert (a & b).accepts(text) == (in_a and in_b)
    assert (a - b).accepts(text) == (in_a and not in_b)
    assert (~a).accepts(text) == (not in_a)


@SLOWLY
@given(LANGUAGES, LANGUAGES)
def test_questions_agree_with_each_other(a: Language, b: Language) -> None:
    with unless_too_large():
        shown = (a & b).witness()
        assert a.overlaps(b) == (shown is not None)
        if shown is not None:
            assert a.accepts(shown) and b.accepts(shown)
        difference = (a - b).witness()
        assert a.issubset(b) == (difference is None)
        if difference is not None:
            assert a.accepts(difference) and not b.accepts(difference)
        assert (a | b).same(b | a) and (~~a).same(a) and (a - b).same(a & ~b) and (~(a | b)).same(~a & ~b)
        assert a.issubset(a | b) and (a & b).issubset(a)


@SLOWLY
@given(LANGUAGES)
def test_what_is_written_as_a_regex_is_the_same_language(language: Language) -> None:
    with unless_too_large():
        pattern = (language | Language.none()).to_regex()  # not the expression it was made of
        if pattern is not None:
            for flavour in ("re2", "rust"):
                assert Language.regex(pattern, flavour).same(language)
        pattern = (language | Language.none()).to_regex(within=PATHS)
        if pattern is not None:
            assert Language.regex(pattern).same(language, within=PATHS)


@SLOWLY
@given(LANGUAGES, LANGUAGES)
def test_keys_and_patterns(a: Language, b: Language) -> None:
    with unless_too_large():
        assert (a.key() == b.key()) == a.same(b, within=PATHS)
        assert (a | b).key() == (b | a | b).key()
        for world in (PATHS, BARE_PATHS, TEXT):
            forms = a.as_patterns(world)
            if forms is not None:
                assert union(*(getattr(Language, kind)(*([text] if kind != "any" else [])) for kind, text in forms)).same(a, within=world)


@given(patterns(), TEXTS)
def test_against_python(pattern: str, text: str) -> None:
    translated = pattern.replace("[[:alpha:]]", "[A-Za-z]").replace("\\S", "[^\\t\\n\\f\\r ]")
    assert Language.regex(pattern).accepts(text) == bool(re.fullmatch(translated, text, re.ASCII))
    assert Language.regex(f"^{pattern}$" if "|" not in pattern else f"^(?:{pattern})$").same(Language.regex(pattern))


@given(patterns(), TEXTS)
def test_against_re2(pattern: str, text: str) -> None:
    re2 = pytest.importorskip("re2")
    assert Language.regex(pattern).accepts(text) == (re2.fullmatch(pattern, text) is not None)


@given(LANGUAGES, TEXTS)
def test_re2_reads_what_we_write(language: Language, text: str) -> None:
    re2 = pytest.importorskip("re2")
    pattern = (language | Language.none()).to_regex()  # not the expression it was made of
    if pattern is not None:
        assert language.accepts(text) == (re2.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)ks",
        "(?i)[^k]",
        "(?i)[a-c]+[[:^lower:]]",
        "[]a]+",
        "[^]a]",
        "[a-]",
        "a||b",
        "(?P<n>a)(?:b)",
        "{",
        "a{,2}",
        "x(?i)y|z",
        "[\\d_]",
        "(?s).",
        "\\Qa.b\\E",
        "[[:word:]]",
        "(?U)a*",
        "\\-",
        "[\\]]",
    ],
)
def test_corners_against_re2(pattern: str) -> None:
    re2 = pytest.importorskip("re2")
    language = Language.regex(pattern)
    points = [chr(c) for c in range(256)] + [
        "\u212a",
        "\u017f",
        "σ",
        "ς",
        "Σ",
        "ab",
        "aa",
        "xy",
        "xY",
        "xz",
        "Z",
        "z",
        "a.b",
        "KS",
        "kſ",
        "bA",
        "a{,2}",
        "",
        "aab",
    ]
    for text in points:
        assert language.accepts(text) == (re2.fullmatch(pattern, text) is not None), text


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        ("(?=a)b", "(?="),
        ("a(?!b)", "(?!"),
        ("(?<=a)b", "(?<="),
        ("(?<!a)b", "(?<!"),
        ("(?>a)", "(?>"),
        ("(a)\\1", "\\1"),
        ("\\bx", "\\b"),
        ("\\p{Greek}", "\\p{Greek}"),
        ("\\pL", "\\pL"),
        ("[\\pL]", "\\pL"),
        ("a^b", "^"),
        ("a$b", "$"),
        ("a*+", "*+"),
        ("(?m)a", "(?m)"),
        ("a{1001}", "{1001}"),
        ("a{3,2}", "{3,2}"),
        ("[z-a]", "z-a"),
        ("[[:nope:]]", "[[:nope:]]"),
        ("\\C", "\\C"),
    ],
)
def test_refused_by_name(pattern: str, construct: str) -> None:
    with pytest.raises(UnsupportedRegex) as caught:
        Language.regex(pattern)
    assert caught.value.construct in (construct, construct.strip("[]"), "[:nope:]")
    assert construct.strip("[]") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["(a", "a)", "[a", "*a", "a\\"])
def test_broken(pattern: str) -> None:
    with pytest.raises(ValueProblem):
        Language.regex(pattern)


def test_rust_differs() -> None:
    assert Language.regex("\\d", "rust").accepts("٣") and not Language.regex("\\d").accepts("٣")
    assert Language.regex("\\s", "rust").accepts("\x0b") and not Language.regex("\\s").accepts("\x0b")
    assert Language.regex("\\w+", "rust").accepts("größe")
    for pattern in ("{", "[a[b]]", "[a&&b]", "\\Qa\\E"):
        with pytest.raises(UnsupportedRegex):
            Language.regex(pattern, "rust")


def test_segments() -> None:
    for path in ("/foo", "/foo/"):
        found = Language.segments(path)
        assert all(found.accepts(text) for text in ("/foo", "/foo/", "/foo/bar")) and not found.accepts("/foobar")
    assert Language.segments("/").same(Language.prefix("/"))


def test_templates() -> None:
    users = Language.template("/users/{*}/cart")
    assert users.accepts("/users/7/cart") and not users.accepts("/users//cart") and not users.accepts("/users/7/8/cart")
    assert Language.template("/a/{**}").accepts("/a/") and Language.template("/a/{**}").accepts("/a/b/c")


@pytest.mark.parametrize(
    ("pattern", "forms"),
    [
        ("^/api/.*$", [("prefix", "/api/")]),
        ("/api/users/[^/]+", [("template", "/api/users/{*}")]),
        ("/api/v1/.*", [("prefix", "/api/v1/")]),
        ("(/a|/b)", [("exact", "/a"), ("exact", "/b")]),
        ("/foo(/.*)?", [("exact", "/foo"), ("prefix", "/foo/")]),
        (".*\\.png", [("suffix", ".png")]),
        (".*", [("any", "")]),
        ("/[^/]+/x/.*", [("template", "/{*}/x/{**}")]),
        ("/a/.*/b", [("template", "/a/{**}/b")]),
        ("/a|/a.*", [("prefix", "/a")]),
        ("/charge(\\?.*)?", None),
        ("/api/[0-9]+", None),
    ],
)
def test_recognised(pattern: str, forms: list[tuple[str, str]] | None) -> None:
    assert Language.regex(pattern).as_patterns() == forms


def test_described() -> None:
    assert Language.regex("/foo(?:/.*)?").describe() == ("segments", "/foo")
    assert Language.prefix("/a").describe() == ("prefix", "/a")
    assert Language.regex("GET|POST").as_patterns(TEXT) == [("exact", "GET"), ("exact", "POST")]
    assert Language.none().as_patterns() == [] and Language.none().describe() is None
    assert Language.regex("/charge(\\?.*)?").as_patterns(BARE_PATHS) == [("exact", "/charge")]
    assert Language.regex("/a[.]b").is_finite_exact() == "/a.b" and Language.prefix("/").is_finite_exact() is None
    assert Language.any().is_any() and Language.regex(".*").is_any(within=PATHS) and not Language.regex(".*").is_any()


def test_written() -> None:
    assert Language.exact("/a.b").to_regex() == "/a\\.b"
    assert (Language.prefix("/api/") - Language.exact("/api/x")).to_regex(within=PATHS) == "/api/(?:(?:[^x]|x.).*)?"
    assert (Language.exact("/a") | Language.exact("/b") | Language.exact("/cd")).to_regex() == "/(?:[ab]|cd)"
    assert Language.regex("^/a/(users|admin)/[0-9]+$").to_regex() == "/a/(users|admin)/[0-9]+"
    assert Language.regex("\\d+").to_regex() == "[0-9]+"  # in Rust it is wider
    assert Language.regex("^/a$|^/b$").to_regex() == "^/a$|^/b$" and Language.regex("/a\\$").to_regex() == "/a\\$"
    assert Language.exact("a" * 3000).to_regex() is None
    empty = Language.none().to_regex()
    assert empty is not None and Language.regex(empty).is_empty()


def test_line_feeds_do_not_count_in_paths() -> None:
    users, api = Language.regex("/api/users/[^/]+"), Language.regex("/api/.*")
    assert not users.issubset(api) and users.issubset(api, within=PATHS)
    assert users.witness(PATHS) == "/api/users/a"


def test_no_blow_up() -> None:
    a, b = Language.regex(".*a.{12}"), Language.regex(".*b.{12}")
    started = time.perf_counter()
    assert not a.overlaps(b) and not a.issubset(b)
    assert Language.regex("/a{1,200}").overlaps(Language.regex("/a{150,300}"))
    assert time.perf_counter() - started < 1


def test_budget() -> None:
    with pytest.raises(LanguageTooLarge):
        Language.regex("((a{1,100}){1,100}){1,100}").witness()
    with pytest.raises(LanguageTooLarge):
        Language.regex(".*a.{20}").key()
    assert (~Language.regex(".*a.{20}")).to_regex() is None and Language.regex(".*a.{20}").to_regex() == ".*a.{20}"
    with pytest.raises(LanguageTooLarge):
        Language.regex("(" * 500 + ")" * 500)


def test_equality_is_of_the_making() -> None:
    assert Language.exact("/a") == Language.exact("/a") and len({Language.exact("/a"), Language.exact("/a")}) == 1
    assert Language.exact("/a") != Language.regex("/a") and Language.exact("/a").same(Language.regex("/a"))
    assert repr(Language.prefix("/a") | Language.exact("/b")) == "Language.prefix('/a') | Language.exact('/b')"


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [("/a.b", "/a.b", "/axb"), ("/v1.0/.*", "/v1.0/x/y", "/v100/x"), ("(a.|b.)c", "b.c", "bxc"), ("/x[^/]y", "/x.y", "/xzy")],
)
def test_single_dots_are_taken_for_dots(pattern: str, inside: str, outside: str) -> None:
    plain, whole = with_plain_dots(pattern), Language.regex(pattern)
    assert plain is not None
    assert plain.issubset(whole)
    assert (plain.accepts(inside), plain.accepts(outside), whole.accepts(outside)) == (True, False, True)


@pytest.mark.parametrize("pattern", ["/a\\.b", "/api/.*", "[a-z]+", "/x.+", "(..)*"])
def test_what_has_no_single_dot_stays(pattern: str) -> None:
    assert with_plain_dots(pattern) is None
