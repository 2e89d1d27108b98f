"""Fields and annotations of Linkerd, Cilium and SMI with values that are odd, empty or none that a cluster takes: what comes out, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled%(space)s}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {x: "y"%(service)s}}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}, {name: db, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}, annotations: {x: "y"%(pod)s}}
    spec:
      serviceAccountName: cart
      containers: [{name: app, image: i, ports: [{name: http, containerPort: 8080}, {name: data, containerPort: 5432}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: pay, containers: [{name: app, image: i}]}
---
"""
SERVER = """
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: cart, namespace: shop}
spec: {podSelector: {matchLabels: {app: cart}}, port: 8080, proxyProtocol: HTTP/1}
---
"""


def converted(text: str, target: str, source: str = "linkerd", **marks: str) -> Any:
    world = WORLD % {place: f", {marks[place]}" if place in marks else "" for place in ("space", "service", "pod")}
    return meshport.convert(meshport.load_text(world + text), source=source, target=target)


def policy(kind: str, spec: str, name: str = "p", version: str = "v1alpha1") -> str:
    return f"{{apiVersion: policy.linkerd.io/{version}, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}\n---\n"


def said(result: Any, code: str) -> list[str]:
    return [finding.message for finding in result.findings if finding.code == code]


def written(result: Any, kind: str) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


@pytest.mark.parametrize("word", ["all_authenticated", "Deny", '""'])
def test_a_default_policy_that_linkerd_does_not_know_is_none_and_is_said(word: str) -> None:
    """It was read as one that admits everybody, and said nowhere."""
    for place in ("space", "pod"):
        for target in ("istio", "cilium"):
            result = converted("", target, **{place: f"config.linkerd.io/default-inbound-policy: {word}"})
            (text,) = said(result, "MP013")
            assert "is not one of all-unauthenticated, all-authenticated" in text
            assert not written(result, "AuthorizationPolicy")
            assert not written(result, "CiliumNetworkPolicy")
            assert result.ledger.counts["unaccounted"] == 0


def test_a_mode_of_breaking_in_another_case_breaks_nothing() -> None:
    result = converted("", "istio", service="balancer.linkerd.io/failure-accrual: Consecutive")
    assert said(result, "MP013")
    assert not written(result, "DestinationRule")


def test_an_annotation_that_is_no_text_is_said() -> None:
    assert "5 is not a string" in said(converted("", "istio", pod="config.linkerd.io/default-inbound-policy: 5"), "MP013")[0]


@pytest.mark.parametrize(("listed", "passed"), [("http", "http"), ("8080-", "8080-"), ("70000,8080", "70000")])
def test_items_of_a_port_list_that_are_no_ports_are_said(listed: str, passed: str) -> None:
    result = converted("", "istio", pod=f'config.linkerd.io/skip-inbound-ports: "{listed}"')
    assert said(result, "MP013") == [
        f"Deployment/shop/cart: config.linkerd.io/skip-inbound-ports: {passed} is no port or range of ports; the mesh passes over it"
    ]
    (workload,) = [item for item in written(result, "Deployment") if item["metadata"]["name"] == "cart"] or [{}]
    notes = workload.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
    assert notes.get("traffic.sidecar.istio.io/excludeInboundPorts") == ("8080" if "8080" in listed.split(",") else None)


def test_opaque_ports_of_a_pod_may_be_names_of_its_containers_ports() -> None:
    result = converted("", "istio", pod="config.linkerd.io/opaque-ports: http")
    assert not said(result, "MP013")
    (service,) = written(result, "Service")
    assert service["spec"]["ports"][0]["appProtocol"] == "tcp"
    assert said(converted("", "istio", service="config.linkerd.io/opaque-ports: http"), "MP013")  # clients know numbers alone


@pytest.mark.parametrize("port", [0, 70000, -1])
def test_a_server_on_no_port_is_refused(port: int) -> None:
    """Port 0 ended the whole run."""
    for target in ("istio", "cilium"):
        result = converted(SERVER.replace("8080", str(port)), target)
        assert f"spec.port: {port} is no port from 1 to 65535" in said(result, "MP072")[0]
        assert not written(result, "AuthorizationPolicy")


