"""Rules for requests to a host, from Istio to Linkerd: `hostnames` of a route take a name with whatever port, which Istio says with two entries."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml

from tests.decisions.decision_helper import convert, namespace, said, service, thing, workload, written
from tests.scenarios.common import problems, verdicts

WORLD = namespace(mesh="istio") + service("web") + workload("web") + workload("cart")
BOTH = "[api.test, 'api.test:*']"


def policy(rules: str, name: str = "web", action: str = "ALLOW") -> str:
    return thing(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        f"{{selector: {{matchLabels: {{app: web}}}}, action: {action}, rules: {rules}}}",
        name,
    )


def hostnames(result: Any) -> list[list[str]]:
    return [spec["spec"]["hostnames"] for spec in written(result, "HTTPRoute").values() if "hostnames" in spec["spec"]]


def test_a_host_with_and_without_ports_is_the_hostname_of_a_route() -> None:
    result = convert(WORLD + policy(f"[{{to: [{{operation: {{hosts: {BOTH}, methods: [GET]}}}}]}}]"), "istio", "linkerd")
    assert hostnames(result) == [["api.test"]] and not said(result, "MP201")


@pytest.mark.parametrize("hosts", ["[api.test]", "['api.test:80']", "['*.test']", "['10.0.0.1', '10.0.0.1:*']"])
def test_what_a_hostname_takes_more_than_is_left_out(hosts: str) -> None:
    result = convert(WORLD + policy(f"[{{to: [{{operation: {{hosts: {hosts}}}}}]}}]"), "istio", "linkerd")
    assert hostnames(result) == [] and said(result, "MP201")


REQUESTS = [
    {"source": {"namespace": "shop", "service_account": account, "meshed": True}, "destination": {"namespace": "shop", "workload": "web", "port": 8080},
     "protocol": "http", "method": method, "host": host, "path": "/x", "headers": {}}
    for account, method, host in product(("cart", "web"), ("GET", "HEAD", "PUT"), ("api.test", "API.test:8080", "web.shop", "x.api.test"))
]  # fmt: skip


@pytest.mark.parametrize(
    "deny", ["", f"[{{to: [{{operation: {{hosts: {BOTH}, methods: [PUT]}}}}]}}]", "[{to: [{operation: {methods: [PUT]}}]}]"]
)
def test_the_route_of_a_host_goes_before_others_and_has_what_they_admit(deny: str) -> None:
    cart = "{source: {principals: [cluster.local/ns/shop/sa/cart]}}"
    rules = f"[{{from: [{cart}], to: [{{operation: {{hosts: {BOTH}}}}}]}}, {{to: [{{operation: {{methods: [HEAD]}}}}]}}]"
    text = WORLD + policy(rules) + (policy(deny, "closed", "DENY") if deny else "")
    result = convert(text, "istio", "linkerd")
    assert ["api.test"] in hostnames(result) and not said(result, "MP201") and not said(result, "MP900")
    objects = [item for item in yaml.safe_load_all(text) if item]
    asked = list(verdicts(objects, result, REQUESTS))
    assert {request["host"] for request, before, after in asked if before != after} <= {"API.test:8080"} and said(result, "MP155")
    assert problems(objects, result, REQUESTS)[0] == [] and len(asked) > 15


def test_a_deny_for_a_host_is_no_route() -> None:
    """Where Linkerd tells capitals apart, it would be got past by who may send to every other host."""
    rules = "[{to: [{operation: {methods: [PUT, GET]}}]}]"
    result = convert(WORLD + policy(rules) + policy(f"[{{to: [{{operation: {{hosts: {BOTH}}}}}]}}]", "closed", "DENY"), "istio", "linkerd")
    assert hostnames(result) == [] and said(result, "MP201")
