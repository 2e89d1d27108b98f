"""The shape of what was read: documents as plain objects, and beside each a shadow that gives every leaf its number.

A leaf is a scalar, a null, `{}` or `[]`. Leaf numbers are global in a bundle, those of one document are contiguous and rise in the order
of the tree, so neither paths nor parents have to be stored: they are found again by walking the shadow.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any

Part = str | int

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True, eq=False)
class Document:
    """One Kubernetes object as it stood in its file. Two documents are equal only if they are the same one."""

    file: str | None
    """As shown to the user: the path given, joined with the relative one; `<stdin>`; None from `load_objects`."""
    index: int
    """Number of the document in its file, from 0; from `load_objects` the position in the list."""
    item: int | None
    """Number inside a `kind: List`, else None."""
    value: dict[str, Any]
    leaves: Any
    """The shadow: nested as `value`, every leaf replaced by its number."""
    line: int
    """First line of the document from 1; 0 if unknown."""
    text: tuple[int, int] | None
    """(start, end) of its source within its file's text, if it can be edited alone."""
    first: int = 0
    """Its first leaf; `first + count` is the first leaf of the next document."""
    count: int = 0
    chart: str = ""
    """The Helm chart that these are values of, or what else a script sets, where the document is no object; else ""."""
    commanded: bool = False
    """Whether a command of a script is all that is known of the object."""
    stood: Document | None = None
    """The document as it stands in its file, where commands have marked it since: where its own leaves are found."""
    home: str = ""
    """The namespace that it is in although it names none, where somebody has said which."""
    form: str = ""
    """What it is where it is no object but a file of Prometheus, Grafana, Sloth or prometheus-adapter: `RuleFile`, `Dashboard`, `SlothSpec`, `AdapterRules` or `RuleTests`; else ""."""

    api_version: str = field(init=False)
    group: str = field(init=False)
    """The API group, "" for the core group; `helm` for values of a chart, `files` for what is no object."""
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        """Say once what every part of a conversion asks of every document."""
        self.api_version = _text(self.value, "apiVersion")
        self.group = "helm" if self.chart else "files" if self.form else intern(self.api_version.rpartition("/")[0])
        values = self.chart and not self.chart.startswith("kubectl")
        self.kind = self.form or ("Values" if values else _text(self.value, "kind"))

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    @property
    def namespace(self) -> str | None:
        """The namespace that the object is in: `metadata.namespace`, or the one it is read in; None for an object of the cluster, and where nobody has said it."""
        return _text(self.value.get("metadata"), "namespace") or self.home or None

    @property
    def named_namespace(self) -> str | None:
        """`metadata.namespace` as it is written, None if absent or empty."""
        return _text(self.value.get("metadata"), "namespace") or None

    @property
    def name(self) -> str:
        if self.form:
            return f"{self.file}#{self.index}" if self.file is None or self.index else self.file
        return self.chart if self.chart and not self.chart.startswith("kubectl") else _text(self.value.get("metadata"), "name")


def _text(holder: Any, key: str) -> str:
    """The text under a key; "" where there is none."""
    found = holder.get(key) if isinstance(holder, dict) else None
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the input as text. Lines and columns count from 1; None where no place is known."""

    code: str
    message: str
    remedy: str
    file: str | None = None
    document: int | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    leaves: tuple[int, ...] = ()
    about: tuple[str, ...] = ()  # folders and files that it is of no matter without; () where it stands for itself


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read: `documents` counts the objects taken from it (items of a List singly); `text` is None if it could not be
    decoded.
    """

    file: str
    sha256: str
    documents: int
    text: str | None = field(default=None, repr=False)


def format_path(parts: Sequence[Part]) -> str:
    """`spec.http[2].route[0].weight`; keys outside `[A-Za-z0-9_-]+` as `["a.b/c"]`. The empty path is ""."""
    out: list[str] = []
    for part in parts:
        if isinstance(part, int):
            out.append(f"[{part}]")
        elif _BARE_KEY.fullmatch(part):
            out.append(f".{part}" if out else part)
        else:
            escaped = str(part).replace("\\", "\\\\").replace('"', '\\"')
            out.append(f'["{escaped}"]')
    return "".join(out)


def first_leaf(shadow: Any) -> int:
    """The lowest leaf number in a shadow."""
    while not isinstance(shadow, int):
        shadow = shadow[0] if isinstance(shadow, list) else next(iter(shadow.values()))
    return shadow


