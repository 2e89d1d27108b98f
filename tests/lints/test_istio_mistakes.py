"""Istio: names that are not there, objects that contradict each other, rules and policies that do nothing. Each with its place, and gone once it is mended."""

from __future__ import annotations

import pytest
from lint_helper import Case, judge, lint, none, only

WORLD = """
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: mysql, port: 3306}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec: {template: {metadata: {labels: {app: reviews, version: v1}}, spec: {containers: [{name: app, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: app, ports: [{containerPort: 3306}]}]}}}
"""


def _object(kind: str, spec: str, name: str = "a", namespace: str = "shop") -> str:
    group = {
        "AuthorizationPolicy": "security.istio.io/v1", "PeerAuthentication": "security.istio.io/v1", "EnvoyFilter": "networking.istio.io/v1alpha3",
        "Telemetry": "telemetry.istio.io/v1",
    }.get(kind, "networking.istio.io/v1")  # fmt: skip
    return f"---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"


def route(http: str, more: str = "", name: str = "a") -> str:
    return _object("VirtualService", f"{{hosts: [reviews]{more}, http: {http}}}", name)


TO_REVIEWS = "[{route: [{destination: {host: reviews}}]}]"
RULE = _object("DestinationRule", "{host: reviews, subsets: [{name: v1, labels: {version: v1}}]}")
GATEWAY = _object(
    "Gateway",
    "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}",
    "edge",
)

CASES = [
    Case("MP073", "warning", "spec.http[0].route[0].destination.host", route("[{route: [{destination: {host: reviewz}}]}]"), "reviewz", "reviews"),
    Case("MP073", "warning", "spec.host", _object("DestinationRule", "{host: reviewz}"), "reviewz", "reviews"),
    Case("MP073", "warning", "spec.gateways[0]", GATEWAY + route(TO_REVIEWS, ", gateways: [egde]").replace("[reviews]", "[shop.example.com]"), "egde", "edge"),
    Case("MP074", "error", "spec.http[0].route[0].destination.port.number",
         route("[{route: [{destination: {host: reviews, port: {number: 9080}}}]}]"), "number: 9080", "number: 80"),
    Case("MP074", "warning", "spec.rules[0].to[0].operation.ports[0]",
         _object("AuthorizationPolicy", "{selector: {matchLabels: {app: reviews}}, rules: [{to: [{operation: {ports: ['80']}}]}]}"), "'80'", "'9080'"),
    Case("MP075", "error", "spec.http[0].route[0].destination.subset", RULE + route("[{route: [{destination: {host: reviews, subset: v2}}]}]"), "subset: v2", "subset: v1"),
    Case("MP076", "warning", "spec.hosts[0]", route(TO_REVIEWS) + route(TO_REVIEWS, name="b").replace("[reviews]", "[reviews.shop.svc.cluster.local]"),
         "reviews.shop.svc.cluster.local", "db"),
    Case("MP077", "warning", "metadata.name", _object("Sidecar", "{egress: [{hosts: ['./*']}]}") + _object("Sidecar", "{egress: [{hosts: ['*/*']}]}", "b"),
         "egress: [{hosts: ['*/*']}]", "workloadSelector: {labels: {app: db}}, egress: [{hosts: ['*/*']}]"),
    Case("MP077", "warning", "spec.servers[0].hosts[0]", GATEWAY + GATEWAY.replace("name: edge", "name: other"), "name: other, namespace: shop}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80",
         "name: other, namespace: shop}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 81"),
    Case("MP078", "warning", "spec.http[1].match[0].uri.prefix",
         route("[{route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /a}}], route: [{destination: {host: db}}]}]"),
         "[{route: [{destination: {host: reviews}}]}, ", "[{match: [{uri: {prefix: /ab}}], route: [{destination: {host: reviews}}]}, "),
    Case("MP079", "warning", "spec.selector.matchLabels.app", _object("AuthorizationPolicy", "{selector: {matchLabels: {app: review}}}"), "app: review}", "app: reviews}"),
    Case("MP079", "warning", "spec.subsets[0].labels.version", RULE.replace("version: v1", "version: v3"), "version: v3", "version: v1"),
    Case("MP080", "warning", "spec.targetRefs[0].name", _object("AuthorizationPolicy", "{targetRefs: [{kind: Service, group: '', name: reviews}]}"),
         "targetRefs: [{kind: Service, group: '', name: reviews}]", "selector: {matchLabels: {app: reviews}}"),
    Case("MP082", "warning", "spec.http[0].mirrorPercent", route("[{route: [{destination: {host: reviews}}], mirror: {host: db}, mirrorPercent: 5}]"),
         "mirrorPercent: 5", "mirrorPercentage: {value: 5}"),
    Case("MP084", "warning", "spec.trafficPolicy.tls.insecureSkipVerify",
         _object("DestinationRule", "{host: db.example.com, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}"), "insecureSkipVerify: true", "caCertificates: /etc/ca.pem"),
    Case("MP085", "warning", "spec.trafficPolicy.tls", _object("DestinationRule", "{host: reviews, trafficPolicy: {tls: {}}}"), "tls: {}", "tls: {mode: ISTIO_MUTUAL}"),
    Case("MP085", "warning", "spec.http[0].fault.abort.httpStatus", route("[{fault: {abort: {httpStatus: 503}}, route: [{destination: {host: reviews}}]}]"),
         "httpStatus: 503", "httpStatus: 503, percentage: {value: 1}"),
    Case("MP086", "warning", "spec.trafficPolicy.portLevelSettings[0].port.number",
         _object("DestinationRule", "{host: reviews, trafficPolicy: {outlierDetection: {interval: 5s}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}}"),
         "loadBalancer: {simple: RANDOM}", "outlierDetection: {interval: 5s}"),
    Case("MP087", "warning", "spec.http[0].route[0].destination.host", route("[{route: [{destination: {host: reviews.shop}}]}]"), "host: reviews.shop", "host: reviews"),
    Case("MP088", "warning", "spec.rules[0].to[0].operation.methods[0]",
         _object("AuthorizationPolicy", "{selector: {matchLabels: {app: db}}, rules: [{to: [{operation: {methods: [GET]}}]}]}"), "methods: [GET]", "ports: ['3306']"),
    Case("MP089", "info", "spec.rules[0].from[0].source.notNamespaces[0]", _object("AuthorizationPolicy", "{rules: [{from: [{source: {notNamespaces: [shop]}}]}]}"),
         "notNamespaces: [shop]", "notNamespaces: [shop], principals: ['*']"),
    Case("MP095", "error", "spec.configPatches[0].patch.operation", _object("EnvoyFilter", "{configPatches: [{applyTo: CLUSTER, patch: {operation: REPLACE, value: {name: x}}}]}"),
         "operation: REPLACE", "operation: MERGE"),
    Case("MP096", "warning", "spec.gateways[0]", GATEWAY + route(TO_REVIEWS, ", gateways: [edge]").replace("hosts: [reviews]", "hosts: [other.example.com]"), "other.example.com", "shop.example.com"),
    Case("MP098", "warning", "spec.rules[0].to[0].operation.paths[0]", _object("AuthorizationPolicy", "{rules: [{to: [{operation: {paths: [/a/*/b]}}]}]}"), "/a/*/b", "'/a/{*}/b'"),
    Case("MP099", "warning", 'spec.http[0].match[0].headers["@request.auth.claims.group"].exact',
         GATEWAY + route("[{match: [{headers: {'@request.auth.claims.group': {exact: a}}}], route: [{destination: {host: reviews}}]}]", ", gateways: [edge]"),
         "'@request.auth.claims.group'", "x-group"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_is_found_at_its_place_and_gone_once_mended(case: Case) -> None:
    judge(case, "istio", WORLD)


def test_what_the_bundle_does_not_show_is_not_called_missing() -> None:
    """Without a Service of the namespace, or a workload of it, nobody can say what is not there."""
    text = route("[{route: [{destination: {host: reviewz, port: {number: 1}}}]}]", ", gateways: [edge]") + _object(
        "AuthorizationPolicy", "{selector: {matchLabels: {app: nobody}}, rules: [{from: [{source: {namespaces: [other]}}]}]}"
    )
    assert {item.severity for item in lint(text, "istio")} <= {"info"}


def test_a_subset_without_any_rule_in_sight_is_a_hint() -> None:
    assert only("MP075", route("[{route: [{destination: {host: reviews, subset: v2}}]}]"), "istio").severity == "info"


def test_a_route_for_one_namespace_goes_before_one_for_all() -> None:
    text = route(TO_REVIEWS) + _object(
        "VirtualService", "{hosts: [reviews.shop.svc.cluster.local], exportTo: ['.'], http: " + TO_REVIEWS + "}", "b", "web"
    )
    assert only("MP076", text, "istio").severity == "info"
    assert none("MP076", text + "\n", "linkerd")


def test_a_route_that_stands_there_several_times_is_no_route_beside_itself() -> None:
    """The last one counts, which MP019 says."""
    assert none("MP076", route(TO_REVIEWS) + route(TO_REVIEWS, ", exportTo: ['*']") + WORLD, "istio")
    assert only("MP076", (route(TO_REVIEWS) + route(TO_REVIEWS, ", exportTo: ['*']")) * 2 + route(TO_REVIEWS, name="b") + WORLD, "istio")


def test_a_route_of_the_gateway_api_beside_a_virtual_service() -> None:
    beside = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: reviews, port: 80}], rules: [{backendRefs: [{name: reviews, port: 80}]}]}
