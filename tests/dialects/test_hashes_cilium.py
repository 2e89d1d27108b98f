"""Requests that belong together: Istio's consistentHash and the Envoy clusters that hash, in both directions."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: users, namespace: shop}
spec: {selector: {app: users}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
TWO_PORTS = SERVICE.replace("targetPort: 8080}", "targetPort: 8080}, {name: tcp-sync, port: 90}")
ONLY_BYTES = SERVICE.replace("name: http", "name: tcp-sync")


def rule(said: str, more: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: users, namespace: shop}}
spec: {{host: users, trafficPolicy: {{loadBalancer: {{consistentHash: {said}}}{more}}}}}
"""


def convert(text: str, source: str = "istio", target: str = "cilium") -> Any:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


def resources(result: Any, kind: str) -> list[Any]:
    (found,) = [item.object for item in result.manifests if item.object["kind"] == "CiliumEnvoyConfig"]
    return [item for item in found["spec"]["resources"] if item["@type"].endswith(kind)]


def said(result: Any) -> set[str]:
    return {finding.code for finding in result.findings if finding.severity != "info"} - {"MP130"}


@pytest.mark.parametrize(
    ("asked", "hashed", "cluster"),
    [
        ("{httpHeaderName: x-user}", {"header": {"header_name": "x-user"}}, {"lb_policy": "RING_HASH"}),
        (
            "{httpCookie: {name: who, path: /, ttl: 1m30s}, ringHash: {minimumRingSize: 2048}}",
            {"cookie": {"name": "who", "path": "/", "ttl": "90s"}},
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 2048}},
        ),
        ("{httpQueryParameterName: id, maglev: {}}", {"query_parameter": {"name": "id"}}, {"lb_policy": "MAGLEV"}),
        (
            "{useSourceIp: true, maglev: {tableSize: 251}}",
            {"connection_properties": {"source_ip": True}},
            {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 251}},
        ),
    ],
)
def test_a_hash_is_one_of_the_route_and_comes_back(asked: str, hashed: Any, cluster: Any) -> None:
    result = convert(SERVICE + rule(asked))
    assert resources(result, "RouteConfiguration")[0]["virtual_hosts"][0]["routes"][0]["route"]["hash_policy"] == [hashed]
    (written,) = resources(result, "Cluster")
    assert {key: value for key, value in written.items() if key in ("lb_policy", "ring_hash_lb_config", "maglev_lb_config")} == cluster
    assert said(result) == set()
    assert {line.disposition for line in result.ledger if "consistentHash" in line.path} == {"translated"}
    back = convert(SERVICE + "---\n".join(yaml.safe_dump(item.object) for item in result.manifests), "cilium", "istio")
    (again,) = [item.object["spec"] for item in back.manifests if item.object["kind"] == "DestinationRule"]
    assert again["trafficPolicy"]["loadBalancer"]["consistentHash"] == yaml.safe_load(asked.replace("1m30s", "90s"))
    assert said(back) == set()


def test_the_old_name_of_a_rings_size_is_the_one_of_today() -> None:
    asked = "{httpHeaderName: x-user, minimumRingSize: 2048}"
    (written,) = resources(convert(SERVICE + rule(asked)), "Cluster")
    assert written["ring_hash_lb_config"] == {"minimum_ring_size": 2048}
    lost = convert(SERVICE + rule(asked), target="linkerd").findings
    assert [finding.code for finding in lost if finding.code.startswith("MP9")] == []
    assert any(finding.code == "MP554" and "2048" in finding.message for finding in lost)


@pytest.mark.parametrize("more", ["", ", outlierDetection: {consecutive5xxErrors: 3}"])
def test_of_bytes_the_address_alone_is_hashed(more: str) -> None:
    result = convert(ONLY_BYTES + rule("{useSourceIp: true}", more))
    (proxy,) = [item for item in resources(result, "Listener") if "TcpProxy" in str(item)]
    assert proxy["filter_chains"][0]["filters"][0]["typed_config"]["hash_policy"] == [{"source_ip": {}}]
    assert said(result) <= {"MP520", "MP521"}
    back = convert(ONLY_BYTES + "---\n".join(yaml.safe_dump(item.object) for item in result.manifests), "cilium", "istio")
    (again,) = [item.object["spec"] for item in back.manifests if item.object["kind"] == "DestinationRule"]
    assert list(again["trafficPolicy"]["loadBalancer"]["consistentHash"]) == ["useSourceIp"]
    assert said(back) == set()
    by_header = convert(TWO_PORTS + rule("{httpHeaderName: x-user}", more))  # of two ports the one for requests has the listener
    assert not [item for item in resources(by_header, "Listener") if "TcpProxy" in str(item)]
    assert said(by_header) - {"MP520", "MP521"} == {"MP365"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ONLY_BYTES + rule("{httpHeaderName: x-user}"), "MP540"),
        (SERVICE.replace("spec: {", "spec: {clusterIP: None, ") + rule("{httpHeaderName: x-user}"), "MP523"),
        (rule("{httpHeaderName: x-user}"), "MP522"),
    ],
)
def test_a_hash_that_nothing_goes_by_is_named(text: str, code: str) -> None:
    result = convert(text)
    assert not [item for item in result.manifests if item.object["kind"] == "CiliumEnvoyConfig"]
    assert said(result) == {code}


def test_linkerd_loses_the_hash_of_an_envoy_cluster() -> None:
    written = convert(SERVICE + rule("{httpHeaderName: x-user}"))
    text = SERVICE + "---\n".join(yaml.safe_dump(item.object) for item in written.manifests)
    assert "MP554" in said(convert(text, "cilium", "linkerd"))
    unlike = text.replace("header_name: x-user", "header_name: x-user\n              regex_rewrite: {pattern: {regex: a}, substitution: b}")
    assert unlike != text
    assert "MP950" in said(convert(unlike, "cilium", "istio"))


def test_a_listener_that_hands_bytes_on_to_its_own_service_is_no_loss() -> None:
    written = convert(ONLY_BYTES + rule("{}", ", connectionPool: {tcp: {maxConnections: 9}, http: {idleTimeout: 20s}}"))
    text = "---\n".join(yaml.safe_dump(item.object) for item in written.manifests)
    back = convert(ONLY_BYTES + text, "cilium", "istio")
    (again,) = [item.object["spec"] for item in back.manifests if item.object["kind"] == "DestinationRule"]
    assert again["trafficPolicy"]["connectionPool"] == {"tcp": {"maxConnections": 9}, "http": {"idleTimeout": "20s"}}
    assert said(back) == set()
    elsewhere = text.replace("cluster: shop/users", "cluster: shop/others")
    assert elsewhere != text
    assert "MP950" in said(convert(ONLY_BYTES + elsewhere, "cilium", "istio"))
