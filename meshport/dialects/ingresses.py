"""Ways into the cluster that no mesh carries over: Ingresses of Istio's class, and those of controllers that stay and whose sidecars go by names from now on.

Linkerd's proxies go by the address that the controller dials, Istio's sidecars by the Host header. A controller passes on the host that the client asked for,
which no Service bears, so its sidecar sends the request to the address as it came, past the mesh: without routes, and in plain text
(istio.io, ops/configuration/traffic-management/traffic-routing; kubernetes/ingress-nginx, issue 3171). ztunnel goes by addresses, as Linkerd does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from meshport.dialects.cursor import Cursor
from meshport.findings import Affected
from meshport.ir.base import Ref

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

_CLASS, _DEFAULT = "kubernetes.io/ingress.class", "ingressclass.kubernetes.io/is-default-class"
_VHOST = "nginx.ingress.kubernetes.io/upstream-vhost"
_OWN = ("istio", "cilium")  # how the names of classes begin that a mesh serves itself


def report(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    """MP745 for each Ingress of Istio's class; MP747 for what comes through controllers that name no host of the mesh to Istio's sidecars."""
    if options.source == "istio" and options.target != "istio":
        _served_by_istio(bound, out)
    if options.target == "istio" and options.source != "istio" and options.data_plane != "ambient":
        _by_name(bound, ir, out, options)


def _served_by_istio(bound: Bound, out: Output) -> None:
    """The Ingresses of Istio's class (istio.io, tasks/traffic-management/ingress/kubernetes-ingress)."""
    served = {"istio"}
    ingresses: list[int] = []
    for number, document in enumerate(bound.bundle.documents):
        if (document.group, document.kind) == ("networking.k8s.io", "Ingress"):
            ingresses.append(number)
        elif document.kind == "IngressClass":
            root = Cursor.root(bound, number)
            if root.at("spec", "controller").value == "istio.io/ingress-controller":
                served |= {document.name, *([""] if root.at("metadata", "annotations", _DEFAULT).value == "true" else ())}
    for number in ingresses:
        root, document = Cursor.root(bound, number), bound.bundle.documents[number]
        named = _class(root)
        if named in served:
            out.finding(
                "MP745", document=number, feature="ingress.gateway", ingress=f"{document.namespace}/{document.name}",
                kind=f"the class {named}" if named else "the default class", affects=(Affected(document.namespace or ""),),
            )  # fmt: skip


def _class(ingress: Cursor) -> str:
    named = ingress.text("spec", "ingressClassName") or ingress.at("metadata", "annotations").text(_CLASS)
    return named.value if named is not None else ""


class _Way(NamedTuple):
    """One object that sends to Services from outside, under the hosts that clients ask for."""

    document: int
    services: frozenset[Ref]


def _by_name(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    ways = [way for way in (*_ingresses(bound), *_routes(bound)) if any(_in_mesh(service, ir) for service in way.services)]
    if ways:
        documents = [bound.bundle.documents[way.document] for way in ways]
        services = sorted({service for way in ways for service in way.services if _in_mesh(service, ir)})
        out.finding(
            "MP747", document=ways[0].document, disposition=None, feature="ingress.gateway", objects=", ".join(f"{one.kind} {one.namespace}/{one.name}" for one in documents),
            services=", ".join(map(str, services)), vhost=f"{services[0].name}.{services[0].namespace}.svc.{options.cluster_domain}",
            affects=tuple(Affected(service.namespace, service.name) for service in services),
        )  # fmt: skip


def _in_mesh(ref: Ref, ir: IR) -> bool:
    """Whether a Service has pods in the mesh; where none is known, whether its namespace is enrolled."""
    service = ir.world.services.get(ref)
    pods = service.pods if service is not None else None
    behind = ir.world.selected(pods) if pods is not None else []
    home = ir.world.namespaces.get(ref.namespace)
    enrolled = not ir.enrols or (home is not None and home.meshed is not None and home.meshed.value)
    return any(ir.world.meshed(workload) is not False for workload in behind) if behind else enrolled


def _ingresses(bound: Bound) -> Iterator[_Way]:
    for number, document in enumerate(bound.bundle.documents):
        if (document.group, document.kind) != ("networking.k8s.io", "Ingress"):
            continue
        root = Cursor.root(bound, number)
        if not _class(root).startswith(_OWN) and root.at("metadata", "annotations").text(_VHOST) is None:
            backends = [root.at("spec", "defaultBackend")]
            backends += [path.at("backend") for rule in root.each("spec", "rules") for path in rule.each("http", "paths")]
            names = [name.value for backend in backends if (name := backend.text("service", "name")) is not None]
            yield _Way(number, frozenset(Ref(document.namespace or "", name) for name in names))


def _routes(bound: Bound) -> Iterator[_Way]:
    """The HTTPRoutes and GRPCRoutes on Gateways of other classes, but for rules that write the host anew."""
    foreign = set()
    for document in bound.bundle.documents:
        if (document.group, document.kind) == ("gateway.networking.k8s.io", "Gateway"):
            spec = document.value.get("spec")
            if not str(spec.get("gatewayClassName", "") if isinstance(spec, dict) else "").startswith(_OWN):
                foreign.add((document.namespace, document.name))
    for number, document in enumerate(bound.bundle.documents):
        if not foreign or document.group != "gateway.networking.k8s.io" or document.kind not in ("HTTPRoute", "GRPCRoute"):
            continue
        root, home = Cursor.root(bound, number), document.namespace or ""
        parents = [
            (_text(parent, "namespace") or home, _text(parent, "name"))
            for parent in root.each("spec", "parentRefs")
            if _text(parent, "kind") in ("", "Gateway")
        ]
        if foreign.isdisjoint(parents):
            continue
        services = set()
        for rule in root.each("spec", "rules"):
            if not any(entry.text("urlRewrite", "hostname") for entry in rule.each("filters")):
                backends = [backend for backend in rule.each("backendRefs") if _text(backend, "kind") in ("", "Service")]
                services |= {Ref(_text(backend, "namespace") or home, _text(backend, "name")) for backend in backends}
        yield _Way(number, frozenset(services))


def _text(place: Cursor, key: str) -> str:
    found = place.text(key)
    return found.value if found is not None else ""
