"""Istio's Gateway and the VirtualServices bound to it as Gateway and HTTPRoutes."""

from __future__ import annotations

import yaml
from gateway_api_helper import WORLD, codes, convert, objects, plain, spec, virtual_service

import meshport
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


def test_rules_for_different_ports_are_a_route_for_each_listener() -> None:
    """`convert` holds what is read back against what was meant listener by listener: a route on the other one would be MP900."""
    both = HTTPS.replace(", tls: {httpsRedirect: true}", "").replace("./", "")
    parted = """
  - {match: [{port: 80}], redirect: {scheme: https, redirectCode: 301}}
  - {match: [{port: 443, uri: {exact: /a}}], route: [{destination: {host: b0}}]}
  - {match: [{uri: {exact: /b}}], route: [{destination: {host: b1}}]}
"""
    result = made(both, parted)
    plain_text, secure = spec(result, "HTTPRoute/shop-80"), spec(result, "HTTPRoute/shop-443")
    assert plain_text["parentRefs"] == [{"name": "public", "sectionName": "http"}]
    assert [rule["filters"][0]["requestRedirect"]["scheme"] for rule in plain_text["rules"]] == ["https"]
    assert secure["parentRefs"] == [{"name": "public", "sectionName": "https"}]
    assert [rule["matches"][0]["path"]["value"] for rule in secure["rules"]] == ["/a", "/b"]
    assert not {"MP316", "MP319"} & set(codes(result))


def test_a_route_on_the_wrong_listener_is_a_difference() -> None:
    """Rules by port are compared with routes by listener."""
    both = HTTPS.replace(", tls: {httpsRedirect: true}", "").replace("./", "")
    parted = "[{match: [{port: 80}], route: [{destination: {host: b0}}]}, {match: [{port: 443}], route: [{destination: {host: b1}}]}]"
    source = WORLD + gateway(both) + virtual_service(parted, BOUND, "[shop.example.com]", "shop")
    written = [item.object for item in made(both, parted).manifests]
    new = WORLD + "".join("---\n" + yaml.safe_dump(item) for item in written)
    swapped = new.replace("sectionName: https", "sectionName: x").replace("sectionName: http\n", "sectionName: https\n")
    old = meshport.load_text(source)

    def differing(text: str) -> set[str]:
        found = meshport.diff(old, meshport.load_text(text), old_mesh="istio", new_mesh="gateway-api")
        return {change.subject for change in found if change.subject.startswith("ingress")}

    assert differing(new) == set()
    assert differing(swapped.replace("sectionName: x", "sectionName: http")) == {"ingress of Gateway shop/public"}


def test_a_listener_that_asks_for_client_certificates_is_not_opened_without() -> None:
    result = made("[{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: MUTUAL, credentialName: shop-tls}}]")
    assert "Gateway/public" not in objects(result)
    assert [(finding.severity, finding.effect) for finding in result.findings if finding.code == "MP709"] == [("error", "narrows")]
    assert ("Gateway", "public") not in [(item["kind"], item["name"]) for item in result.removals]
    assert not [name for name in objects(result) if name.startswith("HTTPRoute/")]  # its parent would not be there
    assert [(finding.severity, finding.effect) for finding in result.findings if finding.code == "MP397"] == [("error", "narrows")]


def test_rules_are_not_put_on_a_listener_that_only_redirects() -> None:
    """The listener with the certificate is left out; on the other one the rules would answer in plain HTTP."""
    result = made(HTTPS.replace("mode: SIMPLE", "mode: MUTUAL"))
    assert [name for name in objects(result) if name.startswith("HTTPRoute/")] == ["HTTPRoute/public-https-redirect"]
    assert {"MP397", "MP709"} <= set(codes(result))


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


def test_nothing_names_it_where_no_route_is_written() -> None:
    rule = "[{match: [{sourceLabels: {app: x}}], route: [{destination: {host: b0}}]}]"
    result = convert(WORLD + virtual_service(rule, "  gateways: [infra/public]\n", "[shop.example.com]", "shop"), "istio", "gateway-api")
    assert not [item for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert "MP707" not in codes(result)


def test_the_subset_of_a_service_that_is_not_in_the_input_is_named_with_it() -> None:
    subsets = """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: gone, namespace: shop}
spec: {host: gone, subsets: [{name: v1, labels: {version: v1}}]}
"""
    route = virtual_service("[{route: [{destination: {host: gone, subset: v1}}]}]", BOUND, "[shop.example.com]", "shop")
    result = convert(WORLD + gateway(HTTP) + route + subsets, "istio", "gateway-api")
    assert "MP301" in codes(result) and not {"MP900", "MP901"}.intersection(codes(result))
    assert result.ledger.counts["unaccounted"] == 0
    named = {line.path for line in result.ledger if "MP301" in line.codes}
    assert named >= {"spec.subsets[0].name", "spec.subsets[0].labels.version"}


def test_a_gateway_of_the_gateway_api_stays_or_gets_the_class() -> None:
    own = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    assert convert(WORLD + own, "istio", "gateway-api").manifests == []
    assert spec(convert(WORLD + own, "istio", "gateway-api", gateway_class="envoy"), "Gateway/public")["gatewayClassName"] == "envoy"
    handed = convert(WORLD + own, "istio", "cilium")
    assert spec(handed, "Gateway/public")["gatewayClassName"] == "cilium"
    (said,) = [item for item in handed.findings if item.code == "MP771"]
    assert said.severity == "info" and said.affects[0].workload == "public"
    assert said.message.startswith("Gateway shop/public was of the class istio and is of cilium")


def test_of_two_gateways_of_one_name_each_keeps_its_listeners_and_its_routes() -> None:
    both = """---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec: {hosts: [a.example.com], gateways: [front], http: [{route: [{destination: {host: web, port: {number: 80}}}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, hostname: b.example.com}]}
"""
    result = convert(WORLD + both, "istio", "cilium")
    ports = {name: [item["port"] for item in spec(result, f"Gateway/{name}")["listeners"]] for name in ("front", "front-2")}
    assert ports == {"front": [80], "front-2": [8080]}
    assert spec(result, "HTTPRoute/a")["parentRefs"] == [{"name": "front-2"}]
    assert {item.code for item in result.findings} & {"MP348", "MP772", "MP900"} == {"MP772"}
