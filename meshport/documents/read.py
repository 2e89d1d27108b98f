"""Files, folders, streams and plain objects become a Bundle; whatever is wrong with the text becomes a Problem, and spoils only its own
document.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshport.documents import build as _build
from meshport.documents import jsontext
from meshport.documents.build import Builder, Duplicate, Tree, UnreadableError, renumber
from meshport.documents.built import kustomized, tree_of
from meshport.documents.events import backend
from meshport.documents.files import SCRIPT, files_below, marked, patching
from meshport.documents.forms import NO_MANIFEST, chart_named, chart_of, form_of, holds, is_list, items_of, not_an_object
from meshport.documents.handed import ADD_IT, handed_over
from meshport.documents.kubectl import OF_THE_CLUSTER
from meshport.documents.model import Bundle, Document, Part, Problem, SourceFile, Written, first_leaf, format_path, leaf_paths
from meshport.documents.segments import Segment, parsed, segments
from meshport.errors import InputError

STDIN = "<stdin>"
MAX_FILE = 256_000_000
"""Bytes of one file."""

_BUILD = "nothing to do where what the kustomization builds is given instead (kubectl kustomize)"
_PATCH = "skipped: a strategic merge patch (`$patch`), which changes an object and is none"
_UNTOLD = "a script gives kubectl what only the shell knows, and it was not read"
_TELL = "write the value in, set it once at the top of the script (NAME=value), or give the manifests themselves"
_CHANGES = "changes what a mesh reads, on the way to the cluster or there, and was not read"
_UNSEEN = "what it gives to the cluster stands in no input, and was not read"
_AS_IT_STANDS = "give the objects as they stand in the cluster (kubectl get ... -o yaml), or write the mark into the manifests"
_NEXT_JSON = re.compile(r"^[{\[]", re.MULTILINE)
_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*[\[{\"\]]")
_TEMPLATED = frozenset({
    "PrometheusRule", "GrafanaDashboard", "Dashboard", "MetricTemplate", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment",
    "PrometheusServiceLevel",
})  # fmt: skip
"""Kinds whose own templates are filled in by those who read them."""
_TEMPLATE, _RENDER = "looks like an unrendered template", "run `helm template` first and give its output"
_MESHES = ("istio.io", "linkerd.io", "cilium.io", "smi-spec.io", "gateway.networking.k8s.io")
"""Groups in whose objects nobody fills in a template."""
_FOR_THE_INJECTOR = frozenset({"podDNSSearchNamespaces", "templates"})
"""Settings of Istio's injector that hold templates of its own."""
_NOT_MANIFEST_TEXT = frozenset({"command", "args", "data", "stringData", "binaryData", "script"})


def load(*paths: str | os.PathLike[str], strict: bool = False) -> Bundle:
    """Reads files and folders (recursively: `.yaml`, `.yml`, `.json`, and `.sh` that installs a mesh or marks objects; nothing hidden), `-` for
    standard input.

    What is wrong with single documents is in `Bundle.problems`; with `strict` the first unreadable document raises InputError.
    A path that does not exist or cannot be read raises InputError in any case. A file that is reached twice is read once.
    """
    reader = _Reader(strict)
    todo: dict[str, tuple[str, bool]] = {}  # by real path: the path as it was given, and whether a folder led to it
    for number, path in enumerate(paths):
        given = Path(path)
        if os.fspath(path) == "-":
            todo[f"-{number}"] = (STDIN, False)
        elif given.is_dir():
            reader.roots.append(f"{given}{os.sep}")
            reader.written = reader.written or marked(given)
            closed: list[OSError] = []
            for file in files_below(given, closed):
                todo.setdefault(os.path.realpath(file), (str(file), True))
            for error in closed:
                name = str(error.filename or given)
                reader.file_problem(name, f"the folder cannot be read: {error.strerror or error}", "check its permissions", None)
        else:
            todo.setdefault(os.path.realpath(given), (str(given), False))
    reader.inputs = [name for name, _ in todo.values()]
    handed = handed_over([name for name in reader.inputs if name.lower().endswith(SCRIPT)], reader.inputs)
    values = {item.file for listed in handed.values() for item in listed if item.file is not None}
    done: set[str] = set()
    patched = patching(reader.inputs)
    for real, (name, inside) in todo.items():
        if inside and real in patched:
            reader.patch(name, patched[real])
            continue
        if any(item.file is not None for item in handed.get(name, ())):
            reader.ahead(name)
        for item in handed.get(name, ()):
            if item.file is None:
                reader.problems.append(Problem("MP388", item.missing(name), ADD_IT, name, None, item.line, item.column))
            elif item.file not in done:  # before the script, whose `--set` has the last word
                done.add(item.file)
                reader.charts[item.file] = item.chart
                _read_file(reader, item.file, inside)
        if name not in values:
            _read_file(reader, name, inside)
    return reader.bundle()


