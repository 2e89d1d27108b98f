"""The checks of Cilium's policies that no schema makes, row by row: each mistake where it stands, and beside it what looks like it and is none."""

from __future__ import annotations

import pytest
from lint_helper import Row, row

CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"


def policy(spec: str, kind: str = "CiliumNetworkPolicy", name: str = "a") -> str:
    home = ", namespace: shop" if kind == "CiliumNetworkPolicy" else ""
    return f"---\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: {name}{home}}}\nspec: {{{spec}}}\n"


def users(spec: str, name: str = "a") -> str:
    return policy(f"endpointSelector: {{matchLabels: {{app: users}}}}, {spec}", name=name)


def ports(numbers: str, rules: str = "", more: str = "") -> str:
    """A toPorts with ports such as `80` or `80 TCP`."""
    listed = ", ".join(
        f"{{port: '{number}'{', protocol: ' + protocol if protocol else ''}}}"
        for number, _, protocol in (item.partition(" ") for item in numbers.split(", "))
    )
    return f"toPorts: [{{ports: [{listed}]{', rules: {' + rules + '}' if rules else ''}{', ' + more if more else ''}}}]"


FROM_WEB = "fromEndpoints: [{matchLabels: {app: web}}]"
DNS = "{toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}], toPorts: [{ports: [{port: '53', protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]}"
TO_DB = "{toEndpoints: [{matchLabels: {app: db}}], toPorts: [{ports: [{port: '3306', protocol: TCP}]}]}"
LISTENER = "listener: {name: l, envoyConfig: {kind: CiliumClusterwideEnvoyConfig, name: e}}"
SPIRE = "---\nauthentication: {enabled: true, mutual: {spire: {enabled: true}}}\n"
SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {name: users, namespace: shop}\nspec: {selector: {app: users}, ports: [{port: 80, targetPort: 8080}]}\n"
INGRESS = (
    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\nspec: {ingressClassName: cilium, rules: "
    "[{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: users, port: {number: 80}}}}]}}]}\n" + SERVICE
)
ALL_OF_SHOP = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: dns, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]}\n"


OF_KUBERNETES = (
    ALL_OF_SHOP[: ALL_OF_SHOP.index("spec:")]
    + "spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]}\n"
)
OFFICE = "---\n{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: office}, spec: {externalCIDRs: [10.0.0.0/8]}}\n"
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: users, namespace: shop, labels: {app: users}}\nspec: {containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}\n"
ROUTE = (
    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\n"
    "spec: {parentRefs: [{group: '', kind: Service, name: users%s}], rules: [{backendRefs: [{name: users, port: 80}]}]}\n"
)


def many(count: int) -> str:
    return ", ".join(str(1000 + number) for number in range(count))


def seven(rules: str, numbers: str = "8080 TCP") -> str:
    return users(f"ingress: [{{{FROM_WEB}, {ports(numbers, rules)}}}]")


def out(rules: str) -> str:
    return users(f"egress: [{DNS}, {rules}]")


