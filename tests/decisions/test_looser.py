"""--on-loss looser: of a rule that cannot be said whole only the demands go that cannot be said, and the error shows a request that gets in by that."""

from __future__ import annotations

from typing import Any

import pytest

from .decision_helper import convert, grant, namespace, network_policy, policy, said, server, service, shop, spec, thing, workload, written

WORLD = namespace(mesh="plain") + service("users") + workload("users") + workload("web")


def by_path(path: str) -> str:
    requests = f"[{{ports: [{{port: '8080', protocol: TCP}}], rules: {{http: [{{method: GET, path: '{path}'}}]}}}}]"
    return network_policy(
        f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}], toPorts: {requests}}}]}}"
    )


def opened(result: Any) -> Any:
    """The request that the one error of a lost condition shows."""
    (found,) = said(result, "MP218")
    assert (found.severity, found.effect) == ("error", "widens")
    return found.witness


@pytest.mark.parametrize(("path", "match"), [("/x", "/x"), ("/search[?]q=.*", "/search")])
def test_a_path_of_cilium_with_its_query_is_the_path_in_linkerd(path: str, match: str) -> None:
    result = convert(WORLD + by_path(path), "cilium", "linkerd", on_loss="looser", keep_network_policy=False)
    route = written(result, "HTTPRoute")["users-8080-users"]["spec"]["rules"]
    assert route == [{"matches": [{"method": "GET", "path": {"type": "Exact", "value": match}}]}]
    assert opened(result)["path"].startswith(match)
    assert result.verification.verdict == "widened"


def test_istio_keeps_the_method_where_it_has_no_words_for_the_path() -> None:
    text = WORLD + by_path("/x/[^/]*")
    strict = convert(text, "cilium", "istio", keep_network_policy=False)
    assert said(strict, "MP201") and "rules" not in spec(strict, "AuthorizationPolicy", "users")
    result = convert(text, "cilium", "istio", on_loss="looser", keep_network_policy=False)
    (rule,) = spec(result, "AuthorizationPolicy", "users")["rules"]
    assert rule["to"] == [{"operation": {"ports": ["8080"], "methods": ["GET"]}}] and "when" not in rule
    assert opened(result)["method"] == "GET"


def test_istio_keeps_the_path_of_a_route_that_asks_for_a_parameter() -> None:
    match = "{method: GET, path: {type: Exact, value: /x}, queryParams: [{name: q, value: '1'}]}"
    parents = "[{group: policy.linkerd.io, kind: Server, name: users}]"
    text = (
        shop("linkerd")
        + server("{podSelector: {matchLabels: {app: users}}, port: 8080, proxyProtocol: HTTP/1}")
        + thing("gateway.networking.k8s.io/v1", "HTTPRoute", f"{{parentRefs: {parents}, rules: [{{matches: [{match}]}}]}}", "users")
        + grant("{group: gateway.networking.k8s.io, kind: HTTPRoute, name: users}", "[{kind: ServiceAccount, name: web}]")
    )
    result = convert(text, "linkerd", "istio", on_loss="looser")
    rules = [rule["to"][0]["operation"] for rule in spec(result, "AuthorizationPolicy", "users")["rules"] if rule.get("from")]
    assert {"ports": ["8080"], "methods": ["GET"], "paths": ["/x"]} in rules
    assert opened(result)["path"] == "/x"


def test_cilium_keeps_method_and_path_where_it_has_no_words_for_a_header() -> None:
    rule = "{to: [{operation: {methods: [GET], paths: [/x]}}], when: [{key: 'request.headers[x-t]', values: ['a*']}]}"
    text = shop("istio") + policy(f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{rule}]}}")
    result = convert(text, "istio", "cilium", on_loss="looser")
    requests = [
        one
        for entry in spec(result, "CiliumNetworkPolicy", "users")["ingress"]
        for port in entry["toPorts"]
        for one in port["rules"]["http"]
    ]
    assert requests == [{"method": "GET", "path": r"/x(\?.*)?"}]
    assert opened(result)["path"] == "/x"
