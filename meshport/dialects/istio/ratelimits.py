"""How Istio says rate limits: an EnvoyFilter with Envoy's local rate limit filter; both directions.

Two shapes are documented: the filter with its bucket before the router of a workload's inbound listeners, and the filter without one beside a bucket on the
inbound route of a port. Everything else that an EnvoyFilter may hold is a patch of Envoy's own configuration, and no feature of the mesh.
https://istio.io/latest/docs/tasks/policy-enforcement/rate-limit/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshport.dialects import local_ratelimit, naming, ratelimits
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.resilience import own_ref
from meshport.dialects.local_ratelimit import FILTER, MANAGER, ROUTER, Filter
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.ratelimit import RateLimit

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.mapping.bound import Bound

API = "networking.istio.io/v1alpha3"
KIND = "EnvoyFilter"
_INBOUND = re.compile(r"inbound\|http\|(\d+)")
_INSERTS = ("INSERT_BEFORE", "INSERT_FIRST", "INSERT_AFTER", "ADD")
_NAMES = "names a counter or a runtime key, which limits nothing"
_PLACE = "says where in the chain the filter stands; the target limits before anything else"


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """The local rate limits of EnvoyFilters, as far as they have one of the documented shapes."""
    for number in by_kind.get(("networking.istio.io", KIND), []):
        _filter(Cursor.root(bound, number), options, ir)


def _filter(root: Cursor, options: Options, ir: IR) -> None:
    spec = root.at("spec")
    if spec.at("targetRefs"):
        return
    patches = spec.each("configPatches")
    ref = own_ref(root, options)
    namespace = "" if ref.value.namespace == options.root_namespace else ref.value.namespace
    labels = {key: str(item.value) for key, item in spec.items("workloadSelector", "labels")}
    selecting = spec.at("workloadSelector").src
    subject = Fact(PodSet(namespace, Selector.of(labels)), selecting, "rate-limit.target")
    hosts = [patch for patch in patches if _at_filter(patch)]
    found: list[tuple[Fact[int | str] | None, Filter, Src]] = []
    bare = NOWHERE  # of a filter without a bucket: it only lets routes have one
    for patch in hosts:
        place = patch.at("patch", "value", "typed_config")
        read = local_ratelimit.read(place)
        if read is None or read.other:
            return
        src = _shape(patch) | read.src
        ir.idle.append(Fact(_NAMES, read.inert, "rate-limit.total"))
        ir.idle.append(Fact(_PLACE, patch.at("match", "listener", "filterChain", "filter", "subFilter").src, "rate-limit.total"))
        if read.bucket is None:
            bare |= src
        else:
            found.append((_listening(patch, subject.value, ir), read, src))
    for patch in patches:
        route = _at_route(patch)
        if route is None or not bare:
            continue
        number, place, actions = route
        read = local_ratelimit.read(place)
        if read is None or read.other or read.bucket is None:
            continue
        extras = (*read.extras, *((Fact("the attributes of its rate_limits", actions, "rate-limit.descriptor"),) if actions else ()))
        read = Filter(read.bucket, read.share, extras, read.inert, (), read.src)
        ir.idle.append(Fact(_NAMES, read.inert, "rate-limit.total"))
        found.append((_target(number, subject.value, ir), read, _shape(patch) | read.src | bare))
    chosen = selecting if len(found) + len(hosts) >= len(patches) else NOWHERE
    for port, read, src in found:
        parts: tuple[Fact[Any], ...] = (Fact("", src | read.share.src, "rate-limit.total"), *read.extras)
        if read.bucket is not None and read.share.value == 0:
            idle = (Fact("", chosen, "rate-limit.target"), read.bucket.rate, read.bucket.burst, *parts, *((port,) if port else ()))
            ir.losses.append(Loss("MP666", idle, root.number))
        elif read.bucket is not None and read.share.value < 1:
            share = f"{float(read.share.value * 100):g} %"
            ir.losses.append(
                Loss("MP661", (read.bucket.rate, read.bucket.burst, *parts, *((port,) if port else ())), root.number, {"share": share})
            )
        else:
            ir.rate_limits.append(
                RateLimit(ref, KIND, root.number, subject, port, read.bucket, extras=read.extras, src=src | read.share.src)
            )


def _shape(patch: Cursor) -> Src:
    """The leaves that make the patch what it is."""
    return (
        patch.at("applyTo").src
        | patch.at("match", "context").src
        | patch.at("match", "listener", "filterChain", "filter", "name").src
        | patch.at("patch", "operation").src
        | patch.at("patch", "value", "name").src
    )


def _inbound(patch: Cursor) -> bool:
    return patch.at("match", "context").value == "SIDECAR_INBOUND" and not patch.at("match", "proxy")


def _at_filter(patch: Cursor) -> bool:
    """Whether the patch puts the filter into the inbound listeners."""
    chain = patch.at("match", "listener", "filterChain")
    return (
        _inbound(patch)
        and patch.at("applyTo").value == "HTTP_FILTER"
        and patch.at("patch", "operation").value in _INSERTS
        and patch.at("patch", "value", "name").value == FILTER
        and (not chain.at("filter", "name") or chain.at("filter", "name").value == MANAGER)
        and not any(chain.at(key) for key in ("name", "sni", "transportProtocol", "applicationProtocols"))
        and not any(patch.at("match", "listener").at(key) for key in ("name", "portName", "listenerFilter"))
    )


def _at_route(patch: Cursor) -> tuple[Fact[int], Cursor, Src] | None:
    """The Service port of a patch that gives the filter of an inbound route its bucket, the filter, and what tells requests apart."""
    vhost = patch.at("match", "routeConfiguration", "vhost")
    name = vhost.text("name")
    met = _INBOUND.fullmatch(name.value) if name is not None else None
    action = vhost.at("route", "action")
    if (
        not _inbound(patch)
        or patch.at("applyTo").value != "HTTP_ROUTE"
        or patch.at("patch", "operation").value != "MERGE"
        or name is None
        or met is None
        or (action and action.value != "ANY")
        or vhost.at("route", "name")
    ):
        return None
    value = patch.at("patch", "value")
    place = value.at("typed_per_filter_config", FILTER)
    if not place:
        return None
    return name.holding(int(met[1])).also(action.src), place, value.at("route", "rate_limits").src


def _listening(patch: Cursor, pods: PodSet, ir: IR) -> Fact[int | str] | None:
    """The container port of the listener that is matched; None for all."""
    listener = patch.at("match", "listener")
    container = listener.number_at("filterChain", "destinationPort")
    if container is not None:
        return Fact(container.value, container.src | listener.at("portNumber").src, "rate-limit.target")
    number = listener.number_at("portNumber")
    return _target(number, pods, ir) if number is not None else None


def _target(number: Fact[int], pods: PodSet, ir: IR) -> Fact[int | str]:
    """A Service port as the container port of the pods, where the bundle says which; the number itself where it does not."""
    found: dict[int, Src] = {}
    for workload in ir.world.selected(pods):
        for service in ir.world.services_of(workload):
            port = service.port(number.value)
            target = ir.world.target_number(workload, port) if port is not None else None
            if port is not None and target is not None:
                found[target] = found.get(target, NOWHERE) | port.target_src
    if len(found) == 1:
        target, src = next(iter(found.items()))
        return Fact(target, number.src | src, "rate-limit.target")
    return Fact(number.value, number.src, "rate-limit.target")


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """An EnvoyFilter for each limit; one selects pods by labels alone."""
    for limit in sorted(ir.rate_limits, key=lambda item: (item.ref.value, item.document)):
        if limit.total is None:
            ratelimits.beside_total(limit, ir, out)
            out.names("names what the other limits are for", limit.subject, limit.src | sources(limit.port))
            continue
        for number, aim in enumerate(_aims(limit, ir, out)):
            _write(limit, aim, number, ir, out, options)
        ratelimits.beside_total(limit, ir, out)


@dataclass(frozen=True, slots=True)
class _Aim:
    """The pods of one EnvoyFilter, by labels, and their port; None for every port."""

    labels: dict[str, str]
    labels_src: Src
    port: int | None
    port_src: Src = NOWHERE


ASPECTS = ("rate", "burst", "counted", "each client", "single clients", "beside")


def _aims(limit: RateLimit, ir: IR, out: Output) -> list[_Aim]:
    """The limit's own selector where labels say it and the port has one number; else each workload by its labels."""
    pods, port, src = limit.subject.value, limit.port, limit.subject.src
    members = [item for item in ir.world.selected(pods) if not ir.enrols or ir.world.meshed(item) is not False]
    if not members and pods.selector.expressions:
        out.finding(
            "MP657", limit.subject, limit.src | sources(port, limit.total.src if limit.total is not None else NOWHERE), document=limit.document, disposition="dropped",
            affects=ratelimits.affected(limit, ir), explains=ratelimits.explained(limit, ir, *ASPECTS), feature="rate-limit.target",
            subject=limit.subject_name, pods=str(pods),
        )  # fmt: skip
        return []
    if port is None or not members:
        return [_Aim(dict(pods.selector.labels), src, port.value if port and isinstance(port.value, int) else None, sources(port))]
    found = [(item, *next(iter(ratelimits.ports_of(limit, item, ir.world).items()), (None, NOWHERE))) for item in members]
    known = [(item, number, because) for item, number, because in found if number is not None]
    if not known:
        facts = limit.src | src | sources(port, limit.total.src if limit.total is not None else NOWHERE)
        out.adds_nothing("none of the pods has a port of this name, so nothing is limited", facts)
        return []
    if not pods.selector.expressions and len(known) == len(found) and len({number for _, number, _ in known}) == 1:
        return [_Aim(dict(pods.selector.labels), src, known[0][1], frozenset(leaf for *_, because in known for leaf in because))]
    aims: list[_Aim] = []
    for item, number, because in known:
        if any((aim.labels, aim.port) == (dict(item.labels), number) for aim in aims):
            continue
        aims.append(_Aim(dict(item.labels), src | item.labels_src(item.labels), number, because))
        own = Selector.of(item.labels)
        others = [
            other
            for other in ir.world.of_namespace(item.ref.namespace)
            if own.accepts(other.labels) and all(other is not one or it != number for one, it, _ in known)
        ]
        if others:
            out.finding(
                "MP249", src, document=limit.document, disposition="approximated", feature="rate-limit.target",
                affects=tuple(Affected(other.ref.namespace, other.ref.name, number) for other in others),
                explains=frozenset((ratelimits.subject(other, number), aspect) for other in others for aspect in ASPECTS),
                subject=limit.subject_name, port=number, workload=str(item.ref), others=", ".join(str(other.ref) for other in others),
            )  # fmt: skip
    return aims


