"""Values that no field of theirs takes: one line that says so, no end of the run, and nothing in the answer that comes of them."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: i, ports: [{containerPort: 8080}]}]}
---
"""


def converted(text: str, source: str, target: str) -> Any:
    return meshport.convert(meshport.load_text(WORLD + text), source=source, target=target)


def said(result: Any, code: str) -> list[str]:
    return [finding.message for finding in result.findings if finding.code == code]


def cilium_policy(spec: str) -> str:
    return f"{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: p, namespace: shop}}, spec: {spec}}}"


WRONG = [
    "{endpointSelector: {matchLabels: {app: cart}}, ingress: [{toPorts: 1.5}]}",
    "{endpointSelector: {matchLabels: {app: cart}}, ingress: [{toPorts: [[null]]}]}",
    "{endpointSelector: {matchLabels: x}, ingress: [{}]}",
    "{endpointSelector: {matchLabels: {app: cart}}, ingress: [{fromEndpoints: [{matchLabels: true}]}]}",
    "{endpointSelector: {matchLabels: {app: cart}}, ingress: [{fromCIDRSet: [-1]}]}",
    "{endpointSelector: {matchLabels: {app: cart}}, enableDefaultDeny: true, egress: [{}]}",
    "{endpointSelector: {matchLabels: {app: cart}}, egress: [{toPorts: [{ports: [{port: '80'}], rules: {dns: 5}}]}]}",
]


@pytest.mark.parametrize("spec", WRONG)
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_policy_of_cilium_with_a_wrong_type_is_one_line_and_no_end(spec: str, target: str) -> None:
    """It ended the run where the answer is weighed against the network policies beside it."""
    result = converted(cilium_policy(spec), "cilium", target)
    assert len(said(result, "MP013")) == 1
    assert not said(result, "MP900")
    assert not [item for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]


@pytest.mark.parametrize("spec", WRONG[:-1])
def test_the_same_beside_another_mesh_is_said_too(spec: str) -> None:
    routes = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: shop}, spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}], timeout: 5s}]}}\n---\n"
    result = converted(routes + cilium_policy(spec), "istio", "cilium")
    assert [text for code in ("MP013", "MP015") for text in said(result, code)]


@pytest.mark.parametrize("ports", ["[{}]", "[{ports: []}]"])
def test_a_kept_rule_whose_entry_of_ports_lists_none_is_not_widened_to_all_ports(ports: str) -> None:
    spec = f"{{endpointSelector: {{matchLabels: {{app: cart}}}}, ingress: [{{authentication: {{mode: required}}, toPorts: {ports}}}]}}"
    for target in ("istio", "linkerd"):
        for item in converted(cilium_policy(spec), "cilium", target).manifests:
            if item.object["kind"] == "CiliumNetworkPolicy":
                assert "TCP" not in str(item.object["spec"])


@pytest.mark.parametrize(
    "field",
    ["retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: ''}", "routes: [{name: r, condition: {pathRegex: /}, timeout: 1 week}]"],
)
def test_a_profile_with_a_time_that_go_does_not_read_is_refused(field: str) -> None:
    text = f"{{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {{name: cart.shop.svc.cluster.local, namespace: shop}}, spec: {{{field}}}}}"
    for target in ("istio", "cilium"):
        assert len(said(converted(text, "linkerd", target), "MP072")) == 1


def test_a_name_of_a_gateway_port_that_is_a_mapping_is_one_line() -> None:
    text = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g, namespace: shop}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: {a: 1}, protocol: HTTP}, hosts: ['*']}]}}"
    assert len(said(converted(text, "istio", "gateway-api"), "MP013")) == 1


def istio(kind: str, spec: str) -> str:
    return f"{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: v, namespace: shop}}, spec: {spec}}}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (istio("VirtualService", "{hosts: ['x y', cart], http: [{route: [{destination: {host: cart}}]}]}"), "spec.hosts[0]: 'x y' is no host name"),
        (istio("ServiceEntry", "{hosts: ['☃'], ports: [{number: 443, name: tls, protocol: TLS}]}"), "spec.hosts[0]: '☃' is no host name"),
        (istio("ServiceEntry", "{hosts: ['a.*.com'], ports: [{number: 443, name: tls, protocol: TLS}]}"), "spec.hosts[0]: 'a.*.com' is no host name"),
        (
            istio("VirtualService", "{hosts: [cart], http: [{route: [{destination: {host: cart}}], retries: {attempts: -1}}]}"),
            "spec.http[0].retries.attempts: attempts cannot be negative",
        ),
        (istio("DestinationRule", "{host: cart, subsets: [{name: '', labels: {v: a}}]}"), "spec.subsets[0].name: '' is no name of a subset"),
        (
            istio("VirtualService", "{hosts: [], tcp: [{route: [{destination: {host: cart, port: {number: 5432}}}]}]}"),
            "spec.tcp: without hosts it is a delegate, which takes no tcp",
        ),
        (
            istio("VirtualService", "{gateways: [g], http: [{route: [{destination: {host: cart}}]}]}"),
            "spec.gateways: without hosts it is a delegate, which takes no gateways",
        ),
    ],
)  # fmt: skip
def test_hosts_that_are_none_and_delegates_with_more_than_http_are_refused(text: str, why: str) -> None:
    for target in ("linkerd", "cilium", "gateway-api"):
        result = converted(text, "istio", target)
        (line,) = said(result, "MP072")
        assert why in line
        assert not said(result, "MP900")


@pytest.mark.parametrize(
    "hosts", ["['2001:db8::1', 192.0.2.7]", "['*-x.example.com.']", "[Cart.Shop]", "['*.example.com']", "[1.example.com]"]
)
def test_odd_hosts_that_istio_takes_are_not_refused(hosts: str) -> None:
    assert not said(
        converted(istio("VirtualService", f"{{hosts: {hosts}, http: [{{route: [{{destination: {{host: cart}}}}]}}]}}"), "istio", "linkerd"),
        "MP072",
    )
