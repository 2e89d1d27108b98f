"""Differences with a request as their witness, which the evaluator (`decision.py`) answers once more on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshport.compare.decision import ALLOW, DENY, UNDECIDED, Decision, Step, decide
from meshport.compare.port import Sides
from meshport.compare.request import parse
from meshport.compare.witness import requests
from meshport.dialects.base import Options
from meshport.effective import subjects
from meshport.effective.access import Effective
from meshport.effective.pieces import Piece
from meshport.ir.base import NOWHERE, Src
from meshport.ir.model import IR


@dataclass(slots=True)
class Difference:
    """Requests that are decided or treated differently; `request` is one of them.

    `change` is allowed or denied (newly), routed where requests go elsewhere, or are waited for, retried or changed otherwise, or transport where a workload
    leaves the mesh or joins it. `sources` are the leaves that decide
    before and after, `causes` the same as {side, file, line, path}.
    """

    change: str
    request: dict[str, Any]
    before: str
    after: str
    causes: list[dict[str, Any]] = field(default_factory=list)
    sources: tuple[Src, Src] = (NOWHERE, NOWHERE)
    rules: tuple[str, str] = ("", "")  # what decides on each side, in words
    subject: str = ""


def replayed(
    change: str,
    piece: Piece,
    item: Effective,
    other: Effective,
    port: int,
    https: tuple[bool, bool],
    sides: Sides,
    protocol: str = "",
) -> Difference | bool | None:
    """A request of the piece of which both sides say what the piece says of it; None where none is found, False where nobody can send one."""
    wanted = (DENY, ALLOW) if change == "allowed" else (ALLOW, DENY)
    said = ("denied", "allowed") if change == "allowed" else ("allowed", "denied")
    nobody: bool | None = None
    for request in asked_of(piece, item, port, https, sides):
        if request is None:
            nobody = True if nobody is None else nobody
            continue
        nobody = False
        if protocol:
            request["protocol"] = protocol
            if protocol == "icmp":
                request["destination"].pop("port", None)  # requests of one piece share their destination
        first, second = _decided(request, item, port, sides.old, sides.one), _decided(request, other, port, sides.new, sides.other)
        if _agrees(first, second, wanted, bool(piece.literals)):
            return Difference(
                change,
                request,
                *said,
                sources=(first.src, second.src),
                rules=(_words(first.rule), _words(second.rule)),
                subject=subjects.access(item.workload.ref, port),
            )
    return False if nobody else None


def _words(step: Step | None) -> str:
    return f"{step.what} {step.outcome}" if step is not None else ""


def asked_of(piece: Piece, item: Effective, port: int, https: tuple[bool, bool], sides: Sides) -> Iterator[dict[str, Any] | None]:
    """Requests of a piece; None for one that nobody can send."""
    of_pods = sides.one.cluster_networks if not (sides.old.enrols and sides.new.enrols) else ()
    issuers = (one.name for one in sides.old.issuers if one.pods.contains(item.workload.ref.namespace, item.workload.labels))
    return requests(
        piece, item.workload.ref, port, sides.old.world, sides.one.trust_domain, http=any(https), of_pods=of_pods, issuer=next(issuers, "x")
    )


def _agrees(first: Decision, second: Decision, wanted: tuple[str, str], spoken: bool) -> bool:
    """Whether both answers are as expected. Where the set asks for what no request can say (`spoken`: Kafka's topics), one answer may stay open."""
    fits = [item.verdict == verdict for item, verdict in zip((first, second), wanted, strict=True)]
    return all(fits) or (spoken and any(fits) and UNDECIDED in (first.verdict, second.verdict))


def _decided(request: dict[str, Any], item: Effective, port: int, ir: IR, options: Options) -> Decision:
    return decide(item, port, parse(request, ir.world, options.trust_domain), ir, options)
