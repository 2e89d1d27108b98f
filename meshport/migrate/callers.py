"""Who may call whom: callers of each mesh, the doors behind a declared port, and what a share of the requests there is admitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from meshport.compare.access import speaks_http
from meshport.effective.access import Effective
from meshport.effective.admitted import allowed, probes
from meshport.effective.identities import Identities, glob_accepts
from meshport.effective.networks import Networks
from meshport.effective.pieces import Piece, Unsayable, covered
from meshport.effective.seen import whole
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.base import Ref
from meshport.ir.world import Workload
from meshport.migrate.encryption import Side, declared_ports
from meshport.report.audited import ANY_IDENTITY, OUTSIDE, Door, Edge, Stranger
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import Language, LanguageTooLarge, union


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who calls: a workload of the bundle, or somebody that it does not show. `identity` is None without a certificate; `entities` are what a mesh that goes by
    labels has for callers without any."""

    name: str
    namespace: str
    labels: dict[str, str]
    identity: Identity | None
    meshed: bool
    entities: tuple[str, ...] = ()
    key: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.namespace, tuple(sorted(self.labels.items())), self.identity, self.entities))


def _caller(workload: Workload, side: Side) -> _Caller:
    ref, account = workload.ref, workload.account.value
    if workload.host_network and not side.ir.enrols:
        return _Caller(str(ref), ref.namespace, {}, None, False, ("host", "remote-node"))
    meshed = side.ir.world.meshed(workload) is not False if side.ir.enrols else bool(side.node)
    labels = {**workload.labels, ACCOUNT_LABEL: account}
    identity = Identity(side.options.trust_domain, ref.namespace, account) if meshed or not side.ir.enrols else None
    return _Caller(str(ref), ref.namespace, labels, identity, meshed)


def _strangers(side: Side) -> tuple[_Caller, _Caller]:
    """A pod without a certificate and one with a certificate, of a namespace that nobody speaks of."""
    identity = Identity(side.options.trust_domain, "\0", "\0")
    return _Caller(OUTSIDE, "\0", {}, None, False, ("world",)), _Caller(ANY_IDENTITY, "\0", {ACCOUNT_LABEL: "\0"}, identity, True)


def edges(
    pairs: list[tuple[Effective, Effective]], before: Side, after: Side, outcomes: Mapping[tuple[Ref, int | None], str]
) -> Iterator[Edge]:
    """Callers and doors behind a declared port. A workload has an edge of its own where it may do otherwise than a stranger of its kind.

    `outcomes` are what the rows say of the doors: where access is the same, nobody's share differs but for the path of a probe, which is compared apart.
    """
    callers = _Callers([(_caller(item.workload, before), _caller(other.workload, after)) for item, other in pairs])
    unknown = list(zip(_strangers(before), _strangers(after), strict=True))
    shares = _Shares(before), _Shares(after)
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


class _Callers:
    """The workloads as callers, found by what rules may name of them: whoever is named by no rule of a port may do what a stranger of its kind may."""

    def __init__(self, pairs: list[tuple[_Caller, _Caller]]) -> None:
        self._pairs = pairs
        self._always = [number for number, (one, two) in enumerate(pairs) if one.meshed != two.meshed or one.entities or two.entities]
        self._homes: dict[str, list[int]] = {}
        self._accounts: dict[tuple[str, str], list[int]] = {}
        self._known: dict[tuple[_Share, _Share], list[int]] = {}
        for number, (one, _) in enumerate(pairs):
            self._homes.setdefault(one.namespace, []).append(number)
            self._accounts.setdefault((one.namespace, one.labels[ACCOUNT_LABEL]), []).append(number)

    def named(self, *shares: _Share) -> Iterator[tuple[_Caller, _Caller]]:
        """The callers that a rule of either side may name, in the order of their names."""
        one, two = shares
        if (one, two) not in self._known:
            found = set(self._always)
            for peer in {*one.named, *two.named}:
                found.update(self._of(peer))
            self._known[one, two] = sorted(found)
        return (self._pairs[number] for number in self._known[one, two])

    def _of(self, peer: Any) -> Iterable[int]:
        home = getattr(peer, "namespace", None)
        if isinstance(peer, Identity) and home and peer.service_account:
            return self._accounts.get((home, peer.service_account), ())
        return self._homes.get(home, ()) if home else range(len(self._pairs))


def strangers(pairs: list[tuple[Effective, Effective]], before: Side, after: Side) -> Iterator[Stranger]:
    """The workloads of the bundle that are not in the source mesh, and what they reach in it."""
    shares = _Shares(before), _Shares(after)
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


def _judged(looked: tuple[_Share, _Share], pair: tuple[_Caller, _Caller], door: str) -> tuple[str, str, str]:
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
    pair: tuple[_Caller, _Caller],
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


