"""Writing: deterministic, in kubectl's layout, and read back as the same object by every reader."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meshport.documents import dump, dump_json, load_text
from meshport.documents.edit import same
from meshport.documents.forms import holds
from meshport.errors import UsageError

AWKWARD = [
    "on",
    "0755",
    "1e3",
    "a: b",
    "- x",
    "a\nb",
    "a\n\n",
    " a\nb",
    "a\n b\n",
    "\n",
    "#",
    "12:30",
    "\x85",
    "\u2028",
    "\ufeff",
    "{{ x }}",
    "<<",
    "'\"\\",
]
STRINGS = (
    st.sampled_from(
        [*AWKWARD, "k" * 1100, "a\n  ", "a\n\t\n b", "---\na", "---", "...\n", "\x00", "\U0001fffe", "=", "~", "a \nb ", "x\r\ny"]
    )
    | st.text()
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | STRINGS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=4) | st.dictionaries(STRINGS, each, max_size=4), max_leaves=15
)


def test_layout() -> None:
    thing = {
        "status": {},
        "spec": {
            "hosts": ["a", "on"],
            "http": [{"route": [{"weight": 1.0}], "x": []}, [[1], "b"]],
            "text": "a\n\nb\n",
            "keep": "a\n\n",
            "cut": "a\nb",
        },
        "metadata": {"labels": {"app": "y", "regex": '*\\d"'}, "name": "nn"},
        "kind": "K",
        "apiVersion": "v1",
    }
    assert (
        dump([thing, {"apiVersion": "v1", "kind": "B"}], {0: ["why", "two\nlines"], 1: [""]})
        == """# why
# two
# lines
apiVersion: v1
kind: K
metadata:
  name: nn
  labels:
    app: "y"
    regex: '*\\d"'
spec:
  hosts:
  - a
  - "on"
  http:
  - route:
    - weight: 1
    x: []
  - - - 1
    - b
  text: |
    a

    b
  keep: |+
    a

  cut: |-
    a
    b
status: {}
---
#
apiVersion: v1
kind: B
"""
    )
    assert dump([]) == ""


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(STRINGS, VALUES, max_size=4))
def test_what_is_written_reads_the_same(value: dict[str, Any]) -> None:
    thing = {**value, "apiVersion": "v1", "kind": "Thing"}
    assume(not holds(thing, "$patch"))  # a patch is no object
    text = dump([thing])
    bundle = load_text(text)
    assert same(bundle.documents[0].value, thing)
    assert bundle.problems == [] or {each.code for each in bundle.problems} == {"MP004"}
    assert same(yaml.load(text, yaml.CSafeLoader), thing)
    again = load_text(dump_json([thing]))
    assert same(again.documents[0].value, thing)
    assert dump([bundle.documents[0].value]) == dump([thing])


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", b"x", {1: 2}, {"\udfff": 1}, object()])
def test_what_no_manifest_can_say(value: object) -> None:
    for write in (dump, dump_json):
        with pytest.raises(UsageError):
            write([{"x": value}])


def test_nesting_is_limited() -> None:
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    for write in (dump, dump_json):
        with pytest.raises(UsageError):
            write([{"x": deep}])


def test_several_objects_are_a_json_list() -> None:
    assert json.loads(dump_json([{"a": 1}, {"b": 2}])) == {"apiVersion": "v1", "kind": "List", "items": [{"a": 1}, {"b": 2}]}
    assert json.loads(dump_json([{"a": 1.0}])) == {"a": 1}
