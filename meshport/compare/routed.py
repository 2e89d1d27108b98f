"""Where requests to a Service go and what is done for them, compared: the rules of each side as disjoint sets of requests with what becomes of them, and a
request for each pair of sets that meet and are treated differently. It is of no mesh.

Where the rules read differently and no request tells them apart, the difference is one of form: nothing is reported. Where they read alike (`routing.canonical`,
which knows no order) and stand in another order, requests of two of them may tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from meshport.compare import connections, ingress, listeners, routing
from meshport.compare.diff import Canonical, Change, at_gateways, beside_access, changes
from meshport.compare.witness import ROOTED, http_members
from meshport.documents import format_path
from meshport.effective.pieces import Piece, Unsayable, language_of, union
from meshport.effective.sets import Methods, Value, Values
from meshport.ir.authorization import Pattern
from meshport.ir.base import NOWHERE, Fact, Ref, Src
from meshport.ir.model import IR
from meshport.ir.resilience import ISTIO_CONDITIONS, ISTIO_RETRIES, Retry
from meshport.ir.routing import Backend, RouteMatch, RouteRule, ServiceRoutes, gather
from meshport.ir.world import World
from meshport.values.language import TEXT, Language, LanguageTooLarge

MOST_PAIRS = 8000
MOST_STEPS = 4000
"""Cuts of one set of requests by another that the rules of one port may take."""
_SUBJECT = re.compile(
    r"^(?P<what>[a-z ]+) of (?:Service )?(?P<namespace>[^/ ]+)/(?P<name>[^ ]+)(?: for clients of (?P<client>\S+))?(?: port (?P<port>\d+))?"
)
_HOST = re.compile(r"^(?P<what>[a-z ]+) of host (?P<host>[^ ]+)(?: for clients of (?P<client>\S+))?(?: port (?P<port>\d+))?")


@dataclass(slots=True)
class Treated:
    """A request that is treated differently; `before` and `after` say how, in `aspects`; `sources` are the leaves that say so."""

    subject: str
    request: dict[str, Any]
    before: str
    after: str
    sources: tuple[Src, Src] = (NOWHERE, NOWHERE)
    aspects: tuple[str, ...] = ()
    change: str = "routed"  # allowed or denied where a Gateway lets in, or refuses, who shows no certificate


@dataclass(slots=True)
class Compared:
    """What came of one subject. It is `alike` where the sides read differently and every request is treated the same."""

    subject: str = ""
    classes: int = 0
    differences: list[Treated] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)

    @property
    def alike(self) -> bool:
        return not self.differences and not self.undecided


@dataclass(frozen=True, slots=True)
class Way:
    """Requests that one rule takes where no earlier one does, and what becomes of them."""

    piece: Piece
    outcome: Mapping[str, Any]
    src: Src = NOWHERE


def differences(old: IR, new: IR, canon: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None) -> Iterator[Compared]:
    """What each Service's requests meet on both sides, a result for each subject that differs.

    Where the Gateway API leaves it to the implementation whether expressions go before prefixes, requests are the same only if they are so both ways.
    """
    found = {item.subject: item for item in _differences(old, new, canon)}
    if _open_order(old) or _open_order(new):
        for item in _differences(_expressions_first(old), _expressions_first(new), None):
            known = found.get(item.subject)
            if known is None or (known.alike and not item.alike):
                found[item.subject] = item
    yield from found.values()


def _open_order(ir: IR) -> bool:
    return any(
        routes.family == "gateway-api"
        and any(match.path is not None and match.path.value.kind in ("regex", "rust-regex") for match in rule.matches)
        for routes in ir.routes
        for rule in routes.rules
    )


def _expressions_first(ir: IR) -> IR:
    """The routes that nobody is known to read as an implementation reads them that asks for expressions first."""
    return replace(ir, routes=[replace(one, family="cilium") if one.family == "gateway-api" else one for one in ir.routes])


def _differences(old: IR, new: IR, canon: tuple[Mapping[str, Any], Mapping[str, Any]] | None) -> Iterator[Compared]:
    first, second = canon or (beside_access(old), beside_access(new))
    if canon is None and ingress.served(old) and ingress.served(new):
        outer = at_gateways(old, new)
        first, second = {**first, **outer[0]}, {**second, **outer[1]}
        if old.mesh == new.mesh:
            first, second = {**first, **listeners.canonical(old)}, {**second, **listeners.canonical(new)}
    before, after = Rules.both(old, new)
    told = _Told(before), _Told(after)
    for subject in sorted({*first, *second}):
        one, other = (
            listeners.apart(subject, first, second) if subject.startswith(listeners.WHAT) else (first.get(subject), second.get(subject))
        )
        if one == other and not (subject.startswith(ORDERED) and reordered(before, after, subject)):
            yield Compared(subject, classes=1)
        elif subject.startswith(listeners.INGRESS) and before.at(subject).keys() == after.at(subject).keys():
            yield at_gateway(before, after, subject)
        elif subject.startswith(ROUTES):
            yield of_routes(before, after, subject)
        else:
            yield _settings(subject, one or {}, other or {}, *told)


# -- routes

ROUTES = ("routes of Service ", "routes of host ")
ORDERED = (*ROUTES, listeners.INGRESS)
_Listed = list[tuple[ServiceRoutes, int | None]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What one side says of each subject's requests."""

    ir: IR
    by_subject: Mapping[str, _Listed]
    outside: Mapping[str, Mapping[str, _Listed]] = field(default_factory=dict)  # those at Gateways, by subject and place

    @staticmethod
    def of(ir: IR) -> Rules:
        return Rules(ir, routing.by_subject(ir))

    @staticmethod
    def both(old: IR, new: IR) -> tuple[Rules, Rules]:
        """Both sides, with what comes in through Gateways."""
        apart = ingress.by_port(old) | ingress.by_port(new)
        return Rules._at_gateways(old, apart), Rules._at_gateways(new, apart)

    @staticmethod
    def _at_gateways(ir: IR, apart: frozenset[Ref]) -> Rules:
        outside: dict[str, dict[str, _Listed]] = {}
        for subject, place, routes in ingress.places(ir, apart):
            outside.setdefault(subject, {}).setdefault(place, []).append((routes, None))
        return Rules(ir, routing.by_subject(ir), outside)

    def at(self, subject: str) -> Mapping[str, _Listed]:
        """The rules of a subject by places that share no request: of a Gateway these are its hosts, else there is one."""
        if subject.startswith(listeners.INGRESS):
            return self.outside.get(subject, {})
        return {"": self.by_subject.get(subject, [])}

    def ways(self, subject: str, place: str = "") -> Iterator[tuple[RouteMatch, dict[str, Any], RouteRule, ServiceRoutes]]:
        """What a rule takes, what becomes of it, the rule, and whose it is, in the order in which they are asked."""
        for routes, port in self.at(subject).get(place, ()):
            for match, outcome, rule in routing.ways(self.ir.world, routes, port, routing.speaks(routes, self.ir)):
                yield match, outcome, rule, routes


