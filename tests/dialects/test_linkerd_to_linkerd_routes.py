"""ServiceProfiles, splits and annotations of Linkerd in the words of a newer Linkerd: source YAML, target YAML, findings, removals."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result
from tests.decisions.decision_helper import shop

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}, labels: {team: a}}
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: users-next, namespace: shop}
spec: {selector: {app: users, version: next}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
PROFILE = """
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - name: read
    condition: {method: GET, pathRegex: "/users/[^/]+"}
    timeout: 5s
  - name: create
    condition: {method: POST, pathRegex: /users}
    isRetryable: true
  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}
"""
SPLIT = """
---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: users-canary, namespace: shop}
spec: {service: users, backends: [{service: users, weight: 900}, {service: users-next, weight: 100}]}
"""


def modern(text: str, version: str = "2.20", **options: Any) -> Result:
    return meshport.convert(meshport.load_text(text), source="linkerd", target="linkerd", target_version=version, **options)


def named(result: Result, kind: str) -> dict[str, Any]:
    return {item.object["metadata"]["name"]: item.object for item in result.manifests if item.object["kind"] == kind}


def removed(result: Result) -> list[str]:
    return sorted(f"{item['kind']}/{item['name']}" for item in result.removals)


def codes(result: Result) -> list[str]:
    return sorted({finding.code for finding in result.findings})


def test_a_profile_and_its_split_become_routes_one_for_each_way_to_retry() -> None:
    result = modern(WORLD + PROFILE + SPLIT)
    backends = "[{name: users, port: 80, weight: 9}, {name: users-next, port: 80, weight: 1}]"
    expected = yaml.safe_load(f"""
users-1:
  rules:
  - matches: [{{method: GET, path: {{type: RegularExpression, value: '^/users/[^/]+$'}}}}]
    backendRefs: {backends}
    timeouts: {{request: 5s}}
users-2:
  rules:
  - matches: [{{method: POST, path: {{type: Exact, value: /users}}}}]
    backendRefs: {backends}
users-3:
  rules:
  - backendRefs: {backends}
""")
    routes = named(result, "HTTPRoute")
    assert {name: {"rules": route["spec"]["rules"]} for name, route in routes.items()} == expected
    assert [route["metadata"].get("annotations") for route in routes.values()] == [
        None,
        {"retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "1"},
        None,
    ]
    assert routes["users-1"]["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert routes["users-1"]["spec"]["parentRefs"] == [{"group": "core", "kind": "Service", "name": "users", "port": 80}]
    assert removed(result) == ["ServiceProfile/users.shop.svc.cluster.local", "TrafficSplit/users-canary"]
    assert codes(result) == ["MP411", "MP451"]  # a limit for a budget, and the budget's numbers
    assert "with the weights of TrafficSplit shop/users-canary" in result.text()


def test_who_is_in_the_mesh_stays_there_and_what_is_modern_is_not_listed() -> None:
    route = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop, annotations: {retry.linkerd.io/http: 5xx}}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules: [{timeouts: {request: 5s}, backendRefs: [{name: users, port: 80}]}]
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080, accessPolicy: audit}
"""
    result = modern(WORLD + route)
    assert (result.manifests, result.removals, result.install["commands"]) == ([], [], [])
    assert [finding.code for finding in result.findings if finding.disposition] == []
    assert result.ledger.counts["translated"] > 10
    assert result.ledger.counts["unaccounted"] == 0


def test_what_a_profile_had_switched_off_does_not_come_to_life() -> None:
    noted = WORLD.replace(
        "{name: users, namespace: shop}",
        "{name: users, namespace: shop, annotations: {timeout.linkerd.io/request: 1s, balancer.linkerd.io/failure-accrual: consecutive, a: b}}",
    )
    begun = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: begun, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users}]
  rules: [{backendRefs: [{name: users-next, port: 80}]}]
"""
    result = modern(noted + PROFILE + begun)
    assert named(result, "Service")["users"]["metadata"]["annotations"] == {"a": "b"}
    assert removed(result) == ["HTTPRoute/begun", "ServiceProfile/users.shop.svc.cluster.local"]
    assert {"MP335", "MP412", "MP507"} <= set(codes(result))
    assert {change.aspect for change in result.diff} == {"retries"}  # the budget's numbers alone


def test_an_empty_profile_switches_nothing_off_and_goes() -> None:
    home = "metadata: {name: users, namespace: shop}"
    noted = WORLD.replace(home, f"{home[:-1]}, annotations: {{retry.linkerd.io/http: 5xx}}}}", 1)
    result = modern(noted + PROFILE.partition("spec:")[0] + "spec: {}\n")
    assert result.manifests == [] and codes(result) == []
    assert removed(result) == ["ServiceProfile/users.shop.svc.cluster.local"]


def test_a_profile_for_one_namespaces_clients_becomes_their_route_alone() -> None:
    own = PROFILE.replace("namespace: shop}", "namespace: web}")
    produced = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: for-all, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users}]
  rules: [{timeouts: {request: 9s}, backendRefs: [{name: users, port: 80}]}]
"""
    result = modern(WORLD + own + produced)
    routes = named(result, "HTTPRoute")
    assert {route["metadata"]["namespace"] for route in routes.values()} == {"web"}
    assert routes["users-1"]["spec"]["parentRefs"][0]["namespace"] == "shop"
    assert removed(result) == ["ServiceProfile/users.shop.svc.cluster.local"]  # and not the route that all others follow


