"""How the Gateway API says routing: every route as it is read, and the rules of a mesh as routes on a Service or on a Gateway.

Clients in the mesh follow a route whose parent is a Service (GAMMA), requests from outside one whose parent is a Gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects import naming
from meshport.dialects.gateway_api import attachment, connections, gateways, routes
from meshport.dialects.gateway_api.attachable import attachable, dormant, no_service, of_the_mesh, second, speaker
from meshport.dialects.gateway_api.ingress import Entries, IngressLowering
from meshport.dialects.gateway_api.ranking import left_open
from meshport.dialects.gateway_api.sayable import ASPECTS
from meshport.dialects.gateway_api.service_routes import Lowering, default_retries
from meshport.dialects.gateway_api.staying import stays
from meshport.dialects.gateway_api.writing import warn
from meshport.findings import Affected
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.routing import ServiceRoutes, explains, gather
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import version_key

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound


def lift(bound: Bound, numbers: list[int], world: World, options: Options, ir: IR) -> None:
    """The routes and Gateways of the documents at `numbers`, into `ir`."""
    routes.lift(bound, numbers, world, options, ir, family="gateway-api")


def lower(
    ir: IR, out: Output, options: Options, *, inside: type[Lowering] = Lowering, ingress: type[IngressLowering] = IngressLowering
) -> None:
    """Routes of other words as HTTPRoutes; routes that are of the Gateway API already stay as they are.

    An implementation that reads routes in its own way brings its own lowering, for routes on Services (`inside`) and on Gateways (`ingress`).
    """
    entries = gateways.lower(ir, out, options)
    seen: dict[tuple[Ref, str], ServiceRoutes] = {}
    written: set[int] = set()
    for item in sorted(ir.routes, key=lambda one: (one.host.value, one.protocol, one.ref.value, one.port.value if one.port else 0)):
        for reason, src in item.silenced:
            out.ignore(reason, src)
        warn(item, out)
        before = len(out.objects)
        _one(item, seen, ir, out, options, inside)
        if len(out.objects) > before:
            written.update(item.documents or (item.document,))
    _regrouped(out, written)
    if ir.mesh == "linkerd":
        switched_off(ir, out)
    written |= at_gateways(ir, out, options, entries, ingress)
    for number in sorted(written):
        document = out.bundle.documents[number]
        if document.group and document.kind != "Service" and (document.group, document.kind, _ref(out, number, options)) not in out.objects:
            out.remove(number, "its rules are in the routes; two sets of rules for one host would contradict each other")


def at_gateways(ir: IR, out: Output, options: Options, entries: Entries, ingress: type[IngressLowering] = IngressLowering) -> set[int]:
    """The rules of VirtualServices that hold at their gateways, as routes on Gateways. The documents of which something is written. Hosts that the same of
    the gateways admit share a route."""
    outside: dict[tuple[int, frozenset[str]], list[ServiceRoutes]] = {}
    passing: dict[tuple[int, str, frozenset[str]], list[ServiceRoutes]] = {}
    written: set[int] = set()
    for item in sorted(ir.routes, key=lambda one: (one.host.value, one.protocol, one.ref.value, one.port.value if one.port else 0)):
        if (
            item.kind != "VirtualService"
            or item.problem == attachment.UNATTACHED
            or all(gateway.value == "mesh" for gateway in item.gateways)
        ):
            continue
        admitting = frozenset(gateway.value for gateway in item.gateways if gateway.value != "mesh")
        if item.protocol in ("tls", "tcp"):
            passing.setdefault((item.document, item.protocol, admitting), []).append(item)
        if item.protocol == "http":
            outside.setdefault((item.document, admitting), []).append(item)
    named: set[int] = set()
    for (document, admitting), listed in outside.items():
        before = len(out.objects)
        low = ingress.of(listed, entries, ir, out, options)
        if document in named:
            low.name = naming.name(listed[0].ref.value.name, "at", *sorted(admitting))
        named.add(document)
        low.write()
        if len(out.objects) > before:
            written.update(listed[0].documents)
    for _, listed in sorted(passing.items(), key=lambda entry: (*entry[0][:2], sorted(entry[0][2]))):
        before = len(out.objects)
        low = ingress.of(listed, entries, ir, out, options)
        if not low.hangs():
            continue
        out.imply(
            "a route for connections is known by the names that clients ask for",
            gather(*(item.host for item in listed), *(item.service for item in listed)),
        )
        apis = connections.versions(low.release)
        if options.target == "cilium" and version_key(options.target_version) < (1, 20):
            del apis["tcp"]
        connections.write(low, apis, low.gateways)
        if len(out.objects) > before:
            written.update(listed[0].documents)
    return written


def left_over(ir: IR, out: Output) -> None:
    """What the source's own gateways and routes say that nothing written says: their hosts and workloads where no rule or listener was left."""
    reached = out.reached()
    reached |= {*out.implied, *out.irrelevant, *gather(*ir.idle)}
    parts: dict[int, Src] = {}
    for gateway in ir.gateways:
        if gateway.kind == "networking.istio.io":
            shadow = out.bundle.documents[gateway.document].leaves.get("spec", {})
            parts[gateway.document] = frozenset(leaf for leaf, _ in leaves_below(shadow, ()))
    for item in ir.routes:
        if item.kind == "VirtualService" and not item.mesh:
            parts[item.document] = parts.get(item.document, frozenset()) | gather(item.gateways, item.host, item.service)
    for number, src in sorted(parts.items()):
        document = out.bundle.documents[number]
        left = src - reached
        if left:
            out.finding(
                "MP376", left, document=number, disposition="dropped", affects=(Affected(document.namespace),) if document.namespace else (),
                feature="routing.parent", object=f"{document.kind} {document.namespace or ''}/{document.name}".replace(" /", " "),
            )  # fmt: skip


