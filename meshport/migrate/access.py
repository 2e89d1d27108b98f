"""The access matrix: who may send what to whom before and after, ports of equal access in one row.

Outcomes are those of the behavioural check, which compares sets of requests exactly; the rows beside them only say the sets. The edges between workloads, from
which the service graph is drawn, come from the same sets: a caller is let in with all of its requests, with some, or with none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from meshport.compare.access import Canonical, said, speaks_http
from meshport.compare.request import sentence
from meshport.effective import subjects
from meshport.effective.access import Effective
from meshport.effective.admitted import allowed, probes
from meshport.effective.identities import Identities, glob_accepts
from meshport.effective.networks import Networks
from meshport.effective.pieces import Piece, Unsayable, subtract
from meshport.effective.seen import whole
from meshport.ir.authorization import ACCOUNT_LABEL, Entity, Labelled
from meshport.ir.base import Ref
from meshport.ir.world import Workload
from meshport.migrate.encryption import Side, declared_ports, known_ports, matched
from meshport.report.audited import ANY_IDENTITY, OUTSIDE, AccessMatrix, AccessRow, Door, Edge, Posture, Stranger
from meshport.values.identities import EVERYONE, Identity, IdentityGlob
from meshport.values.language import Language, LanguageTooLarge, union
from meshport.values.ports import is_number

if TYPE_CHECKING:
    from meshport.compare.replay import Difference
    from meshport.compare.verify import Verification
    from meshport.findings import Finding

MOST_EDGES = 20_000
"""Edges that a report carries; those beyond are counted."""
_ORDER = {"widened": 0, "undecided": 1, "changed": 2, "narrowed": 3, "same": 4}


def matrix(
    before: Side,
    after: Side,
    canon: tuple[Canonical, Canonical],
    proof: Verification | None,
    findings: list[Finding],
    owns: Callable[[int], bool] | None = None,
) -> AccessMatrix:
    """Access at every port that either side speaks of, worst first. With `owns`, which leaves are of what is converted, only where one of those has a say."""
    both = matched(before, after)
    pods = {item.workload.ref for item, _ in both}
    if owns is not None:
        both = [pair for pair in both if any(map(owns, _deciding(pair[0])))]
    rows = _rows(both, before, after, canon, proof, findings)
    if proof is not None and owns is not None:
        shown = [one for one in proof.differences if not _of_pods(one, pods) and any(map(owns, one.sources[0]))]
        others = {str(ref) for ref in pods - {item.workload.ref for item, _ in both}}
        proof = replace(proof, differences=shown, undecided=[text for text in proof.undecided if text.partition(":")[0] not in others])
    rows = sorted([*rows, *_unseen(rows, proof)], key=_place)
    counts = dict.fromkeys(_ORDER, 0)
    for row in rows:
        counts[row.outcome] += max(1, len(row.doors))
    outcomes = {(Ref(door.namespace, door.workload), door.port): row.outcome for row in rows for door in row.doors}
    edges = list(_edges(both, before, after, outcomes))
    return AccessMatrix(
        **counts,
        postures=list(_postures(both, canon)),
        rows=rows,
        edges=edges[:MOST_EDGES],
        strangers=list(_outside(both, before, after)),
        left_out=max(0, len(edges) - MOST_EDGES),
    )


def _deciding(item: Effective) -> Iterator[int]:
    """The leaves that have a say about who may call a workload, and those of the workload itself that say what it is."""
    for policy in (*item.allows, *item.denies, *item.customs, *item.opened):
        yield from policy.sources
    for mode in item.transport.values():
        yield from mode.src
    yield from item.admission.src
    for port in item.workload.ports:
        yield from port.number_src
    for other in item.beside:
        yield from _deciding(other)


def _of_pods(difference: Difference, pods: set[Ref]) -> bool:
    place = difference.request.get("destination", {})
    return Ref(str(place.get("namespace")), str(place.get("workload"))) in pods


# -- rows


def _rows(
    pairs: list[tuple[Effective, Effective]],
    before: Side,
    after: Side,
    canon: tuple[Canonical, Canonical],
    proof: Verification | None,
    findings: list[Finding],
) -> list[AccessRow]:
    changed: dict[str, dict[str, list[str]]] = {}
    for difference in proof.differences if proof is not None else ():
        if difference.change in ("allowed", "denied"):
            changed.setdefault(difference.subject, {}).setdefault(difference.change, []).append(_said(difference))
    unsure = _undecided(proof)
    answering: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        for subject, _ in finding.explains:
            numbers = answering.setdefault(subject, [])
            numbers += [number] if number not in numbers else []
    words = _Words(before), _Words(after)
    grouped: dict[Any, AccessRow] = {}
    for item, other in pairs:
        ref = item.workload.ref
        for port in (*known_ports(item, other, before, after), None):
            subject = subjects.access(ref, port)
            one, two = canon[0].get(subject), canon[1].get(subject)
            if one is None and two is None:
                continue
            differing = changed.get(subject, {})
            why = unsure.get(subject, "") or next((str(side["undecided"]) for side in (one, two) if side and "undecided" in side), "")
            if proof is None and one != two:
                why = why or "the behavioural check was switched off (--no-verify)"
            outcome = _outcome(differing, bool(why))
            own = tuple(answering.get(subject, ())) if outcome != "same" else ()
            shown = words[0].of(item, port), words[1].of(other, port)
            key = (repr(shown), outcome, why, own, ref.namespace)
            row = grouped.setdefault(
                key,
                AccessRow(
                    doors=[],
                    before=shown[0],
                    after=shown[1],
                    outcome=cast("Any", outcome),
                    reason=why if outcome == "undecided" else _probes(item, port) if outcome == "same" and one != two else "",
                    gained=[],
                    lost=[],
                    findings=list(own),
                ),
            )
            row.doors.append(Door(namespace=ref.namespace, workload=ref.name, port=port))
            row.gained += differing.get("allowed", [])
            row.lost += differing.get("denied", [])
    return list(grouped.values())


def _said(difference: Difference) -> str:
    return sentence(difference.request, unnamed=subjects.of_other_ports(difference.subject))


def _place(row: AccessRow) -> tuple[Any, ...]:
    """The worst first, then by name."""
    door = row.doors[0] if row.doors else None
    return (_ORDER[row.outcome], *((door.namespace, door.workload, door.port or 0) if door is not None else ("~", row.reason, 0)))


def _unseen(rows: list[AccessRow], proof: Verification | None) -> Iterator[AccessRow]:
    """What was found, or left open, of pods that the bundle does not show: a policy is for them all the same."""
    known = {(door.namespace, door.workload) for row in rows for door in row.doors}
    found: dict[tuple[str, str, int | None], dict[str, list[str]]] = {}
    for difference in proof.differences if proof is not None else ():
        place = difference.request.get("destination", {})
        where = (str(place.get("namespace")), str(place.get("workload")))
        if difference.change in ("allowed", "denied") and where not in known:
            port = None if subjects.of_other_ports(difference.subject) else place.get("port")
            differing = found.setdefault((*where, port if isinstance(port, int) else None), {})
            differing.setdefault(difference.change, []).append(_said(difference))
    for (namespace, workload, port), differing in sorted(found.items(), key=lambda item: (item[0][:2], item[0][2] or 0)):
        yield AccessRow(
            doors=[Door(namespace=namespace, workload=workload, port=port)],
            before=None,
            after=None,
            outcome=cast("Any", _outcome(differing, False)),
            reason="pods that the bundle does not show",
            gained=differing.get("allowed", []),
            lost=differing.get("denied", []),
            findings=[],
        )
    names = {subjects.access(Ref(door.namespace, door.workload), door.port) for row in rows for door in row.doors}
    for text in dict.fromkeys(proof.undecided if proof is not None else ()):
        if _subject(text) not in names:
            yield AccessRow(doors=[], before=None, after=None, outcome="undecided", reason=text, gained=[], lost=[], findings=[])


def _probes(item: Effective, port: int | None) -> str:
    """What is compared apart: what the kubelet asks for has no identity, and each mesh has its own way to let it in."""
    paths = [f"GET {path}" for path in item.declared_probes(port)]
    return f"but for {', '.join(paths)}, which a declared probe of the kubelet asks for" if paths else ""


class _Words:
    """What each port admits, in words; equal rules are said once."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._known: dict[Any, dict[str, dict[str, str]] | None] = {}

    def of(self, item: Effective, port: int | None) -> dict[str, dict[str, str]] | None:
        if item.meshed is False and self._side.ir.enrols:
            return {"anyone": {"any method": "any path"}}
        http = speaks_http(item, port, self._side.ir.world)
        key = (item.key, port, http, tuple(item.probe_paths(port)))
        if key not in self._known:
            self._known[key] = said(item, port, http, self._side.options)
        return self._known[key]


