"""Pods behind waypoints that the bundle does not show, while policies are settled: what holds at their addresses closes them as it closes pods that are shown.

What a waypoint lets through is written as a policy of the pods in the callers' own names. Pods that admit the waypoint alone are reached by nobody past it: that
has to be looked at for pods of which nothing is known but what their Service and the policies select by, too. A target port that a Service gives by name has a
number here that no port has; what is said of it is said without a number afterwards, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from meshport.dialects.istio.settled import Settled
from meshport.dialects.istio.waypoints import Waypoints, in_ambient
from meshport.effective.subjects import ANY_POD
from meshport.ir.authorization import PORT, Condition, Policy, Rule
from meshport.ir.base import Fact, PodSet, Ref, Selector, sources
from meshport.ir.model import IR, Loss
from meshport.ir.world import ContainerPort, Service, Workload, World

_MOST = 16  # kinds of pods of one Service that are looked at
_FIRST = 70000  # above all ports


@contextmanager
def standing_in(ir: IR, found: Waypoints, subjects: Iterable[PodSet]) -> Iterator[Names]:
    """Have pods in the world behind each Service of which it shows none: of the labels that the Service selects by, and with those that policies select by too."""
    world, ambient, before = ir.world, found.ambient, len(ir.losses)
    names = Names()
    if known := _behind(world, found, list(subjects), names):
        homes = {one.ref: world.namespaces.get(one.ref.namespace) for one in known}
        workloads = [*world.workloads, *known]
        ir.world = replace(world, workloads=workloads, _by_namespace=None, _by_label=None, _accounts=None, _services_of=None)
        found.ambient = ambient | {ref for ref, home in homes.items() if home is not None and in_ambient(home)}
    yield names
    ir.world, found.ambient = world, ambient
    ir.losses[before:] = [names.worded(loss) for loss in ir.losses[before:]]


class Names:
    """The names of target ports of pods that the bundle does not show, each with a number that stands for it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, _FIRST + len(self._numbers))

    def worded(self, loss: Loss) -> Loss:
        """A loss whose texts have the names again."""
        values = dict(loss.values)
        for name, number in self._numbers.items():
            values = {key: text.replace(str(number), name) for key, text in values.items()}
        return replace(loss, values=values)

    def settle(self, entry: Settled, ir: IR) -> None:
        """Say what became of a policy without those numbers. A deny holds on every port instead; so does what a policy of a Service admits where the other ports
        were open, and elsewhere it goes."""
        if not self._numbers:
            return
        lost: list[tuple[Policy, Rule]] = []
        entry.made = [self._settled(policy, lost) for policy in entry.made]
        entry.through = [self._settled(policy, lost) for policy in entry.through]
        entry.refused = frozenset(port for port in entry.refused if port < _FIRST)
        if lost:
            kept = sources(*(Fact(None, rule.sources) for policy in (*entry.made, *entry.through) for rule in policy.rules))
            gone = sources(*(Fact(None, rule.sources) for _, rule in lost)) - kept
            said = {
                "object": f"AuthorizationPolicy {entry.read.policy.ref.value}",
                "reason": "it opens a port that the Service gives by name, and the bundle does not show the pods that have it",
                "outcome": "what comes in on that port is refused: show the pods, or give the port by its number",
            }
            facts = (Fact(None, gone, "authorization.rule"),) if gone else ()
            pods = tuple(dict.fromkeys(_ref(policy.subject.value) for policy, _ in lost))
            ir.losses.append(Loss("MP244", facts, entry.read.policy.document, said, pods))

    def _settled(self, policy: Policy, lost: list[tuple[Policy, Rule]]) -> Policy:
        denies = policy.action.value != "allow"
        open_beside = any(map(_open_beside, policy.rules))
        made: list[Rule] = []
        for rule in policy.rules:
            ports = [item for item in rule.conditions if item.attribute == PORT]
            if not any(map(_by_name, ports)):
                made.append(rule)
                continue
            excepted = any(map(_named, (fact for item in ports for fact in item.none_of)))
            numbered = replace(rule, conditions=tuple(map(_numbered, rule.conditions)))
            if (denies or open_beside) and not excepted:
                rest = tuple(item for item in rule.conditions if item.attribute != PORT)
                made.append(replace(rule, conditions=rest, src=sources(rule.src, *(item.sources for item in ports))))
            elif denies:
                made.append(numbered)
            elif not _open_beside(rule):
                lost.append((policy, rule))
                if not excepted and all(item.any_of is None or item.any_of for item in numbered.conditions):
                    made.append(numbered)
        return replace(policy, rules=tuple(made))


def _named(fact: Fact[Any]) -> bool:
    return bool(fact.value[0] >= _FIRST)


def _by_name(item: Condition) -> bool:
    return any(map(_named, (*(item.any_of or ()), *item.none_of)))


def _open_beside(rule: Rule) -> bool:
    """Whether a rule leaves everything open but some ports, one by its name among them."""
    return len(rule.conditions) == 1 and rule.conditions[0].attribute == PORT and any(map(_named, rule.conditions[0].none_of))


def _numbered(item: Condition) -> Condition:
    if item.attribute != PORT:
        return item
    inside = None if item.any_of is None else tuple(fact for fact in item.any_of if not _named(fact))
    return replace(item, any_of=inside, none_of=tuple(fact for fact in item.none_of if not _named(fact)))


def _ref(pods: PodSet) -> Ref:
    return Ref(pods.namespace, ANY_POD if pods.selector.everything else str(pods.selector))


def _behind(world: World, found: Waypoints, subjects: list[PodSet], names: Names) -> list[Workload]:
    spoken = [one for one in dict.fromkeys(subjects) if not one.selector.everything and not one.selector.expressions]
    known: dict[PodSet, Workload] = {}
    for ref in sorted(found.behind):
        service = world.services[ref]
        if service.pods is not None and not world.selected(service.pods):
            for labels in _kinds(service, spoken):
                pods = PodSet(ref.namespace, Selector.of(labels))
                known.setdefault(pods, _pod(pods, labels, service, world, names))
    return list(known.values())


def _kinds(service: Service, spoken: list[PodSet]) -> list[dict[str, str]]:
    """Labels of pods that a Service selects, by which of the selectors take them as well."""
    found = [dict(service.selector or {})]
    for subject in spoken:
        if subject.namespace in ("", service.ref.namespace):
            more = [{**labels, **dict(subject.selector.labels)} for labels in found if _agree(labels, subject.selector)]
            found += [labels for labels in more if labels not in found][: _MOST - len(found)]
    return found


def _agree(labels: Mapping[str, str], selector: Selector) -> bool:
    return all(labels.get(key, value) == value for key, value in selector.labels)


def _pod(pods: PodSet, labels: dict[str, str], service: Service, world: World, names: Names) -> Workload:
    before = [one for one in world.services.values() if one.pods is not None and one.pods.contains(pods.namespace, labels)]
    called = sorted({port.target for one in before for port in one.ports if isinstance(port.target, str) and port.protocol == "TCP"})
    ports = [ContainerPort(names.number(name), name, "TCP") for name in called]
    return Workload(_ref(pods), "Pod", labels, {}, Fact("default"), ports, [], service.document, ())
