"""The order of rules: from one mesh's way of choosing among those that match to another's.

First-match lists are the middle ground. A ranked route becomes one by sorting its matches as its mesh ranks them; a first-match list
becomes ranked matches
by adding, to a rule that a later one would outrank, the alternative "this match and that one": it takes no request more, and ranks at
least as high.
Linkerd compares the length of the path match whatever its type (a regular expression counts the whole path, the prefix `/` one), then the
number of
headers, of query parameters, and the method; the Gateway API and Istio put exact before prefix, then length, method, headers, query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from meshport.dialects.gateway_api import grpc
from meshport.dialects.gateway_api.patterns import disjoint, full_regex, language, within
from meshport.dialects.gateway_api.stems import Stems
from meshport.dialects.gateway_api.writing import plain_path
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Src
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes

MOST_ADDED = 512
"""Alternatives of one rule that are looked for: one with so many is not written."""

Demands = tuple[tuple[str, Fact[Pattern]], ...]
Form = tuple[str, int]  # exact, prefix or regex, and how long


def form(match: RouteMatch) -> Form:
    """How the path is written in a route, and its length as Linkerd counts it."""
    pattern = match.path.value if match.path is not None else Pattern("segments", "/")
    if pattern.kind == "exact":
        return "exact", len(pattern.text)
    if pattern.kind == "segments" or (pattern.kind == "prefix" and pattern.text in ("", "/")):
        return "prefix", max(len(pattern.text.rstrip("/")), 1)
    return "regex", 0


def counts(match: RouteMatch) -> tuple[int, int, int]:
    """What Linkerd compares after the path."""
    return len(match.headers), len(match.query), 1 if match.method is not None else 0


def overlap(one: RouteMatch, other: RouteMatch) -> bool:
    """Whether a request may satisfy both; True where it cannot be told."""
    if one.path and other.path and disjoint(one.path.value, other.path.value):
        return False
    if one.method and other.method and disjoint(one.method.value, other.method.value):
        return False
    if one.port and other.port and one.port.value != other.port.value:
        return False
    for mine, theirs in ((one.headers, other.headers), (one.query, other.query)):
        known = dict(mine)
        if any(name in known and disjoint(known[name].value, fact.value) for name, fact in theirs):
            return False
    return True


def contained(one: RouteMatch, other: RouteMatch) -> bool:
    """Whether every request of `one` is one of `other`; False also where it cannot be told."""
    if other.everything:
        return True
    if other.others != () and dict(other.others) != dict(one.others):
        return False
    if other.port is not None and (one.port is None or one.port.value != other.port.value):
        return False
    if other.path is not None and not within(one.path.value if one.path is not None else Pattern("segments", "/"), other.path.value):
        return False
    if other.method is not None and (one.method is None or not within(one.method.value, other.method.value, path=False)):
        return False
    for mine, theirs in ((one.headers, other.headers), (one.query, other.query)):
        known = dict(mine)
        if any(name not in known or not within(known[name].value, fact.value, path=False) for name, fact in theirs):
            return False
    return True


def deciding(one: RouteMatch, earlier: Iterable[RouteMatch], *, ranked: bool) -> Src:
    """The leaves of a match that earlier ones take whole with which another value would take requests of its own. `ranked`: the path decides which rule is
    the earlier one."""
    known = list(earlier)
    found: set[int] = set(one.path.src) if ranked and one.path is not None else set()
    for src, other in _others(one):
        if not any(contained(other, match) for match in known):
            found |= src
    return frozenset(found)


def _others(one: RouteMatch) -> Iterator[tuple[Src, RouteMatch]]:
    """The match with another value in one place, and the leaves of that place."""
    if one.path is not None:
        for text in (one.path.value.text.rstrip("/") + "/other", "/other"):
            yield one.path.src, replace(one, path=one.path.holding(Pattern(one.path.value.kind, text)))
    if one.method is not None:
        yield one.method.src, replace(one, method=one.method.holding(Pattern("exact", "PATCH")))
    for src, headers in _another(one.headers):
        yield src, replace(one, headers=headers)
    for src, query in _another(one.query):
        yield src, replace(one, query=query)
    if one.port is not None:
        yield one.port.src, replace(one, port=one.port.holding(one.port.value + 1))


def _another(listed: Demands) -> Iterator[tuple[Src, Demands]]:
    for number, (name, fact) in enumerate(listed):
        other = fact.holding(Pattern("exact", f"{fact.value.text}z"))
        yield fact.src, (*listed[:number], (name, other), *listed[number + 1 :])


def outranks(later: RouteMatch, earlier: RouteMatch) -> bool:
    """Whether Linkerd may prefer `later` for a request that both match."""
    (kind, length), (later_kind, later_length) = form(earlier), form(later)
    if kind == "prefix":
        if later_kind == "regex" or later_length > length:
            return True
        tie = later_length == length
    else:
        tie = kind == "regex" or later_kind != "prefix" or later_length >= length
    return tie and counts(later) > counts(earlier)


def conjunction(one: RouteMatch, other: RouteMatch) -> RouteMatch:
    """Requests that match both, in a form that ranks no lower than `other`."""
    path = one.path
    if other.path is not None and (one.path is None or within(other.path.value, one.path.value)):
        path = other.path if one.path is None else other.path.also(one.path)
    elif path is not None and form(one)[0] == "prefix":
        path = Fact(Pattern("regex", full_regex(path.value)), path.src, path.feature)
    method = one.method if one.method is not None else other.method
    return replace(
        one,
        path=path,
        method=method,
        headers=_united(one.headers, other.headers),
        query=_united(one.query, other.query),
        port=one.port or other.port,
        src=one.src | other.src,
    )


def _united(
    mine: tuple[tuple[str, Fact[Pattern]], ...], theirs: tuple[tuple[str, Fact[Pattern]], ...]
) -> tuple[tuple[str, Fact[Pattern]], ...]:
    return tuple(sorted({**dict(theirs), **dict(mine)}.items(), key=lambda item: item[0]))


def _as_written(match: RouteMatch) -> RouteMatch:
    """The match with a path as the expression that stands for it where the Gateway API does not admit it: so it ranks."""
    path = match.path
    if path is None or path.value.kind not in ("exact", "segments") or path.value.text == "" or plain_path(path.value.text):
        return match
    return replace(match, path=path.holding(Pattern("regex", full_regex(path.value))))


def ranked_for_linkerd(rules: Sequence[RouteRule], beats: Callable[[RouteMatch, RouteMatch], bool] = outranks) -> list[list[RouteMatch]]:
    """For each rule of a first-match list the matches that make Linkerd choose the same rules; [] for one that no request reaches.

    `beats` says whether it may prefer the first match to the second: HTTPRoutes and GRPCRoutes rank in ways of their own.
    """
    out: list[list[RouteMatch]] = []
    closed = False
    for rule in rules:
        out.append([] if closed else [_as_written(match) for match in rule.matches or (RouteMatch(),)])
        closed = closed or rule.everything
    later = _Later(out)
    for number in range(len(rules) - 2, -1, -1):
        added: list[RouteMatch] = []
        for match in list(out[number]):
            for _, other in later.than(number, match):
                if len(added) < MOST_ADDED and beats(other, match) and overlap(match, other):
                    both = conjunction(match, other)
                    if not any(_covers(known, both, other, beats) for known in (*out[number], *added)):
                        added.append(both)
        out[number] += added
    return out


def _demands(match: RouteMatch) -> int:
    """How much a match asks for: those that ask for less come first, as they spare the others."""
    return len(match.headers) + len(match.query) + (match.method is not None) + (match.path is not None)


def _covers(known: RouteMatch, both: RouteMatch, other: RouteMatch, beats: Callable[[RouteMatch, RouteMatch], bool]) -> bool:
    """Whether a match of a rule takes what `both` would take from `other` for it already."""
    return _same(both, known) or (contained(both, known) and not beats(other, known))


def _same(one: RouteMatch, other: RouteMatch) -> bool:
    return (one.path, one.method, one.headers, one.query, one.port) == (other.path, other.method, other.headers, other.query, other.port)


def in_order(routes: ServiceRoutes) -> list[RouteRule]:
    """The rules as a first-match list: ranked ones sorted, where a rule whose matches rank apart stands there several times."""
    rules, family = routes.rules, routes.family
    if routes.selection == "first":
        return list(rules)
    by_method = family == "linkerd" and routes.protocol == "grpc"
    entries: list[tuple[tuple[int, ...], int, RouteMatch]] = []
    place = 0
    for number, rule in enumerate(rules):
        for match in rule.matches or (RouteMatch(),):
            entries.append((_grpc_key(match, place) if by_method else _key(match, family, place), number, match))
            place += 1
    if family == "linkerd" and not by_method:
        expressions: list[tuple[RouteMatch, int]] = []
        exacts: dict[int, list[tuple[RouteMatch, int]]] = {}
        for (*_, at), _, match in entries:
            kind, length = form(match)
            if kind != "prefix":
                (exacts.setdefault(length, []) if kind == "exact" else expressions).append((match, at))
        for (*_, at), number, match in list(entries):
            kind, length = form(match)
            if kind != "prefix":
                continue
            text = (match.path.value.text.rstrip("/") if match.path is not None else "") or "/"
            if any(_beaten(match, at, text, *rival) for rival in (*exacts.get(length, ()), *expressions)):
                src, feature = (match.path.src, match.path.feature) if match.path is not None else (match.src, "routing.match.path")
                exact = replace(match, path=Fact(Pattern("exact", text), src, feature))
                entries.append((_key(exact, family, at), number, exact))
    entries.sort(key=lambda entry: entry[0])
    out: list[RouteRule] = []
    owners: list[int] = []
    for _, number, match in entries:
        if owners and owners[-1] == number:
            out[-1] = replace(out[-1], matches=(*out[-1].matches, match))
        else:
            out.append(replace(rules[number], matches=(match,)))
            owners.append(number)
    return [replace(rule, matches=() if rule.matches == (RouteMatch(),) else rule.matches) for rule in out]


def _beaten(match: RouteMatch, at: int, text: str, other: RouteMatch, other_at: int) -> bool:
    """Whether Linkerd prefers this prefix over an exact path of its length or a regular expression, where the request's path is the prefix itself."""
    if (counts(match), -at) <= (counts(other), -other_at):
        return False
    found = language(other.path.value) if other.path else None
    return (found is None or found.accepts(text)) and overlap(match, other)