class Formal:
    """Which differences of rules between two sides are of form alone: no request tells them."""

    def __init__(self, old: IR, new: IR) -> None:
        self._sides = Rules.both(old, new)
        self._known: dict[str, Compared] = {}

    def __call__(self, subject: str, aspect: str) -> bool:
        if not subject.startswith(ORDERED):
            return False
        one, other = self._sides
        if subject.startswith(listeners.INGRESS) and one.at(subject).keys() != other.at(subject).keys():
            return False
        if subject not in self._known:
            self._known[subject] = _compared(one, other, subject)
        found = self._known[subject]
        return found.alike or (aspect in _TREATED and not found.undecided and all(aspect not in item.aspects for item in found.differences))


def changed(old: IR, new: IR, first: Canonical, second: Canonical) -> list[Change]:
    """What differs between two sides, `first` and `second` as canonical data: in the order of the subjects."""
    found = changes(first, second)
    alike = [subject for subject in first if subject.startswith(ORDERED) and first[subject] == second.get(subject)]
    if not alike:
        return found
    rules = Rules.both(old, new)
    return sorted([*found, *(change for subject in alike for change in _by_order(*rules, subject))], key=lambda change: change.subject)


def _by_order(old: Rules, new: Rules, subject: str) -> Iterator[Change]:
    """Requests that tell rules apart which read the same on both sides and stand in another order."""
    for item in _compared(old, new, subject).differences if reordered(old, new, subject) else ():
        shown = format_path((f"{item.request['method']} {item.request['path']}",))
        yield from (Change("changed", subject, f"{aspect}{shown}", item.before, item.after, aspect) for aspect in item.aspects)


