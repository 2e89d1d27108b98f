"""TLS towards a backend, its retry budget and its sessions: policies of the Gateway API, and the DestinationRules that say the same."""

from __future__ import annotations

import pytest
from gateway_api_helper import codes, convert, objects, service, spec

WORLD = service("users", "[{name: https, port: 443, targetPort: 8443}, {name: admin, port: 8080}]")


def tls(validation: str, target: str = "{group: '', kind: Service, name: users}", name: str = "users", more: str = "") -> str:
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: shop{more}}}
spec: {{targetRefs: [{target}], validation: {validation}}}
"""


def traffic(settings: str) -> str:
    return f"""---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: {{name: users, namespace: shop}}
spec: {{targetRefs: [{{group: '', kind: Service, name: users}}], {settings}}}
"""


def rule(policy: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: users, namespace: shop}}
spec: {{host: users, trafficPolicy: {policy}}}
"""


PINNED = "{hostname: users.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}], subjectAltNames: [{type: URI, uri: 'spiffe://a/b'}]}"
SYSTEM = "{hostname: users.example.com, wellKnownCACertificates: System}"
SAME = {"mode": "SIMPLE", "sni": "users.example.com"}


def test_istio_reads_a_policy_for_tls_itself_and_an_older_one_is_told_by_a_rule() -> None:
    text = WORLD + tls(PINNED, "{group: '', kind: Service, name: users, sectionName: https}")
    assert objects(convert(text, "gateway-api", "istio")) == {}
    older = convert(text, "gateway-api", "istio", target_version="1.27")
    assert spec(older, "DestinationRule/users")["trafficPolicy"]["portLevelSettings"] == [
        {"port": {"number": 443}, "tls": {**SAME, "subjectAltNames": ["spiffe://a/b"], "credentialName": "configmap://shop/ca"}}
    ]
    oldest = convert(text, "gateway-api", "istio", target_version="1.25")  # which takes no authority from a ConfigMap
    assert objects(oldest) == {} and [item.severity for item in oldest.findings if item.code == "MP377"] == ["error"]


