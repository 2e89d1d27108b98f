"""Routes of the mesh as HTTPRoutes that istiod reads, where `--routes gateway-api` asks for them.

An HTTPRoute of the standard channel says nothing of retries, so those that the source has are named, and Istio's own two end by the setting of the mesh.
"""

from __future__ import annotations

from meshport.dialects.gateway_api.service_routes import Lowering
from meshport.ir.resilience import Retry
from meshport.ir.routing import RouteRule, gather


class HTTPRoutes(Lowering):
    """One set of rules on its way into Istio's HTTPRoutes."""

    __slots__ = ()

    @property
    def release(self) -> tuple[int, ...]:
        """The release of the Gateway API that the oldest supported Istio brings."""
        return (1, 3)

    def _retry(self, rule: RouteRule, shown: str) -> Retry | None:
        retry = rule.retry
        if retry is not None and not retry.none and retry.attempts is not None:
            self.say("MP405", gather(retry), aspects=("retries",), rule=shown)
        elif retry is not None:
            self.out.imply("the setting of the mesh ends retries that nobody asks for", gather(retry), retry.src)
        return None

    def silent(self) -> None:
        """Istio's two retries end by a setting of its installation, and by nothing in the route."""
        if all(item.code != "MP406" or item.affects != self.affects for item in self.out.findings):
            self.say("MP406", aspects=("retries",), disposition=None)
