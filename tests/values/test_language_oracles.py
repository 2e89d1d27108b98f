"""Random pairs of patterns: whether they overlap, whether one holds the other, and the text that shows it, put to RE2 itself and to interegular's automata.

RE2 is what Envoy matches with, so a witness has to match both patterns there and a counter-example one of them. It has no automata: that nothing is in both
is put to interegular, and to texts drawn at random. Pairs in Rust's flavour keep to what both engines read alike.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from meshport.values.language import Flavour, Language, LanguageTooLarge

SLOWLY = settings(deadline=None, max_examples=75, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
COUNTS = ("", "", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}")
COMMON = ("a", "b", "x", "/", r"\.", "-", ".", "[ab]", "[^/]", "[^ab]", "[a-x]", "(?:ab)", "/api", "/v1", "[0-9]")
OF_RE2 = (*COMMON, r"\d", r"\w", r"\S", "[[:alpha:]]", "[[:^digit:]]", r"\Qa.b\E", "(?i:Ab)", "(?s:.)", r"\x61", "(?P<n>a)")
OF_RUST = (*COMMON, "(?i:ax)", "(?s:.)", r"\x61", "[[:alpha:]x]", "(?P<n>a)", r"(?:a|b)*?")
FLAVOURS: tuple[tuple[Flavour, tuple[str, ...]], ...] = (("re2", OF_RE2), ("rust", OF_RUST))
TEXTS = st.lists(st.text("/ab.x-AB1\n", max_size=6), max_size=12)


def patterns(atoms: tuple[str, ...]) -> st.SearchStrategy[str]:
    item = st.builds(
        lambda atom, count: f"(?:{atom}){count}" if count and len(atom) > 1 else atom + count,
        st.sampled_from(atoms),
        st.sampled_from(COUNTS),
    )
    flat = st.lists(item, max_size=5).map("".join)
    nested = st.recursive(
        flat,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
            st.builds(lambda part, count: f"(?:{part}){count}", inner, st.sampled_from(COUNTS)),
            st.builds(lambda one, other: one + other, inner, inner),
        ),
        max_leaves=5,
    )
    return st.builds(lambda pattern, anchored: f"^(?:{pattern})$" if anchored else pattern, nested, st.booleans())


def written() -> st.SearchStrategy[tuple[Flavour, str, str]]:
    return st.sampled_from(FLAVOURS).flatmap(lambda one: st.tuples(st.just(one[0]), patterns(one[1]), patterns(one[1])))


@pytest.fixture(scope="module")
def re2() -> Any:
    return pytest.importorskip("re2", reason="google-re2 is not installed")


@pytest.fixture(scope="module")
def interegular() -> Any:
    return pytest.importorskip("interegular", reason="interegular is not installed")


def read(flavour: Flavour, *texts: str) -> list[Language]:
    return [Language.regex(text, flavour) for text in texts]


@given(written(), TEXTS)
@SLOWLY
def test_overlap_and_its_witness_against_re2(re2: Any, pair: tuple[Flavour, str, str], texts: list[str]) -> None:
    flavour, one, other = pair
    first, second = read(flavour, one, other)
    try:
        witness = (first & second).witness()
    except LanguageTooLarge:
        reject()
    if witness is not None:
        assert re2.fullmatch(one, witness), witness
        assert re2.fullmatch(other, witness), witness
    assert first.overlaps(second) == (witness is not None)
    for text in texts:
        both = bool(re2.fullmatch(one, text)) and bool(re2.fullmatch(other, text))
        assert not both or witness is not None, text
        assert not both or len(text) >= len(witness or ""), "a witness is a shortest text"


@given(written(), TEXTS)
@SLOWLY
def test_containment_and_its_counter_example_against_re2(re2: Any, pair: tuple[Flavour, str, str], texts: list[str]) -> None:
    flavour, one, other = pair
    first, second = read(flavour, one, other)
    try:
        inside, witness, counter = first.issubset(second), first.witness(), (first - second).witness()
    except LanguageTooLarge:
        reject()
    assert inside == (counter is None)
    if counter is not None:
        assert re2.fullmatch(one, counter), counter
        assert not re2.fullmatch(other, counter), counter
    elif witness is not None:
        assert re2.fullmatch(other, witness), witness
    for text in texts:
        alone = bool(re2.fullmatch(one, text)) and not re2.fullmatch(other, text)
        assert not (alone and inside), text


def flat() -> st.SearchStrategy[str]:
    """Without nesting: interegular determinises, which takes it seconds where counts stand in each other."""
    return st.lists(st.builds(str.__add__, st.sampled_from(COMMON[:11]), st.sampled_from(COUNTS[:7])), max_size=4).map("".join)


@given(flat(), flat())
@settings(deadline=None, max_examples=120)
def test_overlap_and_containment_against_interegular(interegular: Any, one: str, other: str) -> None:
    first, second = read("re2", one, other)
    mine, its = (interegular.parse_pattern(text).to_fsm() for text in (one, other))
    assert first.overlaps(second) == (not (mine & its).empty())
    assert first.issubset(second) == (mine - its).empty()
