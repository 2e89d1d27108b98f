"""Pods beside the known ones of a namespace, to Cilium: what selects known pods takes others too, and policies add up."""

from __future__ import annotations

from typing import Any

import meshport
from meshport.dialects.kinds import Kinds
from meshport.ir.base import Requirement, Selector

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}, annotations: {linkerd.io/inject: enabled}}
---
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
"""
NO_BATCH = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-batch, namespace: shop}
spec: {SELECTOR, action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}]}]}
---
"""


def deployment(name: str, labels: str = "", notes: str = "") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}{labels}}}}}
  template:
    metadata: {{labels: {{app: {name}{labels}}}, annotations: {{{notes}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: app, image: x, ports: [{{name: http, containerPort: 8080}}]}}]}}
---
"""


def converted(text: str, source: str, release: str = "1.18") -> tuple[dict[str, dict[str, Any]], meshport.Result]:
    """The network policies by name, and the result."""
    result = meshport.convert(meshport.load_text(NAMESPACE + text), source=source, target="cilium", target_version=release)
    assert not {"MP900", "MP901", "MP904"} & {finding.code for finding in result.findings}
    made = [item.object for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    return {item["metadata"]["name"]: item["spec"] for item in made}, result


def test_a_deny_of_pods_that_strict_closes_opens_them_to_nobody() -> None:
    """Before 1.16 a deny closes what it selects, and opens it again for all but whom it denies, where nothing else closes it. Here STRICT does: plaintext got in."""
    batch = deployment("cart") + deployment("batch") + STRICT
    made, _ = converted(batch + NO_BATCH.replace("SELECTOR", "selector: {matchLabels: {app: cart}}"), "istio", "1.15")
    assert made["strict-mtls"]["endpointSelector"] == {}
    assert "ingress" not in made["no-batch"]
    permissive, _ = converted(
        batch.replace("STRICT", "PERMISSIVE") + NO_BATCH.replace("SELECTOR", "selector: {matchLabels: {app: cart}}"), "istio", "1.15"
    )
    assert permissive["no-batch"]["ingress"] == [{"fromEntities": ["all"]}]


def test_of_pods_of_which_a_policy_closes_some_a_deny_leaves_the_others_open() -> None:
    allow = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
---
"""
    world = deployment("cart") + deployment("batch") + deployment("web")
    made, _ = converted(world + allow + NO_BATCH.replace("SELECTOR, ", ""), "istio", "1.15")
    assert "ingress" not in made["no-batch"]
    assert made["no-batch-open"] == {
        "endpointSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["batch", "web"]}]},
        "ingress": [{"fromEntities": ["all"]}],
    }


DENIES = "config.linkerd.io/default-inbound-policy: deny"


def test_what_pods_say_of_themselves_is_for_those_that_their_controller_counts() -> None:
    """A pod by the name of the application and without its tier has the default of the namespace, and stays as open as it was."""
    made, result = converted(deployment("cart", ", tier: back", DENIES), "linkerd")
    assert [spec["endpointSelector"] for spec in made.values()] == [{"matchLabels": {"app": "cart", "tier": "back"}}]
    assert "MP286" not in {finding.code for finding in result.findings}


def test_pods_with_the_name_of_an_application_that_has_a_default_of_its_own_are_closed_as_their_namespace_is() -> None:
    strict = NAMESPACE.replace(
        "linkerd.io/inject", "config.linkerd.io/default-inbound-policy: all-authenticated, linkerd.io/inject"
    ).replace("name: shop", "name: ops")
    cart = deployment("cart", ", tier: back", "config.linkerd.io/default-inbound-policy: audit").replace(
        "namespace: shop", "namespace: ops"
    )
    made, _ = converted(strict + cart, "linkerd")
    chosen = [spec["endpointSelector"] for name, spec in made.items() if name.startswith("default-all-authenticated")]
    assert chosen == [
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["cart"]}]},
        {"matchLabels": {"app": "cart"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]},
    ]


def server(name: str, selector: str, account: str, age: str) -> str:
    return f"""
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {{name: {name}, namespace: shop, creationTimestamp: "{age}"}}
spec: {{podSelector: {{matchLabels: {{{selector}}}}}, port: admin}}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{targetRef: {{group: policy.linkerd.io, kind: Server, name: {name}}}, requiredAuthenticationRefs: [{{kind: ServiceAccount, name: {account}}}]}}
---
"""


def test_of_servers_that_name_one_port_of_unknown_pods_the_oldest_has_it() -> None:
    """Both policies select a pod with both labels, and add up: all but the callers of the older Server are denied on its port."""
    text = server("old", "app: ghost", "cart", "2025-01-01T00:00:00Z") + server("new", "tier: back", "web", "2025-02-01T00:00:00Z")
    made, _ = converted(deployment("cart") + deployment("web") + text, "linkerd")
    (both,) = [spec for spec in made.values() if spec["endpointSelector"] == {"matchLabels": {"app": "ghost", "tier": "back"}}]
    assert "ingress" not in both
    assert {entry["ports"][0]["port"] for rule in both["ingressDeny"] for entry in rule["toPorts"]} == {"admin"}
    (peers,) = [rule["fromEndpoints"] for rule in both["ingressDeny"] if "fromEndpoints" in rule]
    spared = {"key": "k8s:io.cilium.k8s.policy.serviceaccount", "operator": "NotIn", "values": ["cart"]}
    assert {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}, "matchExpressions": [spared]} in peers


