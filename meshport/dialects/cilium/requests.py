"""What a Cilium rule asks of the request: ports, and what its HTTP, Kafka and TLS parts say (docs.cilium.io, security/policy/layer4, layer7).

Cilium compares `:path` with its query, the whole of it, with a regular expression of RE2. The IR's path is without the query: where any query goes with
each path the two say the same; elsewhere the whole target is a demand on the header `:path`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import HEADER, HOST, METHOD, OTHER, PATH, PORT, SNI, Condition, Pattern
from meshport.ir.base import NOWHERE, Fact, Src
from meshport.values import paths
from meshport.values.language import BARE_PATHS, PATHS, TEXT, Language, LanguageTooLarge
from meshport.values.ports import is_number
from meshport.values.problems import ValueProblem

TARGET = HEADER + ":path"
MOST_LEFT_OUT = 64  # ports that ranges may leave out and still mean "all but these"
LOWER = r"[\x00-@\[-\x7f]*"  # and ASCII: hosts are
Conditions = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class OtherPort:
    """A port of other protocols than TCP: in words, and as what it demands of a packet."""

    words: Fact[str]
    protocols: tuple[str, ...]
    on: Conditions


def of_ports(entry: Cursor) -> tuple[tuple[Conditions, Src] | None, tuple[OtherPort, ...]]:
    """The TCP ports of an entry of `toPorts` as a condition with its leaves, None where it has none; and the ports of other protocols."""
    ranges: list[Fact[Any]] = []
    every: Src | None = None
    beyond: list[OtherPort] = []
    for place in entry.each("ports"):
        port, protocol = place.text("port"), place.text("protocol")
        named = protocol.value.upper() if protocol is not None else "ANY"
        value = _range(port.value if port is not None else "0", place.number_at("endPort"))
        if named not in ("TCP",):
            words = ("any protocol but TCP" if named == "ANY" else named) + f" port {_spoken(value)}"
            said = Fact(words, place.src if named != "ANY" else (protocol.src if protocol is not None else NOWHERE), "l4.protocol")
            on = () if value == (0, 65535) else (Condition(PORT, (Fact(value, place.src, port.feature if port is not None else ""),)),)
            beyond.append(OtherPort(said, ("UDP", "SCTP") if named == "ANY" else (named,), on))
        if named not in ("TCP", "ANY"):
            continue
        if value == (0, 65535):
            every = (every or NOWHERE) | place.src
        else:
            ranges.append(Fact(value, place.src, port.feature if port is not None else ""))
    if every is not None:
        return ((), every | frozenset(leaf for fact in ranges for leaf in fact.src)), tuple(beyond)
    return (((_condition(ranges),), NOWHERE) if ranges else None), tuple(beyond)


def _condition(ranges: list[Fact[Any]]) -> Condition:
    """Ranges as a condition; those that leave out a few ports only mean every port but these."""
    pairs = sorted(fact.value for fact in ranges if not isinstance(fact.value, str))
    if len(pairs) < len(ranges) or sum(high - low + 1 for low, high in pairs) < 65535 - MOST_LEFT_OUT:
        return Condition(PORT, tuple(ranges))
    left: list[int] = []
    following = 1
    for low, high in [*pairs, (65536, 65536)]:
        if low - following > MOST_LEFT_OUT:
            return Condition(PORT, tuple(ranges))
        left += range(following, low)
        following = max(following, high + 1)
    src = frozenset(leaf for fact in ranges for leaf in fact.src)
    return Condition(PORT, None, tuple(Fact((port, port), src, ranges[0].feature) for port in left), src)


def _range(text: str, end: Fact[int] | None) -> Any:
    """(low, high), (0, 65535) for every port, or the name of a container port."""
    if not is_number(text):
        return text.lower()
    low = int(text)
    if low == 0 or (low == 1 and end is not None and end.value == 65535):
        return (0, 65535)
    return (low, end.value if end is not None and end.value else low)


def _spoken(value: Any) -> str:
    if isinstance(value, str):
        return value
    low, high = value
    return "any" if (low, high) == (0, 65535) else str(low) if low == high else f"{low} to {high}"


def of_rules(entry: Cursor) -> list[tuple[Conditions, Src, bool]]:
    """The alternatives of an entry of `toPorts`: conditions, leaves beside them, and whether the proxy reads HTTP for them."""
    shared: list[Condition] = []
    names = entry.strings("serverNames")
    if names:
        shared.append(Condition(SNI, tuple(fact.map(_server_name) for fact in names)))
    shared += [_only_cilium(key, entry.at(key)) for key in ("terminatingTLS", "originatingTLS", "listener") if entry.at(key)]
    rules = entry.at("rules")
    special = [_only_cilium(key, rules.at(key)) for key in ("kafka", "l7proto", "l7", "dns") if rules.at(key) and rules.at(key).value]
    if special:
        return [((*shared, *special), NOWHERE, False)]
    if not rules.each("http"):
        return [(tuple(shared), rules.src, False)]
    return [((*shared, *demanded(place)), place.src if not place.items() else NOWHERE, True) for place in rules.each("http")]


def _only_cilium(what: str, place: Cursor) -> Condition:
    fact = place.whole()
    feature = fact.feature if fact is not None else ""
    return Condition(OTHER + what, (Fact(Pattern("exact", f"{place.value}"), place.src, feature),))


def _server_name(text: str) -> Pattern:
    if "*" not in text:
        return Pattern("exact", text)
    return (
        Pattern("suffix", text[1:])
        if text.startswith("*.") and "*" not in text[1:]
        else Pattern("regex", text.replace(".", r"\.").replace("*", ".*"))
    )


def demanded(place: Cursor) -> Iterable[Condition]:
    """What one entry of HTTP rules asks of a request."""
    method, host, path = place.text("method"), place.text("host"), place.text("path")
    if method is not None and method.value:
        yield Condition(METHOD, _spread(method, Language.regex(method.value, "re2"), TEXT))
    if path is not None and path.value:
        yield from of_path(path)
    if host is not None and host.value:
        yield Condition(HOST, _host(host))
    for fact in place.strings("headers"):
        name, pattern = header(fact.value)
        yield Condition(HEADER + name, (fact.holding(pattern),))
    for match in place.each("headerMatches"):
        yield from _header_match(match)


def of_path(path: Fact[str]) -> Iterable[Condition]:
    """A regular expression over path and query, as conditions on the path, or on the whole target where the query decides."""
    try:
        whole = Language.regex(path.value, "re2")
        bare = paths.without_query(whole)
        if bare is not None:
            yield Condition(PATH, _spread(path, bare, BARE_PATHS))
            return
        plain = whole & BARE_PATHS
        if whole.same(plain, within=PATHS):  # no query at all
            yield Condition(PATH, _spread(path, plain, BARE_PATHS))
            yield Condition(TARGET, _spread(path, plain, BARE_PATHS))
            return
        yield Condition(TARGET, _spread(path, whole, TEXT))
    except (LanguageTooLarge, ValueProblem):
        yield Condition(TARGET, (path.map(lambda text: Pattern("regex", text)),))


def _spread(fact: Fact[str], language: Language, within: Language) -> tuple[Fact[Pattern], ...]:
    """The language as patterns: simple ones where it is a union of such, else one regular expression."""
    try:
        forms = language.as_patterns(within)
        if forms is not None and len(forms) <= 32:
            return tuple(fact.holding(Pattern(kind, text)) for kind, text in forms) or (fact.holding(Pattern("regex", fact.value)),)
        text = fact.value if within is TEXT else language.to_regex(within=within)
    except LanguageTooLarge:
        text = None
    return (fact.holding(Pattern("regex", text or fact.value)),)


def _host(fact: Fact[str]) -> tuple[Fact[Pattern], ...]:
    """Hosts are compared in lower case, as clients send them."""
    try:
        forms = Language.regex(fact.value.removeprefix("(?i)"), "re2").as_patterns(TEXT)
        if forms and len(forms) <= 32:
            return tuple(fact.holding(Pattern(kind, text.lower())) for kind, text in forms)
        lower = Language.regex(fact.value, "re2") & Language.regex(LOWER, "re2")
        forms = lower.as_patterns(TEXT)
        if forms and len(forms) <= 32:
            return tuple(fact.holding(Pattern(kind, text)) for kind, text in forms)
    except (LanguageTooLarge, ValueProblem):
        pass
    return (fact.map(lambda text: Pattern("regex", text)),)


def header(text: str) -> tuple[str, Pattern]:
    """An entry of `headers`: split at the first space; without one the header need only be there, under just that name."""
    name, space, value = text.partition(" ")
    if not space:
        return name.lower(), Pattern("any")
    return name.removesuffix(":").lower(), Pattern("exact", value)


def _header_match(match: Cursor) -> Iterable[Condition]:
    """An entry of `headerMatches`. One with an action on a mismatch lets the request through whatever the header says."""
    name, value = match.text("name"), match.text("value")
    if name is None or match.at("mismatch"):
        return
    if match.at("secret"):
        yield _only_cilium("secret of a header", match)
    elif value is not None:
        yield Condition(HEADER + name.value.lower(), (Fact(Pattern("exact", value.value), name.src | value.src, value.feature),))
    else:
        yield Condition(HEADER + name.value.lower(), (name.holding(Pattern("any")),))
