"""Which port of the pods a rule sends to is compared: a Service for a subset with another port, and a destination that names none."""

from __future__ import annotations

import meshport

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 9090, targetPort: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, template: {metadata: {labels: {app: pay}}, spec: {containers: [{name: app, image: pay, ports: [{containerPort: 8080}]}]}}}
---"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: pay}}]}]}
"""


def test_a_destination_without_a_port_is_the_only_one_of_its_service() -> None:
    """Istio sends requests for `web:9090` to `pay:80`; a route that names the port 9090 of `pay` would answer each of them 500."""
    for target in ("linkerd", "gateway-api"):
        result = meshport.convert(meshport.load_text(WORLD + RULES), source="istio", target=target)
        routes = [item.object["spec"] for item in result.manifests if item.object["kind"] == "HTTPRoute"]
        ports = [backend["port"] for spec in routes for rule in spec["rules"] for backend in rule["backendRefs"]]
        assert ports and set(ports) == {80}
        assert "MP900" not in {item.code for item in result.findings}


def test_another_port_of_the_pods_is_a_difference() -> None:
    def told(after: str) -> list[str]:
        new = meshport.load_text(after)
        return [f"{item.path}" for item in meshport.diff(meshport.load_text(WORLD + RULES), new, old_mesh="istio", new_mesh="istio")]

    assert told(WORLD + RULES) == []
    assert any(
        "container port 8081" in path
        for path in told((WORLD + RULES).replace("port: 80, targetPort: 8080}]", "port: 80, targetPort: 8081}]"))
    )
    assert any("no port 81" in path for path in told(WORLD + RULES.replace("host: pay", "host: pay, port: {number: 81}")))
