"""HTTPRoute and GRPCRoute matching: which matches a route has, and which of them a mesh prefers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .http import header, query_values, re2_full, rust_whole, split_host, split_path
from .world import Obj, Request, World, by_age, group_of, spec_of

GATEWAY = "gateway.networking.k8s.io"
LINKERD = "policy.linkerd.io"
LINKERD_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"})
Regex = Callable[[str, str], bool]


@dataclass(frozen=True)
class Match:
    """One match of one rule of one route."""

    route: Obj
    rule: Obj
    match: Obj


def routes_of(world: World, kinds: Collection[str], *, linkerd: bool = True) -> list[Obj]:
    """Routes in their order of precedence. Under Linkerd also those of its own group, less those with a filter that it cannot read."""
    groups = {GATEWAY, LINKERD} if linkerd else {GATEWAY}
    routes = by_age(o for o in world.objects if o.get("kind") in kinds and group_of(o) in groups)
    return [r for r in routes if not linkerd or _readable(r)]


def _readable(route: Obj) -> bool:
    return all(f.get("type") in LINKERD_FILTERS for rule in spec_of(route).get("rules") or [] for f in rule.get("filters") or [])


def attached(route: Obj) -> list[Match]:
    """All matches of a route, with what the CRD fills in."""
    rules = spec_of(route).get("rules")
    return [Match(route, rule, match) for rule in ([{}] if rules is None else rules) for match in rule.get("matches") or [{}]]


def best(matches: Iterable[Match], request: Request) -> Match | None:
    """Linkerd's choice: host, path length of whatever type, headers, query, method; then the order given."""
    return _first_highest((m, linkerd_rank(m, request)) for m in matches)


def best_gateway(matches: Iterable[Match], request: Request) -> Match | None:
    """The choice of Gateway API, and of Istio: Exact, longest prefix, method, headers, query; then the order given."""
    return _first_highest((m, gateway_rank(m, request)) for m in matches)


def _first_highest(ranked: Iterable[tuple[Match, tuple[Any, ...] | None]]) -> Match | None:
    chosen: Match | None = None
    highest: tuple[Any, ...] | None = None
    for match, rank in ranked:
        if rank is not None and (highest is None or rank > highest):
            chosen, highest = match, rank
    return chosen


def linkerd_rank(candidate: Match, request: Request) -> tuple[Any, ...] | None:
    """How well a match fits, None if it does not."""
    host = _host_rank(candidate.route, request)
    match = candidate.match
    if host is None or not _rest_matches(match, request, rust_whole):
        return None
    path = split_path(request)[0]
    if candidate.route["kind"] == "GRPCRoute":
        method = match.get("method") or {}
        if request.get("method", "POST") != "POST" or not _grpc_matches(method, path):
            return None
        return (host, len(method.get("service") or ""), len(method.get("method") or ""), len(match.get("headers") or []))
    kind, value = _path(match)
    if not _path_matches(kind, value, path, rust_whole):
        return None
    length = {"Exact": len(value), "PathPrefix": max(len(value.rstrip("/")), 1)}.get(kind, len(path))
    return (host, length, len(match.get("headers") or []), len(match.get("queryParams") or []), "method" in match)


def gateway_rank(candidate: Match, request: Request, *, hosts: bool = False) -> tuple[Any, ...] | None:
    """The rank under Gateway API; the hostnames of routes with a Service parent are not looked at."""
    match, path = candidate.match, split_path(request)[0]
    host = _host_rank(candidate.route, request) if hosts else (0, 0)
    if host is None or not _rest_matches(match, request, re2_full):
        return None
    counts = (len(match.get("headers") or []), len(match.get("queryParams") or []))
    if candidate.route["kind"] == "GRPCRoute":
        method = match.get("method") or {}
        return (host, len(method.get("service") or ""), len(method.get("method") or ""), *counts) if _grpc_matches(method, path) else None
    kind, value = _path(match)
    if not _path_matches(kind, value, path, re2_full):
        return None
    return (host, {"Exact": 2, "PathPrefix": 1}.get(kind, 0), len(value.rstrip("/")), "method" in match, *counts)


def _path(match: Obj) -> tuple[str, str]:
    path = match.get("path") or {}
    return path.get("type", "PathPrefix"), path.get("value", "/")


def _path_matches(kind: str, value: str, path: str, regex: Regex) -> bool:
    if kind == "Exact":
        return path == value
    if kind == "PathPrefix":
        stem = value.rstrip("/")
        return path == stem or path.startswith(stem + "/")
    return regex(value, path)


def _rest_matches(match: Obj, request: Request, regex: Regex) -> bool:
    """Method, headers and query of a match."""
    if isinstance(match.get("method"), str) and match["method"] != request.get("method", "GET"):
        return False
    for wanted in match.get("headers") or []:
        value = header(request, wanted["name"])
        if value is None or not _value_matches(wanted, value, regex):
            return False
    return all(any(_value_matches(q, v, regex) for v in query_values(request, q["name"])) for q in match.get("queryParams") or [])


def _value_matches(wanted: Obj, value: str, regex: Regex) -> bool:
    return regex(wanted["value"], value) if wanted.get("type") == "RegularExpression" else value == wanted["value"]


def _grpc_matches(method: Obj, path: str) -> bool:
    parts = path.split("/")
    if len(parts) != 3 or parts[0]:
        return not method
    return method.get("service") in {None, "", parts[1]} and method.get("method") in {None, "", parts[2]}


def _host_rank(route: Obj, request: Request) -> tuple[int, int] | None:
    """Exact names before longer suffixes before none."""
    hostnames = spec_of(route).get("hostnames") or []
    if not hostnames:
        return (0, 0)
    host = (split_host(request.get("host")) or "").rstrip(".")
    ranks = [(2, len(h)) if h == host else (1, len(h)) for h in hostnames if h == host or (h.startswith("*.") and host.endswith(h[1:]))]
    return max(ranks, default=None)
