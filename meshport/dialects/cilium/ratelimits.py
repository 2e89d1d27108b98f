"""How Cilium says rate limits: Envoy's local rate limit filter in the listener of a CiliumEnvoyConfig; both directions.

The node's Envoy counts what its own pods send to the Service; what goes to a pod's own address passes it by.
https://docs.cilium.io/en/stable/network/servicemesh/envoy-traffic-management/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshport.dialects import local_ratelimit, ratelimits
from meshport.dialects.cilium import envoy, envoy_routes
from meshport.dialects.cilium.envoy_config import KIND, endpoints, installed, made, referred_services, routed_services, standing
from meshport.dialects.cursor import Cursor
from meshport.dialects.local_ratelimit import FILTER, MANAGER
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.ratelimit import RateLimit

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.world import Service, ServicePort, Workload
    from meshport.mapping.bound import Bound

LISTENER = envoy.TYPE + "config.listener.v3.Listener"


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The limits in the listeners that Services are sent to."""
    for root in envoy_routes.configs(bound, by_kind):
        listeners = [place for place in root.each("spec", "resources") if place.at("@type").value == LISTENER]
        for place in root.each("spec", "services"):
            for listener in listeners:
                wanted = place.text("listener")
                if wanted is None or wanted.value == listener.at("name").value:
                    _listener(root, place, listener, envoy_routes.service_of(root, place, options), ir)
                    break


def _listener(root: Cursor, place: Cursor, listener: Cursor, name: Fact[Ref] | None, ir: IR) -> None:
    service = ir.world.services.get(name.value) if name is not None else None
    for chain in listener.each("filter_chains"):
        for item in chain.each("filters"):
            if item.at("name").value != MANAGER:
                continue
            for one in item.each("typed_config", "http_filters"):
                read = local_ratelimit.read(one.at("typed_config"))
                if one.at("name").value != FILTER or read is None or read.bucket is None or read.other:
                    continue
                src = one.at("name").src | read.src | read.share.src | sources(name)
                ir.idle.append(Fact("names a counter or a runtime key, which limits nothing", read.inert, "rate-limit.total"))
                if read.share.value == 0:
                    idle: tuple[Fact[Any], ...] = (read.bucket.rate, read.bucket.burst, *read.extras, Fact("", src, "rate-limit.total"))
                    ir.losses.append(Loss("MP666", idle, root.number))
                    continue
                if read.share.value < 1 or service is None or service.pods is None:
                    code = "MP661" if read.share.value < 1 else "MP665"
                    facts: tuple[Fact[Any], ...] = (read.bucket.rate, read.bucket.burst, *read.extras, Fact("", src, "rate-limit.total"))
                    shown = f"{float(read.share.value * 100):g} %"
                    ir.losses.append(Loss(code, facts, root.number, {"share": shown, "service": str(name.value if name else "")}))
                    continue
                chosen = {fact.value: fact.src for one_port in place.each("ports") if (fact := one_port.fact(int)) is not None}
                pods = Fact(service.pods, sources(name), "rate-limit.target")
                for port in service.ports:
                    if port.protocol == "TCP" and (not chosen or port.number in chosen):
                        at: Fact[int | str] = Fact(port.target, chosen.get(port.number, NOWHERE) | port.target_src, "rate-limit.target")
                        ir.rate_limits.append(
                            RateLimit(root.ref(), KIND, root.number, pods, at, read.bucket, "node", extras=read.extras, src=src)
                        )


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """The filter in the listener of each Service in front of the limited pods."""
    routed = routed_services(ir, out)
    for limit in sorted(ir.rate_limits, key=lambda item: (item.ref.value, item.document)):
        ratelimits.beside_total(limit, ir, out)
        if limit.total is None:
            out.names("names what the other limits are for", limit.subject, limit.src | sources(limit.port))
            continue
        places: dict[tuple[Ref, int], tuple[Service, ServicePort, Src]] = {}
        reached: dict[tuple[Ref, int], list[tuple[Workload, int]]] = {}
        for workload, number, src, found in ratelimits.limits(ir):
            for service in ir.world.services_of(workload) if found is limit else ():
                for port in service.ports:
                    if port.protocol == "TCP" and ir.world.target_number(workload, port) == number:
                        _, _, before = places.get((service.ref, port.number), (service, port, NOWHERE))
                        places[service.ref, port.number] = (service, port, before | src)
                        reached.setdefault((service.ref, port.number), []).append((workload, number))
        limited = [(workload, number) for workload, number, _, found in ratelimits.limits(ir) if found is limit]
        written = [key for key in sorted(places) if _at_service(limit, *places[key], limited, ir, out, routed)]
        if not written:
            out.finding(
                "MP663", limit.src | limit.subject.src | limit.total.src | sources(limit.port), document=limit.document, disposition="dropped",
                affects=ratelimits.affected(limit, ir), explains=ratelimits.explained(limit, ir, "*"), feature="rate-limit.target",
                subject=limit.subject_name,
            )  # fmt: skip
            continue
        covered = {(id(workload), number) for key in written for workload, number in reached[key]}
        if missed := [(workload, number) for workload, number in limited if (id(workload), number) not in covered]:
            out.finding(
                "MP663", limit.subject, document=limit.document, disposition=None, feature="rate-limit.target", subject=limit.subject_name,
                affects=tuple(Affected(workload.ref.namespace, workload.ref.name, number) for workload, number in missed),
                explains=frozenset((ratelimits.subject(workload, number), "*") for workload, number in missed),
            )  # fmt: skip
        out.lost(
            Fact(ratelimits.spoken(limit.total.rate.value), limit.total.src, "rate-limit.total"), document=limit.document,
            affects=ratelimits.affected(limit, ir), explains=ratelimits.explained(limit, ir, "counted"),
        )  # fmt: skip


