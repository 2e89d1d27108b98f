"""Gateways, listeners and routes that stay as they are, and what of them the target's own implementation of the Gateway API does not do.

A field that the API knows is no field that each implementation reads: the rows of the table say which ones a mesh does not
(kubernetes-sigs/gateway-api, conformance/reports; istio.io and docs.cilium.io, Gateway API).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.attachment import GROUP
from meshport.dialects.gateway_api.unread import SETS
from meshport.findings import Affected
from meshport.ir import listening
from meshport.ir.base import Fact, Ref
from meshport.mapping.bound import MESH_NAMES
from meshport.mapping.table import dialect_of_group, in_range

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Output
    from meshport.documents import Document
    from meshport.ir.model import IR
    from meshport.mapping.bound import Bound

_SINCE: dict[str, dict[str, str]] = {
    "istio": {"UDPRoute": "", **SETS["istio"]},
    "cilium": {"TCPRoute": "1.20", "UDPRoute": "1.20", **SETS["cilium"]},
}
"""Kinds that the mesh's gateways came to read with a release, "" for those that none of them reads."""
_ENTRANCES = ("Gateway", "ListenerSet", "XListenerSet")
_ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
_CONTROLLERS = {"istio": "istio.io/", "cilium": "io.cilium/"}
_CHECK = "gateway.tls.client-validation"


def report(bound: Bound, ir: IR, out: Output, options: Options) -> None:
    """One finding for each feature of an object that the target does not do, and for each object of a kind that it does not read."""
    _sent_to_hosts(bound, out, options)
    if options.target not in _SINCE:
        return
    own = options.source == options.target
    dead = {number for routes in ir.routes if routes.problem for number in routes.documents or (routes.document,)}
    served = _served(out, options)
    said = {leaf for finding in out.findings for leaf in finding.leaves}
    closed = {
        finding.document for finding in out.findings if finding.code == "MP709" or (finding.code == "MP708" and finding.effect == "widens")
    }
    for number, document in enumerate(bound.bundle.documents):
        kept = number in out.staying or document.kind in _ENTRANCES or any(kind != "Service" for kind, _ in _parents(document, options))
        if (
            not kept
            or number in out.removed | dead | bound.broken
            or not bound.mesh[number]
            or dialect_of_group(document.group) != "gateway-api"
        ):
            continue
        if document.kind not in (*_ENTRANCES, *_ROUTES) or not _meant(document, served, options):
            continue
        affects = (Affected(document.namespace or options.default_namespace),)
        since = _SINCE[options.target].get(document.kind)
        was = bound.releases.get(options.source) if own else None
        if own and (not since or was is None or not in_range(was, since, None)):
            continue  # the mesh goes on reading it as it did, or went on passing it over
        if since is not None and not (since and in_range(options.target_version, since, None)):
            src = frozenset(range(document.first, document.first + document.count)) - said
            out.finding(
                "MP749", src, document=number, disposition="dropped", affects=affects, feature="routing.parent",
                object=f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}",
                mesh=MESH_NAMES[options.target], kind=document.kind, until=f" before {since}" if since else "",
                explains=_of_a_set(ir, range(document.first, document.first + document.count)),
            )  # fmt: skip
            continue
        for feature, leaves in _undone(bound, document, out, said) if not own else ():
            if feature != _CHECK or number not in closed:
                values = [bound.bundle.value(leaf) for leaf in leaves]
                value = next((one for one in values if one not in ("", None)), values[0])
                explains = _of_checks(ir, number) if feature == _CHECK else frozenset()
                out.lost(Fact(value, frozenset(leaves), feature), document=number, affects=affects, explains=explains, value=value)