def _read_file(reader: _Reader, name: str, inside: bool) -> None:
    """Read a file into the documents; InputError where one that was named itself cannot be read."""
    if name == STDIN:
        if sys.stdin is None:  # whoever called closed it
            raise InputError("standard input is closed; pipe manifests in, or give files or folders", file=name)
        reader.bytes(sys.stdin.buffer.read(), STDIN)
        return
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        if not inside:
            raise InputError("no such file or folder; check the path, or give `-` to read standard input", file=name) from None
        reader.file_problem(name, "cannot be read: the link leads nowhere", "mend the link, or remove it", None)
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if not inside:
            raise InputError(f"cannot be read ({reason}); check its permissions", file=name) from None
        reader.file_problem(name, f"cannot be read: {reason}", "check its permissions", None)
        return
    reader.bytes(data, name)


def load_text(text: str, file: str | None = None) -> Bundle:
    """Reads YAML or JSON text. Raises InputError at the first unreadable document; lesser problems are in `Bundle.problems`."""
    reader = _Reader(strict=True)
    reader.text(text, file)
    return reader.bundle()


def load_stream(content: str | bytes, file: str = STDIN, *, strict: bool = False) -> Bundle:
    """Reads what came on standard input, collecting problems as `load` does."""
    reader = _Reader(strict)
    if isinstance(content, str):
        reader.text(content, file)
    else:
        reader.bytes(content, file)
    return reader.bundle()


def _more(documents: int) -> str:
    """The end of what is said of the first of several documents."""
    return (
        f", and so do {documents - 1} more documents of the file"
        if documents > 2
        else ", and so does another document of the file"
        if documents == 2
        else ""
    )


