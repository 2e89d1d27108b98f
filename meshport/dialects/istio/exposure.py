"""How Istio says what lies beyond the cluster: ServiceEntry, Sidecar, WorkloadEntry; both directions.

A ServiceEntry that bears the name of a Kubernetes Service only adds names to look for in certificates: its endpoints are not used. `outboundTrafficPolicy: {}`
is REGISTRY_ONLY, the first value of the enumeration. https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.cursor import Cursor
from meshport.dialects.exposure import (
    BALANCES,
    LINKING,
    affected,
    at_every_address,
    beyond,
    by_name_alone,
    drop_marks,
    explains_leaving,
    plain_name,
    severity_of_networks,
)
from meshport.dialects.istio import inner_hosts, machines, waypoints
from meshport.dialects.istio.resilience import API, own_ref
from meshport.effective import egress
from meshport.effective.egress import leaving, passes_any
from meshport.ir.base import NOWHERE, Fact, Ref, Selector
from meshport.ir.exposure import EgressDefault, Endpoint, Outside, OutsidePort, SharedService, locality_of
from meshport.ir.routing import explains, gather
from meshport.values.hosts import kubernetes_service

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound

PROTOCOLS = {"HTTP": "http", "HTTP2": "http", "GRPC": "grpc", "GRPC-WEB": "http", "HTTPS": "tls", "TLS": "tls", "UDP": "udp"}
GLOBAL = "istio.io/global"


# -- lift


def lift(bound: Bound, by_kind: dict[tuple[str, str], list[int]], options: Options, ir: IR) -> None:
    """Destinations outside, defaults for what leaves the mesh, machines, and Services that clusters share."""
    for number in by_kind.get(("networking.istio.io", "ServiceEntry"), []):
        ir.outside.append(_entry(Cursor.root(bound, number), options))
    for number in by_kind.get(("networking.istio.io", "Sidecar"), []):
        ir.egress_defaults.append(_sidecar(Cursor.root(bound, number), options, ir))
    _one_a_namespace(bound, ir)
    machines.lift(bound, by_kind, options, ir)
    _shared(bound, ir)


def _entry(root: Cursor, options: Options) -> Outside:
    spec = root.at("spec")
    ref = own_ref(root, options)
    ports: list[OutsidePort] = []
    inert = NOWHERE
    for item in spec.each("ports"):
        number = item.number_at("number")
        if number is None:
            continue
        word = item.text("protocol")
        spoken = (
            word.map(lambda text: PROTOCOLS.get(text.upper(), "tcp"))
            if word is not None
            else Fact("tcp", item.at("name").src, "egress.port")
        )
        inert |= item.at("name").src if word is not None else NOWHERE
        ports.append(OutsidePort(number, spoken, item.number_at("targetPort"), item.src))
    location = spec.text("location")
    hosts = tuple(host.map(plain_name) for host in spec.strings("hosts"))
    named = [(host, kubernetes_service(host.value, options.cluster_domain)) for host in hosts]
    exports = spec.strings("exportTo")
    return Outside(
        ref,
        "ServiceEntry",
        root.number,
        tuple(host for host, service in named if service is None),
        spec.strings("addresses"),
        tuple(ports),
        location.map(lambda word: word == "MESH_INTERNAL") if location is not None else None,
        spec.text("resolution"),
        tuple(_endpoint(item) for item in spec.each("endpoints")),
        _seen_by(exports, ref.value.namespace),
        exports,
        tuple(fact for key in ("subjectAltNames", "workloadSelector") for _, fact in spec.leaves(key)),
        tuple(host.holding(Ref(service[1], service[0])) for host, service in named if service is not None),
        inert,
    )


def _endpoint(item: Cursor) -> Endpoint:
    address, network, locality = item.text("address"), item.text("network"), item.text("locality")
    known = gather(address, network, locality)
    return Endpoint(address, network, locality, tuple(fact for _, fact in item.leaves() if not fact.src <= known), item.src)


def _seen_by(exports: tuple[Fact[str], ...], own: str) -> tuple[str, ...] | None:
    """The namespaces that `exportTo` names; None for all."""
    words = {fact.value for fact in exports}
    if not words or "*" in words:
        return None
    return tuple(sorted({own if word == "." else word for word in words if word != "~"}))


def _sidecar(root: Cursor, options: Options, ir: IR) -> EgressDefault:
    spec = root.at("spec")
    ref = own_ref(root, options)
    place = spec.at("outboundTrafficPolicy")
    mode = place.text("mode")
    refuses = Fact(False, NOWHERE, "egress.mode")
    if mode is not None:
        refuses = mode.map(lambda word: word != "ALLOW_ANY")
    elif place:
        proxy = place.at("egressProxy").src  # without a mode the first of the enumeration holds, whatever stands beside it
        refuses = Fact(True, (place.src - proxy) or root.at("kind").src, "egress.mode")
    labels = spec.at("workloadSelector", "labels")
    selector = Fact(
        Selector.of({key: str(item.value) for key, item in labels.items() if not isinstance(item.value, dict | list)}),
        labels.src,
        "sidecar.subject",
    )
    catching = [item for item in spec.each("egress") if item.at("hosts")]
    hosts = tuple(fact for item in catching for fact in item.strings("hosts"))
    root_level = ref.value.namespace == options.root_namespace and selector.value.everything
    return EgressDefault(
        ref,
        "Sidecar",
        root.number,
        "" if root_level else ref.value.namespace,
        selector,
        refuses,
        visible=hosts if catching else None,
        silenced=_ambient(ir, ref.value.namespace),
        src=place.src or (spec.src if spec.value == {} else NOWHERE),
        place=root.at("metadata", "namespace").src,
    )


_UNREAD = "the ambient data plane holds nothing back that leaves"


def _ambient(ir: IR, namespace: str) -> str:
    return _UNREAD if _without_sidecars(ir.world, namespace) else ""


def _without_sidecars(world: World, namespace: str) -> bool:
    """Whether ztunnel stands in front of all pods of a namespace that are in the mesh."""
    home = world.namespaces.get(namespace)
    known = [workload for workload in world.of_namespace(namespace) if world.meshed(workload) is not False]
    ambient = all(waypoints.ambient(world, workload) for workload in known)
    return ambient and (bool(known) or (home is not None and waypoints.in_ambient(home)))


def spare(ir: IR) -> None:
    """Hold what proxies are told of leaving to namespaces with proxies that read it: ztunnel lets everything out. Where some pods have a sidecar, the
    namespace counts as if all had."""
    world = ir.world
    homes = sorted({*world.namespaces, *(workload.ref.namespace for workload in world.workloads)})
    bare = {name for name in homes if _without_sidecars(world, name)}
    if not bare:
        return
    spared = frozenset({Ref(name, "") for name in bare} | {workload.ref for name in bare for workload in world.of_namespace(name)})
    everywhere = egress.enrolled(ir) <= bare
    for number, rule in enumerate(ir.egress_defaults):
        idle = rule.silenced or (_UNREAD if not rule.namespace and everywhere else "")
        ir.egress_defaults[number] = replace(rule, spares=spared, silenced=idle)


def _one_a_namespace(bound: Bound, ir: IR) -> None:
    """Of the Sidecars without a selector in one namespace the oldest counts."""

    def age(rule: EgressDefault) -> tuple[str, str]:
        made = Cursor.root(bound, rule.document).at("metadata", "creationTimestamp")
        return (str(made.value) if made else "9"), rule.ref.value.name

    first: dict[str, EgressDefault] = {}
    for rule in sorted((rule for rule in ir.egress_defaults if rule.selector.value.everything), key=age):
        first.setdefault(rule.ref.value.namespace, rule)
    for number, rule in enumerate(ir.egress_defaults):
        if rule.selector.value.everything and first[rule.ref.value.namespace] is not rule:
            ir.egress_defaults[number] = replace(
                rule, silenced=f"Sidecar {first[rule.ref.value.namespace].ref.value} is the one that counts in its namespace"
            )


def _shared(bound: Bound, ir: IR) -> None:
    """Services that are global, and those of which a ServiceEntry says that they have endpoints in another network."""
    near = {
        policy.service.value: locality
        for policy in ir.service_policies
        if policy.service is not None
        and policy.breaker is not None
        and (locality := locality_of(policy)) is not None
        and (locality.failover or locality.priority)
    }
    found: dict[Ref, SharedService] = {}
    for ref, service in sorted(ir.world.services.items()):
        root = Cursor.root(bound, service.document)
        home = ir.world.namespaces.get(ref.namespace)
        above = Cursor.root(bound, home.document).at("metadata", "labels").text(GLOBAL) if home is not None else None
        mark = root.at("metadata", "labels").text(GLOBAL) or above
        if mark is not None and mark.value == "true":
            known = root.ref().holding(ref)
            found[ref] = SharedService(known.also(mark), mark.holding("gateway"), service.document)
    for name, home in ir.world.namespaces.items():
        said = Cursor.root(bound, home.document).at("metadata", "labels").text(GLOBAL)
        if said is not None and said.value == "true" and not any(ref.namespace == name for ref in ir.world.services):
            ir.idle.append(said.holding("no Service of the input goes by it"))
    for outside in ir.outside:
        for fact in outside.services:
            elsewhere = any(item.network is not None for item in outside.endpoints)
            if elsewhere and fact.value not in found:
                mode = Fact("gateway", fact.src, "multi-cluster.export")
                found[fact.value] = SharedService(
                    fact, mode, outside.document, because=outside.subject_name, offered=ir.world.served(fact.value)
                )
    for ref, shared in sorted(found.items()):
        if ref in near:
            far = near[ref]
            facts = far.failover or far.priority
            shared = replace(shared, prefers=Fact("local", gather(*facts), facts[0].feature))
        ir.shared.append(shared)


# -- lower


def lower(ir: IR, out: Output, options: Options) -> None:
    """The same as ServiceEntries and Sidecars; links between clusters are named."""
    beyond(ir, out, machines.lower(ir, out))
    for outside in ir.outside:
        out.imply("a route of an egress network sends to that network by default", outside.inert)
    for rule in ir.egress_defaults:
        if rule.kind == "Sidecar":
            out.imply("stays as it is", rule.src, rule.selector)
        else:
            _default(rule, ir, out, options)
    for outside in _together(ir):
        if outside.kind == "ServiceEntry":
            out.imply("stays as it is", gather(outside))
        else:
            _destination(outside, ir, out, options)
    for shared in ir.shared:
        if out.source == "istio":
            out.imply("stays as it is", shared.mode)
            continue
        ref = shared.service.value
        drop_marks(out, shared)
        subject = f"sharing of Service {ref}"
        if out.source == "linkerd":
            out.finding(
                "MP722", shared.mode, document=shared.document, disposition="approximated", affects=affected(ir, ref),
                explains={(subject, "shared"): None}, service=str(ref), joins="Istio", steps=LINKING["istio"],
            )  # fmt: skip
        else:
            kept = not shared.offered and ir.world.served(ref)
            named = f"{ref}, whose own endpoints stayed in their cluster so far," if kept else str(ref)
            out.lost(
                shared.mode, document=shared.document, affects=affected(ir, ref), explains=frozenset({(subject, "shared")}), value=named
            )
        if shared.prefers is not None:
            out.finding(
                "MP511", shared.prefers, document=shared.document, disposition="dropped", affects=affected(ir, ref),
                explains={(subject, "prefers"): None}, subject=f"Service {ref}", setting=f"{shared.prefers.value} endpoints go first",
                instead=BALANCES["istio"],
            )  # fmt: skip


def _default(rule: EgressDefault, ir: IR, out: Output, options: Options) -> None:
    """A Sidecar; networks of their own, which Istio has not for a default, are named."""
    explained = explains_leaving(ir, rule, "default", "open", "spoken")
    where = affected(ir, Ref(rule.namespace, ""))
    facts = [fact for cidr, holes in rule.networks for fact in (cidr, *holes)]
    if options.data_plane == "ambient":
        if not rule.refuses.value:
            out.ignore("the ambient data plane lets everything leave", rule.refuses, *facts)
            return
        found = out.finding(
            "MP760", rule.refuses, *facts, document=rule.document, disposition="dropped", affects=where, explains=explained, effect="widens"
        )
        found.message = f"{rule.subject_name}: the ambient data plane reads no Sidecar, so what it refuses may leave"
        return
    if rule.networks:
        general = any(other.refuses.value and not other.networks and other.namespace == rule.namespace for other in ir.egress_defaults)
        if rule.refuses.value and general:
            out.imply("what no ServiceEntry names is refused in every network", rule.refuses)
            out.ignore("is refused like every other network", *facts)
            return
        if rule.refuses.value or general:
            out.finding(
                "MP721", rule.refuses, *facts, document=rule.document, disposition="dropped", affects=where, explains=explained,
                severity=severity_of_networks(rule, options), effect="narrows", mesh="Istio", object=rule.subject_name, networks=", ".join(str(cidr.value) for cidr, _ in rule.networks),
                outcome="all that no ServiceEntry names is refused" if rule.refuses.value else "it is refused like the rest",
            )  # fmt: skip
            if not rule.refuses.value:
                return
        else:
            out.ignore("is let through like every other network", *facts)
            if not (rule.namespace and any(other.refuses.value and not other.namespace for other in ir.egress_defaults)):
                out.imply("Istio lets everything leave unless told otherwise", rule.refuses)
                return
    own = rule.selector.value
    name = Ref(rule.namespace or options.root_namespace, "default" if own.everything else rule.ref.value.name)
    because = rule.ref.src - out.called(rule.document, "name") if own.everything else rule.ref.src  # a default has Istio's name
    obj = out.object(API, "Sidecar", name, owner=rule.document, group="egress", rank=50, because=because)
    if obj.value.get("spec", {}).get("outboundTrafficPolicy", {}).get("mode") != "REGISTRY_ONLY":
        obj.set(("spec", "outboundTrafficPolicy", "mode"), "REGISTRY_ONLY" if rule.refuses.value else "ALLOW_ANY", rule.refuses)
    else:
        out.imply("another network of the namespace refuses already", rule.refuses)
    for key, value in own.labels:
        obj.set(("spec", "workloadSelector", "labels", key), value, rule.selector)
    obj.note(f"from {rule.subject_name}")


def _together(ir: IR) -> list[Outside]:
    """The destinations, with those as one that routes open for the same clients, hosts and ports: each of the routes has rules of its own for them."""
    found: dict[Any, Outside] = {}
    for number, outside in enumerate(ir.outside):
        ports = tuple((port.number.value, port.protocol.value) for port in outside.ports)
        alike = outside.kind != "ServiceEntry" and outside.hosts and not outside.problem
        there = tuple(item.value for item in outside.addresses) if egress.at_some_addresses(ir, outside) else ()
        key = (outside.ref.value.namespace, outside.seen_by, tuple(host.value for host in outside.hosts), ports, there) if alike else number
        first = found.setdefault(key, outside)
        if first is not outside:
            found[key] = replace(
                first,
                ref=first.ref.also(outside.ref),
                hosts=tuple(one.also(other) for one, other in zip(first.hosts, outside.hosts, strict=True)),
                ports=tuple(
                    replace(one, number=one.number.also(other.number), protocol=one.protocol.also(other.protocol))
                    for one, other in zip(first.ports, outside.ports, strict=True)
                ),
                inert=first.inert | outside.inert,
                conditions=(*first.conditions, *outside.conditions),
            )
    return list(found.values())


def _ruled(outside: Outside, ir: IR) -> bool:
    """Whether rules for requests, which become a VirtualService, say what a destination asks of them."""
    return bool(outside.hosts) and all(
        egress.judged(ir, host.value, client, port.number.value)
        for host in outside.hosts
        for port in outside.ports
        for client in outside.seen_by or sorted(egress.enrolled(ir))
    )


def _destination(outside: Outside, ir: IR, out: Output, options: Options) -> None:
    """A route of an egress network as a ServiceEntry."""
    refused = options.data_plane != "ambient" and any(item.refuses for item in leaving(ir) if outside.shown_to(item.namespace))
    explained = frozenset(
        (item.subject, aspect) for item in leaving(ir) for aspect in ("open", "spoken") if outside.shown_to(item.namespace)
    )
    where = affected(ir, Ref(outside.seen_by[0] if outside.seen_by else "", ""))

    def left_out(reason: str, *facts: Any) -> None:
        out.finding(
            "MP720", *facts, document=outside.document, disposition="dropped", affects=where, explains=explained,
            severity="error" if refused else "warning", effect="narrows" if refused else "changes", object=outside.subject_name, reason=reason,
        )  # fmt: skip

    every = gather(outside.ref, outside.hosts, outside.ports, outside.addresses, outside.conditions, outside.resolution)
    if outside.problem:
        out.finding(
            outside.problem, every, document=outside.document, disposition="invalid", object=outside.subject_name, reason=outside.reason
        )
        return
    if inner := inner_hosts.left_out(outside, ir, options):
        kept = tuple(host for host in outside.hosts if host.value not in inner)
        facts = [host for host in outside.hosts if host.value in inner] if kept else [every]
        rules = [routes for _, routes in inner_hosts.rules_of(outside, ir, options)]
        out.finding(
            "MP773", *facts, *(() if kept else (routes.src | gather(routes.rules) for routes in rules)), document=outside.document, disposition="dropped",
            affects=where, explains=explained | {pair for routes in rules for pair in explains(ir.world, routes, *inner_hosts.ASPECTS)},
            severity="error" if refused else "warning", effect="narrows" if refused else "changes", object=outside.subject_name, hosts=", ".join(inner),
            outcome="; what leaves the cluster under that name is refused" if refused else "",
        )  # fmt: skip
        if not kept:
            return
        outside = replace(outside, hosts=kept)
        every = gather(outside.ref, outside.hosts, outside.ports, outside.addresses, outside.conditions, outside.resolution)
    if outside.conditions and not _ruled(outside, ir):
        left_out("left out, for it asks for more of a request than its host", every)
        return
    if not outside.hosts and any(port.protocol.value != "tcp" for port in outside.ports):
        left_out("left out, for it names no host, and a ServiceEntry has to", every)
        return
    if egress.at_some_addresses(ir, outside):
        if options.on_loss != "looser":
            left_out(f"left out, for {by_name_alone(outside, 'Istio')}", every)
            return
        at_every_address(outside, out, where, explained)
    by_address = all(port.protocol.value == "tcp" for port in outside.ports)
    home = outside.ref.value.namespace
    alone = outside.seen_by == (home,)
    namespace = home if alone else options.root_namespace
    ref = Ref(
        namespace,
        naming.unique(outside.ref.value.name, lambda name: ("networking.istio.io", "ServiceEntry", Ref(namespace, name)) in out.objects),
    )
    obj = out.object(API, "ServiceEntry", ref, owner=outside.document, group="egress", rank=51, because=outside.ref)
    hosts: list[tuple[str, Fact[Any]]] = [(host.value, host) for host in outside.hosts] or [(f"{ref.name}.egress", outside.ref)]
    for number, (value, because) in enumerate(hosts):
        obj.set(("spec", "hosts", number), value, because)
    for number, name in enumerate(outside.seen_by or ()):
        obj.set(("spec", "exportTo", number), "." if alone else name, outside.ref)
    for number, address in enumerate(outside.addresses if by_address else ()):
        obj.set(("spec", "addresses", number), address.value, address)
    obj.set(("spec", "location"), "MESH_EXTERNAL", *outside.hosts, outside.ref)
    wild = any(value.startswith("*") for value, _ in hosts)
    obj.set(("spec", "resolution"), "NONE" if wild or by_address else "DNS", *(fact for _, fact in hosts))
    for number, port in enumerate(outside.ports):
        word = {"http": "HTTP", "grpc": "GRPC", "tls": "TLS"}.get(port.protocol.value, "TCP")
        place = ("spec", "ports", number)
        obj.set((*place, "number"), port.number.value, port.number)
        obj.set((*place, "name"), f"{word.lower()}-{port.number.value}", port.number, port.protocol)
        obj.set((*place, "protocol"), word, port.protocol)
    obj.note(f"from {outside.subject_name}")


__all__ = ["lift", "lower", "passes_any"]
