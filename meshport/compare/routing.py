"""Routing and resilience in a normal form that does not depend on the mesh: equal text for equal meaning.

A subject is a port of a Service; its aspects are the rules there are, where each sends, what it does on the way, how long it waits and
what it retries.
Destinations are the pods reached, paths are sets of texts, and what a mesh does unasked stands there like anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from meshport.compare import rewrites
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.dialects.gateway_api.patterns import methods, path_key, value_key
from meshport.dialects.gateway_api.ranking import contained, in_order
from meshport.dialects.gateway_api.service_ports import speaks_http
from meshport.dialects.gateway_api.stems import Stems
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, PodSet, Ref, Selector
from meshport.ir.exposure import LOCALITY, inert
from meshport.ir.model import IR
from meshport.ir.resilience import (
    CONSISTENT_HASH,
    ISTIO_CONDITIONS,
    ISTIO_RETRIES,
    LEAST_REQUEST,
    Breaker,
    Retry,
    ServicePolicy,
    breaker_subjects,
    each_service,
    policy_subjects,
)
from meshport.ir.routing import (
    Backend,
    Filter,
    RouteMatch,
    RouteRule,
    ServiceRoutes,
    acts_on,
    beyond_subject,
    comes_by,
    gather,
    met,
    of_mesh,
    ports_named,
    ports_of,
    routes_subject,
)
from meshport.ir.world import ServicePort, World
from meshport.values.ports import is_number

EVERYTHING = "every request"
_POSITION = re.compile(r"\[\d+\]")
_IMPLICIT = ("retriable-status-codes",)
_WHOLE_SECONDS = ("connectionPool.tcp.tcpKeepalive.time", "connectionPool.tcp.tcpKeepalive.interval")
"""Durations of which Envoy gets the whole seconds."""


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """What the IR says about routing and resilience, by subject. Subjects that say nothing do not appear."""
    out: dict[str, dict[str, Any]] = {}
    for subject, routes, port in places(ir):
        found = _routes(ir.world, routes, port, speaks(routes, ir))
        if found is not None:
            _merge(out.setdefault(subject, {}), found)
    for policy in sorted(_by_port(ir), key=lambda item: (item.host.value, item.subset, item.ref.value)):
        if policy.breaker is not None and policy.breaker.ejects:
            for subject in breaker_subjects(policy):
                out.setdefault(subject, {}).update(breaker(policy, policy.breaker, ir.mesh))
        settings = _settings(policy)
        for subject in policy_subjects(policy) if settings else ():
            out.setdefault(subject, {}).update(settings)
    _over_ports(ir.world, out)
    return {subject: out[subject] for subject in sorted(out)}


def places(ir: IR) -> Iterator[tuple[str, ServiceRoutes, int | None]]:
    """The ports of Services with the rules that clients in the mesh follow there, in the order in which the rules are asked."""
    claimed: dict[str, str] = {}
    named: dict[str, set[int]] = {}
    for routes in ir.routes:
        if routes.protocol not in ("tls", "tcp"):  # rules for requests act on no port that is one of connections
            named.setdefault(routes.subject_name, set()).update(ports_named(routes))
    for routes in sorted(ir.routes, key=lambda item: (item.host.value, item.protocol, item.ref.value)):
        if routes.problem or routes.protocol in ("tls", "tcp") or not routes.mesh:
            continue
        if routes.beyond is not None:
            for client in routes.beyond.clients:
                for number in routes.beyond.ports:
                    subject = beyond_subject(routes, client, number)
                    if acts_on(routes, number) and claimed.setdefault(subject, str(routes.ref.value)) == str(routes.ref.value):
                        yield subject, routes, number
            continue
        for subject, port in _places(ir.world, routes, named.get(routes.subject_name, set())):
            if not acts_on(routes, port) or _opaque(ir.world, routes, port):
                continue
            owner = str(routes.ref.value) if routes.kind == "VirtualService" else "routes" if routes.family == "istio" else ""
            if owner and claimed.setdefault(subject, owner) != owner:
                continue
            yield subject, routes, port


def _opaque(world: World, routes: ServiceRoutes, port: int | None) -> bool:
    """Whether clients treat a port as bytes, where no rule for requests acts."""
    service = world.services.get(routes.service.value) if routes.service is not None else None
    return service is not None and port is not None and service.is_opaque(port)


def speaks(routes: ServiceRoutes, ir: IR) -> str:
    """The mesh whose habits hold for rules: those for a host outside may be left with the source."""
    return routes.family if routes.beyond is not None else ir.mesh


def of_subject(ir: IR, subject: str) -> list[tuple[ServiceRoutes, int | None]]:
    """The rules of one subject."""
    return by_subject(ir).get(subject, [])


def by_subject(ir: IR) -> dict[str, list[tuple[ServiceRoutes, int | None]]]:
    """The rules of every subject."""
    found: dict[str, list[tuple[ServiceRoutes, int | None]]] = {}
    for subject, routes, port in places(ir):
        found.setdefault(subject, []).append((routes, port))
    return found


def _over_ports(world: World, out: dict[str, dict[str, Any]]) -> None:
    """What holds for each port of a Service alike holds for the Service."""
    for ref in world.services:
        ports = ports_of(world, ref)
        for what in ("breaker", "policy"):
            subject = f"{what} of Service {ref}"
            found = [out.get(f"{subject} port {port}") for port in ports]
            if found and found[0] is not None and subject not in out and all(one == found[0] for one in found):
                out[subject] = found[0]
                for port in dict.fromkeys(ports):
                    del out[f"{subject} port {port}"]


def _by_port(ir: IR) -> list[ServicePolicy]:
    """The policies; where a port of a Service has one of its own, that of the whole Service stands for each other port."""
    own: dict[tuple[Ref, str], set[int]] = {}
    policies = [one for policy in ir.service_policies for one in each_service(policy)]
    for policy in policies:
        if policy.port is not None and policy.service is not None and not policy.subset:
            own.setdefault((policy.service.value, policy.for_whom), set()).add(policy.port.value)
    found: list[ServicePolicy] = []
    for policy in policies:
        special = own.get((policy.service.value, policy.for_whom), set()) if policy.service is not None else set()
        ports = ports_of(ir.world, policy.service.value) if policy.service is not None else ()
        if special and ports and policy.port is None and not policy.subset:
            found.extend(replace(policy, port=Fact(port)) for port in ports if port not in special)
        else:
            found.append(policy)
    return found


def _places(world: World, routes: ServiceRoutes, named: set[int]) -> list[tuple[str, int | None]]:
    """The ports that the rules are for: those of the Service, or where it is unknown those that are named, and all others."""
    name = routes.subject_name
    if routes.port is not None:
        return [(routes_subject(name, routes.port.value), routes.port.value)]
    known = ports_of(world, routes.service.value) if routes.service is not None else ()
    if known and routes.service is not None and "istio" in (routes.family, "istio" if routes.kind == "VirtualService" else ""):
        # rules for HTTP do nothing where Istio takes a port for TCP
        spoken = {port.number for port in world.services[routes.service.value].ports if speaks_http(port)}
        known = tuple(port for port in known if port in spoken)
        return [(routes_subject(name, port), port) for port in known]
    if known:
        return [(routes_subject(name, port), port) for port in known]
    return [(routes_subject(name), None), *((routes_subject(name, port), port) for port in sorted(named))]


def _merge(into: dict[str, Any], found: dict[str, Any]) -> None:
    for key, value in found.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into.setdefault(key, value)


def of_rules(world: World, routes: ServiceRoutes, mesh: str) -> dict[str, Any]:
    """The aspects of rules that are for requests from outside, of which nothing comes without a rule."""
    return _routes(world, routes, None, mesh, entrance=True) or {}


def outside(rule: RouteRule, gateway: Ref, home: str, port: int | None = None) -> RouteRule | None:
    """The rule as it is for requests that come in through a Gateway, on one port of it or on any; None where none of its matches is for that. Gateways without
    a namespace are in `home`."""
    kept = [
        replace(met(match), port=None)
        for match in rule.matches
        if comes_by(match, (str(gateway),), home) and (port is None or match.port is None or match.port.value == port)
    ]  # which these are is said by where the rule hangs
    return replace(rule, matches=tuple(kept)) if kept or not rule.matches else None


def _routes(world: World, routes: ServiceRoutes, port: int | None, mesh: str, *, entrance: bool = False) -> dict[str, Any] | None:
    """The aspects of the rules on one port; None where they say what would be so without them."""
    live = ways(world, routes, port, mesh)
    # what a rule says twice, once more narrowly, is there to keep its rank, and no rule of its own
    places = Stems[int]()
    for number, (match, *_) in enumerate(live):
        places.add(match, number)

    def repeats(number: int, other: int) -> bool:
        (match, outcome, _), (known, same, rule) = live[number], live[other]
        return other != number and contained(match, known) and outcome == _with_rewrite(same, rule, known, match)

    kept = [
        (match, outcome)
        for number, (match, outcome, _) in enumerate(live)
        if not any(repeats(number, other) for other in places.around(match))
    ]
    out: dict[str, Any] = {"rules": {}, "backends": {}, "filters": {}, "timeout": {}, "retries": {}}
    for match, outcome in kept:
        text = in_words(match)
        if text not in out["rules"]:
            for aspect, value in outcome.items():
                if value:
                    out[aspect][text] = value
    if not any(match.everything or not (_match_parts(match) or match.others) for match, *_ in live):
        out["unmatched"] = "404"
    own = _pods(world, Backend(routes.service, routes.host), port)
    if not entrance and out["rules"] == {EVERYTHING: "routes"} and out["backends"] == {EVERYTHING: {own: "1"}}:
        out["rules"], out["backends"] = {}, {}  # what would be so without any rule
    return {key: value for key, value in out.items() if value} or None


def ways(world: World, routes: ServiceRoutes, port: int | None, mesh: str) -> list[tuple[RouteMatch, dict[str, Any], RouteRule]]:
    """The rules of one port as a first-match list: what each takes, what becomes of it, and the rule; without those that an earlier one takes all of."""
    rules = in_order(routes)
    if routes.unmatched == "forward" and not any(rule.everything for rule in rules):
        rules.append(RouteRule("other", (), ()))
    live: list[tuple[RouteMatch, dict[str, Any], RouteRule]] = []
    known = Stems[RouteMatch]()
    for rule in rules:
        outcome = _outcome(world, routes, rule, port, mesh)
        if _refuses(rule) and any(of_mesh(match) and met(match).everything for match in _on_port(rule, port)):
            break
        for match in [one for each in _on_port(rule, port) for one in _by_method(each)]:
            for part in rewrites.parted(rule, match):
                inner = met(part)
                if of_mesh(match) and not any(contained(inner, earlier) for earlier in known.around(inner)):
                    live.append((inner, _with_rewrite(outcome, rule, match, part), rule))
                    known.add(inner, inner)
    return live


def _with_rewrite(outcome: dict[str, Any], rule: RouteRule, match: RouteMatch, narrow: RouteMatch | None = None) -> dict[str, Any]:
    """The outcome with what a rewrite comes to for the requests of this match, or of a narrower one."""
    filters = dict(outcome["filters"])
    if (item := rule.filter("rewrite")) is not None and not rule.answers:
        filters.pop("rewrite", None)
        if found := rewrites.described(item, match, narrow):
            filters["rewrite"] = found
    if (item := rule.filter("redirect")) is not None and (text := rewrites.described(item, match, narrow).get("path")) is not None:
        said = {name: value for name, value in filters["redirect"].items() if name not in ("path", "prefix")}
        whole = text.startswith("becomes ")
        filters["redirect"] = {**said, "path" if whole else "prefix": text.removeprefix("becomes ")}
    return {**outcome, "filters": filters}


def _refuses(rule: RouteRule) -> bool:
    """Whether the rule answers 404 by itself, as if there were none."""
    answer = rule.filter("direct-response")
    status = answer.part("status") if answer is not None else None
    return status is not None and status.value == 404


def _on_port(rule: RouteRule, port: int | None) -> list[RouteMatch]:
    """The matches as they are for requests to one port."""
    found = []
    for match in rule.matches or (RouteMatch(),):
        if match.port is None:
            found.append(match)
        elif match.port.value == port:
            found.append(replace(match, port=None))
    return found


def _by_method(match: RouteMatch) -> list[RouteMatch]:
    """A match on several methods as one for each, which is how routes write it."""
    listed = methods(match.method.value) if match.method is not None else None
    if match.method is None or listed is None or len(listed) < 2:
        return [match]
    return [replace(match, method=Fact(Pattern("exact", method), match.method.src)) for method in listed]


def in_words(match: RouteMatch) -> str:
    """The requests of a match in words; equal for equal matches."""
    return " and ".join(sorted(_match_parts(match))) or EVERYTHING


def _match_parts(match: RouteMatch) -> list[str]:
    parts = []
    if match.path is not None and (key := path_key(match.path.value)):
        parts.append(f"path {key}")
    if match.method is not None:
        parts.append(f"method {' or '.join(methods(match.method.value) or (value_key(match.method.value),))}")
    for what, values in (("header", match.headers), ("query", match.query)):
        parts.extend(f"{what} {name} {value_key(fact.value)}" for name, fact in values)
    for name, fact in match.others:
        if name == "withoutHeaders" and isinstance(fact.value, dict):
            parts.extend(f"without header {key.lower()} {_form(value)}" for key, value in fact.value.items())
        elif name != "gateways":
            parts.append(f"{name} {_form(fact.value)}")
    return parts


def _form(value: Any) -> str:
    """A StringMatch of Istio, of which `{}` and the expression `*` ask for presence."""
    return "any" if value in ({}, {"regex": "*"}) else str(value)


def _outcome(world: World, routes: ServiceRoutes, rule: RouteRule, port: int | None, mesh: str) -> dict[str, Any]:
    """What becomes of a request that the rule takes, by aspect."""
    out: dict[str, Any] = {"rules": "answers itself" if rule.answers else "routes"}
    if not rule.answers:
        out["backends"] = shares(world, rule.backends or (Backend(routes.service, routes.host),), port, routes)
        out["retries"] = retries(rule.retry, mesh)
    extras = {name: fact for name, fact in rule.extras if not (rule.answers and name == "backendRequest")}
    if "attempts" in out.get("retries", ()) and "per try" not in out["retries"] and rule.retry is not None and "backendRequest" in extras:
        out["retries"] = {**out["retries"], "per try": one_unit(extras.pop("backendRequest").value)}  # what is sent to a backend is one try
    times = {"request": rule.timeout, "response": rule.response_timeout, "idle": rule.idle_timeout}
    if "backendRequest" in extras and (rule.retry is None or rule.retry.none):  # the only try is the request
        alone = extras.pop("backendRequest")
        times["request"] = min(
            (fact for fact in (rule.timeout, alone) if fact is not None and fact.value), key=lambda fact: fact.value, default=None
        )
    shown = {name: one_unit(fact.value) for name, fact in times.items() if fact is not None and fact.value and not rule.answers}
    shown.update(
        {name: one_unit(fact.value) if isinstance(fact.value, int) else str(fact.value) for name, fact in extras.items() if name != "name"}
    )
    filters = _filters(rule.filters, world, port)
    for name in ("request-headers", "mirror") if rule.answers else ():
        filters.pop(name, None)  # nobody is sent the request, nor a copy of it
    for backend in rule.backends:
        if backend.filters:
            filters[f"on the way to {_pods(world, backend, port)}"] = _filters(backend.filters, world, port, rewrites=True)
    return {**out, "timeout": shown, "filters": filters}


def _filters(filters: tuple[Filter, ...], world: World, port: int | None, *, rewrites: bool = False) -> dict[str, Any]:
    """What filters do, with `rewrites` in their own words; those of a rule are described by the requests that it takes."""
    out: dict[str, Any] = {}
    for item in (each.acting for each in filters):
        if item.kind == "mirror" and item.part("host") is not None:
            copies = out.setdefault("mirror", {})
            copies[_copied_to(item, world, port)] = _percent(share.value if (share := item.part("percent")) is not None else 100)
        elif item.parts and (rewrites or item.kind != "rewrite"):
            repeated = sum(1 for key in out if key.partition(" ")[0] == item.kind)
            out[f"{item.kind} {repeated + 1}" if repeated else item.kind] = _parts(item)
    return out


def _parts(item: Filter) -> dict[str, Any]:
    """The members of a filter. Durations of faults and of CORS have one unit, and their lists no order."""
    parts = sorted(item.parts, key=lambda part: part[0])
    if item.kind not in ("fault", "cors"):
        return {name: "" if name.startswith("remove:") else str(fact.value).replace("%%", "%") for name, fact in parts}
    found: dict[str, set[str]] = {}
    for name, fact in parts:
        shown = _percent(fact.value) if item.kind == "fault" and "percent" in name else _spelled(fact.value)
        found.setdefault(_POSITION.sub("", name), set()).add(shown)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def _percent(value: Any) -> str:
    """A share in percent, as far as Envoy tells shares apart: by whole parts of a million."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return str(int(Fraction(str(value)) * 10_000) / 10_000)