def _outcome(differing: dict[str, list[str]], unsure: bool) -> str:
    if "allowed" in differing:
        return "changed" if "denied" in differing else "widened"
    if unsure:
        return "undecided"
    return "narrowed" if "denied" in differing else "same"


def _undecided(proof: Verification | None) -> dict[str, str]:
    """Why a port could not be compared, by its subject."""
    found: dict[str, str] = {}
    for text in proof.undecided if proof is not None else ():
        subject = _subject(text)
        if subject is not None:
            found[subject] = text.partition(": ")[2]
    return found


def _subject(text: str) -> str | None:
    """The port that a reason is about (`shop/users:8080: why`); None where it is about no single one."""
    name, _, port = text.partition(": ")[0].rpartition(":")
    namespace, _, workload = name.partition("/")
    return subjects.access(Ref(namespace, workload), int(port) if is_number(port) else None) if workload else None


def _postures(pairs: list[tuple[Effective, Effective]], canon: tuple[Canonical, Canonical]) -> Iterator[Posture]:
    """What workloads admit on ports that nothing names, by namespace: that is the default that a new port meets."""
    by_namespace: dict[str, list[set[str]]] = {}
    for item, _ in pairs:
        subject = subjects.access(item.workload.ref, None)
        for words, side in zip(by_namespace.setdefault(item.workload.ref.namespace, [set(), set()]), canon, strict=True):
            words.add(_posture(side.get(subject)))
    for namespace, sides in sorted(by_namespace.items()):
        before, after = (next(iter(words)) if len(words) == 1 else "mixed" for words in sides)
        yield Posture(namespace=namespace, before=before, after=after)


