"""Routes of Linkerd by a header's regular expression and by the hosts of a domain, as Istio says them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {containers: [{name: a, image: a, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: users}]
  HOSTS
  rules: [{matches: [{path: {type: PathPrefix, value: /api}HEADERS}]}]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec: {targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: api}, requiredAuthenticationRefs: []}
"""


FOREIGN = """---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: foreign, namespace: shop}
spec: {identities: ["*.other.test"]}
"""


def converted(hosts: str = "", headers: str = "") -> tuple[list[dict[str, Any]], Any]:
    result = meshport.convert(
        meshport.load_text(WORLD.replace("HOSTS", hosts).replace("HEADERS", headers)), source="linkerd", target="istio"
    )
    (policy,) = [item.object for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]
    assert not any(finding.code in ("MP900", "MP901", "MP904") for finding in result.findings)
    return policy["spec"]["rules"], result


@pytest.mark.parametrize(("regex", "said"), [("bl.*", "bl*"), (".*-team", "*-team"), ("^(?:blue)$", "blue")])
def test_a_header_by_a_simple_expression(regex: str, said: str) -> None:
    """A header's value has no line breaks, so that `.*` at an end is Istio's star."""
    rules, result = converted(headers=f', headers: [{{name: x-team, type: RegularExpression, value: "{regex}"}}]')
    assert rules[0]["when"] == [{"key": "request.headers[x-team]", "values": [said]}]
    assert result.verification.verdict == "equivalent"


def test_an_expression_that_istio_has_no_form_for_is_left_out() -> None:
    _, result = converted(headers=', headers: [{name: x-team, type: RegularExpression, value: "bl[a-m]+"}]')
    assert [finding.severity for finding in result.findings if finding.code == "MP201"] == ["error"]


def test_the_hosts_of_a_domain_are_said_with_the_usual_ports() -> None:
    """Istio compares the header with its port and has one star."""
    rules, result = converted(hosts='hostnames: ["*.example.com"]')
    assert rules[0]["to"][0]["operation"]["hosts"] == ["*.example.com", "*.example.com:443", "*.example.com:80", "*.example.com:8080"]
    (said,) = [finding for finding in result.findings if finding.code == "MP172"]
    assert (said.severity, said.effect) == ("warning", "narrows")
    assert said.witness["host"] == "a.example.com:0" and result.verification.verdict == "narrowed"


def test_below_hosts_of_a_domain_the_part_that_istio_has_no_form_for_is_named() -> None:
    """The hosts could be said with the usual ports; what stands in the way is the header."""
    _, result = converted('hostnames: ["*.example.com"]', ', headers: [{name: x-team, type: RegularExpression, value: "bl[a-m]+"}]')
    (left,) = [finding for finding in result.findings if finding.code == "MP201"]
    assert "x-team" in left.message and "hosts" not in left.message


def test_a_named_host_is_said_with_every_port() -> None:
    rules, result = converted(hosts="hostnames: [users.example.com]")
    assert rules[0]["to"][0]["operation"]["hosts"] == ["users.example.com", "users.example.com:*"]
    assert not [finding for finding in result.findings if finding.code == "MP172"], yaml.safe_dump(rules)


def test_hosts_of_a_domain_for_callers_that_istio_has_no_name_for_are_left_out() -> None:
    """Fewer hosts would not make the callers sayable."""
    asked = "[{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: foreign}]"
    world = WORLD.replace("HOSTS", 'hostnames: ["*.example.com"]').replace("HEADERS", "") + FOREIGN
    world = world.replace("requiredAuthenticationRefs: []", f"requiredAuthenticationRefs: {asked}")
    result = meshport.convert(meshport.load_text(world), source="linkerd", target="istio")
    (left,) = [finding for finding in result.findings if finding.code == "MP201"]
    assert "*.other.test" in left.message
    assert not [finding for finding in result.findings if finding.code == "MP172"]
