"""ServiceProfiles and TrafficSplits, as Linkerd acts on them.

The first route whose condition holds counts requests, limits and retries them; whatever matches none passes. A split divides all of them.
Both silence the routes, annotations and failure accrual of their Service; a profile that says neither does not (has_routes_or_targets in
linkerd2-proxy, service-profiles/src/lib.rs). The controller looks profiles up by the names of Services (parseK8sServiceName in linkerd2,
controller/api/destination/server.go): one for another host is never asked for. https://linkerd.io/2-edge/reference/service-profiles/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.annotations import annotations_of, idle_notes, linkerd_retry, timeouts_of, unreadable
from meshport.dialects.gateway_api.durations import milliseconds
from meshport.dialects.gateway_api.patterns import METHODS, bare, language, path_key, top_level
from meshport.dialects.protocols import of_service_port
from meshport.dialects.smi import splits
from meshport.ir.authorization import Pattern
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.resilience import Retry
from meshport.ir.routing import Backend, RouteMatch, RouteRule, ServiceRoutes, gather
from meshport.values.language import BARE_PATHS, Language
from meshport.values.ports import is_number
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.ir.model import IR
    from meshport.ir.world import Service, World
    from meshport.mapping.bound import Bound

_LITERAL = re.compile(r"/(?:[-A-Za-z0-9/_~%!@:,;=&']|\\[-.+*?()\[\]{}|^$])*")
FAILED = ("deadline-exceeded", "internal", "unavailable")
"""Statuses of gRPC that a profile counts as failures, besides DATA_LOSS and PERMISSION_DENIED, which no target has a word for."""
ROUTE_KEYS = ("retry.linkerd.io/", "timeout.linkerd.io/")
Atom = tuple[str, Fact[Pattern], bool]  # path or method, the pattern, and whether it has to hold
NOTHING = "neither routes nor shares are said, and clients keep to the policies that the Service has otherwise"
SILENT = "a ServiceProfile or TrafficSplit of the Service switches this off"


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR, before: int) -> set[Ref]:
    """ServiceProfiles, TrafficSplits and the annotations of Services as routes; gives the Services that a profile speaks for.

    Routes in `ir.routes` from `before` on are those of this mesh: the ones that a profile silences leave the list.
    """
    documents = bound.bundle.documents
    found: dict[tuple[Ref, str], ServiceRoutes] = {}
    chosen = sorted(
        (i for i in numbers if i not in bound.broken),
        key=lambda i: (documents[i].namespace or "", documents[i].name, documents[i].api_version),
    )
    for number in chosen:
        if bound.kinds.get(number, documents[number].kind) == "ServiceProfile" and documents[number].group == "linkerd.io":
            routes = _profile(Cursor.root(bound, number), world, options)
            if routes is not None and (routes.service is None or routes.problem):
                ir.routes.append(routes)  # what the controller never looks up, or refuses
            elif routes is not None and routes.service is not None:
                place = (routes.service.value, routes.consumer.value if routes.consumer else "")
                if (known := found.setdefault(place, routes)) is not routes:
                    reason = f"ServiceProfile {known.ref.value} speaks for the Service already"
                    found[place] = replace(known, silenced=(*known.silenced, (reason, routes.src)))
    for number in chosen:
        if documents[number].kind == "TrafficSplit" and documents[number].group == splits.GROUP:
            split = splits.read(Cursor.root(bound, number), options)
            if split is not None:
                _fold(found, split, options)
    for place in sorted(place for place, routes in found.items() if not routes.rules and not routes.problem):
        if not place[1] or (place[0], "") not in found:  # one client's empty profile hides from it the one that is for all
            ir.idle.append(Fact(NOTHING, found.pop(place).src, "routing.match.path"))
    profiled = {service for service, consumer in found if not consumer}
    kept = []
    for routes in ir.routes[before:]:
        speaker = _speaks(routes, found)
        if speaker is not None:
            found[speaker] = replace(found[speaker], silenced=(*found[speaker].silenced, (SILENT, routes.src)))
        else:
            kept.append(routes)
    ir.routes[before:] = [*_with_services(kept, bound, world, found, ir), *(found[key] for key in sorted(found))]
    return profiled


def _speaks(routes: ServiceRoutes, found: dict[tuple[Ref, str], ServiceRoutes]) -> tuple[Ref, str] | None:
    """The profile that all clients follow to whom these routes are addressed; a profile of one client's namespace is no other client's."""
    if routes.service is None or routes.gateways:
        return None
    consumers = (routes.consumer.value, "") if routes.consumer is not None else ("",)
    return next((place for consumer in consumers if (place := (routes.service.value, consumer)) in found), None)


# -- Service annotations


def _with_services(
    kept: list[ServiceRoutes], bound: Bound, world: World, found: dict[tuple[Ref, str], ServiceRoutes], ir: IR
) -> list[ServiceRoutes]:
    """Retry and timeout annotations of Services: handed to routes that say nothing of the kind, or a rule for everything where there is
    no route."""
    profiled = {service for service, consumer in found if not consumer}
    out = list(kept)
    for ref in sorted(world.services):
        service = world.services[ref]
        if not any(key.startswith(ROUTE_KEYS) for key in service.annotations):
            continue
        root = Cursor.root(bound, service.document)
        notes = {key: fact for key, fact in annotations_of(root).items() if key.startswith(ROUTE_KEYS)}
        src = gather(*notes.values())
        if ref in profiled:
            found[ref, ""] = replace(found[ref, ""], silenced=(*found[ref, ""].silenced, (SILENT, src)))
            continue
        retry = linkerd_retry(notes)
        times = timeouts_of(notes)
        idle = idle_notes(notes, gather(retry, *times.values()))
        bad = tuple(unreadable(notes))
        mine = [
            number for number, routes in enumerate(out) if routes.service is not None and routes.service.value == ref and not routes.problem
        ]
        if retry is None and not any(times.values()) and not bad and not mine:
            ir.idle.extend(Fact(why, leaves, "retry.attempts") for why, leaves in idle)
            continue
        rule = RouteRule("default", (), (), (), times["request"], times["response"], times["idle"], retry, src=src)
        own = root.ref().holding(ref)
        host = Fact(f"{ref.name}.{ref.namespace}.svc", own.src)
        alone = ServiceRoutes(
            own, "Service", own, host, None, (rule,), "first", "forward", service.document,
            (service.document,), family="linkerd", src=src,
        )  # fmt: skip
        for number in mine:
            out[number] = replace(out[number], rules=tuple(_inherit(rule, retry, times) for rule in out[number].rules))
        first = mine[0] if mine else len(out)
        added = _elsewhere([out[number] for number in mine], service, alone)
        out.extend(added)
        used = gather(*(out[number].rules for number in mine), *(routes.rules for routes in added), *(fact for _, fact in bad))
        used |= frozenset().union(*(leaves for _, leaves in idle))
        reason = "the routes of the Service have settings of their own, which replace all of the Service's of that kind"
        more = (*idle, *(((reason, src - used),) if mine and src - used else ()))
        if first < len(out):
            out[first] = replace(out[first], silenced=(*out[first].silenced, *more), warnings=(*out[first].warnings, *bad))
    return out


def _elsewhere(routed: list[ServiceRoutes], service: Service, alone: ServiceRoutes) -> list[ServiceRoutes]:
    """What the annotations of a Service say where no route speaks: all of it, or the ports without a route."""
    speaking = [routes for routes in routed if routes.consumer is None]
    if not speaking:
        return [alone]
    taken = [routes.port for routes in speaking if routes.port is not None]
    if len(taken) < len(speaking) or not any(
        (rule.retry or rule.timeout or rule.response_timeout or rule.idle_timeout) for rule in alone.rules
    ):
        return []
    numbers = {port.value for port in taken}
    left = [port for port in service.ports if port.protocol == "TCP" and port.number not in numbers and not service.is_opaque(port.number)]
    return [replace(alone, port=Fact(port.number, port.number_src, taken[0].feature)) for port in left]


def _inherit(rule: RouteRule, retry: Retry | None, times: dict[str, Fact[int] | None]) -> RouteRule:
    if rule.retry is None:
        rule = replace(rule, retry=retry)
    if not (rule.timeout or rule.response_timeout or rule.idle_timeout):
        rule = replace(rule, timeout=times["request"], response_timeout=times["response"], idle_timeout=times["idle"])
    return rule


# -- ServiceProfile


def _profile(root: Cursor, world: World, options: Options) -> ServiceRoutes | None:
    name = root.text("metadata", "name")
    labels = name.value.split(".") if name else []
    if name is None:
        return None
    service = Ref(labels[1], labels[0]) if len(labels) > 3 and labels[2] == "svc" else None
    namespace = root.document.namespace or options.default_namespace
    spec = root.at("spec")
    silenced: list[tuple[str, Src]] = []
    budget = _budget(spec.at("retryBudget"))
    grpc = service in world.services and any(of_service_port(port) == "grpc" for port in world.services[service].ports)
    rules = tuple(rule for item in spec.each("routes") if (rule := _route(item, budget, grpc, silenced)) is not None)
    if spec.at("retryBudget") and not any(rule.retry is not None and not rule.retry.none for rule in rules):
        silenced.append(("a retry budget does nothing while no route is retryable", spec.at("retryBudget").src))
    backends = _overrides(spec, options, silenced)
    place = root.at("metadata", "namespace").src  # whose clients it speaks for
    host = Fact(name.value, sources(name, place, spec.src if spec.value == {} else None), name.feature)
    out = ServiceRoutes(
        root.ref().map(lambda ref: Ref(namespace, ref.name)),
        "ServiceProfile",
        Fact(service, host.src, host.feature) if service is not None else None,
        host,
        None,
        rules,
        "first",
        "forward",
        root.number,
        (root.number,),
        consumer=Fact(namespace, place, "routing.consumer") if service is not None and namespace != service.namespace else None,
        family="linkerd",
        silenced=tuple(silenced),
        src=spec.src | name.src,
    )
    if service is None:
        return replace(out, problem="MP380")
    if any(item.at("condition", "not") for item in spec.each("routes")):
        return replace(out, problem="MP326")
    return _split(out, backends) if backends else out


def _overrides(spec: Cursor, options: Options, silenced: list[tuple[str, Src]]) -> tuple[Backend, ...]:
    """The proxy drops overrides of weight 0, which is what one without a weight has; where none is left, requests go to the Service."""
    found = [(item, made) for item in spec.each("dstOverrides") if (made := _override(item, options)) is not None]
    some = any(made.weight is not None and made.weight.value for _, made in found)
    for item, made in found:
        if made.weight is None or not some:
            silenced.append(("an override of weight 0 gets no requests", item.src))
    return tuple(made for _, made in found if some and made.weight is not None)


def _split(routes: ServiceRoutes, backends: tuple[Backend, ...]) -> ServiceRoutes:
    """The rules with these backends, and one for the requests that no rule takes: a split holds for them too."""
    rules = tuple(replace(rule, backends=backends) for rule in routes.rules)
    if not any(rule.everything for rule in rules):
        rules = (*rules, RouteRule("other", (), backends, src=gather(backends)))
    return replace(routes, rules=rules)


def _fold(found: dict[tuple[Ref, str], ServiceRoutes], split: splits.Split, options: Options) -> None:
    service = split.service.value
    key = next((key for key in sorted(found) if key[0] == service and not key[1]), (service, ""))
    known = found.get(key)
    if known is None:
        host = split.service.map(lambda ref: f"{ref.name}.{ref.namespace}.svc.{options.cluster_domain}")
        known = ServiceRoutes(
            split.ref, "TrafficSplit", split.service, host, None, (), "first", "forward", split.document, family="linkerd", src=split.src,
            problem="MP324" if split.conditional else "",
        )  # fmt: skip
    elif split.conditional or any(rule.backends for rule in known.rules):
        reason = "another split of the Service decides" if not split.conditional else "no Linkerd serves a TrafficSplit with matches"
        found[key] = replace(known, silenced=(*known.silenced, (reason, split.src)))
        return
    backends = tuple(replace(backend, host=backend.host.also(split.service)) for backend in split.backends)
    made = _split(known, backends) if backends and not split.conditional else known
    silenced = (*made.silenced, *split.silenced)
    found[key] = replace(made, documents=(*known.documents, split.document), silenced=silenced, src=known.src | split.src)


def _override(place: Cursor, options: Options) -> Backend | None:
    authority = place.text("authority")
    if authority is None:
        return None
    host, _, port = authority.value.partition(":")
    labels = host.split(".")
    service = Ref(labels[1], labels[0]) if len(labels) >= 3 and labels[2] == "svc" else None
    return Backend(
        authority.map(lambda _: service) if service else None,
        authority.map(lambda _: host),
        authority.map(lambda _: int(port)) if is_number(port) else None,
        weight=place.get("weight", splits.weight),
    )


def _route(place: Cursor, budget: _Budget, grpc: bool, silenced: list[tuple[str, Src]]) -> RouteRule | None:
    name = place.text("name")
    condition = place.at("condition")
    alternatives = _alternatives(condition, True, outermost=True)
    matches = tuple(match for atoms in alternatives or () if (match := _match(atoms, condition.src)) is not None)
    if not matches:
        silenced.append(
            ("no request is as the condition asks" if alternatives else "a route whose condition cannot be read is left out", place.src)
        )
        return None
    retryable = place.get("isRetryable", bool)
    retry = None
    if retryable is not None and not retryable.value:
        retry = Retry(Fact(0, retryable.src, retryable.feature), src=retryable.src)
    elif retryable is not None and budget.stops:
        retry = Retry(Fact(0, retryable.src | budget.stops, retryable.feature), src=retryable.src | budget.stops)
    elif retryable is not None:
        failures, deciding, rest = _failures(place, retryable, grpc)
        attempts = Fact(1 if failures else 0, retryable.src | (NOWHERE if failures else deciding), retryable.feature)
        retry = Retry(attempts, None, failures, budget.leaves if failures else (), src=attempts.src)
        if rest:
            silenced.append(("the same statuses are failures without this class: of those that no class takes, 5xx are", rest))
    if retry is None or (retry.none and not retry.src & place.at("responseClasses").src):
        silenced.append(("response classes decide about retries and metrics; nothing is retried here", place.at("responseClasses").src))
    label = Fact(name.value if name else "", name.src if name else NOWHERE, "metrics.route-label")
    return RouteRule(
        label.value, matches, (), timeout=place.get("timeout", milliseconds), retry=retry, extras=(("name", label),), src=place.src
    )


@dataclass(frozen=True, slots=True)
class _Budget:
    """The leaves of a retry budget by feature; `stops` are those that leave no retry over: out of the proxy's bounds, or none at all."""

    leaves: tuple[tuple[str, Fact[Any]], ...]
    stops: Src


