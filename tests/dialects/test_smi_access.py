"""SMI's access control in the words of the meshes: source YAML, target YAML, findings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    metadata: {labels: {app: api}}
    spec:
      serviceAccountName: api
      containers: [{name: app, image: api, ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}]}]
"""
ROUTES = """
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec:
  matches:
  - {name: api, pathRegex: "/api/.*", methods: [GET, POST]}
  - {name: metrics, pathRegex: /metrics, methods: [GET]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: port, namespace: shop}
spec: {matches: {ports: [8080]}}
"""


def target(rules: str, name: str = "callers", sources: str = "[{kind: ServiceAccount, name: web, namespace: shop}]") -> str:
    return f"""
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: {name}, namespace: shop}}
spec:
  destination: {{kind: ServiceAccount, name: api, namespace: shop}}
  rules: {rules}
  sources: {sources}
"""


BOTH = "[{kind: TCPRoute, name: port}, {kind: HTTPRouteGroup, name: routes, matches: [api]}]"


def convert(text: str, to: str = "istio", source: str = "smi") -> Result:
    return meshport.convert(meshport.load_text(text), source=source, target=to)


def specs(result: Result) -> dict[str, Any]:
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object.get("spec") for item in result.manifests}


def codes(result: Result) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_target_is_an_allow_for_the_pods_of_its_account_inside_a_deny() -> None:
    result = convert(WORLD + ROUTES + target(BOTH))
    found = specs(result)
    assert found["AuthorizationPolicy/deny-all"] == {}
    assert found["AuthorizationPolicy/callers"] == yaml.safe_load("""
selector: {matchLabels: {app: api}}
action: ALLOW
rules:
- from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
  to: [{operation: {ports: ["8080"], methods: [GET, POST], paths: [/api/*]}}]
""")
    assert [item.object["metadata"]["labels"] for item in result.manifests if item.object["kind"] == "Namespace"] == [
        {"istio-injection": "enabled"}
    ]
    assert {"MP337", "MP336"} <= codes(result)  # read as enforced, and the match `metrics` is nobody's
    assert result.diff == []
    assert {item["kind"] for item in result.removals} == {"TrafficTarget", "HTTPRouteGroup", "TCPRoute"}


def test_ports_alone_admit_bytes_and_a_group_alone_admits_http_on_every_port() -> None:
    plain = specs(convert(WORLD + ROUTES + target("[{kind: TCPRoute, name: port}]")))["AuthorizationPolicy/callers"]
    assert plain["rules"][0]["to"] == [{"operation": {"ports": ["8080"]}}]
    grouped = specs(convert(WORLD + ROUTES + target("[{kind: HTTPRouteGroup, name: routes, matches: [metrics]}]")))[
        "AuthorizationPolicy/callers"
    ]
    assert grouped["rules"][0]["to"] == [{"operation": {"methods": ["GET"], "paths": ["/metrics"]}}]


def test_a_match_for_everything_is_one_for_http() -> None:
    every = ROUTES.replace('{name: api, pathRegex: "/api/.*", methods: [GET, POST]}', '{name: api, pathRegex: ".*", methods: ["*"]}')
    found = specs(convert(WORLD + every + target(BOTH)))["AuthorizationPolicy/callers"]
    assert found["rules"][0]["to"] == [{"operation": {"ports": ["8080"], "paths": ["/*"]}}]


def test_the_first_version_has_no_spec_and_its_port_stands_at_the_destination() -> None:
    old = """
---
apiVersion: specs.smi-spec.io/v1alpha1
kind: HTTPRouteGroup
metadata: {name: old, namespace: shop}
matches: [{name: all, pathRegex: /health, methods: [GET]}]
---
apiVersion: access.smi-spec.io/v1alpha1
kind: TrafficTarget
metadata: {name: callers, namespace: shop}
destination: {kind: ServiceAccount, name: api, namespace: shop, port: 9090}
specs: [{kind: HTTPRouteGroup, name: old}]
sources: [{kind: ServiceAccount, name: web}]
"""
    result = convert(WORLD + old)
    assert specs(result)["AuthorizationPolicy/callers"]["rules"][0]["to"] == [
        {"operation": {"ports": ["9090"], "methods": ["GET"], "paths": ["/health"]}}
    ]
    assert result.ledger.counts["unaccounted"] == 0


