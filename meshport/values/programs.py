"""How large a regular expression is as a program of RE2: Envoy refuses one of more than 100 instructions where nobody has raised
`re2.max_program_size.error_level`, and a refused expression takes all that is sent with it along.

RE2 makes one instruction of each range of bytes, and repeats some where choices meet. So this counts byte ranges and adds an eighth, which was
enough for every expression that was measured (tests/values/test_programs.py holds sizes that RE2 gave).
"""

from __future__ import annotations

import re

from meshport.values import charset, regex
from meshport.values.charset import Charset
from meshport.values.terms import Alt, Cat, Chars, Term, Text

LARGEST = 100  # Envoy's default
_OVERHEAD = 4  # to fail, to match, and to begin anywhere
_BEYOND = 0x80
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def size(pattern: str) -> int:
    """How many instructions RE2 makes of a pattern, or a few more. Raises what `regex.parse` raises."""
    count = _size(regex.parse(pattern, "re2"))
    return _OVERHEAD + count + (count + 7) // 8


def with_boundaries(pattern: str) -> str:
    """The pattern with a character in the place of each word boundary, which is one instruction of RE2's too and is no term of `regex.parse`."""
    return _ESCAPED.sub(lambda found: "(?:x)" if found[1] in "bB" else found[0], pattern)


def _size(term: Term) -> int:
    if isinstance(term, Text):
        return len(term.text.encode())
    if isinstance(term, Chars):
        return _chars(term.of)
    if isinstance(term, Cat):
        return sum(_size(part) for part in term.parts)
    if isinstance(term, Alt):
        return sum(_size(part) for part in term.parts) + 1
    body = _size(term.body)
    if term.most is None:
        return body * max(term.least, 1) + 1
    return (body + 1) * max(term.most, 1)


def _chars(chars: Charset) -> int:
    """The byte ranges of the characters in UTF-8. Both cases of a letter are one instruction."""
    plain = charset.intersection(chars, ((0, _BEYOND - 1),))
    beyond = charset.difference(chars, plain)
    if len(plain) == 2 and all(low == high for low, high in plain) and plain[1][0] - plain[0][0] == 32:
        return 1
    return len(plain) + sum(_utf8(low, high) for low, high in beyond)


def _utf8(low: int, high: int) -> int:
    if (low, high) == (_BEYOND, 0x10FFFF):
        return 6
    return 2 * (len(chr(low).encode()) + len(chr(high).encode()))


__all__ = ["LARGEST", "size", "with_boundaries"]
