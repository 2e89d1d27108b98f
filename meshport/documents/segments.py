"""The documents of a text, cut apart as kubectl cuts them, and what one of them holds."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.documents import jsontext
from meshport.documents.build import Builder, Tree, UnreadableError, renumber
from meshport.documents.events import backend, pure_backend
from meshport.errors import InputError

SEPARATOR = re.compile(r"^---(?P<rest>[^\n]*)(?:\n|\Z)", re.MULTILINE)
BARE_SEPARATOR = re.compile(r"\s*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Segment:
    """The text between two separators."""

    start: int
    end: int
    base: int  # lines before it
    separator: str  # what stands behind the `---` before it, if that is more than a comment


def segments(text: str) -> Iterator[Segment]:
    """Cuts at lines that start with `---`, before anything is parsed, as kubectl does."""
    start, base, separator = 0, 0, ""
    for found in SEPARATOR.finditer(text):
        yield Segment(start, found.start(), base, separator)
        base += text.count("\n", start, found.end())
        start = found.end()
        separator = "" if BARE_SEPARATOR.fullmatch(found["rest"]) else found["rest"].strip()
    yield Segment(start, len(text), base, separator)


def parsed(builder: Builder, text: str, base: int) -> Tree | None:
    try:
        return builder.build(text, base)
    except UnreadableError as error:
        if not _stops_at_colon(error, text) or "{{" in text or builder.backend.name != "libyaml":
            raise
        try:
            return Builder(pure_backend(), builder.lines, builder.columns).build(text, base)
        except UnreadableError:
            raise error from None


def _stops_at_colon(error: UnreadableError, text: str) -> bool:
    """Whether a colon in a flow collection (`[::1]`) is what libyaml does not read, and Go does. Anything else is broken for both."""
    if error.line is None or error.column is None:
        return False
    if "unexpected ':'" not in error.reason and "did not find expected node content" not in error.reason:
        return False
    line = text.split("\n", error.line)[error.line - 1 : error.line]
    return line[0][error.column - 1 : error.column] == ":" if line else False


def plain(text: str) -> Any:
    """The value of the first document in `text`, whatever it is, None if there is none. Raises InputError."""
    lines, columns = array("I"), array("I")
    try:
        if text.lstrip()[:1] in ("{", "["):
            source = jsontext.Text(text, 0)
            try:
                tree: Tree | None = jsontext.build(source, source.skip(0), lines, columns)[0]
            except UnreadableError:
                tree = parsed(Builder(backend(), lines, columns), text, 0)
        else:
            leading = SEPARATOR.match(text)
            tree = parsed(Builder(backend(), lines, columns), text[leading.end() :] if leading else text, 1 if leading else 0)
    except UnreadableError as error:
        raise InputError(error.reason, line=error.line, column=error.column) from None
    if tree is None:
        return None
    return renumber([(tree.value, tree.shadow)], lines, columns, 0, [])[0][0][0] if tree.dirty else tree.value