def open_order(item: ServiceRoutes, ir: IR, out: Output, reader: str) -> None:
    """Say where the order of a regular expression and a prefix decides between rules, for the Gateway API leaves it to the implementation. Of the readers Cilium
    takes expressions first; Istio, and what is written in other words, prefixes."""
    pairs = left_open(item.rules)
    if pairs and item.kind != "GRPCRoute":
        place = item.service.value if item.service is not None else item.ref.value
        names = [rule.name or f"number {number + 1}" for number, rule in enumerate(item.rules)]
        ordered = sorted(pairs if reader == "Cilium" else [(second, first) for first, second in pairs])
        out.finding(
            "MP313", document=item.document, affects=(Affected(place.namespace, place.name),), explains=explains(ir.world, item, *ASPECTS),
            object=f"{item.kind} {item.ref.value}", subject=item.subject_name, reader=reader,
            pairs=", ".join(f"{names[first]} before {names[second]}" for first, second in ordered),
        )  # fmt: skip


def switched_off(ir: IR, out: Output) -> None:
    """Routes on Services that a ServiceProfile or TrafficSplit had switched off leave with it: alone they would act."""
    acting = {number for item in ir.routes for number in (item.document, *item.documents)}
    for item in ir.routes:
        if item.kind not in ("ServiceProfile", "TrafficSplit") or item.service is None:
            continue
        for number, document in enumerate(out.bundle.documents):
            spec = document.value.get("spec") if document.kind in ("HTTPRoute", "GRPCRoute") and number not in acting else None
            if isinstance(spec, dict) and _only_for(spec.get("parentRefs"), item.service.value, document.namespace or ""):
                src = out.bundle.saying(document)
                affects = (Affected(item.service.value.namespace, item.service.value.name),)
                profile = f"{item.kind} {item.ref.value}"
                out.remove(number, f"{profile} had switched it off; it would act once that is gone")
                out.finding(
                    "MP335", src, document=number, disposition="invalid", affects=affects, object=f"{document.kind} {document.namespace}/{document.name}", profile=profile,
                    subject=item.subject_name,
                )  # fmt: skip
                acting.add(number)


def _only_for(parents: object, service: Ref, namespace: str) -> bool:
    """Whether all parents of a route are one Service."""
    listed = parents if isinstance(parents, list) else []
    return bool(listed) and all(
        isinstance(parent, dict)
        and parent.get("kind") == "Service"
        and Ref(parent.get("namespace") or namespace, str(parent.get("name"))) == service
        for parent in listed
    )