@pytest.mark.parametrize(
    ("networks", "why"),
    [
        ("[{cidr: x}]", "'x' is neither an address nor a CIDR"),
        ("[{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}]", "11.0.0.0/8 is no part of 10.0.0.0/8"),
        ("[{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}]", "nothing is left of 10.0.0.0/8 without 10.0.0.0/8"),
        ("[{cidr: 10.0.0.0/8, except: ['fd00::/8']}]", "fd00::/8 is no part of 10.0.0.0/8"),
        ("[]", "no network is named"),
    ],
)
def test_networks_that_the_webhook_refuses_let_nobody_in_and_are_said(networks: str, why: str) -> None:
    grant = policy(
        "AuthorizationPolicy",
        "{targetRef: {group: policy.linkerd.io, kind: Server, name: cart}, requiredAuthenticationRefs: "
        "[{group: policy.linkerd.io, kind: NetworkAuthentication, name: nets}]}",
    )
    for target in ("istio", "cilium"):
        result = converted(SERVER + policy("NetworkAuthentication", f"{{networks: {networks}}}", "nets") + grant, target)
        assert any(why in text for text in said(result, "MP072"))
        assert result.verification.verdict != "widened"
        assert not said(result, "MP900") + said(result, "MP904")


@pytest.mark.parametrize("server", ["{name: cart, selector: {matchLabels: {a: b}}}", "{}"])
def test_a_server_authorization_names_a_server_or_selects_some(server: str) -> None:
    grant = policy("ServerAuthorization", f"{{server: {server}, client: {{meshTLS: {{identities: ['*']}}}}}}", version="v1beta1")
    for target in ("istio", "linkerd"):
        result = converted(SERVER + grant, target)
        assert said(result, "MP020")
        assert not said(result, "MP901")


def test_identities_are_referred_to_by_name() -> None:
    assert said(converted(policy("MeshTLSAuthentication", "{identityRefs: [{kind: Namespace}]}"), "istio"), "MP072")


@pytest.mark.parametrize(
    "limits", ["identity: {requestsPerSecond: 10}", "overrides: [{requestsPerSecond: 5, clientRefs: [{kind: ServiceAccount, name: pay}]}]"]
)
def test_limits_of_clients_without_a_total_are_lost_with_their_finding(limits: str) -> None:
    text = policy("HTTPLocalRateLimitPolicy", f"{{targetRef: {{group: policy.linkerd.io, kind: Server, name: cart}}, {limits}}}")
    for target in ("istio", "cilium"):
        result = converted(SERVER + text, target)
        assert len(said(result, "MP653")) == 1
        assert not said(result, "MP900")


def test_a_limit_of_nothing_is_none_and_one_above_the_total_is_refused() -> None:
    head = "{targetRef: {group: policy.linkerd.io, kind: Server, name: cart}"
    empty = converted(SERVER + policy("HTTPLocalRateLimitPolicy", f"{head}}}"), "istio")
    assert not said(empty, "MP900")
    assert empty.ledger.counts["unaccounted"] == 0
    above = converted(
        SERVER + policy("HTTPLocalRateLimitPolicy", f"{head}, total: {{requestsPerSecond: 5}}, identity: {{requestsPerSecond: 6}}}}"),
        "istio",
    )
    assert "6 is more than the total of 5" in said(above, "MP072")[0]
    assert (
        "0 is no number of requests above 0"
        in said(converted(SERVER + policy("HTTPLocalRateLimitPolicy", f"{head}, total: {{requestsPerSecond: 0}}}}"), "istio"), "MP072")[0]
    )


def test_a_group_of_addresses_that_no_policy_speaks_of_is_accounted_for() -> None:
    group = "{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: g}, spec: {externalCIDRs: [203.0.113.0/24]}}\n---\n"
    for target in ("istio", "linkerd"):
        result = converted(group, target, source="cilium")
        assert not said(result, "MP901")
        assert result.ledger.counts["unaccounted"] == 0


def test_an_affinity_that_cilium_does_not_know_is_said_and_one_in_another_case_is_read() -> None:
    assert said(converted("", "istio", source="cilium", service="service.cilium.io/affinity: near"), "MP013")
    assert not said(converted("", "istio", source="cilium", service="service.cilium.io/affinity: Local"), "MP013")


def profile(spec: str) -> str:
    name = "cart.shop.svc.cluster.local"
    return f"{{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}\n---\n"


@pytest.mark.parametrize("method", ["get", " GET "])
def test_the_method_of_a_profile_is_read_in_any_case(method: str) -> None:
    """The destination service turns it into capitals before a proxy sees it (linkerd2, pkg/util/http.go); the timeout held for no request in Istio."""
    text = profile(f"{{routes: [{{name: a, condition: {{method: '{method}'}}, timeout: 3s}}]}}")
    result = converted(text, "istio")
    (rules,) = [item.object["spec"]["http"] for item in result.manifests if item.object["kind"] == "VirtualService"]
    assert [(rule["match"], rule["timeout"]) for rule in rules if "match" in rule] == [([{"method": {"exact": "GET"}}], "3s")]


