"""The way of one request through one configuration: which rule of the client's proxy takes it, where it is sent and how it is guarded, and what each pod that it
may reach says to it. It knows no mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from meshport.compare import onward, routing
from meshport.compare.decision import ALLOW, DENY, UNDECIDED, Decision, Step, decide
from meshport.compare.request import Caller, Request, destinations
from meshport.compare.routed import spoken, unasked
from meshport.dialects.base import Options
from meshport.effective.access import Access
from meshport.effective.pieces import Unsayable, language_of
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.model import IR
from meshport.ir.resilience import single_ports
from meshport.ir.routing import Backend, RouteMatch, RouteRule, ServiceRoutes, gather, routes_subject
from meshport.ir.world import Service, Workload
from meshport.values.identities import Identity
from meshport.values.language import LanguageTooLarge
from meshport.values.paths import normalise_istio

UNROUTED, ANSWERED = "unrouted", "answered"


@dataclass(slots=True)
class Route:
    """What the client's proxy does with the request. Shares are of 1; `filters` as they stand in the IR; times in words with one unit."""

    ref: Ref | None
    kind: str
    backends: list[dict[str, Any]] = field(default_factory=list)
    filters: Mapping[str, Any] = field(default_factory=dict)
    timeout: Mapping[str, Any] = field(default_factory=dict)
    retries: Mapping[str, Any] = field(default_factory=dict)
    breaker: Mapping[str, Any] = field(default_factory=dict)
    answered: bool = False
    sent: Mapping[str, Any] = field(default_factory=dict)  # path, host and headers of the request as it leaves the proxy
    answer: Mapping[str, Any] = field(default_factory=dict)  # status, and location of a redirect, where the proxy answers by itself


@dataclass(slots=True)
class Journey:
    """`verdict` is allow, deny, unrouted (404), answered (by the client's proxy itself) or undecided."""

    verdict: str
    steps: list[Step] = field(default_factory=list)
    route: Route | None = None
    decisions: list[Decision] = field(default_factory=list)
    rule: Step | None = None
    unsure: bool = False  # whether some rule of the route could not be told before one was found


def follow(ir: IR, request: Request, options: Options) -> Journey:
    """The way of a request. That of a workload that the bundle does not show is told only where it is the same under every account that somebody speaks of."""
    caller = request.caller
    if not caller.unknown:
        return _follow(ir, request, options)
    accounts = {who.service_account for who in _identities(ir) if who.namespace == caller.namespace and who.service_account}
    names = [None, *(f"{options.trust_domain}/ns/{caller.namespace}/sa/{one}" for one in sorted({"?", *accounts}))]
    ways = [_follow(ir, replace(request, caller=replace(caller, principal=name)), options) for name in (names if ir.enrols else names[:1])]
    nobody = f"the bundle shows no such workload{_close(caller, ir)}"
    if len({way.verdict for way in ways}) > 1 or not ir.enrols:
        return _undecided(
            Journey(ALLOW), Step(f"who calls: {caller.namespace}/{caller.unknown}", f"{nobody}, and it depends on its identity")
        )
    ways[0].steps[0] = replace(ways[0].steps[0], outcome=f"{nobody}; it is the same for every identity")
    return ways[0]


def _identities(ir: IR) -> Iterator[Identity]:
    """The accounts that the rules name."""
    conditions = (one for policy in ir.policies for rule in policy.rules for some in (rule.conditions, *rule.unless) for one in some)
    for condition in conditions:
        for fact in (*(condition.any_of or ()), *condition.none_of):
            if isinstance(fact.value, Identity):
                yield fact.value


def _follow(ir: IR, request: Request, options: Options) -> Journey:
    found = Journey(ALLOW)
    caller = request.caller
    name = caller.workload.ref.name if caller.workload else caller.unknown or caller.account or "?"
    who = f"{caller.namespace}/{name}" if caller.pod else caller.ip or "somebody outside"
    seen_as = f"with the certificate {caller.principal}" if caller.principal else "without a certificate"
    if not ir.enrols:  # Cilium knows a caller by its pod
        seen_as = f"known by its labels, under service account {caller.account or 'default'}" if caller.pod else "known by its address"
    found.steps.append(Step(f"who calls: {who}", seen_as))
    reached: list[tuple[Workload, int | None, str]]
    service = ir.world.services.get(Ref(request.namespace, request.service)) if request.service else None
    if service is None and (missing := _no_service(request, ir)):
        return _undecided(found, Step(f"which Service: {request.namespace}/{request.service}", missing))
    if service is not None and not service.external_name and (missing := _no_port(service, request)):
        return _undecided(found, Step("which port", missing))
    if service is not None and request.http and _follows(ir, request):
        way = _way(ir, service, request, found)
        if way is None:
            return found
        request, reached = way
    else:
        pods, shown = destinations(request, ir.world)
        if not shown:
            found.steps.append(
                Step(
                    f"which pods: {request.namespace}/{request.service or request.workload or 'with these labels'}",
                    "none that the bundle shows; taken for a pod in the mesh",
                )
            )
        reached = [(pod, port, "") for pod, port in pods]
    _decide(ir, reached, request, options, found)
    if found.unsure and found.verdict == ALLOW:
        found.verdict = UNDECIDED  # another rule may take it
    return found


