"""Whether two configurations do the same, request by request: exactly where sets of requests can be subtracted from each other, and never "equivalent" where
they cannot.

The rules of both sides are sets of requests. What one side admits less what the other admits is a set again, and one of its requests is the witness, which
the evaluator (`decision.py`) answers once more on both sides: a difference that it does not see is not claimed, and the port counts as undecided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, islice, product
from typing import Any

from meshport.compare import behind, protocols, routed
from meshport.compare.access import Canonical, mentioned, speaks_http
from meshport.compare.lost import Site, Sites
from meshport.compare.port import Compared, Sides, compare, others
from meshport.compare.replay import Difference, asked_of, replayed
from meshport.compare.unread import Entry, Key, differences
from meshport.dialects.base import Options
from meshport.dialects.entrances import for_gateways_alone
from meshport.effective import subjects
from meshport.effective.access import Access, Effective, port_names, ports_of
from meshport.effective.pieces import Piece
from meshport.ir.authorization import Policy
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector
from meshport.ir.model import IR
from meshport.ir.world import ContainerPort, Workload, World

UNSEEN = -1
"""The document of a pod that is made up for a selector."""
MOST_SELECTORS = 6
"""Selectors of one namespace that the bundle shows no pod for, of which every combination is looked at."""


@dataclass(slots=True)
class Verification:
    """What came of a comparison. `verdict` speaks of access first: widened or narrowed where requests are newly allowed or newly denied, changed where both
    are, or where access is the same and requests are treated otherwise; inconclusive where something could not be compared (and nothing is known to be
    newly allowed), else equivalent. `classes` counts the sets of requests compared, `undecided` says what could not be; `alike` are the subjects that were
    compared whole and of which no request tells the sides apart, but for what one of them keeps open for the kubelet's probes; of `equal` not even that.
    `sites` are those where requests are newly refused.
    `opened` are, for each subject compared, requests of the kubelet's probes that are newly admitted: None for one that could not be named."""

    verdict: str
    classes: int
    differences: list[Difference]
    undecided: list[str] = field(default_factory=list)
    alike: set[str] = field(default_factory=set)
    equal: set[str] = field(default_factory=set)
    opened: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    sites: Sites | None = None


def verify(
    old: IR,
    new: IR,
    options: Options,
    canon: tuple[Canonical, Canonical] | None = None,
    *,
    new_options: Options | None = None,
    routes: bool = True,
    unread: tuple[Mapping[Key, Entry], Mapping[Key, Entry]] | None = None,
    only: Collection[str] | None = None,
) -> Verification:
    """Compare access at every known workload and port, for paths as they are after normalising, and the way of each request to a Service.

    `canon` is both sides as canonical data, where it is known: equal data are equal behaviour, and need no second look. `unread` is what decides something on
    each side and is not compared. `only` are the workloads (namespace/name) whose access is asked about.
    """
    sides = Sides(old, new, options, new_options or options, canon is None)
    before = Access(old, Fact("all-unauthenticated"))
    after = Access(new, Fact("all-unauthenticated"))
    found = _access(sides, before, after, canon, only)
    if routes:
        for item in routed.differences(old, new, canon):
            found.classes += item.classes
            found.alike |= {item.subject} if item.alike else set()
            found.undecided += item.undecided
            found.differences += [
                Difference(one.change, one.request, one.before, one.after, [], one.sources, subject=one.subject) for one in item.differences
            ]
        found.differences += [
            Difference("routed", request, one, other, [], sources, subject=subject)
            for subject, request, one, other, sources in behind.differences(old, new)
        ]
    if unread is not None:
        found.undecided += differences(*unread)
    found.undecided += dict.fromkeys(
        f"{item.name} is set to what only the shell knows ({item.value.value})"
        for ir in (old, new)
        for item in ir.settings
        if ir.depends(item) == "access"
    )
    found.verdict = verdict_of(found.differences, bool(found.undecided))
    return found


