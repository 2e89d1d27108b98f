"""What a finding says of values: in the words of YAML, in one line, with the command that its remedy speaks of."""

from __future__ import annotations

import re
from typing import Any

import pytest

import meshport
from meshport.dialects.output import fill
from meshport.explain import remedy
from meshport.mapping.table import builtin

WORLD = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
ROUTES = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - name: broken
    match: [{uri: {prefix: /broken}}]
    fault: {delay: {fixedDelay: 5s, percentage: {value: 10}}, abort: {httpStatus: 503, percentage: {value: 20}}}
    route: [{destination: {host: cart}}]
  - name: moved
    match: [{uri: {prefix: /old}}]
    redirect: {prefixRewrite: /new}
  - name: mine
    match: [{sourceLabels: {app: web}}]
    route: [{destination: {host: cart}}]
  - route: [{destination: {host: cart}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {}}
"""


@pytest.mark.parametrize(
    ("value", "says"),
    [(True, "true"), (None, "null"), ({"app": "x", "on": True}, "app=x, on=true"), ([1, "a"], '[1, "a"]'), ("a:\n  b\n", "a: ... (2 lines)"), ({}, "{}"), ("x", "x")],
)  # fmt: skip
def test_values_are_said_in_one_line_of_yaml(value: Any, says: str) -> None:
    assert fill("the value {value} is lost", {"value": value}) == f"the value {says} is lost"


def said(target: str, text: str = WORLD + ROUTES) -> list[tuple[str, str]]:
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    assert result.ledger.counts["unaccounted"] == 0
    return [(finding.code, finding.message) for finding in result.findings]


def test_a_fault_is_one_finding_with_its_share_of_the_requests() -> None:
    found = [text for code, text in said("linkerd") if code == "MP355"]
    assert len(found) == 2
    assert any("(5s for 10 % of the requests)" in text for text in found)
    assert any("(503 for 20 % of the requests)" in text for text in found)


def test_texts_speak_of_the_thing_at_hand() -> None:
    assert any(code == "MP329" and text.endswith("as its redirect needs") for code, text in said("gateway-api"))
    found = said("cilium")
    assert any(code == "MP356" and "the rule for app=web is left out" in text for code, text in found)
    assert not any(code == "MP558" for code, _ in found)  # an empty block sets nothing
    assert any(code == "MP132" and text.startswith("The workloads of shop leave ") for code, text in found)


@pytest.mark.parametrize(("target", "code"), [("linkerd", "MP102"), ("cilium", "MP133")])
def test_the_remedy_has_the_command_that_it_speaks_of(target: str, code: str) -> None:
    text = WORLD[WORLD.index("---\n") :] + ROUTES
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    found = next(finding for finding in result.findings if finding.code == code)
    assert found.remedy.partition("or run: ")[2] in result.install["commands"]


def test_no_page_has_a_place_that_only_a_finding_fills() -> None:
    table = builtin()
    assert [name for name, row in table.codes().items() if re.search(r"\{[a-z_]+\}|\{\{", remedy(row))] == []
    assert remedy(table.codes()["MP271"]) == "What the finding says: it depends on what was found."
    assert "kubectl get namespace NAMESPACE -o yaml" in remedy(table.codes()["MP102"])
