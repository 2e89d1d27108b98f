"""Reading HTTPRoutes, GRPCRoutes and Gateways, as each mesh reads them.

A parent that is a Service makes a route of the mesh, a Gateway one of the ingress. Which match wins is each mesh's own affair: see
`ranking`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import attachment, backends, listeners
from meshport.dialects.gateway_api.annotations import annotations_of, asked, idle_notes, linkerd_retry, readable, timeouts_of, unreadable
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.dialects.gateway_api.forwarding import _since, _unadmitted, admitted, changing_nothing, filters_of
from meshport.dialects.gateway_api.patterns import quote, spans
from meshport.dialects.gateway_api.unread import for_consumers, too_early
from meshport.ir.authorization import Pattern
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.resilience import CONNECTION_ERRORS, ISTIO_CONDITIONS, Retry
from meshport.ir.routing import Filter, RouteMatch, RouteRule, ServiceRoutes, gather

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound

GROUP = "gateway.networking.k8s.io"
GROUPS = {"istio": (GROUP,), "linkerd": (GROUP, "policy.linkerd.io"), "cilium": (GROUP,), "gateway-api": (GROUP,)}
GATEWAYS = ("Gateway", "ListenerSet", "XListenerSet")
"""Kinds of parents by which requests come in from outside."""
HIDING = "a regular expression in which a shorter alternative hides a longer one"


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR, *, family: str) -> None:
    """The routes and Gateways among the documents, into `ir`; routes for one Service and port are one entry, sorted by name."""
    found: list[ServiceRoutes] = []
    sets: list[Cursor] = []
    documents = bound.bundle.documents
    for number in sorted(
        numbers, key=lambda i: (documents[i].namespace or options.default_namespace, documents[i].name, documents[i].kind)
    ):
        document = documents[number]
        kind = bound.kinds.get(number, document.kind)
        if number in bound.broken:
            continue
        root = Cursor.root(bound, number)
        if family == "istio" and _waypoint(root):
            continue
        if kind == "Gateway" and document.group in (GROUP, "networking.istio.io"):
            ir.gateways.append(listeners.gateway(root, named(root, options)))
        elif kind in GATEWAYS and document.group != "networking.istio.io":
            sets.append(root)
        elif kind in ("HTTPRoute", "GRPCRoute") and document.group in GROUPS[family]:
            found.extend(_route(root, kind, options, family))
            if document.group != GROUP and not root.each("spec", "parentRefs"):  # one of the group GROUP stays as it is
                beside = root.at("spec").src | asked(annotations_of(root))
                ir.idle.append(Fact("a route on nothing takes no request", beside, "routing.parent"))
        elif kind in ("TLSRoute", "TCPRoute") and document.group == GROUP:
            from meshport.dialects.gateway_api import connections

            ir.routes.extend(connections.lift(root, options, family))
    listeners.add_sets(sets, ir.gateways, world, options, family)
    found = _per_port(found, world)
    ir.routes.extend(_folded(_by_kind(found, ir) if family == "linkerd" else found))
    attachment.settle(ir)
    if family in ("istio", "gateway-api"):
        backends.lift(bound, numbers, options, ir, family)


def named(root: Cursor, options: Options) -> Fact[Ref]:
    """The object's name, in the default namespace where it names none."""
    fact = root.ref()
    return fact if fact.value.namespace else fact.map(lambda ref: Ref(options.default_namespace, ref.name))


def _waypoint(root: Cursor) -> bool:
    """Whether a Gateway is no way in but a proxy inside Istio's mesh, which Istio's own lift reads."""
    name = root.text("spec", "gatewayClassName")
    return root.document.kind == "Gateway" and name is not None and name.value.startswith("istio-waypoint")


