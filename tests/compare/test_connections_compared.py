"""Where connections go is compared: a changed name, share or destination of a TLS or TCP rule shows in `diff`, in `verify` and on read-back."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.dialects.gateway_api import connections

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp-db, port: 5000}, {name: https, port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: db2, namespace: shop}
spec: {selector: {app: db2}, ports: [{name: tcp-db, port: 5000}, {name: https, port: 443}]}
---
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: shop}
spec:
  hosts: [db, "*.test"]
  tcp:
  - match: [{port: 5000}]
    route: [{destination: {host: db, port: {number: 5000}}, weight: 90}, {destination: {host: db2, port: {number: 5000}}, weight: 10}]
  tls:
  - match: [{sniHosts: [a.test, b.test]}]
    route: [{destination: {host: db2, port: {number: 443}}}]
"""
OLD = WORLD + RULES
EVERY = "connections of Service shop/db port 5000"
BY_NAME = "connections of Service shop/db port 443"


def load(text: str) -> Any:
    return meshport.load_text(text)


def test_rules_for_connections_are_equal_to_their_routes() -> None:
    """The names beside the Service, which Istio wants among the hosts, are for a host outside: those rules are lost, and said to be."""
    for target in ("linkerd", "gateway-api"):
        result = meshport.convert(load(OLD), source="istio", target=target)
        written = load(result.text() + ("" if target == "linkerd" else "\n---\n" + WORLD))
        found = meshport.verify(load(OLD), written, old_mesh="istio", new_mesh=target)
        assert not [item.subject for item in found.differences if item.subject.startswith("connections of Service ")]
        assert all(
            not item.subject.startswith("connections of Service ")
            for item in meshport.diff(load(OLD), written, old_mesh="istio", new_mesh=target)
        )


@pytest.mark.parametrize(
    ("before", "after", "subject"),
    [
        ("weight: 90", "weight: 50", EVERY),
        ("host: db2, port: {number: 5000}", "host: db2, port: {number: 5001}", EVERY),
        ("a.test", "c.test", BY_NAME),
        ("host: db2, port: {number: 443}", "host: db, port: {number: 443}", BY_NAME),
        ("match: [{port: 5000}]", "match: [{port: 443}]", EVERY),
    ],
)
def test_a_change_of_a_rule_for_connections_is_a_difference(before: str, after: str, subject: str) -> None:
    new = OLD.replace(before, after)
    assert new != OLD
    assert subject in {item.subject for item in meshport.diff(load(OLD), load(new), old_mesh="istio", new_mesh="istio")}
    found = meshport.verify(load(OLD), load(new), old_mesh="istio", new_mesh="istio")
    (told, *_) = [item for item in found.differences if item.subject == subject]
    assert told.request["protocol"] == "tcp"
    assert found.verdict == "changed"


def test_a_route_that_is_written_wrong_is_said_as_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "shares", lambda weights: [1 for _ in weights])
    result = meshport.convert(load(OLD), source="istio", target="linkerd")
    (told,) = [finding for finding in result.findings if finding.code == "MP900"]
    assert EVERY in told.message


def test_rules_for_one_name_hide_later_ones_for_it() -> None:
    more = "  - match: [{sniHosts: [b.test]}]\n    route: [{destination: {host: db, port: {number: 443}}}]\n"
    assert not [item for item in meshport.diff(load(OLD), load(OLD + more), old_mesh="istio", new_mesh="istio") if item.subject == BY_NAME]


GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: [a.test], tls: {mode: PASSTHROUGH}}
  - {port: {number: 5000, name: tcp, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 5001, name: tcp-2, protocol: TCP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: named, namespace: shop}
spec:
  hosts: [a.test]
  gateways: [edge]
  tls: [{match: [{sniHosts: [a.test]}], route: [{destination: {host: db2, port: {number: 443}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  tcp:
  - {match: [{port: 5000}], route: [{destination: {host: db, port: {number: 5000}}}]}
  - {match: [{port: 5001}], route: [{destination: {host: db2, port: {number: 5000}}}]}
"""


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_rules_for_bytes_on_one_port_of_a_gateway_hide_none_for_names_on_another(target: str) -> None:
    result = meshport.convert(load(WORLD + GATEWAY), source="istio", target=target)
    assert {item.object["kind"] for item in result.manifests} >= {"TLSRoute", "TCPRoute"}
    assert not [finding.message for finding in result.findings if finding.code == "MP900"]


def test_rules_for_bytes_are_compared_on_each_port_of_a_gateway() -> None:
    new = GATEWAY.replace("{host: db2, port: {number: 5000}}", "{host: db, port: {number: 443}}")
    assert new != GATEWAY
    found = meshport.diff(load(WORLD + GATEWAY), load(WORLD + new), old_mesh="istio", new_mesh="istio")
    assert ("connections of Gateway shop/edge", 'rules["every connection on port 5001"]["shop/app=db:443"]') in {
        (item.subject, item.path) for item in found
    }
