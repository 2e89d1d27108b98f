"""Paths too many for one expression, as several."""

from __future__ import annotations

import pytest

from meshport.values import spelling
from meshport.values.dfa import Dfa
from meshport.values.language import BARE_PATHS, Language, union
from meshport.values.paths import DOT_FREE, RAW, raw_allow, raw_allows

PREFIX, SUFFIX = Language.prefix, Language.suffix
LIMIT = 1024


@pytest.mark.parametrize(
    "paths",
    [
        ~SUFFIX(".php"),
        SUFFIX(".php") - PREFIX("/a"),
        ~union(SUFFIX(".php"), SUFFIX(".png"), SUFFIX("/x.css")),
    ],
)
def test_paths_too_many_for_one_expression_are_said_by_several_that_together_are_the_same(paths: Language) -> None:
    assert raw_allow(paths, LIMIT) is None
    found = raw_allows(paths, LIMIT, 64)
    assert found is not None
    assert all(len(text) <= LIMIT for text in found)
    assert union(*map(Language.regex, found)).same(paths & DOT_FREE & RAW, BARE_PATHS)


def test_without_escapes_fewer_expressions_take_all_paths_but_those_with_a_percent_sign() -> None:
    paths = ~union(PREFIX("/a"), PREFIX("/h/i"), Language.exact("/d"), SUFFIX(".php"), Language.exact("/e/f"), Language.exact("/b"))
    assert raw_allows(paths, LIMIT, 32) is None
    found = raw_allows(paths, LIMIT, 32, escapes=False)
    assert found is not None
    told = union(*map(Language.regex, found))
    assert [path for path in ("/", "/c.phpx", "/h/x", "/e", "/c%20d", "/c/../d", "/a/b", "/c.php") if told.accepts(path)] == [
        "/", "/c.phpx", "/h/x", "/e",
    ]  # fmt: skip


def test_what_needs_more_expressions_than_may_be_is_not_said() -> None:
    assert raw_allows(~SUFFIX(".php"), LIMIT, 2) is None


def test_paths_with_too_many_kinds_of_segments_are_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    solve = spelling.solve

    def counted(automaton: Dfa, limit: int) -> spelling.Seq | None:
        asked.append(limit)
        return solve(automaton, limit)

    monkeypatch.setattr(spelling, "solve", counted)
    endings = union(*map(SUFFIX, (".html", "/items", "/users", "/a/b")))
    assert raw_allows(~union(endings, PREFIX("/api/"), PREFIX("/orders/")), LIMIT, 32, escapes=False) is None
    assert len(asked) < 100, len(asked)


def test_languages_that_come_to_one_automaton_are_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that are tried without one value after another mostly come to what was there before, put together in another way."""
    asked: list[int] = []
    solve = spelling.solve

    def counted(automaton: Dfa, limit: int) -> spelling.Seq | None:
        asked.append(limit)
        return solve(automaton, limit)

    monkeypatch.setattr(spelling, "solve", counted)
    first = raw_allows(~union(SUFFIX(".aspx"), PREFIX("/old/")), LIMIT, 32, escapes=False)
    before = len(asked)
    assert (raw_allows(~SUFFIX(".aspx") - PREFIX("/old/"), LIMIT, 32, escapes=False), before > 0) == (first, True)
    assert len(asked) == before
