"""Methods that HTTP itself does not define (PROPFIND, PURGE), where a rule takes every method but some: as evaluators see it that read the manifests alone."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from judge import cilium, istio, linkerd

import meshport

from .common import afterwards, converted, documents, owners

Obj = dict[str, Any]
DECIDE = {"linkerd": linkerd.decide, "cilium": cilium.decide}

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: files, namespace: shop}
spec:
  selector: {matchLabels: {app: files}}
  template:
    metadata: {labels: {app: files}}
    spec: {serviceAccountName: files, containers: [{name: app, image: files, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ops, namespace: shop}
spec:
  selector: {matchLabels: {app: ops}}
  template:
    metadata: {labels: {app: ops}}
    spec: {serviceAccountName: ops, containers: [{name: app, image: ops}]}
---
apiVersion: v1
kind: Service
metadata: {name: files, namespace: shop}
spec: {selector: {app: files}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
WEB, OPS = (f"from: [{{source: {{principals: [cluster.local/ns/shop/sa/{name}]}}}}]" for name in ("web", "ops"))


def policy(name: str, action: str, *rules: str) -> str:
    return f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: files}}}}, action: {action}, rules: [{", ".join(rules)}]}}
"""


def requests() -> list[Obj]:
    target = {"namespace": "shop", "workload": "files", "labels": {"app": "files"}, "port": 8080}
    return [
        {
            "source": {"namespace": "shop", "service_account": caller, "labels": {"app": caller}, "meshed": True, "ip": "10.1.2.3"},
            "destination": target, "protocol": "http", "method": method, "host": "files", "path": path, "headers": headers,
        }
        for caller, method, path, headers in product(
            ("web", "ops"), ("GET", "POST", "DELETE", "PROPFIND", "PURGE", "DELETED"), ("/", "/files", "/files/x", "/keys"), ({}, {"x-tenant": "gold"})
        )
    ]  # fmt: skip


EVERY_METHOD_BUT_SOME = [
    policy("no-delete", "DENY", "{to: [{operation: {methods: [DELETE]}}]}") + policy("web", "ALLOW", f"{{{WEB}}}"),
    policy("reads", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE, POST]}}}}]}}"),
    policy("reads", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE], paths: ['/files/*', /keys]}}}}]}}"),
    policy("no-delete", "DENY", f"{{{WEB}, to: [{{operation: {{methods: [DELETE]}}}}]}}")
    + policy("all", "ALLOW", f"{{{WEB}}}", f"{{{OPS}}}"),
    # others may what one must not: the same method, on one path, with a header
    policy("web", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE]}}}}]}}")
    + policy("ops", "ALLOW", f"{{{OPS}, to: [{{operation: {{methods: [DELETE]}}}}]}}"),
    policy("web", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE], paths: ['/files/*']}}}}]}}")
    + policy("ops", "ALLOW", f"{{{OPS}, to: [{{operation: {{methods: [DELETE], paths: [/files/x]}}}}]}}"),
    policy("web", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE]}}}}]}}")
    + policy("ops", "ALLOW", f"{{{OPS}, when: [{{key: 'request.headers[x-tenant]', values: [gold]}}]}}"),
    policy("web", "ALLOW", f"{{{WEB}, to: [{{operation: {{notMethods: [DELETE]}}}}]}}")
    + policy("two", "ALLOW", f"{{{OPS}, to: [{{operation: {{notMethods: [POST], paths: ['/files*']}}}}]}}"),
]


@pytest.mark.parametrize("text", EVERY_METHOD_BUT_SOME)
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_every_method_but_some_is_said_of_every_method(target: str, text: str) -> None:
    before = documents(WORLD + text)
    after = afterwards(before, converted(before, "istio", target))
    for request in requests():
        assert DECIDE[target](after, request) == istio.decide(before, request), request


