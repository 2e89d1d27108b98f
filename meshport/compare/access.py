"""Access as plain data: for each workload and port, who may send what. Equal for equal meaning, whatever mesh says it.

Peers, methods and conditions are the keys, the union of the paths is the value; how many objects or rules say it does not show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from meshport.compare.either import ANY, regardless
from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.effective import subjects
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.accounts import wider
from meshport.effective.admitted import allowed
from meshport.effective.identities import Identities, label
from meshport.effective.networks import MOST_NETWORKS, Cidrs, Networks
from meshport.effective.pieces import Piece, Unsayable, completed, language_of, pathless
from meshport.effective.seen import whole
from meshport.effective.sets import METHODS, Value, Values
from meshport.ir.authorization import PORT, Pattern
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR
from meshport.values.identities import EVERYONE, Identity
from meshport.values.language import TEXT, Language, LanguageTooLarge, union
from meshport.values.paths import NORMALISED

Canonical = dict[str, dict[str, Any]]
MOST_VALUES = 64
"""Combinations of values of headers that one rule is told apart into."""
OTHERS = "others"
"""The methods that HTTP itself does not define, among the names of methods."""
MOST_COMPARED = 20_000
"""Pairs of rows of one port that take automata to compare."""
MOST_TOGETHER = 64
"""Rows of one peer, each under demands of its own, that are put together."""


def canonical(
    ir: IR, options: Options, ports: dict[str, set[int]] | None = None, governed: frozenset[Ref] = frozenset(), *, outside: bool = False
) -> Canonical:
    """The access of every workload that a mesh governs: this one, or, for those of `governed`, the other side's; and where `outside` that of all others too.

    `ports` adds ports by workload that the other side speaks of.
    """
    access = Access(ir, Fact("all-unauthenticated"))
    found: Canonical = {}
    memo: dict[Any, dict[str, Any]] = {}
    for item in access.workloads:
        if item.meshed is False and not outside:
            if item.workload.ref in governed:
                numbers = set(ports_of([item], ir.world)) | (ports or {}).get(str(item.workload.ref), set())
                for port in [*sorted(numbers), None]:
                    found[subjects.access(item.workload.ref, port)] = {"allow": _rows([Piece()], options.trust_domain)}
            continue
        own = set(ports_of([item], ir.world)) | mentioned(item, beside=outside)
        own |= (ports or {}).get(str(item.workload.ref), set())
        for port in [*sorted(own), None]:
            http = speaks_http(item, port, ir)
            key = (item.key, port, http, tuple(item.probe_paths(port)))
            if key not in memo:
                memo[key] = _port(item, port, http, options)
            found[subjects.access(item.workload.ref, port)] = memo[key]
    for name, namespace in sorted(ir.world.namespaces.items()):
        if ir.enrols and namespace.meshed is not None and namespace.meshed.value:  # to be kept out and not to be taken in is the same
            found[subjects.membership(name)] = {"meshed": namespace.meshed.value}
    return found


def speaks_http(item: Effective, port: int | None, ir: IR) -> bool:
    """Whether HTTP conditions can be judged on a port: as its policy says, else as the Services in front of it declare. What was written for Cilium needs
    nobody's word for it (docs.cilium.io, security/policy/layer7); of what is read there the other meshes can say no more than Services declare."""
    for policy in item.at(port):
        if policy.protocol is not None:
            return protocols.is_http(policy.protocol.value)
    written = ir.mesh == "cilium" and ir.by_label is not None
    return port is None or written or protocols.is_http(protocols.of_port(item.workload, port, ir.world)[0])


def governed(ir: IR) -> frozenset[Ref]:
    """The workloads that the mesh governs, or may."""
    return frozenset(workload.ref for workload in ir.world.workloads if ir.world.meshed(workload) is not False)


def known_ports(ir: IR, *, beside: bool = False) -> dict[str, set[int]]:
    """The ports of each workload and those that its policies name, with `beside` those that hold next to the mesh too."""
    access = Access(ir, Fact("all-unauthenticated"))
    return {str(item.workload.ref): {*ports_of([item], ir.world), *mentioned(item, beside=beside)} for item in access.workloads}


