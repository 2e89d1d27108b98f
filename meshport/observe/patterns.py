"""Regular expressions of matchers, as RE2 reads them."""

from __future__ import annotations

import re

from meshport.observe.tokens import Malformed
from meshport.values import regex
from meshport.values.language import Language
from meshport.values.problems import LanguageTooLarge, UnsupportedRegex, ValueProblem

_PYTHON_TOO = re.compile(r"(?:[\w\s.,:/|$^@%=~<>-]|\\[.dws/-]|\((?!\?)|\)|[*+?](?![*+?{]))*")
"""Patterns that Python and RE2 read alike."""


def checked(pattern: str, at: int) -> None:
    """Raises Malformed for a pattern that RE2 does not take."""
    if _PYTHON_TOO.fullmatch(pattern):
        try:
            re.compile(pattern)
        except re.error as error:
            raise Malformed(f"{pattern!r} is no regular expression: {error.msg}", at) from None
        return
    try:
        regex.parse(pattern)
    except UnsupportedRegex as error:
        if re.search(r"\(\?<?[=!>]|\\[1-9]", pattern):
            raise Malformed(f"{pattern!r} is no regular expression of RE2: {error}", at) from None
    except LanguageTooLarge:
        return
    except ValueProblem as error:
        raise Malformed(f"{pattern!r} is no regular expression: {error}", at) from None


def takes_empty(pattern: str) -> bool:
    """Whether a pattern takes the empty string, as far as that can be told."""
    if _PYTHON_TOO.fullmatch(pattern):
        return re.fullmatch(pattern, "") is not None
    try:
        return Language.regex(pattern).accepts("")
    except ValueError:
        return False  # what cannot be told is taken
