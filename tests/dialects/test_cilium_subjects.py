"""Whom a Cilium policy selects, where that is no pod, or no pod that the bundle shows; and denies of pods that it does not show."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec:
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: pay, containers: [{name: a, image: "a:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: audit, namespace: shop}
spec:
  template:
    metadata: {labels: {app: pay}}
    spec: {serviceAccountName: audit, containers: [{name: a, image: "a:1", ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: a, image: "a:1", ports: [{containerPort: 8080}]}]}
"""


def converted(spec: str, kind: str = "CiliumClusterwideNetworkPolicy", **options: Any) -> Any:
    policy: dict[str, Any] = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": "guard"}, "spec": yaml.safe_load(spec)}
    if kind == "CiliumNetworkPolicy":
        policy["metadata"]["namespace"] = "shop"
    bundle = meshport.load_objects([*yaml.safe_load_all(WORLD), policy])
    result = meshport.convert(bundle, **{"source": "cilium", "target": "istio", **options})
    assert not {"MP900", "MP901", "MP902", "MP904"} & {finding.code for finding in result.findings}
    return result


def written(result: Any, kind: str) -> dict[str, Any]:
    return {item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == kind}


NODES = "{nodeSelector: {matchLabels: {role: edge}}, ingress: [{fromEntities: [cluster]}]}"
HEALTH = "{endpointSelector: {matchLabels: {'reserved:health': ''}}, ingress: [{fromEntities: [remote-node]}], egress: [{toEntities: [remote-node]}]}"


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("target", ["istio", "linkerd"])
@pytest.mark.parametrize(("spec", "code"), [(NODES, "MP120"), (HEALTH, "MP296")], ids=["nodes", "health"])
def test_policies_for_what_is_no_pod_stay_with_cilium(spec: str, code: str, target: str, keep: bool) -> None:
    result = converted(spec, target=target, keep_network_policy=keep)
    assert result.removals == []
    (finding,) = [finding for finding in result.findings if finding.code == code]
    assert (finding.severity, finding.disposition) == ("warning", None)
    assert result.ledger.counts["dropped"] == result.ledger.counts["manual"] == 0


@pytest.mark.parametrize(
    "selector",
    [
        "{matchLabels: {io.cilium.k8s.namespace.labels.zone: inner}}",
        "{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: NotIn, values: [shop]}]}",
        "{matchLabels: {io.cilium.k8s.policy.serviceaccount: ghost}}",
    ],
    ids=["labels of the namespace", "every other namespace", "account"],
)
def test_pods_that_the_bundle_does_not_show_are_asked_for_and_their_policy_is_kept(selector: str) -> None:
    spec = f"{{endpointSelector: {selector}, ingress: [{{fromEntities: [cluster]}}], egressDeny: [{{toEntities: [kube-apiserver]}}]}}"
    kept = converted(spec)
    assert kept.removals == []
    (finding,) = [finding for finding in kept.findings if finding.code == "MP297"]
    assert finding.severity == "error"
    assert "kubectl get ns,deploy,sts,ds" in finding.remedy
    assert [item["name"] for item in converted(spec, keep_network_policy=False).removals] == ["guard"]


SHARED = (
    "{endpointSelector: {matchLabels: {io.cilium.k8s.policy.serviceaccount: pay}}, "
    "ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}], ingressDeny: [{fromEndpoints: [{matchLabels: {app: pay}}]}]}"
)


def test_pods_told_by_their_account_alone_are_closed_with_those_that_carry_the_same_labels() -> None:
    result = converted(SHARED, "CiliumNetworkPolicy", keep_network_policy=False)
    policies = written(result, "AuthorizationPolicy")
    assert policies["guard"] == {"selector": {"matchLabels": {"app": "pay"}}}
    assert policies["guard-deny"]["action"] == "DENY"
    assert "MP121" in {finding.code for finding in result.findings}
    assert written(converted(SHARED, "CiliumNetworkPolicy", keep_network_policy=False, on_loss="looser"), "AuthorizationPolicy") == {}
    kept = converted(SHARED, "CiliumNetworkPolicy")
    assert kept.removals == []
    assert written(kept, "AuthorizationPolicy") == {}