def _key(match: RouteMatch, family: str, place: int) -> tuple[int, ...]:
    kind, length = form(match)
    headers, query, method = counts(match)
    if family != "linkerd":
        if kind == "regex" and match.path is not None:
            length = len(match.path.value.text)
        return (_order(family)[kind], -length, -method, -headers, -query, place)  # a slash at the end of a prefix is not counted
    return (_host(match), 1 if kind == "prefix" else 0, -length if kind == "prefix" else 0, -headers, -query, -method, place)


def _grpc_key(match: RouteMatch, place: int) -> tuple[int, ...]:
    return (_host(match), *(-count for count in grpc.rank(match)), place)


def _host(match: RouteMatch) -> int:
    """Linkerd asks for the host before the path: a full name, then one with a wildcard, then none (policy-controller, outbound routes)."""
    wanted = next((fact.value for name, fact in match.others if name == "authority"), None)
    if not isinstance(wanted, dict):
        return 2
    return 1 if "[^:]+" in str(wanted.get("regex", "")) else 0


def ranked_by_specificity(rules: Sequence[RouteRule], family: str = "") -> tuple[list[list[RouteMatch]], list[tuple[int, int]]]:
    """For each rule of a first-match list the matches that make the Gateway API choose the same rules, and the pairs of rules (earlier, later) for which
    that cannot be had.

    Exact goes before the longest prefix, then method, headers, query (gateway-api.sigs.k8s.io, HTTPRouteRule). Where a regular expression stands is up to the
    implementation: Istio puts it last, Cilium before prefixes, both longest first. So a prefix that must yield to one is written as one, unless `family`
    says who reads the routes.
    """
    out: list[list[RouteMatch]] = []
    closed = False
    for rule in rules:
        out.append([] if closed else [_as_written(match) for match in rule.matches or (RouteMatch(),)])
        closed = closed or rule.everything
    expressions = Stems[tuple[int, RouteMatch]]()
    for number, listed in enumerate(out if family != "cilium" else ()):
        for place, other in enumerate(listed):
            if form(other)[0] == "prefix" and any(before < number and overlap(match, other) for before, match in expressions.across(other)):
                path = other.path.value if other.path is not None else Pattern("segments", "/")
                src = other.path.src if other.path is not None else other.src
                listed[place] = replace(other, path=Fact(Pattern("regex", full_regex(path)), src, "routing.match.path"))
        for match in listed:
            if form(match)[0] == "regex":
                expressions.add(match, (number, match))
    unkept: list[tuple[int, int]] = []

    def before(later: RouteMatch, earlier: RouteMatch) -> bool:
        """Whether some reader of the routes may prefer the later one."""
        return _beats(later, earlier, family) or (not family and _beats(later, earlier, "cilium"))

    listed_later = _Later(out)
    for number in range(len(out) - 2, -1, -1):
        added: list[RouteMatch] = []
        for match in list(out[number]):
            for after, other in listed_later.than(number, match):
                certain = _beats(other, match, family)
                open_order = not certain and not family and _beats(other, match, "cilium")  # where expressions go before prefixes
                if len(added) >= MOST_ADDED or not (certain or open_order) or not overlap(match, other):
                    continue
                both = conjunction(match, other)
                if open_order and _beats(other, both, "cilium"):
                    continue
                if certain and _beats(other, both, family):
                    unkept.append((number, after))
                elif not any(_covers(known, both, other, before) for known in (*out[number], *added)):
                    added.append(both)
        out[number] += added
    return out, sorted(set(unkept))


