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


SETS = {"istio": {"ListenerSet": "1.30", "XListenerSet": "1.28"}, "cilium": {"ListenerSet": "1.20", "XListenerSet": ""}}
"""Since when a mesh's gateways read sets of listeners; "" for those that none of them reads."""


def reads_sets(root: Cursor, family: str) -> bool:
    """Whether the release at hand reads a set of listeners; True where no release is known, and for the API alone."""
    release, since = root.bound.releases.get(family), SETS.get(family, {}).get(root.document.kind)
    return since is None or (bool(since) and (release is None or in_range(release, since, None)))


def too_early(root: Cursor, kind: str, family: str) -> str:
    """The code of a route on a Service that the release at hand does not read; "" where it does, or where no release is known."""
    release, since = root.bound.releases.get(family), _SINCE.get((family, kind))
    if root.document.group != "gateway.networking.k8s.io" or release is None or since is None:
        return ""
    return "" if in_range(release, since, None) else "MP770"


def for_consumers(family: str, home: str, space: str) -> str:
    """The code of a route for the clients of its own namespace alone, where the mesh has no such routes; "" where it has, or where the route is none."""
    return "MP766" if family == "cilium" and home != space else ""
