"""What the target's release does not know is never in the output: the tables decide, and the finding names the release that has it."""

from __future__ import annotations

from typing import Any

import meshport
from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.findings import Finding
from meshport.fitting import experimental, fit, misfits
from meshport.ir.base import Ref
from meshport.mapping.table import builtin


def _convert(text: str, source: str, target: str, version: str) -> tuple[list[dict[str, Any]], list[Finding]]:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, target_version=version)
    assert not [item.message for item in result.findings if item.code == "MP900"]
    return [item.object for item in result.manifests], result.findings


PROFILE = """
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}
  routes:
  - {name: all, condition: {pathRegex: /.*}, isRetryable: true}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{port: 80, name: http}]}
"""


def test_a_retry_budget_to_an_old_istio() -> None:
    """DestinationRule has retry budgets since 1.27 and their interval since 1.31; before, the attempts alone are written."""
    kinds = {}
    for version in ("1.26", "1.27", "1.31"):
        manifests, findings = _convert(PROFILE, "linkerd", "istio", version)
        budgets = [item["spec"]["trafficPolicy"]["retryBudget"] for item in manifests if item["kind"] == "DestinationRule"]
        kinds[version] = budgets[0] if budgets else None
        said = " ".join(item.message for item in findings if item.code == "MP451")
        assert ("before 1.27" in said) == (version == "1.26"), said
    assert kinds == {
        "1.26": None,
        "1.27": {"percent": 20.0, "minRetryConcurrency": 10},
        "1.31": {"percent": 20.0, "minRetryConcurrency": 10, "budgetInterval": "10s"},
    }


BREAKER = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5, baseEjectionTime: 60s}}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{port: 80, name: http}]}
"""


def test_annotations_that_the_release_does_not_read() -> None:
    """Linkerd has circuit breakers since 2.13: before, the annotations would stand there and do nothing."""
    new, _ = _convert(BREAKER, "istio", "linkerd", "2.13")
    assert new[0]["metadata"]["annotations"]["balancer.linkerd.io/failure-accrual"] == "consecutive"
    old, findings = _convert(BREAKER, "istio", "linkerd", "2.12")
    assert old == []
    (said,) = [item for item in findings if "before 2.13" in item.message]
    assert (said.code, said.disposition) == ("MP552", "dropped") and "5, 60s" in said.message


def test_the_version_of_a_kind_follows_the_release() -> None:
    text = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  rules: [{from: [{source: {namespaces: [web]}}], to: [{operation: {ports: ["80"]}}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template: {metadata: {labels: {app: users}}, spec: {containers: [{name: users, ports: [{containerPort: 80}]}]}}
"""
    versions = {
        release: next(item["apiVersion"] for item in _convert(text, "istio", "linkerd", release)[0] if item["kind"] == "Server")
        for release in ("2.14", "2.15", "2.16")
    }
    assert versions == {"2.14": "policy.linkerd.io/v1beta1", "2.15": "policy.linkerd.io/v1beta2", "2.16": "policy.linkerd.io/v1beta3"}


# -- what a lowering might write


def _written(kind: str, spec: dict[str, Any], target: str, release: str, api: str = "cilium.io/v2") -> tuple[Output, list[Finding]]:
    """An object as a lowering writes it, fitted to a release."""
    out = Output(meshport.load_text("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"), builtin(), target, release, "istio")
    obj = out.object(api, kind, Ref("shop", "users"), owner=0)
    for key, value in spec.items():
        obj.set(("spec", key), value, frozenset({0}))
    options = Options("istio", target, "1.31", release)
    return out, fit(out, options, misfits(out, options))


PORTS: dict[str, Any] = {
    "endpointSelector": {},
    "ingress": [{"toPorts": [{"ports": [{"port": "1", "endPort": 79}]}]}, {"fromEntities": ["host"]}],
}


def test_a_policy_loses_the_whole_rule() -> None:
    """`endPort` came with 1.16. The rule without it would admit port 1 alone here, and in other rules more than was meant."""
    out, said = _written("CiliumNetworkPolicy", PORTS, "cilium", "1.15")
    (obj,) = out.in_order()
    assert obj.value["spec"]["ingress"] == [{"fromEntities": ["host"]}]
    assert ("spec", "ingress", 0, "fromEntities", 0) in obj.sources
    (finding,) = said
    assert (finding.code, finding.severity, finding.effect) == ("MP024", "error", "narrows")
    assert "Cilium 1.15 does not know spec.ingress[0].toPorts[0].ports[0].endPort, which 1.16 has" in finding.message


