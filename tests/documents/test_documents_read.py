"""Reading: what comes back, what is reported, and that nothing hostile gets through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshport.documents import load, load_objects, load_stream, load_text
from meshport.documents.events import pure_backend
from meshport.documents.read import _Reader
from meshport.errors import InputError

HEAD = "apiVersion: v1\nkind: ConfigMap\n"


def problems(text: str | bytes) -> list[tuple[str, int | None]]:
    return [(each.code, each.line) for each in load_stream(text).problems]


def test_a_broken_document_spoils_only_itself() -> None:
    bundle = load_stream(f"{HEAD}id: 1\n---\n{HEAD}id: [\n---\n# only a comment\n---\n{HEAD}id: 3\n")
    assert [(each.index, each.value["id"], each.line) for each in bundle.documents] == [(0, 1, 1), (2, 3, 11)]
    (problem,) = bundle.problems
    assert (problem.code, problem.file, problem.document) == ("MP001", "<stdin>", 1)
    assert problem.line == 8 or problem.line == 7


def test_load_text_raises_with_the_place_in_the_file() -> None:
    with pytest.raises(InputError) as caught:
        load_text(f"{HEAD}---\n{HEAD}a: b: c\n", "x.yaml")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("x.yaml", 6, 5)


def test_properties_are_robust() -> None:
    (document,) = load_text("apiVersion: networking.istio.io/v1\nkind: K\nmetadata: [1]\n").documents
    assert (document.group, document.version, document.kind, document.namespace, document.name) == (
        "networking.istio.io",
        "v1",
        "K",
        None,
        "",
    )
    (core,) = load_text(HEAD + "metadata: {name: nn, namespace: ns}\n").documents
    assert (core.group, core.version, core.namespace, core.name) == ("", "v1", "ns", "nn")


def test_duplicate_keys_name_both_lines_and_the_last_wins() -> None:
    bundle = load_text(f"{HEAD}m:\n  a: 1\n  b: 2\n  a: 3\n")
    (problem,) = bundle.problems
    assert bundle.documents[0].value["m"] == {"b": 2, "a": 3}
    assert (problem.code, problem.path, problem.line, problem.column) == ("MP003", "m.a", 6, 3)
    assert "lines 4 and 6" in problem.message
    assert [bundle.value(leaf) for leaf in problem.leaves] == [3]
    assert bundle.leaf_count == 4


def test_lists_are_flattened() -> None:
    text = f"""apiVersion: v1
kind: List
metadata: {{resourceVersion: ""}}
items:
- {{apiVersion: v1, kind: Pod, metadata: {{name: a}}}}
- 7
- apiVersion: v1
  kind: Pod
  metadata:
    name: b
