"""Who is let through: Envoy under the rendered policies of random bundles, and under both sides of verify's witnesses, answers as the evaluator does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from judge import generate, generate_access, generate_cilium

import meshport
from meshport import pipeline
from meshport.compare.access import speaks_http
from meshport.compare.decision import decide
from meshport.compare.request import Request, parse
from meshport.dialects.base import Options
from meshport.effective.access import Access, Effective
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.options import resolve, table_of
from meshport.values.paths import normalise_istio

from . import access
from .client import ask, sendable
from .patterns import Unrendered
from .proxy import Obj, needs_envoy, running

STATUS = {"allow": 200, "deny": 403}


@dataclass(slots=True)
class Asked:
    """A request with what the evaluator says, and where it is put to Envoy."""

    verdict: str
    request: Request
    item: Effective
    port: int
    scope: str
    raw: bool

    def shown(self) -> str:
        return f"{self.scope}: {self.verdict} {dict(self.request.members)}"


class Sheet:
    """Bundles with their policies rendered, and the requests that are put to all of them at once."""

    def __init__(self) -> None:
        self.scopes: dict[bool, dict[str, Obj]] = {False: {}, True: {}}
        self.asked: list[Asked] = []
        self.left = Counter[str]()

    def add(self, name: str, bundle: list[Obj], mesh: str, requests: list[Obj]) -> None:
        table = table_of(None)
        loaded = meshport.load_objects(bundle)
        options = resolve(loaded, table, source=mesh, target="istio")
        ir, _ = pipeline.lift(loaded, table, options)
        self.put(name, ir, options, requests)

    def put(self, name: str, ir: IR, options: Options, requests: list[Obj]) -> None:
        known = Access(ir, Fact("all-unauthenticated"))
        for members in requests:
            request = parse(members, ir.world, options.trust_domain)
            port = request.port
            found = next((one for one in known.workloads if str(one.workload.ref) == f"{request.namespace}/{request.workload}"), None)
            if found is None or port is None or not request.http or not speaks_http(found, port, ir):
                self.left["no HTTP, or a pod that the bundle does not show"] += 1
                continue
            if found.meshed is False or found.workload.bypasses(port) or found.customs or ir.beside:
                self.left["no proxy of the mesh, or more than one that decides"] += 1
                continue
            verdict = decide(found, port, request, ir, options).verdict
            scope = f"{name}:{found.workload.ref}:{port}"
            headers = access.headers(request, found, port, scope)
            if verdict not in STATUS or not sendable(request.method, request.path, request.host or "none", headers):
                self.left["cannot be told, or not sent"] += 1
                continue
            if scope not in self.scopes[ir.raw_paths]:
                try:
                    self.scopes[ir.raw_paths][scope] = access.filters(found, port, ir, options.cluster_networks)
                except Unrendered as why:
                    self.left[f"not rendered: {why}"] += 1
                    continue
            self.asked.append(Asked(verdict, request, found, port, scope, ir.raw_paths))

    def differing(self, folder: Path) -> Iterator[str]:
        """The requests that Envoy answers otherwise."""
        listeners = [access.listener(str(raw), scopes, normalise=not raw) for raw, scopes in self.scopes.items()]
        with running(listeners, [], folder) as ports:
            for one in self.asked:
                status = put(one, ports[str(one.raw)])
                if status != STATUS[one.verdict]:
                    yield f"Envoy {status}: {one.shown()}"


def put(one: Asked, port: int) -> int:
    """What Envoy answers, for a connection from the caller's address to the destination's."""
    request = one.request
    sent = access.headers(request, one.item, one.port, one.scope)
    sent += [(name, value) for name, values in request.headers.items() for value in values]
    if request.forwarded_for:
        sent.append(("x-forwarded-for", ", ".join(request.forwarded_for)))
    line = f"PROXY TCP4 {request.caller.ip or '10.9.0.7'} {request.address or '10.2.0.5'} 40000 {one.port}\r\n"
    return ask(port, request.method, request.path, request.host or "none", sent, line).status


MAKE: dict[str, Any] = {
    "istio": (generate.random_istio_bundle, generate.requests_for),
    "istio-wide": (generate_access.wide_istio_bundle, lambda bundle, seed, n: generate_access.wide_requests(bundle, "istio", seed, n)),
    "linkerd": (generate.random_linkerd_bundle, generate.requests_for),
    "linkerd-wide": (
        generate_access.wide_linkerd_bundle,
        lambda bundle, seed, n: generate_access.wide_requests(bundle, "linkerd", seed, n),
    ),
    "cilium": (generate_cilium.random_cilium_bundle, generate_cilium.cilium_requests),
}


@needs_envoy
@pytest.mark.parametrize("kind", MAKE)
def test_envoy_decides_as_the_evaluator_does(kind: str, tmp_path: Path) -> None:
    sheet = Sheet()
    make, requests = MAKE[kind]
    for seed in range(12):
        bundle = make(seed)
        sheet.add(f"{kind} {seed}", bundle, kind.partition("-")[0], requests(bundle, seed, 40))
    assert list(sheet.differing(tmp_path)) == []
    verdicts = Counter(one.verdict for one in sheet.asked)
    assert min(verdicts["allow"], verdicts["deny"]) > 30, (verdicts, sheet.left)


@needs_envoy
@pytest.mark.parametrize("kind", ["istio", "linkerd"])
def test_what_verify_shows_is_so(kind: str, tmp_path: Path) -> None:
    """A bundle against itself less one policy: each witness is decided differently by Envoy under the two, the way that is said."""
    mesh, make = kind.partition("-")[0], MAKE[kind][0]
    sheet = Sheet()
    for seed in range(12):
        old = make(seed)
        policies = [obj for obj in old if obj["kind"] in ("AuthorizationPolicy", "ServerAuthorization", "Server")]
        new = [obj for obj in old if obj is not policies[seed % len(policies)]] if policies else old
        found = meshport.verify(meshport.load_objects(old), meshport.load_objects(new), old_mesh=mesh, new_mesh=mesh)
        for item in (one for one in found.differences if one.change in ("allowed", "denied")):
            before = len(sheet.asked)
            sheet.add(f"before {seed}", old, mesh, [item.request])
            sheet.add(f"after {seed}", new, mesh, [item.request])
            said = [one.verdict for one in sheet.asked[before:]]
            assert said in ([], ["deny", "allow"] if item.change == "allowed" else ["allow", "deny"]) or len(said) == 1, item
    assert list(sheet.differing(tmp_path)) == []
    assert len(sheet.asked) >= 6, sheet.left


@needs_envoy
def test_a_path_is_normalised_as_envoy_does(tmp_path: Path) -> None:
    """`;` after the dots of a segment is left out: since CVE-2026-73551 (1.36.10, 1.37.6, 1.38.4, 1.39.1) Envoy takes `..;x` for a dot segment, before it did not."""
    rng = Random(5)
    parts = ("a", "b", ".", "..", "/", "/", "%2e", "%2E", "%2f", "%5c", "%41", "%7e", "%20", "%61", "\\", "x", "%", "%zz", "%4")
    paths = {"/" + "".join(rng.choice(parts) for _ in range(rng.randint(1, 8))) for _ in range(1500)}
    with running([access.listener("paths", {"all": {}}, normalise=True)], [], tmp_path) as ports:
        for path in sorted(paths):
            found = ask(ports["paths"], "GET", path, "pay", [(access.SCOPE, "all")], "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")
            assert found.headers["x-path-seen"] == normalise_istio(path), path
