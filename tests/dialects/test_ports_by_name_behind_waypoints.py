"""Ports that Services of waypoints give by the names of container ports, to Cilium: pods that the bundle does not show may give the name to another number."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

Obj = dict[str, Any]


def behind_a_waypoint(target: int | str, *more: Obj, operation: Obj | None = None, hangs: bool = True) -> Any:
    """Pods with a Service before them that has a waypoint, for Cilium."""
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}}
    gate = {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "waypoint", "namespace": "shop"},
        "spec": {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]},
    }  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "shop", "labels": {"istio.io/use-waypoint": "waypoint"}},
        "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": target}]},
    }  # fmt: skip

    def policy(name: str, **spec: Any) -> Obj:
        return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}  # fmt: skip

    alone = policy("alone", rules=[{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}])
    hung = {
        **({"to": [{"operation": operation}]} if operation else {}),
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
    }
    at = policy("hung", targetRefs=[{"group": "", "kind": "Service", "name": "a"}], rules=[hung])
    container = {"name": "app", "image": "x:1", "ports": [{"name": "web", "containerPort": 8080}, {"name": "admin", "containerPort": 9090}]}
    pod = {"metadata": {"labels": {"app": "a", "tier": "back"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "a", "tier": "back"}}, "template": pod}
    shown = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "shop"}, "spec": spec}
    result = meshport.convert(
        meshport.load_objects([home, gate, service, shown, alone, *([at] if hangs else []), *more]), source="istio", target="cilium"
    )
    assert not [finding for finding in result.findings if finding.code.startswith("MP90")]
    return result


def opened(result: Any) -> list[str]:
    """The ports that the CiliumNetworkPolicies open one by one."""
    specs = [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    entries = [entry for spec in specs for rule in spec.get("ingress", ()) for entry in rule.get("toPorts", ())]
    return [port["port"] for entry in entries for port in entry["ports"]]


@pytest.mark.parametrize("operation", [None, {"methods": ["GET"]}])
def test_cilium_names_the_port_to_which_the_service_of_a_waypoint_sends_by_its_name(operation: Obj | None) -> None:
    assert opened(behind_a_waypoint("web", operation=operation)) == ["web"]
    assert opened(behind_a_waypoint(8080, operation=operation)) == ["8080"]


def test_cilium_has_the_number_where_another_service_sends_to_that() -> None:
    """Its Envoy refuses a port that it has twice."""
    other = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "namespace": "shop", "labels": {"istio.io/use-waypoint": "waypoint"}},
        "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }  # fmt: skip
    assert set(opened(behind_a_waypoint("web", other))) == {"8080"}


def test_pods_unlike_the_known_ones_have_the_name_too() -> None:
    rule = {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/cron"]}}], "to": [{"operation": {"ports": ["9090"]}}]}
    spec = {"selector": {"matchLabels": {"tier": "back"}}, "rules": [rule]}
    more = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "tier", "namespace": "shop"},
        "spec": spec,
    }
    assert sorted(opened(behind_a_waypoint("web", more, hangs=False))) == ["9090", "web"]