def test_linkerd_is_told_by_a_route_that_refuses() -> None:
    before = documents(WORLD + EVERY_METHOD_BUT_SOME[0])
    routes = {
        item.object["metadata"]["name"]: item.object["spec"]["rules"]
        for item in converted(before, "istio", "linkerd").manifests
        if item.object["kind"] == "HTTPRoute"
    }
    assert routes == {
        "files-8080-denied": [{"matches": [{"method": "DELETE"}]}],
        "files-8080-web": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
    }


@pytest.mark.parametrize("through", ["linkerd", "cilium"])
def test_the_way_back_says_it_as_it_was(through: str) -> None:
    before = documents(WORLD + EVERY_METHOD_BUT_SOME[0])
    there = afterwards(before, converted(before, "istio", through))
    back = [item.object for item in converted(there, through, "istio").manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert [rule["to"][0]["operation"]["notMethods"] for obj in back for rule in obj["spec"]["rules"]] == [["DELETE"]]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("linkerd", policy("no-purge", "DENY", "{to: [{operation: {methods: [PURGE]}}]}") + policy("web", "ALLOW", f"{{{WEB}}}")),
        ("linkerd", policy("puts", "ALLOW", f"{{{WEB}, to: [{{operation: {{methods: ['P*']}}}}]}}")),
        ("cilium", policy("puts", "ALLOW", f"{{{WEB}, to: [{{operation: {{methods: ['P*']}}}}]}}")),
        ("cilium", policy("no-puts", "DENY", "{to: [{operation: {methods: ['P*']}}]}") + policy("web", "ALLOW", f"{{{WEB}}}")),
        ("linkerd", policy("no-puts", "DENY", "{to: [{operation: {methods: ['P*']}}]}") + policy("web", "ALLOW", f"{{{WEB}}}")),
    ],
)
def test_methods_that_are_listed_are_said_to_be(target: str, text: str) -> None:
    before = documents(WORLD + text)
    result = converted(before, "istio", target)
    after = afterwards(before, result)
    lost = []
    for request in requests():
        old, new = istio.decide(before, request) == "allow", DECIDE[target](after, request) == "allow"
        assert old or not new, request
        lost += [request] if old and not new else []
    assert {request["method"] for request in lost} <= {"PROPFIND", "PURGE", "DELETED"}
    assert lost
    (said,) = [one for one in result.findings if one.code == "MP196"]
    assert (said.severity, said.effect) == ("warning", "narrows")
    assert all(said in owners(result, request) for request in lost)


def test_a_method_by_name_beside_a_pattern_is_kept() -> None:
    before = documents(WORLD + policy("puts", "ALLOW", f"{{{WEB}, to: [{{operation: {{methods: ['P*', PURGE]}}}}]}}"))
    after = afterwards(before, converted(before, "istio", "cilium"))
    for request in requests():
        if request["method"] != "PROPFIND":
            assert cilium.decide(after, request) == istio.decide(before, request), request


def test_a_policy_of_cilium_by_a_pattern_of_methods_is_said_to_be_listed() -> None:
    text = """---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: puts, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: files}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: "P.*"}]}}]
"""
    for target in ("istio", "linkerd"):
        before = documents(WORLD.replace(", labels: {istio-injection: enabled}", "") + text)
        result = converted(before, "cilium", target, keep_network_policy=False)
        assert [(one.code, one.affects[0].port) for one in result.findings if one.code == "MP196"] == [("MP196", 8080)]


def test_a_conversion_that_lists_methods_is_not_called_the_same() -> None:
    def of(operation: str) -> list[Obj]:
        return documents(WORLD + policy("web", "ALLOW", f"{{{WEB}, to: [{{operation: {operation}}}]}}"))

    rest = "{methods: [CONNECT, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE]}"
    found = meshport.verify(
        meshport.load_objects(of("{notMethods: [DELETE]}")), meshport.load_objects(of(rest)), old_mesh="istio", new_mesh="istio"
    )
    assert found.verdict == "narrowed"
    assert {one.request["method"] for one in found.differences} == {"PROPFIND"}
