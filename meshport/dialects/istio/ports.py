"""Ports that the proxy treats otherwise: excluded ports, and what a Service port speaks (Istio reference 7.2, 8.6).

To Istio an opaque port of Linkerd is `appProtocol: tcp`, which beats the port's name; what a Server says its port speaks is said there too.
"""

from __future__ import annotations

from contextlib import suppress

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_SERVICES, STAGE_WORKLOADS, unshown
from meshport.dialects.istio import waypoints
from meshport.dialects.output import Output
from meshport.effective import subjects
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.networks import normal_cidr
from meshport.findings import Affected
from meshport.ir.authorization import Network, Policy
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src
from meshport.ir.model import IR, Loss
from meshport.ir.selecting import Selecting
from meshport.ir.transport import PortSetting, Uncaptured
from meshport.ir.world import Service, ServicePort, Workload
from meshport.mapping.bound import Bound
from meshport.values.ports import format_ports, other_ports, parse_ports

EXCLUDE_IN = "traffic.sidecar.istio.io/excludeInboundPorts"
EXCLUDE_OUT = "traffic.sidecar.istio.io/excludeOutboundPorts"
EXCLUDE_NETWORKS = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
INCLUDE_NETWORKS = "traffic.sidecar.istio.io/includeOutboundIPRanges"
INCLUDE_OUT = "traffic.sidecar.istio.io/includeOutboundPorts"
BYPASS = "ambient.istio.io/bypass-inbound-capture"
MOST = 1000  # ports that are told one by one; of more those that somebody names
EVERY: tuple[tuple[int, int], ...] = ((1, 65535),)
INCLUDE_IN = "traffic.sidecar.istio.io/includeInboundPorts"
LINKERD_OPAQUE = (25, 587, 3306, 4444, 5432, 6379, 9300, 11211)
_SERVERS = {"http": "http", "http2": "http2", "grpc": "grpc", "tcp": "tcp", "tls": "tls"}


def lift(bound: Bound, ir: IR) -> None:
    """The excluded ports of pods."""
    for workload in ir.world.workloads:
        place = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations")
        for key, kind in ((EXCLUDE_IN, "skip-inbound"), (EXCLUDE_OUT, "skip-outbound")):
            said = place.text(key)
            if said is None or not said.value.strip():
                continue
            ranges = said.map(lambda text: parse_ports(text, lenient=True))
            if kind == "skip-inbound" and waypoints.ambient(ir.world, workload):
                ir.losses.append(Loss("MP733", (said,), workload.document))
                continue
            ir.ports.append(PortSetting(workload.pods, kind, ranges, "workload", workload.document))
            if kind == "skip-inbound":
                workload.bypassed = ranges
        _whole(place, workload, ir)


def uncaptured(bound: Bound, ir: IR, by_default: dict[str, Fact[str]]) -> None:
    """Addresses that sidecars do not take: those named, and all but those named where some are. What is excluded goes first, then the ports that are taken
    for every address (tools/istio-iptables/pkg/capture in istio/istio). `by_default` is what the installation says, by annotation."""
    for workload in ir.world.workloads:
        if not waypoints.ambient(ir.world, workload):
            place = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations")
            said = {key: place.text(key) or by_default.get(key) for key in (EXCLUDE_NETWORKS, INCLUDE_NETWORKS, INCLUDE_OUT)}
            _uncaptured(workload, said, ir)


def _uncaptured(workload: Workload, said: dict[str, Fact[str] | None], ir: IR) -> None:
    excluded, included, ports = said[EXCLUDE_NETWORKS], said[INCLUDE_NETWORKS], said[INCLUDE_OUT]
    if excluded is not None and (networks := excluded.map(_networks)).value:
        ir.uncaptured.append(Uncaptured(workload.pods, networks, document=workload.document))
    if included is not None and included.value.strip() != "*":
        captured: Fact[tuple[tuple[int, int], ...]] = Fact(())
        captured = ports.map(lambda text: parse_ports(text, lenient=True)) if ports is not None else captured
        ir.uncaptured.append(Uncaptured(workload.pods, included.map(_all_but), captured, workload.document))


def _networks(text: str) -> tuple[Network, ...]:
    found = []
    for item in text.split(","):
        with suppress(ValueError):  # the injector refuses the pod
            found.append(Network(normal_cidr(item.strip())))
    return tuple(dict.fromkeys(found))


def _all_but(text: str) -> tuple[Network, ...]:
    """Every address of each family, less the networks of a list: of a family that it does not name none is taken."""
    named = [item.cidr for item in _networks(text)]
    families = [("0.0.0.0/0", [cidr for cidr in named if ":" not in cidr]), ("::/0", [cidr for cidr in named if ":" in cidr])]
    return tuple(Network(whole, tuple(sorted(inside))) for whole, inside in families if whole not in inside)