---
apiVersion: v1
kind: PodList
items: [{{metadata: {{name: c}}}}]
---
{HEAD}items: {{a: 1}}
"""
    bundle = load_stream(text)
    assert [(each.index, each.item, each.kind, each.name) for each in bundle.documents] == [
        (0, 0, "Pod", "a"),
        (0, 2, "Pod", "b"),
        (1, 0, "Pod", "c"),
        (2, None, "ConfigMap", ""),
    ]
    assert [(each.code, each.path) for each in bundle.problems] == [("MP002", "items[1]")]
    second = bundle.documents[1]
    assert (second.line, second.text) == (7, None)
    assert [(bundle.path(leaf), bundle.line(leaf)) for leaf in bundle.leaves_of(second)] == [
        ("apiVersion", 7),
        ("kind", 8),
        ("metadata.name", 10),
    ]
    assert all(bundle.owner(leaf) is document for document in bundle.documents for leaf in bundle.leaves_of(document))


def test_anchors_and_merge_keys() -> None:
    text = f"{HEAD}base: &b {{x: 1, w: 2}}\nmore: &m {{w: 3, z: 4}}\nsum: {{w: 9, <<: [*m, *b]}}\nsame: *b\nk: &k name\n*k : v\n"
    bundle = load_text(text)
    value = bundle.documents[0].value
    assert value["sum"] == {"w": 9, "z": 4, "x": 1}
    assert value["same"] == {"x": 1, "w": 2}
    assert value["same"] is not value["base"]
    assert value["name"] == "v"
    places = {bundle.path(leaf): (bundle.line(leaf), bundle.column(leaf)) for leaf in range(bundle.leaf_count)}
    assert places["same.x"] == places["base.x"] == places["sum.x"] == (3, 14)
    assert places["sum.w"] == (5, 10)
    assert bundle.leaf_count == len(places)


@pytest.mark.parametrize(
    "text", ["a: *b", "a: &x [*x]", "a: {<<: 1}", "? [a]\n: b", "? {a: b}\n: c", "~: b", "a: .inf", "a: @b", "\ta: b", "a: \x07b"]
)
def test_unreadable(text: str) -> None:
    with pytest.raises(InputError):
        load_text(HEAD + text)
    assert problems(f"{HEAD}{text}\n---\n{HEAD}")[0][0] == "MP001"


def test_billion_laughs() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert problems(HEAD + "\n".join(lines)) == [("MP005", 7)]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "- " * 5_000 + "a", "{a: " * 5_000, "? " * 3_000, '["a", {' * 50_000])
def test_hostile_nesting(text: str) -> None:
    assert [code for code, _ in problems(text)] in (["MP005"], ["MP001"])
    with pytest.raises(InputError):
        load_text(text)


def test_depth_limit_counts_aliases() -> None:
    deep = "[" * 90 + "]" * 90
    assert problems(f"{HEAD}a: &a {deep}\nb: {'[' * 20}*a{']' * 20}\n")[0][0] == "MP005"
    assert problems(f"{HEAD}a: &a {deep}\nb: *a\n") == []


def test_templates_and_variables() -> None:
    assert problems("apiVersion: v1\nkind: A\nmetadata:\n  name: {{ .Values.x }}\n") == [("MP004", 4)]
    assert problems("{{- if .Values.x }}\napiVersion: v1\nkind: A\n{{- end }}\n") == [("MP004", 1)]
    assert problems(HEAD + "a: b-{{ .Values.x }}\n") == [("MP004", 3)]
    assert problems(HEAD + 'a: "{{ $labels.pod }}"\nb: up {{ $value }}\n') == []
    bundle = load_stream(HEAD + "host: ${HOST}.x\ndata: {run: '${X}'}\nscript: |\n  echo ${Y}\nport: ${PORT:=80}\n")
    (problem,) = bundle.problems
    assert (problem.code, problem.line, problem.path, len(problem.leaves)) == ("MP004", 3, "host", 2)
    assert bundle.documents[0].value["host"] == "${HOST}.x"


@pytest.mark.parametrize("text", ['spec: {host: "{{ .Values.host }}"}', '{"spec": {"host": "{{ .Values.host }}"}}'])
def test_a_template_in_quotes_is_named_in_what_a_mesh_reads(text: str) -> None:
    """Others fill in templates by themselves: workflows, dashboards, policies of admission."""
    for api, said in (("networking.istio.io/v1", 1), ("cilium.io/v2", 1), ("kyverno.io/v1", 0)):
        head = f"apiVersion: {api}\nkind: A\n" if text[0] == "s" else f'{{"apiVersion": "{api}", "kind": "A", '
        found = problems(head + text.removeprefix("{"))
        assert [code for code, _ in found] == ["MP004"] * said


def test_many_findings_take_linear_time() -> None:
    bundle = load_stream(HEAD + "".join(f"a{number}: b{{{{ x }}}}\n" for number in range(20_000)) + "b: c" + "${A:" * 50_000 + "x")
    assert [(each.code, len(each.leaves)) for each in bundle.problems] == [("MP004", 20_000)]


def test_streams() -> None:
    assert problems("") == problems("---\n---\n# a\n---\nnull\n") == []
    assert problems("just text") == [("MP002", 1)]
    assert problems("- a\n- b\n") == [("MP002", 1)]
    assert problems("replicas: 2\n") == [("MP002", 1)]
    assert problems(f"{HEAD}--- {{a: b}}\n---\n{HEAD}") == [("MP001", 3)]
    assert problems(f"%YAML 1.1\n---\n{HEAD}") == []
    assert problems(f"{HEAD}--- # two\r\n{HEAD}") == []
    dots = load_stream(f"{HEAD}...\n{HEAD}")
    assert (len(dots.documents), [(each.code, each.line) for each in dots.problems]) == (1, [("MP001", 4)])
    assert load_text("apiVersion: v1\nkind: A\nx: [::1, a]\n").documents[0].value["x"] == ["::1", "a"]
    assert load_text(HEAD + "a:\t1\n").documents[0].value["a"] == 1


def test_encodings() -> None:
    assert problems(b"\xef\xbb\xbf" + HEAD.encode()) == []
    assert problems(HEAD.encode("utf-16")) == [("MP001", None)]
    assert problems(HEAD.encode() + b"a: \xff\n") == [("MP001", 3)]
    assert problems(bytes(range(256))) == [("MP001", 2)]


def test_json_streams() -> None:
    one, two = {"apiVersion": "v1", "kind": "A", "x": [1.0, -5, 1e3, "é\n\U0001f600"]}, {"apiVersion": "v1", "kind": "B"}
    for text in (f"{json.dumps(one)}\n{json.dumps(two)}", json.dumps(one, indent=2) + json.dumps(two, ensure_ascii=False)):
        bundle = load_text(text, "x.json")
        assert [each.value for each in bundle.documents] == [one, two]
        assert [each.index for each in bundle.documents] == [0, 1]
        assert json.loads(bundle.text_of(bundle.documents[1]) or "") == two
    broken = load_stream(f'{json.dumps(one)}\n{{"a": tru}}\n{json.dumps(two)}\n')
    assert [each.kind for each in broken.documents] == ["A", "B"]
    assert [(each.code, each.document, each.line, each.column) for each in broken.problems] == [("MP001", 1, 2, 7)]
    first = load_stream(f'{{"a": tru}}\n{json.dumps(two)}\n')
    assert [(each.kind, each.index) for each in first.documents] == [("B", 1)]
    assert problems('{"apiVersion": "v1", "kind": "A", "a": {"b": 1, "b": 2}}') == [("MP003", 1)]
    assert load_text("{apiVersion: v1, kind: A}").documents[0].kind == "A"
    assert load_text('{"apiVersion": "v1", "kind": "A", "x": "\\ud800"}').documents[0].value["x"] == "\ufffd"


def test_folders(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/y.json", ".git/c.yaml", "a/.hidden.yaml", "note.txt", ".meshport"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HEAD)
    bundle = load(tmp_path, tmp_path / "b.yaml", tmp_path / "note.txt")
    assert [os.path.relpath(source.file, tmp_path) for source in bundle.files] == ["b.yaml", "a/y.json", "a/z.yml", "note.txt"]
    assert [source.documents for source in bundle.files] == [1, 1, 1, 1]
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    assert [each.code for each in load(tmp_path).problems] == ["MP001"]
    with pytest.raises(InputError):
        load(tmp_path, strict=True)


def test_objects() -> None:
    objects = [
        {"apiVersion": "v1", "kind": "A", "x": [{}, [], None]},
        {"kind": "B"},
        {"kind": "List", "items": [{"apiVersion": "v1", "kind": "C"}]},
    ]
    before = json.dumps(objects)
    bundle = load_objects(objects)
    assert json.dumps(objects) == before
    assert [(each.file, each.index, each.item, each.kind) for each in bundle.documents] == [(None, 0, None, "A"), (None, 2, 0, "C")]
    assert bundle.documents[0].value is objects[0]
    assert [(each.code, each.document) for each in bundle.problems] == [("MP002", 1)]
    assert [bundle.path(leaf) for leaf in range(bundle.leaf_count)] == ["apiVersion", "kind", "x[0]", "x[1]", "x[2]", "apiVersion", "kind"]
    assert bundle.line(0) is bundle.column(0) is None
    loop: dict[str, object] = {"apiVersion": "v1", "kind": "A"}
    loop["loop"] = loop
    with pytest.raises(InputError):
        load_objects([loop])
    with pytest.raises(IndexError):
        bundle.path(99)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "a: &x [1, on, 'on']\nb: *x\nc: {<<: {d: 1}}\ne: |\n  t\n",
        HEAD + "a: [\n",
        HEAD + "a: 1\n...\nb: 2\n",
        HEAD + "a: \x07\n",
    ],
)
def test_the_pure_parser_gives_the_same(text: str) -> None:
    slow = _Reader(strict=False)
    slow.builder.backend = pure_backend()
    slow.text(text, "f")
    one, other = slow.bundle(), load_stream(text, "f")
    assert [each.value for each in one.documents] == [each.value for each in other.documents]
    assert [(each.code, each.document) for each in one.problems] == [(each.code, each.document) for each in other.problems]
    assert [(one.line(leaf), one.column(leaf)) for leaf in range(one.leaf_count)] == [
        (other.line(leaf), other.column(leaf)) for leaf in range(other.leaf_count)
    ]


def test_broken_json_is_not_parsed_again_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser in pure Python reads `[::1]` and the like; a large file of JSON that is cut off kept it busy for many seconds."""
    opened: list[str] = []
    monkeypatch.setattr("meshport.documents.segments.pure_backend", lambda: opened.append("once") or pure_backend())
    assert problems('{"a": [{"b": "c"}, {"d":') == [("MP001", 1)]
    assert opened == []
    assert load_text(HEAD + "x: [::1]\ny: {a: b:}\n").documents[0].value["x"] == ["::1"]
    assert opened == ["once"]


