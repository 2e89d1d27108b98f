"""Cilium's policies: the checks that no schema makes, where each of them is made, and mistakes that a reviewer would see."""

from __future__ import annotations

import pytest
from lint_helper import Case, judge, lint, none, only

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
"""


def policy(spec: str, kind: str = "CiliumNetworkPolicy", name: str = "a") -> str:
    home = ", namespace: shop" if kind == "CiliumNetworkPolicy" else ""
    return f"---\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: {name}{home}}}\nspec: {spec}\n"


USERS = "endpointSelector: {matchLabels: {app: users}}"
FROM_WEB = "fromEndpoints: [{matchLabels: {app: web}}]"
DNS = "{toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}], toPorts: [{ports: [{port: '53', protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]}"

MANY = ", ".join(f"{{port: '{number}'}}" for number in range(1000, 1041))

TWENTY_TWO = [
    ("one kind of peer in a rule", "MP020", policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, fromEntities: [world]}}]}}"), None),
    ("one selector, of endpoints or of nodes", "MP020", policy(f"{{{USERS}, nodeSelector: {{}}, ingress: [{{}}]}}", "CiliumClusterwideNetworkPolicy"), None),
    ("a selector of nodes is for clusterwide policies", "MP015", policy("{nodeSelector: {}, ingress: [{}]}"), None),
    ("some rule is there", "MP015", policy(f"{{{USERS}, ingress: []}}"), None),
    ("ICMP types and ports exclude each other", "MP020", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80'}}]}}], icmps: [{{fields: [{{type: 8}}]}}]}}]}}"), None),
    ("rules of HTTP want TCP", "MP015", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80'}}], rules: {{http: [{{}}]}}}}]}}]}}"), None),
    ("one protocol of rules on a port", "MP020", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {{http: [{{}}], kafka: [{{}}]}}}}]}}]}}"), "1.18"),
    ("DNS rules are for the way out", "MP015", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '53', protocol: UDP}}], rules: {{dns: [{{matchName: a.b}}]}}}}]}}]}}"), None),
    ("a listener is for the way out", "MP015", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], listener: {{name: x, envoyConfig: {{name: proxy}}}}}}]}}]}}"), None),
    ("names of servers beside HTTP want TLS to end", "MP015", policy(f"{{{USERS}, egress: [{{toPorts: [{{ports: [{{port: '443', protocol: TCP}}], serverNames: [a.b], rules: {{http: [{{}}]}}}}]}}, {DNS}]}}"), None),
    ("forty ports at most", "MP015", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{MANY}]}}]}}]}}"), None),
    ("an exception lies in its range", "MP015", policy(f"{{{USERS}, ingress: [{{fromCIDRSet: [{{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}}]}}"), None),
    ("a path is a regular expression of RE2", "MP015", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {{http: [{{path: '(?=a)'}}]}}}}]}}]}}"), None),
    ("an entity that is none", "MP013", policy(f"{{{USERS}, ingress: [{{fromEntities: [internet]}}]}}"), None),
    ("an entity that came later", "MP021", policy(f"{{{USERS}, ingress: [{{fromEntities: [cluster-mesh]}}]}}"), "1.19"),
    ("Kafka by release", "MP022", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '9092', protocol: TCP}}], rules: {{kafka: [{{topic: a}}]}}}}]}}]}}"), "1.20"),
    ("requirements by release", "MP082", policy(f"{{{USERS}, ingress: [{{fromRequires: [{{matchLabels: {{a: b}}}}]}}]}}"), "1.17"),
    ("nodes as peers want a setting", "MP099", policy(f"{{{USERS}, ingress: [{{fromNodes: [{{matchLabels: {{a: b}}}}]}}]}}"), None),
    ("names want a DNS rule", "MP092", policy(f"{{{USERS}, egress: [{{toFQDNs: [{{matchName: a.example.com}}]}}]}}"), None),
    ("the way out wants DNS", "MP062", policy(f"{{{USERS}, egress: [{{toCIDR: [10.0.0.0/8]}}]}}"), None),
    ("shapes of headers", "MP069", policy(f"{{{USERS}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {{http: [{{headers: ['X-A:b']}}]}}}}]}}]}}"), None),
    ("a namespace in the selector", "MP093", policy(f"{{endpointSelector: {{matchLabels: {{k8s:io.kubernetes.pod.namespace: pay}}}}, ingress: [{{{FROM_WEB}}}]}}"), None),
    ("Services beside ports before 1.17", "MP098", policy(f"{{{USERS}, egress: [{{toServices: [{{k8sService: {{serviceName: users}}}}], toPorts: [{{ports: [{{port: '53'}}]}}]}}]}}"), "1.16"),
    ("a deny alone refuses everything", "MP070", policy(f"{{{USERS}, ingressDeny: [{{{FROM_WEB}}}]}}"), None),
    ("world where ingress is meant", "MP066", policy(f"{{{USERS}, ingress: [{{fromEntities: [world]}}]}}"), None),
    ("authentication without SPIRE", "MP060", policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, authentication: {{mode: required}}}}]}}"), None),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "version"), [case[1:] for case in TWENTY_TWO], ids=[case[0] for case in TWENTY_TWO])
def test_what_no_schema_checks(code: str, text: str, version: str | None) -> None:
    found = [item for item in lint(text, "cilium", version) if item.code == code]
    assert len(found) == 1
    assert found[0].line > 0 and found[0].remedy


HTTP = "toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]"
CASES = [
    Case("MP074", "warning", "spec.ingress[0].toPorts[0].ports[0].port", policy(f"{{{USERS}, ingress: [{{{FROM_WEB}, toPorts: [{{ports: [{{port: '80', protocol: TCP}}]}}]}}]}}"), "'80'", "'8080'"),
    Case("MP079", "warning", "spec.endpointSelector.matchLabels.app", policy(f"{{endpointSelector: {{matchLabels: {{app: user}}}}, ingress: [{{{FROM_WEB}}}]}}"), "app: user}", "app: users}"),
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
