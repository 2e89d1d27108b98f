"""One request in one bundle, step by step, with the places that decide: `meshport trace` and `meshport.trace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from meshport.compare.decision import Step
from meshport.compare.edge import take
from meshport.compare.journey import ANSWERED, follow, ports_of
from meshport.compare.request import Request, parse
from meshport.compare.routed import spoken, unasked
from meshport.dialects.gateway_accounts import accounts_of
from meshport.errors import UsageError
from meshport.ir.base import NOWHERE, Ref, Src
from meshport.ir.routing import gather

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.table import Table


@dataclass(slots=True)
class TraceStep:
    """A question on the way and its answer. `file`, `line` (from 1) and `path` say where the answer stands, None where nothing of the bundle says it."""

    what: str
    outcome: str
    file: str | None = None
    line: int | None = None
    path: str | None = None


@dataclass(slots=True)
class TraceRule:
    """The object and rule that decides."""

    kind: str
    namespace: str | None
    name: str
    text: str
    file: str | None = None
    line: int | None = None


@dataclass(slots=True)
class Trace:
    """What becomes of a request.

    `verdict` is allow, deny, unrouted (no route takes it: 404), answered (the caller's own proxy answers it) or undecided. `allowed` is None where the
    verdict is undecided. `rule` is what decides, None where nothing of the bundle does. `route` says where the caller's proxy sends it, None where no proxy
    routes it: `backends` are {to, share, service, port}, `sent` is the path, host and headers that the pods get, `answer` the status (and location) that the proxy
    answers by itself.
    """

    verdict: str
    request: dict[str, Any]
    rule: TraceRule | None
    route: dict[str, Any] | None
    steps: list[TraceStep] = field(default_factory=list)

    @property
    def allowed(self) -> bool | None:
        return None if self.verdict == "undecided" else self.verdict in ("allow", ANSWERED)

    def as_dict(self) -> dict[str, Any]:
        """The trace as `--format json` prints it."""
        return {"verdict": self.verdict, "allowed": self.allowed, "request": self.request, "rule": asdict(self.rule) if self.rule else None,
                "route": self.route, "steps": [asdict(step) for step in self.steps]}  # fmt: skip


def trace(bundle: Bundle, request: Mapping[str, Any], table: Table, mesh: str = "auto", *, port_name: str = "", **rest: Any) -> Trace:
    """Follow a request (the contract's REQUEST); `port_name` is that of a port of its Service, in place of the number. Raises UsageError for a request that cannot be understood."""
    from meshport import pipeline
    from meshport.options import resolve

    options = resolve(bundle, table, source=mesh, target="istio", **rest)
    ir, _ = pipeline.lift(bundle, table, options)
    ir.beside += pipeline.also_in_force(bundle, table, options)
    if port_name:
        request = _numbered(request, port_name, ir.world)
    asked = parse(_of_gateway(request, ir, bundle), ir.world, options.trust_domain)
    found = follow(ir, asked, options)
    found.steps[1:1] = _at_gateways(ir, asked)
    rule = None
    if found.rule is not None and found.rule.ref is not None:
        file, line, _path = _place(bundle, found.rule)
        ref = found.rule.ref
        rule = TraceRule(found.rule.kind, ref.namespace or None, ref.name, f"{found.rule.what}: {found.rule.outcome}", file, line)
    route = None
    if found.route is not None:
        own = found.route
        said = {"namespace": own.ref.namespace or None, "name": own.ref.name} if own.ref is not None else {"namespace": None, "name": None}
        route = {"kind": own.kind or None, **said, "backends": own.backends, "filters": dict(own.filters), "timeout": dict(own.timeout),
                 "retries": dict(own.retries), "breaker": dict(own.breaker), "sent": dict(own.sent), "answer": dict(own.answer)}  # fmt: skip
    steps = [TraceStep(step.what, step.outcome, *_place(bundle, step)) for step in found.steps]
    return Trace(found.verdict, dict(request), rule, route, steps)


def _numbered(request: Mapping[str, Any], name: str, world: World) -> Mapping[str, Any]:
    """The request with the number of the port of its Service that has a name."""
    destination = request["destination"]
    ref = Ref(str(destination.get("namespace")), str(destination.get("service")))
    service = world.services.get(ref)
    if service is None:
        raise UsageError(f"port {name!r}: the bundle shows no Service {ref}, whose ports have names; give the number")
    number = next((item.number for item in service.ports if item.name == name), None)
    if number is None:
        raise UsageError(f"port {name!r}: Service {ref} has no port of that name; it has {ports_of(service)}")
    return {**request, "destination": {**destination, "port": number}}


def _of_gateway(request: Mapping[str, Any], ir: IR, bundle: Bundle) -> Mapping[str, Any]:
    """The request with the account that a Gateway calls under, where the caller is the workload that Istio makes for it: no bundle shows that one."""
    source = request.get("source")
    if not isinstance(source, Mapping) or any(source.get(key) for key in ("service_account", "identity", "labels")) or "meshed" in source:
        return request
    home, name = source.get("namespace"), source.get("workload")
    for gateway in ir.gateways if ir.mesh == "istio" and not any(pod.ref.name == name for pod in ir.world.of_namespace(str(home))) else ():
        ref = gateway.ref.value
        made = gateway.kind.startswith("gateway.networking") and ref.namespace == home
        if made and name in (ref.name, f"{ref.name}-{gateway.implementation.value or 'istio'}"):
            for account in accounts_of(gateway, ir.world, bundle):
                return {**request, "source": {**source, "service_account": account.name}}
    return request


def _at_gateways(ir: IR, request: Request) -> list[Step]:
    """Which route of a Gateway takes a request from outside, where one does. Pods judge the Gateway's own call, so that it is to be traced for itself."""
    if request.caller.pod or not request.http or not request.host:
        return []
    taken = take(ir, request)
    if taken is None:
        return []
    routes = taken.routes
    told = spoken({name: value for name, value in taken.outcome.items() if value and not (name == "retries" and unasked(taken.rule.retry))})
    again = "" if taken.rule.answers else "; the Gateway then calls as itself: trace that with its workload as the caller"
    what = f"at the {taken.subject.removeprefix('ingress of ')}, for {taken.host}: {routes.kind} {routes.ref.value}"
    return [Step(what, told + again, routes.ref.value, routes.kind, routes.document, gather(taken.rule, taken.match) or routes.src)]


def _place(bundle: Bundle, step: Step) -> tuple[str | None, int | None, str | None]:
    src: Src = step.src
    leaf = _first(bundle, src, step.document) if src != NOWHERE else None
    if leaf is None:
        return None, None, None
    return bundle.owner(leaf).file, bundle.line(leaf), bundle.path(leaf)


def _first(bundle: Bundle, src: Src, document: int | None) -> int | None:
    """The first leaf, of the deciding document where one is known to decide."""
    if document is not None and 0 <= document < len(bundle.documents):
        home = bundle.documents[document]
        own = [leaf for leaf in src if home.first <= leaf < home.first + home.count]
        if own:
            return min(own)
    return min(src, default=None)