def _budget(place: Cursor) -> _Budget:
    """A retry budget (convert_retry_budget in linkerd2-proxy, linkerd/service-profiles/src/proto.rs)."""
    ttl = place.get("ttl", milliseconds)
    ratio, least = place.at("retryRatio"), place.at("minRetriesPerSecond")
    stops = ttl.src if ttl is not None and not 1000 <= ttl.value <= 60_000 else NOWHERE
    if isinstance(ratio.value, int | float) and not 0 <= ratio.value <= 1000:
        stops |= ratio.src
    if ratio.value == 0 and least.value == 0:
        stops |= ratio.src | least.src
    return _Budget(tuple(place.leaves()), stops)


Class = tuple[set[int], bool, Src]


def _failures(place: Cursor, retryable: Fact[bool], grpc: bool) -> tuple[tuple[Fact[str], ...], Src, Src]:
    """The status codes that count as failures; the leaves of the response classes that decide it, and of those that do not.

    The first class that takes a status decides, and of a status that none takes 5xx is a failure (Linkerd reference 1.2). Answers of gRPC have the status
    200: where no class takes that, the statuses of gRPC decide that `FAILED` counts as failures (linkerd2-proxy, linkerd/app/core/src/classify.rs).
    """
    classes: list[Class] = []
    said: list[Src] = []
    for item in place.each("responseClasses"):
        told = item.get("isFailure", bool)
        codes = _codes(item.at("condition"))
        classes.append((codes or set(), told is not None and told.value, item.src))
        said.append(told.src if told is not None else NOWHERE)
    failed = _failed(classes)
    deciding: set[int] = set()
    for number, (codes, failure, leaves) in enumerate(classes):
        before, after = classes[:number], classes[number + 1 :]
        if _failed([*before, *after]) != failed:
            deciding |= leaves
        elif _failed([*before, (codes, not failure, leaves), *after]) != failed:
            deciding |= said[number]  # it says what would be so without it, and could say otherwise
    rest = frozenset(leaf for _, _, leaves in classes for leaf in leaves) - deciding
    spoken = (
        tuple(Fact(word, retryable.src, "retry.conditions") for word in FAILED)
        if grpc and not any(200 in codes for codes, *_ in classes)
        else ()
    )
    if failed == list(range(500, 600)):
        return (Fact("5xx", retryable.src | deciding, "retry.conditions"), *spoken), frozenset(deciding), rest
    runs: list[list[int]] = []
    for code in failed:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    words = [f"{low}-{high}" if low != high else str(low) for low, high in runs]
    src = frozenset(deciding) or retryable.src
    named = tuple(Fact("5xx" if word == "500-599" else word, src, "retry.response-classes") for word in words)
    return (*named, *spoken), frozenset(deciding), rest


