"""What nobody follows in ambient: with sidecars it would act, and a waypoint that comes for something else would follow it. It goes, or it is said."""

from __future__ import annotations

from typing import Any

import pytest
from test_ambient_read import NAMESPACE, codes, workload

import meshport

SHOP = NAMESPACE + workload("web", "a: b")
SIDECARS = SHOP.replace("istio.io/dataplane-mode: ambient", "istio-injection: enabled")
OPERATOR = """---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec: {meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
"""
RULE = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 7}}
    outlierDetection: {consecutive5xxErrors: 3}
    loadBalancer: {localityLbSetting: {enabled: true, failover: [{from: eu, to: us}]}}
"""
SIDECAR = """---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: %s}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
EDGE = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.example.com, web.shop.svc.cluster.local]
  gateways: [mesh, edge]
  http: [{timeout: 3s, route: [{destination: {host: web}}]}]
"""


def convert(text: str, plane: str) -> Any:
    result = meshport.convert(meshport.load_text(text), source="istio", target="istio", data_plane=plane)
    assert codes(result) & {"MP900", "MP901", "MP902", "MP904"} == set()
    assert [change for change in result.diff if not change.findings] == []
    return result


def test_settings_of_a_service_that_sidecars_go_by_are_named() -> None:
    result = convert(SHOP + RULE, "sidecar")
    (said,) = [item for item in result.findings if item.code == "MP738"]
    assert (
        said.message
        == "DestinationRule shop/web did nothing in ambient and takes effect now: sidecars go by its settings of Service shop/web"
    )
    assert "MP738" not in codes(convert(SIDECARS + RULE, "sidecar"))


@pytest.mark.parametrize("refusing", [SIDECAR % "shop", SIDECAR % "istio-system", OPERATOR])
def test_what_may_not_leave_sidecars_leaves_ztunnel(refusing: str) -> None:
    result = convert(SHOP + refusing, "sidecar")
    assert {change.subject for change in result.diff} == {"egress of shop/web"} and "MP738" in codes(result)
    (said,) = [item for item in convert(SIDECARS + refusing, "ambient").findings if item.code == "MP760"]
    assert (said.severity, said.effect) == ("error", "widens")
    for target in ("linkerd", "cilium"):
        there = meshport.convert(meshport.load_text(SHOP + refusing), source="istio", target=target)
        assert {item.object["kind"] for item in there.manifests} & {"EgressNetwork", "CiliumNetworkPolicy"} == set()
        assert codes(there) & {"MP724", "MP900"} == set()


def test_a_namespace_with_a_sidecar_counts_as_held_back() -> None:
    other = workload("cart", "a: b", pod=', sidecar.istio.io/inject: "true"')
    mixed = meshport.load_text(SHOP + "---" + other + SIDECAR.removeprefix("---\n") % "shop")
    for target in ("linkerd", "cilium"):
        result = meshport.convert(mixed, source="istio", target=target)
        assert {item.object["kind"] for item in result.manifests} & {"EgressNetwork", "CiliumNetworkPolicy"}
        assert codes(result) & {"MP900", "MP904"} == set()


def test_rules_for_gateways_go_on_without_the_mesh() -> None:
    """The gateway followed them all along, and clients in the mesh did not."""
    result = convert(SHOP + EDGE, "sidecar")
    (found,) = [item.object for item in result.manifests if item.object["kind"] == "VirtualService"]
    assert found["spec"]["gateways"] == ["edge"]
    assert "MP379" in codes(result)
    assert not [change for change in result.diff if change.subject.startswith("routes of Service")]


def test_settings_that_hold_at_gateways_alone_bring_no_waypoint() -> None:
    result = convert(SHOP + EDGE + RULE, "ambient")
    assert not [
        item for item in result.manifests if item.object["kind"] == "Gateway" and "waypoint" in item.object["spec"]["gatewayClassName"]
    ]


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_routes_of_the_clients_namespace_that_no_waypoint_reads_are_named(kind: str) -> None:
    route = f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: web, namespace: ops}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, namespace: shop, port: 80}}]
  rules: [{{backendRefs: [{{name: web, namespace: shop, port: 80}}], filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: a, value: b}}]}}}}]}}]
"""
    ops = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ops, labels: {istio-injection: enabled}}\n"
    result = convert(SIDECARS + ops + route, "ambient")
    assert [item.message for item in result.findings if item.code == "MP731"] == [
        f"{kind} ops/web stands in another namespace than shop/web, whose waypoint does not read it"
    ]


def test_a_split_of_connections_stays_whichever_way_its_service_is_written() -> None:
    split = """---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80, weight: 9}, {name: web-2, port: 80, weight: 1}]}]
"""
    result = meshport.convert(meshport.load_text(SIDECARS + split), source="istio", target="linkerd")
    assert "TCPRoute" not in {item["kind"] for item in result.removals}
    assert codes(result) & {"MP900", "MP904"} == set()


OUTSIDE = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: shop, labels: {%s}}
spec: {hosts: [api.partner.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: partner, namespace: shop}
spec:
  hosts: [api.partner.example]
  http:
  - {match: [{uri: {prefix: /admin}}], directResponse: {status: 403}}
  - {timeout: 3s, route: [{destination: {host: api.partner.example}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: partner, namespace: shop}
spec: {host: api.partner.example, trafficPolicy: {tls: {mode: SIMPLE}, outlierDetection: {consecutive5xxErrors: 3}}}
"""
WAYPOINT = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: out, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""


def test_what_is_for_a_host_outside_acts_at_the_waypoint_of_its_entry_or_not_at_all() -> None:
    """Sidecars, and Linkerd, would follow the rule that refuses paths; nothing was said."""
    result = convert(SHOP + OUTSIDE % "", "sidecar")
    assert {"MP379", "MP738"} <= codes(result)
    assert ("VirtualService", "partner") in {(one["kind"], one["name"]) for one in result.removals}
    there = meshport.convert(meshport.load_text(SHOP + OUTSIDE % ""), source="istio", target="linkerd")
    assert "MP379" in codes(there) and "/admin" not in str([item.object for item in there.manifests])
    behind = OUTSIDE % "istio.io/use-waypoint: out" + WAYPOINT
    assert not {"MP379", "MP738"} & codes(convert(SHOP + behind, "sidecar"))
    there = meshport.convert(meshport.load_text(SHOP + behind), source="istio", target="linkerd")
    assert "/admin" in str([item.object for item in there.manifests])


def test_what_is_for_a_host_outside_ends_with_the_sidecars_where_its_entry_has_no_waypoint() -> None:
    said = [item for item in convert(SIDECARS + OUTSIDE % "", "ambient").findings if item.code == "MP112"]
    assert {(item.message.split(" has ")[0], item.severity) for item in said} == {
        ("VirtualService shop/partner", "error"),
        ("DestinationRule shop/partner", "error"),  # its TLS ends
    }
    assert "MP112" not in codes(convert(SIDECARS + OUTSIDE % "istio.io/use-waypoint: out" + WAYPOINT, "ambient"))


def test_routes_of_linkerd_for_a_host_outside_are_followed_by_nobody_in_ambient() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: {name: all, namespace: shop}
spec: {trafficPolicy: Allow}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: partner, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 80}]
  hostnames: [api.partner.example]
  rules: [{timeouts: {request: 3s}, backendRefs: [{group: policy.linkerd.io, kind: EgressNetwork, name: all}]}]
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio", data_plane="ambient")
    assert "MP112" in codes(result) and "MP903" not in codes(result)
    assert [change for change in result.diff if not change.findings] == []