def _undecided(found: Journey, step: Step) -> Journey:
    found.steps.append(step)
    found.verdict, found.rule = UNDECIDED, step
    return found


def _close(caller: Caller, ir: IR) -> str:
    """The workload of the namespace that was likely meant."""
    known = sorted({item.ref.name for item in ir.world.of_namespace(caller.namespace or "")})
    close = get_close_matches(caller.unknown or "", known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _no_service(request: Request, ir: IR) -> str:
    """Why a name is no Service's, with what was likely meant; nothing where no Service is asked for, or the bundle shows nothing of the namespace."""
    if request.service is None or request.workload is not None:
        return ""
    known = sorted(ref.name for ref in ir.world.services if ref.namespace == request.namespace)
    workloads = {item.ref.name for item in ir.world.of_namespace(request.namespace)}
    if not known and not workloads:
        return ""
    close = get_close_matches(request.service, known, 1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif request.service in workloads:
        hint = "a workload has that name, and no Service of that name sends to it"
    else:
        hint = f"the namespace has {', '.join(known[:5])}{' and more' if len(known) > 5 else ''}" if known else "the namespace has none"
    return f"the bundle shows none of that name; {hint}"


def _no_port(service: Service, request: Request) -> str:
    """Why a Service does not take a request's port; nothing where it does. A headless one is a list of pods, of which every port may be called."""
    if request.port is None:
        return f"none is named, and Service {service.ref} has {ports_of(service)}" if len(service.ports) > 1 else ""
    if service.headless or not service.ports or service.port(request.port) is not None:
        return ""
    return f"Service {service.ref} has no port {request.port}; it has {ports_of(service)}"


def ports_of(service: Service) -> str:
    """The ports of a Service in words: `http 80, grpc 9000`."""
    return ", ".join(f"{item.name} {item.number}".strip() for item in service.ports) or "no ports"


def _follows(ir: IR, request: Request) -> bool:
    """Whether the caller's requests go through a proxy of the mesh that routes: everybody's do where the network itself does."""
    return not ir.enrols or request.caller.principal is not None


def _decide(ir: IR, reached: list[tuple[Workload, int | None, str]], request: Request, options: Options, found: Journey) -> None:
    access = Access(ir, Fact("all-unauthenticated"))
    for workload, port, share in reached:
        decision = decide(access.of(workload), port, request, ir, options)
        found.decisions.append(decision)
        found.steps.append(Step(f"asked: {workload.ref}, container port {'?' if port is None else port}{share}", decision.verdict))
        found.steps += decision.steps
    for verdict in (DENY, UNDECIDED):
        denied = next((item for item in found.decisions if item.verdict == verdict), None)
        if denied is not None:
            found.verdict, found.rule = verdict, denied.rule
            return
    found.rule = found.decisions[0].rule if found.decisions else None
    if not found.decisions:
        found.verdict = UNDECIDED
        found.steps.append(Step("which pods", "none: the Service selects no pod of the bundle"))


# -- the client's side


def _way(ir: IR, service: Service, request: Request, found: Journey) -> tuple[Request, list[tuple[Workload, int | None, str]]] | None:
    """The request as it leaves the client's proxy, and the pods that it may reach with the container port of each; None where the proxy answers."""
    port = request.port if request.port is not None else service.ports[0].number if len(service.ports) == 1 else None
    name = f"Service {service.ref}"
    chosen: tuple[ServiceRoutes, RouteMatch, RouteRule, dict[str, Any]] | None = None
    asked = False
    for subject in (routes_subject(f"{name} for clients of {request.caller.namespace}", port), routes_subject(name, port)):
        for routes, number in routing.of_subject(ir, subject):
            asked = True
            chosen = chosen or _taken(ir, routes, number, request, found)
            if chosen is None and routes.unmatched == "forward":
                break
        if asked:
            break
    backends: tuple[Backend, ...] = ()
    if chosen is not None:
        routes, match, rule, outcome = chosen
        found.route = Route(routes.ref.value, routes.kind, answered=rule.answers)
        found.route.filters, found.route.timeout = outcome["filters"], outcome["timeout"]
        found.route.retries = {} if rule.answers else outcome["retries"]
        told = spoken({key: value for key, value in outcome.items() if value and not (key == "retries" and unasked(rule.retry))})
        found.steps.append(
            Step(
                f"which rule routes it: {routes.kind} {routes.ref.value}" + (f" rule {rule.name}" if rule.name else ""),
                told,
                routes.ref.value,
                routes.kind,
                routes.document,
                gather(rule) or routes.src,
            )
        )
        if rule.answers:
            found.route.answer = onward.answered(request, match, rule, raw=ir.raw_paths)
            found.verdict, found.rule = UNDECIDED if found.unsure else ANSWERED, found.steps[-1]
            found.steps.append(
                Step("what the caller gets", " ".join(str(item) for item in found.route.answer.values() if item is not None))
            )
            return None
        backends = rule.backends
        arrives = onward.rewritten(request, match, rule, raw=ir.raw_paths)
        if (arrives.path, arrives.host) != (request.target(ir.raw_paths), request.host):
            found.steps.append(
                Step(
                    "what the pods get",
                    f"path {arrives.path}" + (f", host {arrives.host}" if arrives.host else ""),
                    src=gather(rule.filter("rewrite")),
                )
            )
        request = arrives
    elif asked and not any(routes.unmatched == "forward" for routes, _ in routing.of_subject(ir, routes_subject(name, port))):
        found.verdict = UNDECIDED if found.unsure else UNROUTED
        other = "no other of the Service's routes takes it" if found.unsure else "none of the Service's routes takes it: answered 404"
        found.steps.append(Step("which rule routes it", other))
        found.rule = found.steps[-1]
        return None
    else:
        retries = untouched(ir, request, service.ref)
        again = f"; the mesh by itself retries: {', '.join(f'{key} {value}' for key, value in retries.items())}" if retries else ""
        bare = "; ztunnel follows no routes, and the Service has no waypoint" if service.ref in ir.unproxied else ""
        found.steps.append(Step("which rule routes it", f"none: straight to {name}{again}{bare}"))
        found.route = Route(None, "", retries=retries)
    _guards(ir, service, port, found)
    if found.route is not None:
        found.route.sent = {"path": request.target(ir.raw_paths), "host": request.host, "headers": dict(request.headers)}
    host = Fact(f"{service.ref.name}.{service.ref.namespace}.svc")
    reached = []
    shares = routing.shares(ir.world, backends or (Backend(Fact(service.ref), host),), port)
    for backend in backends or (Backend(Fact(service.ref), host),):
        key, one = routing.shares(ir.world, (backend,), port).popitem()
        share = shares.get(key, "0")
        if found.route is not None and share != "0":
            found.route.backends.append(
                {
                    "to": key,
                    "share": share,
                    "service": str(backend.service.value) if backend.service else None,
                    "port": backend.port.value if backend.port else port,
                }
            )
        if share != "0":
            text = f" ({share} of the requests)" if share != one else ""
            reached += [(pod, number, text) for pod, number in _pods(ir, backend, port)]
    return request, reached


def untouched(ir: IR, request: Request, service: Ref) -> dict[str, Any]:
    """The retries that the client's proxy makes where nobody says anything."""
    return routing.retries(None, ir.mesh) if request.caller.principal is not None and service not in ir.unproxied else {}


def _taken(
    ir: IR, routes: ServiceRoutes, port: int | None, request: Request, found: Journey
) -> tuple[ServiceRoutes, RouteMatch, RouteRule, dict[str, Any]] | None:
    for match, outcome, rule in routing.ways(ir.world, routes, port, ir.mesh):
        taken = takes(match, request, raw=ir.raw_paths)
        if taken:
            return routes, match, rule, outcome
        if taken is None:
            found.unsure = True
            found.steps.append(
                Step(
                    f"{routes.kind} {routes.ref.value}",
                    "cannot be told: it asks for what no request says, or for a text by an expression that is not understood",
                    routes.ref.value,
                    routes.kind,
                    routes.document,
                    gather(match),
                )
            )
    return None


def takes(match: RouteMatch, request: Request, *, raw: bool = False) -> bool | None:
    """Whether a match takes a request; None where that cannot be told."""
    path = request.bare if raw else normalise_istio(request.path)
    sure = True
    if match.path is not None and not (answer := _fits(match.path.value, path)):
        return answer
    if match.method is not None and not (answer := _fits(match.method.value, request.method)):
        return answer
    for pairs, given in (
        (match.headers, lambda name: ",".join(found) if (found := request.header(name.lower(), raw=raw)) else None),
        (match.query, request.query.get),
    ):
        for name, fact in pairs:
            value = given(name)
            if fact.value.kind == "absent":
                if value is not None:
                    return False
                continue
            if value is None:
                return False
            answer = _fits(fact.value, value)
            if answer is False:
                return False
            sure = sure and answer is True
    for name, fact in match.others:
        answer = _other(name, fact.value, request)
        if answer is False:
            return False
        sure = sure and answer is True
    return True if sure else None


def _fits(pattern: Pattern, text: str) -> bool | None:
    try:
        return language_of(pattern).accepts(text)
    except (Unsayable, LanguageTooLarge, KeyError):
        return None


def _other(name: str, value: Any, request: Request) -> bool | None:
    """A demand that only one mesh knows, as far as a request says it."""
    if name == "gateways":
        return "mesh" in (value or ())
    if name == "sourceLabels" and isinstance(value, Mapping):
        return all(request.caller.labels.get(key) == text for key, text in value.items())
    if name == "sourceNamespace":
        return bool(request.caller.namespace == value)
    if name == "authority" and isinstance(value, Mapping) and request.host is not None:
        return _string(value, request.host)
    if name == "scheme" and isinstance(value, Mapping):
        return _string(value, "http")  # the application's; TLS is the proxy's
    if name == "withoutHeaders" and isinstance(value, Mapping):
        return _lacks(value, request)
    return None


def _string(match: Mapping[str, Any], text: str) -> bool | None:
    """A StringMatch of Istio; empty, or the expression `*`, it asks for presence."""
    if match.get("regex") == "*":
        return True
    answers = [_fits(Pattern(kind, str(match[kind])), text) for kind in ("exact", "prefix", "regex") if kind in match]
    return None if None in answers else all(answers)


def _lacks(unwanted: Mapping[str, Any], request: Request) -> bool | None:
    """Whether a request has none of the headers with the values that are not wanted. One without a form is unwanted whatever it says; else a header that is not
    sent counts as empty, as istiod configures it."""
    sure = True
    for name, forms in unwanted.items():
        sent = request.header(str(name).lower())
        said = forms if isinstance(forms, Mapping) else {}
        answer = bool(sent) if not said or said.get("regex") == "*" else _string(said, ",".join(sent))
        if answer:
            return False
        sure = sure and answer is False
    return True if sure else None


def _guards(ir: IR, service: Service, port: int | None, found: Journey) -> None:
    """The breaker of a port of a Service: that of the whole Service, or of settings that the port has of its own."""
    for policy in ir.service_policies:
        if policy.service is None or policy.service.value != service.ref or policy.subset or policy.beside or policy.breaker is None:
            continue
        if port in single_ports(ir.service_policies, policy) or (policy.port is not None and policy.port.value != port):
            continue
        told = routing.breaker(policy, policy.breaker, ir.mesh)
        if found.route is not None:
            found.route.breaker = told
        words = ", ".join(f"{name} {value}" for name, value in told.items())
        found.steps.append(
            Step(
                f"which breaker guards it: {policy.kind} {policy.ref.value}",
                words,
                policy.ref.value,
                policy.kind,
                policy.document,
                policy.src,
            )
        )
        return


def _pods(ir: IR, backend: Backend, port: int | None) -> list[tuple[Workload, int | None]]:
    """The known pods of a backend, each with the container port that the request meets."""
    if backend.service is None:
        return []
    service = ir.world.services.get(backend.service.value)
    if service is None or not service.selector:
        return []
    labels = {**service.selector, **(dict(backend.labels.labels) if backend.labels else {})}
    number = backend.port.value if backend.port is not None else port
    sent = service.port(number) if number is not None else None
    if sent is None and len(service.ports) == 1:
        sent = service.ports[0]
    found = ir.world.selected(PodSet(service.ref.namespace, Selector.of(labels)))
    return [(pod, ir.world.target_number(pod, sent) if sent is not None else None) for pod in found]