def _write(limit: RateLimit, aim: _Aim, number: int, ir: IR, out: Output, options: Options) -> None:
    assert limit.total is not None
    labels, because = aim.labels, aim.labels_src
    namespace = limit.subject.value.namespace or options.root_namespace
    spelled = out.free(API, KIND, namespace, naming.name(limit.ref.value.name, "ratelimit", str(number + 1) if number else ""))
    obj = out.object(API, KIND, Ref(namespace, spelled), owner=limit.document, group=f"ratelimit {spelled}", rank=48, because=limit.ref)
    obj.note(f"from {limit.kind} {limit.ref.value}")
    if labels:
        obj.set(("spec", "workloadSelector", "labels"), labels, because)
    patch = ("spec", "configPatches", 0)
    shape = limit.src | because
    obj.set((*patch, "applyTo"), "HTTP_FILTER", shape)
    obj.set((*patch, "match", "context"), "SIDECAR_INBOUND", shape)
    chain = (*patch, "match", "listener", "filterChain")
    if aim.port is not None:
        obj.set((*chain, "destinationPort"), aim.port, limit.port, aim.port_src)
    elif limit.port is not None:
        out.finding(
            "MP664", limit.port, document=limit.document, disposition="approximated", affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, "*") | {(ratelimits.of_pods(limit, None), "*")},
            feature="rate-limit.target", subject=limit.subject_name, port=limit.port.value,
        )  # fmt: skip
    obj.set((*chain, "filter"), {"name": MANAGER, "subFilter": {"name": ROUTER}}, shape)
    obj.set((*patch, "patch", "operation"), "INSERT_BEFORE", shape)
    obj.set((*patch, "patch", "value", "name"), FILTER, shape)
    config = (*patch, "patch", "value", "typed_config")
    obj.set(config, local_ratelimit.written(limit.total), shape)
    obj.set((*config, "token_bucket"), local_ratelimit.written(limit.total)["token_bucket"], limit.total.src)
    if limit.counted != "pod":
        out.finding(
            "MP662", limit.src, document=limit.document, affects=ratelimits.affected(limit, ir),
            explains=ratelimits.explained(limit, ir, "counted"), feature="rate-limit.total", subject=limit.subject_name,
        )  # fmt: skip
    out.lost(
        Fact(ratelimits.spoken(limit.total.rate.value), limit.total.rate.src, "rate-limit.total"), document=limit.document,
        affects=ratelimits.affected(limit, ir),
    )  # fmt: skip
