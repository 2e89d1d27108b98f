"""GRPCRoutes on Services: retries on a gRPC status are written on them, and Linkerd's order of them is kept both ways."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from test_order_of_routing_rules import by_istio
from test_routing_helper import convert, service

SERVICES, METHODS = ("shop.Cart", "shop.Pay"), ("Add", "List", "ListAll")
PORTS = "[{name: grpc, port: 80, targetPort: 8080}]"
WORLD = service("app", ports=PORTS) + "".join(service(f"b{number}", ports=PORTS) for number in range(6))


def requests(chance: random.Random, count: int = 40) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        path = f"/{chance.choice((*SERVICES, 'other.Thing'))}/{chance.choice((*METHODS, 'Drop'))}"
        yield {
            "path": path,
            "method": "POST",
            "headers": {name: chance.choice("12") for name in ("x-one", "x-two") if chance.random() < 0.6},
            "query": {},
        }


def by_linkerd(routes: list[dict[str, Any]], request: dict[str, Any]) -> str:
    """The match with the longer name of a service, of a method, with more headers; then the first by name and place (linkerd2-proxy)."""
    best: tuple[tuple[int, int, int], str] | None = None
    _, wanted, method = request["path"].split("/")
    for route in sorted(routes, key=lambda item: item["metadata"]["name"]):
        for rule in route["spec"]["rules"]:
            for match in rule.get("matches") or [{}]:
                named, headers = match.get("method", {}), match.get("headers", [])
                if named.get("service", wanted) != wanted or named.get("method", method) != method:
                    continue
                if any(request["headers"].get(item["name"]) != item["value"] for item in headers):
                    continue
                rank = (len(named.get("service", "")), len(named.get("method", "")), len(headers))
                if best is None or rank > best[0]:
                    best = (rank, rule["backendRefs"][0]["name"])
    return best[1] if best else "404"


def virtual_service(chance: random.Random) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    for number in range(chance.randint(2, 5)):
        matches: list[dict[str, Any]] = []
        for _ in range(chance.choice([0, 1, 1, 2])):
            match: dict[str, Any] = {}
            name = chance.choice(SERVICES)
            if uri := chance.choice([{}, {"prefix": "/"}, {"prefix": f"/{name}/"}, {"exact": f"/{name}/{chance.choice(METHODS)}"}]):
                match["uri"] = uri
            for header in ("x-one", "x-two"):
                if chance.random() < 0.4:
                    match.setdefault("headers", {})[header] = {"exact": chance.choice("12")}
            if match:
                matches.append(match)
        on = "unavailable" if number == 0 else chance.choice(["cancelled", "unavailable,internal"])
        rule: dict[str, Any] = {"route": [{"destination": {"host": f"b{number}"}}], "retries": {"attempts": 2, "retryOn": on}}
        rules.append({**rule, "match": matches} if matches else rule)
    metadata = {"name": "app", "namespace": "shop"}
    spec = {"hosts": ["app"], "http": rules}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}


def grpc_routes(chance: random.Random) -> list[dict[str, Any]]:
    documents = []
    for name in range(chance.randint(1, 2)):
        rules = []
        for number in range(chance.randint(1, 3)):
            matches: list[dict[str, Any]] = []
            for _ in range(chance.choice([0, 1, 2])):
                named = {"service": chance.choice(SERVICES), "method": chance.choice(METHODS)}
                for key in chance.choice([(), ("service",), ("method",), ("service", "method")]):
                    named.pop(key)
                headers = [{"name": name, "value": chance.choice("12")} for name in ("x-one", "x-two") if chance.random() < 0.4]
                matches.append({**({"method": named} if named else {}), **({"headers": headers} if headers else {})})
            matches = [match for match in matches if match]
            backend = {"name": f"b{3 * name + number}", "port": 80}
            rules.append({"backendRefs": [backend], **({"matches": matches} if matches else {})})
        spec = {"parentRefs": [{"group": "core", "kind": "Service", "name": "app", "port": 80}], "rules": rules}
        metadata = {"name": f"r{name}", "namespace": "shop"}
        documents.append({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": metadata, "spec": spec})
    return documents


@pytest.mark.parametrize("seed", range(25))
def test_first_match_survives_the_ranking_of_grpc_routes(seed: int) -> None:
    chance = random.Random(seed)
    source = virtual_service(chance)
    result = convert(WORLD + "---\n" + yaml.safe_dump(source), "istio", "linkerd", check=seed % 8 == 0)
    routes = [obj for obj in result.objects.values() if obj["kind"] == "GRPCRoute"]
    assert routes and not [obj for obj in result.objects.values() if obj["kind"] == "HTTPRoute"]
    for request in requests(chance):
        assert by_linkerd(routes, request) == by_istio(source["spec"], request), request
    assert result.unexplained == []
    assert result.left("VirtualService") == []


@pytest.mark.parametrize("seed", range(25))
def test_the_ranking_of_grpc_routes_survives_first_match(seed: int) -> None:
    chance = random.Random(seed)
    source = grpc_routes(chance)
    result = convert(WORLD + "---\n" + yaml.safe_dump_all(source), "linkerd", "istio", check=seed % 8 == 0)
    for request in requests(chance):
        assert by_istio(result.spec("VirtualService/app"), request) == by_linkerd(source, request), request
    assert result.unexplained == []
    assert result.left("GRPCRoute") == []


def retried(rules: str) -> str:
    return (
        WORLD
        + f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: shop}}
spec: {{hosts: [app], http: {rules}}}
"""
    )