def _posture(side: dict[str, Any] | None) -> str:
    if side is None:
        return "not governed"
    if "undecided" in side:
        return "undecided"
    if not side["allow"]:
        return "nobody"
    if side["allow"].get("anyone") == {"any method": "any path"}:
        return "everybody"
    if side["allow"].get("any mesh identity") == {"any method": "any path"}:
        return "identities"
    return "some"


# -- edges


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


def _edges(
    pairs: list[tuple[Effective, Effective]], before: Side, after: Side, outcomes: Mapping[tuple[Ref, int | None], str]
) -> Iterator[Edge]:
    """Callers and doors behind a declared port. A workload has an edge of its own where it may do otherwise than a stranger of its kind.

    `outcomes` are what the rows say of the doors: where access is the same, nobody's share differs but for the path of a probe, which is compared apart (`_probes`).
    """
    callers = _Callers([(_caller(item.workload, before), _caller(other.workload, after)) for item, other in pairs])
    strangers = list(zip(_strangers(before), _strangers(after), strict=True))
    shares = _Shares(before), _Shares(after)
    for item, other in pairs:
        ref = item.workload.ref
        for port in declared_ports(item, other, before, after):
            # what a mesh keeps open for the kubelet by itself is nobody's rule; of declared probes, GET may be newly allowed
            looked = shares[0].of(item, port, item.probe_paths(port)), shares[1].of(other, port, item.declared_probes(port))
            door = outcomes.get((ref, port), "same")
            general = []
            for pair in strangers:
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


def _outside(pairs: list[tuple[Effective, Effective]], before: Side, after: Side) -> Iterator[Stranger]:
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
        http = speaks_http(item, port, self._side.ir.world)
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
                gained = door != "narrowed" and bool(subtract(other._of(pair[1], other._own), self._of(pair[0], self._pieces)))
                lost = door != "widened" and bool(subtract(self._of(pair[0], self._own), other._of(pair[1], other._pieces)))
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
