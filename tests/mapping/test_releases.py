"""What a release knows of a kind: fields, values and versions that come and go are findings through the tables alone."""

from __future__ import annotations

from typing import Any

import pytest

import meshport


def _said(text: str, source: str, version: str | None = None) -> list[tuple[str, str, str]]:
    """(code, severity, message) of the findings that the release has about the document."""
    found = meshport.lint(meshport.load_text(text), source=source, source_version=version)
    return [
        (item.code, item.severity, item.message) for item in found if item.code in ("MP010", "MP011", "MP013", "MP020", "MP021", "MP022")
    ]


BUDGET = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: users, namespace: shop}
spec: {host: users, trafficPolicy: {retryBudget: {percent: 20, minRetryConcurrency: 3}}}
"""

KAFKA = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: kafka, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: kafka}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: ingest}}]
    toPorts:
    - ports: [{port: "9092", protocol: TCP}]
      rules: {kafka: [{role: produce, topic: events}]}
"""


def test_a_field_of_a_later_release_does_nothing() -> None:
    """Istio has retry budgets since 1.27: on 1.26 the API server drops the field."""
    assert _said(BUDGET, "istio", "1.27") == []
    ((code, severity, message),) = _said(BUDGET, "istio", "1.26")
    assert (code, severity) == ("MP021", "error")
    assert "Istio 1.26 does not know spec.trafficPolicy.retryBudget.percent" in message and "1.27 does" in message


def test_what_does_nothing_is_not_converted() -> None:
    result = meshport.convert(meshport.load_text(BUDGET), source="istio", source_version="1.26", target="linkerd")
    budget = [line for line in result.ledger if "retryBudget" in line.path]
    assert {line.disposition for line in budget} == {"invalid"} and {code for line in budget for code in line.codes} == {"MP021"}


def test_kafka_rules_until_cilium_1_19() -> None:
    assert _said(KAFKA, "cilium", "1.19") == []
    ((code, severity, message),) = _said(KAFKA, "cilium", "1.20")
    assert (code, severity) == ("MP022", "error")
    assert (
        "Cilium does not know spec.ingress[].toPorts[].rules.kafka[].role, spec.ingress[].toPorts[].rules.kafka[].topic any more since 1.20"
        in message
    )


def test_a_value_of_a_later_release() -> None:
    text = "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: a, namespace: b}, spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster-mesh]}]}}"
    assert _said(text, "cilium", "1.20") == []
    ((code, _, message),) = _said(text, "cilium", "1.19")
    assert code == "MP021" and "'cluster-mesh' of spec.ingress[].fromEntities[]" in message


def test_a_version_that_the_release_does_not_serve_yet() -> None:
    text = "{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: a, namespace: b}, spec: {podSelector: {}, port: 80}}"
    assert _said(text, "linkerd", "2.16") == []
    ((code, _, message),) = _said(text, "linkerd", "2.15")
    assert (
        code == "MP011"
        and "Linkerd 2.15 does not serve Server at policy.linkerd.io/v1beta3; it serves v1beta2, v1beta1, v1alpha1" in message
    )


def test_a_kind_that_came_later() -> None:
    text = "{apiVersion: policy.linkerd.io/v1alpha1, kind: EgressNetwork, metadata: {name: a, namespace: b}, spec: {trafficPolicy: Deny}}"
    ((code, _, message),) = _said(text, "linkerd", "2.16")
    assert code == "MP021" and "Linkerd 2.16 has no kind EgressNetwork; it came with 2.17" in message


def test_a_field_that_only_another_version_has() -> None:
    """accessPolicy stands in v1beta3 alone; at v1beta1 the API server drops it."""
    text = "{apiVersion: policy.linkerd.io/v1beta1, kind: Server, metadata: {name: a, namespace: b}, spec: {podSelector: {}, port: 80, accessPolicy: deny}}"
    ((code, _, message),) = _said(text, "linkerd")
    assert code == "MP021" and "Server has no spec.accessPolicy at policy.linkerd.io/v1beta1; v1beta3 has it" in message


def test_an_annotation_of_a_later_release() -> None:
    """An unknown annotation is kept and does nothing: no error, but a warning."""
    text = "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: b, annotations: {retry.linkerd.io/http: 5xx}}, spec: {ports: [{port: 80}]}}"
    assert _said(text, "linkerd", "2.16") == []
    ((code, severity, message),) = _said(text, "linkerd", "2.15")
    assert (code, severity) == ("MP021", "warning") and "Linkerd 2.15 does not know retry.linkerd.io/http; 2.16 does" in message


@pytest.mark.parametrize(
    ("spec", "clash"),
    [
        ({"endpointSelector": {}, "nodeSelector": {}, "ingress": [{}]}, "spec: endpointSelector and nodeSelector stand together"),
        ({"ingress": [{}]}, "spec: none of endpointSelector, nodeSelector is there"),
        (
            {"endpointSelector": {}, "ingress": [{"fromEntities": ["world"], "fromEndpoints": [{}]}]},
            "spec.ingress[0]: fromEndpoints and fromEntities stand together",
        ),
        (
            {"endpointSelector": {}, "egress": [{"toFQDNs": [{"matchName": "a.example", "matchPattern": "*"}]}]},
            "spec.egress[0].toFQDNs[0]: matchName and matchPattern stand together",
        ),
    ],
)
def test_members_that_exclude_each_other(spec: dict[str, Any], clash: str) -> None:
    """Cilium takes no such policy, so none of it is converted."""
    policy = {"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "a"}, "spec": spec}
    bundle = meshport.load_objects([policy])
    ((found),) = [item for item in meshport.lint(bundle, source="cilium") if item.code == "MP020"]
    assert clash in found.message and "does nothing" in found.message


def test_an_empty_list_of_peers_excludes_nobody() -> None:
    spec = {"endpointSelector": {}, "ingress": [{"fromCIDR": [], "fromEntities": ["world"]}]}
    policy = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    assert not [item for item in meshport.lint(meshport.load_objects([policy]), source="cilium") if item.code == "MP020"]
