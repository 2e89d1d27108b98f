"""What routing makes of a request, in terms that Istio and Linkerd share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from .world import World

Backend = tuple[str, frozenset[tuple[str, str]]]
"""The pods that a share of the traffic reaches: namespace and the labels they carry."""

GRPC_CODES = frozenset({"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"})


@dataclass(frozen=True)
class Retries:
    attempts: int | None  # None: as many as a budget allows
    statuses: frozenset[int] = frozenset()
    grpc: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()
    per_try_ns: int | None = None


@dataclass(frozen=True)
class Breaker:
    failures: int
    penalty_ns: int


@dataclass(frozen=True)
class Changes:
    """What is done to a request on its way: the path and authority that the backend sees (None: as they came), headers, and copies.

    `headers` are (request or response, set, add or remove, name, value), with the backend in front where they are for one alone; `mirrors` the pods that get
    copies, with the share in percent; `location` is what a redirect answers: code, scheme, host, port and path, None where it is the request's own.
    """

    path: str | None = None
    authority: str | None = None
    headers: frozenset[tuple[str, ...]] = frozenset()
    mirrors: frozenset[tuple[Backend, float]] = frozenset()
    location: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """`forward` to the backends, or an answer that the proxy gives itself. `detail` says which redirect, status or fault."""

    kind: Literal["forward", "unrouted", "redirect", "direct"]
    backends: dict[Backend, Fraction] = field(default_factory=dict)
    timeout_ns: int | None = None
    retries: Retries | None = None
    breakers: dict[Backend, Breaker] = field(default_factory=dict)
    fault: tuple[tuple[str, str], ...] = ()
    detail: tuple[tuple[str, str], ...] = ()
    changes: Changes = field(default_factory=lambda: Changes())


def failing(status: int) -> Backend:
    """The share of traffic that the proxy answers with an error of its own."""
    return ("", frozenset({("status", str(status))}))


def pods_of(world: World, namespace: str, name: str, subset: dict[str, str] | None = None) -> Backend:
    """The pods of a Service; of one that the world does not hold, its name stands for them."""
    service = world.service(namespace, name)
    labels = service.selector if service else {"service": name}
    return (namespace, frozenset({**labels, **(subset or {})}.items()))


def shares(weighted: list[tuple[Backend, int]]) -> dict[Backend, Fraction]:
    """Weights as shares of one; equal sets of pods are counted together."""
    total = sum(w for _, w in weighted)
    out: dict[Backend, Fraction] = {}
    for backend, weight in weighted:
        if weight:
            out[backend] = out.get(backend, Fraction(0)) + Fraction(weight, total)
    return out


def conditions(tokens: list[str]) -> tuple[frozenset[int], frozenset[str], frozenset[str]]:
    """Retry conditions as HTTP statuses, gRPC codes, and the rest."""
    named = {"5xx": range(500, 600), "gateway-error": range(502, 505), "retriable-4xx": range(409, 410)}
    statuses: set[int] = set()
    grpc: set[str] = set()
    other: set[str] = set()
    for token in (t.strip().lower() for t in tokens):
        numbers = re.fullmatch(r"(\d{3})(?:-(\d{3}))?", token)
        if token in named:
            statuses.update(named[token])
        elif numbers:
            statuses.update(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
        elif token in GRPC_CODES:
            grpc.add(token)
        elif token:
            other.add(token)
    return frozenset(statuses), frozenset(grpc), frozenset(other)
