"""Istio's Gateway and the VirtualServices bound to it as Gateway and HTTPRoutes."""

from __future__ import annotations

from gateway_api_helper import WORLD, codes, convert, objects, plain, spec, virtual_service

from meshport.pipeline import Result


def gateway(servers: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: public, namespace: shop}}
spec:
  selector: {{istio: ingressgateway}}
  servers: {servers}
"""


HTTP = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]"
HTTPS = """
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com], tls: {httpsRedirect: true}}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [./shop.example.com], tls: {mode: SIMPLE, credentialName: shop-tls}}
"""
BOUND = "  gateways: [public]\n"


def made(servers: str, http: str = "[{route: [{destination: {host: b0}}]}]", more: str = BOUND, **options: object) -> Result:
    route = virtual_service(http, more, "[shop.example.com]", "shop")
    return convert(WORLD + gateway(servers) + route, "istio", "gateway-api", **options)


def test_a_gateway_and_its_rules() -> None:
    result = made(HTTP, gateway_class="envoy")
    assert spec(result, "Gateway/public") == plain("""
gatewayClassName: envoy
listeners:
- {name: http, port: 80, protocol: HTTP, hostname: shop.example.com, allowedRoutes: {namespaces: {from: All}}}
""")
    assert spec(result, "HTTPRoute/shop") == plain("""
parentRefs: [{name: public}]
hostnames: [shop.example.com]
rules: [{backendRefs: [{name: b0, port: 80}]}]
""")
    assert sorted((item["kind"], item["name"]) for item in result.removals) == [("Gateway", "public"), ("VirtualService", "shop")]
    assert codes(result) == ["MP450", "MP759"]


def test_without_a_class_it_is_that_of_istio_and_is_said() -> None:
    result = made(HTTP)
    assert spec(result, "Gateway/public")["gatewayClassName"] == "istio"
    assert "MP706" in codes(result)


def test_a_redirect_to_https_is_a_route_and_the_others_leave_its_listener_alone() -> None:
    result = made(HTTPS)
    _, secure = spec(result, "Gateway/public")["listeners"]
    assert secure["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "shop-tls"}]}
    assert secure["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert spec(result, "HTTPRoute/public-https-redirect") == plain("""
parentRefs: [{name: public, sectionName: http}]
rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]}]
""")
    assert spec(result, "HTTPRoute/shop")["parentRefs"] == [{"name": "public", "sectionName": "https"}]


def test_a_port_that_every_listener_has_is_asked_for_already_and_another_is_where_the_route_hangs() -> None:
    by_port = "[{match: [{port: %s, uri: {exact: /a}}], route: [{destination: {host: b0}}]}, {match: [{port: %s}], route: [{destination: {host: b1}}]}]"
    assert spec(made(HTTP, by_port % (80, 80)), "HTTPRoute/shop")["parentRefs"] == [{"name": "public"}]
    two = (
        "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}, {port: {number: 8080, name: more, protocol: HTTP}, hosts: ['*']}]"
    )
    apart = made(two, by_port % (8080, 8080))
    assert spec(apart, "HTTPRoute/shop")["parentRefs"] == [{"name": "public", "sectionName": "more"}]
    assert len(spec(apart, "HTTPRoute/shop")["rules"]) == 2 and "MP319" not in codes(apart)
    assert "MP319" in codes(made(two, by_port % (80, 8080)))  # one route hangs on one set of listeners


def test_a_listener_that_asks_for_client_certificates_is_not_opened_without() -> None:
    result = made("[{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: MUTUAL, credentialName: shop-tls}}]")
    assert "Gateway/public" not in objects(result)
    assert [(finding.severity, finding.effect) for finding in result.findings if finding.code == "MP709"] == [("error", "narrows")]
    assert ("Gateway", "public") not in [(item["kind"], item["name"]) for item in result.removals]


def test_rules_for_the_mesh_and_for_a_gateway_become_two_routes() -> None:
    http = """
  - match: [{uri: {exact: /inside}, gateways: [mesh]}, {uri: {exact: /outside}, gateways: [public]}]
    route: [{destination: {host: b0}}]
"""
    route = virtual_service(http, "  gateways: [mesh, public]\n", "[app.shop.svc.cluster.local]", "app")
    result = convert(WORLD + gateway(HTTP.replace("shop.example.com", "app.shop.svc.cluster.local")) + route, "istio", "gateway-api")
    inside, outside = spec(result, "HTTPRoute/app"), spec(result, "HTTPRoute/app-ingress")
    assert inside["parentRefs"][0]["kind"] == "Service"
    assert [match["path"]["value"] for match in inside["rules"][0]["matches"]] == ["/inside"]
    assert outside["parentRefs"] == [{"name": "public"}]
    assert [match["path"]["value"] for match in outside["rules"][0]["matches"]] == ["/outside"]


def test_a_gateway_that_is_not_in_the_input_is_named_all_the_same() -> None:
    route = virtual_service("[{route: [{destination: {host: b0}}]}]", "  gateways: [infra/public]\n", "[shop.example.com]", "shop")
    result = convert(WORLD + route, "istio", "gateway-api")
    assert spec(result, "HTTPRoute/shop")["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    assert "MP707" in codes(result)


def test_a_gateway_of_the_gateway_api_stays_or_gets_the_class() -> None:
    own = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    assert convert(WORLD + own, "istio", "gateway-api").manifests == []
    assert spec(convert(WORLD + own, "istio", "gateway-api", gateway_class="envoy"), "Gateway/public")["gatewayClassName"] == "envoy"