def _per_port(found: list[ServiceRoutes], world: World) -> list[ServiceRoutes]:
    """The routes, those for every port as one for each port where the Service has routes for single ports, or of both kinds."""
    kinds: dict[Ref, set[tuple[bool, str]]] = {}
    found = [_answering(item, world) for item in found]
    found = [replace(item, problem="MP746") if _portless(item, world) else item for item in found]
    for item in found:
        if item.service is not None and not item.problem:
            kinds.setdefault(item.service.value, set()).add((item.port is None, item.protocol))
    out: list[ServiceRoutes] = []
    for item in found:
        known = world.services.get(item.service.value) if item.service is not None else None
        if item.service is None or item.problem or item.port is not None or known is None or len(kinds[item.service.value]) == 1:
            out.append(item)
            continue
        out.extend(
            replace(item, port=Fact(port.number, port.number_src, "routing.parent"), warnings=item.warnings if number == 0 else ())
            for number, port in enumerate(port for port in known.ports if port.protocol == "TCP")
        )
    return out


def _answering(item: ServiceRoutes, world: World) -> ServiceRoutes:
    """The routes with the answer 500 where they send to the name that no Service has and that stands for it: Linkerd has no other word for an answer."""
    ref = item.service.value if item.service is not None else None
    if ref is None or item.family != "linkerd" or ref not in world.services:
        return item
    nowhere = Ref(ref.namespace, naming.name(ref.name, "refused"))
    if nowhere in world.services:
        return item
    rules = []
    for rule in item.rules:
        if len(rule.backends) == 1 and (sent := rule.backends[0].service) is not None and sent.value == nowhere and not rule.filters:
            answer = Filter("direct-response", (("status", Fact(500, gather(rule.backends), "routing.destination")),))
            rule = replace(rule, backends=(), filters=(answer,))
        rules.append(rule)
    return replace(item, rules=tuple(rules))


def _portless(item: ServiceRoutes, world: World) -> bool:
    """Whether a route hangs on a port that its Service, which is known, does not have: nothing is sent there."""
    known = world.services.get(item.service.value) if item.service is not None and item.port is not None and not item.problem else None
    return known is not None and bool(known.ports) and item.port is not None and known.port(item.port.value) is None


def _by_kind(found: list[ServiceRoutes], ir: IR) -> list[ServiceRoutes]:
    """The routes that Linkerd uses: GRPCRoutes go before HTTPRoutes of the same port, unless the port says that it is HTTP/1."""

    def place(item: ServiceRoutes) -> Any:
        return (
            item.service.value if item.service else None,
            item.port.value if item.port else 0,
            item.consumer.value if item.consumer else "",
        )

    def wanted(item: ServiceRoutes) -> str:
        known = ir.world.services.get(item.service.value) if item.service is not None else None
        port = known.port(item.port.value) if known is not None and item.port is not None else None
        return "http" if port is not None and port.app_protocol.lower() in ("http", "kubernetes.io/http") else "grpc"

    kinds: dict[Any, set[str]] = {}
    for item in found:
        if item.service is not None and not item.problem:
            kinds.setdefault(place(item), set()).add(item.protocol)
    kept = [item for item in found if item.service is None or item.problem or len(kinds[place(item)]) == 1 or item.protocol == wanted(item)]
    left = {item.document for item in kept}
    for item in found:
        if item.document not in left and kept:
            left.add(item.document)
            number = next(number for number, other in enumerate(kept) if other.service is not None and place(other) == place(item))
            reason = "Linkerd uses the routes of the other kind on this port: GRPCRoutes go before HTTPRoutes"
            kept[number] = replace(kept[number], silenced=(*kept[number].silenced, (reason, item.src)))
            ir.deciding.append(Fact(f"{reason}; on another it would be used", gather(item.service) | gather(item.port) & item.src))
    return kept


