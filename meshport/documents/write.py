"""Plain objects become YAML or JSON: the same object always gives the same bytes, and every reader gets the same object back.

The layout is kubectl's: block style, list items not indented under their key. Strings are quoted where kubectl, or a reader of YAML 1.1
or 1.2, would take them for something else; multi-line text is a literal block where that says it exactly; no line is folded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshport.documents.scalars import UNPRINTABLE, needs_quotes, shorten
from meshport.errors import UsageError

_TOP = ("apiVersion", "kind", "metadata", "spec")
_METADATA = ("name", "namespace", "labels", "annotations")
_KEY_MAX = 1000  # a longer key cannot stand before a colon: libyaml looks no further than 1024 characters
_DEPTH_MAX = 200
_UNFIT_FOR_LITERAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TO_ESCAPE = re.compile(f'["\\\\]|{UNPRINTABLE.pattern}')
_SHORT_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def dump(objects: Iterable[Mapping[str, Any]], comments: Mapping[int, Sequence[str]] | None = None) -> str:
    """YAML of all objects, `---` between them. `comments[i]` are lines written as `# ...` before object i.

    Top-level keys come as apiVersion, kind, metadata, spec, then the rest as given; in metadata name, namespace, labels and annotations
    come first. Raises UsageError for what YAML cannot say to Kubernetes: NaN, infinities, half surrogate pairs, other types than JSON's,
    nesting over 200 levels.
    """
    out: list[str] = []
    for number, each in enumerate(objects):
        if number:
            out.append("---")
        for comment in (comments or {}).get(number, ()):
            out += [f"# {UNPRINTABLE.sub(' ', line)}".rstrip() for line in comment.splitlines() or [""]]
        if each:
            _mapping(_ordered(each), "", "", out)
        else:
            out.append("{}")
    return "\n".join(out) + "\n" if out else ""


def dump_json(objects: Iterable[Mapping[str, Any]]) -> str:
    """JSON with an indentation of two: the object itself if there is one, else a `kind: List` of them. Raises UsageError as `dump` does."""
    listed = [_json(_ordered(each), 0) for each in objects]
    whole = listed[0] if len(listed) == 1 else {"apiVersion": "v1", "kind": "List", "items": listed}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def scalar(value: Any) -> str:
    """One scalar, `{}` or `[]` as it is written on one line."""
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, Mapping) and not value:
        return "{}"
    if isinstance(value, (list, tuple)) and not value:
        return "[]"
    raise UsageError(f"a value of the type {type(value).__name__} cannot be written to a manifest; give plain JSON values")


def _ordered(each: Mapping[str, Any]) -> dict[str, Any]:
    ordered = _first(each, _TOP)
    if isinstance(ordered.get("metadata"), Mapping):
        ordered["metadata"] = _first(ordered["metadata"], _METADATA)
    return ordered


def _first(value: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {**{key: value[key] for key in keys if key in value}, **{key: value[key] for key in value if key not in keys}}


def _mapping(value: Mapping[str, Any], pad: str, lead: str, out: list[str]) -> None:
    """Appends the lines of a mapping whose keys stand at `pad`; the first line begins with `lead` instead."""
    _check_depth(pad)
    for key, child in value.items():
        if not isinstance(key, str):
            raise UsageError(f"a key of the type {type(key).__name__} cannot be written to a manifest; give a string")
        name = _string(key)
        if len(name) > _KEY_MAX:
            out.append(f"{lead}? {name}")
            _nested(child, pad, f"{pad}: ", out)
        elif isinstance(child, Mapping) and child:
            out.append(f"{lead}{name}:")
            _mapping(child, pad + "  ", pad + "  ", out)
        elif isinstance(child, (list, tuple)) and child:
            out.append(f"{lead}{name}:")
            _sequence(child, pad, pad, out)
        elif isinstance(child, str) and "\n" in child and _literal_fits(child):
            _literal(child, pad, f"{lead}{name}: ", out)
        else:
            out.append(f"{lead}{name}: {scalar(child)}")
        lead = pad


def _sequence(value: Sequence[Any], pad: str, lead: str, out: list[str]) -> None:
    _check_depth(pad)
    for child in value:
        _nested(child, pad, f"{lead}- ", out)
        lead = pad


def _nested(child: Any, pad: str, lead: str, out: list[str]) -> None:
    """Appends a value that starts on the line of its `- ` or `: `."""
    if isinstance(child, Mapping) and child:
        _mapping(child, pad + "  ", lead, out)
    elif isinstance(child, (list, tuple)) and child:
        _sequence(child, pad + "  ", lead, out)
    elif isinstance(child, str) and "\n" in child and _literal_fits(child):
        _literal(child, pad, lead, out)
    else:
        out.append(lead + scalar(child))


def _check_depth(pad: str) -> None:
    if len(pad) > 2 * _DEPTH_MAX:
        raise UsageError(f"an object nested deeper than {_DEPTH_MAX} levels cannot be written")


def _literal_fits(text: str) -> bool:
    return text[0] not in " \t\n" and not _UNFIT_FOR_LITERAL.search(text)


def _literal(text: str, pad: str, lead: str, out: list[str]) -> None:
    """A `|` block; its chomping sign says how many line breaks end the text."""
    body = text.removesuffix("\n")
    sign = "|-" if body == text else "|+" if body.endswith("\n") else "|"
    out.append(lead + sign)
    out += [f"{pad}  {line}" if line else "" for line in body.split("\n")]


def _string(text: str) -> str:
    if not needs_quotes(text):
        return text
    if ('"' in text or "\\" in text) and not UNPRINTABLE.search(text):
        return "'" + text.replace("'", "''") + "'"
    _check_string(text)
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _check_string(text: str) -> None:
    if _SURROGATE.search(text):
        raise UsageError("a string holds half of a surrogate pair, which no manifest can say; replace that character")


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    code = ord(sign)
    return _SHORT_ESCAPES.get(sign) or (f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}")


def _number(value: int | float) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{value} is not a number that JSON can say; remove it")
        value = shorten(value)
    if isinstance(value, int):
        return int.__repr__(value)
    text = float.__repr__(value)
    mantissa, sign, exponent = text.partition("e")
    if sign and "." not in mantissa:
        return f"{mantissa}.0e{exponent}"  # readers of YAML 1.1 take `1e+22` for a string
    return text


def _json(value: Any, depth: int) -> Any:
    """A copy that `json` writes the way `dump` would: the same checks, floats without a fraction as integers."""
    if depth > _DEPTH_MAX:
        raise UsageError(f"an object nested deeper than {_DEPTH_MAX} levels cannot be written")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"a key of the type {type(key).__name__} cannot be written to a manifest; give a string")
            _check_string(key)
        return {key: _json(child, depth + 1) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(child, depth + 1) for child in value]
    if isinstance(value, str):
        _check_string(value)
    elif isinstance(value, float) and math.isfinite(value):
        return shorten(value)
    else:
        scalar(value)  # raises for what cannot be written
    return value