def mentioned(item: Effective, *, beside: bool = False) -> set[int]:
    """The ports that policies of the mesh name, and with `beside` those that hold next to it."""
    from meshport.effective.access import resolve

    found: set[int] = {port for port in item.transport if port is not None}
    found |= {low for low, high in (item.workload.demanding.value if item.workload.demanding is not None else ()) if low == high}
    for policy in (*item.allows, *item.denies, *item.customs):
        if policy.port is not None:
            number = resolve(item.workload, policy.port.value)
            if number is not None:
                found.add(number)
        for rule in policy.rules:
            for condition in rule.conditions:
                if condition.attribute == PORT:
                    found |= {
                        low for low, high in (fact.value for fact in (*(condition.any_of or ()), *condition.none_of)) if 0 < low == high
                    }
    return found.union(*map(mentioned, item.beside)) if beside else found


def _port(item: Effective, port: int | None, http: bool, options: Options) -> dict[str, Any]:
    try:
        return {"allow": _rows(allowed(item, port, http, options.cluster_networks), options.trust_domain)}
    except (Unsayable, LanguageTooLarge, ValueError) as error:
        return {"undecided": str(error)}


@dataclass(slots=True)
class Row:
    """What one kind of peer may send: paths by method (None: every path), under further demands (`extra` in words)."""

    who: Identities
    where: Networks
    extra: str
    demands: Piece
    paths: dict[str, Language | None]

    def holds(self, other: Row) -> bool:
        """Whether every peer of the other row is one of this, under no demand more."""
        return self.who.covers(other.who) and self.where.covers(other.where) and self._asks_no_more(other)

    def asks_much(self, other: Row) -> bool:
        """Whether it may take automata to tell that one holds the other."""
        patterns = self.who.include is not None and other.who.include is not None and None is _only(self.who) is _only(other.who)
        return (patterns and self.who != other.who) or "" != self.extra != other.extra != ""

    def _asks_no_more(self, other: Row) -> bool:
        return self.extra in ("", other.extra) or (other.extra != "" and self.demands.covers_request(other.demands))


def said(item: Effective, port: int | None, http: bool, options: Options) -> dict[str, dict[str, str]] | None:
    """Who may send what to a port, for people: peer, then method, then paths, each rule's peers with all that they may. None where it cannot be computed."""
    try:
        pieces = allowed(item, port, http, options.cluster_networks)
        table: dict[str, dict[str, list[Language | None]]] = {}
        for piece in pieces:
            networks = piece.where.networks()
            where = "" if networks is None else " from the cluster's networks" if whole(piece.where, options.cluster_networks) else " from "
            where += ", ".join(sorted(map(str, networks or ()))) if where == " from " else ""
            for who in _single(_local(piece.who, options.trust_domain)):
                row = table.setdefault(_peer_text(who) + where, {})
                for method in _methods(piece):
                    row.setdefault(method + _extra(piece), []).append(piece.path)
        return {peer: _compact({key: _joined(paths) for key, paths in row.items()}) for peer, row in sorted(table.items())}
    except (Unsayable, LanguageTooLarge, ValueError):
        return None


def _rows(pieces: list[Piece], trust_domain: str) -> dict[str, dict[str, str]]:
    """peer → method and further demands → paths. A row says what it adds to the rows of broader peers; one that adds nothing is left out,
    so that it does not show how many rules say the same."""
    table: dict[str, Row] = {}
    paths: dict[str, dict[str, list[Language | None]]] = {}
    seen: dict[Language, Language] = {}  # what is known of a language is known of the object: one for all methods that share it
    pieces = _but_for_all(_from_anywhere([one for piece in pieces for one in _by_value(pathless(piece))]))
    for piece in _without_admitted_exceptions(pieces):
        networks = piece.where.networks()
        local = _local(piece.who, trust_domain)
        extra = _extra(piece)
        demands = Piece(host=piece.host, headers=piece.headers, query=piece.query, literals=piece.literals)
        for who in _single(local):
            for network in (None,) if networks is None else networks:
                where = "" if network is None else f" from {network}"
                key = _peer_text(who) + where + "\0" + extra
                table.setdefault(key, Row(who, Networks() if network is None else Networks((network,)), extra, demands, {}))
                its = paths.setdefault(key, {})
                for method in _methods(piece):
                    its.setdefault(method, []).append(piece.path)
    for key, row in table.items():
        known: dict[tuple[int, ...], Language | None] = {}  # methods mostly have the same paths, rule by rule
        for method, languages in paths[key].items():
            same = tuple(map(id, languages))
            if same not in known:
                joined = _joined(languages)
                known[same] = seen.setdefault(joined, joined) if joined is not None else None
            row.paths[method] = known[same]
    _put_together(table)
    found: dict[str, dict[str, Language | None]] = {}
    perhaps = _broader(table)
    for key, row in sorted(table.items()):
        broader = [
            other for name in perhaps(row) if name != key and (other := table[name]).holds(row) and (not row.holds(other) or name < key)
        ]
        added = _added(row, broader, seen)
        if added:
            found.setdefault(key.partition("\0")[0], {}).update({method + row.extra: language for method, language in added.items()})
    return {peer: _compact(paths) for peer, paths in sorted(found.items())}


