"""How Linkerd says resilience: annotations on Services and routes; both directions.

A breaker needs its four annotations together: with a minimum penalty above the maximum, which is one minute unless said, Linkerd switches
it off without a
word. https://linkerd.io/2-edge/reference/circuit-breaking/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import exposure
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import backends
from meshport.dialects.gateway_api.annotations import annotations_of
from meshport.dialects.gateway_api.durations import milliseconds, one_unit
from meshport.dialects.losses import clients_alone, in_force, names_nothing, report
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref
from meshport.ir.exposure import LOCALITY
from meshport.ir.resilience import Breaker, Retry, ServicePolicy, explains_breaker, explains_policy, same_on_each_port, single_ports
from meshport.ir.routing import gather, ports_of

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import Service, World
    from meshport.mapping.bound import Bound

ACCRUAL = "balancer.linkerd.io/failure-accrual"
MAX_PENALTY = 300_000  # Envoy's max_ejection_time, which Istio leaves as it is
_HTTP = re.compile(r"5xx|gateway-error|[1-5]\d\d(?:-[1-5]\d\d)?")
GRPC = ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")


# -- lift


def lift_services(bound: Bound, world: World, ir: IR, profiled: set[Ref]) -> None:
    """Failure accrual and load balancing annotations of Services, with Linkerd's defaults; nothing where a ServiceProfile silences them."""
    for ref in sorted(world.services):
        service = world.services[ref]
        root = Cursor.root(bound, service.document)
        notes = annotations_of(root)
        own = {
            key: fact
            for key, fact in notes.items()
            if key.startswith(("balancer.linkerd.io/", "balancer.alpha.linkerd.io/")) and fact.feature
        }
        if not own:
            continue
        known = root.ref().holding(ref)
        base = ServicePolicy(known, "Service", known, known.map(lambda ref: f"{ref.name}.{ref.namespace}"), None, (), service.document)
        if ref in profiled:
            reason = "a ServiceProfile of the Service switches its failure accrual off"
            ir.service_policies.append(replace(base, silenced=((reason, gather(*own.values())),)))
            continue
        if service.headless or service.external_name:
            reason = "no failure accrual attaches to a Service without an address of its own"
            ir.service_policies.append(replace(base, silenced=((reason, gather(*own.values())),)))
            continue
        breaker, silenced = _breaker(own, ir)
        extras = tuple(
            (key.rpartition("/")[2], fact)
            for key, fact in sorted(own.items())
            if not key.startswith(ACCRUAL) and "failure-accrual" not in key
        )
        ir.service_policies.append(replace(base, breaker=breaker, extras=extras, silenced=silenced))


def _breaker(notes: dict[str, Fact[str]], ir: IR) -> tuple[Breaker | None, tuple[tuple[str, Any], ...]]:
    """The breaker, or why there is none: one value that cannot be read switches all of it off. The value that does so decides."""
    mode = notes.get(ACCRUAL)
    rest = {key: fact for key, fact in notes.items() if "failure-accrual" in key and key != ACCRUAL}
    if mode is None:
        return None, ((("failure accrual is off without the annotation " + ACCRUAL), gather(*rest.values())),) if rest else ()

    def off(why: str, *because: Fact[str] | None) -> tuple[None, tuple[tuple[str, Any], ...]]:
        ir.deciding.append(Fact(f"{why}; another value would not", gather(*because)))
        return None, ((why, gather(*rest.values(), mode)),)

    failures, lowest, highest = (rest.get(f"{ACCRUAL}-consecutive-{name}") for name in ("max-failures", "min-penalty", "max-penalty"))
    unread = [
        fact
        for fact, parse in ((failures, int), (lowest, milliseconds), (highest, milliseconds))
        if fact is not None and not _reads(fact, parse)
    ]
    if unread:
        return off("a value that cannot be read switches failure accrual off", *(unread if len(unread) == 1 else ()))
    count = failures.map(int) if failures else Fact(7, NOWHERE, "breaker.consecutive-errors")
    low, high = _penalty(lowest, 1000), _penalty(highest, 60_000)
    if low.value > high.value or not high.value:
        return off("a minimum penalty above the maximum (one minute unless said) switches failure accrual off", lowest, highest)
    said = {f"{ACCRUAL}-consecutive-max-failures", f"{ACCRUAL}-consecutive-min-penalty", f"{ACCRUAL}-consecutive-max-penalty"}
    extras = [("breaker.mode", mode)]
    extras += [(key.rpartition("/")[2].removeprefix("failure-accrual-"), fact) for key, fact in sorted(rest.items()) if key not in said]
    return Breaker(count, low, high, tuple(extras), gather(mode, *rest.values())), ()