class _Reader:
    """Collects documents and problems from any number of texts."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.roots: list[str] = []
        self.charts: dict[str, str] = {}  # of files that a script hands to an installer
        self.begun: dict[str, int] = {}  # documents of a script that were read before the files that it names
        self.written: Written | None = None
        self.inputs: list[str] = []  # all files that are read
        self.namespace: tuple[str, int, int] | None = None  # that a command puts objects into which name none, with its place
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.files: list[SourceFile] = []
        self.patching = False  # whether the text at hand may hold a patch
        self.templates: dict[str | None, tuple[int, int]] = {}  # files that cannot be read for their templates: the problem, documents
        self.lines = array("I")
        self.columns = array("I")
        self.builder = Builder(backend(), self.lines, self.columns)

    def bundle(self) -> Bundle:
        return Bundle(self.documents, self.problems, self.files, self.lines, self.columns, tuple(self.roots), self.written)

    # -- one file

    def file_problem(self, file: str, message: str, remedy: str, line: int | None, column: int | None = None, code: str = "MP001") -> None:
        if self.strict:
            raise InputError(f"{message}; {remedy}", file=file, line=line, column=column)
        self.problems.append(Problem(code, message, remedy, file, None, line, column))

    def patch(self, file: str, kustomization: str) -> None:
        """A file that changes objects and holds none."""
        self.problems.append(Problem("MP002", f"skipped: a patch, by which {kustomization} changes an object", _BUILD, file, None, 1))

    def bytes(self, data: bytes, file: str) -> None:
        sha = hashlib.sha256(data).hexdigest()
        message, code, remedy = "", "MP001", "save it as UTF-8"
        line: int | None = None
        text: str | None = None
        if len(data) > MAX_FILE:
            message, code, remedy = f"the file has {len(data)} bytes", "MP005", "split it into several files"
        elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
            message = "the file is UTF-16, not UTF-8"
        else:
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                message = "the file is not UTF-8 text" + (" (it looks binary)" if b"\0" in data[:4096] else "")
        if text is None:
            self.files.append(SourceFile(file, sha, 0, None))
            self.file_problem(file, message, remedy, line, code=code)
        else:
            self.text(text, file, sha)

    def text(self, text: str, file: str | None, sha: str | None = None) -> None:
        before = len(self.documents)
        text = text.removeprefix("\ufeff")
        self.patching = "$patch" in text
        if file is not None and file.lower().endswith(SCRIPT):
            self._script(text, file, sha)
            return
        self._manifests(text, file, 0)
        if file is not None:
            sha = sha or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            self.files.append(SourceFile(file, sha, len(self.documents) - before, text))

    def _manifests(self, text: str, file: str | None, index: int, lines: int = 0) -> int:
        """The documents of a text that `lines` stand before in its file; the number of the next one comes back."""
        for segment in segments(text):
            segment = replace(segment, base=segment.base + lines)
            body = text[segment.start : segment.end]
            content = body.lstrip(" \t\r\n\ufeff")
            if segment.separator:
                reason = f"`---{' ' if segment.separator[0] not in '-' else ''}{segment.separator}` is not a document separator"
                problem = UnreadableError(reason, "put what follows `---` on a line of its own", 0, 1)
                self._unreadable(problem, body, file, index, segment.base)
                index += 1
            elif not content:
                continue
            elif content[0] == "%" and all(line[:1] in ("", "%", "#") for line in (each.strip() for each in content.splitlines())):
                continue  # directives for the document behind the next separator
            elif content[0] in "{[":
                index = self._json(text, segment, file, index)
            else:
                index = self._one(body, segment, file, index)
        return index

    def _script(self, text: str, file: str, sha: str | None) -> None:
        """What a shell script sets, and the manifests that it gives to kubectl; one that has neither is no input, and nothing is said of it."""
        from meshport.documents.elsewhere import GIVE_IT, elsewhere
        from meshport.documents.scripts import applied, read_script, unread

        before, begun = len(self.documents), self.begun.get(file)
        if begun is None:
            self.documents += read_script(text, file, self.lines, self.columns, ahead=True)
        index = (begun or 0) + len(self.documents) - before
        self.documents += read_script(text, file, self.lines, self.columns, index)
        index = (begun or 0) + len(self.documents) - before

        def place(at: int) -> tuple[int, int]:
            return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)

        for word in unread(text):
            self.problems.append(Problem("MP978", f"`{word.text}` {_CHANGES}", _AS_IT_STANDS, file, None, *place(word.places[0])))
        for one in elsewhere(text, self.inputs):
            self.problems.append(Problem("MP980", f"`{one.command}`: {_UNSEEN}", GIVE_IT, file, None, *place(one.place)))
        for item in applied(text):
            if item.unknown:
                self.file_problem(file, f"{_UNTOLD} ({item.unknown})", _TELL, *place(item.here.place), code="MP004")
                continue
            self.namespace = (item.namespace.text, *place(item.namespace.places[0])) if item.namespace is not None else None
            first = len(self.lines)
            index = self._manifests(item.here.text, file, index, item.here.before)
            self.namespace = None
            if item.here.printed:
                line, column = place(item.here.place)
                self.lines[first:] = array("I", [line] * (len(self.lines) - first))
                self.columns[first:] = array("I", [column] * (len(self.columns) - first))
        self.documents[before:] = [replace(document, text=None) for document in self.documents[before:]]  # no text of a file to edit
        if len(self.documents) > before or begun:
            sha = sha or hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            self.files.append(SourceFile(file, sha, (begun or 0) + len(self.documents) - before, None))

    def ahead(self, file: str) -> None:
        """What a script sets that the files of values it names stand above."""
        from meshport.documents.scripts import read_script

        text = Path(file).read_text(encoding="utf-8-sig")  # which has been read for their names
        before = len(self.documents)
        self.documents += read_script(text, file, self.lines, self.columns, ahead=True)
        self.begun[file] = len(self.documents) - before

    def _one(self, body: str, segment: Segment, file: str | None, index: int) -> int:
        first = len(self.lines)
        try:
            tree = parsed(self.builder, body, segment.base)
        except UnreadableError as error:
            self._unreadable(error, body, file, index, segment.base)
            return index + 1
        if tree is None:
            return index
        return self._accept(tree, first, file, index, (segment.start, segment.end), segment.base)

    def _json(self, text: str, segment: Segment, file: str | None, index: int) -> int:
        source = jsontext.Text(text[segment.start : segment.end], segment.base)
        at = source.skip(0)
        started = at
        while at < len(source.text):
            first = len(self.lines)
            try:
                tree, end = jsontext.build(source, at, self.lines, self.columns)
            except UnreadableError as error:
                jsonlike = _JSON_START.match(source.text, at) is not None
                following = _NEXT_JSON.search(source.text, at + 1) if jsonlike else None
                if at == started and error.code != "MP005":
                    try:  # a flow mapping of YAML starts like JSON
                        flow = parsed(self.builder, source.text, segment.base)
                    except UnreadableError as other:
                        if not jsonlike:
                            error = other
                    else:
                        if flow is not None and flow.after is not None and following is not None:
                            del self.lines[first:], self.columns[first:]  # several JSON values, the first of them broken
                            self._unreadable(error, source.text[at : following.start()], file, index, segment.base)
                            index, at = index + 1, following.start()
                            continue
                        span = (segment.start, segment.end)
                        return index if flow is None else self._accept(flow, first, file, index, span, segment.base)
                self._unreadable(error, source.text[at : following.start() if following else None], file, index, segment.base)
                index += 1
                if following is None:
                    return index
                at = following.start()
                continue
            index = self._accept(tree, first, file, index, (segment.start + at, segment.start + end), segment.base)
            at = source.skip(end)
        return index

    # -- one document

    def _unreadable(self, error: UnreadableError, body: str, file: str | None, index: int, base: int) -> None:
        code, message, remedy = error.code, f"cannot be read: {error.reason}", error.remedy
        if code == "MP001" and _build.looks_templated(body):
            code, remedy = "MP004", "run `helm template` first and give its output"
            message = f"looks like an unrendered Helm template ({error.reason})"
        line = None if error.line is None else error.line + base
        if self.strict:
            raise InputError(f"{message}; {remedy}", file=file, line=line, column=error.column)
        first = self.templates.setdefault(file, (len(self.problems), 1)) if code == "MP004" else None
        if first is None or first[0] == len(self.problems):
            self.problems.append(Problem(code, message, remedy, file, index, line, error.column))
            return
        place, count = first
        text = self.problems[place].message.removesuffix(_more(count))
        self.templates[file] = (place, count + 1)
        self.problems[place] = replace(self.problems[place], message=text + _more(count + 1))

    def _accept(self, tree: Tree, first: int, file: str | None, index: int, span: tuple[int, int], base: int) -> int:
        """Makes documents of a tree and problems of what was noticed on the way. The number of the next document comes back."""
        if tree.value is None:
            del self.lines[first:], self.columns[first:]
            return index
        listed = is_list(tree.value)
        if self.namespace is not None:
            self._into(self.namespace, tree, listed)
        taken: list[tuple[int | None, int, Any, Any]] = []
        for item, (value, shadow) in enumerate(items_of(tree.value, tree.shadow, 0) if listed else [(tree.value, tree.shadow)]):
            begins = self.lines[first_leaf(shadow)] if listed else tree.line
            handed = (
                self.charts.get(file or "", "") if isinstance(value, Mapping) and not ("apiVersion" in value or "kind" in value) else ""
            ) or chart_named(file, value)
            wrong = None if handed else not_an_object(value) or (_PATCH if self.patching and holds(value, "$patch") else None)
            if (builds := kustomized(value, file)) is not None:
                place = first_leaf(shadow[builds[0]])
                where = (self.lines[place], self.columns[place])
                self.problems.append(Problem("MP006", *builds[1], file, index, *where, builds[0], about=tree_of(value, file)))
            elif wrong:
                path = f"items[{item}]" if listed else None
                self.problems.append(Problem("MP002", wrong, _BUILD if wrong is _PATCH else NO_MANIFEST, file, index, begins, None, path))
            if wrong:
                continue
            taken.append((item if listed else None, begins, value, shadow))
        watched = tree.templates + tree.quoted + tree.variables
        moved = {leaf: [leaf] for leaf in watched}
        if not taken:
            del self.lines[first:], self.columns[first:]
            moved = {leaf: [] for leaf in watched}
        elif tree.dirty or listed:
            copies, moved = renumber([(value, shadow) for _, _, value, shadow in taken], self.lines, self.columns, first, watched)
            taken = [(number, begins, *copy) for (number, begins, _, _), copy in zip(taken, copies, strict=True)]
        made: list[Document] = []
        for at, (number, begins, value, shadow) in enumerate(taken):
            start = first_leaf(shadow)
            end = first_leaf(taken[at + 1][3]) if at + 1 < len(taken) else len(self.lines)
            text = None if listed else span
            made.append(
                Document(
                    file,
                    index,
                    number,
                    value,
                    shadow,
                    begins,
                    text,
                    start,
                    end - start,
                    handed or chart_of(value),
                    form="" if handed else form_of(value),
                )
            )
        self.documents += made
        for duplicate in tree.duplicates:
            self._duplicate(duplicate, made, listed, file, index)
        if watched:
            self._watched(tree, moved, made, file, index)
        if tree.after is not None:
            message = "text after the end of the document is not read, by kubectl neither"
            self.problems.append(Problem("MP001", message, "put a line `---` between two documents", file, index, tree.after + base))
        return index + 1

    def _into(self, namespace: tuple[str, int, int], tree: Tree, listed: bool) -> None:
        """Put objects that name no namespace into the one of the command that applies them."""
        name, line, column = namespace
        for value, shadow in items_of(tree.value, tree.shadow, 0) if listed else [(tree.value, tree.shadow)]:
            metadata = value.get("metadata") if isinstance(value, dict) else None
            if not isinstance(metadata, dict) or not metadata or metadata.get("namespace") or value.get("kind") in OF_THE_CLUSTER:
                continue
            self.lines.append(line)
            self.columns.append(column)
            metadata["namespace"], shadow["metadata"]["namespace"] = name, len(self.lines) - 1
            tree.dirty = True

    def _duplicate(self, duplicate: Duplicate, made: list[Document], listed: bool, file: str | None, index: int) -> None:
        path: tuple[Part, ...] = duplicate.path
        document = made[0] if made and not listed else None
        if listed and len(path) > 2 and path[0] == "items":
            document = next((each for each in made if each.item == path[1]), None)
            path = path[2:]
        at: Any = document.leaves if document else None
        for part in path:
            if isinstance(at, dict):
                at = at.get(part)
            else:
                at = at[part] if isinstance(at, list) and isinstance(part, int) and part < len(at) else None
        where = f"lines {duplicate.first_line} and {duplicate.line}"
        if duplicate.first_line == duplicate.line:
            where = f"line {duplicate.line}, twice"
        self.problems.append(
            Problem(
                "MP003",
                f"duplicate key {path[-1]!r} ({where}): the last one wins, as with kubectl",
                "remove one of them, or put `---` between two documents that ran together",
                file,
                index,
                duplicate.line,
                duplicate.column,
                format_path(path),
                (at,) if isinstance(at, int) else (),
            )
        )

    def _watched(self, tree: Tree, moved: dict[int, list[int]], made: list[Document], file: str | None, index: int) -> None:
        for leaves, message, remedy in (
            (tree.templates, _TEMPLATE, _RENDER),
            (tree.quoted, _TEMPLATE, _RENDER),
            (tree.variables, "holds a variable that was not replaced", "render it first (`envsubst`, `flux build kustomization`)"),
        ):
            found = sorted(each for leaf in leaves for each in moved[leaf])
            for document in made:
                if document.form or document.kind in _TEMPLATED:
                    continue  # templates and variables are what these hold
                if leaves is tree.quoted and not document.group.endswith(_MESHES):
                    continue
                here = set(found[bisect_left(found, document.first) : bisect_left(found, document.first + document.count)])
                paths = [each for each in leaf_paths(document.leaves) if each[0] in here] if here else []
                others = _NOT_MANIFEST_TEXT if leaves is tree.variables else _FOR_THE_INJECTOR if document.kind == "IstioOperator" else ()
                own = [each for each in paths if not others or others.isdisjoint(each[1])]
                if own:
                    leaf, parts = own[0]
                    several = f" (and {len(own) - 1} more)" if len(own) > 1 else ""
                    text, place = f"{format_path(parts)}{several} {message}", (self.lines[leaf], self.columns[leaf])
                    self.problems.append(
                        Problem("MP004", text, remedy, file, index, *place, format_path(parts), tuple(each for each, _ in own))
                    )
