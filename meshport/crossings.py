"""Calls between what `--namespace` converts and what stays behind: neither of two meshes knows the identities of the other.

Nothing of it is in the end state, which is what findings about access compare: it is how the cluster is until the other end has moved as well. `meshport plan`
orders the moves so that nobody is refused on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshport.compare.shares import Caller, Callers, Shares, stranger_with_identity
from meshport.dialects.base import Options, governs
from meshport.dialects.output import fill
from meshport.effective.access import Access, ports_of
from meshport.findings import Affected, Finding
from meshport.ir.authorization import ACCOUNT_LABEL
from meshport.ir.base import Fact, Ref
from meshport.ir.model import IR
from meshport.values.identities import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshport.conversion import Conversion
    from meshport.ir.world import Workload

ANY = "any workload of the other mesh"
_MOST = 5


@dataclass(frozen=True, slots=True)
class _Call:
    source: str  # namespace/workload, or ANY
    destination: Ref
    port: int

    def __str__(self) -> str:
        return f"{self.source} to {self.destination} port {self.port}"


def report(job: Conversion, back: IR) -> list[Finding]:
    """A finding for the calls that are let in before and after, and refused while one end alone has moved. `back` is the output as it was read back."""
    if job.source is job.target or not (governs(job.source) and governs(job.target)):
        return []
    moving = {name for name in (*job.have.world.namespaces, *back.world.homes()) if job.chosen.moves(name)}

    def moves(workload: Workload) -> bool:
        return workload.ref.namespace in moving

    def stays(workload: Workload) -> bool:
        return not moves(workload)

    calls = [*_refused(back, job.have, stays, moves, job.options), *_refused(job.have, back, moves, stays, job.options)]
    if not calls:
        return []
    row = job.table.codes()["MP144"]
    ends = {
        name for call in calls for name in (call.source.partition("/")[0], call.destination.namespace) if name not in moving and name != ANY
    }
    values = {
        "count": len(calls),
        "source": job.options.source,
        "target": job.options.target,
        "calls": "; ".join(map(str, calls[:_MOST])) + (f"; and {len(calls) - _MOST} more" if len(calls) > _MOST else ""),
        "others": " ".join(f"--namespace {name}" for name in sorted(ends)[:_MOST]) + (" ..." if len(ends) > _MOST else ""),
    }
    places = dict.fromkeys(Affected(call.destination.namespace, call.destination.name, call.port) for call in calls)
    return [
        Finding("MP144", row.severity, fill(row.message, values), fill(row.remedy, values), row.effect, affects=tuple(places), pattern="migration", feature="enrolment")
    ]  # fmt: skip


def _refused(
    ir: IR, other: IR, calling: Callable[[Workload], bool], called: Callable[[Workload], bool], options: Options
) -> Iterator[_Call]:
    """The calls that a mesh lets in for the identity that it knows the caller by, from callers who have none in it for now. `other` is the other mesh."""
    if not ir.enrols:
        return  # who calls is known by the labels of the pods, whichever proxy they have
    found = [item for item in ir.world.workloads if calling(item) and ir.world.meshed(item) is True]
    callers = [_known(item, options.trust_domain) for item in found if not other.enrols or other.world.meshed(item) is not False]
    if not callers:
        return
    index, shares = Callers(callers), Shares(ir, options)
    stranger = stranger_with_identity(ANY, options.trust_domain)
    for item in Access(ir, Fact("all-unauthenticated")).workloads:
        if not called(item.workload) or item.meshed is False:
            continue
        for port in sorted(ports_of([item], ir.world)):
            share = shares.of(item, port)
            named = sorted(index.named(share.named))
            if share.more(stranger, _bare(stranger)):
                yield _Call(ANY, item.workload.ref, port)
            else:
                yield from (
                    _Call(callers[number].name, item.workload.ref, port)
                    for number in named
                    if share.more(callers[number], _bare(callers[number]))
                )


def _known(workload: Workload, trust_domain: str) -> Caller:
    ref, account = workload.ref, workload.account.value
    return Caller(
        str(ref), ref.namespace, {**workload.labels, ACCOUNT_LABEL: account}, Identity(trust_domain, ref.namespace, account), True
    )


def _bare(caller: Caller) -> Caller:
    """The caller without a certificate."""
    return Caller(caller.name, caller.namespace, caller.labels, None, False)