def _copied_to(mirror: Filter, world: World, asked: int | None) -> str:
    """The pods that get copies of requests to a port."""
    host, port, subset, labels = (mirror.part(name) for name in ("host", "port", "subset", "labels"))
    assert host is not None
    words = str(host.value).split(".")
    service = Fact(Ref(words[1], words[0]), host.src) if len(words) > 2 and words[2] == "svc" else None
    ports = ports_of(world, service.value) if service is not None else ()
    shown = port if port is not None and (port.value,) != ports else None
    return _pods(world, Backend(service, host, shown, subset, labels.value if labels is not None else None), asked if len(ports) > 1 else 0)


def shares(world: World, backends: tuple[Backend, ...], port: int | None, routes: ServiceRoutes | None = None) -> dict[str, str]:
    """The pods that backends reach with their shares; `routes` are those that they are of, where that is of interest."""
    weights = (
        [Fraction(1)]
        if len(backends) == 1
        else [Fraction(backend.weight.value if backend.weight is not None else 0) for backend in backends]
    )
    total = sum(weights) or Fraction(1)
    out: dict[str, Fraction] = {}
    for backend, weight in zip(backends, weights, strict=True):
        if weight:
            name = _pods(world, backend, port) + (_reached(world, backend, port, routes) if routes is not None else "")
            out[name] = out.get(name, Fraction(0)) + weight / total
    return {name: str(out[name]) for name in sorted(out)}


