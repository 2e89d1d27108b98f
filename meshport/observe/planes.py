"""Istio's two data planes: with sidecars both ends report, in ambient a waypoint reports HTTP under a reporter of its own, and ztunnel reports connections.

https://istio.io/latest/docs/reference/config/metrics/ (reporter), istio/ztunnel src/proxy/metrics.rs
"""

from __future__ import annotations

import re

from meshport.errors import InputError
from meshport.observe.edits import Edits
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql
from meshport.observe.tokens import quoted
from meshport.observe.translate import Translation
from meshport.observe.tree import Matcher, Selector, walk
from meshport.observe.work import Refused, finding, words

_OF_WAYPOINTS = frozenset(("pod", "namespace", "instance", "connection_security_policy", "app", "version"))
"""Labels that speak of the waypoint itself on its series; of mutual TLS it knows nothing, for HBONE ends before it."""
_OF_ZTUNNEL = re.compile(
    "istio_tcp_connections_failed_total|istio_tcp_sockets_open|istio_(on_demand_)?dns_.*|istio_xds_.*|workload_manager_.*"
)


def moved(found: Translation, plane: str, templating: str = "grafana") -> Translation:
    """A query of Istio's metrics as one to the data plane `plane`, ambient or sidecar; with ambient, one that stays true while sidecars are left."""
    if found.expr is None:
        return found
    try:
        parsed = parse_promql(found.expr, templating=templating)
    except InputError as error:
        return Translation(None, [finding("MP821", where=f"{error.line}:{error.column}", why=error.reason.removeprefix("not PromQL: "))])
    edits = Edits(found.expr)
    said = {}
    try:
        for selector in parsed.selectors:
            name = selector.metric or ""
            if plane == "sidecar" and _OF_ZTUNNEL.fullmatch(name):
                raise Refused("MP800", metric=name, mesh="Istio with sidecars", why="ztunnel alone counts it")
            if _http(name):
                _selector(selector, plane, edits)
                if plane == "ambient":
                    said["MP862"] = finding("MP862", metric=name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count"))
        if said:
            _grouped(found.expr, templating)
    except Refused as refused:
        return Translation(None, [*found.findings, finding(refused.code, refused.remedy, **refused.said)])
    found.expr = edits.result()
    found.findings = [*found.findings, *said.values()]
    return found


def _http(name: str) -> bool:
    """Whether a series is of HTTP requests."""
    known = metrics().metric("istio", name)
    return known is not None and name.startswith("istio_") and "response_code" in known[0].labels


def _selector(selector: Selector, plane: str, edits: Edits) -> None:
    for matcher in selector.matchers:
        if matcher.label.name == "reporter":
            made = _ambient(matcher) if plane == "ambient" else _sidecar(matcher)
            if made is not None:
                edits.replace(matcher.start, matcher.end, made)
        elif plane == "ambient":
            _tells(matcher.label.name)


def _ambient(matcher: Matcher) -> str | None:
    if matcher.op not in ("=", "=~") or "waypoint" in matcher.value or matcher.value in (".*", ".+"):
        return None
    return f"{matcher.label.name}=~{quoted(f'{matcher.value}|waypoint')}"


def _sidecar(matcher: Matcher) -> str | None:
    return f"{matcher.label.name}={quoted('destination')}" if matcher.op in ("=", "=~") and matcher.value == "waypoint" else None


def _grouped(expr: str, templating: str) -> None:
    for node in walk(parse_promql(expr, templating=templating).tree):
        for word in words(node):
            _tells(word.name)


def _tells(label: str) -> None:
    if label in _OF_WAYPOINTS:
        instead = (
            "In its place: istio_tcp_connections_opened_total by (connection_security_policy), which ztunnel tells."
            if label.startswith("conn")
            else ""
        )
        raise Refused("MP801", instead, label=label, mesh="Istio's waypoint")
