"""The IR as plain data, for people and programs to read: what a bundle does, and the places that say so."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from meshport.compare.diff import canonical
from meshport.ir.base import Fact, PodSet, Ref, Selector

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.documents import Bundle
    from meshport.ir.model import IR

SCHEMA = "meshport/ir/v1"
_HIDDEN = {
    "src",
    "label_src",
    "pods_src",
    "annotation_src",
    "losses",
    "feature",
    "by_label",
    "at_waypoints",
    "attached",
    "emptied",
    "entrance",
    "ways_out",
    "retries_unasked",
}


def dump_ir(ir: IR, bundle: Bundle, options: Options) -> dict[str, Any]:
    """`effective` is what comes out for each subject, `facts` what was read.

    A fact is a value with `at`, the places that say so: file:line, or the path where the documents came as objects.
    """
    found = {field.name: _plain(getattr(ir, field.name), bundle) for field in fields(ir) if field.name not in _HIDDEN}
    return {
        "schema": SCHEMA,
        "source": {"mesh": options.source, "version": options.source_version},
        "effective": _plain(canonical(ir, options), bundle),
        "facts": found,
    }


def _plain(value: Any, bundle: Bundle) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Fact):
        at = sorted({place(leaf, bundle) for leaf in value.src}, key=_natural)
        return {"value": _plain(value.value, bundle), **({"at": at} if at else {})}
    if isinstance(value, Ref | Selector | PodSet):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        if type(value).__str__ is not object.__str__:
            return str(value)
        return {
            field.name: _plain(getattr(value, field.name), bundle)
            for field in fields(value)
            if field.name not in _HIDDEN and not field.name.startswith("_")
        }
    if isinstance(value, dict):
        return {_key(key): _plain(below, bundle) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below, bundle) for below in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(below, bundle) for below in value), key=lambda item: json.dumps(item, sort_keys=True))
    return str(value)


def _key(key: Any) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


def place(leaf: int, bundle: Bundle) -> str:
    """Where a leaf stands, in one word."""
    owner, line = bundle.owner(leaf), bundle.line(leaf)
    if line is None:
        return f"{owner.index}#{bundle.path(leaf)}"
    return f"{owner.file or '<text>'}:{line}"


def _natural(text: str) -> tuple[str, int, str]:
    head, _, tail = text.rpartition(":")
    return (head, int(tail), "") if tail.isdigit() else (text, 0, text)