class _Later:
    """The matches of rules that come after one, of those that may have a request in common with a match of it. Rules are asked about from the last one to the
    first, each once those behind it are as they stay."""

    def __init__(self, rules: Sequence[Sequence[RouteMatch]]) -> None:
        self.rules = rules
        self.known = Stems[tuple[int, int, RouteMatch]]()
        self.first = len(rules)  # of those that are known

    def than(self, number: int, match: RouteMatch) -> list[tuple[int, RouteMatch]]:
        """The number of the rule, and its match: those that ask for less come first, then in the order of the rules."""
        while self.first > number + 1:
            self.first -= 1
            for place, other in enumerate(self.rules[self.first]):
                self.known.add(other, (self.first, place, other))
        found = sorted(self.known.across(match), key=lambda item: (_demands(item[2]), item[0], item[1]))
        return [(after, other) for after, _, other in found]


def left_open(rules: Sequence[RouteRule]) -> list[tuple[int, int]]:
    """The pairs of rules, one with a regular expression and one with a prefix, of which the reader of the routes decides who takes what both match: where one of
    them takes it whichever of the two kinds goes first, it does not."""
    matches = [(number, match) for number, rule in enumerate(rules) for match in rule.matches or (RouteMatch(),)]
    known = Stems[tuple[int, RouteMatch]]()
    for number, match in matches:
        known.add(match, (number, match))

    def settled(number: int, both: RouteMatch, other: RouteMatch, family: str) -> bool:
        return any(at == number and contained(both, match) and _beats(match, other, family) for at, match in known.around(both))

    return sorted(
        {
            (first, second)
            for first, one in matches
            if form(one)[0] == "regex"
            for second, other in known.across(one)
            if first != second and form(other)[0] == "prefix" and overlap(one, other)
            if not settled(second, conjunction(other, one), one, "cilium") and not settled(first, conjunction(one, other), other, "")
        }
    )


def _beats(later: RouteMatch, earlier: RouteMatch, family: str) -> bool:
    """Whether a route of the Gateway API prefers `later`, wherever the two stand."""
    return _specificity(later, family) < _specificity(earlier, family)


def _specificity(match: RouteMatch, family: str) -> tuple[int, int, int, int, int]:
    kind, length = form(match)
    headers, query, method = counts(match)
    if kind == "regex" and match.path is not None:
        length = len(full_regex(match.path.value))
    return _order(family)[kind], -length, -method, -headers, -query


def _order(family: str) -> dict[str, int]:
    """Which kind of path goes first (Cilium: operator/pkg/model/translation, the order of an Envoy virtual host's routes)."""
    return {"exact": 0, "regex": 1, "prefix": 2} if family == "cilium" else {"exact": 0, "prefix": 1, "regex": 2}