CALLS = '{{timeout: 3s, retries: {{attempts: 3, perTryTimeout: 1s, retryOn: "{on}"}}, route: [{{destination: {{host: app}}}}]{more}}}'


@pytest.mark.parametrize(("release", "api"), [("2.16", "v1alpha2"), ("2.18", "v1")])
def test_retries_on_a_grpc_status_are_written_on_a_grpc_route(release: str, api: str) -> None:
    result = convert(
        retried(f"[{CALLS.format(on='unavailable,internal,reset', more='')}]"),
        "istio",
        "linkerd",
        target_version=release,
        check=api == "v1",
    )
    made = result.objects["GRPCRoute/app"]
    assert made["apiVersion"] == f"gateway.networking.k8s.io/{api}"
    assert made["metadata"]["annotations"] == {
        "retry.linkerd.io/grpc": "unavailable,internal",
        "retry.linkerd.io/limit": "3",
        "retry.linkerd.io/timeout": "1s",
        "timeout.linkerd.io/request": "3s",  # a GRPCRoute has no field for it
    }
    assert [finding.message.partition("conditions ")[2].partition(";")[0] for finding in result.findings if finding.code == "MP402"] == [
        "reset"
    ]
    assert result.unexplained == []


@pytest.mark.parametrize(
    ("ports", "more"),
    [
        ("[{name: http, port: 80, targetPort: 8080}]", ""),
        ("[{name: grpc, port: 80, targetPort: 8080}, {name: http, port: 81, targetPort: 8081}]", ""),
        (PORTS, ", match: [{uri: {prefix: /shop.Cart}}]"),  # of shop.Cart and of shop.Carts
        (PORTS, ", match: [{queryParams: {q: {exact: a}}}]"),
        (PORTS, ", headers: {response: {remove: [x-a]}}"),
    ],
)
def test_what_no_grpc_route_can_say_stays_an_http_route(ports: str, more: str) -> None:
    bundle = retried(f"[{CALLS.format(on='unavailable,503', more=more)}]").replace(service("app", ports=PORTS), service("app", ports=ports))
    result = convert(bundle, "istio", "linkerd")
    made = [obj for obj in result.objects.values() if obj["kind"] in ("HTTPRoute", "GRPCRoute")]
    assert {obj["kind"] for obj in made} == {"HTTPRoute"}
    assert {obj["metadata"]["annotations"]["retry.linkerd.io/http"] for obj in made} == {"503"}
    assert [
        "HTTPRoutes for the retry conditions unavailable" in finding.message for finding in result.findings if finding.code == "MP402"
    ] == [True]