def _whole(place: Cursor, workload: Workload, ir: IR) -> None:
    """Pods whose proxy takes none of what comes in, or some of it: ztunnel goes by one annotation, and a sidecar by the list of ports that it takes, which
    beats the one of those that it does not."""
    captured = waypoints.ambient(ir.world, workload)
    bypass, included = place.text(BYPASS), place.text(INCLUDE_IN)
    if bypass is not None and not captured:
        ir.idle.append(bypass.holding("ztunnel does not stand before these pods"))
    said = bypass if captured else included
    if said is None or (said.value != "true" if captured else said.value.strip() == "*"):
        if said is not None and not captured:
            reason = "takes what comes in on every port, as without it; a list would leave ports out"
            ir.deciding.append(Fact(reason, said.src, "ports.skip-inbound"))
        return
    rest = Fact(other_ports(() if captured else parse_ports(said.value, lenient=True)), said.src, "ports.skip-inbound")
    for beaten in [one for one in ir.ports if (one.kind, one.on, one.document) == ("skip-inbound", "workload", workload.document)]:
        ir.ports.remove(beaten)
        ir.idle.append(beaten.ranges.holding("the list of ports that the sidecar takes beats it"))
    ir.ports.append(PortSetting(workload.pods, "skip-inbound", rest, "workload", workload.document))
    workload.bypassed = rest


def lower(ir: IR, out: Output, options: Options) -> None:
    """What Service ports speak, and ports that go past the proxy."""
    said, routed = _spoken(ir), protocols.routed(ir)
    apart = {name for name, home in ir.world.namespaces.items() if home.meshed is not None and not home.meshed.value}
    for service in sorted(ir.world.services.values(), key=lambda item: item.ref):
        if service.ref.namespace in apart:
            continue
        for port in service.ports:
            _port(ir, out, service, port, said, routed)
    for policy in ir.policies:
        if policy.protocol is not None:  # where no Service has the port, that nothing needs it is said already
            out.imply("the port is detected or named as this", policy.protocol)
    reached = out.written()
    for setting in ir.ports:
        if setting.kind == "opaque":
            if setting.on == "workload":
                out.ignore("the Services in front of these ports say so themselves, or there is none", setting.ranges.src - reached)
            elif setting.subject.namespace in apart:
                out.ignore("the namespace is not in the mesh", setting.ranges)
            elif setting.on == "service" and setting.ranges.src.isdisjoint(reached) and _told_already(ir, setting):
                out.ignore("every port of the Service says so by its name or protocol", setting.ranges)
            elif (
                setting.on == "namespace"
                and not ir.world.of_namespace(setting.subject.namespace)
                and setting.ranges.src.isdisjoint(reached)
            ):
                unshown(ir, out, setting.subject.namespace, "opaque-ports", setting.ranges)
            else:
                out.ignore("the ports are said to be opaque anyway, or no Service has them", setting.ranges.src - reached)
        elif setting.on != "service" and options.data_plane != "ambient":
            _skip(ir, out, setting)


def _told_already(ir: IR, setting: PortSetting) -> bool:
    """Whether Istio takes every port of a Service for one of bytes, whatever its list says."""
    service = next((item for item in ir.world.services.values() if item.document == setting.document), None)
    return service is not None and all(protocols.of_service_port(port) == "tcp" for port in service.ports)


def governed(ir: IR, setting: PortSetting) -> list[tuple[Workload, list[int]]]:
    """The ports of pods that went past the proxy, where something would hold if they did not."""
    access, found = Access(ir, Fact("all-unauthenticated")), _members(ir, setting)
    pairs = [
        (workload, [number for number in _numbers(ir, setting, found, access) if _governed(access.of(workload), number)])
        for workload in found
    ]
    return [(workload, numbers) for workload, numbers in pairs if numbers]


def _members(ir: IR, setting: PortSetting) -> list[Workload]:
    return [
        workload
        for workload in ir.world.selected(setting.subject)
        if (workload.document == setting.document or setting.on == "namespace") and ir.world.meshed(workload) is not False
    ]


def few(setting: PortSetting) -> bool:
    """Whether the ports of a setting are told one by one."""
    return sum(high - low + 1 for low, high in setting.ranges.value) <= MOST


def _numbers(ir: IR, setting: PortSetting, found: list[Workload], access: Access) -> list[int]:
    """The ports of a setting one by one, or of many those that the pods show."""
    shown = ports_of([access.of(workload) for workload in found], ir.world)
    return [
        number
        for low, high in setting.ranges.value
        for number in (range(low, high + 1) if few(setting) else shown)
        if low <= number <= high
    ]


