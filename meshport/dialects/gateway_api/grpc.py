"""What a match of a GRPCRoute says, and how Linkerd ranks those that take a request.

A gRPC request is a POST for `/service/method`. Linkerd's proxy prefers the match with the longer name of a service, then of a method, then with more
headers (linkerd2-proxy, http/route/src/grpc/match.rs).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.ir.routing import RouteMatch

_SERVICE = r"[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*"
_METHOD = r"[A-Za-z_][A-Za-z_0-9]*"
_EXACT = re.compile(f"/({_SERVICE})/({_METHOD})")
_WHOLE = re.compile(f"/({_SERVICE})/")
ANY_SERVICE = "/[^/]+/"
"""What the expression of a match begins with that names a method alone."""


def method_of(match: RouteMatch) -> tuple[str, str] | None:
    """The service and the method that a match asks for, "" for any of them; None where no match of a GRPCRoute asks for these requests alone."""
    if match.query or match.others or match.method is not None:
        return None
    pattern = match.path.value if match.path is not None else None
    if pattern is None or (pattern.kind in ("prefix", "segments") and pattern.text in ("", "/")):
        return "", ""
    form = {"exact": _EXACT, "prefix": _WHOLE}.get(pattern.kind)
    found = form.fullmatch(pattern.text) if form is not None else None
    return (found[1], found[2] if found.re is _EXACT else "") if found is not None else None


def rank(match: RouteMatch) -> tuple[int, int, int]:
    """What Linkerd compares: the lengths of the names of the service and of the method, and the number of headers. The greater goes first."""
    text = match.path.value.text if match.path is not None else ""
    if text.startswith(ANY_SERVICE):
        return 0, len(text) - len(ANY_SERVICE), len(match.headers)
    _, _, names = text.partition("/")
    service, _, method = names.partition("/")
    return len(service), len(method), len(match.headers)


def outranks(later: RouteMatch, earlier: RouteMatch) -> bool:
    """Whether Linkerd prefers `later` for a request that both take; of two that rank alike it takes the first."""
    return rank(later) > rank(earlier)
