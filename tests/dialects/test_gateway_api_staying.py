"""What the Gateway API has no words for stays with its mesh: one finding an object, no removal, and access as it was."""

from __future__ import annotations

import pytest
from gateway_api_helper import WORLD, convert

import meshport

WORKLOAD = """---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: shop}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {serviceAccountName: app, containers: [{name: app, image: app, ports: [{containerPort: 8080}]}]}
"""
POLICIES = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: app, namespace: shop}
spec:
  selector: {matchLabels: {app: app}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [/a, /b], ports: ["8080"]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: app, namespace: shop}
spec: {selector: {matchLabels: {app: app}}, jwtRules: [{issuer: https://issuer.example, jwksUri: https://issuer.example/keys}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec:
  host: app
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 10}}, outlierDetection: {consecutive5xxErrors: 5, interval: 30s, baseEjectionTime: 60s}}
"""


def test_each_policy_is_named_once_and_none_is_to_be_deleted() -> None:
    result = convert(WORLD + WORKLOAD + POLICIES, "istio", "gateway-api")
    assert sorted((finding.severity, finding.code, finding.message) for finding in result.findings) == [
        ("error", "MP246", "AuthorizationPolicy shop/app stays with Istio: the Gateway API has no authorization"),
        ("error", "MP246", "RequestAuthentication shop/app stays with Istio: the Gateway API has no check of tokens"),
        ("error", "MP247", "PeerAuthentication shop/default stays with Istio: the Gateway API has no mutual TLS between workloads"),
        (
            "warning", "MP366",
            "DestinationRule shop/app stays with Istio: the Gateway API has no form for this (largest number of connections, "
            "number of failures in a row that ejects an endpoint, shortest time that an endpoint stays ejected and 1 more)",
        ),
    ]  # fmt: skip
    assert result.removals == []
    assert result.manifests == []


def test_access_is_as_it_was_since_the_policies_stay_in_force() -> None:
    result = convert(WORLD + WORKLOAD + POLICIES, "istio", "gateway-api")
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"
    assert result.verification.classes > 0
    assert [finding for finding in result.findings if finding.effect == "widens"] == []


def test_enrolment_is_left_alone() -> None:
    result = convert(WORLD + WORKLOAD, "istio", "gateway-api")
    assert (result.manifests, result.findings, result.install["commands"]) == ([], [], [])


LINKERD = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: app, namespace: shop}
spec: {podSelector: {matchLabels: {app: app}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app-get, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: app}]
  rules: [{matches: [{method: GET}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: app, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: app-get}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""


def test_a_route_that_authorises_stays_with_the_policy_that_it_is_part_of() -> None:
    world = WORLD + WORKLOAD.replace("labels: {istio-injection: enabled}", "annotations: {linkerd.io/inject: enabled}")
    result = convert(world + LINKERD, "linkerd", "gateway-api")
    assert (result.manifests, result.removals) == ([], [])
    assert [finding.code for finding in result.findings] == ["MP246", "MP246"]
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


BUDGET = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, %s: %s}
"""


@pytest.mark.parametrize(
    ("where", "release", "words"),
    [
        ("trafficPolicy: {retryBudget: {percent: 20}}", "1.2", "share of the requests that may be retries in release 1.2"),
        ("subsets: [{name: a, labels: {v: a}, trafficPolicy: {retryBudget: {percent: 20}}}]", None, "share of the requests that may be retries but for a Service as a whole"),
    ],
)  # fmt: skip
def test_a_budget_that_the_release_or_the_place_has_no_form_for(where: str, release: str | None, words: str) -> None:
    text = BUDGET % tuple(where.split(": ", 1))
    result = meshport.convert(meshport.load_text(text), source="istio", target="gateway-api", target_version=release)
    (said,) = [item for item in result.findings if item.code == "MP366"]
    assert said.message == f"DestinationRule shop/web stays with Istio: the Gateway API has no form for this ({words})"
