"""Istio's policies for an older Istio: newer fields of a source are said as principals, for a release that passes over a field lets everybody in."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: payment, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: payment}}}}, action: ALLOW, rules: [{{from: [{{source: {source}}}]}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: payment, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: payment}}}}, template: {{metadata: {{labels: {{app: payment}}}}, spec: {{containers: [{{name: app, image: app}}]}}}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: enabled}}}}
"""


def sources(source: str, release: str) -> tuple[list[Any], meshport.Result]:
    """The sources of the policy as they are written, and the whole result."""
    result = meshport.convert(
        meshport.load_text(POLICY.format(source=source)), source="istio", target="istio", source_version="1.31", target_version=release
    )
    assert not [finding for finding in result.findings if finding.code in ("MP900", "MP901", "MP904")]
    assert result.verification is not None and result.verification.verdict in ("equivalent", "narrowed")
    written = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    return [entry["source"] for one in written for rule in one["spec"].get("rules", ()) for entry in rule["from"]], result


@pytest.mark.parametrize(
    ("source", "release", "said"),
    [
        ("{serviceAccounts: [web, ops/api]}", "1.24", {"principals": ["*/ns/shop/sa/web", "*/ns/ops/sa/api"]}),
        ("{namespaces: [ops], notServiceAccounts: [ops/api]}", "1.25", None),
        (
            "{ipBlocks: [10.0.0.0/8], notServiceAccounts: [ops/api]}",
            "1.24",
            {"ipBlocks": ["10.0.0.0/8"], "notPrincipals": ["*/ns/ops/sa/api"]},
        ),
        ("{trustDomains: [td.one]}", "1.29", {"principals": ["td.one/*"]}),
        ("{trustDomains: [td.one], namespaces: [ops]}", "1.29", {"namespaces": ["ops"], "principals": ["td.one/*"]}),
        ("{trustDomains: [td.one], serviceAccounts: [ops/api]}", "1.29", {"principals": ["td.one/ns/ops/sa/api"]}),
        ("{notTrustDomains: [td.one]}", "1.29", {"notPrincipals": ["td.one/*"]}),
    ],
)
def test_newer_fields_of_a_source_are_principals(source: str, release: str, said: dict[str, Any] | None) -> None:
    written, _ = sources(source, release)
    assert written == ([said] if said is not None else [])


def test_what_no_principals_say_leaves_with_its_rule() -> None:
    written, result = sources("{trustDomains: [td.one], principals: ['*/sa/web']}", "1.29")
    assert written == []
    assert any("1.29" in finding.message or finding.effect in ("narrows", "changes") for finding in result.findings)
