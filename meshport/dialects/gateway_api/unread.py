"""Routes of the Gateway API that a mesh does not read: a release that is too early, and for Cilium those outside of the namespace of their Service, which
it has in no release (linkerd.io, features, gateway-api; docs.cilium.io, gateway-api, gamma; MeshConsumerRoute in kubernetes-sigs/gateway-api,
conformance/reports)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.mapping.table import in_range

if TYPE_CHECKING:
    from meshport.dialects.cursor import Cursor

_SINCE = {
    ("linkerd", "HTTPRoute"): "2.14",
    ("linkerd", "GRPCRoute"): "2.16",
    ("cilium", "HTTPRoute"): "1.16",
    ("cilium", "GRPCRoute"): "1.17",
}


def too_early(root: Cursor, kind: str, family: str) -> str:
    """The code of a route on a Service that the release at hand does not read; "" where it does, or where no release is known."""
    release, since = root.bound.releases.get(family), _SINCE.get((family, kind))
    if root.document.group != "gateway.networking.k8s.io" or release is None or since is None:
        return ""
    return "" if in_range(release, since, None) else "MP770"


def for_consumers(family: str, home: str, space: str) -> str:
    """The code of a route for the clients of its own namespace alone, where the mesh has no such routes; "" where it has, or where the route is none."""
    return "MP766" if family == "cilium" and home != space else ""
