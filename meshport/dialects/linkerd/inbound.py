"""Inbound policy read: default policies, Servers and everything that opens them (Linkerd reference 1.4–1.8, 2.1–2.5).

A Server closes one port of the pods that it selects. Its admissions are the AuthorizationPolicies on it, on its namespace and on its routes, the
ServerAuthorizations that name it, and its `accessPolicy`. Where routes hang on it, Linkerd picks the best one for a request and reads that route's
policies beside the Server's: a rule of the IR takes the better routes out again with `unless`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from meshport.dialects import installation
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.linkerd.clients import Clients
from meshport.dialects.linkerd.labels import matches_nothing, spoken
from meshport.effective.access import admission_conditions
from meshport.effective.pieces import Unsayable, language_of
from meshport.ir.authorization import HEADER, HOST, METHOD, PATH, QUERY, Admission, Condition, Pattern, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.mapping.bound import Bound
from meshport.values.language import LanguageTooLarge
from meshport.values.paths import from_raw
from meshport.values.search import finds_whole

DEFAULT_POLICY = "config.linkerd.io/default-inbound-policy"
PROTOCOLS = {"unknown": "", "HTTP/1": "http", "HTTP/2": "http2", "gRPC": "grpc", "opaque": "tcp", "TLS": "tls"}
ROUTE_KINDS = (("policy.linkerd.io", "HTTPRoute"), ("gateway.networking.k8s.io", "HTTPRoute"), ("gateway.networking.k8s.io", "GRPCRoute"))
_SUPPORTED_FILTERS = {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"}


def admissions(bound: Bound, ir: IR) -> None:
    """The default policies that the installation and annotations state."""
    found = installation.settings(bound, ir.world, "linkerd-control-plane", {"proxy.defaultInboundPolicy": "inbound.default-policy"})
    whole = installation.setting(found, "proxy.defaultInboundPolicy")
    if whole is not None:
        ir.admissions.append(Admission(PodSet(""), "mesh", whole.map(str), found[-1].document))  # no other type is a policy either
    unknown = dict(installation.unknown_annotations(bound, DEFAULT_POLICY))
    for namespace in ir.world.namespaces.values():
        said = unknown.get(namespace.name) or Cursor.root(bound, namespace.document).at("metadata", "annotations").text(DEFAULT_POLICY)
        if said is not None:
            ir.admissions.append(Admission(PodSet(namespace.name), "namespace", said, namespace.document))
    for workload in ir.world.workloads:
        said = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations").text(DEFAULT_POLICY)
        if said is not None:
            subject = workload.pods
            ir.admissions.append(Admission(subject, "workload", said, workload.document))


_SPECIAL = frozenset(r"\.^$*+?()[]{}|")  # characters that a regular expression does not take as they are


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of one route."""

    route: tuple[str, Ref]
    name: str
    order: tuple[object, ...]
    conditions: tuple[Condition, ...]
    host: int
    path: tuple[int, int]  # 0 for a prefix and its length, 1 for the whole path
    headers: int
    queries: int
    method: int
    src: Src
    hung: Src  # what hangs the route on its Server

    @property
    def exact_path(self) -> str | None:
        """The one path that it takes, where that is what it asks for."""
        found = [condition.any_of for condition in self.conditions if condition.attribute == PATH]
        if len(found) != 1 or found[0] is None or len(found[0]) != 1:
            return None
        return found[0][0].value.text if found[0][0].value.kind == "exact" else None

    @property
    def whole(self) -> bool:
        """Whether it takes a path as a whole, so that the path's length is its rank; a prefix has its own length."""
        return self.path[0] == 1

    def before(self, other: Entry) -> tuple[Condition, ...] | None:
        """What this match asks for where it is taken before the other: all that it asks for, or a part; None where it never is (Linkerd reference 2.5).

        Of the path its length counts alone, so that a prefix ranks as the path that is just it does, by whatever match (linkerd2-proxy,
        linkerd/http/route/src/http/match/path.rs).
        """
        mine, its = ((one.headers, one.queries, one.method) for one in (self, other))
        first = mine > its or (mine == its and self.order < other.order)  # where host and path do not tell
        if self.host != other.host:
            return self.conditions if self.host > other.host else None
        if self.whole == other.whole:
            longer = 0 if self.whole else self.path[1] - other.path[1]
            return self.conditions if longer > 0 or (longer == 0 and first) else None
        level = (other if self.whole else self).itself
        if level is None or not (self if self.whole else other).takes(level.value.text):
            return self.conditions if self.whole else None
        if self.whole and (first or self.exact_path is None):
            return self.conditions if first else (*self.conditions, Condition(PATH, None, (level,)))
        rest = tuple(condition for condition in self.conditions if condition.attribute != PATH)
        return (*rest, Condition(PATH, (level,))) if first and not self.whole else None

    @property
    def itself(self) -> Fact[Pattern] | None:
        """The path that a prefix is itself; None where no path is that."""
        asked = next((condition.any_of for condition in self.conditions if condition.attribute == PATH), None)
        if asked is None:
            return Fact(Pattern("exact", "/"), self.src) if self.path == (0, 1) else None
        fact = asked[0]
        return fact.holding(Pattern("exact", fact.value.text.rstrip("/"))) if fact.value.kind == "segments" else None

    def takes(self, path: str) -> bool:
        """Whether a path is among those that it asks for, as far as can be told: True where it cannot."""
        asked = next((condition.any_of for condition in self.conditions if condition.attribute == PATH), None) or ()
        return any(_overlap(fact.value, Pattern("exact", path)) for fact in asked)


