"""Ports that the proxy treats otherwise: opaque, skipped (Linkerd reference 1.15, 2.11, 3.3).

To Linkerd an Istio port declared TCP is opaque; `appProtocol` values that Linkerd does not know make a port opaque since 2.18, so they are rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.enrolment import STAGE_SERVICES, STAGE_WORKLOADS
from meshport.dialects.output import Output
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src, sources
from meshport.ir.model import IR
from meshport.ir.transport import PortSetting
from meshport.ir.world import Namespace, Service, ServicePort, Workload, World
from meshport.mapping.bound import Bound
from meshport.mapping.table import in_range
from meshport.values.ports import format_ports, merge_ports, parse_ports

OPAQUE = "config.linkerd.io/opaque-ports"
SKIP_IN = "config.linkerd.io/skip-inbound-ports"
SKIP_OUT = "config.linkerd.io/skip-outbound-ports"
DEMAND = "config.linkerd.io/proxy-require-identity-inbound-ports"
DEFAULT_OPAQUE = (25, 587, 3306, 4444, 5432, 6379, 9300, 11211)
_KINDS = {OPAQUE: "opaque", SKIP_IN: "skip-inbound", SKIP_OUT: "skip-outbound"}
_REWRITTEN = {
    "http": "http",
    "http2": "kubernetes.io/h2c",
    "grpc": "kubernetes.io/h2c",
    "tls": "linkerd.io/opaque",
    "tcp": "linkerd.io/opaque",
}
_HTTP = {"http", "kubernetes.io/h2c"}
_KNOWN = {*_HTTP, "linkerd.io/opaque", "linkerd.io/tcp"}


def lift(bound: Bound, ir: IR) -> None:
    """The port lists of namespaces, pods and Services."""
    for namespace in ir.world.namespaces.values():
        place = Cursor.root(bound, namespace.document).at("metadata", "annotations")
        _lift(place, PodSet(namespace.name), "namespace", namespace.document, ir)
        _inherited(bound, place, namespace, ir)
        asked = place.text(DEMAND)
        if asked is not None:
            namespace.demanding = asked.map(lambda text: parse_ports(text, lenient=True))
        skipped = place.text(SKIP_IN)
        if skipped is not None:
            namespace.bypassed = skipped.map(lambda text: parse_ports(text, lenient=True))
    for workload in ir.world.workloads:
        place = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations")
        _lift(place, workload.pods, "workload", workload.document, ir, workload)
        home = ir.world.namespaces.get(workload.ref.namespace)
        above = Cursor.root(bound, home.document).at("metadata", "annotations").text(SKIP_IN) if home is not None else None
        said = place.text(SKIP_IN) or above
        if said is not None:
            workload.bypassed = said.map(lambda text: parse_ports(text, lenient=True))
        asked = place.text(DEMAND) or (
            Cursor.root(bound, home.document).at("metadata", "annotations").text(DEMAND) if home is not None else None
        )
        if asked is not None:
            workload.demanding = asked.map(lambda text: parse_ports(text, lenient=True))
    for service in ir.world.services.values():
        place = Cursor.root(bound, service.document).at("metadata", "annotations")
        _lift(place, PodSet(service.ref.namespace), "service", service.document, ir)


def _inherited(bound: Bound, place: Cursor, namespace: Namespace, ir: IR) -> None:
    """A namespace's lists decide nothing where none of its pods is in the mesh, and where each of them has a list of its own."""
    members = [item for item in ir.world.of_namespace(namespace.name) if ir.world.meshed(item) is not False]
    outside = namespace.meshed is not None and not namespace.meshed.value
    for key in (SKIP_IN, SKIP_OUT, DEMAND):
        said = place.text(key)
        own = [bool(Cursor.root(bound, item.document).at(*item.template, "metadata", "annotations").text(key)) for item in members]
        if said is not None and all(own) and (own or outside):
            why = "each pod of the namespace has a list of its own" if own else "no pod of the namespace is in the mesh"
            ir.idle.append(said.holding(why))


def _lift(place: Cursor, subject: PodSet, on: str, document: int, ir: IR, workload: Workload | None = None) -> None:
    for key, kind in _KINDS.items():
        said = place.text(key)
        if said is None:
            continue
        ranges = said.map(lambda text: parse_ports(text, lenient=True))
        if kind == "opaque" and workload is not None:  # where the injector knows the names of container ports too
            named = [port.number for item in said.value.split(",") if (port := workload.port_named(item.strip())) is not None]
            ranges = said.holding(merge_ports([*ranges.value, *((number, number) for number in named)]))
        home = ir.world.namespaces.get(workload.ref.namespace) if workload is not None else None
        beats = home is not None and key in home.annotations
        if not ranges.value and kind != "opaque" and not beats:
            ir.idle.append(said.holding("it lists no port"))
            continue
        ir.ports.append(PortSetting(subject, kind, ranges, on, document))


def of_bytes(ir: IR, release: str) -> None:
    """Each Service with the ports that clients treat as bytes, once the lists of all levels are known."""
    for service in ir.world.services.values():
        service.opaque = opaque_ports(ir.world, service, release)


def beside_routes(ir: IR) -> None:
    """A list of bytes on a Service decides which of its ports the routes and annotations of that Service hold for."""
    routed = {routes.service.value for routes in ir.routes if routes.service is not None}
    numbers = {service.document for ref, service in ir.world.services.items() if ref in routed}
    for setting in ir.ports:
        if setting.kind == "opaque" and setting.on == "service" and setting.document in numbers:
            ir.deciding.append(Fact("requests to a port that another list leaves out would go by the Service's routes", setting.ranges.src))


