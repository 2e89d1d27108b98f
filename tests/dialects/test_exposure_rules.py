"""Rules for requests to hosts outside: a VirtualService for the host of a ServiceEntry, and routes of Linkerd's on an EgressNetwork."""

from __future__ import annotations

from typing import Any

import pytest
from test_exposure_egress import CLOSED, codes, entry, namespace, network, route, specs, whole, workload

import meshport
from meshport.pipeline import Result

OPEN = (
    "hosts: [api.example.com, b.example.com], location: MESH_EXTERNAL, resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]"
)
NETWORK = {"group": "policy.linkerd.io", "kind": "EgressNetwork", "name": "egress", "port": 80}
WEB = """---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
"""


def virtual(http: str, hosts: str = "api.example.com", more: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: api, namespace: shop}}
spec: {{hosts: [{hosts}], {more}http: {http}}}
"""


def convert(text: str, target: str = "linkerd", source: str = "istio", **choices: Any) -> Result:
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **choices)
    assert whole(result)
    return result


def rules(result: Result, name: str = "api-80") -> list[Any]:
    return list(specs(result)[f"HTTPRoute/shop/{name}"]["rules"])


SHOP = namespace() + workload("web") + WEB + entry(OPEN, "outside")
HOME = "[{route: [{destination: {host: api.example.com}}], timeout: 3s, retries: {attempts: 3, retryOn: 5xx}}]"


def test_timeouts_and_retries_stand_on_a_route_of_the_egress_network() -> None:
    result = convert(SHOP + virtual(HOME))
    assert specs(result)["HTTPRoute/shop/api-80"]["parentRefs"] == [NETWORK]
    assert specs(result)["HTTPRoute/shop/api-80"]["hostnames"] == ["api.example.com"]
    assert rules(result) == [{"backendRefs": [NETWORK], "timeouts": {"request": "3s"}}]
    (made,) = (item.object for item in result.manifests if item.object["metadata"]["name"] == "api-80")
    assert made["metadata"]["annotations"] == {"retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "3"}
    assert specs(result)["HTTPRoute/shop/outside-80"]["hostnames"] == ["b.example.com"]  # which no rule is for
    assert codes(result) == []


def test_a_share_of_the_requests_goes_to_a_service_of_the_cluster() -> None:
    split = "[{route: [{destination: {host: api.example.com}, weight: 90}, {destination: {host: web}, weight: 10}]}]"
    outside, inside = rules(convert(SHOP + virtual(split)))[0]["backendRefs"]
    assert (outside, inside) == ({**NETWORK, "weight": 9}, {"name": "web", "port": 80, "weight": 1})


SOME = "[{match: [{uri: {prefix: /v1/}}], route: [{destination: {host: api.example.com}}]}]"


def test_what_no_rule_takes_is_refused_where_the_network_lets_it_go() -> None:
    result = convert(SHOP + virtual(SOME))
    assert [rule["backendRefs"] for rule in rules(result)] == [[NETWORK], [{"name": "egress-refused", "port": 80}]]
    assert "MP391" in codes(result, "info")
    closed = convert(SHOP + CLOSED + virtual(SOME))
    assert [rule["backendRefs"] for rule in rules(closed)] == [[NETWORK]]  # the network refuses the rest


def test_another_host_outside_cannot_be_sent_to() -> None:
    result = convert(
        SHOP
        + virtual(
            "[{match: [{uri: {exact: /b}}], route: [{destination: {host: b.example.com}}]}, {route: [{destination: {host: api.example.com}}]}]"
        )
    )
    assert rules(result) == [{"backendRefs": [NETWORK]}]
    assert codes(result, "error") == ["MP317"]


def test_clients_of_every_namespace_meet_the_rules_that_every_one_is_shown() -> None:
    both = SHOP + namespace("lab") + workload("job", "lab")
    assert "HTTPRoute/lab/api-api-example-com-80" in specs(convert(both + virtual(HOME)))
    assert not any(name.startswith("HTTPRoute/lab/") for name in specs(convert(both + virtual(HOME, more="exportTo: [.], "))))


def test_a_way_through_an_egress_gateway_ends_with_an_error() -> None:
    through = "[{match: [{gateways: [mesh]}], route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local}}]}]"
    result = convert(SHOP + virtual(through, more="gateways: [mesh, egress], "))
    assert codes(result, "error") == ["MP390"]
    assert specs(result)["HTTPRoute/shop/outside-80"]["hostnames"] == ["api.example.com", "b.example.com"]


def test_a_route_of_the_gateway_api_on_an_entry_is_for_each_of_its_hosts() -> None:
    parent = "{group: networking.istio.io, kind: ServiceEntry, name: outside, port: 80}"
    own = "{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}"
    made = f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: api, namespace: shop}}
spec: {{parentRefs: [{parent}], hostnames: [other.example.com], rules: [{{timeouts: {{request: 3s}}, backendRefs: [{own}]}}]}}
"""
    result = convert(SHOP + made)
    assert rules(result, "api-api-example-com-80") == [{"backendRefs": [NETWORK], "timeouts": {"request": "3s"}}]
    assert codes(result, "error") == ["MP317"]  # what is for b.example.com would go to another host


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_so_does_one_for_connections(target: str) -> None:
    match = "port: 443, sniHosts: [api.example.com]"
    inside = f"{{match: [{{gateways: [mesh], {match}}}], route: [{{destination: {{host: istio-egressgateway.istio-system.svc.cluster.local}}}}]}}"
    outside = f"{{match: [{{gateways: [egress], {match}}}], route: [{{destination: {{host: api.example.com, port: {{number: 443}}}}}}]}}"
    result = convert(SHOP + virtual("[]", more=f"gateways: [mesh, egress], tls: [{inside}, {outside}], "), target)
    assert "MP390" in codes(result, "error") and "MP310" not in codes(result)