def reordered(old: Rules, new: Rules, subject: str) -> bool:
    """Whether rules for the same port, or of the same host at a Gateway, stand in another order."""
    for place in old.at(subject).keys() & new.at(subject).keys():
        one, other = ([routing.in_words(match) for match, *_ in side.ways(subject, place)] for side in (old, new))
        if one != other and len(one) > 1 and len(other) > 1:
            return True
    return False


def _compared(old: Rules, new: Rules, subject: str) -> Compared:
    return at_gateway(old, new, subject) if subject.startswith(listeners.INGRESS) else of_routes(old, new, subject)


def at_gateway(old: Rules, new: Rules, subject: str) -> Compared:
    """The rules at a Gateway of which both sides have the same hosts, compared host by host."""
    found = Compared(subject)
    for place in old.at(subject):
        one = of_routes(old, new, subject, place)
        found.classes += one.classes
        found.differences += one.differences
        found.undecided += one.undecided
    return found


def of_routes(old: Rules, new: Rules, subject: str, at: str = "") -> Compared:
    """The rules for one port of a Service, or for one host at a Gateway (`at`), compared."""
    found = Compared(subject)
    try:
        one, other = ways(old, subject, at), ways(new, subject, at)
        found.classes = len(one) + len(other)
        if len(one) * len(other) > MOST_PAIRS:
            found.undecided.append(f"{subject}: {len(one)} rules against {len(other)} are more than are compared")
            return found
        steps = iter(range(MOST_STEPS))
        mine_at, its_at = ({way.piece: place for place, way in reversed([*enumerate(side)])} for side in (one, other))
        for place, mine in enumerate(one):
            for position, its in enumerate(other):
                if its_at.get(mine.piece, position) < position or mine_at.get(its.piece, place) < place:
                    continue  # the same requests are another rule's there already
                if not _same(mine.outcome, its.outcome):
                    left = _meeting(mine.piece, its.piece, [way.piece for way in (*one[:place], *other[:position])], steps)
                    if left is not None:
                        found.differences.append(_treated(subject, left, mine, its, _world(old.ir, new.ir), at))
    except (Unsayable, LanguageTooLarge, ValueError) as error:
        found.undecided.append(f"{subject}: {error}")
    return found


def _meeting(one: Piece, other: Piece, earlier: list[Piece], steps: Iterator[int]) -> Piece | None:
    """Requests of both that no earlier rule takes; None where there are none. Raises Unsayable where the steps are used up first."""
    both = one.meet(other)
    if len({text for name, text, wanted in both.literals if wanted and name == "sourceNamespace"}) > 1:
        return None  # nobody calls from two namespaces
    if both.path is not None:
        both = replace(both, path=both.path & ROOTED)  # `*` of OPTIONS apart, every path has its slash
    if both.empty:
        return None
    taken: list[Piece] = []
    for piece in dict.fromkeys(earlier):
        if not piece.meet(both).empty:
            if not both.minus(piece):
                return None
            taken.append(piece)
    stack = [(both, 0)]
    while stack:  # one request is enough: what is left of a part is followed to its end before the next part
        part, number = stack.pop()
        if number == len(taken):
            if _sendable(part):
                return part
            continue
        if next(steps, None) is None:
            raise Unsayable("the rules overlap in more ways than are followed")
        stack.extend((rest, number + 1) for rest in reversed(part.minus(taken[number])))
    return None