def _folded(found: list[ServiceRoutes]) -> list[ServiceRoutes]:
    """Routes for one Service and port as one entry, as the meshes merge them."""
    out: dict[Any, ServiceRoutes] = {}
    for item in found:
        key: Any = (
            (item.service.value, item.port.value if item.port else 0, item.consumer.value if item.consumer else "", item.protocol)
            if item.service
            else item.document
        )
        if item.service is None or item.problem or key not in out:
            out[key if item.service is not None and not item.problem else ("alone", len(out))] = item
            continue
        known = out[key]
        out[key] = replace(
            known,
            rules=known.rules + item.rules,
            documents=tuple(dict.fromkeys((*known.documents, *item.documents))),
            service=known.service.also(item.service) if known.service else item.service,
            port=known.port.also(item.port) if known.port else None,
            silenced=known.silenced + item.silenced,
            warnings=known.warnings + item.warnings,
            src=known.src | item.src,
        )
    return list(out.values())


def _route(root: Cursor, kind: str, options: Options, family: str) -> list[ServiceRoutes]:
    ref = named(root, options)
    namespace = ref.value.namespace
    spec = root.at("spec")
    parents = [parent for parent in spec.each("parentRefs") if parent.text("name") is not None]
    readers = [_reader(root, parent, family) for parent in parents]
    read = {reader: rules_of(root, kind, ref, reader, options) for reader in dict.fromkeys(readers)}
    found: list[ServiceRoutes] = []
    told: set[str] = set()
    for parent, reader in zip(parents, readers, strict=True):
        rules, silenced, warnings = read[reader]
        problem = "MP315" if reader == "linkerd" and any(item.kind == "other" for rule in rules for item in rule.filters) else ""
        target = parent.text("kind")
        group = parent.text("group")
        name = parent.text("name")
        if name is None:
            continue
        place = parent.text("namespace")
        wanted = place.value if place else namespace
        service: Fact[Ref] | None = None
        gateways: tuple[Fact[str], ...] = ()
        on_entry = group is not None and group.value == "networking.istio.io" and target is not None and target.value == "ServiceEntry"
        on_entry = on_entry and family == "istio"
        host = f"{name.value}.{wanted}.svc.{options.cluster_domain}"
        src = parent.src - parent.at("port").src | (NOWHERE if place else root.at("metadata", "namespace").src)
        if (target.value if target else "Gateway") == "Service" and group is not None and group.value in ("", "core"):
            service = Fact(Ref(wanted, name.value), src, name.feature)
            problem = problem or too_early(root, kind, family) or for_consumers(family, namespace, wanted)
        elif _gateways(root, parent):
            gateways = (Fact(f"{wanted}/{name.value}", parent.src, name.feature),)
        elif target is not None and target.value in ("Server", "EgressNetwork"):
            if family == "linkerd" and in_group(root, parent, "policy.linkerd.io"):
                continue  # a route that authorises, or one out of the cluster: the lifts of those read it
            problem = "MP375"
        elif not on_entry and family != "gateway-api":  # of the API alone, some implementation may read any parent
            problem = "MP375"
        found.append(
            ServiceRoutes(
                ref,
                kind,
                service,
                Fact(host, src, name.feature),
                parent.number_at("port") if service is not None or on_entry else None,
                _for_hosts(
                    rules or (RouteRule("", (), (), src=spec.at("rules").src),),
                    spec.strings("hostnames") if service is not None and family == "linkerd" else (),
                ),
                "ranked",
                "refuse",
                root.number,
                (root.number,),
                consumer=Fact(namespace, ref.src, "routing.consumer")
                if (service is not None or on_entry) and wanted != namespace
                else None,
                gateways=gateways,
                hostnames=tuple(spec.strings("hostnames")) if gateways else (),
                sections=(section.value,) if gateways and (section := parent.text("sectionName")) is not None else (),
                listener_port=number.value if gateways and (number := parent.number_at("port")) is not None else None,
                protocol="grpc" if kind == "GRPCRoute" else "http",
                family=reader,
                problem=problem,
                silenced=(
                    *silenced,
                    *(
                        (
                            (
                                "clients in the mesh call what it is on by its own name; hostnames of the route are not looked at",
                                spec.at("hostnames").src,
                            ),
                        )
                        if (service is not None or on_entry) and family != "linkerd" and spec.at("hostnames")
                        else ()
                    ),
                ),
                warnings=tuple(warnings) if reader not in told else (),
                src=spec.src | (gather([fact for fact in annotations_of(root).values() if fact.feature]) if problem else NOWHERE),
            )
        )
        told.add(reader)
    return found