def _failed(classes: list[Class]) -> list[int]:
    return [code for code in range(100, 600) if next((failure for codes, failure, _ in classes if code in codes), code >= 500)]


def _codes(condition: Cursor) -> set[int] | None:
    """The status codes that the condition of a response class takes; None where nothing of it can be read, so that the proxy leaves it out of what it is a
    part of."""
    parts: list[set[int]] = []
    low, high = condition.number_at("status", "min"), condition.number_at("status", "max")
    if low is not None and high is not None:
        parts.append(set(range(low.value, high.value + 1)))
    every = [codes for item in condition.each("all") if (codes := _codes(item)) is not None]
    some = [codes for item in condition.each("any") if (codes := _codes(item)) is not None]
    parts += every + ([set().union(*some)] if some else [])
    if condition.at("not") and (codes := _codes(condition.at("not"))) is not None:
        parts.append(set(range(100, 600)) - codes)
    return set.intersection(*parts) if parts else None


# -- conditions


def _alternatives(place: Cursor, holds: bool, outermost: bool = False) -> list[list[Atom]] | None:
    """A condition as alternatives of atoms that hold together; negations are pushed down to the atoms. None where nothing of it can be read: the proxy
    leaves it out of what it is a part of."""
    parts: list[list[list[Atom]]] = []
    path, method = place.text("pathRegex"), place.text("method")
    if path is not None:
        parts.append([[("path", path.map(lambda text: profile_pattern(text)), holds)]])
    if method is not None:
        parts.append(
            [[("method", method.map(lambda text: Pattern("exact", text.strip().upper())), holds)]]
        )  # ParseMethod in linkerd2's pkg/util/http.go
    for key in ("all", "any"):
        items = [_alternatives(item, holds) for item in place.each(key)]
        found = [item for item in items if item is not None]
        if place.at(key).value == [] or (items and not found):  # all of none is everything, any of none is nothing
            parts.append([[]] if (key == "all") == holds else [])
        if found:
            parts.append(_both(found) if (key == "all") == holds else [atoms for each in found for atoms in each])
    if place.at("not") and not outermost and (inner := _alternatives(place.at("not"), not holds)) is not None:
        parts.append(inner)
    if not parts:
        return None
    return _both(parts) if holds else [atoms for part in parts for atoms in part]