def _sendable(part: Piece) -> bool:
    """Whether a client can send one of the requests: paths have their slash, and values no control characters."""
    values = [value.of(value.inside, value.outside).inside for demands in (part.headers, part.query) for _, value in demands.by_name]
    return (part.path is None or bool(part.path.witness(ROOTED))) and not any(one is not None and (one & TEXT).is_empty() for one in values)


def _world(old: IR, new: IR) -> World:
    return old.world if old.world.services else new.world


def ways(side: Rules, subject: str, at: str = "") -> list[Way]:
    """The rules that a subject's requests meet, in the order in which they are asked; the last is what becomes of the rest."""
    out: list[Way] = []
    for match, outcome, rule, routes in side.ways(subject, at):
        if at:  # what is retried at an edge unasked is nobody's rule
            outcome = {aspect: value for aspect, value in outcome.items() if aspect != "retries"}
        out.append(Way(of_match(match), _plain(outcome, not at and unasked(rule.retry)), rule.src | gather(rule, match) or routes.src))
        if out[-1].piece.any_request:
            return out
    return [*out, Way(Piece(), {"rules": "404"} if side.at(subject).get(at) else _untouched(side.ir, subject))]


def unasked(retry: Retry | None) -> bool:
    """Whether nobody asks for retries, so that the mesh does what it does by itself."""
    return retry is None or retry.default or (retry.attempts is None and not retry.conditions)


