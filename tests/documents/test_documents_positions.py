"""Line and column of a leaf are those of its value, counted from 1, in characters."""

from __future__ import annotations

import pytest

from meshport.documents import Bundle, format_path, load_text


def places(bundle: Bundle) -> dict[str, tuple[int | None, int | None]]:
    return {bundle.path(leaf): (bundle.line(leaf), bundle.column(leaf)) for leaf in range(bundle.leaf_count)}


TEXT = """apiVersion: v1
kind: A  # why
metadata:
  annotations:
    linkerd.io/inject: "enabled"
    plain-key: ü
spec:
  hosts: [a, {b: c}, é, d]
  text: |
    one
    two
  after: &x yes
  empty: {}
  none:
  list:
  - []
  - - 1
  - k: *x
"""
WANT = {
    "apiVersion": (1, 13),
    "kind": (2, 7),
    'metadata.annotations["linkerd.io/inject"]': (5, 24),
    "metadata.annotations.plain-key": (6, 16),
    "spec.hosts[0]": (8, 11),
    "spec.hosts[1].b": (8, 18),
    "spec.hosts[2]": (8, 22),
    "spec.hosts[3]": (8, 25),
    "spec.text": (9, 9),
    "spec.after": (12, 10),
    "spec.empty": (13, 10),
    "spec.none": (14, 8),
    "spec.list[0]": (16, 5),
    "spec.list[1][0]": (17, 7),
    "spec.list[2].k": (12, 10),
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "---\n", "\ufeff---\n", "# a\n---\n---\n"])
def test_places(ending: str, before: str) -> None:
    bundle = load_text((before + TEXT).replace("\n", ending), "f.yaml")
    shift = before.count("\n")
    assert places(bundle) == {path: (line + shift, column) for path, (line, column) in WANT.items()}
    assert bundle.documents[0].line == 1 + shift


def test_places_in_json() -> None:
    bundle = load_text('\n{"apiVersion": "v1",\r\n "kind": "A", "x": [1,\n  {}, "\\u00e9", true]}\n')
    assert places(bundle) == {
        "apiVersion": (2, 16),
        "kind": (3, 10),
        "x[0]": (3, 21),
        "x[1]": (4, 3),
        "x[2]": (4, 7),
        "x[3]": (4, 17),
    }


def test_the_text_of_a_document_is_its_own() -> None:
    first, second = "# one\napiVersion: v1\nkind: A\n", "\n# two\napiVersion: v1\nkind: B"
    bundle = load_text(f"{first}---\n{second}", "f.yaml")
    assert [bundle.text_of(each) for each in bundle.documents] == [first, second]


def test_paths() -> None:
    assert format_path(()) == ""
    assert format_path(("spec", "http", 2, "a.b/c", "x")) == 'spec.http[2]["a.b/c"].x'
    assert format_path(("a b", 'q"\\', "")) == '["a b"]["q\\"\\\\"][""]'
