"""Small automata that are put together say what the ones that are explored say, and the same automaton comes out."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.values import automata, dfa, regex, small
from meshport.values.automata import Is, Node
from meshport.values.problems import LanguageTooLarge

TERMS = [
    Is(regex.parse(pattern, "re2"))
    for pattern in (
        "/a",
        "/a.*",
        "/a/[^/]+",
        "(?s).*x",
        "/(a|b)*",
        "/a/b.*c",
        ".*",
        "[^?#]*",
        "",
        "a{2,5}",
        "/[a-z]*/x",
        ".*a.{3}",
        "/\\w+",
        "(/[^/]*)+",
    )
]
NODES = st.recursive(
    st.sampled_from([*TERMS, *map(automata.negation, TERMS)]),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: automata.both(*parts))
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: automata.either(*parts))
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(NODES)
def test_they_agree(node: Node) -> None:
    try:
        text, made = automata.shortest(node), dfa.build(node)
    except LanguageTooLarge:
        return
    assert small.empty(node) in (None, text is None)
    assert small.built(node) in (None, made)


def test_what_has_many_states_is_left_to_others() -> None:
    many = Is(regex.parse("(?s).*a.{12}", "re2"))
    assert small.empty(automata.both(many, TERMS[1], automata.negation(TERMS[2]))) is None
    assert small.built(many) is None


def test_differences_are_empty_one_way_only() -> None:
    whole, one, other = (Is(regex.parse(text, "re2")) for text in ("/shop(/.*)?", "/shop", "/shop/[a-z]*"))
    parts = automata.either(one, other)
    assert small.empty(automata.both(whole, automata.negation(parts))) is False
    assert small.empty(automata.both(parts, automata.negation(whole))) is True
