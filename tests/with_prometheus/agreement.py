"""Whether two answers say the same: labels by what they mean, values by unit, and no more closely than the histograms tell."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .exported import BACKEND, CLASSIC, CLIENT_GOLANG, ENVOY, ROUTE
from .server import Vector

Answer = Vector | float
HOSTS = ("destination_service", "authority", "dst")


def meaning(label: str, value: str) -> str:
    """A value of a label in no mesh's words: "" for what nobody knows."""
    if value in ("", "unknown"):
        return ""
    if label in HOSTS:
        return ".".join(value.partition(":")[0].split(".")[:2])
    if label in ("connection_security_policy", "tls"):
        return "mutual" if value in ("mutual_tls", "true") else ""
    if value.startswith("spiffe://"):
        _, _, _, _, namespace, _, account = value.split("/")
        return f"{account}.{namespace}"
    if ".serviceaccount.identity.linkerd." in value:
        return ".".join(value.split(".")[:2])
    return {"destination": "server", "inbound": "server", "source": "client", "outbound": "client"}.get(value, value)


def by_meaning(answer: Vector, labels: Mapping[str, tuple[str, ...]], before: bool) -> dict[tuple[tuple[str, str], ...], list[float]]:
    """Values by what their labels mean, the labels called as in the source. `labels` says which of the target stand for which of the source."""
    found: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for key, value in answer.items():
        held = dict(key)
        named = {}
        for label, others in labels.items():
            parts = [meaning(one, held.get(one, "")) for one in ((label,) if before else others)]
            named[label] = ".".join(parts) if any(parts) else ""
        told = set(labels) if before else {one for others in labels.values() for one in others}
        named |= {label: value for label, value in held.items() if label not in told}
        found.setdefault(tuple(sorted((label, text) for label, text in named.items() if text)), []).append(value)
    return {key: sorted(values) for key, values in found.items()}


def close(one: float, other: float, within: float = 1e-6) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=within, abs_tol=1e-9)


BOUNDS = {  # in milliseconds
    "istio_request_duration_milliseconds": ENVOY,
    "response_latency_ms": CLASSIC,
    "outbound_http_route_request_duration_seconds": tuple(bound * 1000 for bound in ROUTE),
    "outbound_http_route_backend_response_duration_seconds": tuple(bound * 1000 for bound in BACKEND),
    "hubble_http_request_duration_seconds": tuple(bound * 1000 for bound in CLIENT_GOLANG),
}


def bucket(value: float, query: str) -> tuple[float, float]:
    """The bucket that a quantile in milliseconds comes from, of the histogram that a query asks for; the last has no end."""
    bounds = next(bounds for metric, bounds in BOUNDS.items() if metric in query)
    below = [bound for bound in bounds if bound < value * (1 - 1e-9)]
    above = [bound for bound in bounds if bound >= value * (1 - 1e-9)]
    last = math.isclose(value, bounds[-1])
    return (below[-1] if below else 0.0), (math.inf if last or not above else above[0])


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(one[0], other[0]) <= min(one[1], other[1]) * (1 + 1e-9)