def test_importing_loads_no_yaml_library() -> None:
    code = "import sys, meshport.documents; sys.exit(any(name.split('.')[0] in ('yaml', 'ruamel') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


YAMLISH = st.lists(
    st.sampled_from(
        [*"abn01 \n\t:-[]{},&*!|>'\"%@#?<~.\\\r", "\n  ", "---\n", "...\n", "<<: ", "*a", "&a ", "{{", "${A}", "\ufeff", "\x85", "\0"]
    )
    | st.sampled_from(
        ["apiVersion: v1\nkind: List\nitems:\n- ", "- ", ": ", "!!binary ", "!!int ", '{"a": ', "\ud800", "\U0001f600", "%TAG ! x\n"]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(YAMLISH | st.text(), st.booleans())
def test_any_text_reads_or_raises_an_input_error(text: str, head: bool) -> None:
    text = HEAD + text if head else text
    collected = load_stream(text)
    for document in collected.documents:
        leaves = [leaf for leaf, _, _ in collected.walk(document)]
        assert leaves == list(collected.leaves_of(document))
        for leaf, path, value in collected.walk(document):
            assert collected.parts(leaf) == path
            assert collected.value(leaf) == value
            assert collected.line(leaf)
    try:
        load_text(text)
    except InputError as error:
        assert "\n" not in error.reason
    else:
        assert not [each for each in collected.problems if each.code == "MP005"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | YAMLISH.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_reads(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any.yaml").write_bytes(content)
    bundle = load(tmp_path)
    assert all("\n" not in each.message + each.remedy for each in bundle.problems)


def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.yaml").write_text("apiVersion: v1\nkind: A\nmetadata: {name: a}\n", encoding="utf-8")
    listed, is_file = os.scandir, Path.is_file

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    def refused(self: Path) -> bool:
        if self.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "is_file", refused)
    bundle = load(str(tmp_path))
    assert [document.name for document in bundle.documents] == ["a"]
    (problem,) = bundle.problems
    assert (problem.code, problem.file) == ("MP001", str(tmp_path / "closed"))


def test_a_link_that_leads_nowhere_is_one_bad_file_among_others(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(HEAD)
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    bundle = load(tmp_path)
    assert [(problem.code, Path(problem.file or "").name) for problem in bundle.problems] == [("MP001", "gone.yaml")]
    assert len(bundle.documents) == 1
    with pytest.raises(InputError):
        load(tmp_path / "gone.yaml")