def closed(ir: IR, out: Output, setting: PortSetting, opened: set[tuple[Ref, int]]) -> None:
    """Ports that went past the proxy, in ambient: ztunnel takes them like all others, so that mode and policies hold there too, but where a policy opens them."""
    if setting.on == "namespace" and not ir.world.of_namespace(setting.subject.namespace):
        unshown(ir, out, setting.subject.namespace, f"{setting.kind}-ports", setting.ranges)
        return
    _beside(ir, out, setting)
    found, access = _members(ir, setting), Access(ir, Fact("all-unauthenticated"))
    numbers = _numbers(ir, setting, found, access)
    held = [(workload, port) for workload, ports in governed(ir, setting) for port in ports if (workload.ref, port) not in opened]
    if opened and not held:
        return
    said = [number for number in numbers if not opened or any(number == port for _, port in held)]
    out.finding(
        "MP732", setting.ranges, document=setting.document, disposition=None if opened else "dropped", feature="ports.skip-inbound",
        affects=tuple(Affected(workload.ref.namespace, workload.ref.name, number) for workload, number in held),
        severity=None if held else "info", effect=None if held else "none",
        explains=frozenset((subjects.access(workload.ref, number), "allow") for workload in found for number in numbers),
        workload=", ".join(str(workload.ref) for workload in found), ports=", ".join(map(str, said[:8])) + (" and more" if said[8:] or not few(setting) else ""),
    )  # fmt: skip


def _governed(item: Effective, port: int) -> bool:
    """Whether anything would hold on a port that goes past the proxy, if it did not."""
    opened = item.default(port) in ("all-unauthenticated", "audit") and item.mode(port).value != "strict"
    return item.closes(port) or bool(item.denies or item.customs) or not opened


def _skip(ir: IR, out: Output, setting: PortSetting) -> None:
    key = EXCLUDE_IN if setting.kind == "skip-inbound" else EXCLUDE_OUT
    numbers = ",".join(str(number) for low, high in setting.ranges.value for number in range(low, min(high, low + 1000) + 1))
    if setting.on == "namespace" and not ir.world.of_namespace(setting.subject.namespace):
        unshown(ir, out, setting.subject.namespace, f"{setting.kind}-ports", setting.ranges)
        return
    if setting.kind == "skip-inbound":
        _beside(ir, out, setting)
    for workload in ir.world.selected(setting.subject):
        same = workload.document == setting.document or setting.on == "namespace"
        if same and ir.world.meshed(workload) is not False:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
            if key == EXCLUDE_IN and setting.ranges.value == EVERY:
                obj.set((*workload.template, "metadata", "annotations", INCLUDE_IN), "", setting.ranges)
                continue
            obj.set((*workload.template, "metadata", "annotations", key), numbers, setting.ranges)
        elif same:
            out.ignore("the pods are not in the mesh, so they have no proxy to go past", setting.ranges)


def _beside(ir: IR, out: Output, setting: PortSetting) -> None:
    """Say of a namespace's ports past the proxy that policies hold there at its pods that the bundle does not show: nothing but the pods can say it to Istio."""
    home, access = setting.subject.namespace, Access(ir, Fact("all-unauthenticated"))
    known = ir.world.namespaces.get(home)
    if setting.on != "namespace" or (known is not None and known.meshed is not None and not known.meshed.value):
        return
    if access.namespace_admission(home).value not in ("all-unauthenticated", "audit"):
        held = [Affected(home, subjects.ANY_POD)]
    else:
        numbers = ((access.number(policy), policy) for policy in access.unshown(home))
        closing = [one for port, one in numbers if port is None or any(low <= port <= high for low, high in setting.ranges.value)]
        held = [subjects.unseen(PodSet(home, policy.subject.value.selector)) for policy in closing]
    if held:
        out.finding(
            "MP967", document=setting.document, disposition=None, affects=tuple(dict.fromkeys(held)), feature="ports.skip-inbound",
            namespace=home, ports=format_ports(setting.ranges.value),
        )  # fmt: skip


def _spoken(ir: IR) -> Selecting[tuple[int, Policy]]:
    """The policies that say a protocol by the pods that they select, each with its place among all."""
    said = [policy for policy in sorted(ir.policies, key=lambda item: item.ref.value) if policy.protocol is not None]
    return Selecting(enumerate(said), lambda item: item[1].subject.value)


