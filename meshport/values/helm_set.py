"""What stands behind `--set`, `--set-json` and `--set-literal`: paths into values, and what they are set to (helm.sh/docs/intro/using_helm, "the format and
limitations of --set"; pkg/strvals)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshport.values._grammar import parse, tokens, trees
from meshport.values.problems import ValueProblem

_KEY = re.compile(r"(?:[^\\.,=\[\]{}]|\\.)+|\[(?P<index>[0-9]{1,5})\]", re.DOTALL)
_LITERAL_KEY = re.compile(r"[^.=\[]+|\[(?P<index>[0-9]{1,5})\]")
_BETWEEN = re.compile(r"\s*,?\s*")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One path with its value (a scalar, a list of scalars, or whatever JSON holds); `at` says where in the text the value begins, for a list of `--set` each item's."""

    path: tuple[str | int, ...]
    value: Any
    at: Any


def assignments(text: str, *, strings: bool = False) -> list[Assignment]:
    """The assignments in `text`, in order. With `strings` (`--set-string`) no value is a number or a boolean. Raises ValueProblem."""
    found = []
    for pair in trees(parse("helm_set", text, "a list of PATH=VALUE")):
        path, value = trees(pair)
        steps: list[str | int] = []
        for step in trees(path):
            spelled = "".join(str(token) for token in tokens(step))
            steps.append(int(spelled) if step.data == "index" else _plain(spelled))
        (inner,) = trees(value)
        if inner.data == "list":
            items = [_item(item, strings) for item in trees(inner)]
            kept = [item for item in items if item is not None]
            found.append(Assignment(tuple(steps), [item[0] for item in kept], [item[1] for item in kept]))
        else:
            item = _item(inner, strings)
            found.append(Assignment(tuple(steps), item[0] if item is not None else "", item[1] if item is not None else len(text)))
    return found


def of_json(text: str) -> list[Assignment]:
    """What `--set-json` sets: paths with a text of JSON each, or one object, of which every value is taken. Raises ValueProblem."""
    if text.lstrip().startswith("{"):
        return [Assignment(path, value, len(text) - len(text.lstrip())) for path, value in _below(_decoded(text, 0)[0], ())]
    found, at = [], 0
    while at < len(text):
        path, at = _path(text, at, _KEY)
        if text[at : at + 1] in ("", ","):
            found.append(Assignment(path, None, min(at, len(text) - 1)))
        else:
            value, end = _decoded(text, at)
            found.append(Assignment(path, value, at))
            at = end
        if (between := _BETWEEN.match(text, at)) is not None:
            at = between.end()
    return found


def of_literal(text: str) -> list[Assignment]:
    """What `--set-literal` sets: one path, and all that follows the first `=`, whatever it is. Raises ValueProblem."""
    path, at = _path(text, 0, _LITERAL_KEY)
    return [Assignment(path, text[at:], at)]


def _path(text: str, at: int, key: re.Pattern[str]) -> tuple[tuple[str | int, ...], int]:
    """The path that stands there, and the place behind its `=`."""
    steps: list[str | int] = []
    while (found := key.match(text, at)) is not None:
        steps.append(int(found["index"]) if found["index"] is not None else _plain(found[0]) if key is _KEY else found[0])
        at = found.end()
        if text[at : at + 1] == ".":
            at += 1
        elif text[at : at + 1] == "=":
            return tuple(steps), at + 1
    raise ValueProblem(f"{text!r} is not a list of PATH=VALUE", at + 1)


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON that begins there, and where it ends."""
    start = at + len(text[at:]) - len(text[at:].lstrip())
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        raise ValueProblem(f"{text[at:]!r} is not JSON", at + 1) from None


def _below(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values below an object that are none themselves, with their paths."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict) and inner:
            yield from _below(inner, (*path, key))
        else:
            yield (*path, key), inner


def _item(tree: Any, strings: bool) -> tuple[Any, int] | None:
    pieces = tokens(tree)
    if not pieces:
        return None
    return typed("".join(_plain(str(piece)) for piece in pieces), strings), int(pieces[0].start_pos or 0)


def _plain(spelled: str) -> str:
    return re.sub(r"\\(.)", r"\1", spelled)


def typed(text: str, strings: bool = False) -> Any:
    """A value as Helm reads it: true, false and null, in letters of any size, and whole numbers are what they say."""
    if strings:
        return text
    word = text.lower()
    if word in ("true", "false"):
        return word == "true"
    if word == "null":
        return None
    return int(text) if _INTEGER.fullmatch(text) else text