def _reader(root: Cursor, parent: Cursor, family: str) -> str:
    """Who reads the rules under a parent: Linkerd serves no Gateways, so those of its clusters are another implementation's."""
    return "gateway-api" if family == "linkerd" and _gateways(root, parent) else family


def _gateways(root: Cursor, parent: Cursor) -> bool:
    """Whether a parent is a Gateway or a set of its listeners; of Linkerd's own group there is none."""
    kind = parent.text("kind")
    return (kind.value if kind else "Gateway") in GATEWAYS and not in_group(root, parent, "policy.linkerd.io")


def rules_of(
    root: Cursor, kind: str, ref: Fact[Ref], family: str, options: Options
) -> tuple[tuple[RouteRule, ...], list[tuple[str, Src]], list[tuple[str, Fact[Any]]]]:
    """The rules of a route as one reader takes them, what of them it passes over, and what it does not use as it stands."""
    silenced: list[tuple[str, Src]] = []
    warnings: list[tuple[str, Fact[Any]]] = []
    rules = tuple(_rule(item, index, ref, kind, family, options, silenced, warnings) for index, item in enumerate(_written(root, kind)))
    if family == "linkerd":
        rules = _annotated(root, rules, silenced)
        warnings.extend(unreadable(annotations_of(root)))
    return rules, silenced, warnings


def in_group(root: Cursor, parent: Cursor, group: str) -> bool:
    """Whether what a route names as a parent is of this group, which is the route's own unless it says another (the CRD of each)."""
    said = parent.at("group").value
    return (said if isinstance(said, str) else root.document.group) == group


def _written(root: Cursor, kind: str) -> list[Cursor]:
    """The rules that stand there; where an HTTPRoute has no such field the CRD gives it one for every request, which names no backend."""
    spec = root.at("spec")
    if kind != "HTTPRoute" or spec.at("rules"):
        return spec.each("rules")
    return [Cursor(root.bound, root.number, {}, root.at("kind").shadow)]


def _for_hosts(rules: tuple[RouteRule, ...], hostnames: tuple[Fact[str], ...]) -> tuple[RouteRule, ...]:
    """The rules with the demand that the request names one of the hosts, in the words that a VirtualService has for it."""
    if not hostnames:
        return rules
    words = [("[^:]+" if fact.value.startswith("*.") else "") + quote(fact.value.removeprefix("*")) for fact in hostnames]
    wanted = Fact({"regex": f"(?i:{'|'.join(words)})(?::[0-9]+)?"}, sources(*hostnames), hostnames[0].feature)
    return tuple(
        replace(
            rule, matches=tuple(replace(match, others=(*match.others, ("authority", wanted))) for match in rule.matches or (RouteMatch(),))
        )
        for rule in rules
    )