@pytest.mark.parametrize(("validation", "policy"), [
    (SYSTEM, "{tls: {mode: SIMPLE, sni: users.example.com}}"),
    (PINNED, "{tls: {mode: SIMPLE, sni: users.example.com, credentialName: 'configmap://ca', subjectAltNames: ['spiffe://a/b']}}"),
])  # fmt: skip
def test_a_rule_that_says_exactly_that_is_the_policy_and_back(validation: str, policy: str) -> None:
    made = convert(WORLD + rule(policy), "istio", "gateway-api")
    written = spec(made, "BackendTLSPolicy/users")
    back = convert(WORLD + tls(validation), "gateway-api", "istio", target_version="1.27")
    assert written["targetRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
    assert written["validation"]["hostname"] == spec(back, "DestinationRule/users")["trafficPolicy"]["tls"]["sni"] == "users.example.com"
    assert ("wellKnownCACertificates" in written["validation"]) is (validation == SYSTEM)
    assert [item["kind"] for item in made.removals] == ["DestinationRule"]


@pytest.mark.parametrize("policy", [
    "{tls: {mode: SIMPLE}}",  # the server name is that of each request
    "{tls: {mode: MUTUAL, sni: a.example.com, credentialName: own}}",
    "{tls: {mode: SIMPLE, sni: a.example.com, insecureSkipVerify: true}}",
    "{tls: {mode: SIMPLE, sni: a.example.com, caCertificates: /etc/ca.pem}}",
])  # fmt: skip
def test_a_rule_that_says_more_or_less_stays_a_rule(policy: str) -> None:
    result = convert(WORLD + rule(policy), "istio", "gateway-api")
    assert "BackendTLSPolicy/users" not in objects(result) and "MP366" in codes(result)


@pytest.mark.parametrize(
    ("source", "target"), [("istio", "linkerd"), ("istio", "cilium"), ("gateway-api", "linkerd"), ("gateway-api", "cilium")]
)
def test_where_no_proxy_starts_the_tls_it_is_an_error(source: str, target: str) -> None:
    result = convert(WORLD + tls(SYSTEM), source, target)
    (found,) = [item for item in result.findings if item.code == "MP377"]
    assert (found.severity, found.affects[0].workload) == ("error", "users")
    lines = {line.path: line.disposition for line in result.ledger if line.path.startswith("spec.")}
    assert {lines["spec.validation.hostname"], lines["spec.validation.wellKnownCACertificates"], lines["spec.targetRefs[0].name"]} == {
        "dropped"
    }


@pytest.mark.parametrize(
    ("release", "rule", "lost"), [("1.28", False, False), ("1.27", True, False), ("1.26", True, False), ("1.25", False, True)]
)
def test_tls_to_a_backend_is_a_rule_until_istio_reads_the_policy(release: str, rule: bool, lost: bool) -> None:
    authority = "{hostname: users.example.com, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}"
    result = convert(WORLD + tls(authority), "gateway-api", "istio", target_version=release)
    assert ("DestinationRule/users" in objects(result), "MP377" in codes(result)) == (rule, lost)


def test_of_two_policies_for_one_service_the_older_holds() -> None:
    first = tls(SYSTEM, name="z", more=", creationTimestamp: '2024-01-01T00:00:00Z'")
    second = tls(SYSTEM.replace("users.example", "other.example"), name="a", more=", creationTimestamp: '2025-01-01T00:00:00Z'")
    result = convert(WORLD + first + second, "gateway-api", "istio", target_version="1.27")
    assert spec(result, "DestinationRule/users")["trafficPolicy"]["tls"]["sni"] == "users.example.com"


BUDGET = "retryConstraint: {budget: {percent: 30, interval: 10s}, minRetryRate: {count: 5, interval: 1s}}"


@pytest.mark.parametrize(
    ("release", "budget"),
    [
        ("1.31", {"percent": 30, "budgetInterval": "10s", "minRetryConcurrency": 5}),
        ("1.30", {"percent": 30, "minRetryConcurrency": 5}),
        ("1.27", {"percent": 30, "minRetryConcurrency": 5}),
        ("1.26", None),
    ],
)
def test_a_retry_budget_is_that_of_a_rule(release: str, budget: dict[str, object] | None) -> None:
    """As istiod itself takes it (pilot/pkg/config/kube/gateway/testdata, backend-traffic-policy); a rate of retries becomes so many at once, which is said."""
    result = convert(WORLD + traffic(BUDGET), "gateway-api", "istio", target_version=release)
    written = objects(result).get("DestinationRule/users", {}).get("spec", {}).get("trafficPolicy", {}).get("retryBudget")
    assert written == budget and "MP451" in codes(result)


def test_sessions_stick_to_no_endpoint_by_a_hash() -> None:
    """A consistent hash moves clients when endpoints come and go, which a session does not; Istio itself passes over the field."""
    session = traffic("sessionPersistence: {type: Cookie, sessionName: s, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}")
    result = convert(WORLD + session, "gateway-api", "istio")
    assert objects(result) == {} and [item.severity for item in result.findings if item.code == "MP554"] == ["warning"]
    assert "MP378" in codes(convert(WORLD + session + "", "gateway-api", "linkerd"))
    assert "MP378" not in codes(convert(WORLD + session, "istio", "linkerd"))  # it did nothing there


def test_a_budget_that_no_mesh_reads_is_a_warning() -> None:
    result = convert(WORLD + traffic(BUDGET), "istio", "cilium")
    assert [item.severity for item in result.findings if item.code == "MP378"] == ["warning"]


def test_a_retry_budget_of_istios_is_one_of_the_gateway_api_and_its_rule_stays() -> None:
    made = convert(WORLD + rule("{retryBudget: {percent: 25, minRetryConcurrency: 5}}"), "istio", "gateway-api")
    constraint = {"budget": {"percent": 25}, "minRetryRate": {"count": 5, "interval": "1s"}}
    assert spec(made, "XBackendTrafficPolicy/users") == {
        "targetRefs": [{"group": "", "kind": "Service", "name": "users"}],
        "retryConstraint": constraint,
    }
    assert codes(made) == ["MP451"] and not made.removals
    assert objects(convert(WORLD + rule("{retryBudget: {percent: 25}}"), "istio", "gateway-api", target_version="1.2")) == {}
    assert (
        objects(
            convert(
                WORLD + traffic("retryConstraint: {budget: {percent: 30}}") + rule("{retryBudget: {percent: 25}}"), "istio", "gateway-api"
            )
        )
        == {}
    )


def test_and_so_is_that_of_a_service_profile() -> None:
    profile = """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  routes: [{name: a, condition: {method: GET, pathRegex: /a}, isRetryable: true}]
  retryBudget: {retryRatio: 0.25, minRetriesPerSecond: 7, ttl: 15s}
"""
    made = convert(WORLD + profile, "linkerd", "gateway-api")
    assert spec(made, "XBackendTrafficPolicy/users")["retryConstraint"] == {
        "budget": {"percent": 25, "interval": "15s"},
        "minRetryRate": {"count": 7, "interval": "1s"},
    }
