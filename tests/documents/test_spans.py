"""Values replaced in a text: what is replaced reads as wanted, and everything else keeps its bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.documents.segments import plain
from meshport.documents.spans import json_spans, replaced

YAML = """# rules
double: "a \\"b\\" rate(old[5m])"   # kept
single: 'it''s old'
literal: |
  first old
    more

  sum(old) by
   (x)
wrapped: >-
  sum(old)
  by (x)
plain: sum(old)
  by (y)
flow: [ 1,  {"g": "old" } ]
"""


def strings(value, path=()):
    if isinstance(value, dict):
        for key, below in value.items():
            yield from strings(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from strings(below, (*path, number))
    elif isinstance(value, str):
        yield path, value


def test_every_style_of_yaml_keeps_its_layout():
    old = plain(YAML)
    new = {path: text.replace("old", 'new{a="b"}') for path, text in strings(old)}
    made = replaced(YAML, old, new)
    assert made == (
        YAML.replace('rate(old[5m])"', 'rate(new{a=\\"b\\"}[5m])"')
        .replace('"g": "old"', '"g": "new{a=\\"b\\"}"')
        .replace("old", 'new{a="b"}')
    )


def test_a_plain_scalar_that_cannot_hold_the_text_is_quoted():
    assert plain(replaced("a: b\n", {"a": "b"}, {("a",): "x: y # z"})) == {"a": "x: y # z"}


def test_anchors_are_left_to_others():
    assert replaced("a: &x old\nb: *x\n", {"a": "old", "b": "old"}, {("a",): "new"}) is None


def test_windows_line_ends_stay():
    text = "a: old\r\nb: |\r\n  old\r\n  two\r\n"
    made = replaced(text, plain(text), {("a",): "new"})
    assert made == text.replace("a: old", "a: new")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6) | st.just("sum(old) by (x)"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 0, 1, 2, "\t"]), st.booleans(), st.text(" \n", max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_formatting_of_json_stays(value, indent, ascii_only, blank):
    value = {"a": value, "b": "old"}
    text = blank + json.dumps(value, indent=indent, ensure_ascii=ascii_only) + blank
    new = {path: found.replace("old", 'a "new"\n\u00e9') for path, found in strings(value) if "old" in found}
    made = replaced(text, value, new)
    assert made is not None
    assert json.loads(made) == json.loads(json.dumps(value).replace("old", 'a \\"new\\"\\n\\u00e9'))
    for path, span in json_spans(text).items():
        if path not in new and not any(other[: len(path)] == path for other in new):
            assert text[span.start : span.end] in made
    assert made.replace('a \\"new\\"\\n\u00e9', "old") == text


@pytest.mark.parametrize("style", ["|", "|-", ">-"])
def test_a_text_in_a_block_is_changed_in_its_line_alone(style):
    text = f'a:\n  b: {style}\n    {{\n      "x": "old"\n    }}\nc: 1 # kept\n'
    old = plain(text)
    assert replaced(text, old, {("a", "b"): old["a"]["b"].replace("old", "new")}) == text.replace("old", "new")
