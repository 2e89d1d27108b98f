"""Network policies that know callers and pods by their labels, where a waypoint comes to stand between them: requests go to the waypoint's pods and on from
there, both on port 15008."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decisions.decision_helper import convert, network_policy, policy, said, shop, workload

READS = policy(
    "{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET]}}]}]}"
)
BY_PORT = policy("{selector: {matchLabels: {app: users}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")


def network(spec: str, name: str = "net") -> str:
    return f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"


FROM_WEB = network("podSelector: {matchLabels: {app: users}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]")
GATE = "{podSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: waypoint}}}"
TO_GATE = network("podSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: waypoint}}, ingress: [{}], egress: [{}]", "gate")
CLOSED = network("podSelector: {}, policyTypes: [Ingress]", "closed")
OUT = network("podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: users}}}]}, {ports: [{port: 53}]}]", "out")  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (FROM_WEB, "NetworkPolicy shop/net"),  # the waypoint does not reach the pods
        (FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]"), None),
        (network("podSelector: {}, ingress: [{from: [{podSelector: {}}]}]"), None),  # pods of the own namespace, the waypoint's among them
        (CLOSED + FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]"), "NetworkPolicy shop/closed"),  # nobody reaches the waypoint
        (CLOSED + FROM_WEB.replace("{app: web}}}]", "{app: web}}}, " + GATE + "]") + TO_GATE, None),
        (CLOSED, None),  # nobody came to the pods before
        (OUT, "NetworkPolicy shop/out"),  # the caller does not reach the waypoint
        (OUT.replace("{app: users}}}]", "{app: users}}}, " + GATE + "]"), None),
        (network("podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: ops}}}]}]"), None),  # of other pods
    ],
)  # fmt: skip
def test_whoever_is_refused_on_the_way_through_a_waypoint_is_named(beside: str, named: str | None) -> None:
    found = said(convert(shop("istio") + workload("web") + READS + beside, "istio", "istio", data_plane="ambient"), "MP190")
    assert [(item.severity, item.effect, item.message.partition(":")[0]) for item in found] == (
        [("error", "narrows", named)] if named else []
    )
    assert all("shop/users" in item.message and "gateway-name: waypoint" in item.remedy for item in found)


@pytest.mark.parametrize(
    "more",
    [BY_PORT, READS],
    ids=["no waypoint is needed", "sidecars"],
)
def test_without_a_waypoint_nothing_is_said(more: str) -> None:
    options: dict[str, Any] = {"data_plane": "ambient"} if more is BY_PORT else {}
    assert not said(convert(shop("istio") + workload("web") + more + FROM_WEB, "istio", "istio", **options), "MP190")


@pytest.mark.parametrize(("keep", "count"), [(True, 1), (False, 0)])
def test_policies_of_cilium_that_are_kept_are_such(keep: bool, count: int) -> None:
    rule = (
        "{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '8080', protocol: TCP}], rules: {http: [{method: GET}]}}]}"
    )
    text = shop("plain") + workload("web") + network_policy(f"{{endpointSelector: {{matchLabels: {{app: users}}}}, ingress: [{rule}]}}")
    assert len(said(convert(text, "cilium", "istio", data_plane="ambient", keep_network_policy=keep), "MP190")) == count
