"""From a mesh of which some pods are in ambient already: they get waypoints with the others, whose account their policies then see for the caller."""

from __future__ import annotations

from typing import Any

from test_ambient_read import CHARGE, NAMESPACE, ONLY_BY_WAYPOINT, SELECTOR, WAYPOINT, converted, policy, workload
from test_ambient_written import ambient

import meshport

CALLERS = """
apiVersion: v1
kind: Namespace
metadata: {name: front, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: front}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web, ports: [{containerPort: 8080}]}]}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payment, namespace: shop}
spec: {hosts: [payment], http: [{timeout: 2s, route: [{destination: {host: payment}}]}]}
---
"""
SHOP = NAMESPACE + CALLERS + ROUTE + workload("payment", "a: b")
OF_THE_NAMESPACE = "{from: [{source: {namespaces: [shop]}}]}"
OF_WEB = "{from: [{source: {principals: [cluster.local/ns/front/sa/web]}}]}"


def rules(out: dict[tuple[str, str], dict[str, Any]], name: str) -> Any:
    return out["AuthorizationPolicy", name]["spec"]["rules"]


def hung(out: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    return {name: one["spec"] for (kind, name), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" in one["spec"]}


def test_who_the_pods_admit_is_asked_at_the_waypoint_that_routes_put_before_them() -> None:
    out, result = ambient(SHOP + policy("own", OF_THE_NAMESPACE, SELECTOR))
    assert result.verification.verdict == "equivalent"
    assert hung(out)["own"]["targetRefs"] == [{"group": "", "kind": "Service", "name": "payment"}]
    assert rules(out, "own") == [{"from": [{"source": {"namespaces": ["shop"]}}]}]
    assert rules(out, "own-only-by-waypoint")[1:] == rules(out, "own")


def test_whom_the_pods_refuse_the_waypoint_refuses() -> None:
    out, result = ambient(SHOP + policy("no-web", OF_WEB, SELECTOR, "DENY"))
    assert result.verification.verdict == "equivalent" and not result.removals
    (spec,) = hung(out).values()
    assert (spec["action"], spec["rules"]) == ("DENY", [{"from": [{"source": {"principals": ["cluster.local/ns/front/sa/web"]}}]}])


def test_rules_that_ztunnel_does_not_enforce_do_not_begin_to_hold() -> None:
    by_method = OF_WEB[:-1] + ", to: [{operation: {methods: [GET]}}]}"
    out, _ = ambient(SHOP + policy("own", f"{OF_THE_NAMESPACE}, {by_method}", SELECTOR))
    assert rules(out, "own") == [{"from": [{"source": {"namespaces": ["shop"]}}]}]
    out, result = ambient(SHOP + policy("trace", "{to: [{operation: {methods: [TRACE]}}]}", SELECTOR, "DENY"))
    assert not hung(out) and result.verification.verdict == "equivalent"


def test_what_a_deny_of_the_mesh_comes_to_at_ztunnel_goes_on_holding_where_others_get_it_by_method() -> None:
    deny = policy("no-delete", '{to: [{operation: {methods: [DELETE], ports: ["8080"]}}]}', "selector: {}", "DENY")
    out, _ = ambient(SHOP + deny.replace("namespace: shop", "namespace: istio-system"))
    stays = [spec for (kind, _), one in out.items() if kind == "AuthorizationPolicy" and "targetRefs" not in (spec := one["spec"])]
    assert {"to": [{"operation": {"ports": ["8080"]}}]} in [rule for spec in stays for rule in spec["rules"]]
    assert [spec["rules"] for spec in hung(out).values()] == [[{}]]


def test_that_a_deny_refuses_more_at_ztunnel_is_known_beside_pods_with_a_sidecar() -> None:
    deny = policy("no-delete", '{to: [{operation: {methods: [DELETE], ports: ["8080"]}}]}', "selector: {}", "DENY")
    result = meshport.convert(
        meshport.load_text(SHOP + deny.replace("namespace: shop", "namespace: istio-system")), source="istio", target="linkerd"
    )
    routes = [one.object for one in result.manifests if one.object["kind"] == "AuthorizationPolicy"]
    assert {one["metadata"]["namespace"] for one in routes} == {"front"}


def test_a_waypoint_that_admits_more_than_the_pods_is_not_put_before_them() -> None:
    everybody = policy("gate", OF_WEB, "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]")
    out, _ = ambient(SHOP + WAYPOINT + everybody + policy("own", OF_THE_NAMESPACE, SELECTOR))
    assert out["Service", "payment"]["metadata"]["labels"]["istio.io/use-waypoint"] == "waypoint-2"


def test_pods_that_admit_nobody_through_a_waypoint_do_not_let_it_in() -> None:
    """Whom the pods refused by Service shop/old, whose waypoint they did not know, they refuse by it on, and by payment: what they admit is at their address."""
    other = workload("payment").split("---")[0].replace("name: payment,", "name: old,") + "---"
    only = OF_WEB.replace("front/sa/web", "shop/sa/checkout")
    out, result = ambient(SHOP + WAYPOINT + other + policy("own", only, SELECTOR))
    assert out["Service", "payment"]["metadata"]["labels"]["istio.io/use-waypoint"] == "waypoint"
    (direct,) = rules(out, "own")
    assert not hung(out) and direct["from"] == [{"source": {"principals": ["cluster.local/ns/shop/sa/checkout"]}}]
    assert direct["to"] == [{"operation": {"notPorts": ["8080"]}}] and result.verification.differences == []
    assert "MP170" in {finding.code for finding in result.findings}


def test_a_policy_of_the_mesh_goes_on_admitting_at_pods_with_a_sidecar_whom_a_waypoint_of_others_sees() -> None:
    """One policy for both: what it opens past the waypoint of shop/payment is no way of its own elsewhere, and the only way to front/web."""
    root = policy("own", OF_THE_NAMESPACE, "selector: {}").replace("namespace: shop", "namespace: istio-system")
    text = NAMESPACE + CALLERS + workload("payment") + WAYPOINT + ONLY_BY_WAYPOINT + policy("charge", CHARGE) + root
    result = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    (spec,) = [one.object["spec"] for one in result.manifests if one.object["metadata"].get("namespace") == "front"]
    assert [sorted(rule) for rule in spec["ingress"]] == [["fromEndpoints"]]  # on every port


def test_a_deny_of_the_mesh_that_never_fires_at_ztunnel_refuses_at_sidecars_alone() -> None:
    root = policy("trace", "{to: [{operation: {methods: [TRACE]}}]}", "selector: {}", "DENY").replace(
        "namespace: shop", "namespace: istio-system"
    )
    result = meshport.convert(
        meshport.load_text(NAMESPACE + CALLERS + workload("payment", "a: b") + root), source="istio", target="linkerd"
    )
    assert {one.object["metadata"]["namespace"] for one in result.manifests if one.object["kind"] == "Server"} == {"front"}


def test_pods_with_a_sidecar_that_refuses_a_waypoint_are_not_open_past_it() -> None:
    """Their Service has a waypoint; what hangs there opened the ports beside it, although the sidecar lets the waypoint in on none."""
    gate = WAYPOINT.replace("namespace: shop", "namespace: front")
    service = """apiVersion: v1
kind: Service
metadata: {name: web, namespace: front, labels: {istio.io/use-waypoint: waypoint}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
    admits = policy("charge", CHARGE.replace("name: payment", "name: web")).replace("namespace: shop", "namespace: front")
    admits = admits.replace("name: payment", "name: web")
    closed = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nobody, namespace: front}\nspec: {}\n---\n"
    text = NAMESPACE + CALLERS + service + workload("payment", "a: b") + gate + admits + closed
    assert "name: web}" in admits
    result = meshport.convert(meshport.load_text(text), source="istio", target="cilium")
    found = [one.object["spec"] for one in result.manifests if one.object["metadata"].get("namespace") == "front"]
    assert found and all(spec["ingress"] == [{}] for spec in found if spec.get("endpointSelector") is not None)
    assert "MP243" in {finding.code for finding in result.findings}


def test_a_deny_that_nothing_enforces_is_told_where_the_namespace_injects_sidecars_into_other_pods() -> None:
    """ztunnel cannot see the method: all of the policy is named, for no pod with a sidecar has it either."""
    both = NAMESPACE.replace("ambient}", "ambient, istio-injection: enabled}")
    deny = policy("no-delete", "{to: [{operation: {methods: [DELETE]}}]}", SELECTOR, "DENY")
    text = both + workload("payment", "a: b", pod=', sidecar.istio.io/inject: "false"') + deny
    for target in ("linkerd", "cilium"):
        _, result = converted(text, target=target)
        assert "MP242" in {finding.code for finding in result.findings}


def test_pods_in_ambient_beside_those_of_a_deny_by_method_stay_open() -> None:
    """The way past the new waypoint is closed for the others alone: these have none, and ztunnel takes nothing of the rule."""
    sidecar = ', sidecar.istio.io/inject: "true"'
    deny = policy("no-trace", "{to: [{operation: {methods: [TRACE]}}]}", "selector: {}", "DENY")
    out, result = ambient(NAMESPACE + CALLERS + workload("payment", "a: b", pod=sidecar) + workload("orders", "a: b") + deny)
    assert rules(out, "no-trace-orders") == [{}]
    assert not {"MP900", "MP904"} & {finding.code for finding in result.findings}
    assert not [
        place for finding in result.findings for place in finding.affects if place.workload == "orders" and finding.effect != "none"
    ]
