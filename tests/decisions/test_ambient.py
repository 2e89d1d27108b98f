"""From sidecars to ambient: what ztunnel holds stays with the pods, the rest goes to a waypoint."""

from __future__ import annotations

from .decision_helper import convert, namespace, policy, service, spec, workload, written

WORLD = namespace() + namespace("web") + service("users") + workload("users") + workload("page", home="web")
FROM_WEB = "from: [{source: {principals: [cluster.local/ns/web/sa/page]}}]"


def test_a_policy_of_addresses_and_names_keeps_its_selector_beside_one_that_moves() -> None:
    of_page = policy("{selector: {matchLabels: {app: page}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}", "page", "web")
    reads = f"{{selector: {{matchLabels: {{app: users}}}}, rules: [{{{FROM_WEB}, to: [{{operation: {{methods: [GET]}}}}]}}]}}"
    result = convert(WORLD + of_page + policy(reads), "istio", "istio", data_plane="ambient")
    assert spec(result, "AuthorizationPolicy", "users")["targetRefs"] == [{"group": "", "kind": "Service", "name": "users"}]
    assert spec(result, "AuthorizationPolicy", "users-only-by-waypoint") == {
        "selector": {"matchLabels": {"app": "users"}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/waypoint"]}}]}],
    }
    assert "page" not in written(result, "AuthorizationPolicy")
    assert [item["metadata"]["name"] for item in result.passed_through if item["kind"] == "AuthorizationPolicy"] == ["page"]
    (document,) = {
        line.document for line in result.ledger if line.path == "metadata.name" and line.value == "page" and "Policy" not in line.path
    } - {4}
    lines = [line for line in result.ledger if line.document == document]
    assert {(line.disposition, line.reason) for line in lines} == {("translated", "stays as it is")}
    assert not [finding for finding in result.findings if finding.code == "MP200"]
