"""Changing a document in the text that a person wrote: what stays the same keeps its comments, order and quotes.

ruamel.yaml, which keeps all that, is slow and is only imported here, when the first edit is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from meshport.documents.scalars import ScalarError, key_text, needs_quotes, resolve
from meshport.documents.write import dump
from meshport.errors import InputError

_LIST_UNDER_KEY = re.compile(r"^(?P<key> *)(?:- )?[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*(?P<item> *)- ", re.MULTILINE)
_CHILD_OF_KEY = re.compile(r"^(?P<key> *)[^\s#-][^\n]*:[ \t]*\n(?P<child> +)[^\s#-]", re.MULTILINE)


class _GiveUpError(Exception):
    """The text cannot be edited in place."""


def edit(text: str, new: Mapping[str, Any]) -> str:
    """The source text of one document, changed so that it reads as `new`.

    Comments, order and quoting of what did not change stay. Where that cannot be done (anchors that would have to part, text that cannot
    be read) the result is `dump([new])`. Raises UsageError if `new` itself cannot be written.
    """
    written = dump([new])
    try:
        for result in _candidates(text, new):
            if _reads_as(result, new):
                return result
    except Exception:  # ruamel.yaml raises a great deal on text at the edge of YAML; the written form is always right
        return written
    return written


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values that tells `true` from 1, and takes 1.0 for 1 as JSON does."""
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _read(text: str) -> Any:
    from meshport.documents.segments import plain

    return plain(text)


def _reads_as(text: str, new: Mapping[str, Any]) -> bool:
    try:
        return same(_read(text), new)
    except InputError:
        return False


def _candidates(text: str, new: Mapping[str, Any]) -> Iterator[str]:
    """Ways to write the change, the one that keeps most of the text first."""
    old = _read(text)
    if same(old, new):
        yield text
    elif text.lstrip()[:1] == "{":
        yield _edit_json(text, new)
    elif isinstance(old, dict):
        yield from _round_trips(text, old, new)


