"""Who may call whom, before and after: callers, and the doors behind a declared port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from meshport.compare.shares import Caller, Callers, Share, Shares, stranger_with_identity
from meshport.effective.access import Effective
from meshport.ir.authorization import ACCOUNT_LABEL
from meshport.ir.base import Ref
from meshport.ir.world import Workload
from meshport.migrate.encryption import Side, declared_ports
from meshport.report.audited import ANY_IDENTITY, OUTSIDE, Door, Edge, Stranger
from meshport.values.identities import Identity


def _caller(workload: Workload, side: Side) -> Caller:
    ref, account = workload.ref, workload.account.value
    if workload.host_network and not side.ir.enrols:
        return Caller(str(ref), ref.namespace, {}, None, False, ("host", "remote-node"))
    meshed = side.ir.world.meshed(workload) is not False if side.ir.enrols else bool(side.node)
    labels = {**workload.labels, ACCOUNT_LABEL: account}
    identity = Identity(side.options.trust_domain, ref.namespace, account) if meshed or not side.ir.enrols else None
    return Caller(str(ref), ref.namespace, labels, identity, meshed)


def _strangers(side: Side) -> tuple[Caller, Caller]:
    """A pod without a certificate and one with a certificate, of a namespace that nobody speaks of."""
    return Caller(OUTSIDE, "\0", {}, None, False, ("world",)), stranger_with_identity(ANY_IDENTITY, side.options.trust_domain)


def edges(
    pairs: list[tuple[Effective, Effective]], before: Side, after: Side, outcomes: Mapping[tuple[Ref, int | None], str]
) -> Iterator[Edge]:
    """Callers and doors behind a declared port. A workload has an edge of its own where it may do otherwise than a stranger of its kind.

    `outcomes` are what the rows say of the doors: where access is the same, nobody's share differs but for the path of a probe, which is compared apart.
    """
    callers = _Pairs([(_caller(item.workload, before), _caller(other.workload, after)) for item, other in pairs])
    unknown = list(zip(_strangers(before), _strangers(after), strict=True))
    shares = Shares(before.ir, before.options), Shares(after.ir, after.options)
    for item, other in pairs:
        ref = item.workload.ref
        for port in declared_ports(item, other, before, after):
            # what a mesh keeps open for the kubelet by itself is nobody's rule; of declared probes, GET may be newly allowed
            looked = shares[0].of(item, port, item.probe_paths(port)), shares[1].of(other, port, item.declared_probes(port))
            door = outcomes.get((ref, port), "same")
            general = []
            for pair in unknown:
                found = _judged(looked, pair, door)
                general.append(found)
                if found[:2] != ("none", "none"):
                    yield _edge(pair, ref, port, found, (item, other), (before, after))
            for pair in callers.named(*looked):
                if pair[0].name == str(ref):
                    continue
                found = _judged(looked, pair, door)
                usual = tuple(general[1 if one.meshed else 0][number] for number, one in enumerate(pair))
                if found[:2] != usual:
                    yield _edge(pair, ref, port, found, (item, other), (before, after))


class _Pairs:
    """The workloads as callers, found by what rules may name of them: whoever is named by no rule of a port may do what a stranger of its kind may."""

    def __init__(self, pairs: list[tuple[Caller, Caller]]) -> None:
        self._pairs = pairs
        self._always = {number for number, (one, two) in enumerate(pairs) if one.meshed != two.meshed or one.entities or two.entities}
        self._index = Callers(one for one, _ in pairs)
        self._known: dict[tuple[Share, Share], list[int]] = {}

    def named(self, *shares: Share) -> Iterator[tuple[Caller, Caller]]:
        """The callers that a rule of either side may name, in the order of their names."""
        one, two = shares
        if (one, two) not in self._known:
            self._known[one, two] = sorted(self._always | self._index.named({*one.named, *two.named}))
        return (self._pairs[number] for number in self._known[one, two])


def strangers(pairs: list[tuple[Effective, Effective]], before: Side, after: Side) -> Iterator[Stranger]:
    """The workloads of the bundle that are not in the source mesh, and what they reach in it."""
    shares = Shares(before.ir, before.options), Shares(after.ir, after.options)
    doors = [
        (item, other, port)
        for item, other in pairs
        if item.meshed is not False or not before.ir.enrols
        for port in declared_ports(item, other, before, after)
    ]
    for item, other in pairs:
        if not before.ir.enrols or item.meshed is not False:
            continue
        callers = _caller(item.workload, before), _caller(other.workload, after)
        found = [
            (
                one,
                port,
                shares[0].of(one, port, one.probe_paths(port))(callers[0]),
                shares[1].of(two, port, one.declared_probes(port))(callers[1]),
            )
            for one, two, port in doors
        ]
        yield Stranger(
            workload=str(item.workload.ref),
            before=sum(1 for _, _, share, _ in found if share != "none"),
            after=sum(1 for _, _, _, share in found if share != "none"),
            lost=[
                Door(namespace=one.workload.ref.namespace, workload=one.workload.ref.name, port=port)
                for one, port, had, has in found
                if had != "none" and has == "none"
            ],
        )


def _judged(looked: tuple[Share, Share], pair: tuple[Caller, Caller], door: str) -> tuple[str, str, str]:
    """How much a caller may send before and after, and what became of it. `door` is the outcome for all callers together."""
    before = looked[0](pair[0])
    if door == "same" and before in ("none", "all"):
        return before, before, "same"
    after = looked[1](pair[1])
    rank = {"none": 0, "some": 1, "all": 2}
    if "undecided" in (before, after):
        return before, after, "undecided"
    if ((before, after) == ("none", "some") and not looked[1].beyond(pair[1])) or (
        (before, after) == ("some", "none") and not looked[0].beyond(pair[0])
    ):
        return "none", "none", "same"
    if door == "same":
        return before, before, "same"
    if before != after:
        outcome = "narrowed" if rank[after] < rank[before] else "widened"
        # what lies between all and some may be paths that nobody can send: the behavioural check knows
        return before, after, outcome if "none" in (before, after) or door not in ("narrowed", "widened") or door == outcome else "same"
    return before, after, "same" if before != "some" else looked[0].against(looked[1], pair, door)


def _edge(
    pair: tuple[Caller, Caller],
    ref: Ref,
    port: int,
    found: tuple[str, str, str],
    items: tuple[Effective, Effective],
    sides: tuple[Side, Side],
) -> Edge:
    before, after, outcome = found
    encrypted = [
        None if share == "none" else _encrypted(caller, item, port, side)
        for caller, item, share, side in zip(pair, items, (before, after), sides, strict=True)
    ]
    return Edge(
        source=pair[0].name,
        destination=str(ref),
        port=port,
        before=cast("Any", before),
        after=cast("Any", after),
        outcome=cast("Any", outcome),
        encrypted_before=encrypted[0],
        encrypted_after=encrypted[1],
    )


def _encrypted(caller: Caller, item: Effective, port: int, side: Side) -> bool:
    if not side.ir.enrols:
        return bool(side.node) and caller.name != OUTSIDE
    return caller.meshed and item.meshed is not False and not item.workload.bypasses(port) and item.mode(port).value != "disable"
