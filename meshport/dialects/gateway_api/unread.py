"""Routes of the Gateway API that a release of a mesh does not read yet (linkerd.io, features, gateway-api; docs.cilium.io, gateway-api, gamma)."""

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
