"""Changing a few lines of a document, and giving up where that is not enough."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.documents import dump
from meshport.retouch import retouch

NAMESPACE = """\
# who lives here
kind: Namespace   # a kind
metadata:
  name: shop
  labels:

    # enrolled since March
    istio-injection: enabled   # by us
    team: "blue"
  # the end
"""


def read(text: str) -> dict[str, object]:
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def test_entries_come_and_go() -> None:
    new = {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "blue"}, "annotations": {"linkerd.io/inject": "enabled"}}}
    assert retouch(NAMESPACE, read(NAMESPACE), new) == (
        "# who lives here\nkind: Namespace   # a kind\nmetadata:\n  name: shop\n  labels:\n\n    # enrolled since March\n"
        '    team: "blue"\n  annotations:\n    linkerd.io/inject: enabled\n  # the end\n'
    )


def test_the_last_entry_takes_its_mapping_along() -> None:
    new = {"kind": "Namespace", "metadata": {"name": "shop"}}
    assert (
        retouch(NAMESPACE, read(NAMESPACE), new) == "# who lives here\nkind: Namespace   # a kind\nmetadata:\n  name: shop\n  # the end\n"
    )


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a: {b: c}\n", {"a": {"b": "c", "d": 1}}),  # a flow mapping
        ("a:\n- b\n", {"a": ["b", "c"]}),  # a list
        ("a: b\n", {"a": "c"}),  # another value
        ("a: |\n  text\n", {"a": "text\n", "b": 1}),  # a block scalar at the end
        ("a: &x\n  b: 1\nc: *x\n", {"a": {"b": 1, "d": 2}, "c": {"b": 1}}),  # an anchor that would have to part
        ("a:\nb: 1\n", {"a": None}),  # nothing after it is certain
    ],
)
def test_giving_up(text: str, new: dict[str, object]) -> None:
    found = retouch(text, read(text), new)
    assert found is None or read(found) == new


KEYS = st.text("abcxyz./-", min_size=1, max_size=6)
SCALARS = st.one_of(st.text("ab: #'\"\n-yes0", max_size=8), st.integers(), st.booleans(), st.none())
TREES = st.recursive(SCALARS, lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(KEYS, below, max_size=3)), max_leaves=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4), st.dictionaries(KEYS, TREES, max_size=4))
def test_whatever_comes_out_reads_as_meant(old: dict[str, object], change: dict[str, object]) -> None:
    from meshport.documents.edit import same
    from meshport.documents.segments import plain

    new = {**{key: old[key] for key in list(old)[1:]}, **change}
    found = retouch(dump([old]), old, new)
    assert found is None or same(plain(found), new)
