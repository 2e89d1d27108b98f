"""Requests as products of sets: who, from where, with which method, path, host and headers. Rules become pieces, denies are taken out of them.

A condition that none of the dimensions can hold (a JWT claim, a server name) stays as a literal: two pieces with the same literal agree on it, and one
with it negated is disjoint from one without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from meshport.effective.identities import Identities
from meshport.effective.networks import Networks
from meshport.effective.sets import METHODS, Methods, Value, Values
from meshport.ir.authorization import (
    HEADER,
    HOST,
    IDENTITY,
    METHOD,
    OTHER,
    PATH,
    PORT,
    QUERY,
    SOURCE_IP,
    TOKEN,
    Condition,
    Pattern,
    Rule,
    is_http,
)
from meshport.ir.base import NOWHERE, Fact, Src, sources
from meshport.values.identities import EVERYONE, Identity
from meshport.values.language import TEXT, Language, LanguageTooLarge, UnsupportedRegex
from meshport.values.language import union as union_of
from meshport.values.ports import CalledPort
from meshport.values.problems import ValueProblem
from meshport.values.search import finds_whole

T = TypeVar("T")
Literal = tuple[str, str, bool]
"""Attribute, what it must be as text, and whether it must (True) or must not be."""

LIMIT = 96
"""Pieces of one rule beyond which subtraction gives up."""


NEARLY = 64
"""Ports that may be missing from what is still nearly every port."""


class Unsayable(ValueError):
    """A condition, or a difference, that cannot be computed; its text says which."""


def _in_a_policy(attribute: str) -> str:
    """`request.auth.claims[scope]` for "request.token:claims[scope]"; the word of the source for "other:WORD"."""
    if attribute == TOKEN + ":principal":
        return "requestPrincipals"
    kind, colon, rest = attribute.partition(":")
    return f"request.auth.{rest}" if kind == TOKEN else rest if kind + colon == OTHER else attribute


@dataclass(frozen=True, slots=True)
class Piece:
    """A product of sets. `src` are the leaves it came from, `rules` the rules (policy, rule) that grant it."""

    who: Identities = Identities()
    where: Networks = Networks()
    methods: Methods = Methods()
    path: Language | None = None
    host: Language | None = None
    headers: Values = Values()
    query: Values = Values()
    literals: frozenset[Literal] = frozenset()
    src: Src = NOWHERE
    patterns: tuple[Fact[Pattern], ...] | None = None  # the path as its source wrote it, while it is still that
    base: Language | None = None  # the path before anything was taken out of it

    @property
    def empty(self) -> bool:
        return (
            self.who.empty
            or self.where.empty
            or self.methods.empty
            or (self.path is not None and self.path.is_empty())
            or (self.host is not None and self.host.is_empty())
            or self.headers.empty
            or self.query.empty
            or any(
                (attribute, text, not wanted) in self.literals or (wanted and (attribute, "*", False) in self.literals)
                for attribute, text, wanted in self.literals
            )
        )

    def conditions(self) -> str:
        """What is asked of tokens, and what the source alone knows, in the words of an AuthorizationPolicy's `when` and `source`."""
        return "the condition " + ", ".join(
            sorted(f"{_in_a_policy(attribute)} {'=' if wanted else '!='} {text}" for attribute, text, wanted in self.literals)
        )

    def opens(self, path: str) -> bool:
        """Whether anybody may get a path, without identity and from anywhere."""
        return (
            self.who.everyone
            and self.where.everywhere
            and not Methods(frozenset(("GET",)), False).meet(self.methods).empty
            and (self.path is None or self.path.accepts(path))
            and self.host is None
            and not self.headers.by_name
            and not self.query.by_name
            and not self.literals
        )

    @property
    def any_request(self) -> bool:
        """Whether every request of its peers is meant."""
        return (
            self.methods.every
            and self.path is None
            and self.host is None
            and not self.headers.by_name
            and not self.query.by_name
            and not self.literals
        )

    def of(self, callers: Iterable[Any]) -> Piece:
        """The requests of these of its callers."""
        return replace(self, who=Identities(frozenset(callers), self.who.exclude))

    def meet(self, other: Piece) -> Piece:
        mine = other.path is None or (self.path is not None and every_path(other))  # whose paths are those of both
        its = self.path is None or every_path(self)
        patterns = self.patterns if mine else other.patterns if its else None
        return Piece(
            self.who.meet(other.who),
            self.where.meet(other.where),
            self.methods.meet(other.methods),
            _meet(self.path, other.path),
            _meet(self.host, other.host),
            self.headers.meet(other.headers),
            self.query.meet(other.query),
            self.literals | other.literals if other.literals else self.literals,
            sources(self.src, other.src),
            patterns,
            self.base if mine else other.base if its else None,
        )

    def minus(self, other: Piece) -> list[Piece]:
        """What is left of this once the other is taken out, in pieces that may overlap; [self] where they do not touch."""
        try:
            if self.meet(other).empty:
                return [self]
        except ValueError as error:
            raise Unsayable(str(error)) from None
        src = self.src | other.src
        out = [replace(self, who=who, src=src) for who in self.who.minus(other.who)]
        out += [replace(self, where=where, src=src) for where in self.where.minus(other.where)]
        if not other.methods.every:
            out.append(replace(self, methods=self.methods.meet(other.methods.complement()), src=src))
        if other.path is not None:
            out.append(replace(self, path=_minus(self.path, other.path), src=src, patterns=None))
        if other.host is not None:
            out.append(replace(self, host=_minus(self.host, other.host), src=src))
        out += [replace(self, headers=headers, src=src) for headers in self.headers.minus(other.headers)]
        out += [replace(self, query=query, src=src) for query in self.query.minus(other.query)]
        for attribute, text, wanted in sorted(other.literals - self.literals):
            out.append(replace(self, literals=self.literals | {(attribute, text, not wanted)}, src=src))
        return [piece for piece in out if not piece.empty]

    def covers(self, other: Piece) -> bool:
        """Whether every request of the other is one of this, as far as can be told."""
        return self.who.covers(other.who) and self.where.covers(other.where) and self.covers_request(other)

    def covers_request(self, other: Piece) -> bool:
        return (
            self.methods.covers(other.methods)
            and _covers(self.path, other.path)
            and _covers(self.host, other.host)
            and self.headers.covers(other.headers)
            and self.query.covers(other.query)
            and self.literals <= other.literals
        )

    def request(self) -> Piece:
        """The same requests from anyone."""
        return replace(self, who=Identities(), where=Networks())


