"""Hand-written CiliumEnvoyConfigs: what of them another mesh gets, and what is left to a finding as a whole."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.dialects.cilium import envoy
from tests.decisions.decision_helper import said, written

ONE, TWO = "shop/web", "shop/api"


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def config(routes: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """A table for `web`, with clusters for it and for `api`; `changed` in the first."""
    clusters = [{**envoy.cluster(ONE), **changed}, envoy.cluster(TWO)]
    resources = [envoy.listener("web", "http"), envoy.table("web", routes), *clusters]
    return {
        "apiVersion": "cilium.io/v2", "kind": "CiliumEnvoyConfig", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"services": [{"name": "web", "namespace": "shop"}], "resources": resources},
    }  # fmt: skip


def converted(obj: dict[str, Any], target: str = "istio") -> Any:
    result = meshport.convert(meshport.load_objects([service("web"), service("api"), obj]), source="cilium", target=target)
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []
    return result


def plain(**action: Any) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": ONE, "timeout": "0s", **action}}


@pytest.mark.parametrize("value", ["%DOWNSTREAM_REMOTE_ADDRESS%", "50%%"])
def test_what_a_header_asks_envoy_for_it_asks_istios_proxies_for(value: str) -> None:
    header = {"header": {"key": "x-from", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    obj = config([{**plain(), "request_headers_to_add": [header]}])
    assert written(converted(obj), "VirtualService")["web"]["spec"]["http"][0]["headers"]["request"]["set"] == {"x-from": value}
    elsewhere = converted(obj, "linkerd")
    assert [finding.code for finding in said(elsewhere, "MP309")] == (["MP309"] if value != "50%%" else [])
    assert ("'value': '50%'" in str(written(elsewhere, "HTTPRoute"))) == (value == "50%%")


def test_shares_that_are_not_said_are_none() -> None:
    shares = [{"name": ONE}, {"name": TWO, "weight": 3}]
    route = written(
        converted(config([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": shares}, "timeout": "0s"}}])),
        "VirtualService",
    )
    assert [(item["destination"]["host"].partition(".")[0], item.get("weight")) for item in route["web"]["spec"]["http"][0]["route"]] in (
        [("web", 0), ("api", 100)], [("api", None)], [("api", 100)]
    )  # fmt: skip
    none = [{"name": ONE}, {"name": TWO}]
    result = converted(config([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": none}}}]))
    assert said(result, "MP950") and not written(result, "VirtualService")


def test_a_cluster_with_endpoints_of_its_own_is_no_service() -> None:
    result = converted(config([plain()], type="STRICT_DNS", circuit_breakers={"thresholds": [{"max_connections": 3}]}))
    assert said(result, "MP950") and not written(result, "VirtualService") and not written(result, "DestinationRule")


def test_limits_for_requests_of_high_priority_are_none_for_others() -> None:
    thresholds = [{"priority": "HIGH", "max_connections": 3}, {"priority": "DEFAULT", "max_connections": 7}]
    result = converted(config([plain()], circuit_breakers={"thresholds": thresholds}))
    assert written(result, "DestinationRule")["web"]["spec"]["trafficPolicy"]["connectionPool"]["tcp"]["maxConnections"] == 7
    priority = next(line for line in result.ledger if line.path.endswith("thresholds[1].priority"))
    assert priority.disposition == "translated" and priority.outputs  # with another one there would be no limit
    usual = converted(config([plain()], circuit_breakers={"thresholds": [{"max_connections": 9}]}))  # which are for all others
    assert written(usual, "DestinationRule")["web"]["spec"]["trafficPolicy"]["connectionPool"]["tcp"]["maxConnections"] == 9
    result = converted(config([plain()], circuit_breakers={"thresholds": thresholds[:1]}))
    assert said(result, "MP950") and "maxConnections" not in str(written(result, "DestinationRule"))


def test_a_table_inside_its_listener_is_read() -> None:
    obj = config([])
    listener, table, *clusters = obj["spec"]["resources"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    ring = [{**clusters[0], "lb_policy": "RING_HASH"}, clusters[1]]
    hashed = plain(hash_policy=[{"header": {"header_name": "x-user"}}])
    manager["route_config"] = {
        "name": "any",
        "virtual_hosts": [{**table["virtual_hosts"][0], "routes": [{**plain(), "match": {"path": "/a"}}, plain()]}],
    }
    result = converted({**obj, "spec": {**obj["spec"], "resources": [listener, clusters[0]]}})
    assert written(result, "VirtualService")["web"]["spec"]["http"][0]["match"] == [{"uri": {"exact": "/a"}}] and not said(result, "MP950")
    manager["route_config"]["virtual_hosts"][0]["routes"] = [hashed]
    result = converted({**obj, "spec": {**obj["spec"], "resources": [listener, *ring]}})
    policy = written(result, "DestinationRule")["web"]["spec"]["trafficPolicy"]
    assert policy["loadBalancer"]["consistentHash"] == {"httpHeaderName": "x-user"}


@pytest.mark.parametrize(("match", "read"), [
    ({"prefix": "/Ab", "case_sensitive": False}, {"uri": {"regex": "(?i:/Ab.*)"}}),
    ({"prefix": "/", "case_sensitive": True, "headers": [{"name": ":authority", "string_match": {"exact": "a"}}]}, {"authority": {"exact": "a"}}),
    ({"prefix": "/", "headers": [{"name": "x", "present_match": False}]}, {"withoutHeaders": {"x": {}}}),
    ({"prefix": "/", "headers": [{"name": "x", "string_match": {"exact": "a"}, "invert_match": True}]}, {"withoutHeaders": {"x": {"exact": "a"}}, "headers": {"x": {"regex": ".*"}}}),
    ({"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}, "invert_match": True}]}, None),
    ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 5}}}, None),
])  # fmt: skip
def test_matches_of_envoys_own(match: dict[str, Any], read: dict[str, Any] | None) -> None:
    result = converted(config([{**plain(), "match": match}, {**plain(), "route": {"cluster": TWO, "timeout": "0s"}}]))
    assert bool(said(result, "MP950")) == (read is None)
    if read is not None:
        assert written(result, "VirtualService")["web"]["spec"]["http"][0]["match"] == [read]


def test_a_new_prefix_for_one_in_any_case_is_not_a_new_path() -> None:
    match = {"prefix": "/Ab", "case_sensitive": False}
    assert said(converted(config([{**plain(prefix_rewrite="/new"), "match": match}])), "MP950")


def test_a_share_that_is_answered_before_the_route_is_a_failure_that_is_injected() -> None:
    failing = {"match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 5}}}, "direct_response": {"status": 503, "body": {"inline_string": "fault filter abort"}}}  # fmt: skip
    result = converted(config([failing, plain()]))
    assert written(result, "VirtualService")["web"]["spec"]["http"][0]["fault"] == {
        "abort": {"httpStatus": 503, "percentage": {"value": 5.0}}
    }
    for table in (
        [failing],
        [failing, failing, plain()],
        [{**failing, "direct_response": {"status": 503}}, plain()],
        [failing, {**plain(), "match": {"path": "/a"}}],
    ):
        assert said(converted(config(table)), "MP950")
