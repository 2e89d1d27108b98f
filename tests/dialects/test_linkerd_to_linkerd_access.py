"""Linkerd's older policies in its newer ones, and older versions and groups: source YAML, target YAML, findings, removals."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  template:
    metadata: {labels: {app: users}}
    spec: {containers: [{name: app, image: users, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop, labels: {tier: api}}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080}
"""
ROUTE = """
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: reads, namespace: shop, labels: {team: a}}
spec:
  parentRefs: [{kind: Server, name: users}]
  rules: [{matches: [{method: GET, path: {value: /users}}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: reads}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""


def authorization(client: str, server: str = "{name: users}") -> str:
    return f"""
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {{name: callers, namespace: shop}}
spec: {{server: {server}, client: {client}}}
"""


def modern(text: str, version: str = "2.20") -> Result:
    return meshport.convert(meshport.load_text(text), source="linkerd", target="linkerd", target_version=version)


def specs(result: Result) -> dict[str, Any]:
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object["spec"] for item in result.manifests}


def test_one_account_is_named_in_the_policy_and_the_clusters_networks_are_written() -> None:
    result = modern(WORLD + authorization("{meshTLS: {serviceAccounts: [{name: web}]}}"))
    assert specs(result) == yaml.safe_load("""
NetworkAuthentication/cluster-networks:
  networks: [{cidr: 10.0.0.0/8}, {cidr: 100.64.0.0/10}, {cidr: 172.16.0.0/12}, {cidr: 192.168.0.0/16}, {cidr: 'fd00::/8'}]
AuthorizationPolicy/callers:
  targetRef: {group: policy.linkerd.io, kind: Server, name: users}
  requiredAuthenticationRefs:
  - {kind: ServiceAccount, name: web, namespace: shop}
  - {group: policy.linkerd.io, kind: NetworkAuthentication, name: cluster-networks}
""")
    assert [(item["kind"], item["name"]) for item in result.removals] == [("ServerAuthorization", "callers")]
    assert result.diff == []
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"


def test_identities_beside_accounts_are_one_authentication_and_networks_are_kept() -> None:
    client = "{networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}], meshTLS: {identities: ['*.ops.serviceaccount.identity.linkerd.cluster.local'], serviceAccounts: [{name: web}, {name: bot, namespace: ops}]}}"
    found = specs(modern(WORLD + authorization(client)))
    assert found["MeshTLSAuthentication/callers"] == {
        "identities": [
            "*.ops.serviceaccount.identity.linkerd.cluster.local",
            "web.shop.serviceaccount.identity.linkerd.cluster.local",
            "bot.ops.serviceaccount.identity.linkerd.cluster.local",
        ]
    }
    assert found["NetworkAuthentication/callers"] == {"networks": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}
    assert [ref["kind"] for ref in found["AuthorizationPolicy/callers"]["requiredAuthenticationRefs"]] == [
        "MeshTLSAuthentication",
        "NetworkAuthentication",
    ]


def test_clients_without_identity_still_come_from_the_cluster() -> None:
    found = specs(modern(WORLD + authorization("{unauthenticated: true}")))
    refs = found["AuthorizationPolicy/callers"]["requiredAuthenticationRefs"]
    assert refs == [{"group": "policy.linkerd.io", "kind": "NetworkAuthentication", "name": "cluster-networks"}]


def test_a_selector_becomes_a_policy_for_each_server() -> None:
    more = """
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: admin, namespace: shop, labels: {tier: api}}
spec: {podSelector: {matchLabels: {app: users}}, port: 9090}
"""
    result = modern(WORLD + more + authorization("{meshTLS: {identities: ['*']}}", "{selector: {matchLabels: {tier: api}}}"))
    targets = {key: spec["targetRef"]["name"] for key, spec in specs(result).items() if "targetRef" in spec}
    assert targets == {"AuthorizationPolicy/callers-admin": "admin", "AuthorizationPolicy/callers-users": "users"}


def test_tls_without_identity_is_left_out_and_said() -> None:
    result = modern(WORLD + authorization("{meshTLS: {unauthenticatedTLS: true}}"))
    assert result.manifests == []
    assert [item["name"] for item in result.removals] == ["callers"]
    said = next(finding for finding in result.findings if finding.code == "MP254")
    assert (said.severity, said.effect, said.disposition) == ("error", "narrows", "dropped")
    assert [(item.workload, item.port) for item in said.affects] == [("users", 8080)]


def test_an_authorization_without_its_server_stays() -> None:
    result = modern(WORLD + authorization("{meshTLS: {identities: ['*']}}", "{selector: {matchLabels: {tier: none}}}"))
    assert (result.manifests, result.removals) == ([], [])
    assert "MP014" in {finding.code for finding in result.findings}


@pytest.mark.parametrize(("version", "group"), [("2.18", "policy.linkerd.io"), ("2.19", "gateway.networking.k8s.io")])
def test_a_route_on_a_server_moves_when_a_policy_may_name_it_there(version: str, group: str) -> None:
    result = modern(WORLD + ROUTE, version)
    if group == "policy.linkerd.io":
        assert (result.manifests, result.removals) == ([], [])
        return
    route, policy = (item.object for item in result.manifests)
    assert (route["apiVersion"], route["metadata"]["labels"]) == ("gateway.networking.k8s.io/v1", {"team": "a"})
    assert route["spec"]["parentRefs"] == [{"kind": "Server", "name": "users", "group": "policy.linkerd.io"}]
    assert policy["spec"]["targetRef"] == {"group": group, "kind": "HTTPRoute", "name": "reads"}
    assert [(item["apiVersion"], item["name"]) for item in result.removals] == [("policy.linkerd.io/v1beta3", "reads")]


def test_a_duration_of_several_units_is_one_that_the_gateway_api_group_reads() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{port: 80}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: slow, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: users, port: 80}]
  rules: [{timeouts: {request: 1h30m}, backendRefs: [{name: users, port: 80}]}]
"""
    assert specs(modern(text, "2.18"))["HTTPRoute/slow"]["rules"][0]["timeouts"] == {"request": "90m"}
    assert modern(text, "2.16").manifests == []  # its Gateway API has no timeouts in the standard channel


@pytest.mark.parametrize(
    ("api", "version", "expected"),
    [("v1beta1", "2.20", "v1beta3"), ("v1beta1", "2.15", "v1beta2"), ("v1beta1", "2.14", None), ("v1alpha1", "2.14", "v1beta1")],
)
def test_a_server_gets_the_newest_version_that_the_release_serves(api: str, version: str, expected: str | None) -> None:
    result = modern(WORLD.replace("v1beta3", api), version)
    assert [item.object["apiVersion"] for item in result.manifests] == ([f"policy.linkerd.io/{expected}"] if expected else [])


def test_a_version_that_is_too_new_for_the_release_is_said() -> None:
    result = modern(WORLD, "2.14")
    assert [finding.code for finding in result.findings] == ["MP338"]
    assert result.manifests == []