def _without_admitted_exceptions(pieces: list[Piece]) -> list[Piece]:
    """The pieces with the callers whom they except and others admit with the same requests: those that name callers first, for these may be what a piece for
    everybody excepts."""
    named = [piece for piece in pieces if piece.who.include is not None]
    whole = {id(piece): completed(piece, named) for piece in named if piece.who.exclude}
    named = [whole.get(id(piece), piece) for piece in named]
    rest = {id(piece): completed(piece, named) for piece in pieces if piece.who.include is None and piece.who.exclude}
    return [whole.get(id(piece)) or rest.get(id(piece), piece) for piece in pieces]


def _from_anywhere(pieces: list[Piece]) -> list[Piece]:
    """Pieces that differ in their networks alone, and whose networks are all there are, as one from everywhere: so the rest is not told from the whole."""
    groups: dict[Any, list[Piece]] = {}
    for piece in pieces:
        key = (piece.who, piece.methods, piece.path, piece.host, piece.headers, piece.query, piece.literals)
        groups.setdefault(key if not piece.where.everywhere else (), []).append(piece)
    found = groups.pop((), [])
    for alike in groups.values():
        known = tuple(network for piece in alike for network in piece.where.networks() or ())
        whole_of_it = 1 < len(known) <= MOST_NETWORKS and not Networks().minus(Networks(known))
        found += [replace(alike[0], where=Networks())] if whole_of_it else alike
    return found


def _but_for_all(pieces: list[Piece]) -> list[Piece]:
    """Pieces that differ in their exceptions alone as one that has for exceptions what all of them have: so that "all but a" beside "all but b" is all."""
    groups: dict[Any, list[Piece]] = {}
    for piece in pieces:
        out = piece.who.exclude
        key = (piece.who.include, piece.where, piece.methods, piece.path, piece.host, piece.headers, piece.query, piece.literals)
        groups.setdefault(key if out and all(isinstance(one, Identity) for one in out) else (), []).append(piece)
    found = groups.pop((), [])
    for alike in groups.values():
        common = Identities(alike[0].who.exclude)
        for piece in alike[1:]:
            common = common.meet(Identities(piece.who.exclude))
        if len(alike) == 1 or common.exclude:
            found += alike
        else:
            found.append(replace(alike[0], who=Identities(alike[0].who.include, common.include or frozenset())))
    return found


def _by_value(piece: Piece) -> list[Piece]:
    """The piece once for each value that its headers may have, and for each host, so that it does not show whether rules list them or each names one."""
    found = _by_host(piece)
    for name, value in piece.headers.by_name:
        forms = value.inside.as_patterns(TEXT) if value.inside is not None and value.outside is None else None
        if forms and 1 < len(forms) <= MOST_VALUES:
            values = [Value(language_of(Pattern(*form))) for form in forms]
            found = [replace(one, headers=one.headers.put(name, single)) for one in found for single in values]
        if len(found) > MOST_VALUES:
            return [piece]
    return found