def test_in_linkerd_a_target_is_a_server_with_a_route_and_the_namespace_is_closed() -> None:
    result = convert(
        WORLD + ROUTES + target("[{kind: HTTPRouteGroup, name: routes, matches: [metrics]}, {kind: TCPRoute, name: port}]"), "linkerd"
    )
    found = specs(result)
    assert {"Server/api-8080", "HTTPRoute/api-8080-callers", "AuthorizationPolicy/api-8080-callers"} <= set(found)
    namespace = next(item.object for item in result.manifests if item.object["kind"] == "Namespace")
    assert namespace["metadata"]["annotations"] == {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "deny"}


@pytest.mark.parametrize(("rules", "sources"), [("[]", "[{kind: ServiceAccount, name: web}]"), (BOTH, "[]")])
def test_a_target_without_rules_or_sources_admits_nobody(rules: str, sources: str) -> None:
    result = convert(WORLD + ROUTES + target(rules, sources=sources))
    assert "rules" not in specs(result)["AuthorizationPolicy/callers"]
    assert "admits nobody" in " ".join(finding.message for finding in result.findings)


def test_an_account_that_no_workload_has_is_said() -> None:
    result = convert(ROUTES + target(BOTH))
    assert specs(result) == {"AuthorizationPolicy/deny-all": {}}
    assert "kubectl get deploy,sts,ds,svc -n shop" in next(one.remedy for one in result.findings if one.code == "MP207")


def test_a_reference_to_a_group_that_is_not_there_admits_nobody() -> None:
    result = convert(WORLD + target("[{kind: HTTPRouteGroup, name: gone}]"))
    assert "rules" not in specs(result)["AuthorizationPolicy/callers"]
    assert "MP014" in codes(result)


def test_linkerd_never_read_targets() -> None:
    meshed = WORLD.replace("{name: shop}", "{name: shop, annotations: {linkerd.io/inject: enabled}}", 1)
    result = convert(meshed + ROUTES + target(BOTH), source="linkerd")
    assert [item.object["kind"] for item in result.manifests] == ["Namespace"]
    assert {finding.message for finding in result.findings if finding.code == "MP336"} == {
        f"{what} decides nothing: Linkerd reads TrafficSplit alone of SMI"
        for what in ("TrafficTarget shop/callers", "HTTPRouteGroup shop/routes", "TCPRoute shop/port")
    }


def test_nothing_is_written_in_smi() -> None:
    with pytest.raises(meshport.UsageError, match="--to smi"):
        meshport.convert(meshport.load_text(WORLD), source="linkerd", target="smi")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{destination: {kind: ServiceAccount}, sources: [{kind: ServiceAccount, name: b}], rules: [{kind: TCPRoute, name: r}]}", "spec.destination: it has no name"),
        ("{destination: {kind: ServiceAccount, name: a}, sources: [{name: b}], rules: [{kind: TCPRoute, name: r}]}", "spec.sources[0]: it has no kind"),
        ("{destination: {kind: ServiceAccount, name: a}, sources: [{kind: ServiceAccount, name: b}], rules: [{}]}", "spec.rules[0]: it has no kind and no name"),
    ],
)  # fmt: skip
def test_a_target_with_a_reference_to_nothing_is_refused(spec: str, why: str) -> None:
    text = f"apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {{name: t, namespace: shop}}\nspec: {spec}\n"
    result = meshport.convert(meshport.load_text(text), source="smi", target="istio")
    assert [item.message for item in result.findings if item.code == "MP072" and why in item.message]
    assert result.ledger.counts["unaccounted"] == 0
    assert [item.code for item in result.findings if item.code.startswith("MP90")] == []
