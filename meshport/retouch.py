"""Small changes to a document, line by line: entries of block mappings that come or go, which is what a changed copy mostly needs.

It takes a tenth of a round trip through ruamel.yaml, and touches no other line. What comes out is read again, so a change that cannot be
made this way gives None and never a wrong text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshport.documents import dump
from meshport.documents.edit import same
from meshport.documents.segments import plain
from meshport.errors import InputError


def retouch(text: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """`text`, which reads as `old`, changed so that it reads as `new`; None where lines alone cannot do it."""
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        lines = text.split("\n")
        gone: set[int] = set()
        after: dict[int, list[str]] = {}
        if root is None or not _change(root, old, new, lines, gone, after):
            return None
        result: list[str] = []
        for number, line in enumerate(lines):
            if number not in gone:
                result.append(line)
            result += after.get(number, ())
        changed = "\n".join(result)
        return changed if same(plain(changed), new) else None
    except (yaml.YAMLError, InputError):
        return None


def _change(
    node: Any, old: Mapping[str, Any], new: Mapping[str, Any], lines: list[str], gone: set[int], after: dict[int, list[str]]
) -> bool:
    """Note which lines go and which come after which, for one mapping and those in it; whether that is possible."""
    if not isinstance(getattr(node, "value", None), list) or node.flow_style or not node.value or node.id != "mapping":
        return False
    pairs = {key.value: (key, value) for key, value in node.value}
    if len(pairs) != len(node.value) or pairs.keys() != old.keys():
        return False
    column = node.value[0][0].start_mark.column
    end = _last(node)
    if end is None:
        return False
    for key, value in old.items():
        at, below = pairs[key]
        if key in new and same(value, new[key]):
            continue
        if key in new:
            if not (isinstance(value, Mapping) and isinstance(new[key], Mapping) and value and new[key]):
                return False
            if not _change(below, value, new[key], lines, gone, after):
                return False
            continue
        last = _last(below)
        if last is None or lines[at.start_mark.line][: at.start_mark.column].strip(" "):
            return False
        gone.update(range(at.start_mark.line, last + 1))
    added = {key: new[key] for key in new if key not in old}
    for key, value in added.items():
        written = dump([{key: value}]).rstrip("\n").split("\n")
        after.setdefault(end, []).extend(" " * column + line if line else line for line in written)
    return True


def _last(node: Any) -> int | None:
    """The last line of a node that has content; None for block scalars and empty nodes, whose end is not plain to see."""
    while node.id != "scalar" and not node.flow_style:
        if not node.value:
            return None
        node = node.value[-1][1] if node.id == "mapping" else node.value[-1]
    if node.id == "scalar" and (node.style in ("|", ">") or (not node.value and node.style is None)):
        return None
    return int(node.end_mark.line)
