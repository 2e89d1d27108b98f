"""Route tables that conversions write for Cilium: Envoy with a CiliumEnvoyConfig as it is written treats requests as the source's rules say."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from judge import generate_routes

import meshport
from meshport import pipeline
from meshport.compare.journey import follow
from meshport.compare.request import parse
from meshport.ir.base import Ref
from meshport.ir.world import World
from meshport.options import resolve, table_of

from . import routes
from .client import sendable
from .proxy import Obj, needs_envoy
from .test_routes import ONWARD, Asked, Sheet, onward

TABLE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


class Tables(Sheet):
    """Bundles with the route tables that are written for them."""

    def add(self, name: str, bundle: list[Obj], mesh: str, requests: list[Obj]) -> None:
        table = table_of(None)
        loaded = meshport.load_objects(bundle)
        options = resolve(loaded, table, source=mesh, target="cilium")
        ir, _ = pipeline.lift(loaded, table, options)
        result = meshport.convert(meshport.load_objects(bundle), source=mesh, target="cilium", routes="native", verify=False)
        made = [*(item.object for item in result.manifests), *result.passed_through]
        after = meshport.load_objects(made)
        world = pipeline.lift(after, table, resolve(after, table, source="cilium", target="istio"))[0].world
        for members in requests:
            request = parse(members, ir.world, options.trust_domain)
            service, port = Ref(request.namespace, request.service or ""), request.port
            if port is None or not sendable(request.method, request.path, request.host or "", []) or "." in request.path:
                self.left["not sent"] += 1
                continue
            scope = f"{name}:{service}:{port}"
            if scope not in self.scopes:
                listed = _routes(made, service, port)
                self.scopes[scope] = bool(listed)
                self.routes[False] += [_scoped(route, scope, world, port) for route in listed]
            if self.scopes[scope]:
                self.asked.append(Asked(request, follow(ir, request, options), scope, False))
            else:
                self.left["no table"] += 1


def _routes(made: list[Obj], service: Ref, port: int) -> list[Obj]:
    """The routes of the table that requests to a Service's port are led to."""
    for obj in made:
        entries = (
            obj["spec"]["services"] if obj["kind"] == "CiliumEnvoyConfig" and obj["metadata"]["namespace"] == service.namespace else []
        )
        for entry in entries:
            if entry["name"] == service.name and port in entry["ports"]:
                tables = [
                    item
                    for item in obj["spec"]["resources"]
                    if item["@type"] == TABLE and item["name"] == entry.get("listener", item["name"])
                ]
                listed = [route for item in tables for route in item["virtual_hosts"][0]["routes"]]
                return [route for route in listed if "runtime_fraction" not in route["match"]]  # failures: test_written_tables.py
    return []


def _scoped(route: Obj, scope: str, world: World, port: int) -> Obj:
    """A route for the requests of one table alone, with the servers of this test for its clusters."""
    found: Any = deepcopy(route)
    found["match"] = routes._scoped(
        {key: value for key, value in found["match"].items() if key != "headers"}, scope, found["match"].get("headers")
    )
    action = found.get("route", {})
    for place in [action, *action.get("weighted_clusters", {}).get("clusters", [])]:
        key = "cluster" if "cluster" in place else "name"
        if key in place:
            ref, _, number = place[key].partition(":")
            place[key] = routes.pods(world, Ref(*ref.split("/")), None, {}, int(number or port), port)
    action.pop("request_mirror_policies", None)
    return found


@needs_envoy
@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
def test_envoy_follows_the_tables_of_random_rules(mesh: str, tmp_path: Path) -> None:
    tables = Tables()
    for seed in range(30):
        tables.add(f"{mesh} {seed}", generate_routes.MAKE[mesh](seed), mesh, generate_routes.requests(seed, 30))
    assert list(tables.differing(tmp_path)) == []
    assert len(tables.asked) > 200, tables.left


@needs_envoy
def test_rewrites_redirects_and_headers_are_what_they_were(tmp_path: Path) -> None:
    tables = Tables()
    for number, (match, action) in enumerate(ONWARD):
        asked = [
            {
                "source": {"namespace": "shop", "service_account": "cart", "meshed": True}, "destination": {"namespace": "shop", "service": "web", "port": 80},
                "protocol": "http", "method": "GET", "host": host, "path": path, "headers": {"x-user": "alice"},
            }
            for path in ("/old", "/old/a", "/old/a/b?q=1", "/old/", "/older?x", "/a", "/%6fld/b") for host in ("web", "web:80", "web:8080")
        ]  # fmt: skip
        tables.add(f"{number} {match} {action}", onward(match, action), "istio", asked)
    assert list(tables.differing(tmp_path)) == []
    assert len(tables.asked) > 900, tables.left