def _reads(fact: Fact[str], parse: Callable[[str], Any]) -> bool:
    try:
        parse(fact.value)
    except ValueError:
        return False
    return True


def _penalty(fact: Fact[str] | None, default: int) -> Fact[int]:
    return fact.map(milliseconds) if fact is not None else Fact(default, NOWHERE, "breaker.base-ejection")


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """Breakers as annotations of their Services; the rest of a DestinationRule is named in findings."""
    policies = sorted(
        ir.service_policies, key=lambda item: (item.host.value, item.subset, item.port.value if item.port else 0, item.ref.value)
    )
    referred = gather(*(backend.labels for routes in ir.routes for rule in routes.rules for backend in rule.backends))
    _of_backends(ir, out)
    backends.unread(ir, out, "Linkerd", "a Gateway of another implementation goes by it")
    for policy in policies:
        if policy.kind in backends.GROUPS:
            continue
        for reason, src in policy.silenced:
            out.ignore(reason, src)
        if policy.kind == "Service" and ir.mesh != "cilium":
            out.imply("stays on the Service as it is", gather(policy.breaker, policy.extras))
            continue
        targets = policy.covers if policy.service is None else (policy.service.value,)
        policy = in_force(policy, ir, out)
        affects = tuple(Affected(ref.namespace, ref.name, policy.port.value if policy.port else None) for ref in targets)
        if policy.subset and not policy.src & (referred - gather(policy.host)):
            out.adds_nothing("no route sends to this subset", policy.src - gather(policy.host, policy.breaker, policy.extras))
        if clients_alone(policy, affects, out):
            continue
        _breaker_out(policy, targets, affects, ir, out)
        _extras_out(policy, affects, out)
        if policy.breaker is None:
            names_nothing(policy, ir, out, lambda whole: whole.breaker is not None and whole.breaker.consecutive.value != 0)


def _of_backends(ir: IR, out: Output) -> None:
    """Say where a rule sends to a Service with another breaker than the one that clients call, or with none: Linkerd goes by the latter."""
    known: dict[Ref, tuple[Any, ...]] = {}
    for policy in ir.service_policies:
        if policy.breaker is not None and policy.breaker.consecutive.value and not (policy.subset or policy.port or policy.beside):
            for ref in policy.covers if policy.service is None else (policy.service.value,):
                known.setdefault(ref, (policy.breaker.consecutive.value, policy.breaker.penalty.value))
    for routes in ir.routes:
        if routes.family != "istio" or routes.service is None or not routes.mesh or routes.service.value not in ir.world.services:
            continue
        own = routes.service.value
        for ref in sorted({backend.service.value for rule in routes.rules for backend in rule.backends if backend.service is not None}):
            if ref != own and known.get(ref) != known.get(own):
                out.finding(
                    "MP340", document=routes.document, affects=(Affected(own.namespace, own.name),), feature="breaker.consecutive-errors",
                    subject=routes.subject_name, backend=f"Service {ref}", object=f"{routes.kind} {routes.ref.value}",
                    guard=f"the breaker of Service {ref}" if ref in known else "no breaker",
                    instead="which has none" if own not in known else "which differs" if ref in known else "which has one",
                )  # fmt: skip