def _at_service(
    limit: RateLimit,
    service: Service,
    port: ServicePort,
    src: Src,
    limited: list[tuple[Workload, int]],
    ir: IR,
    out: Output,
    routed: set[Ref],
) -> bool:
    """Whether the limit could be written for a Service port."""
    if service.headless or service.external_name or service.ref in routed:
        return False
    assert limit.total is not None
    because = limit.src | limit.subject.src | src | sources(limit.port)
    known = standing(service, out)
    if known is None:
        obj, index = _made(limit, service, port, because, out), 0
    else:
        obj = known
        index = _of_port(obj, service, port)
        if index < 0:
            return False
    filters = ("spec", "resources", index, "filter_chains", 0, "filters", 0, "typed_config", "http_filters")
    others = [one for one in _at(obj.value, filters) if one["name"] != FILTER]
    config = local_ratelimit.written(limit.total)
    obj.set(filters, [{"name": FILTER, "typed_config": config}, *others], because)
    obj.set((*filters, 0, "typed_config", "token_bucket"), config["token_bucket"], limit.total.src)
    obj.add_origin(limit.document)
    behind = [item for item in ir.world.of_namespace(service.ref.namespace) if service in ir.world.services_of(item)]
    ours = {(id(item), number) for item, number in limited}
    also = [
        (item, number) for item in behind if (number := ir.world.target_number(item, port)) is not None and (id(item), number) not in ours
    ]
    others = [item for item, _ in also]
    if others:
        out.finding(
            "MP660", limit.subject, document=limit.document, affects=tuple(Affected(item.ref.namespace, item.ref.name) for item in others),
            explains=frozenset((ratelimits.subject(item, number), "*") for item, number in also),
            feature="rate-limit.target", subject=limit.subject_name, server=f"Service {service.ref}",
            workloads=", ".join(str(item.ref) for item in others),
        )  # fmt: skip
    return True


def _of_port(obj: Obj, service: Service, port: ServicePort) -> int:
    """The listener that a port of the Service is sent to, where it speaks HTTP; -1 where there is none."""
    for item in obj.value["spec"]["services"]:
        if item["name"] == service.ref.name and port.number in (item.get("ports") or [port.number]):
            for index, resource in enumerate(obj.value["spec"]["resources"]):
                named = item.get("listener") in (None, resource.get("name"))
                if resource.get("@type") == LISTENER and named and "http_filters" in str(resource):
                    return index
    return -1


def _made(limit: RateLimit, service: Service, port: ServicePort, because: Src, out: Output) -> Obj:
    obj = made(service, out, owner=limit.document, rank=36, because=because)
    obj.note(f"from {limit.kind} {limit.ref.value}")
    entry: dict[str, Any] = {"name": service.ref.name, "namespace": service.ref.namespace, "ports": [port.number]}
    obj.set(("spec", "services", 0), entry, because)
    by_port = len([item for item in service.ports if item.protocol == "TCP"]) > 1 or service.ref in referred_services(out)
    name = f"{service.ref}:{port.number}" if by_port else str(service.ref)
    parts = (envoy.listener(service.ref.name, "http"), envoy.routes(service.ref.name, name), envoy.cluster(name))
    for position, part in enumerate(parts):
        obj.set(("spec", "resources", position), part, because)
    if by_port:
        endpoints(obj, service.ref, port.number, because)
    installed(out, because)
    return obj


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value
