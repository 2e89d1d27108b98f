"""Routes for connections: `tls` and `tcp` of a VirtualService as TLSRoute and TCPRoute, on Services and Gateways, and a TCPRoute as a VirtualService."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp-db, port: 5432}, {name: https, port: 443}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec: {host: db, subsets: [{name: v1, labels: {v: "1"}}, {name: v2, labels: {v: "2"}}]}
---
"""
SPLIT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: shop}
spec:
  hosts: [db]
  tcp:
  - match: [{port: 5432%s}]
    route:
    - {destination: {host: db, subset: v1, port: {number: 5432}}, weight: 90}
    - {destination: {host: db, subset: v2, port: {number: 5432}}, weight: 10}
"""
BY_NAME = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: shop}
spec:
  hosts: [db, a.test, "*.b.test"]
  %s
  tls:
  - match: [{sniHosts: [a.test, "*.b.test"]}]
    route: [{destination: {host: db, port: {number: 443}}}]
"""


def convert(text: str, target: str, source: str = "istio", **more: Any) -> Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target, **more)


def one(result: Result, kind: str) -> dict[str, Any]:
    found = [item.object for item in result.manifests if item.object["kind"] == kind]
    assert len(found) == 1, [item.object["kind"] for item in result.manifests]
    return found[0]


def codes(result: Result) -> set[str]:
    return {finding.code for finding in result.findings if finding.severity != "info"}


@pytest.mark.parametrize(
    ("target", "version", "api", "group"),
    [
        ("linkerd", "2.17", "v1alpha2", "core"),
        ("linkerd", "2.20", "v1alpha2", "core"),
        ("gateway-api", "1.4", "v1alpha2", ""),
        ("gateway-api", "1.6", "v1", ""),
    ],
)
def test_a_split_of_bytes_is_a_tcproute_with_a_service_for_each_subset(target: str, version: str, api: str, group: str) -> None:
    result = convert(WORLD + SPLIT % "", target, target_version=version)
    route = one(result, "TCPRoute")
    assert route["apiVersion"] == f"gateway.networking.k8s.io/{api}"
    assert route["spec"]["parentRefs"] == [{"group": group, "kind": "Service", "name": "db", "port": 5432}]
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "db-v1", "port": 5432, "weight": 9}, {"name": "db-v2", "port": 5432, "weight": 1}]
    assert "MP306" not in codes(result)
    assert result.ledger.counts["unaccounted"] == 0


def test_connections_told_by_name_are_a_tlsroute_on_the_port_for_tls() -> None:
    route = one(convert(WORLD + BY_NAME % "", "linkerd"), "TLSRoute")
    assert route["spec"]["parentRefs"] == [{"group": "core", "kind": "Service", "name": "db", "port": 443}]
    assert route["spec"]["hostnames"] == ["a.test", "*.b.test"]
    assert route["spec"]["rules"] == [{"backendRefs": [{"name": "db", "port": 443}]}]


@pytest.mark.parametrize("target", ["gateway-api", "cilium"])
def test_tls_that_passes_through_a_gateway_is_a_tlsroute_on_it(target: str) -> None:
    route = one(convert(WORLD + BY_NAME % "gateways: [istio-system/edge]", target), "TLSRoute")
    assert route["spec"]["parentRefs"] == [{"name": "edge", "namespace": "istio-system"}]
    assert route["spec"]["hostnames"] == ["a.test", "*.b.test"]


@pytest.mark.parametrize(
    ("text", "target", "version"),
    [
        (SPLIT % ", sourceLabels: {app: web}", "linkerd", "2.20"),  # who calls is nothing that a route asks
        (SPLIT % "", "linkerd", "2.16"),  # before TCPRoute
        (SPLIT % "", "cilium", "1.20"),  # between workloads Cilium follows requests alone
    ],
)
def test_what_no_route_can_say_is_left_out_with_an_error(text: str, target: str, version: str) -> None:
    result = convert(WORLD + text, target, target_version=version)
    assert "MP306" in codes(result)
    assert all(item.object["kind"] not in ("TCPRoute", "TLSRoute") for item in result.manifests)


TCP_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: db, namespace: shop}
spec:
  parentRefs: [{group: core, kind: Service, name: db, port: 5432}]
  rules:
  - backendRefs: [{name: db, port: 5432, weight: 9}, {name: db-v2, port: 5432, weight: 1}]