def _breaker_out(policy: ServicePolicy, targets: tuple[Ref, ...], affects: tuple[Affected, ...], ir: IR, out: Output) -> None:
    breaker = policy.breaker
    if breaker is None:
        return
    document = policy.document
    every = explains_breaker(policy, "consecutive", "penalty", "max_penalty", "interval", "max_ejection_percent")
    known = [ref for ref in targets if ref in ir.world.services]
    annotated = False
    bare = {
        port
        for ref in known
        for port, other in single_ports(ir.service_policies, policy, ref).items()
        if other.breaker is None and port in ports_of(ir.world, ref)
    }
    # lost as one where nothing is annotated
    whole = (breaker.consecutive, breaker.penalty, breaker.max_penalty, *(fact for _, fact in breaker.extras))
    alone = policy.port is not None and not all(
        same_on_each_port(ir.service_policies, policy, ref, ports_of(ir.world, ref)) for ref in targets
    )  # an annotation of the Service is for all its ports
    every |= explains_breaker(policy, *(path for path, _ in breaker.extras))
    if policy.subset or alone or bare:
        where = f"subset {policy.subset}" if policy.subset else f"port {policy.port.value if policy.port else ''}"
        if bare:  # an annotation of the Service would hold on these too
            where = f"the ports beside {', '.join(str(port) for port in sorted(bare))}"
            ports = [port for ref in known for port in ports_of(ir.world, ref)]
            every = frozenset((f"{subject} port {port}", aspect) for subject, aspect in every for port in ports)
        if policy.port is not None:  # the one breaker that there is holds on this port too
            every |= {(f"breaker of Service {ref}", aspect) for ref in targets for aspect in ("consecutive", "penalty", "max_penalty")}
        out.finding(
            "MP504", *whole, policy.host if bare else policy.port, document=document, disposition="dropped", affects=affects,
            explains=every, subject=policy.subject_name, where=where,
        )  # fmt: skip
    elif breaker.consecutive.value == 0:
        out.imply("no failures in a row eject an endpoint, and Linkerd ejects none by itself", breaker.consecutive)
        out.ignore("no endpoint is ejected", breaker.penalty if breaker.ejects else gather(breaker) - breaker.consecutive.src, policy.host)
    elif not known and any(host.value == policy.host.value for one in ir.outside for host in one.hosts):
        out.finding(
            "MP515", *whole, policy.host, document=document, disposition="dropped", affects=affects,
            explains=every, subject=policy.subject_name,
        )  # fmt: skip
    elif not known:
        missing = targets[0] if targets else None
        out.finding(
            "MP503", *whole, policy.host, document=document, disposition="dropped", affects=affects,
            explains=every, subject=policy.subject_name, namespace=missing.namespace if missing else "NAMESPACE",
            name=missing.name if missing else "NAME",
        )  # fmt: skip
    for ref in known if not policy.subset and not alone and not bare and breaker.consecutive.value else ():
        service = ir.world.services[ref]
        if service.headless:
            out.finding(
                "MP505", *whole, policy.host, document=document, disposition="dropped", affects=affects, explains=every,
                subject=policy.subject_name,
            )  # fmt: skip
            continue
        _annotate(service, policy, breaker, out)
        annotated = True
    if annotated:
        _defaults(policy, breaker, affects, out)
    elif breaker.consecutive.value or not breaker.ejects:
        return
    for path, fact in breaker.extras:
        if _linkerds_own(path, fact.value):
            out.imply("Linkerd looks at each response, and may eject every endpoint", fact)
            continue
        aspect = {"interval": "interval", "maxEjectionPercent": "max_ejection_percent"}.get(path, path)
        report(
            out,
            fact,
            "MP540",
            document,
            affects,
            explains_breaker(policy, aspect if breaker.consecutive.value else "*"),
            setting=f"outlierDetection.{path}",
            subject=policy.subject_name,
        )


def _linkerds_own(path: str, value: Any) -> bool:
    """Whether a setting of Envoy's asks for what Linkerd does."""
    if path == "interval":
        try:
            return milliseconds(str(value)) <= 1000
        except ValueError:
            return False
    return path == "maxEjectionPercent" and value == 100


