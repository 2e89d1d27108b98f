"""Sidecars that become ambient, and pods that the bundle does not show: they are let in to no more than before, and what they lose is said."""

from __future__ import annotations

from typing import Any

import pytest
from judge import ambient
from scenarios.common import DECIDE, Obj, accounted, afterwards, documents

import meshport

MESH = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
WEB = "from: [{source: {principals: [cluster.local/ns/edge/sa/web]}}]"


def pod(name: str, labels: str, namespace: str = "shop") -> Obj:
    [one] = documents(f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: "app:1", ports: [{{name: http, containerPort: 8080}}]}}]}}
""")
    return one


def policy(name: str, spec: str, namespace: str = "shop") -> Obj:
    [one] = documents(
        f"{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    )
    return one


class Cluster:
    """What is shown of a cluster, converted, and the pods that are there besides."""

    def __init__(self, *shown: Obj, unseen: list[Obj], text: str = MESH) -> None:
        self.before = documents(text) + list(shown)
        self.result = meshport.convert(meshport.load_objects(self.before), source="istio", target="istio", data_plane="ambient")
        assert accounted(self.result) == []
        self.after = afterwards(self.before, self.result) + unseen
        self.before += unseen

    def asks(self, pod: Obj, *, method: str = "GET", caller: str = "web") -> tuple[bool, bool]:
        """Whether a request gets in before and afterwards."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        source = {"namespace": "edge", "service_account": caller, "meshed": True, "ip": "10.1.0.7", "labels": {"app": caller}}
        place = {"namespace": namespace, "workload": name, "port": 8080, "labels": pod["spec"]["template"]["metadata"]["labels"]}
        request: dict[str, Any] = {"source": source, "destination": place, "protocol": "http", "method": method, "path": "/", "headers": {}}
        return DECIDE["istio"](self.before, request) == "allow", bool(ambient.ways(self.after, request))

    def told(self, code: str) -> set[tuple[str | None, str | None]]:
        return {(one.namespace, one.workload) for item in self.result.findings if item.code == code for one in item.affects}


BACK = pod("pay", "{app: pay, tier: back}")
OTHER = pod("other", "{app: pay, tier: other}")
READS = policy("reads", f"{{selector: {{matchLabels: {{tier: back}}}}, rules: [{{{WEB}, to: [{{operation: {{methods: [GET]}}}}]}}]}}")


def test_a_policy_for_a_port_that_no_service_sends_to_lets_no_waypoint_in() -> None:
    """It stays as it is, where the waypoint would come to all pods by it."""
    port = policy("port", "{rules: [{to: [{operation: {ports: ['6001']}}]}]}", "istio-system")
    cluster = Cluster(BACK, READS, port, unseen=[OTHER])
    assert cluster.asks(BACK) == (True, True)
    assert cluster.asks(OTHER) == (False, False)
    assert "port" not in {item.object["metadata"]["name"] for item in cluster.result.manifests}


@pytest.mark.parametrize("rule", ["{to: [{operation: {methods: [POST]}}]}", "{from: [{source: {namespaces: [shop]}}]}"])
def test_a_waypoint_does_not_come_to_pods_under_fewer_policies_than_those_that_it_serves(rule: str) -> None:
    """The policy of all pods would let it in there: by its words, or because the waypoint is of the namespace."""
    cluster = Cluster(BACK, READS, policy("all", f"{{rules: [{rule}]}}"), unseen=[OTHER])
    assert cluster.asks(BACK) == (True, True)
    assert cluster.asks(OTHER) == (False, False)
    assert ("shop", "app=pay") in cluster.told("MP244")


def test_what_pods_lose_that_nobody_shows_is_said() -> None:
    cluster = Cluster(BACK, READS, unseen=[pod("ghost", "{app: ghost, tier: back}")])
    ghost = cluster.before[-1]
    assert cluster.asks(ghost) == (True, False)
    assert ("shop", "tier=back") in cluster.told("MP116")


def test_a_deny_of_the_mesh_that_asks_for_http_holds_where_no_pod_is_shown() -> None:
    """It moves to the Services of shown pods; ztunnel holds what it can of it elsewhere."""
    deny = policy("deny", f"{{action: DENY, rules: [{{{WEB}, to: [{{operation: {{methods: [GET]}}}}]}}]}}", "istio-system")
    other = MESH + "---\n" + MESH.split("---")[0].replace("name: shop", "name: ops")
    cluster = Cluster(BACK, deny, unseen=[pod("ghost", "{app: ghost}", "ops")], text=other)
    assert cluster.asks(BACK, method="PUT") == (True, True)
    assert cluster.asks(BACK) == (False, False)
    assert cluster.asks(cluster.before[-1]) == (False, False)
    assert (None, None) in cluster.told("MP244")


@pytest.mark.parametrize(
    "spec", ["{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}", "{rules: [{from: [{source: {namespaces: [edge]}}]}]}"]
)
@pytest.mark.parametrize("mode", ["", "selector: {matchLabels: {app: ghost}}, "])
def test_nobody_has_a_name_at_pods_that_nobody_shows_where_mtls_is_disabled(mode: str, spec: str) -> None:
    """ztunnel would know the callers."""
    disabled = f"{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: plain, namespace: shop}}, spec: {{{mode}mtls: {{mode: DISABLE}}}}}}"
    shown = [*documents(disabled), policy("by-name", spec)]
    cluster = Cluster(*shown, *([BACK] if mode else []), unseen=[pod("ghost", "{app: ghost}")])
    assert cluster.asks(cluster.before[-1]) == (False, False)
    if mode:
        assert cluster.asks(BACK) == (True, True)