def test_findings_about_known_pods_name_the_others_that_their_policy_selects() -> None:
    _, result = converted(deployment("cart") + STRICT, "istio")
    (said,) = [finding for finding in result.findings if finding.code == "MP281"]
    assert {place.workload for place in said.affects} == {"cart", "any pod"}


def policies_of(number: int) -> str:
    """Policies by a label of its own each, all of which a pod may have."""
    return "".join(
        f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p{one}, namespace: shop}}
spec: {{selector: {{matchLabels: {{role{one}: x}}}}, rules: [{{from: [{{source: {{principals: [cluster.local/ns/shop/sa/s{one}]}}}}]}}]}}
---
"""
        for one in range(number)
    )


def test_where_more_sets_of_labels_are_told_apart_than_are_looked_at_that_is_said() -> None:
    _, few = converted(policies_of(4), "istio")
    assert "MP147" not in {finding.code for finding in few.findings}
    _, many = converted(policies_of(14), "istio")
    assert [(finding.effect, finding.affects[0].workload) for finding in many.findings if finding.code == "MP147"] == [
        ("changes", "any pod")
    ]


def test_where_not_all_sets_of_labels_are_looked_at_those_of_three_selectors_are() -> None:
    kinds = Kinds([Selector.of({f"role{one}": "x"}) for one in range(14)], [])
    groups = kinds.groups()
    assert {(), (0,), (12, 13), (0, 1, 2), (11, 12, 13)} <= groups.keys()
    assert not kinds.whole


def _taking(made: dict[str, dict[str, Any]], labels: dict[str, str], section: str = "ingress") -> list[str]:
    """The policies whose selectors take a pod, of those that have the section."""
    found = []
    for name, spec in made.items():
        chosen = spec["endpointSelector"]
        listed = [Requirement(one["key"], one["operator"], tuple(one.get("values", ()))) for one in chosen.get("matchExpressions", ())]
        if section in spec and Selector.of(chosen.get("matchLabels", {}), listed).accepts(labels):
            found.append(name)
    return found


VERSIONS = deployment("cart", ", version: v1") + deployment("cart", ", version: v2").replace("name: cart, names", "name: cart-v2, names")


def test_pods_that_differ_from_one_with_a_policy_of_its_own_by_either_of_two_labels_get_a_policy_for_each() -> None:
    """No single selector takes what is not `app: cart, version: v2`; two do. All of the namespace were closed (MP282)."""
    only = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only, namespace: shop}
spec:
  selector: {matchLabels: {app: cart, version: v2}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]
---
"""
    made, result = converted(VERSIONS + deployment("web", ", version: v2") + STRICT + only, "istio")
    assert "MP282" not in {finding.code for finding in result.findings}
    assert _taking(made, {"app": "cart", "version": "v2"}) == ["only"]
    for labels in ({"app": "cart", "version": "v1"}, {"app": "web", "version": "v2"}, {"app": "new"}):
        taking = _taking(made, labels)
        assert taking
        assert all(made[name]["ingress"][0]["toPorts"] == [{"ports": [{"port": "0", "protocol": "TCP"}]}] for name in taking)


def test_pods_out_of_the_mesh_that_two_labels_alone_tell_apart_stay_open() -> None:
    """They were closed with the others (MP285), by what lets in and by what denies."""
    text = (
        VERSIONS.replace("version: v2}, ann", 'version: v2, sidecar.istio.io/inject: "false"}, ann')
        + deployment("web", ", version: v2")
        + deployment("batch")
    )
    ports = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ports, namespace: shop}
spec: {rules: [{to: [{operation: {ports: ["8080"]}}]}]}
---
"""
    made, result = converted(text + ports + NO_BATCH.replace("SELECTOR, ", ""), "istio")
    assert "MP285" not in {finding.code for finding in result.findings}
    for section in ("ingress", "ingressDeny"):
        assert _taking(made, {"app": "cart", "version": "v2"}, section) == []
        for labels in ({"app": "cart", "version": "v1"}, {"app": "web", "version": "v2"}, {"app": "batch"}):
            assert _taking(made, labels, section)


def test_pods_out_of_the_mesh_are_told_by_a_label_that_only_some_of_the_others_have() -> None:
    """`version: v1` is theirs alone; the others have v2, or none."""
    text = (
        VERSIONS.replace("version: v1}, ann", 'version: v1, sidecar.istio.io/inject: "false"}, ann')
        + deployment("web")
        + deployment("batch")
    )
    ports = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ports, namespace: shop}
spec: {rules: [{to: [{operation: {ports: ["8080"]}}]}]}
---
"""
    made, result = converted(text + ports, "istio")
    assert "MP285" not in {finding.code for finding in result.findings}
    assert _taking(made, {"app": "cart", "version": "v1"}) == []
    for labels in ({"app": "cart", "version": "v2"}, {"app": "web"}, {"app": "batch"}):
        assert _taking(made, labels)
