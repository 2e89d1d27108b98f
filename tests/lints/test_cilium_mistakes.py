"""Cilium's policies: mistakes that a reviewer would see against what else the bundle has. The checks that no schema makes stand in `test_cilium_rows.py`."""

from __future__ import annotations

import pytest
from lint_helper import Case, judge, none, only

WORLD = """
---
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec: {template: {metadata: {labels: {app: users}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: app, ports: [{containerPort: 3306}]}]}}}
"""


def policy(spec: str, kind: str = "CiliumNetworkPolicy", name: str = "a") -> str:
    home = ", namespace: shop" if kind == "CiliumNetworkPolicy" else ""
    return f"---\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: {name}{home}}}\nspec: {spec}\n"


USERS = "endpointSelector: {matchLabels: {app: users}}"
FROM_WEB = "fromEndpoints: [{matchLabels: {app: web}}]"
DNS = "{toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}], toPorts: [{ports: [{port: '53', protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]}"

HTTP = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]"
CASES = [
    Case("MP074", "warning", "spec.ingress[0].toPorts[0].ports[0].port", policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, toPorts: [{{ports: [{{port: '80', protocol: TCP}}]}}]}}]}}"), "'80'", "'8080'"),
    Case("MP079", "warning", "spec.endpointSelector.matchLabels.app", policy(f"{{endpointSelector: {{matchLabels: {{app: user}}}}, ingress: [{{{FROM_WEB}}}]}}"), "app: user}", "app: users}"),
    Case("MP065", "warning", "spec.endpointSelector.matchLabels.app", policy("{endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}"),
         "{app: web}}]", "{app: web}}, {matchLabels: {app: db}}]"),
    Case("MP067", "warning", "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].value",
         policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, toPorts: [{{ports: [{{port: '8080', protocol: TCP}}], rules: {{http: [{{headerMatches: [{{name: Content-Type, value: application/json}}]}}]}}}}]}}]}}"),
         "name: Content-Type", "name: X-Kind"),
    Case("MP092", "warning", "spec.egress[0].toFQDNs[0].matchName", policy(f"{{{USERS}, egress: [{{toFQDNs: [{{matchName: a.example.com}}]}}]}}"), "a.example.com}]}", "a.example.com}]}, " + DNS),
    Case("MP094", "warning", "spec.ingress[0].toPorts[0].ports[0].port",
         policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, {HTTP}}}]}}") + policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '8080', protocol: TCP}}]}}]}}]}}", name="b"),
         "ingress: [{toPorts", "ingress: [{fromEndpoints: [{matchLabels: {app: ops}}], toPorts"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_is_found_at_its_place_and_gone_once_mended(case: Case) -> None:
    judge(case, "cilium", WORLD)


def test_services_beside_ports_are_taken_from_1_17() -> None:
    text = policy(
        f"{{{USERS}, egress: [{{toServices: [{{k8sService: {{serviceName: users}}}}], toPorts: [{{ports: [{{port: '53'}}]}}]}}]}}"
    )
    assert none("MP098", text, "cilium", "1.17")


def test_an_empty_entry_is_the_own_namespace() -> None:
    assert only("MP093", policy(f"{{{USERS}, ingress: [{{fromEndpoints: [{{}}]}}]}}"), "cilium").severity == "info"


def test_replicas_of_a_deployment_are_no_members_of_one_another() -> None:
    text = policy(f"{{{USERS}, ingress: [{{{FROM_WEB}}}]}}") + WORLD
    assert none("MP065", text, "cilium") and only("MP065", text.replace("kind: Deployment", "kind: StatefulSet"), "cilium")


GATEWAY = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec: {gatewayClassName: CLASS, listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
ROUTE = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: edge, namespace: shop}\nspec: {parentRefs: [PARENT], rules: [{backendRefs: [{name: users, port: 80}]}]}\n"


@pytest.mark.parametrize(
    ("parent", "gateway", "severity"),
    [
        ("{name: edge}", "cilium", "warning"),
        ("{name: edge}", "", "warning"),  # which the bundle does not show
        ("{name: edge}", "nginx", "info"),
        ("{group: '', kind: Service, name: users}", "cilium", "info"),
    ],
)
def test_the_world_comes_by_ciliums_own_gateways_alone(parent: str, gateway: str, severity: str) -> None:
    text = policy(f"{{{USERS}, ingress: [{{fromEntities: [world]}}]}}") + WORLD + ROUTE.replace("PARENT", parent)
    found = only("MP066", text + (GATEWAY.replace("CLASS", gateway) if gateway else ""), "cilium")
    assert (found.severity, "HTTPRoute" in found.message) == (severity, severity == "warning")