def test_connections_that_go_where_they_go_anyway_need_no_route() -> None:
    secure = entry("hosts: [s.example.com], resolution: NONE, ports: [{number: 443, name: tls, protocol: TLS}]", "secure")
    tls = "tls: [{match: [{port: 443, sniHosts: [s.example.com]}], route: [{destination: {host: s.example.com, port: {number: 443}}}]}], "
    result = convert(SHOP + secure + virtual("[]", "s.example.com", tls))
    assert codes(result, "error") == []
    assert specs(result)["TLSRoute/shop/secure-443"]["hostnames"] == ["s.example.com"]


@pytest.mark.parametrize(("http", "severity"), [(HOME, "warning"), (SOME, "error")])
def test_cilium_has_no_proxy_that_would_read_them_and_says_what_ends(http: str, severity: str) -> None:
    (said,) = (item for item in convert(SHOP + virtual(http), "cilium").findings if item.code == "MP392")
    assert said.severity == severity
    assert ("retries, timeouts" if http == HOME else "the choice by path") in said.message


def test_beside_routes_of_the_gateway_api_they_stay_with_istio() -> None:
    result = convert(SHOP + virtual(HOME), "gateway-api")
    assert not result.removals and codes(result) == ["MP366"]


# -- Linkerd to Istio


def test_routes_of_one_host_are_one_virtual_service() -> None:
    get = route("HTTPRoute", 80, "api.example.com", rules="[{matches: [{method: GET}], timeouts: {request: 3s}}]")
    test = route(
        "HTTPRoute",
        80,
        "api.example.com",
        rules="[{matches: [{headers: [{name: x, value: yes-please}]}], backendRefs: [{name: web, port: 80}]}]",
        name="b",
    )
    result = convert(namespace(mesh="linkerd") + workload("web") + WEB + network("Deny") + get + test, "istio", "linkerd")
    assert [name for name in specs(result) if name.startswith("ServiceEntry")] == ["ServiceEntry/shop/api"]
    first, second = specs(result)["VirtualService/shop/api"]["http"]
    assert first["match"] == [{"headers": {"x": {"exact": "yes-please"}}}]  # Linkerd counts headers before the method
    assert first["route"][0]["destination"]["host"] == "web.shop.svc.cluster.local"
    assert (second["match"], second["timeout"], second["retries"]) == ([{"method": {"exact": "GET"}}], "3s", {"attempts": 0})
    assert second["route"][0]["destination"]["host"] == "api.example.com"
    assert codes(result) == []


def test_a_network_that_lets_the_rest_go_gets_a_rule_for_the_rest() -> None:
    get = route("HTTPRoute", 80, "api.example.com", rules="[{matches: [{method: GET}], timeouts: {request: 3s}}]")
    result = convert(namespace(mesh="linkerd") + workload("web") + network("Allow") + get, "istio", "linkerd")
    _, rest = specs(result)["VirtualService/shop/api"]["http"]
    assert "match" not in rest and rest["route"][0]["destination"]["host"] == "api.example.com"


@pytest.mark.parametrize("host", ["web", "web.shop", "web.shop.svc.cluster.local", "other"])
def test_rules_on_a_way_out_are_none_for_the_service_whose_name_they_bear(host: str) -> None:
    get = route("HTTPRoute", 80, f"{host}, api.example.com", rules="[{matches: [{method: GET}], timeouts: {request: 3s}}]")
    result = convert(namespace(mesh="linkerd") + workload("web") + WEB + network("Deny") + get, "istio", "linkerd")
    assert specs(result)["ServiceEntry/shop/api"]["hosts"] == ["api.example.com"]
    assert [body["hosts"] for name, body in specs(result).items() if name.startswith("VirtualService/")] == [["api.example.com"]]
    assert codes(result, "error") == ["MP773"]


def test_a_way_out_without_rules_may_have_a_name_that_no_service_has() -> None:
    both = route("HTTPRoute", 80, "web, printer")
    result = convert(namespace(mesh="linkerd") + workload("web") + WEB + network("Allow") + both, "istio", "linkerd")
    assert specs(result)["ServiceEntry/shop/api"]["hosts"] == ["printer"]
    assert codes(result, "warning") == ["MP773"]
