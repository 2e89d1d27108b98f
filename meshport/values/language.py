"""Sets of texts: what a request path, a host, a header value or a method may be, whatever way a mesh has of saying it.

A `Language` is immutable and lazy: combining languages costs nothing, a question builds as much automaton as it needs. Texts are
sequences of Unicode code points.
Questions may raise LanguageTooLarge; the caller then refuses the value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from meshport.values import automata, charset, dfa, parting, patterns, regex, small, spelling
from meshport.values.automata import ANY, NONE, STATES, Is, Node
from meshport.values.beginnings import empty, simpler
from meshport.values.patterns import Form
from meshport.values.problems import LanguageTooLarge, UnsupportedRegex, ValueProblem
from meshport.values.regex import Flavour
from meshport.values.terms import ANY_TEXT, Alt, Cat, Chars, Rep, Term, Text

T = TypeVar("T")
MANY = 8
"""Terms in a language beyond which a small deterministic automaton is looked for first."""
FEW_STATES, FEW_MOVES = 2_000, 300_000
_INTERVALS_OF_CONTROLS = ((0x00, 0x1F), (0x7F, 0x9F))
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9][A-Za-z0-9_/-]*")
TEXT_CHARS: Final = charset.complement(_INTERVALS_OF_CONTROLS)
PATH_CHARS: Final = charset.difference(TEXT_CHARS, charset.of(" #"))
BARE_PATH_CHARS: Final = charset.difference(PATH_CHARS, charset.of("?"))


class Language:
    """An immutable set of texts. `==` and `hash` compare how it was put together; `same` compares what it contains."""

    __slots__ = ("_begun", "_forms", "_memo", "_node", "_world", "pattern")

    def __init__(self, node: Node, forms: tuple[Form, ...] | None = None, world: charset.Charset = charset.ALL) -> None:
        self._node = node
        self._forms = forms
        self._world = world
        self._memo = _answers(node)
        self._begun = forms is not None and len(forms) <= 16 and all(kind in ("exact", "prefix") for kind, _ in forms)
        self.pattern: str | None = None
        """The regular expression that it was made of, without outer anchors, where RE2 and Rust read that alike; else None."""

    # ---- ways to say one

    @staticmethod
    def any() -> Language:
        """Every text, the empty one and those with line feeds too."""
        return _ANY

    @staticmethod
    def none() -> Language:
        """No text at all."""
        return _NONE

    @staticmethod
    def present() -> Language:
        """What "the header is present" asks of its value: any text. Envoy's `present_match` holds for an empty value too."""
        return _ANY

    @staticmethod
    def exact(text: str) -> Language:
        return _simple("exact", text)

    @staticmethod
    def prefix(text: str) -> Language:
        """Texts that begin so, character by character: Istio `text*`. The empty prefix is any text."""
        return _simple("prefix", text) if text else _ANY

    @staticmethod
    def suffix(text: str) -> Language:
        """Texts that end so: Istio `*text`. The empty suffix is any text."""
        return _simple("suffix", text) if text else _ANY

    @staticmethod
    def segments(path: str) -> Language:
        """Gateway API `PathPrefix`: by path element, a trailing slash ignored. `/foo` holds `/foo`, `/foo/`, `/foo/bar`, not
        `/foobar`; `/` every path."""
        return _simple("segments", path.rstrip("/") or "/")

    @staticmethod
    def template(template: str) -> Language:
        """Istio path template: `{*}` is one segment that is not empty, `{**}` any text, also none."""
        return _simple("template", template)

    @staticmethod
    def regex(pattern: str, flavour: Flavour = "re2") -> Language:
        """What the pattern matches from end to end. Raises UnsupportedRegex, ValueProblem or LanguageTooLarge."""
        return _regex(pattern, flavour)

    # ---- combining

    def __or__(self, other: Language) -> Language:
        forms = None
        if self._forms is not None and other._forms is not None:
            forms = tuple(dict.fromkeys((*self._forms, *other._forms)))
        return Language(automata.either(self._node, other._node), forms)

    def __and__(self, other: Language) -> Language:
        node = automata.both(self._node, other._node)
        for one in (self, other):
            if one._node == node:
                return one
        both = self._common(other)
        return union(*(_simple(*form) for form in both)) if both is not None else Language(node)

    def _common(self, other: Language) -> list[Form] | None:
        """The texts of both where each is exact texts and prefixes, as such; None where one is not."""
        if not self._begun or not other._begun:
            return None
        found: dict[Form, None] = {}
        for mine in self._forms or ():
            for its in other._forms or ():
                for one, wider in ((mine, its), (its, mine)):
                    if one == wider or (wider[0] == "prefix" and one[1].startswith(wider[1])):
                        found[one] = None
        return list(found)

    def __sub__(self, other: Language) -> Language:
        return self & ~other

    def __invert__(self) -> Language:
        """Every text that is not in this language."""
        return Language(automata.negation(self._node))

    # ---- asking

    def is_empty(self) -> bool:
        known = self._once("empty", lambda: empty(self._node))
        if known is not None:
            return known
        node = simpler(self._node)
        known = self._once("small", lambda: small.empty(node))
        if known is not None:
            return known
        return self.witness() is None if node is self._node else Language(node).witness() is None

    def accepts(self, text: str) -> bool:
        if self._forms is not None and all(kind in _QUICK for kind, _ in self._forms):
            return any_of(_QUICK[kind](text, own) for kind, own in self._forms)
        return automata.accepts(self._node, text)

    def witness(self, within: Language | None = None) -> str | None:
        """A shortest text of the language (inside `within`), spelt with letters where any character will do; None where there is none."""
        if within is not None:
            return (self & within).witness()
        if self._forms and self._begun:
            return min((text for _, text in self._forms), key=lambda text: (len(text), text))
        return self._once("witness", self._shortest)

    def _shortest(self) -> str | None:
        if self._once("small", lambda: small.empty(simpler(self._node))):
            return None
        if automata.leaves(self._node) > MANY:  # a product of many automata, each a choice, is larger than the one that it comes to
            try:
                return dfa.shortest(dfa.build(simpler(self._node), FEW_STATES, FEW_MOVES))
            except LanguageTooLarge:
                pass
        try:
            return automata.shortest(self._node)
        except LanguageTooLarge:  # sometimes the deterministic automaton is the small one
            return dfa.shortest(self._dfa(None))

    def issubset(self, other: Language, within: Language | None = None) -> bool:
        """Whether every text of this language (inside `within`) is in the other."""
        if self._node == other._node:
            return True
        if self._begun and other._begun:  # no few prefixes hold another one that none of them holds
            inside = all(any_of(_inside(mine, its) for its in other._forms or ()) for mine in self._forms or ())
            if inside or within is None:
                return inside
        mine, its = self._one_end(), other._one_end()
        if within is None and mine is not None and its is not None and "suffix" in (mine[0], its[0]):
            return mine[0] == its[0] and mine[1].endswith(its[1])
        sample = self._sample(within)
        if sample is not None and not other.accepts(sample):
            return False
        left = self - other
        return (left if within is None else left & within).is_empty()

    def _sample(self, within: Language | None) -> str | None:
        """A text of the language (inside `within`), looked for once; None where there is none, or that is too large a question."""
        try:
            return self._once(("sample", within), lambda: self.witness(within))
        except LanguageTooLarge:
            return None

    def _one_end(self) -> Form | None:
        """The text that the language's texts begin or end with, where that is all."""
        return self._forms[0] if self._forms is not None and len(self._forms) == 1 and self._forms[0][0] in ("prefix", "suffix") else None

    def _beginnings(self) -> list[Form] | None:
        """The few exact texts and prefixes that it was built from; None where there is anything else."""
        if self._forms is None or len(self._forms) > 16:
            return None
        found: list[Form] = []
        for kind, text in self._forms:
            if kind == "segments":
                found += [("prefix", text)] if text == "/" else [("exact", text), ("prefix", text + "/")]
            elif kind in ("exact", "prefix"):
                found.append((kind, text))
            else:
                return None
        return found

    def overlaps(self, other: Language, within: Language | None = None) -> bool:
        mine, its = self._one_end(), other._one_end()
        if within is None and mine is not None and its is not None and "suffix" in (mine[0], its[0]):
            return mine[0] != its[0] or mine[1].endswith(its[1]) or its[1].endswith(mine[1])
        begun, others = self._beginnings(), other._beginnings()
        if begun is not None and others is not None:
            touching = any_of(_inside(one, two) or _inside(two, one) for one in begun for two in others)
            if within is None or not touching:
                return touching
        both = self & other
        return not (both if within is None else both & within).is_empty()

    def same(self, other: Language, within: Language | None = None) -> bool:
        """Whether both hold the same texts (inside `within`)."""
        return self.issubset(other, within) and other.issubset(self, within)

    def is_any(self, within: Language | None = None) -> bool:
        """Whether the language holds every text (of `within`)."""
        return self._node == ANY or (within or _ANY).issubset(self)

    def is_finite_exact(self, within: Language | None = None) -> str | None:
        """The text, where the language holds exactly one (inside `within`)."""
        if within is None and self._forms is not None and len(self._forms) == 1 and self._forms[0][0] == "exact":
            return self._forms[0][1]
        only = self.witness(within)
        if only is None or not self.issubset(Language.exact(only), within):
            return None
        return only

    # ---- saying it again

    def to_regex(self, limit: int = 2000, within: Language | None = None) -> str | None:
        """A pattern, at most `limit` long, that matches from end to end exactly the texts of this language; None where there is none
        so short.

        It keeps to what RE2 and Rust's regex have in common. With `within` it only has to be right for texts of that language, and
        reads better (`.` for `(?s:.)`). The empty language is written as the empty class. A language made of one regular expression
        keeps that, where RE2 and Rust read it alike.
        """
        if self.pattern is not None and len(self.pattern) <= limit:
            return self.pattern
        return self._once(("to_regex", limit, within), lambda: self._spelt(limit, within))

    def to_regexes(self, fits: Callable[[str], bool], most: int, within: Language | None = None) -> list[str] | None:
        """Patterns like that of `to_regex`, whose union is this language, and of which each fits; None where `most` are not enough."""
        try:
            automaton = self._dfa(within)
        except LanguageTooLarge:
            return None
        found = _apart(automaton, within._world if within else charset.ALL, fits, most)
        return None if found is None else list(found)

    def to_parts(self, limit: int, most: int, within: Language) -> list[str] | None:
        """Patterns like that of `to_regex` whose union is this language of paths, the automaton taken apart; None where `most` are not enough."""
        found = self._once(("parts", limit, most, within), lambda: parting.parted(self._dfa(within), within._world, most, limit))
        return None if found is None else list(found)

    def _spelt(self, limit: int, within: Language | None) -> str | None:
        solved = self._solved(limit, within)
        if solved is None:
            return None
        text = spelling.Writer(within._world if within else charset.ALL).top(solved)
        return text if len(text) <= limit else None

    def _solved(self, limit: int, within: Language | None) -> spelling.Seq | None:
        try:
            return spelling.solve(self._dfa(within), limit)
        except LanguageTooLarge:
            return None

    def as_patterns(self, within: Language | None = None) -> list[Form] | None:
        """The simple patterns, sorted, whose union is this language inside `within` (default PATHS): ("exact", s), ("prefix", s),
        ("suffix", s), ("template", t),
        ("any", ""). None where it is no such union, or where, inside PATHS, a pattern would speak of the query. Recognised by what the
        language holds, so also from a regular expression."""
        world = PATHS if within is None else within
        return self._once(("patterns", world), lambda: self._patterns(world))

    def _patterns(self, world: Language) -> list[Form] | None:
        found = self._canonical_patterns(world)
        if found is not None:
            # a path pattern never sees the query, so one that speaks of it is no pattern of paths
            return None if world is PATHS and any_of("?" in text for _, text in found) else found
        guess = patterns.from_term(self._node.term) if isinstance(self._node, Is) else None
        if guess is None or (world is PATHS and any_of("?" in text for _, text in guess)):
            return None
        return guess if union(*(_simple(*form) for form in guess)).same(self, world) else None

    def _canonical_patterns(self, world: Language) -> list[Form] | None:
        return self._once(("canonical", world), lambda: patterns.from_automaton(self._dfa(world), world._node))

    def describe(self, within: Language | None = None) -> Form | None:
        """The simple form that it was built from or is, inside `within` (default PATHS): as in `as_patterns`, and ("segments", p).
        None where it is none of them."""
        if self._forms is not None and len(self._forms) == 1:
            return self._forms[0]
        found = self.as_patterns(within)
        if not found:
            return None
        if len(found) == 1:
            return found[0]
        if len(found) == 2 and found[0][0] == "exact" and found[1] == ("prefix", found[0][1] + "/"):
            return ("segments", found[0][1])
        return None

    def key(self, within: Language | None = None) -> str:
        """A text that is equal for two languages if and only if they hold the same texts inside `within` (default PATHS)."""
        world = PATHS if within is None else within
        return self._once(("key", world), lambda: self._key(world))

    def plain_forms(self) -> list[Form] | None:
        """Exact paths and prefixes of the plainest characters, disjoint and sorted, where that is how it was put together: then they are
        what `as_patterns` would recognise in any world of paths, known without an automaton."""
        if self._forms is None:
            return None
        found: set[Form] = set()
        for kind, text in self._forms:
            if not _PLAIN_PATH.fullmatch(text) or kind not in ("exact", "prefix", "segments") or (kind == "segments" and text[-1] == "/"):
                return None
            if kind == "segments":
                found |= {("exact", text), ("prefix", text + "/")}
            else:
                found.add((kind, text))
        prefixes = {text for kind, text in found if kind == "prefix"}
        lengths = sorted(set(map(len, prefixes)))
        covered = any_of(text[:end] in prefixes for kind, text in found for end in lengths if end < len(text) + (kind == "exact"))
        return None if covered else sorted(found)

    def _key(self, world: Language) -> str:
        found = self.plain_forms() or self._canonical_patterns(world)
        if found is not None:
            return " | ".join(f"{kind} {json.dumps(text)}" for kind, text in found) or "none"
        pattern = self._spelt(2000, world)
        if pattern is not None:
            return f"regex {pattern}"
        return f"automaton {hashlib.sha256(repr(self._dfa(world)).encode()).hexdigest()}"

    def _dfa(self, within: Language | None) -> dfa.Dfa:
        node = automata.both(self._node, within._node) if within else self._node
        return self._once(("dfa", within), lambda: small.built(simpler(node)) or dfa.build(simpler(node), STATES))

    def _once(self, what: object, ask: Callable[[], T]) -> T:
        """What was asked of the language, or of one put together alike; also that it was too large a question."""
        if what not in self._memo:
            try:
                self._memo[what] = ask()
            except LanguageTooLarge as error:
                self._memo[what] = error
        found: T = self._memo[what]
        if isinstance(found, LanguageTooLarge):
            raise LanguageTooLarge(str(found))
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Language) and self._node == other._node

    def __hash__(self) -> int:
        return hash(self._node)

    def __repr__(self) -> str:
        if self._forms is not None:
            return (
                " | ".join(f"Language.{kind}({text!r})" if kind != "any" else "Language.any()" for kind, text in self._forms)
                or "Language.none()"
            )
        try:
            pattern = self.to_regex(300)
        except LanguageTooLarge:
            pattern = None
        return "Language(...)" if pattern is None else f"Language.regex({pattern!r})"


