"""Whether a leftmost-first search finds the whole text; Python's `re` searches in the same order as Rust's crate."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.values.language import Language
from meshport.values.search import finds_whole


@pytest.mark.parametrize(
    "pattern",
    [
        "/api/.*",
        "/users/[^/]+/orders",
        "/users/\\d+(/.*)?",
        "^(?:/a|/ab)$",
        "/a$|/ab$",
        "/(users|orders)(/[a-z]+)*",
        "/v[12]/x",
        "a{2,3}b",
        ".*",
        "/users|/orders",
        "/.*c",
        "/.*/x/.*",
        ".*\\.css",
        "/users/.*|/orders/.*",
        "gold|silver",
    ],
)
def test_whole(pattern: str) -> None:
    assert finds_whole(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"), [("/a|/ab", "/ab"), ("/api/.*?", "/api/x"), ("gold|goldish", "goldish"), ("a?(ab)?", "ab"), ("(|a)", "a")]
)
def test_stops_early(pattern: str, text: str) -> None:
    assert re.fullmatch(pattern, text)
    assert re.search(pattern, text).group() != text  # type: ignore[union-attr]
    assert not finds_whole(pattern)


_ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", "ab"])
_REGEX = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}", "*?", "??"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
    ),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_REGEX, st.text(alphabet="abc", max_size=7))
def test_never_yes_where_the_search_stops_early(pattern: str, text: str) -> None:
    if finds_whole(pattern) and Language.regex(pattern, "rust").accepts(text):
        found = re.search(pattern, text)
        assert found is not None
        assert found.span() == (0, len(text))
