"""The order of rules at a Gateway, host by host: another that sends a request elsewhere is a difference with that request, another form of the same is none."""

from __future__ import annotations

import pytest

import meshport
from tests.compare.test_order_told import BELOW, EXACT, MARKED, PLACE, REST, WORLD, told
from tests.decisions.decision_helper import convert, thing

ENTRANCE = thing(
    "networking.istio.io/v1",
    "Gateway",
    "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
    "door",
)


def rules(*listed: str, hosts: str = "a.example", name: str = "users") -> str:
    spec = f"{{hosts: [{hosts}], gateways: [door], http: [{', '.join(listed)}]}}"
    return WORLD + ENTRANCE + thing("networking.istio.io/v1", "VirtualService", spec, name)


@pytest.mark.parametrize(
    ("old", "new", "sent", "path", "headers"),
    [
        ((EXACT, BELOW, REST), (BELOW, EXACT, REST), ("users", "old"), "/a", None),
        ((MARKED, PLACE, REST), (PLACE, MARKED, REST), ("old", "users"), "/b", {"x-new": "1"}),
    ],
    ids=["a narrower rule that goes behind a wider one", "two rules that change places"],
)
def test_what_another_order_sends_elsewhere_is_told(
    old: tuple[str, ...], new: tuple[str, ...], sent: tuple[str, str], path: str, headers: dict[str, str] | None
) -> None:
    changes, verdict, (request,) = told(rules(*old), rules(*new))
    assert ("behaviour", *(f"to shop/app={name}" for name in sent)) in changes
    assert (verdict, request["path"], request.get("headers"), request["host"]) == ("changed", path, headers, "a.example")
    assert request["source"]["meshed"] is False


def test_another_order_of_rules_that_share_nothing_is_none() -> None:
    assert told(rules(PLACE, BELOW, REST), rules(BELOW, PLACE, REST)) == ([], "equivalent", [])
    assert told(rules(PLACE, BELOW), rules(BELOW, PLACE)) == ([], "equivalent", [])


def test_what_reads_otherwise_and_takes_the_same_is_of_form() -> None:
    """A rule that sends where the rest is sent to says nothing."""
    changes, verdict, requests = told(rules(EXACT, BELOW, REST), rules(EXACT, BELOW, PLACE, REST))
    assert (verdict, requests) == ("equivalent", [])
    assert {kind for kind, *_ in changes} <= {"form"}


def test_a_host_more_is_a_difference_as_before() -> None:
    _, verdict, requests = told(rules(EXACT, REST), rules(EXACT, REST, hosts="a.example, b.example"))
    assert (verdict, len(requests)) == ("changed", 1)


@pytest.mark.parametrize("target", ["cilium", "gateway-api"])
def test_what_is_written_for_a_gateway_keeps_the_order(target: str) -> None:
    result = convert(rules(MARKED, EXACT, BELOW, REST), "istio", target)
    assert "MP900" not in {item.code for item in result.findings}


def test_a_request_that_a_narrower_rule_lost_is_found_on_either_side() -> None:
    one, other = meshport.load_text(rules(EXACT, BELOW, REST)), meshport.load_text(rules(BELOW, REST))
    proof = meshport.verify(one, other, old_mesh="istio", new_mesh="istio")
    assert [(item.request["path"], item.request["method"]) for item in proof.differences] == [("/a", "GET")]
