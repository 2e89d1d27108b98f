"""What a YAML scalar means to the API server, and which strings have to be quoted so that nobody misreads them.

kubectl reads YAML with go-yaml v2 and turns the result into JSON. Its rule is neither YAML 1.1 nor 1.2: `on` and `y` are booleans, `0755`
and `0o755` are both 493, `1e3` is the integer 1000, but `12:30:45` and dates stay strings. `resolve` follows that rule; the answers of a
real kubectl are frozen in the table that the tests read.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from functools import lru_cache

Scalar = str | int | float | bool | None

TAG_PREFIX = "tag:yaml.org,2002:"
INT64_MIN, INT64_MAX, UINT64_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class ScalarError(ValueError):
    """A scalar that kubectl refuses. Its text is the reason, without a place."""


def _spellings(*words: str) -> list[str]:
    return [form for word in words for form in (word, word.capitalize(), word.upper())]


WORDS: dict[str, Scalar] = {
    **dict.fromkeys(_spellings("y", "yes", "on", "true"), True),
    **dict.fromkeys(_spellings("n", "no", "off", "false"), False),
    **dict.fromkeys(["", "~", *_spellings("null")], None),
}
_NOT_JSON = frozenset([*(sign + word for word in (".inf", ".Inf", ".INF") for sign in ("", "+", "-")), ".nan", ".NaN", ".NAN"])

# A plain scalar that starts otherwise is always a string: the builder asks this before it calls anything.
HINTS = frozenset("0123456789+-.~yYnNtTfFoO")

_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"([-+]?)0(?:[xX]([0-9a-fA-F]+)|[bB]([01]+)|[oO]?([0-7]+))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DIGITS_MAX = 100  # in a number with a base: more than 64 bits have in any


def resolve(text: str) -> Scalar:
    """The value of a plain, untagged scalar. Raises ScalarError for `.inf` and `.nan`, which JSON cannot say."""
    if text == "":
        return None
    if text[0] not in HINTS:
        return text
    if text in WORDS:
        return WORDS[text]
    if text in _NOT_JSON:
        raise ScalarError(f"{text} is not a number that JSON can say")
    if text[0] in "0123456789+-.":
        return _number(text)
    return text


def _number(text: str) -> Scalar:
    if text[0] == ".":  # only after a digit or a sign does go-yaml take underscores out
        return _float(text) if _FLOAT.fullmatch(text) else text
    plain = text.replace("_", "")
    if _DECIMAL.fullmatch(plain):
        if len(plain) <= 20:
            return integer(int(plain))
        number = _float(plain)  # beyond 64 bits
        return text if number is plain else number
    based = _BASED.fullmatch(plain)
    if based:
        sign, sixteen, two, eight = based.groups()
        digits, base = (sixteen, 16) if sixteen else (two, 2) if two else (eight, 8)
        if len(digits) <= _DIGITS_MAX:
            whole = int(sign + digits, base)
            if INT64_MIN <= whole <= INT64_MAX or (not sign and whole <= UINT64_MAX):
                return integer(whole)
    if _FLOAT.fullmatch(plain):
        number = _float(plain)
        return text if number is plain else number
    return text


def integer(number: int) -> int | float:
    """The number as JSON consumers in Go see it: an int within 64 bits with sign, else the nearest float."""
    return number if INT64_MIN <= number <= INT64_MAX else float(number)


def _float(text: str) -> Scalar:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        return text  # out of range: Go's ParseFloat fails and the scalar stays a string
    return shorten(number)


def shorten(number: float) -> int | float:
    """A float without a fraction that fits 64 bits becomes an int, as on its way through JSON (`1.0` is written `1`)."""
    return int(number) if number.is_integer() and INT64_MIN <= number <= INT64_MAX - 512 else number


def resolve_tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag (`!!int`, `!!binary`, `!own`). Raises ScalarError where tag and text do not agree."""
    kind = tag.removeprefix(TAG_PREFIX)
    if kind == tag or kind == "str":
        return text
    if kind == "binary":
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise ScalarError("!!binary value is not base64") from None
    if kind == "timestamp":
        return text
    wanted: dict[str, tuple[type, ...]] = {"int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),)}
    if kind not in wanted:
        return text
    value = resolve(text)
    if type(value) not in wanted[kind]:
        raise ScalarError(f"{text!r} is not of the type !!{kind}")
    return value


def key_text(value: Scalar) -> str:
    """A resolved key as the JSON key that kubectl makes of it: `on:` is "true", `0755:` is "493". Raises ScalarError for a null key."""
    if isinstance(value, str):
        return value
    if value is None:
        raise ScalarError("a key is null; write a name, or quote it")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _float_key(value)


def _float_key(number: float) -> str:
    """Go's FormatFloat(number, 'g', -1, 32), which sigs.k8s.io/yaml uses for keys."""
    try:
        single = struct.pack("<f", number)
    except OverflowError:
        return ".inf" if number > 0 else "-.inf"
    number = struct.unpack("<f", single)[0]
    mantissa, exponent = "0", "0"
    for digits in range(9):
        text = f"{number:.{digits}e}"
        if struct.pack("<f", float(text)) == single:
            mantissa, exponent = text.split("e")
            break
    power = int(exponent)
    if power < -4 or power >= 6:
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    decimals = max(len(mantissa.lstrip("-").replace(".", "")) - 1 - power, 0)
    return f"{float(mantissa + 'e' + exponent):.{decimals}f}"


# ---- the reverse question --------------------------------------------------------------------------------------------------------------

# What some reader of YAML 1.1 or 1.2 takes for something other than a string although kubectl does not.
_ELSEWHERE = re.compile(
    r"""[-+]?0o?[0-7_]+ | [-+]?0x[0-9a-fA-F_]+ | [-+]?0b[01_]+ | [-+]?[0-9][0-9_]*
      | [-+]?(?:[0-9][0-9_]*)?\.[0-9_]*(?:[eE][-+]?[0-9]+)? | [-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+
      | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?                                            # 12:30:45 in base sixty
      | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?                                    # dates and times
      | [-+]?\.?(?:inf|nan|infinity) | true | false | yes | no | on | off | y | n | null | ~ | = | <<""",
    re.VERBOSE | re.IGNORECASE,
)
# Characters that no plain scalar may hold, or that some reader takes for a line break.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_STRUCTURE = re.compile(
    r"""^[\s?:,\[\]{}\#&*!|>'"%@`] | ^-(?:\s|$|--) | ^\.\.\. | :(?:\s|$) | \s\# | \s$ | \{\{ | \{% """,
    re.VERBOSE,
)


def needs_quotes(text: str) -> bool:
    """True where `text`, written bare, would be read as something else by kubectl or by a reader of YAML 1.1 or 1.2."""
    return _needs_quotes(text) if len(text) <= 64 else _looks_otherwise(text)


def _looks_otherwise(text: str) -> bool:
    if not text or _STRUCTURE.search(text) or UNPRINTABLE.search(text):
        return True
    return bool(_ELSEWHERE.fullmatch(text)) or not _stays_string(text)


_needs_quotes = lru_cache(maxsize=8192)(_looks_otherwise)  # keys and names stand in manifests over and over


def _stays_string(text: str) -> bool:
    try:
        return isinstance(resolve(text), str)
    except ScalarError:
        return False