@pytest.mark.parametrize("item", ["{authority: pay.shop.svc.cluster.local, weight: 0}", "{authority: pay.shop.svc.cluster.local}"])
def test_an_override_of_weight_0_sends_nobody_away(item: str) -> None:
    """The proxy drops it, so that requests go to the Service; all of them were sent to the other one."""
    for target in ("istio", "cilium"):
        result = converted(profile(f"{{dstOverrides: [{item}]}}"), target)
        assert not written(result, "VirtualService")
        assert not written(result, "HTTPRoute")
        assert result.ledger.counts["unaccounted"] == 0


def test_any_of_nothing_is_no_request_and_all_of_nothing_is_every_one() -> None:
    for key, timeouts in (("any", []), ("all", ["5s"])):
        result = converted(profile(f"{{routes: [{{name: a, condition: {{{key}: []}}, timeout: 5s}}]}}"), "istio")
        rules = [rule for item in written(result, "VirtualService") for rule in item["spec"]["http"]]
        assert sorted({rule["timeout"] for rule in rules if "timeout" in rule}) == timeouts
        assert result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize(
    ("condition", "place"), [("{}", ""), ("{pathRegex: ''}", ""), ("{method: ''}", ""), ("{all: [{method: GET}, {}]}", ".all[1]")]
)
def test_a_condition_that_says_nothing_is_refused(condition: str, place: str) -> None:
    """It was read as one that every request meets."""
    result = converted(profile(f"{{routes: [{{name: a, condition: {condition}, timeout: 5s}}]}}"), "istio")
    (line,) = said(result, "MP072")
    assert f"spec.routes[0].condition{place}: a condition says nothing" in line
    assert not written(result, "VirtualService")


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("{pathRegex: '(('}", None),  # the route is left out
        ("{pathRegex: '((', method: GET}", [{"method": {"exact": "GET"}}]),  # the method is left
        ("{any: [{pathRegex: '(('}, {method: GET}]}", [{"method": {"exact": "GET"}}]),
        ("{any: [{pathRegex: '(('}]}", None),
        ("{all: [{pathRegex: '(('}]}", []),  # all of nothing is every request
        ("{all: [{method: GET}, {not: {pathRegex: '(('}}]}", [{"method": {"exact": "GET"}}]),
    ],
)
def test_an_expression_that_is_none_is_left_out_of_its_condition(condition: str, matches: Any) -> None:
    """As the proxy does (convert_req_match in linkerd2-proxy, linkerd/service-profiles/src/proto.rs); it went into a VirtualService, which Istio refuses."""
    result = converted(profile(f"{{routes: [{{name: a, condition: {condition}, timeout: 5s}}]}}"), "istio")
    rules = [rule for item in written(result, "VirtualService") for rule in item["spec"]["http"] if "timeout" in rule]
    assert (rules[0].get("match", []) if rules else None) == matches
    assert "no regular expression" in said(result, "MP098")[0]
    assert result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("status", ["{min: 400}", "{max: 404}"])
def test_a_range_of_statuses_with_one_end_is_dropped_with_its_class(status: str) -> None:
    """The control plane sends 0 for the other one, which the proxy takes for no status; one with a minimum was read as going on to 599."""
    classes = f"[{{condition: {{status: {status}}}, isFailure: true}}]"
    result = converted(
        profile(f"{{routes: [{{name: a, condition: {{method: GET}}, isRetryable: true, responseClasses: {classes}}}]}}"), "istio"
    )
    (rule,) = [rule for item in written(result, "VirtualService") for rule in item["spec"]["http"] if "match" in rule]
    assert rule["retries"]["retryOn"] == "5xx"
    assert len(said(result, "MP098")) == 1


def test_a_retry_budget_of_none_retries_nothing() -> None:
    budget = "{retryRatio: 0, minRetriesPerSecond: 0, ttl: 10s}"
    routes = "[{name: a, condition: {method: GET}, isRetryable: true}]"
    result = converted(profile(f"{{routes: {routes}, retryBudget: {budget}}}"), "istio")
    assert {rule["retries"]["attempts"] for item in written(result, "VirtualService") for rule in item["spec"]["http"]} == {0}
    assert not written(result, "DestinationRule")
    assert {line.disposition for line in result.ledger if "Ratio" in str(line.path) or "minRetries" in str(line.path)} == {"translated"}


