"""Values that come to nothing as they stand, and values that any other would do for: which of them the ledger says to decide, held against changes of each.

A value that another one would bring to life is translated; one that no other would is irrelevant, or dropped and named.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .changing import Leaf, Outcome, Source, leaves, outcome, with_value

MESHED = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}, {name: http-admin, port: 9090}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
TWO_KINDS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: cart-grpc, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: cart, port: 80}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart-http, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: cart, port: 80}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
"""
TWO_NAMES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: m-one, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{matches: [{method: GET}], backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: n-two, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{matches: [{method: POST}], backendRefs: [{name: cart, port: 80}]}]}
"""
BREAKER = """
apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
  annotations:
    balancer.linkerd.io/failure-accrual: consecutive
    balancer.linkerd.io/failure-accrual-consecutive-max-failures: "3"
    balancer.linkerd.io/failure-accrual-consecutive-min-penalty: 2m
spec: {selector: {app: api}, ports: [{name: http, port: 80}]}
"""
PENALTY = "metadata.annotations.balancer.linkerd.io/failure-accrual-consecutive-"
ROUTED = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: cart, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, port: 8080, proxyProtocol: %s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: gold, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: cart}]
  rules: [{matches: [{method: GET, headers: [{name: x-tenant, value: gold, type: Exact}]}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: gold, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: gold}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""
OPAQUE = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: data, port: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}, annotations: {config.linkerd.io/opaque-ports: "5433"}}
    spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
"""
DEMANDING = """
apiVersion: v1
kind: Namespace
metadata: {name: ops, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: %s}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: ops}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}, annotations: {config.linkerd.io/proxy-require-identity-inbound-ports: "8080"}}
    spec: {containers: [{name: c, ports: [{containerPort: 8080}, {containerPort: 9090}]}]}
"""
EGRESS = """
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: {name: out, namespace: shop}
spec: {trafficPolicy: %s, networks: [{cidr: 203.0.113.0/24}]}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: bank, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: out, port: 5432}]
  rules: [{backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: out}]}]
"""
SMI = """
apiVersion: v1
kind: Namespace
metadata: {name: legacy}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: reads, namespace: shop}
spec: {matches: [{name: all, pathRegex: /api/.*, methods: ["*", GET]}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: unused, namespace: shop}
spec: {matches: [{name: all, pathRegex: /x}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: cart, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: cart, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: reads, matches: [all]}]
  sources: [{kind: ServiceAccount, name: web, namespace: shop}]
---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: cart, namespace: shop}
spec: {service: cart, backends: [{service: cart, weight: 9}, {service: web, weight: 1}], matches: [{kind: HTTPRouteGroup, name: reads}]}
"""
TIMES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
  rules: [{backendRefs: [{name: cart, port: 80}], timeouts: {request: 2s, backendRequest: 2s}}]
