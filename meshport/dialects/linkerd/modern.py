"""Linkerd written anew for Linkerd: what newer resources have replaced, and nothing else.

Whoever is in the mesh stays in it, and what is modern already is not touched. ServiceProfiles, TrafficSplits and the annotations that they switch off go
together (`modern_routes`), ServerAuthorizations become AuthorizationPolicies (`modern_access`), and what is left is moved to the newest version or group
that the release reads (`modern_versions`). https://linkerd.io/2-edge/reference/
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.linkerd import modern_access, modern_routes, modern_versions
from meshport.dialects.output import Output
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lower(ir: IR, out: Output, options: Options, reads: tuple[str, ...]) -> None:
    """What is legacy in the bundle, in the words of the release that is wanted; what it replaces is listed for removal."""
    bound = Bound(out.bundle, out.table, reads, {options.source: options.source_version})
    modern_routes.lower(ir, out, options)
    modern_access.lower(bound, ir, out, options)
    modern_versions.lower(bound, out, options)
