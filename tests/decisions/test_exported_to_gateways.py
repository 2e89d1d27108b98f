"""`exportTo` of a VirtualService at a Gateway: the pods that serve the Gateway have to see it, whichever namespace the Gateway's object is in
(pilot/pkg/model/push_context.go in istio/istio, VirtualServicesForGateway: by the namespace of the proxy)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decisions.decision_helper import convert, namespace, service, thing, workload

DOOR = thing(
    "networking.istio.io/v1",
    "Gateway",
    "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
    "door",
    "edge",
)
PROXY = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway}}
    spec: {containers: [{name: istio-proxy, image: "docker.io/istio/proxyv2:1.24.0"}]}
"""


def converted(exports: str, target: str, proxy: str = PROXY, gateways: str = "edge/door") -> Any:
    spec = f"{{hosts: [a.example], gateways: [{gateways}], exportTo: [{exports}], http: [{{route: [{{destination: {{host: users.shop.svc.cluster.local}}}}]}}]}}"
    text = (
        namespace() + service("users") + workload("users") + DOOR + thing("networking.istio.io/v1", "VirtualService", spec, "users") + proxy
    )
    return convert(text, "istio", target)


def routes(result: Any) -> int:
    return sum(item.object["kind"] == "HTTPRoute" for item in result.manifests)


@pytest.mark.parametrize("target", ["gateway-api", "cilium"])
@pytest.mark.parametrize("exports", ["'.'", "edge", "shop, edge", "'~'"])
def test_what_the_gateways_pods_do_not_see_takes_no_request_before_and_after(exports: str, target: str) -> None:
    result = converted(exports, target)
    assert routes(result) == 0
    (finding,) = [item for item in result.findings if item.code == "MP348"]
    assert (finding.severity, finding.disposition) == ("warning", "invalid")


@pytest.mark.parametrize("target", ["gateway-api", "cilium"])
@pytest.mark.parametrize("exports", ["istio-system", "'.', istio-system", "'*'"])
def test_what_they_see_is_a_route_and_no_loss(exports: str, target: str) -> None:
    result = converted(exports, target)
    assert routes(result) == 1
    assert not {"MP348", "MP356", "MP366"} & {item.code for item in result.findings}


def test_where_nobody_shows_the_pods_the_route_is_written() -> None:
    assert routes(converted("edge", "gateway-api", proxy="")) == 1