ROWS = [
    Row("1 one kind of peer in a rule", "MP020", "spec.ingress[0].fromEndpoints[0].matchLabels.app",
        users(f"ingress: [{{{FROM_WEB}, fromEntities: [host]}}]"), users(f"ingress: [{{{FROM_WEB}}}, {{fromEntities: [host]}}]")),
    Row("1 on the way out", "MP020", "spec.egress[1].toCIDR[0]", out("{toCIDR: [10.0.0.0/8], toEntities: [host]}"), out("{toCIDR: [10.0.0.0/8]}, {toEntities: [host]}")),
    Row("1 in a deny", "MP020", "spec.ingressDeny[0].fromEndpoints[0].matchLabels.app",
        users(f"ingress: [{{fromEntities: [all]}}], ingressDeny: [{{{FROM_WEB}, fromCIDR: [10.0.0.0/8]}}]"), users(f"ingress: [{{fromEntities: [all]}}], ingressDeny: [{{{FROM_WEB}}}]")),
    Row("2 endpoints or nodes", "MP020", "spec.endpointSelector",
        policy("endpointSelector: {}, nodeSelector: {}, ingress: [{fromEntities: [cluster]}]", CLUSTERWIDE), policy("nodeSelector: {}, ingress: [{fromEntities: [cluster]}]", CLUSTERWIDE)),
    Row("2 neither", "MP020", "spec.ingress[0].fromEntities[0]",
        policy("ingress: [{fromEntities: [cluster]}]", CLUSTERWIDE), policy("endpointSelector: {}, ingress: [{fromEntities: [cluster]}]", CLUSTERWIDE)),
    Row("2 nodes in one namespace", "MP015", "spec.nodeSelector.matchLabels.a",
        policy("nodeSelector: {matchLabels: {a: b}}, ingress: [{}]"), policy("nodeSelector: {matchLabels: {a: b}}, ingress: [{}]", CLUSTERWIDE)),
    Row("3 no rule", "MP015", "spec.endpointSelector.matchLabels.app", users("ingress: []"), users("ingress: [{}]")),
    Row("4 ICMP and ports", "MP020", "spec.ingress[0].icmps[0].fields[0].type",
        users(f"ingress: [{{{FROM_WEB}, icmps: [{{fields: [{{type: 8}}]}}], {ports('8080')}}}]"), users(f"ingress: [{{{FROM_WEB}, icmps: [{{fields: [{{type: 8}}]}}]}}]")),
    Row("5 HTTP without TCP", "MP071", "spec.ingress[0].toPorts[0].ports[0].port", seven("http: [{method: GET}]", "8080"), seven("http: [{method: GET}]")),
    Row("5 HTTP on ANY", "MP071", "spec.ingress[0].toPorts[0].ports[0].port", seven("http: [{method: GET}]", "8080 ANY"), seven("http: [{method: GET}]")),
    Row("5 HTTP on every port", "MP071", "spec.ingress[0].toPorts[0].ports[0].port", seven("http: [{method: GET}]", "0 TCP"), users(f"ingress: [{{{FROM_WEB}, {ports('0 TCP')}}}]")),
    Row("5 two protocols", "MP020", "spec.ingress[0].toPorts[0].rules.http[0].method", seven("http: [{method: GET}], l7proto: memcache, l7: [{a: b}]"), seven("http: [{method: GET}]"), "1.17"),
    Row("5 HTTP on a node", "MP015", "spec.ingress[0].toPorts[0].rules.http[0].method",
        policy(f"nodeSelector: {{}}, ingress: [{{fromEntities: [world], {ports('8080 TCP', 'http: [{method: GET}]')}}}]", CLUSTERWIDE),
        policy(f"nodeSelector: {{}}, ingress: [{{fromEntities: [world], {ports('8080 TCP')}}}]", CLUSTERWIDE)),
    Row("5 past it by Kubernetes", "MP094", "spec.ingress[0].toPorts[0].ports[0].port", seven("http: [{method: GET}]") + OF_KUBERNETES, seven("http: [{method: GET}]") + OF_KUBERNETES.replace("app: web", "app: ops")),
    Row("5 past it for all of the cluster", "MP094", "spec.ingress[0].toPorts[0].ports[0].port",
        seven("http: [{method: GET}]") + policy("endpointSelector: {}, ingress: [{fromEntities: [cluster]}]", CLUSTERWIDE, "b"),
        seven("http: [{method: GET}]") + policy("endpointSelector: {}, ingress: [{fromEntities: [host]}]", CLUSTERWIDE, "b")),
    Row("5 past it by a range", "MP094", "spec.ingress[0].toPorts[0].ports[0].port",
        seven("http: [{method: GET}]") + users(f"ingress: [{{{FROM_WEB}, toPorts: [{{ports: [{{port: '8000', endPort: 9000}}]}}]}}]", "b"),
        seven("http: [{method: GET}]") + users(f"ingress: [{{{FROM_WEB}, toPorts: [{{ports: [{{port: '8000', endPort: 9000, protocol: UDP}}]}}]}}]", "b")),
    Row("6 DNS on the way in", "MP015", "spec.ingress[0].toPorts[0].rules.dns[0].matchPattern", seven("dns: [{matchPattern: '*'}]", "53 ANY"), users(f"egress: [{DNS}]")),
    Row("6 DNS without a port", "MP015", "spec.egress[1].toPorts[0].rules.dns[0].matchPattern", out("{toPorts: [{rules: {dns: [{matchPattern: '*'}]}}]}"), users(f"egress: [{DNS}]")),
    Row("6 DNS on a range", "MP015", "spec.egress[1].toPorts[0].ports[0].endPort",
        out("{toPorts: [{ports: [{port: '53', endPort: 60, protocol: UDP}], rules: {dns: [{matchPattern: '*'}]}}]}"),
        out("{toPorts: [{ports: [{port: '5300', endPort: 5360, protocol: UDP}]}]}")),
    Row("7 a listener on the way in", "MP015", "spec.ingress[0].toPorts[0].listener.name",
        users(f"ingress: [{{{FROM_WEB}, {ports('8080 TCP', more=LISTENER)}}}]"), out(f"{{{ports('8080 TCP', more=LISTENER)}}}")),
    Row("7 a listener beside HTTP", "MP015", "spec.egress[1].toPorts[0].listener.name",
        out(f"{{{ports('8080 TCP', 'http: [{method: GET}]', LISTENER)}}}"), out(f"{{{ports('8080 TCP', more=LISTENER)}}}")),
    Row("8 names of servers beside HTTP", "MP015", "spec.egress[1].toPorts[0].serverNames[0]",
        out(f"{{{ports('443 TCP', 'http: [{method: GET}]', 'serverNames: [a.b]')}}}"),
        out(f"{{{ports('443 TCP', 'http: [{method: GET}]', 'serverNames: [a.b], terminatingTLS: {secret: {name: s, namespace: x}}')}}}")),
    Row("9 forty-one ports", "MP015", "spec.ingress[0].toPorts[0].ports[0].port",
        users(f"ingress: [{{{FROM_WEB}, {ports(many(41))}}}]"), users(f"ingress: [{{{FROM_WEB}, {ports(many(40))}}}]")),
    Row("9 forty-one kinds of ICMP", "MP015", "spec.ingress[0].icmps[0].fields[0].type",
        users(f"ingress: [{{{FROM_WEB}, icmps: [{{fields: [{', '.join(f'{{type: {n}}}' for n in range(41))}]}}]}}]"),
        users(f"ingress: [{{{FROM_WEB}, icmps: [{{fields: [{', '.join(f'{{type: {n}}}' for n in range(25))}]}}, {{fields: [{', '.join(f'{{type: {n}}}' for n in range(25, 50))}]}}]}}]")),
    Row("10 an exception outside", "MP015", "spec.ingress[0].fromCIDRSet[0].except[1]",
        users("ingress: [{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}]}]"), users("ingress: [{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}]")),
    Row("11 look-ahead", "MP015", "spec.ingress[0].toPorts[0].rules.http[0].path", seven("http: [{path: '/(?!x).*'}]"), seven("http: [{path: '/(?:x|y).*'}]")),
    Row("11 back-reference", "MP015", "spec.ingress[0].toPorts[0].rules.http[0].method", seven("http: [{method: '(G)ET\\1'}]"), seven("http: [{method: 'GET|POST'}]")),
    Row("12 an entity that is none", "MP013", "spec.ingress[0].fromEntities[0]", users("ingress: [{fromEntities: [internet]}]"), users("ingress: [{fromEntities: [world, ingress]}]")),
    Row("12 an entity that came later", "MP021", "spec.ingress[0].fromEntities[0]", users("ingress: [{fromEntities: [cluster-mesh]}]"), users("ingress: [{fromEntities: [kube-apiserver]}]"), "1.19"),
    Row("13 Kafka after its end", "MP022", "spec.ingress[0].toPorts[0].rules.kafka[0].topic",
        users(f"ingress: [{{fromEntities: [cluster], {ports('9092 TCP', 'kafka: [{topic: a}]')}}}]"), users(f"ingress: [{{fromEntities: [cluster], {ports('9092 TCP')}}}]"), "1.20"),
    Row("13 Kafka before its end", "MP064", "spec.ingress[0].toPorts[0].rules.kafka[0].topic",
        users(f"ingress: [{{fromEntities: [cluster], {ports('9092 TCP', 'kafka: [{topic: a}]')}}}]"), users(f"ingress: [{{fromEntities: [cluster], {ports('9092 TCP')}}}]"), "1.18"),
    Row("13 proxylib after its end", "MP022", "spec.ingress[0].toPorts[0].rules.l7proto", seven("l7proto: memcache, l7: [{a: b}]"), seven("http: [{method: GET}]"), "1.20"),
    Row("13 proxylib before its end", "MP082", "spec.ingress[0].toPorts[0].rules.l7proto", seven("l7proto: memcache, l7: [{a: b}]"), seven("http: [{method: GET}]"), "1.18"),
    Row("13 requirements after their end", "MP022", "spec.ingress[0].fromRequires[0].matchLabels.a", users("ingress: [{fromRequires: [{matchLabels: {a: b}}]}]"), users(f"ingress: [{{{FROM_WEB}}}]"), "1.19"),
    Row("13 requirements before their end", "MP082", "spec.ingress[0].fromRequires[0].matchLabels.a", users("ingress: [{fromRequires: [{matchLabels: {a: b}}]}]"), users(f"ingress: [{{{FROM_WEB}}}]"), "1.18"),
    Row("14 nodes without their labels", "MP099", "spec.ingress[0].fromNodes[0].matchLabels.a",
        users("ingress: [{fromNodes: [{matchLabels: {a: b}}]}]"), users("ingress: [{fromNodes: [{matchLabels: {a: b}}]}]") + "---\nnodeSelectorLabels: true\nkubeProxyReplacement: true\n"),
    Row("15 a star in a name", "MP015", "spec.egress[1].toFQDNs[0].matchName", out("{toFQDNs: [{matchName: '*.example.com'}]}"), out("{toFQDNs: [{matchPattern: '*.example.com'}]}")),
    Row("15 names that nobody looks up", "MP092", "spec.egress[0].toFQDNs[0].matchName",
        users("egress: [{toFQDNs: [{matchName: a.example.com}]}, {toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}], toPorts: [{ports: [{port: '53'}]}]}]"),
        out("{toFQDNs: [{matchName: a.example.com}]}")),
    Row("15 looked up for other pods", "MP092", "spec.egress[0].toFQDNs[0].matchName",
        users("egress: [{toFQDNs: [{matchName: a.example.com}]}]") + policy(f"endpointSelector: {{matchLabels: {{app: web}}}}, egress: [{DNS}]", name="b"),
        users("egress: [{toFQDNs: [{matchName: a.example.com}]}]") + policy(f"endpointSelector: {{}}, egress: [{DNS}]", name="b")),
    Row("16 the way out without DNS", "MP062", "spec.egress[0].toEndpoints[0].matchLabels.app", users(f"egress: [{TO_DB}]"), users(f"egress: [{TO_DB}, {DNS}]")),
    Row("16 DNS by a policy of the namespace", "MP062", "spec.egress[0].toEndpoints[0].matchLabels.app",
        users(f"egress: [{TO_DB}]") + policy(f"endpointSelector: {{matchLabels: {{app: web}}}}, egress: [{DNS}]", name="b"),
        users(f"egress: [{TO_DB}]") + policy(f"endpointSelector: {{}}, egress: [{DNS}]", name="b")),
    Row("16 DNS by a policy of all namespaces", "MP062", "spec.egress[0].toEndpoints[0].matchLabels.app",
        users(f"egress: [{TO_DB}]") + policy(f"endpointSelector: {{matchLabels: {{k8s:io.kubernetes.pod.namespace: pay}}}}, egress: [{DNS}]", CLUSTERWIDE, "b"),
        users(f"egress: [{TO_DB}]") + policy(f"endpointSelector: {{matchExpressions: [{{key: io.kubernetes.pod.namespace, operator: NotIn, values: [kube-system]}}]}}, egress: [{DNS}]", CLUSTERWIDE, "b")),
    Row("16 DNS by Kubernetes", "MP062", "spec.egress[0].toEndpoints[0].matchLabels.app",
        users(f"egress: [{TO_DB}]") + ALL_OF_SHOP.replace("port: 53", "port: 54"), users(f"egress: [{TO_DB}]") + ALL_OF_SHOP),
    Row("16 nothing at all is let out", "MP062", "spec.egress[0].toEndpoints[0].matchLabels.app", users(f"egress: [{TO_DB}]"), users("egress: [{}]")),
    Row("17 a header without a blank", "MP069", "spec.ingress[0].toPorts[0].rules.http[0].headers[0]", seven("http: [{headers: ['X-A:b']}]"), seven("http: [{headers: ['X-A: b', X-C]}]")),
    Row("18 another namespace", "MP093", 'spec.endpointSelector.matchLabels["k8s:io.kubernetes.pod.namespace"]',
        policy(f"endpointSelector: {{matchLabels: {{k8s:io.kubernetes.pod.namespace: pay}}}}, ingress: [{{{FROM_WEB}}}]"),
        policy(f"endpointSelector: {{matchLabels: {{k8s:io.kubernetes.pod.namespace: shop}}}}, ingress: [{{{FROM_WEB}}}]")),
    Row("18 other namespaces", "MP093", "spec.endpointSelector.matchExpressions[0].key",
        policy(f"endpointSelector: {{matchExpressions: [{{key: io.kubernetes.pod.namespace, operator: In, values: [pay, web]}}]}}, ingress: [{{{FROM_WEB}}}]"),
        policy(f"endpointSelector: {{matchExpressions: [{{key: io.kubernetes.pod.namespace, operator: In, values: [pay, shop]}}]}}, ingress: [{{{FROM_WEB}}}]")),
    Row("19 Services beside ports", "MP098", "spec.egress[1].toServices[0].k8sService.serviceName",
        out(f"{{toServices: [{{k8sService: {{serviceName: users}}}}], {ports('80')}}}"), out("{toServices: [{k8sService: {serviceName: users}}]}"), "1.16"),
    Row("19 a Service that is not there", "MP073", "spec.egress[1].toServices[0].k8sService.serviceName",
        out("{toServices: [{k8sService: {serviceName: user, namespace: shop}}]}") + SERVICE, out("{toServices: [{k8sService: {serviceName: users, namespace: shop}}]}") + SERVICE),
    Row("19 networks that are not there", "MP073", "spec.ingress[0].fromCIDRSet[0].cidrGroupRef",
        users("ingress: [{fromCIDRSet: [{cidrGroupRef: offices}]}]") + OFFICE, users("ingress: [{fromCIDRSet: [{cidrGroupRef: office}]}]") + OFFICE),
    Row("19 a port that no container has", "MP074", "spec.ingress[0].toPorts[0].ports[0].port",
        users(f"ingress: [{{{FROM_WEB}, {ports('web TCP')}}}]") + POD, users(f"ingress: [{{{FROM_WEB}, {ports('http TCP')}}}]") + POD),
    Row("a route for the clients of its namespace", "MP080", "spec.parentRefs[0].namespace", ROUTE % ", namespace: pay", ROUTE % ", namespace: shop"),
    Row("a route before its time", "MP080", "spec.parentRefs[0].kind", ROUTE % "", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", "1.15"),
    Row("20 a deny alone", "MP070", "spec.ingressDeny[0].fromEndpoints[0].matchLabels.app",
        users(f"ingressDeny: [{{{FROM_WEB}}}]"), users(f"enableDefaultDeny: {{ingress: false}}, ingressDeny: [{{{FROM_WEB}}}]")),
    Row("20 opened for other pods", "MP070", "spec.ingressDeny[0].fromEndpoints[0].matchLabels.app",
        users(f"ingressDeny: [{{{FROM_WEB}}}]") + policy("endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEntities: [all]}]", name="b"),
        users(f"ingressDeny: [{{{FROM_WEB}}}]") + policy("endpointSelector: {}, ingress: [{fromEntities: [all]}]", CLUSTERWIDE, "b")),
    Row("21 world where an Ingress sends", "MP066", "spec.ingress[0].fromEntities[0]", users("ingress: [{fromEntities: [world]}]") + INGRESS, users("ingress: [{fromEntities: [world, ingress]}]") + INGRESS),
    Row("21 ingress by another policy", "MP066", "spec.ingress[0].fromEntities[0]",
        users("ingress: [{fromEntities: [world]}]") + INGRESS, users("ingress: [{fromEntities: [world]}]") + users("ingress: [{fromEntities: [ingress]}]", "b") + INGRESS),
    Row("21 an Ingress of another controller", "MP066", "spec.ingress[0].fromEntities[0]",
        users("ingress: [{fromEntities: [world]}]") + INGRESS, users("ingress: [{fromEntities: [world]}]") + INGRESS.replace("ingressClassName: cilium", "ingressClassName: nginx")),
    Row("22 authentication without SPIRE", "MP060", "spec.ingress[0].authentication.mode",
        users(f"ingress: [{{{FROM_WEB}, authentication: {{mode: required}}}}]"), users(f"ingress: [{{{FROM_WEB}, authentication: {{mode: disabled}}}}]"), "1.18"),
    Row("22 with the values that install it", "MP060", "spec.ingress[0].authentication.mode",
        users(f"ingress: [{{{FROM_WEB}, authentication: {{mode: required}}}}]"), users(f"ingress: [{{{FROM_WEB}, authentication: {{mode: required}}}}]") + SPIRE, "1.18"),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=[case.title for case in ROWS])
def test_a_row_is_said_where_it_stands_and_nothing_of_what_only_looks_like_it(case: Row) -> None:
    row(case, "cilium")
