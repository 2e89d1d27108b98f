"""Linkerd's inbound objects in a conversion to another mesh: what they come to is written by pods and ports, and the rest of their leaves is accounted for here."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from meshport.dialects.output import Output

KINDS = ("Server", "ServerAuthorization", "AuthorizationPolicy", "MeshTLSAuthentication", "NetworkAuthentication")


def without_effect(out: Output, reached: Set[int], kinds: tuple[str, ...] = KINDS) -> None:
    """Parts that reached nothing: unreferenced authentications, grants that others hold already. (The read-back proves it.)"""
    for document in out.bundle.documents:
        route = document.kind in ("HTTPRoute", "GRPCRoute")
        inbound = document.group == "policy.linkerd.io" and document.kind in kinds and not route
        if inbound or (route and _on_server(document.value)):
            rest = frozenset(range(document.first, document.first + document.count)) - reached - out.implied.keys()
            out.ignore("what the other objects for these pods come to is the same without it", rest)


def _on_server(value: dict[str, Any]) -> bool:
    spec = value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    return isinstance(parents, list) and bool(parents) and all(isinstance(item, dict) and item.get("kind") == "Server" for item in parents)