any_of = any  # inside the class `any` is the constructor
_QUICK: dict[str, Callable[[str, str], bool]] = {
    "any": lambda text, own: True,
    "exact": lambda text, own: text == own,
    "prefix": lambda text, own: text.startswith(own),
    "suffix": lambda text, own: text.endswith(own),
    "segments": lambda text, own: text.startswith("/") if own == "/" else text == own or text.startswith(own + "/"),
}


def _inside(one: Form, other: Form) -> bool:
    """Whether an exact text or prefix is within another one."""
    return one == other or (other[0] == "prefix" and one[1].startswith(other[1]))


@lru_cache(maxsize=8192)
def _answers(node: Node) -> dict[Any, Any]:
    """The answers about a language, shared by all that are put together alike: the same differences are asked about again and again."""
    return {}


@lru_cache(maxsize=8192)
def _simple(kind: str, text: str) -> Language:
    if kind == "any":
        return _ANY
    if kind == "exact":
        return Language(Is(Text(text)), (("exact", text),))
    if kind == "prefix":
        return Language(Is(Cat((Text(text), ANY_TEXT))), (("prefix", text),))
    if kind == "suffix":
        return Language(Is(Cat((ANY_TEXT, Text(text)))), (("suffix", text),))
    if kind == "segments":
        rest = Cat((Text("/"), ANY_TEXT))
        return Language(Is(rest if text == "/" else Cat((Text(text), Rep(rest, 0, 1)))), (("segments", text),))
    return Language(Is(patterns.template_term(text)), (("template", text),))