def _both(parts: list[list[list[Atom]]]) -> list[list[Atom]]:
    out: list[list[Atom]] = [[]]
    for part in parts:
        out = [[*left, *right] for left in out for right in part][:256]
    return out


def _match(atoms: list[Atom], src: Src) -> RouteMatch | None:
    """Atoms as one match; None where they contradict each other."""
    paths = [(fact, holds) for kind, fact, holds in atoms if kind == "path"]
    wanted = [(fact, holds) for kind, fact, holds in atoms if kind == "method"]
    others: list[tuple[str, Fact[Any]]] = []
    path = None
    if len(paths) == 1 and paths[0][1]:
        path = paths[0][0]
    elif paths:
        path = _combined(paths)
        if path is None:
            others.append(("condition", Fact("several path conditions", sources(*(fact for fact, _ in paths)), "routing.match.condition")))
        elif path.value.kind == "none":
            return None
    if path is not None and not path_key(path.value):  # `.*` and the like: no request is excluded
        path = path.holding(Pattern("segments", "/"))
    method: Fact[Pattern] | None = None
    if wanted:
        names = {fact.value.text for fact, holds in wanted if holds}
        without = {fact.value.text for fact, holds in wanted if not holds}
        if len(names) > 1 or names & without:
            return None
        every = sources(*(fact for fact, _ in wanted))
        if names:
            method = Fact(Pattern("exact", names.pop()), every, "routing.match.method")
        else:
            method = Fact(Pattern("regex", "|".join(word for word in METHODS if word not in without)), every, "routing.match.method")
    return RouteMatch(path, method, others=tuple(others), src=src)


