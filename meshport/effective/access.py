"""For each workload and port: which policies hold, what an open port admits, whether plaintext is refused.

The documents' own levels are worked out here once for every dialect: transport by mesh, namespace, workload and port; admission by mesh, namespace and
pod; allows and denies by what they select. Regions are workloads for which all of that is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from meshport.ir.authorization import IDENTITY, PORT, SOURCE_IP, Admission, Condition, Network, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Selector, Src
from meshport.ir.model import IR, ByLabel
from meshport.ir.selecting import Agreeing, Selecting
from meshport.ir.transport import TransportRule
from meshport.ir.world import Probe, Scrape, Workload, World
from meshport.values.identities import EVERYONE

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
_LEVELS = {"mesh": 0, "namespace": 1, "workload": 2}


@dataclass(slots=True)
class Effective:
    """What holds for one workload. `transport` maps a port to its mode; None is every other port."""

    workload: Workload
    allows: tuple[Policy, ...]
    denies: tuple[Policy, ...]
    customs: tuple[Policy, ...]
    transport: dict[int | None, Fact[str]]
    admission: Fact[str]
    admission_level: str
    meshed: bool | None
    open_probes: bool = False
    beside: tuple[Effective, ...] = ()  # what stays in force next to the mesh: a request has to pass it too
    opened: tuple[Policy, ...] = ()  # allows that let everything through, and those that they make void
    by_label: ByLabel | None = None  # judge peers by their labels

    def mode(self, port: int | None) -> Fact[str]:
        """`strict`, `permissive` or `disable` of a port."""
        return self.transport.get(port) or self.transport[None]

    def probe_paths(self, port: int | None) -> list[str]:
        """The probe paths that the mesh itself keeps open on a port."""
        if not self.open_probes or any(policy.routed for policy in self.at(port)):
            return []
        return self.declared_probes(port)

    def declared_probes(self, port: int | None) -> list[str]:
        """The paths of the HTTP probes that the workload declares on a port."""
        return sorted({probe.path for probe in self.workload.probes if probe.kind == "http" and probe.port == port})

    def default(self, port: int | None) -> str:
        """What an open port admits, as one of `ADMISSIONS`."""
        value = self.admission.value
        if value.endswith("-unauthenticated") and self.workload.demands(port):
            return value.replace("-unauthenticated", "-authenticated")
        return value

    def closes(self, port: int | None) -> bool:
        """Whether an allow takes the port over from its default."""
        return any(self.holds(policy, port) for policy in self.allows)

    def holds(self, policy: Policy, port: int | None) -> bool:
        """Whether a policy concerns a port of this workload."""
        return policy.port is None or (port is not None and resolve(self.workload, policy.port.value) == port)

    def at(self, port: int | None) -> list[Policy]:
        """The allows of a port. Where several objects of the source compete for one port (Linkerd's Servers) the oldest wins, then the first by name."""
        whole = [policy for policy in self.allows if policy.port is None]
        own = sorted(
            (policy for policy in self.allows if policy.port is not None and self.holds(policy, port)),
            key=lambda item: (item.created, item.ref.value),
        )
        return whole + own[:1]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for workloads of one region."""
        return (
            tuple(id(policy) for policy in (*self.allows, *self.denies, *self.customs)),
            tuple(resolve(self.workload, policy.port.value) for policy in self.allows if policy.port is not None),
            tuple(sorted(((port if port is not None else 0), mode.value) for port, mode in self.transport.items())),
            self.admission.value,
            self.meshed,
            self.workload.bypassed.value if self.workload.bypassed is not None else (),
            self.workload.demanding.value if self.workload.demanding is not None else (),
            tuple(other.key for other in self.beside),
        )


def speaking(item: Effective, protocol: str) -> Effective:
    """What holds for another protocol than TCP (one of OTHER_PROTOCOLS), as if it were for TCP."""
    allows = tuple(_of_protocol(policy, protocol, item.workload) for policy in (*item.allows, *item.opened))
    denies = tuple(_of_protocol(policy, protocol, item.workload) for policy in item.denies)
    if any(opens(policy) for policy in allows) or not any(policy.closing for policy in allows):
        allows = ()
    return replace(item, allows=allows, denies=denies, customs=(), opened=(), beside=())


def _of_protocol(policy: Policy, protocol: str, workload: Workload) -> Policy:
    rules = tuple(rule for said in policy.beyond if protocol in said.protocols for rule in said.rules)
    numbers = {name: _numbers(workload, name, protocol) for name in port_names(rules)}
    return _with_numbers(replace(policy, rules=rules), numbers)


def port_names(rules: Iterable[Rule]) -> set[str]:
    """The names of container ports in rules."""
    conditions = [item for rule in rules for item in rule.conditions if item.attribute == PORT]
    return {fact.value for item in conditions for fact in (*(item.any_of or ()), *item.none_of) if isinstance(fact.value, str)}


def _numbers(workload: Workload, name: str, protocol: str) -> tuple[int, ...]:
    return tuple(sorted({port.number for port in workload.ports if port.name == name and port.protocol == protocol}))


def opens(policy: Policy) -> bool:
    """Whether an allow for all ports has a rule that takes every request: then it closes nothing."""
    return policy.port is None and any(not rule.conditions and not rule.unless for rule in policy.rules)


def resolve(workload: Workload, port: int | str) -> int | None:
    """A container port by number or by its name in this workload. A number in quotes is a name, which no container port can have."""
    if isinstance(port, int):
        return port
    named = workload.port_named(port)
    return named.number if named is not None else None


@dataclass(slots=True)
class Region:
    """Workloads of one namespace under the same policies."""

    namespace: str
    members: list[Effective] = field(default_factory=list)

    @property
    def first(self) -> Effective:
        return self.members[0]


class Subjects:
    """The selectors of some pod sets, each once with the leaves that all sets which have it rest on, for of several each says it without the others;
    without those that take every pod."""

    def __init__(self, subjects: Iterable[Fact[PodSet]]) -> None:
        found: dict[Selector, Src] = {}
        for subject in subjects:
            selector = subject.value.selector
            if not selector.everything:
                found[selector] = found.get(selector, subject.src) & subject.src
        self._taking = Selecting(found.items(), lambda item: PodSet("", item[0]))
        self._agreeing = Agreeing(sorted(found.items(), key=lambda item: item[0]), lambda item: item[0])

    def taking(self, labels: Mapping[str, str]) -> list[tuple[Selector, Src]]:
        """Those that take a pod with these labels."""
        return self._taking.of("", labels)

    def beside(self, labels: Mapping[str, str]) -> list[tuple[Selector, Src]]:
        """Those that could take a pod with these labels and more of them, in their own order."""
        return self._agreeing.with_labels(labels)


class Access:
    """The effective policies of a bundle."""

    def __init__(self, ir: IR, default_admission: Fact[str], default_mode: str = "permissive") -> None:
        self.ir = ir
        self.world: World = ir.world
        self.default_admission = default_admission
        self.default_mode = Fact(default_mode)
        self._names: dict[int, tuple[str, ...]] = {}
        self._subjects: dict[str, Subjects] = {}
        self._unselected: list[Policy] | None = None
        self._unselected_in: dict[str, list[Policy]] = {}
        self._shown: dict[PodSet, bool] = {}
        self._numbers: dict[tuple[int, tuple[tuple[int, ...], ...]], Policy] = {}
        self._policies = _by(ir.policies, lambda item: item.subject.value.namespace)
        self._transport = _by(ir.transport, lambda item: item.subject.value.namespace)
        self._selecting = Selecting(ir.policies, lambda item: item.subject.value)
        self._moding = Selecting(ir.transport, lambda item: item.subject.value)
        listed = list(enumerate(ir.admissions))
        self._admissions = Selecting([one for one in listed if not _of_template(one[1])], lambda one: one[1].subject)
        self._own_admissions = _by([one for one in listed if _of_template(one[1])], lambda one: one[1].document)
        self._beside = [Access(other, default_admission, default_mode) for other in ir.beside]
        self.workloads = [self.of(workload) for workload in self.world.workloads]
        self._by_home = _by(self.workloads, lambda item: item.workload.ref.namespace)
        self._by_workload = {id(item.workload): item for item in self.workloads}

    def of_namespace(self, namespace: str) -> list[Effective]:
        """The workloads of one namespace."""
        return self._by_home.get(namespace, [])

    def selected(self, pods: PodSet) -> list[Effective]:
        """The workloads whose pods belong to the set."""
        return [self._by_workload[id(workload)] for workload in self.world.selected(pods)]

    def of(self, workload: Workload) -> Effective:
        namespace, labels = workload.ref.namespace, workload.labels
        found = [self.numbered(item, workload) for item in self._selecting.of(namespace, labels)]
        chosen = {
            action: tuple(
                sorted((policy for policy in found if policy.action.value == action), key=lambda item: (item.ref.value, str(item.port)))
            )
            for action in ("allow", "deny", "custom")
        }
        admission, level = self._admission(workload)
        allows, opened = chosen["allow"], ()
        if any(opens(policy) for policy in allows) or not any(policy.closing for policy in allows):
            allows, opened = (), allows
        return Effective(
            workload,
            allows,
            chosen["deny"],
            chosen["custom"],
            self._modes(workload),
            admission,
            level,
            self.world.meshed(workload),
            self.ir.open_probes,
            tuple(other.of(workload) for other in self._beside),
            opened,
            self.ir.by_label,
        )

    def numbered(self, policy: Policy, workload: Workload) -> Policy:
        """The policy with the ports that its rules name as the numbers they have in this workload; equal numbers give the same object."""
        if id(policy) not in self._names:
            self._names[id(policy)] = tuple(sorted(port_names(policy.rules)))
        names = self._names[id(policy)]
        if not names:
            return policy
        numbers = tuple(_numbers(workload, name, "TCP") for name in names)
        known = self._numbers.get((id(policy), numbers))
        if known is None:
            known = self._numbers[id(policy), numbers] = _with_numbers(policy, dict(zip(names, numbers, strict=True)))
        return known

    def _modes(self, workload: Workload) -> dict[int | None, Fact[str]]:
        if self.gateway(workload):
            return {None: Fact("permissive")}  # its listeners say what they take from outside; the mesh's mode is none of theirs
        found = self.modes_of(workload.ref.namespace, workload.labels)
        if workload.ref in self.ir.tunnelled:
            return {port: fact.holding("permissive") if fact.value == "disable" else fact for port, fact in found.items()}
        return found

    def modes_of(self, namespace: str, labels: Mapping[str, str]) -> dict[int | None, Fact[str]]:
        """The mode of each port of a pod with these labels, as it is said; None is every other port."""
        mode = self.default_mode
        ports: dict[int, Fact[str]] = {}
        for winner in self.ranked(namespace, labels):
            inherited = mode
            if winner.mode is not None:
                mode = _deciding(winner.mode, winner, inherited)
            if winner.level == "workload":
                ports = {port: _deciding(fact, winner, inherited) for port, fact in winner.ports.items()}
        return dict([(None, mode), *ports.items()])

    def ranked(self, namespace: str, labels: Mapping[str, str]) -> list[TransportRule]:
        """The rule of each level that holds for a pod, the most general first: of several at one level the oldest."""
        rules = self._moding.of(namespace, labels)
        found = []
        for level in _LEVELS:
            said = [rule for rule in rules if rule.level == level]
            if said:
                found.append(min(said, key=lambda item: item.order))
        return found

    def moded(self, members: Iterable[Effective]) -> list[tuple[Selector, Src]]:
        """The selectors of the modes for single workloads that give all of the members another one than their namespace has."""
        found: list[tuple[Selector, Src]] | None = None
        for item in members:
            home = item.workload.ref.namespace
            if {mode.value for mode in item.transport.values()} == {self.namespace_mode(home).value}:
                return []
            rules = [rule for rule in self.ranked(home, item.workload.labels) if rule.level == "workload"]
            own = [(rule.subject.value.selector, rule.subject.src) for rule in rules]
            found = own if found is None else [one for one in found if one in own]
        return found or []

    def gateway(self, workload: Workload) -> bool:
        """Whether a gateway of the mesh runs in these pods."""
        return any(gateway.selects(workload.labels) for gateway in (*self.ir.gateways, *self.ir.emptied))

    def _admission(self, workload: Workload) -> tuple[Fact[str], str]:
        home = workload.ref.namespace
        own = [one for one in self._own_admissions.get(workload.document, ()) if one[1].subject.namespace in ("", home)]
        best: Admission | None = None
        for _, item in sorted(
            (*self._admissions.of(home, workload.labels), *own), key=lambda one: (one[1].subject.namespace != "", one[0])
        ):
            if best is None or _LEVELS[item.level] > _LEVELS[best.level]:
                best = item
        return (best.value, best.level) if best is not None else (self.default_admission, "mesh")

    def namespace_admission(self, namespace: str) -> Fact[str]:
        """The default policy of a pod that has none of its own."""
        said = [item for item in self.ir.admissions if item.level != "workload" and item.subject.namespace in ("", namespace)]
        own = next((item for item in said if item.level == "namespace" and item.subject.namespace == namespace), None)
        whole = next((item for item in said if item.level == "mesh"), None)
        found = own or whole
        return found.value if found is not None else self.default_admission

    def namespace_mode(self, namespace: str) -> Fact[str]:
        """The transport mode of a pod that no selector takes."""
        mode = self.default_mode
        for level in ("mesh", "namespace"):
            said = sorted(
                (rule for rule in _in(self._transport, namespace) if rule.level == level and rule.subject.value.selector.everything),
                key=lambda item: item.order,
            )
            if said and said[0].mode is not None:
                mode = said[0].mode.also(said[0].subject)
        return mode

    def namespace_allows(self, namespace: str) -> list[Policy]:
        """The allows that close every pod of a namespace."""
        found = [
            policy
            for policy in _in(self._policies, namespace)
            if policy.action.value == "allow" and policy.subject.value.selector.everything and policy.port is None
        ]
        if any(opens(policy) for policy in found) or not any(policy.closing for policy in found):
            return []
        return sorted(found, key=lambda item: item.ref.value)

    def namespace_denies(self, namespace: str) -> list[Policy]:
        """The denies that hold for every pod of a namespace."""
        found = [
            policy
            for policy in _in(self._policies, namespace)
            if policy.action.value in ("deny", "custom") and policy.subject.value.selector.everything
        ]
        return sorted(found, key=lambda item: item.ref.value)

    def regions(self, extra: Callable[[Effective], Hashable]) -> list[Region]:
        """The workloads in groups with equal policies and equal `extra`, in the order of their names."""
        groups: dict[tuple[object, ...], Region] = {}
        for item in self.workloads:
            key = (item.workload.ref.namespace, *item.key, extra(item))
            groups.setdefault(key, Region(item.workload.ref.namespace)).members.append(item)
        return sorted(groups.values(), key=lambda region: (region.namespace, region.first.workload.ref))

    def subjects(self, namespace: str) -> Subjects:
        """Whom the policies select that reach a namespace."""
        known = self._subjects.get(namespace)
        if known is None:
            policies = sorted(_in(self._policies, namespace), key=lambda item: (item.ref.value, item.kind))
            known = self._subjects[namespace] = Subjects(item.subject for item in policies)
        return known

    def unseen(self, namespace: str) -> list[TransportRule]:
        """Modes of a namespace for pods that the bundle does not show."""
        return [
            rule
            for rule in _in(self._transport, namespace)
            if rule.level == "workload" and rule.subject.value.namespace == namespace and not self.world.selected(rule.subject.value)
        ]

    def in_force(self) -> list[Access]:
        """The policies of the mesh, and those that hold beside it."""
        return [self, *self._beside]

    def unselected(self) -> list[Policy]:
        """Policies that select no workload of the bundle, although they name some."""
        if self._unselected is None:
            self._unselected = [
                policy
                for policy in self.ir.policies
                if not policy.subject.value.selector.everything and not self.world.selected(policy.subject.value)
            ]
        return self._unselected

    def reaching(self, namespace: str) -> list[Policy]:
        """The policies that may select pods of a namespace: its own, and those for all."""
        return _in(self._policies, namespace)

    def unshown(self, namespace: str) -> list[Policy]:
        """Policies of a namespace, or of all, that select by label and maybe pods that the bundle does not show, beside those that it does or alone."""
        return [policy for policy in _in(self._policies, namespace) if self._unshown(namespace, policy.subject.value)]

    def unshown_modes(self, namespace: str) -> list[TransportRule]:
        """The same of modes."""
        return [
            rule for rule in self._transport.get(namespace, ()) if rule.level == "workload" and self._unshown(namespace, rule.subject.value)
        ]

    def _unshown(self, namespace: str, subject: PodSet) -> bool:
        pods = PodSet(namespace, subject.selector)
        if pods not in self._shown:
            self._shown[pods] = pods.selector.everything or self.world.shows(pods)
        return not self._shown[pods]

    def number(self, policy: Policy) -> int | None:
        """The port of a policy as a number; a name stands for the one that it is in all known pods of the policy, which others are taken to name likewise."""
        said = policy.port.value if policy.port is not None else None
        if said is None or isinstance(said, int):
            return said
        known = {resolve(item.workload, said) for item in self.selected(policy.subject.value) if item.meshed is not False}
        return known.pop() if len(known) == 1 else None

    def unselected_in(self, namespace: str) -> list[Policy]:
        """Policies of a namespace, or of all, that select by label and no workload that the bundle shows there."""
        known = self._unselected_in.get(namespace)
        if known is None:
            found = [policy for policy in _in(self._policies, namespace) if not policy.subject.value.selector.everything]
            known = [policy for policy in found if not self.world.selected(PodSet(namespace, policy.subject.value.selector))]
            self._unselected_in[namespace] = known
        return known


def admission_conditions(value: str, cluster_networks: tuple[str, ...], src: Src) -> tuple[Condition, ...]:
    """What a default policy (one of `ADMISSIONS`) demands of the caller; of `deny` and `audit` nothing is said here."""
    found = []
    if value.endswith("-authenticated"):
        found.append(Condition(IDENTITY, (Fact(EVERYONE, src),)))
    if value.startswith("cluster-"):
        found.append(Condition(SOURCE_IP, tuple(Fact(Network(cidr), src) for cidr in cluster_networks)))
    return tuple(found)


def _with_numbers(policy: Policy, numbers: dict[str, tuple[int, ...]]) -> Policy:
    """A policy whose port conditions have numbers for names; a name that the workload has not takes no port."""

    def spread(facts: tuple[Fact[Any], ...]) -> tuple[Fact[Any], ...]:
        found = [
            fact.holding((number, number)) if isinstance(fact.value, str) else fact
            for fact in facts
            for number in (numbers[fact.value] or (-1,) if isinstance(fact.value, str) else (0,))
        ]
        return tuple(found)

    def numbered(item: Condition) -> Condition:
        if item.attribute != PORT:
            return item
        return replace(item, any_of=None if item.any_of is None else spread(item.any_of), none_of=spread(item.none_of))

    return replace(policy, rules=tuple(replace(rule, conditions=tuple(map(numbered, rule.conditions))) for rule in policy.rules))


def _deciding(mode: Fact[str], rule: TransportRule, inherited: Fact[str]) -> Fact[str]:
    """The mode with what makes it hold for these pods; where it is the inherited one, they would have it without the rule."""
    return mode if mode.value == inherited.value else mode.also(rule.subject)


def _of_template(item: Admission) -> bool:
    """Whether a pod template says it of its own pods: no label gives it to others."""
    return item.level == "workload" and item.document is not None


def _by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _in(index: dict[str, list[T]], namespace: str) -> list[T]:
    return [*index.get("", ()), *index.get(namespace, ())]


def ports_of(members: Sequence[Effective], world: World) -> dict[int, Src]:
    """The TCP ports that workloads declare, or that Services send to them, with the leaves that decide it: those of the one place that says so.

    Where several places say so none of them decides. A Service that names a port means one that the workload declares. Nobody has to declare a port to
    listen there: those that the kubelet probes or Prometheus scrapes are ports as well.
    """
    found: dict[int, dict[int, Src]] = {}
    for member in members:
        workload = member.workload
        for port in workload.ports:
            if port.protocol == "TCP":
                found.setdefault(port.number, {})[id(port)] = port.number_src
        for service in world.services_of(workload):
            for item in service.ports:
                number = world.target_number(workload, item)
                if number is not None and item.protocol == "TCP" and isinstance(item.target, int):
                    found.setdefault(number, {})[id(item)] = item.target_src
    declared = set(found)
    for member in members:
        places: list[Probe | Scrape] = [*member.workload.probes, *member.workload.scrapes]
        for place in places:
            if place.port and place.port not in declared:
                found.setdefault(place.port, {})[id(place)] = place.src
    return {number: next(iter(places.values())) if len(places) == 1 else NOWHERE for number, places in sorted(found.items())}
