"""Limits on the requests that a port takes, counted by each proxy for itself."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: `rate` requests a second in the long run, `burst` at once. A rate of whole seconds alone holds its own rate."""

    rate: Fact[Fraction]
    burst: Fact[int]

    @property
    def src(self) -> Src:
        return self.rate.src | self.burst.src


@dataclass(frozen=True, slots=True)
class ClientLimit:
    """Requests a second of one client, or of those `clients` together."""

    rate: Fact[int]
    clients: tuple[Fact[Ref], ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the pods of `subject` take on `port` (a container port or its name; None on all). What is above it is answered with 429.

    `counted` is pod where each pod's proxy counts, node where each node's does for the Service's clients there. `each` is for every client identity,
    `overrides` are for single ones, instead of it. `extras` are what only the source has, by feature.
    """

    ref: Fact[Ref]
    kind: str
    document: int
    subject: Fact[PodSet]
    port: Fact[int | str] | None
    total: Bucket | None
    counted: str = "pod"
    each: ClientLimit | None = None
    overrides: tuple[ClientLimit, ...] = ()
    extras: tuple[Fact[Any], ...] = ()
    src: Src = NOWHERE  # what else says that it is one

    @property
    def subject_name(self) -> str:
        return f"{self.kind} {self.ref.value}"