@pytest.mark.parametrize(
    ("version", "why"),
    [("2.12", "reads no route"), ("2.14", "retries through a ServiceProfile only")],
)
def test_a_profile_stays_where_the_release_has_no_route_for_it(version: str, why: str) -> None:
    result = modern(WORLD + PROFILE + SPLIT, version)
    assert (result.manifests, result.removals) == ([], [])
    assert [finding.message for finding in result.findings if why in finding.message] != []
    assert codes(result) == ["MP334"]


def test_a_profile_of_a_service_that_nobody_showed_stays() -> None:
    result = modern(PROFILE + SPLIT)
    assert (result.manifests, result.removals) == ([], [])
    assert "kubectl get service users -n shop" in next(finding.message for finding in result.findings if finding.code == "MP334")


def test_no_route_on_an_opaque_port() -> None:
    ports = "ports: [{name: http, port: 80, targetPort: 8080}, {name: db, port: 3306}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: users-next"
    text = WORLD.replace(
        "ports: [{name: http, port: 80, targetPort: 8080}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: users-next", ports
    )
    result = modern(text + PROFILE)
    assert {item["spec"]["parentRefs"][0]["port"] for item in named(result, "HTTPRoute").values()} == {80}


def test_of_a_route_that_stands_there_twice_only_the_last_one_is_in_the_cluster() -> None:
    route = """
apiVersion: policy.linkerd.io/v1beta2
kind: HTTPRoute
metadata: {name: bb, namespace: demo}
spec:
  parentRefs: [{name: bb, kind: Service, group: core, port: 8080}]
  rules: [{backendRefs: [BACKENDS]}]
---
"""
    split = route.replace("BACKENDS", "{name: bb, port: 8080, weight: 90}, {name: v2, port: 8080, weight: 10}")
    text = split + route.replace("BACKENDS", "{name: v2, port: 8080}")
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="linkerd")
    assert {"MP019"} <= {finding.code for finding in result.findings} and "MP900" not in {finding.code for finding in result.findings}
    (written,) = [item.object for item in result.manifests]
    assert [backend["name"] for backend in written["spec"]["rules"][0]["backendRefs"]] == ["v2"]


ONE_ROUTE = """---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: get, condition: {method: GET, pathRegex: /a}, MORE}]}
"""
OF_LINKERD = """---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: users, port: 80}], rules: [{MOREbackendRefs: [{name: users, port: 80}]}]}
"""
OF_GATEWAY_API = OF_LINKERD.replace("policy.linkerd.io/v1beta3", "gateway.networking.k8s.io/v1beta1")
V1BETA1, V1 = ["gateway.networking.k8s.io/v1beta1"], ["gateway.networking.k8s.io/v1"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (ONE_ROUTE.replace("MORE", "isRetryable: true"), {"2.15": [], "2.16": [*V1BETA1, *V1BETA1]}),
        (ONE_ROUTE.replace("MORE", "timeout: 1s"), {"2.13": [], "2.14": V1BETA1}),
        (OF_LINKERD.replace("MORE", ""), {"2.13": [], "2.14": V1BETA1, "2.17": V1BETA1, "2.18": V1}),
        (OF_LINKERD.replace("MORE", "timeouts: {request: 1s}, "), {"2.17": [], "2.18": V1}),
        (OF_GATEWAY_API.replace("MORE", ""), {"2.17": [], "2.18": V1}),
    ],
    ids=["retries", "a timeout", "a route of Linkerd's group", "one with timeouts", "one of the Gateway API"],
)
def test_routes_are_made_new_from_the_release_on_that_reads_them_so(text: str, written: dict[str, list[str]]) -> None:
    """Until then the old object stays, as it goes on acting."""
    for release, versions in written.items():
        result = meshport.convert(meshport.load_text(shop("linkerd") + text), source="linkerd", target="linkerd", target_version=release)
        made = [item.object["apiVersion"] for item in result.manifests if item.object["kind"] == "HTTPRoute"]
        assert (release, made) == (release, versions)
        assert bool(result.removals) is (bool(versions) and "gateway.networking" not in text)


def test_a_split_whose_weights_an_operator_shifts_stays() -> None:
    """linkerd-failover knows TrafficSplits alone; routes in its place would never fail over."""
    marks = "labels: {failover.linkerd.io/controlled-by: linkerd-failover}, annotations: {failover.linkerd.io/primary-service: users}"
    result = modern(WORLD + SPLIT.replace("namespace: shop}", f"namespace: shop, {marks}}}"))
    assert not result.removals and not named(result, "HTTPRoute")
    assert [(finding.code, "linkerd-failover" in finding.message) for finding in result.findings] == [("MP334", True)]


def test_what_differs_in_the_name_of_a_rule_alone_is_said_once() -> None:
    """Profiles made from a service definition have a hundred routes."""
    profile = "apiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\nmetadata: {name: users.shop.svc.cluster.local, namespace: shop}\nspec:\n  routes:\n"
    rule = "  - {name: rN, condition: {method: GET, pathRegex: /rN}, isRetryable: true}\n"
    world = WORLD.replace("name: http", "name: grpc") + "---\n" + profile
    result = modern(world + "".join(rule.replace("N", str(number)) for number in range(14)))
    (said,) = [finding for finding in result.findings if finding.code == "MP402"]
    assert " and 4 more: Linkerd has no word" in said.message and len(said.leaves) >= 14
    few = modern(world + "".join(rule.replace("N", str(number)) for number in range(3)))
    assert len([finding for finding in few.findings if finding.code == "MP402"]) == 3
