"""Linkerd: Servers, grants, profiles and routes that do something else than they look like. Each with its place, and gone once it is mended."""

from __future__ import annotations

import pytest
from lint_helper import Case, judge, lint, none, only

WORLD = """
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec: {clusterIP: None, selector: {app: users}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec: {template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}}}
"""


def server(name: str = "users", spec: str = "{podSelector: {matchLabels: {app: users}}, port: http}") -> str:
    return f"---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


def grant(target: str, refs: str = "[{group: '', kind: ServiceAccount, name: web}]", name: str = "a") -> str:
    return (
        f"---\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{targetRef: {target}, requiredAuthenticationRefs: {refs}}}\n"
    )


def route(spec: str, kind: str = "HTTPRoute", name: str = "r") -> str:
    return f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"


ON_USERS = "{group: policy.linkerd.io, kind: Server, name: users}"
OF_SERVICE = "parentRefs: [{group: '', kind: Service, name: users, port: 80}]"

CASES = [
    Case("MP014", "error", "spec.targetRef.name", server() + grant(ON_USERS.replace("users", "uzers")), "uzers", "users"),
    Case("MP073", "warning", "spec.rules[0].backendRefs[0].name", route(f"{{{OF_SERVICE}, rules: [{{backendRefs: [{{name: uzers, port: 80}}]}}]}}"), "uzers", "users"),
    Case("MP074", "error", "spec.port", server(spec="{podSelector: {matchLabels: {app: users}}, port: web}"), "port: web", "port: http"),
    Case("MP074", "error", "spec.parentRefs[0].port", route(f"{{{OF_SERVICE.replace('80', '8080')}, rules: [{{backendRefs: [{{name: users, port: 80}}]}}]}}"), "port: 8080", "port: 80"),
    Case("MP077", "warning", "spec.port", server() + server("other", "{podSelector: {matchLabels: {app: users}}, port: 8080}"), "port: 8080", "port: 9090"),
    Case("MP078", "warning", "spec.routes[1].name",
         "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: users.shop.svc.cluster.local, namespace: shop}\n"
         "spec: {routes: [{name: all, condition: {pathRegex: '.*'}}, {name: get, condition: {method: GET}}]}\n", "'.*'", "/a"),
    Case("MP079", "warning", "spec.podSelector.matchLabels.app", server(spec="{podSelector: {matchLabels: {app: user}}, port: 80}"), "app: user}", "app: users}"),
    Case("MP081", "warning", "spec.ports[0].appProtocol",
         "---\napiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec: {selector: {app: api}, ports: [{name: grpc, port: 80, appProtocol: grpc}]}\n",
         "appProtocol: grpc", "appProtocol: kubernetes.io/h2c"),
    Case("MP091", "warning", "spec.parentRefs[0].name", route(f"{{{OF_SERVICE.replace('users', 'peers')}, rules: [{{backendRefs: [{{name: users, port: 80}}]}}]}}"), "name: peers", "name: users"),
    Case("MP094", "warning", "spec.targetRef.name",
         server() + route("{parentRefs: [{group: policy.linkerd.io, kind: Server, name: users}], rules: [{matches: [{path: {value: /a}}]}]}")
         + grant("{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}") + grant(ON_USERS, name="b"),
         "kind: Server, name: users}, requiredAuthenticationRefs: [{group: '', kind: ServiceAccount, name: web}]",
         "kind: Server, name: users}, requiredAuthenticationRefs: [{group: '', kind: ServiceAccount, name: ops}]"),
    Case("MP098", "error", "spec.parentRefs[0].kind", route(f"{{{OF_SERVICE}, rules: [{{backendRefs: [{{name: users, port: 80}}]}}]}}".replace("group: '', ", "")),
         "[{kind: Service", "[{group: '', kind: Service"),
    Case("MP098", "warning", "spec.requiredAuthenticationRefs", server() + grant(ON_USERS, "[]"), "Refs: []", "Refs: [{group: '', kind: ServiceAccount, name: web}]"),
    Case("MP098", "warning", "spec.rules[0].timeouts.request", route(f"{{{OF_SERVICE}, rules: [{{timeouts: {{request: 1m30s}}, backendRefs: [{{name: users, port: 80}}]}}]}}"), "1m30s", "90s"),
    Case("MP315", "error", "spec.rules[0].filters[0].type",
         route(f"{{{OF_SERVICE}, rules: [{{filters: [{{type: URLRewrite, urlRewrite: {{hostname: a.example}}}}], backendRefs: [{{name: users, port: 80}}]}}]}}"),
         "filters: [{type: URLRewrite, urlRewrite: {hostname: a.example}}], ", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_is_found_at_its_place_and_gone_once_mended(case: Case) -> None:
    judge(case, "linkerd", WORLD)


def test_an_app_protocol_is_only_looked_at_from_2_18() -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {selector: {app: api}, ports: [{port: 80, appProtocol: grpc}]}}"
    assert only("MP081", text, "linkerd", "2.18").severity == "warning"
    assert none("MP081", text, "linkerd", "2.17")


def test_overlapping_servers_are_told_apart_by_age_from_2_18() -> None:
    text = server() + server("other") + WORLD
    assert "the oldest holds" in only("MP077", text, "linkerd", "2.18").message
    assert "not defined" in only("MP077", text, "linkerd", "2.17").message


def test_a_profile_silences_the_settings_of_its_service() -> None:
    text = """
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {pathRegex: '/.*'}}]}
""" + WORLD.replace(
        "{name: users, namespace: shop}\nspec: {selector",
        "{name: users, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: consecutive}}\nspec: {selector",
        1,
    )
    found = only("MP054", text, "linkerd")
    assert "failure-accrual" in found.message


def test_a_breaker_that_is_none() -> None:
    text = """
apiVersion: v1
kind: Service
metadata:
  name: users
  namespace: shop
  annotations: {balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-min-penalty: 2m}
spec: {selector: {app: users}, ports: [{port: 80}]}
"""
    assert "runs without a breaker" in only("MP098", text, "linkerd").message
    assert none("MP098", text.replace("2m", "2s"), "linkerd")
    misspelt = text.replace("accrual: consecutive,", "accrual: consecutiv,")
    assert only("MP013", misspelt, "linkerd") and none("MP097", misspelt, "linkerd")  # one finding for one mistake
    route = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: users, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual-consecutive-max-failures: x}}, spec: {rules: []}}"
    assert (
        "not on a HTTPRoute" in only("MP097", route, "linkerd").message
        and none("MP098", route, "linkerd")
        and none("MP099", route, "linkerd")
    )


def test_ports_of_the_proxy_are_no_ports_of_a_container() -> None:
    assert none("MP074", server(spec="{podSelector: {matchLabels: {app: users}}, port: linkerd-admin}") + WORLD, "linkerd")


def test_without_the_world_there_is_nothing_to_miss() -> None:
    text = server() + grant(ON_USERS) + route(f"{{{OF_SERVICE}, rules: [{{backendRefs: [{{name: users, port: 80}}]}}]}}")
    assert [item for item in lint(text, "linkerd") if item.severity != "info"] == []


@pytest.mark.parametrize(("release", "said"), [("2.15", False), ("2.16", True)])
def test_on_a_server_for_grpc_routes_for_grpc_alone_count_once_there_are_some(release: str, said: bool) -> None:
    of_server = "parentRefs: [{group: policy.linkerd.io, kind: Server, name: users}]"
    text = server(spec="{podSelector: {matchLabels: {app: users}}, port: http, proxyProtocol: gRPC}") + WORLD
    text += route(f"{{{of_server}, rules: [{{matches: [{{path: {{value: /}}}}]}}]}}")
    assert ("GRPCRoutes alone count" in str([item.message for item in lint(text, "linkerd", release)])) is said
