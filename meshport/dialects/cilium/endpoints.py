"""The pods that a rule of a network policy selects, and what else is required of their peers (docs.cilium.io, security/policy/layer3).

Before 1.19 a rule could require something of peers without admitting any: `fromRequires` holds for each peer that any rule for the same pods names by
labels, in its own object or in another. Entities and addresses need not meet it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshport.dialects.cilium.peers import Peers, matches, take_apart
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact, PodSet, Requirement, Selector
from meshport.ir.world import World
from meshport.mapping.bound import Bound

WORDS = {"ingress": "fromRequires", "ingressDeny": "fromRequires", "egress": "toRequires", "egressDeny": "toRequires"}


@dataclass(slots=True)
class Selected:
    """The pods that a rule selects, as sets by namespace and labels; and the loss where these are not just those (`MP121`: more of them). `others` are those
    that the bundle does not show, of which an account says nothing that labels could: a set with a demand on it, which no known pod meets."""

    pods: list[Fact[PodSet]]
    code: str = ""
    others: list[Fact[PodSet]] = field(default_factory=list)


def subjects(spec: Cursor, root: Cursor, home: str | None, peers: Peers) -> Selected:
    """The sets of pods; none for endpoints that are no pods, or where the bundle does not show the namespaces or accounts that are meant."""
    selector = spec.selector("endpointSelector")
    src = selector.src | root.at("metadata", "namespace").src
    chosen = take_apart(selector.value)
    if chosen.reserved or chosen.foreign:
        return Selected([], "MP296")
    spaces = [home] if home is not None else peers.namespaces(chosen, None)
    own = Selector.of({}, chosen.pod)
    if not chosen.account:
        if spaces == []:
            return Selected([], "MP297")
        return Selected([Fact(PodSet(space, own), src, "authorization.subject") for space in ([""] if spaces is None else spaces)])
    found: list[Fact[PodSet]] = []
    more = False
    for workload in peers.world.workloads:
        if (spaces is not None and workload.ref.namespace not in spaces) or not matches(chosen, workload):
            continue
        pods = workload.pods
        more = more or any(not matches(chosen, other) for other in peers.world.selected(pods))
        if all(fact.value != pods for fact in found):
            found.append(Fact(pods, src | workload.labels_src(workload.own_labels) | workload.account.src, "authorization.subject"))
    unknown = Selector(own.labels, tuple(sorted((*own.expressions, *map(_of_others, chosen.account)))))
    others = [Fact(PodSet(space, unknown), src, "authorization.subject") for space in ([""] if spaces is None else spaces)]
    return Selected(found, "MP121" if more else "" if found else "MP297", others)


def _of_others(demand: Requirement) -> Requirement:
    """A demand on an account as one that no label of a known pod meets."""
    return demand if demand.operator == "In" else Requirement(demand.key, "Exists")


@dataclass(slots=True)
class Required:
    """One requirement: where it stands, the section whose peers have to meet it, the namespace of its object, and the pods that are selected."""

    place: Cursor
    section: str
    home: str | None
    pods: list[PodSet] = field(default_factory=list)


def requirements(bound: Bound, numbers: Iterable[int], peers: Peers, default_namespace: str) -> list[Required]:
    """The requirements of all these objects."""
    found = []
    for number in numbers:
        root = Cursor.root(bound, number)
        home = None if root.document.kind == "CiliumClusterwideNetworkPolicy" else root.document.namespace or default_namespace
        for _, spec in specs(root):
            places = [(section, item) for section, word in WORDS.items() for rule in spec.each(section) for item in rule.each(word)]
            if places and spec:
                pods = [fact.value for fact in subjects(spec, root, home, peers).pods]
                found += [Required(item, section, home, pods) for section, item in places]
    return found


def holding(known: Iterable[Required], section: str, pods: Iterable[PodSet], world: World) -> list[Required]:
    """The requirements that hold for peers of these pods, or of some of them."""
    wanted = list(pods)
    chosen = {workload.ref for one in wanted for workload in world.selected(one)}
    return [
        item
        for item in known
        if item.section == section
        and any(one in wanted or not chosen.isdisjoint(workload.ref for workload in world.selected(one)) for one in item.pods)
    ]


def free(known: Iterable[Required], section: str, pods: PodSet, world: World) -> list[PodSet]:
    """Of pods some of which are under requirements, those that are under none, as far as the bundle shows them and their labels tell them apart."""
    asked = {workload.ref for item in holding(known, section, (pods,), world) for one in item.pods for workload in world.selected(one)}
    rest = (workload.pods for workload in world.selected(pods) if asked and workload.ref not in asked)
    return [one for one in dict.fromkeys(rest) if asked.isdisjoint(workload.ref for workload in world.selected(one))]