def opaque_ports(world: World, service: Service, release: str) -> tuple[tuple[int, int], ...]:
    """The ports of a Service that Linkerd's clients treat as bytes: by its own list, else its namespace's, else the installation's, else the default one. Since
    2.18 the appProtocol of a port decides before any list, and each that is not known there is bytes."""
    home = world.namespaces.get(service.ref.namespace)
    said = service.annotations.get(OPAQUE) or (home.annotations.get(OPAQUE) if home is not None else None)
    if said:
        listed = parse_ports(said, lenient=True)
    else:
        listed = world.opaque.value if world.opaque is not None else tuple((port, port) for port in DEFAULT_OPAQUE)
    if not in_range(release, "2.18", None):
        return listed
    told = {port.number: port.app_protocol.lower() not in _HTTP for port in service.ports if port.app_protocol}
    numbers = {port.number for port in service.ports if any(low <= port.number <= high for low, high in listed)}
    return (
        listed
        if not told
        else tuple((number, number) for number in sorted((numbers - told.keys()) | {number for number, is_so in told.items() if is_so}))
    )


def lower(ir: IR, out: Output, options: Options) -> None:
    """Opaque ports, skipped ports and appProtocols of the Services and pods in the mesh."""
    pods: dict[int, _Listed] = {}
    routed = protocols.routed(ir) | protocols.sniffed(ir)
    for service in sorted(ir.world.services.values(), key=lambda item: item.ref):
        home = ir.world.namespaces.get(service.ref.namespace)
        if home is not None and home.meshed is not None and not home.meshed.value:
            continue
        _service(ir, out, options, service, pods, routed)
    by_id = {id(workload): workload for workload in ir.world.workloads}
    for key, listed in pods.items():
        workload = by_id[key]
        if listed:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
            obj.set((*workload.template, "metadata", "annotations", OPAQUE), listed.text(), listed.src)
    for setting in ir.ports:
        if setting.kind in ("skip-inbound", "skip-outbound") and setting.on == "workload":
            _skip(ir, out, setting)


def _skip(ir: IR, out: Output, setting: PortSetting) -> None:
    key = SKIP_IN if setting.kind == "skip-inbound" else SKIP_OUT
    for workload in ir.world.workloads:
        if workload.document != setting.document:
            continue
        if ir.world.meshed(workload) is False:
            out.ignore("the pods are not in the mesh, so they have no proxy to go past", setting.ranges)
        else:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=STAGE_WORKLOADS)
            obj.set((*workload.template, "metadata", "annotations", key), format_ports(setting.ranges.value), setting.ranges)


@dataclass(slots=True)
class _Listed:
    """What a list of opaque ports has to say: those that are, and those of Linkerd's own list that are not."""

    opaque: dict[int, Src] = field(default_factory=dict)
    plain: dict[int, Src] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.opaque or self.plain)

    @property
    def src(self) -> Src:
        return sources(*self.opaque.values(), *self.plain.values())

    def add(self, number: int, *, opaque: bool, src: Src) -> None:
        if opaque == (number in DEFAULT_OPAQUE):
            return
        ports = self.opaque if opaque else self.plain
        ports[number] = ports.get(number, NOWHERE) | src

    def text(self) -> str:
        """The annotation replaces Linkerd's own list, so that is said again."""
        return format_ports(merge_ports((number, number) for number in {*self.opaque, *DEFAULT_OPAQUE} - self.plain.keys()))


def _service(ir: IR, out: Output, options: Options, service: Service, pods: dict[int, _Listed], routed: set[tuple[Ref, int]]) -> None:
    listed = _Listed()
    home = ir.world.namespaces.get(service.ref.namespace)
    said = OPAQUE in service.annotations or (home is not None and OPAQUE in home.annotations)
    members = ir.world.selected(service.pods) if service.pods is not None else []
    for port in service.ports:
        spoken = protocols.of_service_port(port)
        if spoken == "tcp" and (service.ref, port.number) in routed:
            spoken = ""
        if port.app_protocol:
            _app_protocol(out, options, service, port, spoken)
        opaque = spoken == "tcp"
        if not opaque and (said or not (protocols.is_http(spoken) and (spoken or (service.ref, port.number) in routed))):
            continue  # what nobody declares is detected, where Linkerd's own list does not say otherwise
        if not (port.app_protocol and in_range(options.target_version, "2.18", None)):
            listed.add(port.number, opaque=opaque, src=port.number_src | port.spoken_src)
        for workload in members:
            number = ir.world.target_number(workload, port)
            if number is not None and ir.world.meshed(workload) is not False:
                pods.setdefault(id(workload), _Listed()).add(number, opaque=opaque, src=port.target_src | port.spoken_src)
    if listed:
        obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
        obj.set(("metadata", "annotations", OPAQUE), listed.text(), listed.src)


def _app_protocol(out: Output, options: Options, service: Service, port: ServicePort, spoken: str) -> None:
    if not in_range(options.target_version, "2.18", None) or port.app_protocol.lower() in _KNOWN:
        return
    wanted = _REWRITTEN.get(spoken)
    obj = out.change(service.document, group=f"service {service.ref.name}", rank=STAGE_SERVICES)
    path = ("spec", "ports", port.position, "appProtocol")
    if wanted is None:
        obj.drop(path, port.src)
    else:
        obj.set(path, wanted, port.src)