@pytest.mark.parametrize("marks", ['retry.linkerd.io/limit: "0"', 'retry.linkerd.io/limit: "0", timeout.linkerd.io/request: "0"'])
def test_settings_of_0_on_a_service_are_no_rule(marks: str) -> None:
    """A VirtualService was written that sends everything where it goes anyway."""
    result = converted("", "istio", service=marks)
    assert not written(result, "VirtualService")
    assert result.ledger.counts["unaccounted"] == 0


ENDINGS = [
    "*.cluster.local",
    "*.linkerd.cluster.local",
    "*.identity.linkerd.cluster.local",
    "*.serviceaccount.identity.linkerd.cluster.local",
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_of_a_name_that_each_account_of_the_domain_has_is_the_domain(ending: str) -> None:
    """The rule was left out: no service account is called so."""
    refs = "[{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: who}]"
    target = "{group: policy.linkerd.io, kind: Server, name: cart}"
    text = SERVER + policy("MeshTLSAuthentication", f'{{identities: ["{ending}"]}}', "who")
    text += policy("AuthorizationPolicy", f"{{targetRef: {target}, requiredAuthenticationRefs: {refs}}}")
    result = converted(text, "istio")
    (rules,) = [item["spec"]["rules"] for item in written(result, "AuthorizationPolicy")]
    assert rules[0]["from"] == [{"source": {"principals": ["cluster.local/*"]}}]
    assert not said(result, "MP201")


@pytest.mark.parametrize("target", ["istio", "cilium"])
@pytest.mark.parametrize("spec", ["{}", "{rules: [{backendRefs: [{name: cart, port: 80}]}]}", "{parentRefs: [{group: core, kind: Service, name: cart}], rules: []}"])  # fmt: skip
def test_what_is_annotated_on_a_route_that_takes_no_request_decides_nothing(spec: str, target: str) -> None:
    notes = "{retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: '3', timeout.linkerd.io/response: 4s}"
    route = policy("HTTPRoute", spec, version="v1beta3").replace("namespace: shop", f"namespace: shop, annotations: {notes}")
    result = converted(route, target)
    assert said(result, "MP902") == []
    assert {line.disposition for line in result.ledger if "linkerd.io/" in line.path and "inject" not in line.path} == {"irrelevant"}


def test_a_filter_of_linkerds_own_route_without_its_settings_is_refused() -> None:
    spec = "{parentRefs: [{group: core, kind: Service, name: cart}], rules: [{filters: [{type: RequestHeaderModifier}]}]}"
    result = converted(policy("HTTPRoute", spec, version="v1beta3"), "istio")
    assert ["has no requestHeaderModifier" in text for text in said(result, "MP072")] == [True]
    assert [item.code for item in result.findings if item.code.startswith("MP9")] == []


@pytest.mark.parametrize(
    ("version", "parent", "code"),
    [("policy", "{kind: EgressNetwork, name: out, port: 80}", "MP728"), ("policy", "{kind: EgressNetwork, name: out}", "MP072"), ("policy", "{name: out}", "MP375"), ("gateway", "{kind: EgressNetwork, name: out}", "MP375")],
)  # fmt: skip
def test_the_group_of_a_parent_is_the_routes_own_by_default(version: str, parent: str, code: str) -> None:
    """Linkerd knows networks of its own group, and no Gateway of it."""
    route = policy("HTTPRoute", f"{{parentRefs: [{parent}], rules: [{{backendRefs: [{{name: cart, port: 80}}]}}]}}", version="v1beta3")
    result = converted(
        route if version == "policy" else route.replace("policy.linkerd.io/v1beta3", "gateway.networking.k8s.io/v1"), "istio"
    )
    assert said(result, code)
    assert [item.code for item in result.findings if item.code.startswith("MP90")] == []
    assert result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("target", ["istio", "linkerd", "cilium"])
def test_an_empty_list_of_networks_is_none(target: str) -> None:
    """https://github.com/linkerd/linkerd2/blob/main/policy-controller/k8s/index/src/inbound/server_authorization.rs"""
    grant = "{server: {name: cart}, client: {meshTLS: {serviceAccounts: [{name: pay}]}%s}}"
    empty, unsaid = (
        converted(SERVER + policy("ServerAuthorization", grant % networks, version="v1beta1"), target)
        for networks in (", networks: []", "")
    )
    assert [item.object for item in empty.manifests] == [item.object for item in unsaid.manifests]
    assert [item.code for item in empty.findings if item.code.startswith("MP90")] == []