def servers(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Each Server with what opens it, as a policy of the IR."""
    clients = Clients(bound, by_kind, options, ir)
    routes = _routes(bound, by_kind, options, ir, clients)
    for number in by_kind.get(("policy.linkerd.io", "Server"), []):
        root = Cursor.root(bound, number)
        spec = root.at("spec")
        namespace = root.document.namespace or options.default_namespace
        if not spec.at("podSelector"):
            ir.losses.append(Loss("MP221", tuple(fact for _, fact in spec.leaves()), number))
            continue
        if unmet := matches_nothing(spec.at("podSelector")):
            ir.losses.append(Loss("MP248", tuple(fact for _, fact in spec.leaves()), number, {"expressions": spoken(unmet)}))
            continue
        selector = spec.selector("podSelector")
        port: Fact[int | str] | None = spec.at("port").fact(_port)
        if port is None:
            continue
        ref = root.ref()
        protocol = spec.text("proxyProtocol")
        kind = PROTOCOLS.get(protocol.value, "") if protocol is not None else ""
        entries = [] if kind in ("tcp", "tls") else routes.get((Ref(namespace, ref.value.name), kind == "grpc"), [])
        if kind == "grpc" and protocol is not None:  # which says that these routes are read, and no other
            entries = [replace(entry, src=entry.src | protocol.src) for entry in entries]
        rules = list(_rules(clients, Ref(namespace, ref.value.name), entries))
        access = spec.text("accessPolicy")
        if access is not None and access.value != "deny":
            rules.extend(_default_rules(access, entries, options))
        ir.policies.append(
            Policy(
                ref,
                Fact("allow", root.at("kind").src, "server.access-policy"),
                Fact(PodSet(namespace, selector.value), selector.src | root.at("metadata", "namespace").src, selector.feature),
                tuple(rules),
                number,
                "Server",
                port,
                Fact(kind, protocol.src if protocol is not None else NOWHERE, "server.protocol"),
                bool(entries),
                frozenset(leaf for entry in entries for leaf in entry.hung),
                access,
                created=root.created(),
            )
        )


def _port(value: object) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise ValueError


def _default_rules(access: Fact[str], entries: list[Entry], options: Options) -> Iterable[Rule]:
    conditions = admission_conditions(access.value, options.cluster_networks, access.src)
    yield from _everywhere(Rule(conditions, (), 0, "accessPolicy", access.src), entries)


def _everywhere(rule: Rule, entries: list[Entry]) -> Iterable[Rule]:
    """A Server-level rule: every request where no routes hang on the Server or one takes everything, else what the routes take."""
    if not entries or any(not entry.conditions for entry in entries):
        src = sources(rule.src, *(entry.src for entry in entries if not entry.conditions))
        yield Rule(rule.conditions, (), rule.number, rule.name, src, rule.granted_by, rule.document)
        return
    for entry in entries:
        yield Rule(rule.conditions + entry.conditions, (), rule.number, rule.name, rule.src | entry.src, rule.granted_by, rule.document)


def _rules(clients: Clients, server: Ref, entries: list[Entry]) -> Iterable[Rule]:
    for rule in clients.of_server(server):
        yield from _everywhere(rule, entries)
    by_route = {entry.route: clients.of_route(*entry.route) for entry in entries}
    granted = {route: {(rule.conditions, rule.granted_by) for rule in rules} for route, rules in by_route.items()}
    peers = {route: {rule.conditions for rule in rules} for route, rules in by_route.items()}
    by_path: dict[str | None, list[Entry]] = {}
    for entry in entries:
        by_path.setdefault(entry.exact_path, []).append(entry)
    matters = {  # where a better match can take a request from somebody: it is granted to others
        route: {other for other in granted if granted[other] != granted[route] and not peers[route] <= peers[other]} for route in granted
    }
    order = {id(entry): number for number, entry in enumerate(entries)}
    for entry in entries:
        exact, others = entry.exact_path, matters[entry.route]
        near = [] if not others else entries if exact is None else [*by_path[exact], *by_path.get(None, ())]
        apart = [other for other in near if other.route in others and _touch(entry, other)]
        touching = [(other, part) for other in apart if (part := other.before(entry)) is not None]
        touching.sort(key=lambda pair: order[id(pair[0])])
        for rule in by_route[entry.route]:
            better = [(other, part) for other, part in touching if rule.conditions not in peers[other.route]]
            src = sources(rule.src, entry.src, *(other.src for other, _ in better))
            unless = tuple(part for _, part in better)
            yield Rule(rule.conditions + entry.conditions, unless, rule.number, rule.name, src, rule.granted_by, rule.document, http=True)


def _touch(one: Entry, other: Entry) -> bool:
    """Whether a request can be taken by both, as far as is quickly told: True where it is not."""
    its = {condition.attribute: condition for condition in other.conditions}
    for condition in one.conditions:
        met = its.get(condition.attribute)
        if met is not None and not _meets(condition, met):
            return False
    return True


def _meets(one: Condition, other: Condition) -> bool:
    mine = frozenset(fact.value for fact in one.any_of or ())
    its = frozenset(fact.value for fact in other.any_of or ())
    if all(pattern.kind == "exact" for pattern in mine | its):
        return bool(mine & its)
    return any(_overlap(left, right) for left in mine for right in its)


@lru_cache(maxsize=65536)
def _overlap(one: Pattern, other: Pattern) -> bool:
    try:
        return language_of(one).overlaps(language_of(other))
    except (Unsayable, LanguageTooLarge):
        return True


# -- routes


def _routes(
    bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR, clients: Clients
) -> dict[tuple[Ref, bool], list[Entry]]:
    """The matches of the routes on each Server; those of GRPCRoutes under (server, True)."""
    found: dict[tuple[Ref, bool], list[Entry]] = {}
    for group, kind in ROUTE_KINDS:
        for number in by_kind.get((group, kind), []):
            root = Cursor.root(bound, number)
            namespace = root.document.namespace or options.default_namespace
            for parent in root.each("spec", "parentRefs"):
                said = parent.at("group")
                if (
                    parent.at("kind").value != "Server" or (said.value if said else group) != "policy.linkerd.io"
                ):  # each API's own by default
                    continue
                if parent.at("port") or parent.at("sectionName") or (parent.at("namespace") and parent.at("namespace").value != namespace):
                    ir.losses.append(Loss("MP222", (Fact(None, parent.src, "routing.parent"),), number))
                    continue
                name = parent.text("name")
                if name is None:
                    continue
                if clients.missing(parent, "Server", Ref(namespace, name.value), alone=len(root.each("spec", "parentRefs")) == 1):
                    continue
                entries = _entries(root, group, kind, namespace, parent.src, ir)
                found.setdefault((Ref(namespace, name.value), kind == "GRPCRoute"), []).extend(entries)
    return found


def _entries(root: Cursor, group: str, kind: str, namespace: str, parent: Src, ir: IR) -> list[Entry]:
    document = root.document
    base = root.ref().src | parent
    hung = parent | root.at("kind").src | root.at("metadata", "namespace").src
    hosts = root.strings("spec", "hostnames")
    created = root.created()
    out: list[Entry] = []
    for position, rule in enumerate(root.each("spec", "rules")):
        bad = [item for item in rule.each("filters") if item.at("type").value not in _SUPPORTED_FILTERS]
        if bad:
            ir.losses.append(Loss("MP223", tuple(Fact(None, item.src, "routing.filter") for item in bad), root.number))
            return []
        own = rule.src if not rule.items() else NOWHERE
        matches: list[Cursor | None] = [*rule.each("matches")] or [None]
        wanted: list[Fact[str] | None] = [*hosts] or [None]
        for entry, match in enumerate(matches):
            alike = _alike(match) if match is not None else NOWHERE
            if alike:
                ir.idle.append(Fact("the text takes itself alone, as an expression too", alike))
            for host in wanted:
                order = (created, document.name, position, entry)
                out.append(_entry(group, kind, namespace, document.name, match, host, order, base | own, hung, alike))
    return out


def _alike(match: Cursor) -> Src:
    """Which of its types decide nothing: those of values that are taken alike as texts and as expressions."""
    items = (item for key in ("headers", "queryParams") for item in match.each(key))
    return sources(*(item.at("type").src for item in items if _SPECIAL.isdisjoint(str(item.at("value").value))))


def _entry(
    group: str,
    kind: str,
    namespace: str,
    name: str,
    match: Cursor | None,
    host: Fact[str] | None,
    order: tuple[object, ...],
    base: Src,
    hung: Src,
    alike: Src,
) -> Entry:
    conditions: list[Condition] = []
    path: tuple[int, int] = (0, 1)
    headers = queries = method = 0
    src = base
    if kind == "GRPCRoute":
        path = (0, 0)
        conditions.append(Condition(METHOD, (Fact(Pattern("exact", "POST"), (match.src if match is not None else NOWHERE) or base),)))
    if match is not None:
        src |= match.src - alike
        if kind == "GRPCRoute":
            path = _grpc(match, conditions, path)
        else:
            path = _path(match, conditions, path)
            said = match.text("method")
            if said is not None:
                method = 1
                conditions.append(Condition(METHOD, (said.map(lambda text: Pattern("exact", text)),)))
        for key, prefix in (("headers", HEADER), ("queryParams", QUERY)):
            for item in match.each(key):
                field = item.text("name")
                value = item.text("value")
                if field is None or value is None:
                    continue
                form = "rust-regex" if item.at("type").value == "RegularExpression" else "exact"
                label = field.value.lower() if prefix == HEADER else field.value
                conditions.append(Condition(prefix + label, (Fact(Pattern(form, value.value), item.src - alike, value.feature),)))
                headers, queries = headers + (prefix == HEADER), queries + (prefix == QUERY)
    rank = 0
    if host is not None:
        src |= host.src
        rank = len(host.value) + (1000 if not host.value.startswith("*") else 0)
        suffix = host.value[1:] if host.value.startswith("*.") else ""
        bare = Pattern("suffix", suffix) if suffix else Pattern("exact", host.value)
        with_port = Pattern("regex", r"(?s:.*)" + _escaped(suffix) + r":[0-9]+") if suffix else Pattern("prefix", host.value + ":")
        conditions.append(Condition(HOST, (Fact(bare, host.src, host.feature), Fact(with_port, host.src, host.feature))))
    return Entry((f"{group}/{kind}", Ref(namespace, name)), name, order, tuple(conditions), rank, path, headers, queries, method, src, hung)


def _escaped(text: str) -> str:
    return "".join("\\" + char if not char.isalnum() else char for char in text)


def _path(match: Cursor, conditions: list[Condition], path: tuple[int, int]) -> tuple[int, int]:
    place = match.at("path")
    if not place:
        return path
    form = place.at("type").value if place.at("type") else "PathPrefix"
    value = place.text("value")
    text = value.value if value is not None else "/"
    src = place.src
    feature = value.feature if value is not None else "authorization.operation.paths"
    if form == "Exact":
        conditions.append(Condition(PATH, (Fact(Pattern("exact", text), src, feature),)))
        return (1, len(text))
    if form == "RegularExpression":
        conditions.append(Condition(PATH, tuple(Fact(pattern, src, feature) for pattern in raw_patterns(text))))
        return (1, 0)
    stripped = text.rstrip("/")
    if stripped:
        conditions.append(Condition(PATH, (Fact(Pattern("segments", text), src, feature),)))
    return (0, max(len(stripped), 1))


_SIMPLE = {"exact", "prefix", "suffix", "template", "any"}


@lru_cache(maxsize=4096)
def raw_patterns(regex: str) -> tuple[Pattern, ...]:
    """A path regex of Linkerd, as alternatives; where it is simple patterns less dot segments (as meshport writes them), those."""
    try:
        simple = from_raw(regex) if finds_whole(regex) else None
        forms = simple.as_patterns() if simple is not None else None
    except (ValueError, LanguageTooLarge):
        forms = None
    if forms and all(kind in _SIMPLE for kind, _ in forms):
        return tuple(Pattern(kind, text) for kind, text in forms)
    return (Pattern("rust-regex", regex),)


def _grpc(match: Cursor, conditions: list[Condition], path: tuple[int, int]) -> tuple[int, int]:
    """The path of a gRPC method, and its rank: the proxy compares the length of the service before that of the method, and takes POST alone
    (linkerd2-proxy, linkerd/http/route/src/grpc)."""
    place = match.at("method")
    if not place:
        return path
    service, method = place.text("service"), place.text("method")
    if service is not None and method is not None:
        conditions.append(Condition(PATH, (Fact(Pattern("exact", f"/{service.value}/{method.value}"), place.src, service.feature),)))
        return (1, len(service.value) + len(method.value) + 2)
    if service is not None:
        conditions.append(Condition(PATH, (Fact(Pattern("prefix", f"/{service.value}/"), place.src, service.feature),)))
        return (0, len(service.value) + 1)
    if method is not None:
        conditions.append(Condition(PATH, (Fact(Pattern("template", f"/{{*}}/{method.value}"), place.src, method.feature),)))
        return (0, 1)
    return path
