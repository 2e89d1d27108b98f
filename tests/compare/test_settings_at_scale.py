"""What is said of a thousand Services is compared in the time of a thousand Services, and each difference still names a request that a rule sends there."""

from __future__ import annotations

import pytest

import meshport
from meshport.compare import routing
from meshport.ir.model import IR

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: shop}}
spec: {{selector: {{app: s{n}}}, ports: [{{port: 80, name: http}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{n}, namespace: shop}}
spec:
  hosts: [s{n}]
  http:
  - match: [{{uri: {{prefix: /{n}/}}}}]
    route: [{{destination: {{host: s{to}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: s{n}, namespace: shop}}
spec:
  host: s{n}
  trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: {errors}}}}}
---
"""


def _platform(count: int, errors: int) -> meshport.Bundle:
    """Services in a circle: the rules of each send to the next."""
    return meshport.load_text("".join(SERVICE.format(n=n, to=(n + 1) % count, errors=errors) for n in range(count)))


@pytest.mark.parametrize("count", [2, 12])
def test_routes_are_gone_through_no_more_often_for_more_services(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    asked: list[IR] = []
    places = routing.places
    monkeypatch.setattr(routing, "places", lambda ir: (asked.append(ir), places(ir))[1])
    proof = meshport.verify(_platform(count, 5), _platform(count, 7))
    breakers = [one for one in proof.differences if "consecutive 5" in str(one.before)]
    assert len(breakers) == count
    assert len(asked) < 20
    to = {(one.request["destination"]["service"], one.request["path"]) for one in breakers}
    assert to == {(f"s{n}", f"/{n}/") for n in range(count)}
