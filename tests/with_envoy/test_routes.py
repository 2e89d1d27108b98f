"""Where requests go: Envoy with the rendered rules of random bundles sends, rewrites, redirects and refuses as the evaluator says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from pathlib import Path
from random import Random

import pytest
from judge import generate_routes

import meshport
from meshport import pipeline
from meshport.compare.journey import ANSWERED, UNROUTED, Journey, follow
from meshport.compare.request import Request, parse
from meshport.ir.base import Ref
from meshport.options import resolve, table_of

from . import routes
from .access import SCOPE
from .backends import serving
from .client import Answer, ask, sendable
from .patterns import Unrendered
from .proxy import Obj, needs_envoy, running

ONWARD: list[tuple[Obj, Obj]] = [
    *(({"prefix": "/old"}, {"redirect": one}) for one in (
        {"uri": "/new"}, {"uri": "/new?x=1"}, {"authority": "other.test"}, {"authority": "other.test:8080"}, {"scheme": "https"}, {"port": 8443},
        {"scheme": "https", "port": 8443, "uri": "/new"}, {"scheme": "https", "port": 443}, {"authority": "other.test", "redirectCode": 307},
        {"scheme": "HTTPS", "authority": "other.test"}, {"port": 80}, {"uri": "/new", "redirectCode": 308}, {},
    )),
    *((match, {"rewrite": one}) for match in ({"prefix": "/old"}, {"prefix": "/old/"}, {"exact": "/old/a"}, {"regex": "/old.*"}) for one in (
        {"uri": "/"}, {"uri": "/new"}, {"uri": "/new/"}, {"authority": "inner.test"}, {"uriRegexRewrite": {"match": "/old/(.*)", "rewrite": "/x/\\1/y"}},
        {"uriRegexRewrite": {"match": "[ab]", "rewrite": "z"}}, {"uriRegexRewrite": {"match": "^/old", "rewrite": "/new"}},
    )),
    ({"prefix": "/"}, {"rewrite": {"uri": "/new"}}),
    ({}, {"rewrite": {"uri": "/new/"}}),
    *(({"prefix": "/old"}, {"headers": {"request": one}}) for one in (
        {"set": {"x-user": "s", "x-more": "50%%"}}, {"add": {"x-user": "s"}}, {"remove": ["x-user"]}, {"remove": ["x-user"], "set": {"x-user": "s"}},
        {"set": {"x-user": "s"}, "add": {"x-user": "t"}},
    )),
]  # fmt: skip
"""Matches on the path, and what a VirtualService does with what they take."""
TIMES = 3  # a request is sent as often, so that more than one backend of a split is seen


@dataclass(slots=True)
class Asked:
    request: Request
    journey: Journey
    scope: str
    raw: bool


class Sheet:
    """Bundles with their routes rendered, and the requests that are put to all of them at once."""

    def __init__(self) -> None:
        self.routes: dict[bool, list[Obj]] = {False: [], True: []}
        self.scopes: dict[str, bool] = {}
        self.asked: list[Asked] = []
        self.left = Counter[str]()

    def add(self, name: str, bundle: list[Obj], mesh: str, requests: list[Obj]) -> None:
        table = table_of(None)
        loaded = meshport.load_objects(bundle)
        options = resolve(loaded, table, source=mesh, target="istio")
        ir, _ = pipeline.lift(loaded, table, options)
        for members in requests:
            request = parse(members, ir.world, options.trust_domain)
            service, client, port = Ref(request.namespace, request.service or ""), request.caller.namespace or "", request.port
            if port is None or not sendable(request.method, request.path, request.host or "", []):
                self.left["not sent"] += 1
                continue
            scope = f"{name}:{service}:{port}:{client}"
            if scope not in self.scopes:
                try:
                    made = routes.of_service(ir, service, port, client, request.caller.labels, scope)
                    self.routes[ir.raw_paths] += made
                    self.scopes[scope] = True
                except Unrendered as why:
                    self.left[f"not rendered: {why}"] += 1
                    self.scopes[scope] = False
            if self.scopes[scope]:
                self.asked.append(Asked(request, follow(ir, request, options), scope, ir.raw_paths))

    def differing(self, folder: Path) -> Iterator[str]:
        """The requests that Envoy treats otherwise, and how."""
        names = sorted({name for made in self.routes.values() for route in made for name in routes.clusters_of(route)})
        listeners = [routes.listener(str(raw), made, normalise=not raw) for raw, made in self.routes.items()]
        with serving(names) as backends:
            clusters = [routes.cluster(name, port) for name, port in backends.items()]
            with running(listeners, clusters, folder) as ports:
                for one in self.asked:
                    request = one.request
                    headers = [(SCOPE, one.scope), *((name, value) for name, values in request.headers.items() for value in values)]
                    for _ in range(1 if one.journey.verdict in (UNROUTED, ANSWERED) else TIMES):
                        found = ask(ports[str(one.raw)], request.method, request.path, request.host or "", headers)
                        wrong = difference(one.journey, found)
                        if wrong:
                            yield f"{wrong}: {one.scope} {dict(request.members)}"
                            break


def difference(journey: Journey, answer: Answer) -> str:
    """What Envoy did that the evaluator does not say; "" where they agree."""
    route = journey.route
    if journey.verdict == UNROUTED:
        return "" if answer.status == 404 else f"unrouted, and Envoy answers {answer.status}"
    assert route is not None
    if journey.verdict == ANSWERED:
        said = (route.answer["status"], route.answer.get("location"))
        done = (answer.status, answer.headers.get("location"))
        return "" if said == done else f"answered {said}, and Envoy answers {done}"
    if answer.status != 200 or not answer.body:
        return "" if answer.status == 200 else f"forwarded, and Envoy answers {answer.status}"
    arrived = json.loads(answer.body)
    shares = {item["to"] for item in route.backends}
    if arrived["backend"] not in shares:
        return f"to {sorted(shares)}, and Envoy sends to {arrived['backend']}"
    if arrived["path"] != route.sent["path"] or arrived["headers"]["host"] != [route.sent["host"]]:
        return f"as {route.sent}, and {arrived} arrives"
    wrong = {name: values for name, values in route.sent["headers"].items() if arrived["headers"].get(name, []) != list(values)}
    gone = {name for name in generate_routes.HEADERS if name in arrived["headers"] and name not in route.sent["headers"]}
    if wrong or gone:
        return f"with the headers {route.sent['headers']}, and {arrived['headers']} arrive"
    told = [(name, value) for kind, parts in route.filters.items() if kind.startswith("response-headers") for name, value in parts.items()]
    lost = [name for name, value in told if not name.startswith("remove:") and answer.headers.get(name.partition(":")[2]) != value]
    return f"with {lost} in the answer, which has {dict(answer.headers)}" if lost else ""


@needs_envoy
@pytest.mark.parametrize("mesh", generate_routes.MAKE)
def test_envoy_routes_as_the_evaluator_says(mesh: str, tmp_path: Path) -> None:
    sheet = Sheet()
    for seed in range(30):
        sheet.add(f"{mesh} {seed}", generate_routes.MAKE[mesh](seed), mesh, generate_routes.requests(seed, 30))
    assert list(sheet.differing(tmp_path)) == []
    assert len(sheet.asked) > 400, sheet.left


def onward(match: Obj, action: Obj) -> list[Obj]:
    """A bundle with one rule, which does that, and one for all other requests."""
    to = [{"destination": {"host": "cart.shop.svc.cluster.local"}}]
    rule = {**({"match": [{"uri": match}]} if match else {}), **({"route": to} if "redirect" not in action else {}), **action}
    spec = {"hosts": ["web"], "http": [rule, {"route": [{"destination": {"host": "web.shop.svc.cluster.local"}}]}]}
    meta = {"name": "web", "namespace": "shop"}
    service = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}
    return [*generate_routes.world(Random(1), "istio"), service]


@needs_envoy
def test_rewrites_redirects_and_headers_come_to_what_envoy_makes_of_them(tmp_path: Path) -> None:
    sheet = Sheet()
    paths = ("/old", "/old/a", "/old/a/b?q=1", "/old/", "/older?x", "/a", "/x/../old/a", "/%6fld/b")
    for number, (match, action) in enumerate(ONWARD):
        asked = [
            {
                "source": {"namespace": "shop", "service_account": "cart", "meshed": True}, "destination": {"namespace": "shop", "service": "web", "port": 80},
                "protocol": "http", "method": "GET", "host": host, "path": path, "headers": {"x-user": "alice"},
            }
            for path in paths for host in ("web", "web:80", "web:8080")
        ]  # fmt: skip
        sheet.add(f"{number} {match} {action}", onward(match, action), "istio", asked)
    assert list(sheet.differing(tmp_path)) == []
    assert len(sheet.asked) == len(ONWARD) * len(paths) * 3, sheet.left


@needs_envoy
def test_shares_are_what_arrives(tmp_path: Path) -> None:
    """Of 600 requests each backend gets its share, give or take five times what chance does."""
    weights = {"web-v1": 70, "web-v2": 20, "cart": 10}
    to = [{"destination": {"host": f"{name}.shop.svc.cluster.local"}, "weight": weight} for name, weight in weights.items()]
    sheet = Sheet()
    request = {
        "source": {"namespace": "shop", "meshed": True},
        "destination": {"namespace": "shop", "service": "web", "port": 80},
        "path": "/",
        "host": "web",
    }
    sheet.add("split", onward({}, {"route": to}), "istio", [request])
    route, seen = sheet.asked[0].journey.route, Counter[str]()
    with serving([name for made in sheet.routes[False] for name in routes.clusters_of(made)]) as backends:
        clusters = [routes.cluster(name, port) for name, port in backends.items()]
        with running([routes.listener("split", sheet.routes[False], normalise=True)], clusters, tmp_path) as ports:
            for _ in range(600):
                seen[json.loads(ask(ports["split"], "GET", "/", "web", [(SCOPE, sheet.asked[0].scope)]).body)["backend"]] += 1
    assert route is not None
    said = {item["to"]: Fraction(item["share"]) for item in route.backends}
    assert set(seen) == set(said) and sum(said.values()) == 1
    assert all(abs(seen[name] - 600 * share) < 5 * sqrt(600 * share * (1 - share)) for name, share in said.items()), (seen, said)
