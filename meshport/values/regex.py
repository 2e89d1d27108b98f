"""Regular expressions in RE2's or Rust's syntax as terms, for *full* matches: Envoy's safe_regex, Linkerd's and Cilium's paths all
match the whole text.

Sources: RE2's syntax page and parse.cc; the syntax page of Rust's `regex` crate. Refused, by name: look-around, back references, word
boundaries, Unicode property
classes, anchors anywhere but at the ends, and what a flavour itself refuses.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

from meshport.values import _grammar, charset, unicode_classes
from meshport.values.charset import Charset
from meshport.values.problems import LanguageTooLarge, UnsupportedRegex, ValueProblem
from meshport.values.terms import EMPTY, NOTHING, Cat, Chars, Rep, Term, any_of

if TYPE_CHECKING:
    from lark import Token, Tree

Flavour = Literal["re2", "rust"]

LONGEST = 20_000  # characters of a pattern
DEEPEST = 120  # nested groups

_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_POSIX = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "ascii": "\0\x7f",
    "blank": "\t\t  ",
    "cntrl": "\0\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "word": "09AZaz__",
    "xdigit": "09AFaf",
}
_LOOK = {"(?=": "a look-ahead", "(?!": "a look-ahead", "(?<=": "a look-behind", "(?<!": "a look-behind", "(?>": "an atomic group"}


@lru_cache(maxsize=4096)
def parse(pattern: str, flavour: Flavour = "re2") -> Term:
    """The term whose texts are exactly those that the pattern matches from end to end. Raises UnsupportedRegex, ValueProblem,
    LanguageTooLarge."""
    if len(pattern) > LONGEST:
        raise LanguageTooLarge(f"the expression is longer than {LONGEST} characters")
    if pattern.count("(") > DEEPEST and _depth(pattern) > DEEPEST:
        raise LanguageTooLarge(f"the expression nests more than {DEEPEST} groups")
    tree = _grammar.parse("regex", pattern, "a regular expression")
    return _Walk(flavour, pattern).alternatives(_tree(tree.children[0]), True, True, _Flags())


def refused(pattern: str, flavour: Flavour = "re2") -> str | None:
    """Why the engine of a flavour takes no such expression; None where it takes it, or where that cannot be told."""
    try:
        parse(pattern, flavour)
    except LanguageTooLarge:
        return None
    except UnsupportedRegex as error:
        return None if error.taken else str(error)
    except ValueProblem as error:
        return str(error)
    return None


def _depth(pattern: str) -> int:
    deepest = now = 0
    for char in pattern:
        now += (char == "(") - (char == ")")
        deepest = max(deepest, now)
    return deepest


class _Flags:
    """What (?i) and (?s) set; holds until the end of the group."""

    __slots__ = ("fold", "newline")

    def __init__(self, fold: bool = False, newline: bool = False) -> None:
        self.fold = fold
        self.newline = newline

    def changed(self, text: str, column: int, rust: bool) -> _Flags:
        new = _Flags(self.fold, self.newline)
        on = True
        for char in text:
            if char == "-":
                on = False
            elif char == "i":
                new.fold = on
            elif char == "s":
                new.newline = on
            elif char != "U":  # swaps greedy and lazy: the same language
                raise UnsupportedRegex(
                    f"(?{text})", f"the flag {char!r} is not read here", column, taken=char == "m" or (rust and char in "xuR")
                )
        return new


class _Walk:
    def __init__(self, flavour: Flavour, text: str) -> None:
        self.rust = flavour == "rust"
        self.text = text

    def alternatives(self, tree: Tree[Token], first: bool, last: bool, flags: _Flags) -> Term:
        parts: list[Term] = []
        for child in tree.children:
            term, flags = self.sequence(_tree(child), first, last, flags)  # in both engines a flag outlives the `|`
            parts.append(term)
        return any_of(parts)

    def sequence(self, tree: Tree[Token], first: bool, last: bool, flags: _Flags) -> tuple[Term, _Flags]:
        items = [_tree(child) for child in tree.children]
        solid = [number for number, item in enumerate(items) if item.data not in ("anchor", "flags")]
        parts: list[Term] = []
        for number, item in enumerate(items):
            at_start = first and (not solid or number <= solid[0])
            at_end = last and (not solid or number >= solid[-1])
            if item.data == "flags":
                token = _token(item)
                flags = flags.changed(str(token)[2:-1], _column(token), self.rust)
            elif item.data == "anchor":
                self.anchor(_token(item), at_start, at_end)
            elif item.data == "idle":
                count = _leaf(item.children[1])
                raise UnsupportedRegex(str(count), "nothing is repeated that takes a character", _column(count), taken=True)
            elif item.data == "repeated":
                parts.append(self.repeated(item, flags))
            else:
                parts.append(self.atom(_tree(item.children[0]), at_start, at_end, flags))
        return (parts[0] if len(parts) == 1 else Cat(tuple(parts)) if parts else EMPTY), flags

    def anchor(self, token: Token, at_start: bool, at_end: bool) -> None:
        text = str(token)
        if text in ("^", "\\A"):
            if not at_start:
                raise UnsupportedRegex(text, "an anchor may stand only at the start", _column(token), taken=True)
        elif text in ("$", "\\z"):
            if not at_end:
                raise UnsupportedRegex(text, "an anchor may stand only at the end", _column(token), taken=True)
        elif text in ("\\b", "\\B"):
            raise UnsupportedRegex(text, "a word boundary looks at the characters around it", _column(token), taken=True)
        else:
            raise UnsupportedRegex(text, "no such escape in RE2 and Rust alike", _column(token), taken=self.rust and text in ("\\<", "\\>"))

    def repeated(self, item: Tree[Token], flags: _Flags) -> Term:
        count = _leaf(item.children[1])
        text = str(count)
        body = self.atom(_tree(item.children[0]), False, False, flags)
        if text[0] == "{":
            bounds, _, mark = text[1:].partition("}")
            low, comma, high = bounds.partition(",")
            least, most = int(low), int(high) if high else None if comma else int(low)
        else:
            least, most, mark = int(text[0] == "+"), 1 if text[0] == "?" else None, text[1:]
        if mark not in ("", "?"):
            raise UnsupportedRegex(text, "quantifiers are stacked (possessive in other engines)", _column(count), taken=self.rust)
        if most is not None and most < least:
            raise UnsupportedRegex(text, "the lower bound is above the upper one", _column(count))
        if not self.rust and max(least, most or 0) > 1000:
            raise UnsupportedRegex(text, "RE2 repeats at most 1000 times", _column(count))
        if max(least, most or 0) > 100_000:
            raise LanguageTooLarge(f"{text} repeats too often")
        return Rep(body, least, most)

    def atom(self, tree: Tree[Token], first: bool, last: bool, flags: _Flags) -> Term:
        kind = tree.data
        if kind == "group":
            opening = _leaf(tree.children[0])
            return self.alternatives(_tree(tree.children[1]), first, last, self.opened(opening, flags))
        if kind == "charclass":
            return self.charclass(tree, flags)
        token = _token(tree)
        if kind == "dot":
            return Chars(charset.ALL if flags.newline else charset.complement(charset.of("\n")))
        if kind == "escape":
            return _chars(self.escape(token, flags))
        if kind == "quoted":
            if self.rust:
                raise UnsupportedRegex("\\Q", "quoting is not in Rust's syntax", _column(token))
            text = str(token)[2:].removesuffix("\\E")
            return Cat(tuple(_chars(_folded(charset.of(char), flags)) for char in text))
        if self.rust and token == "{":
            raise UnsupportedRegex("{", "Rust wants a literal brace escaped", _column(token))
        return _chars(_folded(charset.of(str(token)), flags))

    def opened(self, token: Token, flags: _Flags) -> _Flags:
        text = str(token)
        if text in _LOOK:
            raise UnsupportedRegex(text, f"{_LOOK[text]} is in neither RE2 nor Rust", _column(token))
        if text == "(" or text.endswith(">"):
            return flags
        if text.endswith(":"):
            return flags.changed(text[2:-1], _column(token), self.rust)
        raise UnsupportedRegex(text, "no such group in RE2 and Rust alike", _column(token))

    def charclass(self, tree: Tree[Token], flags: _Flags) -> Term:
        opening, *members = tree.children
        chars: Charset = charset.of("]") if str(opening).endswith("]") else charset.NO_CHARS
        texts = "".join(str(_token(_tree(member))) for member in members)
        if self.rust and (construct := next((op for op in ("&&", "--", "~~") if op in texts), None)):
            raise UnsupportedRegex(construct, "set operations inside a class are Rust's alone and not read here", None, taken=True)
        for member in members:
            chars = charset.union(chars, self.member(_tree(member), flags))
        chars = _folded(chars, flags)
        return _chars(charset.complement(chars) if str(opening).startswith("[^") else chars)

    def member(self, tree: Tree[Token], flags: _Flags) -> Charset:
        token = _token(tree)
        text = str(token)
        if tree.data == "escape":
            return self.escape(token, flags)
        if tree.data == "posix":
            name = text[2:-2].lstrip("^")
            if name not in _POSIX:
                raise UnsupportedRegex(text, "no such class", _column(token))
            bounds = _POSIX[name]
            chars = charset.normal((ord(bounds[i]), ord(bounds[i + 1])) for i in range(0, len(bounds), 2))
            return charset.complement(_folded(chars, flags)) if text[2] == "^" else chars
        if tree.data == "range":
            cut = text.index("-", 2 if text[0] == "\\" else 1)
            low, high = (self.point(part, token) for part in (text[:cut], text[cut + 1 :]))
            if low > high:
                raise UnsupportedRegex(text, "the range runs backwards", _column(token))
            return ((low, high),)
        if self.rust and text == "[":
            raise UnsupportedRegex("[", "Rust reads a nested class here; escape the bracket", _column(token), taken=True)
        return charset.of(text)

    def point(self, text: str, token: Token) -> int:
        if text[0] != "\\":
            return ord(text)
        chars = self.escape(token, _Flags(), text)
        return chars[0][0]

    def escape(self, token: Token, flags: _Flags, text: str | None = None) -> Charset:
        text = str(token) if text is None else text
        letter, column = text[1], _column(token)
        if letter in "dDwWsS":
            chars = unicode_classes.named(letter.lower()) if self.rust else _ASCII[letter.lower()]
            chars = _folded(chars, flags)
            return charset.complement(chars) if letter.isupper() else chars
        if letter in "pP":
            raise UnsupportedRegex(text, "Unicode property classes are not read here", column, taken=True)
        if letter in _CONTROL:
            return charset.of(chr(_CONTROL[letter]))
        if letter == "x" or (letter == "u" and self.rust):
            digits = text[2:].strip("{}")
            value = int(digits, 16) if digits else -1
            if not 0 <= value <= charset.LAST:
                raise UnsupportedRegex(text, "not a code point", column)
            return _folded(charset.of(chr(value)), flags)
        if letter.isdigit():
            octal = not self.rust and (letter == "0" or (letter in "1234567" and self.text[column + 1 : column + 2] in tuple("01234567")))
            raise UnsupportedRegex(text, "a back reference (or an octal escape)", column, taken=octal)
        if letter.isascii() and not letter.isalnum() and letter.isprintable() and not (self.rust and letter in "<>"):
            return charset.of(letter)
        raise UnsupportedRegex(text, "no such escape", column)


_ASCII = {
    "d": charset.normal([(0x30, 0x39)]),
    "w": charset.normal([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]),
    "s": charset.of("\t\n\f\r "),
}


def _folded(chars: Charset, flags: _Flags) -> Charset:
    return unicode_classes.folded(chars) if flags.fold else chars


def _chars(chars: Charset) -> Term:
    return Chars(chars) if chars else NOTHING


def _tree(child: Token | Tree[Token]) -> Tree[Token]:
    return cast("Tree[Token]", child)  # the grammar says which it is


def _leaf(child: Token | Tree[Token]) -> Token:
    return cast("Token", child)


def _token(tree: Tree[Token]) -> Token:
    return _leaf(tree.children[0])


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1
