"""What a caller may send to a port: all requests that reach it, some, or none; callers are workloads of the bundle, or stand for those that it does not show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.compare.access import speaks_http
from meshport.dialects.base import Options
from meshport.effective.access import Effective
from meshport.effective.admitted import allowed, probes
from meshport.effective.identities import Identities, glob_accepts
from meshport.effective.networks import Networks
from meshport.effective.pieces import Piece, Unsayable, covered
from meshport.effective.seen import whole
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.model import IR
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import Language, LanguageTooLarge, union


@dataclass(frozen=True, slots=True)
class Caller:
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


def stranger_with_identity(name: str, trust_domain: str) -> Caller:
    """A pod with a certificate, of a namespace that nobody speaks of."""
    return Caller(name, "\0", {ACCOUNT_LABEL: "\0"}, Identity(trust_domain, "\0", "\0"), True)


class Callers:
    """Callers, found by what rules may name of them."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._homes: dict[str, list[int]] = {}
        self._accounts: dict[tuple[str, str], list[int]] = {}
        self._count = 0
        for number, one in enumerate(callers):
            self._homes.setdefault(one.namespace, []).append(number)
            if ACCOUNT_LABEL in one.labels:  # a pod of the host network has the node's name and no account's
                self._accounts.setdefault((one.namespace, one.labels[ACCOUNT_LABEL]), []).append(number)
            self._count += 1

    def named(self, peers: Iterable[Any]) -> set[int]:
        """The numbers of the callers that one of the peers may be."""
        return {number for peer in peers for number in self._of(peer)}

    def _of(self, peer: Any) -> Iterable[int]:
        home = getattr(peer, "namespace", None)
        if isinstance(peer, Identity) and home and peer.service_account:
            return self._accounts.get((home, peer.service_account), ())
        return self._homes.get(home, ()) if home else range(self._count)


class Shares:
    """How much each caller may send to each port of one side; what is known of equal rules is known once."""

    def __init__(self, ir: IR, options: Options) -> None:
        self._ir = ir
        self._options = options
        self._known: dict[Any, Share] = {}

    def of(self, item: Effective, port: int, excused: Iterable[str] = ()) -> Share:
        """`excused` are paths of probes of which a GET is no difference."""
        http = speaks_http(item, port, self._ir)
        key = (item.key, port, http, tuple(item.probe_paths(port)), tuple(excused))
        if key not in self._known:
            try:
                pieces: list[Piece] | None = allowed(item, port, http, self._options.cluster_networks)
            except (Unsayable, LanguageTooLarge, ValueError):
                pieces = None
            self._known[key] = Share(pieces, self._ir.enrols, self._options, [*excused])
        return self._known[key]


class Share:
    """all, some or none of a caller's requests; undecided where the rules cannot be computed."""

    def __init__(self, pieces: list[Piece] | None, enrols: bool, options: Options, excused: list[str]) -> None:
        excuses = [replace(piece, path=union(*map(Language.exact, excused))) for piece in probes(excused[:1])]
        self._pieces = pieces
        peers = {peer for piece in pieces or () for peer in (*(piece.who.include or ()), *piece.who.exclude)}
        self.named = frozenset(peer for peer in peers if not isinstance(peer, Entity) and peer != EVERYONE)
        self._own = [piece for piece in pieces or () if not any(excuse.covers_request(piece) for excuse in excuses)]
        self._by_label = not enrols
        self._networks = options.cluster_networks
        self._known: dict[Any, str] = {}
        self._beyond: dict[Any, bool] = {}
        self._compared: dict[Any, str] = {}

    def __call__(self, caller: Caller) -> str:
        key = caller.key
        if key not in self._known:
            self._known[key] = self._share(caller)
        return self._known[key]

    def _share(self, caller: Caller) -> str:
        if self._pieces is None:
            return "undecided"
        found = "none"
        for piece in self._pieces:
            if not takes(piece.who, caller, by_label=self._by_label):
                continue
            if piece.any_request and (piece.where.everywhere or whole(piece.where, self._networks)):
                return "all"
            found = "some"
        return found

    def more(self, one: Caller, other: Caller) -> bool:
        """Whether a caller may send something that the other one may not; true too where that cannot be computed."""
        try:
            return not covered(self._of(one, self._pieces), self._of(other, self._pieces))
        except (Unsayable, LanguageTooLarge, ValueError):
            return True

    def beyond(self, caller: Caller) -> bool:
        """Whether the caller may send anything beside what is excused."""
        if caller.key not in self._beyond:
            self._beyond[caller.key] = any(takes(piece.who, caller, by_label=self._by_label) for piece in self._own)
        return self._beyond[caller.key]

    def against(self, other: Share, pair: tuple[Caller, Caller], door: str) -> str:
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

    def _of(self, caller: Caller, pieces: list[Piece] | None) -> list[Piece]:
        """What the caller may send of it, without who it is; every address of the cluster is everywhere."""
        networks = self._networks
        return [
            replace(piece, who=Identities(), where=Networks() if whole(piece.where, networks) else piece.where)
            for piece in pieces or ()
            if takes(piece.who, caller, by_label=self._by_label)
        ]


def takes(who: Identities, caller: Caller, *, by_label: bool) -> bool:
    """Whether a set of peers has a caller in it."""
    if who.include is not None and not any(_is(peer, caller, by_label) for peer in who.include):
        return False
    return not any(_is(peer, caller, by_label) for peer in who.exclude)


def _is(peer: Any, caller: Caller, by_label: bool) -> bool:
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