def _reached(world: World, backend: Backend, port: int | None, routes: ServiceRoutes) -> str:
    """What tells the port of a backend from the one that a request came for: that its Service has none such, or another port of the pods."""
    known = world.services.get(backend.service.value) if backend.service is not None else None
    own = world.services.get(routes.service.value) if routes.service is not None else None
    mine = own.port(port) if own is not None and port else None
    if known is None or mine is None or not known.ports:
        return ""
    number = backend.port.value if backend.port is not None else port
    there = known.port(number) if number is not None else None
    if there is None:
        return f" (no port {number})"
    labels = {**(known.selector or {}), **(dict(backend.labels.labels) if backend.labels is not None else {})}
    members = world.selected(PodSet(known.ref.namespace, Selector.of(labels))) if labels else []
    numbers, asked = ({world.target_number(pod, one) for pod in members} or _told(one) for one in (there, mine))
    if numbers == asked or not (numbers and asked):
        return ""  # also where no pod tells what a name stands for
    return f" (container port {', '.join(sorted(map(str, numbers)))})"


def _told(port: ServicePort) -> set[int | None]:
    """The port of pods that nobody shows, where the Service has its number."""
    return {int(port.target)} if is_number(str(port.target)) else set()


def _pods(world: World, backend: Backend, port: int | None) -> str:
    """The pods that a backend reaches; the Service's name where it is not known."""
    suffix = f":{backend.port.value}" if backend.port is not None and port is not None and backend.port.value != port else ""
    if backend.service is None:
        chosen = f" {Selector.of(dict(backend.labels.labels))}" if backend.labels else f" {backend.subset.value}" if backend.subset else ""
        return f"host {backend.host.value}{chosen}{suffix}"
    ref: Ref = backend.service.value
    known = world.services.get(ref)
    if port is None and backend.port is not None and (known is None or [one.number for one in known.ports] != [backend.port.value]):
        suffix = (
            f":{backend.port.value}"  # from outside: no port of the request's stands for the backend's, unless the Service has just one
        )
    if backend.subset is not None and backend.labels is None:
        return f"Service {ref.namespace}/{ref.name}-{backend.subset.value}{suffix}"
    if known is None or known.selector is None:
        return f"Service {ref}{'-' + backend.subset.value if backend.subset else ''}{suffix}"
    labels = {**known.selector, **(dict(backend.labels.labels) if backend.labels else {})}
    given = "".join(f", {key} {value}" for key, value in known.given.items())
    return f"{PodSet(ref.namespace, Selector.of(labels))}{suffix}{given}"


