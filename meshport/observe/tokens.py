"""The tokens of PromQL (promql/parser/lex.go). Words mean one thing outside braces, another inside, and inside brackets only lengths of time are spoken of.

What a dashboard or a controller fills in is a token of its own: `$name`, `${name:format}`, `[[name]]` of Grafana, `{{ name }}` of Go templates and `<<.Name>>` of
prometheus-adapter, with the letters that touch it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Token

_TEMPLATE = r"\$\{[^{}\n]*\}|\$[A-Za-z_][A-Za-z0-9_]*|\[\[[A-Za-z0-9_]+(?::[A-Za-z0-9_]+)?\]\]|\{\{(?:[^{}]|\{\{|\"[^\"]*\"|`[^`]*`)*\}\}|<<[^<>\n]*>>"
_GLUED = re.compile(rf"(?:[A-Za-z_:][A-Za-z0-9_:]*|[0-9][A-Za-z0-9_.]*)?(?:{_TEMPLATE})(?:[A-Za-z0-9_]|{_TEMPLATE})*")
_GLUED_LENGTH = re.compile(rf"[A-Za-z0-9_.]*(?:{_TEMPLATE})(?:[A-Za-z0-9_]|{_TEMPLATE})*")
_IN_STRING = re.compile(_TEMPLATE)
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)+")
_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RAW = re.compile(r"`[^`]*`")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|\'(?:[^\'\\\n]|\\[^\n])*\'')
_CHUNK = re.compile(r"0[xX][0-9A-Za-z_.]*|(?:[0-9A-Za-z_.]|(?<=[eE])[+-](?=[0-9]))+")
_DECIMAL = re.compile(r"(?:[0-9]+(?:_[0-9]+)*(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?")
_HEX = re.compile(r"0[xX](?:_?[0-9a-fA-F])+")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[ywdhms]))+")
_UNIT = re.compile(r"([0-9]+)(ms|[ywdhms])")
_SECONDS = {"y": 31536000.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_ORDER = list(_SECONDS)
_ESCAPE = re.compile(r"\\(?:[abfnrtv\\'\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|\\.", re.DOTALL)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}

LONGEST = 2**63 / 1e9
"""Seconds: Go's Duration counts nanoseconds in 63 bits."""
MOST = 100_000
"""Tokens of one expression that are read; real ones have some hundreds."""
AGGREGATORS = (
    "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio",
)  # fmt: skip
_KEYWORDS = {
    **dict.fromkeys(AGGREGATORS, "AGGREGATOR"),
    **{
        name: name.upper()
        for name in (
            "and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "anchored", "smoothed",
            "start", "end", "step", "range", "min_of", "max_of",
        )
    },
    "inf": "NUMBER",
    "nan": "NUMBER",
}  # fmt: skip
_FILLS = {"fill": "FILL", "fill_left": "FILL_LEFT", "fill_right": "FILL_RIGHT"}
_OPERATORS = {
    "==": "EQLC", "!=": "NEQ", "<=": "LTE", ">=": "GTE", "</": "TRIM_UPPER", ">/": "TRIM_LOWER", "<": "LSS", ">": "GTR",
    "+": "ADD", "-": "SUB", "*": "MUL", "/": "DIV", "%": "MOD", "^": "POW", "@": "AT", "(": "LPAR", ")": "RPAR", ",": "COMMA", "=": "EQL",
}  # fmt: skip
_IN_BRACES = {"=~": "EQL_REGEX", "!~": "NEQ_REGEX", "!=": "NEQ", "=": "EQL", ",": "COMMA", "}": "RBRACE"}
_IN_BRACKETS = {
    "+": "ADD",
    "-": "SUB",
    "*": "MUL",
    "/": "DIV",
    "%": "MOD",
    "^": "POW",
    "(": "LPAR",
    ")": "RPAR",
    ",": "COMMA",
    ":": "COLON",
    "]": "RBRACKET",
}
_LENGTH_WORDS = {"step": "STEP", "range": "RANGE", "min_of": "MIN_OF", "max_of": "MAX_OF"}