def _by_host(piece: Piece) -> list[Piece]:
    """The piece once for each host, with and without a port."""
    forms = piece.host.as_patterns(TEXT) if piece.host is not None else None
    hosts: dict[str, list[Language]] = {}
    for kind, text in forms or ():
        hosts.setdefault(text.removesuffix(":") if kind in ("exact", "prefix") else f"{kind} {text}", []).append(
            language_of(Pattern(kind, text))
        )
    if not 1 < len(hosts) <= MOST_VALUES:
        return [piece]
    return [replace(piece, host=union(*languages)) for languages in hosts.values()]


def _put_together(table: dict[str, Row]) -> None:
    """Adds what the rows of one peer say together: with a header and without it is whether or not, on the paths that both have; and so for all hosts."""
    peers: dict[str, list[Row]] = {}
    for key, row in table.items():
        peers.setdefault(key.partition("\0")[0], []).append(row)
    for peer, rows in peers.items():
        names = {("headers", name) for row in rows for name, _ in row.demands.headers.by_name}
        names |= {("query", name) for row in rows for name, _ in row.demands.query.by_name}
        names |= {("host", "") for row in rows if row.demands.host is not None}
        for part, name in sorted(names) if 1 < len(rows) <= MOST_TOGETHER else ():
            alike: dict[str, list[tuple[Value, Row, Piece]]] = {}
            for row in rows:
                found = _apart(row.demands, part, name)
                if found is not None:
                    alike.setdefault(_extra(found[1]), []).append((found[0], row, found[1]))
            every = Value(Language.any()) if part == "host" else ANY
            for extra, group in alike.items():
                paths = regardless(((value, row.paths) for value, row, _ in group), every) if len(group) > 1 else {}
                if not paths:
                    continue
                _, first, demands = group[0]
                key = f"{peer}\0{extra}"
                if key not in table:
                    table[key] = Row(first.who, first.where, extra, demands, {})
                    rows.append(table[key])
                known = table[key].paths
                for method, language in paths.items():
                    known[method] = _joined([language, known[method]]) if method in known else language


def _apart(demands: Piece, part: str, name: str) -> tuple[Value, Piece] | None:
    """What a row demands of a header, a query parameter or the host, and its other demands; None where it demands nothing of that."""
    if part == "host":
        return (Value(demands.host), replace(demands, host=None)) if demands.host is not None else None
    values = dict((demands.query if part == "query" else demands.headers).by_name)
    if name not in values:
        return None
    rest = Values(tuple((key, value) for key, value in values.items() if key != name))
    return values[name], replace(demands, query=rest) if part == "query" else replace(demands, headers=rest)


def _added(row: Row, broader: list[Row], seen: dict[Language, Language]) -> dict[str, Language | None]:
    """The row's paths with those of broader rows, by method; without the methods where the row adds nothing."""
    out: dict[str, Language | None] = {}
    known: dict[tuple[int, ...], Language | bool | None] = {}  # methods mostly share their paths, so what is left of them is asked once
    for method, language in row.paths.items():
        covers = [other.paths[method] for other in broader if method in other.paths]
        key = (id(language), *map(id, covers))
        if key not in known:
            known[key] = _left(language, covers, seen)
        left = known[key]
        if not isinstance(left, bool):
            out[method] = left
    return out


def _left(language: Language | None, covers: list[Language | None], seen: dict[Language, Language]) -> Language | bool | None:
    """The paths without those of broader rows; None for every path, False where nothing is left."""
    if any(cover is None or cover.is_any(NORMALISED) for cover in covers):
        return False
    whole = union(*[cover for cover in covers if cover is not None])
    whole = seen.setdefault(whole, whole)
    if language is not None and covers and language.issubset(whole, NORMALISED):
        return False
    left = language - whole if language is not None and covers else ~whole if covers else language
    return seen.setdefault(left, left) if left is not None else None


