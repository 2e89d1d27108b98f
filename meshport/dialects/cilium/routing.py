"""How Cilium says routing: Gateway API routes whose parent is a Service, and Gateways that Cilium itself serves.

https://docs.cilium.io/en/stable/network/servicemesh/gateway-api/gateway-api/
"""

from __future__ import annotations

from dataclasses import replace

from meshport.dialects.base import Options
from meshport.dialects.cilium.envoy_lowering import Chosen
from meshport.dialects.cilium.routes import Ingress
from meshport.dialects.gateway_api import attachment
from meshport.dialects.gateway_api import routes as gateway_api
from meshport.dialects.gateway_api import routing as shared
from meshport.dialects.gateway_api.attachable import no_service, speaker
from meshport.dialects.gateway_api.writing import warn
from meshport.dialects.output import Output
from meshport.findings import Affected
from meshport.ir.base import Ref, Src
from meshport.ir.model import IR, Gateway
from meshport.ir.routing import ServiceRoutes, gather, routes_subject
from meshport.ir.world import World
from meshport.mapping.bound import Bound
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import in_range

GROUP = "gateway.networking.k8s.io"
_SINCE = {"HTTPRoute": "1.16", "GRPCRoute": "1.17"}
"""The releases from which Cilium reads these routes on Services."""
ROUTES = tuple(_SINCE)
CLASS = "cilium"
SPOKEN = ("kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss")
"""What Cilium speaks to the endpoints of a port with this appProtocol, if it is told to read it (gatewayAPI.enableAppProtocol, off by default)."""
WAYPOINT = "istio-waypoint"


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR) -> None:
    """The routes of the documents at `numbers`."""
    gateway_api.lift(bound, numbers, world, options, ir, family="cilium")


def lower(ir: IR, out: Output, options: Options) -> None:
    """Routes as HTTPRoutes on Services, and the source mesh's own Gateways as Gateways of Cilium."""
    before = len(out.objects)
    served = [gateway for gateway in ir.gateways if _of_the_mesh(gateway)]
    wanted = replace(options, gateway_class=options.gateway_class or CLASS)
    for gateway in ir.gateways:
        if gateway not in served:
            out.imply("stays as it is: another implementation serves it", gather(gateway))
    outside = [item for item in ir.routes if item.kind in ("HTTPRoute", "GRPCRoute") and item.service is None and not item.gateways]
    for item in outside:  # whose parent is a resource of the source mesh
        if item.problem:
            speaker(item, ir, out)(item.problem, "invalid", host=item.host.value)
        else:
            no_service(item, speaker(item, ir, out))
    unread = [item for item in ir.routes if _unread(item, options)]
    for item in (*outside, *unread):
        for reason, src in item.silenced:
            out.ignore(reason, src)
        warn(item, out)
    for item in unread:
        speaker(item, ir, out)("MP370", version=options.target_version, kind=item.kind, since=_SINCE[item.kind])
    apart = [item for item in ir.routes if item not in unread and item.consumer is not None and _stands(item)]
    for item in apart:
        why = "Cilium reads a route beside its Service alone"
        speaker(item, ir, out)("MP371", namespace=item.consumer.value if item.consumer is not None else "", why=why)
    routes = [item for item in ir.routes if item not in outside and item not in unread and item not in apart]
    shared.lower(replace(ir, gateways=served, routes=routes), out, wanted, inside=Chosen, ingress=Ingress)
    shared.left_over(ir, out)
    attachment.by_marks(ir, out)
    _without_ports(replace(ir, routes=routes), out)
    read = [item for item in routes if not item.problem and out.bundle.documents[item.document].group == GROUP and item.kind in ROUTES]
    installed(ir, out, len(out.objects) > before, read)


def _unread(item: ServiceRoutes, options: Options) -> bool:
    """Whether a route of the Gateway API hangs on a Service, which the release does not read."""
    on_service = item.kind in _SINCE and item.service is not None and not item.gateways and not item.problem
    return on_service and not in_range(options.target_version, _SINCE[item.kind], None)


def _stands(item: ServiceRoutes) -> bool:
    """Whether a route of the Gateway API is on a Service as Cilium reads it, so that the object itself would stay."""
    return item.kind in _SINCE and item.family != "linkerd" and item.service is not None and not item.gateways and not item.problem


