"""Rules at Gateways are compared like rules between workloads, in whatever words they stand."""

from __future__ import annotations

import meshport

SERVICES = "---\n".join(
    f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}\n"
    for name in ("web", "next")
)
ISTIO = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.test]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [shop.test]
  gateways: [edge]
  http:
  - match: [{uri: {exact: /a}}]
    timeout: 5s
    route: [{destination: {host: web}, weight: 90}, {destination: {host: next}, weight: 10}]
  - route: [{destination: {host: next}}]
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.test]
  rules:
  - matches: [{path: {type: Exact, value: /a}}]
    timeouts: {request: 5s}
    backendRefs: [{name: web, port: 80, weight: 9}, {name: next, port: 80, weight: %d}]
  - backendRefs: [{name: next, port: 80}]
"""


def changed(weight: int) -> list[tuple[str, str]]:
    old, new = meshport.load_text(SERVICES + ISTIO), meshport.load_text(ROUTE % weight)
    found = meshport.diff(old, new, old_mesh="istio", new_mesh="gateway-api")
    return [(item.subject, item.aspect) for item in found if item.subject.startswith("ingress")]


def test_the_same_rules_in_both_words_are_no_difference() -> None:
    assert changed(1) == []


def test_another_share_at_the_gateway_is_one() -> None:
    assert set(changed(2)) == {("ingress of Gateway shop/edge", "backends")}


def test_what_is_written_for_a_gateway_reads_back_as_it_was_meant() -> None:
    for target in ("gateway-api", "cilium"):
        result = meshport.convert(meshport.load_text(SERVICES + ISTIO), source="istio", target=target)
        assert not [item for item in result.diff if item.subject.startswith("ingress")]
        assert "MP900" not in {finding.code for finding in result.findings}


def test_another_port_of_a_service_is_another_destination() -> None:
    """From outside no port of the request's stands for that of the Service; where a Service has just one, naming it or not is the same."""
    several = SERVICES.replace("[{name: http, port: 80}]", "[{name: http, port: 80}, {name: admin, port: 81}]")
    one, other = (
        ISTIO.replace("host: web}", "host: web, port: {number: 80}}"),
        ISTIO.replace("host: web}", "host: web, port: {number: 81}}"),
    )
    assert meshport.verify(meshport.load_text(several + one), meshport.load_text(other)).verdict == "changed"
    assert meshport.verify(meshport.load_text(SERVICES + ISTIO), meshport.load_text(one)).verdict == "equivalent"


def test_hosts_that_different_gateways_admit_hang_each_on_its_own() -> None:
    edge = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.%s.test"]}]}
"""
    rules = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [a.one.test, b.two.test, c.three.test], gateways: [one, two, three], http: [{route: [{destination: {host: web}}]}]}
"""
    bundle = SERVICES + "".join(edge % (name, name) for name in ("one", "two", "three")) + rules
    for target in ("gateway-api", "cilium"):
        result = meshport.convert(meshport.load_text(bundle), source="istio", target=target)
        routes = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
        assert sorted((item["spec"]["hostnames"], [parent["name"] for parent in item["spec"]["parentRefs"]]) for item in routes) == [
            (["a.one.test"], ["one"]), (["b.two.test"], ["two"]), (["c.three.test"], ["three"]),
        ]  # fmt: skip
        assert len({item["metadata"]["name"] for item in routes}) == 3
        assert "MP900" not in {finding.code for finding in result.findings}