def _access(
    sides: Sides, before: Access, after: Access, canon: tuple[Canonical, Canonical] | None, only: Collection[str] | None
) -> Verification:
    differences: list[Difference] = []
    classes = 0
    undecided: list[str] = []
    memo: dict[Any, Compared] = {}
    shown: dict[Any, Difference] = {}  # a witness serves every workload of a namespace under the same rules
    alike: set[str] = set()
    equal: set[str] = set()
    apart: set[str] = set()
    doubtful: list[Workload] = []
    opened: dict[str, list[dict[str, Any] | None]] = {}
    sites = Sites(sides)
    # between meshes, pods that a bundle with others does not show are supposed at most: what a policy by labels comes to there is nobody's intent
    supposed = canon is not None or (sides.old.mesh != sides.new.mesh and bool(sides.old.world.workloads))
    for item, other in _pairs(sides, before, after, canon, undecided):
        governed = item.meshed is not False or other.meshed is not False or (canon is None and (item.beside or other.beside))
        if not governed or (only is not None and str(item.workload.ref) not in only):
            continue
        if sides.old.enrols and sides.new.enrols and bool(item.meshed) != bool(other.meshed) and None not in (item.meshed, other.meshed):
            differences.append(_membership(item, other))
        first = len(differences)
        ports = {*ports_of([item], sides.old.world), *ports_of([other], sides.new.world)}
        ports |= mentioned(item, beside=canon is None) | mentioned(other, beside=canon is None)
        unnamed = others(ports, item, other)
        for port in [*sorted(ports), *unnamed]:
            named = port if port in ports else None
            shown_whole = named is not None or len(unnamed) < 2  # data of "other ports" are those of no range
            if canon is not None and shown_whole and _same(canon, subjects.access(item.workload.ref, named)):
                equal.add(subjects.access(item.workload.ref, named))
                classes += 1
                continue
            https = (speaks_http(item, port, sides.old), speaks_http(other, port, sides.new))
            key = (item.key, other.key, port, https, tuple(sorted(probe.path for probe in item.workload.probes if probe.port == port)))
            if key not in memo:
                memo[key] = compare(item, other, port, https, sides)
            known = memo[key]
            classes += known.count
            if supposed and item.workload.document == UNSEEN and (known.undecided or known.widened):
                doubtful.append(item.workload)  # nothing is claimed of pods that may not be there, and nothing ruled out
                continue
            subject = subjects.access(item.workload.ref, named)
            partly = known.undecided or (canon is not None and known.unshown) or False in (item.meshed, other.meshed)
            (apart if partly else alike).add(subject)
            if known.undecided:
                sites.unsure.add(subject)
            elif known.narrowed or known.unshown:
                sites.narrowed.setdefault(subject, []).append(Site(item, other, port, https, known.refused))
            if not known.undecided:
                opened[subject] = _opened(known.opened, item, other, port, https, sides)
            place = f"{item.workload.ref}:{'any other port' if named is None else port}"
            undecided += [f"{place}: {why}" for why in known.undecided]
            for change, decided in (("allowed", known.widened), ("denied", known.narrowed)):
                pieces = sorted(decided, key=lambda one: bool(one.literals))  # what no token decides is shown rather than what one does
                found: list[Difference | bool | None] = []
                served = shown.get((key, change, item.workload.ref.namespace))
                if served is not None:
                    differences.append(_elsewhere(served, item.workload.ref, subject))
                    apart.add(subject)
                    continue
                for piece in pieces:
                    found.append(replayed(change, piece, item, other, port, https, sides))
                    if isinstance(found[-1], Difference):
                        break  # one request is enough
                made = next((one for one in found if isinstance(one, Difference)), None)
                if made is not None:
                    shown[key, change, item.workload.ref.namespace] = made
                    differences.append(replace(made, subject=subject))
                    apart.add(subject)
                elif None in found:
                    apart.add(subject)
                    undecided.append(f"{place}: requests that seem newly {change}, of which none could be named")
                    if canon is not None and change == "allowed":  # a conversion says what it cannot rule out
                        unsure = pieces[found.index(None)]
                        asked = next(asked_of(unsure, item, port, https, sides), None)
                        if asked is not None:
                            rules = frozenset().union(*(rule.sources for policy in other.at(port) for rule in policy.rules))
                            said = Difference(change, asked, "denied", "allowed", sources=(NOWHERE, rules), subject=subject)
                            differences.append(said)
        if sides.old.mesh == sides.new.mesh:
            undecided += protocols.unlike(item, other, sides, {one.change for one in differences[first:]})
    if canon is not None:
        undecided += sorted(
            {f"{policy.kind} {policy.ref.value} selects no pod that the bundle shows" for policy in _open(before, after, doubtful)}
        )
    else:
        undecided += dict.fromkeys(f"{pod.ref}: pods that the bundle does not show may be let in with more than before" for pod in doubtful)
    return Verification("", classes, differences, undecided, (alike | equal) - apart, equal, opened, sites)


