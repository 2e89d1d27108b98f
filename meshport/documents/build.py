"""From events to objects: the value, its shadow of leaf numbers and the places, in one pass."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meshport.documents.events import Backend
from meshport.documents.model import Part
from meshport.documents.scalars import HINTS, TAG_PREFIX, ScalarError, key_text, resolve, resolve_tagged

MAX_DEPTH = 100
"""Levels of nesting."""
MAX_EXPANDED = 100_000
"""Nodes that the aliases of one document may stand for."""
MAX_SCALAR = 4_000_000
"""Characters in one scalar; the API server takes about 3 MB for a whole object."""
MAX_MEMO = 50_000

VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?:\}|[:=\-+?/#%,^][^}]{0,200}\})")
TEMPLATE = re.compile(r"\{%|\{\{(?![^}]{0,200}\$(?:labels|values?|externalLabels|externalURL)\b)")
_MERGE_TAG = TAG_PREFIX + "merge"


class UnreadableError(Exception):
    """One document cannot be read. Lines and columns count from 1 within the text that was given."""

    def __init__(self, reason: str, remedy: str, line: int | None, column: int | None, code: str = "MP001") -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.line, self.column, self.code = reason, remedy, line, column, code


@dataclass(slots=True)
class Duplicate:
    path: tuple[Part, ...]
    first_line: int
    line: int
    column: int


@dataclass(slots=True)
class Tree:
    """What one document came to. With `dirty` the leaf numbers have gaps or repeat and `renumber` has to run."""

    value: Any
    shadow: Any
    line: int
    dirty: bool = False
    after: int | None = None  # the line, within the text, of something that follows the document and that kubectl drops without a word
    duplicates: list[Duplicate] = field(default_factory=list)
    templates: list[int] = field(default_factory=list)
    variables: list[int] = field(default_factory=list)
    quoted: list[int] = field(default_factory=list)  # {{ }} in quotes, which other kinds than a mesh's have readers for


class _Frame:
    """An open collection."""

    __slots__ = ("anchor", "key", "key_lines", "merge", "nodes", "shadow", "start", "value")

    def __init__(self, value: Any, shadow: Any, start: Any, anchor: str | None, nodes: int) -> None:
        self.value = value
        self.shadow = shadow
        self.start = start
        self.anchor = anchor
        self.nodes = nodes
        self.key: Any = None
        self.key_lines: dict[str, int] | None = {} if type(value) is dict else None
        self.merge: tuple[Any, Any] | None = None


class _Merge:
    pass


_MERGE = _Merge()


class Builder:
    """Builds trees, appending the places of their leaves to two arrays that it shares with the bundle."""

    def __init__(self, backend: Backend, lines: array[int], columns: array[int]) -> None:
        self.backend = backend
        self.lines = lines
        self.columns = columns
        self._keys: dict[str, str] = {}

    def build(self, text: str, base: int) -> Tree | None:
        """The first document in `text`, None if there is none. `base` lines stand before it in its file. Raises UnreadableError."""
        first = len(self.lines)
        try:
            return self._build(text, base)
        except UnreadableError:
            del self.lines[first:], self.columns[first:]
            raise

    def _build(self, text: str, base: int) -> Tree | None:
        from meshport.documents.events import place

        try:
            following = self.backend.open(text)
            tree = self._document(following, base, "{{" in text or "{%" in text, "${" in text)
        except self.backend.errors as error:
            if isinstance(error, UnreadableError):
                raise
            reason, line, column = place(error, text)
            raise UnreadableError(reason, _remedy(reason, text, line), line, column) from None
        if tree is None:
            return None
        try:
            rest: Any = following()
            if isinstance(rest, self.backend.document_start):
                tree.after = rest.start_mark.line + 1
        except self.backend.errors as error:
            tree.after = place(error, text)[1] or 1
        return tree

    def _document(self, following: Callable[[], Any], base: int, watch_templates: bool, watch_variables: bool) -> Tree | None:
        backend = self.backend
        scalar, alias = backend.scalar, backend.alias
        mapping_start, sequence_start = backend.mapping_start, backend.sequence_start
        mapping_end, sequence_end = backend.mapping_end, backend.sequence_end
        lines, columns, keys = self.lines, self.columns, self._keys
        add_line, add_column = lines.append, columns.append
        base += 1
        stack: list[_Frame] = []
        anchors: dict[str, tuple[Any, Any, int, int] | None] = {}
        tree: Tree | None = None
        frame: _Frame | None = None
        leaf = len(lines)
        nodes = expanded = 0
        value: Any
        shadow: Any

        while True:
            event = following()
            kind = type(event)
            if kind is scalar:
                nodes += 1
                text = event.value
                tag = event.tag
                if tag is None:
                    if text and text[0] not in HINTS:
                        value = text
                    elif event.implicit[0]:
                        try:
                            value = resolve(text)
                        except ScalarError as error:
                            raise _at(str(error), "quote it if it is meant as text", event) from None
                    else:
                        value = text
                else:
                    try:
                        value = resolve_tagged(tag, text)
                    except ScalarError as error:
                        raise _at(str(error), "correct the value or its tag", event) from None
                if frame is not None and frame.key is None and frame.key_lines is not None:
                    # a key
                    if text == "<<" and (tag == _MERGE_TAG or (tag is None and event.implicit[0])):
                        frame.key = _MERGE
                        continue
                    if value.__class__ is str:
                        key = keys.get(value)
                        if key is None:
                            key = value
                            if len(keys) < MAX_MEMO:
                                keys[value] = value
                    else:
                        try:
                            key = key_text(value)
                        except ScalarError as error:
                            raise _at(str(error), "give the key a name", event) from None
                    if event.anchor is not None:
                        anchors[event.anchor] = (value, leaf, 1, 0)
                    line = event.start_mark.line + base
                    if key in frame.value:
                        assert tree is not None
                        column = event.start_mark.column + 1
                        tree.duplicates.append(Duplicate((*_path(stack[:-1]), key), frame.key_lines[key], line, column))
                        tree.dirty = True
                        del frame.value[key], frame.shadow[key]  # the last one wins, and leaf numbers keep rising
                    frame.key_lines[key] = line
                    frame.key = key
                    continue
                if len(text) > MAX_SCALAR:
                    raise _at(f"a scalar of {len(text)} characters", f"keep it under {MAX_SCALAR}", event, "MP005")
                mark = event.start_mark
                add_line(mark.line + base)
                add_column(mark.column + 1)
                shadow = leaf
                leaf += 1
                if event.anchor is not None:
                    anchors[event.anchor] = (value, shadow, 1, 0)
                if tree is None:
                    return Tree(value, shadow, mark.line + base)
                if watch_templates and event.implicit[0] and TEMPLATE.search(text):
                    tree.templates.append(shadow)
                elif watch_templates and event.style not in ("|", ">") and "{{" in text and TEMPLATE.search(text):
                    tree.quoted.append(shadow)
                if watch_variables and event.style not in ("|", ">") and VARIABLE.search(text):
                    tree.variables.append(shadow)
            elif kind is mapping_start or kind is sequence_start:
                nodes += 1
                if frame is not None and frame.key is None and frame.key_lines is not None:
                    raise _at("a key is a collection, which no Kubernetes object can hold", "quote it if it is meant as text", event)
                if len(stack) >= MAX_DEPTH:
                    raise _at(f"nested deeper than {MAX_DEPTH} levels", "flatten it", event, "MP005")
                anchor = event.anchor
                if anchor is not None:
                    anchors[anchor] = None
                frame = _Frame({}, {}, event, anchor, nodes) if kind is mapping_start else _Frame([], [], event, anchor, nodes)
                stack.append(frame)
                if tree is None:
                    tree = Tree(frame.value, frame.shadow, event.start_mark.line + base)
                continue
            elif kind is mapping_end or kind is sequence_end:
                assert frame is not None and tree is not None
                stack.pop()
                value = frame.value
                if frame.merge is not None:
                    _merge(frame)
                    tree.dirty = True
                if value:
                    shadow = frame.shadow
                else:
                    mark = frame.start.start_mark
                    add_line(mark.line + base)
                    add_column(mark.column + 1)
                    shadow = leaf
                    leaf += 1
                if frame.anchor is not None:
                    anchors[frame.anchor] = (value, shadow, nodes - frame.nodes + 1, _height(value, {}))
                if not stack:
                    tree.shadow = shadow
                    following()  # the end of the document
                    return tree
                frame = stack[-1]
            elif kind is alias:
                known = anchors.get(event.anchor, ())
                if not known:
                    reason = f"the anchor {event.anchor} contains itself" if known is None else f"no anchor {event.anchor} in this document"
                    raise _at(reason, "write the value out", event)
                value, shadow, size, height = known
                nodes += size
                expanded += size
                if expanded > MAX_EXPANDED:
                    raise _at(
                        f"aliases expand to more than {MAX_EXPANDED} nodes", "write the document without nested aliases", event, "MP005"
                    )
                if len(stack) + height > MAX_DEPTH:
                    raise _at(f"nested deeper than {MAX_DEPTH} levels", "flatten it", event, "MP005")
                if tree is None or frame is None:  # an alias cannot be a document; libyaml would not let it be
                    raise _at("a document cannot be an alias", "write the value out", event)
                if frame.key is None and frame.key_lines is not None:
                    if isinstance(value, (dict, list)):
                        raise _at("a key is a collection, which no Kubernetes object can hold", "write the key out", event)
                    try:
                        key = key_text(value)
                    except ScalarError as error:
                        raise _at(str(error), "give the key a name", event) from None
                    line = event.start_mark.line + base
                    if key in frame.value:
                        tree.duplicates.append(
                            Duplicate((*_path(stack[:-1]), key), frame.key_lines[key], line, event.start_mark.column + 1)
                        )
                        del frame.value[key], frame.shadow[key]
                    tree.dirty = True
                    frame.key_lines[key] = line
                    frame.key = key
                    continue
                tree.dirty = True
            elif event is None:
                return tree
            else:
                continue  # the start of the stream or of the document

            # value and shadow are complete: hang them into their collection
            assert frame is not None
            if frame.key_lines is None:
                frame.value.append(value)
                frame.shadow.append(shadow)
            elif frame.key is _MERGE:
                if not _mergeable(value):
                    raise _at("a merge key takes a mapping or a list of mappings", "correct what stands after `<<:`", event)
                frame.merge = (value, shadow)
                frame.key = None
                if tree is not None:
                    tree.dirty = True
            else:
                frame.value[frame.key] = value
                frame.shadow[frame.key] = shadow
                frame.key = None


def _at(reason: str, remedy: str, event: Any, code: str = "MP001") -> UnreadableError:
    mark = event.start_mark
    return UnreadableError(reason, remedy, mark.line + 1, mark.column + 1, code)


def _path(stack: list[_Frame]) -> tuple[Part, ...]:
    return tuple(len(frame.value) if frame.key_lines is None else str(frame.key) for frame in stack)


def _mergeable(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(each, dict) for each in value))


def _merge(frame: _Frame) -> None:
    """Adds what `<<` brings: keys of the mapping itself win, then earlier mappings in the list."""
    assert frame.merge is not None
    value, shadow = frame.merge
    for source, places in zip(value, shadow, strict=True) if isinstance(value, list) and value else [(value, shadow)]:
        for key in source if isinstance(source, dict) else ():
            if key not in frame.value:
                frame.value[key] = source[key]
                frame.shadow[key] = places[key]


def _height(value: Any, known: dict[int, int]) -> int:
    """Levels of collections in a value whose subtrees may be shared."""
    if not isinstance(value, (dict, list)):
        return 0
    found = known.get(id(value))
    if found is None:
        children = value.values() if isinstance(value, dict) else value
        found = known[id(value)] = 1 + max((_height(child, known) for child in children), default=0)
    return found


def _remedy(reason: str, text: str, line: int | None) -> str:
    lines = text.split("\n")
    at = lines[line - 1] if line is not None and line <= len(lines) else ""
    if "\t" in at[: len(at) - len(at.lstrip())] or "\\t" in reason:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in reason:
        return "check the indentation, or quote the value if it holds `: `"
    if "escape" in reason:
        return "write the text in single quotes, or double the backslash"
    if "cannot start any token" in reason:
        return "quote the value"
    if "control characters" in reason or "surrogate" in reason:
        return "remove the character, or write it as an escape in double quotes"
    if "end of the block" in reason or "expected <block end>" in reason:
        return "check the indentation of this line and the one before"
    return "correct the text at this place; `kubectl apply --dry-run=client -f` tells when it reads"


def renumber(
    trees: list[tuple[Any, Any]], lines: array[int], columns: array[int], first: int, wanted: list[int]
) -> tuple[list[tuple[Any, Any]], dict[int, list[int]]]:
    """Copies of (value, shadow) pairs whose leaves are numbered from `first` without gaps; the arrays from `first` on are rewritten to
    match.

    The second result says what became of the leaves in `wanted`: each maps to its new numbers (several behind an alias, none if it is
    gone).
    """
    old_lines, old_columns = lines[first:], columns[first:]
    del lines[first:], columns[first:]
    moved: dict[int, list[int]] = {leaf: [] for leaf in wanted}

    def copy(value: Any, shadow: Any) -> tuple[Any, Any]:
        if isinstance(shadow, int):
            leaf = len(lines)
            lines.append(old_lines[shadow - first])
            columns.append(old_columns[shadow - first])
            if shadow in moved:
                moved[shadow].append(leaf)
            return ({} if isinstance(value, dict) else [] if isinstance(value, list) else value), leaf
        if isinstance(shadow, list):
            pairs = [copy(child, place) for child, place in zip(value, shadow, strict=True)]
            return [child for child, _ in pairs], [place for _, place in pairs]
        new_value: dict[str, Any] = {}
        new_shadow: dict[str, Any] = {}
        for key, place in shadow.items():
            new_value[key], new_shadow[key] = copy(value[key], place)
        return new_value, new_shadow

    return [copy(value, shadow) for value, shadow in trees], moved


def looks_templated(text: str) -> bool:
    """True if a line that is no comment holds what looks like a template's braces."""
    if "{{" not in text and "{%" not in text:
        return False
    return any(TEMPLATE.search(line) for line in text.split("\n") if not line.lstrip().startswith("#"))