class Malformed(Exception):
    """The text is no PromQL: what is wrong, and the character where."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


@dataclass(slots=True)
class _Reader:
    text: str
    templates: bool
    at: int = 0
    brace: bool = False
    bracket: bool = False

    def operator(self, known: dict[str, str]) -> tuple[str, int] | None:
        for length in (2, 1):
            kind = known.get(self.text[self.at : self.at + length])
            if kind is not None:
                return kind, min(self.at + length, len(self.text))
        return None


def tokens(text: str, *, templates: bool) -> list[Token]:
    """All tokens of an expression. Raises Malformed. With `templates` off, `$` and `{{` are what they are to Prometheus: mistakes."""
    from lark import Token

    bad = next((number for number, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)
    if bad is not None:
        raise Malformed("not UTF-8", bad)
    reader = _Reader(text, templates)
    found: list[Token] = []
    opened: list[int] = []
    while True:
        space = _SPACE.match(text, reader.at)
        if space is not None:
            reader.at = space.end()
        if reader.at >= len(text):
            break
        kind, end = _next(reader, found)
        if kind == "LPAR":
            opened.append(reader.at)
        elif kind == "RPAR":
            if not opened:
                raise Malformed("a closing parenthesis that nothing opens", reader.at)
            opened.pop()
        reader.brace = kind == "LBRACE" or (reader.brace and kind != "RBRACE")
        reader.bracket = kind == "LBRACKET" or (reader.bracket and kind != "RBRACKET")
        if len(found) == MOST:
            raise Malformed(
                f"more than {MOST:,} tokens, which is the most that is read; record a part of it under a name of its own", reader.at
            )
        found.append(Token(kind, text[reader.at : end], start_pos=reader.at, end_pos=end))
        reader.at = end
    if reader.brace or reader.bracket:
        raise Malformed("a brace that is not closed" if reader.brace else "a bracket that is not closed", len(text))
    if opened:
        raise Malformed("a parenthesis that is not closed", opened[-1])
    return found


def _next(reader: _Reader, found: list[Token]) -> tuple[str, int]:
    text, at = reader.text, reader.at
    if reader.templates and (glued := (_GLUED_LENGTH if reader.bracket else _GLUED).match(text, at)) is not None:
        return "TEMPLATE", glued.end()
    char = text[at]
    if char in "\"'`" and not reader.bracket:
        return "STRING", _string(text, at)
    if reader.brace:
        word = _LABEL.match(text, at)
        known = ("LABEL", word.end()) if word is not None else reader.operator(_IN_BRACES)
        if text.startswith("==", at) or known is None:
            raise Malformed(f"unexpected {char!r} inside braces", at)
        return known
    if (char.isdigit() and char.isascii()) or (char == "." and text[at + 1 : at + 2].isdigit()):
        return _number(text, at)
    if reader.bracket:
        word = _LABEL.match(text, at)
        if word is not None:
            kind = _LENGTH_WORDS.get(word.group().lower())
            if kind is None:
                raise Malformed(f"unexpected {word.group()!r} in a range; a duration is expected", at)
            return kind, word.end()
        known = reader.operator(_IN_BRACKETS)
        if known is None:
            raise Malformed(f"unexpected {char!r} in a range", at)
        return known
    if char == "{":
        return "LBRACE", at + 1
    if char == "[":
        return "LBRACKET", at + 1
    word = _WORD.match(text, at)
    if word is not None:
        return _word(text, word.group(), word.end()), word.end()
    if text.startswith(("=~", "!~"), at):
        raise Malformed(f"{text[at : at + 2]} compares labels, inside braces only", at)
    known = reader.operator(_OPERATORS)
    if known is None:
        raise Malformed(f"unexpected {char!r}", at)
    return known


def _word(text: str, word: str, end: int) -> str:
    if ":" in word:
        return "METRIC_IDENT"
    fill = _FILLS.get(word.lower())
    if fill is not None:
        space = _SPACE.match(text, end)
        return fill if text.startswith("(", space.end() if space is not None else end) else "IDENT"
    return _KEYWORDS.get(word.lower(), "IDENT")


def _number(text: str, at: int) -> tuple[str, int]:
    chunk = _CHUNK.match(text, at)
    assert chunk is not None  # a digit stands there
    word = chunk.group()
    if _DURATION.fullmatch(word):
        if duration(word) is None:
            raise Malformed(f"{word!r} is no duration: units from the longest to the shortest, each once, such as 1h30m", at)
        return "DURATION", chunk.end()
    if (_DECIMAL.fullmatch(word) or _HEX.fullmatch(word)) and not math.isinf(number(word)):
        return "NUMBER", chunk.end()
    raise Malformed(f"{word!r} is neither a number nor a duration", at)


def number(word: str) -> float:
    """The value of a number as it is spelt: decimal, hexadecimal, octal with a leading zero, Inf or NaN."""
    bare = word.replace("_", "")
    if bare.lower().startswith("0x"):
        return float(int(bare, 16))
    if len(bare) > 1 and bare[0] == "0" and set(bare) <= set("01234567"):
        return float(int(bare, 8))
    return float(bare)


def duration(word: str) -> float | None:
    """The seconds of a duration such as 1h30m; None where its units do not descend, or it is too long for Go."""
    parts = [(int(amount), unit) for amount, unit in _UNIT.findall(word)]
    units = [_ORDER.index(unit) for _, unit in parts]
    if units != sorted(set(units)):
        return None
    seconds = sum(amount * _SECONDS[unit] for amount, unit in parts)
    return seconds if seconds < LONGEST else None


def _string(text: str, at: int) -> int:
    found = (_RAW if text[at] == "`" else _QUOTED).match(text, at)
    if found is None:
        raise Malformed("a string that is not closed", at)
    if text[at] != "`":
        for escape in _ESCAPE.finditer(text, at + 1, found.end() - 1):
            if _escaped(escape.group(), text[at]) is None:
                raise Malformed(
                    f"{escape.group()} is no escape; write \\\\ for a backslash, or put the string in backticks", escape.start()
                )
    return found.end()


def _escaped(word: str, quote: str) -> str | None:
    code = word[1:]
    if code in _PLAIN:
        return _PLAIN[code] if code not in "'\"" or code == quote else None
    if len(code) == 3 and code.isdigit():
        return chr(int(code, 8)) if int(code, 8) < 256 else None
    if len(code) > 2 and code[0] in "xuU":
        point = int(code[1:], 16)
        return chr(point) if point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF else None
    return None


def unquoted(word: str) -> str:
    """What a string token says."""
    if word[0] == "`":
        return word[1:-1]
    return _ESCAPE.sub(lambda found: _escaped(found.group(), word[0]) or "", word[1:-1])


def quoted(value: str, like: str = '"') -> str:
    """A string token that says this, in quotes like those of another where that works."""
    if like == "`" and "`" not in value:
        return f"`{value}`"
    quote = like if like in "\"'" else '"'
    made = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    for code, char in _PLAIN.items():
        if char in "\a\b\f\n\r\t\v":
            made = made.replace(char, "\\" + code)
    return f"{quote}{made}{quote}"


def has_template(word: str) -> bool:
    """Whether something in a string is filled in before Prometheus reads it."""
    return _IN_STRING.search(word) is not None
