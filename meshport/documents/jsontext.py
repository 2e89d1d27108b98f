"""JSON with places: a reader without recursion, for single values and for values that follow one another (NDJSON, `kubectl get -o json`
twice).
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from typing import Any

from meshport.documents.build import MAX_DEPTH, MAX_SCALAR, TEMPLATE, VARIABLE, Duplicate, Tree, UnreadableError
from meshport.documents.model import Part
from meshport.documents.scalars import integer, shorten

_BLANK = re.compile(r"[ \t\r\n\ufeff]*")
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<mark>[{}\[\]:,])
      | "(?P<simple>[^"\\\x00-\x1f]*)"
      | (?P<escaped>"(?:[^"\\\x00-\x1f]|\\.)*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![0-9a-zA-Z.])
      | (?P<word>true|false|null)(?![0-9a-zA-Z_])
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_REMEDY = "correct the JSON at this place"


class Text:
    """A JSON text and the line that each offset is on."""

    def __init__(self, text: str, base: int) -> None:
        self.text = text
        self.base = base
        self.watch = "${" in text or "{{" in text
        self._breaks = [found.end() for found in re.finditer("\n", text)]

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column) of an offset, from 1, the line counted in the whole file."""
        row = bisect_right(self._breaks, offset)
        return self.base + row + 1, offset - (self._breaks[row - 1] if row else 0) + 1

    def skip(self, offset: int) -> int:
        """The first offset at or after `offset` that is not blank."""
        found = _BLANK.match(self.text, offset)
        return found.end() if found else offset

    def error(self, reason: str, offset: int, code: str = "MP001", remedy: str = _REMEDY) -> UnreadableError:
        line, column = self.place(offset)
        return UnreadableError(reason, remedy, line - self.base, column, code)


def build(source: Text, start: int, lines: array[int], columns: array[int]) -> tuple[Tree, int]:
    """The value that starts at `start`, and the offset after it. Raises UnreadableError (lines within the text), and then
    leaves the arrays as they were.
    """
    first = len(lines)
    try:
        return _build(source, start, lines, columns)
    except UnreadableError:
        del lines[first:], columns[first:]
        raise


def _build(source: Text, start: int, lines: array[int], columns: array[int]) -> tuple[Tree, int]:
    text, match, place = source.text, _TOKEN.match, source.place
    tree = Tree(None, None, place(start)[0])
    watch = source.watch
    stack: list[tuple[Any, Any, Any, int, dict[str, int]]] = []  # value, shadow, key, offset, lines of keys
    value: Any = None
    shadow: Any = None
    key: Any = None
    seen: dict[str, int] = {}
    held: Any = None  # the open collection
    held_shadow: Any = None
    opened = start
    state = "value"  # value, first (value or end), key, first key, colon, next
    at = start
    while True:
        found = match(text, at)
        if found is None:
            at = source.skip(at)
            raise source.error("the JSON text ends too early" if at >= len(text) else f"unexpected {text[at : at + 1]!r} in JSON", at)
        kind = found.lastgroup
        token: str = found[kind] if kind else ""
        at = found.end()
        begin = at - len(token) - (2 if kind == "simple" else 0)
        if kind == "simple" or kind == "escaped":
            begin_value = begin
            if kind == "escaped":
                token = _unescape(source, token, begin)
            if state in ("key", "first key"):
                if token in held:
                    line, column = place(begin)
                    parts: list[Part] = [len(frame[0]) if isinstance(frame[0], list) else frame[2] for frame in stack]
                    tree.duplicates.append(Duplicate((*parts, token), seen[token], line, column))
                    tree.dirty = True
                    del held[token], held_shadow[token]
                seen[token] = place(begin)[0]
                key, state = token, "colon"
                continue
            if state not in ("value", "first"):
                raise source.error("unexpected text in JSON", begin)
            if len(token) > MAX_SCALAR:
                raise source.error(f"a scalar of {len(token)} characters", begin, "MP005", f"keep it under {MAX_SCALAR}")
            value = token
            if watch and VARIABLE.search(token):
                tree.variables.append(len(lines))
            if watch and "{{" in token and TEMPLATE.search(token):
                tree.quoted.append(len(lines))
        elif kind == "mark":
            if token == ":" and state == "colon":
                state = "value"
                continue
            if token == "," and state == "next":
                state = "key" if isinstance(held, dict) else "value"
                continue
            if token in "{[" and state in ("value", "first"):
                if len(stack) >= MAX_DEPTH - (held is not None):
                    raise source.error(f"nested deeper than {MAX_DEPTH} levels", begin, "MP005", "flatten it")
                if held is not None:
                    stack.append((held, held_shadow, key, opened, seen))
                opened, seen = begin, {}
                held, held_shadow, state = ({}, {}, "first key") if token == "{" else ([], [], "first")
                continue
            ends = token == ("}" if isinstance(held, dict) else "]") and state in (
                "next",
                "first key" if isinstance(held, dict) else "first",
            )
            if held is None or not ends:
                raise source.error(f"unexpected {token!r} in JSON", begin)
            value, shadow, begin_value = held, held_shadow, opened
            if stack:
                held, held_shadow, key, opened, seen = stack.pop()
            else:
                held = None
        else:
            begin_value = begin
            if state not in ("value", "first"):
                raise source.error(f"unexpected {token!r} in JSON", begin)
            value = _WORDS[token] if kind == "word" else _number(source, token, begin)
        if not isinstance(value, (dict, list)) or not value:
            line, column = place(begin_value)
            shadow = len(lines)
            lines.append(line)
            columns.append(column)
        if held is None:
            tree.value, tree.shadow = value, shadow
            return tree, at
        if isinstance(held, dict):
            held[key] = value
            held_shadow[key] = shadow
        else:
            held.append(value)
            held_shadow.append(shadow)
        state = "next"


def _unescape(source: Text, token: str, offset: int) -> str:
    try:
        value: str = json.loads(token)
    except ValueError:
        raise source.error("an escape in a JSON string is wrong", offset) from None
    # Go replaces half a surrogate pair by the replacement character
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(source: Text, token: str, offset: int) -> int | float:
    if len(token) <= 20 and "." not in token and "e" not in token and "E" not in token:
        return integer(int(token))
    number = float(token)
    if number in (float("inf"), float("-inf")):
        raise source.error("a number out of range", offset)
    return shorten(number)
