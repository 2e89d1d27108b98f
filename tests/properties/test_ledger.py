"""The ledger is true: change one leaf, and what its line says happens.

Of a leaf that became output, another value becomes other output. A leaf that is lost is named by a finding. A leaf that decides nothing may
have any other value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
from sampling import some

from .changing import Changes, Leaf, Outcome, Source, leaves, outcome, sources, with_value

SOURCES = {source.name: source for source in sources()}
LOST = ("dropped", "manual", "invalid")
OUTPUT = ("translated", "approximated", "installed")
# Reasons that speak of the value, not of the field: another one may be lost, and be said to be; nothing else is written for it.
BY_VALUE = (
    "default",
    "every mesh does by itself",
    "holds in the mesh",
    "mesh is what",
    "case is ignored",
    "whether a client speaks TLS",
    "is the same without it",
    "is refused by it",
    "no request reaches",
    "where they go anyway",
)


OPEN: dict[str, int] = {}
"""Lines that are known to be false, by bundle: a new one fails."""


@lru_cache(maxsize=32)
def _base(name: str) -> tuple[Source, Outcome, list[Leaf], Changes]:
    source = SOURCES[name]
    result = source.convert()
    return source, outcome(result), leaves(source, result), Changes(source)


@pytest.mark.parametrize("name", SOURCES)
def test_every_counted_leaf_has_one_disposition(name: str) -> None:
    _, base, listed, _ = _base(name)
    assert base.counts["unaccounted"] == 0, [leaf.shown for leaf in listed if leaf.disposition == "unaccounted"]
    assert sum(count for word, count in base.counts.items() if word != "leaves") == base.counts["leaves"] == len(listed)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_lost_is_named_by_a_finding(name: str) -> None:
    _, base, listed, _ = _base(name)
    named = {leaf: finding for finding in base.said for leaf in finding.leaves}
    assert [leaf.shown for leaf in listed if leaf.disposition in LOST and leaf.number not in named] == []


@pytest.mark.parametrize(
    "name", [*some((name for name in SOURCES if " to " not in name), 3), *some((name for name in SOURCES if " to " in name), 4)]
)
def test_another_value_does_what_the_line_says(name: str) -> None:
    source, base, listed, changes = _base(name)
    written = source.written()
    seen = [
        leaf
        for leaf in listed
        if leaf.disposition in OUTPUT and not _written(source, written, leaf, _taken_away_too(leaf, changes.of(leaf)))
    ]
    problems = [
        problem
        for leaf in [*seen, *_doubtful(source, base, listed, changes)]
        if (problem := _problem(source, base, leaf, changes.of(leaf)))
    ]
    assert len(problems) <= OPEN.get(name, 0), problems


def _written(source: Source, written: str, leaf: Leaf, others: list[Any]) -> bool:
    """Whether another value is seen in what is written, for which nothing has to be read back."""
    return any(source.written(with_value(source.objects, leaf, other)) != written for other in others)


def _doubtful(source: Source, base: Outcome, listed: list[Leaf], changes: Changes) -> list[Leaf]:
    """The leaves that are to decide nothing; none, where other values of all of them at once change nothing."""
    leaves = [(leaf, others) for leaf in listed if leaf.disposition == "irrelevant" and (others := changes.of(leaf))]
    for turn in range(max((len(others) for _, others in leaves), default=0)):
        objects = source.objects
        for leaf, others in leaves:
            objects = with_value(objects, leaf, others[min(turn, len(others) - 1)])
        after = outcome(source.convert(objects))
        if after.manifests != base.manifests or fates(after) != fates(base):
            return [leaf for leaf, _ in leaves]
    return []


def _taken_away_too(leaf: Leaf, others: list[Any]) -> list[Any]:
    """Of a mark, that it is there may be all that counts."""
    return [*others, ...] if others and {"labels", "annotations"} & set(leaf.path[:-1]) else others


def _problem(source: Source, base: Outcome, leaf: Leaf, others: list[Any]) -> str:
    what = f"{source.objects[leaf.document]['kind']} {leaf.shown} ({leaf.value!r}, {leaf.disposition})"
    if leaf.disposition == "irrelevant":
        by_value = any(words in leaf.reason for words in BY_VALUE)
        for other in others:
            after = outcome(source.convert(with_value(source.objects, leaf, other)))
            if after.manifests != base.manifests:
                return f"{what}: {other!r} changes the output, although: {leaf.reason}"
            if not by_value and fates(after) != fates(base):
                return f"{what}: {other!r} changes the findings, although: {leaf.reason}"
        return ""
    if not others:
        return ""
    for other in _taken_away_too(leaf, others):
        after = outcome(source.convert(with_value(source.objects, leaf, other)))
        if after.output != base.output or (not leaf.outputs and after.findings != base.findings):
            return ""
    return f"{what}: {others!r} change nothing; outputs {leaf.outputs}; {leaf.reason}"


def fates(seen: Outcome) -> dict[tuple[str, ...], int]:
    """The findings that say what became of leaves, without what they are about and their texts, where the object's name may stand."""
    out: dict[tuple[str, ...], int] = {}
    for key, count in seen.findings.items():
        if key[3]:
            out[key[:-2]] = out.get(key[:-2], 0) + count
    return out