"""


def test_a_tcproute_of_linkerd_is_a_virtualservice() -> None:
    result = convert(WORLD.partition("---\n")[0] + "---\n" + TCP_ROUTE, "istio", "linkerd")
    spec = one(result, "VirtualService")["spec"]
    assert spec["hosts"] == ["db.shop.svc.cluster.local"]
    (rule,) = spec["tcp"]
    assert rule["match"] == [{"port": 5432}]
    assert [(item["destination"]["host"], item["weight"]) for item in rule["route"]] == [
        ("db.shop.svc.cluster.local", 90),
        ("db-v2.shop.svc.cluster.local", 10),
    ]
    assert [item["kind"] for item in result.removals] == ["TCPRoute"]
    assert "MP902" not in codes(result)


def test_a_tcproute_stays_towards_the_gateway_api_and_is_refused_by_cilium() -> None:
    world = WORLD.partition("---\n")[0] + "---\n" + TCP_ROUTE
    stays = one(convert(world, "gateway-api", "linkerd"), "TCPRoute")
    assert stays["spec"]["parentRefs"][0]["group"] == ""
    assert "MP306" in codes(convert(world, "cilium", "linkerd"))


def test_the_written_routes_read_as_yaml_again() -> None:
    result = convert(WORLD + SPLIT % "", "linkerd")
    assert list(yaml.safe_load_all(result.text()))


@pytest.mark.parametrize("target", ["linkerd", "gateway-api"])
@pytest.mark.parametrize(
    "rules", ["tcp: [{match: [{port: 5432}]}]", "tcp: [{match: [{gateways: [mesh]}]}]", "tls: [{match: [{sniHosts: [db]}]}]"]
)
def test_a_rule_without_a_destination_is_no_route(target: str, rules: str) -> None:
    text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: db, namespace: shop}, spec: {hosts: [db], %s}}"
    result = convert(WORLD + text % rules, target)
    assert all(item.object["kind"] not in ("TCPRoute", "TLSRoute") for item in result.manifests)
    assert "MP330" in codes(result)
    assert result.ledger.counts["unaccounted"] == 0


def test_a_rule_of_which_one_match_is_for_a_gateway_is_written_for_the_mesh() -> None:
    text = (
        SPLIT % ""
        + "  - match: [{gateways: [edge]}, {port: 6000, gateways: [mesh]}]\n    route: [{destination: {host: db, port: {number: 6000}}}]\n"
    )
    result = convert(WORLD.replace("{name: https, port: 443}", "{name: tcp-more, port: 6000}") + text, "linkerd")
    routes = [item.object["spec"] for item in result.manifests if item.object["kind"] == "TCPRoute"]
    assert sorted(spec["parentRefs"][0]["port"] for spec in routes) == [5432, 6000]
    assert "MP361" in codes(result)
    assert "MP306" not in codes(result)


@pytest.mark.parametrize("name", ["http", "https"])
def test_a_rule_for_bytes_does_nothing_on_a_port_that_carries_something_else_by_its_name(name: str) -> None:
    world = WORLD.replace("{name: https, port: 443}", f"{{name: {name}, port: 80}}")
    result = convert(world + SPLIT.replace("port: 5432%s", "port: 80"), "linkerd")
    assert all(item.object["kind"] != "TCPRoute" for item in result.manifests)
    assert not codes(result)


ENTRANCES = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: tls, protocol: %s}, hosts: ["*.test"], tls: {mode: PASSTHROUGH}}
  - {port: {number: 31400, name: bytes, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 31401, name: more, protocol: TCP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [edge]
  tls:
  - match: [{port: 443, sniHosts: [a.test]}]
    route: [{destination: {host: db, port: {number: 443}}}]
  tcp:
  - match: [{port: 31400}]
    route: [{destination: {host: db, port: {number: 5432}}}]
"""


