"""Demands that can be written in several ways, or that hang together: what they come to is compared, and each witness is a request that tells the sides apart."""

from __future__ import annotations

from typing import Any

import pytest
from judge import cilium, istio

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: app, image: "app:1", ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: "app:1"}]}
---
"""
CILIUM = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: users, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app: users}}}}
  ingress: [{{fromEndpoints: [{{}}], toPorts: [{{ports: [{{port: '8080', protocol: TCP}}], rules: {{http: [{rules}]}}}}]}}]
"""
ISTIO = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: users, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: users}}}}, action: {action}, rules: [{rules}]}}
"""


def compared(mesh: str, old: str, new: str) -> str:
    """The verdict, where every witness replays on the independent evaluator."""
    one, two = (meshport.load_text(WORLD + text) for text in (old, new))
    found = meshport.verify(one, two, old_mesh=mesh, new_mesh=mesh)
    decide: Any = {"cilium": cilium.decide, "istio": istio.decide}[mesh]
    for item in found.differences:
        wanted = ("deny", "allow") if item.change == "allowed" else ("allow", "deny")
        sides = ([document.value for document in side.documents] for side in (one, two))
        assert tuple(decide(objects, item.request) for objects in sides) == wanted, item.request
    return found.verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("{path: '/a|/b'}", "{path: /a}, {path: /b}", "equivalent"),
        ("{path: '/a.*'}", "{path: /a}, {path: '/a.+'}", "equivalent"),
        ("{path: '/a[?]x=1|/b'}", "{path: '/a[?]x=1'}, {path: /b}", "equivalent"),
        ("{path: '/a|/b'}", "{path: '/a/b'}", "changed"),
        ("{path: '/a([?].*)?'}", "{path: /a}", "narrowed"),
        ("{path: '/a[?]x=1'}", "{path: '/a[?]x=2'}", "changed"),
        ("{headers: ['X-A 1']}", "{headerMatches: [{name: x-a, value: '1'}]}", "equivalent"),
        ("{headers: ['X-A 1']}", "{headers: [X-A]}", "widened"),
    ],
)
def test_what_cilium_asks_of_a_request(old: str, new: str, verdict: str) -> None:
    assert compared("cilium", CILIUM.format(rules=old), CILIUM.format(rules=new)) == verdict


def blocks(*networks: str) -> str:
    return f"{{from: [{{source: {{ipBlocks: [{', '.join(networks)}]}}}}]}}"


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (blocks("10.0.0.0/8"), blocks("10.0.0.0/9", "10.128.0.0/9"), "equivalent"),
        (blocks("10.0.0.0/8"), blocks("10.0.0.0/9", "10.128.0.0/10"), "narrowed"),
        (blocks("0.0.0.0/0", "'::/0'"), blocks("0.0.0.0/1", "128.0.0.0/1", "'::/1'", "'8000::/1'"), "equivalent"),
        ("{from: [{source: {principals: ['cluster.local/ns/shop/*']}}, {source: {namespaces: ['sh*']}}]}", "{from: [{source: {namespaces: ['sh*']}}]}", "equivalent"),
        ("{to: [{operation: {methods: [GET, PUT]}}], when: [{key: 'request.headers[:method]', values: [PUT]}]}", "{to: [{operation: {methods: [PUT]}}]}", "equivalent"),
        ("{when: [{key: 'request.headers[:method]', notValues: [GET]}]}", "{to: [{operation: {notMethods: [GET, PUT]}}]}", "narrowed"),
        ("{to: [{operation: {hosts: [Shop.example]}}]}", "{to: [{operation: {hosts: [shop.example]}}]}", "equivalent"),
        ("{to: [{operation: {hosts: [shop.example]}}]}", "{to: [{operation: {hosts: ['shop.example:8080']}}]}", "changed"),
    ],
)  # fmt: skip
def test_what_istio_asks_of_a_request(old: str, new: str, verdict: str) -> None:
    mirrored = {"widened": "narrowed", "narrowed": "widened"}
    assert compared("istio", ISTIO.format(action="ALLOW", rules=old), ISTIO.format(action="ALLOW", rules=new)) == verdict
    assert compared("istio", ISTIO.format(action="DENY", rules=old), ISTIO.format(action="DENY", rules=new)) == mirrored.get(
        verdict, verdict
    )