def test_a_direction_that_loses_all_its_rules_stays_closed() -> None:
    out, _ = _written("CiliumNetworkPolicy", {**PORTS, "ingress": PORTS["ingress"][:1]}, "cilium", "1.15")
    assert out.in_order()[0].value["spec"]["ingress"] == [{}]


def test_what_the_release_knows_stays() -> None:
    out, said = _written("CiliumNetworkPolicy", PORTS, "cilium", "1.16")
    assert said == [] and out.in_order()[0].value["spec"]["ingress"] == PORTS["ingress"]


def test_kafka_rules_are_not_written_for_cilium_1_20() -> None:
    rule = {"toPorts": [{"ports": [{"port": "9092", "protocol": "TCP"}], "rules": {"kafka": [{"topic": "events"}]}}]}
    spec = {"endpointSelector": {}, "ingress": [rule, {"fromEntities": ["host"]}]}
    assert _written("CiliumNetworkPolicy", spec, "cilium", "1.19")[1] == []
    out, (finding,) = _written("CiliumNetworkPolicy", spec, "cilium", "1.20")
    assert finding.code == "MP266" and "1.20 and later has no Kafka rules" in finding.message
    assert out.in_order()[0].value["spec"]["ingress"] == [{"fromEntities": ["host"]}]


def test_a_kind_that_the_release_does_not_have() -> None:
    spec = {"targetRef": {"group": "policy.linkerd.io", "kind": "Server", "name": "users"}, "total": {"requestsPerSecond": 5}}
    out, (finding,) = _written("HTTPLocalRateLimitPolicy", spec, "linkerd", "2.16", "policy.linkerd.io/v1alpha1")
    assert (
        out.objects == {}
        and finding.severity == "error"
        and "Linkerd 2.16 does not know HTTPLocalRateLimitPolicy, which 2.17 has" in finding.message
    )


ROUTE = {"rules": [{"retry": {"attempts": 3, "codes": [503]}, "backendRefs": [{"name": "users", "port": 80}]}]}
GATEWAY = "gateway.networking.k8s.io/v1"


def test_retries_of_an_http_route_follow_release_and_channel() -> None:
    """Gateway API 1.2 brought `retry`, in the experimental channel; Cilium 1.16 is built with 1.1, 1.17 with 1.2."""
    out, said = _written("HTTPRoute", ROUTE, "cilium", "1.17", GATEWAY)
    assert said == [] and out.in_order()[0].value["spec"] == ROUTE
    assert {(obj.kind, field, feature) for obj, field, feature, _ in experimental(out)} == {("HTTPRoute", "retry", "retry.attempts")}
    out, said = _written("HTTPRoute", ROUTE, "cilium", "1.16", GATEWAY)
    assert "retry" not in out.in_order()[0].value["spec"]["rules"][0]
    assert {item.code for item in said} == {"MP455"} and list(experimental(out)) == []


def test_a_value_that_came_later() -> None:
    out, (finding,) = _written(
        "ServiceEntry", {"hosts": ["a.example"], "resolution": "DYNAMIC_DNS"}, "istio", "1.27", "networking.istio.io/v1"
    )
    assert out.in_order()[0].value["spec"] == {"hosts": ["a.example"]} and "which 1.28 has" in finding.message


def test_a_filter_that_the_release_does_not_know_leaves_nothing_of_it() -> None:
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: public, namespace: shop}
spec:
  parentRefs: [{name: public}]
  rules: [{filters: [{type: CORS, cors: {allowOrigins: ["https://a.example"]}}], backendRefs: [{name: users, port: 80}]}]
"""
    (made,), findings = _convert(PROFILE[PROFILE.index("---") :] + "---" + route, "istio", "gateway-api", "1.0")
    assert made["spec"]["rules"] == [{"backendRefs": [{"name": "users", "port": 80}]}]
    assert {"MP024", "MP353"} <= {item.code for item in findings}