def _ref(out: Output, number: int, options: Options) -> Ref:
    document = out.bundle.documents[number]
    return Ref(document.namespace or options.default_namespace, document.name)


def _one(
    item: ServiceRoutes, seen: dict[tuple[Ref, str], ServiceRoutes], ir: IR, out: Output, options: Options, inside: type[Lowering]
) -> None:
    say = speaker(item, ir, out)
    ours = item.kind in ("HTTPRoute", "GRPCRoute")
    if item.beyond is not None and options.target == "gateway-api" and not item.problem:
        if ours:
            out.imply("stays as it is: a route on a network of the mesh", item.src)
        elif all(gateway.value == "mesh" for gateway in item.gateways):
            of_the_mesh(item, out)
            stays(out, item.document, [Fact(item.host.value, item.host.src, "egress.host")], item.src | gather(item.rules))
        else:
            no_service(item, say)
        return
    if item.kind in connections.KINDS:
        if options.target == "cilium" and not item.gateways:
            say("MP306", protocol=item.protocol.upper(), outcome=connections.DIRECT)
        else:
            out.imply("stays as it is", item.src)
        out.staying.update(item.documents)
    elif item.problem:
        say(item.problem, "invalid")
        if options.target != "gateway-api":  # there the mesh that follows none stays
            dormant(item, ir, out)
    elif item.family == "istio" and second(item, seen, ir, out, say):
        pass
    elif ours and (item.gateways or item.family != "linkerd"):
        out.imply("stays as it is", item.src)
        out.staying.update(item.documents or (item.document,))
        if item.family != options.target and "cilium" in (item.family, options.target):
            open_order(item, ir, out, "Cilium")
        known = ir.world.services.get(item.service.value) if item.service is not None else None
        if known is not None and (known.headless or known.external_name):
            say("MP303", None, what="headless" if known.headless else "of type ExternalName")
            out.findings[-1].message = out.findings[-1].message.replace("the rules are left out", "the route stays and does nothing")
        if not item.gateways and any(rule.retry is None and not rule.answers for rule in item.rules):
            place = item.service.value if item.service is not None else item.ref.value
            affects = (Affected(place.namespace, place.name),)
            default_retries(item, out, affects, explains(ir.world, item, "retries"))
    elif item.kind == "GRPCRoute" and not any(rule.timeout or rule.retry for rule in item.rules):  # for those it has no field
        out.imply("stays as it is: a GRPCRoute ranks alike everywhere", item.src)
        out.staying.update(item.documents or (item.document,))
    elif not item.mesh:
        pass  # what is for gateways alone is written for all hosts of the object together
    elif (service := attachable(item, seen, ir, say)) is not None:
        low = inside(ir, out, options, item, service)
        if not low.followers:
            of_the_mesh(item, out)
        if item.family == "gateway-api":
            open_order(item, ir, out, "the translation")
        if item.protocol == "http" or item.protocol == "grpc":
            low.write()
        else:
            connections.write(low, connections.versions(low.release) if options.target == "gateway-api" else {})


def _regrouped(out: Output, written: set[int]) -> None:
    """The group of a Service is empty; Linkerd also takes `core`, which is no group that an implementation has to know. Those that are written anew go."""
    for number, document in enumerate(out.bundle.documents):
        if document.group != routes.GROUP or document.kind not in ("GRPCRoute", "TCPRoute", "TLSRoute") or number in written:
            continue
        if document.kind == "GRPCRoute" and number not in out.staying:
            continue
        spec = document.value.get("spec")
        parents = spec.get("parentRefs") if isinstance(spec, dict) else None
        for index, parent in enumerate(parents if isinstance(parents, list) else ()):
            if isinstance(parent, dict) and parent.get("group") == "core":
                leaf = document.leaves["spec"]["parentRefs"][index]["group"]
                obj = out.change(number, group=f"service {parent.get('name')}", rank=30)
                obj.set(("spec", "parentRefs", index, "group"), "", frozenset((leaf,)))