def test_no_alarm_for_pods_with_other_labels_under_an_account_that_the_bundle_shows() -> None:
    spec = (
        "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEntities: [cluster]}], "
        "ingressDeny: [{fromEndpoints: [{matchLabels: {app: ghost}}]}]}"
    )
    result = converted(spec, "CiliumNetworkPolicy", keep_network_policy=False)
    assert result.verification.verdict != "widened"
    (deny,) = [spec for spec in written(result, "AuthorizationPolicy").values() if spec.get("action") == "DENY"]
    assert deny["rules"] == [
        {
            "from": [
                {
                    "source": {
                        "namespaces": ["shop"],
                        "notPrincipals": [f"cluster.local/ns/shop/sa/{name}" for name in ("audit", "pay", "web")],
                    }
                }
            ]
        }
    ]


def test_an_action_on_a_header_that_does_not_match_refuses_nothing_and_is_lost() -> None:
    rules = "{http: [{method: GET, headerMatches: [{name: x-team, value: a, mismatch: REPLACE}]}]}"
    spec = f"{{endpointSelector: {{matchLabels: {{app: web}}}}, ingress: [{{toPorts: [{{ports: [{{port: '8080', protocol: TCP}}], rules: {rules}}}]}}]}}"
    result = converted(spec, "CiliumNetworkPolicy", keep_network_policy=False)
    (policy,) = written(result, "AuthorizationPolicy").values()
    assert policy["rules"] == [{"to": [{"operation": {"methods": ["GET"], "ports": ["8080"]}}]}]
    (finding,) = [finding for finding in result.findings if finding.code == "MP127"]
    assert finding.severity == "warning" and "REPLACE" in finding.message


def test_a_deny_of_pods_without_a_label_holds_for_accounts_that_the_bundle_does_not_show() -> None:
    spec = (
        "{endpointSelector: {matchLabels: {app: pay}}, ingress: [{fromEndpoints: [{}]}], "
        "ingressDeny: [{fromEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}]}]}"
    )
    result = converted(spec, "CiliumNetworkPolicy", keep_network_policy=False)
    (source,) = [rule["source"] for rule in written(result, "AuthorizationPolicy")["guard-deny"]["rules"][0]["from"]]
    assert source == {"namespaces": ["shop"], "notPrincipals": ["cluster.local/ns/shop/sa/web"]}
    linkerd = converted(spec, "CiliumNetworkPolicy", target="linkerd", keep_network_policy=False)
    ((reference,),) = [one["requiredAuthenticationRefs"] for one in written(linkerd, "AuthorizationPolicy").values()]
    assert reference == {"kind": "ServiceAccount", "name": "web", "namespace": "shop"}


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_an_action_on_a_header_that_goes_out_is_lost_where_the_kept_policy_loses_its_http(target: str) -> None:
    """It was a defect (MP901)."""
    rules = "{http: [{method: GET, headerMatches: [{name: x-team, value: a, mismatch: REPLACE}]}]}"
    ports = f"toPorts: [{{ports: [{{port: '8080', protocol: TCP}}], rules: {rules}}}]"
    result = converted(
        f"{{endpointSelector: {{matchLabels: {{app: web}}}}, egress: [{{toEndpoints: [{{matchLabels: {{app: unknown}}}}], {ports}}}]}}",
        "CiliumNetworkPolicy",
        target=target,
        on_loss="looser",
    )
    assert "MP127" in {finding.code for finding in result.findings} and result.ledger.counts["unaccounted"] == 0


@pytest.mark.parametrize("mode", ["required", "disabled", "test-always-fail"])
@pytest.mark.parametrize(
    "what", ['toPorts: [{ports: [{port: "53", protocol: UDP}]}]', "icmps: [{fields: [{type: 8}]}]"], ids=["udp", "icmp"]
)
@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_handshake_for_what_no_mesh_governs_is_lost_with_it(target: str, what: str, mode: str) -> None:
    """Where the mesh takes the policy's place; it was a defect (MP901)."""
    spec = f"{{endpointSelector: {{matchLabels: {{app: pay}}}}, ingress: [{{fromEndpoints: [{{matchLabels: {{app: web}}}}], {what}, authentication: {{mode: {mode}}}}}]}}"
    result = converted(spec, "CiliumNetworkPolicy", target=target, keep_network_policy=False)
    (line,) = [one for one in result.ledger if one.path.endswith("authentication.mode")]
    assert (line.disposition, list(line.codes)) == ("dropped", ["MP274"])