def retries(retry: Retry | None, mesh: str) -> dict[str, Any]:
    """The retries that a rule asks for, or that the mesh makes unasked."""
    if retry is None:
        return {"attempts": ISTIO_RETRIES, "on": ", ".join(sorted(ISTIO_CONDITIONS))} if mesh == "istio" else {}
    if retry.attempts is None or retry.none:
        return {}
    words = {fact.value for fact in retry.conditions if fact.value not in _IMPLICIT}
    if not words and mesh == "istio":
        words = set(ISTIO_CONDITIONS)
    if mesh == "linkerd" and not words:
        words = {"refused-stream"}
    out: dict[str, Any] = {"attempts": retry.attempts.value, "on": ", ".join(_conditions(words))}
    if retry.per_try_timeout is not None and retry.per_try_timeout.value:
        out["per try"] = one_unit(retry.per_try_timeout.value)
    out.update({name: _spelled(fact.value) for name, fact in retry.extras})
    return out


def _conditions(words: set[str]) -> list[str]:
    """Retry conditions, with the codes that they name as the shortest list of ranges, however they were written."""
    codes: set[int] = set()
    named: set[str] = set()
    for word in words:
        low, dash, high = ("409" if word == "retriable-4xx" else word).partition("-")
        if is_number(low) and (not dash or is_number(high)):
            codes.update(range(int(low), int(high or low) + 1))
        else:
            named.add(word)
    if {*range(500, 600)} <= codes:
        named.add("5xx")
    if "5xx" in named:
        codes -= {*range(500, 600)}
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return sorted([*named, *(str(low) if low == high else f"{low}-{high}" for low, high in runs)])


