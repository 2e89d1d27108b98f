"""Objects of Istio that istiod's webhook refuses (pkg/config/validation of istio/istio): no cluster has them, so nothing is written of them, and MP072 says why."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""

SERVER = "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, %s}]}"
ROUTE = "route: [{destination: {host: cart}}]"
PORT = "ports: [{number: 80, name: http, protocol: HTTP}]"


def converted(text: str, source: str, target: str) -> Any:
    return meshport.convert(meshport.load_text(WORLD + text), source=source, target=target)


def said(result: Any, code: str) -> list[str]:
    return [finding.message for finding in result.findings if finding.code == code]


def written(result: Any, kind: str) -> list[Any]:
    return [item.object for item in result.manifests if item.object["kind"] == kind]


def istio(kind: str, spec: str) -> str:
    return f"{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: v, namespace: shop}}, spec: {spec}}}"


def virtual(rule: str, more: str = "hosts: [cart]") -> str:
    return istio("VirtualService", f"{{{more}, http: [{{{rule}}}]}}")


def destination(policy: str) -> str:
    return istio("DestinationRule", f"{{host: cart, trafficPolicy: {policy}}}")


REFUSED = [
    (istio("Gateway", SERVER % "hosts: ['*.${DOMAIN}']"), "spec.servers[0].hosts[0]: '*.${DOMAIN}' is no host name"),
    (istio("Gateway", SERVER % "hosts: [shop]"), "'shop' is a short name"),
    (istio("Gateway", SERVER % "hosts: ['*-x.example.com']"), "has a star that is no whole label"),
    (istio("Gateway", SERVER % "hosts: [a_b/shop.example.com]"), "'a_b' is no namespace"),
    (istio("Gateway", SERVER % "hosts: []"), "a server needs a host"),
    (istio("Gateway", SERVER % "hosts: ['*'], bind: lo"), "'lo' is no address"),
    (istio("Gateway", (SERVER % "hosts: ['*']").replace("80", "70000")), "70000 is no port"),
    (istio("DestinationRule", "{host: '${HOST}', trafficPolicy: {loadBalancer: {simple: RANDOM}}}"), "spec.host: '${HOST}' is no host name"),
    (destination("{}"), "a traffic policy says nothing"),
    (destination("{connectionPool: {}}"), "connectionPool has neither tcp nor http"),
    (destination("{connectionPool: {tcp: {maxConnections: -1}}}"), "maxConnections cannot be negative"),
    (destination("{outlierDetection: {consecutive5xxErrors: 3, maxEjectionPercent: 120}}"), "120 is no percentage"),
    (virtual(ROUTE, "hosts: [cart, cart]"), "cart stands there twice"),
    (virtual(ROUTE, "hosts: [a.example.com, '*.example.com'], gateways: [g]"), "*.example.com takes the requests for a.example.com too"),
    (virtual(ROUTE, "hosts: [a.example.com], gateways: ['${GATEWAY}']"), "'${GATEWAY}' is no name of a Gateway"),
    (virtual("route: [{destination: {host: 10.0.0.1}}]"), "'10.0.0.1' is no host name"),
    (virtual("route: [{destination: {host: '*'}}]"), "'*' is no host name"),
    (virtual("route: [{destination: {host: cart, port: {number: 0}}}]"), "0 is no port"),
    (virtual("route: [{destination: {host: cart}, weight: -1}]"), "a weight cannot be negative"),
    (virtual(f"match: [{{authority: {{prefix: ''}}}}], {ROUTE}"), "prefix is empty"),
    (virtual(f"match: [{{headers: {{x-a: {{regex: ''}}}}}}], {ROUTE}"), "regex is empty"),
    (virtual(f"match: [{{headers: {{a b: {{exact: x}}}}}}], {ROUTE}"), "'a b' is no name of a header"),
    (virtual("directResponse: {status: 100}"), "100 is no status"),
    (virtual(f"fault: {{abort: {{httpStatus: 500, percentage: {{value: 120}}}}}}, {ROUTE}"), "120 is no percentage"),
    (virtual(f"fault: {{abort: {{grpcStatus: NOPE, percentage: {{value: 1}}}}}}, {ROUTE}"), "'NOPE' is no status of gRPC"),
    (virtual(f"rewrite: {{uri: /a, uriRegexRewrite: {{match: a, rewrite: b}}}}, {ROUTE}"), "uri and uriRegexRewrite stand together"),
    (virtual(f"headers: {{request: {{set: {{':path': /a}}}}}}, {ROUTE}"), ":path cannot be changed"),
    (virtual(f"headers: {{response: {{remove: [Host]}}}}, {ROUTE}"), "Host cannot be changed"),
    (istio("ServiceEntry", f"{{hosts: [10.0.0.1], {PORT}, resolution: NONE}}"), "'10.0.0.1' is no host name"),
    (istio("ServiceEntry", f"{{hosts: [a.com], {PORT}, resolution: DNS, endpoints: [{{address: b.com, ports: {{x: 1}}}}]}}"), "the entry has no port x"),
    (istio("ServiceEntry", f"{{hosts: [a.com], addresses: [b], {PORT}, resolution: STATIC}}"), "neither an address nor a CIDR"),
    (istio("Sidecar", "{}"), "a Sidecar says nothing"),
    (istio("Sidecar", "{egress: [{hosts: [./cart]}]}"), "'cart' is a short name"),
    (istio("Sidecar", "{egress: [{hosts: [cart.shop.svc.cluster.local]}]}"), "names no namespace"),
    (istio("Sidecar", "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: '10.0.0.1:80'}]}"), "neither a port of the pod itself nor a socket"),
    (istio("Sidecar", "{workloadSelector: {labels: {app: 'a*'}}, egress: [{hosts: ['*/*']}]}"), "a selector knows no wildcards"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_no_cluster_takes_is_refused_and_nothing_is_written_of_it(text: str, why: str) -> None:
    for target in ("linkerd", "cilium"):
        result = converted(text, "istio", target)
        assert any(why in line for line in said(result, "MP072"))
        assert not written(result, "Gateway") + written(result, "HTTPRoute") + written(result, "EgressNetwork")
        assert not said(result, "MP900") + said(result, "MP901")


@pytest.mark.parametrize(
    "text",
    [
        istio("Gateway", SERVER % "hosts: [10.0.0.1, ./*, '*/a.example.com', '*.b.example.com', '*']"),
        istio("Gateway", SERVER % "hosts: ['~/a.example.com']").replace("shop}", "shop, annotations: {internal.istio.io/gateway-semantics: gateway}}"),
        istio("Gateway", (SERVER % "hosts: ['*'], bind: 'unix:///var/run/s'").replace("80", "0")),
        destination("{connectionPool: {tcp: {}}, outlierDetection: {consecutiveLocalOriginFailures: 3, splitExternalLocalOriginErrors: true}}"),
        virtual(ROUTE, "hosts: [a.example.com, '*.example.org', 10.0.0.1], gateways: [mesh, g.istio-system.svc.cluster.local, istio-system/g]"),
        virtual(f"headers: {{request: {{set: {{':authority': a.com, Host: a.com}}}}}}, {ROUTE}"),
        virtual(f"match: [{{headers: {{'@request.auth.claims.sub': {{exact: x}}}}}}], {ROUTE}", "hosts: [a.com], gateways: [g]"),
        istio("ServiceEntry", "{hosts: [a.com, b.com], ports: [{number: 443, name: t, protocol: TLS}], resolution: DNS}"),
        istio("Sidecar", "{egress: [{port: {number: 0, protocol: HTTP}, bind: 'unix:///s', hosts: ['~/*']}, {hosts: [./*, istio-system/*]}]}"),
        istio("Sidecar", "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: ':8080'}], outboundTrafficPolicy: {}}"),
    ],
)  # fmt: skip
def test_what_istiod_takes_is_not_refused(text: str) -> None:
    assert not said(converted(text, "istio", "linkerd"), "MP072")
