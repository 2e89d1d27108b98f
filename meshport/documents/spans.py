"""Values of a document replaced in its text, character by character: what is not replaced keeps its bytes.

A value knows the characters that it stands in. A new text is compared with the old one, and only the characters that differ are put in their place, written as the
scalar around them is: escaped in JSON and in quotes, indented in a block. What comes out is read again; where that is not the wanted value, the scalar is written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshport.documents.edit import same
from meshport.documents.model import Part
from meshport.documents.segments import plain
from meshport.errors import InputError

Path = tuple[Part, ...]

_JSON = re.compile(r'[ \t\r\n]*(?:([{}\[\]:,])|("(?:[^"\\]|\\.)*")|([^\s{}\[\]:,"]+))', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_WORDS = re.compile(r"\w+|\s+|.", re.DOTALL)
_BLANK = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Span:
    """The characters of a value. `style` is json, plain, `'`, `"`, `|` or `>`."""

    start: int
    end: int
    style: str


def json_spans(text: str, keys: bool = False) -> dict[Path, Span]:
    """Where each value of a JSON text stands, by its path; with `keys` where each key does, by the path of its value. The text has to be JSON."""
    found: dict[Path, Span] = {}
    names: dict[Path, Span] = {}
    stack: list[tuple[str, Path, int]] = []  # bracket, path, offset
    path: Path = ()
    awaits_key = False
    at = 0
    while (token := _JSON.match(text, at)) is not None:
        mark, string, word = token.groups()
        at = token.end()
        begin = token.start(token.lastindex or 0)
        if mark in ("{", "["):
            stack.append((mark, path, begin))
            path = (*path, 0) if mark == "[" else path
            awaits_key = mark == "{"
        elif mark in ("}", "]"):
            _, path, opened = stack.pop()
            found[path] = Span(opened, at, "json")
        elif mark == ",":
            bracket, holder, _ = stack[-1]
            last = path[len(holder)] if len(path) > len(holder) else 0
            path = (*holder, last + 1) if bracket == "[" and isinstance(last, int) else holder
            awaits_key = bracket == "{"
        elif string is not None and awaits_key:
            path = (*stack[-1][1], json.loads(string, strict=False))
            names[path] = Span(begin, at, "json")
            awaits_key = False
        elif string is not None or word is not None:
            found[path] = Span(begin, at, "json")
    return names if keys else found


def yaml_spans(text: str, keys: bool = False) -> dict[Path, Span]:
    """Where each scalar of the first YAML document of a text stands, by its path; with `keys` where each key does, by the path of its value. None where the text
    has anchors, for a value may stand for several."""
    import yaml

    breaks = [0, *(found.end() for found in re.finditer("\n", text))]

    def offset(mark: Any) -> int:
        return breaks[mark.line] + mark.column if mark.line < len(breaks) else len(text)

    root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found: dict[Path, Span] = {}
    names: dict[Path, Span] = {}
    seen: set[int] = set()
    stack: list[tuple[Any, Path]] = [(root, ())] if root is not None else []
    while stack:
        node, path = stack.pop()
        if id(node) in seen:
            return {}
        seen.add(id(node))
        if node.id == "mapping":
            stack.extend((value, (*path, key.value)) for key, value in node.value)
            names |= {(*path, key.value): Span(offset(key.start_mark), offset(key.end_mark), key.style or "plain") for key, _ in node.value}
        elif node.id == "sequence":
            stack.extend((value, (*path, number)) for number, value in enumerate(node.value))
        else:
            found[path] = Span(offset(node.start_mark), offset(node.end_mark), node.style or "plain")
    return names if keys else found


def replaced(text: str, old: Any, new: Mapping[Path, Any], renamed: Mapping[Path, str] | None = None) -> str | None:
    """`text`, which reads as `old`, with new values at some paths, and other keys on the way to some; None where characters alone cannot do it."""
    wanted = with_values(old, new, renamed)
    is_json = text.lstrip(_BLANK + "\ufeff")[:1] in ("{", "[") and _is_json(text)
    for anew in (False, True):
        try:
            spans_of = json_spans if is_json else yaml_spans
            spans = spans_of(text)
            keys = spans_of(text, keys=True) if renamed else {}
            edits = [
                (keys[path].start, keys[path].end, name if keys[path].style == "plain" else json.dumps(name, ensure_ascii=False))
                for path, name in (renamed or {}).items()
            ]
            for path, value in new.items():
                edits += _edits(text, spans[path], _at(old, path), value, anew)
            made = applied(text, edits)
            if same(json.loads(made, strict=False) if is_json else plain(made), wanted):
                return made
        except (KeyError, IndexError, ValueError, InputError):
            continue
        except Exception as error:
            if not type(error).__module__.startswith("yaml"):  # PyYAML's own, without importing it for JSON
                raise
    return None


def scalar_place(text: str, path: Path, value: str) -> list[int] | None:
    """For each character of a string in a document the offset in its text, and one for its end; None where they cannot be told."""
    try:
        is_json = text.lstrip(_BLANK + "\ufeff")[:1] in ("{", "[") and _is_json(text)
        span = (json_spans if is_json else yaml_spans)(text)[path]
    except KeyError:
        return None
    places = _places(text[span.start : span.end], span.style, value)
    return None if places is None else [span.start + place for place in places]


def applied(text: str, edits: list[tuple[int, int, str]]) -> str:
    """A text with spans replaced. At one place what is put in comes first, in the order given; a span that begins inside a replaced one is gone with it."""
    out: list[str] = []
    at = 0
    for start, end, put in sorted(edits, key=lambda edit: (edit[0], edit[1] != edit[0], -edit[1])):
        if start < at:
            continue
        out += [text[at:start], put]
        at = end
    return "".join([*out, text[at:]])


def _is_json(text: str) -> bool:
    try:
        json.loads(text.lstrip("\ufeff"), strict=False)
    except ValueError:
        return False
    return True


def with_values(old: Any, new: Mapping[Path, Any], renamed: Mapping[Path, str] | None = None) -> Any:
    """A copy of a value with others at some paths, and other keys on the way to some."""
    keys = renamed or {}

    def built(value: Any, path: Path) -> Any:
        if path in new:
            return new[path]
        if isinstance(value, dict):
            return {keys.get((*path, key), key): built(below, (*path, key)) for key, below in value.items()}
        if isinstance(value, list):
            return [built(below, (*path, number)) for number, below in enumerate(value)]
        return value

    return built(old, ())


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _edits(text: str, span: Span, old: Any, new: Any, anew: bool) -> list[tuple[int, int, str]]:
    token = text[span.start : span.end]
    if isinstance(old, str) and isinstance(new, str) and not anew:
        places = _places(token, span.style, old)
        if places is not None:
            indent = _indent(token)
            return [
                (span.start + places[start], span.start + places[end], _written(put, span.style, indent))
                for start, end, put in hunks(old, new)
            ]
    if span.style == "json" or not isinstance(new, str):
        return [(span.start, span.end, json.dumps(new, ensure_ascii=False))]
    if span.style in "|>":
        indent = _indent(token)
        lines = new.split("\n")
        chomp = "" if new.endswith("\n") and not new.endswith("\n\n") else "-" if not new.endswith("\n") else "+"
        body = "\n".join(f"{indent}{line}" if line else "" for line in (lines[:-1] if new.endswith("\n") else lines))
        tail = "\n" if token.endswith("\n") else ""
        return [(span.start, span.end, f"|{chomp}\n{body}{tail}")]
    if span.style == "'" and "\n" not in new:
        return [(span.start, span.end, "'" + new.replace("'", "''") + "'")]
    return [(span.start, span.end, json.dumps(new, ensure_ascii=False))]


def hunks(old: str, new: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of what differs, by lines where there are as many in both, and in a line by words."""
    before, after = old.split("\n"), new.split("\n")
    if len(before) != len(after):
        yield from _in_line(old, new, 0)
        return
    at = 0
    for one, other in zip(before, after, strict=True):
        if one != other:
            yield from _in_line(one, other, at)
        at += len(one) + 1