def _rule(
    place: Cursor,
    index: int,
    ref: Fact[Ref],
    kind: str,
    family: str,
    options: Options,
    silenced: list[tuple[str, Src]],
    warnings: list[tuple[str, Fact[Any]]],
) -> RouteRule:
    name, route = place.text("name"), ref.value
    backends = place.each("backendRefs")
    answer = _nobody(place, family) or _refused(place, kind, route.namespace, family)
    if answer is not None:
        listed = frozenset().union(*(item.src for item in backends))
        silenced.append(("with no weight above zero the answer is 500, and nothing is sent to a backend", listed - gather(answer)))
        backends = []
    if backends and any(
        item.at("type").value == "RequestRedirect" for item in place.each("filters")
    ):  # the CRDs of the Gateway API refuse both
        silenced.append(
            ("the redirect is the answer, and nothing is sent to a backend", frozenset().union(*(item.src for item in backends)))
        )
        backends = []
    many = len(backends) > 1
    extras: list[tuple[str, Fact[Any]]] = []
    retry = _retry(place.at("retry"), family) if family != "linkerd" else None
    backend_timeout = place.at("timeouts").get("backendRequest", milliseconds)
    timeout, written = place.at("timeouts").get("request", milliseconds), place.at("timeouts").text("request")
    if family == "linkerd" and written is not None and place.document.group == GROUP and not readable(written):
        warnings.append(("MP409", Fact(written.value, written.src, "timeout.request")))
        timeout = None
    if family == "linkerd":
        unread = [key for key in ("retry", "sessionPersistence") if place.at(key)]
        silenced.extend((f"Linkerd does not read `{key}` of a rule", place.at(key).src) for key in unread)
        if backend_timeout is not None and _since(options.source_version, (2, 16)):
            silenced.append(("Linkerd has not applied timeouts.backendRequest since 2.16", backend_timeout.src))
            backend_timeout = None
    if backend_timeout is not None:
        extras.append(("backendRequest", backend_timeout))
    silenced.extend(("changes no header", item.src) for item in changing_nothing(place))
    shown = name.value if name else (route.name if index == 0 else f"{route.name}-{index + 1}")
    extras.append(("name", Fact(shown, name.src if name else ref.src, "metrics.route-label")))
    return RouteRule(
        shown,
        tuple(
            _spanning(_grpc_match(item, silenced) if kind == "GRPCRoute" else _match(item, silenced), family)
            for item in place.each("matches")
        ),
        tuple(admitted(item, kind, route.namespace, options, many, family) for item in backends),
        (*filters_of(place, family, route.namespace, options), *((answer,) if answer is not None else ())),
        timeout=timeout,
        retry=retry,
        extras=tuple(extras),
        src=place.src,
    )


def _nobody(place: Cursor, family: str) -> Filter | None:
    """The answer 500 of a rule whose backends all have the weight 0; elsewhere than in Linkerd also of one that names no backend."""
    backends = place.each("backendRefs")
    weights = [item.number_at("weight") for item in backends]
    if any(weight is None or weight.value for weight in weights):
        return None
    if family == "linkerd" and (not weights or place.each("filters")):
        return None
    if any(item.at("type").value in ("RequestRedirect", "ExtensionRef") for item in place.each("filters")):
        return None
    src = frozenset().union(*(weight.src for weight in weights if weight is not None)) or place.src
    return Filter("direct-response", (("status", Fact(500, src, "routing.weight" if weights else "routing.destination")),))


def _refused(place: Cursor, kind: str, namespace: str, family: str) -> Filter | None:
    """The answer 500 of a rule none of whose backends may be referred to: in another namespace, whose ReferenceGrants are there and speak of others."""
    found = [_unadmitted(item, kind, namespace, family) for item in place.each("backendRefs")]
    src = frozenset().union(*(one for one in found if one is not None))
    return Filter("direct-response", (("status", Fact(500, src, "routing.destination")),)) if found and None not in found else None


def _retry(place: Cursor, family: str) -> Retry | None:
    """The `retry` of a rule: the codes, and the conditions that istiod adds to them; elsewhere one that names no code is about the connection (GEP-1731)."""
    if not place:
        return None
    attempts = place.number_at("attempts") or Fact(2 if family == "istio" else 1, place.src, "retry.attempts")
    codes = [fact.map(str) for item in place.each("codes") if (fact := item.fact(int)) is not None]
    own = ISTIO_CONDITIONS if family == "istio" else () if codes else CONNECTION_ERRORS
    conditions = tuple(Fact(word, attempts.src, "retry.conditions") for word in own) + tuple(codes)
    return Retry(attempts, None, conditions, tuple(("backoff", fact) for _, fact in place.leaves("backoff")), src=place.src)