def _combined(paths: list[tuple[Fact[Pattern], bool]]) -> Fact[Pattern] | None:
    meant = BARE_PATHS
    for fact, holds in paths:
        found = language(fact.value)
        if found is None:
            return None
        meant = meant & (found if holds else ~found)
    try:
        if meant.is_empty():
            return Fact(Pattern("none"))
        written = Language.to_regex(meant, within=BARE_PATHS)
    except ValueProblem:
        return None
    return Fact(Pattern("regex", written), sources(*(fact for fact, _ in paths)), "routing.match.path") if written else None


def profile_pattern(text: str) -> Pattern:
    """A `pathRegex` as the proxy reads it: `^` and `$` are added at the ends of the text, so they hold for the outer alternatives alone.

    `/a|/b` is a path that begins with /a, or ends with /b.
    """
    trimmed = text.strip()
    whole = ("" if trimmed.startswith("^") else "^") + trimmed + ("" if trimmed.endswith("$") else "$")
    parts = top_level(whole)
    if len(parts) == 1:
        regex = bare(whole)
        return Pattern("exact", regex.replace("\\", "")) if _LITERAL.fullmatch(regex) else Pattern("regex", regex)
    written = []
    for part in parts:
        head = "" if part.startswith("^") else ".*"
        tail = "" if part.endswith("$") and not part.endswith("\\$") else ".*"
        body = part.removeprefix("^")
        written.append(head + (body[:-1] if not tail else body) + tail)
    return Pattern("regex", "|".join(written))