def _in_line(old: str, new: str, base: int) -> Iterator[tuple[int, int, str]]:
    """What differs in a line: by words where it is short, else what is between the equal ends."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if max(len(old), len(new)) > 4000:
        yield base + head, base + len(old) - tail, new[head : len(new) - tail]
        return
    from difflib import SequenceMatcher

    one, other = _WORDS.findall(old[head : len(old) - tail]), _WORDS.findall(new[head : len(new) - tail])
    places = [0]
    for word in one:
        places.append(places[-1] + len(word))
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind != "equal":
            yield base + head + places[a], base + head + places[b], "".join(other[c:d])


def _indent(token: str) -> str:
    """How far the lines of a block scalar are indented."""
    found = re.search(r"\n([ ]*)[^ \n\r]", token)
    return found.group(1) if found else ""


def _written(text: str, style: str, indent: str) -> str:
    if style in ("json", '"'):
        return json.dumps(text, ensure_ascii=False)[1:-1]
    if style == "'":
        return text.replace("'", "''")
    return text.replace("\n", f"\n{indent}") if style == "|" else text


def _places(token: str, style: str, value: str) -> list[int] | None:
    """For each character of a value the offset in its token, and one for its end; None where they cannot be told."""
    at, end = 0, len(token)
    if style in ("json", '"', "'"):
        at, end = 1, len(token) - 1
    elif style in ("|", ">"):
        at = token.find("\n") + 1
        while at < end and token[at] in " \n\r":
            at += 1
        end = len(token.rstrip(_BLANK)) if not value.endswith("\n") else len(token)
    escapes = style in ("json", '"')
    places: list[int] = []
    number = 0
    while number < len(value):
        if at >= end and not (value[number:].strip(_BLANK) == "" and style in "|>"):
            return None
        char = value[number]
        if escapes and token[at] == "\\":
            if token[at + 1] in "\r\n":  # a line that goes on
                at = _beyond(token, at + 1, end)
                continue
            found = _ESCAPE.match(token, at)
            assert found is not None
            places.append(at)
            at, number = found.end(), number + 1
            if found.group()[1] == "u" and ord(char) > 0xFFFF:
                at += 6
            continue
        if style == "'" and token[at] == "'":
            if token[at : at + 2] != "''" or char != "'":
                return None
            places.append(at)
            at, number = at + 2, number + 1
            continue
        if char in _BLANK and (at >= end or (token[at] in _BLANK and style != "json")):
            stop = number
            while stop < len(value) and value[stop] in _BLANK:
                stop += 1
            beyond = _beyond(token, at, end)
            blanks = token[at:beyond]
            if blanks == value[number:stop]:
                places += range(at, beyond)
            else:
                places += [at, *(max(at, beyond - (stop - one)) for one in range(number + 1, stop))]
            at, number = beyond, stop
            continue
        if token[at] != char:
            return None
        places.append(at)
        at, number = at + 1, number + 1
    return [*places, at if style not in "|>" else min(at, end)]


def _beyond(token: str, at: int, end: int) -> int:
    while at < end and token[at] in _BLANK:
        at += 1
    return at