def _match(place: Cursor, silenced: list[tuple[str, Src]]) -> RouteMatch:
    path = None
    value = place.at("path").text("value")
    kind = place.at("path").text("type")
    if value is not None or kind is not None:
        text = value.value if value else "/"
        form = {"Exact": "exact", "RegularExpression": "regex"}.get(kind.value if kind else "", "segments")
        path = Fact(Pattern(form, text), place.at("path").src, "routing.match.path")
    return RouteMatch(
        path,
        method.map(lambda text: Pattern("exact", text)) if (method := place.text("method")) else None,
        _values(place, "headers", silenced, lower=True),
        _values(place, "queryParams", silenced, lower=False),
        src=place.src,
    )


def _spanning(match: RouteMatch, family: str) -> RouteMatch:
    """The match with a demand of its own where Linkerd does not take every text of a regular expression: see `spans`."""
    if family != "linkerd":
        return match
    facts = [match.path] if match.path is not None else []
    facts += [fact for _, fact in match.headers]
    short = [fact for fact in facts if fact.value.kind == "regex" and not spans(fact.value.text)]
    return replace(match, others=(*match.others, *((HIDING, fact) for fact in short))) if short else match


def _grpc_match(place: Cursor, silenced: list[tuple[str, Src]]) -> RouteMatch:
    """A gRPC method as the path that it is: `/service/method`."""
    service, method = place.at("method").text("service"), place.at("method").text("method")
    path = None
    if service is not None or method is not None:
        src = place.at("method").src
        regex = place.at("method").at("type").value == "RegularExpression"
        if regex:
            left, right = service.value if service else "[^/]+", method.value if method else "[^/]+"
            path = Fact(Pattern("regex", f"/(?:{left})/(?:{right})"), src, "routing.match.path")
        elif service is not None and method is not None:
            path = Fact(Pattern("exact", f"/{service.value}/{method.value}"), src, "routing.match.path")
        elif service is not None:
            path = Fact(Pattern("prefix", f"/{service.value}/"), src, "routing.match.path")
        elif method is not None:
            path = Fact(Pattern("regex", f"/[^/]+/{quote(method.value)}"), src, "routing.match.path")
    return RouteMatch(path, None, _values(place, "headers", silenced, lower=True), src=place.src)


def _values(place: Cursor, key: str, silenced: list[tuple[str, Src]], lower: bool) -> tuple[tuple[str, Fact[Pattern]], ...]:
    """The demands on headers or query parameters by name: the first of each name counts."""
    found: dict[str, Fact[Pattern]] = {}
    for item in place.each(key):
        name, value = item.text("name"), item.text("value")
        if name is None or value is None:
            continue
        form = "regex" if item.at("type").value == "RegularExpression" else "exact"
        called = name.value.lower() if lower else name.value
        if called in found:
            silenced.append(("the first demand on a name counts", item.src))
        else:
            found[called] = Fact(Pattern(form, value.value), item.src, value.feature)
    return tuple(sorted(found.items(), key=lambda entry: entry[0]))


def _annotated(root: Cursor, rules: tuple[RouteRule, ...], silenced: list[tuple[str, Src]]) -> tuple[RouteRule, ...]:
    """Linkerd's annotations on a route hold for each of its rules; its timeout annotation beats the field."""
    notes = annotations_of(root)
    if not rules:
        silenced.append(("a route without rules takes no request", asked(notes)))
    retry = linkerd_retry(notes)
    parsed = timeouts_of(notes)
    silenced.extend(idle_notes(notes, gather(retry, *parsed.values())))
    out = []
    for rule in rules:
        if parsed["request"] is not None and rule.timeout is not None:
            silenced.append(("the annotation timeout.linkerd.io/request on the route beats the field", rule.timeout.src))
        out.append(
            replace(
                rule,
                retry=retry,
                timeout=parsed["request"] or rule.timeout,
                response_timeout=parsed["response"],
                idle_timeout=parsed["idle"],
            )
        )
    return tuple(out)
