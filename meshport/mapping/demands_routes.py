"""What a mesh refuses of routes of the Gateway API that their CRDs take: Linkerd's webhook reads every route of the cluster
(policy-controller/runtime/src/admission.rs in linkerd/linkerd2), and no proxy takes a regular expression that is none."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from meshport.mapping.shapes import Refusal, at, maps, texts, unread
from meshport.values.durations import parse_linkerd
from meshport.values.retry import linkerd_reads

_ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")
_GROUPS = ("gateway.networking.k8s.io", "policy.linkerd.io")
_DURATIONS = ("retry.linkerd.io/timeout", "timeout.linkerd.io/request", "timeout.linkerd.io/response", "timeout.linkerd.io/idle")
_MEANT = {
    "http": "no list of statuses such as 5xx,429,500-504 (commas alone, no blanks)",
    "grpc": "no list of statuses of gRPC such as unavailable,internal (commas alone, no blanks)",
    "limit": "no whole number from 0 to 65535",
}
_PLACES = (("path",), ("method",), ("headers", "[]"), ("queryParams", "[]"))


def expressions(value: dict[str, Any], meshes: Collection[str]) -> Iterator[Refusal]:
    """Expressions that the engine of a mesh does not take; where no mesh is known, those that none takes. Linkerd matches with Rust's, the others with RE2."""
    from meshport.values.regex import refused

    engines: tuple[Literal["re2", "rust"], ...] = (
        ("rust",) if "linkerd" in meshes else ("re2",) if {"istio", "cilium"} & set(meshes) else ("re2", "rust")
    )
    for steps in _PLACES:
        for path, match in maps(value, "spec", "rules", "[]", "matches", "[]", *steps):
            members = ("value", "service", "method") if match.get("type") == "RegularExpression" else ()
            for member in members:
                text = match.get(member)
                why = [refused(text, engine) for engine in engines] if isinstance(text, str) else [None]
                if all(why):
                    yield (*path, member), f"{text!r} is no regular expression ({why[0]})"


def linkerd(value: dict[str, Any], group: str, kind: str) -> Iterator[Refusal]:
    """What Linkerd's webhook refuses of a route, whoever reads it."""
    if kind not in _ROUTES or group not in _GROUPS:
        return
    if group == _GROUPS[1]:
        yield from expressions(value, ("linkerd",))
    for path, parent in maps(value, "spec", "parentRefs", "[]"):
        if parent.get("kind") == "EgressNetwork" and parent.get("group", group) == _GROUPS[1] and parent.get("port") is None:
            yield path, "an EgressNetwork is named without a port"
    if kind in ("HTTPRoute", "GRPCRoute") and any(_outbound(parent) for _, parent in maps(value, "spec", "parentRefs", "[]")):
        yield from _annotations(value, "http" if kind == "HTTPRoute" else "grpc")
    for path, rules in at(value, "spec", "rules"):
        if kind in ("TLSRoute", "TCPRoute") and isinstance(rules, list) and len(rules) != 1:
            yield path, f"a {kind} has one rule, and this one {len(rules)}"


def _outbound(parent: dict[str, Any]) -> bool:
    """Whether a route with this parent is one for clients, whose annotations the webhook reads too."""
    group = parent.get("group")
    return (parent.get("kind") == "Service" and group in (None, "", "core")) or (
        parent.get("kind") == "EgressNetwork" and group == _GROUPS[1]
    )


def _annotations(value: dict[str, Any], conditions: str) -> Iterator[Refusal]:
    """Retries and timeouts that cannot be read. On a Service Linkerd goes on without them; of a route it takes nothing then."""
    for key in (conditions, "limit"):
        for path, text in texts(value, "metadata", "annotations", f"retry.linkerd.io/{key}"):
            if not linkerd_reads(key, text):
                yield path, f"Linkerd's webhook refuses it on a route: {text!r} is {_MEANT[key]}"
    for key in _DURATIONS:
        for path, text in texts(value, "metadata", "annotations", key):
            if why := unread(parse_linkerd, text):
                yield path, f"Linkerd's webhook refuses it on a route: {why}"
