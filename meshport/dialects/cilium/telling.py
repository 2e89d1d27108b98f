"""What a person has to know of rules that could not be said, once for all ports and workloads that it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshport.dialects.output import Output
from meshport.effective.identities import label, of_gateways, of_no_domain
from meshport.effective.pieces import Piece
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Src

if TYPE_CHECKING:
    from meshport.dialects.cilium.callers import Callers
    from meshport.dialects.cilium.planning import Context, Part, Where


@dataclass(slots=True)
class Note:
    """A finding in the making. `ports` are those that it speaks of; None is every port that nothing names."""

    said: dict[str, Any]
    values: dict[str, Any]
    document: int
    src: Src = NOWHERE
    ports: set[int | None] = field(default_factory=set)
    affects: dict[Affected, None] = field(default_factory=dict)
    explains: set[tuple[str, str]] = field(default_factory=set)
    lost: dict[str, list[Piece]] | None = field(
        default_factory=dict
    )  # the requests that it says are left out, by subject; None where that is not known

    def leave_out(self, explains: frozenset[tuple[str, str]], lost: Sequence[Piece] | None) -> None:
        """Take up requests that are left out at subjects; None: it is not known which."""
        if lost is None:
            self.lost = None
        elif self.lost is not None:
            for subject in {subject for subject, _ in explains}:
                self.lost.setdefault(subject, []).extend(lost)


Told = dict[tuple[Any, ...], Note]


def tell(out: Output, told: Told) -> None:
    """The notes as findings."""
    for (code, *_), note in told.items():
        numbers = sorted(port for port in note.ports if port is not None)
        shown = [str(port) for port in numbers] + (["any other"] if None in note.ports else [])
        finding = out.finding(
            code, *([note.src] if note.src else []), document=note.document, affects=tuple(note.affects), explains=frozenset(note.explains),
            port=" and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown), **note.said, **note.values,
        )  # fmt: skip
        finding.lost = note.lost


def tell_of_callers(context: Context, part: Part, port: Where, piece: Piece, who: Callers) -> None:
    """What of the peers could not be said, or is said otherwise."""
    policy, said = name_of(part), {"disposition": "dropped" if who.nobody else "approximated"}
    if who.foreign:
        left_out(context, "MP208", part, port, piece.src, of_no_domain(who.foreign), [piece.of(who.foreign)], whole=who.nobody)
    if who.gateways:
        reason = f"{of_gateways(who.gateways)} not part of Cilium, and the bundle does not have one gateway that takes its place"
        left_out(context, "MP216", part, port, piece.src, reason, whole=who.nobody)
    for item, workload, shown in who.outside:
        nobody = (
            {} if shown else {"severity": "info", "effect": "none"}
        )  # before as after: no known pod with a proxy runs under the account
        said_here = {**said, **nobody, "feature": "authorization.source.principals"}
        context.note(
            "MP283", part.document, port, piece.src, said_here, [piece.of((item,))], policy=policy, peer=label(item), workload=workload
        )
    for item in who.absent:
        pods = f"any pod of {item.namespace}, a namespace that is not in the mesh,"
        said_here = {**said, "severity": "warning", "feature": "authorization.source.principals"}
        context.note(
            "MP283", part.document, port, piece.src, said_here, [piece.of((item,))], policy=policy, peer=label(item), workload=pods
        )
    for item, workload in who.on_host:
        context.note(
            "MP278",
            part.document,
            port,
            NOWHERE,
            {"feature": "authorization.source.principals"},
            policy=policy,
            peer=label(item),
            workload=workload,
        )
    if who.meshed:
        spaces = ", ".join(context.known.namespaces())
        context.note("MP281", part.document, port, NOWHERE, {"feature": "authorization.source.principals"}, [piece], namespaces=spaces)
    if who.but:
        foreign = "world" not in who.entities and not who.inside  # for there may be such as were kept out
        nobody = {} if who.beside or foreign else {"severity": "info", "effect": "none"}
        feature = {"feature": "authorization.source.principals", **nobody}
        others = ["pods outside the mesh that carry these accounts or namespaces"] if who.beside or not foreign else []
        others += ["all callers from outside the cluster, where another trust domain's are,"] if foreign else []
        context.note("MP298", part.document, port, NOWHERE, feature, policy=policy, peers=who.but, others=" and ".join(others))
    if who.listed and who.nobody:
        left_out(context, "MP201", part, port, piece.src, f"{who.listed}: it is no account that the bundle knows", [piece])
    elif who.listed:
        context.note("MP203", part.document, port, piece.src, said, [piece], policy=policy, peers=who.listed, others="all others")
    if who.addresses:
        feature = {**said, "feature": "authorization.source.ip-blocks"}
        context.note("MP284", part.document, port, piece.src, feature, [piece], policy=policy, networks=", ".join(who.addresses))


def name_of(part: Part) -> str:
    return f"{part.policy.kind} {part.policy.ref.value}" if part.policy is not None else "the default of open ports"


def left_out(
    context: Context, code: str, part: Part, port: Where, src: Src, reason: str, left: Sequence[Piece] | None = None, *, whole: bool = True
) -> None:
    said = {"disposition": "dropped" if whole else "approximated", "feature": "authorization.rule"}
    context.note(code, part.document, port, src, said, left, policy=name_of(part), reason=reason)


def widened(context: Context, code: str, part: Part, port: Where, src: Src, reason: str) -> None:
    said = {"disposition": "approximated", "effect": "widens", "severity": "error", "feature": "authorization.rule"}
    context.note(code, part.document, port, src, said, policy=name_of(part), reason=reason)
