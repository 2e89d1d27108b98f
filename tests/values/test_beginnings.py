"""Families of texts and beginnings say of a language what its automaton says."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.values import dfa
from meshport.values.beginnings import NOBODY, family, simpler
from meshport.values.language import Language

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
    assert one.issubset(other) == (dfa.shortest(dfa.build((one - other)._node)) is None)


def test_a_hundred_beginnings_taken_out_of_each_other_are_told_at_once() -> None:
    rest = [~Language.prefix(f"/team{number}/") for number in range(100)]
    left = rest[0]
    for one in rest[1:]:
        left = left - (one & Language.prefix("/team0/"))
    assert not left.is_empty()
    assert left.issubset(~Language.prefix("/team0/"))
    assert not left.issubset(Language.prefix("/team1/"))