@lru_cache(maxsize=4096)
def _regex(pattern: str, flavour: Flavour) -> Language:
    term = regex.parse(pattern, flavour)
    found = Language(Is(term))
    for text in (pattern.removeprefix("^").removesuffix("$"), pattern):
        if text != pattern and ("$" in text or "^" in text.replace("[^", "")):
            continue  # an anchor of each choice: all or none
        try:
            if regex.parse(text, "re2") == regex.parse(text, "rust") == term:
                found.pattern = text
                break
        except ValueProblem:
            continue
    return found


def with_plain_dots(pattern: str) -> Language | None:
    """What is left of an expression of RE2 where each single character that may be any is a dot (`a.b` is `a\\.b`, `a.*` stays); None where it has none of
    these. It holds nothing that the expression does not. Raises as `Language.regex`."""
    term = regex.parse(pattern, "re2")
    plain = _plain_dots(term)
    return Language(Is(plain)) if plain != term else None


def _plain_dots(term: Term) -> Term:
    if isinstance(term, Chars):
        return Text(".") if all(charset.contains(term.of, ord(char)) for char in ".-aA0") else term
    if isinstance(term, Cat | Alt):
        return type(term)(tuple(_plain_dots(part) for part in term.parts))
    return term


@lru_cache(maxsize=1024)
def _apart(automaton: dfa.Dfa, world: charset.Charset, fits: Callable[[str], bool], most: int) -> tuple[str, ...] | None:
    """The patterns of `to_regexes`. Rules that are tried without one value after another often leave the same paths, put together otherwise."""
    try:
        solved = spelling.solve(automaton, 2000)
    except LanguageTooLarge:
        return None
    writer = spelling.Writer(world)
    left = [] if solved is None else [solved]
    found: list[str] = []
    while left and len(left) + len(found) <= most:
        seq = left.pop(0)
        text = writer.top(seq)
        if fits(text):
            found.append(text)
            continue
        parts = spelling.parted(seq)
        if len(parts) == 1:
            return None
        left = [*parts, *left]
    return None if left or not found else tuple(found)