def _port(
    ir: IR, out: Output, service: Service, port: ServicePort, servers: Selecting[tuple[int, Policy]], routed: set[tuple[Ref, int]]
) -> None:
    current, told = protocols.of_service_port(port), NOWHERE
    followed = (service.ref, port.number) in routed
    wanted, src = _opaque(ir, service, port, followed)
    silent: list[tuple[Policy, Workload, int]] = []  # rules on requests that Istio judges none by, as the Service says bytes
    members = ir.world.selected(service.pods) if service.pods is not None else []
    found = [
        (place, order, policy, workload)
        for order, workload in enumerate(members)
        for place, policy in servers.of(service.ref.namespace, workload.labels)
        if policy.subject.value.namespace == service.ref.namespace
    ]
    for _, _, policy, workload in sorted(found, key=lambda item: item[:2]):
        if policy.protocol is None or policy.port is None:
            continue
        named = policy.port.value
        number = ir.world.target_number(workload, port)
        own = workload.port_named(named) if isinstance(named, str) else None
        if number is not None and number == (own.number if own is not None else named):
            if policy.protocol.value in _SERVERS and not (followed and _SERVERS[policy.protocol.value] in ("tcp", "tls")):
                wanted, src = _SERVERS[policy.protocol.value], policy.protocol.src | policy.subject.src
            elif any(rule.needs_http or rule.http for rule in policy.rules):
                if wanted == "tcp":  # the Server takes the list's place for what comes in, and Istio would judge no request
                    out.decide("a Server with rules on requests sees them on the port, which other lists call opaque", src)
                    wanted, src = "", NOWHERE
                if current in ("tcp", "tls"):
                    silent.append((policy, workload, number))
            told = policy.protocol.src
    if not wanted and current in ("tcp", "tls"):
        numbers = [(workload, ir.world.target_number(workload, port)) for workload in members]
        judged = [workload.judged[number] for workload, number in numbers if number is not None and number in workload.judged]
        if judged:
            wanted, src = "http", frozenset(leaf for leaves in judged for leaf in leaves)
    for policy, workload, number in silent if not wanted or wanted == current else ():
        out.gather(
            (policy.document, str(service.ref)), "MP398", document=policy.document, affects=(Affected(workload.ref.namespace, workload.ref.name, number),),
            explains=frozenset({(subjects.access(workload.ref, number), "allow")}), feature="server.protocol", policy=f"{policy.kind} {policy.ref.value}",
            service=str(service.ref), spoken=current, listed={"port": (port.number,)},
        )  # fmt: skip
    out.decide("what the port speaks is known without; another protocol would be written", told)
    if not wanted and current != "tcp" and _own(ir, service) is None:
        of_pods = [item for item in ir.ports if item.kind == "opaque" and any(item.document == one.document for one in members)]
        out.decide("a Service goes by it, and has none of these ports", *(item.ranges for item in of_pods))
    if not wanted or wanted == current:
        return
    if wanted in ("http2", "grpc") and current == "http":
        out.finding(
            "MP228", src, document=service.document, affects=(Affected(service.ref.namespace, service.ref.name, port.number),), feature="server.protocol",
            service=str(service.ref), port=port.number, wanted="HTTP/2" if wanted == "http2" else "gRPC", disposition="approximated",
        )  # fmt: skip
        return
    if wanted in ("http", "tls") and current == "":
        out.imply("Istio detects what an undeclared port speaks", src)
        return
    obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
    obj.set(("spec", "ports", port.position, "appProtocol"), wanted, src or port.src)


def _own(ir: IR, service: Service) -> PortSetting | None:
    """The opaque ports that a Service, or its namespace, says; those of its pods count where there are none."""
    lists = [setting for setting in ir.ports if setting.kind == "opaque"]
    own = next((item for item in lists if item.on == "service" and item.document == service.document), None)
    return own or next((item for item in lists if item.on == "namespace" and item.subject.namespace == service.ref.namespace), None)


def _opaque(ir: IR, service: Service, port: ServicePort, routed: bool) -> tuple[str, Src]:
    """`tcp` where Linkerd treats the Service port as opaque, with the leaves that say so. The lists of pods are for what comes in: clients follow the rules for
    requests that the port has all the same (`routed`)."""
    if port.app_protocol.lower() in ("linkerd.io/opaque", "linkerd.io/tcp"):
        return "tcp", port.src
    lists, own = [setting for setting in ir.ports if setting.kind == "opaque"], _own(ir, service)
    if own is not None:
        inside = any(low <= port.number <= high for low, high in own.ranges.value)
        return ("tcp", own.ranges.src) if inside else ("", NOWHERE)
    for workload in ir.world.selected(service.pods) if service.pods is not None and not routed else []:
        number = ir.world.target_number(workload, port)
        for item in lists:
            if (
                item.on == "workload"
                and item.document == workload.document
                and number is not None
                and any(low <= number <= high for low, high in item.ranges.value)
            ):
                return "tcp", item.ranges.src
    if ir.world.opaque is not None:
        return (
            ("tcp", port.src | ir.world.opaque.src)
            if any(low <= port.number <= high for low, high in ir.world.opaque.value)
            else ("", NOWHERE)
        )
    of_linkerd = ir.mesh == "linkerd"  # elsewhere a number says nothing of what a port speaks
    return ("tcp", port.src) if of_linkerd and port.number in LINKERD_OPAQUE else ("", NOWHERE)
