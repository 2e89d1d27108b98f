"""Editing: what did not change keeps its comments, order, quotes and layout."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.documents import dump, edit
from meshport.documents.edit import same
from meshport.documents.segments import plain

TEXT = """# The reviews service.

kind: VirtualService   # first on purpose
apiVersion: networking.istio.io/v1alpha3
metadata: {name: "reviews",   labels: {app: 'x'}}
spec:
    empty: null
    hosts:
      # the short name
      - reviews
      - "other"   # kept
    http:
      - timeout: 5s  # long
        route: [ {destination: {host: a}, weight: 10} ]

      # the rest
      - route:
          - destination:
              host: b   # b
    enabled: on
"""


def changed(text: str, change: Any) -> str:
    new = copy.deepcopy(plain(text))
    change(new)
    result = edit(text, new)
    assert same(plain(result), new)
    return result


def test_nothing_to_do() -> None:
    assert edit(TEXT, plain(TEXT)) == TEXT


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_one_scalar_is_one_line(ending: str) -> None:
    text = TEXT.replace("\n", ending)
    assert changed(text, lambda new: new.update(apiVersion="networking.istio.io/v1")) == text.replace("v1alpha3", "v1")
    assert changed(text, lambda new: new["spec"]["http"][0].update(timeout="9s")) == text.replace("5s", "9s")
    assert changed(text, lambda new: new["spec"].update(enabled=False)) == text.replace("enabled: on", "enabled: false")


def test_lists() -> None:
    assert changed(TEXT, lambda new: new["spec"]["hosts"].append("on")) == TEXT.replace("# kept\n", '# kept\n      - "on"\n')
    removed = changed(TEXT, lambda new: new["spec"]["http"].pop(0))
    assert "timeout" not in removed
    assert "host: b   # b" in removed
    assert "# the short name" in removed


def test_without_a_last_line_break() -> None:
    assert changed("a: 1\nb: 2", lambda new: new.update(a=3)) == "a: 3\nb: 2"


def test_json_stays_json() -> None:
    assert changed('{\n    "a": 1\n}\n', lambda new: new.update(b=[])) == '{\n    "a": 1,\n    "b": []\n}\n'
    assert changed('{"a":1}', lambda new: new.update(a="é")) == '{"a":"é"}'


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "x: &a {b: 1}\ny: *a\n", "- 1\n", "", "{{ x }}"])
def test_what_cannot_be_edited_is_written_anew(text: str) -> None:
    new = {"x": {"b": 1}, "y": {"b": 2}}
    assert edit(text, new) == dump([new]) or same(plain(edit(text, new)), new)


KEYS = st.sampled_from(["a", "b", "on", "1", "x.y/z", "apiVersion"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "on", "a\nb\n", "", "1e3", "#"]) | st.text(max_size=5)
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(KEYS, each, max_size=3), max_leaves=10
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, TREES, max_size=4), st.dictionaries(KEYS, TREES, max_size=4))
def test_the_result_always_reads_as_the_new_object(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert same(plain(edit(dump([old]), new)), new)
    assert same(plain(edit(json.dumps(old), new)), new)
