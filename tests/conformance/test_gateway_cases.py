"""Requests of the Gateway API's own conformance suite: the rule that takes each, where it goes, and what is answered."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from meshport.compare import edge
from meshport.compare.journey import follow
from meshport.compare.request import parse
from meshport.documents import load_text
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.mapping.table import builtin
from meshport.options import resolve
from meshport.pipeline import lift

ORACLES = Path(__file__).resolve().parents[2].parent / "shared" / "oracles"
FIXTURES = ORACLES / "fixtures" / "gateway-api" / "conformance"
NOT_OURS = {
    "httproute-https-listener-detect-misdirected-requests": "the connection's certificate decides, and no route",
    "httproute-listener-port-matching": "the listener decides by its port",
    "gateway-with-attached-routes": "status alone",
    "httproute-cors": "what an implementation answers to a preflight request",
    "httproute-invalid-cross-namespace-parent-ref": "which routes a listener admits",
    "httproute-observed-generation-bump": "status alone",
    "httproute-backend-protocol-websocket": "the protocol towards the backend",
}


@lru_cache(maxsize=1)
def cases() -> list[dict[str, Any]]:
    path = ORACLES / "gateway_conformance_cases.json"
    return json.loads(path.read_text()) if path.is_file() else []


@lru_cache(maxsize=64)
def ir_of(manifests: tuple[str, ...]) -> IR:
    base = "mesh" if any("/mesh/" in name for name in manifests) else "base"
    texts = [path.read_text() for path in sorted((FIXTURES / base).glob("manifests.yaml"))]
    texts += [(FIXTURES / name).read_text() for name in manifests if (FIXTURES / name).is_file()]
    bundle = load_text("\n---\n".join(texts).replace("{GATEWAY_CLASS_NAME}", "any"))
    table = builtin()
    return lift(bundle, table, resolve(bundle, table, source="gateway-api", target="istio"))[0]


def readable(case: dict[str, Any]) -> bool:
    """Whether everything in a case is a value; some are computed by the suite."""
    inner = json.dumps({key: value for key, value in case["case"].items() if key not in ("Request",)})
    asked = {key: value for key, value in case["case"]["Request"].items() if key != "UnfollowRedirect"}
    return "$expr" not in inner and "$expr" not in json.dumps(asked) and "Path" in asked


def names() -> list[str]:
    return [f"{item['test']}-{number}" for number, item in enumerate(cases())]


needs = pytest.mark.skipif(not cases(), reason=f"needs the conformance cases at {ORACLES}, which are absent")


@needs
@pytest.mark.parametrize("number", range(len(cases())), ids=names())
def test_a_case(number: int) -> None:
    item = cases()[number]
    case = item["case"]
    if item["test"] in NOT_OURS:
        pytest.skip(NOT_OURS[item["test"]])
    if not readable(item) or not any((FIXTURES / name).is_file() for name in item["manifests"]):
        pytest.skip("the suite computes a part of the case, or its manifests are not here")
    ir = ir_of(tuple(item["manifests"]))
    problem = judged_inside(ir, case) if item["mesh"] else judged_at_the_edge(ir, case)
    assert problem == ""


def judged_at_the_edge(ir: IR, case: dict[str, Any]) -> str:
    asked = case["Request"]
    members = {
        "destination": {"namespace": "edge", "labels": {"app": "edge"}},
        "protocol": "http",
        "method": asked.get("Method") or "GET",
        "host": asked.get("Host") or "example.com",
        "path": asked["Path"],
        "headers": asked.get("Headers") or {},
    }
    taken = edge.take(ir, parse(members, ir.world))
    status = (case.get("Response") or {}).get("StatusCode", 200)
    if taken is None:
        return "" if status == 404 else f"nothing takes it, where {status} is answered"
    answer, redirect = taken.rule.filter("direct-response"), taken.rule.filter("redirect")
    if status == 404 or (answer is not None) != (status == 500):
        missing = [one for one in taken.rule.backends if one.service is not None and one.service.value not in ir.world.services]
        return "" if status == 500 and missing else f"rule {taken.rule.name} takes it, where {status} is answered"
    if redirect is not None:
        return wrong_redirect({name: fact.value for name, fact in redirect.parts}, case, status)
    wanted = case.get("Backend")
    reached = {one.service.value.name for one in taken.rule.backends if one.service is not None}
    return "" if wanted is None or wanted in reached else f"goes to {sorted(reached)} and not to {wanted}"


def wrong_redirect(parts: dict[str, Any], case: dict[str, Any], status: int) -> str:
    wanted = case.get("RedirectRequest") or {}
    if int(parts["code"]) != status:
        return f"answers {parts['code']} and not {status}"
    for name, key in (("scheme", "Scheme"), ("hostname", "Host")):
        if wanted.get(key) and parts.get(name, wanted[key]) != wanted[key]:
            return f"redirects to {name} {parts[name]} and not {wanted[key]}"
    if "path" in parts and wanted.get("Path") and parts["path"] != wanted["Path"]:
        return f"redirects to the path {parts['path']} and not {wanted['Path']}"
    if "port" in parts and wanted.get("Port") and str(parts["port"]) != wanted["Port"]:
        return f"redirects to the port {parts['port']} and not {wanted['Port']}"
    return ""


def judged_inside(ir: IR, case: dict[str, Any]) -> str:
    """A client of the mesh that calls a Service by its name."""
    asked = case["Request"]
    name, _, port = str(asked.get("Host") or "echo").partition(":")
    first, *rest = name.split(".")
    service = next((ref for ref in sorted(ir.world.services) if ref.name == first and (not rest or ref.namespace == rest[0])), None)
    service = (
        service
        or next((routes.service.value for routes in ir.routes if routes.service is not None), None)
        or Ref("gateway-conformance-mesh", first)
    )
    members = {
        "source": {"namespace": service.namespace, "meshed": True},
        "destination": {"namespace": service.namespace, "service": service.name, "port": int(port or 80)},
        "protocol": "http",
        "method": asked.get("Method") or "GET",
        "host": name,
        "path": asked["Path"],
        "headers": asked.get("Headers") or {},
    }
    bundle = load_text("")
    options = resolve(bundle, builtin(), source="gateway-api", target="istio")
    journey = follow(ir, parse(members, ir.world), options)
    status = (case.get("Response") or {}).get("StatusCode", 200)
    if status == 404:
        return "" if journey.verdict == "unrouted" else f"{journey.verdict}, where 404 is answered"
    if journey.route is not None and "redirect" in journey.route.filters:
        return wrong_redirect({"code": 302, **journey.route.filters["redirect"]}, case, status)
    return "" if journey.verdict != "unrouted" else "nothing takes it"