def _plain(outcome: Mapping[str, Any], unasked: bool) -> dict[str, Any]:
    """The outcome without what is empty; `unasked` retries are the mesh's own, whatever it is."""
    found = {aspect: value for aspect, value in outcome.items() if value}
    if unasked:
        found["unasked"] = found.pop("retries", {})
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether requests are treated alike. What each mesh retries unasked is no difference between meshes; against retries that are asked for, it counts."""
    if "unasked" in one and "unasked" in other:
        one, other = ({key: value for key, value in side.items() if key != "unasked"} for side in (one, other))
        return one == other
    return _shown(one) == _shown(other)


def _shown(outcome: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(outcome)
    retries = found.pop("unasked", None)
    return {**found, "retries": retries} if retries else found


def _untouched(ir: IR, subject: str) -> dict[str, Any]:
    """What becomes of a request to a Service of which nobody says anything."""
    out: dict[str, Any] = {"rules": "routes"}
    bare = False
    found = _SUBJECT.match(subject)
    if found is not None:
        ref = Ref(found["namespace"], found["name"])
        bare = ref in ir.unproxied
        host = Fact(f"{ref.name}.{ref.namespace}.svc.cluster.local")
        port = int(found["port"]) if found["port"] else None
        out["backends"] = routing.shares(ir.world, (Backend(Fact(ref), host),), port)
    elif (named := _HOST.match(subject)) is not None and named["client"]:
        out["backends"] = routing.shares(ir.world, (Backend(None, Fact(named["host"])),), None)
    out["unasked"] = {"attempts": ISTIO_RETRIES, "on": ", ".join(sorted(ISTIO_CONDITIONS))} if ir.mesh == "istio" and not bare else {}
    return out


def of_match(match: RouteMatch) -> Piece:
    """The requests that a match takes. Raises Unsayable for an expression that cannot be understood."""
    path = language_of(match.path.value) if match.path is not None else None
    methods = Methods()
    if match.method is not None:
        language = language_of(match.method.value)
        text = match.method.value.text
        methods = (
            Methods(frozenset((text,)), False)
            if match.method.value.kind == "exact"
            else Methods(frozenset(name for name in Methods().listed() if language.accepts(name)), False)
        )
    headers, host, literals = _values(match.headers), None, set[tuple[str, str, bool]]()
    for name, fact in match.others:
        if name == "withoutHeaders" and isinstance(fact.value, Mapping) and all(isinstance(one, Mapping) for one in fact.value.values()):
            for header, demand in fact.value.items():
                headers = headers.meet(Values().put(str(header).lower(), Value(None, _language(demand))))
        elif name == "authority" and isinstance(fact.value, Mapping):
            host = _language(fact.value)
        elif name != "gateways":
            literals.add((name, str(fact.value), True))
    return Piece(methods=methods, path=path, host=host, headers=headers, query=_values(match.query), literals=frozenset(literals))


def _language(demand: Mapping[str, Any]) -> Language:
    """The texts that a StringMatch of Istio takes; empty, or the expression `*`, it takes any."""
    found = Language.any()
    for kind in ("exact", "prefix", "regex"):
        if kind in demand and (kind, demand[kind]) != ("regex", "*"):
            found = found & language_of(Pattern(kind, str(demand[kind])))
    return found


def _values(pairs: Any) -> Values:
    found = Values()
    for name, fact in pairs:
        found = found.meet(Values().put(name.lower(), Value(union((fact.value,)))))
    return found


def _treated(subject: str, piece: Piece, mine: Way, its: Way, world: World, at: str = "") -> Treated:
    one, other = _shown(mine.outcome), _shown(its.outcome)
    told = [aspect for aspect in _ORDER if one.get(aspect) != other.get(aspect)]
    place = listeners.request(subject, {"rules": ({f"{at}: ": ""}, None)}) if at else _place(subject, world)
    request = {**place, **http_members(piece)}
    if not at:
        _from(request["source"], piece, world)
    return Treated(subject, request, spoken(one, told), spoken(other, told), (mine.src, its.src), tuple(told))


def _from(source: dict[str, Any], piece: Piece, world: World) -> None:
    """The caller with what the piece asks of its namespace."""
    asked = {text: wanted for name, text, wanted in piece.literals if name == "sourceNamespace"}
    home = next((text for text, wanted in asked.items() if wanted), None)
    if home is None and asked.get(source.get("namespace", "")) is False:
        home = next((name for name in (*sorted(world.namespaces), "elsewhere") if name not in asked), None)
    if home is not None:
        source["namespace"] = home


_TREATED = ("backends", "filters", "timeout", "retries")
_ORDER = ("rules", *_TREATED)


def spoken(outcome: Mapping[str, Any], aspects: Iterable[str] | None = None) -> str:
    """What becomes of a request, in words."""
    parts = []
    for aspect in [name for name in _ORDER if outcome.get(name)] if aspects is None else aspects:
        value = outcome.get(aspect)
        if aspect == "rules":
            parts.append({"404": "answered 404: no rule takes it", "answers itself": "answered by the proxy"}.get(str(value), "sent on"))
        elif aspect == "backends":
            shares = value or {}
            parts.append(
                "to " + ", ".join(f"{name} ({share})" if len(shares) > 1 else name for name, share in shares.items())
                if shares
                else "to nobody"
            )
        else:
            parts.append(f"{aspect} {_flat(value)}" if value else f"no {aspect}")
    return "; ".join(parts)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flat(item)}".strip() for name, item in value.items())
    return str(value)


# -- everything else that is said of a Service, or of what may leave


class _Told:
    """What one side says of its Services beside rules, and which rules send requests there. It is asked of every Service, and so is looked up."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.ir = rules.ir

    @cached_property
    def _senders(self) -> dict[str, list[str]]:
        """The subjects whose rules send to pods, by the words that pods are called by."""
        found: dict[str, dict[str, None]] = {}
        for name in sorted(self._rules.by_subject):
            for _, outcome, _, _ in self._rules.ways(name):
                for to in outcome.get("backends", ()):
                    words = to.partition(":")[0].split(",")
                    for most in range(len(words)):
                        found.setdefault(",".join(words[: most + 1]), {})[name] = None
        return {pods: [*names] for pods, names in found.items()}

    @cached_property
    def _policies(self) -> dict[str, Src]:
        from meshport.ir.resilience import breaker_subjects, policy_subjects

        found: dict[str, Src] = {}
        for policy in self.ir.service_policies:
            for subject in (*breaker_subjects(policy), *policy_subjects(policy)):
                found[subject] = found.get(subject, NOWHERE) | policy.src
        return found

    def leaves(self, subject: str) -> Src:
        """The leaves of what is said about a subject."""
        said = self._policies.get(subject, NOWHERE)
        return said | (connections.leaves(self.ir, subject) if subject.startswith("connections of ") else NOWHERE)

    def reaching(self, subject: str) -> dict[str, Any] | None:
        """A request that a rule sends to the pods of a Service which something is said of; None where no rule speaks of them."""
        found = _SUBJECT.match(subject)
        if found is None or found["what"] not in ("breaker", "policy"):
            return None
        ref = Ref(found["namespace"], found["name"])
        world = self.ir.world
        own = next(iter(routing.shares(world, (Backend(Fact(ref), Fact(f"{ref.name}.{ref.namespace}.svc")),), None)))
        steps = iter(range(MOST_STEPS))
        try:
            for name in sorted(self._senders.get(own, ()), key=lambda name: f" {ref}" not in name):
                earlier: list[Piece] = []
                for way in ways(self._rules, name):
                    sent = any(f"{to.partition(':')[0]},".startswith(f"{own},") for to in way.outcome.get("backends", ()))
                    left = _meeting(way.piece, Piece(), earlier, steps) if sent else None
                    if left is not None:
                        request = {**_place(name, world), **http_members(left)}
                        _from(request["source"], left, world)
                        return request
                    earlier.append(way.piece)
        except (Unsayable, LanguageTooLarge, ValueError):
            return None
        return None