@pytest.mark.parametrize("protocol", ["TLS", "HTTPS"])
@pytest.mark.parametrize(("target", "more"), [("gateway-api", {}), ("cilium", {}), ("linkerd", {"gateway_class": "envoy"})])
def test_a_port_of_a_gateway_is_its_listener_on_that_port(target: str, more: dict[str, str], protocol: str) -> None:
    result = convert(WORLD + ENTRANCES % protocol, target, **more)
    assert one(result, "TLSRoute")["spec"] == {
        "parentRefs": [{"name": "edge"}],  # which has one listener alone for TLS that is passed on
        "hostnames": ["a.test"],
        "rules": [{"backendRefs": [{"name": "db", "port": 443}]}],
    }
    assert one(result, "TCPRoute")["spec"]["parentRefs"] == [{"name": "edge", "sectionName": "bytes"}]
    assert not {"MP306", "MP900", "MP901"} & codes(result)


def test_a_port_without_a_listener_and_bytes_before_ciliums_release_for_them_are_no_route() -> None:
    astray = convert(WORLD + (ENTRANCES % "TLS").replace("{port: 31400}", "{port: 9999}"), "gateway-api")
    (found,) = [finding.message for finding in astray.findings if finding.code == "MP306"]
    assert found == "VirtualService shop/db: the TCP routes of host * are not carried over; no listener takes them"
    early = convert(WORLD + ENTRANCES % "TLS", "cilium", target_version="1.19")
    assert one(early, "TLSRoute") and "MP306" in codes(early)
    assert all(item.object["kind"] != "TCPRoute" for item in early.manifests)


@pytest.mark.parametrize(("names", "api"), [('"*"', "v1alpha2"), ("a.test", "v1")])
def test_a_tlsroute_for_every_name_is_of_the_version_that_wants_none(names: str, api: str) -> None:
    """`hostnames` is required since v1alpha3."""
    text = BY_NAME.replace('hosts: [db, a.test, "*.b.test"]', f"hosts: [{names}]").replace('[a.test, "*.b.test"]', f"[{names}]")
    route = one(convert(WORLD + text % "gateways: [istio-system/edge]", "cilium", target_version="1.20"), "TLSRoute")
    assert route["apiVersion"] == f"gateway.networking.k8s.io/{api}"


@pytest.mark.parametrize(("target", "options"), [("cilium", {}), ("gateway-api", {}), ("linkerd", {"gateway_class": "nginx"})])
def test_rules_for_a_gateway_of_the_namespace_that_they_are_exported_to_lose_nothing(target: str, options: dict[str, str]) -> None:
    """`exportTo` was said to be lost (MP356), and onto Linkerd a defect (MP901)."""
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {exportTo: [%s], hosts: [web.example.com], gateways: [edge], http: [{route: [{destination: {host: db, port: {number: 443}}}]}]}
"""
    result = convert(WORLD + text % "'.'", target, **options)
    assert not {"MP356", "MP901"} & set(codes(result)) and result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("host", ["DB_SERVICE.DB_NAMESPACE.svc.cluster.local", "$(db).shop.svc.cluster.local"])
def test_a_destination_that_is_no_host_name_is_not_written(host: str) -> None:
    """istiod refuses the object; the route named a namespace that no cluster can have (MP900)."""
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web.example.com], gateways: [edge], http: [{route: [{destination: {host: %s}}]}]}
"""
    result = convert(WORLD + text % host, "cilium")
    assert "MP072" in codes(result) and "MP900" not in codes(result)
    assert all(item.object["kind"] != "HTTPRoute" for item in result.manifests)


def test_connections_at_a_gateway_that_is_not_in_the_input_are_said_to_be_lost_for_that() -> None:
    """It was said that no listener takes them."""
    text = (SPLIT % "").replace("hosts: [db]", "hosts: [db]\n  gateways: [edge]")
    (finding,) = [item for item in convert(WORLD + text, "cilium", target_version="1.20").findings if item.code == "MP306"]
    assert "Gateway shop/edge is not in the input" in finding.message


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_a_port_that_a_rule_for_tls_names_is_none_for_requests_where_the_service_is_not_known(target: str) -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: unseen, namespace: shop}
spec:
  hosts: [unseen]
  http: [{route: [{destination: {host: db}, weight: 90}, {destination: {host: elsewhere}, weight: 10}]}]
  tls: [{match: [{port: 3000, sniHosts: [unseen]}], route: [{destination: {host: db}}]}]
"""
    result = convert(WORLD + text, target)
    assert "MP301" in codes(result)
    assert not {"MP900", "MP901"} & codes(result)
