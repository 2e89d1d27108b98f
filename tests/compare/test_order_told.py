"""The order of rules decides who takes what two of them match: `diff` and `verify` tell another order, and what reads differently and does the same is no defect."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from tests.decisions.decision_helper import convert, namespace, service, thing, workload

WORLD = namespace() + "".join(service(name) + workload(name) for name in ("users", "old"))
OLD = "route: [{destination: {host: old}}]"
OWN = "route: [{destination: {host: users}}]"
EXACT = f"{{match: [{{uri: {{exact: /a}}}}], {OWN}}}"
BELOW = f"{{match: [{{uri: {{prefix: /a}}}}], {OLD}}}"
MARKED = f"{{match: [{{headers: {{x-new: {{exact: '1'}}}}}}], {OLD}}}"
PLACE = f"{{match: [{{uri: {{exact: /b}}}}], {OWN}}}"
REST = f"{{{OWN}}}"


def rules(*listed: str) -> str:
    return WORLD + thing("networking.istio.io/v1", "VirtualService", f"{{hosts: [users], http: [{', '.join(listed)}]}}", "users")


def told(old: str, new: str) -> tuple[list[tuple[str, str, str]], str, list[dict[str, Any]]]:
    one, other = meshport.load_text(old), meshport.load_text(new)
    found = meshport.diff(one, other, old_mesh="istio", new_mesh="istio")
    proof = meshport.verify(one, other, old_mesh="istio", new_mesh="istio")
    return [(item.kind, str(item.before), str(item.after)) for item in found], proof.verdict, [item.request for item in proof.differences]


@pytest.mark.parametrize(
    ("old", "new", "sent", "path", "headers"),
    [
        ((EXACT, BELOW, REST), (BELOW, REST), ("users", "old"), "/a", None),  # what the first rule kept from the second goes with it
        ((MARKED, PLACE, REST), (PLACE, MARKED, REST), ("old", "users"), "/b", {"x-new": "1"}),
    ],
    ids=["a narrower rule that ends", "two rules that change places"],
)
def test_what_another_order_sends_elsewhere_is_told(
    old: tuple[str, ...], new: tuple[str, ...], sent: tuple[str, str], path: str, headers: Any
) -> None:
    changes, verdict, (request,) = told(rules(*old), rules(*new))
    assert ("behaviour", *(f"to shop/app={name}" for name in sent)) in changes
    assert (verdict, request["path"], request.get("headers")) == ("changed", path, headers)


def test_another_order_of_rules_that_share_nothing_is_none() -> None:
    assert told(rules(PLACE, BELOW, REST), rules(BELOW, PLACE, REST)) == ([], "equivalent", [])


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
@pytest.mark.parametrize("first", ["match: [{uri: {exact: /a}}]", "match: [{uri: {prefix: /a}}]", "match: [{method: {exact: GET}}]"])
def test_a_rule_that_only_retries_otherwise_is_no_defect(target: str, first: str) -> None:
    """Istio's two retries end in the target: there the rule that has none is like the rest, and reads as part of it."""
    result = convert(rules(f"{{{first}, retries: {{attempts: 0}}, {OWN}}}", REST), "istio", target)
    assert {item.code for item in result.findings if item.severity == "error"} <= {"MP130"}


def test_values_with_a_line_break_tell_nothing() -> None:
    """`^b\\..*$` of Linkerd and the prefix `b.` differ in such alone, which no header has."""
    prefix = f"{{match: [{{headers: {{x-user: {{prefix: b.}}}}}}], {OLD}}}"
    convert(rules(prefix, PLACE, REST), "istio", "linkerd")
