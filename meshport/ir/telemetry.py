"""What a mesh tells about requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshport.ir.base import Fact, PodSet


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Whether the proxies of the pods write a line for each request. The closest to a pod decides: workload, namespace, mesh.

    `form` is json or apache, None where the mesh's installation says which; `beside` is what narrows it or sends it elsewhere, by feature.
    """

    subject: Fact[PodSet]
    on: Fact[bool]
    level: str
    document: int
    form: Fact[str] | None = None
    beside: tuple[Fact[Any], ...] = ()
