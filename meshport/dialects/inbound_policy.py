"""Linkerd's inbound objects in a conversion to another mesh: what they come to is written by pods and ports, and the rest of their leaves is accounted for here."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from meshport.dialects.output import Output
from meshport.effective.access import Access, resolve
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Ref, Src

KINDS = ("Server", "ServerAuthorization", "AuthorizationPolicy", "MeshTLSAuthentication", "NetworkAuthentication")
_AUTHENTICATIONS = ("MeshTLSAuthentication", "NetworkAuthentication")
_UNREAD = ("MP222", "MP223")
"""Losses of routes that hang on a Server and that Linkerd does not follow, whatever the port speaks."""
_SAME = "what the other objects for these pods come to is the same without it"


def without_effect(out: Output, access: Access, kinds: tuple[str, ...] = KINDS) -> None:
    """Parts that may reach nothing: unreferenced authentications, grants that others hold already. (The read-back proves it.)"""
    lost = out.void | {loss.document for loss in access.ir.losses if loss.code in _UNREAD}
    hung_on = {
        Ref(item.namespace or "", name)
        for number, item in enumerate(out.bundle.documents)
        if number not in lost
        for name in _servers_of(item.value)
    }
    routed, beaten = _protocols(access, hung_on)
    asked: Src = frozenset().union(*(policy.sources for policy in access.ir.policies))
    for document in out.bundle.documents:
        route = document.kind in ("HTTPRoute", "GRPCRoute")
        inbound = document.group == "policy.linkerd.io" and document.kind in kinds and not route
        if inbound or (route and _on_server(document.value)):
            rest = frozenset(out.bundle.leaves_of(document)) - out.implied.keys()
            out.decide("what the port is said to speak decides which routes hang on it", rest & routed)
            spoken = frozenset(leaf for leaf in rest if out.bundle.parts(leaf) == ("spec", "proxyProtocol"))
            out.ignore(_SAME, spoken - routed - beaten)  # of a hint nobody has to know that it adds nothing
            idle = document.kind in _AUTHENTICATIONS and asked.isdisjoint(out.bundle.leaves_of(document))
            out.adds_nothing("no policy that is in force refers to it" if idle else _SAME, rest - routed)


def audited(out: Output, access: Access) -> None:
    """Servers that record what they admit to everybody: the recording is lost."""
    for policy in access.ir.policies:
        if policy.kind != "Server" or policy.fallback is None or policy.fallback.value != "audit":
            continue
        places = []
        for item in access.selected(policy.subject.value):
            port = resolve(item.workload, policy.port.value) if policy.port is not None else None
            if item.meshed is not False and port is not None and any(one.ref == policy.ref for one in item.at(port)):
                places.append(Affected(item.workload.ref.namespace, item.workload.ref.name, port))
        if places:
            out.finding(
                "MP213", policy.fallback, document=policy.document, disposition="approximated", affects=tuple(places), feature="server.audit",
                what=f"accessPolicy audit of Server {policy.ref.value}",
            )  # fmt: skip


def _protocols(access: Access, hung_on: Set[Ref]) -> tuple[Src, Src]:
    """The leaves that say what a port speaks on which routes hang, or would if it spoke otherwise (`hung_on`: the Servers that routes name), and those of
    Servers that on each of their ports another one goes before."""
    routed, beaten, counting = NOWHERE, NOWHERE, NOWHERE
    for item in access.workloads:
        for policy in item.allows if item.meshed is not False else ():
            if policy.port is None or policy.protocol is None:
                continue
            number = resolve(item.workload, policy.port.value)
            if number is None or all(policy is not one for one in item.at(number)):
                beaten |= policy.protocol.src
                continue
            counting |= policy.protocol.src
            routed |= policy.protocol.src if policy.ref.value in hung_on else NOWHERE
    for policy in access.unselected():  # what is written for pods that the bundle does not show
        routed |= policy.protocol.src if policy.protocol is not None and policy.ref.value in hung_on else NOWHERE
    return routed, beaten - counting


def ends_exemption(out: Output, hung: Src, mesh: str) -> None:
    """Routes on a port end Linkerd's exemption for its probes, which `mesh` has not: the only one does, of several none by itself."""
    reason = f"a route on the port ends Linkerd's exemption for probes there, and {mesh} has none"
    if len({out.bundle.number(leaf) for leaf in hung}) > 1:
        out.adds_nothing(f"{reason}; another route does so too", hung)
    else:
        out.imply(reason, hung)


def _on_server(value: dict[str, Any]) -> bool:
    parents = _parents(value)
    return bool(parents) and all(isinstance(item, dict) and item.get("kind") == "Server" for item in parents)


def _servers_of(value: dict[str, Any]) -> list[str]:
    """The Servers that a route names."""
    return [str(item.get("name")) for item in _parents(value) if isinstance(item, dict) and item.get("kind") == "Server"]


def _parents(value: dict[str, Any]) -> list[Any]:
    spec = value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    return parents if isinstance(parents, list) else []