"""
    found = only("MP076", route(TO_REVIEWS) + beside + WORLD, "istio")
    assert found.path == "spec.parentRefs[0].name"
    assert "not defined" in found.message


def test_a_gateway_whose_service_sends_elsewhere() -> None:
    pods = """---
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: shop, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 8080, targetPort: 8081}]}
"""
    assert only("MP099", GATEWAY + pods, "istio").path == "spec.servers[0].port.number"
    for number in (8080, 8081):
        assert none("MP099", GATEWAY.replace("number: 80", f"number: {number}") + pods, "istio")


@pytest.mark.parametrize(
    ("ports", "severity"),
    [("{name: web, port: 80}", "info"), ("{name: http-web, port: 80}", ""), ("{name: web, port: 80, appProtocol: http}", "")],
)
def test_names_of_ports_say_protocols(ports: str, severity: str) -> None:
    service = f"{{apiVersion: v1, kind: Service, metadata: {{name: a, namespace: shop}}, spec: {{selector: {{app: a}}, ports: [{ports}]}}}}"
    assert [item.severity for item in lint(service, "istio") if item.code == "MP081"] == ([severity] if severity else [])


def test_annotations_belong_to_the_pod() -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: shop, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "9090"}}
spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a}]}}}
"""
    found = only("MP097", text, "istio")
    assert found.severity == "warning"
    assert "pod template" in found.remedy
    assert none(
        "MP097",
        text.replace(
            '{name: a, namespace: shop, annotations: {traffic.sidecar.istio.io/excludeInboundPorts: "9090"}}', "{name: a, namespace: shop}"
        ),
        "istio",
    )


def test_a_sidecar_in_the_ambient_mesh() -> None:
    text = (
        _object("Sidecar", "{egress: [{hosts: ['./*']}]}")
        + "---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}}"
    )
    assert only("MP080", text, "istio").severity == "warning"