def locate(shadow: Any, leaf: int) -> tuple[Part, ...]:
    """The way to `leaf` in a shadow that holds it."""
    parts: list[Part] = []
    while not isinstance(shadow, int):
        key: Part
        if isinstance(shadow, list):
            key = bisect_right(shadow, leaf, key=first_leaf) - 1
            shadow = shadow[key]
        else:
            key, child = "", shadow
            for name, at in shadow.items():
                if first_leaf(at) > leaf:
                    break
                key, child = name, at
            shadow = child
        parts.append(key)
    return tuple(parts)


def leaf_paths(shadow: Any) -> Iterator[tuple[int, tuple[Part, ...]]]:
    """(leaf, path) of all leaves in a shadow, in order."""
    stack: list[tuple[Any, tuple[Part, ...]]] = [(shadow, ())]
    while stack:
        at, path = stack.pop()
        if isinstance(at, int):
            yield at, path
        elif isinstance(at, list):
            stack.extend((at[number], (*path, number)) for number in range(len(at) - 1, -1, -1))
        else:
            stack.extend((at[key], (*path, key)) for key in reversed(at))


def _shifted(shadow: Any, by: int) -> Any:
    """A copy of a shadow whose leaves have other numbers."""
    if isinstance(shadow, int):
        return shadow + by
    if isinstance(shadow, list):
        return [_shifted(below, by) for below in shadow]
    return {key: _shifted(below, by) for key, below in shadow.items()}


def _renumbered(shadow: Any, old_lines: array[int], old_columns: array[int], lines: array[int], columns: array[int]) -> Any:
    """A copy of a shadow with new leaves, at the places of the old ones."""
    if isinstance(shadow, int):
        lines.append(old_lines[shadow])
        columns.append(old_columns[shadow])
        return len(lines) - 1
    if isinstance(shadow, list):
        return [_renumbered(below, old_lines, old_columns, lines, columns) for below in shadow]
    return {key: _renumbered(below, old_lines, old_columns, lines, columns) for key, below in shadow.items()}


@dataclass(frozen=True, slots=True)
class Written:
    """What a folder that a conversion wrote says of the cluster afterwards: the mesh that reads it, and the documents of meshes that stay beside what is in
    the folder, each as (group, kind, namespace or empty, name)."""

    mesh: str
    stays: frozenset[tuple[str, str, str, str]]