def _sent_to_hosts(bound: Bound, out: Output, options: Options) -> None:
    """Say of routes at Gateways that another class than Istio's takes over that they send to hosts, which Istio alone knows for a backend."""
    moved = set()
    for obj in out.objects.values():
        was = out.bundle.documents[obj.changed].value.get("spec") if obj.changed is not None and obj.kind == "Gateway" else None
        if (
            isinstance(was, dict)
            and str(was.get("gatewayClassName")).startswith("istio")
            and was["gatewayClassName"] != obj.value["spec"]["gatewayClassName"]
        ):
            moved.add(obj.ref)
    for number, document in enumerate(bound.bundle.documents) if moved else ():
        if document.kind not in _ROUTES or document.group != GROUP or number in out.removed | bound.broken:
            continue
        if not any(kind == "Gateway" and ref in moved for kind, ref in _parents(document, options)):
            continue
        refs = [ref for rule in Cursor.root(bound, number).each("spec", "rules") for ref in rule.each("backendRefs")]
        hosts = [ref for ref in refs if ref.at("group").value == "networking.istio.io"]
        if hosts:
            out.finding(
                "MP768", *(ref.src for ref in hosts), document=number, disposition="manual", affects=(Affected(document.namespace or options.default_namespace),),
                feature="routing.destination", object=f"{document.kind} {Ref(document.namespace or options.default_namespace, document.name)}",
                parents="Gateway", backends=", ".join(sorted({str(ref.at("kind").value) for ref in hosts})),
            )  # fmt: skip


def _of_a_set(ir: IR, leaves: range) -> frozenset[tuple[str, str]]:
    """The differences that follow where nobody reads a set of listeners."""
    found: frozenset[tuple[str, str]] = frozenset()
    for gateway in ir.gateways:
        found |= listening.explains(gateway.ref.value, [item for item in gateway.added if any(leaf in leaves for leaf in item.port.src)])
    return found


def _of_checks(ir: IR, number: int) -> frozenset[tuple[str, str]]:
    """The differences that follow where a Gateway's checks of client certificates end."""
    own = [(one.ref.value, [item for item in one.listeners if item.check is not None]) for one in ir.gateways if one.document == number]
    return frozenset(pair for ref, asking in own for pair in listening.explains(ref, asking))


def _undone(bound: Bound, document: Document, out: Output, said: set[int]) -> Iterator[tuple[str, list[int]]]:
    """The features of an object that the target does not have, with their leaves."""
    found: dict[str, list[int]] = {}
    for leaf in range(document.first, document.first + document.count):
        binding = bound.bindings[leaf]
        feature = bound.feature(leaf)
        if binding is None or binding.irrelevant or not feature or leaf in said or leaf in bound.invalid:
            continue
        if out.table.support(feature, out.target, out.target_version).support == "none":
            found.setdefault(feature, []).append(leaf)
    return iter(found.items())


def _served(out: Output, options: Options) -> dict[Ref, bool]:
    """The Gateways that stay or are written, and whether the target's implementation serves them."""
    classes = {
        document.name: str((document.value.get("spec") or {}).get("controllerName", ""))
        for document in out.bundle.documents
        if document.kind == "GatewayClass"
    }
    found: dict[Ref, bool] = {}
    values: list[Any] = [document.value for document in out.bundle.documents if document.kind == "Gateway"]
    values += [obj.value for obj in out.objects.values() if obj.kind == "Gateway"]
    for value in values:
        spec, meta = value.get("spec") or {}, value.get("metadata") or {}
        name = str(spec.get("gatewayClassName", ""))
        controller = classes.get(name, "")
        own = controller.startswith(_CONTROLLERS[options.target]) if controller else name.partition("-")[0] == options.target
        found[Ref(str(meta.get("namespace") or options.default_namespace), str(meta.get("name")))] = own
    return found


def _meant(document: Document, served: dict[Ref, bool], options: Options) -> bool:
    """Whether the target is what reads an object: a Gateway of its class, what hangs on one, or a route on a Service."""
    home = document.namespace or options.default_namespace
    if document.kind == "Gateway":
        return served.get(Ref(home, document.name), False)
    return any(kind == "Service" or (kind == "Gateway" and served.get(ref, False)) for kind, ref in _parents(document, options))


def _parents(document: Document, options: Options) -> Iterator[tuple[str, Ref]]:
    """Kind and name of what an object hangs on."""
    spec = said if isinstance(said := document.value.get("spec"), dict) else {}
    parents = [spec.get("parentRef")] if document.kind in _ENTRANCES else spec.get("parentRefs")
    for parent in parents if isinstance(parents, list) else ():
        if isinstance(parent, dict):
            namespace = parent.get("namespace") or document.namespace or options.default_namespace
            yield str(parent.get("kind") or "Gateway"), Ref(str(namespace), str(parent.get("name")))