def breaker(policy: ServicePolicy, said: Breaker, mesh: str) -> dict[str, Any]:
    """How endpoints of a Service are ejected, in one form for every mesh."""
    out: dict[str, Any] = {"consecutive": said.consecutive.value, "penalty": one_unit(said.penalty.value)}
    if mesh in ("istio", "cilium"):  # both are Envoy
        interval = said.extra("interval")
        percent = said.extra("maxEjectionPercent")
        longest = said.max_penalty.value if said.max_penalty is not None else 300_000
        out["max_penalty"] = one_unit(max(longest, said.penalty.value))
        shown = _spelled(interval.value) if interval is not None else "10s"
        if shown != "1s":
            out["interval"] = shown
        out["max_ejection_percent"] = percent.value if percent is not None and percent.value else 10
        skip = {"interval", "maxEjectionPercent"}
    else:
        out["max_penalty"] = one_unit(said.max_penalty.value if said.max_penalty is not None else 60_000)
        out["max_ejection_percent"] = 100
        skip = {"breaker.mode"}
    out.update({name: str(fact.value) for name, fact in said.extras if name not in skip and (name, fact.value) != ("minHealthPercent", 0)})
    return out  # no panic is what both do where nothing is said


def _settings(policy: ServicePolicy) -> dict[str, Any]:
    out = {}
    dead = gather(inert(policy))
    for path, fact in policy.extras:
        if (path == "tls.mode" and fact.value == "ISTIO_MUTUAL") or (
            path.startswith(LOCALITY) and (fact.src <= dead or fact.value is False)
        ):
            continue
        if path.startswith("retryBudget"):
            continue
        if path == "connectionPool.tcp.connectTimeout" and fact.value == "10s":
            continue  # what Istio and Envoy do where nothing is said
        if path == "loadBalancer.simple" and fact.value in LEAST_REQUEST:
            continue  # likewise
        path = _SAME_HASH.get((path, str(fact.value)), path)
        if not path:
            continue
        own = f"://{policy.ref.value.namespace}/"  # a reference that names its own namespace is the same without
        value = fact.value.replace(own, "://") if path == "tls.credentialName" and isinstance(fact.value, str) else fact.value
        out[path] = "{}" if path == _MAGLEV else _spelled(value, unit=1000 if path in _WHOLE_SECONDS else 1)
    return out


_RING, _MAGLEV = CONSISTENT_HASH + "ringHash", CONSISTENT_HASH + "maglev"
_SAME_HASH = {
    (_RING, "{}"): "",
    (f"{_RING}.minimumRingSize", "1024"): "",
    (f"{_MAGLEV}.tableSize", "65537"): _MAGLEV,
}
"""Settings of a hash with a value, by another one that says the same; "" is what is done where nothing is said."""


def _spelled(value: Any, unit: int = 1) -> str:
    """A setting as text, durations with one unit, of which whole ones of `unit` milliseconds count."""
    if isinstance(value, str) and is_number(value[:1]):
        try:
            return one_unit(milliseconds(value) // unit * unit)
        except ValueError:
            return value
    return str(value)