def _broader(table: dict[str, Row]) -> Callable[[Row], list[str]]:
    """For a row, the rows that may hold it, in the table's order: those that share nobody's name or address with it are not asked.

    Asking raises LanguageTooLarge past MOST_COMPARED rows altogether.
    """
    order = {name: number for number, name in enumerate(table)}
    index: dict[Identity | None, dict[str | None, list[str]]] = {}
    for name, row in table.items():
        index.setdefault(_single_name(row.who), {}).setdefault(_address(row.where), []).append(name)
    near = {who: Cidrs(address for address in places if address is not None) for who, places in index.items()}
    left = MOST_COMPARED

    def perhaps(row: Row) -> list[str]:
        nonlocal left
        who, address = _single_name(row.who), _address(row.where)
        found: list[str] = []
        for other in [*wider(who), None] if who is not None else list(index):
            for place in (None, *(near[other].holding(address) if address is not None and other in near else ())):
                found += index.get(other, {}).get(place, ())
        left -= len(found) // 100 + sum(map(row.asks_much, map(table.__getitem__, found)))
        if left < 0:
            raise LanguageTooLarge("too many rules speak of callers or demands that would have to be compared with each other")
        return sorted(found, key=order.__getitem__)

    return perhaps


def _only(who: Identities) -> Identity | None:
    """The one service account that is meant."""
    only = _single_name(who)
    return only if only is not None and only.exact else None


def _single_name(who: Identities) -> Identity | None:
    """The one account, namespace or trust domain that is meant."""
    if who.include is None or len(who.include) != 1:
        return None
    (only,) = who.include
    return only if isinstance(only, Identity) else None


def _address(where: Networks) -> str | None:
    return where.include[0].cidr if where.include else None


def _joined(languages: list[Language | None]) -> Language | None:
    known = [language for language in languages if language is not None]
    if len(known) < len(languages):
        return None
    return known[0] if len(known) == 1 else union(*known)


def _local(who: Identities, trust_domain: str) -> Identities:
    """Peers of any trust domain as those of this one, for no other is known here; all of this one are any identity of the mesh."""

    def own(item: Any) -> Any:
        if not isinstance(item, Identity) or item.trust_domain not in (None, trust_domain):
            return item
        return EVERYONE if item.namespace is None and item.service_account is None else replace(item, trust_domain=trust_domain)

    return Identities(None if who.include is None else frozenset(map(own, who.include)), frozenset(map(own, who.exclude)))


def _single(who: Identities) -> list[Identities]:
    return [who] if who.include is None else [Identities(frozenset((item,)), who.exclude).tidy() for item in who.include]


def _peer_text(who: Identities) -> str:
    return _peers(who)[0] if not who.empty else "nobody"


def _methods(piece: Piece) -> list[str]:
    """The methods by name; of "every other one" those that HTTP itself defines, and the rest together."""
    names = [name for name in METHODS if piece.methods.accepts(name)]
    unusual = sorted(piece.methods.names - {*METHODS})
    return [*names, "-but-".join((OTHERS, *unusual))] if piece.methods.inverted else names + unusual


def _compact(row: dict[str, Language | None]) -> dict[str, str]:
    """Paths as text; methods that all have the same paths under one key."""
    said = {id(language): _paths(language) for language in {id(language): language for language in row.values()}.values()}
    texts = {key: said[id(language)] for key, language in row.items()}
    groups: dict[tuple[str, str], list[str]] = {}
    for key, text in texts.items():
        method, _, extra = key.partition(" ")
        groups.setdefault((extra, text), []).append(method)
    out: dict[str, str] = {}
    for (extra, text), methods in groups.items():
        for method in ["any method"] if set(methods) >= {*METHODS, OTHERS} else sorted(methods):
            key = method + (f" {extra}" if extra else "")
            out[key] = text
    return dict(sorted(out.items()))


def _paths(language: Language | None) -> str:
    return "any path" if language is None or NORMALISED.issubset(language) else language.key(NORMALISED)


def _extra(piece: Piece) -> str:
    parts = []
    if piece.host is not None:
        parts.append("host " + piece.host.key(TEXT))
    if piece.headers.by_name:
        parts.append("header " + piece.headers.key())
    if piece.query.by_name:
        parts.append("query " + piece.query.key())
    parts += [f"{attribute} {'=' if wanted else '!='} {text}" for attribute, text, wanted in sorted(piece.literals)]
    return " " + "; ".join(parts) if parts else ""


def _peers(who: Identities) -> list[str]:
    less = " but " + ", ".join(sorted(label(item) for item in who.exclude)) if who.exclude else ""
    if who.include is None:
        return ["anyone" + less]
    return sorted({label(item) + less for item in who.include})