def _annotate(service: Service, policy: ServicePolicy, breaker: Breaker, out: Output) -> None:
    obj = out.change(service.document, group=f"service {service.ref.name}", rank=20)
    obj.add_origin(policy.document)
    longest = breaker.max_penalty or breaker.penalty.holding(MAX_PENALTY)
    values = (
        (ACCRUAL, "consecutive", (breaker.consecutive, breaker.penalty)),
        (f"{ACCRUAL}-consecutive-max-failures", str(breaker.consecutive.value), (breaker.consecutive,)),
        (f"{ACCRUAL}-consecutive-min-penalty", one_unit(breaker.penalty.value), (breaker.penalty,)),
        (f"{ACCRUAL}-consecutive-max-penalty", one_unit(max(longest.value, breaker.penalty.value)), (breaker.penalty, longest)),
    )
    for key, value, because in values:
        obj.set(("metadata", "annotations", key), value, *because, policy.host, policy.port)
    obj.note(f"breaker from {policy.kind} {policy.ref.value}")


def _defaults(policy: ServicePolicy, breaker: Breaker, affects: tuple[Affected, ...], out: Output) -> None:
    """What Envoy does beside, unasked: it looks every ten seconds and ejects at most a tenth of the endpoints."""
    missing = {
        "interval": ("interval", "10s"),
        "maxEjectionPercent": ("max_ejection_percent", "10%"),
    }
    silent = [value for path, value in missing.items() if breaker.extra(path) is None]
    if silent:
        out.finding(
            "MP501", document=policy.document, affects=affects, explains=explains_breaker(policy, *(aspect for aspect, _ in silent)),
            subject=policy.subject_name, defaults=" and ".join(f"{aspect.replace('_', ' ')} {value}" for aspect, value in silent),
            source="Envoy" if policy.kind == "CiliumEnvoyConfig" else "Istio",
        )  # fmt: skip


def _extras_out(policy: ServicePolicy, affects: tuple[Affected, ...], out: Output) -> None:
    exposure.locality(policy, affects, out)
    for path, fact in policy.extras:
        if path.startswith(LOCALITY):
            continue
        if path == "tls.mode" and fact.value == "ISTIO_MUTUAL":
            out.ignore("what every mesh does by itself between two of its workloads", fact)
            continue
        explained = explains_policy(policy, path)
        report(out, fact, "MP540", policy.document, affects, explained, setting=path, subject=policy.subject_name)
    for fact in policy.exports if not policy.subset and policy.port is None else ():
        if fact.value == "*" or policy.clients:
            out.ignore("clients of its own namespace alone go by it" if policy.clients else "visible everywhere is the default", fact)
        else:
            report(out, fact, "MP356", policy.document, affects, frozenset(), setting="exportTo", subject=policy.subject_name)


# -- retries


def retry_annotations(retry: Retry, kind: str = "HTTPRoute") -> tuple[dict[str, tuple[str, tuple[Fact[Any], ...]]], list[Fact[str]]]:
    """A retry policy as annotations of a route of this kind, with their reasons, and the conditions that no annotation of it says."""
    notes: dict[str, tuple[str, tuple[Fact[Any], ...]]] = {}
    assert retry.attempts is not None
    if kind == "GRPCRoute":
        said = [fact for fact in retry.conditions if fact.value in GRPC]
    else:
        said = [fact for fact in retry.conditions if _HTTP.fullmatch(fact.value) or fact.value == "retriable-4xx"]
    implied = ("retriable-status-codes", "refused-stream")
    left = [fact for fact in retry.conditions if fact not in said and fact.value not in implied]
    if said:
        words = dict.fromkeys("409" if fact.value == "retriable-4xx" else fact.value for fact in said)
        notes["retry.linkerd.io/grpc" if kind == "GRPCRoute" else "retry.linkerd.io/http"] = (",".join(words), tuple(retry.conditions))
    notes["retry.linkerd.io/limit"] = (str(retry.attempts.value), (retry.attempts,))
    if retry.per_try_timeout is not None and retry.per_try_timeout.value:
        notes["retry.linkerd.io/timeout"] = (one_unit(retry.per_try_timeout.value), (retry.per_try_timeout,))
    return notes, left
