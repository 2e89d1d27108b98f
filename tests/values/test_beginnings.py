"""Families of texts and beginnings say of a language what its automaton says."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.values import dfa
from meshport.values.beginnings import NOBODY, family, simpler
from meshport.values.language import Language, union
from meshport.values.paths import DOT_FREE, RAW

TEXTS = st.sampled_from(["/", "/a", "/a/b", "/a/bc", "/ab", "/b", "/a/b/c"])
SIMPLE = st.one_of(
    st.builds(Language.exact, TEXTS),
    st.builds(Language.prefix, TEXTS),
    st.builds(Language.segments, TEXTS),
    st.just(Language.any()),
    st.just(Language.none()),
)
COMBINED = st.recursive(
    SIMPLE,
    lambda below: st.one_of(
        st.builds(lambda one, other: one & other, below, below),
        st.builds(lambda one, other: one | other, below, below),
        st.builds(lambda one, other: one - other, below, below),
        st.builds(lambda one: ~one, below),
    ),
    max_leaves=12,
)
ENDS = st.one_of(
    st.builds(Language.exact, TEXTS),
    st.builds(Language.suffix, st.sampled_from(["b", "/b", "a/b", "c", "bc", "/a", ".js"])),
    st.just(Language.any()),
)
BOTH_ENDS = st.recursive(
    st.one_of(ENDS, SIMPLE),
    lambda below: st.one_of(
        st.builds(lambda one, other: one & other, below, below),
        st.builds(lambda one, other: one | other, below, below),
        st.builds(lambda one, other: one - other, below, below),
        st.builds(lambda one: ~one, below),
    ),
    max_leaves=8,
)
LIGHT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@LIGHT
@given(COMBINED)
def test_a_family_is_the_language_that_its_automaton_takes(language: Language) -> None:
    node = language._node
    plain, simple = dfa.build(node), dfa.build(simpler(node))
    assert plain == simple
    assert family(node) is not None
    assert (family(node) == NOBODY) == (dfa.shortest(plain) is None) == language.is_empty()


@LIGHT
@given(COMBINED, COMBINED)
def test_beside_an_expression_the_rest_is_told_by_its_beginnings(one: Language, other: Language) -> None:
    mixed = (one & Language.regex("/[a-b]+/?.*")) - (other & Language.suffix("c"))
    assert dfa.build(mixed._node) == dfa.build(simpler(mixed._node))
    assert one.overlaps(other) == (dfa.shortest(dfa.build((one & other)._node)) is not None)
    assert one.issubset(other) == (dfa.shortest(dfa.build((one - other)._node)) is None)


@LIGHT
@given(BOTH_ENDS)
def test_what_is_told_by_both_ends_is_what_the_automaton_takes(language: Language) -> None:
    for asked in (language, language & DOT_FREE & RAW):
        node = asked._node
        assert dfa.build(node) == dfa.build(simpler(node))
        assert asked.is_empty() == (dfa.shortest(dfa.build(node)) is None)


@LIGHT
@given(st.lists(ENDS, min_size=1, max_size=4), st.lists(ENDS, max_size=4))
def test_texts_that_end_so_are_a_family_read_from_behind(joined: list[Language], taken: list[Language]) -> None:
    left = union(*joined) - union(*taken)
    known = family(left._node, behind=True)
    assert known is not None and (known == NOBODY) == (dfa.shortest(dfa.build(left._node)) is None)


EXPRESSIONS = st.sampled_from(["/a/[a-b]+", "/ab.*", "(?:/a|/ab)/c", "/(?:a|b)x?", "[/]a.*", "(?:/a)+b", "/a?b", "(?:)", "/a|", "b.*"])


@LIGHT
@given(EXPRESSIONS, EXPRESSIONS, COMBINED)
def test_expressions_that_begin_otherwise_are_apart(one: str, other: str, third: Language) -> None:
    first, second = Language.regex(one), Language.regex(other)
    for both in (first & second, first & third, first & second & third, first - second):
        assert both.is_empty() == (dfa.shortest(dfa.build(both._node)) is None)


def test_a_hundred_beginnings_taken_out_of_each_other_are_told_at_once() -> None:
    rest = [~Language.prefix(f"/team{number}/") for number in range(100)]
    left = rest[0]
    for one in rest[1:]:
        left = left - (one & Language.prefix("/team0/"))
    assert not left.is_empty()
    assert left.issubset(~Language.prefix("/team0/"))
    assert not left.issubset(Language.prefix("/team1/"))