def _encrypted(caller: _Caller, item: Effective, port: int, side: Side) -> bool:
    if not side.ir.enrols:
        return bool(side.node) and caller.name != OUTSIDE
    return caller.meshed and item.meshed is not False and not item.workload.bypasses(port) and item.mode(port).value != "disable"


class _Shares:
    """How much each caller may send to each port of one side; what is known of equal rules is known once."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._known: dict[Any, _Share] = {}

    def of(self, item: Effective, port: int, excused: Iterable[str] = ()) -> _Share:
        """`excused` are paths of probes of which a GET is no difference."""
        http = speaks_http(item, port, self._side.ir)
        key = (item.key, port, http, tuple(item.probe_paths(port)), tuple(excused))
        if key not in self._known:
            try:
                pieces: list[Piece] | None = allowed(item, port, http, self._side.options.cluster_networks)
            except (Unsayable, LanguageTooLarge, ValueError):
                pieces = None
            self._known[key] = _Share(pieces, self._side, [*excused])
        return self._known[key]


class _Share:
    """all, some or none of a caller's requests; undecided where the rules cannot be computed."""

    def __init__(self, pieces: list[Piece] | None, side: Side, excused: list[str]) -> None:
        excuses = [replace(piece, path=union(*map(Language.exact, excused))) for piece in probes(excused[:1])]
        self._pieces = pieces
        peers = {peer for piece in pieces or () for peer in (*(piece.who.include or ()), *piece.who.exclude)}
        self.named = frozenset(peer for peer in peers if not isinstance(peer, Entity) and peer != EVERYONE)
        self._own = [piece for piece in pieces or () if not any(excuse.covers_request(piece) for excuse in excuses)]
        self._side = side
        self._known: dict[Any, str] = {}
        self._beyond: dict[Any, bool] = {}
        self._compared: dict[Any, str] = {}

    def __call__(self, caller: _Caller) -> str:
        key = caller.key
        if key not in self._known:
            self._known[key] = self._share(caller)
        return self._known[key]

    def _share(self, caller: _Caller) -> str:
        if self._pieces is None:
            return "undecided"
        found = "none"
        for piece in self._pieces:
            if not takes(piece.who, caller, by_label=not self._side.ir.enrols):
                continue
            if piece.any_request and (piece.where.everywhere or whole(piece.where, self._side.options.cluster_networks)):
                return "all"
            found = "some"
        return found

    def beyond(self, caller: _Caller) -> bool:
        """Whether the caller may send anything beside what is excused."""
        if caller.key not in self._beyond:
            self._beyond[caller.key] = any(takes(piece.who, caller, by_label=not self._side.ir.enrols) for piece in self._own)
        return self._beyond[caller.key]

    def against(self, other: _Share, pair: tuple[_Caller, _Caller], door: str) -> str:
        """What became of the requests of a caller that is let in with some before (this) and some after."""
        key = (other, pair[0].key, pair[1].key, door)
        if key not in self._compared:
            try:
                gained = door != "narrowed" and not covered(other._of(pair[1], other._own), self._of(pair[0], self._pieces))
                lost = door != "widened" and not covered(self._of(pair[0], self._own), other._of(pair[1], other._pieces))
                differs = "changed" if gained and lost else "widened" if gained else "narrowed" if lost else "same"
                self._compared[key] = "undecided" if door == "undecided" and differs != "same" else differs
            except (Unsayable, LanguageTooLarge, ValueError):
                self._compared[key] = "undecided"
        return self._compared[key]

    def _of(self, caller: _Caller, pieces: list[Piece] | None) -> list[Piece]:
        """What the caller may send of it, without who it is; every address of the cluster is everywhere."""
        networks = self._side.options.cluster_networks
        return [
            replace(piece, who=Identities(), where=Networks() if whole(piece.where, networks) else piece.where)
            for piece in pieces or ()
            if takes(piece.who, caller, by_label=not self._side.ir.enrols)
        ]


def takes(who: Identities, caller: _Caller, *, by_label: bool) -> bool:
    """Whether a set of peers has a caller in it."""
    if who.include is not None and not any(_is(peer, caller, by_label) for peer in who.include):
        return False
    return not any(_is(peer, caller, by_label) for peer in who.exclude)


def _is(peer: Any, caller: _Caller, by_label: bool) -> bool:
    if isinstance(peer, Entity):
        return peer.name in ("cluster", "all", *caller.entities)
    if isinstance(peer, Labelled):
        return peer.namespace in ("", caller.namespace) and peer.selector.accepts(caller.labels)
    if caller.identity is None:
        return False
    if peer == EVERYONE:
        return caller.meshed or by_label
    if isinstance(peer, Identity):
        return peer.covers(caller.identity)
    return isinstance(peer, IdentityGlob) and glob_accepts(peer, caller.identity)
