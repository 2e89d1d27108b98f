"""ServiceProfiles and TrafficSplits as HTTPRoutes of the same Linkerd.

A profile switches routes, annotations and failure accrual of its Service off. So it goes as soon as routes say what it said, and what it had switched off
goes with it: otherwise that would begin to act. https://linkerd.io/2-edge/reference/service-profiles/
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.gateway_api.writing import warn
from meshport.dialects.linkerd.profiles import NOTHING, ROUTE_KEYS
from meshport.dialects.linkerd.routes import Lowering, route_api
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Src, sources
from meshport.ir.model import IR
from meshport.ir.routing import ServiceRoutes, explains, gather
from meshport.ir.world import Service
from meshport.mapping.table import version_key

LEGACY = ("ServiceProfile", "TrafficSplit")
BALANCER = "balancer."
FAILOVER = "failover.linkerd.io/"


def lower(ir: IR, out: Output, options: Options) -> None:
    """Routes for every Service that a profile or a split speaks for, and the removals that belong to them."""
    for routes in sorted(ir.routes, key=lambda item: (item.host.value, item.ref.value, item.port.value if item.port else 0)):
        if routes.kind not in LEGACY:
            warn(routes, out)
        elif routes.problem:
            out.finding(
                routes.problem, routes.src | gather(routes.rules), document=routes.document, disposition="invalid",
                subject=routes.subject_name, object=_shown(routes),
            )  # fmt: skip
        elif why := _kept(routes, ir, out, options):
            for document in routes.documents or (routes.document,):
                out.imply("stays as it is", _all(out, document))
            out.finding(
                "MP334", document=routes.document, affects=_affects(routes), subject=routes.subject_name, object=_shown(routes), why=why
            )
        else:
            _convert(routes, ir, out, options)
    for number in sorted({out.bundle.number(min(fact.src)) for fact in ir.idle if fact.value == NOTHING}):
        out.remove(number, NOTHING)


def _shown(routes: ServiceRoutes) -> str:
    return f"{routes.kind} {routes.ref.value}"


def _affects(routes: ServiceRoutes) -> tuple[Affected, ...]:
    return (Affected(routes.service.value.namespace, routes.service.value.name),) if routes.service is not None else ()


def _kept(routes: ServiceRoutes, ir: IR, out: Output, options: Options) -> str:
    """Why a profile or split stays what it is; the empty text where it becomes routes."""
    if any(_shifted(out.bundle.documents[number].value) for number in routes.documents or (routes.document,)):
        return "linkerd-failover shifts the weights of TrafficSplits and of nothing else"
    release = version_key(options.target_version)
    if routes.service is None:
        return f"{routes.host.value} is no Service of the cluster, and only a Service can have routes"
    ref = routes.service.value
    service = ir.world.services.get(ref)
    if service is None:
        return f"Service {ref} is not in the input, so its ports are unknown (kubectl get service {ref.name} -n {ref.namespace} -o yaml)"
    if service.headless or service.external_name:
        return f"{routes.subject_name} is {'headless' if service.headless else 'of type ExternalName'}, and no route attaches to such a Service"
    if route_api(options.target_version) is None:
        return f"Linkerd {options.target_version} reads no route on a Service"
    if release < (2, 16) and any(rule.retry is not None and not rule.retry.none for rule in routes.rules):
        return f"Linkerd {options.target_version} retries through a ServiceProfile only"
    if release < (2, 14) and (routes.consumer is not None or any(rule.timeout is not None for rule in routes.rules)):
        return f"a route of Linkerd {options.target_version} has no timeout and is for all clients"
    if routes.consumer is not None and any(key.startswith((*ROUTE_KEYS, BALANCER)) for key in service.annotations):
        return "the annotations of the Service, which hold for all other clients, would hold for those of the profile as well"
    if not _ports(service):
        return f"every port of {routes.subject_name} is opaque, where no route acts"
    return ""


def _shifted(split: Any) -> bool:
    """Whether an operator changes the weights of a split as it is told there (linkerd.io/2-edge/tasks/automatic-failover)."""
    metadata = split.get("metadata")
    marks = [metadata.get(key) for key in ("labels", "annotations")] if isinstance(metadata, dict) else []
    return any(key.startswith(FAILOVER) for each in marks if isinstance(each, dict) for key in each if isinstance(key, str))


def _ports(service: Service) -> list[int]:
    """The ports on which Linkerd looks for HTTP."""
    return [port.number for port in service.ports if port.protocol == "TCP" and not service.is_opaque(port.number)]


def _convert(routes: ServiceRoutes, ir: IR, out: Output, options: Options) -> None:
    assert routes.service is not None
    service = ir.world.services[routes.service.value]
    objects, said = set(out.objects), len(out.findings)
    Lowering(
        ir, out, options, routes, service, name=service.ref.name if routes.kind == "ServiceProfile" else "", ports=_ports(service)
    ).write()
    made = sorted(ref.name for _, kind, ref in set(out.objects) - objects if kind == "HTTPRoute")
    if not made:
        del out.findings[said:]
        why = "its rules do not fit into routes, which take 64 matches and 16 rules"
        out.finding(
            "MP334", document=routes.document, affects=_affects(routes), subject=routes.subject_name, object=_shown(routes), why=why
        )
        return
    _budget(routes, ir, out)
    _clear(routes, service, out, f"its meaning is in HTTPRoute {', '.join(made)}, which has no effect beside it")


def _clear(routes: ServiceRoutes, service: Service, out: Output, reason: str) -> None:
    """List the profile and the split for removal, and what they had switched off."""
    for document in routes.documents:
        out.remove(document, reason)
    silent: dict[int, Src] = {}
    for why, src in routes.silenced:
        out.ignore(why, src)
        for leaf in src:
            number = out.bundle.number(leaf)
            silent[number] = silent.get(number, NOWHERE) | {leaf}
    for number, src in sorted(silent.items()):
        if number not in routes.documents:
            _silenced(number, src, routes, service, out)
    if routes.consumer is None:
        _breaker(routes, service, out)


def _budget(routes: ServiceRoutes, ir: IR, out: Output) -> None:
    """Retries of a profile have a budget and no limit, those of annotations a limit and no budget."""
    retried = [rule for rule in routes.rules if rule.retry is not None and not rule.retry.none]
    if retried:
        out.finding(
            "MP411", *(rule.retry.attempts for rule in retried if rule.retry is not None), document=routes.document, disposition="approximated",
            affects=_affects(routes), explains=explains(ir.world, routes, "retries"), object=_shown(routes), subject=routes.subject_name,
            rules=", ".join(rule.name for rule in retried),
        )  # fmt: skip


def _silenced(number: int, src: Src, routes: ServiceRoutes, service: Service, out: Output) -> None:
    """What the profile had switched off leaves with it."""
    document = out.bundle.documents[number]
    said: dict[str, Any] = {
        "document": number,
        "affects": _affects(routes),
        "object": f"{document.kind} {document.namespace}/{document.name}",
        "profile": _shown(routes),
        "subject": routes.subject_name,
    }
    if document.kind in LEGACY:
        out.ignore("another object speaks for the Service", _all(out, number))
        out.remove(number, f"it does nothing beside {_shown(routes)}, and would act once that is gone")
    elif document.kind in ("HTTPRoute", "GRPCRoute"):
        parents = document.value["spec"]["parentRefs"]
        others = [parent for parent in parents if not _is_parent(parent, service, document.namespace or "")]
        if others:
            obj = out.change(number, group=f"service {service.ref.name}", rank=30)
            obj.set(("spec", "parentRefs"), others, src)
        else:
            src = out.bundle.saying(document)
            said["disposition"] = "invalid"
            out.remove(number, f"{_shown(routes)} had switched it off; it would act once that is gone")
        out.finding("MP335", src, **said)
    elif document.kind == "Service" and (keys := _keys(out, number, src)):
        obj = out.change(number, group=f"service {service.ref.name}", rank=20)
        for key in keys:
            obj.drop(("metadata", "annotations", key), _speaking(routes, out))
        out.finding("MP412", src, annotations=", ".join(keys), **said)


def _breaker(routes: ServiceRoutes, service: Service, out: Output) -> None:
    document = out.bundle.documents[service.document]
    notes = document.value["metadata"].get("annotations")
    keys = [key for key in (notes if isinstance(notes, dict) else {}) if str(key).startswith(BALANCER)]
    if not keys:
        return
    obj = out.change(service.document, group=f"service {service.ref.name}", rank=20)
    src = frozenset(leaf for key in keys for leaf in _leaf(out, service.document, key))
    for key in keys:
        obj.drop(("metadata", "annotations", key), _speaking(routes, out))
    out.ignore("a ServiceProfile of the Service switches its failure accrual off", src)
    out.finding(
        "MP507", src, document=service.document, affects=_affects(routes), object=f"Service {service.ref}", profile=_shown(routes),
        annotations=", ".join(keys), subject=routes.subject_name,
    )  # fmt: skip


def _speaking(routes: ServiceRoutes, out: Output) -> Src:
    """Why what a profile or a split had switched off leaves the Service: that it is there, and what it is called by."""
    return sources(routes.service, *(out.called(number) for number in routes.documents))


def _is_parent(parent: Any, service: Service, namespace: str) -> bool:
    return (
        isinstance(parent, dict)
        and parent.get("kind") == "Service"
        and parent.get("name") == service.ref.name
        and parent.get("namespace", namespace) == service.ref.namespace
    )


def _keys(out: Output, number: int, src: Src) -> list[str]:
    notes = out.bundle.documents[number].value["metadata"].get("annotations")
    return [key for key in (notes if isinstance(notes, dict) else {}) if key.startswith(ROUTE_KEYS) and _leaf(out, number, key) & src]


def _leaf(out: Output, number: int, key: str) -> Src:
    found = out.bundle.documents[number].leaves["metadata"]["annotations"].get(key)
    return frozenset((found,)) if isinstance(found, int) else NOWHERE


def _all(out: Output, number: int) -> Src:
    document = out.bundle.documents[number]
    return frozenset(range(document.first, document.first + document.count))
