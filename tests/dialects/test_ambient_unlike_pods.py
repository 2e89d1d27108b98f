"""Istio ambient where a policy is for some of the pods behind a Service, which its waypoint does not tell apart, and where nothing is known of the namespace."""

from __future__ import annotations

from typing import Any

import pytest
from test_access_to_istio import ON_ROUTE, grant, route, server
from test_ambient_read import CHARGE, NAMESPACE, ONLY_BY_WAYPOINT, SELECTOR, WAYPOINT, converted, policy, workload
from test_ambient_to_sidecars import sidecars
from test_ambient_written import STRICT, ambient, shop

SECOND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: payment-v2, namespace: shop}
spec:
  selector: {matchLabels: {app: payment, version: v2}}
  template:
    metadata: {labels: {app: payment, version: v2}}
    spec: {serviceAccountName: payment, containers: [{name: app, image: payment, ports: [{containerPort: 8080}]}]}
---
"""
FIRST = ", version: v1"
GUARDED = (
    (server("8080") + route("{method: GET}") + grant("{kind: ServiceAccount, name: checkout, namespace: shop}", ON_ROUTE))
    .replace("users-api", "users-8080")
    .replace("users", "payment")
)
"""A Server of Linkerd with a route that one account may use."""
OF_FIRST = "selector: {matchLabels: {app: payment, version: v1}}"


def access(result: Any, workload_: str) -> dict[str, Any]:
    """What the read-back says of port 8080 of a workload."""
    found: dict[str, Any] = result.canonical[1][f"access to shop/{workload_} port 8080"]["allow"]
    return found


def affected(result: Any, code: str) -> set[str | None]:
    return {place.workload for finding in result.findings if finding.code == code for place in finding.affects}


def test_pods_beside_those_that_a_guard_closes_are_open_to_who_passes_the_waypoint() -> None:
    guard = ONLY_BY_WAYPOINT.replace("{app: payment}", "{app: payment, version: v1}")
    text = NAMESPACE + WAYPOINT + workload("payment", pod=FIRST) + SECOND + workload("checkout", "a: b") + policy("l7", CHARGE) + guard
    _, result = converted(text)
    assert affected(result, "MP239") == {"payment-v2"}
    _, result = sidecars(text)
    assert {"payment-v2"} == affected(result, "MP244")
    assert list(access(result, "payment")) == list(access(result, "payment-v2"))


def test_a_server_of_some_of_the_pods_leaves_the_others_open() -> None:
    """Linkerd's Server closes one of two workloads; the Service before both has a route, so it gets a waypoint."""
    home = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {linkerd.io/inject: enabled}}\n---\n"
    only = GUARDED.replace("{app: payment}", "{app: payment, version: v1}")
    _, result = ambient(home + workload("payment", "a: b", pod=FIRST) + SECOND + workload("checkout", "a: b") + only, "linkerd")
    assert affected(result, "MP244") >= {"payment-v2"}


def test_a_deny_for_some_of_the_pods_refuses_at_the_others_too_and_says_so() -> None:
    get = "{to: [{operation: {methods: [GET], ports: ['8080']}}]}"
    _, result = ambient(shop(FIRST) + SECOND + STRICT + policy("no-get", get, OF_FIRST, "DENY"))
    assert "payment-v2" in affected(result, "MP244")


@pytest.mark.parametrize("source", ["istio", "cilium", "linkerd"])
def test_a_namespace_that_is_not_in_the_bundle_is_enrolled_by_a_command_and_read_back_as_such(source: str) -> None:
    pods = workload("payment", "a: b") + workload("checkout", "a: b")
    said = {
        "istio": policy("l7", CHARGE, SELECTOR),
        "cilium": """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: l7, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: payment}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: checkout}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: POST}]}}]
---
""",
        "linkerd": GUARDED,
    }
    _, result = ambient(pods + said[source], source)
    assert "MP102" in {finding.code for finding in result.findings}
    (command,) = [text for text in result.install["commands"] if text.startswith("kubectl label namespace shop ")]
    assert "istio.io/dataplane-mode=ambient" in command
    assert ("istio-injection-" in command) == (source == "istio")  # a sidecar would win


def test_a_port_without_mutual_tls_in_a_policy_without_a_mode_takes_plaintext_in_the_word_that_ztunnel_looks_for() -> None:
    rule = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: metrics, namespace: shop}
spec: {selector: {matchLabels: {app: payment}}, portLevelMtls: {"8080": {mode: DISABLE}}}
---
"""
    out, result = ambient(shop() + STRICT + rule)
    assert out["PeerAuthentication", "metrics"]["spec"]["portLevelMtls"] == {"8080": {"mode": "PERMISSIVE"}}
    assert "anyone" in access(result, "payment")
    (said,) = [finding.message for finding in result.findings if finding.code == "MP111"]
    assert said.endswith("ztunnel accepts encrypted traffic and plaintext there")


def test_pods_outside_the_mesh_stay_outside_of_a_namespace_that_a_command_enrols() -> None:
    out, result = converted(
        workload("payment", "a: b", pod=', sidecar.istio.io/inject: "false"') + policy("closed", "", SELECTOR).replace("[]", "[{}]")
    )
    assert [text for text in result.install["commands"] if "linkerd.io/inject=enabled" in text]
    assert out["Deployment", "payment"]["spec"]["template"]["metadata"]["annotations"] == {"linkerd.io/inject": "disabled"}


def test_hosts_outside_have_no_more_clients_by_a_namespace_that_a_command_enrols() -> None:
    outside = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: other}
spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: other}
spec: {hosts: [api.example.com], http: [{timeout: 2s, route: [{destination: {host: api.example.com}}]}]}
---
"""
    _, result = ambient(workload("payment", "a: b") + policy("l7", CHARGE, SELECTOR) + outside)
    assert not [change.subject for change in result.diff if "clients of shop" in change.subject]
