"""The same requests go to the same place: ordered rules and ranked matches, judged by evaluators that share no code with the package."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from test_routing_helper import convert, service

WORLD = service("app") + "".join(service(f"b{number}") for number in range(6))
PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/c", "/A", "/a|b", "/abc/d", "/a/b/", "/a/x", "/b", "/acc"]
HEADERS = ("x-one", "x-two")


def requests(chance: random.Random, count: int = 50) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        yield {
            "path": chance.choice(PATHS),
            "method": chance.choice(["GET", "POST", "PUT", "DELETE"]),
            "headers": {name: chance.choice(["1", "2", "12", "3"]) for name in HEADERS if chance.random() < 0.6},
            "query": {"q": chance.choice("123")} if chance.random() < 0.5 else {},
        }


def virtual_service(chance: random.Random) -> dict[str, Any]:
    rules = []
    for number in range(chance.randint(1, 5)):
        matches = []
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            match: dict[str, Any] = {}
            kind = chance.choice(["none", "exact", "prefix", "prefix", "regex", "fold"])
            if kind == "exact":
                match["uri"] = {"exact": chance.choice(PATHS[:10])}
            elif kind == "prefix":
                match["uri"] = {"prefix": chance.choice(["/", "/a", "/a/", "/a/b", "/ab"])}
            elif kind == "regex":
                match["uri"] = {"regex": chance.choice(["/a/.*", "/[a-c]+", "/a|/ab", "/a/[^/]+", "/.*c"])}
            elif kind == "fold":
                match.update({"uri": {"prefix": "/a"}, "ignoreUriCase": True})
            if chance.random() < 0.4:
                match["method"] = chance.choice([{"exact": "GET"}, {"exact": "POST"}, {"regex": "GET|PUT"}])
            for name in HEADERS:
                if chance.random() < 0.3:
                    value = chance.choice([{"exact": "1"}, {"exact": "2"}, {"prefix": "1"}, {"regex": "1|2"}, {}])
                    match.setdefault("headers", {})[name] = value
            if chance.random() < 0.2:
                match["queryParams"] = {"q": chance.choice([{"exact": "1"}, {"regex": "[12]"}])}
            if match:
                matches.append(match)
        rule: dict[str, Any] = {"route": [{"destination": {"host": f"b{number}"}}]}
        if matches:
            rule["match"] = matches
        if chance.random() < 0.3:
            rule["retries"] = chance.choice([{"attempts": 0}, {"attempts": 2, "retryOn": "5xx"}])
        rules.append(rule)
    spec = {"hosts": ["app"], "http": rules}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": spec,
    }


def http_routes(chance: random.Random) -> list[dict[str, Any]]:
    documents, number = [], 0
    for name in range(chance.randint(1, 3)):
        rules = []
        for _ in range(chance.randint(1, 3)):
            matches = []
            for _ in range(chance.choice([0, 1, 1, 2])):
                match: dict[str, Any] = {}
                kind = chance.choice(["none", "Exact", "PathPrefix", "PathPrefix", "RegularExpression"])
                values = {
                    "Exact": ["/a", "/a/b", "/c", "/ab"],
                    "PathPrefix": ["/", "/a", "/a/", "/a/b", "/ab"],
                    "RegularExpression": ["/a/.*", "^/[a-c]+$", "^(?:/a|/ab)$", "/a/[^/]+", "/.*c", "^/a/b$"],
                }
                if kind in values:
                    match["path"] = {"type": kind, "value": chance.choice(values[kind])}
                if chance.random() < 0.4:
                    match["method"] = chance.choice(["GET", "POST"])
                for header in HEADERS:
                    if chance.random() < 0.35:
                        value = chance.choice([{"value": "1"}, {"value": "2"}, {"type": "RegularExpression", "value": "^(?:1|2)$"}])
                        match.setdefault("headers", []).append({"name": header, **value})
                if chance.random() < 0.2:
                    match["queryParams"] = [{"name": "q", "value": "1"}]
                if match:
                    matches.append(match)
            rules.append({"backendRefs": [{"name": f"b{number % 6}", "port": 80}], **({"matches": matches} if matches else {})})
            number += 1
        spec = {"parentRefs": [{"group": "core", "kind": "Service", "name": "app", "port": 80}], "rules": rules}
        metadata = {"name": f"r{name}", "namespace": "shop"}
        documents.append({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec})
    return documents


def _string(match: dict[str, str], value: str | None) -> bool:
    if value is None or not match:
        return value is not None
    ((kind, text),) = match.items()
    return {
        "exact": value == text,
        "prefix": value.startswith(text),
        "regex": re.fullmatch(text, value) is not None if kind == "regex" else False,
    }[kind]


def by_istio(spec: dict[str, Any], request: dict[str, Any]) -> str:
    """The first rule that matches, 404 for none."""

    def holds(match: dict[str, Any]) -> bool:
        fold = match.get("ignoreUriCase", False)
        path = request["path"].lower() if fold else request["path"]
        return (
            ("uri" not in match or _string(match["uri"], path))
            and ("method" not in match or _string(match["method"], request["method"]))
            and all(_string(value, request["headers"].get(name)) for name, value in match.get("headers", {}).items())
            and all(_string(value, request["query"].get(name)) for name, value in match.get("queryParams", {}).items())
        )

    for rule in spec["http"]:
        if not rule.get("match") or any(holds(match) for match in rule["match"]):
            return str(rule["route"][0]["destination"]["host"]).split(".")[0]
    return "404"


def _entry(entry: dict[str, str], value: str | None) -> bool:
    if value is None:
        return False
    if entry.get("type") != "RegularExpression":
        return entry["value"] == value
    found = re.search(entry["value"], value)
    return found is not None and found.span() == (0, len(value))


def by_linkerd(routes: list[dict[str, Any]], request: dict[str, Any]) -> str:
    """The best match: longest path, most headers, most query parameters, a method; then the first by name and place. 404 for none."""
    best: tuple[tuple[int, ...], str] | None = None
    for route in sorted(routes, key=lambda item: item["metadata"]["name"]):
        for rule in route["spec"]["rules"]:
            for match in rule.get("matches") or [{}]:
                path, wanted = request["path"], match.get("path", {"type": "PathPrefix", "value": "/"})
                value = wanted["value"]
                if wanted["type"] == "Exact":
                    length = len(value) if path == value else -1
                elif wanted["type"] == "PathPrefix":
                    stem = value.rstrip("/")
                    length = max(len(stem), 1) if path == stem or path.startswith(stem + "/") else -1
                else:
                    length = len(path) if _entry({"type": "RegularExpression", "value": value}, path) else -1
                headers, query = match.get("headers", []), match.get("queryParams", [])
                if length < 0 or ("method" in match and match["method"] != request["method"]):
                    continue
                if not all(_entry(item, request["headers"].get(item["name"])) for item in headers):
                    continue
                if not all(_entry(item, request["query"].get(item["name"])) for item in query):
                    continue
                rank = (length, len(headers), len(query), 1 if "method" in match else 0)
                if best is None or rank > best[0]:
                    best = (rank, rule["backendRefs"][0]["name"])
    return best[1] if best else "404"


@pytest.mark.parametrize("seed", range(40))
def test_first_match_survives_linkerds_ranking(seed: int) -> None:
    chance = random.Random(seed)
    source = virtual_service(chance)
    result = convert(WORLD + "---\n" + yaml.safe_dump(source), "istio", "linkerd", check=seed % 8 == 0)
    assert [finding.message for finding in result.findings if finding.severity == "error"] == []
    routes = [obj for obj in result.objects.values() if obj["kind"] == "HTTPRoute"]
    for request in requests(chance):
        assert by_linkerd(routes, request) == by_istio(source["spec"], request), request
    assert result.unexplained == []
    assert result.left("VirtualService") == []


@pytest.mark.parametrize("seed", range(40))
def test_linkerds_ranking_survives_first_match(seed: int) -> None:
    chance = random.Random(seed)
    source = http_routes(chance)
    result = convert(WORLD + "---\n" + yaml.safe_dump_all(source), "linkerd", "istio", check=seed % 8 == 0)
    for request in requests(chance):
        assert by_istio(result.spec("VirtualService/app"), request) == by_linkerd(source, request), request
    assert result.unexplained == []
    assert result.left("HTTPRoute") == []


@pytest.mark.parametrize("target", ["linkerd", "cilium", "gateway-api"])
def test_rules_on_headers_before_rules_on_paths_grow_with_their_number(target: str) -> None:
    """Each rule on a header came with those before it again and again: 24 such rules took a minute, and were then too many to write (MP322)."""
    import meshport

    by_header = [
        f"{{match: [{{headers: {{h{n}: {{exact: a}}}}}}], timeout: {n + 1}s, route: [{{destination: {{host: web}}}}]}}" for n in range(10)
    ]
    by_path = [f"{{match: [{{uri: {{exact: /p{n}}}}}], timeout: {n + 1}s, route: [{{destination: {{host: web}}}}]}}" for n in range(14)]
    text = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec: {{hosts: [web], http: [{", ".join([*by_header, *by_path])}]}}
"""
    result = meshport.convert(meshport.load_text(text), source="istio", target=target)
    assert not {"MP322", "MP327", "MP900"} & {item.code for item in result.findings}
    routes = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    matches = [match for route in routes for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert len(matches) == 10 + 14 + 10 * 14  # each header alone, each path alone, and each header with each path
    assert all(len(match.get("headers", [])) <= 1 for match in matches)