def union(*languages: Language) -> Language:
    """All texts of all of them; of none: no text."""
    known = [language._forms for language in languages if language._forms is not None]
    forms = tuple(dict.fromkeys(chain.from_iterable(known))) if len(known) == len(languages) else None
    return Language(automata.either(*(language._node for language in languages)), forms)


_ANY: Final = Language(ANY, (("any", ""),))
_NONE: Final = Language(NONE, ())


def texts(chars: charset.Charset, *, path: bool) -> Language:
    """Every text of these characters, or of those every path (and `*`): a world for `within`."""
    rest = Rep(Chars(chars), 0, None)
    return Language(Is(Alt((Cat((Text("/"), rest)), Text("*"))) if path else rest), None, chars)


TEXT: Final = texts(TEXT_CHARS, path=False)
"""Texts without control characters: header values, hosts, methods."""
VALUES: Final = texts(charset.union(TEXT_CHARS, charset.of("\t")), path=False)
"""Values of headers: texts, and tabs in them (RFC 9110 5.5)."""
PATHS: Final = texts(PATH_CHARS, path=True)
"""Legal request targets, with or without a query: `/` and then no control character, space or `#` (a fragment is never sent); or `*`."""
BARE_PATHS: Final = texts(BARE_PATH_CHARS, path=True)
"""Request paths as meshes compare them once the query is cut off."""

__all__ = [
    "BARE_PATHS",
    "PATHS",
    "TEXT",
    "VALUES",
    "Flavour",
    "Form",
    "Language",
    "LanguageTooLarge",
    "UnsupportedRegex",
    "ValueProblem",
    "union",
]