"""
WEIGHT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: cart, port: 80}], rules: [{backendRefs: [{name: web, port: 80, weight: 100}]}]}
"""
WAYPOINT = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""
ANNOTATION = "spec.template.metadata.annotations.config.linkerd.io/"
BYTES = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop, annotations: {config.linkerd.io/opaque-ports: "5432", timeout.linkerd.io/request: 1s}}
spec: {selector: {app: cart}, ports: [{name: data, port: 5432}]}
"""
ENFORCED = """
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: apps, annotations: {istio.io/dry-run: "false"}}
spec: {}
"""
CASES: dict[str, tuple[str, str, str, str, str, str, Any, bool]] = {
    # mesh, target, documents, kind and name, path, disposition, another value, whether it changes the output
    "a route that another kind's silence": ("linkerd", "istio", TWO_KINDS, "HTTPRoute cart-http", "spec.parentRefs.0.port", "translated", 9090, True),
    "and what it would do": ("linkerd", "istio", TWO_KINDS, "HTTPRoute cart-http", "spec.rules.0.backendRefs.0.name", "irrelevant", "web", False),
    "routes in the order of their names": ("linkerd", "cilium", TWO_NAMES, "HTTPRoute n-two", "metadata.name", "translated", "a-first", True),
    "a penalty that switches the breaker off": ("linkerd", "istio", BREAKER, "Service api", f"{PENALTY}min-penalty", "translated", "5s", True),
    "what it switches off": ("linkerd", "istio", BREAKER, "Service api", f"{PENALTY}max-failures", "irrelevant", "7", False),
    "a protocol without routes": ("linkerd", "cilium", ROUTED % "TLS", "Server cart", "spec.proxyProtocol", "translated", "HTTP/1", True),
    "a text that is an expression as well": ("linkerd", "istio", ROUTED % "HTTP/1", "HTTPRoute gold", "spec.rules.0.matches.0.headers.0.type", "irrelevant", "RegularExpression", False),
    "opaque ports that no Service has": ("linkerd", "istio", OPAQUE, "Deployment db", f"{ANNOTATION}opaque-ports", "translated", "8080", True),
    "bytes of a Service that has a timeout": ("linkerd", "cilium", BYTES, "Service db", "metadata.annotations.config.linkerd.io/opaque-ports", "translated", "9000", True),
    "bytes by another list as well": ("linkerd", "istio", BYTES, "Service db", "metadata.annotations.config.linkerd.io/opaque-ports", "translated", "9000", True),
    "a policy that is said to be enforced": ("istio", "linkerd", ENFORCED, "AuthorizationPolicy cart", "metadata.annotations.istio.io/dry-run", "translated", "true", True),
    "an identity asked for twice": ("linkerd", "istio", DEMANDING % "all-authenticated", "Deployment api", f"{ANNOTATION}proxy-require-identity-inbound-ports", "irrelevant", "9090", False),
    "an identity asked for once": ("linkerd", "istio", DEMANDING % "all-unauthenticated", "Deployment api", f"{ANNOTATION}proxy-require-identity-inbound-ports", "translated", "9090", True),
    "a network that is let through": ("linkerd", "istio", EGRESS % "Allow", "EgressNetwork out", "spec.trafficPolicy", "translated", "Deny", True),
    "a network of another group": ("linkerd", "istio", EGRESS % "Allow", "TCPRoute bank", "spec.rules.0.backendRefs.0.group", "translated", "gateway.networking.k8s.io", True),
    "a method beside all of them": ("smi", "istio", SMI, "HTTPRouteGroup reads", "spec.matches.0.methods.1", "dropped", "PUT", False),
    "a namespace that an object would enrol": ("smi", "istio", SMI, "HTTPRouteGroup unused", "metadata.namespace", "translated", "legacy", True),
    "a version without a field": ("smi", "istio", SMI, "TrafficSplit cart", "apiVersion", "invalid", "split.smi-spec.io/v1alpha4", True),
    "a timeout that another one ends": ("gateway-api", "istio", TIMES, "HTTPRoute cart", "spec.rules.0.timeouts.request", "irrelevant", "3s", False),
    "the weight of an only destination": ("gateway-api", "istio", WEIGHT, "HTTPRoute cart", "spec.rules.0.backendRefs.0.weight", "translated", 0, True),
    "the timeout that does": ("gateway-api", "istio", TIMES, "HTTPRoute cart", "spec.rules.0.timeouts.backendRequest", "approximated", "1s", True),
}  # fmt: skip


def converted(source: Source, subject: str, path: str) -> tuple[Leaf, Outcome]:
    result = source.convert()
    kind, name = subject.split()
    found = [
        leaf
        for leaf in leaves(source, result)
        if leaf.kind == kind and source.objects[leaf.document]["metadata"]["name"] == name and leaf.shown == path
    ]
    assert len(found) == 1, [leaf.shown for leaf in leaves(source, result)]
    return found[0], outcome(result)


@pytest.mark.parametrize("case", CASES)
def test_what_decides_is_told_from_what_does_not(case: str) -> None:
    mesh, target, documents, subject, path, disposition, other, matters = CASES[case]
    source = Source(case, mesh, list(yaml.safe_load_all(f"{MESHED}---{documents}")), target)
    leaf, before = converted(source, subject, path)
    assert leaf.disposition == disposition, leaf
    if disposition in ("dropped", "invalid"):
        assert any(leaf.number in finding.leaves for finding in before.said)
    after = outcome(source.convert(with_value(source.objects, leaf, other)))
    assert (after.output != before.output) is matters


def test_a_waypoint_of_another_implementation_stays() -> None:
    source = Source("waypoint", "gateway-api", list(yaml.safe_load_all(f"{MESHED}---{WAYPOINT}")), "linkerd")
    result = source.convert()
    assert not result.removals
    assert [item["metadata"]["name"] for item in result.passed_through if item["kind"] == "Gateway"] == ["waypoint"]