def _round_trips(text: str, old: dict[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    yaml.brace_single_entry_mapping_in_flow_sequence = True  # [{a: b}] stays that and does not become [a: b]
    yaml.allow_duplicate_keys = False
    unix = text.replace("\r\n", "\n")
    mapping, sequence, dash = _layout(unix)
    yaml.indent(mapping=mapping, sequence=sequence, offset=dash)
    tree = yaml.load(unix)

    def written() -> list[str]:
        stream = StringIO()
        yaml.dump(tree, stream)
        return stream.getvalue().split("\n")

    before = written()
    _change_mapping(tree, old, new)
    after = written()
    for lines in (_three_way(before, unix.split("\n"), after), after):
        yield ("\r\n" if unix != text else "\n").join(lines)


def _three_way(base: list[str], text: list[str], changed: list[str]) -> list[str]:
    """`text` with the changes from `base` to `changed`.

    A round trip lays out a little anew (`key: null`, folded strings, `{ }`); where nothing changed, that is taken back.
    """

    def steps(to: list[str]) -> list[tuple[int, int, list[str]]]:
        codes = SequenceMatcher(None, base, to, autojunk=False).get_opcodes()
        return [(a, b, to[c:d]) for kind, a, b, c, d in codes if kind != "equal"]

    edits = steps(changed)

    def apart(start: int, end: int) -> bool:
        """No edit overlaps these lines; what is inserted has to be strictly inside for that."""
        return not any(max(start, a) < min(end, b) or a < start == end < b or start < a == b < end for a, b, _ in edits)

    layout = [step for step in steps(text) if apart(step[0], step[1])]
    result: list[str] = []
    at = 0
    for start, end, lines in sorted([*layout, *edits], key=lambda step: step[:2]):
        result += base[at:start] + lines
        at = end
    return result + base[at:]


def _edit_json(text: str, new: Mapping[str, Any]) -> str:
    json.loads(text)  # else it is a flow mapping, and is written anew
    indent = re.search(r"\{\r?\n([ \t]+)\"", text)
    ends = text[len(text.rstrip()) :]
    starts = text[: len(text) - len(text.lstrip())]
    separators = None if indent or ": " in text else (",", ":")
    return starts + json.dumps(new, indent=indent[1] if indent else None, separators=separators, ensure_ascii=False) + ends


def _layout(text: str) -> tuple[int, int, int]:
    """(mapping indent, sequence indent, offset of the dash) as the text has them, in ruamel.yaml's terms."""
    child = _CHILD_OF_KEY.search(text)
    mapping = max(len(child["child"]) - len(child["key"]), 1) if child else 2
    found = _LIST_UNDER_KEY.search(text)
    dash = max(len(found["item"]) - len(found["key"]), 0) if found else 0
    if found and found[0].lstrip().startswith("- "):
        dash = max(dash - 2, 0)
    return mapping, dash + 2, dash


def _change_mapping(tree: Any, old: dict[str, Any], new: Mapping[str, Any]) -> None:
    names: dict[str, Any] = {}
    for key in tree:
        names[_name(key)] = key
    if names.keys() != old.keys():
        raise _GiveUpError
    for key in [key for key in old if key not in new]:
        del tree[names[key]]
    for key, value in new.items():
        if key not in old:
            tree[_text(key) if needs_quotes(key) else key] = _fresh(value, None)
        elif not same(old[key], value):
            tree[names[key]] = _changed(tree[names[key]], old[key], value)


def _name(key: Any) -> str:
    """The key as kubectl has it, of a key as ruamel.yaml has it."""
    if isinstance(key, str):
        if type(key) is not str:
            return str(key)  # quoted
        try:
            return key_text(resolve(key))
        except ScalarError:
            raise _GiveUpError from None
    if isinstance(key, (bool, int, float)):
        return key_text(key)
    raise _GiveUpError


def _changed(tree: Any, old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, Mapping) and old and new:
        _change_mapping(tree, old, new)
        return tree
    if isinstance(old, list) and isinstance(new, (list, tuple)) and old and new:
        _change_sequence(tree, old, list(new))
        return tree
    return _fresh(new, tree)


def _change_sequence(tree: Any, old: list[Any], new: list[Any]) -> None:
    """Items that are equal stay; between them, items are changed pair by pair, then removed or added."""

    def mark(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    matcher = SequenceMatcher(None, [mark(each) for each in old], [mark(each) for each in new], autojunk=False)
    for kind, a, b, c, d in reversed(matcher.get_opcodes()):
        if kind == "equal":
            continue
        pairs = min(b - a, d - c)
        for number in reversed(range(a + pairs, b)):
            del tree[number]
        for number in range(pairs):
            tree[a + number] = _changed(tree[a + number], old[a + number], new[c + number])
        for number in range(c + pairs, d):
            tree.insert(a + number - c, _fresh(new[number], None))


def _fresh(value: Any, before: Any) -> Any:
    """A new value in ruamel.yaml's types; a string keeps the quotes of the one before it."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    if isinstance(value, str):
        if isinstance(before, (DoubleQuotedScalarString, SingleQuotedScalarString)) and "\n" not in value:
            return type(before)(value)
        return _text(value)
    if isinstance(value, Mapping):
        made = CommentedMap()
        for key, child in value.items():
            made[_text(key) if needs_quotes(key) else key] = _fresh(child, None)
        if not value:
            made.fa.set_flow_style()
        return made
    if isinstance(value, (list, tuple)):
        items = CommentedSeq([_fresh(child, None) for child in value])
        if not value:
            items.fa.set_flow_style()
        return items
    return value


def _text(value: str) -> Any:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if "\n" in value and value[0] not in " \t\n":
        return LiteralScalarString(value)
    return DoubleQuotedScalarString(value) if needs_quotes(value) else value