def _settings(subject: str, one: Mapping[str, Any], other: Mapping[str, Any], old: _Told, new: _Told) -> Compared:
    told = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    what = subject.partition(" of ")[0]
    before, after = (
        _flat(side) if side else f"no {what} said" for side in ({key: side[key] for key in told if key in side} for side in (one, other))
    )
    if subject.startswith((listeners.WHAT, listeners.INGRESS)):
        pairs = {key: (one.get(key), other.get(key)) for key in told}
        request = listeners.request(subject, pairs)
        change = listeners.checked(pairs) if subject.startswith(listeners.WHAT) else "routed"
        return Compared(subject, 1, [Treated(subject, request, before, after, (old.leaves(subject), new.leaves(subject)), (), change)])
    request = old.reaching(subject) or new.reaching(subject) or _place(subject, _world(old.ir, new.ir))
    return Compared(subject, 1, [Treated(subject, request, before, after, (old.leaves(subject), new.leaves(subject)))])


def _place(subject: str, world: World) -> dict[str, Any]:
    """The destination of a subject as a request has it, with a client of the mesh."""
    protocol = "tcp" if subject.startswith("connections of ") else "http"
    found = _SUBJECT.match(subject)
    if found is None:
        named = _HOST.match(subject)
        host = named["host"] if named is not None else subject
        port = int(named["port"]) if named is not None and named["port"] else None
        return {"source": {"meshed": True}, "destination": {"service": host, "port": port}, "protocol": protocol, "host": host}
    namespace, name = found["namespace"], found["name"]
    source: dict[str, Any] = {"namespace": found["client"] or namespace, "meshed": True}
    if found["what"] == "egress":
        return {"source": {"namespace": namespace, "workload": name, "meshed": True}, "destination": {}, "protocol": "tcp"}
    known = world.services.get(Ref(namespace, name))
    port = int(found["port"]) if found["port"] else known.ports[0].number if known is not None and known.ports else None
    return {"source": source, "destination": {"namespace": namespace, "service": name, "port": port}, "protocol": protocol}
