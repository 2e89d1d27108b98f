"""Which limit holds on a port of a workload, and what every dialect says of limits alike."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from meshport.dialects import protocols
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Fact, Src, sources
from meshport.ir.model import IR
from meshport.ir.ratelimit import Bucket, RateLimit
from meshport.ir.world import Workload, World

SUBJECT = "rate limit of"


def ports_of(limit: RateLimit, workload: Workload, world: World) -> dict[int, Src]:
    """The container ports of a workload that a limit is for, with what makes each one: those that may speak HTTP where the limit names none."""
    if limit.port is not None:
        number = limit.port.value
        if isinstance(number, int):
            return {number: limit.port.src}
        named = workload.port_named(number)
        return {named.number: limit.port.src | named.src} if named is not None else {}
    found: dict[int, Src] = {port.number: port.number_src for port in workload.ports if port.protocol == "TCP"}
    for service in world.services_of(workload):
        for port in service.ports:
            target = world.target_number(workload, port)
            if port.protocol == "TCP" and target is not None:
                found[target] = found.get(target, port.number_src) | port.target_src
    return {number: src for number, src in sorted(found.items()) if protocols.is_http(protocols.of_port(workload, number, world)[0])}


def limits(ir: IR) -> Iterator[tuple[Workload, int, Src, RateLimit]]:
    """Each known workload's limited ports; the first limit by the object's name holds where two are for one port."""
    seen: set[tuple[str, str, str, int]] = set()
    for limit in sorted(ir.rate_limits, key=lambda item: (item.ref.value, item.document)):
        for workload in ir.world.selected(limit.subject.value):
            if ir.enrols and ir.world.meshed(workload) is False:
                continue
            for port, src in ports_of(limit, workload, ir.world).items():
                key = (workload.kind, workload.ref.namespace, workload.ref.name, port)
                if key not in seen:
                    seen.add(key)
                    yield workload, port, src, limit


def subject(workload: Workload, port: int) -> str:
    return f"{SUBJECT} {workload.ref} port {port}"


def affected(limit: RateLimit, ir: IR) -> tuple[Affected, ...]:
    """The places that a limit is about."""
    found = [
        Affected(workload.ref.namespace, workload.ref.name, port)
        for workload in ir.world.selected(limit.subject.value)
        for port in ports_of(limit, workload, ir.world)
    ]
    return tuple(dict.fromkeys(found)) or (Affected(limit.subject.value.namespace or None),)


def explained(limit: RateLimit, ir: IR, *aspects: str) -> frozenset[tuple[str, str]]:
    """The differences that a finding about a limit answers for."""
    return frozenset((place, aspect) for place, found in _places(ir) if found is limit for aspect in aspects)


def of_pods(limit: RateLimit, port: Fact[int | str] | None) -> str:
    """What a limit of pods that the bundle does not show is about, on a port or on all."""
    return f"{SUBJECT} pods {limit.subject.value} {'any port' if port is None else f'port {port.value}'}"


def _places(ir: IR) -> Iterator[tuple[str, RateLimit]]:
    """What each limit is about: the ports of workloads, or of pods that the bundle does not show; the first limit by the object's name holds."""
    for workload, port, _, limit in limits(ir):
        yield subject(workload, port), limit
    seen: set[str] = set()
    for limit in sorted(ir.rate_limits, key=lambda item: (item.ref.value, item.document)):
        place = of_pods(limit, limit.port)
        if not ir.world.selected(limit.subject.value) and place not in seen:
            seen.add(place)
            yield place, limit


def canonical(ir: IR) -> dict[str, dict[str, Any]]:
    """The limits as plain data, by workload and port."""
    return {place: _data(limit) for place, limit in _places(ir)}


def _data(limit: RateLimit) -> dict[str, Any]:
    data: dict[str, Any] = {"counted": limit.counted}
    if limit.total is not None:
        data["rate"], data["burst"] = str(limit.total.rate.value), limit.total.burst.value
    if limit.each is not None:
        data["each client"] = limit.each.rate.value
    if limit.overrides:
        data["single clients"] = sorted([item.rate.value, sorted(str(client.value) for client in item.clients)] for item in limit.overrides)
    if extras := sorted({fact.feature for fact in limit.extras}):
        data["beside"] = extras
    return data


def beside_total(limit: RateLimit, ir: IR, out: Output) -> None:
    """Limits of single clients and what else only the source has, as the table says."""
    affects = affected(limit, ir)
    clients: list[tuple[Fact[Any], str]] = []
    if limit.each is not None:
        clients.append((Fact(f"{limit.each.rate.value} requests a second", limit.each.rate.src, "rate-limit.identity"), "each client"))
    for item in limit.overrides:
        shown = ", ".join(str(client.value) for client in item.clients)
        src = sources(item.rate, *item.clients)
        clients.append((Fact(f"{item.rate.value} requests a second for {shown}", src, "rate-limit.overrides"), "single clients"))
    alone = ("counted",) if limit.total is None else ()  # with them nothing is left of the limit
    for fact, aspect in (*clients, *((extra, "beside") for extra in limit.extras)):
        out.lost(fact, document=limit.document, affects=affects, explains=explained(limit, ir, aspect, *alone))


def whole(bucket: Bucket) -> bool:
    """Whether a bucket is no more than whole requests a second."""
    return bucket.rate.value.denominator == 1 and bucket.burst.value == bucket.rate.value


def spoken(rate: Fraction) -> str:
    """A rate as people say it."""
    if rate.denominator == 1:
        return f"{rate} requests a second"
    minute = rate * 60
    return f"{minute} requests a minute" if minute.denominator == 1 else f"{float(rate):g} requests a second"