def subtract(pieces: Iterable[Piece], denies: Iterable[Piece]) -> list[Piece]:
    """The pieces without what is denied. Raises Unsayable where it cannot be computed."""
    left = list(pieces)
    for turn, deny in enumerate(denies):
        after: list[Piece] = []
        cut: set[int] = set()  # those that nobody has held against the others
        for piece in left:
            found = piece.minus(deny)
            after.extend(found)
            if not turn or len(found) != 1 or found[0] is not piece:
                cut.update(map(id, found))
        left = unheld(after, cut, Piece.covers)
        if len(left) > LIMIT:
            raise Unsayable("the denies cut the allows into too many parts")
    return left


def covered(pieces: Iterable[Piece], by: Iterable[Piece]) -> bool:
    """Whether nothing is left of the pieces once others are taken out. Raises Unsayable where it cannot be computed.

    What is left is followed one part at a time, so that a request that no other piece has is found without all the others.
    """
    others = sorted(_joined(by), key=_demands)  # broad ones first: less is left for the narrow ones
    parts = list(pieces)
    if all(any(other.covers(piece) for other in others) for piece in parts):
        return True
    steps = LIMIT * (len(others) + 1)
    todo = [(piece, 0) for piece in parts]
    while todo:
        piece, at = todo.pop()
        while at < len(others):
            found = piece.minus(others[at])
            at += 1
            if not found:
                break
            piece = found[0]  # without the peers first: it touches none of the others that name them
            todo += [(one, at) for one in found[1:]]
            steps -= 1
            if not steps:
                return not subtract(parts, others)
        else:
            return False
    return True


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same requests, where pieces for accounts and namespaces that differ in nothing else are one, with the leaves of any of them."""
    callers: dict[Any, set[Any]] = {}
    first: dict[Any, Piece] = {}
    for number, piece in enumerate(pieces):
        named = piece.who.include or ()
        request = (piece.methods, piece.path, piece.host, piece.headers, piece.query, piece.literals)
        plain = named and all(isinstance(one, Identity) for one in named)  # what others share is not always told
        key = (piece.who.exclude, piece.where, *request) if plain else number
        first.setdefault(key, piece)
        callers.setdefault(key, set()).update(named)
    return [piece.of(callers[key]) if callers[key] else piece for key, piece in first.items()]


def _demands(piece: Piece) -> int:
    """On how many sides a piece is narrower than everything."""
    requests = (piece.methods.every, piece.path is None, piece.host is None)
    named = len(piece.headers.by_name) + len(piece.query.by_name) + len(piece.literals)
    return (not piece.who.everyone) + (not piece.where.everywhere) + len(requests) - sum(requests) + named


def widest(pieces: list[Piece]) -> list[Piece]:
    """Without pieces that another one holds."""
    return unheld(pieces, set(map(id, pieces)), Piece.covers)


def unheld(items: list[T], cut: set[int], holds: Callable[[T, T], bool]) -> list[T]:
    """Items without those that another one holds, where only the ones that were `cut`, by their ids, may lie in others."""
    if not cut:
        return items
    out: dict[int, T] = {}
    loose: list[T] = []
    for item in items:
        if id(item) in cut and any(holds(other, item) for other in out.values()):
            continue
        for held in [other for other in loose if holds(item, other)]:
            loose = [other for other in loose if other is not held]
            del out[id(held)]
        out[id(item)] = item
        if id(item) in cut:
            loose.append(item)
    return [*out.values()]


def _meet(one: Language | None, other: Language | None) -> Language | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _minus(one: Language | None, other: Language) -> Language:
    return ~other if one is None else one - other


def _covers(one: Language | None, other: Language | None) -> bool:
    return one is None or one is other or (other is not None and other.issubset(one))


_EVERY_PATH = {("any", ""), ("prefix", ""), ("prefix", "/"), ("template", "/{**}")}


def every_path(piece: Piece) -> bool:
    """Whether a piece names paths, and all there are."""
    return any((fact.value.kind, fact.value.text) in _EVERY_PATH for fact in piece.patterns or ())


def pathless(piece: Piece) -> Piece:
    """A piece whose paths are all there are, without the demand: then dot segments lead nowhere else."""
    if every_path(piece):
        return replace(piece, path=None, patterns=None, base=None)
    return piece


def completed(piece: Piece, others: Iterable[Piece]) -> Piece:
    """A piece with the callers whom it excepts and other pieces admit with the same requests: together both are without the exception."""
    first, admits = piece, dict[int, bool]()  # what is asked of others beside the caller is the same for each of them

    def admitted(other: Piece) -> bool:
        if id(other) not in admits:
            admits[id(other)] = other.where.covers(first.where) and other.covers_request(first)
        return admits[id(other)]

    others = list(others)
    for caller in sorted(piece.who.exclude, key=str):
        who = Identities(frozenset((caller,)))
        for other in others:
            if caller not in other.who.exclude and other.who.covers(who) and admitted(other):
                piece = replace(piece, who=Identities(piece.who.include, piece.who.exclude - {caller}), src=piece.src | other.src)
                break
    return piece


# -- from rules


def of_rule(rule: Rule, *, http: bool = True, deny: bool = False, port: int | None = None, strict: bool = False) -> list[Piece]:
    """A rule as pieces, for one container port (None: a port of which only the number is unknown).

    On a port that speaks no HTTP an allow with HTTP conditions takes nothing ([]), a deny loses those conditions (Istio's rule, its security reference).
    `strict`: the port refuses plaintext, so every peer has an identity. Raises Unsayable for a condition whose values cannot be understood.
    """
    if rule.http and not http and not deny:
        return []
    asked = (id(rule), http, deny, strict, port if any(item.attribute == PORT for item in rule.conditions) else None)
    known = _RECENT.get(asked)
    if known is None or known[0] is not rule:
        known = rule, tuple(_of_rule(rule, http, deny, port, strict))
        if len(_RECENT) >= 512:
            _RECENT.clear()
        _RECENT[asked] = known
    return [*known[1]]


_RECENT: dict[tuple[Any, ...], tuple[Rule, tuple[Piece, ...]]] = {}
"""Rules that were asked for last: a workload's are asked for port by port, and mostly the port decides nothing. Each keeps its rule, so that no other one
gets its id."""


def _of_rule(rule: Rule, http: bool, deny: bool, port: int | None, strict: bool) -> list[Piece]:
    src = rule.sources if port is None else rule.sources - _elsewhere(rule, port)
    piece = Piece(src=src, who=Identities(frozenset((EVERYONE,))) if strict else Identities())
    for condition in rule.conditions:
        if is_http(condition.attribute) and not http:
            if deny:
                continue
            return []
        if condition.attribute == PORT:
            if not port_fits(condition, port, deny=deny):
                return []
            continue
        piece = piece.meet(_of_condition(condition, deny=deny))
    pieces = [piece] if not piece.empty else []
    for out in _taken(rule, deny):
        pieces = widest([left for one in pieces for left in one.minus(out)])
    return pieces


def _elsewhere(rule: Rule, port: int) -> Src:
    """The leaves of a rule that name other ports alone."""
    named = [fact for item in rule.conditions if item.attribute == PORT and len(item.any_of or ()) > 1 for fact in item.any_of or ()]
    others = [fact for fact in named if not fact.value[0] <= port <= fact.value[1]]
    if not others:
        return NOWHERE
    rest = [item for item in rule.conditions if item.attribute != PORT]
    here = sources(*(fact for fact in named if fact.value[0] <= port <= fact.value[1]), *(item.sources for item in rest))
    return sources(*others) - here


def _taken(rule: Rule, deny: bool) -> list[Piece]:
    """What better routes take from a rule, those that differ in the path alone together."""
    found: dict[Piece, list[Language]] = {}
    for taken in rule.unless:
        out = Piece()
        for condition in taken:
            out = out.meet(_of_condition(condition, deny=not deny))
        rest = replace(out, path=None, patterns=None, base=None)
        found.setdefault(replace(rest, src=NOWHERE), []).append(Language.any() if out.path is None else out.path)
    return [replace(rest, path=None if Language.any() in paths else union_of(*paths)) for rest, paths in found.items()]


def nameless(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces where nobody shows an identity, as on a port whose mTLS is disabled: who asks for one gets nobody, who excludes some excludes none."""
    return [replace(piece, who=Identities()) for piece in pieces if piece.who.include is None]


def port_fits(condition: Condition, port: int | None, *, deny: bool = False) -> bool:
    """Whether a port condition takes this port; a port of unknown number fits where none is demanded, or nearly every one is taken.

    For a deny it is enough that many are: what may be denied is not let through. A name that no known pod gives a number to may be of any port."""
    if port is None:
        count = sum(fact.value[1] - fact.value[0] + 1 for fact in condition.any_of or () if isinstance(fact.value, tuple))
        return condition.any_of is None or count > (NEARLY if deny else 65535 - NEARLY)
    if any(_of_port(fact.value, port, not deny) for fact in condition.none_of):
        return False
    return condition.any_of is None or any(_of_port(fact.value, port, deny) for fact in condition.any_of)


def _of_port(value: Any, port: int, named: bool) -> bool:
    """Whether a range of ports holds one; of a name it is not known, and `named` is the answer."""
    if isinstance(value, tuple):
        return bool(value[0] <= port <= value[1])
    return named or (isinstance(port, CalledPort) and value == port.name)


def _of_condition(condition: Condition, *, deny: bool = False) -> Piece:
    attribute = condition.attribute
    inside = None if condition.any_of is None else tuple(fact.value for fact in condition.any_of)
    outside = tuple(fact.value for fact in condition.none_of)
    src = condition.sources
    if attribute == IDENTITY:
        return Piece(who=Identities(None if inside is None else frozenset(inside), frozenset(outside)), src=src)
    if attribute == SOURCE_IP:
        where = Networks(None if inside is None else tuple(sorted(set(inside), key=str)))
        if outside:
            if any(network.excluded for network in outside):
                raise Unsayable("a negated network with exceptions")
            where = where.meet(Networks(None, tuple(sorted({network.cidr for network in outside}))))
        return Piece(where=where, src=src)
    if attribute in (METHOD, HEADER + ":method"):
        methods = Methods() if inside is None else _methods(inside, at_least=deny)
        if outside:
            methods = methods.meet(_methods(outside, at_least=not deny).complement())
        return Piece(methods=methods, src=src)
    if attribute in (PATH, HOST):
        language = None if inside is None else union(inside, host=attribute == HOST)
        if outside:
            language = _minus(language, union(outside, host=attribute == HOST))
        patterns = condition.any_of if attribute == PATH and not outside else None
        if attribute == PATH:
            return Piece(path=language, src=src, patterns=patterns, base=language)
        return Piece(host=language, src=src)
    if attribute.startswith((HEADER, QUERY)):
        kind, _, name = attribute.partition(":")
        if attribute.startswith(HEADER):
            inside, outside = None if inside is None else tuple(map(_of_line, inside)), tuple(map(_of_line, outside))
        value = Value.of(None if inside is None else union(inside), union(outside) if outside else None)
        values = Values().put(name, value)
        return Piece(headers=values, src=src) if kind + ":" == HEADER else Piece(query=values, src=src)
    literals: frozenset[Literal] = frozenset()
    if inside is not None:
        literals |= {(attribute, " or ".join(sorted(map(str, inside))), True)}
    literals |= {(attribute, str(value), False) for value in outside}
    return Piece(literals=literals, src=src)


def _of_line(pattern: Pattern) -> Pattern:
    """A pattern for a header's value, which has no line breaks: what excludes them excludes nothing."""
    return Pattern(pattern.kind, f"(?s:{pattern.text})") if pattern.kind in ("regex", "rust-regex") else pattern


def _methods(patterns: Iterable[Pattern], *, at_least: bool) -> Methods:
    """The methods that patterns take, as `methods_of` has them."""
    listed = list(patterns)
    named = Methods(frozenset(pattern.text for pattern in listed if pattern.kind == "exact"), False)
    others = [pattern for pattern in listed if pattern.kind != "exact"]
    return named.join(methods_of(union(others), at_least=at_least)) if others else named


def methods_of(language: Language, *, at_least: bool) -> Methods:
    """The methods of a language. Where they are neither some by name nor all but some, those of HTTP itself: at most what is meant, or `at_least` that, as
    what is refused has to be."""
    for inverted in (True, False):
        forms = (TOKENS - language if inverted else language & TOKENS).as_patterns(TEXT)
        if forms is not None and all(kind == "exact" for kind, _ in forms):
            return Methods(frozenset(text for _, text in forms), inverted)
    return Methods(frozenset(name for name in METHODS if language.accepts(name) != at_least), at_least, nearly=True)


def union(patterns: Iterable[Any], *, host: bool = False) -> Language:
    return union_of(*(language_of(Pattern(pattern.kind, pattern.text.lower()) if host else pattern) for pattern in patterns))


TOKENS: Final = Language.regex("[!-~]+")
"""What a method may be: a token, if of any characters (www.rfc-editor.org/rfc/rfc9110, section 9.1)."""
_CACHE: dict[Pattern, Language] = {}


def language_of(pattern: Pattern) -> Language:
    """The strings that a pattern takes. Raises Unsayable for a regular expression that is none."""
    known = _CACHE.get(pattern)
    if known is not None:
        return known
    made = _language_of(pattern)
    if len(_CACHE) < 20_000:
        _CACHE[pattern] = made
    return made


def _language_of(pattern: Pattern) -> Language:
    kind, text = pattern.kind, pattern.text
    if kind == "any":
        return Language.any()
    if kind in ("regex", "rust-regex"):
        try:
            if kind == "rust-regex" and not finds_whole(text):
                raise Unsayable(
                    f"the regular expression {text!r}: Linkerd's search may stop before the end of a value that it describes; write ^(?:…)$"
                )
            return Language.regex(text, "rust" if kind == "rust-regex" else "re2")
        except (UnsupportedRegex, LanguageTooLarge, ValueProblem) as error:
            raise Unsayable(f"the regular expression {text!r}: {error}") from None
    makers = {
        "exact": Language.exact,
        "prefix": Language.prefix,
        "suffix": Language.suffix,
        "template": Language.template,
        "segments": Language.segments,
    }
    return makers[kind](text)
