"""What stands behind `--set`: paths into values, and what they are set to (helm.sh/docs/intro/using_helm, "the format and limitations of --set")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from meshport.values._grammar import parse, tokens, trees

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One path with its value (a scalar, or a list of scalars); `at` says where in the text the value begins, for a list each item's."""

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