class Bundle:
    """The documents of one conversion, in the order in which they were read. Read-only once built, safe to share between threads."""

    __slots__ = ("_columns", "_firsts", "_lines", "_texts", "documents", "files", "problems", "roots", "written")

    def __init__(
        self,
        documents: list[Document],
        problems: list[Problem],
        files: list[SourceFile],
        lines: array[int],
        columns: array[int],
        roots: tuple[str, ...] = (),
        written: Written | None = None,
    ) -> None:
        self.documents = documents
        self.problems = problems
        self.files = files
        self.roots = roots
        """The folders that were given, with a trailing separator: what a mirrored output leaves out of its paths."""
        self.written = written
        self._lines = lines
        self._columns = columns
        self._firsts = array("L", (document.first for document in documents))
        self._texts = {source.file: source.text for source in files}

    def __repr__(self) -> str:
        return f"<Bundle of {len(self.documents)} documents, {self.leaf_count} leaves, {len(self.problems)} problems>"

    @property
    def leaf_count(self) -> int:
        return len(self._lines)

    def _check(self, leaf: int) -> None:
        if not 0 <= leaf < len(self._lines):
            raise IndexError(f"no leaf {leaf} in a bundle of {len(self._lines)}")

    def owner(self, leaf: int) -> Document:
        """The document that holds a leaf. IndexError for a number that is no leaf, here and below."""
        self._check(leaf)
        return self.documents[bisect_right(self._firsts, leaf) - 1]

    def number(self, leaf: int) -> int:
        """The position in `documents` of the document that holds a leaf."""
        self._check(leaf)
        return bisect_right(self._firsts, leaf) - 1

    def beside(self, context: Bundle) -> Bundle:
        """The bundle with what else is known of its cluster. An object that it has itself is as it says: the context is of another day, or of before."""

        def named(item: Document) -> tuple[str, str, str, str]:
            return item.group, item.kind, item.namespace or "", item.name

        own = {named(document) for document in self.documents if document.name and not document.commanded}
        return self.joined(context, lambda item: named(item) not in own)

    def joined(self, other: Bundle, keep: Callable[[Document], bool] | None = None) -> Bundle:
        """A bundle of both: this one's documents keep their numbers and leaves, the other's follow with leaves of their own.

        `keep` says which documents of the other are taken. A file that both have read counts as this one's.
        """
        own = {source.file: source.sha256 for source in self.files}
        same = {source.file for source in other.files if own.get(source.file) == source.sha256}
        lines, columns = array("I", self._lines), array("I", self._columns)
        documents = list(self.documents)
        moved: dict[int, int] = {}
        for document in other.documents:
            if document.file in same or (keep is not None and not keep(document)) or document.chart == "kubectl done":
                continue
            if document.stood is not None:  # marked by commands: it takes all its leaves along, whichever document they stand in
                first = len(lines)
                shadow = _renumbered(document.leaves, other._lines, other._columns, lines, columns)
                documents.append(replace(document, leaves=shadow, text=None, first=first, count=len(lines) - first, stood=None))
                continue
            shift = len(lines) - document.first
            moved.update((leaf, leaf + shift) for leaf in range(document.first, document.first + document.count))
            lines.extend(other._lines[document.first : document.first + document.count])
            columns.extend(other._columns[document.first : document.first + document.count])
            text = None if document.file in own else document.text  # another file of the same name: its text is not at hand
            documents.append(replace(document, leaves=_shifted(document.leaves, shift), text=text, first=document.first + shift))
        problems = [
            replace(problem, leaves=tuple(moved[leaf] for leaf in problem.leaves if leaf in moved))
            for problem in other.problems
            if problem.file is None or problem.file not in same
        ]
        files = [source for source in other.files if source.file not in own]
        roots = (*self.roots, *(root for root in other.roots if root not in self.roots))
        return Bundle(documents, [*self.problems, *problems], [*self.files, *files], lines, columns, roots, self.written)

    def holding(self, documents: list[Document]) -> Bundle:
        """The same leaves under other documents, one for each."""
        return Bundle(documents, self.problems, self.files, self._lines, self._columns, self.roots, self.written)

    def line(self, leaf: int) -> int | None:
        """Line of the leaf's value from 1; None where the bundle was made from objects. An alias has the place of its anchor."""
        self._check(leaf)
        return self._lines[leaf] or None

    def column(self, leaf: int) -> int | None:
        """Column of the leaf's value, from 1, in characters."""
        self._check(leaf)
        return self._columns[leaf] or None

    def parts(self, leaf: int) -> tuple[Part, ...]:
        """The path of a leaf as keys and list indices; for an item of a List from the item."""
        document = self.owner(leaf)
        return locate((document.stood or document).leaves, leaf)

    def path(self, leaf: int) -> str:
        """The path of a leaf as text, see `format_path`."""
        return format_path(self.parts(leaf))

    def value(self, leaf: int) -> Any:
        """The scalar at a leaf, None, `{}` or `[]`."""
        document = self.owner(leaf)
        document = document.stood or document
        at: Any = document.value
        for part in locate(document.leaves, leaf):
            at = at[part]
        return at

    def leaves_of(self, document: Document) -> range:
        """The leaf numbers of one of this bundle's documents."""
        return range(document.first, document.first + document.count)

    def walk(self, document: Document) -> Iterator[tuple[int, tuple[Part, ...], Any]]:
        """(leaf, path, value) of all leaves of a document in order; quicker than `path` and `value` for each."""
        stack: list[tuple[Any, Any, tuple[Part, ...]]] = [(document.leaves, document.value, ())]
        while stack:
            shadow, value, path = stack.pop()
            if isinstance(shadow, int):
                yield shadow, path, value
            elif isinstance(shadow, list):
                stack.extend((shadow[i], value[i], (*path, i)) for i in range(len(shadow) - 1, -1, -1))
            else:
                stack.extend((shadow[key], value[key], (*path, key)) for key in reversed(shadow))

    def saying(self, document: Document) -> frozenset[int]:
        """The leaves by which an object says something: all but the names of its schema, and its labels."""
        own = (("apiVersion",), ("kind",))
        return frozenset(leaf for leaf, path, _ in self.walk(document) if path not in own and path[:2] != ("metadata", "labels"))

    def text_of(self, document: Document) -> str | None:
        """The source text of a document that can be edited alone, else None."""
        if document.text is None or document.file is None:
            return None
        text = self._texts.get(document.file)
        return None if text is None else text[document.text[0] : document.text[1]]