def _of_the_mesh(gateway: Gateway) -> bool:
    """Whether the source mesh serves a Gateway, so that it ends with it."""
    return gateway.kind == "networking.istio.io" or gateway.implementation.value.startswith("istio")


def _without_ports(ir: IR, out: Output) -> None:
    """Routes on Services that stay lose the port of their parent, which Cilium does not read; one Service port is what it is for anyway."""
    changed: set[int] = set()
    for item in ir.routes:
        if item.kind not in ("HTTPRoute", "GRPCRoute") or item.gateways or item.problem or item.service is None or item.family == "linkerd":
            continue
        parents = [
            (number, position, parent)
            for number in item.documents or (item.document,)
            for position, parent in enumerate(out.bundle.documents[number].value["spec"].get("parentRefs") or ())
        ]
        for number, position, parent in parents:
            if parent.get("kind") == "Service" and parent.get("port") is not None:
                obj = out.change(number, group=f"service {item.service.value.name}", rank=30)
                changed.add(number)
                if "port" in obj.value["spec"]["parentRefs"][position]:
                    obj.drop(("spec", "parentRefs", position, "port"), item.port or item.service)
                service = ir.world.services.get(item.service.value)
                if service is None:
                    subjects = (routes_subject(item.subject_name, parent["port"]), routes_subject(item.subject_name))
                    out.finding(
                        "MP374", item.port, document=number, disposition="dropped", explains=frozenset((subject, "*") for subject in subjects),
                        affects=(Affected(item.service.value.namespace, item.service.value.name, None),), port=parent["port"],
                        object=_named(out, number, item), subject=item.subject_name, name=item.service.value.name,
                        namespace=item.service.value.namespace,
                    )  # fmt: skip
                elif len([port for port in service.ports if port.protocol == "TCP"]) > 1:
                    others = [port.number for port in service.ports if port.protocol == "TCP" and port.number != parent["port"]]
                    out.finding(
                        "MP373", item.port, document=number, disposition="dropped", explains=frozenset((routes_subject(item.subject_name, port), "*") for port in others), affects=(Affected(service.ref.namespace, service.ref.name, None),),
                        object=_named(out, number, item), subject=item.subject_name,
                        ports=", ".join(str(port) for port in others),
                    )  # fmt: skip
    for number in changed:
        _once(out, number)


def _named(out: Output, number: int, item: ServiceRoutes) -> str:
    """One of the objects that the rules for a Service come from."""
    document = out.bundle.documents[number]
    return f"{document.kind} {Ref(document.namespace or item.ref.value.namespace, document.name)}"


def _once(out: Output, number: int) -> None:
    """Parents that differed by their port alone are one: the API server takes none twice."""
    obj = out.change(number)
    parents = obj.value["spec"]["parentRefs"]
    kept = [parent for place, parent in enumerate(parents) if parent not in parents[:place]]
    if kept != parents:
        src = frozenset(leaf for leaf, _ in leaves_below(out.bundle.documents[number].leaves["spec"]["parentRefs"], ()))
        obj.set(("spec", "parentRefs"), kept, src)


def installed(ir: IR, out: Output, written: bool, stay: list[ServiceRoutes]) -> None:
    """What the Gateway API needs of the installation (Helm values of the chart `cilium`), where routes or Gateways are written or stay."""
    src: Src = gather([item.ref for item in stay])
    sent = {
        (one.service.value, one.port.value if one.port else None)
        for item in stay
        for rule in item.rules
        for one in rule.backends
        if one.service
    }
    for obj in out.objects.values():
        if obj.kind in (*ROUTES, "Gateway"):
            src |= frozenset(leaf for leaves in obj.sources.values() for leaf in leaves)
            sent |= {
                (Ref(one.get("namespace", obj.ref.namespace), one["name"]), one.get("port"))
                for rule in obj.value["spec"].get("rules", ())
                for one in rule.get("backendRefs", ())
            }
    if src and (written or stay):
        out.install("cilium", "gatewayAPI.enabled", True, src)
        out.install("cilium", "kubeProxyReplacement", "true", src)
        spoken = [
            port.spoken_src
            for ref, number in sorted(sent, key=str)
            for port in (ir.world.services[ref].ports if ref in ir.world.services else ())
            if port.app_protocol.lower() in SPOKEN and number in (None, port.number)
        ]
        if spoken:
            out.install("cilium", "gatewayAPI.enableAppProtocol", True, *spoken)
