"""The access matrix: who may send what to whom before and after, ports of equal access in one row.

Outcomes are those of the behavioural check, which compares sets of requests exactly; the rows beside them only say the sets. The edges between workloads, from
which the service graph is drawn, come from the same sets: a caller is let in with all of its requests, with some, or with none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from meshport.compare.access import Canonical, said, speaks_http
from meshport.compare.request import sentence
from meshport.effective import subjects
from meshport.effective.access import Effective
from meshport.ir.base import Ref
from meshport.migrate.callers import edges, strangers
from meshport.migrate.encryption import Side, known_ports, matched
from meshport.report.audited import AccessMatrix, AccessRow, Door, Posture
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
    found = list(edges(both, before, after, outcomes))
    return AccessMatrix(
        **counts,
        postures=list(_postures(both, canon)),
        rows=rows,
        edges=found[:MOST_EDGES],
        strangers=list(strangers(both, before, after)),
        left_out=max(0, len(found) - MOST_EDGES),
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
        http = speaks_http(item, port, self._side.ir)
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
