"""Which sets of rules get HTTPRoutes on a Service, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.losses import report
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref
from meshport.ir.routing import (
    ServiceRoutes,
    explains,
    gather,
    ports_of,
)
from meshport.mapping.bound import MESH_NAMES

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import Service

DORMANT = "MP379"
"""The problem of routes in the mesh that no proxy of the source follows."""


def attachable(routes: ServiceRoutes, seen: dict[tuple[Ref, str], ServiceRoutes], ir: IR, say: Callable[..., None]) -> Service | None:
    """The Service that the rules can be attached to; None where there is none, after `say(code, ...)` has said why."""
    consumer = routes.consumer.value if routes.consumer is not None else ""
    if routes.service is None:
        no_service(routes, say)
    elif routes.kind == "VirtualService" and routes.protocol == "http" and (routes.service.value, consumer) in seen:
        say("MP311", because=routes.ref, other=str(seen[routes.service.value, consumer].ref.value))  # whose name or age goes before
    elif (service := ir.world.services.get(routes.service.value)) is None:
        ref = routes.service.value
        say("MP301", namespace=ref.namespace, name=ref.name, why="is not in the input, so that its ports and selector are unknown")
    elif service.headless or service.external_name:
        say("MP303", what="headless" if service.headless else "of type ExternalName")
    else:
        if routes.protocol not in ("tls", "tcp"):
            seen[routes.service.value, consumer] = routes
        return service
    return None


def second(item: ServiceRoutes, seen: dict[tuple[Ref, str], ServiceRoutes], ir: IR, out: Output, say: Callable[..., None]) -> bool:
    """Whether routes of Istio's mesh are for a host that rules of the other kind, VirtualServices or routes of the Gateway API, have taken: clients follow one
    of the two on a port. These leave then, for beside the others they would act."""
    if item.service is None or item.gateways or item.protocol in ("tls", "tcp"):
        return False
    if item.port is not None and ports_of(ir.world, item.service.value) != (item.port.value,):
        return False
    place = item.service.value, item.consumer.value if item.consumer is not None else ""
    first = seen.get(place)
    if first is None or "VirtualService" not in (item.kind, first.kind) or item.kind == first.kind:
        if item.kind != "VirtualService":
            seen.setdefault(place, item)
        return False
    say("MP311", because=item.ref, other=str(first.ref.value))
    for number in item.documents if item.kind != "VirtualService" else ():
        out.remove(number, f"{first.kind} {first.ref.value} goes before it, and beside what becomes of that it would act")
    return True


def no_service(routes: ServiceRoutes, say: Callable[..., None]) -> None:
    """Say that rules for a host that is no Service are left out; of one outside that the mesh knows, what ends with them."""
    through = [gateway.value for gateway in routes.gateways if gateway.value != "mesh"]
    if through and any(one.host.value.lower() == routes.host.value.lower() for rule in routes.rules for one in rule.backends):
        say("MP390", host=routes.host.value, gateways=", ".join(through))  # a way in would send to Services alone
        return
    if not routes.host.value:
        say("MP389", "invalid")
        return
    if routes.beyond is None:
        say("MP310", host=routes.host.value)
        return
    own = routes.host.value.lower()
    rules = routes.rules
    elsewhere = any(one.service is not None or one.host.value.lower() != own or one.subset for rule in rules for one in rule.backends)
    gone = {
        "the choice by path, headers or method": any(not rule.everything for rule in rules),
        "the way to other destinations": elsewhere,
        "retries": any(rule.retry is not None and not rule.retry.none for rule in rules),
        "timeouts": any(rule.timeout or rule.response_timeout or rule.idle_timeout for rule in rules),
        **{f"what they do on the way ({kind})": True for kind in sorted({item.kind for rule in rules for item in rule.filters})},
    }
    listed = [what for what, there in gone.items() if there]
    if routes.family == "linkerd" and listed == [next(iter(gone))]:
        return  # the way out that asks for more than a host is named where the others are opened
    bare = not listed
    listed = listed or ["nothing but Istio's own retries"]
    graver = elsewhere or any(rule.answers or rule.filter("rewrite") or not rule.everything for rule in rules)
    say("MP392", host=routes.host.value, what=", ".join(listed), severity="error" if graver else "info" if bare else "warning")


def dormant(item: ServiceRoutes, ir: IR, out: Output) -> None:
    """Take a route away that no proxy of the source followed: the target's would."""
    every = [routes for routes in ir.routes if {item.document, *item.documents} & {routes.document, *routes.documents}]
    if item.problem == DORMANT and all(routes.problem == DORMANT for routes in every):
        for number in item.documents or (item.document,):
            out.remove(number, "no proxy followed it; it would act once one does")


def speaker(routes: ServiceRoutes, ir: IR, out: Output) -> Callable[..., None]:
    """What says a finding about a whole set of rules: `say(code, disposition, **values)`."""
    shown: dict[str, Any] = {"subject": routes.subject_name, "object": f"{routes.kind} {routes.ref.value}", "host": routes.host.value}
    place = routes.service.value if routes.service is not None else None
    affects = (Affected(place.namespace, place.name, routes.port.value if routes.port else None),) if place is not None else ()
    every = explains(ir.world, routes, *ASPECTS)

    def say(code: str, disposition: str | None = "dropped", because: Fact[Any] | None = None, **values: Any) -> None:
        out.finding(
            code,
            routes.src | gather(routes.rules),
            because,
            document=routes.document,
            disposition=disposition,
            affects=affects,
            explains=every,
            **{**shown, "mesh": MESH_NAMES.get(out.target, out.target), **values},
        )

    return say


def of_the_mesh(routes: ServiceRoutes, out: Output) -> None:
    """Account for the name of the mesh among gateways, and for who sees the rules."""
    place = routes.service.value if routes.service is not None else None
    affects = (Affected(place.namespace, place.name, None),) if place is not None else ()
    for gateway in routes.gateways:
        if gateway.value == "mesh" and len(routes.gateways) > 1:
            out.imply("clients in the mesh follow it, as they follow every route on a Service", gateway)
        elif gateway.value == "mesh":
            out.ignore("mesh is what a VirtualService is bound to when it names no gateway", gateway)
    for fact in routes.exports if routes.consumer is None else ():
        if fact.value == "*":
            out.decide("clients everywhere go by the rules; of one namespace alone they would have routes of their own", fact)
        else:
            report(
                out, fact, "MP356", routes.document, affects, frozenset(),
                subject=routes.subject_name, object=f"{routes.kind} {routes.ref.value}",
            )  # fmt: skip
