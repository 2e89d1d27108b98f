"""SMI's verdict on one request, from the specification alone: additive TrafficTargets, and a deny for whatever none of them allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from .http import header, normalized, protocol_of, split_path
from .world import Obj, Request, account_of, name_of, namespace_of, world_of

Verdict = Literal["allow", "deny"]


def decide(manifests: Iterable[Obj], request: Request) -> Verdict:
    """Whether the pods of the destination's account take the request. Without any TrafficTarget nothing is controlled."""
    world = world_of(manifests)
    listed = world.objects
    targets = [obj for obj in listed if obj["kind"] == "TrafficTarget"]
    workload = world.destination(request)
    if not targets:
        return "allow"
    where = workload.namespace, workload.service_account
    if workload.namespace not in _governed(listed):
        return "allow"  # nothing says that the namespace is in the mesh
    return "allow" if any(_allows(target, where, listed, request) for target in targets) else "deny"


def _governed(listed: list[Obj]) -> set[str]:
    """The namespaces that hold SMI resources, or that one of them names."""
    found = set()
    for obj in listed:
        if ".smi-spec.io/" in obj["apiVersion"]:
            home = namespace_of(obj)
            places = [*(_body(obj).get("sources") or []), _body(obj).get("destination") or {}]
            found |= {home, *(place.get("namespace") or home for place in places)}
    return found


def _body(obj: Obj) -> Obj:
    return obj.get("spec") or obj


def _allows(target: Obj, where: tuple[str, str], listed: list[Obj], request: Request) -> bool:
    body, home = _body(target), namespace_of(target)
    destination = body["destination"]
    if (destination.get("namespace") or home, destination["name"]) != where:
        return False
    port = int(request["destination"]["port"])
    if destination.get("port") not in {None, port} or not request["source"].get("meshed", True):
        return False
    if account_of(request["source"]) not in [(item.get("namespace") or home, item["name"]) for item in body.get("sources") or []]:
        return False
    rules = body.get("rules") or body.get("specs") or []
    named = {(obj["kind"], name_of(obj)): _body(obj) for obj in listed if namespace_of(obj) == home}
    tcp = [named[rule["kind"], rule["name"]] for rule in rules if rule["kind"] == "TCPRoute" and (rule["kind"], rule["name"]) in named]
    numbers = [set((one.get("matches") or {}).get("ports") or []) for one in tcp]
    if numbers and all(numbers) and not any(port in listed for listed in numbers):
        return False
    bytes_alone = protocol_of(request) == "tcp"
    groups = [rule for rule in rules if rule["kind"] == "HTTPRouteGroup"]
    if not groups or bytes_alone:
        return bool(tcp) and not groups
    matches = [
        match
        for rule in groups
        for match in named.get((rule["kind"], rule["name"]), {}).get("matches") or []
        if not rule.get("matches") or match["name"] in rule["matches"]
    ]
    return any(_fits(match, request) for match in matches)


def _fits(match: Obj, request: Request) -> bool:
    methods = match.get("methods") or ["*"]
    path = normalized(split_path(request)[0])
    headers = match.get("headers") or {}
    return (
        ("*" in methods or request.get("method", "GET") in methods)
        and re.fullmatch(match.get("pathRegex") or ".*", path) is not None
        and all(re.fullmatch(wanted, header(request, name) or "\0") for name, wanted in headers.items())
    )