def _opened(
    pieces: list[Piece], item: Effective, other: Effective, port: int, https: tuple[bool, bool], sides: Sides
) -> list[dict[str, Any] | None]:
    """A request of each piece, as both sides answer it; None where none is found."""
    found = [replayed("allowed", piece, item, other, port, https, sides) for piece in pieces]
    return [one.request if isinstance(one, Difference) else None for one in found if one is not False]


def equal_by_data(old: IR, new: IR, canon: tuple[Canonical, Canonical]) -> set[str]:
    """The subjects of which equal data say that no request tells the sides apart, without a look at requests: of ports that nothing names alone, only those
    of workloads where no rule is about a range."""
    before, after = Access(old, Fact("all-unauthenticated")), Access(new, Fact("all-unauthenticated"))
    known = {(item.workload.ref, item.workload.kind): item for item in after.workloads}
    ranged = {
        subjects.access(item.workload.ref, None)
        for item in before.workloads
        if (other := known.get((item.workload.ref, item.workload.kind))) is not None and len(others(set(), item, other)) > 1
    }
    return {subject for subject in canon[0] if subject not in ranged and _same(canon, subject)}


def _open(before: Access, after: Access, doubtful: list[Workload]) -> Iterator[Policy]:
    """The policies of a conversion that select no pod of the bundle and of whose pods it is open what becomes."""
    looked_at = _unseen(before, after)
    same = before.ir.mesh == after.ir.mesh
    stay = set(map(_said_of, for_gateways_alone(after.ir))) if same else set()  # by pods that keep their proxies
    told = {port.name for port in _customary(before.world)} | set(_port_names(after.ir.policies))
    for policy in before.unselected():
        if _said_of(policy) in stay:
            continue
        pods = policy.subject.value
        if (
            pods.namespace not in looked_at
            or not told.issuperset(_port_names([policy]))
            or any(pod.ref.namespace == pods.namespace and pods.selector.accepts(pod.labels) for pod in doubtful)
        ):
            yield policy


def _port_names(policies: Iterable[Policy]) -> Iterator[str]:
    """The names of ports that policies are for, or name in their rules."""
    for policy in policies:
        yield from port_names(policy.rules)
        if policy.port is not None and isinstance(policy.port.value, str):
            yield policy.port.value


def _said_of(policy: Policy) -> tuple[Any, ...]:
    """A policy without the places that say it."""
    rules = tuple((tuple((item.attribute, item.any_of, item.none_of) for item in rule.conditions), rule.unless) for rule in policy.rules)
    return policy.ref.value, policy.action.value, policy.subject.value, rules


def _elsewhere(difference: Difference, workload: Ref, subject: str) -> Difference:
    """The same difference at another workload."""
    request = {**difference.request, "destination": {**difference.request["destination"], "workload": workload.name}}
    return replace(difference, request=request, causes=[], subject=subject)


def _membership(item: Effective, other: Effective) -> Difference:
    """A workload that one side has in the mesh and the other has not."""
    ref = item.workload.ref
    request = {"source": {"meshed": True}, "destination": {"namespace": ref.namespace, "workload": ref.name}, "protocol": "tcp"}
    said = [f"{'in' if side.meshed else 'not in'} the mesh, {'with' if side.meshed else 'without'} mutual TLS" for side in (item, other)]
    one, two = (side.workload.meshed.src if side.workload.meshed is not None else NOWHERE for side in (item, other))
    return Difference("transport", request, said[0], said[1], sources=(one, two), subject=f"mesh membership of {ref}")


def _pairs(
    sides: Sides, before: Access, after: Access, canon: tuple[Canonical, Canonical] | None, undecided: list[str]
) -> Iterator[tuple[Effective, Effective]]:
    """The workloads of both sides, and pods made up for selectors that the bundle shows none for."""
    known = {(item.workload.ref, item.workload.kind): item for item in after.workloads}
    for item in before.workloads:
        other = known.get((item.workload.ref, item.workload.kind))
        if other is not None:
            yield item, other
    classes = _classes(before, after) if canon is None else _unseen(before, after)
    ports = _customary(before.world)
    for namespace, selectors in sorted(classes.items()):
        for labels in _combined(sorted(one for one in selectors if one), namespace, undecided):
            name = ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or subjects.ANY_POD
            pod = Workload(Ref(namespace, name), "Pod", labels, {}, Fact("default"), list(ports), [], UNSEEN, ())
            yield before.of(pod), after.of(replace(pod))


