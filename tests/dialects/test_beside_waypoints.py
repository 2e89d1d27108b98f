"""Network policies that know callers and pods by their labels, where a waypoint comes to stand between them: requests go to the waypoint's pods and on from
there, both on port 15008."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from tests.decisions.decision_helper import convert, namespace, network_policy, policy, said, service, shop, workload

READS = policy(
    "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET]}}]}]}"
)
BY_PORT = policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")


def network(spec: str, name: str = "net") -> str:
    return f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"


FROM_WEB = network("podSelector: {matchLabels: {app: users}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]")
GATE = "{podSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: waypoint}}}"
TO_GATE = network("podSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: waypoint}}, ingress: [{}], egress: [{}]", "gate")
CLOSED = network("podSelector: {}, policyTypes: [Ingress]", "closed")
OUT = network("podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: users}}}]}, {ports: [{port: 53}]}]", "out")  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (FROM_WEB, "NetworkPolicy shop/net"),  # the waypoint does not reach the pods
        (FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]"), None),
        (network("podSelector: {}, ingress: [{from: [{podSelector: {}}]}]"), None),  # pods of the own namespace, the waypoint's among them
        (CLOSED + FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]"), "NetworkPolicy shop/closed"),  # nobody reaches the waypoint
        (CLOSED + FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]") + TO_GATE, None),
        (CLOSED, None),  # nobody came to the pods before
        (OUT, "NetworkPolicy shop/out"),  # the caller does not reach the waypoint
        (OUT.replace("{app: users}}}]", "{app: users}}}, " + GATE + "]"), None),
        (network("podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: ops}}}]}]"), None),  # of other pods
    ],
)  # fmt: skip
def test_whoever_is_refused_on_the_way_through_a_waypoint_is_named(beside: str, named: str | None) -> None:
    found = said(convert(shop("istio") + workload("web") + READS + beside, "istio", "istio", data_plane="ambient"), "MP190")
    assert [(item.severity, item.effect, item.message.partition(":")[0]) for item in found] == (
        [("error", "narrows", named)] if named else []
    )
    assert all("shop/users" in item.message and "gateway-name: waypoint" in item.remedy for item in found)


@pytest.mark.parametrize(
    "more",
    [BY_PORT, READS],
    ids=["no waypoint is needed", "sidecars"],
)
def test_without_a_waypoint_nothing_is_said(more: str) -> None:
    options: dict[str, Any] = {"data_plane": "ambient"} if more is BY_PORT else {}
    assert not said(convert(shop("istio") + workload("web") + more + FROM_WEB, "istio", "istio", **options), "MP190")


@pytest.mark.parametrize(("keep", "count"), [(True, 1), (False, 0)])
def test_policies_of_cilium_that_are_kept_are_such(keep: bool, count: int) -> None:
    rule = (
        "{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]}"
    )
    text = shop("plain") + workload("web") + network_policy(f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{rule}]}}")
    result = convert(text, "cilium", "istio", data_plane="ambient", keep_network_policy=keep)
    assert len(said(result, "MP190")) == count
    assert result.verification is not None and (result.verification.verdict != "equivalent" or not count)


BEHIND = (
    shop("istio").replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient").replace("metadata: {name: users, namespace: shop, annotations: {}}", "metadata: {name: users, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}")
    + workload("web")
    + "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}\n"
    "spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
)  # fmt: skip
FROM_GATE = network(f"podSelector: {{matchLabels: {{app: users}}}}, ingress: [{{from: [{GATE}], ports: [{{port: 15008}}]}}]")
ALL_OUT = network(
    "podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]"
)


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (FROM_GATE, True),
        (FROM_GATE.replace(f"[{GATE}]", f"[{GATE}, {{podSelector: {{matchLabels: {{app: web}}}}}}]"), False),
        (OUT.replace("{app: users}", "{gateway.networking.k8s.io/gateway-name: waypoint}"), True),  # the caller does not reach the pods
        (ALL_OUT, False),
        (CLOSED, False),  # nobody came by the waypoint either
    ],
)
@pytest.mark.parametrize("target", ["linkerd", "cilium", "istio", "gateway-api"])
def test_whoever_came_by_a_waypoint_alone_is_named_where_it_leaves(target: str, beside: str, named: bool) -> None:
    options: dict[str, Any] = {"data_plane": "sidecar"} if target == "istio" else {}
    found = said(convert(BEHIND + beside, "istio", target, **options), "MP191")
    assert [(item.severity, item.effect) for item in found] == ([("error", "narrows")] if named and target != "gateway-api" else [])


@pytest.mark.parametrize(
    ("old", "new"), [("waypoint-for: service", "waypoint-for: workload"), ("use-waypoint: waypoint", "use-waypoint: none")]
)
def test_a_service_that_no_waypoint_stood_before_loses_nobody(old: str, new: str) -> None:
    assert old in BEHIND and not said(convert(BEHIND.replace(old, new) + FROM_GATE, "istio", "linkerd"), "MP191")


@pytest.mark.parametrize("more", ["", ", istio.io/use-waypoint-namespace: edge"])
def test_a_namespace_puts_its_services_behind_a_waypoint_too(more: str) -> None:
    text = BEHIND.replace(", labels: {istio.io/use-waypoint: waypoint}", "").replace(
        "dataplane-mode: ambient", f"dataplane-mode: ambient, istio.io/use-waypoint: waypoint{more}"
    )
    text = text.replace("{name: waypoint, namespace: shop,", "{name: waypoint, namespace: edge,") if more else text
    gate = "{namespaceSelector: {}, " + GATE[1:]
    (found,) = said(convert(text + FROM_GATE.replace(GATE, gate), "istio", "linkerd"), "MP191")
    assert ("edge/waypoint" if more else "shop/waypoint") in found.message


def test_a_service_that_is_behind_its_waypoint_already_is_no_news() -> None:
    assert not said(convert(BEHIND + READS + FROM_WEB, "istio", "istio", data_plane="ambient"), "MP190")


EDGE = namespace("edge") + """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: edge}
spec:
  template:
    metadata: {labels: {istio: public}, annotations: {inject.istio.io/templates: gateway}}
    spec: {serviceAccountName: public, containers: [{name: istio-proxy, image: auto, ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec: {selector: {istio: public}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec: {hosts: [a.example.com], gateways: [edge/public], http: [{route: [{destination: {host: users.shop.svc.cluster.local}}]}]}
"""  # fmt: skip
MADE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: shop}
spec: {parentRefs: [{name: public}], hostnames: [a.example.com], rules: [{backendRefs: [{name: users, port: 80}]}]}
"""
PODS_OF_EDGE = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: edge}}, podSelector: {matchLabels: {istio: public}}}"
FROM_EDGE = network(f"podSelector: {{matchLabels: {{app: users}}}}, ingress: [{{from: [{PODS_OF_EDGE}]}}]")


@pytest.mark.parametrize(
    ("entry", "beside", "target", "named"),
    [
        (EDGE, FROM_EDGE, "cilium", True),
        (EDGE, FROM_EDGE, "nginx", True),
        (EDGE, FROM_EDGE, "linkerd", False),  # the gateway is not carried over at all, which is said
        (EDGE, FROM_EDGE, "istio", False),
        (EDGE, FROM_EDGE.replace(", podSelector: {matchLabels: {istio: public}}", ""), "nginx", False),  # whatever stands there
        (EDGE, FROM_EDGE.replace(", podSelector: {matchLabels: {istio: public}}", ""), "cilium", True),  # which stands in no namespace
        (EDGE, network("podSelector: {matchLabels: {app: users}}, ingress: [{ports: [{port: 8080}]}]"), "cilium", False),
        (EDGE, FROM_WEB, "cilium", False),  # the gateway did not come through either
        (EDGE, FROM_EDGE.replace("{app: users}", "{app: other}"), "cilium", False),
        (EDGE.replace("gateways: [edge/public]", "gateways: [mesh]"), FROM_EDGE, "cilium", False),  # nothing is sent there
        (MADE, network("podSelector: {}, ingress: [{from: [{podSelector: {}}]}]"), "cilium", True),
        (MADE, network("podSelector: {}, ingress: [{from: [{podSelector: {}}]}]"), "nginx", False),
    ],
)  # fmt: skip
def test_policies_that_know_the_old_gateway_are_named(entry: str, beside: str, target: str, named: bool) -> None:
    options: dict[str, Any] = {"gateway_class": "nginx"} if target == "nginx" else {}
    result = convert(shop("istio") + workload("web") + entry + beside, "istio", "linkerd" if target == "nginx" else target, **options)
    assert [(item.severity, item.effect) for item in said(result, "MP194")] == ([("error", "narrows")] if named else [])


def test_a_policy_of_cilium_that_lets_its_ingress_in_is_ready() -> None:
    rules = "{fromEndpoints: [{matchLabels: {istio: public, k8s:io.kubernetes.pod.namespace: edge}}]}"
    for more, count in (("", 1), (", {fromEntities: [ingress]}", 0)):
        both = network_policy(f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{rules}{more}]}}")
        assert len(said(convert(shop("istio") + EDGE + both, "istio", "cilium"), "MP194")) == count


@pytest.mark.parametrize("metadata", ["", "metadata: {name: gate, namespace: shop, labels: [a]}\n"])
@pytest.mark.parametrize("target", ["cilium", "linkerd", "istio"])
def test_a_gateway_that_no_cluster_takes_is_a_finding(metadata: str, target: str) -> None:
    gate = f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n{metadata}spec: {{gatewayClassName: istio-waypoint, listeners: []}}\n"
    result = meshport.convert(meshport.load_text(namespace() + service("web") + workload("web") + gate), source="istio", target=target)
    assert [finding for finding in result.findings if finding.document == 3 and finding.severity == "error"]


def test_a_service_with_labels_of_another_shape_is_a_finding() -> None:
    text = namespace(mesh="gateway-api") + service("web").replace("annotations: {}", "labels: [a]") + workload("web")
    route = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: shop}\nspec: {parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n"
    assert meshport.convert(meshport.load_text(text + route), source="gateway-api", target="istio", data_plane="ambient").findings