def _customary(world: World) -> list[ContainerPort]:
    """Ports whose name has one number in all workloads that have it: pods that nobody shows are supposed to name theirs likewise."""
    named: dict[str, set[tuple[int, str]]] = {}
    for workload in world.workloads:
        for port in workload.ports:
            if port.name:
                named.setdefault(port.name, set()).add((port.number, port.protocol))
    return [ContainerPort(number, name, protocol) for name, known in sorted(named.items()) if len(known) == 1 for number, protocol in known]


def _classes(before: Access, after: Access) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """By namespace the labels of pods that the bundle does not show and that something speaks of. Between two bundles of one mesh that is any pod of each
    namespace; between meshes only those of namespaces of which no pod is known."""
    world = before.world
    known = {*world.namespaces, *after.world.namespaces, *(item.ref.namespace for item in world.workloads)}
    spoken: list[tuple[PodSet, bool]] = []
    for access in (*before.in_force(), *after.in_force()):
        ir = access.ir
        subjects_of = [*(policy.subject.value for policy in ir.policies), *(rule.subject.value for rule in ir.transport)]
        spoken += [(pods, False) for pods in (*subjects_of, *(admission.subject for admission in ir.admissions))]
        spoken += [(policy.subject.value, True) for policy in access.unselected()]
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    homes = known | {pods.namespace for pods, _ in spoken if pods.namespace} or {"any"}
    alike = before.ir.mesh == after.ir.mesh
    for namespace in sorted(homes):
        if alike or not world.of_namespace(namespace):
            found[namespace] = {()}
    for pods, unseen in spoken:
        for namespace in [pods.namespace] if pods.namespace else sorted(homes):
            if unseen or not world.of_namespace(namespace):
                found.setdefault(namespace, set()).update(_labels_of(pods.selector))
    return found


def _unseen(before: Access, after: Access) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """The same of a conversion: only the pods of policies that select none, where a namespace has few of those."""
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for access in (before, after):
        for policy in access.unselected():
            found.setdefault(policy.subject.value.namespace, set()).update(_labels_of(policy.subject.value.selector))
    return {namespace: selectors for namespace, selectors in found.items() if namespace and len(selectors - {()}) <= MOST_SELECTORS}


def _labels_of(selector: Selector) -> Iterator[tuple[tuple[str, str], ...]]:
    """Labels of pods that a selector may take: with each value that it names, and with one that it does not name."""
    choices = [[(need.key, value) for value in (*need.values, "another")] for need in selector.expressions]
    for chosen in islice(product(*choices), 16):
        labels = dict(chosen)
        labels.update(selector.labels)
        yield tuple(sorted(labels.items()))
    yield selector.labels


def _combined(selectors: list[tuple[tuple[str, str], ...]], namespace: str, undecided: list[str]) -> Iterator[dict[str, str]]:
    """The labels of a pod of each class that the selectors of a namespace tell apart."""
    most = len(selectors) if len(selectors) <= MOST_SELECTORS else 2
    if len(selectors) > MOST_SELECTORS:
        undecided.append(
            f"namespace {namespace}: pods that three or more of its {len(selectors)} selectors take, for the bundle shows none of them"
        )
    seen = []
    for count in range(most + 1):
        for chosen in combinations(selectors, count):
            labels: dict[str, str] = {}
            if all(labels.setdefault(key, value) == value for one in chosen for key, value in one) and labels not in seen:
                seen.append(labels)
                yield labels


def _same(canon: tuple[Canonical, Canonical], subject: str) -> bool:
    one, other = canon[0].get(subject), canon[1].get(subject)
    return one is not None and one == other and "undecided" not in one


def verdict_of(differences: list[Difference], undecided: bool) -> str:
    kinds = {item.change for item in differences}
    if {"allowed", "denied"} <= kinds:
        return "changed"
    if "allowed" in kinds:
        return "widened"
    if undecided:
        return "inconclusive"
    return "narrowed" if "denied" in kinds else "changed" if kinds else "equivalent"


def grouped(differences: Iterable[Difference]) -> list[tuple[Difference, int]]:
    """The differences with one entry for all that have the same causes for the same reason, and how many more there are of each."""
    groups: dict[tuple[Any, ...], list[Difference]] = {}
    for item in differences:
        causes = tuple(sorted((cause["side"], str(cause["file"]), cause["line"] or 0) for cause in item.causes))
        groups.setdefault((item.change, item.before, item.after, causes, item.rules), []).append(item)
    return [(found[0], len(found) - 1) for found in groups.values()]
